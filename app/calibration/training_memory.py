"""Coefficients of training memory from measured peaks: a ridge by recipe, by Gauss-Newton on ln(measured / predicted).

Tensors are counted, not fitted; fitted are only what lies beside them: bytes per logit, the allocator's slack, context
and communicators, what 4-bit layers keep, and a factor on activations that stays near one.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from app import training_catalog
from app.accuracy import scoring
from app.calculations.errors import InvalidInput
from app.calculations.training.memory import peak_memory
from app.calculations.training.recipe import Recipe
from app.calculations.uncertainty import ANY, EXTRAPOLATED, INTERPOLATED
from app.calculations.watch import Watch, nobody, passing
from app.calibration.ranges import LEAST_GROUPS, LEAST_ROWS, Range, Residual, fitted, spread_of
from app.measurements.training_memory import MemoryRun, kind, memory_run

#: Coefficient -> how far (in ln) measurements may move it from what is expected of it.
SPREADS = {
    "activation_scale": 0.05, "logit_bytes": 0.3, "slack": 0.3, "eager_slack": 0.3, "workspace_bytes": 0.5,
    "runtime_bytes": 0.5, "communicator_bytes": 0.7, "quantized_bytes": 0.4,
}  # fmt: skip
#: Error (in ln) beyond which a row weighs less, and the spread expected of a row that is right.
SOFT, NOISE = 0.1, 0.06
DELTA, LONGEST, ROUNDS, SETTLED = 1e-3, 0.3, 15, 2e-3
#: Rows of one configuration under several settings of the source count less: n rows as n^(1 - SHARE).
SHARE = 0.5
FOLDS = 8
#: Peaks that are those of another GPU (their speed exceeds what the GPU can do).
IMPOSSIBLE_GPUS = ("rtx-a6000",)
Key = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Peak:
    """A measured peak."""

    identifier: str
    source: str
    run: MemoryRun
    bytes: float

    @property
    def pair(self) -> str:
        return f"{self.run.setting.model.name} {self.run.setting.gpu.slug}"

    def group(self, grouping: str) -> str:
        s = self.run.setting
        return {"pairs": self.pair, "models": s.model.name, "gpus": s.gpu.slug, "sources": self.source}[grouping]


def compile_rows(rows: Iterable[Mapping[str, str]]) -> list[Peak]:
    """The rows of training tables that measured memory and can be read."""
    found = []
    for row in rows:
        if scoring.metric_class(row) != "train_memory" or row.get("gpu") in IMPOSSIBLE_GPUS:
            continue
        try:
            run = memory_run(row)
        except InvalidInput:
            continue
        found.append(Peak(identifier=row["id"], source=row["source"], run=run, bytes=float(row["value"]) * run.unit))
    return found


def moved(recipe: Recipe, found: Mapping[Key, float]) -> Recipe:
    """The recipe with its coefficients moved by deviations (in ln)."""
    changed = {name: getattr(recipe, name) * np.exp(found.get((recipe.name, name), 0.0)) for name in SPREADS}
    return replace(recipe, **changed)


class Problem:
    """Peaks, and the deviations of their recipes' coefficients; recipes are taken as they are expected to be."""

    def __init__(self, peaks: Sequence[Peak]) -> None:
        self.peaks = peaks
        self.recipes = training_catalog.expected_recipes()
        names = sorted({peak.run.memory.recipe.name for peak in peaks})
        self.keys: list[Key] = [(recipe, name) for recipe in names for name in SPREADS]
        sizes = Counter((peak.source, peak.pair) for peak in peaks)
        self.weight = np.array([sizes[peak.source, peak.pair] ** -SHARE for peak in peaks])
        self.spread = np.array([SPREADS[name] for _, name in self.keys])
        self.measured = np.log([peak.bytes for peak in peaks])

    def predicted(self, found: Any) -> Any:
        """ln of the predicted bytes."""
        deviations = dict(zip(self.keys, found, strict=True))
        recipes = {name: moved(self.recipes[name], deviations) for name in {recipe for recipe, _ in self.keys}}
        return np.log(
            [
                peak_memory(
                    peak.run.setting, replace(peak.run.memory, recipe=recipes[peak.run.memory.recipe.name])
                ).reported(peak.run.quantity)
                for peak in self.peaks
            ]
        )

    def slopes(self, found: Any, base: Any) -> Any:
        """Derivatives (coefficients x rows); one evaluation per coefficient serves all recipes, which share no row."""
        slope = np.zeros((len(self.keys), len(self.peaks)))
        of = np.array([peak.run.memory.recipe.name for peak in self.peaks])
        for name in SPREADS:
            step = np.array([DELTA if key[1] == name else 0.0 for key in self.keys])
            change = (self.predicted(found + step) - base) / DELTA
            for place, (recipe, own) in enumerate(self.keys):
                if own == name:
                    slope[place] = change * (of == recipe)
        return slope

    def fit(self) -> tuple[Any, Any]:
        """Deviations that fit all rows best, and the derivatives there."""
        found = np.zeros(len(self.keys))
        for _ in range(ROUNDS):
            base = self.predicted(found)
            slope = self.slopes(found, base)
            step = self.step(found, base, slope, np.ones(len(self.peaks), dtype=bool))
            found = found + step
            if np.abs(step).max() < SETTLED:
                break
        return found, slope

    def step(self, found: Any, base: Any, slope: Any, use: Any) -> Any:
        left = (self.measured - base)[use]
        heavy = slope[:, use] * (self.weight[use] / NOISE**2 / np.sqrt(1 + (left / SOFT) ** 2))
        matrix = heavy @ slope[:, use].T + np.diag(self.spread**-2)
        return np.clip(np.linalg.solve(matrix, heavy @ left - found / self.spread**2), -LONGEST, LONGEST)

    def standard_errors(self, slope: Any) -> Any:
        heavy = slope * self.weight / NOISE**2
        return np.sqrt(np.diag(np.linalg.inv(heavy @ slope.T + np.diag(self.spread**-2))))

    def errors(self, found: Any) -> Any:
        """ln(measured / predicted)."""
        return self.measured - self.predicted(found)

    def left_out(self, grouping: str, found: Any, watch: Watch = nobody) -> Any:
        """The same by fits that the row's group was left out of (two Gauss-Newton steps from the full fit)."""
        names = [peak.group(grouping) for peak in self.peaks]
        whole = grouping == "sources"
        of = np.array([name if whole else str(crc32(name.encode()) % FOLDS) for name in names])
        errors = np.zeros(len(self.peaks))
        for fold in passing(sorted(set(of)), watch):
            use, own = of != fold, found.copy()
            for _ in range(3):
                base = self.predicted(own)
                own = own + self.step(own, base, self.slopes(own, base), use)
            errors[of == fold] = self.errors(own)[of == fold]
        return errors


def judged(peaks: Sequence[Peak], errors: Any) -> list[scoring.Judged]:
    return [
        scoring.Judged(peak.source, "train_memory", peak.bytes, peak.bytes * float(np.exp(-error)))
        for peak, error in zip(peaks, errors, strict=True)
    ]


def memory_ranges(peaks: Sequence[Peak], pairs: Any, sources: Any) -> list[Range]:
    """Ranges by kind and recipe from pairs left out; for recipes not measured from sources left out."""

    def residuals(errors: Any) -> list[Residual]:
        return [
            Residual(kind(p.run), p.run.memory.recipe.name, p.source, p.pair, float(np.exp(error)))
            for p, error in zip(peaks, errors, strict=True)
        ]

    found = []
    by_pair, by_source = residuals(pairs), residuals(sources)
    for name in sorted({one.metric_class for one in by_pair}):
        chosen = [one for one in by_pair if one.metric_class == name]
        for recipe in sorted({one.engine for one in chosen}):
            own = [one for one in chosen if one.engine == recipe]
            if len(own) >= LEAST_ROWS and len({one.group for one in own}) >= LEAST_GROUPS:
                found.append(fitted(name, recipe, INTERPOLATED, own, spread_of))
        found.append(fitted(name, ANY, INTERPOLATED, chosen, spread_of))
        left = [one for one in by_source if one.metric_class == name]
        found.append(fitted(name, ANY, EXTRAPOLATED, left, spread_of))
    return found


def write(path: Path, problem: Problem, found: Any, slope: Any) -> None:
    """The coefficients as CSV with the columns of the catalogue."""
    errors = problem.standard_errors(slope)
    of = Counter(peak.run.memory.recipe.name for peak in problem.peaks)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(training_catalog.MEMORY_COLUMNS)
        for place, (recipe, name) in enumerate(problem.keys):
            expected = getattr(problem.recipes[recipe], name)
            if not expected:
                continue
            value = expected * float(np.exp(found[place]))
            unit = "bytes" if name.endswith("_bytes") else "ratio"
            numbers = (f"{value:.5g}", unit, f"{expected:.5g}", f"{problem.spread[place]:g}", f"{errors[place]:.3f}")
            writer.writerow([recipe, name, *numbers, of[recipe]])
