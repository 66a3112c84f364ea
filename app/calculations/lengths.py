"""Requests of different lengths in one batch."""

from __future__ import annotations

from math import log

#: Euler-Mascheroni constant.
EULER = 0.5772


def expected_longest(mean: float, spread: float, count: float) -> float:
    """Expected longest of `count` lengths drawn uniformly from [lo, hi], of mean `mean` and spread r = (hi - lo) / hi:

    hi = 2 mean / (2 - r), lo + (hi - lo) count / (count + 1) (largest order statistic of a uniform distribution).
    """
    longest = 2 * mean / (2 - spread)
    return longest - longest * spread / (count + 1)


def longest_of(mean: float, spread: float, count: float) -> float:
    """Expected longest of `count` lengths: uniform below a spread of 1; at 1 without a bound, exponential as answers
    of a chat are, whose longest is mean (ln count + 0.577 + 1 / (2 count)) (harmonic number)."""
    if spread < 1:
        return expected_longest(mean, spread, count)
    return mean * (log(count) + EULER + 1 / (2 * count)) if count > 1 else mean
