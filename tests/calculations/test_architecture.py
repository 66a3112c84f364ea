"""Counts of a Model against sums done by hand."""

from __future__ import annotations

from dataclasses import replace

import pytest

from app.calculations.architecture import Attention, Experts, LatentAttention, Layer, Model, Recurrent, Tensor
from app.calculations.huggingface import read_config

LLAMA_2_7B = read_config(
    {
        "model_type": "llama",
        "hidden_size": 4096,
        "num_hidden_layers": 32,
        "num_attention_heads": 32,
        "intermediate_size": 11008,
        "vocab_size": 32000,
        "tie_word_embeddings": False,
    },
    name="Llama-2-7B",
)


def test_llama_2_7b_adds_up() -> None:
    # arXiv:2307.09288; per layer 4 x 4096 x 4096 + 3 x 4096 x 11008 + 2 x 4096.
    layer = 4 * 4096 * 4096 + 3 * 4096 * 11008 + 2 * 4096
    assert LLAMA_2_7B.total_params == 32 * layer + 2 * 32000 * 4096 + 4096 == 6_738_415_616
    assert LLAMA_2_7B.active_params == LLAMA_2_7B.total_params
    assert LLAMA_2_7B.params_by_group["norm"] == 65 * 4096


def test_llama_2_7b_caches_half_a_mebibyte_per_token_in_bf16() -> None:
    assert 2 * LLAMA_2_7B.cache_elements_per_token == 2 * 2 * 32 * 32 * 128 == 524_288


def test_equal_layers_are_counted_together() -> None:
    ((layer, count),) = LLAMA_2_7B.layer_counts
    assert (layer, count) == (LLAMA_2_7B.layers[0], 32)
    copies = tuple(Layer(layer.blocks, layer.tensors) for layer in LLAMA_2_7B.layers)
    assert replace(LLAMA_2_7B, layers=copies).layer_counts == LLAMA_2_7B.layer_counts


@pytest.mark.parametrize(
    ("tensor_parallel", "share"), [(1, 1), (2, 1 / 2), (8, 1 / 8), (16, 1 / 8), (3, 3 / 8)], ids=str
)
def test_key_heads_are_replicated_beyond_their_number(tensor_parallel: int, share: float) -> None:
    keys = Tensor("k_proj", "attention", (8 * 128, 4096), "linear", split_units=8)
    assert keys.params_per_rank(tensor_parallel) == share * keys.params


def test_expert_shards_deal_out_copies() -> None:
    expert = Tensor("up_proj", "expert", (100, 10), "linear", copies=8, split_units=100)
    assert expert.params == 8000
    assert expert.params_per_rank(1, expert_shards=4) == 2000
    assert expert.params_per_rank(2, expert_shards=4) == 1000


def attention(**changes: object) -> Attention:
    base = Attention(tensors=(), num_heads=8, num_kv_heads=2, head_dim=16, value_dim=16)
    return replace(base, **changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("block", "per_token", "past_window"),
    [
        (attention(), 64, 64),
        (attention(value_dim=8), 48, 48),
        (attention(window=100), 64, 0),
        (attention(owns_cache=False), 0, 0),
        (attention(cross=True), 0, 0),
        (attention(shares_key_value=True), 32, 32),
        (attention(shares_key_value=True, window=100, compression=4), 32, 8),
        (
            LatentAttention(tensors=(), num_heads=8, kv_lora_rank=512, rope_dim=64, nope_dim=128, value_dim=128),
            576,
            576,
        ),
    ],
    ids=["grouped", "narrow values", "window", "shared", "cross", "key is value", "compressed", "latent"],
)
def test_cache_of_a_layer(block: Attention | LatentAttention, per_token: int, past_window: int) -> None:
    assert block.cache_elements_per_token == per_token
    assert block.cache_elements_per_token_past_window == past_window


def test_idle_experts_are_not_active() -> None:
    tensors = (
        Tensor("router", "router", (8, 4), "linear"),
        Tensor("up", "expert", (10, 4), "linear", copies=8),
        Tensor("shared", "shared_expert", (10, 4), "linear"),
    )
    experts = Experts(tensors=tensors, num_experts=8, experts_per_token=2, width=10, gated=False)
    state = Recurrent(tensors=(), state_elements=7, conv_elements=3, heads=1)
    model = Model(
        name="tiny",
        family="tiny",
        hidden_size=4,
        vocab_size=10,
        layers=(Layer((state, experts)),) * 3,
        embedding=(Tensor("embed", "embedding", (10, 4), "table"),),
        head=(),
        tied_embeddings=True,
    )
    assert model.total_params == 40 + 3 * (32 + 320 + 40)
    assert model.active_params == model.total_params - 3 * 6 * 40
    assert model.state_elements_per_sequence == 30
    assert model.num_experts == 8
    assert model.is_mixture_of_experts
    assert model.num_heads == model.num_kv_heads == model.cache_elements_per_token == 0
