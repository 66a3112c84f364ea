"""Charts of a model's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from app import formatting
from app.charts.layout import Figure, axis, colour, layout

SHADES = tuple(f"part-{number}" for number in range(1, 8))
ROW_HEIGHT = 30


def params_figure(rows: Sequence[tuple[str, int, float]]) -> Figure:
    """A bar for each group of parameters, the largest on top."""
    ordered = sorted(rows, key=lambda row: row[1], reverse=True)
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": [count / 1e9 for _, count, _ in ordered],
                "y": [name for name, _, _ in ordered],
                "text": [formatting.percent(share) for _, _, share in ordered],
                "textposition": "outside",
                "cliponaxis": False,
                "customdata": [formatting.integer(count) for _, count, _ in ordered],
                "marker": {"color": colour("accent")},
                "hovertemplate": "%{y}: %{customdata}, %{text}<extra></extra>",
            }
        ],
        "layout": layout(
            80 + ROW_HEIGHT * len(ordered),
            xaxis=axis("billion parameters", rangemode="tozero"),
            yaxis=axis(autorange="reversed"),
            margin={"l": 8, "r": 56, "t": 8, "b": 8},
        ),
    }


def cache_figure(lengths: Sequence[int], curves: Mapping[str, Sequence[float]]) -> Figure:
    """KV cache and state of one sequence against its length, both axes logarithmic; a line for all, one per kind."""
    total = [sum(sizes) for sizes in zip(*curves.values(), strict=True)] if curves else [0.0 for _ in lengths]
    kinds = curves if len(curves) > 1 else {}
    lines = [_line("All" if kinds else "KV cache", lengths, total, "accent", width=3)]
    lines += [
        _line(kind.capitalize(), lengths, sizes, shade, dash=dash)
        for (kind, sizes), shade, dash in zip(kinds.items(), SHADES[1:], ("dash", "dot", "dashdot") * 2, strict=False)
    ]
    return {
        "data": lines,
        "layout": layout(
            360,
            showlegend=bool(kinds),
            legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0},
            margin={"l": 8, "r": 16, "t": 40 if kinds else 8, "b": 8},
            xaxis=axis("tokens of the sequence", type="log", dtick=1),
            yaxis=axis("bytes, 16-bit", type="log", dtick=1, exponentformat="SI", ticksuffix="B"),
        ),
    }


def _line(
    name: str, lengths: Sequence[int], sizes: Sequence[float], shade: str, *, width: int = 2, dash: str = "solid"
) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines",
        "name": name,
        "x": list(lengths),
        # Nothing has no place on a logarithmic axis.
        "y": [size or None for size in sizes],
        "customdata": [formatting.binary_bytes(size) for size in sizes],
        "line": {"color": colour(shade), "width": width, "dash": dash},
        "hovertemplate": f"{name}, %{{x:,}} tokens: %{{customdata}}<extra></extra>",
    }
