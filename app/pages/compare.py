"""The page that holds runs against each other: numbers with their ratio to one of the runs, and inputs that differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from app import formatting
from app.history.comparison import Compared
from app.history.rows import number_at

MOST = 6
GIB = 2.0**30


@dataclass(frozen=True, slots=True)
class Quantity:
    """A number of the results: where it is, how it is written, and whether less or more of it is better."""

    label: str
    unit: str
    path: tuple[str, ...]
    show: Callable[[float | None], str]
    better: str = "less"


#: In the order of the table; those that no run has are left out.
QUANTITIES = (
    Quantity("GPUs", "", ("layout", "num_gpus"), formatting.integer),
    Quantity("Memory used", "GiB per GPU", ("memory_bytes_per_gpu", "total"), formatting.gib, ""),
    Quantity("Capacity", "GiB per GPU", ("memory_bytes_per_gpu", "capacity"), formatting.gib, ""),
    Quantity("Most requests at once", "requests", ("max_concurrency",), formatting.integer, "more"),
    Quantity("Time to first token", "ms", ("ttft_ms", "value"), formatting.number),
    Quantity("Time per output token", "ms", ("tpot_ms", "value"), formatting.number),
    Quantity("Output, one user", "tokens/s", ("output_tokens_per_s_per_user", "value"), formatting.rate, "more"),
    Quantity("Output, all users", "tokens/s", ("output_tokens_per_s", "value"), formatting.rate, "more"),
    Quantity("Most requests served", "requests/s", ("max_requests_per_s", "value"), formatting.rate, "more"),
    Quantity("Cost", "per hour", ("usd_per_hour", "value"), formatting.usd),
    Quantity("Cost of output", "per 1M tokens", ("usd_per_million_output_tokens", "value"), formatting.usd),
    Quantity("Energy", "J per output token", ("energy_j_per_token", "value"), formatting.number),
    Quantity("Carbon", "gCO2e per 1M tokens", ("gco2_per_million_output_tokens", "value"), formatting.number),
    Quantity("Training step", "s", ("step_time_s", "value"), formatting.number),
    Quantity("Trained per GPU", "tokens/s", ("tokens_per_s_per_gpu", "value"), formatting.rate, "more"),
    Quantity("MFU", "", ("mfu", "value"), formatting.percent, "more"),
    Quantity("Training run", "days", ("run", "days", "value"), formatting.number),
    Quantity("Training run", "USD", ("run", "usd", "value"), formatting.usd),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A number of one run, its ratio to the baseline's, and whether no other run's is better."""

    text: str
    ratio: str
    best: bool


@dataclass(frozen=True, slots=True)
class NumberLine:
    """One number of all runs."""

    label: str
    unit: str
    cells: list[Cell]


def number_lines(runs: Sequence[Compared], baseline: int) -> list[NumberLine]:
    """The numbers that any of the runs has, each against that of the baseline, given by its place."""
    lines = []
    for one in QUANTITIES:
        values = [number_at(run.run.results, *one.path) for run in runs]
        if any(value is not None for value in values):
            lines.append(NumberLine(one.label, one.unit, list(cells(one, values, baseline))))
    return lines


def cells(one: Quantity, values: Sequence[float | None], baseline: int) -> Iterable[Cell]:
    known = [value for value in values if value is not None]
    best = {"less": min, "more": max}.get(one.better)
    first = best(known) if best and len(set(known)) > 1 else None
    base = values[baseline]
    for place, value in enumerate(values):
        against = "" if place == baseline or value is None or not base else ratio(value / base)
        yield Cell(one.show(value), against, value is not None and value == first)


def ratio(value: float) -> str:
    """How many times the baseline's: "same" within half a per mille."""
    return "same" if abs(value - 1) < 5e-4 else f"{formatting.number(value)}\N{MULTIPLICATION SIGN}"
