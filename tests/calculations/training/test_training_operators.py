"""Forward work of a token: parameters that multiply, the causal half of the scores, what each GPU has of it."""

import pytest

from app import catalog
from app.calculations.training.operators import context_per_token, experts_per_token, token_work

LLAMA = catalog.model("meta-llama/Llama-3.1-8B")
QWEN_MOE = catalog.model("Qwen/Qwen3-30B-A3B")


def test_products_are_two_flops_per_parameter_that_multiplies():
    work = token_work(LLAMA, 8192)
    embedding = norms = 0
    embedding += 128_256 * 4096
    norms += (2 * 32 + 1) * 4096
    assert work.linear_flops + work.head_flops == 2 * (LLAMA.total_params - embedding - norms)


def test_scores_are_the_causal_half_of_four_times_sequence_and_width():
    # 4 s h per layer for the whole square; (s + 1) / 2 positions are seen on the mean.
    assert token_work(LLAMA, 8192).attention_flops == 32 * 4 * 4096 * (8192 + 1) / 2


def test_a_window_bounds_what_a_token_attends_to():
    assert context_per_token(4, None) == 2.5
    assert context_per_token(4, 2) == (1 + 2 + 2 + 2) / 4
    assert context_per_token(8192, 128) == pytest.approx(128, rel=0.01)


def test_routed_experts_count_as_often_as_they_run():
    work = token_work(QWEN_MOE, 4096)
    assert experts_per_token(QWEN_MOE) == 8
    assert work.expert_flops == 2 * 48 * 8 * 3 * 2048 * 768
    assert work.expert_layers == 48
    assert experts_per_token(LLAMA) == 0


def test_tensor_parallelism_divides_products_scores_and_with_sequence_parallelism_the_stream():
    whole, part = token_work(LLAMA, 4096), token_work(LLAMA, 4096, tp=8)
    for name in ("linear_flops", "head_flops", "attention_flops", "elements", "kv_elements"):
        assert getattr(part, name) == pytest.approx(getattr(whole, name) / 8)
    kept = token_work(LLAMA, 4096, tp=8, sequence_parallel=False)
    assert kept.elements > part.elements
    assert part.linear_narrowness > whole.linear_narrowness


def test_expert_parallel_experts_stay_whole_and_share_the_tokens():
    cut, whole = token_work(QWEN_MOE, 4096, tp=4, expert_tp=4), token_work(QWEN_MOE, 4096, tp=4, expert_tp=1)
    assert cut.expert_flops == pytest.approx(whole.expert_flops)
    assert cut.expert_narrowness > whole.expert_narrowness


def test_a_multi_token_prediction_module_is_one_more_last_layer_and_head():
    deepseek = catalog.model("deepseek-ai/DeepSeek-V3")
    plain, more = token_work(deepseek, 4096), token_work(deepseek, 4096, multi_token=1)
    assert more.head_flops == 2 * plain.head_flops
    assert more.expert_layers == plain.expert_layers + 1
    assert more.layers == plain.layers + 1


def test_products_are_ragged_where_a_side_does_not_fill_tiles():
    """Experts 768 and 1856 wide: 6 and 14.5 tiles of 128."""
    assert token_work(QWEN_MOE, 4096).ragged_experts == 0
    assert token_work(catalog.model("nvidia/NVIDIA-Nemotron-3-Nano-30B-A3B-BF16"), 4096).ragged_experts == 1
    assert token_work(LLAMA, 4096, tp=8).ragged_share == 0
