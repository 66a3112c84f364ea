"""The fragment that stands beside the form while it is edited: verdict, memory, key numbers, or what is wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from app.charts.estimate import MEMORY_PARTS
from app.charts.training import memory_terms
from app.command_line.report_training import layout_text, remedies
from app.pages import result, train
from app.pages.result import Metric

#: The verdict in a word, by `result_page.state`.
WORDS = {"fits": "Fits", "tight": "Tight", "no": "Does not fit"}
#: Key numbers in order: what each is called here, its heading and its key in the METRICS of result pages.
SERVING = (
    ("Time to first token", "Latency", "ttft_ms"),
    ("Time per output token", "Latency", "tpot_ms"),
    ("Output per user", "Throughput", "output_tokens_per_s_per_user"),
    ("Output in total", "Throughput", "output_tokens_per_s"),
    ("Cost per hour", "Cost", "usd_per_hour"),
    ("Cost of 1M output tokens", "Cost", "usd_per_million_output_tokens"),
    ("Most requests at once", "Capacity", "max_concurrency"),
    ("Energy per output token", "Energy", "energy_j_per_token"),
)
#: Those of training: heading and label in train.METRICS.
TRAINING = (
    ("Speed", "Step"), ("Speed", "Tokens in total"), ("Utilization", "MFU"), ("Memory", "Peak, as nvidia-smi"),
    ("Run", "Time"), ("Run", "Cost"), ("Run", "Energy"), ("Run", "Carbon"),
)  # fmt: skip
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


def memory_bar(memory: Mapping[str, float], named: Sequence[tuple[str, str, str]], device_bytes: float) -> Bar:
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


@dataclass(frozen=True)
class Preview:
    """What the template needs of an answer."""

    state: str
    verdict: str
    bar: Bar
    metrics: list[Metric]
    layout: str
    reason: str
    notes: list[str]

    @property
    def words(self) -> str:
        return WORDS[self.state]


def of_serving(results: Mapping[str, Any]) -> Preview:
    memory, by_key = results["memory_bytes_per_gpu"], result.metrics_by_key(results)
    return Preview(
        state=result.state(results),
        verdict=results["verdict"],
        bar=memory_bar(memory, MEMORY_PARTS, memory["device"]),
        metrics=[replace(by_key[heading, key], label=label) for label, heading, key in SERVING],
        layout=results["layout"]["strategy"],
        reason=results["layout"]["reason"],
        notes=[*results["remedies"][:3], *results["warnings"][:3]],
    )


def of_training(results: Mapping[str, Any]) -> Preview:
    memory = results["memory_bytes_per_gpu"]
    by_label = {(heading, one.label): one for heading, ones in train.metrics(results).items() for one in ones}
    return Preview(
        state=train.state(results),
        verdict=results["verdict"],
        bar=memory_bar(memory, memory_terms(memory), results["gpu"]["memory_bytes"]),
        metrics=[by_label[one] for one in TRAINING],
        layout=layout_text(results["layout"]),
        reason=f"{len(results['layouts'])} layouts were compared.",
        notes=[*remedies(results["remedies"][:3]), *results["warnings"][:3]],
    )
