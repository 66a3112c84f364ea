"""Watts, joules, kilowatt-hours and grams of CO2. Power follows what the GPU is busy with."""

from __future__ import annotations

from dataclasses import dataclass

JOULES_PER_WATT_HOUR = 3600.0
JOULES_PER_KILOWATT_HOUR = 3.6e6
MILLION = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """Where the electricity comes from: a region's yearly mean. See data/grids.csv."""

    slug: str
    name: str
    group: str
    #: CO2 and what warms like it, per kilowatt-hour of electricity.
    grams_per_kilowatt_hour: float
    year: int
    #: What is counted: "life cycle" (fuels and building of plants too) or "power plants" (their stacks only).
    basis: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerModel:
    """Shares of board power: drawn idle, and added while compute, memory traffic or neither binds."""

    idle: float
    compute: float
    memory: float
    other: float


def power_watts(
    tdp_watts: float, model: PowerModel, *, compute_share: float, memory_share: float, other_share: float
) -> float:
    """P = TDP (idle + sum of shares of time x what each adds), at most TDP."""
    busy = model.compute * compute_share + model.memory * memory_share + model.other * other_share
    return tdp_watts * min(model.idle + busy, 1.0)


def joules_per_token(power_watts_per_gpu: float, gpus: int, tokens_per_second: float) -> float:
    """Energy of all GPUs per generated token (GPU boards only: no host, no cooling)."""
    return power_watts_per_gpu * gpus / tokens_per_second


def site_watts(power_watts_per_gpu: float, gpus: int, pue: float) -> float:
    """Power that the site draws for the GPUs: PUE is all of a data centre's power over that of its computers."""
    return power_watts_per_gpu * gpus * pue


def watt_hours_per_request(joules_per_token: float, output_tokens: float, pue: float) -> float:
    """Energy of a request at the meter; that of its prompt is in the joules of its output tokens."""
    return joules_per_token * output_tokens * pue / JOULES_PER_WATT_HOUR


def kilowatt_hours_per_million(joules_per_token: float, pue: float) -> float:
    """Energy of a million output tokens at the meter."""
    return joules_per_token * MILLION * pue / JOULES_PER_KILOWATT_HOUR
