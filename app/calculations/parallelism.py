"""Layouts: how many GPUs hold what. Legal combinations, stages, and the nearest legal one for an illegal one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.calculations.architecture import Attention, LatentAttention, Model, Recurrent
from app.calculations.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """`tp` cuts matrices, `pp` cuts the stack of layers, `dp` copies the attention part, `ep` deals out experts.

    One instance has tp x pp x dp GPUs. Experts of a stage lie on `expert_shards` GPUs: within one replica where
    ep <= tp, across replicas where ep > tp; what ep leaves over cuts each expert (expert tensor parallel).
    """

    tp: int = 1
    pp: int = 1
    ep: int = 1
    dp: int = 1

    @property
    def num_gpus(self) -> int:
        return self.tp * self.pp * self.dp

    @property
    def expert_shards(self) -> int:
        return max(self.tp, self.ep)

    @property
    def expert_tensor_parallel(self) -> int:
        return self.expert_shards // self.ep

    def __str__(self) -> str:
        parts = [f"{n.upper()} {getattr(self, n)}" for n in ("tp", "pp", "dp", "ep") if getattr(self, n) > 1]
        return " x ".join(parts) or "one GPU"


def divides_heads(model: Model, tp: int) -> bool:
    """Whether `tp` divides the heads of every layer; fewer key/value heads than tp are replicated evenly."""
    for layer, _ in model.layer_counts:
        for block in layer.blocks:
            if isinstance(block, Attention):
                if block.num_heads % tp or (block.num_kv_heads % tp and tp % block.num_kv_heads):
                    return False
            elif isinstance(block, LatentAttention):
                if block.num_heads % tp:
                    return False
            elif isinstance(block, Recurrent) and block.heads % tp:
                return False
    return True


def legal_tensor_parallel(model: Model, largest: int = 1024) -> list[int]:
    """Degrees of tensor parallelism that the heads allow, up to `largest`."""
    return [tp for tp in range(1, largest + 1) if divides_heads(model, tp)]


def nearest(legal: list[int], asked: int) -> str:
    """The up to three legal numbers next to what was asked for: "4 or 8"."""
    return " or ".join(map(str, sorted(sorted(legal, key=lambda number: abs(number - asked))[:3])))


def check(model: Model, layout: Layout, gpus: int | None = None) -> Layout:
    """The layout itself where it is legal for the model; InvalidInput names the input to change and how, within so many
    `gpus` where they are given."""
    if not divides_heads(model, layout.tp):
        legal = legal_tensor_parallel(model, max(model.num_heads, 64))
        legal = [tp for tp in legal if not gpus or gpus % (tp * layout.pp) == 0] or [1]
        raise InvalidInput(
            "tp",
            f"Tensor parallel {layout.tp} does not divide the {model.num_heads} attention heads "
            f"({model.num_kv_heads} key/value heads) of {model.name}; try {nearest(legal, layout.tp)}.",
            ", ".join(map(str, legal)),
        )
    if layout.pp > model.num_layers:
        raise InvalidInput(
            "pp",
            f"Pipeline parallel {layout.pp} is more than the {model.num_layers} layers of {model.name}; "
            f"try {model.num_layers} or less.",
            f"1 to {model.num_layers}",
        )
    if layout.ep > 1:
        _check_experts(model, layout)
    return layout


def _check_experts(model: Model, layout: Layout) -> None:
    if not model.is_mixture_of_experts:
        raise InvalidInput("ep", f"Expert parallel {layout.ep}: {model.name} has no experts.", "1")
    group = layout.tp * layout.dp
    legal = [
        ep
        for ep in range(1, group + 1)
        if group % ep == 0 and model.num_experts % ep == 0 and (ep % layout.tp == 0 or layout.tp % ep == 0)
    ]
    if layout.ep not in legal:
        raise InvalidInput(
            "ep",
            f"Expert parallel {layout.ep} must divide the {model.num_experts} experts of {model.name} and the "
            f"{group} GPUs of a stage (tp {layout.tp} x dp {layout.dp}); try {nearest(legal, layout.ep)}.",
            ", ".join(map(str, legal)),
        )


def stage_sizes(num_layers: int, pp: int) -> list[int]:
    """Layers of each stage, as even as possible; spare layers go to the middle, whose stages hold no embedding."""
    sizes = [num_layers // pp] * pp
    spare = num_layers - sum(sizes)
    by_middle = sorted(range(pp), key=lambda stage: abs(stage - (pp - 1) / 2))
    for stage in by_middle[:spare]:
        sizes[stage] += 1
    return sizes


def candidates(
    model: Model,
    num_gpus: int,
    *,
    domain_gpus: int,
    tp: int | None = None,
    pp: int | None = None,
    ep: int | None = None,
    dp: int | None = None,
) -> Iterator[Layout]:
    """Legal layouts of `num_gpus` GPUs that keep what was set by hand.

    Tensor parallelism stays inside one fast domain unless it was set by hand: its all-reduce of every layer
    would cross the network.
    """
    for tensor in [tp] if tp else legal_tensor_parallel(model, min(num_gpus, max(domain_gpus, 8))):
        if num_gpus % tensor:
            continue
        for stages in [pp] if pp else divisors(num_gpus // tensor):
            if stages > model.num_layers or (num_gpus // tensor) % stages:
                continue
            replicas = num_gpus // tensor // stages
            if dp and dp != replicas:
                continue
            for experts in [ep] if ep else _expert_choices(model, tensor, replicas):
                yield Layout(tp=tensor, pp=stages, ep=experts, dp=replicas)


def _expert_choices(model: Model, tp: int, dp: int) -> list[int]:
    """Whole experts spread over all replicas where that divides, else experts cut like the other matrices."""
    if dp > 1 and model.num_experts and model.num_experts % (tp * dp) == 0:
        return [1, tp * dp]
    return [1]


def divisors(number: int) -> list[int]:
    return [d for d in range(1, number + 1) if number % d == 0]
