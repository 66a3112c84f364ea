"""Power coefficients from measured watts: a ridge by Gauss-Newton on ln(measured / predicted), like that of the speeds.

What the GPUs do per second is taken from the estimate of the measured run; only watts are fitted to. Energy follows: it
is watts over tokens per second.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from math import exp
from pathlib import Path
from typing import Any

import numpy as np

from app import catalog
from app.accuracy import scoring
from app.calculations import estimate
from app.calculations.coefficients import Efficiency
from app.calculations.energy import Activity, PowerModel, joules_per_token, power_watts
from app.calculations.errors import InvalidInput
from app.calculations.watch import Watch, nobody, part_of, passing
from app.calibration.compiled import compiled
from app.calibration.fit import NOISE, SOFT
from app.calibration.folds import folds_of
from app.calibration.model import Table
from app.measurements.prediction import Row
from app.measurements.serving import run_of

#: Classes of metrics that are judged here.
CLASSES = ("energy", "power")


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What is expected of a coefficient before any measurement, its spread in ln, and what physics allows."""

    expected: float
    spread: float
    low: float
    high: float
    unit: str


#: In the units of power.csv. A byte: 4 to 7 pJ/bit in HBM2e and HBM3, as much again over the chip to the multipliers; a
#: FLOP: the power limit over 0.7 of the 16-bit peak is 1.0 pJ on H100, less what stands still.
SHARED: Mapping[str, Prior] = {
    "awake": Prior(expected=0.15, spread=1.0, low=0.02, high=0.5, unit="share of TDP"),
    "byte": Prior(expected=80.0, spread=1.0, low=10.0, high=300.0, unit="pJ/byte"),
    "flop": Prior(expected=0.8, spread=1.0, low=0.1, high=5.0, unit="pJ/FLOP"),
}
FACTORS: Mapping[str, Prior] = {
    "generation": Prior(expected=1.0, spread=0.3, low=0.4, high=2.5, unit="factor"),
    "gpu": Prior(expected=1.0, spread=0.3, low=0.4, high=2.5, unit="factor"),
}
DELTA, ROUNDS, SETTLED, LONGEST = 1e-5, 50, 1e-7, 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Observed:
    """A measurement of power or energy, and what the GPUs do in our estimate of its run."""

    identifier: str
    run: str
    source: str
    metric: str
    measured: float
    engine: str
    stands_in: bool
    model: str
    gpu: str
    generation: str
    num_gpus: int
    tdp_watts: float
    activity: Activity
    tokens_per_second: float

    @property
    def pair(self) -> str:
        return f"{self.model} {self.gpu}"

    @property
    def levels(self) -> tuple[tuple[str, str], ...]:
        """The levels of its factor, and that by which a prediction counts as interpolated."""
        return ("generation", self.generation), ("gpu", self.gpu), ("engine on gpu", f"{self.engine} {self.gpu}")

    def quantity(self, watts: float) -> float:
        """The measured quantity of GPUs that draw so many watts each."""
        if self.metric == "power_w_per_gpu":
            return watts
        return joules_per_token(watts, self.num_gpus, self.tokens_per_second)


def observe(rows: Iterable[Row], efficiency: Efficiency) -> Iterator[Observed]:
    """The rows of power and energy that count and that can be predicted, at these coefficients of speed."""
    kept: dict[str, Any] = {}
    for row in rows:
        if scoring.metric_class(row) not in CLASSES:
            continue
        try:
            run = run_of(row)
            key = repr((run.inputs, run.scenario.collapsed_routing))
            if key not in kept:
                kept.clear()
                kept[key] = estimate(replace(run.scenario, efficiency=efficiency)).best
        except InvalidInput:
            continue
        best = kept[key]
        gpu, active, speed = run.scenario.gpu, best.activity, best.speed
        if gpu.tdp_watts is None or active is None or speed is None:
            continue
        yield Observed(
            identifier=row["id"],
            run=key,
            source=row["source"],
            metric=row["metric"],
            measured=float(row["value"]),
            engine=run.scenario.engine.name,
            stands_in=run.protocol.stands_in,
            model=run.scenario.model.name,
            gpu=gpu.slug,
            generation=gpu.architecture,
            num_gpus=best.layout.num_gpus,
            tdp_watts=gpu.tdp_watts,
            activity=active,
            tokens_per_second=speed.requests_per_second * run.scenario.output_tokens,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficient:
    """A line of power.csv; (`name`, `key`) is a shared coefficient (no key) or a factor of a generation or GPU."""

    name: str
    key: str
    prior: Prior
    value: float
    rows: int
    standard_error: float


class Problem:
    """The watts of a table as a function of the logarithms of all coefficients."""

    def __init__(self, rows: Sequence[Observed], idle: float) -> None:
        found = {level for row in rows for level in row.levels if level[0] in FACTORS}
        self.names = [(name, "") for name in SHARED] + sorted(found)
        self.priors = [{**SHARED, **FACTORS}[name] for name, _ in self.names]
        self.idle = idle
        self.tdp = np.array([row.tdp_watts for row in rows])
        self.activity = Activity(
            awake=np.array([row.activity.awake for row in rows]),
            bytes_per_second=np.array([row.activity.bytes_per_second for row in rows]),
            flops_per_second=np.array([row.activity.flops_per_second for row in rows]),
        )
        #: rows x coefficients: whether a factor is that of a row.
        self.belongs = np.array([[name in row.levels for name in self.names] for row in rows], dtype=float)
        self.measured = np.array([row.measured for row in rows])

    def errors(self, logs: Any) -> Any:
        """ln(measured / predicted) of every row."""
        model = model_of(self.idle, {name: exp(log) for (name, _), log in zip(self.names, logs, strict=True)})
        predicted = power_watts(self.tdp, model, self.activity, np.exp(self.belongs @ logs))
        return np.log(self.measured / predicted)


def model_of(
    idle: float, shared: Mapping[str, float], factors: Mapping[tuple[str, str], float] | None = None
) -> PowerModel:
    """A power model from coefficients in the units of power.csv."""
    parts = {part: shared[name] * unit for name, (part, unit) in catalog.POWER_COEFFICIENTS.items()}
    return PowerModel(idle=idle, factors=factors or {}, **parts)


def weights(rows: Sequence[Observed]) -> Any:
    """n rows of one source, engine and GPU err together and count as sqrt(n)."""
    sizes = Counter((row.source, row.engine, row.gpu) for row in rows)
    return np.array([sizes[row.source, row.engine, row.gpu] ** -0.5 for row in rows])


def fit(observed: Iterable[Observed], idle: float) -> list[Coefficient]:
    """The coefficients that explain the watts best. The same rows give the same numbers."""
    rows = [row for row in observed if row.metric == "power_w_per_gpu"]
    problem = Problem(rows, idle)
    priors = problem.priors
    expected = np.log([prior.expected for prior in priors])
    low, high = np.log([prior.low for prior in priors]), np.log([prior.high for prior in priors])
    pull = np.diag([prior.spread**-2 for prior in priors])
    logs, matrix = expected, pull
    weight = weights(rows) / NOISE**2
    for _ in range(ROUNDS if rows else 0):
        left = problem.errors(logs)
        slope = np.stack([(left - problem.errors(logs + DELTA * one)) / DELTA for one in np.eye(len(logs))], axis=1)
        soft = weight / np.sqrt(1 + (left / SOFT) ** 2)
        matrix = slope.T @ (slope * soft[:, None]) + pull
        step = np.linalg.solve(matrix, slope.T @ (soft * left) - pull @ (logs - expected))
        moved = np.clip(logs + np.clip(step, -LONGEST, LONGEST), low, high)
        settled = np.abs(moved - logs).max() < SETTLED
        logs = moved
        if settled:
            break
    spread = np.sqrt(np.diag(np.linalg.inv(matrix)))
    counts = problem.belongs.sum(axis=0) if rows else np.zeros(len(logs))
    return [
        Coefficient(
            name=name, key=key, prior=prior, value=exp(log), standard_error=exp(log) * float(one),
            rows=int(count) if key else len(rows),
        )
        for (name, key), prior, log, one, count in zip(problem.names, priors, logs, spread, counts, strict=True)
    ]  # fmt: skip


def power_model(found: Iterable[Coefficient], idle: float) -> PowerModel:
    lines = list(found)
    shared = {one.name: one.value for one in lines if not one.key}
    return model_of(idle, shared, {(one.name, one.key): one.value for one in lines if one.key})


def watts(row: Observed, model: PowerModel) -> float:
    return float(power_watts(row.tdp_watts, model, row.activity, model.factor(row.generation, row.gpu)))


# --- what was left out ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class LeftOut:
    """Rows as estimates see them that lack their group, in speed and in power, and the errors of these."""

    rows: tuple[Observed, ...]
    #: Watts predicted of each row's GPUs.
    watts: tuple[float, ...]

    @property
    def errors(self) -> Any:
        """ln(measured / predicted) of every row."""
        pairs = zip(self.rows, self.watts, strict=True)
        return np.array([np.log(row.measured / row.quantity(one)) for row, one in pairs])

    def at_measured_throughput(self) -> Iterator[scoring.Judged]:
        """Energy of the runs whose power is measured too, from predicted watts and measured tokens per second."""
        measured = {(row.source, row.run): row.measured for row in self.rows if row.metric == "power_w_per_gpu"}
        for row, one in zip(self.rows, self.watts, strict=True):
            power = measured.get((row.source, row.run))
            if row.metric == "energy_j_per_token" and power:
                yield scoring.Judged(row.source, "energy at measured rate", row.measured, row.measured * one / power)


def left_out(
    rows: Sequence[Row],
    seen: Sequence[Observed],
    fit_without: Callable[[str], Efficiency],
    grouping: str,
    idle: float,
    watch: Watch = nobody,
) -> LeftOut:
    """Watts of every row by a fit that its group was left out of; `seen` are the rows as any fit of speed sees them,
    `fit_without` the fits of speed by what they lack."""
    found: dict[str, tuple[Observed, float]] = {}
    folds = sorted(set(folds_of(grouping, seen)))
    for number, fold in enumerate(folds):
        observed = list(observe(passing(rows, part_of(watch, number, len(folds))), fit_without(fold)))
        out = folds_of(grouping, observed) == fold
        model = power_model(fit([row for row, one in zip(observed, out, strict=True) if not one], idle), idle)
        found |= {row.identifier: (row, watts(row, model)) for row, one in zip(observed, out, strict=True) if one}
    ordered = [found[identifier] for identifier in sorted(found)]
    return LeftOut(rows=tuple(row for row, _ in ordered), watts=tuple(one for _, one in ordered))


def on_roofline(observed: Sequence[Observed], rows: Iterable[Row]) -> Any:
    """What each row would be at the power limit, tokens as fast as a plain roofline says."""
    kept: dict[str, Any] = {}
    speeds = [compiled({**row, "metric": "output_tokens_per_s"}, kept) for row in rows]
    known = [row for row in speeds if row is not None]
    rates = dict(zip((row.identifier for row in known), Table(known).on_roofline() if known else (), strict=True))
    return np.array([
        replace(row, tokens_per_second=float(rates.get(row.identifier, np.nan))).quantity(row.tdp_watts)
        for row in observed
    ])  # fmt: skip


def write(path: Path, found: Iterable[Coefficient]) -> None:
    """The coefficients as CSV with the columns of the catalogue."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(catalog.POWER_COLUMNS)
        for one in found:
            prior = one.prior
            writer.writerow([
                one.name, one.key, f"{one.value:.4g}", prior.unit, f"{prior.low:g}", f"{prior.high:g}", one.rows,
                f"{one.standard_error:.2g}",
            ])  # fmt: skip
