"""From names and text to a scenario: every front end's values mean the same, what means nothing is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calculations.errors import InvalidInput
from app.scenarios import ALL_INPUTS, serving_scenario


def test_nothing_given_is_the_default_scenario():
    scenario, inputs = serving_scenario({})
    assert scenario.model.name == inputs["model"] == "meta-llama/Llama-3.1-8B-Instruct"
    assert scenario.gpu.slug == "h100-sxm" and scenario.num_gpus is None
    assert "num_gpus" not in inputs and inputs["concurrency"] == 16


def test_text_and_numbers_give_the_same_scenario():
    as_text = serving_scenario({"input_tokens": "512", "num_gpus": "8", "memory_utilization": "0.8", "tp": ""})
    as_numbers = serving_scenario({"input_tokens": 512, "num_gpus": 8, "memory_utilization": 0.8})
    assert as_text == as_numbers


def test_the_logged_inputs_ask_the_same_question_again():
    raw = {"model": "custom", "gpu": "custom", "num_experts": "8", "gpu_memory_gib": 48, "concurrency": "saturated"}
    scenario, inputs = serving_scenario(raw)
    again, same = serving_scenario(inputs)
    assert again == scenario and same == inputs


def test_a_custom_architecture_counts_like_the_preset_it_copies():
    llama = {"model": "custom", "num_kv_heads": 8}  # the defaults of the form are Llama-3.1-8B's sizes
    assert serving_scenario(llama)[0].model.total_params == 8_030_261_248


@pytest.mark.parametrize(
    ("changes", "more_params"),
    [
        ({"tied_embeddings": True}, -128_256 * 4096),
        ({"gated_mlp": False}, -32 * 4096 * 14336),
        ({"attention_bias": True}, 32 * (4096 + 2 * 1024 + 4096)),
        ({"num_experts": 4}, 32 * (3 * 3 * 4096 * 14336 + 4 * 4096)),
        ({"num_experts": 4, "dense_layers": 32}, 0),
    ],
    ids=["tied", "plain MLP", "biases", "four experts and a router", "all layers dense"],
)
def test_each_architectural_input_changes_the_count_as_it_must(changes, more_params):
    base = {"model": "custom", "num_kv_heads": 8}
    assert serving_scenario({**base, **changes})[0].model.total_params == 8_030_261_248 + more_params


def test_a_custom_model_may_have_a_latent_cache():
    scenario, _ = serving_scenario({"model": "custom", "kv_lora_rank": 512, "qk_rope_head_dim": 64})
    assert scenario.model.cache_elements_per_token == 32 * (512 + 64)


def test_a_custom_accelerator_is_in_si_units():
    scenario, _ = serving_scenario({"gpu": "custom", "gpu_memory_gib": 24, "gpu_bandwidth_gb_s": 1000})
    assert scenario.gpu.memory_bytes == 24 * 1024**3
    assert scenario.gpu.memory_bandwidth_bytes_per_second == 1e12
    assert not scenario.gpu.supports("fp8")


@pytest.mark.parametrize(
    ("raw", "field", "says"),
    [
        ({"modle": "x"}, "modle", "Did you mean model"),
        ({"model": "llama-3.1-9b-instruct"}, "model", "Did you mean"),
        ({"gpu": "h1000"}, "gpu", "Did you mean"),
        ({"engine": "vlmm"}, "engine", "vllm"),
        ({"input_tokens": 0}, "input_tokens", "out of range"),
        ({"concurrency": "lots"}, "concurrency", "'lots'"),
        ({"weight_precision": "fp3"}, "weight_precision", "fp3"),
        ({"tp": 3}, "tp", "does not divide"),
        ({"model": "custom", "num_kv_heads": 5}, "num_kv_heads", "does not divide"),
        ({"model": "custom", "num_heads": 33}, "num_heads", "hidden size"),
        ({"model": "custom", "num_experts": 2, "experts_per_token": 3}, "experts_per_token", "more than the 2"),
        ({"model": "custom", "num_experts": 2, "dense_layers": 33}, "dense_layers", "more than the 32"),
        ({"hidden_size": 5000}, "hidden_size", "counts only where model is custom"),
        ({"gpu_memory_gib": 24}, "gpu_memory_gib", "counts only where gpu is custom"),
    ],
)
def test_what_means_nothing_is_refused_by_name(raw, field, says):
    with pytest.raises(InvalidInput) as refused:
        serving_scenario(raw)
    assert refused.value.field == field and says in refused.value.message and refused.value.allowed


JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20) | st.lists(st.integers())


@given(raw=st.dictionaries(st.sampled_from(list(ALL_INPUTS)), JSON, max_size=4))
def test_any_values_are_accepted_or_refused(raw):
    try:
        serving_scenario(raw)
    except InvalidInput as refused:
        assert refused.field and refused.message
