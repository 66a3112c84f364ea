"""A batch that starts together, against closed cases and a simulation of an engine that puts requests back."""

from __future__ import annotations

import numpy as np
import pytest

from app.calculations.layout_estimate import estimate
from app.calculations.lengths import expected_longest, longest_of
from app.calculations.rundown import rundown
from tests.calculations.worlds import scenario

PROMPT = 128.0


def room_for(tokens_in_cache: float):
    return lambda tokens: float(int(tokens_in_cache // tokens))


def test_where_all_fit_every_step_holds_all():
    found = rundown(64, room_for(1e9), prompt=PROMPT, steps=1000, spread=0, reserves=False)
    assert (found.steps, found.mean, found.seen) == (1000, 64, 64)
    assert (found.admitted, found.kept, found.recomputed) == (64, 64, 0)


def test_an_engine_that_reserves_runs_whole_waves():
    found = rundown(100, lambda tokens: 40.0, prompt=PROMPT, steps=1000, spread=0, reserves=True)
    assert found.steps == 3 * 1000 and found.recomputed == 0
    assert found.mean == pytest.approx(100 / 3)
    assert found.seen == pytest.approx((40 * 40 * 1000 + 60 * 30 * 1000) / (100 * 1000))  # 40, then 60 in two waves


@pytest.mark.parametrize("requests", [60, 100, 130])
def test_an_engine_that_puts_requests_back_is_as_simulated(requests):
    cache, steps = 60_000.0, 1000
    simulated, again = put_back(requests, cache, int(PROMPT), steps)
    found = rundown(requests, room_for(cache), prompt=PROMPT, steps=steps, spread=0, reserves=False)
    assert found.steps == pytest.approx(simulated, rel=0.05)
    assert found.recomputed * PROMPT == pytest.approx(again, rel=0.15, abs=1)


def put_back(requests: int, cache: float, prompt: int, steps: int) -> tuple[int, int]:
    """Steps until the last token and tokens computed again: the last to come are put back, and first to return."""
    waiting, running = [0] * requests, []
    count = again = 0
    while waiting or running:
        while waiting and sum(running) + prompt * len(running) + waiting[-1] + prompt <= cache:
            made = waiting.pop()
            again += made + prompt if made else 0
            running.append(made)
        while sum(running) + (prompt + 1) * len(running) > cache:
            waiting.append(running.pop())
        running = [made + 1 for made in running if made + 1 < steps]
        count += 1
    return count, again


@pytest.mark.parametrize("spread", [0.0, 0.3, 1.0])
@pytest.mark.parametrize("requests", [1, 7, 64, 200])
def test_every_token_is_made_once(requests, spread):
    found = rundown(requests, room_for(50_000), prompt=PROMPT, steps=500, spread=spread, reserves=False)
    assert found.mean * found.steps == pytest.approx(requests * 500)
    assert found.mean <= found.seen * (1 + 1e-9)
    assert found.kept <= found.admitted <= requests


def test_the_longest_of_exponential_lengths_is_the_harmonic_number():
    for count in (1, 2, 5, 50):
        exact = 200 * sum(1 / k for k in range(1, count + 1))
        assert longest_of(200, 1.0, count) == pytest.approx(exact, rel=0.02)
    drawn = np.random.default_rng(1).exponential(200, (4000, 50)).max(axis=1).mean()
    assert longest_of(200, 1.0, 50) == pytest.approx(drawn, rel=0.02)
    assert longest_of(200, 0.5, 50) == expected_longest(200, 0.5, 50)


def test_one_output_token_needs_no_decode_step():
    assert rundown(64, room_for(1e9), prompt=PROMPT, steps=0, spread=0, reserves=False).steps == 0


def burst(**changes):
    return estimate(scenario(**({"arrival": "burst", "num_gpus": 1, "length_spread": 0.0} | changes))).best.speed


def test_all_at_once_is_a_batch_whose_first_tokens_do_not_wait_for_each_other():
    together, batch = burst(concurrency=32), burst(concurrency=32, arrival="static")
    assert together.requests_per_second == pytest.approx(batch.requests_per_second)
    assert together.ttft_seconds < batch.ttft_seconds
    assert together.tpot_seconds > batch.tpot_seconds  # Decoding stands still while others are prefilled.
    assert together.e2e_seconds <= 32 / together.requests_per_second * (1 + 1e-9)


def test_answers_that_differ_in_length_leave_the_server_half_empty_at_the_end():
    equal, chat = burst(concurrency=32), burst(concurrency=32, length_spread=1.0)
    assert chat.requests_per_second < equal.requests_per_second
    assert chat.planned.decoding < 32 == equal.planned.decoding
