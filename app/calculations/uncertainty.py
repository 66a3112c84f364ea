"""Ranges from how predictions erred: 10th to 90th percentile of measured / predicted, by metric, engine and how far the
question is from what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

#: Metric of the results -> the class whose errors it shares.
METRIC_CLASS = {
    "ttft_ms": "ttft",
    "tpot_ms": "tpot",
    "itl_ms": "tpot",
    "e2e_latency_ms": "e2e",
    "output_tokens_per_s": "throughput",
    "total_tokens_per_s": "throughput",
    "requests_per_s": "throughput",
    "energy_j_per_token": "energy",
    "power_w_per_gpu": "power",
}
#: Engine of the row that holds for engines with too few measurements.
ANY = "any"
#: The engine was measured on the accelerator with this model; with another model; not at all.
NEARBY, INTERPOLATED, EXTRAPOLATED = NEARNESS = ("nearby", "interpolated", "extrapolated")


@dataclass(frozen=True, slots=True, kw_only=True)
class Spread:
    """80 % of measurements lay between `low` and `high` times the prediction, over `rows` rows of `groups` pairs of
    model and GPU; `coverage` is the share inside of those that the range was made without, where known."""

    low: float
    high: float
    rows: int
    groups: int
    coverage: float | None = None

    def around(self, value: float) -> tuple[float, float]:
        """The range of a predicted value; it always holds the value itself."""
        return value * min(self.low, 1.0), value * max(self.high, 1.0)

    def inverse(self) -> Spread:
        """The spread of one over the quantity, such as tokens per second from time per token."""
        return replace(self, low=1 / self.high, high=1 / self.low)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """Which engines were measured on which accelerators with which models."""

    #: (engine, GPU, model) by name, slug and name.
    triples: frozenset[tuple[str, str, str]] = frozenset()
    #: (engine, GPU).
    pairs: frozenset[tuple[str, str]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "pairs", frozenset((engine, gpu) for engine, gpu, _ in self.triples))

    def __or__(self, other: Measured) -> Measured:
        return Measured(triples=self.triples | other.triples)

    def nearness(self, engine: str, gpu: str, model: str) -> str:
        if (engine, gpu, model) in self.triples:
            return NEARBY
        return INTERPOLATED if (engine, gpu) in self.pairs else EXTRAPOLATED


#: (class of metric, engine, nearness) -> spread.
Spreads = Mapping[tuple[str, str, str], Spread]


def spread(spreads: Spreads, metric_class: str, engine: str, nearness: str) -> Spread | None:
    """The engine's own spread, else that of all engines; None where nothing was measured."""
    return spreads.get((metric_class, engine, nearness)) or spreads.get((metric_class, ANY, nearness))
