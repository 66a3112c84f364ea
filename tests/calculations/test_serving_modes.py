"""How requests arrive and what an engine is switched to change the speed in the direction that physics says."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calculations import InvalidInput, estimate
from tests.calculations.worlds import scenario


def speed(**changes):
    """Llama 3.1 8B on one H100."""
    changes = {"num_gpus": 1, **changes}
    found = estimate(scenario(**changes)).best.speed
    assert found is not None
    return found


def arrivals(rate, **changes):
    return speed(arrival="open", request_rate=rate, **changes)


def test_a_static_batch_decodes_undisturbed_and_waits_for_all_prompts():
    static, closed = speed(arrival="static", concurrency=32), speed(concurrency=32)
    assert static.tpot_seconds == pytest.approx(static.decode.total)
    assert closed.tpot_seconds > static.tpot_seconds
    assert static.ttft_seconds > closed.ttft_seconds
    assert static.requests_per_second == pytest.approx(32 / static.e2e_seconds)


@pytest.mark.parametrize("arrival", ["closed", "static"])
def test_one_request_is_the_same_however_it_arrives(arrival):
    found = speed(arrival=arrival, concurrency=1)
    assert found.ttft_seconds == pytest.approx(found.prefill.total + found.steps.request)
    assert found.tpot_seconds == pytest.approx(found.decode.total)
    rare = arrivals(1e-6)
    assert (rare.ttft_seconds, rare.tpot_seconds) == pytest.approx((found.ttft_seconds, found.tpot_seconds), rel=1e-3)


def test_saturated_runs_as_many_as_fit_and_more_only_wait():
    full = speed(concurrency=None)
    assert full.waiting == 0 and full.running > 100
    assert full.requests_per_second > speed(concurrency=full.running // 2).requests_per_second
    beyond = speed(concurrency=full.running + 100)
    assert (beyond.running, beyond.waiting) == (full.running, 100)
    assert beyond.requests_per_second == pytest.approx(full.requests_per_second)


def test_more_arrivals_make_latency_longer_and_too_many_make_it_endless():
    most = speed(concurrency=None).requests_per_second
    loads = [arrivals(share * most) for share in (0.1, 0.3, 0.5, 0.7, 0.9)]
    assert all(a.ttft_seconds < b.ttft_seconds for a, b in itertools.pairwise(loads))
    assert all(a.tpot_seconds < b.tpot_seconds for a, b in itertools.pairwise(loads))
    beyond = arrivals(1.01 * most)
    assert math.isinf(beyond.ttft_seconds) and math.isinf(beyond.e2e_seconds)
    assert beyond.requests_per_second == pytest.approx(most)


@settings(max_examples=20, deadline=None)
@given(share=st.floats(0.01, 0.8))
def test_what_runs_under_arrivals_obeys_littles_law(share):
    rate = share * speed(concurrency=None).requests_per_second
    found = arrivals(rate)
    assert found.requests_per_second == pytest.approx(rate)
    assert found.running == pytest.approx(rate * found.e2e_seconds, rel=0.1, abs=1)


def test_arrivals_need_a_rate():
    with pytest.raises(InvalidInput) as refused:
        scenario(arrival="open")
    assert refused.value.field == "request_rate"


def test_replicas_share_the_arrivals():
    one, two = arrivals(2.0, tp=1, pp=1, dp=1), arrivals(4.0, num_gpus=2, tp=1, pp=1, dp=2)
    assert two.ttft_seconds == pytest.approx(one.ttft_seconds) and two.requests_per_second == pytest.approx(4.0)


def test_an_engine_without_continuous_batching_runs_a_static_batch():
    found = speed(engine="hf", concurrency=8)
    assert found.tpot_seconds == pytest.approx(found.decode.total)


def test_eager_is_slower_than_graphs_most_of_all_for_few_requests():
    def gain(concurrency):
        eager = speed(cuda_graphs="off", concurrency=concurrency)
        return eager.tpot_seconds / speed(cuda_graphs="on", concurrency=concurrency).tpot_seconds

    small = {"model": "meta-llama/Llama-3.2-1B-Instruct", "concurrency": 1}
    assert gain(1) >= gain(256) >= 1
    assert speed(cuda_graphs="off", **small).tpot_seconds > 1.2 * speed(cuda_graphs="on", **small).tpot_seconds


@pytest.mark.parametrize(("engine", "default"), [("vllm", "on"), ("sglang", "on"), ("trtllm", "on"), ("tgi", "off")])
def test_saying_the_engines_default_of_overlap_scheduling_changes_nothing(engine, default):
    assert speed(engine=engine, overlap_scheduling=default) == speed(engine=engine)


@pytest.mark.parametrize("concurrency", [1, 64])
def test_without_overlap_scheduling_the_hidden_host_work_adds_to_each_step(concurrency):
    on, off = (speed(engine="sglang", overlap_scheduling=s, concurrency=concurrency) for s in ("on", "off"))
    assert off.decode.total - on.decode.total == pytest.approx(1e-3 + 10e-6 * concurrency)
    assert off.decode.memory == on.decode.memory
    assert off.tpot_seconds > on.tpot_seconds and off.ttft_seconds > on.ttft_seconds


def test_overlap_scheduling_hides_the_host_behind_a_longer_step():
    def step(**changes):
        return speed(engine="vllm-v0", weight_precision="fp32", concurrency=1, **changes).decode.total

    def added(switch):
        return step(overlap_scheduling=switch, step_overhead_ms=1) - step(overlap_scheduling=switch, step_overhead_ms=0)

    assert added("off") == pytest.approx(1e-3)
    assert 0 < added("on") < 1e-6


def test_overlap_scheduling_cannot_hide_more_than_the_gpu_takes():
    found = speed(engine="vllm-v0", overlap_scheduling="on", concurrency=1, step_overhead_ms=500)
    assert found.decode.total == pytest.approx(0.5, rel=1e-3)


def test_unfused_attention_costs_long_prompts_their_square():
    def lost(tokens):
        asked = {"input_tokens": tokens, "concurrency": 1}
        off, on = speed(fused_attention="off", **asked), speed(fused_attention="on", **asked)
        return off.prefill.total - on.prefill.total

    assert lost(32_768) > 12 * lost(8192) > 0
    assert speed(fused_attention="off").decode == speed(fused_attention="on").decode


def test_chunks_are_the_prompt_over_the_budget_rounded_up():
    one, two, five = (speed(input_tokens=8192, max_batched_tokens=budget).steps for budget in (8192, 8191, 2047))
    assert (one.chunks, two.chunks, five.chunks) == (1, 2, 5)
    assert one.fill == 1 and speed(input_tokens=1024, max_batched_tokens=8192).steps.fill == 0.125
    assert speed(input_tokens=8192, max_batched_tokens=512, chunked_prefill="off").steps.chunks == 1


def test_a_small_budget_delays_the_first_token():
    small, large = (speed(input_tokens=8192, max_batched_tokens=budget) for budget in (256, 8192))
    assert small.ttft_seconds > large.ttft_seconds


def test_a_limit_of_sequences_keeps_the_rest_waiting():
    found = speed(concurrency=64, max_sequences=16)
    assert (found.running, found.waiting) == (16, 48)
    assert found.ttft_seconds > speed(concurrency=64).ttft_seconds


def test_a_finite_run_sees_more_of_its_first_wave():
    assert speed(waves=1).ttft_seconds > speed(waves=10).ttft_seconds > speed().ttft_seconds


def test_beams_share_a_prompt_and_each_hold_an_output():
    one, four = (estimate(scenario(num_gpus=1, concurrency=8, beam_width=b)).best for b in (1, 4))
    block = one.scenario.engine.kv_block_tokens
    per_token = one.scenario.model.cache_elements_per_token * one.formats.kv_cache.bytes_per_element
    extra = 8 * 3 * one.scenario.output_tokens * per_token
    assert four.load.kv_cache - one.load.kv_cache == pytest.approx(extra, abs=8 * block * per_token)
    assert four.max_concurrency < one.max_concurrency


def test_beams_cost_decode_steps_of_as_many_sequences_and_no_prefill():
    one, four, wide = speed(concurrency=8), speed(concurrency=8, beam_width=4), speed(concurrency=32)
    assert four.prefill.total == one.prefill.total
    assert four.decode.total == pytest.approx(wide.decode.total)
    assert wide.requests_per_second > one.requests_per_second > four.requests_per_second
