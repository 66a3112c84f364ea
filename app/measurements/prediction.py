"""One measured number beside what is predicted for it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

Row = Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """`reason` says why nothing is predicted, or what was assumed."""

    id: str
    source: str
    metric: str
    measured: float
    predicted: float | None = None
    low: float | None = None
    high: float | None = None
    reason: str = ""

    @property
    def supported(self) -> bool:
        return self.predicted is not None
