"""Some GPUs only prefill, the others only decode (DistServe, arXiv:2401.09670)."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calculations import InvalidInput, estimate, results
from app.calculations.disaggregation import prefill_layout, wait_seconds
from app.calculations.parallelism import Layout
from tests.calculations.worlds import scenario


def best(**changes):
    """Llama 3.1 8B on H100s, one prefill GPU and one decode GPU."""
    return estimate(scenario(**{"num_gpus": 2, "prefill_gpus": 1, **changes})).best


def test_the_wait_of_an_md1_queue():
    assert wait_seconds(5.0, 0.1, 1e12) == pytest.approx(0.5 * 0.1 / (2 * 0.5))
    assert wait_seconds(5.0, 0.1, 1) == 0
    assert wait_seconds(10.0, 0.1, 5) == math.inf


@pytest.mark.parametrize(
    ("decode", "gpus", "tp", "expected"),
    [
        (Layout(tp=4, dp=3), 8, None, Layout(tp=4, dp=2)),
        (Layout(tp=4, dp=3), 8, 8, Layout(tp=8)),
        (Layout(tp=8, ep=8), 16, None, Layout(tp=8, dp=2, ep=8)),
        (Layout(dp=64, ep=64), 32, None, Layout(dp=32, ep=32)),
    ],
    ids=["cut alike", "cut by hand", "experts within a replica", "experts over all"],
)
def test_prefill_gpus_are_cut_like_decode_gpus(decode, gpus, tp, expected):
    assert prefill_layout(decode, gpus, tp) == expected


def test_one_request_prefills_travels_and_decodes():
    pools = best(concurrency=1).speed
    mixed = estimate(scenario(num_gpus=1, concurrency=1)).best.speed
    transfer = pools.latency.terms["transfer"]
    # 1,024 tokens of 131,072 bytes over NVLink at 0.6 x 450 GB/s.
    assert transfer == pytest.approx(10e-6 + 1024 * 131_072 / (0.6 * 450e9))
    assert pools.ttft_seconds == pytest.approx(mixed.ttft_seconds)
    assert pools.tpot_seconds == pytest.approx(mixed.tpot_seconds)
    assert pools.e2e_seconds == pytest.approx(mixed.e2e_seconds + transfer)


def test_pools_further_apart_than_the_fast_domain_use_the_network():
    far = best(model="meta-llama/Llama-3.1-70B-Instruct", num_gpus=16, prefill_gpus=8, tp=8, pp=1, concurrency=1).speed
    moved = 1024 * 80 * 2 * 1 * 128 * 2  # one of eight key/value heads on each GPU
    assert far.latency.terms["transfer"] == pytest.approx(25e-6 + moved / (0.6 * 50e9))


@settings(max_examples=15, deadline=None)
@given(concurrency=st.integers(1, 2000), prefill_gpus=st.integers(1, 3), outputs=st.integers(2, 2000))
def test_requests_in_flight_obey_littles_law(concurrency, prefill_gpus, outputs):
    found = best(num_gpus=4, prefill_gpus=prefill_gpus, concurrency=concurrency, output_tokens=outputs).speed
    assert found.requests_per_second * found.e2e_seconds == pytest.approx(concurrency, rel=1e-6)
    assert found.running + found.waiting == concurrency
    assert 0 < found.latency.prefill_share < 1


def test_no_more_than_the_slower_pool_serves():
    for prompt, output in ((8192, 32), (128, 2048)):
        found = best(input_tokens=prompt, output_tokens=output, concurrency=1000).speed
        assert found.requests_per_second < 1 / found.steps.burst
    prefill_bound = best(input_tokens=8192, output_tokens=32, concurrency=1000).speed
    assert prefill_bound.requests_per_second == pytest.approx(1 / prefill_bound.steps.burst, rel=0.02)
    decode_bound = best(input_tokens=128, output_tokens=2048, concurrency=1000).speed
    assert decode_bound.latency.prefill_share < 0.2
    assert decode_bound.planned.running > 0.95 * decode_bound.running


def test_decode_steps_have_no_prefill_in_them():
    pools = best(num_gpus=4, prefill_gpus=2, input_tokens=4096, concurrency=64).speed
    mixed = estimate(scenario(num_gpus=4, tp=1, pp=1, dp=4, input_tokens=4096, concurrency=64)).best.speed
    assert pools.tpot_seconds == pytest.approx(pools.decode.total)
    assert pools.tpot_seconds < mixed.tpot_seconds


def test_more_prefill_gpus_shorten_the_first_token_and_never_slow_decoding():
    asked = {"input_tokens": 8192, "output_tokens": 64, "concurrency": 64, "tp": 1, "pp": 1, "dp": 2}
    found = [best(num_gpus=2 + n, prefill_gpus=n, **asked).speed for n in (1, 2, 4)]
    assert all(a.ttft_seconds > b.ttft_seconds for a, b in itertools.pairwise(found))
    assert all(a.requests_per_second < b.requests_per_second for a, b in itertools.pairwise(found))


def test_the_fuller_pool_decides_whether_it_fits():
    asked = {"model": "meta-llama/Llama-3.1-70B-Instruct", "num_gpus": 6, "prefill_gpus": 2, "tp": 4, "concurrency": 1}
    fits, short = best(**asked | {"prefill_tp": 2}), best(**asked | {"prefill_tp": 1})
    assert fits.fits and fits.fullest is fits.prefill
    assert not short.fits and short.speed is None
    assert short.shortfall_bytes > 50 * 2**30


def test_gpus_of_both_pools_are_paid_and_shown():
    found = results(estimate(scenario(num_gpus=6, prefill_gpus=2, tp=2, price_usd_per_gpu_hour=3.0)))
    assert found["usd_per_hour"]["value"] == 18
    assert found["layout"]["num_gpus"] == 6 and found["layout"]["dp"] == 2
    assert found["layout"]["strategy"] == "2 GPUs = TP 2 prefill, 4 GPUs = 2 replicas x TP 2 decode"
    assert found["disaggregation"]["prefill_gpus"] == 2 and found["disaggregation"]["prefill_dp"] == 1
    assert results(estimate(scenario()))["disaggregation"] is None


def test_the_number_of_decode_gpus_is_found_beside_the_prefill_gpus():
    found = estimate(scenario("meta-llama/Llama-3.1-70B-Instruct", prefill_gpus=4, concurrency=64)).best
    assert found.fits and found.num_gpus == 4 + found.layout.num_gpus
    assert found.prefill.plan.layout.num_gpus == 4


def test_idle_gpus_draw_less():
    balanced = best(input_tokens=1024, output_tokens=128, concurrency=64)
    idle = best(num_gpus=8, prefill_gpus=7, input_tokens=1024, output_tokens=128, concurrency=64)
    assert idle.activity.awake < balanced.activity.awake <= 1
    assert idle.power_watts_per_gpu < balanced.power_watts_per_gpu


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"num_gpus": 2, "prefill_gpus": 2}, "prefill_gpus"),
        ({"num_gpus": 8, "prefill_gpus": 3, "tp": 2}, "prefill_gpus"),
        ({"prefill_gpus": 2, "arrival": "static"}, "prefill_gpus"),
        ({"prefill_gpus": 2, "arrival": "open", "request_rate": 1.0}, "prefill_gpus"),
        ({"prefill_gpus": 2, "engine": "hf"}, "prefill_gpus"),
        ({"prefill_gpus": 2, "output_tokens": 1}, "prefill_gpus"),
        ({"prefill_tp": 2}, "prefill_tp"),
        ({"prefill_gpus": 3, "prefill_tp": 3}, "prefill_tp"),
        ({"num_gpus": 5, "prefill_gpus": 2, "tp": 2}, "num_gpus"),
    ],
    ids=str,
)
def test_what_makes_no_sense_is_refused_by_the_input_to_change(changes, field):
    with pytest.raises(InvalidInput) as refused:
        scenario(**changes)
    assert refused.value.field == field
