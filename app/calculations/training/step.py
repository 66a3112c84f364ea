"""Seconds of a training step: work over calibrated rates, what communication leaves exposed, bubble, optimizer.

    micro-batch = products + experts + head + attention + recurrences + elementwise, forward and backward
                  + exposed communication + host
    step        = micro-batches x slowest stage + (pp - 1) / vpp x mean stage + optimizer + gradient reduction + fixed

All functions take numbers or arrays, so that a calibration predicts thousands of rows at once.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

from app.calculations.arrays import Numbers, larger, smaller
from app.calculations.training.coefficients import Coefficients
from app.calculations.training.pipeline import bubble_micro_batches

#: Backward of flash attention over its forward: five products instead of two (Dao, arXiv:2307.08691, section 3.1).
FLASH_BACKWARD = 2.5
UNFUSED_BACKWARD = 2.0
#: Backward of a product over its forward, for the inputs' gradient and for the weights'.
INPUT_GRADIENT, WEIGHT_GRADIENT = 1.0, 1.0
#: Bytes that the loss moves per logit: 16-bit logits, their fp32 copy, softmax and gradient.
LOGIT_BYTES = 16.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What one GPU does in a step. Micro-batch quantities are those of the mean pipeline stage.

    `*_passes` count forward passes (backward of a product is two, recomputation one). Communication is in seconds at
    the links' rates with nothing hidden (`communication.py`).
    """

    micro_batches: Numbers
    pp: Numbers
    vpp: Numbers
    #: Tokens of a micro-batch on this GPU, before tensor parallelism divides them.
    tokens: Numbers
    linear_flops: Numbers
    linear_narrowness: Numbers
    ragged_share: Numbers
    linear_passes: Numbers
    linear_peak: Numbers
    expert_flops: Numbers
    expert_narrowness: Numbers
    ragged_experts: Numbers
    #: Tokens that one expert multiplies at once.
    expert_tokens: Numbers
    head_flops: Numbers
    head_passes: Numbers
    wide_peak: Numbers
    attention_flops: Numbers
    attention_passes: Numbers
    #: (cp - 1) / cp: share of the scores that meet keys of other ranks.
    foreign_share: Numbers
    recurrent_flops: Numbers
    adapter_flops: Numbers
    adapter_narrowness: Numbers
    adapter_passes: Numbers
    elements: Numbers
    expert_elements: Numbers
    element_passes: Numbers
    scores: Numbers
    score_passes: Numbers
    logits: Numbers
    bytes_per_second: Numbers
    tensor_seconds: Numbers
    #: Of tensor parallelism, what runs beside products by design.
    hidden_tensor_seconds: Numbers
    expert_seconds: Numbers
    context_seconds: Numbers
    #: Of it, what nothing can hide: attention waits for all keys.
    gathered_share: Numbers
    hop_seconds: Numbers
    shard_seconds: Numbers
    reduce_seconds: Numbers
    #: Layers of the fullest stage, and of the last one beside the head, over those of the mean stage, less one.
    fullest_excess: Numbers
    last_excess: Numbers
    #: Layers of the mean stage that route tokens without fixed shapes.
    dropless_layers: Numbers
    #: Parameters whose gradients are added up by kernels of their own.
    accumulated_params: Numbers
    #: Bytes that kernels between the last gradient and the next step move.
    optimizer_bytes: Numbers
    #: Transfers of offloaded states over the host link, per step.
    offload_seconds: Numbers
    num_gpus: Numbers
    #: Years that the software is older than the newest measured.
    age_years: Numbers
    has_experts: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class StepTime:
    """Seconds of a step by term; their sum is `total`. Communication terms are what is not hidden."""

    linear: Numbers
    experts: Numbers
    head: Numbers
    attention: Numbers
    recurrent: Numbers
    elementwise: Numbers
    tensor_parallel: Numbers
    expert_parallel: Numbers
    context_parallel: Numbers
    pipeline_hops: Numbers
    sharding: Numbers
    host: Numbers
    accumulation: Numbers
    bubble: Numbers
    imbalance: Numbers
    optimizer: Numbers
    gradient_reduction: Numbers
    offload: Numbers
    fixed: Numbers
    stragglers: Numbers

    @property
    def total(self) -> Numbers:
        return sum(getattr(self, field.name) for field in fields(self))

    def terms(self) -> dict[str, Any]:
        return {field.name: getattr(self, field.name) for field in fields(self)}


def step_time(work: Work, c: Coefficients) -> StepTime:
    """The step's seconds by term, at the coefficients of this GPU, format and framework."""
    age = 1 + work.age_years * (c.age * (1 - work.has_experts) + c.expert_age * work.has_experts)
    narrow = 1 + c.narrow * work.linear_narrowness + c.short / work.tokens + c.ragged * work.ragged_share
    linear = age * work.linear_flops * work.linear_passes / (work.linear_peak * c.products) * narrow
    thin = 1 + c.narrow * work.adapter_narrowness + c.short / work.tokens
    linear += age * work.adapter_flops * work.adapter_passes / (work.wide_peak * c.products) * thin
    few = 1 + c.expert_narrow * work.expert_narrowness + c.expert_short / larger(work.expert_tokens, 1.0)
    few += c.expert_ragged * work.ragged_experts
    experts = age * work.expert_flops * work.linear_passes / (work.linear_peak * c.expert_products) * few
    head = age * work.head_flops * work.head_passes / (work.wide_peak * c.head)
    ring = 1 + c.foreign * work.foreign_share
    attention = age * work.attention_flops * work.attention_passes / (work.wide_peak * c.attention) * ring
    recurrent = age * work.recurrent_flops * work.attention_passes / (work.wide_peak * c.recurrent)
    elementwise = age * moved_bytes(work, c) / work.bytes_per_second
    compute = linear + experts + attention + recurrent + elementwise
    host = c.host_seconds * work.dropless_layers * age
    tensor = c.tensor * (work.tensor_seconds + c.shard * work.hidden_tensor_seconds) * age
    expert = c.expert * work.expert_seconds * age
    context = (c.context + (1 - c.context) * work.gathered_share) * work.context_seconds
    hops = c.hop * work.hop_seconds
    shown = exposed(work.shard_seconds, compute + head, c.shard)
    accumulation = c.accumulate_bytes * work.accumulated_params / work.bytes_per_second
    mean = compute + head + host + tensor + expert + context + hops + shown + accumulation
    n = work.micro_batches
    excess = c.imbalance * stage_excess(work, mean - head, head)
    bubble = bubble_micro_batches(work.pp, work.vpp) * mean
    optimizer = c.optimizer * work.optimizer_bytes / work.bytes_per_second
    reduction = c.reduce * work.reduce_seconds
    whole = n * (mean + excess) + bubble + optimizer + reduction + work.offload_seconds + c.fixed_seconds
    stragglers = whole * c.straggler * doublings(work.num_gpus)
    return StepTime(
        linear=n * linear,
        experts=n * experts,
        head=n * head,
        attention=n * attention,
        recurrent=n * recurrent,
        elementwise=n * elementwise,
        tensor_parallel=n * tensor,
        expert_parallel=n * expert,
        context_parallel=n * context,
        pipeline_hops=n * hops,
        sharding=n * shown,
        host=n * host,
        accumulation=n * accumulation,
        bubble=bubble,
        imbalance=n * excess,
        optimizer=optimizer,
        gradient_reduction=reduction,
        offload=work.offload_seconds,
        fixed=c.fixed_seconds,
        stragglers=stragglers,
    )


def stage_excess(work: Work, blocks: Numbers, head: Numbers) -> Numbers:
    """Seconds by which the slowest stage exceeds the mean per micro-batch: by uneven layers, or by holding the head."""
    fullest = blocks * work.fullest_excess - head
    last = blocks * work.last_excess + head * (work.pp - 1)
    return larger(larger(fullest, last), 0.0 * head)


def moved_bytes(work: Work, c: Coefficients) -> Numbers:
    """Bytes that elementwise kernels of a micro-batch move: norms, activations, unfused softmax, loss."""
    blocks = c.element_bytes * work.elements + c.expert_element_bytes * work.expert_elements
    scores = c.score_bytes * work.scores
    return blocks * work.element_passes / 2 + scores * work.score_passes / 2 + LOGIT_BYTES * work.logits


def exposed(seconds: Numbers, compute: Numbers, share: Numbers) -> Numbers:
    """What is seen of `seconds` of communication beside `compute`: all that exceeds it, and `share` of the rest."""
    return larger(seconds - compute, 0.0 * seconds) + share * smaller(seconds, compute)


def doublings(num_gpus: Numbers) -> Numbers:
    """Times that the GPUs doubled beyond one node of eight."""
    import math

    if isinstance(num_gpus, int | float):
        return max(math.log2(num_gpus / 8), 0.0)
    import numpy

    return numpy.maximum(numpy.log2(num_gpus / 8), 0.0)
