"""A mix of request classes: its text, its means, and what each class sees, against an independent simulation."""

from __future__ import annotations

from dataclasses import replace
from math import inf

import numpy as np
import pytest

from app import catalog
from app.calculations import estimate
from app.calculations.errors import InvalidInput
from app.calculations.layout_estimate import held_tokens
from app.calculations.mix import RequestClass, closed_times, mean, mean_in_flight, mean_steps, read_mix, variation
from app.calculations.open_loop import Curve, Own, arrivals, of_class
from app.calculations.planning.plan import Demand, Goals, search
from app.calculations.planning.sweep import sweep
from app.calculations.queueing import Scheduler, Steps, closed_loop
from tests.calculations.simulation import served
from tests.calculations.worlds import scenario

CHAT_AND_DOCUMENTS = "70% 1024/256, 30% 8192/512"


def classes(text=CHAT_AND_DOCUMENTS):
    return read_mix(text, "request_mix")


def on_one_gpu(text, **changes):
    return scenario(num_gpus=1, tp=1, pp=1, dp=1, **changes).of_mix(classes(text))


# ---- the text


def test_a_class_is_its_share_its_prompt_and_its_output():
    short, long = classes()
    assert (short.share, short.input_tokens, short.output_tokens) == (0.7, 1024, 256)
    assert (long.share, long.input_tokens, long.output_tokens) == (0.3, 8192, 512)


@pytest.mark.parametrize(
    "text", ["30% 8192/512, 70% 1024/256", "35% 1024/256, 30%8192 / 512,35 % 1024/256,", " 70.0% 1024/256,30% 8192/512"]
)
def test_order_repetition_and_spaces_do_not_matter(text):
    assert classes(text) == classes()


def test_thirds_are_shares_of_the_whole():
    assert sum(one.share for one in classes("33.3% 1/1, 33.3% 2/2, 33.3% 3/3")) == pytest.approx(1.0)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("70% 1024/256, 40% 8192/512", "the shares are 110 % in all"),
        ("70% 1024/256", "the shares are 70 % in all"),
        ("70% 1024/256, 30% 8192x512", "class 2, '30% 8192x512'"),
        ("0% 1024/256, 100% 8192/512", "class 1"),
        ("100% 0/256", "class 1"),
        ("100% 100000001/1", "class 1"),
        (", ".join(f"10% {n}/1" for n in range(1, 11)), "10 classes"),
        ("much", "class 1, 'much'"),
    ],
)
def test_what_is_no_mix_names_the_class_and_what_is_allowed(text, said):
    with pytest.raises(InvalidInput, match=said) as refused:
        classes(text)
    assert refused.value.field == "request_mix" and refused.value.allowed


# ---- one class, equal classes


def test_one_class_is_the_question_without_a_mix():
    plain = scenario(input_tokens=1024, output_tokens=256)
    assert scenario().of_mix(classes("100% 1024/256")) == plain
    assert scenario().of_mix(classes("50% 1024/256, 50% 1024/256")) == plain


def test_classes_that_hardly_differ_are_as_one():
    """The formulas of a mix, which the door leaves out for a single class, lead to the same numbers."""
    one, two = on_one_gpu("100% 1024/256"), on_one_gpu("50% 1024/256, 50% 1025/257")
    for arrival, rate in (("closed", None), ("open", 6.0)):
        speeds = [estimate(replace(each, arrival=arrival, request_rate=rate)).best.speed for each in (one, two)]
        for name in ("ttft_seconds", "tpot_seconds", "requests_per_second", "e2e_seconds"):
            assert getattr(speeds[1], name) == pytest.approx(getattr(speeds[0], name), rel=0.005)
        of_classes = speeds[1].arrivals.classes if rate else speeds[1].classes
        for each in of_classes:
            ttft, tpot = (each.ttft.mean, each.tpot.mean) if rate else (each.ttft, each.tpot)
            assert ttft == pytest.approx(speeds[0].ttft_seconds, rel=0.005)
            assert tpot == pytest.approx(speeds[0].tpot_seconds, rel=0.005)


def test_the_estimate_at_a_load_is_the_sweep_at_it():
    best = estimate(on_one_gpu(CHAT_AND_DOCUMENTS)).best
    speeds = sweep(best)
    for place in (0, len(speeds.users) // 2, -1):
        one = estimate(replace(best.scenario, concurrency=int(speeds.users[place]))).best.speed
        assert one.requests_per_second == pytest.approx(speeds.rate[place], rel=1e-6)
        for seen, swept in zip(one.classes, speeds.classes, strict=True):
            assert seen.ttft == pytest.approx(swept.ttft[place], rel=1e-6)
            assert seen.tpot == pytest.approx(swept.tpot[place], rel=1e-6)


# ---- what counts in which mean


def test_in_flight_a_class_counts_as_long_as_it_stays():
    """Half the requests with nine times the steps are nine tenths of those in flight."""
    two = classes("50% 100/10, 50% 100/90")
    assert mean_in_flight(two, float, lambda one: one.output_tokens) == pytest.approx(0.1 * 10 + 0.9 * 90)
    assert mean(two, lambda one: one.output_tokens) == 50


def test_long_prompts_cost_more_than_their_mean():
    """Attention grows with the square of a prompt: the mean of the work is more than the work of the mean."""
    mixed = on_one_gpu("50% 1000/200, 50% 99000/200", model="meta-llama/Llama-3.1-8B-Instruct", gpu="h200-sxm")
    alike = replace(mixed, mix=())
    assert alike.input_tokens == 50_000
    rates = [estimate(replace(one, concurrency=4)).best.speed.requests_per_second for one in (mixed, alike)]
    assert rates[0] < rates[1]


def test_the_longest_class_must_fit_by_itself():
    """The mean of these would fit many times on this GPU, its longest class not once."""
    gpu = {"gpu": "rtx-4090", "weight_precision": "bf16"}
    assert sweep(estimate(on_one_gpu("99% 100/50, 1% 2000/50", **gpu)).best) is not None
    assert sweep(estimate(on_one_gpu("99% 100/50, 1% 120000/50", **gpu)).best) is None


def test_of_those_held_one_is_of_the_longest_class():
    asked = on_one_gpu("50% 100/100, 50% 900/100")
    assert [held_tokens(asked, many) for many in (1, 2, inf)] == [1000, 800, 600]


# ---- what each class sees


def test_the_cycles_of_the_classes_have_the_cycle_as_their_mean():
    two = classes()
    each = [
        Steps(decode=0.02, alone=p, added=p, burst=p, request=0.01, chunks=c, fill=1.0)
        for p, c in ((0.05, 1), (0.4, 4))
    ]
    steps = mean_steps(two, each)
    tokens = float(mean(two, lambda one: one.output_tokens))
    found = closed_loop(
        steps, SCHEDULER, concurrency=32.0, running=32.0, input_tokens=1.0, output_tokens=tokens, waves=inf,
        length_spread=1.0,
    )  # fmt: skip
    times = closed_times(found, steps, each, two, running=32.0, queue=0.0, decode_steps=lambda tokens: tokens - 1.0)
    cycles = [one.ttft + (one.of.output_tokens - 1) * one.tpot for one in times]
    assert sum(one.of.share * cycle for one, cycle in zip(times, cycles, strict=True)) == pytest.approx(found.cycle)
    assert sum(one.of.share * one.ttft for one in times) == pytest.approx(found.ttft)
    assert times[1].ttft > times[0].ttft


SCHEDULER = Scheduler(prefill_first=0.0, whole_prompts=0.0, gang=3.0, gang_tokens=0.0)
#: Share, seconds of a prompt, steps that it is cut into, output tokens.
MIXES = {
    "short chat and documents": ((0.7, 0.025, 1, 256), (0.3, 0.2, 4, 512)),
    "a few long ones": ((0.9, 0.0125, 1, 200), (0.1, 0.1, 2, 100)),
    "short and long answers": ((0.5, 0.025, 1, 50), (0.5, 0.025, 1, 1000)),
}


@pytest.mark.parametrize("load", [0.1, 0.35, 0.6])
@pytest.mark.parametrize("name", MIXES)
def test_classes_under_arrivals_see_what_a_simulation_sees(name, load):
    """Mean TTFT within 20 %, mean TPOT within 6 %."""
    rows, places, budget = MIXES[name], 200, 0.05
    kinds = tuple(
        RequestClass(share=share, input_tokens=round(1e5 * p), output_tokens=tokens) for share, p, _, tokens in rows
    )

    def decode(running):
        return 0.008 + 0.00005 * running

    points = np.unique(np.geomspace(1, places, 12).round())
    curves = [Curve(running=points, decode=decode(points), added=np.full(len(points), p)) for _, p, _, _ in rows]
    added = sum(one.share * curve.added for one, curve in zip(kinds, curves, strict=True))
    each = [
        Steps(decode=decode(places), alone=p, added=p, burst=p, request=0.0, chunks=cut, fill=min(p / budget, 1.0))
        for _, p, cut, _ in rows
    ]
    steps, tokens = mean_steps(kinds, each), float(mean(kinds, lambda one: one.output_tokens))
    full = closed_loop(
        steps, SCHEDULER, concurrency=places, running=places, input_tokens=1.0, output_tokens=tokens, waves=inf,
        length_spread=0.0,
    )  # fmt: skip
    curve, most = replace(curves[0], added=added), float(full.rate)
    found = arrivals(
        curve, steps, SCHEDULER, rate=load * most, most=most, places=places, tokens=tokens - 1,
        variation=variation(kinds, lambda one: one.output_tokens - 1.0),
        prompts=variation(kinds, lambda one: one.input_tokens),
    )  # fmt: skip
    prompt = {one.output_tokens: p / rows[0][1] for one, (_, p, _, _) in zip(kinds, rows, strict=True)}
    done = served(
        decode=decode, added=lambda running: rows[0][1], alone=rows[0][1], budget_prompts=budget / rows[0][1],
        places=places, rate=load * most, requests=6000, prompt=prompt.__getitem__,
        outputs=lambda random: int(random.choice(list(prompt), p=[one.share for one in kinds])),
    )  # fmt: skip
    for one, own, mine in zip(kinds, curves, each, strict=True):
        seen = of_class(curve, steps, Own(curve=own, steps=mine), SCHEDULER, found.found, one.output_tokens - 1.0)
        kept = [(each, end) for each, end in done[1200:-300] if each.outputs == one.output_tokens]
        ttft = np.mean([each.first - each.arrived for each, _ in kept])
        tpot = np.mean([(end - each.first) / (each.outputs - 1) for each, end in kept])
        assert seen.ttft.mean == pytest.approx(ttft, rel=0.2)
        assert seen.tpot.mean == pytest.approx(tpot, rel=0.06)


# ---- plans


def cost(text, statistic="mean", **goals):
    asked = scenario().of_mix(classes(text))
    found = search(
        [catalog.gpu("h100-sxm"), catalog.gpu("l40s")], [asked], most_gpus=2,
        demand=Demand(request_rate=20.0, concurrency=None), goals=Goals(statistic=statistic, **goals),
    )  # fmt: skip
    return found.plans


@pytest.mark.parametrize("statistic", ["mean", "p99"])
def test_a_longer_class_never_costs_less(statistic):
    steps = (
        "100% 1024/256",
        "90% 1024/256, 10% 4096/256",
        "90% 1024/256, 10% 16384/256",
        "70% 1024/256, 30% 16384/512",
    )
    costs = [cost(text, statistic, max_ttft_ms=3000.0, max_tpot_ms=60.0)[0].usd_per_hour for text in steps]
    assert costs == sorted(costs) and costs[-1] > costs[0]


@pytest.mark.parametrize("statistic", ["mean", "p99"])
def test_the_goals_hold_for_every_class(statistic):
    for plan in cost(CHAT_AND_DOCUMENTS, statistic, max_ttft_ms=500.0, max_tpot_ms=25.0):
        assert len(plan.classes) == 2
        assert all(one.ttft_ms <= 500.0 and one.tpot_ms <= 25.0 for one in plan.classes)
        assert plan.ttft_ms == max(one.ttft_ms for one in plan.classes)
