"""Machines that differ in numbers alone, as one: what a GPU is per second becomes a column, one row for each.

The curves take arrays, so that one call times a step on all of them.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import fields, replace
from typing import Any, TypeVar

import numpy as np

from app.calculations.kernels import Chip
from app.calculations.roofline import Machine

Values = TypeVar("Values")


def kind(machine: Machine, gpus: int) -> Hashable:
    """All of a machine that decides which formula times it where it works with so many `gpus`; machines of one kind can
    stand in one column."""
    links = machine.links
    joined = (min(links.domain_gpus, gpus), links.fabric, links.in_network, links.node_gpus) if gpus > 1 else ()
    return (
        id(machine.library),
        machine.hides_host,
        machine.compute_efficiency,
        machine.bandwidth_efficiency,
        joined,
    )


def together(machines: Sequence[Machine]) -> Machine:
    """Machines of one kind as one, whose numbers have the shape (machines, 1)."""
    first = machines[0]
    if len(machines) == 1:
        return first
    chips = [one.chip for one in machines]
    common = set.intersection(*(set(chip.peaks) for chip in chips))
    return replace(
        first,
        chip=Chip(
            peaks={name: column([chip.peaks[name] for chip in chips]) for name in sorted(common)},
            bytes_per_second=column([chip.bytes_per_second for chip in chips]),
            multiprocessors=column([chip.multiprocessors for chip in chips]),
        ),
        links=columns([one.links for one in machines]),
        coefficients=columns([one.coefficients for one in machines]),
    )


def columns(values: Sequence[Values]) -> Values:
    """Frozen values as one: each of their floats as a column, all else that of the first."""
    first: Any = values[0]
    numbers = [one.name for one in fields(first) if isinstance(getattr(first, one.name), float)]
    found: Values = replace(first, **{name: column([getattr(one, name) for one in values]) for name in numbers})
    return found


def column(numbers: Sequence[float]) -> Any:
    """A number that all share, or a column of them."""
    return numbers[0] if all(one == numbers[0] for one in numbers) else np.array(numbers, dtype=float)[:, None]
