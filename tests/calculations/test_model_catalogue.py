"""The catalogue's configurations against counts of the library's own classes."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from app.calculations.architecture import Attention, Experts, FeedForward, LatentAttention, Model, Recurrent
from app.calculations.huggingface import read_config
from app.calculations.precision import PRECISIONS

ROOT = Path(__file__).parents[2]
MODELS = ROOT / "app" / "data" / "models"

#: Parameters of the library's classes (transformers 5.23) instantiated without weights, and sizes of the caches
#: that they fill. Rows with verified_by "none" are no measurement.
with (ROOT / "tests" / "data" / "models.csv").open(encoding="utf-8", newline="") as file:
    TRUTH = {row["hf_id"]: row for row in csv.DictReader(file) if row["verified_by"] != "none"}
with (MODELS / "index.csv").open(encoding="utf-8", newline="") as file:
    INDEX = {row["id"]: row for row in csv.DictReader(file)}

GROUP_COLUMNS = {
    "embedding": "embedding_params",
    "attention": "attention_params",
    "mlp": "mlp_params",
    "expert": "expert_params",
    "shared_expert": "shared_expert_params",
    "router": "router_params",
    "norm": "norm_params",
    "state_space": "ssm_linear_attn_params",
    "lm_head": "lm_head_params",
    "other": "other_params",
}
CACHE_COLUMNS: dict[str, Callable[[Model], int]] = {
    "kv_bytes_per_token_bf16": lambda model: model.cache_elements_per_token,
    "kv_bytes_per_token_full_layers_bf16": lambda model: model.cache_elements_per_token_past_windows,
    "kv_window_bytes_per_seq_bf16": lambda model: model.window_cache_elements_per_sequence,
    "state_bytes_per_seq_all_bf16": lambda model: model.state_elements_per_sequence,
}


def config_of(model_id: str) -> dict[str, Any]:
    text = (MODELS / INDEX[model_id]["config_file"]).read_text(encoding="utf-8")
    config: dict[str, Any] = json.loads(text)
    return config


def read(model_id: str) -> Model:
    return read_config(config_of(model_id), name=model_id)


def number(cell: str) -> int:
    return int(cell) if cell else 0


def test_the_catalogue_has_every_verified_model() -> None:
    assert set(TRUTH) <= set(INDEX)
    assert len(TRUTH) == 185


@pytest.mark.parametrize("model_id", TRUTH)
def test_parameters_are_those_of_the_library_class(model_id: str) -> None:
    model, truth = read(model_id), TRUTH[model_id]
    assert model.params_by_group == {group: number(truth[column]) for group, column in GROUP_COLUMNS.items()}
    assert model.total_params == int(truth["total_params_exact"])
    assert model.active_params == int(truth["active_params"])
    assert model.num_layers == int(truth["num_layers"])
    assert model.mtp_layers == number(truth["mtp_layers_not_counted"])


@pytest.mark.parametrize(
    ("model_id", "total", "active", "source"),
    [
        ("moonshotai/Kimi-K3", 2.78e12, 104e9, "NVIDIA NeMo AutoModel, Kimi K3; active without the embedding"),
        ("microsoft/Phi-3-small-8k-instruct", 7.392e9, 7.392e9 - 100_352 * 4096, "Hugging Face, 7.39 B"),
    ],
)
def test_models_that_the_library_lacks_have_their_published_size(
    model_id: str, total: float, active: float, source: str
) -> None:
    model = read(model_id)
    assert model.total_params == pytest.approx(total, rel=1e-3), source
    assert model.active_params - model.params_by_group["embedding"] == pytest.approx(active, rel=3e-3), source
    assert 2 * model.cache_elements_per_token == {"moonshotai/Kimi-K3": 27_648}.get(model_id, 131_072)
    assert model.warnings == ()


def test_step_3_7_is_the_library_class_with_the_words_that_its_file_states() -> None:
    """The class wants text_config and falls back to 128,815 words; the file states 128,896."""
    model = read("stepfun-ai/Step-3.7-Flash")
    assert model.total_params == 195_843_833_088 + 2 * (128_896 - 128_815) * 4096
    assert 2 * model.cache_elements_per_token == 184_320
    assert model.warnings == ()


@pytest.mark.parametrize("model_id", TRUTH)
def test_caches_are_those_of_the_library_class(model_id: str) -> None:
    model, truth = read(model_id), TRUTH[model_id]
    # DeepSeek-V4's cache was not measured: see test_deepseek_v4_keeps_a_window_and_compressed_rows.
    for column, elements in CACHE_COLUMNS.items():
        if truth["kv_bytes_per_token_bf16"] or column.startswith("state"):
            assert 2 * elements(model) == number(truth[column]), column


@pytest.mark.parametrize("model_id", TRUTH)
def test_catalogue_configs_are_understood(model_id: str) -> None:
    model, truth = read(model_id), TRUTH[model_id]
    assert model.warnings == ()
    assert model.checkpoint_precision in PRECISIONS
    vision = number(truth["total_with_vision"])
    assert model.tower_params == (vision - model.total_params if vision else 0)


@pytest.mark.parametrize("model_id", TRUTH)
def test_tensors_split_into_whole_parts(model_id: str) -> None:
    model = read(model_id)
    assert len({id(layer) for layer in model.layers}) == len(model.layer_counts)
    for tensor in model.tensors():
        assert tensor.kind in ("linear", "table", "vector")
        assert tensor.shape[tensor.split_axis] % tensor.split_units == 0, tensor


@pytest.mark.parametrize(
    ("model_id", "precision"),
    [
        ("deepseek-ai/DeepSeek-V3", "fp8"),
        ("deepseek-ai/DeepSeek-R1", "fp8"),
        ("moonshotai/Kimi-K2-Instruct", "fp8"),
        ("moonshotai/Kimi-K2.5", "int4"),
        ("openai/gpt-oss-120b", "mxfp4"),
        ("nvidia/Kimi-K2.6-NVFP4", "nvfp4"),
        ("nvidia/Qwen3.6-27B-NVFP4", "nvfp4"),
        ("meta-llama/Llama-2-7b-hf", "fp16"),
        ("meta-llama/Meta-Llama-3.1-8B", "bf16"),
        ("allenai/OLMo-2-1124-7B", "fp32"),
    ],
)
def test_checkpoint_precision(model_id: str, precision: str) -> None:
    assert read(model_id).checkpoint_precision == precision


def test_gpt_oss_slides_on_every_other_layer() -> None:
    model = read("openai/gpt-oss-20b")
    windows = [layer.blocks[0].window for layer in model.layers if isinstance(layer.blocks[0], Attention)]
    assert windows == [128, None] * 12


def test_mla_caches_one_latent_per_token() -> None:
    # kv_lora_rank 512 + qk_rope_head_dim 64, no factor 2, independent of the 128 heads (arXiv:2405.04434).
    model = read("deepseek-ai/DeepSeek-V3")
    attention = model.layers[0].blocks[0]
    assert isinstance(attention, LatentAttention)
    assert attention.cache_elements_per_token == 576
    assert model.cache_elements_per_token == 61 * 576
    assert model.num_kv_heads == 1


def test_deepseek_v4_keeps_a_window_and_compressed_rows() -> None:
    # compress_ratios of the config: 2 layers without, 21 with ratio 4, 20 with ratio 128; rows of 512, K = V.
    model = read("deepseek-ai/DeepSeek-V4-Flash")
    assert model.cache_elements_per_token == 43 * 512
    assert model.window_cache_elements_per_sequence == 43 * 512 * 128
    assert model.cache_elements_per_token_past_windows == 21 * 512 // 4 + 20 * 512 // 128


def test_kinds_of_layers_of_a_hybrid() -> None:
    model = read("Qwen/Qwen3.5-27B")
    kinds = [type(layer.blocks[0]) for layer in model.layers]
    assert kinds == ([Recurrent] * 3 + [Attention]) * 16


def test_first_layers_of_deepseek_v3_are_dense() -> None:
    kinds = [type(layer.blocks[1]) for layer in read("deepseek-ai/DeepSeek-V3").layers]
    assert kinds == [FeedForward] * 3 + [Experts] * 58
