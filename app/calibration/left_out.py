"""Measurements beside the predictions of fits that their pair of model and GPU was left out of."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from app import published
from app.accuracy import COLUMNS
from app.calculations.uncertainty import METRIC_CLASS, Spread, spread
from app.calibration.compiled import Compiled
from app.calibration.folds import FOLDS, fold_of
from app.calibration.power import Observed
from app.calibration.ranges import Residual, ranges

Row = Compiled | Observed

#: Metrics made from another: (that metric's class); their range is that of its inverse.
INVERSE_OF = {"prefill_tokens_per_s": "ttft", "decode_tokens_per_s": "tpot"}


def residual(row: Row, error: float) -> Residual:
    engine = "" if row.stands_in else row.engine
    return Residual(METRIC_CLASS[row.metric], engine, row.source, row.pair, float(np.exp(error)))


def residuals(rows: Sequence[Row], errors: Any) -> list[Residual]:
    return [residual(row, error) for row, error in zip(rows, errors, strict=True) if row.metric in METRIC_CLASS]


def range_of(row: Row, spreads: dict[tuple[str, str], Spread]) -> Spread | None:
    if row.metric in INVERSE_OF:
        found = spread(spreads, INVERSE_OF[row.metric], row.engine)
        return found.inverse() if found else None
    return spread(spreads, METRIC_CLASS[row.metric], row.engine)


def tag(row: Row, known: set[tuple[str, str]]) -> str:
    """Whether the engine on the GPU was measured with another model; its own pair was left out, so never nearby."""
    return "interpolated" if ("engine on gpu", f"{row.engine} {row.gpu}") in known else "extrapolated"


def lines(rows: Sequence[Row], errors: Any, plain: Any) -> Iterator[tuple[str, ...]]:
    """Lines of accuracy.csv.gz. Prediction and range are made without the row's pair of model and GPU; `plain` is what
    a plain roofline says of each row."""
    folds = np.array([fold_of(row.pair) for row in rows])
    for number in range(FOLDS):
        kept = [int(place) for place in np.flatnonzero(folds != number)]
        others = [rows[place] for place in kept]
        spreads = {(line.metric, line.engine): line.spread for line in ranges(residuals(others, errors[kept]))}
        known = {level for row in others for level in row.levels}
        for place in map(int, np.flatnonzero(folds == number)):
            row = rows[place]
            value = row.measured * float(np.exp(-errors[place]))
            found = range_of(row, spreads)
            low, high = found.around(value) if found else (np.nan, np.nan)
            numbers = ("" if not np.isfinite(n) else f"{n:.5g}" for n in (value, low, high, plain[place]))
            yield (row.identifier, *numbers, tag(row, known))


def write(path: Path, found: Iterable[tuple[str, ...]]) -> None:
    """The file of `/accuracy`. Raises OSError."""
    published.write(path, COLUMNS, sorted(found))
