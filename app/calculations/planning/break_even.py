"""One's own GPUs against an API that is paid by the token: which is cheaper at a load, and from which load on."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any

HOURS_PER_MONTH = 730.0
SECONDS_PER_MONTH = HOURS_PER_MONTH * 3600
MILLION = 1e6


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """Own replicas that serve so many requests per second each, at so many dollars a month each, `spare` of them idle;
    and the API's price of a mean request."""

    replica_requests_per_second: float
    replica_usd_per_month: float
    spare_replicas: int
    api_usd_per_request: float

    def own_usd_per_month(self, requests_per_second: float) -> float:
        """Whole replicas, at least one."""
        needed = max(1, ceil(requests_per_second / self.replica_requests_per_second - 1e-9))
        return (needed + self.spare_replicas) * self.replica_usd_per_month

    def api_usd_per_month(self, requests_per_second: float) -> float:
        return requests_per_second * SECONDS_PER_MONTH * self.api_usd_per_request

    @property
    def from_requests_per_second(self) -> float | None:
        """The least load from which own GPUs cost no more; None where a full replica costs more than the API.

        With n replicas at work the two cost alike at r = (n + spare) c / (seconds of a month x API price); the first
        such r that n replicas can serve is the answer.
        """
        per_rate = SECONDS_PER_MONTH * self.api_usd_per_request
        if per_rate * self.replica_requests_per_second <= self.replica_usd_per_month:
            return None
        gain = per_rate * self.replica_requests_per_second - self.replica_usd_per_month
        needed = max(1, ceil(self.spare_replicas * self.replica_usd_per_month / gain - 1e-9))
        rate = (needed + self.spare_replicas) * self.replica_usd_per_month / per_rate
        return max(rate, (needed - 1) * self.replica_requests_per_second)


def api_usd_per_request(
    input_tokens: float, output_tokens: float, *, usd_per_million_input: float, usd_per_million_output: float
) -> float:
    return (input_tokens * usd_per_million_input + output_tokens * usd_per_million_output) / MILLION


def results(offer: Offer, requests_per_second: float, output_tokens: float) -> dict[str, Any]:
    """The comparison at a load as plain data."""
    own, api = offer.own_usd_per_month(requests_per_second), offer.api_usd_per_month(requests_per_second)
    start = offer.from_requests_per_second
    return {
        "own_usd_per_month": own,
        "api_usd_per_month": api,
        "own_over_api": own / api if api else None,
        "from_requests_per_s": start,
        "from_output_tokens_per_month": None if start is None else start * SECONDS_PER_MONTH * output_tokens,
        "requests_per_s": requests_per_second,
        "replica_requests_per_s": offer.replica_requests_per_second,
        "replica_usd_per_month": offer.replica_usd_per_month,
        "spare_replicas": offer.spare_replicas,
        "api_usd_per_request": offer.api_usd_per_request,
    }
