"""Training coefficients from measured steps: a ridge over levels, by Gauss-Newton on ln(measured / predicted).

As for serving (`fit.py`): each level moves the logarithm of a coefficient by a deviation that is pulled to zero, and
large errors weigh less. Runs of one configuration under several releases weigh as one; big sources weigh less per run.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np

from app import training_catalog
from app.accuracy import scoring
from app.calculations.errors import InvalidInput
from app.calculations.training.coefficients import NAMES, Coefficients, Level, Prior, levels
from app.calculations.training.speed import kind
from app.calculations.training.step import Work, step_time
from app.calculations.training.work import work
from app.calculations.uncertainty import ANY, EXTRAPOLATED, INTERPOLATED, Spread
from app.calculations.watch import Watch, nobody, passing
from app.calibration.ranges import Range, Residual
from app.measurements.training import SPEEDS, Run, run_of, step_seconds

#: Error (in ln) beyond which a run weighs less, and the spread expected of a run that is right.
SOFT, NOISE = 0.1, 0.08
#: Logarithmic step of the derivatives, and the longest step of one round.
DELTA, LONGEST = 1e-3, 0.5
ROUNDS = 25
#: A fit has settled when no deviation moves by more.
SETTLED = 2e-3
FOLDS = 10
#: A source of n runs counts as n (n / EVEN)^-SHARE; a configuration measured n times as n^(1 - REPEATS).
EVEN, SHARE, REPEATS = 40, 0.5, 0.7
#: Share of the measurements that a range shall hold, and the tails that are tried on each side.
HELD = 0.8
TAILS = tuple(round(0.04 + 0.01 * step, 2) for step in range(12))
#: Fewer runs or pairs of model and GPU than these say too little about a framework of its own.
LEAST_RUNS, LEAST_GROUPS = 30, 6
#: Notes of rows that say nothing of the speed: doubtful, or of a network of another age (2021's ZeRO-3 over 640 GPUs).
LEFT_OUT = (*scoring.LEFT_OUT, "ZeRO-3 without model parallelism")
#: Measured at more than the GPU's peak.
IMPOSSIBLE_GPUS = ("rtx-a6000",)
#: Best metric of a run first.
PREFERRED = ("tokens_per_s_per_gpu", "step_time_s", "tflops_per_gpu", "mfu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A measured step: its work, its levels and its seconds."""

    identifier: str
    source: str
    model: str
    gpu: str
    configuration: str
    kind: str
    framework: str
    work: Work
    levels: tuple[Level, ...]
    seconds: float

    @property
    def pair(self) -> str:
        return f"{self.model} {self.gpu}"


GROUPINGS: Mapping[str, Callable[[Measured], str]] = {
    "pairs": lambda run: run.pair,
    "models": lambda run: run.model,
    "gpus": lambda run: run.gpu,
    "sources": lambda run: run.source,
}


def measured(row: Mapping[str, str], run: Run) -> Measured:
    """A row whose layout is known as what a fit needs."""
    s = run.setting
    shape = (s.num_gpus, s.seq_len, s.micro_batch_size, s.global_batch_size, s.tp, s.pp, s.cp, s.ep)
    how = (s.sharding, s.precision, s.activation_recompute, s.method)
    return Measured(
        identifier=row["id"],
        source=row["source"],
        model=s.model.name,
        gpu=s.gpu.slug,
        configuration=repr((row["source"], s.model.name, s.gpu.slug, shape, how)),
        kind=kind(s),
        framework=s.stack.family,
        work=work(s),
        levels=levels(s),
        seconds=step_seconds(row["metric"], float(row["value"]), run),
    )


def usable(row: Mapping[str, str]) -> bool:
    notes = row.get("notes") or ""
    known = row.get("metric") in SPEEDS and row.get("value") and row.get("gpu") not in IMPOSSIBLE_GPUS
    return bool(known) and not any(mark in notes for mark in LEFT_OUT)


def compile_rows(rows: Iterable[Mapping[str, str]]) -> list[Measured]:
    """One entry per run, by its best metric; rows that cannot be read or leave the layout open are left out."""
    best: dict[tuple[str, str], Mapping[str, str]] = {}
    for row in rows:
        if usable(row) and row["metric"] in PREFERRED:
            key = row["source"], row["id"].rpartition("-")[0]
            if key not in best or PREFERRED.index(row["metric"]) < PREFERRED.index(best[key]["metric"]):
                best[key] = row
    found = []
    for row in best.values():
        try:
            run = run_of(row)
        except InvalidInput:
            continue
        # MaxText shards fully and deals out experts: its layout is known where it is not said.
        if not run.open_layout or run.setting.stack.name == "maxtext":
            found.append(measured(row, run))
    return found


class Problem:
    """Runs as arrays, and the deviations that may move their coefficients."""

    def __init__(self, runs: Sequence[Measured], priors: Mapping[str, Prior] | None = None) -> None:
        self.runs = runs
        self.priors = priors or training_catalog.priors()
        names = [one.name for one in fields(Work)]
        self.work = Work(**{name: np.array([float(getattr(run.work, name)) for run in runs]) for name in names})
        self.seconds = np.log([run.seconds for run in runs])
        self.levels = sorted({level for run in runs for level in run.levels})
        self.parameters = [
            (level, name) for level in self.levels for name in NAMES if level[0] in self.priors[name].spread
        ]
        self.spread = np.array([self.priors[name].spread[level[0]] for level, name in self.parameters])
        member = {level: np.array([level in run.levels for run in runs], dtype=float) for level in self.levels}
        self.member = np.array([member[level] for level, _ in self.parameters])
        self.which = np.array([NAMES.index(name) for _, name in self.parameters])
        self.bounds = np.log([[max(limit, 1e-9) for limit in self.priors[name].bounds] for name in NAMES])
        repeats, sizes = Counter(run.configuration for run in runs), Counter(run.source for run in runs)
        self.weight = np.array(
            [repeats[run.configuration] ** -REPEATS * (sizes[run.source] / EVEN) ** -SHARE for run in runs]
        )

    def logarithms(self, found: Any) -> Any:
        """ln of the coefficients of each run (NAMES x runs)."""
        expected = np.log([self.priors[name].expected for name in NAMES])
        logs = np.repeat(expected[:, None], len(self.runs), axis=1)
        np.add.at(logs, self.which, self.member * found[:, None])
        return np.clip(logs, self.bounds[:, :1], self.bounds[:, 1:])

    def predicted(self, logs: Any) -> Any:
        """ln of the predicted seconds."""
        values = np.exp(logs)
        c = Coefficients(**{name: values[place] for place, name in enumerate(NAMES)})
        return np.log(step_time(self.work, c).total)

    def equations(self, found: Any, use: Any) -> tuple[Any, Any]:
        """Matrix and right side of one Gauss-Newton step on the runs `use`."""
        logs = self.logarithms(found)
        base = self.predicted(logs)
        left = self.seconds - base
        slope = np.empty_like(logs)
        for place in range(len(NAMES)):
            moved = logs.copy()
            moved[place] += DELTA
            slope[place] = (self.predicted(moved) - base) / DELTA
        design = (self.member * slope[self.which])[:, use]
        heavy = design * (self.weight / NOISE**2 / np.sqrt(1 + (left / SOFT) ** 2))[use]
        matrix = heavy @ design.T + np.diag(self.spread**-2)
        return matrix, heavy @ left[use] - found / self.spread**2

    def fit(self, use: Any = None, start: Any = None) -> Any:
        """The deviations that fit the runs `use` (all) best."""
        use = np.ones(len(self.runs), dtype=bool) if use is None else use
        found = np.zeros(len(self.parameters)) if start is None else start.copy()
        for _ in range(ROUNDS):
            matrix, right = self.equations(found, use)
            step = np.clip(np.linalg.solve(matrix, right), -LONGEST, LONGEST)
            found = found + step
            if np.abs(step).max() < SETTLED:
                break
        return found

    def standard_errors(self, found: Any) -> Any:
        """Standard error of each deviation, the prior included."""
        matrix, _ = self.equations(found, np.ones(len(self.runs), dtype=bool))
        return np.sqrt(np.diag(np.linalg.inv(matrix)))

    def errors(self, found: Any) -> Any:
        """ln(measured / predicted) of the seconds of each run."""
        return self.seconds - self.predicted(self.logarithms(found))

    def left_out(self, grouping: str, start: Any, watch: Watch = nobody) -> Any:
        """The same by fits that the run's group was left out of."""
        names = [GROUPINGS[grouping](run) for run in self.runs]
        whole = grouping == "sources"
        of = np.array([name if whole else str(crc32(name.encode()) % FOLDS) for name in names])
        errors = np.zeros(len(self.runs))
        for fold in passing(sorted(set(of)), watch):
            errors[of == fold] = self.errors(self.fit(of != fold, start))[of == fold]
        return errors


def judged(runs: Sequence[Measured], errors: Any) -> list[scoring.Judged]:
    """Runs with their errors, as they are scored: by tokens per second."""
    return [
        scoring.Judged(run.source, "train_speed", 1 / run.seconds, float(np.exp(error)) / run.seconds)
        for run, error in zip(runs, errors, strict=True)
    ]


def residuals(runs: Sequence[Measured], errors: Any, again: bool = False) -> list[Residual]:
    """measured / predicted seconds by kind and framework; `again`: of runs that were left out otherwise, too."""
    return [
        Residual(run.kind, run.framework, run.source, run.pair, float(np.exp(error)), again=again)
        for run, error in zip(runs, errors, strict=True)
    ]


def quantiles(found: Sequence[Residual], tail: float) -> tuple[float, float]:
    """Ratios below and above which `tail` of the runs lie; a source of n runs weighs sqrt(n)."""
    sizes = Counter(one.source for one in found)
    ordered = sorted(found, key=lambda one: one.ratio)
    weights = np.array([sizes[one.source] ** -0.5 for one in ordered])
    reached = (np.cumsum(weights) - weights / 2) / weights.sum()
    ratios = [one.ratio for one in ordered]
    low, high = np.interp([tail, 1 - tail], reached, ratios)
    return float(low), float(high)


def inside(found: Sequence[Residual], tail: float, group: Callable[[Residual], str]) -> float:
    """Share of the runs inside a range made without their fold of groups."""
    fold = [str(crc32(group(one).encode()) % FOLDS) for one in found]
    count = 0
    for number in set(fold):
        rest = [one for one, own in zip(found, fold, strict=True) if own != number]
        out = [one for one, own in zip(found, fold, strict=True) if own == number]
        low, high = quantiles(rest or out, tail)
        count += sum(low <= one.ratio <= high for one in out)
    return count / len(found)


def range_of(
    metric: str, engine: str, nearness: str, found: Sequence[Residual], group: Callable[[Residual], str]
) -> Range:
    """The range whose share of left-out runs inside is nearest to HELD."""
    shares = {tail: inside(found, tail, group) for tail in TAILS}
    tail = min(TAILS, key=lambda one: abs(shares[one] - HELD))
    low, high = quantiles(found, tail)
    rows, groups = sum(not one.again for one in found), len({one.group for one in found})
    spread = Spread(low=low, high=high, rows=rows, groups=groups)
    sources = tuple(sorted({one.source for one in found}))
    return Range(metric=metric, engine=engine, nearness=nearness, spread=spread, coverage=shares[tail], sources=sources)


def speed_ranges(runs: Sequence[Measured], pairs: Any, sources: Any) -> list[Range]:
    """Ranges by kind and framework from pairs and from sources left out, each run both ways, since whoever asks has a
    site of their own; for frameworks not measured from sources left out."""
    by_source = residuals(runs, sources)
    both = [*residuals(runs, pairs), *residuals(runs, sources, again=True)]
    found = []
    for name in sorted({run.kind for run in runs}):
        own = [one for one in both if one.metric_class == name]
        for framework in sorted({one.engine for one in own}):
            chosen = [one for one in own if one.engine == framework]
            if len(chosen) >= 2 * LEAST_RUNS and len({one.group for one in chosen}) >= LEAST_GROUPS:
                found.append(range_of(name, framework, INTERPOLATED, chosen, lambda one: one.group))
        found.append(range_of(name, ANY, INTERPOLATED, own, lambda one: one.group))
        left = [one for one in by_source if one.metric_class == name]
        found.append(range_of(name, ANY, EXTRAPOLATED, left, lambda one: one.source))
    found.append(range_of(ANY, ANY, INTERPOLATED, both, lambda one: one.group))
    return found


def write(path: Path, problem: Problem, found: Any) -> None:
    """The deviations as CSV with the columns of the catalogue."""
    errors = problem.standard_errors(found)
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(training_catalog.EFFICIENCY_COLUMNS)
        for place, (level, name) in enumerate(problem.parameters):
            value = float(found[place])
            numbers = (f"{value:.4f}", f"{np.exp(value):.3f}", f"{problem.spread[place]:g}", f"{errors[place]:.3f}")
            writer.writerow([*level, name, *numbers, int(problem.member[place].sum())])
