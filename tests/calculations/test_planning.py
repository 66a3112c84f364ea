"""The search of a planner: it agrees with the estimate, with brute force, and with what must be true of any search."""

from __future__ import annotations

from dataclasses import replace
from math import ceil, inf

import pytest

from app import catalog
from app.calculations import estimate
from app.calculations.layout_estimate import of_layout
from app.calculations.mix import RequestClass
from app.calculations.parallelism import Layout
from app.calculations.planning import sweep as module
from app.calculations.planning.plan import Demand, Goals, chance, cheapest, replicas_of, search, weigh
from app.calculations.planning.sweep import sweep, sweeps, timed
from app.calculations.uncertainty import Spread
from tests.calculations.worlds import scenario

GPUS = [catalog.gpu(name) for name in ("h100-sxm", "l40s", "a100-sxm-80gb")]
LOAD = Demand(request_rate=20.0, concurrency=None)
GOALS = Goals(max_ttft_ms=1000.0, max_tpot_ms=50.0)


def found(goals=GOALS, demand=LOAD, gpus=GPUS, **changes):
    asked = scenario(**changes)
    return search(gpus, [asked], demand=demand, goals=goals, most_gpus=4)


def cost(plan):
    return inf if plan.usd_per_hour is None else plan.usd_per_hour


def test_the_speeds_of_a_sweep_are_those_of_estimates_one_by_one():
    best = estimate(scenario(num_gpus=2, tp=2, pp=1, dp=1)).best
    speeds = sweep(best)
    for place in (0, len(speeds.users) // 2, len(speeds.users) - 1):
        users = int(speeds.users[place])
        one = estimate(scenario(num_gpus=2, tp=2, pp=1, dp=1, concurrency=users)).best.speed
        assert speeds.ttft[place] == pytest.approx(one.ttft_seconds, rel=1e-6)
        assert speeds.tpot[place] == pytest.approx(one.tpot_seconds, rel=1e-6)
        assert speeds.rate[place] == pytest.approx(one.requests_per_second, rel=1e-6)


def test_a_plan_at_a_point_of_inferencex_is_its_estimate():
    """Llama 3.1 8B, TensorRT-LLM, one H100, 1,024 and 128 tokens, 8 requests in flight (InferenceX)."""
    point = {"input_tokens": 1024, "output_tokens": 128, "num_gpus": 1, "tp": 1, "engine": "trtllm"}
    one = estimate(scenario(**point, concurrency=8)).best.speed
    (weighed,) = weigh([scenario(**point)])
    demand = Demand(request_rate=None, concurrency=8.0)
    goals = Goals(max_tpot_ms=1000 * one.tpot_seconds * (1 + 1e-9))
    plan = cheapest(weighed, demand, goals)
    assert (plan.replicas, plan.users) == (1, 8)
    assert plan.ttft_ms == pytest.approx(1000 * one.ttft_seconds, rel=1e-6)
    assert plan.tpot_ms == pytest.approx(1000 * one.tpot_seconds, rel=1e-6)
    assert plan.requests_per_second == pytest.approx(one.requests_per_second, rel=1e-6)


MIXED = (
    RequestClass(share=0.7, input_tokens=512, output_tokens=128),
    RequestClass(share=0.3, input_tokens=4096, output_tokens=512),
)


@pytest.mark.parametrize("classes", [(), MIXED], ids=["alike", "mix"])
def test_layouts_that_are_timed_together_have_the_speeds_that_each_has_alone(classes):
    """Every accelerator of the catalogue on 1, 2 and 8 GPUs: one call, or one each."""
    asked = scenario().of_mix(classes) if classes else scenario()
    sizes = ({"num_gpus": 1, "tp": 1}, {"num_gpus": 2, "tp": 2}, {"num_gpus": 8, "tp": 4, "pp": 2})
    layouts = [
        of_layout(one, Layout(tp=size["tp"], pp=size.get("pp", 1)))
        for gpu in catalog.gpus().values()
        for size in sizes
        for one in [replace(asked, gpu=gpu, concurrency=1, **size)]
    ]
    layouts = [one for one in layouts if one.fits]
    together = sweeps(layouts)
    assert len(layouts) > 80
    for one, speeds in zip(layouts, together, strict=True):
        alone = sweep(one)
        for name in ("users", "ttft", "tpot", "rate"):
            assert getattr(speeds, name) == pytest.approx(getattr(alone, name), rel=1e-12)
        assert [c.of for c in speeds.classes] == [c.of for c in alone.classes] == list(classes)
        for both in zip(speeds.classes, alone.classes, strict=True):
            assert both[0].ttft == pytest.approx(both[1].ttft, rel=1e-12)


def test_few_calls_time_all_accelerators(monkeypatch):
    """Those of one generation, links and layout go together."""
    groups = []
    monkeypatch.setattr(module, "timed", lambda group: (groups.append(len(group)), timed(group))[1])
    weigh(replicas_of(scenario(), list(catalog.gpus().values()), 8))
    assert sum(groups) > 2 * len(groups)


def test_brute_force_over_every_point_finds_the_same_winner():
    plans = found().plans
    candidates = weigh(
        replace(scenario(), gpu=gpu, num_gpus=size, tp=size, pp=1, dp=1) for gpu in GPUS for size in (1, 2, 4)
    )
    cheapest = inf
    for one in candidates:
        for ttft, tpot, rate in zip(one.speeds.ttft, one.speeds.tpot, one.speeds.rate, strict=True):
            if ttft * 1000 <= GOALS.max_ttft_ms and tpot * 1000 <= GOALS.max_tpot_ms:
                gpus = ceil(LOAD.request_rate / rate - 1e-9) * one.best.num_gpus
                cheapest = min(cheapest, gpus * one.price_usd_per_gpu_hour)
    assert cost(plans[0]) == pytest.approx(cheapest)
    assert [cost(one) for one in plans] == sorted(cost(one) for one in plans)


def test_every_plan_meets_every_goal_and_carries_the_load():
    for plan in found().plans:
        assert plan.ttft_ms <= GOALS.max_ttft_ms and plan.tpot_ms <= GOALS.max_tpot_ms
        assert plan.requests_per_second >= LOAD.request_rate * (1 - 1e-9)


def test_a_looser_goal_never_costs_more_and_a_larger_load_never_less():
    costs = [cost(found(Goals(max_ttft_ms=1000.0, max_tpot_ms=tpot)).plans[0]) for tpot in (15.0, 20.0, 30.0, 60.0)]
    assert costs == sorted(costs, reverse=True)
    costs = [cost(found(demand=replace(LOAD, request_rate=rate)).plans[0]) for rate in (1.0, 10.0, 100.0)]
    assert costs == sorted(costs)


def test_more_bandwidth_is_never_slower():
    slow = catalog.gpu("h100-sxm")
    fast = replace(slow, memory_bandwidth_bytes_per_second=2 * slow.memory_bandwidth_bytes_per_second)
    plans = [found(gpus=[gpu]).plans[0] for gpu in (slow, fast)]
    assert cost(plans[1]) <= cost(plans[0])


@pytest.mark.parametrize(("statistic", "verified"), [("mean", 0), ("p99", 1)])
def test_who_watches_is_told_of_every_part_in_order(statistic, verified):
    told = []
    options = [scenario(weight_precision=one) for one in ("bf16", "fp8", "int8")]
    search(
        GPUS, options, demand=LOAD, goals=Goals(statistic=statistic), most_gpus=1,
        watch=lambda done, of: told.append((done, of)),
    )  # fmt: skip
    done, of = zip(*told, strict=True)
    assert list(done) == list(range(len(done))) and done[-1] >= len(options) - 1 + verified
    assert len(set(of)) == 1 and done[-1] < of[0]


def test_spare_replicas_are_bought_on_top():
    plain, spare = found().plans[0], found(demand=replace(LOAD, spare_replicas=1)).plans
    same = next(one for one in spare if one.candidate.best.layout == plain.candidate.best.layout
                and one.candidate.gpu == plain.candidate.gpu)  # fmt: skip
    assert (same.replicas, same.needed) == (plain.replicas + 1, plain.needed)


def test_what_does_not_fit_is_told_from_what_is_too_slow():
    small = found(gpus=[catalog.gpu("t4")], model="meta-llama/Llama-3.1-70B-Instruct")
    assert small.plans == () and small.too_small == ("t4",) and small.candidates == 0
    slow = found(Goals(max_tpot_ms=0.1))
    assert slow.plans == () and slow.too_small == () and slow.excluded["max_tpot_ms"] == slow.candidates
    assert slow.closest and slow.relaxed["max_tpot_ms"].tpot_ms > 0.1


def test_a_budget_leaves_out_what_has_no_price():
    gpu = replace(catalog.gpu("h100-sxm"), slug="free", price_usd_per_hour=None)
    assert found(gpus=[gpu]).plans[0].usd_per_hour is None
    assert found(Goals(budget_usd_per_hour=1000.0), gpus=[gpu]).plans == ()


def test_percentiles_need_no_fewer_replicas_than_means():
    tight = Goals(max_ttft_ms=120.0, max_tpot_ms=20.0)
    mean, p99 = (found(replace(tight, statistic=name), gpus=GPUS[:1]).plans[0] for name in ("mean", "p99"))
    assert p99.num_gpus >= mean.num_gpus
    assert p99.ttft_ms <= 120.0 and p99.tpot_ms <= 20.0


def test_the_chance_that_a_goal_holds_is_that_of_the_range():
    spread = Spread(low=0.8, high=1.25, rows=9, groups=9)
    assert chance(100.0, spread, 100.0) == pytest.approx(0.5)
    assert chance(100.0, spread, 125.0) == pytest.approx(0.9, abs=1e-3)
    assert chance(100.0, spread, 80.0) == pytest.approx(0.1, abs=1e-3)
    assert chance(100.0, None, 80.0) is None
