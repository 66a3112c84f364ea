"""The tornado chart: what each input does to one number, the strongest on top."""

from __future__ import annotations

from app.charts.layout import Figure, axis, colour, escaped, layout
from app.sensitivity import METRICS, Sensitivity

#: Inputs that are drawn.
MOST = 12


def tornado_figure(found: Sensitivity, metric: str) -> Figure:
    """Bars from the number as it is to what it becomes, in per cent; better ones and worse ones have a colour each."""
    levers = found.ranked(metric)[:MOST][::-1]
    more_is_better = METRICS[metric][2]
    good, bad = {"name": "better", "color": colour("part-6")}, {"name": "worse", "color": colour("part-5")}
    traces = []
    for kind, wanted in ((good, True), (bad, False)):
        points = [
            (lever, one, 100 * (one.metrics[metric] / found.base[metric] - 1))
            for lever in levers
            for one in lever.outcomes
            if metric in one.metrics
        ]
        points = [p for p in points if p[2] and ((p[2] > 0) == more_is_better) == wanted]
        traces.append({
            "type": "bar", "orientation": "h", "name": kind["name"],
            "y": [lever.label for lever, _, _ in points],
            "x": [change for *_, change in points],
            "text": [escaped(one.value) for _, one, _ in points],
            "textposition": "auto", "insidetextanchor": "end",
            "marker": {"color": kind["color"]},
            "hovertext": [escaped(f"{one.label}: {one.value} to {then.value} {one.unit}") for one, then, _ in points],
            "hovertemplate": "%{hovertext}<br>%{x:+,.1f} %<extra></extra>",
        })  # fmt: skip
    return {
        "data": traces,
        "layout": layout(
            60 + 34 * len(levers),
            barmode="overlay",
            xaxis=axis("change in %", ticksuffix=" %", zeroline=True),
            yaxis=axis(type="category", categoryarray=[lever.label for lever in levers], showgrid=False),
        ),
    }
