"""The accuracy page and docs/accuracy.md in rows: errors by class, by source, by nearness, and where they are worst."""

from __future__ import annotations

import csv
import io
import math
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from app import catalog, formatting
from app.accuracy import crossvalidated, scoring
from app.accuracy.crossvalidated import TAGS, Accuracy, Mask, OtherTool
from app.accuracy.query import Query, label
from app.accuracy.scoring import CLASS_NAMES, Figures, Headline, Judged
from app.history import csv_export
from app.measurements import published

#: Most points drawn.
MOST_POINTS = 3000
#: Colour of a class in the chart.
SHADES = {name: f"part-{number}" for number, name in enumerate(CLASS_NAMES, start=1)}
#: What is compared in "where not to trust us", and what one of them is called.
COMPARED = {"source": "Source", "engine": "Engine", "gpu": "GPU"}
#: A group is listed there only with as many predicted rows.
LEAST_GROUP = 20
#: So many rows of an engine with a model on an accelerator have a median of their own.
LEAST_OF_PAIR = 4
#: How many are listed by their median error, and how many more by their ranges.
MOST_WORST = 5
#: Share of measurements that a range is meant to hold.
MEANT_IN_RANGE = 0.8

#: Metric of a table -> its unit in words.
UNITS = {
    "output_tokens_per_s": "output tokens/s",
    "total_tokens_per_s": "tokens/s in and out",
    "requests_per_s": "requests/s",
    "decode_tokens_per_s": "decoded tokens/s",
    "prefill_tokens_per_s": "prompt tokens/s",
    "tpot_ms": "ms per output token",
    "itl_ms": "ms between tokens",
    "ttft_ms": "ms to the first token",
    "e2e_latency_ms": "ms end to end",
    "energy_j_per_token": "J per output token",
    "power_w_per_gpu": "W per GPU",
    "tokens_per_s_per_gpu": "trained tokens/s per GPU",
    "step_time_s": "s per step",
    "tflops_per_gpu": "TFLOPS per GPU",
    "mfu": "model FLOPs utilisation",
    "hfu": "hardware FLOPs utilisation",
    "peak_memory_gb": "GB per GPU at the peak",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class HeadlineRow:
    """A class of metrics: ours, the naive roofline's and the best other tool's error."""

    name: str
    label: str
    shade: str
    ours: Headline
    roofline: Headline
    other: OtherTool | None


@dataclass(frozen=True, slots=True)
class SourceRow:
    """A source's figures for a class; without a source those of all rows of the class together."""

    name: str
    source: str
    figures: Figures


@dataclass(frozen=True, slots=True)
class CauseRow:
    """The headline of a class, and what is left of it where the median ratio of each pair is known."""

    label: str
    error: float | None
    within_pair: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorstRow:
    """A group whose errors are among the largest, or whose ranges hold least; `why` says which."""

    value: str
    label: str
    name: str
    class_label: str
    figures: Figures
    why: tuple[str, ...]


def class_label(name: str) -> str:
    return CLASS_NAMES.get(name, name)


def signed_percent(bias: float | None) -> str:
    """A bias (median of ln predicted / measured) as what the typical prediction is off by: +12 %, -8.0 %."""
    if bias is None:
        return formatting.UNKNOWN
    share = math.expm1(bias)
    return ("+" if share > 0 else "") + formatting.percent(share)


@lru_cache(maxsize=8)
def headline_rows(data: Accuracy) -> tuple[HeadlineRow, ...]:
    """Of all rows, whatever is selected."""
    ours, naive = scoring.headlines(data.judged()), scoring.headlines(data.judged(roofline=True))
    others = crossvalidated.other_tools()
    return tuple(
        HeadlineRow(
            name=name,
            label=class_label(name),
            shade=SHADES.get(name, ""),
            ours=found,
            roofline=naive[name],
            other=others.get(name),
        )
        for name, found in ours.items()
    )


@lru_cache(maxsize=64)
def source_rows(data: Accuracy, query: Query) -> dict[str, tuple[SourceRow, ...]]:
    """Class -> the selection by source; where there are several, all together first."""
    judged = data.judged(query.mask(data))
    by_source = scoring.by_source(judged)
    rows = {}
    for name, together in _by_class(judged).items():
        sources = [SourceRow(name, source, found) for (source, of), found in by_source.items() if of == name]
        rows[name] = (*([SourceRow(name, "", together)] if len(sources) > 1 else []), *sources)
    return rows


@lru_cache(maxsize=8)
def tag_rows(data: Accuracy) -> tuple[tuple[str, tuple[Figures | None, ...]], ...]:
    """Class -> figures of its rows by how near the fitted data were; None where there are none."""
    tags = data.facets["tag"]
    found = {tag: _by_class(data.judged(tags.equal(tag))) for tag in TAGS}
    return tuple(
        (class_label(name), tuple(found[tag].get(name) for tag in TAGS))
        for name in CLASS_NAMES
        if any(name in found[tag] for tag in TAGS)
    )


@lru_cache(maxsize=8)
def cause_rows(data: Accuracy) -> tuple[CauseRow, ...]:
    """What of the error is the same for all rows of an engine with a model on an accelerator in one source."""
    models = crossvalidated.Facet.of([published.everything().columns["model"][row] for row in data.rows])
    facets = [data.facets[name] for name in ("metric", "source", "engine", "gpu")]
    _, pairs = np.unique(np.stack([facet.codes for facet in (*facets, models)]), axis=1, return_inverse=True)
    pairs = np.where(data.is_predicted, pairs.reshape(-1), -1)
    ratios = data.predicted / data.measured
    mask, biases = np.zeros(len(data), bool), np.ones(len(data))
    order = np.argsort(pairs, kind="stable")
    for of_pair in np.split(order, np.flatnonzero(np.diff(pairs[order])) + 1):
        if len(of_pair) >= LEAST_OF_PAIR and pairs[of_pair[0]] >= 0:
            mask[of_pair], biases[of_pair] = True, np.median(ratios[of_pair])
    found = scoring.headlines(data.judged(mask))
    corrected = scoring.headlines(replace(data, predicted=data.predicted / biases).judged(mask))
    return tuple(
        CauseRow(class_label(name), one.mean_of_source_medians, corrected[name].mean_of_source_medians)
        for name, one in found.items()
    )


def _by_class(judged: Iterable[Judged]) -> dict[str, Figures]:
    """Class -> figures, in the order of CLASS_NAMES."""
    groups: dict[str, list[Judged]] = {name: [] for name in CLASS_NAMES}
    for one in judged:
        groups[one.name].append(one)
    return {name: scoring.figures(group) for name, group in groups.items() if group}


@lru_cache(maxsize=8)
def worst_rows(data: Accuracy) -> dict[str, tuple[WorstRow, ...]]:
    """What is compared -> its groups with the largest median errors, and those whose ranges hold least."""
    judged = data.judged()
    return {name: tuple(_worst(data, name, judged)) for name in COMPARED}


def _worst(data: Accuracy, facet: str, judged: list[Judged]) -> Iterator[WorstRow]:
    groups: dict[tuple[str, str], list[Judged]] = defaultdict(list)
    values = data.facets[facet]
    for row, one in enumerate(judged):
        groups[values.text(row), one.name].append(one)
    figures = {key: scoring.figures(group) for key, group in groups.items()}
    figures = {key: found for key, found in figures.items() if found.predicted >= LEAST_GROUP}
    overall = _by_class(judged)
    errors = {key: found.median or 0.0 for key, found in figures.items()}
    ranges = {key: found.within_range for key, found in figures.items() if found.within_range is not None}
    worse = [key for key in errors if errors[key] > (overall[key[1]].median or 0.0)]
    too_narrow = [key for key in ranges if ranges[key] < MEANT_IN_RANGE]
    large = sorted(worse, key=lambda key: (-errors[key], key))[:MOST_WORST]
    narrow = sorted(too_narrow, key=lambda key: (ranges[key], key))[:MOST_WORST]
    for key in sorted({*large, *narrow}, key=lambda key: (-errors[key], key)):
        value, name = key
        why = [*(["error"] if key in large else []), *(["range"] if key in narrow else [])]
        yield WorstRow(
            value=value,
            label=label(facet, value),
            name=name,
            class_label=class_label(name),
            figures=figures[key],
            why=tuple(why),
        )


@lru_cache(maxsize=8)
def unmeasured(data: Accuracy) -> tuple[int, int]:
    """Accelerators of the catalogue without any measurement that counts, and all."""
    measured = set(data.facets["gpu"].values)
    gpus = catalog.preset_gpus()
    return sum(slug not in measured for slug in gpus), len(gpus)


# --- points -----------------------------------------------------------------------------------------------------


def points(data: Accuracy, mask: Mask) -> list[int]:
    """The predicted rows of a mask, at most MOST_POINTS, evenly taken in the order of the tables."""
    rows = np.flatnonzero(mask & data.is_predicted)
    if len(rows) > MOST_POINTS:
        rows = rows[np.linspace(0, len(rows) - 1, MOST_POINTS).round().astype(int)]
    return [int(row) for row in rows]


def machines(row: published.Row) -> str:
    """What a measurement ran on: GPUs, layout, format of the weights."""
    gpus = row["num_gpus"]
    ways = [f"{name.upper()} {row[name]}" for name in ("tp", "pp", "cp", "ep", "dp") if row[name] not in ("", "1")]
    return ", ".join([
        *([f"{gpus} GPUs"] if gpus not in ("", "1") else []), *ways,
        (row["weight_precision"] or row["precision"]).upper() or "format not stated",
    ])  # fmt: skip


def traffic(row: published.Row) -> str:
    """Lengths and load of a measurement."""
    if row["framework"] or row["seq_len"]:
        return training_batch(row)
    lengths = [
        f"{word} {formatting.integer(float(row[name]))}" if row[name] else f"{word} not stated"
        for name, word in (("input_tokens", "prompt"), ("output_tokens", "output"))
    ]
    return ", ".join([*lengths, load(row)])


def training_batch(row: published.Row) -> str:
    """Sequence and batch of a training step."""
    parts = {"sequence": row["seq_len"], "micro-batch": row["micro_batch_size"], "batch": row["global_batch_size"]}
    stated = [f"{word} {formatting.integer(float(value))}" for word, value in parts.items() if value]
    return ", ".join(stated) or "batch not stated"


def load(row: published.Row) -> str:
    """How many requests were in flight."""
    stated = row["concurrency"]
    if stated in ("", "saturated"):
        return {"": "open-loop arrivals", "saturated": "saturated"}[stated]
    return "1 request" if float(stated) == 1 else f"{formatting.integer(float(stated))} requests"


CSV_COLUMNS = (
    *("id", "source", "source_ref", "source_date", "model", "gpu", "num_gpus", "tp", "pp", "ep", "dp", "engine"),
    *("engine_version", "weight_precision", "kv_precision", "input_tokens", "output_tokens", "concurrency"),
    *("cp", "vpp", "framework", "sharding", "precision", "seq_len", "micro_batch_size", "global_batch_size", "metric"),
    *("value", "predicted", "low", "high", "roofline", "tag"),
)
CSV_LINES = 2000


def csv_lines(data: Accuracy, mask: Mask) -> Iterator[str]:
    """The rows of a mask with their conditions and predictions as CSV, some thousand lines at a time."""
    table = published.everything()
    stated = [name for name in CSV_COLUMNS if name in table.columns]
    rows = np.flatnonzero(mask)
    for start in range(0, max(1, len(rows)), CSV_LINES):
        text = io.StringIO()
        writer = csv.writer(text)
        if start == 0:
            writer.writerow(CSV_COLUMNS)
        for row in map(int, rows[start : start + CSV_LINES]):
            source = table.row(int(data.rows[row]))
            numbers = (data.predicted[row], data.low[row], data.high[row], data.roofline[row])
            writer.writerow([
                *(csv_export.cell(source[name]) for name in stated),
                *(f"{number:.6g}" if math.isfinite(number) else "" for number in numbers),
                data.facets["tag"].text(row),
            ])  # fmt: skip
        yield text.getvalue()
