"""A user's own measurements on top of the published calibration: what they teach, and how much nearer it comes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.accuracy import scoring
from app.calculations.coefficients import Efficiency
from app.calculations.watch import Watch, nobody, part_of
from app.calibration import fit, folds, left_out
from app.calibration.compiled import Compiled
from app.calibration.fit import Deviations
from app.calibration.model import Table


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """Coefficients pulled to the published ones, and the errors on the rows that they were fitted to."""

    deviations: Deviations
    rows: tuple[Compiled, ...]
    #: ln(measured / predicted) of every row: by the published calibration, by this one, by fits without the row's run.
    before: Any
    after: Any
    without: Any

    def document(self) -> dict[str, Any]:
        """What is saved: every deviation, the published ones too, and what was measured."""
        return {
            "deviations": [
                [*level, name, round(deviation, 4)]
                for level, line in sorted(self.deviations.items())
                for name, deviation in line.items()
                if abs(deviation) >= fit.LEAST_DEVIATION
            ],
            "measured": sorted(map(list, left_out.measured(self.rows).triples)),
        }

    def figures(self) -> Iterator[tuple[str, int, Mapping[str, float | None]]]:
        """By class of metrics: rows, and the median errors."""
        told = {"published": self.before, "yours": self.after, "left out": self.without}
        judged = {name: folds.judged(self.rows, errors) for name, errors in told.items()}
        for metric in dict.fromkeys(one.name for one in judged["yours"]):
            found = {
                name: scoring.figures([one for one in rows if one.name == metric]) for name, rows in judged.items()
            }
            yield metric, found["yours"].rows, {name: one.median for name, one in found.items()}


def calibrate(rows: Sequence[Compiled], published: Efficiency, watch: Watch = nobody) -> Own:
    """Fit the rows; what they do not tell stays as published."""
    expected = {level: dict(line) for level, line in published.deviations.items()}
    table = Table(rows)
    fitted = fit.fit(table, expected, watch=part_of(watch, 0, 2))
    return Own(
        deviations=expected | fitted.deviations,
        rows=tuple(rows),
        before=fit.errors(table, fit.coefficients_of(rows, expected)),
        after=fit.errors(table, fit.coefficients_of(rows, fitted.deviations)),
        without=folds.left_out(rows, fitted.deviations, "runs", expected, part_of(watch, 1, 2)).errors,
    )
