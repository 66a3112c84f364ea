"""config.json -> Model: traits by key, hand-made configs, relatives of the catalogue and unknown families."""

from __future__ import annotations

import pytest

from app.calculations.huggingface import read_config
from tests.calculations.small_configs import CUSTOM, LLAMA


@pytest.mark.parametrize(
    ("quantization", "precision"),
    [
        ({"quant_method": "fp8"}, "fp8"),
        ({"quant_method": "awq", "bits": 4}, "int4"),
        ({"quant_method": "gptq", "bits": 8}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "int8"),
        ({"quant_method": "bitsandbytes", "load_in_4bit": True}, "int4"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4"}, "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"num_bits": 8, "type": "float"}}},
            },
            "fp8",
        ),
        (
            {
                "quant_method": "compressed-tensors",
                "config_groups": {"g": {"weights": {"num_bits": 8, "type": "int"}}},
            },
            "int8",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_quantization_config(quantization: dict[str, object], precision: str) -> None:
    model = read_config({**LLAMA, "quantization_config": quantization}, name="quantised")
    assert model.checkpoint_precision == precision
    assert model.warnings == ()


def test_an_unknown_quantization_is_said() -> None:
    model = read_config({**LLAMA, "quantization_config": {"quant_method": "novel"}}, name="quantised")
    assert "quant_method 'novel' is not known" in model.warnings[0]


def test_null_is_not_absent() -> None:
    """MistralConfig has a window of 4,096 where the key is absent and none where it is null."""
    mistral = {**LLAMA, "model_type": "mistral", "max_position_embeddings": 32768}
    absent = read_config(mistral, name="absent")
    null = read_config({**mistral, "sliding_window": None}, name="null")
    assert absent.window_cache_elements_per_sequence == 4096 * absent.cache_elements_per_token
    assert null.window_cache_elements_per_sequence == 0


def test_use_sliding_window_false_switches_windows_off() -> None:
    qwen = {**LLAMA, "model_type": "qwen2", "sliding_window": 128, "max_window_layers": 1}
    off = read_config({**qwen, "use_sliding_window": False}, name="off")
    on = read_config({**qwen, "use_sliding_window": True}, name="on")
    assert off.cache_elements_per_token_past_windows == off.cache_elements_per_token
    assert on.cache_elements_per_token_past_windows == on.cache_elements_per_token // 2


def test_a_stated_custom_config_has_no_warnings() -> None:
    model = read_config(CUSTOM, name="by hand")
    assert model.warnings == ()
    # q and o 64x64, k and v 32x64, three matrices of 96x64, two norms; embedding, lm_head, final norm.
    layer = 2 * 64 * 64 + 2 * 32 * 64 + 3 * 96 * 64 + 2 * 64
    assert model.total_params == 2 * layer + 2 * 100 * 64 + 64


@pytest.mark.parametrize(
    ("changes", "difference"),
    [
        ({"gated_mlp": False}, -2 * 96 * 64),
        ({"norm": "layer"}, 5 * 64),
        ({"attention_bias": True}, 2 * (64 + 32 + 32 + 64)),
        ({"qkv_bias": True}, 2 * (64 + 32 + 32)),
        ({"mlp_bias": True}, 2 * (96 + 96 + 64)),
        ({"tie_word_embeddings": True}, -100 * 64),
        ({"head_dim": 32}, 2 * (2 * 64 * 64 + 2 * 32 * 64)),
        ({"learned_positions": True}, 512 * 64),
        ({"use_qk_norm": True}, 2 * 2 * 16),
        ({"lm_head_bias": True}, 100),
        ({"sliding_window": 128}, 0),
        (
            {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 32},
            2 * (8 * 64 + 3 * 64 * (8 * 32 - 96)),
        ),
        (
            {
                "num_experts": 8,
                "num_experts_per_tok": 2,
                "moe_intermediate_size": 32,
                "n_shared_experts": 1,
                "first_k_dense_replace": 1,
            },
            8 * 64 + 3 * 64 * (9 * 32 - 96),
        ),
        (
            {
                "kv_lora_rank": 16,
                "q_lora_rank": None,
                "qk_nope_head_dim": 8,
                "qk_rope_head_dim": 4,
                "v_head_dim": 8,
            },
            2 * (4 * 12 * 64 + 20 * 64 + 16 + 4 * 16 * 16 + 64 * 32 - (2 * 64 * 64 + 2 * 32 * 64)),
        ),
    ],
    ids=lambda value: "+".join(value) if isinstance(value, dict) else "",
)
def test_custom_configs_are_read_by_key(changes: dict[str, object], difference: int) -> None:
    base, changed = read_config(CUSTOM, name="base"), read_config({**CUSTOM, **changes}, name="changed")
    assert changed.total_params - base.total_params == difference
    assert changed.warnings == ()


#: Families beside the catalogue, with the parameters of the library class (transformers 5.23).
STEP_3_5 = {
    "model_type": "step3p5",
    "hidden_size": 4096,
    "num_hidden_layers": 45,
    "num_nextn_predict_layers": 3,
    "num_attention_heads": 64,
    "num_attention_groups": 8,
    "attention_other_setting": {"num_attention_heads": 96, "num_attention_groups": 8},
    "layer_types": ["full_attention", "sliding_attention", "sliding_attention"] * 16,
    "sliding_window": 512,
    "moe_layers_enum": ",".join(str(layer) for layer in range(3, 48)),
    "moe_num_experts": 288,
    "moe_top_k": 8,
    "moe_intermediate_size": 1280,
    "share_expert_dim": 1280,
    "intermediate_size": 11264,
    "vocab_size": 128815,
}
MIMO_V2 = {
    "model_type": "mimo_v2_flash",
    "hidden_size": 4096,
    "num_hidden_layers": 48,
    "num_attention_heads": 64,
    "hybrid_layer_pattern": [0, *(0 if (layer + 1) % 6 == 0 else 1 for layer in range(1, 48))],
    "moe_layer_freq": [0] + [1] * 47,
    "n_routed_experts": 256,
    "num_experts_per_tok": 8,
    "moe_intermediate_size": 2048,
    "intermediate_size": 16384,
    "vocab_size": 152576,
}
FALCON_H1 = {
    "model_type": "falcon_h1",
    "hidden_size": 4096,
    "num_hidden_layers": 32,
    "num_attention_heads": 32,
    "num_key_value_heads": 8,
    "intermediate_size": 14336,
    "vocab_size": 128000,
    "mamba_d_ssm": 1024,
    "mamba_n_heads": 128,
    "mamba_d_head": 8,
    "mamba_d_state": 256,
}
DBRX = {
    "model_type": "dbrx",
    "d_model": 64,
    "n_heads": 4,
    "n_layers": 2,
    "vocab_size": 100,
    "attn_config": {"kv_n_heads": 2, "clip_qkv": 8},
    "ffn_config": {"ffn_hidden_size": 96, "moe_num_experts": 4, "moe_top_k": 2},
}


@pytest.mark.parametrize(
    ("config", "total"),
    [
        (STEP_3_5, 196_326_771_968 + 128815 * 4096),
        (MIMO_V2, 308_778_768_832),
        (FALCON_H1, 8_514_961_408),
        (DBRX, 185_664),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else "",
)
def test_relatives_of_the_catalogue(config: dict[str, object], total: int) -> None:
    model = read_config(config, name="relative")
    assert model.total_params == total
    assert model.warnings == ()


def test_key_value_heads_may_differ_by_layer() -> None:
    # DeciLM-7B states them in num_key_value_heads_per_layer.
    model = read_config({**LLAMA, "model_type": "deci", "num_key_value_heads_per_layer": [1, 4]}, name="deci")
    assert model.cache_elements_per_token == (1 + 4) * 2 * 16


def test_an_unknown_model_type_states_its_assumptions() -> None:
    model = read_config({**LLAMA, "model_type": "novel", "quantum_layers": 3}, name="novel")
    text = "\n".join(model.warnings)
    assert "model_type 'novel' is not known" in text
    assert "norm is not stated" in text
    assert "gated_mlp is not stated" in text
    assert "Keys not understood and left out: quantum_layers" in text


def test_contradicting_spellings_are_said() -> None:
    model = read_config({**LLAMA, "n_layer": 3}, name="two spellings")
    assert model.num_layers == 2
    assert model.warnings == ("n_layer 3 contradicts num_hidden_layers 2, which is used",)
