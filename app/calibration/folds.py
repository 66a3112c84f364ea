"""Errors on what was left out: whole groups (runs, pairs of model and GPU, models, ...) leave the fit in turn.

Sources leave it one by one, as a new one would join them; of the many others a fifth at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from zlib import crc32

import numpy as np

from app.accuracy import scoring
from app.calculations.watch import Watch, nobody, passing
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


def fold_of(grouping: str, group: str) -> str:
    """Name of what leaves the fit together with a group."""
    return group if grouping == "sources" else str(crc32(group.encode()) % FOLDS)


def folds_of(grouping: str, rows: Sequence[MeasuredRow]) -> Any:
    """The same of every row."""
    group = GROUPINGS[grouping]
    return np.array([fold_of(grouping, group(row)) for row in rows])


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Fits that each fold was left out of, and what they make of their fold."""

    whole: Deviations
    fits: Mapping[str, Deviations]
    #: ln(measured / predicted) of every row, predicted by the fit that its group was left out of.
    errors: Any

    def fit_without(self, fold: str) -> Deviations:
        """The fit that a fold was left out of; that to all where none of its rows is in it."""
        return self.fits.get(fold, self.whole)


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
        return LeftOut(whole=start, fits={}, errors=np.zeros(0))
    fold = folds_of(grouping, rows)
    table, equations = Table(rows), Equations(rows)
    found, centre = equations.flat(start), equations.flat(expected or {})
    coefficients = coefficients_of(rows, start)
    left = errors(table, coefficients)
    slope = derivatives(table, coefficients, left)
    matrix, right = equations.sums(left, slope, np.arange(len(rows)))
    predicted, fits = np.zeros(len(rows)), {}
    for name in passing(sorted(set(fold)), watch):
        own = np.flatnonzero(fold == name)
        own_matrix, own_right = equations.sums(left, slope, own)
        without = found + equations.change(matrix - own_matrix, right - own_right, found - centre)
        fits[name] = as_deviations(equations.names, without)
        of_fold = [row for row, fold_of_row in zip(rows, fold, strict=True) if fold_of_row == name]
        predicted[own] = errors(Table(of_fold), coefficients_of(of_fold, fits[name]))
    return LeftOut(whole=start, fits=fits, errors=predicted)


def judged(rows: Sequence[MeasuredRow], left: Any) -> list[scoring.Judged]:
    """Rows with their errors, as they are scored."""
    return [
        scoring.Judged(row.source, scoring.CLASSES[row.metric], row.measured, row.measured * float(np.exp(-error)))
        for row, error in zip(rows, left, strict=True)
    ]
