"""Training coefficients from measured steps: a ridge over levels, by Gauss-Newton on ln(measured / predicted).

As for serving (`fit.py`): each level moves the logarithm of a coefficient by a deviation that is pulled to zero, large
errors weigh less, and a run measured under several releases or metrics counts once.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any
from zlib import crc32

import numpy as np

from app.calculations.training.coefficients import EXPECTED, NAMES, SPREADS, Coefficients, Level
from app.calculations.training.step import Work, step_time

#: Error (in ln) beyond which a row weighs less, and the spread expected of a row that is right.
SOFT, NOISE = 0.1, 0.08
#: Logarithmic step of the derivatives, and the longest step of one round.
DELTA, LONGEST = 1e-3, 0.5
ROUNDS = 25
SETTLED = 2e-3
FOLDS = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A measured step: its work, its levels and its seconds."""

    identifier: str
    source: str
    model: str
    gpu: str
    #: Runs of one configuration share it; they count as one.
    configuration: str
    kind: str
    framework: str
    work: Work
    levels: tuple[Level, ...]
    seconds: float

    @property
    def pair(self) -> str:
        return f"{self.model} {self.gpu}"


GROUPINGS: Mapping[str, Callable[[Run], str]] = {
    "pairs": lambda run: run.pair,
    "models": lambda run: run.model,
    "gpus": lambda run: run.gpu,
    "sources": lambda run: run.source,
}


class Problem:
    """Runs as arrays, and the deviations that may move their coefficients."""

    def __init__(self, runs: Sequence[Run]) -> None:
        self.runs = runs
        names = [one.name for one in fields(Work)]
        self.work = Work(**{name: np.array([float(getattr(run.work, name)) for run in runs]) for name in names})
        self.seconds = np.log([run.seconds for run in runs])
        self.levels = sorted({level for run in runs for level in run.levels})
        self.parameters = [(level, name) for level in self.levels for name in SPREADS[level[0]]]
        self.spread = np.array([SPREADS[level[0]][name] for level, name in self.parameters])
        member = {level: np.array([level in run.levels for run in runs], dtype=float) for level in self.levels}
        self.member = np.array([member[level] for level, _ in self.parameters])
        self.which = np.array([NAMES.index(name) for _, name in self.parameters])
        sizes = Counter(run.configuration for run in runs)
        sources = Counter(run.source for run in runs)
        self.weight = np.array(
            [1 / sizes[run.configuration] ** 0.7 / (sources[run.source] / 40) ** 0.3 for run in runs]
        )

    def logarithms(self, found: Any) -> Any:
        """ln of the coefficients of each run (NAMES x runs)."""
        logs = np.log([getattr(EXPECTED, name) for name in NAMES])[:, None] * np.ones(len(self.runs))
        np.add.at(logs, self.which, self.member * found[:, None])
        return logs

    def predicted(self, logs: Any) -> Any:
        """ln of the predicted seconds."""
        values = np.exp(logs)
        c = Coefficients(**{name: values[place] for place, name in enumerate(NAMES)})
        return np.log(step_time(self.work, c).total)

    def fit(self, use: Any, start: Any = None) -> Any:
        """The deviations that fit the runs `use` best."""
        found = np.zeros(len(self.parameters)) if start is None else start.copy()
        for _ in range(ROUNDS):
            logs = self.logarithms(found)
            base = self.predicted(logs)
            left = self.seconds - base
            slope = np.empty_like(logs)
            for place in range(len(NAMES)):
                moved = logs.copy()
                moved[place] += DELTA
                slope[place] = (self.predicted(moved) - base) / DELTA
            design = (self.member * slope[self.which])[:, use]
            heavy = (self.weight / NOISE**2 / np.sqrt(1 + (left / SOFT) ** 2))[use]
            matrix = (design * heavy) @ design.T + np.diag(self.spread**-2)
            right = (design * heavy) @ left[use] - found / self.spread**2
            step = np.clip(np.linalg.solve(matrix, right), -LONGEST, LONGEST)
            found = found + step
            if np.abs(step).max() < SETTLED:
                break
        self.matrix = matrix
        return found

    def left_out(self, grouping: str, start: Any = None) -> Any:
        """ln(measured / predicted) of each run by a fit without its group."""
        group = GROUPINGS[grouping]
        names = [group(run) for run in self.runs]
        folds = {name: name if grouping == "sources" else str(crc32(name.encode()) % FOLDS) for name in set(names)}
        of = np.array([folds[name] for name in names])
        errors = np.zeros(len(self.runs))
        for fold in sorted(set(of)):
            found = self.fit(of != fold, start)
            left = self.seconds - self.predicted(self.logarithms(found))
            errors[of == fold] = left[of == fold]
        return errors
