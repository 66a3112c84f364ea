"""Poisson arrivals against an independent simulation, step by step, and against the limits that are known by hand."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
import pytest

from app.calculations import estimate, results
from app.calculations.layout_estimate import workload
from app.calculations.open_loop import Curve, arrivals, lattice, poisson, running_chances
from app.calculations.poisson import tail_steps
from app.calculations.queueing import Scheduler, Steps, closed_loop
from app.scenarios import serving_scenario
from tests.calculations.simulation import simulate
from tests.calculations.worlds import scenario

MIXED = Scheduler(prefill_first=0.0, whole_prompts=0.0, gang=3.0, gang_tokens=0.0)
PREFILL_FIRST = replace(MIXED, prefill_first=1.0)


@dataclass(frozen=True, kw_only=True)
class World:
    """A replica: d(n) = base + slope n seconds, what a prompt adds, its time alone, its share of a step."""

    base: float
    slope: float
    added: float
    alone: float
    fill: float
    chunks: int
    places: int
    outputs: int
    requests: int

    @property
    def curve(self) -> Curve:
        running = np.unique(np.geomspace(1, self.places, 12).round())
        return Curve(running=running, decode=self.decode(running), added=np.full(len(running), self.added))

    def decode(self, running):
        return self.base + self.slope * running

    @property
    def steps(self) -> Steps:
        return Steps(
            decode=self.decode(self.places), alone=self.alone, added=self.added, burst=self.added, request=0.0,
            chunks=float(self.chunks), fill=self.fill,
        )  # fmt: skip

    @property
    def most(self) -> float:
        """Of a closed loop with all places taken."""
        return float(
            closed_loop(
                self.steps, MIXED, concurrency=self.places, running=self.places, input_tokens=1000.0,
                output_tokens=float(self.outputs), waves=np.inf, length_spread=1.0,
            ).rate
        )  # fmt: skip

    def found(self, rate, scheduler=MIXED, variation=0.0):
        return arrivals(
            self.curve, self.steps, scheduler, rate=rate, most=self.most, places=self.places,
            tokens=self.outputs - 1.0, variation=variation,
        )  # fmt: skip

    def simulated(self, rate, requests):
        """Seconds to the first token, seconds per later token, and requests finished per second."""
        return simulate(
            decode=self.decode, added=lambda _: self.added, alone=self.alone,
            budget_prompts=1 / self.fill if self.chunks == 1 else 1 / self.chunks,
            places=self.places, rate=rate, outputs=lambda _: self.outputs, requests=requests,
        )  # fmt: skip


WORLDS = {
    "chat": World(
        base=7e-3, slope=3e-5, added=0.012, alone=0.018, fill=0.06, chunks=1, places=256, outputs=200, requests=4000
    ),
    "long prompts": World(
        base=0.012, slope=8e-5, added=0.45, alone=0.47, fill=1.0, chunks=2, places=64, outputs=150, requests=5000
    ),
    "RAG": World(
        base=0.010, slope=5e-5, added=0.15, alone=0.16, fill=0.5, chunks=1, places=128, outputs=100, requests=5000
    ),
    "one token": World(
        base=7e-3, slope=3e-5, added=0.03, alone=0.035, fill=0.1, chunks=1, places=256, outputs=1, requests=10_000
    ),
}
LOADS = (0.3, 0.6, 0.85)


@cache
def both(name, load):
    world = WORLDS[name]
    rate = load * world.most
    return world.found(rate), world.simulated(rate, world.requests)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("name", WORLDS)
def test_means_are_those_of_the_simulation(name, load):
    found, (first, later, _) = both(name, load)
    assert found.ttft.mean == pytest.approx(first.mean(), rel=0.17)
    if WORLDS[name].outputs > 1:
        assert found.tpot.mean == pytest.approx(later.mean(), rel=0.14)


@pytest.mark.parametrize("load", LOADS)
@pytest.mark.parametrize("name", WORLDS)
def test_percentiles_are_those_of_the_simulation(name, load):
    found, (first, later, _) = both(name, load)
    for share, ours in zip((0.5, 0.9, 0.99), (found.ttft.p50, found.ttft.p90, found.ttft.p99), strict=True):
        assert ours == pytest.approx(np.quantile(first, share), rel=0.28), share
    if WORLDS[name].outputs > 1:
        for share, ours in zip((0.5, 0.9, 0.99), (found.tpot.p50, found.tpot.p90, found.tpot.p99), strict=True):
            assert ours == pytest.approx(np.quantile(later, share), rel=0.21), share


@pytest.mark.parametrize("name", WORLDS)
def test_no_more_is_served_than_the_most(name):
    world = WORLDS[name]
    _, _, served = world.simulated(3 * world.most, 3000)
    assert world.most == pytest.approx(served, rel=0.05)
    assert world.found(world.most) is None and world.found(0.999 * world.most) is not None


@pytest.mark.parametrize("name", WORLDS)
@pytest.mark.parametrize("scheduler", [MIXED, PREFILL_FIRST], ids=["mixed", "prefill first"])
def test_a_lone_request_meets_the_bare_server(name, scheduler):
    world = WORLDS[name]
    found = world.found(1e-7, scheduler)
    for seconds in (found.ttft.mean, found.ttft.p50, found.ttft.p99):
        assert seconds == pytest.approx(world.alone, rel=1e-4)
    if world.outputs > 1:
        assert found.tpot.mean == pytest.approx(world.decode(1), rel=1e-4)


@pytest.mark.parametrize("name", WORLDS)
def test_more_arrivals_make_every_time_longer(name):
    world = WORLDS[name]
    found = [world.found(share * world.most) for share in (0.05, 0.2, 0.4, 0.6, 0.8, 0.9)]
    for a, b in itertools.pairwise(found):
        assert a.ttft.mean < b.ttft.mean and a.ttft.p90 < b.ttft.p90 and a.ttft.p99 < b.ttft.p99
        if world.outputs > 1:
            assert a.tpot.mean < b.tpot.mean and a.tpot.p90 < b.tpot.p90
    for one in found:
        for times in filter(None, (one.ttft, one.tpot)):
            assert times.p50 <= times.p90 <= times.p99


def test_prefill_first_gives_the_first_token_sooner():
    world = WORLDS["RAG"]
    assert world.found(0.5 * world.most, PREFILL_FIRST).ttft.mean < world.found(0.5 * world.most).ttft.mean


def test_a_server_whose_steps_never_lengthen_has_poisson_numbers():
    """M/G/infinity: the number present is Poisson with mean rate x time, whatever the lengths."""
    flat = Curve(running=np.array([1.0, 400.0]), decode=np.array([0.01, 0.01]), added=np.zeros(2))
    numbers, chances = running_chances(flat, rate=10.0, places=400, tokens=100.0, behind=0.0)
    mean = numbers @ chances
    assert mean == pytest.approx(10 * 100 * 0.01)
    assert (numbers - mean) ** 2 @ chances == pytest.approx(mean)


def test_the_lattice_covers_evenly_and_inverts_to_poisson_numbers():
    for axis in lattice(8):
        assert axis.mean() == pytest.approx(0.5, abs=1e-3) and np.ptp(axis) > 0.99
    found = poisson(3.0, lattice(2)[1])
    assert found.mean() == pytest.approx(3.0, rel=0.01) and found.var() == pytest.approx(3.0, rel=0.02)


def test_results_tell_percentiles_and_the_most_requests():
    most = results(estimate(scenario(num_gpus=1)))["max_requests_per_s"]["value"]
    found = results(estimate(scenario(num_gpus=1, arrival="open", request_rate=most / 2)))
    assert found["utilization"] == pytest.approx(0.5)
    assert found["ttft_ms_p50"]["value"] < found["ttft_ms"]["value"] < found["ttft_ms_p99"]["value"]
    assert found["tpot_ms_p50"]["value"] <= found["tpot_ms_p90"]["value"] <= found["tpot_ms_p99"]["value"]


def test_too_many_arrivals_are_an_answer_with_no_latency():
    found = results(estimate(scenario(num_gpus=1, arrival="open", request_rate=1e4)))
    assert found["ttft_ms"]["value"] is None and found["ttft_ms_p99"]["value"] is None
    assert found["requests_per_s"]["value"] == found["max_requests_per_s"]["value"] and found["utilization"] > 1
    assert any("grows without end" in text for text in found["warnings"])


def test_memory_holds_what_arrivals_keep_running():
    few, many = (estimate(scenario(num_gpus=1, arrival="open", request_rate=rate)).best for rate in (1.0, 15.0))
    assert few.speed.running < few.resident < many.resident
    assert few.load.kv_cache < many.load.kv_cache


def test_no_more_is_served_than_arrives_and_less_only_where_less_can_be():
    raw = {"model": "meta-llama/Llama-3.1-8B-Instruct", "num_gpus": 1, "arrival": "open"}
    most = results(estimate(serving_scenario(raw | {"request_rate": 1})[0]))["max_requests_per_s"]
    easy, hard = (
        results(estimate(serving_scenario(raw | {"request_rate": rate})[0]))["requests_per_s"]
        for rate in (0.5 * most["low"], 0.9 * most["value"])
    )
    assert easy["value"] == pytest.approx(0.5 * most["low"])
    assert easy["low"] == pytest.approx(0.97 * easy["value"]) and easy["high"] == pytest.approx(1.03 * easy["value"])
    assert hard["high"] == pytest.approx(1.03 * hard["value"]) and hard["low"] == pytest.approx(0.97 * most["low"])


def test_a_finite_run_counts_the_draining_of_its_last_request():
    asked = {"num_gpus": 1, "arrival": "open", "request_rate": 5.0}
    steady, long, short = (estimate(scenario(**asked, run_requests=count)).best.speed for count in (None, 10**6, 100))
    assert long.requests_per_second == pytest.approx(steady.requests_per_second, rel=1e-3)
    tail = tail_steps(workload(scenario(**asked)), short.arrivals.found.running)
    last = short.ttft_seconds + tail * short.tail_step_seconds
    assert short.requests_per_second == pytest.approx(100 / (100 / 5.0 + last))
    assert short.tail_step_seconds < short.tpot_seconds  # Fewer and fewer are left.
