"""Configs that mean nothing are refused by name; nothing else comes out of any object."""

from __future__ import annotations

import json
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config
from app.calculations.huggingface.families import FAMILIES
from tests.calculations.small_configs import CUSTOM, LLAMA

MODELS = Path(__file__).parents[2] / "app" / "data" / "models"

MOE = {"model_type": "qwen3_moe", "num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
TOO_DEEP: dict[str, object] = {"text_config": {"text_config": {"text_config": {"text_config": {}}}}}


@pytest.mark.parametrize(
    ("changes", "field", "words"),
    [
        ({"model_type": "t5"}, "model_type", "t5 is an encoder-decoder model, not a causal language model"),
        ({"model_type": "bert"}, "model_type", "bert is an encoder model"),
        ({"model_type": "vit"}, "model_type", "vit is a vision model"),
        ({"model_type": "whisper"}, "model_type", "whisper is a speech model"),
        ({"model_type": "xlstm"}, "model_type", "xlstm has blocks that are not read (matrix LSTMs)"),
        ({"model_type": "zamba2"}, "model_type", "zamba2 has blocks that are not read (Mamba with shared attention)"),
        ({"model_type": "new", "mamba_heads": 8}, "model_type", "keys of it that change its layers: mamba_heads"),
        ({"model_type": "new", "global_attn_every_n_layers": 4}, "model_type", "global_attn_every_n_layers"),
        ({"model_type": 3}, "model_type", "model_type is 3"),
        ({"is_encoder_decoder": True}, "is_encoder_decoder", "not a causal language model"),
        ({"architectures": ["LlamaForSequenceClassification"]}, "architectures", "ForSequenceClassification"),
        ({"hidden_size": None}, "hidden_size", "hidden_size is null"),
        ({"hidden_size": "64"}, "hidden_size", "hidden_size is '64', not a whole number"),
        ({"hidden_size": -64}, "hidden_size", "hidden_size is -64, out of range"),
        ({"hidden_size": 0}, "hidden_size", "hidden_size is 0, out of range"),
        ({"hidden_size": True}, "hidden_size", "hidden_size is true, not a whole number"),
        ({"hidden_size": 64.5}, "hidden_size", "64.5, not a whole number"),
        ({"hidden_size": float("nan")}, "hidden_size", "nan, not a whole number"),
        ({"hidden_size": float("inf")}, "hidden_size", "inf, not a whole number"),
        ({"hidden_size": 10**7}, "hidden_size", "out of range"),
        ({"hidden_size": 10**5000}, "hidden_size", "an integer of more than 24 digits"),
        ({"num_hidden_layers": 1001}, "num_hidden_layers", "1001, out of range"),
        ({"vocab_size": 10**8}, "vocab_size", "out of range"),
        ({**MOE, "num_experts": 10**6}, "num_experts", "out of range"),
        ({**MOE, "num_experts_per_tok": 5}, "num_experts_per_tok", "5 of 4 experts"),
        (
            {"num_attention_heads": 5, "num_key_value_heads": 5},
            "num_attention_heads",
            "no divisor of hidden_size 64",
        ),
        ({"num_key_value_heads": 3}, "num_key_value_heads", "num_key_value_heads is 3, no divisor of 4"),
        ({"tie_word_embeddings": "yes"}, "tie_word_embeddings", "'yes', not a truth value"),
        ({"layer_types": ["full_attention"]}, "layer_types", "has 1 entries, the model has 2 layers"),
        ({"layer_types": ["full_attention", "quantum"]}, "layer_types", "layer_types[1] is 'quantum'"),
        ({"layer_types": "full_attention"}, "layer_types", "layer_types is 'full_attention'"),
        ({"layer_types": ["linear_attention"] * 2}, "layer_types", "of no known kind"),
        ({**MOE, "mlp_only_layers": [7]}, "mlp_only_layers", "mlp_only_layers is 7, out of range"),
        ({"num_kv_shared_layers": 2}, "num_kv_shared_layers", "2 of 2 layers"),
        (TOO_DEEP, "text_config", "nested too deep"),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "MX"}, "hybrid_override_pattern", "'MX'"),
        ({"model_type": "nemotron_h", "hybrid_override_pattern": "M"}, "num_hidden_layers", "has 1 entries"),
        ({"model_type": "deepseek_v4", "compress_ratios": [0]}, "compress_ratios", "has 1 entries"),
        ({"model_type": "mamba2", "num_heads": 7, "n_groups": 2}, "n_groups", "do not divide 7 Mamba heads"),
    ],
)
def test_bad_configs_name_key_and_value(changes: dict[str, object], field: str, words: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        read_config({**LLAMA, **changes}, name="bad")
    assert caught.value.field == f"config.{field}"
    assert words in caught.value.message


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "num_attention_heads", "vocab_size"])
def test_missing_sizes_are_named(key: str) -> None:
    config = {name: value for name, value in LLAMA.items() if name != key}
    with pytest.raises(InvalidInput, match=f"{key} is missing"):
        read_config(config, name="missing")


@pytest.mark.parametrize("config", [[], "llama", None, 3])
def test_a_config_is_an_object(config: Any) -> None:
    with pytest.raises(InvalidInput, match="a JSON object"):
        read_config(config, name="no object")


def nested(depth: int) -> list[object]:
    value: list[object] = []
    for _ in range(depth):
        value = [value]
    return value


VALUES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 200)
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from([10**5000, nested(5000), {"quant_method": nested(5000)}, {"text_config": {}}])
    | st.sampled_from(["full_attention", "sliding_attention", "linear_attention", "mamba", "ME*-"])
    | st.lists(st.integers(-1, 3) | st.sampled_from(["full_attention", "sliding_attention"]), max_size=4)
    | st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
)
CONFIGS: list[dict[str, Any]] = [
    json.loads(path.read_text(encoding="utf-8")) for path in sorted(MODELS.glob("*.json"))[::7]
]
KEYS = sorted({key for config in CONFIGS for key in config} | set(LLAMA) | {"text_config"})


@settings(max_examples=500, deadline=None)
@given(
    base=st.sampled_from([{}, LLAMA, CUSTOM, *CONFIGS]),
    model_type=st.none() | st.sampled_from(sorted(FAMILIES)),
    changes=st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5),
)
def test_any_object_is_a_model_or_invalid(
    base: dict[str, Any], model_type: str | None, changes: dict[str, Any]
) -> None:
    config = {**base, **({"model_type": model_type} if model_type else {}), **changes}
    try:
        model = read_config(config, name="fuzz")
    except InvalidInput as refusal:
        model, field, text = None, refusal.field, str(refusal)
    if model is None:
        assert field.startswith("config")
        assert len(text) < 2000
    else:
        assert 0 <= model.active_params <= model.total_params
        assert model.cache_elements_per_token_past_windows <= model.cache_elements_per_token


def test_reading_does_no_deep_recursion() -> None:
    depth = sys.getrecursionlimit() * 3
    for key in ("layer_types", "quantization_config", "compress_ratios", "hidden_size", "rope_scaling"):
        with pytest.raises(InvalidInput) if key in ("layer_types", "hidden_size") else nullcontext():
            read_config({**LLAMA, key: nested(depth)}, name="deep")
