"""What the page of a plan says: key numbers of the best plan, names of goals, the Pareto charts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app import formatting
from app.calculations.errors import InvalidInput
from app.calculations.planning.break_even import Offer
from app.charts.layout import Figure, axis, colour, escaped, layout, line_at, log_axis
from app.command_line import report_planning
from app.deploy import containers, launch_serving
from app.glossary.planning import PLAN_KEYS, PLANNING_KEYS
from app.history.run_log import Run
from app.pages import result
from app.pages.result import Metric, metric, per_second
from app.planning import PLANNING_INPUTS, asked_of

Write = Callable[[float | None], str]

#: Heading -> (label, key of a plan, how it is written).
METRICS: Mapping[str, tuple[tuple[str, str, Write], ...]] = {
    "Speed": (
        ("Time to first token", "ttft_ms", formatting.milliseconds),
        ("Time per output token", "tpot_ms", formatting.milliseconds),
        ("Output per user", "output_tokens_per_s_per_user", per_second("tok/s")),
    ),
    "Load": (
        ("Most requests", "max_requests_per_s", per_second("req/s")),
        ("Headroom", "headroom", formatting.percent),
        ("Requests in memory", "max_concurrency", formatting.integer),
    ),
    "Price": (
        ("Per hour", "usd_per_hour", formatting.usd),
        ("Per month", "usd_per_month", formatting.usd),
        ("Per 1M output tokens", "usd_per_million_output_tokens", formatting.usd),
    ),
}
GOALS = ("max_ttft_ms", "max_tpot_ms", "budget_usd_per_hour")


def parts(inputs: Mapping[str, Any], results: Mapping[str, Any]) -> dict[str, Any]:
    """What the template needs."""
    best = results["plans"][0] if results["plans"] else None
    return {
        "found": results,
        "best": best,
        "load": load(inputs),
        "metrics": metrics(best) if best else {},
        "goal_names": {name: f"the {lower(PLANNING_INPUTS[name].label)}" for name in GOALS},
        "figure": pareto(results["pareto"]),
        "frontier_figure": frontier_figure(results["frontiers"]),
        "launches": launches(asked_of(inputs, best), best) if best else [],
        "break_even": results.get("break_even"),
        "break_even_text": report_planning.comparison(results["break_even"]) if results.get("break_even") else "",
        "break_even_figure": break_even_figure(results["break_even"]) if results.get("break_even") else None,
        **(deployments(asked_of(inputs, best), best) if best else {"deployments": [], "not_deployed": ""}),
        "what_if": what_if(inputs),
        "kept": {name: value for name, value in inputs.items() if name not in WHAT_IF},
        "input_rows": result.input_rows(inputs, PLANNING_INPUTS),
    }


def plans_of(run: Run) -> list[Mapping[str, Any]]:
    """The plans of a run, or those that come nearest; none where it is no plan as this version makes them."""
    if run.kind != "plan" or not result.is_complete(run.results, PLANNING_KEYS):
        return []
    return run.results["plans"] or run.results["closest"]


def launches(
    inputs: Mapping[str, Any], plan: Mapping[str, Any]
) -> list[tuple[str, str, tuple[launch_serving.Flag, ...]]]:
    """(engine, command of a replica, its flags) of each launcher."""
    return [
        (label, launch_serving.snippet(name, inputs, plan), launch_serving.command(name, inputs, plan)[1])
        for name, label in launch_serving.LAUNCHERS.items()
    ]


def deployments(inputs: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """(form, its text, what its lines are for) of each way to deploy the plan, or why there is none."""
    try:
        texts = {form: containers.file_of(form, inputs, plan) for form in containers.FORMS}
    except InvalidInput as error:
        return {"deployments": [], "not_deployed": error.message}
    found = [(containers.FORMS[form], text, containers.meanings(form, text)) for form, text in texts.items()]
    return {"deployments": found, "not_deployed": ""}


def lower(label: str) -> str:
    return label[0].lower() + label[1:]


def load(inputs: Mapping[str, Any]) -> str:
    if inputs.get("request_rate"):
        return f"{formatting.rate(inputs['request_rate'])} requests per second"
    return f"{formatting.integer(inputs.get('concurrency', 0))} requests in flight"


def metrics(plan: Mapping[str, Any]) -> dict[str, list[Metric]]:
    return {
        heading: [metric(label, ranged(plan[key]), write, PLAN_KEYS[key].meaning) for label, key, write in rows]
        for heading, rows in METRICS.items()
    }


def ranged(value: Any) -> Mapping[str, Any]:
    """A quantity, or a number without a range as one."""
    return value if isinstance(value, Mapping) else {"value": value, "low": None, "high": None}


def pareto(points: list[Mapping[str, Any]]) -> Figure:
    """Tokens per second of a user against dollars an hour."""
    known = [one for one in points if one["output_tokens_per_s_per_user"]]
    trace = {
        "type": "scatter",
        "mode": "lines+markers",
        "x": [one["usd_per_hour"] for one in known],
        "y": [one["output_tokens_per_s_per_user"] for one in known],
        "text": [escaped(f"{one['num_gpus']} x {one['gpu']}") for one in known],
        "line": {"color": colour("accent"), "width": 2, "shape": "hv"},
        "marker": {"color": colour("accent"), "size": 9},
        "cliponaxis": False,
        "hovertemplate": "%{text}: %{y:.3s} tokens/s, $%{x:,.2f} an hour<extra></extra>",
    }
    axes = {
        "xaxis": log_axis("USD per hour", (one["usd_per_hour"] for one in known)),
        "yaxis": axis("tokens per second of a user", rangemode="tozero"),
    }
    return {"data": [trace], "layout": layout(320, **axes)}


def frontier_figure(found: Sequence[Mapping[str, Any]]) -> Figure:
    """Tokens per second of a GPU against those of a user, a line for each accelerator."""
    speeds = ("output_tokens_per_s_per_user", "output_tokens_per_s_per_gpu")
    traces = []
    for number, one in enumerate(found, 1):
        x, y = ([point[name] for point in one["points"]] for name in speeds)
        shade = colour(f"part-{number}")
        traces.append({
            "type": "scatter",
            "mode": "lines+markers",
            "name": escaped(one["gpu"]),
            "x": x,
            "y": y,
            "text": [
                escaped(f"{one['gpu']}, {point['replica']}, {point['weights']}, {point['concurrency']:,.0f} in flight")
                for point in one["points"]
            ],
            "line": {"color": shade, "width": 2},
            "marker": {"color": shade, "size": 7},
            "hovertemplate": "%{text}<br>%{x:.3s} tokens/s a user, %{y:.3s} a GPU<extra></extra>",
        })  # fmt: skip
    axes = {
        "xaxis": axis("tokens per second of a user", rangemode="tozero"),
        "yaxis": log_axis("tokens per second of a GPU", (y for trace in traces for y in trace["y"])),
    }
    margin = {"l": 8, "r": 24, "t": 32, "b": 8}
    legend = {"orientation": "h", "y": 1.14, "x": 0}
    return {"data": traces, "layout": layout(380, showlegend=True, legend=legend, margin=margin, **axes)}


#: Points of a line of the break-even chart.
BREAK_EVEN_POINTS = 240


def break_even_figure(found: Mapping[str, Any]) -> Figure:
    """Dollars a month over the load: own GPUs in steps of a replica, the API in proportion."""
    offer = Offer(
        replica_requests_per_second=found["replica_requests_per_s"],
        replica_usd_per_month=found["replica_usd_per_month"],
        spare_replicas=found["spare_replicas"],
        api_usd_per_request=found["api_usd_per_request"],
    )
    most = 2 * max(found["requests_per_s"], found["from_requests_per_s"] or 0.0, offer.replica_requests_per_second / 2)
    rates = [most * (one + 1) / BREAK_EVEN_POINTS for one in range(BREAK_EVEN_POINTS)]
    lines = (
        ("own GPUs", "accent", offer.own_usd_per_month),
        ("API", "part-3", offer.api_usd_per_month),
    )
    traces = [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "x": rates,
            "y": [dollars(rate) for rate in rates],
            "line": {"color": colour(shade), "width": 2, "shape": "hv" if shade == "accent" else "linear"},
            "hovertemplate": f"{name}: %{{x:.3~s}} requests/s, $%{{y:,.0f}} a month<extra></extra>",
        }
        for name, shade, dollars in lines
    ]
    shape, words = line_at(found["requests_per_s"], "this load", "muted", dash="dot", top=1.0, side="right")
    return {
        "data": traces,
        "layout": layout(
            320,
            showlegend=True,
            legend={"orientation": "h", "y": -0.2},
            shapes=[shape],
            annotations=[words],
            xaxis=axis("requests per second", rangemode="tozero"),
            yaxis=axis("USD per month", rangemode="tozero"),
        ),
    }


#: Inputs that the page offers to move.
WHAT_IF = (
    "request_rate", "concurrency", "input_tokens", "output_tokens", "max_ttft_ms", "max_tpot_ms", "budget_usd_per_hour",
)  # fmt: skip
#: Of them those that a mix takes the place of.
LENGTHS = ("input_tokens", "output_tokens")
#: A slider goes from a sixteenth to sixteen times the value, not below one; around these where there is none.
REACH, MIDDLE = 16, {"max_ttft_ms": 1000.0, "max_tpot_ms": 50.0, "budget_usd_per_hour": 100.0}


@dataclass(frozen=True, slots=True)
class Slider:
    """An input with its present text, and the ends of its slider."""

    name: str
    label: str
    unit: str
    value: str
    low: float
    high: float


def what_if(inputs: Mapping[str, Any]) -> list[Slider]:
    """Load, lengths and goals; of rate and concurrency the one that was asked."""
    found = []
    for name in WHAT_IF:
        value = inputs.get(name)
        if inputs.get("request_mix") and name in LENGTHS:
            continue
        if not isinstance(value, int | float) and name not in MIDDLE:
            continue
        middle = float(value) if value else MIDDLE[name]
        one = PLANNING_INPUTS[name]
        text = "" if value is None else f"{value:g}"
        found.append(Slider(name, one.label, one.unit, text, max(1.0, middle / REACH), max(4.0, middle * REACH)))
    return found
