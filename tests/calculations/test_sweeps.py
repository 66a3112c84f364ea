"""Sweeps: every point says what an estimate of its own question says; and the cheapest changes that mend a scenario."""

from __future__ import annotations

from typing import Any

import pytest

from app import catalog
from app.calculations import estimate, sweeps
from app.calculations.explanation import missed_goals
from app.calculations.fixes import fixes, is_good
from app.calculations.layout_estimate import LayoutEstimate
from app.calculations.sweeps import Point, output_rate
from app.scenarios import serving_scenario

LLAMA_70B = "meta-llama/Llama-3.1-70B-Instruct"


def best(**raw: Any) -> LayoutEstimate:
    return estimate(serving_scenario(raw)[0]).best


def same(one: LayoutEstimate | None, other: LayoutEstimate) -> bool:
    assert one is not None
    assert one.speed is not None
    assert other.speed is not None
    return (one.layout, one.total_bytes, one.speed.ttft_seconds, one.speed.requests_per_second) == (
        other.layout,
        other.total_bytes,
        other.speed.ttft_seconds,
        other.speed.requests_per_second,
    )


def test_the_point_of_the_run_itself_is_the_run() -> None:
    run = best(concurrency=16)
    (own,) = [one for one in sweeps.batch_sweep(run) if one.changes["concurrency"] == 16]
    assert same(own.best, run)
    (own,) = [one for one in sweeps.scaling(run) if one.changes["num_gpus"] == 1]
    assert same(own.best, run)
    own = sweeps.precision_ladder(run)[0]
    assert same(own.best, run)


def test_more_requests_in_flight_never_give_less_throughput_nor_a_shorter_wait() -> None:
    found = sweeps.batch_sweep(best())
    assert [one.changes["concurrency"] for one in found[:5]] == [1, 2, 4, 8, 16]
    rates = [output_rate(one.best) for one in found if one.best]
    steps = [float(one.best.speed.tpot_seconds) for one in found if one.best and one.best.speed]
    assert rates == sorted(rates)
    assert steps == sorted(steps)


def test_the_sweep_ends_where_the_memory_is_full() -> None:
    run = best()
    last = sweeps.batch_sweep(run)[-1]
    assert last.changes["concurrency"] == run.max_concurrency
    assert last.runs


def test_narrower_formats_take_less_memory() -> None:
    found = {one.label: one.best for one in sweeps.precision_ladder(best())}
    weights = [found[f"{name} weights, bf16 cache"] for name in ("bf16", "fp8", "int4")]
    sizes = [one.load.weights for one in weights if one]
    assert sizes == sorted(sizes, reverse=True)
    halved, whole = found["bf16 weights, fp8 cache"], found["bf16 weights, bf16 cache"]
    assert halved is not None and whole is not None
    assert halved.load.kv_cache == pytest.approx(whole.load.kv_cache / 2, rel=0.01)


def test_the_ladder_of_accelerators_is_by_price_and_has_the_fewest_gpus() -> None:
    scenario = serving_scenario({"model": LLAMA_70B, "num_gpus": 1})[0]
    found = sweeps.gpu_ladder(scenario, catalog.gpus().values())
    prices = [one.usd_per_hour for one in found[:-1]]
    assert prices == sorted(prices)
    assert "h100-sxm" in [one.changes["gpu"] for one in found]
    for one in found:
        alone = best(model=LLAMA_70B, gpu=one.changes["gpu"])
        assert one.best is not None
        assert one.best.num_gpus == alone.num_gpus
        assert same(one.best, alone)


def test_a_price_by_hand_is_of_its_own_accelerator_only() -> None:
    scenario = serving_scenario({"price_usd_per_gpu_hour": 0.01})[0]
    found = {one.changes["gpu"]: one for one in sweeps.gpu_ladder(scenario, catalog.gpus().values())}
    assert found["h100-sxm"].usd_per_hour == 0.01
    assert all(one.usd_per_hour > 0.01 for slug, one in found.items() if slug != "h100-sxm")


def test_what_cannot_be_cut_says_why() -> None:
    one = sweeps.point("all prefill", best().scenario, num_gpus=1, prefill_gpus=1)
    assert (one.best, one.runs) == (None, False)
    assert "leave none that decode" in one.problem


def test_gpus_that_wait_cost_as_much() -> None:
    run = best()
    (whole, dear), *_, (tenth, dearest) = sweeps.cost_when_busy(run)
    assert (whole, tenth) == (1.0, 0.1)
    assert dearest == pytest.approx(10 * dear)
    full = best(concurrency=run.max_concurrency)
    assert full.speed is not None
    assert run.price_usd_per_gpu_hour is not None
    tokens_per_hour = 3600 * full.speed.requests_per_second * 256
    assert dear == pytest.approx(1e6 * run.price_usd_per_gpu_hour / tokens_per_hour, rel=0.05)
    assert sweeps.cost_when_busy(best(gpu="custom")) == []


@pytest.mark.parametrize(
    "raw",
    [
        {"model": LLAMA_70B, "num_gpus": 1},
        {"model": LLAMA_70B, "num_gpus": 2, "concurrency": 64},
        {"max_tpot_ms": 7},
        {"max_ttft_ms": 120, "concurrency": 200},
        {"model": LLAMA_70B, "num_gpus": 2, "max_tpot_ms": 25, "concurrency": 64},
    ],
    ids=["weights too large", "cache too large", "TPOT", "TTFT", "both"],
)
def test_each_fix_fits_and_meets_the_goals_and_says_what_an_estimate_of_it_says(raw: dict[str, Any]) -> None:
    scenario, inputs = serving_scenario(raw)
    found = fixes(estimate(scenario))
    assert 1 <= len(found) <= 3
    prices = [one.usd_per_hour for one in found]
    assert prices == sorted(prices)
    for one in found:
        changed = {name: value for name, value in {**inputs, **one.changes}.items() if value is not None}
        again = best(**changed)
        assert again.fits
        assert not list(missed_goals(again))
        assert same(one.best, again)


def test_fewer_requests_are_as_many_as_fit() -> None:
    run = estimate(serving_scenario({"num_gpus": 1, "concurrency": 1000})[0])
    lower = next(one for one in fixes(run, most=10) if "concurrency" in one.changes)
    assert lower.changes["concurrency"] == run.best.max_concurrency
    assert lower.label == f"Lower the concurrency to {run.best.max_concurrency:,}"


def test_what_is_good_needs_no_fix() -> None:
    found = estimate(serving_scenario({"max_tpot_ms": 1000})[0])
    assert is_good(found.best)
    assert fixes(found) == []


def test_a_point_that_means_nothing_has_no_price() -> None:
    assert not Point(label="x", changes={}, best=None, problem="why").runs
    assert Point(label="x", changes={}, best=None, problem="why").usd_per_hour == float("inf")
