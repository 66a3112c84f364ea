"""The fragment that stands beside the form while it is edited: verdict, memory, key numbers, or what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.charts.estimate import MEMORY_PARTS
from app.pages import result as page

#: The verdict in a word, by `result_page.state`.
WORDS = {"fits": "Fits", "tight": "Tight", "no": "Does not fit"}
#: Key numbers in order: what each is called here, its heading and its key in result_page.METRICS.
SHOWN = (
    ("Time to first token", "Latency", "ttft_ms"),
    ("Time per output token", "Latency", "tpot_ms"),
    ("Output per user", "Throughput", "output_tokens_per_s_per_user"),
    ("Output in total", "Throughput", "output_tokens_per_s"),
    ("Cost per hour", "Cost", "usd_per_hour"),
    ("Cost of 1M output tokens", "Cost", "usd_per_million_output_tokens"),
    ("Most requests at once", "Capacity", "max_concurrency"),
    ("Energy per output token", "Energy", "energy_j_per_token"),
)
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


def memory_bar(results: Mapping[str, Any]) -> Bar:
    """The parts that the GPU holds, what is free, and the capacity; the bar ends at the memory or at the total."""
    memory = results["memory_bytes_per_gpu"]
    capacity = memory["capacity"]
    whole = max(memory["total"], memory["device"], capacity) or 1
    parts = [(name, shade, memory[key]) for key, name, shade in MEMORY_PARTS]
    parts.append(("Free", "free", max(0, capacity - memory["total"])))
    return Bar(list(_laid_out(parts, whole)), round(PER_MILLE * capacity / whole, 1) - 1.5, capacity)


def _laid_out(parts: list[tuple[str, str, float]], whole: float) -> Iterator[Segment]:
    start = 0.0
    for name, shade, size in parts:
        if size:
            yield Segment(name, shade, size, round(PER_MILLE * start / whole, 1), round(PER_MILLE * size / whole, 1))
        start += size


def parts(results: Mapping[str, Any]) -> dict[str, Any]:
    """What the template needs of an answer."""
    by_key = page.metrics_by_key(results)
    state = page.state(results)
    return {
        "found": results,
        "state": state,
        "words": WORDS[state],
        "bar": memory_bar(results),
        "metrics": [replace(by_key[heading, key], label=label) for label, heading, key in SHOWN],
        "notes": [*results["remedies"][:3], *results["warnings"][:3]],
    }
