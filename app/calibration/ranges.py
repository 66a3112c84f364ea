"""Ranges fitted to measurements: how far published numbers lay from what is predicted for them.

    python -m app calibrate TABLE.csv ... --output ranges.csv

Only the ranges are fitted here; the constants of the model stand in app/data with their sources. A source of
n rows weighs as sqrt(n), so that a large table does not drown a small one, and coverage is measured on pairs of model
and GPU that were left out of the percentiles. What was left out of the fit is told in left_out.py.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from zlib import crc32

from app import catalog
from app.accuracy import scoring
from app.calculations.uncertainty import ANY, INTERPOLATED, METRIC_CLASS, NEARNESS, Spread
from app.measurements.prediction import Prediction
from app.measurements.predictors import predict
from app.measurements.protocol import protocol

#: Share of the measurements that a range shall hold.
LOW, HIGH = 0.1, 0.9
#: Fewer rows or pairs of model and GPU than these say too little about an engine of its own.
LEAST_ROWS, LEAST_GROUPS = 40, 8
#: An engine's own range must hold at least this share of what it was left out of.
LEAST_COVERAGE = 0.7
FOLDS = 5
#: Notes of rows that measure something else: doubtful rows, other serving modes.
LEFT_OUT = ("FLAG=", "SUSPECT", "speculative", "disaggregated prefill", "prefix cach")


@dataclass(frozen=True, slots=True)
class Residual:
    """measured / predicted of one row."""

    metric_class: str
    engine: str
    source: str
    group: str
    ratio: float
    #: How far the fit that it was predicted by stood from the row.
    nearness: str = INTERPOLATED
    #: The same row was left out in another way, too: it counts once as a row.
    again: bool = False


def at_any_distance(found: Iterable[Residual]) -> Iterator[Residual]:
    """Residuals of predictions that know nothing of the accelerator: they say the same of every distance."""
    for one in found:
        for nearness in NEARNESS:
            yield replace(one, nearness=nearness)


def residuals(table: str, rows: Iterable[dict[str, str]]) -> Iterator[Residual]:
    """What the rows of a serving table say about the predictions."""
    for row in rows:
        if any(mark in (row.get("notes") or "") for mark in LEFT_OUT):
            continue
        for prediction in predict(table, row):
            if usable(row, prediction):
                yield Residual(
                    METRIC_CLASS[prediction.metric],
                    engine_of(row),
                    prediction.source,
                    f"{row['model']} {row['gpu']}",
                    prediction.measured / (prediction.predicted or 1.0),
                )


def engine_of(row: dict[str, str]) -> str:
    """The engine whose range a row counts for; a stand-in's rows count only for the range of all engines."""
    how = protocol(row)
    return "" if how.stands_in else how.engine.name


def usable(row: dict[str, str], prediction: Prediction) -> bool:
    """Whether the row measured what is predicted.

    Latencies at unlimited load are queueing times of the benchmark.
    """
    if not prediction.predicted or prediction.measured <= 0 or prediction.metric not in METRIC_CLASS:
        return False
    unlimited = row.get("concurrency", "") in ("", "saturated")
    return not (unlimited and METRIC_CLASS[prediction.metric] in ("e2e", "ttft"))


def percentile(found: list[Residual], share: float) -> float:
    """Weighted percentile of the ratios: a source of n rows weighs as sqrt(n), tuning studies less."""
    sizes = Counter(r.source for r in found)
    even = {source: scoring.UNEVEN_WEIGHT if source.startswith(scoring.UNEVEN) else 1.0 for source in sizes}
    weights = {source: even[source] * size**0.5 for source, size in sizes.items()}
    ordered = sorted(found, key=lambda r: r.ratio)
    total, reached = sum(weights.values()), 0.0
    for one in ordered:
        reached += weights[one.source] / sizes[one.source]
        if reached >= share * total:
            return one.ratio
    return ordered[-1].ratio


def spread_of(found: list[Residual]) -> Spread:
    return Spread(
        low=percentile(found, LOW),
        high=percentile(found, HIGH),
        rows=sum(not r.again for r in found),
        groups=len({r.group for r in found}),
    )


def is_little(spread: Spread) -> bool:
    """Whether it was made of too little for an engine of its own."""
    return spread.rows < LEAST_ROWS or spread.groups < LEAST_GROUPS


def coverage(found: list[Residual], make: Callable[[list[Residual]], Spread]) -> float:
    """Share of measurements inside the range made from the other folds; whole pairs of model and GPU are left out."""
    inside = 0
    for fold in range(FOLDS):
        out = [r for r in found if crc32(r.group.encode()) % FOLDS == fold]
        rest = [r for r in found if crc32(r.group.encode()) % FOLDS != fold]
        if out and rest:
            spread = make(rest)
            inside += sum(spread.low <= r.ratio <= spread.high for r in out)
    return inside / len(found)


def widened_spread(found: list[Residual], by: tuple[Spread, ...]) -> Spread:
    """The smallest range that holds their own and others."""
    own = spread_of(found)
    return replace(own, low=min(s.low for s in (own, *by)), high=max(s.high for s in (own, *by)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """A line of ranges.csv."""

    metric: str
    engine: str
    nearness: str
    spread: Spread
    coverage: float
    sources: tuple[str, ...]


def ranges(found: list[Residual]) -> list[Range]:
    """One range per class of metric, engine with enough rows and nearness, and one for all engines.

    An engine whose own range fails on left-out pairs is too uneven to stand alone: it is widened by that of all. And no
    range is narrower than that of a question nearer to what was measured.
    """
    lines: dict[tuple[str, str, str], Range] = {}
    for metric in sorted({r.metric_class for r in found}):
        for nearer, nearness in zip((None, *NEARNESS), NEARNESS, strict=False):
            of_metric = [r for r in found if r.metric_class == metric and r.nearness == nearness]
            if not of_metric:
                continue
            of_all = spread_of(of_metric)
            for engine in [*sorted({r.engine for r in of_metric if r.engine}), ANY]:
                chosen = of_metric if engine == ANY else [r for r in of_metric if r.engine == engine]
                if engine != ANY and is_little(spread_of(chosen)):
                    continue
                uneven = engine != ANY and coverage(chosen, spread_of) < LEAST_COVERAGE
                within = [of_all] if uneven else []
                if nearer and (metric, engine, nearer) in lines:
                    within.append(lines[metric, engine, nearer].spread)
                make = partial(widened_spread, by=tuple(within))
                lines[metric, engine, nearness] = fitted(metric, engine, nearness, chosen, make)
    return list(lines.values())


def fitted(
    metric: str, engine: str, nearness: str, chosen: list[Residual], make: Callable[[list[Residual]], Spread]
) -> Range:
    return Range(
        metric=metric,
        engine=engine,
        nearness=nearness,
        spread=make(chosen),
        coverage=coverage(chosen, make),
        sources=tuple(sorted({r.source for r in chosen})),
    )


def write(path: Path, lines: Iterable[Range]) -> None:
    """The ranges as CSV with the columns of the catalogue."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(catalog.RANGE_COLUMNS)
        for line in lines:
            spread = line.spread
            numbers = (f"{spread.low:.4f}", f"{spread.high:.4f}", spread.rows, spread.groups, f"{line.coverage:.3f}")
            writer.writerow([line.metric, line.engine, line.nearness, *numbers, " ".join(line.sources)])
