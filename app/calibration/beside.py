"""Measurements of speed that no coefficient is fitted to, such as those under open arrivals.

They are predicted by whole estimates with the coefficients of fits that their pair of model and GPU was left out of."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from app.calculations import estimate
from app.calculations.coefficients import Efficiency
from app.calculations.errors import InvalidInput
from app.calculations.report import speed_results
from app.calibration.folds import fold_of
from app.measurements.prediction import Row
from app.measurements.serving import answer, run_of, sought


@dataclass(frozen=True, slots=True, kw_only=True)
class Beside:
    """A measurement and what is predicted for it."""

    identifier: str
    run: str
    source: str
    metric: str
    measured: float
    predicted: float
    engine: str
    stands_in: bool
    model: str
    gpu: str

    @property
    def pair(self) -> str:
        return f"{self.model} {self.gpu}"


def predicted(rows: Iterable[Row], fit_without: Callable[[str], Efficiency]) -> Iterator[Beside]:
    """The rows that can be predicted, each by the fit without its fold of pairs."""
    for row in rows:
        try:
            run = run_of(row)
            scenario = run.scenario
            efficiency = fit_without(fold_of("pairs", f"{scenario.model.name} {scenario.gpu.slug}"))
            best = sought(row["metric"], run, estimate(replace(scenario, efficiency=efficiency)).best)
            value = answer(row, run, best, speed_results(best))["value"]
        except (InvalidInput, ValueError):
            continue
        if value is not None and value > 0:
            yield Beside(
                identifier=row["id"],
                run=repr(run.inputs),
                source=row["source"],
                metric=row["metric"],
                measured=float(row["value"]),
                predicted=value,
                engine=scenario.engine.name,
                stands_in=run.protocol.stands_in,
                model=scenario.model.name,
                gpu=scenario.gpu.slug,
            )


def errors(rows: Sequence[Beside]) -> Any:
    """ln(measured / predicted) of every row."""
    return np.array([np.log(row.measured / row.predicted) for row in rows])
