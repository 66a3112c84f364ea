"""How busy the GPUs of an instance are: bytes and FLOPs per second of wall time, from its steps and their rate."""

from __future__ import annotations

from dataclasses import dataclass, replace

from app.calculations.accelerator import Gpu
from app.calculations.energy import Activity
from app.calculations.memory import MemoryPlan
from app.calculations.operators import Traffic
from app.calculations.serving import Serving, Step, step_operators


@dataclass(frozen=True, slots=True, kw_only=True)
class StepWork:
    """What a step asks of a GPU if one held all pipeline stages: bytes, and FLOPs in 16-bit equivalents."""

    bytes: float
    flops: float

    def __add__(self, other: StepWork) -> StepWork:
        return StepWork(bytes=self.bytes + other.bytes, flops=self.flops + other.flops)

    def __mul__(self, times: float) -> StepWork:
        return StepWork(bytes=self.bytes * times, flops=self.flops * times)


def step_work(plan: MemoryPlan, step: Step, traffic: Traffic, gpu: Gpu) -> StepWork:
    """The operators of a step added up, and of guessing the drafts before it."""
    moved = flops = 0.0
    wide = gpu.peak_flops_per_second[gpu.sixteen_bit]
    for operator in step_operators(plan, step, traffic):
        moved += operator.count * float(operator.bytes)
        if operator.peak:
            flops += operator.count * float(operator.flops) * wide / gpu.peak_flops_per_second[operator.peak]
    whole = StepWork(bytes=moved, flops=flops)
    if not step.draft_steps:
        return whole
    undrafted = replace(step, work=step.undrafted, draft_steps=0.0)
    return whole + step_work(plan, undrafted, traffic, gpu) * step.draft_steps


def activity(plan: MemoryPlan, speed: Serving, traffic: Traffic, gpu: Gpu, output_steps: float, mode: str) -> Activity:
    """Mean over wall time of one GPU of a replica that serves r requests per second, n at once.

    A request brings its prefill, (alone + (n - 1) added) / n, and its share of `output_steps` - 1 decode steps, of a
    pass of n / pp requests; each of `pp` stages does 1 / pp of a pass. In a batch that starts together the others'
    prompts come in full prefill steps.
    """
    planned, steps = speed.planned, speed.steps
    n, tokens = planned.decoding, max(output_steps - 1.0, 0.0)
    rate = speed.requests_per_second / plan.layout.dp

    def work(step: Step) -> StepWork:
        return step_work(plan, step, traffic, gpu)

    decode, decode_seconds = work(planned.drain), float(steps.drain)
    if mode in ("static", "burst"):
        other, other_seconds = work(planned.burst) * (1 / planned.burst_prompts), float(steps.burst)
    else:
        joined = work(planned.mixed) + decode * -1
        other, other_seconds = joined * (1 / planned.mixed_prompts), float(steps.added)
    prompt = (work(planned.alone) + other * (n - 1)) * (1 / n)
    done = (prompt + decode * (tokens / max(1.0, n / plan.layout.pp))) * (rate / plan.layout.pp)
    seconds = (float(steps.alone) + (n - 1) * other_seconds + tokens * decode_seconds) / n
    return Activity(awake=min(rate * seconds, 1.0), bytes_per_second=done.bytes, flops_per_second=done.flops)


def pools_activity(
    prefill: MemoryPlan, decode: MemoryPlan, speed: Serving, traffic: Traffic, gpu: Gpu, output_steps: float
) -> Activity:
    """Mean over wall time and all GPUs where some only prefill, in full steps, and the others only decode."""
    planned, steps = speed.planned, speed.steps
    prompts = speed.requests_per_second / prefill.layout.dp
    batch = max(1.0, planned.running / decode.layout.pp)
    decodes = speed.requests_per_second / decode.layout.dp * (output_steps - 1) / batch
    prompt = step_work(prefill, planned.burst, traffic, gpu) * (prompts / planned.burst_prompts)
    decoded = step_work(decode, planned.decode, traffic, gpu) * (decodes / decode.layout.pp)
    gpus = prefill.layout.num_gpus + decode.layout.num_gpus
    shares = prefill.layout.num_gpus / gpus, decode.layout.num_gpus / gpus
    done = prompt * shares[0] + decoded * shares[1]
    awake = min(prompts * float(steps.burst), 1.0) * shares[0] + min(decodes * float(steps.decode), 1.0) * shares[1]
    return Activity(awake=awake, bytes_per_second=done.bytes, flops_per_second=done.flops)
