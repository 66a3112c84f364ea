"""From the steps to TTFT, TPOT and throughput, line by line: how the queue makes latencies of steps."""

from __future__ import annotations

import math

from app.calculations.chain.arrivals import open_lines, overload
from app.calculations.chain.closed import burst_lines, closed_lines, crowd_of, static_lines, step_lines, throughput
from app.calculations.chain.lines import Line, given
from app.calculations.chain.pools import pool_lines
from app.calculations.layout_estimate import LayoutEstimate, workload

__all__ = ["Line", "chain"]


def chain(best: LayoutEstimate) -> list[Line]:
    """From the steps to TTFT, TPOT and throughput, line by line; empty where nothing runs."""
    speed = best.speed
    if speed is None:
        return []
    asked = workload(best.scenario)
    if best.prefill:
        return [*given(best, speed), *pool_lines(best, speed, best.prefill)]
    lines = [*given(best, speed), *step_lines(best, speed)]
    if asked.mode == "open":
        return [*lines, *(open_lines(best, speed) if math.isfinite(speed.ttft_seconds) else overload(best, speed))]
    crowd = crowd_of(best)
    add = {"static": static_lines, "burst": burst_lines}.get(asked.mode, closed_lines)
    return [*lines, *add(best, speed, crowd), *throughput(best, speed, crowd)]
