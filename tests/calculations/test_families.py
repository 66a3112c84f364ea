"""Families beside the catalogue's, by counts of the library's classes and by published parameter counts."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from app import catalog
from app.calculations.architecture import Attention, FeedForward, LatentAttention, Recurrent
from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config
from app.calculations.huggingface.families import FAMILIES
from tests.calculations.small_configs import LLAMA

DATA = Path(__file__).parents[1] / "data"

#: Small configurations with the parameters of the class that transformers 5.23 makes of them on the meta device.
#: They leave out what the class has a default for, so the defaults are tested too.
SMALL: list[dict[str, Any]] = json.loads((DATA / "families.json").read_text(encoding="utf-8"))
with (DATA / "more_models.csv").open(encoding="utf-8", newline="") as file:
    MORE = {row["id"]: row for row in csv.DictReader(file)}


@pytest.mark.parametrize("config", SMALL, ids=lambda config: str(config["model_type"]))
def test_parameters_of_small_models_are_those_of_the_library_class(config: dict[str, Any]) -> None:
    described = {key: value for key, value in config.items() if key != "total_params"}
    model = read_config(described, name="small")
    assert model.total_params == config["total_params"]
    assert model.warnings == ()


@pytest.mark.parametrize("model_id", MORE)
def test_further_presets_have_their_published_size(model_id: str) -> None:
    model, truth = catalog.model(model_id), MORE[model_id]
    assert model.total_params == int(truth["total_params"])
    assert 2 * model.cache_elements_per_token == int(truth["kv_bytes_per_token_bf16"])
    assert model.tower_params == int(truth["tower_params"])
    assert model.warnings == ()


#: Configurations in the style of families whose models the catalogue lacks, with the parameters that Hugging Face
#: lists for the checkpoint of that name.
RELATIVES: list[dict[str, Any]] = json.loads((DATA / "relatives.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("relative", RELATIVES, ids=lambda relative: str(relative["id"]))
def test_relatives_have_the_parameters_of_their_checkpoints(relative: dict[str, Any]) -> None:
    model = read_config(relative["config"], name=relative["id"])
    assert model.total_params == relative["total_params"]
    assert model.warnings == ()


BASE: dict[str, Any] = {"tie_word_embeddings": False, "max_position_embeddings": 4096}
MLA = {"qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
BAILING = {
    "model_type": "bailing_moe",
    "hidden_size": 2048,
    "num_attention_heads": 16,
    "num_key_value_heads": 4,
    "head_dim": 128,
    "use_qkv_bias": False,
    "use_bias": False,
}
#: Name, configuration, billions of parameters in total and active (None: not published), and who says so.
PUBLISHED: list[tuple[str, dict[str, Any], float, float | None, str]] = [
    (
        "Snowflake/snowflake-arctic-instruct",
        {
            "model_type": "arctic",
            "hidden_size": 7168,
            "num_hidden_layers": 35,
            "num_attention_heads": 56,
            "num_key_value_heads": 8,
            "intermediate_size": 4864,
            "num_local_experts": 128,
            "num_experts_per_tok": 2,
            "moe_layer_frequency": 1,
            "parallel_attn_mlp_res": True,
            "vocab_size": 32000,
        },
        480,
        17,
        "Snowflake, Arctic announcement (April 2024)",
    ),
    (
        "stepfun-ai/step3 (language part)",
        {
            "model_type": "step3_text",
            "hidden_size": 7168,
            "num_hidden_layers": 61,
            "num_attention_heads": 64,
            "num_attention_groups": 1,
            "head_dim": 256,
            "share_q_dim": 2048,
            "intermediate_size": 18432,
            "moe_intermediate_size": 5120,
            "share_expert_dim": 5120,
            "moe_num_experts": 48,
            "moe_top_k": 3,
            "moe_layers_enum": ",".join(map(str, range(4, 60))),
            "vocab_size": 128815,
        },
        316,
        38,
        "arXiv:2507.19427, table 1",
    ),
    (
        "MiniMaxAI/MiniMax-Text-01",
        {
            "model_type": "minimax_text_01",
            "hidden_size": 6144,
            "num_hidden_layers": 80,
            "num_attention_heads": 64,
            "num_key_value_heads": 8,
            "head_dim": 128,
            "intermediate_size": 9216,
            "num_local_experts": 32,
            "num_experts_per_tok": 2,
            "attn_type_list": ([0] * 7 + [1]) * 10,
            "shared_intermediate_size": 0,
            "vocab_size": 200064,
            "layernorm_full_attention_alpha": 3.5,
            "postnorm": True,
        },
        456,
        None,
        "arXiv:2501.08313, abstract",
    ),
    (
        "meituan-longcat/LongCat-Flash-Chat",
        {
            "model_type": "longcat_flash",
            "hidden_size": 6144,
            "num_layers": 28,
            "num_attention_heads": 64,
            "ffn_hidden_size": 12288,
            "expert_ffn_hidden_size": 2048,
            "n_routed_experts": 512,
            "zero_expert_num": 256,
            "zero_expert_type": "identity",
            "moe_topk": 12,
            "kv_lora_rank": 512,
            "q_lora_rank": 1536,
            **MLA,
            "vocab_size": 131072,
        },
        560,
        27,
        "arXiv:2509.01322, abstract: 560B, 18.6B to 31.3B active, 27B on average",
    ),
    (
        "inclusionAI/Ling-lite",
        {
            **BAILING,
            "num_hidden_layers": 28,
            "intermediate_size": 5632,
            "moe_intermediate_size": 1408,
            "num_experts": 64,
            "num_experts_per_tok": 6,
            "num_shared_experts": 2,
            "vocab_size": 126464,
        },
        16.8,
        2.75,
        "arXiv:2503.05139, abstract",
    ),
    (
        "inclusionAI/Ling-mini-2.0",
        {
            **BAILING,
            "num_hidden_layers": 20,
            "intermediate_size": 5120,
            "moe_intermediate_size": 512,
            "num_experts": 256,
            "num_experts_per_tok": 8,
            "num_shared_experts": 1,
            "first_k_dense_replace": 1,
            "use_qk_norm": True,
            "vocab_size": 157184,
        },
        16.26,
        1.43,
        "Hugging Face, inclusionAI/Ling-mini-2.0, model card",
    ),
    (
        "baichuan-inc/Baichuan2-13B-Base",
        {
            "model_type": "baichuan",
            "hidden_size": 5120,
            "num_hidden_layers": 40,
            "num_attention_heads": 40,
            "intermediate_size": 13696,
            "vocab_size": 125696,
        },
        13.9,
        None,
        "Hugging Face, baichuan-inc/Baichuan2-13B-Base",
    ),
    (
        "internlm/internlm-7b",
        {
            "model_type": "internlm",
            "bias": True,
            "hidden_size": 4096,
            "num_hidden_layers": 32,
            "num_attention_heads": 32,
            "intermediate_size": 11008,
            "vocab_size": 103168,
        },
        7.32,
        None,
        "Hugging Face, internlm/internlm-7b",
    ),
    (
        "jetmoe/jetmoe-8b",
        {
            "model_type": "jetmoe",
            "hidden_size": 2048,
            "num_hidden_layers": 24,
            "num_key_value_heads": 16,
            "kv_channels": 128,
            "intermediate_size": 5632,
            "num_local_experts": 8,
            "num_experts_per_tok": 2,
            "vocab_size": 32000,
            "tie_word_embeddings": True,
        },
        8.52,
        2.2,
        "Hugging Face, jetmoe/jetmoe-8b; arXiv:2404.07413 says 8B with 2.2B active",
    ),
    (
        "openbmb/MiniCPM3-4B",
        {
            "model_type": "minicpm3",
            "hidden_size": 2560,
            "num_hidden_layers": 62,
            "num_attention_heads": 40,
            "num_key_value_heads": 40,
            "intermediate_size": 6400,
            "q_lora_rank": 768,
            "kv_lora_rank": 256,
            "qk_nope_head_dim": 64,
            "qk_rope_head_dim": 32,
            "v_head_dim": 64,
            "vocab_size": 73448,
            "tie_word_embeddings": True,
        },
        4.07,
        None,
        "Hugging Face, openbmb/MiniCPM3-4B",
    ),
]


@pytest.mark.parametrize(("name", "config", "total", "active", "source"), PUBLISHED, ids=lambda value: str(value)[:40])
def test_published_parameter_counts(
    name: str, config: dict[str, Any], total: float, active: float | None, source: str
) -> None:
    model = read_config({**BASE, **config}, name=name)
    assert model.total_params / 1e9 == pytest.approx(total, rel=0.004), source
    assert active is None or model.active_params / 1e9 == pytest.approx(active, rel=0.07), source
    assert model.warnings == ()


def test_searched_layers_have_blocks_of_their_own_sizes() -> None:
    model = catalog.model("nvidia/Llama-3_3-Nemotron-Super-49B-v1")
    first, sixth = model.layers[0], model.layers[6]
    attention, mlp = first.blocks
    assert isinstance(attention, Attention) and attention.num_kv_heads == 8
    assert isinstance(mlp, FeedForward) and mlp.width == 14336  # 2/3 x 2.625 x 8,192
    assert [type(block) for block in sixth.blocks] == [FeedForward]
    assert sum(isinstance(layer.blocks[0], Attention) for layer in model.layers) == 49


NAS = {**LLAMA, "model_type": "nemotron-nas", "num_key_value_heads": None, "intermediate_size": None}
SOME: dict[str, Any] = {"attention": {"n_heads_in_group": 2}, "ffn": {"ffn_mult": 1.0}}


def test_a_block_can_be_a_linear_layer_or_nothing() -> None:
    replaced = {"attention": {"replace_with_linear": True}, "ffn": {"replace_with_linear": True}}
    nothing = {"attention": {"no_op": True}, "ffn": {"no_op": True}}
    model = read_config({**NAS, "block_configs": [replaced, nothing]}, name="nas")
    # Two square matrices and two norms; embedding, lm_head, final norm.
    assert model.total_params == 2 * 64 * 64 + 2 * 64 + 2 * 100 * 64 + 64
    assert model.cache_elements_per_token == 0


@pytest.mark.parametrize(
    ("blocks", "field"),
    [
        (None, "config.block_configs"),
        ([SOME], "config.block_configs"),
        ([SOME, 3], "config.block_configs[1]"),
        ([SOME, {"attention": {"n_heads_in_group": 2}}], "config.block_configs[1].ffn"),
        ([SOME, {**SOME, "ffn": {"ffn_mult": -1}}], "config.block_configs[1].ffn.ffn_mult"),
        ([SOME, {**SOME, "attention": {}}], "config.block_configs[1].attention.n_heads_in_group"),
    ],
)
def test_block_configs_that_mean_nothing_are_refused(blocks: object, field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        read_config({**NAS, "block_configs": blocks}, name="nas")
    assert refused.value.field == field


def test_lightning_attention_keeps_a_state_instead_of_a_cache() -> None:
    config = next(config for name, config, *_ in PUBLISHED if name == "MiniMaxAI/MiniMax-Text-01")
    model = read_config({**BASE, **config}, name="text-01")
    assert [type(layer.blocks[0]) for layer in model.layers[:8]] == [Recurrent] * 7 + [Attention]
    assert model.cache_elements_per_token == 10 * 2 * 8 * 128
    assert model.state_elements_per_sequence == 70 * 64 * 128 * 128


def test_longcat_has_two_latents_a_layer() -> None:
    config = next(config for name, config, *_ in PUBLISHED if name == "meituan-longcat/LongCat-Flash-Chat")
    model = read_config({**BASE, **config}, name="longcat")
    assert sum(isinstance(block, LatentAttention) for block in model.layers[0].blocks) == 2
    assert model.cache_elements_per_token == 2 * 28 * 576


def test_gemma_3n_shares_caches_of_its_last_layers() -> None:
    config = next(config for config in SMALL if config["model_type"] == "gemma3n_text")
    model = read_config({key: value for key, value in config.items() if key != "total_params"}, name="3n")
    assert [block.owns_cache for block, _ in model.attentions() if isinstance(block, Attention)].count(False) >= 1
    assert model.cache_elements_per_token == 2 * 2 * 2 * 16


#: Wrapper, its key, its language model's key, whether the class of transformers 5.23 ties.
TIES = [
    ("llama4", True, False, False),
    ("llama4", False, True, True),
    ("qwen3_5", None, True, False),
    ("qwen3_5_moe", True, None, True),
    ("qwen3_vl", None, True, False),
    ("qwen2_5_vl", False, True, True),
    ("gemma3", None, False, True),
    ("glm4v", False, True, True),
    ("idefics3", None, True, False),
    ("mllama", True, True, False),
]


@pytest.mark.parametrize(("wrapper", "outer", "inner", "tied"), TIES)
def test_wrappers_tie_as_their_classes_do(wrapper: str, outer: bool | None, inner: bool | None, tied: bool) -> None:
    text: dict[str, Any] = {key: value for key, value in LLAMA.items() if key != "tie_word_embeddings"}
    text |= {
        "model_type": f"{wrapper}_text" if wrapper in FAMILIES else "llama",
        "num_experts": 4,
        "num_experts_per_tok": 1,
    }
    if inner is not None:
        text["tie_word_embeddings"] = inner
    config: dict[str, Any] = {"model_type": wrapper, "text_config": text}
    if outer is not None:
        config["tie_word_embeddings"] = outer
    assert read_config(config, name="wrapped").tied_embeddings is tied


@pytest.mark.parametrize("model_type", ["nemotron_h", "kimi_linear"])
def test_some_classes_never_tie(model_type: str) -> None:
    config = next((config for config in SMALL if config["model_type"] == model_type), None) or {
        **LLAMA,
        "model_type": model_type,
        "num_experts": 0,
        "kv_lora_rank": 16,
    }
    described = {key: value for key, value in config.items() if key != "total_params"}
    assert not read_config({**described, "tie_word_embeddings": True}, name="tied").tied_embeddings
