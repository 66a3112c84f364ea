"""Charts of sweeps: points of one scenario with one thing changed -> Plotly figures as plain dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log10
from typing import Any

from app.charts.estimate import GIB, MEMORY_PARTS
from app.charts.layout import Figure, axis, colour, escaped, layout, log_axis

Rows = Sequence[Mapping[str, Any]]
HEIGHT = 340
#: Ways to draw a line so that lines differ without their colour.
DASHES = ("solid", "dash", "dot")


def memory_ladder(rows: Rows) -> Figure:
    """What the fullest GPU holds at each step, as stacked bars with the capacity as a line through each."""
    known = [row for row in rows if row["memory"]]
    names = [escaped(row["label"]) for row in known]
    bars = [
        {
            "type": "bar", "orientation": "h", "name": name, "y": names,
            "x": [row["memory"][key] / GIB for row in known],
            "marker": {"color": colour(shade), "line": {"color": colour("surface"), "width": 1}},
            "hovertemplate": f"%{{y}}<br>{name}: %{{x:,.2f}} GiB<extra></extra>",
        }
        for key, name, shade in MEMORY_PARTS
    ]  # fmt: skip
    limits = {
        "type": "scatter", "mode": "markers", "name": "Capacity", "y": names,
        "x": [row["memory"]["capacity"] / GIB for row in known],
        "marker": {"symbol": "line-ns-open", "size": 22, "color": colour("line"), "line": {"width": 3}},
        "hovertemplate": "%{y}<br>Capacity: %{x:,.2f} GiB<extra></extra>",
    }  # fmt: skip
    return {
        "data": [*bars, limits],
        "layout": layout(
            90 + 34 * len(known),
            barmode="stack",
            xaxis=axis("GiB per GPU", rangemode="tozero"),
            yaxis=axis(autorange="reversed", type="category"),
        ),
    }


def price_and_speed(rows: Rows) -> Figure:
    """Price of a million output tokens against the speed that one user sees; this run's own point stands out."""
    found = [row for row in rows if row["fits"] and row["usd_per_million"] and row["per_user"]]
    known = sorted(found, key=lambda row: row["per_user"])
    return {
        "data": [
            {
                "type": "scatter", "mode": "markers+text", "name": "Accelerators",
                "x": [row["per_user"] for row in known],
                "y": [row["usd_per_million"] for row in known],
                "text": [escaped(row["label"]) for row in known],
                "textposition": [("top center", "bottom center")[number % 2] for number in range(len(known))],
                "textfont": {"size": 11}, "cliponaxis": False,
                "customdata": [escaped(row["layout"]) for row in known],
                "marker": {
                    "size": [14 if row["own"] else 9 for row in known],
                    "color": [colour("accent" if row["own"] else "part-2") for row in known],
                    "symbol": ["diamond" if row["own"] else "circle" for row in known],
                },
                "hovertemplate": "%{text}, %{customdata}<br>%{x:.3s} tokens/s, $%{y:.3s} per 1M<extra></extra>",
            }
        ],
        "layout": layout(
            420,
            xaxis=log_axis("output tokens per second of a user", (row["per_user"] for row in known)),
            yaxis=log_axis("USD per million output tokens", (row["usd_per_million"] for row in known)),
            margin={"l": 8, "r": 60, "t": 28, "b": 8},
        ),
    }  # fmt: skip


def against(
    rows: Rows,
    x: Sequence[float],
    lines: Sequence[tuple[str, str, str]],
    *,
    x_title: str,
    y_title: str,
    goals: Sequence[tuple[str, float]] = (),
    ideal: str = "",
) -> Figure:
    """Lines (key of a row, name, colour) over `x` on logarithmic axes; goals (name, value) as dashed levels.

    `ideal`: the key whose first value is drawn on in proportion to `x`.
    """
    traces = []
    for number, (key, name, shade) in enumerate(lines):
        found = [(at, row[key]) for at, row in zip(x, rows, strict=True) if row["fits"] and row[key]]
        traces.append(_line(found, name, shade, DASHES[number % len(DASHES)]))
        if key == ideal and found:
            (first, value), last = found[0], found[-1][0]
            traces.append(
                _line([(first, value), (last, value * last / first)], "In proportion", "muted", "dot", "lines")
            )
    levels = [
        {
            "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": value, "y1": value,
            "line": {"color": colour("line"), "width": 2, "dash": "dash"},
        }
        for _, value in goals
    ]  # fmt: skip
    own = [
        {"type": "line", "yref": "paper", "y0": 0, "y1": 1, "x0": at, "x1": at,
         "line": {"color": colour("muted"), "width": 1, "dash": "dot"}}
        for at, row in zip(x, rows, strict=True)
        if row["own"]
    ]  # fmt: skip
    return {
        "data": traces,
        "layout": layout(
            HEIGHT,
            xaxis=axis(x_title, type="log", tickangle=0, **ticks(x)),
            yaxis=log_axis(y_title, [value for trace in traces for value in trace["y"]] + [goal for _, goal in goals]),
            shapes=[*levels, *own],
            showlegend=len(traces) > 1,
            legend={"orientation": "h", "y": 1.14, "x": 0},
            margin={"l": 8, "r": 24, "t": 32, "b": 8},
            annotations=[_words(name, value) for name, value in goals],
        ),
    }


def ticks(x: Sequence[float]) -> Figure:
    """Labels that have room: at most seven, the last among them, none too near the next."""
    kept = list(x)[-1 :: -max(1, -(-len(x) // 7))]
    if len(kept) > 1 and kept[0] < 1.5 * kept[1]:
        del kept[1]
    kept.reverse()
    return {"tickvals": kept, "ticktext": [f"{at:,.0f}" for at in kept]}


def _line(
    points: Sequence[tuple[float, float]], name: str, shade: str, dash: str, mode: str = "lines+markers"
) -> Figure:
    return {
        "type": "scatter", "mode": mode, "name": name, "cliponaxis": False,
        "x": [x for x, _ in points], "y": [y for _, y in points],
        "line": {"color": colour(shade), "width": 2, "dash": dash},
        "marker": {"color": colour(shade), "size": 7},
        "hovertemplate": f"{name}: %{{y:.3s}} at %{{x:,}}<extra></extra>",
    }  # fmt: skip


def _words(name: str, value: float) -> Figure:
    return {
        "xref": "paper", "x": 1, "xanchor": "right", "y": log10(value), "yanchor": "bottom", "showarrow": False,
        "text": escaped(name), "font": {"color": colour("line"), "size": 12},
    }  # fmt: skip
