"""Errors on what was left out: whole groups (runs, pairs of model and GPU, models, ...) leave the fit in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from app.accuracy import scoring
from app.calculations.watch import Watch, nobody, part_of, passing
from app.calibration.compiled import Compiled
from app.calibration.fit import Deviations, Equations, as_deviations, coefficients_of, derivatives, errors
from app.calibration.model import Table

FOLDS = 5


class MeasuredRow(Protocol):
    """A row that was measured: of speed (`compiled.Compiled`) or of power (`power.Observed`)."""

    @property
    def source(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def gpu(self) -> str: ...
    @property
    def run(self) -> str: ...
    @property
    def pair(self) -> str: ...
    @property
    def metric(self) -> str: ...
    @property
    def measured(self) -> float: ...


#: What may be left out -> the group of a row.
GROUPINGS: Mapping[str, Callable[[MeasuredRow], str]] = {
    "runs": lambda row: row.run,
    "pairs": lambda row: row.pair,
    "models": lambda row: row.model,
    "gpus": lambda row: row.gpu,
    "sources": lambda row: row.source,
}


def fold_of(group: str) -> int:
    return crc32(group.encode()) % FOLDS


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Fits that each fold was left out of, and what they make of their fold."""

    fits: tuple[Deviations, ...]
    #: ln(measured / predicted) of every row, predicted by the fit that its group was left out of.
    errors: Any


def left_out(
    rows: Sequence[Compiled],
    start: Deviations,
    grouping: str,
    expected: Deviations | None = None,
    watch: Watch = nobody,
) -> LeftOut:
    """The fits and errors of one grouping; `start` is the fit to all, pulled to what is `expected`.

    One Gauss-Newton step from the fit to all, with the fold's rows subtracted from its equations: what only they
    taught falls back to what is expected.
    """
    if not rows:
        return LeftOut(fits=(start,) * FOLDS, errors=np.zeros(0))
    group = GROUPINGS[grouping]
    fold = np.array([fold_of(group(row)) for row in rows])
    table, equations = Table(rows), Equations(rows)
    found, centre = equations.flat(start), equations.flat(expected or {})
    coefficients = coefficients_of(rows, start)
    left = errors(table, coefficients)
    slope = derivatives(table, coefficients, left)
    numbers = passing(range(FOLDS), part_of(watch, 0, 2))
    parts = [equations.sums(left, slope, np.flatnonzero(fold == number)) for number in numbers]
    matrix, right = (sum(part[position] for part in parts) for position in range(2))
    predicted, fits = np.zeros(len(rows)), []
    for number, (own_matrix, own_right) in enumerate(passing(parts, part_of(watch, 1, 2))):
        without = found + equations.change(matrix - own_matrix, right - own_right, found - centre)
        fits.append(as_deviations(equations.names, without))
        all_rows = errors(table, coefficients_of(rows, fits[-1]))
        predicted[fold == number] = all_rows[fold == number]
    return LeftOut(fits=tuple(fits), errors=predicted)


def judged(rows: Sequence[MeasuredRow], left: Any) -> list[scoring.Judged]:
    """Rows with their errors, as they are scored."""
    return [
        scoring.Judged(row.source, scoring.CLASSES[row.metric], row.measured, row.measured * float(np.exp(-error)))
        for row, error in zip(rows, left, strict=True)
    ]
