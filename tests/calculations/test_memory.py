"""Bytes on the most loaded GPU, against hand-computed and published numbers."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import catalog
from app.calculations import estimate
from app.calculations.formats import resolve
from app.calculations.kv_cache import layer_cache_bytes
from app.calculations.layout_estimate import GIB, formats_of, memory_plan
from app.calculations.memory import largest
from app.calculations.parallelism import Layout
from app.calculations.weights import stage_weight_bytes, stages
from tests.calculations.worlds import scenario

H100 = catalog.gpu("h100-sxm")


def formats(model, weights="bf16", kv_cache="auto", gpu=H100):
    return resolve(model, gpu, weights=weights, activations="auto", kv_cache=kv_cache)


def weights_on_one(name, weights="bf16"):
    model = catalog.model(name)
    (stage,) = stages(model, 1)
    return stage_weight_bytes(model, stage, Layout(), formats(model, weights))


def cache_per_sequence(name, tokens, tp=1, kv_cache="auto"):
    model = catalog.model(name)
    kinds = formats(model, kv_cache=kv_cache)
    return sum(n * layer_cache_bytes(layer, tokens, Layout(tp=tp), kinds) for layer, n in model.layer_counts)


def test_16_bit_weights_are_two_bytes_a_parameter():
    assert weights_on_one("meta-llama/Llama-3.1-70B-Instruct") == 2 * 70_553_706_496


def test_fp8_keeps_embedding_norms_and_lm_head_wide():
    # Llama-3.1-8B: 6,979,321,856 parameters in linear layers of blocks, 1,050,939,392 elsewhere; one fp32 scale per
    # 128 x 128 block.
    narrow, wide = 6_979_321_856, 1_050_939_392
    assert weights_on_one("meta-llama/Llama-3.1-8B-Instruct", "fp8") == pytest.approx(
        narrow * (1 + 4 / 128**2) + 2 * wide
    )


# github.com/llm-d-incubation/llm-d-planner, docs/empirical-vllm-memory-results.md: vLLM 0.11 on H100, GiB per GPU.
@pytest.mark.parametrize(
    ("name", "tp", "precision", "measured_gib"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 1, "bf16", 14.99),
        ("Qwen/Qwen3-0.6B", 1, "bf16", 1.12),
        ("Qwen/Qwen3-32B", 1, "bf16", 61.03),
        ("Qwen/Qwen3-32B", 2, "bf16", 30.59),
        ("meta-llama/Llama-3.3-70B-Instruct", 2, "fp8", 33.88),
        # The same table, vLLM of January 2025: language part and tower.
        ("meta-llama/Llama-3.2-11B-Vision-Instruct", 1, "bf16", 19.86),
    ],
)
def test_weights_per_gpu_are_what_vllm_logs(name, tp, precision, measured_gib):
    model = catalog.model(name)
    (stage,) = stages(model, 1)
    predicted = stage_weight_bytes(model, stage, Layout(tp=tp), formats(model, precision))
    assert predicted / GIB == pytest.approx(measured_gib, rel=0.01)


# The same source: KV cache that vLLM reports at 0.9 of 79.18 GiB, whole prompts of 16,000 tokens.
@pytest.mark.parametrize(
    ("name", "tp", "precision", "measured_gib"),
    [
        ("meta-llama/Llama-3.1-8B-Instruct", 1, "bf16", 51.38),
        ("Qwen/Qwen3-0.6B", 1, "bf16", 64.45),
        ("Qwen/Qwen3-32B", 1, "bf16", 4.45),
        ("Qwen/Qwen3-32B", 2, "bf16", 34.49),
        ("meta-llama/Llama-3.3-70B-Instruct", 2, "fp8", 32.0),
    ],
)
def test_memory_left_for_the_cache_is_what_vllm_logs(name, tp, precision, measured_gib):
    asked = scenario(name, tp=tp, weight_precision=precision)
    plan = memory_plan(asked, Layout(tp=tp), formats_of(asked))
    left = 0.9 * 79.18 * GIB - plan.stage_weights[0] - plan.activations - plan.runtime
    assert left / GIB == pytest.approx(measured_gib, rel=0.03)


@pytest.mark.parametrize(
    ("name", "tokens", "expected"),
    [
        ("meta-llama/Llama-3.1-70B-Instruct", 8192, 8192 * 327_680),
        ("deepseek-ai/DeepSeek-V3", 1000, 1000 * 70_272),
        # kv_truth: 18 full layers grow, 18 sliding layers stop at 128 tokens.
        ("openai/gpt-oss-120b", 131_072, 4_836_556_800),
        ("state-spaces/mamba-130m-hf", 0, None),
    ],
    ids=["GQA", "MLA latent", "sliding windows", "state only"],
)
def test_cache_of_one_sequence(name, tokens, expected):
    found = cache_per_sequence(name, tokens)
    if expected is None:
        assert found == 2 * catalog.model(name).state_elements_per_sequence > 0
        assert cache_per_sequence(name, 100_000) == found
    else:
        assert found == expected


def test_tensor_parallel_divides_the_cache_up_to_the_number_of_kv_heads():
    whole = cache_per_sequence("meta-llama/Llama-3.1-70B-Instruct", 1000)
    assert cache_per_sequence("meta-llama/Llama-3.1-70B-Instruct", 1000, tp=8) == whole / 8
    assert cache_per_sequence("meta-llama/Llama-3.1-70B-Instruct", 1000, tp=64) == whole / 8


def test_a_latent_is_whole_on_every_rank():
    assert cache_per_sequence("deepseek-ai/DeepSeek-V3", 1000, tp=8) == 1000 * 70_272


def test_fp8_halves_the_cache():
    name = "Qwen/Qwen3-32B"
    assert cache_per_sequence(name, 1000, kv_cache="fp8") == pytest.approx(cache_per_sequence(name, 1000) / 2, rel=1e-3)


def test_the_stages_of_a_pipeline_hold_the_model_once():
    model = catalog.model("meta-llama/Llama-3.1-70B-Instruct")
    layout, kinds = Layout(pp=4), formats(model)
    assert sum(stage_weight_bytes(model, s, layout, kinds) for s in stages(model, 4)) == 2 * model.total_params


def test_a_tied_head_on_another_stage_needs_its_own_table():
    model = catalog.model("Qwen/Qwen3-0.6B")
    kinds = formats(model)
    together = sum(stage_weight_bytes(model, s, Layout(pp=2), kinds) for s in stages(model, 2))
    assert together - 2 * model.total_params == 2 * model.vocab_size * model.hidden_size


def test_expert_parallel_deals_out_experts_and_tensor_parallel_cuts_them():
    model = catalog.model("Qwen/Qwen3-235B-A22B")
    kinds = formats(model)
    (stage,) = stages(model, 1)
    cut = stage_weight_bytes(model, stage, Layout(tp=8), kinds)
    dealt = stage_weight_bytes(model, stage, Layout(tp=8, ep=8), kinds)
    assert cut == pytest.approx(dealt)
    attention_whole = stage_weight_bytes(model, stage, Layout(dp=8, ep=8), kinds)
    experts = 2 * model.params_by_group["expert"] / 8
    assert attention_whole == pytest.approx(experts + 2 * (model.total_params - model.params_by_group["expert"]))


@pytest.mark.parametrize("limit", [1, 5, 1000])
@given(answer=st.integers(0, 2000))
def test_bisection_finds_the_last_number_that_holds(limit, answer):
    assert largest(lambda n: n <= answer, limit) == min(answer, limit)


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.1-8B-Instruct", "openai/gpt-oss-20b", "deepseek-ai/DeepSeek-V2"])
def test_answers_solved_backwards_fit_and_one_more_does_not(name):
    best = estimate(scenario(name, "h100-sxm", num_gpus=8, tp=8, pp=1, dp=1, concurrency=8)).best
    most, length = best.max_concurrency, 1024 + 256
    assert best.plan.fits(most, length) and not best.plan.fits(most + 1, length)
    context = best.max_context_tokens
    assert best.plan.fits(8, context)
    assert context == best.scenario.model.max_position or not best.plan.fits(8, context + 64)
