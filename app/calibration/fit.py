"""Coefficients from measurements: a ridge over levels, by Gauss-Newton on ln(measured / predicted).

Each level (all, vendor, generation, engine, ...) moves the logarithm of a coefficient by a deviation that is pulled to
zero; so an engine or GPU with few measurements keeps close to what is expected of its kind. A large error weighs less
(soft L1), and a group of n rows of one source, engine and GPU counts as sqrt(n), since its rows err together.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from app.accuracy import scoring
from app.calculations.coefficients import EXPECTED, NAMES, Efficiency
from app.calculations.watch import Watch, nobody
from app.calibration.compiled import Compiled
from app.calibration.model import Table
from app.catalog import EFFICIENCY_COLUMNS

#: Error (in ln) beyond which a row weighs less, and the spread expected of a row that is right.
SOFT, NOISE = 0.05, 0.1
#: Expected spread (in ln) of the deviations of each level: of kernels and network, and of the host's times, which
#: depend on the software far more than on the accelerator.
PRIOR: Mapping[str, tuple[float, float]] = {
    "all": (0.3, 1.0),
    "vendor": (0.4, 0.3),
    "generation": (0.2, 0.1),
    "gpu": (0.2, 0.1),
    "family": (0.3, 1.2),
    "engine": (0.2, 0.7),
    "family on generation": (0.15, 0.1),
    "engine on gpu": (0.15, 0.15),
    "engine and kind": (0.3, 0.3),
    "family and format": (0.2, 0.2),
}
#: Factor by which a level may at most move a coefficient, up or down: kernels and network, host times.
MOST = (5.0, 100.0)
HOST = frozenset({"step_seconds", "sequence_seconds", "layer_seconds", "request_seconds"})
#: Logarithmic step of the derivatives, and the longest step of one round.
DELTA, LONGEST = 1e-3, 0.7
ROUNDS = 12
#: A fit has settled when no deviation moves by more.
SETTLED = 2e-3
CHUNK = 2000

Deviations = dict[tuple[str, str], dict[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Fitted:
    """Deviations by level, and the rows that each level rests on."""

    deviations: Deviations
    rows: Mapping[tuple[str, str], int]

    @property
    def efficiency(self) -> Efficiency:
        return Efficiency(deviations=self.deviations)


def weights(rows: Sequence[Compiled]) -> Any:
    """Weight of each row; an engine that another stands in for says nothing of that one."""

    def group(row: Compiled) -> tuple[str, str, str, str]:
        return row.source, row.engine, row.gpu, scoring.CLASSES[row.metric]

    sizes = Counter(group(row) for row in rows)
    even = [
        0.0 if row.stands_in else scoring.UNEVEN_WEIGHT if row.source.startswith(scoring.UNEVEN) else 1.0
        for row in rows
    ]
    return np.array([factor / sizes[group(row)] ** 0.5 for row, factor in zip(rows, even, strict=True)])


def coefficients_of(rows: Iterable[Compiled], deviations: Deviations) -> Any:
    """Coefficients of every row (rows x NAMES)."""
    expected = np.log([getattr(EXPECTED, name) for name in NAMES])
    kept: dict[tuple[tuple[str, str], ...], Any] = {}
    lines = []
    for row in rows:
        if row.levels not in kept:
            sums = expected.copy()
            for level in row.levels:
                for name, deviation in deviations.get(level, {}).items():
                    sums[NAMES.index(name)] += deviation
            kept[row.levels] = np.exp(sums)
        lines.append(kept[row.levels])
    return np.array(lines)


def errors(table: Table, coefficients: Any) -> Any:
    """ln(measured / predicted) of every row; 0 where nothing is predicted."""
    predicted = table.predict(coefficients)
    usable = np.isfinite(predicted) & (predicted > 0)
    return np.where(usable, np.log(table.measured / np.where(usable, predicted, 1.0)), 0.0)


def derivatives(table: Table, coefficients: Any, base: Any) -> Any:
    """d ln(predicted) / d ln(coefficient) (rows x NAMES)."""
    found = np.empty((len(table.rows), len(NAMES)))
    for position in range(len(NAMES)):
        moved = coefficients.copy()
        moved[:, position] *= np.exp(DELTA)
        found[:, position] = (base - errors(table, moved)) / DELTA
    return np.nan_to_num(found)


class Equations:
    """Normal equations of one Gauss-Newton step, summed over rows, so that rows can be left out by subtraction."""

    def __init__(self, rows: Sequence[Compiled]) -> None:
        self.names = sorted({level for row in rows for level in row.levels})
        place = {level: position for position, level in enumerate(self.names)}
        self.belongs = np.array([[place[level] for level in row.levels] for row in rows])
        self.spread = np.array([[PRIOR[level][name in HOST] for name in NAMES] for level, _ in self.names]).ravel()
        self.most = np.tile(np.log([MOST[name in HOST] for name in NAMES]), len(self.names))
        self.weight = weights(rows) / NOISE**2

    def flat(self, deviations: Deviations) -> Any:
        return np.array([[deviations.get(level, {}).get(name, 0.0) for name in NAMES] for level in self.names]).ravel()

    def sums(self, left: Any, slope: Any, which: Any) -> tuple[Any, Any]:
        """Matrix and right side of the rows `which`."""
        width, size = len(NAMES), len(self.spread)
        soft = self.weight / np.sqrt(1 + (left / SOFT) ** 2)
        matrix, right = np.zeros((size, size)), np.zeros(size)
        for start in range(0, len(which), CHUNK):
            part = which[start : start + CHUNK]
            design = np.zeros((len(part), size))
            at = np.arange(len(part))[:, None]
            for column in range(self.belongs.shape[1]):
                design[at, self.belongs[part, column][:, None] * width + np.arange(width)] = slope[part]
            heavy = design * soft[part, None]
            matrix += design.T @ heavy
            right += heavy.T @ left[part]
        return matrix, right

    def change(self, matrix: Any, right: Any, beyond: Any) -> Any:
        """The step that the sums ask for, and the pull to zero of what lies beyond what is expected."""
        step = np.linalg.solve(matrix + np.diag(self.spread**-2), right - beyond / self.spread**2)
        return np.clip(step, -LONGEST, LONGEST)


def fit(table: Table, expected: Deviations | None = None, rounds: int = ROUNDS, watch: Watch = nobody) -> Fitted:
    """The deviations that explain the rows best. The same rows give the same numbers.

    They are pulled to those `expected`, such as those of another calibration; to zero where there are none.
    """
    rows = table.rows
    equations = Equations(rows)
    found = centre = equations.flat(expected or {})
    for done in range(rounds):
        watch(done, rounds)
        coefficients = coefficients_of(rows, as_deviations(equations.names, found))
        left = errors(table, coefficients)
        slope = derivatives(table, coefficients, left)
        change = equations.change(*equations.sums(left, slope, np.arange(len(rows))), found - centre)
        found = np.clip(found + change, -equations.most, equations.most)
        if np.abs(change).max() < SETTLED:
            break
    return Fitted(
        deviations=as_deviations(equations.names, found), rows=Counter(level for row in rows for level in row.levels)
    )


def as_deviations(names: Sequence[tuple[str, str]], found: Any) -> Deviations:
    grid = found.reshape(len(names), len(NAMES))
    return {level: dict(zip(NAMES, map(float, line), strict=True)) for level, line in zip(names, grid, strict=True)}


#: Deviations smaller than this are left out of the file: nothing was learnt there.
LEAST_DEVIATION = 0.005


def write(path: Path, fitted: Fitted) -> None:
    """The deviations as CSV with the columns of the catalogue; `factor` is what the level multiplies by, within `low`
    and `high`."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(EFFICIENCY_COLUMNS)
        for level, line in sorted(fitted.deviations.items()):
            for name, deviation in line.items():
                if abs(deviation) >= LEAST_DEVIATION:
                    most = MOST[name in HOST]
                    numbers = (f"{deviation:.4f}", f"{np.exp(deviation):.3f}", "factor", f"{1 / most:g}", f"{most:g}")
                    writer.writerow([*level, name, *numbers, fitted.rows[level]])
