"""What all charts share. Colours are CSS variables: static/charts.js puts in those of the page's theme."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import ceil, floor, isfinite, log10
from typing import Any

Figure = dict[str, Any]


def colour(name: str) -> str:
    """A colour of the theme: "accent", "muted", "part-1" to "part-7"."""
    return f"var(--chart-{name})"


def axis(title: str = "", **settings: Any) -> Figure:
    """An axis that cannot be dragged out of sight and leaves room for its labels."""
    made: Figure = {"fixedrange": True, "automargin": True, **settings}
    if title:
        made["title"] = {"text": title}
    return made


#: Digits that a logarithmic axis is labelled at, the finest first.
DIGITS = ((1, 1.5, 2, 3, 4, 5, 6, 8), (1, 2, 5), (1,))
MOST_LABELS = 8


def log_axis(title: str, values: Iterable[float | None], **settings: Any) -> Figure:
    """A logarithmic axis with each label written out, as many as have room over these values."""
    known = [value for value in values if value and isfinite(value) and value > 0]
    at = labelled(min(known), max(known)) if known else []
    return axis(title, type="log", tickvals=at, ticktext=[f"{one:,.10g}" for one in at], **settings)


def labelled(low: float, high: float) -> list[float]:
    """Round numbers from `low` to `high` and one step beyond on either side, at most MOST_LABELS of them where digits
    can be left out."""
    decades = range(floor(log10(low)) - 1, ceil(log10(high)) + 2)
    for digits in DIGITS:
        steps = [float(f"{digit}e{decade}") for decade in decades for digit in digits]
        first = max(step for step in steps if step <= low)
        last = min(step for step in steps if step >= high)
        found = [step for step in steps if first <= step <= last]
        if len(found) <= MOST_LABELS:
            return found
    return found[:: ceil(len(found) / MOST_LABELS)]


def layout(height: int, **settings: Any) -> Figure:
    """A layout of a set height. There is no legend: the table beside a chart carries its colours."""
    return {
        "height": height,
        "margin": {"l": 8, "r": 16, "t": 8, "b": 8},
        "showlegend": False,
        "hovermode": "closest",
        **settings,
    }


def line_at(x: float, text: str, name: str, *, dash: str, top: float, side: str) -> tuple[Figure, Figure]:
    """A vertical line up to `top` and the words at its end, on that side of it: (shape, annotation)."""
    shape = {
        "type": "line", "xref": "x", "yref": "paper", "x0": x, "x1": x, "y0": 0, "y1": top,
        "line": {"color": colour(name), "width": 2, "dash": dash},
    }  # fmt: skip
    words = {
        "xref": "x", "yref": "paper", "x": x, "y": top, "yanchor": "top", "text": text, "showarrow": False,
        "xanchor": "right" if side == "left" else "left", "font": {"color": colour(name), "size": 13},
    }  # fmt: skip
    return shape, words


def escaped(text: str) -> str:
    """Text with what Plotly would read as markup written out."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def largest(values: Mapping[str, float]) -> str | None:
    """The name of the largest value, if any is above zero."""
    name = max(values, key=lambda key: values[key], default=None)
    return name if name is not None and values[name] > 0 else None
