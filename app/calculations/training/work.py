"""A training setting -> what one GPU does in a step (`step.Work`)."""

from __future__ import annotations

from app.calculations.accelerator import Gpu
from app.calculations.training import adapters
from app.calculations.training.operators import TILE, WIDE_TILE, TokenWork, experts_per_token, token_work
from app.calculations.training.pipeline import micro_batches, stage_excesses
from app.calculations.training.setting import Setting
from app.calculations.training.step import FLASH_BACKWARD, INPUT_GRADIENT, UNFUSED_BACKWARD, WEIGHT_GRADIENT, Work

#: Name of a training precision -> the peak that its dense products run at.
PEAKS = {"bf16": "bf16", "fp16": "fp16", "fp32": "tf32", "fp8": "fp8", "mxfp8": "fp8", "nvfp4": "fp4"}
#: Bytes of a 16-bit activation or weight.
WIDE_BYTES = 2


def multiplies(gpu: Gpu, precision: str) -> bool:
    """Whether a GPU's tensor cores multiply in a training precision.

    Scales of blocks (OCP Microscaling Formats 1.0, 2023) came with 4-bit units: Blackwell, CDNA 4. NVFP4 is NVIDIA's.
    """
    if precision == "mxfp8":
        return gpu.supports("fp8") and gpu.supports("fp4")
    return gpu.supports(PEAKS[precision]) and (precision != "nvfp4" or gpu.vendor == "nvidia")


def peak(setting: Setting, precision: str) -> float:
    """Dense peak in FLOP/s of a format; what the GPU lacks is multiplied in 16 bits."""
    peaks = setting.gpu.peak_flops_per_second
    return peaks.get(PEAKS[precision]) or peaks[setting.gpu.sixteen_bit]


def work(s: Setting) -> Work:
    """What one GPU of the mean pipeline stage does."""
    tokens = s.micro_batch_size * s.seq_len / s.cp
    per_stage = tokens / s.pp
    token = token_work(
        s.model,
        min(s.document_tokens or s.seq_len, s.seq_len),
        tp=s.tp,
        expert_tp=s.expert_tp,
        sequence_parallel=s.sequence_parallel,
        multi_token=s.multi_token,
        tile=TILE if s.narrow_products else WIDE_TILE,
        adapter=s.adapter,
    )
    fused = s.stack.fused_attention
    repeated_products, repeated_attention = s.recomputed_shares
    backward = INPUT_GRADIENT + (WEIGHT_GRADIENT if s.trains_weights else 0.0)
    fullest, last = stage_excesses(token.layers, s.pp)
    dense, experts = held_params(s)
    optimized = optimizer_params(s)
    uneven, wide = s.imbalance, s.wide_bytes / WIDE_BYTES
    shard, reduce = sharding_seconds(s, dense, experts)
    seen, hidden = tensor_seconds(s, token, per_stage)
    return Work(
        micro_batches=float(micro_batches(s.global_batch_size, s.micro_batch_size, s.dp)),
        pp=float(s.pp),
        vpp=float(s.vpp),
        tokens=tokens,
        linear_flops=token.linear_flops * per_stage,
        linear_narrowness=token.linear_narrowness,
        ragged_share=token.ragged_share,
        linear_passes=1 + backward + repeated_products,
        linear_peak=peak(s, s.precision),
        # The fullest GPU holds up the others of its expert-parallel group.
        expert_flops=token.expert_flops * per_stage * uneven,
        expert_narrowness=token.expert_narrowness,
        ragged_experts=token.ragged_experts,
        expert_tokens=tokens_per_expert(s, tokens) * uneven,
        head_flops=token.head_flops * per_stage,
        head_passes=1 + backward,
        wide_peak=peak(s, "fp32" if s.precision == "fp32" else "bf16"),
        # Without fusion the masked half is computed, too.
        attention_flops=token.attention_flops * per_stage * (1 if fused else 2),
        attention_passes=1 + (FLASH_BACKWARD if fused else UNFUSED_BACKWARD) + repeated_attention,
        foreign_share=1 - 1 / s.cp,
        recurrent_flops=token.recurrent_flops * per_stage,
        adapter_flops=token.adapter_flops * per_stage,
        adapter_narrowness=token.adapter_narrowness,
        adapter_passes=3 + repeated_products,
        # Coefficients of what kernels move are of 16-bit elements.
        elements=token.elements * per_stage * wide,
        expert_elements=token.expert_elements * per_stage * uneven * wide,
        element_passes=2 + repeated_products,
        scores=0.0 if fused else token.scores * per_stage * wide,
        score_passes=2 + repeated_attention,
        logits=s.model.vocab_size * per_stage / s.tp,
        bytes_per_second=s.gpu.memory_bandwidth_bytes_per_second,
        tensor_seconds=seen,
        hidden_tensor_seconds=hidden,
        expert_seconds=expert_seconds(s, token, per_stage) * uneven,
        context_seconds=context_seconds(s, token, per_stage),
        gathered_share=float(s.stack.gathers_keys),
        hop_seconds=hop_seconds(s, tokens),
        shard_seconds=shard,
        reduce_seconds=reduce,
        fullest_excess=fullest,
        last_excess=last,
        dropless_layers=token.expert_layers / s.pp if s.dropless else 0.0,
        accumulated_params=0.0 if s.stack.fuses_accumulation or not s.trains_weights else dense + experts,
        optimizer_bytes=0.0 if s.updates_in_host else step_bytes(s) * optimized,
        offload_seconds=offload_seconds(s, optimized, dense, experts)
        + 2 * s.paged_bytes / s.links.host_link_bytes_per_second,
        num_gpus=float(s.num_gpus),
        age_years=s.age_years,
        has_experts=float(s.model.is_mixture_of_experts),
    )


def tokens_per_expert(s: Setting, tokens: float) -> float:
    """Rows of an expert's product: tokens of all expert-parallel ranks, dealt evenly."""
    routed = tokens / s.tp * s.expert_tp * s.ep * experts_per_token(s.model)
    return routed / max(s.model.num_experts, 1)


def held_params(s: Setting) -> tuple[float, float]:
    """Dense parameters and routed experts of a mean stage on one rank, before data-parallel sharding."""
    groups = s.model.params_by_group
    dense = sum(count for name, count in groups.items() if name != "expert") / (s.tp * s.pp)
    return dense, groups["expert"] / (s.ep * s.expert_tp * s.pp)


def expert_replicas(s: Setting) -> int:
    """Ranks of a stage that hold the same experts."""
    return max(s.dp * s.cp * s.tp // (s.ep * s.expert_tp), 1)


def trained_params(s: Setting) -> tuple[float, float]:
    """Of the same, what is trained: all of them, or the adapters beside them."""
    if s.trains_weights:
        return held_params(s)
    adapter = s.adapter
    found = adapter and adapters.held_params(s.model, adapter, tp=s.tp, expert_tp=s.expert_tp, ep=s.ep, pp=s.pp)
    return found or 0.0, 0.0


def sharded(s: Setting, dense: float, experts: float) -> float:
    """What one GPU has of parameters that data-parallel GPUs deal out."""
    group = min(s.hsdp_gpus, s.dp * s.cp) if s.sharding == "hsdp" else s.dp * s.cp
    return dense / group + experts / min(group, expert_replicas(s))


def optimizer_params(s: Setting) -> float:
    """Parameters whose optimizer states one GPU updates."""
    trained = trained_params(s)
    return sum(trained) if s.sharding == "none" else sharded(s, *trained)


def step_bytes(s: Setting) -> float:
    """Bytes per parameter that the optimizer's kernels move; what it keeps is read and written."""
    return s.stack.step_bytes + s.update_bytes + 2 * s.state_bytes


def tensor_seconds(s: Setting, token: TokenWork, per_stage: float) -> tuple[float, float]:
    """Sums over tensor-parallel ranks of a micro-batch, each block's output forward and backward: those that the
    products wait for, and those beside products."""
    sums = 2 * s.links.ring_seconds(per_stage * s.model.hidden_size * s.wide_bytes, s.tp) * token.reduced_blocks
    seen, hidden = backward_sums(s)
    return (1 + s.recomputed_shares[0] + seen) * sums, hidden * sums


def backward_sums(s: Setting) -> tuple[float, float]:
    """Sums of a block in the backward pass that its products wait for, and those that run beside the products of
    weights' gradients by design.

    Sequence parallelism gathers the output's gradient before any product, and the input once more beside one
    (Korthikanti et al., arXiv:2205.05198, sections 4.2.2 and 6.2).
    """
    if not s.stack.hides_backward_sums:
        return 1.0, 0.0
    return (0.5 if s.sequence_parallel else 0.0), 1.0


def expert_seconds(s: Setting, token: TokenWork, per_stage: float) -> float:
    """Dispatch and combine, forward and backward."""
    copies = experts_per_token(s.model)
    if copies == 0:
        return 0.0
    sent = 4 * token.routed_elements / copies * per_stage * s.wide_bytes
    return s.links.all_to_all_seconds(sent, copies, s.ep)


def context_seconds(s: Setting, token: TokenWork, per_stage: float) -> float:
    """Keys and values passed round, and in the backward pass they and their gradients."""
    moved = 3 * token.kv_elements * per_stage * s.wide_bytes * s.cp
    return s.links.ring_seconds(moved, s.cp, stride=s.tp)


def hop_seconds(s: Setting, tokens: float) -> float:
    """Activations to the next stage and gradients back, once per model chunk.

    Each rank sends its part; without sequence parallelism the receivers put them together (Narayanan et al.,
    arXiv:2104.04473, section 4.1).
    """
    if s.pp == 1:
        return 0.0
    stream = tokens * s.model.hidden_size * s.wide_bytes
    whole = 0.0 if s.sequence_parallel else s.links.ring_seconds(stream, s.tp)
    return 2 * s.vpp * (s.links.hop_seconds(stream / s.tp, stride=s.tp * s.cp * s.dp) + whole)


def sharding_seconds(s: Setting, dense: float, experts: float) -> tuple[float, float]:
    """Weights gathered and gradients scattered: per micro-batch, and per step.

    Frozen weights have no gradients, and are never sent where each GPU has them whole.

    With a pipeline a stage stays gathered, and its gradients are added up unscattered (PyTorch FSDP2 with
    torch.distributed.pipelining), until all micro-batches have passed.
    """
    gathered = 1 if s.narrow_products and s.stack.gathers_narrow else s.wide_bytes
    gradient = s.stack.gradient_bytes if s.gradient_bytes is None else s.gradient_bytes
    trained, trained_experts = trained_params(s)

    def ring(size: float, params: float, experts: float) -> float:
        own = s.links.ring_seconds(size * params, s.dp * s.cp, stride=s.tp)
        stride = s.ep * s.expert_tp if s.ep > 1 else s.tp
        return own + s.links.ring_seconds(size * experts, expert_replicas(s), stride=stride)

    def weights(times: float) -> float:
        return ring(times * gathered, dense, experts)

    def gradients(size: float) -> float:
        return ring(size, trained, trained_experts)

    match s.sharding:
        case "fsdp-full" | "zero3" if s.pp > 1:
            return 0.0, weights(1) + gradients(gradient)
        case "fsdp-full" | "zero3":
            return weights(2) + gradients(gradient), 0.0
        case "hsdp":
            scattered = gradient * (trained + trained_experts)
            return hybrid_seconds(s, 2 * gathered * (dense + experts) + scattered, scattered)
        case "fsdp-grad-op" | "zero2":
            once = ring(gathered, trained, trained_experts)
            if s.pp > 1 or s.stack.reduces_once:
                return 0.0, gradients(gradient) + once
            return gradients(gradient), once
        case "zero1":
            return 0.0, gradients(gradient + s.wide_bytes)
        case _:
            return 0.0, gradients(2 * gradient)


def hybrid_seconds(s: Setting, moved: float, gradients: float) -> tuple[float, float]:
    """HSDP: bytes moved in a group of GPUs per micro-batch; the shards' gradients summed over the groups per step."""
    inside = min(s.hsdp_gpus, s.dp * s.cp)
    groups = s.dp * s.cp // inside
    across = 2 * s.links.ring_seconds(gradients / inside, groups, stride=s.tp * inside)
    return s.links.ring_seconds(moved, inside, stride=s.tp), across


def offload_seconds(s: Setting, optimized: float, dense: float, experts: float) -> float:
    """Seconds per step over the host link: paged states that do not fit, or what is offloaded."""
    rate = s.links.host_link_bytes_per_second
    states = optimized * s.state_bytes
    if s.offload == "paged":
        shards = s.dp * s.cp if s.sharding in ("fsdp-full", "zero3", "hsdp") else 1
        beyond = states + (dense + experts) * WIDE_BYTES / shards - s.links.paged_above * s.gpu.memory_bytes
        return 2 * min(max(beyond, 0.0), states) / rate
    if s.updates_in_host:
        stepped = s.links.offloaded_step_bytes * optimized
        if not s.weights_in_host:
            return stepped / rate
        gathers = 2 * micro_batches(s.global_batch_size, s.micro_batch_size, s.dp) * s.wide_bytes
        return (stepped + gathers * sharded(s, dense, experts)) / rate
    if s.offload == "activations":
        return offloaded_activation_bytes(s) / rate
    return 0.0


def offloaded_activation_bytes(s: Setting) -> float:
    """Bytes of activations over the host link in a step, to the host and back, none of it hidden.

    A layer keeps its input with full recomputation, else about 34 bytes per token and element of its width in 16 bits
    (Korthikanti et al., arXiv:2205.05198, section 4.1).
    """
    covered = s.covered_share if s.activation_recompute == "full" else 0.0
    per_element = s.wide_bytes * (covered + (1 - covered) * 34 / WIDE_BYTES)
    tokens = s.global_batch_size * s.seq_len / (s.dp * s.cp)
    return 2 * tokens * per_element * s.model.hidden_size * s.model.num_layers / (s.pp * s.tp)
