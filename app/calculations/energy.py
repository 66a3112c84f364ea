"""Watts, joules, kilowatt-hours and grams of CO2. Power follows the bytes and FLOPs that a GPU moves and does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.calculations.arrays import Numbers

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


#: Sharpness of the bend into the power limit.
CAP = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Activity:
    """What one GPU does, mean over wall time. FLOPs in 16-bit equivalents: one at twice the rate counts half."""

    #: Share of wall time in which steps run.
    awake: Numbers
    bytes_per_second: Numbers
    flops_per_second: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerModel:
    """What a GPU's power is made of. See data/hardware.toml (`idle`) and data/power.csv (the rest, fitted).

    Energy per byte and per FLOP carry over from GPU to GPU: a new one is predicted from its bandwidth, peak and TDP.
    """

    #: Shares of TDP: drawn with a model loaded and nothing to do; added while steps run.
    idle: float
    awake: Numbers
    joules_per_byte: Numbers
    joules_per_flop: Numbers
    #: ("generation" or "gpu", its name) -> what it multiplies the dynamic power by, where it was measured.
    factors: Mapping[tuple[str, str], float] = field(default_factory=dict, hash=False)

    def factor(self, generation: str, slug: str) -> float:
        """Dynamic power of a GPU over that expected of its datasheet; 1 where neither it nor its kin was measured."""
        return self.factors.get(("generation", generation), 1.0) * self.factors.get(("gpu", slug), 1.0)


def power_watts(tdp_watts: Numbers, model: PowerModel, activity: Activity, factor: Numbers = 1.0) -> Numbers:
    """Mean watts of one GPU, between idle and TDP.

    D = factor (awake share x TDP x awake + J/byte x bytes/s + J/FLOP x FLOP/s), x = D / ((1 - idle) TDP),
    P = TDP (idle + (1 - idle) x / (1 + x^4)^(1/4)): near the limit the GPU lowers its clock and draws no more.
    """
    dynamic = factor * (
        model.awake * tdp_watts * activity.awake
        + model.joules_per_byte * activity.bytes_per_second
        + model.joules_per_flop * activity.flops_per_second
    )
    room = (1 - model.idle) * tdp_watts
    x = dynamic / room
    return model.idle * tdp_watts + room * x / (1 + x**CAP) ** (1 / CAP)


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
