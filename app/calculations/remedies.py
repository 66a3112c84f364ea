"""What to change, one thing at a time, so that a scenario that does not fit would fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from app.calculations.errors import InvalidInput
from app.calculations.layout_estimate import GIB, LayoutEstimate, estimate
from app.calculations.offload import offload
from app.calculations.precision import PRECISIONS
from app.calculations.scenario import ServingScenario

#: Narrower weight formats to try, widest first.
NARROWER_WEIGHTS = ("fp8", "int8", "int4")
#: Share of the memory that engines can still take on a GPU of their own.
HIGH_UTILIZATION = 0.95


def remedies(best: LayoutEstimate) -> Iterator[str]:
    """Single changes that make it fit, each checked by estimating again."""
    scenario = best.scenario
    length = scenario.request_tokens
    most = best.max_concurrency
    if scenario.concurrency and 0 < most < scenario.concurrency:
        yield f"Lower the concurrency to {most:,}: so many requests of {length:,} tokens fit at once."
    if best.max_context_tokens > scenario.output_tokens and best.max_context_tokens < length:
        yield (
            f"Shorten the requests to {best.max_context_tokens:,} tokens (prompt and output) "
            f"at {best.resident:,} in flight."
        )
    stored = best.formats.weights
    for name in NARROWER_WEIGHTS:
        narrow = PRECISIONS[name]
        changed = replace(scenario, weight_precision=name, activation_precision="auto")
        if narrow.bits < stored.bits and fits(best, changed):
            yield f"Store the weights in {name}."
            break
    if best.formats.kv_cache.bits > 8 and fits(best, replace(scenario, kv_precision="fp8")):
        yield "Store the KV cache in fp8."
    if scenario.utilization < HIGH_UTILIZATION and fits(best, replace(scenario, memory_utilization=HIGH_UTILIZATION)):
        yield f"Raise the memory utilisation to {HIGH_UTILIZATION}."
    split = offload(best, scenario.cpu_bandwidth_gb_s * 1e9) if scenario.engine.offloads else None
    if split is not None:
        yield (
            f"Keep {split.gpu_layers} of {split.layers} layers on the GPU and {split.cpu_bytes / GIB:,.1f} GiB in main "
            f"memory: about {1 / split.tpot_seconds:,.1f} tokens/s per user."
        )
    more = enough_gpus(scenario)
    if more is not None and more.num_gpus > best.num_gpus:
        yield f"Use {more.num_gpus} GPUs ({more.layout})."


def fits(best: LayoutEstimate, changed: ServingScenario) -> bool:
    """Whether the changed scenario fits on as many GPUs."""
    try:
        return estimate(replace(changed, num_gpus=best.num_gpus)).best.fits
    except InvalidInput:
        return False


def enough_gpus(scenario: ServingScenario) -> LayoutEstimate | None:
    """The smallest automatic layout that fits, if any."""
    try:
        found = estimate(replace(scenario, num_gpus=None, tp=None, pp=None, dp=None, ep=None)).best
    except InvalidInput:
        return None
    return found if found.fits else None
