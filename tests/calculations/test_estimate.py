"""The estimate of a scenario: conservation, monotonicity, automatic layouts, answers that explain themselves."""

import dataclasses
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import catalog
from app.calculations import InvalidInput, estimate, results
from tests.calculations.worlds import scenario


def answer(**changes):
    return results(estimate(scenario(**changes)))


def value(found, name):
    return found[name]["value"]


def test_the_default_question_gets_a_useful_answer():
    found = answer()
    assert found["fits"] and found["verdict"].startswith("Fits: ")
    assert found["layout"]["num_gpus"] == 1
    assert 5 < value(found, "tpot_ms") < 25
    assert 20 < value(found, "ttft_ms") < 500
    assert found["bound"]["decode"]["by"] == "memory bandwidth"
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize(
    "changes",
    [{}, {"concurrency": None}, {"num_gpus": 8}, {"model": "deepseek-ai/DeepSeek-V3", "gpu": "h200-sxm"}],
    ids=["one GPU", "saturated", "eight", "mixture"],
)
def test_the_parts_sum_to_the_whole(changes):
    found = answer(**changes)
    memory = found["memory_bytes_per_gpu"]
    assert memory["total"] == sum(memory[k] for k in ("weights", "kv_cache", "activations", "runtime"))
    assert found["fits"] == (memory["total"] <= memory["capacity"]) and memory["capacity"] <= memory["device"]
    layout = found["layout"]
    assert layout["num_gpus"] == layout["tp"] * layout["pp"] * layout["dp"]


def test_latency_throughput_and_concurrency_obey_littles_law():
    found = answer(concurrency=32, output_tokens=100)
    assert value(found, "requests_per_s") * value(found, "e2e_latency_ms") / 1000 == pytest.approx(32)
    assert value(found, "e2e_latency_ms") == pytest.approx(value(found, "ttft_ms") + 99 * value(found, "tpot_ms"))
    assert value(found, "output_tokens_per_s") == pytest.approx(100 * value(found, "requests_per_s"))
    assert value(found, "total_tokens_per_s") == pytest.approx(1124 * value(found, "requests_per_s"))


def test_requests_beyond_memory_wait_and_the_throughput_stays():
    fitting = answer(gpu="rtx-4090", concurrency=None)
    beyond = answer(gpu="rtx-4090", concurrency=500, num_gpus=1)
    assert not beyond["fits"] and beyond["batch"]["running"] == fitting["batch"]["running"] < 500
    assert value(beyond, "output_tokens_per_s") == pytest.approx(value(fitting, "output_tokens_per_s"))
    assert value(beyond, "ttft_ms") > 10 * value(fitting, "ttft_ms")
    assert any("wait in the queue" in text for text in beyond["warnings"])


def test_one_output_token_has_no_time_per_output_token():
    found = answer(output_tokens=1)
    assert value(found, "tpot_ms") is None and value(found, "e2e_latency_ms") == value(found, "ttft_ms")


def test_a_model_too_large_says_by_how_much_and_what_would_fit():
    found = answer(model="meta-llama/Llama-3.1-70B-Instruct", num_gpus=1)
    assert not found["fits"] and found["verdict"].startswith("Does not fit: 71.2 GiB too much per GPU")
    assert value(found, "ttft_ms") is None and found["max_concurrency"] == 0
    assert "Store the weights in int4." in found["remedies"]
    assert "Use 4 GPUs (TP 4)." in found["remedies"]


def test_automatic_takes_the_smallest_number_that_fits_and_says_why():
    layout = answer(model="meta-llama/Llama-3.1-70B-Instruct")["layout"]
    assert (layout["num_gpus"], layout["tp"], layout["strategy"]) == (4, 4, "4 GPUs = TP 4")
    assert "2 GPUs lack" in layout["reason"] and "cuts every matrix" in layout["reason"]


def test_a_layout_set_by_hand_is_kept():
    layout = answer(num_gpus=8, tp=2, pp=2, dp=2)["layout"]
    assert (layout["tp"], layout["pp"], layout["dp"]) == (2, 2, 2) and not layout["automatic"]


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"tp": 3}, "tp"),
        ({"num_gpus": 6, "tp": 4}, "num_gpus"),
        ({"num_gpus": 8, "tp": 2, "pp": 2, "dp": 1}, "num_gpus"),
        ({"pp": 64}, "pp"),
        ({"ep": 2}, "ep"),
        ({"gpu": "a100-sxm-80gb", "activation_precision": "fp8"}, "activation_precision"),
    ],
)
def test_a_question_without_an_answer_names_the_input_to_change(changes, field):
    with pytest.raises(InvalidInput) as refused:
        answer(**changes)
    assert refused.value.field == field and refused.value.message and refused.value.allowed


def test_overrides_replace_what_was_calibrated():
    base, eager = answer(), answer(step_overhead_ms=50.0)
    assert value(eager, "tpot_ms") - value(base, "tpot_ms") > 45
    assert answer(runtime_gib=10.0)["memory_bytes_per_gpu"]["runtime"] == 10 * 1024**3
    assert answer(memory_utilization=0.5)["memory_bytes_per_gpu"]["capacity"] == pytest.approx(
        0.5 * (catalog.gpu("h100-sxm").memory_bytes - catalog.hardware().driver_bytes), abs=1
    )
    assert value(answer(bandwidth_efficiency=0.4), "tpot_ms") > value(base, "tpot_ms")


def test_a_share_of_the_bandwidth_set_by_hand_is_what_weights_are_read_at():
    low, high = (estimate(scenario(num_gpus=1, bandwidth_efficiency=share)).best.speed.decode for share in (0.4, 0.8))
    read_bytes = 2 * (8_030_261_248 - 128_256 * 4096)
    expected = read_bytes / catalog.gpu("h100-sxm").memory_bandwidth_bytes_per_second * (1 / 0.4 - 1 / 0.8)
    assert low.total - high.total == pytest.approx(expected, rel=0.05)


def test_an_unknown_price_is_unknown_and_never_zero():
    found = answer(gpu="t4", weight_precision="int4")
    assert value(found, "usd_per_hour") is None and value(found, "usd_per_million_tokens") is None
    priced = answer(gpu="t4", weight_precision="int4", price_usd_per_gpu_hour=0.5)
    assert value(priced, "usd_per_hour") == 0.5 * priced["layout"]["num_gpus"]
    per_second = value(priced, "output_tokens_per_s")
    assert value(priced, "usd_per_million_output_tokens") == pytest.approx(
        value(priced, "usd_per_hour") / 3600 / per_second * 1e6
    )


def test_energy_is_power_over_rate_and_power_is_at_most_the_board():
    found = answer()
    assert value(found, "energy_j_per_token") == pytest.approx(
        value(found, "power_w_per_gpu") / value(found, "output_tokens_per_s")
    )
    assert 0.2 * 700 < value(found, "power_w_per_gpu") <= 700


@pytest.mark.parametrize("gpu", list(catalog.gpus()))
def test_every_accelerator_gives_an_answer(gpu):
    found = answer(gpu=gpu)
    assert found["fits"] and value(found, "output_tokens_per_s") > 0
    json.dumps(found, allow_nan=False)


@pytest.mark.parametrize("model", list(catalog.models()))
def test_every_model_gives_an_answer(model):
    found = answer(model=model, gpu="b200", input_tokens=512, output_tokens=64, concurrency=4)
    assert found["fits"], found["verdict"]
    assert all(v > 0 for v in found["flops"]["prefill"].values() if v) and value(found, "tpot_ms") > 0
    json.dumps(found, allow_nan=False)


COUNTS = st.integers(1, 4096)


@settings(max_examples=40, deadline=None)
@given(input_tokens=COUNTS, output_tokens=COUNTS, concurrency=st.integers(1, 512))
def test_more_memory_bandwidth_compute_or_links_are_never_worse(input_tokens, output_tokens, concurrency):
    """Of a few output tokens only nearly: what a prompt adds is told from the difference of two steps."""
    slack = 1e-9 if output_tokens >= 16 else 0.02
    base = scenario(num_gpus=4, tp=4, pp=1, dp=1, concurrency=concurrency)
    base = dataclasses.replace(base, input_tokens=input_tokens, output_tokens=output_tokens)
    slow = estimate(base).best
    gpu = base.gpu
    for change in (
        {"memory_bandwidth_bytes_per_second": gpu.memory_bandwidth_bytes_per_second * 2},
        {"peak_flops_per_second": {name: 2 * peak for name, peak in gpu.peak_flops_per_second.items()}},
        {"link_bytes_per_second": gpu.link_bytes_per_second * 2},
    ):
        fast = estimate(dataclasses.replace(base, gpu=dataclasses.replace(gpu, **change))).best
        assert fast.speed.requests_per_second >= slow.speed.requests_per_second * (1 - slack)
        assert fast.speed.e2e_seconds <= slow.speed.e2e_seconds * (1 + slack)


@settings(max_examples=40, deadline=None)
@given(concurrency=st.integers(1, 300), more=st.integers(1, 100))
def test_more_requests_in_flight_never_lower_throughput_nor_latency(concurrency, more):
    few = estimate(scenario(num_gpus=1, concurrency=concurrency)).best.speed
    many = estimate(scenario(num_gpus=1, concurrency=concurrency + more)).best.speed
    assert many.requests_per_second >= few.requests_per_second * (1 - 1e-9)
    assert many.e2e_seconds >= few.e2e_seconds * (1 - 1e-9)


@settings(max_examples=60, deadline=None)
@given(
    model=st.sampled_from(list(catalog.models())),
    gpu=st.sampled_from(list(catalog.gpus())),
    input_tokens=st.integers(1, 10**8),
    output_tokens=st.integers(1, 10**8),
    concurrency=st.none() | st.integers(1, 10**7),
    num_gpus=st.none() | st.integers(1, 64),
)
def test_any_question_in_the_limits_is_answered_or_refused(**question):
    try:
        found = answer(**question)
    except InvalidInput as refused:
        assert refused.field in question or refused.field in ("tp", "ep")
        return
    for name in ("ttft_ms", "tpot_ms", "output_tokens_per_s", "power_w_per_gpu"):
        assert value(found, name) is None or (math.isfinite(value(found, name)) and value(found, name) > 0)
