"""Rows of serving tables -> the scenario that they ran and what the calculator says of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app import catalog
from app.calculations import estimate
from app.calculations.errors import InvalidInput
from app.calculations.goodput import at_goodput
from app.calculations.layout_estimate import GIB, LayoutEstimate
from app.calculations.precision import ALIASES, PRECISIONS
from app.calculations.report import speed_results
from app.calculations.scenario import ServingScenario
from app.measurements import published
from app.measurements.prediction import Prediction, Row
from app.measurements.protocol import Protocol, protocol
from app.scenarios import serving_scenario

METRICS = {
    "output_tokens_per_s", "total_tokens_per_s", "requests_per_s", "ttft_ms", "tpot_ms", "itl_ms", "e2e_latency_ms",
    "energy_j_per_token", "power_w_per_gpu", "prefill_tokens_per_s", "decode_tokens_per_s",
}  # fmt: skip
LATENCIES = {"ttft_ms", "tpot_ms", "itl_ms", "e2e_latency_ms"}
LAYOUT_FIELDS = ("num_gpus", "tp", "pp", "ep", "dp")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A row as a question: scenario, procedure, and what had to be assumed."""

    scenario: ServingScenario
    #: What the scenario was made from.
    inputs: tuple[tuple[str, Any], ...]
    protocol: Protocol
    assumed: tuple[str, ...]


def precision(text: str) -> str:
    """A table's name of a format as ours; "auto" for an empty cell. InvalidInput for one that we lack."""
    name = ALIASES.get(text, text) or "auto"
    if name != "auto" and name not in PRECISIONS:
        raise InvalidInput("precision", f"The format {text!r} is not known.", ", ".join(PRECISIONS))
    return name


def weight_precision(row: Row) -> str:
    """The stated format of the weights; "auto" where it is the checkpoint's own, which knows it module by module."""
    stated = precision(row.get("weight_precision", ""))
    own = catalog.model(row["model"]).checkpoint_precision
    return "auto" if stated == own else stated


def whole(text: str) -> int | None:
    return round(float(text)) if text else None


def run_of(row: Row) -> Run:
    """The scenario of a row. Raises InvalidInput where it cannot be predicted."""
    how = protocol(row)
    lengths = published.mean_lengths(row)
    assumed = [*how.assumed, *lengths.assumed]
    raw: dict[str, Any] = {
        "model": row["model"],
        "gpu": row["gpu"],
        "engine": how.engine.name,
        "weight_precision": weight_precision(row),
        "activation_precision": precision(row.get("activation_precision", "")),
        "kv_precision": precision(how.kv_precision),
        "concurrency": "saturated" if how.concurrency is None else how.concurrency,
        "arrival": how.arrival,
        "request_rate": how.request_rate,
        "run_requests": how.run_requests,
        "waves": how.waves,
        "length_spread": how.length_spread,
        "beam_width": lengths.beam_width,
        "max_sequences": how.max_sequences,
        "max_batched_tokens": how.step_tokens,
    }
    if how.draft_tokens:
        raw |= {"draft_tokens": how.draft_tokens, "acceptance_rate": how.acceptance_rate}
    for name in LAYOUT_FIELDS:
        raw[name] = whole(row.get(name, "")) or None
    if raw["ep"] == 1:
        raw["ep"] = None
    if how.attention_dp and raw["dp"] is None and (raw["tp"] or 1) > 1 and catalog.model(row["model"]).num_experts:
        raw |= {"tp": 1, "dp": raw["tp"], "ep": raw["tp"]}
    if raw["tp"] is None or (raw["dp"] is None and raw["num_gpus"] is None):
        assumed.append("layout not stated, the best one taken")
    for name in ("input_tokens", "output_tokens"):
        tokens = getattr(lengths, name)
        raw[name] = None if tokens is None else max(1, round(tokens))
        if tokens is None:
            assumed.append(f"{name} not stated, taken as the default")
    try:
        scenario, _ = serving_scenario(raw)
    except InvalidInput as error:
        if error.field not in LAYOUT_FIELDS:
            raise
        assumed.append(f"{error.message} Taken: the best layout")
        raw |= dict.fromkeys(("tp", "pp", "ep", "dp"))
        scenario, _ = serving_scenario(raw)
    scenario = replace(scenario, collapsed_routing=how.collapsed_routing, seen_to_run=True)
    return Run(scenario=scenario, inputs=tuple(raw.items()), protocol=how, assumed=tuple(assumed))


def answer(row: Row, run: Run, best: LayoutEstimate, found: Mapping[str, Any]) -> Mapping[str, Any]:
    """The quantity (value, low, high) that a row measured, from an estimate's results."""
    metric = row["metric"]
    speed = best.speed
    if metric == "prefill_tokens_per_s":
        return scaled(
            found["ttft_ms"],
            lambda ms: best.layout.dp * (run.protocol.concurrency or 1) * run.scenario.input_tokens / (ms / 1000),
        )
    if metric == "decode_tokens_per_s":
        return scaled(found["tpot_ms"], lambda ms: (speed.running if speed else 1) / (ms / 1000))
    if metric == "itl_ms" and run.protocol.median_step and speed is not None and speed.median_step_seconds:
        ratio = speed.median_step_seconds / (speed.tpot_seconds or speed.median_step_seconds)
        return scaled(found["tpot_ms"], lambda ms: ms * ratio)
    return found[{"itl_ms": "tpot_ms"}.get(metric, metric)]


def scaled(quantity: Mapping[str, Any], function: Any) -> dict[str, Any]:
    """A quantity through a function of its value; a falling one swaps the ends of the range."""
    ends = {name: None if quantity[name] is None else function(quantity[name]) for name in ("value", "low", "high")}
    if ends["low"] is not None and ends["high"] is not None and ends["low"] > ends["high"]:
        ends["low"], ends["high"] = ends["high"], ends["low"]
    return ends


#: The outcome of the run before: tables list the metrics of a run one after the other.
_before: tuple[Any, tuple[LayoutEstimate, Mapping[str, Any]]] | None = None


def outcome(run: Run) -> tuple[LayoutEstimate, Mapping[str, Any]]:
    """The best layout of a run, and its speed and power with their ranges."""
    global _before
    scenario = run.scenario
    asked = (run.inputs, scenario.collapsed_routing, id(scenario.model), id(scenario.efficiency), id(scenario.spreads))
    if _before is None or _before[0] != asked:
        best = estimate(scenario).best
        _before = asked, (best, speed_results(best))
    return _before[1]


def sought(metric: str, run: Run, best: LayoutEstimate) -> LayoutEstimate:
    """The layout at the rate at which a metric is predicted. A benchmark that seeks the highest rate within limits has
    the latency of the highest that we find.

    It follows from the limits. At the rate that was found it would follow from the distance to saturation, the one
    thing that an error of the capacity changes most.
    """
    limits = run.protocol.limits if metric in LATENCIES else None
    return (at_goodput(best, limits) if limits else None) or best


def predict_serving(row: Row) -> Iterator[Prediction]:
    """Speed and power of an instance."""
    metric = row["metric"]
    base = Prediction(id=row["id"], source=row.get("source", ""), metric=metric, measured=float(row["value"]))
    if metric not in METRICS:
        yield replace(base, reason=f"metric {metric} is not predicted")
        return
    run = run_of(row)
    best, found = outcome(run)
    assumed = list(run.assumed)
    if (tuned := sought(metric, run, best)) is not best:
        best, found = tuned, speed_results(tuned)
        assumed.append("arrivals at the highest rate within the stated limits, as the benchmark seeks it")
    value = answer(row, run, best, found)
    if value["value"] is None:
        assumed.append(f"{metric} is not defined for this run")
    if not best.fits:
        short = best.shortfall_bytes / GIB
        assumed.append(
            f"does not fit by our estimate ({short:.1f} GiB per GPU short), predicted since it was seen to run"
        )
    yield replace(base, predicted=value["value"], low=value["low"], high=value["high"], reason="; ".join(assumed))
