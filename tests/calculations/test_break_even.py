"""Own GPUs against an API, by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calculations.planning.break_even import SECONDS_PER_MONTH, Offer, api_usd_per_request, results

#: A replica of 2 requests/s for $2,628 a month; the API asks $0.001 a request: $5,256 for a full replica's requests.
OFFER = Offer(
    replica_requests_per_second=2.0, replica_usd_per_month=2628.0, spare_replicas=0, api_usd_per_request=0.001
)


def test_a_request_costs_its_prompt_and_its_output() -> None:
    price = api_usd_per_request(1000, 200, usd_per_million_input=3.0, usd_per_million_output=15.0)
    assert price == pytest.approx(0.003 + 0.003)


def test_a_half_full_replica_breaks_even_where_the_api_asks_twice_its_price() -> None:
    assert pytest.approx(2 * 2628) == SECONDS_PER_MONTH * 0.001 * 2
    assert OFFER.from_requests_per_second == pytest.approx(1.0)
    assert OFFER.own_usd_per_month(1.0) == pytest.approx(OFFER.api_usd_per_month(1.0))
    assert OFFER.own_usd_per_month(2.1) == 2 * 2628.0


def test_a_spare_replica_moves_it() -> None:
    spared = replace(OFFER, spare_replicas=1)
    assert spared.from_requests_per_second == pytest.approx(2.0)
    assert spared.own_usd_per_month(0.1) == 2 * 2628.0


def test_where_a_full_replica_costs_more_it_is_never() -> None:
    cheap = replace(OFFER, api_usd_per_request=0.0004)
    assert cheap.from_requests_per_second is None
    found = results(cheap, 1.0, 200.0)
    assert found["from_output_tokens_per_month"] is None and found["own_over_api"] == pytest.approx(2.5)


@given(st.floats(0.01, 100), st.floats(1, 1e6), st.integers(0, 5), st.floats(1e-6, 1.0))
def test_at_the_break_even_own_gpus_cost_no_more_and_just_below_they_do(
    rate: float, usd: float, spare: int, price: float
) -> None:
    offer = Offer(
        replica_requests_per_second=rate, replica_usd_per_month=usd, spare_replicas=spare, api_usd_per_request=price
    )
    start = offer.from_requests_per_second
    if start is not None:
        assert offer.own_usd_per_month(start) <= offer.api_usd_per_month(start) * (1 + 1e-6)
        below = start * 0.999
        assert offer.own_usd_per_month(below) > offer.api_usd_per_month(below) * (1 - 2e-3)
