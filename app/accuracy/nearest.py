"""The published measurements nearest to a serving scenario.

The distance is a sum of terms, one for each property in which a measurement differs. A term's unit is a doubling of the
model's active parameters; WEIGHTS says what a doubling of the others, or another kind of thing, counts. It orders
measurements by how much they tell of the scenario; it is no error of the prediction.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from app import catalog, formatting
from app.accuracy import crossvalidated, scoring
from app.accuracy.crossvalidated import Accuracy, Facet, engine_family, engine_label, gpu_label, gpu_slug
from app.accuracy.page import UNITS, load
from app.calculations.precision import ALIASES, PRECISIONS
from app.measurements import published
from app.once import once

COUNT = 5
TIMES = "\N{MULTIPLICATION SIGN}"
#: What a doubling counts, by property ("other_*" is a flat charge, "other_load" for saturated or open-loop load against
#: a number of requests).
WEIGHTS = {
    "active_params": 1.0,
    "total_params": 0.5,
    "cache_elements": 0.25,
    "bandwidth": 1.0,
    "peak": 0.5,
    "gpus": 1.0,
    "weight_bits": 1.0,
    "input_tokens": 0.4,
    "output_tokens": 0.2,
    "concurrency": 0.6,
    "other_model": 0.25,
    "other_gpu": 0.5,
    "other_engine": 1.5,
    "other_load": 2.0,
}
#: Doublings that are taken for what a measurement does not state.
NOT_KNOWN = 1.0
NAMES = (
    *("active_params", "total_params", "cache_elements", "bandwidth", "peak", "gpus", "weight_bits"),
    *("input_tokens", "output_tokens", "concurrency"),
)
#: Columns of a table that together say which run a row belongs to.
RUN = (
    *("source", "model", "gpu", "num_gpus", "tp", "pp", "ep", "dp", "engine", "engine_version", "weight_precision"),
    *("activation_precision", "kv_precision", "input_tokens", "output_tokens", "concurrency"),
)
SATURATED, OPEN = math.inf, -1.0
#: What is shown first where a run measured several metrics of a class.
PREFERRED = ("output_tokens_per_s", "tpot_ms", "ttft_ms", "e2e_latency_ms", "energy_j_per_token", "power_w_per_gpu")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A scenario as the distance sees it. NaN is what is not known."""

    model: str
    gpu: str
    engine: str
    weights: str
    active_params: float
    total_params: float
    cache_elements: float
    bandwidth: float
    peak: float
    gpus: float
    weight_bits: float
    input_tokens: float
    output_tokens: float
    #: Requests in flight in each replica. SATURATED is unlimited load; what is below zero stands for OPEN arrivals.
    concurrency: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Value:
    """A measured number beside our cross-validated prediction of it, None where there is none."""

    metric: str
    unit: str
    measured: float
    predicted: float | None

    @property
    def error(self) -> float | None:
        return None if self.predicted is None else self.predicted / self.measured - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Near:
    """A measured run: how far it is, in what it differs, what was measured, and where it was published."""

    distance: float
    differences: tuple[str, ...]
    title: str
    conditions: str
    source: str
    source_text: str
    #: Class of metrics -> the value.
    values: Mapping[str, Value]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Index:
    """All measured runs: points[i] was measured by the rows members[i] of `published.serving()`."""

    points: tuple[Point, ...]
    members: tuple[tuple[int, ...], ...]
    #: Logarithms (base 2) of NAMES, one line for each run.
    logs: NDArray[np.float64]
    models: Facet
    gpus: Facet
    engines: Facet
    #: 0 a number of requests, 1 saturated, 2 open-loop.
    loads: NDArray[np.int8]


# --- points -----------------------------------------------------------------------------------------------------


@cache
def model_sizes(name: str) -> tuple[float, float, float]:
    """Active and total parameters, cache elements per token; NaN for a model that the catalogue lacks."""
    if preset(name) not in catalog.preset_models():
        return math.nan, math.nan, math.nan
    model = catalog.read_model(preset(name))
    return float(model.active_params), float(model.total_params), float(model.cache_elements_per_token) or math.nan


@cache
def gpu_speeds(slug: str) -> tuple[float, float]:
    """Bytes per second, and FLOP per second in 16 bits."""
    gpu = catalog.preset_gpus().get(slug)
    if gpu is None:
        return math.nan, math.nan
    return gpu.memory_bandwidth_bytes_per_second, gpu.peak_flops_per_second.get(gpu.sixteen_bit, math.nan)


@cache
def preset(name: str) -> str:
    """The preset's id that a model's name means, else the name."""
    return catalog.model_aliases().get(catalog.same(name), name)


def bits(name: str) -> float:
    known = PRECISIONS.get(ALIASES.get(name, name))
    return float(known.bits) if known else math.nan


def point_of(row: published.Row) -> Point:
    """A row of the tables."""
    active, total, cached = model_sizes(row["model"])
    gpu = gpu_slug(row["gpu"])
    bandwidth, peak = gpu_speeds(gpu)
    lengths = published.mean_lengths(row)
    stated = row["concurrency"]
    gpus = float(row["num_gpus"] or math.nan)
    replica = max(float(row["tp"] or 0) * float(row["pp"] or 1), float(row["ep"] or 0)) or gpus
    replicas = max(1.0, gpus // replica) if gpus > 0 else 1.0
    return Point(
        model=preset(row["model"]),
        gpu=gpu,
        engine=engine_family(row["engine"], row["engine_version"]),
        weights=row["weight_precision"],
        active_params=active,
        total_params=total,
        cache_elements=cached,
        bandwidth=bandwidth,
        peak=peak,
        gpus=replica,
        weight_bits=bits(row["weight_precision"]),
        input_tokens=at_least_one(lengths.input_tokens),
        output_tokens=at_least_one(lengths.output_tokens),
        concurrency={"saturated": SATURATED, "": OPEN}.get(stated) or float(stated) / replicas,
    )


def scenario_point(inputs: Mapping[str, Any], results: Mapping[str, Any]) -> Point:
    """A run of the calculator, from what is logged of it."""
    model, gpu, precision = results["model"], results["gpu"], results["precision"]
    layout = results["layout"]
    replica = max(layout["tp"] * layout["pp"], layout["ep"])
    active, total, cached = model_sizes(model["name"])
    if math.isnan(active):
        active, total = model["active_params"], model["total_params"]
        cached = model["kv_bytes_per_token"] / (bits(precision["kv_cache"]) / 8)
    _, peak = gpu_speeds(gpu["slug"])
    return Point(
        model=preset(model["name"]),
        gpu=gpu["slug"],
        engine=engine_family(results["engine"]["name"]),
        weights=precision["weights"],
        active_params=float(active),
        total_params=float(total),
        cache_elements=cached or math.nan,
        bandwidth=float(gpu["memory_bandwidth_bytes_per_s"]),
        peak=peak,
        gpus=float(replica),
        weight_bits=bits(precision["weights"]),
        input_tokens=at_least_one(inputs.get("input_tokens")),
        output_tokens=at_least_one(inputs.get("output_tokens")),
        concurrency=load_of(inputs, results) / max(1, layout["num_gpus"] // replica),
    )


def at_least_one(value: object) -> float:
    return max(1.0, float(value)) if isinstance(value, int | float) else math.nan


def load_of(inputs: Mapping[str, Any], results: Mapping[str, Any]) -> float:
    """Requests in flight, SATURATED, or OPEN for requests that arrive by themselves."""
    if inputs.get("arrival") == "open":
        return OPEN
    requested = results["batch"]["requested"]
    return float(requested) if isinstance(requested, int | float) else SATURATED


# --- the index --------------------------------------------------------------------------------------------------


def scorable() -> list[int]:
    """The rows of `published.serving()` that count; they stand before those of training."""
    return [row for row in crossvalidated.scorable() if row < len(published.serving())]


@once
def index() -> Index:
    """Made once: the rows that count, those of one run together."""
    table = published.serving()
    columns = [table.columns[name] for name in RUN]
    metrics = table.columns["metric"]
    runs: dict[tuple[object, ...], list[int]] = {}
    turns: Counter[tuple[object, ...]] = Counter()
    for row in scorable():
        conditions = tuple(column[row] for column in columns)
        # A metric that comes again under the same conditions is that of another run.
        turn = turns[conditions, metrics[row]]
        turns[conditions, metrics[row]] += 1
        runs.setdefault((*conditions, turn), []).append(row)
    points = tuple(point_of(table.row(rows[0])) for rows in runs.values())
    return Index(
        points=points,
        members=tuple(map(tuple, runs.values())),
        logs=np.array([logs(point) for point in points]),
        models=Facet.of([point.model for point in points]),
        gpus=Facet.of([point.gpu for point in points]),
        engines=Facet.of([point.engine for point in points]),
        loads=np.array([kind_of_load(point.concurrency) for point in points], np.int8),
    )


def logs(point: Point) -> list[float]:
    return [log2(getattr(point, name)) for name in NAMES]


def log2(value: float) -> float:
    return math.log2(value) if 0 < value < math.inf else math.nan


def kind_of_load(concurrency: float) -> int:
    return 2 if concurrency < 0 else int(concurrency == SATURATED)


def distances(wanted: Point) -> NDArray[np.float64]:
    """The distance of every run."""
    known = index()
    factors = np.array([WEIGHTS[name] for name in NAMES])
    asked = np.array(logs(wanted))
    doublings = np.nan_to_num(np.abs(known.logs - asked), nan=NOT_KNOWN)
    found: NDArray[np.float64] = np.where(np.isnan(asked), 0.0, doublings) @ factors
    for name, facet in (("model", known.models), ("gpu", known.gpus), ("engine", known.engines)):
        found += WEIGHTS[f"other_{name}"] * ~facet.equal(getattr(wanted, name))
    found += WEIGHTS["other_load"] * (known.loads != kind_of_load(wanted.concurrency))
    return found


def nearest(wanted: Point, count: int = COUNT, data: Accuracy | None = None) -> list[Near]:
    """The nearest measured runs; predictions beside them where there are some."""
    found = distances(wanted)
    chosen = np.argsort(found, kind="stable")[:count]
    return [_near(wanted, int(run), float(found[run]), data) for run in chosen]


def _near(wanted: Point, run: int, distance: float, data: Accuracy | None) -> Near:
    known = index()
    point, rows = known.points[run], known.members[run]
    row = published.serving().row(rows[0])
    gpus = f"{formatting.integer(float(row['num_gpus']))} {TIMES} " if row["num_gpus"] not in ("", "1") else ""
    engine = f"{engine_label(point.engine)} {row['engine_version']}".strip()
    return Near(
        distance=distance,
        differences=tuple(differences(wanted, point)),
        title=f"{row['model'].rsplit('/', 1)[-1]} on {gpus}{gpu_label(point.gpu)}",
        conditions=", ".join((engine[:40], formats(point), lengths(point), load(row))),
        source=row["source"],
        source_text=" ".join(filter(None, (row["source"], row["source_date"]))),
        values=_values(rows, data),
    )


def formats(point: Point) -> str:
    return point.weights.upper() or "format not stated"


def lengths(point: Point) -> str:
    return f"prompt {formatting.integer(point.input_tokens)}, output {formatting.integer(point.output_tokens)}"


def _values(rows: Sequence[int], data: Accuracy | None) -> dict[str, Value]:
    table = published.serving()
    found: dict[str, Value] = {}
    for row in rows:
        stated = table.row(row)
        name = scoring.CLASSES[stated["metric"]]
        if name in found and stated["metric"] not in PREFERRED:
            continue
        place = None if data is None else data.places.get(row)
        predicted = None if data is None or place is None else float(data.predicted[place])
        found[name] = Value(
            metric=stated["metric"],
            unit=UNITS[stated["metric"]],
            measured=float(stated["value"]),
            predicted=predicted if predicted is not None and math.isfinite(predicted) else None,
        )
    return {name: found[name] for name in scoring.CLASS_NAMES if name in found}


def differences(wanted: Point, point: Point) -> list[str]:
    """In what a measured run differs from the scenario, what counts most first."""
    found = terms(wanted, point)
    return sorted(found, key=lambda words: -found[words])


def terms(wanted: Point, point: Point) -> dict[str, float]:
    """What a measured run differs in -> what that adds to its distance."""
    found: dict[str, float] = {}

    def term(names: str, words: str, flat: str = "") -> None:
        cost = sum(WEIGHTS[name] * _doublings(wanted, point, name) for name in names.split())
        if flat:
            cost += WEIGHTS[flat]
        if cost > 0.01:
            found[words] = cost

    if point.model != wanted.model:
        size = of_size(point.active_params / wanted.active_params, "active parameters")
        term("active_params total_params cache_elements", f"another model{size}", "other_model")
    if point.gpu != wanted.gpu:
        size = of_size(point.bandwidth / wanted.bandwidth, "bandwidth")
        term("bandwidth peak", f"another GPU{size}", "other_gpu")
    if point.engine != wanted.engine:
        term("", f"{engine_label(point.engine)} not {engine_label(wanted.engine)}", "other_engine")
    term("gpus", f"{formatting.integer(point.gpus)} GPUs per replica not {formatting.integer(wanted.gpus)}")
    term("weight_bits", f"weights {formats(point)} not {formats(wanted)}")
    term(
        "input_tokens", f"prompt {formatting.integer(point.input_tokens)} not {formatting.integer(wanted.input_tokens)}"
    )
    term(
        "output_tokens",
        f"output {formatting.integer(point.output_tokens)} not {formatting.integer(wanted.output_tokens)}",
    )
    if kind_of_load(point.concurrency) != kind_of_load(wanted.concurrency):
        term("concurrency", f"{_load(point)} not {_load(wanted)}", "other_load")
    else:
        term("concurrency", f"{_load(point)} not {_load(wanted)}")
    return found


def of_size(ratio: float, what: str) -> str:
    if not math.isfinite(ratio):
        return ""
    return (
        f" with about the same {what}" if 0.95 < ratio < 1.05 else f", {formatting.number(ratio, 2)} {TIMES} the {what}"
    )


def _doublings(wanted: Point, point: Point, name: str) -> float:
    measured, asked = log2(getattr(point, name)), log2(getattr(wanted, name))
    if math.isnan(asked):
        return 0.0
    return NOT_KNOWN if math.isnan(measured) else abs(measured - asked)


def _load(point: Point) -> str:
    words = ("", "saturated", "open-loop arrivals")[kind_of_load(point.concurrency)]
    return words or f"{formatting.number(point.concurrency, 2)} in flight per replica"


# --- the block of a result page ---------------------------------------------------------------------------------


def block(inputs: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """The nearest runs, the classes that they measured, and the link to all of the same GPU and engine."""
    wanted = scenario_point(inputs, results)
    runs = nearest(wanted, data=crossvalidated.current())
    known = index()
    same = {
        name: value
        for name, facet, value in (("gpu", known.gpus, wanted.gpu), ("engine", known.engines, wanted.engine))
        if value in facet.values
    }
    names = {"gpu": gpu_label(wanted.gpu), "engine": engine_label(wanted.engine)}
    of = " with ".join(names[name] for name in same)
    return {
        "runs": runs,
        "classes": {
            name: label for name, label in scoring.CLASS_NAMES.items() if any(name in one.values for one in runs)
        },
        "link": same,
        "link_text": f"All measurements of {of}" if of else "All measurements",
        "weights": WEIGHTS,
    }
