"""Dollars per hour and per million tokens."""

from __future__ import annotations

MILLION = 1e6
SECONDS_PER_HOUR = 3600.0


def usd_per_hour(price_usd_per_gpu_hour: float, gpus: int) -> float:
    return price_usd_per_gpu_hour * gpus


def usd_per_million(usd_per_hour: float, per_second: float) -> float:
    """All cost on one kind of token at full utilisation: USD/h / (3600 x tokens/s) x 10^6."""
    return usd_per_hour / (SECONDS_PER_HOUR * per_second) * MILLION
