"""Measurements beside the predictions of fits that their pair of model and GPU was left out of."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app.accuracy.crossvalidated import COLUMNS
from app.calculations.uncertainty import (
    EXTRAPOLATED,
    INTERPOLATED,
    METRIC_CLASS,
    NEARBY,
    Measured,
    Spread,
    Spreads,
    spread,
)
from app.calibration.beside import Beside
from app.calibration.compiled import Compiled
from app.calibration.folds import folds_of
from app.calibration.power import Observed
from app.calibration.ranges import Residual, ranges
from app.catalog import MEASURED_COLUMNS
from app.measurements import published

Row = Compiled | Observed | Beside

#: Metrics made from another: (that metric's class); their range is that of its inverse.
INVERSE_OF = {"prefill_tokens_per_s": "ttft", "decode_tokens_per_s": "tpot"}


#: What is left out to learn how far measurements lie at each distance -> the groupings of the folds. Every row counts
#: with its source left out, too: whoever asks has a site of their own.
LEFT_OUT_AT: Mapping[str, tuple[str, str]] = {
    NEARBY: ("runs", "sources"),
    INTERPOLATED: ("pairs", "sources"),
    EXTRAPOLATED: ("gpus", "sources"),
}

#: Nearness -> errors of all rows, each grouping left out.
Errors = Mapping[str, tuple[Any, ...]]


def errors_at(of: Mapping[str, Any]) -> Errors:
    """The errors of each nearness; `of` are those by grouping."""
    return {nearness: tuple(of[name] for name in names) for nearness, names in LEFT_OUT_AT.items()}


def residual(row: Row, error: float, nearness: str, again: bool) -> Residual:
    engine = "" if row.stands_in else row.engine
    ratio = float(np.exp(error))
    return Residual(METRIC_CLASS[row.metric], engine, row.source, row.pair, ratio, nearness, again)


def residuals(rows: Sequence[Row], errors: Errors) -> list[Residual]:
    return [
        residual(row, error, nearness, again=place > 0)
        for nearness, ways in errors.items()
        for place, found in enumerate(ways)
        for row, error in zip(rows, found, strict=True)
        if row.metric in METRIC_CLASS
    ]


def range_of(row: Row, spreads: Spreads, nearness: str) -> Spread | None:
    if row.metric in INVERSE_OF:
        found = spread(spreads, INVERSE_OF[row.metric], row.engine, nearness)
        return found.inverse() if found else None
    return spread(spreads, METRIC_CLASS[row.metric], row.engine, nearness)


def measured(rows: Iterable[Row]) -> Measured:
    """What the rows say of; an engine that another stands in for was not measured."""
    return Measured(triples=frozenset((row.engine, row.gpu, row.model) for row in rows if not row.stands_in))


def lines(rows: Sequence[Row], errors: Errors, plain: Any) -> Iterator[tuple[str, ...]]:
    """Lines of accuracy.csv.gz. Prediction and range are made without the row's pair of model and GPU: as of a question
    that is interpolated, or extrapolated where the engine was measured on the GPU with no other model. `plain` is what
    a plain roofline says of each row."""
    folds = folds_of("pairs", rows)
    for fold in sorted(set(folds)):
        kept = [int(place) for place in np.flatnonzero(folds != fold)]
        others = [rows[place] for place in kept]
        of_others = {
            nearness: tuple(way[kept] for way in errors[nearness]) for nearness in (INTERPOLATED, EXTRAPOLATED)
        }
        found = ranges(residuals(others, of_others))
        spreads = {(line.metric, line.engine, line.nearness): line.spread for line in found}
        known = measured(others)
        for place in map(int, np.flatnonzero(folds == fold)):
            row = rows[place]
            value = row.measured * float(np.exp(-errors[INTERPOLATED][0][place]))
            nearness = known.nearness(row.engine, row.gpu, row.model)
            spread_of_row = range_of(row, spreads, nearness)
            low, high = spread_of_row.around(value) if spread_of_row else (np.nan, np.nan)
            numbers = ("" if not np.isfinite(n) else f"{n:.5g}" for n in (value, low, high, plain[place]))
            yield (row.identifier, *numbers, nearness)


def write(path: Path, found: Iterable[tuple[str, ...]]) -> None:
    """The file of `/accuracy`. Raises OSError."""
    published.write(path, COLUMNS, sorted(found))


def write_measured(path: Path, rows: Iterable[Compiled]) -> None:
    """Which engines were measured on which accelerators with which models. Raises OSError."""
    counted = Counter((row.engine, row.gpu, row.model) for row in rows if not row.stands_in)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(MEASURED_COLUMNS)
        writer.writerows([*key, count] for key, count in sorted(counted.items()))
