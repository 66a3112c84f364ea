"""Weights on a GPU: tensors cut over tensor and expert parallel ranks, layers dealt out to pipeline stages."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

from app.calculations.architecture import Layer, Model, Tensor
from app.calculations.formats import Formats
from app.calculations.parallelism import Layout, stage_sizes

#: What a quantised format keeps beside the values of a block.
SCALES = "scales and zero points"


def tensor_bytes(tensor: Tensor, layout: Layout, formats: Formats) -> float:
    """Bytes of a tensor on the most loaded rank of its stage, block scales included."""
    if tensor.group == "expert":
        elements = tensor.params_per_rank(layout.expert_tensor_parallel, layout.ep)
    else:
        elements = tensor.params_per_rank(layout.tp)
    return elements * formats.stored(tensor).bytes_per_element


def layer_weight_bytes(layer: Layer, layout: Layout, formats: Formats) -> float:
    return sum(tensor_bytes(tensor, layout, formats) for tensor in layer.all_tensors())


@dataclass(frozen=True, slots=True)
class Stage:
    """One pipeline stage: how many layers of each kind it has, and whether it holds the embedding and the head."""

    #: (place in the model's layer_counts, number of layers)
    kinds: tuple[tuple[int, int], ...]
    first: bool
    last: bool

    def layers(self, model: Model) -> Iterator[tuple[Layer, int]]:
        for kind, count in self.kinds:
            yield model.layer_counts[kind][0], count

    def tensors(self, model: Model) -> Iterator[tuple[Tensor, int]]:
        """Its tensors with how often each occurs. A tied lm_head on another stage needs its own copy of the table."""
        for layer, count in self.layers(model):
            for tensor in layer.all_tensors():
                yield tensor, count
        tied_copy = model.tied_embeddings and self.last and not self.first
        for tensor in model.embedding:
            if self.first or (tied_copy and tensor.kind == "table" and tensor.shape[0] == model.vocab_size):
                yield tensor, 1
        if self.last:
            for tensor in model.head:
                yield tensor, 1


def stages(model: Model, pp: int) -> Iterator[Stage]:
    """The layers dealt out to `pp` stages; the embedding goes to the first, final norm and lm_head to the last."""
    start = 0
    for index, size in enumerate(stage_sizes(model.num_layers, pp)):
        kinds = tuple(Counter(model.layer_kinds[start : start + size]).items())
        yield Stage(kinds, index == 0, index == pp - 1)
        start += size


@lru_cache(maxsize=4096)  # The same on every GPU.
def stage_weight_bytes(model: Model, stage: Stage, layout: Layout, formats: Formats) -> float:
    """Weights on a GPU of this stage, a vision or audio tower included."""
    held = sum(count * tensor_bytes(tensor, layout, formats) for tensor, count in stage.tensors(model))
    return held + tower_bytes(model, stage, formats)


def tower_bytes(model: Model, stage: Stage, formats: Formats) -> float:
    """A tower of known size lies whole and 16-bit on every GPU of the first stage."""
    return (model.tower_params or 0) * formats.wide.bytes_per_element if stage.first else 0.0


def stage_weight_terms(model: Model, stage: Stage, layout: Layout, formats: Formats) -> dict[tuple[str, str], float]:
    """The same by (tensor group, format): what the weights on a GPU are made of. The scales and zero points of a format
    stand by themselves; those of GGUF's blocks are part of their bits."""
    terms: dict[tuple[str, str], float] = {}
    scales: dict[tuple[str, str], float] = {}
    for tensor, count in stage.tensors(model):
        stored = formats.stored(tensor)
        size = count * tensor_bytes(tensor, layout, formats)
        values, scale = (tensor.group, stored.name), (SCALES, stored.name)
        terms[values] = terms.get(values, 0.0) + size * (1 - stored.scale_share)
        if stored.scale_bits:
            scales[scale] = scales.get(scale, 0.0) + size * stored.scale_share
    terms |= scales
    if tower := tower_bytes(model, stage, formats):
        terms["vision or audio tower", formats.wide.name] = tower
    return terms
