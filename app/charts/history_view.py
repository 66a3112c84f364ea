"""Charts of many runs: points, medians of groups, and lines through all numbers, as Plotly figures."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Sequence
from datetime import UTC, datetime
from statistics import median

from app.charts.layout import Figure, axis, colour, escaped, layout
from app.history.table import Point
from app.history.view import CATEGORIES, DIMENSIONS, MEASURES, View

HEIGHT = 440
#: Groups with a colour of their own; the others share one.
COLOURS = 8
OTHERS = "others"
#: Groups that an axis lists.
MOST_GROUPS = 30


def view_figure(points: Sequence[Point], view: View) -> Figure:
    """The chart that is asked for. A run that lacks a number of it is left out."""
    draw = {"scatter": scatter, "trend": trend, "bar": bars, "heat": heat, "parallel": parallel}[view.chart]
    return draw(points, view)


def finite(value: float | None, scale: str = "linear") -> bool:
    """Whether a number can be drawn on that scale."""
    return value is not None and math.isfinite(value) and (scale == "linear" or value > 0)


def grouped(points: Sequence[Point], by: str) -> dict[str, list[Point]]:
    """The most frequent groups, then all others together."""
    of = CATEGORIES[by].of
    counts = Counter(of(one) for one in points)
    named = [name for name, _ in counts.most_common(COLOURS)]
    groups: dict[str, list[Point]] = {name: [] for name in named}
    for one in points:
        name = of(one)
        groups.setdefault(name if name in groups else OTHERS, []).append(one)
    return groups


def shade(place: int) -> str:
    return colour(f"part-{place + 1}" if place < COLOURS else "muted")


def title(point: Point) -> str:
    gpus = f"{point.num_gpus:g} × " if point.num_gpus else ""  # noqa: RUF001 - the sign, not a letter
    return escaped(f"{point.model or 'unknown model'} on {gpus}{point.gpu_name or 'unknown GPU'}")


def legend(**settings: object) -> Figure:
    return layout(HEIGHT, showlegend=True, legend={"orientation": "h", "y": -0.18}, **settings)


def scatter(points: Sequence[Point], view: View) -> Figure:
    x, y = MEASURES[view.x], MEASURES[view.y]
    drawn = [one for one in points if finite(x.of(one), view.xs) and finite(y.of(one), view.ys)]
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "markers",
                "name": escaped(name or "unknown"),
                "x": [x.of(one) for one in members],
                "y": [y.of(one) for one in members],
                "text": [title(one) for one in members],
                "customdata": [one.run_id for one in members],
                "marker": {"color": shade(place), "size": 7, "opacity": 0.7},
                "hovertemplate": f"%{{text}}<br>{x.label} %{{x:,.4~s}} {x.unit}<br>{y.label} %{{y:,.4~s}} {y.unit}"
                "<extra></extra>",
            }
            for place, (name, members) in enumerate(grouped(drawn, view.by).items())
        ],
        "layout": legend(xaxis=axis(x.title, type=view.xs), yaxis=axis(y.title, type=view.ys)),
    }


def trend(points: Sequence[Point], view: View) -> Figure:
    y = MEASURES[view.y]
    drawn = sorted((one for one in points if finite(y.of(one), view.ys)), key=lambda one: one.milliseconds)
    return {
        "data": [
            {
                "type": "scatter",
                "mode": "lines+markers",
                "name": escaped(name or "unknown"),
                "x": [moment(one) for one in members],
                "y": [y.of(one) for one in members],
                "text": [title(one) for one in members],
                "marker": {"color": shade(place), "size": 6},
                "line": {"color": shade(place), "width": 1},
                "hovertemplate": f"%{{text}}<br>%{{x}}<br>{y.label} %{{y:,.4~s}} {y.unit}<extra></extra>",
            }
            for place, (name, members) in enumerate(grouped(drawn, view.by).items())
        ],
        "layout": legend(xaxis=axis("time, UTC", type="date"), yaxis=axis(y.title, type=view.ys)),
    }


def moment(point: Point) -> str:
    return datetime.fromtimestamp(point.milliseconds / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def bars(points: Sequence[Point], view: View) -> Figure:
    y, of = MEASURES[view.y], CATEGORIES[view.by].of
    values: dict[str, list[float]] = defaultdict(list)
    for one in points:
        value = y.of(one)
        if value is not None and finite(value, view.ys):
            values[of(one)].append(value)
    named = sorted(values, key=lambda name: (-median(values[name]), name))[:MOST_GROUPS]
    return {
        "data": [
            {
                "type": "bar",
                "x": [escaped(name or "unknown") for name in named],
                "y": [median(values[name]) for name in named],
                "text": [f"{len(values[name]):,} runs" for name in named],
                "textposition": "none",
                "marker": {"color": colour("accent")},
                "hovertemplate": f"%{{x}}<br>{y.label} %{{y:,.4~s}} {y.unit}, median of %{{text}}<extra></extra>",
            }
        ],
        "layout": layout(HEIGHT, xaxis=axis(type="category"), yaxis=axis(y.title, type=view.ys)),
    }


def heat(points: Sequence[Point], view: View) -> Figure:
    y, across, down = MEASURES[view.y], CATEGORIES[view.across], CATEGORIES[view.by]
    values: dict[tuple[str, str], list[float]] = defaultdict(list)
    for one in points:
        value = y.of(one)
        if value is not None and finite(value):
            values[across.of(one), down.of(one)].append(value)
    columns = [name for name, _ in Counter(pair[0] for pair in values).most_common(MOST_GROUPS)]
    rows = [name for name, _ in Counter(pair[1] for pair in values).most_common(MOST_GROUPS)]
    cells = [[median(found) if (found := values.get((a, b))) else None for a in columns] for b in rows]
    return {
        "data": [
            {
                "type": "heatmap",
                "x": [escaped(name or "unknown") for name in columns],
                "y": [escaped(name or "unknown") for name in rows],
                "z": cells,
                "colorscale": [[0, colour("surface")], [1, colour("accent")]],
                "colorbar": {"title": {"text": y.title}, "thickness": 12},
                "xgap": 2,
                "ygap": 2,
                "hoverongaps": False,
                "hovertemplate": f"%{{x}}<br>%{{y}}<br>{y.label} %{{z:,.4~s}} {y.unit}<extra></extra>",
            }
        ],
        "layout": layout(
            max(HEIGHT, 60 + 28 * len(rows)), xaxis=axis(across.label, type="category"), yaxis=axis(type="category")
        ),
    }


def parallel(points: Sequence[Point], view: View) -> Figure:
    """Each number on an axis of its own, from its smallest to its largest value on a logarithmic scale."""
    columns = {name: [MEASURES[name].of(one) for one in points] for name in DIMENSIONS}
    ends = {
        name: (min(found), max(found))
        for name, column in columns.items()
        if (found := [value for value in column if value is not None and finite(value, "log")])
    }
    names = list(ends)
    place_of = {one: place for place, one in enumerate(points)}
    traces = []
    for place, (group, members) in enumerate(grouped(points, view.by).items()):
        x: list[str | None] = []
        y: list[float | None] = []
        for one in members:
            for name in names:
                x.append(MEASURES[name].title)
                y.append(share(columns[name][place_of[one]], *ends[name]))
            x.append(None)
            y.append(None)
        traces.append({
            "type": "scatter", "mode": "lines", "name": escaped(group or "unknown"), "x": x, "y": y, "opacity": 0.55,
            "line": {"color": shade(place), "width": 1}, "hoverinfo": "skip", "connectgaps": False,
        })  # fmt: skip
    marks = [
        {
            "x": MEASURES[name].title, "y": height, "yanchor": anchor, "text": f"{end:,.4g}", "showarrow": False,
            "font": {"size": 12, "color": colour("muted")},
        }
        for name in names
        for height, anchor, end in ((1, "bottom", ends[name][1]), (0, "top", ends[name][0]))
    ]  # fmt: skip
    return {
        "data": traces,
        "layout": legend(
            xaxis=axis(type="category", side="top", categoryarray=[MEASURES[name].title for name in names]),
            yaxis=axis(range=[-0.12, 1.12], visible=False),
            annotations=marks,
        ),
    }


def share(value: float | None, low: float, high: float) -> float | None:
    """How far up its axis a value stands, on a logarithmic scale."""
    if value is None or not finite(value, "log"):
        return None
    return 0.5 if high <= low else math.log(value / low) / math.log(high / low)
