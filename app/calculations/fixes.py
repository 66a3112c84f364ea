"""What to change so that a scenario fits and meets its goals: single changes, estimated again, the cheapest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from app.calculations.explanation import missed_goals, strategy
from app.calculations.layout_estimate import Estimate, LayoutEstimate
from app.calculations.precision import PRECISIONS
from app.calculations.remedies import HIGH_UTILIZATION, NARROWER_WEIGHTS
from app.calculations.sweeps import OPEN, Point, chosen_layout, hourly, output_rate, point

#: How many times the GPUs are doubled.
DOUBLINGS = 6


def is_good(best: LayoutEstimate | None) -> bool:
    """Whether it fits, serves something, and meets all goals."""
    return best is not None and best.fits and best.speed is not None and not list(missed_goals(best))


def fixes(found: Estimate, most: int = 3) -> list[Point]:
    """The cheapest `most` single changes after which everything fits and all goals are met, by the price per hour; of
    equal prices the one with the highest throughput. Empty where nothing is wrong, or no single change mends it."""
    if is_good(found.best):
        return []
    good = [one for one in candidates(found) if is_good(one.best)]
    return sorted(good, key=price_and_rate)[:most]


def price_and_rate(one: Point) -> tuple[float, int, float]:
    """What fixes are ordered by."""
    best = one.best
    return (hourly(best), best.num_gpus, -output_rate(best)) if best else (float("inf"), 0, 0.0)


def candidates(found: Estimate) -> Iterator[Point]:
    """Changes to try. Of a kind that has degrees, such as fewer requests, only the mildest that is good."""
    best = found.best
    scenario = replace(best.scenario, num_gpus=best.num_gpus)
    for name in NARROWER_WEIGHTS:
        if PRECISIONS[name].bits < best.formats.weights.bits:
            yield point(f"Store the weights in {name}", scenario, weight_precision=name, activation_precision="auto")
    if best.formats.kv_cache.bits > PRECISIONS["fp8"].bits:
        yield point("Store the KV cache in fp8", scenario, kv_precision="fp8", value_precision="auto")
    if scenario.utilization < HIGH_UTILIZATION:
        yield point(
            f"Raise the memory utilisation to {HIGH_UTILIZATION}", scenario, memory_utilization=HIGH_UTILIZATION
        )
    yield from fewer_requests(best)
    yield from other_cuts(found)
    yield from more_gpus(best)


def fewer_requests(best: LayoutEstimate) -> Iterator[Point]:
    """As many requests in flight as are good, by halving what is between what is and what is not."""
    asked = best.scenario.concurrency or best.max_concurrency
    if best.scenario.arrival == "open" or best.max_concurrency < 1 or asked < 2:
        return
    scenario = replace(best.scenario, **chosen_layout(best))

    def at(number: int) -> Point:
        return point(f"Lower the concurrency to {number:,}", scenario, concurrency=number)

    low, high, good = 0, min(asked, best.max_concurrency + 1), None
    if high < asked and is_good((whole := at(best.max_concurrency)).best):
        yield whole
        return
    while high - low > max(1, low // 32):
        tried = at((low + high) // 2)
        if is_good(tried.best):
            low, good = (low + high) // 2, tried
        else:
            high = (low + high) // 2
    if good is not None:
        yield good


def other_cuts(found: Estimate) -> Iterator[Point]:
    """The first layout of as many GPUs that is good, where the calculator preferred another."""
    for other in found.others:
        if is_good(other):
            yield Point(label=f"Cut it as {strategy(other)}", changes=chosen_layout(other), best=other)
            return


def more_gpus(best: LayoutEstimate) -> Iterator[Point]:
    """Twice the GPUs, four times and so on, until it is good."""
    if best.scenario.prefill_gpus:
        return
    for doubling in range(1, DOUBLINGS + 1):
        count = best.num_gpus * 2**doubling
        tried = point(f"Use {count} GPUs", best.scenario, num_gpus=count, **OPEN)
        if is_good(tried.best):
            yield tried
            return
