"""Layouts: what is legal, what the nearest legal one is, how layers are dealt to stages."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import catalog
from app.calculations.errors import InvalidInput
from app.calculations.parallelism import Layout, candidates, check, legal_tensor_parallel, stage_sizes

LLAMA_70B = catalog.model("meta-llama/Llama-3.1-70B-Instruct")
DEEPSEEK = catalog.model("deepseek-ai/DeepSeek-V3")
QWEN_MOE = catalog.model("Qwen/Qwen3-235B-A22B")


def test_an_instance_has_tp_x_pp_x_dp_gpus():
    assert Layout(tp=8, pp=2, dp=3, ep=8).num_gpus == 48


def test_tp_divides_heads_and_may_replicate_key_value_heads():
    # 64 query heads, 8 key/value heads: 16 ranks hold each key/value head twice.
    assert legal_tensor_parallel(LLAMA_70B, 64) == [1, 2, 4, 8, 16, 32, 64]


def test_tp_that_does_not_divide_the_heads_names_the_nearest_that_does():
    with pytest.raises(InvalidInput, match="4 or 8") as refused:
        check(LLAMA_70B, Layout(tp=6))
    assert refused.value.field == "tp"


@pytest.mark.parametrize(
    ("model", "layout", "field"),
    [
        (LLAMA_70B, Layout(pp=81), "pp"),
        (LLAMA_70B, Layout(tp=2, ep=2), "ep"),
        (QWEN_MOE, Layout(tp=4, ep=3), "ep"),
        (QWEN_MOE, Layout(tp=4, dp=2, ep=16), "ep"),
    ],
    ids=["more stages than layers", "experts of a dense model", "3 of 128 experts", "more than the GPUs"],
)
def test_an_illegal_layout_is_refused_by_the_input_to_change(model, layout, field):
    with pytest.raises(InvalidInput) as refused:
        check(model, layout)
    assert refused.value.field == field and refused.value.allowed
    assert "try " in refused.value.message or (layout.ep > 1 and not model.num_experts)


def test_experts_lie_within_a_replica_or_across_replicas():
    assert Layout(tp=8, ep=1).expert_shards == 8 and Layout(tp=8, ep=1).expert_tensor_parallel == 8
    assert Layout(tp=8, ep=8).expert_tensor_parallel == 1
    assert Layout(tp=4, dp=2, ep=8).expert_shards == 8


@given(num_layers=st.integers(1, 300), pp=st.integers(1, 64))
def test_stages_are_even_and_lose_no_layer(num_layers, pp):
    sizes = stage_sizes(num_layers, pp)
    assert sum(sizes) == num_layers and len(sizes) == pp and max(sizes) - min(sizes) <= 1


def test_spare_layers_go_to_the_middle_where_no_embedding_is():
    assert stage_sizes(61, 4) == [15, 16, 15, 15]
    assert stage_sizes(62, 4) == [15, 16, 16, 15]


@pytest.mark.parametrize("num_gpus", [1, 2, 8, 12, 16])
def test_candidates_are_legal_use_every_gpu_and_keep_what_was_set(num_gpus):
    for model in (LLAMA_70B, DEEPSEEK):
        found = list(candidates(model, num_gpus, domain_gpus=8))
        assert found and len(set(found)) == len(found)
        for layout in found:
            assert check(model, layout).num_gpus == num_gpus
            assert layout.tp <= 8
    assert {layout.tp for layout in candidates(LLAMA_70B, 16, domain_gpus=8, tp=4)} == {4}
