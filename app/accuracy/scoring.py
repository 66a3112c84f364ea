"""How predictions are judged: which measurements count, and what their errors add up to.

The error of a row is |predicted - measured| / measured. A source counts by its median, and the headline of a class of
metrics is the mean of the medians over the sources with at least LEAST_ROWS rows, so that a big table cannot hide a
small one. Beside it stand the median and 90th percentile of all rows, the bias (median of ln predicted / measured), the
coverage (share of the rows that are predicted at all) and the share of measurements inside their range.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: Metric of a table -> class whose errors are summed up together.
CLASSES = {
    "output_tokens_per_s": "throughput",
    "total_tokens_per_s": "throughput",
    "requests_per_s": "throughput",
    "decode_tokens_per_s": "throughput",
    "prefill_tokens_per_s": "throughput",
    "tpot_ms": "tpot",
    "itl_ms": "tpot",
    "ttft_ms": "ttft",
    "e2e_latency_ms": "e2e",
    "energy_j_per_token": "energy",
    "power_w_per_gpu": "power",
    "tokens_per_s_per_gpu": "train_speed",
    "step_time_s": "train_speed",
    "mfu": "train_mfu",
    "hfu": "train_mfu",
    "tflops_per_gpu": "train_mfu",
    "peak_memory_gb": "train_memory",
}
#: Class -> what it is called.
CLASS_NAMES = {
    "throughput": "Throughput",
    "tpot": "Time per output token",
    "ttft": "Time to first token",
    "e2e": "End-to-end latency",
    "energy": "Energy per token",
    "power": "Power per GPU",
    "train_speed": "Training speed",
    "train_mfu": "Training FLOPS and MFU",
    "train_memory": "Training memory",
}
#: Notes of rows that measured something else, or doubtfully.
LEFT_OUT = (
    "FLAG=", "SUSPECT", "MODEL CHANGED", "tuning=slow", "speculative", "disaggregated prefill", "prefix cach",
)  # fmt: skip
#: Classes whose rows at unlimited load or open-loop arrivals are queueing times of the benchmark.
QUEUED = ("ttft", "e2e")
#: Tuning studies, in which one workload spreads by up to 3x: listed, but not in a headline.
UNEVEN = ("gpustack-", "dstack-")
#: What a row of them counts in a calibration.
UNEVEN_WEIGHT = 0.1
#: A source with fewer rows of a class has no say in its headline.
LEAST_ROWS = 8


def metric_class(row: Mapping[str, str]) -> str | None:
    """The class a measurement counts for, None where it does not count."""
    name = CLASSES.get(row.get("metric", ""))
    if name is None or not row.get("value") or float(row["value"]) <= 0:
        return None
    notes = row.get("notes") or ""
    if "pd-ratio" in row.get("source", "") or any(mark in notes for mark in LEFT_OUT):
        return None
    if name in QUEUED and row.get("concurrency", "1") in ("saturated", ""):
        return None
    return name


@dataclass(frozen=True, slots=True)
class Judged:
    """A measurement that counts, with what was predicted for it, if anything."""

    source: str
    name: str
    measured: float
    predicted: float | None = None
    low: float | None = None
    high: float | None = None

    @property
    def is_predicted(self) -> bool:
        return self.predicted is not None and math.isfinite(self.predicted) and self.predicted > 0

    @property
    def error(self) -> float:
        """|predicted - measured| / measured."""
        return abs((self.predicted or 0.0) - self.measured) / self.measured

    @property
    def inside(self) -> bool | None:
        """Whether the measurement lies in the range, None where there is none."""
        if self.low is None or self.high is None:
            return None
        return self.low <= self.measured <= self.high


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """Errors of a group of measurements; None where nothing was predicted, or no range was given."""

    rows: int
    predicted: int
    median: float | None
    p90: float | None
    bias: float | None
    within_range: float | None

    @property
    def coverage(self) -> float:
        return self.predicted / self.rows if self.rows else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Headline:
    """A class of metrics: the mean over its sources' medians, and the figures of all rows together."""

    mean_of_source_medians: float | None
    sources: int
    pooled: Figures


def quantile(values: Sequence[float], share: float) -> float:
    """The value at rank int(share * count) of the sorted values."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def figures(group: Iterable[Judged]) -> Figures:
    rows = list(group)
    usable = [one for one in rows if one.is_predicted]
    errors = [one.error for one in usable]
    inside = [one.inside for one in usable if one.inside is not None]
    return Figures(
        rows=len(rows),
        predicted=len(usable),
        median=statistics.median(errors) if errors else None,
        p90=quantile(errors, 0.9) if errors else None,
        bias=statistics.median(math.log((one.predicted or 1.0) / one.measured) for one in usable) if usable else None,
        within_range=sum(inside) / len(inside) if inside else None,
    )


def by_source(judged: Iterable[Judged]) -> dict[tuple[str, str], Figures]:
    """(source, class) -> figures, in order."""
    groups: dict[tuple[str, str], list[Judged]] = defaultdict(list)
    for one in judged:
        groups[one.source, one.name].append(one)
    return {key: figures(groups[key]) for key in sorted(groups)}


def headlines(judged: Iterable[Judged]) -> dict[str, Headline]:
    """Class -> headline, in the order of CLASS_NAMES; tuning studies are left out."""
    even = [one for one in judged if not one.source.startswith(UNEVEN)]
    sources = by_source(even)
    found = {one.name for one in even}
    return {
        name: headline(
            [figure for (_, of), figure in sources.items() if of == name], [one for one in even if one.name == name]
        )
        for name in dict.fromkeys([*CLASS_NAMES, *CLASSES.values()])
        if name in found
    }


def headline(sources: Sequence[Figures], rows: Sequence[Judged]) -> Headline:
    medians = [one.median for one in sources if one.median is not None and one.rows >= LEAST_ROWS]
    return Headline(
        mean_of_source_medians=statistics.mean(medians) if medians else None,
        sources=len(medians),
        pooled=figures(rows),
    )
