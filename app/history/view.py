"""How runs are drawn: which chart, what stands on its axes, what gives the colour. All of it is in the address."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from app.history.query import Reader
    from app.history.table import Point

GIB = 1 << 30
MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Measure:
    """A number of a run: what it is called, its unit, and how a point has it."""

    label: str
    unit: str
    of: Callable[[Point], float | None]

    @property
    def title(self) -> str:
        return f"{self.label}, {self.unit}" if self.unit else self.label


@dataclass(frozen=True, slots=True)
class Category:
    """What runs are told apart by."""

    label: str
    of: Callable[[Point], str]


def fits(point: Point) -> str:
    return {True: "fits", False: "does not fit"}.get(point.fits, "not said")  # type: ignore[arg-type]


def token_cost(point: Point) -> float | None:
    """$ per million output tokens."""
    if not point.usd_per_hour or not point.tokens_per_s:
        return None
    return point.usd_per_hour / 3600 / point.tokens_per_s * MILLION


MEASURES: dict[str, Measure] = {
    "ttft": Measure("TTFT", "ms", lambda one: one.ttft_ms),
    "tpot": Measure("TPOT", "ms", lambda one: one.tpot_ms),
    "tokens": Measure("Output, all users", "tokens/s", lambda one: one.tokens_per_s),
    "user": Measure("Output, per user", "tokens/s", lambda one: one.tokens_per_s_per_user),
    "gpu_tokens": Measure(
        "Output per GPU", "tokens/s",
        lambda one: one.tokens_per_s / one.num_gpus if one.tokens_per_s and one.num_gpus else None,
    ),
    "memory": Measure("Memory per GPU", "GiB", lambda one: None if one.used_bytes is None else one.used_bytes / GIB),
    "cost": Measure("Cost", "$ per hour", lambda one: one.usd_per_hour),
    "token_cost": Measure("Cost of output", "$ per million tokens", token_cost),
    "gpus": Measure("GPUs", "", lambda one: one.num_gpus),
    "prompt": Measure("Prompt", "tokens", lambda one: one.input_tokens),
    "output": Measure("Output", "tokens", lambda one: one.output_tokens),
    "concurrency": Measure("Concurrency", "requests", lambda one: one.concurrency),
}  # fmt: skip
CATEGORIES: dict[str, Category] = {
    "model": Category("Model", lambda one: one.model),
    "gpu": Category("GPU", lambda one: one.gpu_name),
    "engine": Category("Engine", lambda one: one.engine_name),
    "precision": Category("Precision", lambda one: one.precision),
    "layout": Category("Layout", lambda one: one.layout or "one GPU"),
    "kind": Category("Kind", lambda one: one.kind),
    "source": Category("Source", lambda one: one.source),
    "fits": Category("Fits", fits),
}
#: Chart -> what it is called, and what it shows in words.
CHARTS: dict[str, tuple[str, str]] = {
    "scatter": ("Scatter", "each run is a point"),
    "trend": ("Trend", "each run is a point at its time"),
    "bar": ("Bars", "the median of the runs of each group"),
    "heat": ("Heat map", "the median of the runs of each pair of groups"),
    "parallel": ("Parallel coordinates", "each run is a line through all its numbers"),
}
SCALES = ("log", "linear")
#: Numbers that a line of the parallel coordinates goes through.
DIMENSIONS = ("gpus", "prompt", "output", "concurrency", "memory", "ttft", "tpot", "tokens", "cost")


@dataclass(frozen=True, slots=True)
class View:
    """The chart that is asked for; "" for none. `x`, `y` are measures, `by` and `across` categories."""

    chart: str = ""
    x: str = "ttft"
    y: str = "tokens"
    by: str = "gpu"
    across: str = "model"
    xs: str = "log"
    ys: str = "log"

    @classmethod
    def read(cls, reader: Reader) -> View:
        default = cls()
        return cls(
            chart=reader.one_of("chart", tuple(CHARTS)),
            x=reader.one_of("x", tuple(MEASURES), default.x),
            y=reader.one_of("y", tuple(MEASURES), default.y),
            by=reader.one_of("by", tuple(CATEGORIES), default.by),
            across=reader.one_of("across", tuple(CATEGORIES), default.across),
            xs=reader.one_of("xs", SCALES, default.xs),
            ys=reader.one_of("ys", SCALES, default.ys),
        )

    def args(self) -> dict[str, str]:
        """The query string that says this; nothing where nothing is drawn."""
        if not self.chart:
            return {}
        default = View()
        said = {one.name: getattr(self, one.name) for one in fields(self)}
        return {name: value for name, value in said.items() if value != getattr(default, name)}

    def with_chart(self, chart: str) -> View:
        return View(chart, self.x, self.y, self.by, self.across, self.xs, self.ys)


NO_CHART = View()
#: Chart -> the inputs that count for it.
USED: dict[str, tuple[str, ...]] = {
    "scatter": ("x", "xs", "y", "ys", "by"),
    "trend": ("y", "ys", "by"),
    "bar": ("y", "ys", "by"),
    "heat": ("y", "by", "across"),
    "parallel": ("by",),
}
#: Views that are offered: what they answer, and how they are drawn.
SAVED: tuple[tuple[str, View], ...] = (
    ("How fast, how many", View("scatter", "user", "gpu_tokens", "gpu")),
    ("Wait against throughput", View("scatter", "ttft", "tokens", "gpu")),
    ("Price of speed", View("scatter", "tpot", "token_cost", "gpu")),
    ("Models on GPUs", View("heat", y="token_cost", by="gpu", across="model")),
    ("Over time", View("trend", y="tokens", by="model")),
    ("All at a glance", View("parallel", by="engine")),
)


def names(choices: Mapping[str, Measure | Category | tuple[str, str]]) -> list[tuple[str, str]]:
    """Choices as (value, what it is called)."""
    return [(value, one[0] if isinstance(one, tuple) else titled(one)) for value, one in choices.items()]


def titled(one: Measure | Category) -> str:
    return one.title if isinstance(one, Measure) else one.label
