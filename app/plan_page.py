"""What the page of a plan says: key numbers of the best plan, names of goals, the Pareto chart."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from app import formatting, launch_serving, result_page
from app.charts.layout import Figure, axis, colour, escaped, layout
from app.glossary_planning import PLAN_KEYS
from app.planning import PLANNING_INPUTS
from app.result_page import Metric, metric, per_second

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
        "launches": launches(inputs, best) if best else [],
        "input_rows": result_page.input_rows(inputs, PLANNING_INPUTS),
    }


def launches(
    inputs: Mapping[str, Any], plan: Mapping[str, Any]
) -> list[tuple[str, str, tuple[launch_serving.Flag, ...]]]:
    """(engine, command of a replica, its flags) of each launcher."""
    return [
        (label, launch_serving.snippet(name, inputs, plan), launch_serving.command(name, inputs, plan)[1])
        for name, label in launch_serving.LAUNCHERS.items()
    ]


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
    axes = {"xaxis": axis("USD per hour", type="log"), "yaxis": axis("tokens per second of a user", rangemode="tozero")}
    return {"data": [trace], "layout": layout(320, **axes)}
