"""One scenario with one thing changed step by step: formats, accelerators, requests in flight, number of GPUs.

Every point is an estimate of its own, so that it says just what an estimate of that question would.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from app.calculations import cost
from app.calculations.accelerator import Gpu
from app.calculations.errors import InvalidInput
from app.calculations.layout_estimate import LayoutEstimate, counts, estimate, layouts, of_layout
from app.calculations.parallelism import check
from app.calculations.scenario import ServingScenario

#: Formats of weights and of the KV cache in the order of the ladder, widest first.
LADDER = (
    ("bf16", "bf16"), ("bf16", "fp8"), ("fp8", "bf16"), ("fp8", "fp8"), ("int8", "bf16"), ("int4", "bf16"),
    ("int4", "fp8"), ("nvfp4", "fp8"),
)  # fmt: skip
#: Numbers of GPUs that scaling is shown at.
GPU_COUNTS = (1, 2, 4, 8, 16, 32, 64)
#: Shares of the time that GPUs, which cost their price all the time, serve something.
BUSY_SHARES = (1.0, 0.75, 0.5, 0.25, 0.1)
#: A layout that is left to the calculator.
OPEN = {"tp": None, "pp": None, "dp": None, "ep": None}


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One step of a sweep. `changes`: inputs that lead from the scenario to it. `best` is None where `problem` says
    why it means nothing."""

    label: str
    changes: Mapping[str, Any]
    best: LayoutEstimate | None
    problem: str = ""

    @property
    def runs(self) -> bool:
        """Whether it fits and serves something."""
        return self.best is not None and self.best.fits and self.best.speed is not None

    @property
    def usd_per_hour(self) -> float:
        """Price of the instance; infinite where it does not run, or no price is known."""
        return hourly(self.best) if self.best is not None and self.runs else inf


def hourly(best: LayoutEstimate) -> float:
    """Price of the instance per hour; infinite where none is known."""
    price = best.price_usd_per_gpu_hour
    return inf if price is None else cost.usd_per_hour(price, best.num_gpus)


def output_rate(best: LayoutEstimate) -> float:
    """Output tokens per second of the whole instance at the load that was asked."""
    return best.speed.requests_per_second * best.scenario.output_tokens if best.speed else 0.0


def point(label: str, scenario: ServingScenario, **changes: Any) -> Point:
    """The scenario with changes, estimated."""
    named = {name: value.slug if isinstance(value, Gpu) else value for name, value in changes.items()}
    try:
        return Point(label=label, changes=named, best=estimate(replace(scenario, **changes)).best)
    except InvalidInput as error:
        return Point(label=label, changes=named, best=None, problem=error.message)


def chosen_layout(best: LayoutEstimate) -> dict[str, Any]:
    """The inputs that hold a layout in place."""
    layout = best.layout
    return {"num_gpus": best.num_gpus, "tp": layout.tp, "pp": layout.pp, "dp": layout.dp, "ep": layout.ep}


def precision_ladder(best: LayoutEstimate) -> list[Point]:
    """Formats of weights and cache on as many GPUs, cut as is best for each."""
    scenario = replace(best.scenario, num_gpus=best.num_gpus)
    return [
        point(
            f"{weights} weights, {cache} cache",
            scenario,
            weight_precision=weights,
            kv_precision=cache,
            value_precision="auto",
            activation_precision="auto",
        )
        for weights, cache in LADDER
    ]


def gpu_ladder(scenario: ServingScenario, gpus: Iterable[Gpu], most: int = 12) -> list[Point]:
    """The `most` cheapest accelerators, each in the smallest number that holds all requests, and the scenario's own;
    by price per hour. One without a price comes after those that have one. A price by hand counts for its own
    accelerator only. Memory alone decides who is looked at; only those few are estimated in full."""
    free: dict[str, Any] = {**OPEN, "num_gpus": None, "prefill_gpus": None, "prefill_tp": None}
    held: list[tuple[float, int, str, Gpu]] = []
    for gpu in gpus:
        changed = with_gpu(scenario, gpu, free)
        count = None if changed is None else fewest_gpus(changed)
        if changed is not None and count is not None:
            price = changed.price_usd_per_gpu_hour
            price = gpu.price_usd_per_hour if price is None else price
            held.append((inf if price is None else cost.usd_per_hour(price, count), count, gpu.name, gpu))
    held.sort(key=lambda one: one[:3])
    shown = held[:most] + [one for one in held[most:] if one[3].slug == scenario.gpu.slug]
    return [
        point(name, scenario, gpu=gpu, price_usd_per_gpu_hour=own_price(scenario, gpu), **{**free, "num_gpus": count})
        for _, count, name, gpu in shown
    ]


def own_price(scenario: ServingScenario, gpu: Gpu) -> float | None:
    """The price by hand, where it is this accelerator's."""
    return scenario.price_usd_per_gpu_hour if gpu.slug == scenario.gpu.slug else None


def with_gpu(scenario: ServingScenario, gpu: Gpu, free: Mapping[str, Any]) -> ServingScenario | None:
    """The scenario on another accelerator; None where that means nothing."""
    try:
        return replace(scenario, gpu=gpu, price_usd_per_gpu_hour=own_price(scenario, gpu), **free)
    except InvalidInput:
        return None


def fewest_gpus(scenario: ServingScenario) -> int | None:
    """The smallest number of GPUs that holds all requests, as `estimate` finds it; None if none does."""
    for count in counts(scenario):
        try:
            cuts = [check(scenario.model, layout) for layout in layouts(scenario, count)]
            if any(of_layout(scenario, layout).fits for layout in cuts):
                return count
        except InvalidInput:
            return None
    return None


def batch_sweep(best: LayoutEstimate) -> list[Point]:
    """Requests in flight, doubled from one to what the memory holds, and what was asked; the layout stays."""
    scenario = replace(best.scenario, **chosen_layout(best))
    if scenario.arrival == "open":
        scenario = replace(scenario, arrival="closed", request_rate=None, run_requests=None)
    most = best.max_concurrency
    tried = {2**power for power in range(24) if 2**power < most} | {most}
    if best.scenario.arrival != "open" and best.scenario.concurrency:
        tried.add(best.scenario.concurrency)
    return [point(f"{number:,}", scenario, concurrency=number) for number in sorted(tried - {0})]


def scaling(best: LayoutEstimate, counts: Iterable[int] = GPU_COUNTS) -> list[Point]:
    """Numbers of GPUs at the load that was asked, each cut as is best for it."""
    free: dict[str, Any] = {**OPEN, "prefill_gpus": None, "prefill_tp": None}
    return [point(f"{count:,}", best.scenario, num_gpus=count, **free) for count in counts]


def cost_when_busy(best: LayoutEstimate) -> list[tuple[float, float]]:
    """(share of the time with all places taken, USD per million output tokens): GPUs cost their price all the time.
    Empty where nothing runs, or no price is known."""
    rate, price = best.max_requests_per_second, hourly(best)
    if not rate or price == inf:
        return []
    tokens = rate * best.scenario.output_tokens
    return [(share, cost.usd_per_million(price, tokens * share)) for share in BUSY_SHARES]
