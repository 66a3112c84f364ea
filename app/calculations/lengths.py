"""Requests of different lengths in one batch."""

from __future__ import annotations


def expected_longest(mean: float, spread: float, count: float) -> float:
    """Expected longest of `count` lengths drawn uniformly from [lo, hi], of mean `mean` and spread r = (hi - lo) / hi:

    hi = 2 mean / (2 - r), lo + (hi - lo) count / (count + 1) (largest order statistic of a uniform distribution).
    """
    longest = 2 * mean / (2 - spread)
    return longest - longest * spread / (count + 1)
