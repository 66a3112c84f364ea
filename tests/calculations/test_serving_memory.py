"""Engines' own rules of what may be used, shared prefixes, cached values, and layers left to the CPU."""

import dataclasses

import pytest

from app import catalog
from app.calculations import InvalidInput, estimate, results
from app.calculations.allocator import eager_memory, outgrown_segments
from app.calculations.formats import resolve
from app.calculations.layout_estimate import of_layout
from app.calculations.memory import runtime_terms
from app.calculations.offload import offload
from app.calculations.parallelism import Layout
from tests.calculations.worlds import scenario


def memory(**changes):
    return results(estimate(scenario(num_gpus=1, **changes)))["memory_bytes_per_gpu"]


def test_vllm_takes_a_share_of_the_total():
    usable = catalog.gpu("h100-sxm").memory_bytes - catalog.hardware().driver_bytes
    assert memory(memory_utilization=0.8)["capacity"] == pytest.approx(0.8 * usable, abs=1)


def test_sglangs_share_is_for_weights_and_cache_and_the_working_set_lies_beside_it():
    found = memory(engine="sglang", memory_utilization=0.7)
    usable = catalog.gpu("h100-sxm").memory_bytes - catalog.hardware().driver_bytes
    assert found["capacity"] == pytest.approx(0.7 * usable + found["activations"] + found["runtime"], abs=2)


def test_tensorrt_llms_share_is_of_what_is_free_after_loading():
    found = memory(engine="trtllm", memory_utilization=0.5)
    usable = catalog.gpu("h100-sxm").memory_bytes - catalog.hardware().driver_bytes
    fixed = found["weights"] + found["activations"] + found["runtime"]
    assert found["capacity"] == pytest.approx(fixed + 0.5 * (usable - fixed), abs=2)


def test_the_context_of_the_old_vllm_grows_with_the_multiprocessors():
    """0.35 GiB on the 82 of an RTX 3090, by its log (vLLM issue 10517)."""
    engine = catalog.engines()["vllm-v0"]
    small, large = (runtime_terms(engine, catalog.gpu(name), 1)["context"] for name in ("rtx-3090", "h100-sxm"))
    assert small / 2**30 == pytest.approx(0.35, abs=0.005)
    assert large / small == 132 / 82


def test_a_shared_prefix_is_cached_once():
    apart = estimate(scenario(num_gpus=1, concurrency=10)).best
    shared = estimate(scenario(num_gpus=1, concurrency=10, shared_prefix_tokens=1008)).best
    saved = apart.load.kv_cache - shared.load.kv_cache
    assert saved == 9 * 1008 * 131_072
    assert shared.max_concurrency > apart.max_concurrency
    assert shared.speed.prefill.total < 0.5 * apart.speed.prefill.total


def test_a_prefix_longer_than_the_prompt_is_refused():
    with pytest.raises(InvalidInput, match="leave nothing"):
        scenario(input_tokens=100, shared_prefix_tokens=100)


def test_values_may_be_narrower_than_keys():
    both = memory(kv_precision="fp8")["kv_cache"]
    values = memory(kv_precision="bf16", value_precision="fp8")["kv_cache"]
    wide = memory()["kv_cache"]
    assert values == pytest.approx((both + wide) / 2, rel=1e-3)


def test_an_engine_that_does_not_free_windows_keeps_them_like_full_attention():
    length = {"input_tokens": 30_000, "output_tokens": 1000, "concurrency": 1, "model": "mistralai/Mistral-7B-v0.1"}
    assert memory(engine="vllm-v0", **length)["kv_cache"] == pytest.approx(31_008 * 131_072, rel=1e-3)
    assert memory(engine="vllm", **length)["kv_cache"] == 4096 * 131_072


def test_an_fp8_latent_with_sparse_attention_is_656_bytes_and_its_index_128():
    # vLLM's fp8_ds_mla: 512 fp8 + 4 fp32 scales + 64 bf16; indexer keys of 128 fp8.
    best = of_layout(
        scenario("deepseek-ai/DeepSeek-V3.2", "b200", kv_precision="fp8", concurrency=1, input_tokens=1008),
        Layout(tp=8),
    )
    tokens = best.plan.rounded(1008 + 256)
    assert best.load.kv_cache == pytest.approx(61 * (656 + 128) * tokens)


@pytest.mark.parametrize(
    "changes",
    [
        {"model": "openai/gpt-oss-120b"},
        {"model": "deepseek-ai/DeepSeek-V3", "gpu": "h200-sxm", "num_gpus": 8},
        {"model": "Qwen/Qwen3.5-27B", "shared_prefix_tokens": 512},
        {"model": "google/gemma-3-27b-it", "num_gpus": 2, "runtime_gib": 2.0},
    ],
    ids=lambda changes: changes["model"],
)
def test_the_terms_sum_to_the_parts(changes):
    found = results(estimate(scenario(**changes)))
    for part in ("weights", "kv_cache", "activations", "runtime"):
        terms = [term["bytes"] for term in found["memory_terms"] if term["part"] == part]
        assert sum(terms) == pytest.approx(found["memory_bytes_per_gpu"][part], abs=20)


@pytest.mark.parametrize(
    ("weights", "share"), [("int4", 20 / 128 / (4 + 20 / 128)), ("mxfp4", 8 / 32 / (4 + 8 / 32)), ("bf16", 0.0)]
)
def test_scales_and_zero_points_of_quantised_weights_are_a_term_of_their_own(weights, share):
    """20 bits per 128 elements of AWQ's four, 8 per 32 of MXFP4's (which covers experts only)."""
    found = results(estimate(scenario(model="Qwen/Qwen3-30B-A3B", weight_precision=weights)))
    terms = {term["detail"]: term["bytes"] for term in found["memory_terms"] if term["part"] == "weights"}
    scales = terms.pop(f"scales and zero points, {weights}", 0)
    narrow = sum(size for detail, size in terms.items() if detail.endswith(f", {weights}"))
    assert scales == pytest.approx(share * (narrow + scales), abs=20)


def test_layers_that_do_not_fit_stay_in_main_memory():
    asked = {"model": "meta-llama/Llama-3.1-70B-Instruct", "gpu": "rtx-4090", "engine": "llamacpp", "concurrency": 1}
    found = results(estimate(scenario(num_gpus=1, weight_precision="q4_k_m", **asked)))
    split = found["offload"]
    assert not found["fits"] and 35 <= split["gpu_layers"] <= 45 and split["layers"] == 80
    assert split["gpu_bytes"] <= found["memory_bytes_per_gpu"]["capacity"]
    assert 1 < split["output_tokens_per_s_per_user"] < 5
    assert any("layers on the GPU" in text for text in found["remedies"])


def test_offload_without_a_gpu_layer_is_the_speed_of_main_memory():
    best = estimate(scenario("meta-llama/Llama-3.1-70B-Instruct", "rtx-4090", engine="llamacpp", num_gpus=1)).best
    full = dataclasses.replace(best.load, capacity=0.0)
    split = offload(dataclasses.replace(best, load=full), 60e9)
    reads = 2 * (70_553_706_496 - 128_256 * 8192 - 80 * 2 * 8192)
    assert split.gpu_layers == 0 and split.tpot_seconds == pytest.approx(reads / 60e9, rel=0.1)


def test_a_faster_main_memory_is_faster_and_a_fitting_model_needs_none():
    asked = {"model": "meta-llama/Llama-3.1-70B-Instruct", "gpu": "rtx-4090", "engine": "llamacpp", "num_gpus": 1}
    slow, fast = (results(estimate(scenario(cpu_bandwidth_gb_s=b, **asked)))["offload"] for b in (50.0, 100.0))
    assert fast["tpot_ms"] < slow["tpot_ms"] and fast["gpu_layers"] == slow["gpu_layers"]
    assert results(estimate(scenario(gpu="rtx-4090", engine="llamacpp", concurrency=1)))["offload"] is None


# huggingface/optimum-benchmark, examples/running-llamas: Llama-2-7b fp16 on A100, Transformers 4.35, MB.
@pytest.mark.parametrize(
    ("batch", "output_tokens", "allocated", "reserved", "tolerance"),
    [
        (1, 0, 13_738, 13_767, 0.01),
        (32, 0, 19_487, 21_992, 0.02),
        (64, 0, 25_422, 30_180, 0.01),
        (1, 512, 14_356, 14_480, 0.02),
        (4, 512, 16_774, 24_960, 0.10),
        (16, 512, 26_442, 84_420, 0.02),
    ],
)
def test_allocated_and_reserved_memory_of_eager_transformers(batch, output_tokens, allocated, reserved, tolerance):
    model, gpu = catalog.model("meta-llama/Llama-2-7b-hf"), catalog.gpu("a100-sxm-80gb")
    found = eager_memory(
        model,
        resolve(model, gpu, weights="fp16", activations="auto", kv_cache="auto"),
        batch=batch,
        input_tokens=256,
        output_tokens=output_tokens,
        device_bytes=gpu.memory_bytes,
    )
    assert found.allocated / 1e6 == pytest.approx(allocated, rel=tolerance)
    assert found.reserved / 1e6 == pytest.approx(reserved, rel=tolerance)
    assert found.allocated <= found.reserved <= found.process <= gpu.memory_bytes


def test_small_tensors_outgrow_no_segment():
    assert outgrown_segments(64, 1e6, 9e6) == 0
    assert outgrown_segments(2, 0, 14 * 2**20) == 2 * (10 + 12 + 14) * 2**20
