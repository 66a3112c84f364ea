"""FLOPs and bytes of a pass, against counts that can be done by hand."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import catalog
from app.calculations.formats import resolve
from app.calculations.operators import Pass, attended_pairs, experts_touched, flops_by_component, forward_operators
from app.calculations.parallelism import Layout

H100 = catalog.gpu("h100-sxm")
LLAMA_8B = catalog.model("meta-llama/Llama-3.1-8B-Instruct")


def formats(model):
    return resolve(model, H100, weights="bf16", activations="auto", kv_cache="auto")


def flops(model, **work):
    return flops_by_component(model, formats(model), Pass(**work))


@given(new=st.integers(1, 60), cached=st.integers(0, 60), window=st.none() | st.integers(1, 80))
def test_attended_pairs_are_the_sum_over_positions(new, cached, window):
    by_hand = sum(min(p, window or p) for p in range(cached + 1, cached + new + 1))
    assert attended_pairs(new, cached, window) == by_hand


def test_a_token_costs_two_flops_per_weight_that_multiplies_it():
    found = flops(LLAMA_8B, sequences=1, new_tokens=1, cached_tokens=0)
    groups = LLAMA_8B.params_by_group
    assert found["attention_projections"] == 2 * groups["attention"]
    assert found["feed_forward"] == 2 * groups["mlp"]
    assert found["lm_head"] == 2 * groups["lm_head"]


def test_causal_scores_of_llama_by_hand():
    # 32 layers x 2 x (S (S+1) / 2) pairs x 32 heads x (128 + 128)
    found = flops(LLAMA_8B, sequences=1, new_tokens=1024, cached_tokens=0)
    assert found["attention_scores"] == 32 * 2 * (1024 * 1025 / 2) * 32 * 256


def test_only_the_last_position_goes_through_lm_head_in_prefill():
    long = flops(LLAMA_8B, sequences=1, new_tokens=1024, cached_tokens=0)
    assert long["lm_head"] == 2 * 128_256 * 4096


def test_a_mixture_computes_only_its_active_experts():
    model = catalog.model("mistralai/Mixtral-8x7B-v0.1")
    found = flops(model, sequences=1, new_tokens=1, cached_tokens=0)
    assert found["experts"] == 2 * model.params_by_group["expert"] * 2 / 8
    assert found["router"] == 2 * model.params_by_group["router"]


@pytest.mark.parametrize(("tokens", "expected"), [(0, 0.0), (1, 2.0), (10**6, 8.0)])
def test_experts_touched_go_from_top_k_to_all(tokens, expected):
    assert experts_touched(8, 2, tokens) == pytest.approx(expected)


def test_a_decode_step_reads_every_dense_weight_once_and_each_cache():
    kinds = formats(LLAMA_8B)
    work = Pass(sequences=1, new_tokens=1, cached_tokens=1000)
    operators = list(forward_operators(LLAMA_8B, Layout(), kinds, work))
    read = sum(o.count * o.bytes for o in operators if o.kernel == "matrix_product")
    table = LLAMA_8B.params_by_group["embedding"]
    norms = LLAMA_8B.params_by_group["norm"]
    assert read == pytest.approx(2 * (LLAMA_8B.total_params - table - norms), rel=1e-3)
    cache = sum(o.count * o.bytes for o in operators if o.kernel == "decode_attention")
    assert cache == pytest.approx(131_072 * 1001, rel=0.01)


def test_tensor_parallel_divides_flops_and_reduces_twice_a_layer():
    kinds = formats(LLAMA_8B)
    work = Pass(sequences=4, new_tokens=1, cached_tokens=100)
    whole = sum(o.count * o.flops for o in forward_operators(LLAMA_8B, Layout(), kinds, work))
    cut = list(forward_operators(LLAMA_8B, Layout(tp=4), kinds, work))
    assert sum(o.count * o.flops for o in cut) == pytest.approx(whole / 4)
    reduces = [o for o in cut if o.kernel == "all_reduce"]
    assert sum(o.count for o in reduces) == 2 * 32
    assert {o.message_bytes for o in reduces} == {4 * 4096 * 2}


def test_a_pipeline_sends_one_message_between_neighbours():
    work = Pass(sequences=1, new_tokens=8, cached_tokens=0)
    hops = [
        o for o in forward_operators(LLAMA_8B, Layout(pp=4), formats(LLAMA_8B), work) if o.kernel == "point_to_point"
    ]
    assert [(o.count, o.message_bytes) for o in hops] == [(3, 8 * 4096 * 2)]


@pytest.mark.parametrize("name", ["meta-llama/Llama-3.1-8B-Instruct", "deepseek-ai/DeepSeek-V3", "openai/gpt-oss-20b"])
def test_a_sweep_over_an_array_equals_the_numbers_one_by_one(name):
    model = catalog.model(name)
    batches = numpy.array([1.0, 3.0, 64.0])
    work = Pass(sequences=batches, new_tokens=1, cached_tokens=512)
    together = sum(o.count * o.flops for o in forward_operators(model, Layout(), formats(model), work))
    for index, batch in enumerate(batches):
        one = Pass(sequences=float(batch), new_tokens=1, cached_tokens=512)
        alone = sum(o.count * o.flops for o in forward_operators(model, Layout(), formats(model), one))
        assert together[index] == pytest.approx(alone)
