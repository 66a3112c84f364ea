"""Goodput: the highest rate of arrivals at which requests still meet their goals.

Latency under arrivals rises with the rate, so the rate is found by halving (DistServe, arXiv:2401.09670, names it).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from math import inf
from typing import TYPE_CHECKING

from app.calculations.layout_estimate import LayoutEstimate, of_layout, scheduler, switches, workload
from app.calculations.scenario import ServingScenario

if TYPE_CHECKING:  # It loads numpy, which an estimate without arrivals does without.
    from app.calculations.open_loop import Arrivals, Times

#: Halvings of the rates between none and the most that is served.
HALVINGS = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a request's times must not exceed, in seconds: its mean, or its 90th or 99th percentile (p90, p99)."""

    ttft_seconds: float = inf
    tpot_seconds: float = inf
    statistic: str = "mean"

    def hold(self, ttft: Times, tpot: Times | None) -> bool:
        first = float(getattr(ttft, self.statistic))
        later = float(getattr(tpot, self.statistic)) if tpot else 0.0
        return first <= self.ttft_seconds and later <= self.tpot_seconds


def at_goodput(best: LayoutEstimate, limits: Limits) -> LayoutEstimate | None:
    """The layout at the highest rate of Poisson arrivals within the limits; None where no rate is slow enough."""
    from app.calculations.poisson import replica_of  # Imports numpy.

    most = best.max_requests_per_second
    if not most:
        return None
    asked = at(best.scenario, most)
    replica = replica_of(best.plan, best.machine, workload(asked), switches(asked), scheduler(asked))
    rate = highest(lambda share: within(replica.times(share * most), limits)) if replica else 0.0
    return at_rate(best, rate * most) if rate else None


def at(scenario: ServingScenario, rate: float) -> ServingScenario:
    """The same under Poisson arrivals at another rate in requests per second."""
    return replace(scenario, arrival="open", request_rate=rate, concurrency=None)


def at_rate(best: LayoutEstimate, rate: float) -> LayoutEstimate:
    """The same layout at another rate."""
    return of_layout(at(best.scenario, rate), best.layout)


def within(times: Arrivals | None, limits: Limits) -> bool:
    return times is not None and limits.hold(times.ttft, times.tpot)


def highest(holds: Callable[[float], bool]) -> float:
    """The largest share below one at which something holds that breaks once and for all; 0 where it never does."""
    low, high = 0.0, 1.0
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
