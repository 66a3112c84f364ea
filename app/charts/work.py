"""The roofline of the operators of an estimate (Williams et al., Roofline, CACM 2009)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from math import log10
from typing import Any

from app import formatting
from app.charts.layout import Figure, axis, colour, escaped, layout

#: Step -> name, colour, marker.
STEPS = {"prefill": ("Prefill", "part-1", "circle"), "decode": ("Decode step", "part-3", "diamond")}
#: How far the axes reach beyond the markers and the roofs, as a factor.
ROOM = 3.0
#: Lines of the roofs, lowest peak first.
DASHES = ("solid", "dash", "dot", "dashdot")


def plotted(table: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """Rows with a place in the figure: those that calculate and read memory."""
    return [row for row in table["rows"] if row["flops_per_byte"] and row["seconds"]]


def roofline_figure(work: Mapping[str, Any]) -> Figure:
    """FLOP/s reached against FLOP per byte, on logarithmic axes, under the roofs of the memory and of each peak."""
    rows = [row for table in work["steps"].values() for row in plotted(table)]
    bandwidth = work["memory_bandwidth_bytes_per_s"]
    ridges = [peak / bandwidth for peak in work["peak_flops_per_s"].values()]
    found = [row["flops_per_byte"] for row in rows]
    low, high = min([*found, *ridges]) / ROOM, max([*found, *ridges]) * ROOM
    reached = [row["flops"] / row["seconds"] for row in rows]
    floor, top = min([*reached, low * bandwidth]) / ROOM, max(work["peak_flops_per_s"].values()) * ROOM
    roofs = list(_roofs(work, low, high))
    return {
        "data": [trace for trace, _ in roofs] + [_markers(name, work["steps"][name]) for name in work["steps"]],
        "layout": layout(
            420,
            xaxis=axis("FLOP per byte", type="log", range=[log10(low), log10(high)], exponentformat="power", dtick=1),
            yaxis=axis("FLOP/s", type="log", range=[log10(floor), log10(top)], exponentformat="SI", dtick=1),
            annotations=[words for _, words in roofs],
        ),
    }


def _roofs(work: Mapping[str, Any], low: float, high: float) -> Iterator[tuple[Figure, Figure]]:
    """The roof of each peak with its words: up along the memory's bandwidth to the ridge, then level."""
    bandwidth = work["memory_bandwidth_bytes_per_s"]
    for number, (name, peak) in enumerate(sorted(work["peak_flops_per_s"].items(), key=lambda one: one[1])):
        ridge = peak / bandwidth
        text = f"{name} peak {formatting.flops_per_second(peak)}"
        trace = {
            "type": "scatter",
            "mode": "lines",
            "name": text,
            "x": [low, ridge, high],
            "y": [low * bandwidth, peak, peak],
            "line": {"color": colour("muted"), "width": 2, "dash": DASHES[number % len(DASHES)]},
            "hovertemplate": f"{text}, memory {formatting.bandwidth(bandwidth)}<extra></extra>",
        }
        words = {
            "x": log10(high),
            "y": log10(peak),
            "xanchor": "right",
            "yanchor": "bottom",
            "text": text,
            "showarrow": False,
            "font": {"color": colour("muted"), "size": 12},
        }
        yield trace, words


def _markers(name: str, table: Mapping[str, Any]) -> Figure:
    label, shade, symbol = STEPS[name]
    rows = plotted(table)
    return {
        "type": "scatter",
        "mode": "markers",
        "name": label,
        "x": [row["flops_per_byte"] for row in rows],
        "y": [row["flops"] / row["seconds"] for row in rows],
        "customdata": [
            [
                escaped(row["name"]),
                formatting.duration(row["seconds"]),
                formatting.percent(row["share"]),
                formatting.flops_per_second(row["flops"] / row["seconds"]),
                row["bound_by"],
            ]
            for row in rows
        ],
        "marker": {
            "color": colour(shade),
            "symbol": symbol,
            "size": [9 + 14 * row["share"] ** 0.5 for row in rows],
            "line": {"color": colour("surface"), "width": 1},
        },
        "hovertemplate": (
            f"{label}: %{{customdata[0]}}<br>%{{x:.3s}} FLOP per byte, %{{customdata[3]}}<br>"
            "%{customdata[1]}, %{customdata[2]} of the step, bound by %{customdata[4]}<extra></extra>"
        ),
    }
