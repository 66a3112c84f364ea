"""The tabs of a result page: what is worked out for each, only when it is looked at."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from app import catalog, formatting, json_text
from app.calculations import estimate, sweeps
from app.calculations.errors import InvalidInput
from app.calculations.explanation import GOAL_MISSED, missed_goals, strategy
from app.calculations.fixes import fixes
from app.calculations.layout_estimate import Estimate
from app.calculations.report import cost_results, memory_results, speed_results
from app.calculations.sweeps import Point
from app.charts import sweeps as charts
from app.deploy import launch_serving
from app.history.run_log import Run
from app.pages.forms import share_args
from app.scenarios import serving_scenario

#: Tab -> what it is called. The first is shown where none is asked for.
TABS = {
    "overview": "Overview",
    "precision": "Precision",
    "gpus": "Accelerators",
    "batch": "Concurrency",
    "scaling": "Scaling",
    "operators": "Operators",
    "cost": "Cost",
    "equations": "Equations",
    "launch": "Launch",
    "json": "JSON",
}

Row = dict[str, Any]


def tab_of(name: str | None) -> str:
    """The tab that is asked for, or the first."""
    return name if name in TABS else next(iter(TABS))


def estimate_of(inputs: Mapping[str, Any]) -> Estimate:
    """The estimate of logged inputs, made again. Raises InvalidInput where they mean nothing any more."""
    return estimate(serving_scenario(inputs)[0])


def row(point: Point, inputs: Mapping[str, Any], own: bool) -> Row:
    """A point as numbers for a table and a chart. `changes`: the inputs of a form that asks for it."""
    best = point.best
    changed = {**inputs, **point.changes}
    made: Row = {
        "label": point.label,
        "own": own,
        "fits": point.runs,
        "problem": point.problem or ("" if point.runs else "does not fit"),
        "missed": [name for name, _, _ in missed_goals(best)] if best and point.runs else [],
        "layout": strategy(best) if best else "",
        "num_gpus": best.num_gpus if best else None,
        "memory": memory_results(best) if best else None,
        "changes": share_args({name: value for name, value in changed.items() if value is not None}),
    }
    empty = dict.fromkeys(("ttft_ms", "tpot_ms", "per_user", "total", "usd_per_hour", "usd_per_million", "joules"))
    if best is None or not point.runs:
        return made | empty
    speed, cost = speed_results(best), cost_results(best)
    return made | {
        "ttft_ms": speed["ttft_ms"]["value"],
        "tpot_ms": speed["tpot_ms"]["value"],
        "per_user": speed["output_tokens_per_s_per_user"]["value"],
        "total": speed["output_tokens_per_s"]["value"],
        "joules": speed["energy_j_per_token"]["value"],
        "usd_per_hour": cost["usd_per_hour"]["value"],
        "usd_per_million": cost["usd_per_million_output_tokens"]["value"],
    }


def fix_rows(inputs: Mapping[str, Any]) -> list[Row]:
    """The cheapest changes after which the run would fit and meet its goals; none where nothing is wrong."""
    try:
        return [row(one, inputs, own=False) for one in fixes(estimate_of(inputs))]
    except InvalidInput:
        return []


def missed(inputs: Mapping[str, Any], results: Mapping[str, Any]) -> list[str]:
    """The goals that the logged numbers miss, in words."""
    found = (("TTFT", results["ttft_ms"]["value"], "max_ttft_ms"), ("TPOT", results["tpot_ms"]["value"], "max_tpot_ms"))
    return [
        f"{name} is {formatting.milliseconds(value)}, the goal at most {formatting.milliseconds(inputs[key])}"
        for name, value, key in found
        if value is not None and inputs.get(key) and value > inputs[key]
    ]


def warnings(results: Mapping[str, Any]) -> list[str]:
    """The warnings without missed goals, which stand with what would meet them."""
    return [one for one in results["warnings"] if not one.startswith(GOAL_MISSED)]


def goals(inputs: Mapping[str, Any]) -> list[tuple[str, float]]:
    """(name, ms) of the goals that were set."""
    named = (("TTFT", "max_ttft_ms"), ("TPOT", "max_tpot_ms"))
    return [(f"goal: {name} {inputs[key]:g} ms", inputs[key]) for name, key in named if inputs.get(key)]


def parts(tab: str, run: Run) -> dict[str, Any]:
    """What the template of a tab needs beyond the page's own; `problem` where the run cannot be made again."""
    make = MAKERS.get(tab)
    if make is None:
        return {}
    try:
        return {"problem": "", **make(run)}
    except InvalidInput as error:
        return {"problem": error.message}


def precision(run: Run) -> dict[str, Any]:
    best = estimate_of(run.inputs).best
    used = (best.formats.weights.name, best.formats.kv_cache.name)
    kept = {**run.inputs, "num_gpus": best.num_gpus}
    rows = [
        row(one, kept, own=(one.changes["weight_precision"], one.changes["kv_precision"]) == used)
        for one in sweeps.precision_ladder(best)
    ]
    return {"rows": rows, "head": "Formats", "figures": {"precision": charts.memory_ladder(rows)}}


def gpus(run: Run) -> dict[str, Any]:
    scenario = estimate_of(run.inputs).best.scenario
    found = sweeps.gpu_ladder(scenario, catalog.gpus(scenario.region.slug if scenario.region else "").values())
    rows = [row(one, run.inputs, own=one.changes["gpu"] == scenario.gpu.slug) for one in found]
    return {
        "rows": rows,
        "head": "Accelerator",
        "of": len(catalog.gpus()),
        "figures": {"gpus": charts.price_and_speed(rows)},
    }


def batch(run: Run) -> dict[str, Any]:
    rows, users = batch_rows(run)
    times = [("ttft_ms", "TTFT", "part-1"), ("tpot_ms", "TPOT", "part-3")]
    rates = [("total", "All users", "part-1"), ("per_user", "One user", "part-3")]
    across = "requests in flight"
    return {
        "rows": rows,
        "head": "In flight",
        "figures": {
            "latency": charts.against(rows, users, times, x_title=across, y_title="ms", goals=goals(run.inputs)),
            "throughput": charts.against(rows, users, rates, x_title=across, y_title="output tokens per second"),
        },
    }


def batch_rows(run: Run) -> tuple[list[Row], list[float]]:
    best = estimate_of(run.inputs).best
    found = sweeps.batch_sweep(best)
    asked = best.scenario.concurrency or best.max_concurrency
    rows = [row(one, run.inputs, own=one.changes["concurrency"] == asked) for one in found]
    return rows, [float(one.changes["concurrency"]) for one in found]


def scaling(run: Run) -> dict[str, Any]:
    best = estimate_of(run.inputs).best
    found = sweeps.scaling(best)
    rows = []
    for one in found:
        made = row(one, run.inputs, own=one.changes["num_gpus"] == best.num_gpus)
        most = one.best.max_requests_per_second if one.best and one.runs else None
        rows.append(made | {"most": most * best.scenario.output_tokens if most else None})
    first = next((made for made in rows if made["most"]), None)
    for made in rows:
        made["share"] = (
            made["most"] / first["most"] * first["num_gpus"] / made["num_gpus"] if first and made["most"] else None
        )
    counts = [float(one.changes["num_gpus"]) for one in found]
    lines = [("most", "With all places taken", "part-1"), ("total", "At the load that was asked", "part-3")]
    return {
        "rows": rows,
        "head": "GPUs",
        "figures": {
            "scaling": charts.against(
                rows, counts, lines, x_title="GPUs", y_title="output tokens per second", ideal="most"
            )
        },
    }


def cost(run: Run) -> dict[str, Any]:
    best = estimate_of(run.inputs).best
    rows, users = batch_rows(run)
    across = "requests in flight"
    dollars, joules = [("usd_per_million", "Price", "part-1")], [("joules", "Energy", "part-6")]
    return {
        "rows": rows,
        "head": "In flight",
        "busy": sweeps.cost_when_busy(best),
        "figures": {
            "price": charts.against(rows, users, dollars, x_title=across, y_title="USD per million output tokens"),
            "energy": charts.against(rows, users, joules, x_title=across, y_title="J per output token"),
        },
    }


#: Weight formats that a launcher is told by a flag or finds in the checkpoint; the others are files of llama.cpp.
LAUNCHED = ("fp32", "bf16", "fp16", "fp8", "int8", "int4", "mxfp4", "nvfp4")


def launch(run: Run) -> dict[str, Any]:
    """Commands that start the instance of the run."""
    found, inputs = run.results, run.inputs
    if found["disaggregation"]:
        return {"launches": [], "why": "GPUs that only prefill are started by an orchestrator of their own."}
    if found["precision"]["weights"] not in LAUNCHED:
        return {"launches": [], "why": "Files in GGUF are served by llama.cpp: llama-server -m FILE.gguf"}
    asked = {name: inputs.get(f"{name}_precision", "auto") for name in ("weight", "kv")}
    plan = {
        "layout": found["layout"],
        "weight_precision": asked["weight"],
        "kv_precision": asked["kv"],
        "requests_in_flight_per_replica": found["batch"]["running"] or 1,
    }
    named = {**inputs, "model": "PATH" if inputs["model"] == "custom" else inputs["model"]}
    return {
        "why": "",
        "launches": [
            (name, label, launch_serving.snippet(name, named, plan), launch_serving.command(name, named, plan)[1])
            for name, label in launch_serving.LAUNCHERS.items()
        ],
    }


def document(run: Run) -> dict[str, Any]:
    return {"document": json.dumps(json_text.finite(run.as_dict()), indent=2, ensure_ascii=False)}


#: Tab -> what makes it; the others need no more than the page.
MAKERS: Mapping[str, Callable[[Run], dict[str, Any]]] = {
    "precision": precision,
    "gpus": gpus,
    "batch": batch,
    "scaling": scaling,
    "cost": cost,
    "launch": launch,
    "json": document,
}


def cells(rows: Sequence[Row]) -> list[tuple[Row, list[str]]]:
    """The rows with their numbers as text, in the order of the table's columns."""
    written: tuple[tuple[str, Callable[[float | None], str]], ...] = (
        ("ttft_ms", formatting.milliseconds),
        ("tpot_ms", formatting.milliseconds),
        ("per_user", formatting.rate),
        ("total", formatting.rate),
        ("usd_per_hour", formatting.usd),
        ("usd_per_million", formatting.usd),
        ("joules", formatting.number),
    )
    return [
        (one, [write(one[key]) if one[key] is not None else formatting.NOTHING for key, write in written])
        for one in rows
    ]
