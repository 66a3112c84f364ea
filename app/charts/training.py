"""Charts of a training run: its results and its work -> Plotly figures as plain dicts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from app import formatting
from app.calculations.training.losses import CAUSES
from app.calculations.training.memory import Memory
from app.charts.estimate import GIB, capacity_bar
from app.charts.layout import Figure, axis, colour, layout
from app.training_work import Point

#: What a GPU holds in the order of the bar: key, name, colour. The optimizer's step takes the place of the three before
#: it where the peak is there.
MEMORY_TERMS = (
    ("weights", "Weights", "part-1"),
    ("master_weights", "FP32 weights", "part-4"),
    ("gradients", "Gradients", "part-2"),
    ("optimizer_states", "Optimizer states", "part-3"),
    ("adapters", "Adapters", "part-5"),
    ("gathered", "Gathered for a layer", "part-8"),
    ("activations", "Activations", "part-6"),
    ("logits", "Logits and loss", "part-9"),
    ("optimizer_step", "Optimizer's step", "part-8"),
    ("workspace", "Workspace", "part-10"),
    ("allocator_slack", "Slack of the allocator", "part-7"),
    ("runtime", "CUDA context and NCCL", "rest"),
)

#: Terms of a step as they stand beside a chart.
TERM_NAMES = {
    "linear": "Matrix products", "experts": "Expert products", "head": "lm_head", "attention": "Attention",
    "recurrent": "Recurrent layers", "elementwise": "Elementwise", "tensor_parallel": "Tensor parallel",
    "expert_parallel": "Expert parallel", "context_parallel": "Context parallel", "pipeline_hops": "Pipeline sends",
    "sharding": "Sharded weights", "gradient_reduction": "Gradient sums", "bubble": "Pipeline bubble",
    "imbalance": "Uneven stages", "accumulation": "Adding gradients", "optimizer": "Optimizer", "offload": "Offload",
    "host": "Host", "fixed": "Host, per step", "stragglers": "Stragglers",
}  # fmt: skip
#: Where the time of a step goes: cause -> name, colour.
CAUSE_NAMES = {
    "compute": ("Products and attention", "part-1"),
    "elementwise": ("Elementwise", "part-2"),
    "communication": ("Communication", "part-3"),
    "bubble": ("Pipeline bubble", "part-4"),
    "imbalance": ("Uneven stages", "part-5"),
    "optimizer": ("Optimizer", "part-6"),
    "host": ("Host", "part-7"),
    "stragglers": ("Stragglers", "part-8"),
}
#: What becomes of the peak: share -> name, colour.
SHARE_NAMES = {
    "useful": ("Useful (MFU)", "part-1"),
    "recomputation": ("Recomputation", "part-9"),
    "counting": ("Counted only", "rest"),
    "kernels": ("Kernels below peak", "part-10"),
    **{cause: CAUSE_NAMES[cause] for cause in CAUSES if cause != "compute"},
}
#: Shares of a step below this are left out of lists.
LEAST_SHARE = 0.002
ROW_PIXELS = 27


def cause_of(term: str) -> str:
    """The cause that a term of a step belongs to."""
    return next(cause for cause, names in CAUSES.items() if term in names)


def memory_terms(memory: Mapping[str, float]) -> list[tuple[str, str, str]]:
    """The terms that there are: key, name, colour."""
    return [one for one in MEMORY_TERMS if memory.get(one[0])]


def memory_figure(results: Mapping[str, Any]) -> Figure:
    """What the fullest GPU holds at its peak against what a process may hold."""
    memory = results["memory_bytes_per_gpu"]
    return capacity_bar(memory, memory_terms(memory), results["gpu"]["memory_bytes"])


def stages_figure(stages: Sequence[Memory], capacity_bytes: float) -> Figure:
    """A stacked bar for each pipeline stage, the capacity as a line across."""
    terms = [one.terms() for one in stages]
    numbers = [one.stage + 1 for one in stages]
    present = [one for one in MEMORY_TERMS if any(term.get(one[0]) for term in terms)]
    capacity = capacity_bytes / GIB
    top = max(capacity, *(one.process / GIB for one in stages)) * 1.12
    line = {
        "type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": capacity, "y1": capacity,
        "line": {"color": colour("line"), "width": 2},
    }  # fmt: skip
    words = {
        "xref": "paper", "x": 1, "xanchor": "right", "y": capacity, "yanchor": "bottom", "showarrow": False,
        "text": f"Capacity {formatting.gib(capacity_bytes)} GiB", "font": {"color": colour("line"), "size": 13},
    }  # fmt: skip
    return {
        "data": [
            {
                "type": "bar",
                "name": name,
                "x": numbers,
                "y": [term.get(key, 0.0) / GIB for term in terms],
                "marker": {"color": colour(shade), "line": {"color": colour("surface"), "width": 0.5}},
                "hovertemplate": f"Stage %{{x}}, {name}: %{{y:,.2f}} GiB<extra></extra>",
            }
            for key, name, shade in present
        ],
        "layout": layout(
            300,
            barmode="stack",
            xaxis=axis("pipeline stage", dtick=max(1, -(-len(stages) // 16)), showgrid=False),
            yaxis=axis("GiB per GPU", range=[0, top]),
            shapes=[line],
            annotations=[words],
        ),
    }


def step_rows(terms: Mapping[str, float]) -> list[tuple[str, str, float]]:
    """(name, cause, seconds) of the terms of a step in their order; what is too small to see is one row at the end."""
    total = sum(terms.values())
    order = [name for names in CAUSES.values() for name in names]
    seen = [name for name in order if terms.get(name, 0.0) > LEAST_SHARE * total]
    rows = [(TERM_NAMES[name], cause_of(name), terms[name]) for name in seen]
    rest = total - sum(seconds for _, _, seconds in rows)
    return [*rows, ("Everything else", "", rest)] if rest > 1e-9 * total else rows


def step_figure(terms: Mapping[str, float]) -> Figure:
    """A waterfall: each term of a step begins where the one before it ends."""
    rows = []
    start = 0.0
    for name, cause, seconds in step_rows(terms):
        shade = CAUSE_NAMES[cause][1] if cause else "rest"
        rows.append((name, start, seconds, shade, formatting.duration(seconds)))
        start += seconds
    rows.append(("Step", 0.0, start, "muted", formatting.duration(start)))
    return waterfall(rows, "seconds", start)


def losses_figure(shares: Mapping[str, float]) -> Figure:
    """A waterfall from the peak down to MFU: what each cause takes."""
    rows = [("Peak", 0.0, 100.0, "rest", "100 %")]
    left = 100.0
    for name, share in share_rows(shares):
        if name == "useful":
            continue
        label, shade = SHARE_NAMES[name]
        lost = 100 * share
        rows.append((label, min(left, left - lost), abs(lost), shade, signed_percent(-share)))
        left -= lost
    rows.append((SHARE_NAMES["useful"][0], 0.0, 100 * shares["useful"], "accent", formatting.percent(shares["useful"])))
    return waterfall(rows, "% of the peak", max(base + length for _, base, length, _, _ in rows))


def share_rows(shares: Mapping[str, float]) -> list[tuple[str, float]]:
    """(name, share of the peak) of what can be seen; kernels first among what is lost."""
    order = ["useful", "kernels", *(name for name in shares if name not in ("useful", "kernels"))]
    return [(name, shares[name]) for name in order if name == "useful" or abs(shares[name]) > LEAST_SHARE]


def signed_percent(share: float) -> str:
    """A change in points: +5.6 %, -34 %."""
    return ("+" if share > 0 else "") + formatting.percent(share).replace("-", "\N{MINUS SIGN}")


def waterfall(rows: Sequence[tuple[str, float, float, str, str]], unit: str, reach: float) -> Figure:
    """Horizontal bars of (name, start, length, colour, text), the first on top."""
    return {
        "data": [
            {
                "type": "bar",
                "orientation": "h",
                "x": [length for _, _, length, _, _ in rows],
                "base": [start for _, start, _, _, _ in rows],
                "y": [name for name, _, _, _, _ in rows],
                "text": [text for _, _, _, _, text in rows],
                "textposition": "outside",
                "cliponaxis": False,
                "marker": {"color": [colour(shade) for _, _, _, shade, _ in rows]},
                "hovertemplate": "%{y}: %{text}<extra></extra>",
            }
        ],
        "layout": layout(
            60 + ROW_PIXELS * len(rows),
            xaxis=axis(unit, range=[0, reach * 1.02]),
            yaxis=axis(autorange="reversed"),
            margin={"l": 8, "r": 60, "t": 8, "b": 8},
        ),
    }


def throughput_figure(points: Sequence[Point]) -> Figure:
    """Tokens per second over GPUs on logarithmic axes, with what as good a use of each GPU as on the fewest gives."""
    known = [one for one in points if one.tokens_per_s]
    per_gpu = (known[0].tokens_per_s or 0.0) / known[0].num_gpus
    line = {
        "type": "scatter",
        "mode": "lines",
        "name": "Linear",
        "x": [one.num_gpus for one in known],
        "y": [per_gpu * one.num_gpus for one in known],
        "line": {"color": colour("muted"), "width": 2, "dash": "dot"},
        "hovertemplate": "Linear: %{y:,.3s} tokens/s<extra></extra>",
    }
    ys = [one.tokens_per_s or 0.0 for one in known]
    vertical = axis("tokens per second", type="log", tickvals=ys, ticktext=[compact(y) for y in ys])
    return scaling(known, [line, curve(known, ys, "%{y:,.3s} tokens/s")], vertical)


def compact(value: float) -> str:
    """A number for an axis: 24.8k, 1.23M."""
    size, letter = next((one for one in ((1e6, "M"), (1e3, "k")) if value >= one[0]), (1.0, ""))
    return formatting.number(value / size) + letter


def mfu_figure(points: Sequence[Point]) -> Figure:
    """MFU over GPUs."""
    known = [one for one in points if one.mfu]
    ys = [100 * (one.mfu or 0.0) for one in known]
    return scaling(known, [curve(known, ys, "MFU %{y:.1f} %")], axis("MFU in %", range=[0, max(ys) * 1.15]))


def curve(points: Sequence[Point], ys: Sequence[float], hover: str) -> Figure:
    """A line with a marker for each number of GPUs; the one that was asked for stands out."""
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": "Best layout",
        "x": [one.num_gpus for one in points],
        "y": list(ys),
        "line": {"color": colour("accent"), "width": 2},
        "marker": {
            "color": colour("accent"),
            "size": [14 if one.chosen else 8 for one in points],
            "symbol": ["diamond" if one.chosen else "circle" for one in points],
        },
        "cliponaxis": False,
        "hovertemplate": f"%{{x:,}} GPUs: {hover}<extra></extra>",
    }


def scaling(points: Sequence[Point], traces: list[Figure], vertical: Figure) -> Figure:
    counts = [one.num_gpus for one in points]
    horizontal = axis("GPUs", type="log", tickvals=counts, ticktext=[f"{count:,}" for count in counts], showgrid=False)
    margin = {"l": 8, "r": 28, "t": 12, "b": 8}
    return {"data": traces, "layout": layout(280, xaxis=horizontal, yaxis=vertical, margin=margin)}
