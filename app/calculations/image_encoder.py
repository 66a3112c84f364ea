"""Working memory of an image encoder beside the text model, where an engine's start-up profile runs it."""

from __future__ import annotations

from dataclasses import dataclass

ELEMENT_BYTES = 2.0


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageEncoder:
    """A tower whose layers attend over all tiles of an image at once (Llama 3.2 Vision)."""

    #: Patches of all tiles of the largest image, as the attention pads them.
    patches: int
    width: int
    inner: int
    #: Layers whose outputs are kept until the end.
    kept_layers: int

    def working_bytes(self, images: int, tensor_parallel: int) -> float:
        """Peak of the last layers for so many images: the mask of patches by patches, the outputs that are kept, the
        residual, and the inner width of the MLP before and after its activation, in 16 bits.

        By the modeling code of vLLM 0.6 (`mllama.py`). The log of pull request 12126 has 36.6 GiB for 128 images of
        Llama 3.2 11B Vision; this gives 37.3.
        """
        per_patch = (self.kept_layers + 1) * self.width + 2 * self.inner / tensor_parallel
        return images * self.patches * (self.patches + per_patch) * ELEMENT_BYTES
