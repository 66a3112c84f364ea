"""Goodput: the highest rate at which requests meet their goals."""

from __future__ import annotations

import pytest

from app.calculations import estimate, results
from app.calculations.goodput import Limits, at_goodput, at_rate, highest, within
from app.scenarios import serving_scenario

LLAMA_8B = {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm", "num_gpus": 1, "max_sequences": 64}
OPEN = LLAMA_8B | {"arrival": "open", "request_rate": 2.0, "input_tokens": 1000, "output_tokens": 200}


@pytest.fixture(scope="module")
def best():
    return estimate(serving_scenario(OPEN)[0]).best


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.93])
def test_the_highest_is_where_it_stops_to_hold(threshold):
    assert highest(lambda share: share <= threshold) == pytest.approx(threshold, abs=1e-4)


def test_what_never_holds_and_what_always_does():
    assert highest(lambda share: False) == 0
    assert highest(lambda share: True) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize("statistic", ["mean", "p90", "p99"])
def test_the_limit_holds_at_the_goodput_and_not_above(best, statistic):
    limits = Limits(ttft_seconds=0.2, tpot_seconds=0.012, statistic=statistic)
    found = at_goodput(best, limits)
    assert within(found.speed.arrivals, limits)
    assert not within(at_rate(best, found.scenario.request_rate * 1.01).speed.arrivals, limits)


def test_without_limits_it_is_all_that_is_served(best):
    found = at_goodput(best, Limits())
    assert found.scenario.request_rate == pytest.approx(best.max_requests_per_second, rel=1e-3)


def test_looser_limits_and_easier_statistics_never_lower_it(best):
    rates = [
        at_goodput(best, Limits(tpot_seconds=tpot, statistic="p99")).scenario.request_rate
        for tpot in (0.009, 0.011, 0.015, 0.03)
    ]
    assert rates == sorted(rates) and rates[0] < rates[-1]
    mean, p99 = (
        at_goodput(best, Limits(tpot_seconds=0.011, statistic=one)).scenario.request_rate for one in ("mean", "p99")
    )
    assert p99 <= mean


def test_no_rate_is_slow_enough_for_what_one_request_misses(best):
    assert at_goodput(best, Limits(ttft_seconds=1e-6)) is None


def test_results_name_it_where_goals_and_arrivals_are_given():
    found = results(estimate(serving_scenario(OPEN | {"max_tpot_ms": 10})[0]))
    rate = found["goodput_requests_per_s"]["value"]
    assert 0 < rate < found["max_requests_per_s"]["value"]
    at_it = results(estimate(serving_scenario(OPEN | {"request_rate": rate})[0]))
    assert at_it["tpot_ms"]["value"] == pytest.approx(10, rel=0.01)
    for without in (OPEN, LLAMA_8B | {"max_tpot_ms": 10}):
        assert results(estimate(serving_scenario(without)[0]))["goodput_requests_per_s"]["value"] is None
    assert results(estimate(serving_scenario(OPEN | {"max_ttft_ms": 0.1})[0]))["goodput_requests_per_s"]["value"] == 0
