"""Every choice of a training run reaches the time of its step and its memory, each in the direction that it should."""

from __future__ import annotations

import pytest

from app.calculations.errors import InvalidInput
from app.runs import train_run

DENSE = {
    "model": "meta-llama/Llama-3.1-8B", "gpu": "h100-sxm", "num_gpus": 8, "framework": "megatron", "tp": 2, "pp": 1,
    "dp": 4, "micro_batch_size": 1, "global_batch_size": 64, "seq_len": 4096, "activation_recompute": "none",
    "sharding": "zero1",
}  # fmt: skip
MIXTURE = DENSE | {
    "model": "mistralai/Mixtral-8x7B-v0.1", "num_gpus": 64, "pp": 2, "vpp": 1, "dp": 16, "ep": 8,
    "global_batch_size": 256,
}  # fmt: skip
SHARDED = DENSE | {"framework": "torchtitan", "tp": 1, "dp": 8, "sharding": "fsdp-full"}
LORA = SHARDED | {"framework": "huggingface", "method": "lora", "global_batch_size": 8}
SMALL = {
    "model": "meta-llama/Llama-3.2-3B", "gpu": "rtx-4090", "num_gpus": 1, "framework": "huggingface", "seq_len": 2048,
    "micro_batch_size": 1, "global_batch_size": 8, "activation_recompute": "full",
}  # fmt: skip


def of(raw, **changes):
    """(seconds of a step, its terms, bytes by term, HFU) of the best layout."""
    found = train_run(raw | changes, source="cli").results
    return (
        found["step_time_s"]["value"],
        found["step_terms_s"],
        found["memory_bytes_per_gpu"],
        found["hfu"]["value"],
    )


def test_full_recomputation_of_some_layers_costs_and_saves_their_share():
    none, full = of(DENSE), of(DENSE, activation_recompute="full")
    half = of(DENSE, activation_recompute="full", recompute_layers=16)
    nothing = of(DENSE, activation_recompute="full", recompute_layers=0)
    assert nothing[0] == pytest.approx(none[0]) and nothing[3] == pytest.approx(none[3])
    assert nothing[2]["activations"] == none[2]["activations"]
    assert half[0] == pytest.approx((none[0] + full[0]) / 2, rel=1e-3)
    assert none[2]["activations"] > half[2]["activations"] > full[2]["activations"]


def test_paged_states_that_leave_the_gpu_travel_twice():
    """RTX 4090 on PCIe 4.0 x16: what memory lacks goes out and comes back in every step."""
    plain, paged = of(SMALL), of(SMALL, optimizer="paged-adamw")
    out = plain[2]["optimizer_states"] - paged[2]["optimizer_states"]
    assert out > 1e9
    assert plain[1]["offload"] == 0
    assert paged[1]["offload"] == pytest.approx(2 * out / 25e9, rel=0.3)
    assert paged[0] > plain[0]


def test_offloading_adds_to_a_paged_optimizer():
    in_host = of(SMALL, offload="optimizer")
    assert of(SMALL, optimizer="paged-adamw", offload="optimizer")[0] == pytest.approx(in_host[0])
    assert in_host[1]["optimizer"] == 0  # The host updates.
    activations = of(SMALL, activation_recompute="none", optimizer="paged-adamw", offload="activations")
    assert activations[1]["offload"] > of(SMALL, activation_recompute="none", optimizer="paged-adamw")[1]["offload"]


def test_weights_in_host_memory_are_fetched_layer_by_layer():
    one = of(SMALL, offload="all")[2]
    assert one["weights"] == 0
    # Two layers and the ends, in 16 bits, and gradients of as many.
    layer, table = 3072 * (3072 * 2 + 2 * 1024 + 3 * 8192), 128_256 * 3072
    assert one["gathered"] == pytest.approx(2 * 2 * (2 * layer + table), rel=0.02)


def test_weights_that_each_gpu_holds_whole_stay_there():
    kept, offloaded = of(DENSE)[2], of(DENSE, offload="all")[2]
    assert (offloaded["weights"], offloaded["gradients"]) == (kept["weights"], kept["gradients"])
    assert offloaded["optimizer_states"] == offloaded["master_weights"] == 0


def test_the_fullest_experts_hold_up_the_step():
    even, uneven = of(MIXTURE), of(MIXTURE, expert_imbalance=2)
    for term in ("experts", "expert_parallel"):
        assert uneven[1][term] > 1.8 * even[1][term] > 0
    assert uneven[1]["attention"] == pytest.approx(even[1]["attention"])
    assert uneven[2]["activations"] > even[2]["activations"]


@pytest.mark.parametrize(
    ("less", "more"),
    [
        ({"lora_rank": 1}, {"lora_rank": 16}),
        ({"lora_rank": 16}, {"lora_rank": 512}),
        ({"lora_targets": "qv"}, {"lora_targets": "attention"}),
        ({"lora_targets": "attention"}, {"lora_targets": "all"}),
    ],
    ids=str,
)
def test_larger_adapters_take_longer(less, more):
    assert of(LORA, **less)[0] < of(LORA, **more)[0]
    assert of(LORA, **less)[2]["adapters"] < of(LORA, **more)[2]["adapters"]


def test_adapters_follow_the_choices_of_formats_and_offload():
    plain = of(LORA)[2]
    assert of(LORA, offload="optimizer")[2]["adapters"] < plain["adapters"]
    assert of(LORA, gradient_precision="fp32")[2]["adapters"] > plain["adapters"]
    assert of(LORA, precision="fp32")[2]["weights"] == pytest.approx(2 * plain["weights"], rel=0.01)


@pytest.mark.parametrize("sharding", ["none", "zero1", "zero2"])
def test_frozen_weights_that_each_gpu_has_whole_are_never_sent(sharding):
    terms = of(LORA, sharding=sharding)[1]
    assert terms["sharding"] + terms["gradient_reduction"] < 0.01


def test_zero_deals_out_the_states_of_adapters():
    whole, states, gradients = (of(LORA, sharding=one)[2]["adapters"] for one in ("none", "zero1", "zero2"))
    assert whole > states > gradients


def test_fp32_is_fp32_throughout():
    wide, narrow = of(DENSE, precision="fp32"), of(DENSE)
    for term in ("attention", "head", "tensor_parallel", "elementwise", "linear"):
        assert wide[1][term] > 1.5 * narrow[1][term]
    assert wide[2]["activations"] > 1.8 * narrow[2]["activations"]


@pytest.mark.parametrize(
    ("changes", "term"),
    [
        ({"gradient_precision": "bf16"}, "gradient_reduction"),
        ({"state_precision": "bf16"}, "optimizer"),
        ({"state_precision": "fp8"}, "optimizer"),
        ({"master_weights": "off"}, "optimizer"),
        ({"optimizer": "adamw-8bit"}, "optimizer"),
        ({"optimizer": "adafactor"}, "optimizer"),
        ({"optimizer": "lion"}, "optimizer"),
        ({"optimizer": "sgd"}, "optimizer"),
    ],
    ids=str,
)
def test_smaller_formats_and_states_take_less_time_and_memory(changes, term):
    usual, small = of(DENSE), of(DENSE, **changes)
    assert small[1][term] < usual[1][term]
    assert small[2]["total"] < usual[2]["total"]


def test_hsdp_updates_what_its_group_shards():
    many = SHARDED | {"num_gpus": 64, "dp": 64}
    whole, group = of(many), of(many, sharding="hsdp", hsdp_gpus=8)
    assert group[1]["optimizer"] == pytest.approx(8 * whole[1]["optimizer"])
    assert group[2]["optimizer_states"] == pytest.approx(8 * whole[2]["optimizer_states"])


def test_an_hsdp_group_is_a_node_whatever_tensor_parallelism_takes_of_it():
    many = SHARDED | {"num_gpus": 64, "tp": 2, "dp": 32, "sharding": "hsdp"}
    assert of(many)[0] == of(many, hsdp_gpus=4)[0]
    assert of(many)[1]["sharding"] < of(many, hsdp_gpus=8)[1]["sharding"]  # Two nodes gather over the network.


def test_a_stage_of_a_pipeline_stays_gathered_for_all_micro_batches():
    """As memory says: once per step, however many micro-batches there are."""
    staged = SHARDED | {"pp": 2, "vpp": 1, "dp": 4, "num_gpus": 8}
    few, many = of(staged, global_batch_size=32), of(staged, global_batch_size=128)
    assert few[1]["sharding"] == many[1]["sharding"] == 0
    assert 0 < few[1]["gradient_reduction"] == pytest.approx(many[1]["gradient_reduction"])
    assert few[2]["gathered"] > of(SHARDED)[2]["gathered"]


def test_only_frameworks_that_compile_are_slower_without():
    assert of(DENSE, compiled=False)[0] == of(DENSE)[0]
    assert of(SHARDED, compiled=False)[0] > of(SHARDED)[0]


@pytest.mark.parametrize(
    ("raw", "changes", "field"),
    [
        (DENSE, {"activation_recompute": "full", "recompute_layers": 40}, "recompute_layers"),
        (DENSE, {"activation_recompute": "full", "recompute_layers": 4, "recompute_group": 2}, "recompute_group"),
        (DENSE, {"expert_imbalance": 2}, "expert_imbalance"),
        (DENSE, {"precision": "mxfp8"}, "precision"),
        (DENSE | {"gpu": "mi300x"}, {"precision": "mxfp8"}, "precision"),
        (DENSE | {"gpu": "mi355x"}, {"precision": "nvfp4"}, "precision"),
    ],
    ids=str,
)
def test_a_choice_that_means_nothing_is_refused(raw, changes, field):
    of(raw)
    with pytest.raises(InvalidInput) as refused:
        of(raw, **changes)
    assert refused.value.field == field


@pytest.mark.parametrize(("gpu", "precision"), [("b200", "mxfp8"), ("b200", "nvfp4"), ("mi355x", "mxfp8")])
def test_formats_with_scales_of_blocks_run_where_there_are_units(gpu, precision):
    assert of(DENSE | {"gpu": gpu}, precision=precision)[0] < of(DENSE | {"gpu": gpu})[0]
