"""From steps to latency under load: work conservation, Little's law, and limits known by hand."""

import dataclasses
from math import inf

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calculations.queueing import Scheduler, Steps, closed_loop, static_batch, together

STEPS = Steps(decode=0.01, alone=0.05, added=0.04, burst=0.03, request=0.002, chunks=1.0, fill=0.25, drain=0.01)
MIXED = Scheduler(prefill_first=0.0, whole_prompts=0.0, gang=3.0, gang_tokens=0.0)
PREFILL_FIRST = dataclasses.replace(MIXED, prefill_first=1.0)
WHOLE = dataclasses.replace(MIXED, whole_prompts=1.0, gang_tokens=48_000.0)
SCHEDULERS = st.sampled_from([MIXED, PREFILL_FIRST, WHOLE])


#: A batch of which all fits.
WHOLE_BATCH = {"output_tokens": 201.0, "decode_steps": 200.0, "recomputed": 0.0}


def closed(steps=STEPS, scheduler=MIXED, **changes):
    asked = {"concurrency": 16.0, "running": 16.0, "input_tokens": 1000.0, "output_tokens": 201.0, "waves": inf}
    return closed_loop(steps, scheduler, **{"length_spread": 1.0, **asked, **changes})


SECONDS = st.floats(1e-5, 1.0)
RANDOM_STEPS = st.builds(
    Steps, decode=SECONDS, alone=SECONDS, added=SECONDS, burst=SECONDS, request=SECONDS,
    chunks=st.integers(1, 20).map(float), fill=st.floats(0.01, 1.0),
)  # fmt: skip


def test_the_cycle_is_all_decode_steps_and_everybodys_prefill():
    assert closed().cycle == pytest.approx(0.002 + 200 * 0.01 + 0.05 + 15 * 0.04)


@given(
    steps=RANDOM_STEPS, scheduler=SCHEDULERS, running=st.integers(1, 500), tokens=st.integers(1, 2000),
    spread=st.floats(0, 1),
)  # fmt: skip
def test_work_is_conserved(steps, scheduler, running, tokens, spread):
    """T + (L - 1) s = cycle; a token cannot come faster than a decode step, so only there may the sum be more."""
    found = closed(steps, scheduler, concurrency=float(running), running=float(running),
                   output_tokens=tokens + 1.0, length_spread=spread)  # fmt: skip
    whole = found.ttft + tokens * found.tpot
    assert found.tpot >= steps.decode
    assert whole >= found.cycle * (1 - 1e-9)
    if found.tpot > steps.decode:
        assert whole == pytest.approx(found.cycle)


@given(running=st.integers(1, 200), waiting=st.integers(1, 1000))
def test_beyond_what_runs_at_once_littles_law_holds(running, waiting):
    found = closed(running=float(running), concurrency=float(running + waiting))
    inside = closed(running=float(running), concurrency=float(running))
    assert found.rate * (found.ttft + 200 * found.tpot) == pytest.approx(running + waiting)
    assert (found.rate, found.tpot) == (inside.rate, inside.tpot)


@given(running=st.integers(1, 500), more=st.integers(1, 100))
def test_more_requests_never_lower_the_rate_nor_shorten_the_cycle(running, more):
    few, many = closed(running=float(running)), closed(running=float(running + more))
    assert many.rate >= few.rate * (1 - 1e-12) and many.cycle >= few.cycle


def test_one_request_alone_waits_for_nobody():
    found = closed(concurrency=1.0, running=1.0)
    assert found.ttft == pytest.approx(0.002 + 0.05) and found.tpot == pytest.approx(0.01)


def test_equal_requests_of_a_settled_loop_wait_for_their_gang():
    assert closed(length_spread=0.0).steady == pytest.approx(0.002 + 0.05 + 0.01 + 2 * 0.04)


def test_where_prefill_goes_first_a_wave_waits_for_half_of_the_others_and_tokens_come_faster():
    first = closed(scheduler=PREFILL_FIRST, length_spread=0.0)
    assert first.steady == pytest.approx(0.002 + 0.05 + 0.01 + 7.5 * 0.04)
    assert first.tpot < closed(length_spread=0.0).tpot


def test_whole_prompts_of_a_step_wait_for_what_it_takes():
    # 1.2 x half of the others, or 0.8 x 48,000 / 1000 prompts and a tenth of half of the others: the smaller.
    assert closed(scheduler=WHOLE, length_spread=0.0).steady == pytest.approx(0.002 + 0.05 + 0.01 + 9 * 0.04)
    long = closed(scheduler=WHOLE, length_spread=0.0, input_tokens=38_400.0)
    assert long.steady == pytest.approx(0.002 + 0.05 + 0.01 + (1 + 0.75) * 0.04)


def test_the_first_wave_starts_at_once_and_fades_with_the_waves():
    burst = 0.002 + 0.05 + 7.5 * 0.03 + 7.5 * 0.25 * 0.01 / 2
    steady = closed().ttft
    assert closed(waves=1.0).ttft == pytest.approx(burst)
    assert closed(waves=4.0).ttft == pytest.approx(burst / 4 + steady * 3 / 4)
    assert closed(waves=1e12).ttft == pytest.approx(steady)
    assert closed(waves=4.0).steady == steady


def test_a_static_batch_prefills_all_and_then_decodes():
    found = static_batch(STEPS, concurrency=16.0, admitted=16.0, **WHOLE_BATCH)
    assert found.ttft == pytest.approx(0.002 + 0.05 + 15 * 0.03)
    assert found.tpot == 0.01
    assert found.cycle == pytest.approx(found.ttft + 200 * 0.01)
    assert found.rate == pytest.approx(16 / found.cycle)


def test_a_static_batch_that_does_not_fit_decodes_in_rounds():
    whole = static_batch(STEPS, concurrency=32.0, admitted=32.0, **WHOLE_BATCH)
    halves = static_batch(STEPS, concurrency=32.0, admitted=16.0, **WHOLE_BATCH | {"decode_steps": 400.0})
    assert halves.cycle - whole.cycle == pytest.approx(200 * 0.01)
    # Half of the requests wait for half of the whole.
    assert halves.ttft == pytest.approx(0.002 + 0.05 + 15 * 0.03 + halves.cycle / 4)
    again = static_batch(STEPS, concurrency=32.0, admitted=32.0, **WHOLE_BATCH | {"recomputed": 5.0})
    assert again.cycle - whole.cycle == pytest.approx(5 * 0.03) and again.ttft == whole.ttft


def test_all_at_once_takes_as_long_as_the_batch_and_waits_for_half_of_the_prompts():
    batch = static_batch(STEPS, concurrency=32.0, admitted=32.0, **WHOLE_BATCH)
    found = together(STEPS, concurrency=32.0, admitted=32.0, kept=32.0, **WHOLE_BATCH)
    assert found.cycle == pytest.approx(batch.cycle) and found.rate == pytest.approx(batch.rate)
    assert found.ttft == pytest.approx(0.002 + 0.05 + 31 / 2 * 0.03)
    assert found.ttft + 200 * found.tpot == pytest.approx(found.cycle)  # Equal lengths end together.


def test_half_of_those_at_once_start_when_the_others_have_ended():
    found = together(STEPS, concurrency=32.0, admitted=16.0, kept=16.0, **WHOLE_BATCH | {"decode_steps": 400.0})
    first = 0.002 + 0.05 + 15 / 2 * 0.03
    assert found.ttft == pytest.approx(0.052 + (first - 0.052) / 2 + found.cycle / 4)


def test_requests_that_are_put_back_wait_in_the_middle_of_their_answer():
    kept = together(STEPS, concurrency=32.0, admitted=32.0, kept=32.0, **WHOLE_BATCH)
    back = together(
        STEPS, concurrency=32.0, admitted=32.0, kept=16.0, **WHOLE_BATCH | {"decode_steps": 300.0, "recomputed": 8.0}
    )
    assert back.ttft == kept.ttft and back.tpot > kept.tpot and back.rate < kept.rate


def test_more_chunks_delay_the_first_token():
    chunked = dataclasses.replace(STEPS, chunks=8.0)
    assert closed(chunked).ttft > closed().ttft


COUNTS = numpy.array([1.0, 2.0, 16.0, 300.0])


@pytest.mark.parametrize("scheduler", [MIXED, PREFILL_FIRST, WHOLE], ids=["mixed", "prefill first", "whole"])
@pytest.mark.parametrize("spread", [0.0, 0.1, 1.0])
def test_a_sweep_over_a_closed_loop_gives_the_numbers_one_by_one(scheduler, spread):
    rows = {"concurrency": 2 * COUNTS, "running": COUNTS, "output_tokens": COUNTS[::-1] * 1.0, "waves": COUNTS * 2}
    together = closed(scheduler=scheduler, length_spread=spread, **rows)
    for index in range(len(COUNTS)):
        alone = closed(scheduler=scheduler, length_spread=spread, **{k: float(v[index]) for k, v in rows.items()})
        for name in ("ttft", "steady", "tpot", "cycle", "rate", "prefill_share"):
            assert getattr(together, name)[index] == pytest.approx(getattr(alone, name)), name


def test_a_sweep_over_batches_gives_the_numbers_one_by_one():
    batches = static_batch(STEPS, concurrency=COUNTS, admitted=COUNTS, **WHOLE_BATCH)
    for index, count in enumerate(COUNTS):
        one = static_batch(STEPS, concurrency=float(count), admitted=float(count), **WHOLE_BATCH)
        assert batches.ttft[index] == pytest.approx(one.ttft) and batches.rate[index] == pytest.approx(one.rate)
