"""Limits that hold whatever the queue: no token waits longer than a full step, Little's law, rounds of a batch."""

from __future__ import annotations

from collections import deque
from statistics import fmean

import pytest

from app.calculations import estimate, results
from app.calculations.errors import InvalidInput
from app.scenarios import serving_scenario

ONE = {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm", "num_gpus": 1}


def best(**changes):
    return estimate(serving_scenario(ONE | changes)[0]).best


def speed(**changes):
    return best(**changes).speed


def simulated(steps, requests, prompt, output, budget=8192):
    """Mean seconds to the first token and per later one of a closed loop, step by step: first come, first served,
    decoding first, prompts cut to the tokens that a step has left."""
    waiting = deque((prompt, 0.0) for _ in range(requests))
    decoding, firsts, laters, now = [], [], [], 0.0
    while len(firsts) < 12 * requests:
        room, took, started = budget - len(decoding), 0, []
        while waiting and room > 0:
            left, since = waiting.popleft()
            part = min(left, room)
            room, took = room - part, took + part
            if part < left:
                waiting.appendleft((left - part, since))
            else:
                started.append(since)
        now += steps.decode + steps.added * took / prompt
        decoding = [(left - 1, first) for left, first in decoding]
        laters += [(now - first) / (output - 1) for left, first in decoding if left == 0]
        waiting.extend((prompt, now) for left, _ in decoding if left == 0)
        decoding = [one for one in decoding if one[0] > 0] + [(output - 1, now) for _ in started]
        firsts += [now - since for since in started]
    return fmean(firsts[4 * requests :]), fmean(laters[2 * requests :])


@pytest.mark.parametrize(
    ("input_tokens", "output_tokens", "concurrency"),
    [(1024, 2, 256), (1024, 8, 256), (1024, 16, 256), (8192, 16, 32), (16_384, 4, 8)],
)
def test_short_answers_wait_for_their_prompt_not_for_their_tokens(input_tokens, output_tokens, concurrency):
    found = speed(input_tokens=input_tokens, output_tokens=output_tokens, concurrency=concurrency)
    ttft, tpot = simulated(found.steps, concurrency, input_tokens, output_tokens)
    assert found.tpot_seconds == pytest.approx(tpot, rel=0.1)
    assert found.ttft_seconds == pytest.approx(ttft, rel=0.15)


@pytest.mark.parametrize("output_tokens", [1, 2, 3, 16, 256])
@pytest.mark.parametrize("concurrency", [1, 3, 16, 64, 256])
@pytest.mark.parametrize("engine", ["vllm", "sglang", "trtllm", "vllm-v0"])
def test_littles_law_holds_in_a_closed_loop(engine, output_tokens, concurrency):
    found = speed(engine=engine, output_tokens=output_tokens, concurrency=concurrency, input_tokens=1024)
    in_flight = found.requests_per_second * found.e2e_seconds
    assert in_flight == pytest.approx(found.running, rel=0.01)


@pytest.mark.parametrize("engine", ["vllm", "trtllm"])
@pytest.mark.parametrize("input_tokens", [128, 1024, 8192, 60_000])
def test_no_token_waits_longer_than_a_full_step(engine, input_tokens):
    found = speed(engine=engine, input_tokens=input_tokens, output_tokens=2, concurrency=64)
    steps = found.steps
    full = steps.decode + steps.added / steps.fill / steps.chunks
    assert steps.decode <= found.tpot_seconds <= full * 1.001


def test_nor_does_it_under_arrivals():
    found = speed(arrival="open", request_rate=37.6, output_tokens=2)
    assert found.tpot_seconds < 0.3
    assert found.tpot_seconds < found.ttft_seconds


def test_arrivals_of_one_token_have_a_first_and_no_later_one():
    found = results(estimate(serving_scenario(ONE | {"arrival": "open", "request_rate": 1, "output_tokens": 1})[0]))
    assert found["ttft_ms"]["value"] > 0 and found["tpot_ms"]["value"] is None


def test_a_run_of_few_requests_is_no_slower_than_an_endless_one():
    endless = speed(arrival="open", request_rate=10).ttft_seconds
    for requests in (1, 10, 28, 40, 1000):
        assert speed(arrival="open", request_rate=10, run_requests=requests).ttft_seconds == pytest.approx(endless)


def test_requests_beyond_a_batch_wait_for_half_of_the_whole():
    all_at_once = speed(arrival="static", concurrency=32)
    rounds = speed(arrival="static", concurrency=32, max_sequences=4)
    whole = 32 / rounds.requests_per_second
    assert rounds.ttft_seconds == pytest.approx(7 / 8 * whole / 2, rel=0.1)
    assert rounds.ttft_seconds > 3 * all_at_once.ttft_seconds


@pytest.mark.parametrize("engine", ["hf", "autoawq", "trtllm-static", "optimum-habana"])
def test_a_saturated_engine_of_batches_runs_the_largest_that_fits(engine):
    gpu = "gaudi2" if engine == "optimum-habana" else "h100-sxm"
    found = best(engine=engine, gpu=gpu, concurrency="saturated")
    asked = found.scenario.concurrency
    assert found.fits and found.speed is not None and asked > 16
    assert not best(engine=engine, gpu=gpu, concurrency=asked + 1).fits


@pytest.mark.parametrize("kv_precision", ["fp8", "int8"])
@pytest.mark.parametrize("gpu", ["apple-m3-ultra", "mi250", "tpu-v6e"])
def test_a_narrow_cache_on_a_gpu_without_such_units_is_multiplied_in_16_bits(gpu, kv_precision):
    assert speed(gpu=gpu, engine="trtllm", kv_precision=kv_precision, model="Qwen/Qwen1.5-14B") is not None


def test_a_gpu_too_small_for_its_own_driver_does_not_fit():
    found = results(estimate(serving_scenario({"gpu": "custom", "gpu_memory_gib": 0.25, "num_gpus": 1})[0]))
    assert not found["fits"] and found["verdict"].startswith("Does not fit")


@pytest.mark.parametrize(
    ("name", "engine"),
    [
        ("vllm 0.6.3", "vllm-v0"), ("vllm-0.12.3", "vllm-0.11"), ("vLLM v0.9.0.1", "vllm-v1"), ("vllm==0.15", "vllm"),
        ("vllm 7.0", "vllm"), ("sglang 0.4", "sglang"), ("TensorRT-LLM 0.12", "trtllm-0"), ("trtllm 0.12", "trtllm-0"),
        ("other", "other"),
    ],
)  # fmt: skip
def test_an_engine_with_a_version_is_that_of_its_time(name, engine):
    assert best(engine=name).scenario.engine.name == engine


def test_an_unknown_engine_is_refused_and_names_the_one_for_it():
    with pytest.raises(InvalidInput, match="not listed: other"):
        best(engine="foo")


def test_an_engine_that_is_not_listed_has_the_widest_range():
    def width(engine):
        found = results(estimate(serving_scenario(ONE | {"engine": engine})[0]))["output_tokens_per_s"]
        return found["high"] / found["low"]

    assert width("other") > width("vllm-0.11")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"request_rate": 5}, "request_rate"),
        ({"run_requests": 100}, "run_requests"),
        ({"engine": "hf", "arrival": "open", "request_rate": 2}, "arrival"),
    ],
    ids=str,
)
def test_arrivals_that_would_not_count_are_refused(changes, field):
    with pytest.raises(InvalidInput) as refused:
        best(**changes)
    assert refused.value.field == field


@pytest.mark.parametrize(
    "changes",
    [
        {"waves": 3, "arrival": "static"}, {"acceptance_rate": 0.9}, {"draft_cost": 0.2}, {"cpu_bandwidth_gb_s": 100},
    ],
    ids=str,
)  # fmt: skip
def test_an_input_that_changes_nothing_says_so(changes):
    def said(changes):
        return [
            one for one in results(estimate(serving_scenario(ONE | changes)[0]))["warnings"] if "changes nothing" in one
        ]

    assert len(said(changes)) == 1
    assert said({}) == []


def test_proposed_degrees_fit_the_gpus_that_were_given():
    with pytest.raises(InvalidInput) as refused:
        best(num_gpus=6, tp=3)
    for tp in refused.value.allowed.split(", "):
        assert best(num_gpus=6, tp=int(tp), dp=None).layout.tp == int(tp)
