"""A training scenario -> what one GPU does in a step (`step.Work`)."""

from __future__ import annotations

from math import ceil
from typing import Any

from app.calculations.training.communication import TrainingLinks, training_links
from app.calculations.training.operators import TILE, WIDE_TILE, TokenWork, token_work
from app.calculations.training.pipeline import micro_batches
from app.calculations.training.step import (
    FLASH_BACKWARD,
    INPUT_GRADIENT,
    WEIGHT_GRADIENT,
    Work,
)

#: Name of a training precision -> the peak that its dense products run at.
PEAKS = {"bf16": "bf16", "fp16": "fp16", "fp32": "tf32", "fp8": "fp8", "mxfp8": "fp8", "nvfp4": "fp4"}
#: Bytes of a wide (16-bit) activation.
WIDE_BYTES = 2
#: Reductions of a block's output over tensor-parallel ranks, forward and backward.
REDUCTIONS = 2
#: Share of the slot's rate that copies to the host reach; share of the memory beyond which states are paged out.
HOST_LINK_SHARE = 0.8
PAGED_ABOVE = 0.95
#: Bytes per parameter of an offloaded step: gradients down, weights up, and the processor's AdamW at about a
#: sixth of the link's rate per GPU.
OFFLOADED_STEP_BYTES = 30.0


def peak(scenario: Any, name: str) -> float:
    """Dense peak in FLOP/s of a format; what the GPU lacks is multiplied in 16 bits."""
    gpu = scenario.gpu
    return gpu.peak_flops_per_second.get(PEAKS[name]) or gpu.peak_flops_per_second[gpu.sixteen_bit]


def recomputed(scenario: Any) -> tuple[float, float]:
    """Shares of the forward products and of the attention that the backward pass repeats."""
    mode = scenario.activation_recompute
    if scenario.recomputed is not None and mode == "selective":
        return scenario.recomputed
    if mode == "full":
        return 1.0, 1.0
    if mode == "selective":
        return scenario.stack.selective_products, scenario.stack.selective_attention
    return 0.0, 0.0


def work(scenario: Any) -> Work:
    """What one GPU of the mean pipeline stage does."""
    s = scenario
    links = s.links
    tokens = s.micro_batch_size * s.seq_len / s.cp
    expert_tp = 1 if s.ep > 1 else s.tp
    context = min(s.document_tokens or s.seq_len, s.seq_len)
    token = token_work(
        s.model,
        context,
        tp=s.tp,
        expert_tp=expert_tp,
        sequence_parallel=s.sequence_parallel,
        multi_token=s.mtp,
        tile=WIDE_TILE if s.precision in ("bf16", "fp16", "fp32") else TILE,
    )
    fullest, last = stage_excesses(token.layers, s.pp)
    per_stage = tokens / s.pp
    trains_weights = s.method == "full"
    repeated_products, repeated_attention = recomputed(s)
    backward = INPUT_GRADIENT + (WEIGHT_GRADIENT if trains_weights else 0.0)
    fused = s.stack.fused_attention
    attention_backward = FLASH_BACKWARD if fused else 2.0
    dense_params, expert_params = held_params(s)
    stage_params = dense_params + expert_params
    sharded = s.dp * s.cp
    n = micro_batches(s.global_batch_size, s.micro_batch_size, s.dp)
    shard, reduce = sharding_seconds(s, links, dense_params, expert_params)
    trained = stage_params if trains_weights else 0.0
    optimizer_shards = 1 if s.sharding == "none" else sharded
    # Experts are held once per ep ranks already: their optimizer is sharded over what is left.
    experts_left = max(sharded * s.tp // max(s.ep, 1) // expert_tp, 1)
    held = (
        dense_params / optimizer_shards + expert_params / (1 if s.sharding == "none" else experts_left)
        if trains_weights
        else 0.0
    )
    return Work(
        micro_batches=float(n),
        pp=float(s.pp),
        vpp=float(s.vpp),
        tokens=tokens,
        linear_flops=token.linear_flops * per_stage,
        linear_narrowness=token.linear_narrowness,
        ragged_share=token.ragged_share,
        linear_passes=1 + backward + repeated_products,
        linear_peak=peak(s, s.precision),
        expert_flops=token.expert_flops * per_stage,
        expert_narrowness=token.expert_narrowness,
        ragged_experts=token.ragged_experts,
        expert_tokens=tokens / s.tp * expert_tp * experts_per_token(s.model) * s.ep / max(s.model.num_experts, 1),
        head_flops=token.head_flops * per_stage,
        head_passes=1 + backward,
        wide_peak=peak(s, "bf16"),
        attention_flops=token.attention_flops * per_stage * (1 if fused else 2),
        attention_passes=1 + attention_backward + repeated_attention,
        foreign_share=1 - 1 / s.cp,
        recurrent_flops=token.recurrent_flops * per_stage,
        elements=token.elements * per_stage,
        expert_elements=token.expert_elements * per_stage,
        element_passes=2 + repeated_products,
        scores=0.0 if fused else token.scores * per_stage,
        logits=s.model.vocab_size * tokens / s.tp / s.pp,
        bytes_per_second=s.gpu.memory_bandwidth_bytes_per_second,
        tensor_seconds=tensor_seconds(s, links, token, tokens, repeated_products),
        expert_seconds=expert_seconds(s, links, token, per_stage),
        context_seconds=context_seconds(s, links, token, per_stage),
        hop_seconds=hop_seconds(s, links, tokens),
        shard_seconds=shard,
        reduce_seconds=reduce,
        fullest_excess=fullest,
        last_excess=last,
        layers=token.layers / s.pp,
        dropless_layers=token.expert_layers / s.pp if s.dropless else 0.0,
        stage_params=trained,
        optimizer_params=held,
        host_seconds=host_seconds(s, held, stage_params),
        num_gpus=float(s.num_gpus),
        age_years=s.age_years,
        has_experts=float(s.model.is_mixture_of_experts),
    )


def experts_per_token(model: Any) -> int:
    return max(
        (getattr(b, "experts_per_token", 0) for layer, _ in model.layer_counts for b in layer.blocks), default=0
    )


def held_params(s: Any) -> tuple[float, float]:
    """Parameters of a mean stage on one rank before data-parallel sharding: dense ones and routed experts."""
    groups = s.model.params_by_group
    dense = sum(count for name, count in groups.items() if name != "expert") / (s.tp * s.pp)
    experts = groups["expert"] / (max(s.ep, 1) * (s.tp if s.ep == 1 else 1) * s.pp)
    return dense, experts


def tensor_seconds(s: Any, links: TrainingLinks, token: TokenWork, tokens: float, repeated: float) -> float:
    """Sums over tensor-parallel ranks of a micro-batch: each block's output, forward and backward."""
    if s.tp == 1:
        return 0.0
    stream = tokens * s.model.hidden_size * WIDE_BYTES
    sums = (REDUCTIONS + repeated) * token.reduced_blocks / s.pp
    return sums * 2 * links.ring_seconds(stream, s.tp)


def expert_seconds(s: Any, links: TrainingLinks, token: TokenWork, per_stage: float) -> float:
    """Dispatch and combine, forward and backward."""
    copies = experts_per_token(s.model)
    if copies == 0:
        return 0.0
    sent = 4 * token.routed_elements / copies * per_stage * WIDE_BYTES
    return links.all_to_all_seconds(sent, copies, s.ep)


def context_seconds(s: Any, links: TrainingLinks, token: TokenWork, per_stage: float) -> float:
    """Keys and values passed round, and in the backward pass they and their gradients."""
    if s.cp == 1:
        return 0.0
    moved = 3 * token.kv_elements * per_stage * WIDE_BYTES * s.cp
    return links.ring_seconds(moved, s.cp, stride=s.tp)


def hop_seconds(s: Any, links: TrainingLinks, tokens: float) -> float:
    """Activations to the next stage and gradients back, once per model chunk."""
    if s.pp == 1:
        return 0.0
    message = 2 * s.vpp * tokens * s.model.hidden_size * WIDE_BYTES / s.tp
    stride = s.tp * s.cp * s.dp
    near = stride * s.pp <= links.domain_gpus
    return message / (links.fabric_bytes_per_second if near else links.network_bytes_per_second)


def sharding_seconds(s: Any, links: TrainingLinks, dense: float, experts: float) -> tuple[float, float]:
    """Weights gathered and gradients scattered per micro-batch, and gradients reduced per step."""
    ranks = s.dp * s.cp
    weight = 1 if s.precision in ("fp8", "mxfp8", "nvfp4") and s.stack.name == "torchtitan" else WIDE_BYTES
    grad = s.stack.gradient_bytes if s.method == "full" else 0.0
    expert_ranks = max(ranks * s.tp // max(s.ep, 1), 1) if s.ep > 1 else ranks

    def ring(size: float) -> float:
        own = links.ring_seconds(size * dense, ranks, stride=s.tp)
        return own + links.ring_seconds(size * experts, expert_ranks, stride=s.tp * s.ep if s.ep > 1 else s.tp)

    match s.sharding:
        case "fsdp-full" | "zero3" | "hsdp":
            return ring(2 * weight + grad), 0.0
        case "fsdp-grad-op":
            return (0.0, ring(grad + weight)) if s.pp > 1 else (ring(grad), ring(weight))
        case "zero2":
            return (0.0, ring(grad + weight)) if s.stack.reduces_once else (ring(grad), ring(weight))
        case "zero1":
            return 0.0, ring(grad + WIDE_BYTES)
        case _:
            return 0.0, ring(2 * grad)


def host_seconds(s: Any, held: float, stage_params: float) -> float:
    """Seconds per step over the host link: paged optimizer states that do not fit, or all states offloaded."""
    rate = s.gpu.pcie_bytes_per_second * HOST_LINK_SHARE
    states = held * s.state_bytes
    if s.offload == "optimizer":
        weights = stage_params * WIDE_BYTES / (s.dp * s.cp if s.sharding.startswith(("fsdp", "zero3")) else 1)
        beyond = states + weights - PAGED_ABOVE * s.gpu.memory_bytes
        return 2 * min(max(beyond, 0.0), states) / rate
    if s.offload == "all":
        n = micro_batches(s.global_batch_size, s.micro_batch_size, s.dp)
        return (2 * n * WIDE_BYTES + OFFLOADED_STEP_BYTES) * held / rate
    return 0.0


def stage_excesses(layers: int, pp: int) -> tuple[float, float]:
    """Layers of the fullest stage and of the last over the mean, less one; spare places go to the last stage first."""
    fullest = ceil(layers / pp)
    spare = fullest * pp - layers
    return fullest * pp / layers - 1, (fullest - min(spare, 1)) * pp / layers - 1


def links_of(gpu: Any, hardware: Any, network: float | None) -> TrainingLinks:
    return training_links(gpu, hardware, network)
