"""The chart of the accuracy page: measurements against predictions as a Plotly figure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from app.accuracy.crossvalidated import Accuracy, engine_label, gpu_label
from app.accuracy.page import SHADES, UNITS, machines, traffic
from app.accuracy.scoring import CLASS_NAMES
from app.charts.layout import Figure, colour, escaped, layout, log_axis
from app.measurements import published

HEIGHT = 520
#: Half the width of the band around the diagonal.
BAND = 0.2
#: Class -> unit of its axis, where all its metrics have one.
AXIS_UNITS = {
    "throughput": "per second", "tpot": "ms", "ttft": "ms", "e2e": "ms", "energy": "J", "power": "W",
    "train_memory": "GB per GPU",
}  # fmt: skip


def accuracy_figure(data: Accuracy, rows: Sequence[int]) -> Figure:
    """Predicted over measured, both logarithmic: the diagonal, the band of 20 % around it, a trace for each class."""
    values = [float(column[row]) for row in rows for column in (data.measured, data.predicted)] or [1.0, 10.0]
    low, high = min(values) / 1.5, max(values) * 1.5
    classes = data.facets["metric"]
    by_class = {name: [row for row in rows if classes.text(row) == name] for name in CLASS_NAMES}
    present = [name for name in CLASS_NAMES if by_class[name]]
    unit = AXIS_UNITS.get(present[0], "") if len(present) == 1 else ""
    ends = {"range": [math.log10(low), math.log10(high)], "tickangle": 0}
    return {
        "data": [
            _line(low, high, 1 - BAND, width=0),
            _line(low, high, 1 + BAND, width=0) | {"fill": "tonexty", "fillcolor": colour("free")},
            _line(low, high, 1.0, width=1),
            *(_points(data, name, by_class[name]) for name in present),
        ],
        "layout": layout(
            HEIGHT,
            xaxis=log_axis(f"measured, {unit}" if unit else "measured", values, **ends),
            yaxis=log_axis(f"predicted, {unit}" if unit else "predicted", values, **ends),
        ),
    }


def _line(low: float, high: float, factor: float, *, width: int) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "x": [low, high],
        "y": [factor * low, factor * high],
        "line": {"color": colour("muted"), "width": width},
        "hoverinfo": "skip",
    }


def _points(data: Accuracy, name: str, rows: Sequence[int]) -> Figure:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": CLASS_NAMES[name],
        "x": [rounded(data.measured[row]) for row in rows],
        "y": [rounded(data.predicted[row]) for row in rows],
        "marker": {"color": colour(SHADES[name]), "size": 5, "opacity": 0.65},
        "hovertext": [point_text(data, row) for row in rows],
        "hovertemplate": "%{hovertext}<br>measured %{x:,.3~r}, predicted %{y:,.3~r}<extra></extra>",
    }


def rounded(value: float) -> float:
    return float(f"{value:.4g}")


def point_text(data: Accuracy, row: int) -> str:
    """A measurement in words: model, GPU, engine, conditions, source, unit."""
    stated = published.everything().row(int(data.rows[row]))
    engine = f"{engine_label(data.facets['engine'].text(row))} {stated['engine_version']}".strip()
    lines = (
        stated["model"].rsplit("/", 1)[-1],
        f"{gpu_label(data.facets['gpu'].text(row))}, {engine[:40]}",
        machines(stated),
        traffic(stated),
        f"{stated['source']} {stated['source_date']}".strip(),
        UNITS[stated["metric"]],
    )
    return "<br>".join(map(escaped, lines))
