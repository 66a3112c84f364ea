"""Memory of training: published formulas and tables, limits known by hand, what more of something costs or saves."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app import training_catalog
from app.calculations.architecture import Attention, FeedForward
from app.calculations.training.activations import Autograd, checkpoint_bytes, kept, selected, sums
from app.calculations.training.adapters import adapter_params
from app.calculations.training.memory import MemorySetting, in_flight, memory_by_stage, peak_memory
from app.calculations.training.recipe import Adapter
from app.calculations.training.states import NF4, NF4_DOUBLE, StateFormats, states
from app.calculations.weights import stages
from tests.calculations.training.settings import setting

GPT2 = "openai-community/gpt2"
TITAN = {"stack": "torchtitan"}


def memory_setting(s, recipe="torchtitan", optimizer="adamw", **changes):
    one = training_catalog.expected_recipes()[recipe]
    formats = StateFormats.of(one, sharding=s.sharding, precision=s.precision, method=s.method)
    found = MemorySetting(
        recipe=one,
        formats=formats,
        optimizer=training_catalog.optimizers()[optimizer],
        loss=one.default_loss,
    )
    return replace(found, **changes)


def peak(recipe="torchtitan", optimizer="adamw", changes=None, **choices):
    s = setting("meta-llama/Llama-3.1-8B", **choices)
    return peak_memory(s, memory_setting(s, recipe, optimizer, **(changes or {})))


# --- states -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("sharding", "gigabytes"), [("none", 120.0), ("zero1", 31.4), ("zero2", 16.6), ("zero3", 1.9)])
def test_zero_of_7_5_billion_parameters_on_64_gpus(sharding, gigabytes):
    """Rajbhandari et al., arXiv:1910.02054, figure 1: bytes per device of 7.5B parameters, K = 12, N_d = 64."""
    s = setting("meta-llama/Llama-3.1-8B", num_gpus=64, dp=64, sharding=sharding)
    recipe = training_catalog.expected_recipes()["deepspeed"]
    formats = StateFormats.of(recipe, sharding="none", gradient="bf16")
    stage = next(stages(s.model, 1))
    found = states(s, stage, recipe, formats, training_catalog.optimizers()["adamw"])
    scaled = found.resident * 7.5e9 / s.model.total_params / 1e9
    assert scaled == pytest.approx(gigabytes, rel=0.02)


def test_full_precision_keeps_sixteen_bytes_per_parameter():
    s = setting("meta-llama/Llama-3.1-8B", precision="fp32", num_gpus=1)
    found = peak_memory(s, memory_setting(s)).states
    assert found.resident == pytest.approx(16 * s.model.total_params)


@pytest.mark.parametrize(
    ("optimizer", "per_parameter"),
    [("adamw", 8.0), ("adamw-8bit", 2.032), ("lion", 4.0), ("sgd", 0.0), ("sgd-momentum", 4.0)],
)
def test_optimizer_states(optimizer, per_parameter):
    found = peak(optimizer=optimizer, num_gpus=1)
    assert found.states.optimizer == pytest.approx(per_parameter * 8_030_261_248)


def test_adafactor_keeps_rows_and_columns_of_matrices_only():
    """Shazeer and Stern, arXiv:1804.04235: n + m instead of n m."""
    found = peak(optimizer="adafactor", num_gpus=1)
    assert 0 < found.states.optimizer < 0.001 * 4 * 8_030_261_248


def test_muon_keeps_one_moment_of_matrices_and_two_of_the_rest():
    s = setting("meta-llama/Llama-3.1-8B")
    ends = 2 * 128_256 * 4096
    norms = 65 * 4096
    expected = 4 * (s.model.total_params - ends - norms) + 8 * (ends + norms)
    assert peak(optimizer="muon", num_gpus=1).states.optimizer == pytest.approx(expected)


def test_lora_on_query_and_value_of_phi_has_as_many_parameters_as_litgpt_prints():
    """Lightning-AI/litgpt tutorials/resource-tables.md: 1,572,864 trainable parameters of phi-1.5 with rank 8."""
    s = setting("microsoft/phi-1_5")
    adapter = Adapter(kind="lora", rank=8, targets="qv")
    tensors = [(t, count) for layer, count in s.model.layer_counts for t in layer.all_tensors()]
    assert sum(count * adapter_params(t, adapter, 1) for t, count in tensors) == 1_572_864


def test_nf4_takes_4_13_bits_with_double_quantisation():
    """QLoRA, arXiv:2305.14314, section 3: scales take 0.127 bits per parameter, 0.5 without double quantisation."""
    assert pytest.approx(4.127, abs=0.001) == NF4_DOUBLE * 8
    assert pytest.approx(4.5) == NF4 * 8


# --- activations ------------------------------------------------------------------------------------------------


def plain(tp=1, sequence_parallel=False, recompute="none"):
    """A layer of GPT-2's shape (h 768, 12 heads) under Megatron-LM of 2022 and what it keeps."""
    s = setting(
        GPT2, seq_len=1024, tp=tp, num_gpus=tp, sequence_parallel=sequence_parallel, activation_recompute=recompute,
        stack="megatron-2021",
    )  # fmt: skip
    recipe = training_catalog.expected_recipes()["megatron-2021"]
    a = Autograd(setting=s, recipe=recipe, hidden_size=768, fused_attention=False)
    return s.model.layers[0], a


@pytest.mark.parametrize("tp", [1, 2, 4])
def test_a_layer_keeps_what_korthikanti_et_al_count(tp):
    """arXiv:2205.05198, equation 2: s b h (10 + 24 / t + 5 a s / (h t)) bytes."""
    layer, a = plain(tp=tp)
    h, heads, length = 768, 12, 1024
    assert sum(sums(kept(layer, a)).values()) == pytest.approx(h * (10 + 24 / tp + 5 * heads * length / (h * tp)))


@pytest.mark.parametrize("tp", [1, 2, 4])
def test_sequence_parallelism_divides_all_of_it(tp):
    """arXiv:2205.05198, equation 4: s b h / t (34 + 5 a s / h)."""
    layer, a = plain(tp=tp, sequence_parallel=True)
    assert sum(sums(kept(layer, a)).values()) == pytest.approx(768 / tp * (34 + 5 * 12 * 1024 / 768))


def test_selective_recomputation_drops_the_scores():
    """arXiv:2205.05198, equation 6: s b h 34 / t."""
    layer, a = plain(tp=4, sequence_parallel=True, recompute="selective")
    assert sum(selected(layer, a).values()) == pytest.approx(34 * 768 / 4)


def test_full_recomputation_keeps_layer_inputs():
    """arXiv:2205.05198, table 2: 2 s b h per layer."""
    _, a = plain()
    assert checkpoint_bytes(a) == 2 * 768


def test_fused_attention_keeps_no_scores():
    s = setting("meta-llama/Llama-3.1-8B", seq_len=8192)
    a = Autograd(setting=s, recipe=training_catalog.expected_recipes()["torchtitan"], hidden_size=4096)
    longer = replace(a, setting=replace(s, seq_len=16_384))
    assert sums(kept(s.model.layers[0], a)) == sums(kept(s.model.layers[0], longer))


def test_grouped_query_attention_keeps_fewer_keys_and_values():
    s = setting("meta-llama/Llama-3.1-8B")
    layer = s.model.layers[0]
    attention = next(b for b in layer.blocks if isinstance(b, Attention))
    a = Autograd(setting=s, recipe=training_catalog.expected_recipes()["torchtitan"], hidden_size=4096)
    many = replace(layer, blocks=(replace(attention, num_kv_heads=32), *layer.blocks[1:]))
    fewer = sum(sums(kept(many, a)).values()) - sum(sums(kept(layer, a)).values())
    assert fewer == 2 * 2 * (32 - 8) * 128


def test_frozen_weights_keep_no_inputs_of_their_products():
    full = setting("meta-llama/Llama-3.1-8B")
    recipe = training_catalog.expected_recipes()["torchtitan"]
    layer = full.model.layers[0]
    mlp = next(b for b in layer.blocks if isinstance(b, FeedForward))
    frozen = replace(full, method="lora", adapter=Adapter(kind="lora", rank=8, targets="qv"))
    lora = Autograd(setting=frozen, recipe=recipe, hidden_size=4096)
    whole = Autograd(setting=full, recipe=recipe, hidden_size=4096)
    saved = sums(kept(layer, whole))["feed-forward"] - sums(kept(layer, lora))["feed-forward"]
    assert saved == 2 * mlp.width


def test_imbalance_grows_the_experts_tokens_only():
    s = setting("mistralai/Mixtral-8x7B-v0.1", ep=8)
    recipe = training_catalog.expected_recipes()["megatron"]

    def of(setting):
        return sums(kept(s.model.layers[0], Autograd(setting=setting, recipe=recipe, hidden_size=4096)))

    even, uneven = (of(replace(s, expert_imbalance=n)) for n in (1.0, 1.5))
    assert of(replace(s, ep=1, expert_imbalance=1.5)) == of(replace(s, ep=1))  # Each GPU holds all experts.
    for term in even:
        times = 1.5 if term in ("experts", "routed copies") else 1.0
        assert uneven[term] == pytest.approx(times * even[term])


# --- pipeline ---------------------------------------------------------------------------------------------------


def test_micro_batches_in_flight_of_1f1b():
    assert [in_flight(stage, 4, 1, 16) for stage in range(4)] == [4, 3, 2, 1]
    assert in_flight(0, 8, 1, 2) == 2


@pytest.mark.parametrize(("pp", "vpp"), [(4, 2), (8, 5), (35, 3)])
def test_interleaving_keeps_more_on_the_first_stage(pp, vpp):
    """Korthikanti et al., arXiv:2205.05198, section 4.2.3: 1 + (p - 1) / (p m) of all layers."""
    assert in_flight(0, pp, vpp, 1000) == pytest.approx(pp * (1 + (pp - 1) / (pp * vpp)))


def test_the_first_stage_is_the_fullest_and_the_last_holds_the_logits():
    found = peak("megatron", num_gpus=4, pp=4, dp=1, global_batch_size=16)
    assert found.stage == 0
    assert found.logits == 0
    assert found.in_flight == 4


# --- the whole --------------------------------------------------------------------------------------------------


def test_terms_add_up_to_the_process():
    for choices in ({}, {"num_gpus": 64, "dp": 64, "sharding": "fsdp-full"}, {"method": "qlora"}):
        found = peak(**choices)
        assert sum(found.terms().values()) == pytest.approx(found.process)
        assert found.allocated <= found.reserved <= found.process


@pytest.mark.parametrize(
    ("less", "more"),
    [
        (TITAN | {"activation_recompute": "full"}, TITAN | {"activation_recompute": "selective"}),
        (TITAN | {"activation_recompute": "selective"}, TITAN | {"activation_recompute": "none"}),
        ({"micro_batch_size": 1}, {"micro_batch_size": 2}),
        ({"seq_len": 4096}, {"seq_len": 8192}),
        ({"num_gpus": 16, "dp": 16, "sharding": "fsdp-full"}, {"num_gpus": 8, "dp": 8, "sharding": "fsdp-full"}),
        ({"num_gpus": 8, "dp": 8, "sharding": "zero1"}, {"num_gpus": 8, "dp": 8, "sharding": "none"}),
        ({"num_gpus": 8, "dp": 8, "sharding": "zero2"}, {"num_gpus": 8, "dp": 8, "sharding": "zero1"}),
        ({"num_gpus": 2, "tp": 2}, {"num_gpus": 1, "tp": 1}),
        ({"method": "lora"}, {"method": "full"}),
        ({"method": "qlora"}, {"method": "lora"}),
    ],
    ids=str,
)
def test_what_takes_less(less, more):
    assert peak(**less).process < peak(**more).process


@pytest.mark.parametrize(
    ("changes", "term"),
    [
        ({"changes": {"loss": "chunked"}}, "logits"),
        ({"offload": "optimizer"}, "optimizer_states"),
        ({"offload": "activations"}, "activations"),
        ({"changes": {"optimizer_in_backward": True}}, "gradients"),
    ],
    ids=str,
)
def test_what_lowers_one_term(changes, term):
    assert peak(**changes).terms()[term] < peak().terms()[term]


def test_paged_states_leave_a_full_gpu():
    """bitsandbytes: what does not fit goes to the host, and no more."""
    plain = peak("torchtune", "adamw", gpu="rtx-4090", seq_len=512, activation_recompute="full")
    paged = peak("torchtune", "paged-adamw", gpu="rtx-4090", seq_len=512, activation_recompute="full")
    assert plain.process > paged.process
    assert 0 < paged.paged_out <= plain.states.optimizer


def test_every_framework_has_a_recipe_and_every_recipe_a_framework():
    recipes, stacks = training_catalog.expected_recipes(), training_catalog.stacks()
    assert set(stacks) <= {recipe.stack for recipe in recipes.values()}
    assert {recipe.stack for recipe in recipes.values()} <= set(stacks)
    for recipe in recipes.values():
        assert recipe.source
        assert recipe.reports in ("allocated", "reserved", "process")


def test_every_stage_has_its_memory_and_the_peak_is_that_of_the_fullest():
    s = setting("meta-llama/Llama-3.1-8B", pp=4, tp=2, sharding="zero1")
    m = memory_setting(s, "megatron")
    found = memory_by_stage(s, m)
    assert [one.stage for one in found] == [0, 1, 2, 3]
    assert [one.in_flight for one in found] == [4, 3, 2, 1]
    assert max(one.process for one in found) == peak_memory(s, m).process
    assert [one.logits > 0 for one in found] == [False, False, False, True]
