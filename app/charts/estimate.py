"""Charts of a result page: an estimate's results -> Plotly figures as plain dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app import formatting
from app.charts.layout import Figure, axis, colour, largest, layout, line_at

GIB = 2.0**30

#: Parts of a GPU's memory in the order of the bar: key, name, colour.
MEMORY_PARTS = (
    ("weights", "Weights", "part-1"),
    ("kv_cache", "KV cache", "part-2"),
    ("activations", "Activations", "part-3"),
    ("runtime", "Runtime", "part-4"),
)

#: Where the operations go: key, name, colour.
COMPONENTS = (
    ("attention_projections", "Attention projections", "part-1"),
    ("attention_scores", "Attention scores", "part-2"),
    ("feed_forward", "Feed-forward", "part-3"),
    ("experts", "Experts", "part-4"),
    ("router", "Router", "part-5"),
    ("state_space", "State space", "part-6"),
    ("lm_head", "Output head", "part-7"),
)

#: Where the time goes: key, name.
BOUNDS = (("compute", "Compute"), ("memory", "Memory"), ("network", "Network"), ("host", "Host"))


def memory_figure(results: Mapping[str, Any]) -> Figure:
    """What the most loaded GPU holds, what is left, and the capacity as a line across."""
    memory = results["memory_bytes_per_gpu"]
    return capacity_bar(memory, MEMORY_PARTS, memory["device"])


def capacity_bar(memory: Mapping[str, float], parts: Sequence[tuple[str, str, str]], device: float) -> Figure:
    """One stacked bar of `parts` (key, name, colour) that ends at the GPU's memory; `memory` holds their bytes, the
    total and the capacity."""
    total, capacity = memory["total"], memory["capacity"]
    reach = max(total, device) * 1.02
    bars = [_segment(name, memory[key], shade) for key, name, shade in parts]
    if total < capacity:
        bars.append(_segment("Free", capacity - total, "free"))
    if max(total, capacity) < device:
        bars.append(_segment("Reserved", device - max(total, capacity), "reserved"))
    lines = [_limit("Capacity", capacity, reach, "line", dash="solid", top=1.0)]
    if device > capacity * 1.01:
        lines.append(_limit("GPU", device, reach, "muted", dash="dot", top=0.82))
    return {
        "data": bars,
        "layout": layout(
            180,
            barmode="stack",
            xaxis=axis("GiB per GPU", range=[0, reach / GIB]),
            yaxis=axis(showticklabels=False, domain=[0, 0.62]),
            shapes=[shape for shape, _ in lines],
            annotations=[words for _, words in lines],
        ),
    }


def _limit(name: str, size: float, reach: float, shade: str, *, dash: str, top: float) -> tuple[Figure, Figure]:
    side = "left" if size > 0.6 * reach else "right"
    space = "&nbsp;"
    text = f"{name} {formatting.gib(size)} GiB"
    return line_at(size / GIB, f"{space}{text}{space}", shade, dash=dash, top=top, side=side)


def _segment(name: str, size: float, shade: str) -> Figure:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": [size / GIB],
        "y": ["GPU"],
        "marker": {"color": colour(shade), "line": {"color": colour("surface"), "width": 1}},
        "hovertemplate": f"{name}: %{{x:,.2f}} GiB<extra></extra>",
    }


def flops_figure(results: Mapping[str, Any]) -> Figure:
    """Two bars of a hundred percent: how the operations of a prompt and of a decoded token are shared out."""
    rows = (("prefill", "Prefill"), ("decode_per_token", "Decoded token"))
    totals = {key: sum(results["flops"][key].values()) for key, _ in rows}
    present = [one for one in COMPONENTS if any(results["flops"][key].get(one[0]) for key, _ in rows)]
    bars = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "x": [100 * results["flops"][key].get(component, 0) / (totals[key] or 1) for key, _ in rows],
            "y": [label for _, label in rows],
            "customdata": [formatting.flops(results["flops"][key].get(component, 0)) for key, _ in rows],
            "marker": {"color": colour(shade), "line": {"color": colour("surface"), "width": 1}},
            "hovertemplate": f"{name}: %{{x:.1f}} %, %{{customdata}}<extra></extra>",
        }
        for component, name, shade in present
    ]
    return {
        "data": bars,
        "layout": layout(
            190,
            barmode="stack",
            xaxis=axis("% of the operations", range=[0, 100], tickvals=[0, 25, 50, 75, 100]),
            yaxis=axis(autorange="reversed"),
            margin={"l": 8, "r": 28, "t": 8, "b": 8},
        ),
    }


def bound_figure(results: Mapping[str, Any], phase: str) -> Figure:
    """Where the time of one prefill or one decode step goes; the largest share stands out."""
    seconds = results["bound"][phase]["seconds"]
    first = largest(seconds)
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "name": phase,
                "x": [seconds.get(key, 0) * 1000 for key, _ in BOUNDS],
                "y": [name for _, name in BOUNDS],
                "text": [formatting.duration(seconds.get(key, 0)) for key, _ in BOUNDS],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {"color": [colour("accent" if key == first else "rest") for key, _ in BOUNDS]},
                "hovertemplate": "%{y}: %{text}<extra></extra>",
            }
        ],
        "layout": layout(
            190,
            xaxis=axis("milliseconds", rangemode="tozero"),
            yaxis=axis(autorange="reversed"),
            margin={"l": 8, "r": 64, "t": 8, "b": 8},
        ),
    }
