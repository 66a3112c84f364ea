"""Which number format each part of a run is in: weights tensor by tensor, what is multiplied, the cache."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from app.calculations.accelerator import Gpu
from app.calculations.architecture import Model, Tensor
from app.calculations.errors import InvalidInput
from app.calculations.gguf import GgufRules, rules
from app.calculations.precision import GGUF, PRECISIONS, Precision

#: Peaks narrower than 16 bits, with the format that activations are in there.
NARROW_PEAKS = {"fp8": "fp8", "fp4": "nvfp4", "int8": "int8"}
#: Tensor groups whose linear layers a quantised checkpoint stores narrow.
QUANTISED_GROUPS = ("attention", "mlp", "expert", "shared_expert", "state_space")


@dataclass(frozen=True, slots=True, kw_only=True)
class Formats:
    """The precisions of one run. `wide` holds what quantised checkpoints keep: embeddings, norms, router, lm_head.

    With `published` weights each tensor is stored as its checkpoint has it; else `weights` covers the linear
    layers of the blocks. `narrow` are the peaks that published formats multiply in; None where `activations` was
    chosen for all.
    """

    weights: Precision
    activations: Precision
    kv_cache: Precision
    wide: Precision
    published: bool = False
    narrow: frozenset[str] | None = None
    #: Rules of a GGUF file type, where the weights are in one.
    gguf: GgufRules | None = None
    #: Format of cached values where it is not that of keys.
    value_cache: Precision | None = None

    @property
    def values(self) -> Precision:
        return self.value_cache or self.kv_cache

    def stored(self, tensor: Tensor) -> Precision:
        """The format that a tensor is stored in.

        Quantisation by hand covers the linear layers of blocks; MXFP4 (gpt-oss) only the experts.
        """
        if self.gguf is not None:
            return self.gguf.stored(tensor)
        if self.published:
            return tensor.stored or self.wide
        if tensor.kind != "linear" or tensor.group not in QUANTISED_GROUPS:
            return self.wide
        if self.weights.name == "mxfp4" and tensor.group != "expert":
            return self.wide
        return self.weights

    def multiplied(self, tensor: Tensor) -> str:
        """The name of the peak that computes with a tensor.

        Weights kept wide multiply in the wide format. Formats of a checkpoint multiply in their own where the
        accelerator can, else (weights only, or no such units) in the wide one.
        """
        stored = self.stored(tensor)
        if self.gguf is not None:
            return self.wide.peak
        if stored is self.wide:
            return self.activations.peak if self.weights is self.wide else self.wide.peak
        if self.narrow is not None:
            return stored.peak if stored.peak in self.narrow else self.wide.peak
        return self.activations.peak if stored.bits <= self.activations.bits else self.wide.peak


def own_peak(model: Model, name: str) -> str:
    """The peak that most weights of this format multiply in, as the checkpoint means it; "" for weights only."""
    elements: Counter[str] = Counter()
    for stored, params in model.params_by_format.items():
        if stored is not None and stored.name == name:
            elements[stored.peak] += params
    return max(elements, key=lambda peak: elements[peak], default="")


def resolve(
    model: Model,
    gpu: Gpu,
    *,
    weights: str,
    activations: str,
    kv_cache: str,
    value_cache: str = "auto",
    cache_follows_weights: bool = False,
) -> Formats:
    """What "auto" means for a model on a GPU; InvalidInput where the chip lacks what was asked for.

    `cache_follows_weights`: the engine quantises to fp8 or nvfp4 with a cache in fp8.
    """
    sixteen = gpu.sixteen_bit
    stored = model.checkpoint_precision if weights == "auto" else weights
    if weights == "auto" and PRECISIONS[stored].bits >= 16:
        stored = sixteen
    stored_format = PRECISIONS[stored]
    published, narrow = weights == "auto", None
    if activations == "auto":
        if published:
            narrow = frozenset(peak for peak in NARROW_PEAKS if gpu.supports(peak))
            peak = own_peak(model, stored)
            activations = NARROW_PEAKS[peak] if peak in narrow else sixteen
        else:
            same = stored in ("fp8", "nvfp4") and gpu.supports(stored_format.peak)
            activations = stored if same or stored == "fp32" else sixteen
    multiplied = PRECISIONS[activations]
    if not gpu.supports(multiplied.peak):
        offered = [p.name for p in PRECISIONS.values() if p.name != "mxfp4" and gpu.supports(p.peak)]
        raise InvalidInput(
            "activation_precision",
            f"{gpu.name} has no {activations} units, so it cannot multiply in {activations}. "
            f"Weights may still be stored in it with 16-bit activations.",
            ", ".join(("auto", *offered)),
        )
    if multiplied.bits < stored_format.bits:
        raise InvalidInput(
            "activation_precision",
            f"Activations in {activations} cannot multiply weights stored in the wider {stored}.",
            ", ".join(p.name for p in PRECISIONS.values() if p.bits >= stored_format.bits and gpu.supports(p.peak)),
        )
    wide = PRECISIONS["fp32"] if stored == "fp32" else PRECISIONS[sixteen if sixteen != "fp32" else "fp16"]
    if not gpu.supports(wide.peak):
        wide = PRECISIONS["fp32"]
    follows = cache_follows_weights and not published and multiplied.name in ("fp8", "nvfp4")
    cached = ("fp8" if follows else wide.name) if kv_cache == "auto" else kv_cache
    return Formats(
        weights=stored_format,
        activations=multiplied,
        kv_cache=PRECISIONS[cached],
        wide=wide,
        published=published,
        narrow=narrow,
        gguf=rules(stored, model) if stored_format.peak == GGUF else None,
        value_cache=None if value_cache == "auto" else PRECISIONS[value_cache],
    )
