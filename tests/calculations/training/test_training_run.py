"""A run's totals: checkpoints, failures, money, energy, and Chinchilla's rule."""

import math
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import catalog, training_catalog
from app.calculations.training.run import (
    GPU_MTBF_HOURS,
    LEAST_GOODPUT,
    Interruptions,
    best_interval,
    failure_seconds,
    goodput,
    optimal_params,
    optimal_tokens,
    run_totals,
    step_watts,
)
from app.calculations.training.speed import speed
from app.training_scenarios import TRAINING_INPUTS
from tests.calculations.training.settings import setting

CALM = Interruptions(gpu_mtbf_hours=1e12, checkpoint_seconds=0.0, restart_seconds=0.0, interval_seconds=3600.0)


def totals(**changes):
    given = {"tokens": 1e12, "tokens_per_step": 1e6, "step_seconds": 1.0, "num_gpus": 1000, "interruptions": CALM}
    return run_totals(**given | changes)


def test_without_interruptions_time_is_steps_times_step():
    found = totals(price_usd_per_gpu_hour=2.0, watts_per_gpu=700.0, pue=1.2, grams_per_kilowatt_hour=400.0)
    assert found.steps == 1e6
    assert found.days == pytest.approx(1e6 / 86_400)
    assert found.gpu_hours == pytest.approx(1e6 * 1000 / 3600)
    assert found.usd == pytest.approx(found.gpu_hours * 2)
    assert found.megawatt_hours == pytest.approx(found.gpu_hours * 0.7 * 1.2 / 1000)
    assert found.tonnes_co2 == pytest.approx(found.megawatt_hours * 0.4)
    assert found.goodput == pytest.approx(1.0)


def test_what_is_not_known_stays_unknown():
    found = totals()
    assert (found.usd, found.megawatt_hours, found.tonnes_co2) == (None, None, None)


def test_llama_3_saw_an_interruption_every_three_hours():
    """419 unexpected interruptions in 54 days on 16,384 GPUs: arXiv:2407.21783, section 3.3.4."""
    assert failure_seconds(GPU_MTBF_HOURS, 16_384) / 3600 == pytest.approx(54 * 24 / 419)


def test_young_interval_loses_least():
    mtbf, checkpoint = 10_000.0, 20.0
    best = best_interval(checkpoint, mtbf)
    assert best == pytest.approx(math.sqrt(2 * 20 * 10_000) - 20)
    share = goodput(best, checkpoint, 0.0, mtbf)
    assert share > goodput(best / 2, checkpoint, 0.0, mtbf)
    assert share > goodput(best * 2, checkpoint, 0.0, mtbf)


def test_goodput_falls_with_failures_checkpoints_and_restarts():
    base = goodput(600, 30, 600, 1e5)
    assert 0 < goodput(600, 30, 600, 1e4) < base < goodput(600, 30, 600, 1e7) < 1
    assert goodput(600, 60, 600, 1e5) < base
    assert goodput(600, 30, 1200, 1e5) < base
    assert goodput(600, 30, 0, 1e12) == pytest.approx(600 / 630)


def test_more_gpus_fail_more_often():
    few, many = (totals(num_gpus=n, interruptions=Interruptions()) for n in (1000, 16_000))
    assert many.goodput < few.goodput
    assert many.failures > few.failures


def test_a_busy_gpu_draws_nearly_its_board_power():
    power = catalog.hardware().power

    def watts(**changes):
        one = setting(**changes)
        found = speed(one, training_catalog.efficiency(), {})
        return step_watts(found.time, found.hfu.value, one.gpu, power)

    assert 500 < watts() <= 700
    assert watts(num_gpus=64, pp=8, global_batch_size=8) < watts()


def test_chinchilla_trains_70b_on_1_4_trillion_tokens():
    """Hoffmann et al., arXiv:2203.15556: Chinchilla has 70 B parameters, 1.4 T tokens, 5.76e23 FLOPs."""
    assert optimal_tokens(70e9) == 1.4e12
    assert optimal_params(5.76e23) == pytest.approx(70e9, rel=0.02)


def test_a_failure_every_second_leaves_no_progress_and_totals_without_a_value():
    """4,096 GPUs that fail every hour, an hour to restart: exp(R / M) is exp(4,096), more than a float holds."""
    stalled = Interruptions(gpu_mtbf_hours=1.0, restart_seconds=3600.0)
    found = totals(num_gpus=4096, interruptions=stalled, price_usd_per_gpu_hour=2.0, watts_per_gpu=700.0)
    assert found.steps == 1e6
    assert found.goodput == 0.0
    assert {found.days, found.gpu_hours, found.failures, found.usd, found.megawatt_hours} == {None}


def test_a_run_makes_progress_down_to_a_thousandth_of_the_time():
    """With R alone goodput is about exp(-R / M): 6.8 M leave 0.11 %, 7 M leave 0.09 %."""
    mtbf = failure_seconds(1000.0, 1000)
    for restarts, makes_progress in ((6.8, True), (7.0, False)):
        one = Interruptions(gpu_mtbf_hours=1000.0, checkpoint_seconds=0.0, restart_seconds=restarts * mtbf)
        found = totals(interruptions=one)
        assert (found.goodput >= LEAST_GOODPUT) is makes_progress
        assert (found.days is not None) is makes_progress


def within(name):
    one = TRAINING_INPUTS[name]
    return st.sampled_from([one.minimum, one.maximum]) | st.floats(one.minimum, one.maximum)


@given(st.data())
def test_every_total_within_the_declared_ranges_is_a_number_or_none(data):
    interval = data.draw(st.none() | within("checkpoint_interval_minutes"))
    found = totals(
        tokens=data.draw(within("tokens")),
        num_gpus=int(data.draw(within("num_gpus"))),
        interruptions=Interruptions(
            gpu_mtbf_hours=data.draw(within("gpu_mtbf_hours")),
            checkpoint_seconds=data.draw(within("checkpoint_seconds")),
            restart_seconds=60 * data.draw(within("restart_minutes")),
            interval_seconds=None if interval is None else 60 * interval,
        ),
        price_usd_per_gpu_hour=data.draw(within("price_usd_per_gpu_hour")),
        watts_per_gpu=700.0,
        grams_per_kilowatt_hour=400.0,
    )
    assert 0 <= found.goodput <= 1
    values = [getattr(found, one.name) for one in fields(found)]
    assert all(value is None or math.isfinite(value) for value in values)
