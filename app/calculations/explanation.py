"""The sentences beside the numbers: verdict, why this layout, what to be careful about."""

from __future__ import annotations

import math
from collections.abc import Iterator

from app.calculations.layout_estimate import GIB, Estimate, LayoutEstimate
from app.calculations.memory import IMAGE_ENCODER
from app.calculations.parallelism import Layout

#: Above this share of the capacity a fit is called tight.
TIGHT = 0.92
MILLISECONDS = 1000.0
GOAL_MISSED = "The goal is missed"


def gib(value: float) -> str:
    return f"{value / GIB:,.1f}"


def verdict(found: Estimate) -> str:
    """One sentence with the number that decides."""
    best = found.best
    gpus = f"{best.num_gpus} x {best.scenario.gpu.name}" if best.num_gpus > 1 else best.scenario.gpu.name
    share = best.total_bytes / best.capacity if best.capacity > 0 else math.inf
    part = f" ({share:.0%})" if best.capacity > 0 else ""
    numbers = f"{gib(best.total_bytes)} of {gib(best.capacity)} GiB per GPU{part} on {gpus}."
    if not best.fits:
        return f"Does not fit: {gib(best.shortfall_bytes)} GiB too much per GPU; {numbers}"
    if best.scenario.concurrency is None:
        return f"Fits, filled with {best.resident:,} requests at once: {numbers}"
    return f"{'Fits, tightly' if share > TIGHT else 'Fits'}: {numbers}"


def strategy(best: LayoutEstimate) -> str:
    """The decomposition in words: "8 GPUs = TP 8", "16 GPUs = 2 replicas x TP 8"; of both pools where there are two."""
    decode = cut(best.layout)
    return f"{cut(best.prefill.plan.layout)} prefill, {decode} decode" if best.prefill else decode


def cut(layout: Layout) -> str:
    if layout.num_gpus == 1:
        return "One GPU"
    parts = []
    if layout.dp > 1:
        parts.append(f"{layout.dp} replicas")
    if layout.pp > 1:
        parts.append(f"PP {layout.pp}")
    if layout.tp > 1:
        parts.append(f"TP {layout.tp}")
    if layout.ep > 1:
        parts.append(f"EP {layout.ep}")
    return f"{layout.num_gpus} GPUs = {' x '.join(parts)}"


def layout_reason(found: Estimate) -> str:
    """Why this many GPUs and why cut like this."""
    best = found.best
    if found.by_hand:
        return "Layout set by hand."
    sentences = []
    if best.scenario.num_gpus is None:
        sentences.append(count_reason(found))
    if best.layout.num_gpus > 1:
        sentences.append(cut_reason(found))
    if not sentences:
        return "One GPU holds everything; nothing is cut." if best.fits else "One GPU was asked for."
    return " ".join(sentences)


def count_reason(found: Estimate) -> str:
    best = found.best
    if not best.fits:
        return f"Even {best.num_gpus:,} GPUs do not hold all requests at once."
    if best.num_gpus == 1:
        requests = f"{best.resident:,} request" + "s" * (best.resident > 1)
        return (
            f"One GPU holds the weights and the cache of {requests}: nothing has to be cut. "
            "Tensor parallelism would shorten the time per token; replicas would add throughput."
        )
    if not found.too_few:
        return f"{best.num_gpus} GPUs are enough."
    count, short = found.too_few[-1]
    return (
        f"{count} GPU{'s' if count > 1 else ''} {'lack' if count > 1 else 'lacks'} {gib(short)} GiB each, "
        f"{best.num_gpus} hold the weights and the cache of all requests."
    )


def cut_reason(found: Estimate) -> str:
    best = found.best
    layout, gpu = best.layout, best.scenario.gpu
    words = {
        "tp": f"TP {layout.tp} cuts every matrix, so each step reads 1/{layout.tp} of the weights per GPU",
        "pp": f"PP {layout.pp} cuts the stack of layers, which sends little between GPUs but speeds up no single step",
        "dp": f"{layout.dp} replicas share the requests and exchange nothing",
        "ep": f"EP {layout.ep} deals the experts out whole",
    }
    parts = [words[name] for name in ("tp", "pp", "dp", "ep") if getattr(layout, name) > 1]
    text = "; ".join(parts) + "."
    if layout.tp > 1 and gpu.domain_gpus == 1:
        text += f" {gpu.name} has no fast GPU fabric: the all-reduce of every layer crosses PCIe."
    rivals = [other for other in found.others if other.fits and other.speed]
    if rivals and rivals[0].speed and best.speed:
        rate = rivals[0].speed.requests_per_second / best.speed.requests_per_second
        latency = rivals[0].speed.e2e_seconds / best.speed.e2e_seconds
        text += (
            f" The next best, {strategy(rivals[0])}, serves {rate:.2f} times the requests per second "
            f"at {latency:.2f} times the latency."
        )
    elif found.others and best.fits:
        text += " No other legal layout of so many GPUs fits."
    return text


def missed_goals(best: LayoutEstimate) -> Iterator[tuple[str, float, float]]:
    """(TTFT or TPOT, its value, the goal) in ms of each goal that the mean request misses."""
    scenario, speed = best.scenario, best.speed
    if speed is None:
        return
    times = (("TTFT", speed.ttft_seconds, scenario.max_ttft_ms), ("TPOT", speed.tpot_seconds, scenario.max_tpot_ms))
    for name, seconds, goal in times:
        if goal is not None and seconds is not None and float(seconds) * MILLISECONDS > goal:
            yield name, float(seconds) * MILLISECONDS, goal


def warnings(found: Estimate) -> Iterator[str]:
    """What a careful planner would want to know before trusting the numbers."""
    best = found.best
    scenario, layout, formats = best.scenario, best.layout, best.formats
    model, gpu = scenario.model, scenario.gpu
    length = scenario.input_tokens + scenario.output_tokens
    yield from model.warnings
    if model.max_position and length > model.max_position:
        yield (f"Prompt and output are {length:,} tokens; {model.name} was made for at most {model.max_position:,}.")
    if model.tower_params is None:
        yield "Only the language part is counted: the vision or audio tower needs memory and time of its own."
    elif model.tower_params:
        unread = "time is" if best.plan.widest == IMAGE_ENCODER else "activations and time are"
        yield f"The tower's weights are counted, its {unread} not: prompts are taken as text."
    if best.speed and best.speed.waiting:
        yield (
            f"{best.speed.waiting:,} of {scenario.concurrency:,} requests wait in the queue for memory or a slot; "
            f"their waiting is in the time to first token."
        )
    if scenario.arrival == "open" and best.speed and best.speed.arrivals is None:
        yield (
            f"{scenario.request_rate:,.4g} requests per second arrive and {best.speed.requests_per_second:,.4g} can be "
            "served: the queue, and with it the time to first token, grows without end."
        )
    for name, why in scenario.without_effect():
        yield f"{name} changes nothing here: {why}."
    for name, value, goal in missed_goals(best):
        amount = f"{value:,.0f}" if value >= 100 else f"{value:,.3g}"
        yield f"{GOAL_MISSED}: {name} is {amount} ms, and at most {goal:,.10g} ms was asked for."
    if formats.weights.bits < formats.activations.bits and formats.weights.bits < 16:
        lacking = formats.weights.peak in ("fp8", "fp4", "int8") and not gpu.supports(formats.weights.peak)
        reason = f" ({gpu.name} has no {formats.weights.name} units)" if lacking else ""
        yield (
            f"Weights are stored in {formats.weights.name} and multiplied in {formats.activations.name}{reason}: "
            f"memory and decode gain, prefill does not."
        )
    if model.num_kv_heads and layout.tp > model.num_kv_heads:
        kind = "every rank keeps the same one"
        if model.num_kv_heads > 1:
            kind = f"each of the {model.num_kv_heads} is kept {layout.tp // model.num_kv_heads} times"
        yield f"TP {layout.tp} is more than there are key/value heads or latents to deal out: {kind}."
    if layout.tp > max(gpu.domain_gpus, 1) and gpu.domain_gpus > 1:
        yield f"TP {layout.tp} reaches beyond the {gpu.domain_gpus} GPUs that {gpu.link} joins."
    if best.price_usd_per_gpu_hour is None:
        yield f"No price is known for {gpu.name}: set one to see cost."
    yield from compute_warnings(best)


def compute_warnings(best: LayoutEstimate) -> Iterator[str]:
    gpu = best.scenario.gpu
    if gpu.vendor != "nvidia":
        yield f"Overheads are calibrated mostly on NVIDIA GPUs; speed on {gpu.name} may differ by a factor of two."
    if not gpu.supports("bf16") and not gpu.supports("fp16"):
        yield f"{gpu.name} has no 16-bit matrix units; everything is multiplied in fp32."
