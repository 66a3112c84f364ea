"""Charts of the history page: compared runs -> Plotly figures as plain dicts."""

from __future__ import annotations

from collections.abc import Sequence

from app import formatting
from app.charts.estimate import GIB, MEMORY_PARTS
from app.charts.layout import Figure, axis, colour, escaped, layout
from app.history.comparison import Compared
from app.history.rows import number, part

HEIGHT = 340


def memory_figure(runs: Sequence[Compared]) -> Figure:
    """VRAM per GPU of each run as a stacked bar, with what the engine may use as a line across the bar."""
    letters = [one.letter for one in runs]
    hover = [label(one) for one in runs]
    bars = [
        {
            "type": "bar",
            "name": name,
            "x": letters,
            "y": [_gib(one, key) for one in runs],
            "marker": {"color": colour(shade), "line": {"color": colour("surface"), "width": 1}},
            "hovertext": hover,
            "hovertemplate": f"%{{hovertext}}<br>{name}: %{{y:,.2f}} GiB<extra></extra>",
        }
        for key, name, shade in MEMORY_PARTS
    ]
    capacity = {
        "type": "scatter",
        "mode": "markers",
        "name": "Capacity",
        "x": letters,
        "y": [_gib(one, "capacity") for one in runs],
        "marker": {
            "symbol": "line-ew-open",
            "size": max(12, 72 // max(1, len(runs))),
            "color": colour("line"),
            "line": {"width": 3, "color": colour("line")},
        },
        "hovertext": hover,
        "hovertemplate": "%{hovertext}<br>Capacity: %{y:,.2f} GiB<extra></extra>",
    }
    return {
        "data": [*bars, capacity],
        "layout": layout(
            HEIGHT,
            barmode="stack",
            xaxis=axis(type="category", showgrid=False),
            yaxis=axis("GiB per GPU", rangemode="tozero"),
        ),
    }


def throughput_figure(runs: Sequence[Compared]) -> Figure:
    """Output tokens per second of all users together."""
    return _rates(runs, "output_tokens_per_s")


def user_rate_figure(runs: Sequence[Compared]) -> Figure:
    """Output tokens per second that one user sees."""
    return _rates(runs, "output_tokens_per_s_per_user")


def _rates(runs: Sequence[Compared], key: str) -> Figure:
    """One bar per run; a run without a rate says why in its place."""
    rates = [number(part(one.run.results, key), "value") for one in runs]
    return {
        "data": [
            {
                "type": "bar",
                "x": [one.letter for one in runs],
                "y": rates,
                "marker": {"color": colour("accent")},
                "text": [None if rate is None else formatting.rate(rate) for rate in rates],
                "textposition": "auto",
                "hovertext": [label(one) for one in runs],
                "hovertemplate": "%{hovertext}<br>%{text} tokens/s<extra></extra>",
            }
        ],
        "layout": layout(
            HEIGHT,
            showlegend=False,
            xaxis=axis(type="category", showgrid=False),
            yaxis=axis("tokens/s", rangemode="tozero"),
            annotations=[
                {
                    "x": one.letter,
                    "y": 0,
                    "yanchor": "bottom",
                    "text": "does not fit" if one.row.fits is False else formatting.UNKNOWN,
                    "textangle": -90,
                    "showarrow": False,
                }
                for one, rate in zip(runs, rates, strict=True)
                if rate is None
            ],
        ),
    }


def label(one: Compared) -> str:
    """The run in words."""
    return escaped(f"{one.letter}: {one.title}")


def _gib(one: Compared, key: str) -> float | None:
    size = number(part(one.run.results, "memory_bytes_per_gpu"), key)
    return None if size is None else size / GIB
