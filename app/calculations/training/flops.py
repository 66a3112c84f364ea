"""FLOPs of a training token under each common convention, and what of the peak they are: MFU and HFU.

Sources count differently; the same run has an MFU of 0.36 or 0.43. A convention says which parameters count (the input
embedding or not), whether a causal mask halves attention, and whether recomputation counts (HFU).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from app.calculations.architecture import Model
from app.calculations.training.operators import token_work
from app.calculations.training.recipe import Adapter

#: Forward pass, gradients of inputs and of weights.
PASSES, FROZEN_PASSES = 3, 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Convention:
    """How a source counts: `all_params` with the input embedding; `attention` as a share of the full square."""

    name: str
    label: str
    all_params: bool
    attention: float
    source: str


CONVENTIONS: Mapping[str, Convention] = {
    one.name: one
    for one in (
        Convention(
            name="palm",
            label="6N + 12 L H S: parameters that multiply (logits, no input embedding), full attention",
            all_params=False,
            attention=1.0,
            source="PaLM, arXiv:2204.02311, appendix B; Korthikanti et al., arXiv:2205.05198, appendix A; NeMo 2024",
        ),
        Convention(
            name="causal",
            label="6N + 6 L H S: as PaLM, attention halved by the causal mask",
            all_params=False,
            attention=0.5,
            source="Megatron-Core num_floating_point_operations and Megatron-Bridge since 2025",
        ),
        Convention(
            name="all_params",
            label="6N + 12 L H S: all parameters with the input embedding, full attention",
            all_params=True,
            attention=1.0,
            source="nanoGPT; torchtitan get_num_flop_per_token 2024; llm-foundry benchmarking",
        ),
        Convention(
            name="params",
            label="6N: all parameters, no attention",
            all_params=True,
            attention=0.0,
            source="Kaplan et al., arXiv:2001.08361, section 2.1",
        ),
    )
}
#: The convention of `mfu`, `hfu` and `tflops_per_gpu` where none is named.
DEFAULT = CONVENTIONS["palm"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenFlops:
    """FLOPs of one token, forward and backward; `hardware` counts what is recomputed, too."""

    model: float
    hardware: float


def flops_per_token(
    model: Model,
    seq_len: int,
    convention: Convention = DEFAULT,
    *,
    trains_weights: bool = True,
    recomputed: tuple[float, float] = (0.0, 0.0),
    attended_tokens: int | None = None,
    multi_token: int = 0,
    adapter: Adapter | None = None,
) -> TokenFlops:
    """FLOPs per token: passes x 2 x parameters + attention; `recomputed` are shares of products and attention.

    Frozen weights (LoRA) have no gradients of their own: two passes, 4N, and three of the `adapter`. Routed experts
    count as often as they run.
    `attended_tokens`: length of the samples packed into a sequence; `multi_token` prediction heads count as layers.
    """
    work = token_work(model, attended_tokens or seq_len, multi_token=multi_token, adapter=adapter)
    passes = PASSES if trains_weights else FROZEN_PASSES
    products = work.linear_flops + work.expert_flops
    # token_work counts the causal half of the square.
    attention = 2 * convention.attention * work.attention_flops + work.recurrent_flops
    head = work.head_flops
    idle = 2 * (model.active_params - (products + head) / 2) if convention.all_params and not multi_token else 0.0
    counted = passes * (products + head + max(idle, 0.0)) + PASSES * (attention + work.adapter_flops)
    repeated = recomputed[0] * (products + work.adapter_flops) + recomputed[1] * attention
    return TokenFlops(model=counted, hardware=counted + repeated)


def utilization(flops: float, tokens_per_second_per_gpu: float, peak_flops_per_second: float) -> float:
    """Share of the peak: FLOPs per token x tokens/s/GPU / peak."""
    return flops * tokens_per_second_per_gpu / peak_flops_per_second
