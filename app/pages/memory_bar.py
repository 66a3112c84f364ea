"""The memory of the fullest GPU as a bar that needs no script: its parts, what is free, and the capacity."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.charts.estimate import MEMORY_PARTS
from app.charts.training import memory_terms

PER_MILLE = 1000.0


@dataclass(frozen=True)
class Segment:
    """A part of the bar: where it begins and how wide it is, per mille of the bar."""

    name: str
    shade: str
    size_bytes: float
    start: float
    width: float


@dataclass(frozen=True)
class Bar:
    """The memory of the fullest GPU; `limit` is where the capacity ends, per mille of the bar."""

    segments: list[Segment]
    limit: float
    capacity_bytes: float


def bar(memory: Mapping[str, float], named: Sequence[tuple[str, str, str]], device_bytes: float) -> Bar:
    """The parts (key, name, shade) that the GPU holds, what is free, and the capacity; the bar ends at the memory or at
    the total."""
    capacity = memory["capacity"]
    whole = max(memory["total"], device_bytes, capacity) or 1
    parts = [(name, shade, memory[key]) for key, name, shade in named]
    parts.append(("Free", "free", max(0, capacity - memory["total"])))
    return Bar(list(_laid_out(parts, whole)), round(PER_MILLE * capacity / whole, 1) - 1.5, capacity)


def _laid_out(parts: list[tuple[str, str, float]], whole: float) -> Iterator[Segment]:
    start = 0.0
    for name, shade, size in parts:
        if size:
            yield Segment(name, shade, size, round(PER_MILLE * start / whole, 1), round(PER_MILLE * size / whole, 1))
        start += size


def of_serving(results: Mapping[str, Any]) -> Bar:
    memory = results["memory_bytes_per_gpu"]
    return bar(memory, MEMORY_PARTS, memory["device"])


def of_training(results: Mapping[str, Any]) -> Bar:
    memory = results["memory_bytes_per_gpu"]
    return bar(memory, memory_terms(memory), results["gpu"]["memory_bytes"])
