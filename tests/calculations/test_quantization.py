"""Quantised checkpoints: the bytes that each module really takes, and which modules the lists leave wide."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app import catalog, facts
from app.calculations.architecture import Experts, Model
from app.calculations.errors import InvalidInput
from app.calculations.formats import resolve
from app.calculations.huggingface import read_config
from tests.calculations.small_configs import LLAMA

MODELS = Path(__file__).parents[2] / "app" / "data" / "models"
GB = 1e9

#: A Llama whose sides divide by every block size. Its parts, in parameters: embedding and lm_head 256,000 each,
#: q and o 65,536, k and v 32,768, gate, up and down 131,072, norms 256; per layer 589,824 in linear layers.
SMALL = {
    **LLAMA,
    "hidden_size": 256,
    "intermediate_size": 512,
    "vocab_size": 1000,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
}
WIDE = 2 * (2 * 256_000 + 5 * 256)
LINEAR = 2 * 589_824
#: Outputs of all linear layers of the blocks, and their number.
OUTPUTS = 2 * (256 + 128 + 128 + 256 + 512 + 512 + 256)
INPUTS = 2 * (4 * 256 + 2 * 256 + 512)
MATRICES = 14


def small(quantization: dict[str, Any], **changes: Any) -> Model:
    return read_config({**SMALL, **changes, "quantization_config": quantization}, name="small")


def linear(**weights: Any) -> dict[str, Any]:
    return {"targets": ["Linear"], "weights": weights}


FP8_INPUT = {"num_bits": 8, "type": "float", "strategy": "token", "dynamic": True}

#: Bytes by the formats' definitions.
BY_DEFINITION = [
    ({"quant_method": "fp8", "weight_block_size": [128, 128]}, LINEAR + 4 * LINEAR / 128**2),
    ({"quant_method": "fp8", "activation_scheme": "static", "weight_block_size": None}, LINEAR + 8 * MATRICES),
    ({"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}, LINEAR + 4 * OUTPUTS + 4 * MATRICES),
    # AWQ: 4 bits, per group of 128 a 16-bit scale and a 4-bit zero point.
    ({"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True}, LINEAR / 2 + LINEAR / 128 * 2.5),
    # GPTQ: the same and an int32 per input; groups of -1 are whole rows.
    ({"quant_method": "gptq", "bits": 4, "group_size": 128}, LINEAR / 2 + LINEAR / 128 * 2.5 + 4 * INPUTS),
    ({"quant_method": "gptq", "bits": 8, "group_size": -1}, LINEAR + OUTPUTS * 3 + 4 * INPUTS),
    ({"quant_method": "gptq", "bits": 3, "group_size": 64}, LINEAR * 3 / 8 + LINEAR / 64 * (2 + 3 / 8) + 4 * INPUTS),
    # bitsandbytes: an fp32 per 64 elements; doubly quantised 8 bits and an fp32 per 256 of them.
    ({"quant_method": "bitsandbytes", "load_in_4bit": True}, LINEAR / 2 + LINEAR / 64 * 4),
    (
        {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_use_double_quant": True},
        LINEAR / 2 + LINEAR / 64 * (1 + 4 / 256),
    ),
    ({"quant_method": "bitsandbytes", "load_in_8bit": True}, LINEAR + 4 * OUTPUTS),
    ({"quant_method": "modelopt", "quant_algo": "FP8"}, LINEAR + 8 * MATRICES),
    ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, LINEAR * (0.5 + 1 / 16) + 8 * MATRICES),
    ({"quant_method": "eetq"}, LINEAR + 2 * OUTPUTS),
    (
        {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 2, "group_size": 64}}},
        LINEAR / 4 + LINEAR / 64 * 4,
    ),
    # AQLM 1x16: 2 bits a weight, a codebook of 65,536 x 8 fp16 per matrix, an fp16 scale per output.
    (
        {"quant_method": "aqlm", "in_group_size": 8, "num_codebooks": 1, "nbits_per_codebook": 16},
        LINEAR / 4 + MATRICES * 2**16 * 8 * 2 + 2 * OUTPUTS,
    ),
    (
        {
            "quant_method": "quark",
            "exclude": ["lm_head"],
            "global_quant_config": {"weight": {"dtype": "fp4", "qscheme": "per_group", "group_size": 32}},
        },
        LINEAR * (0.5 + 1 / 32),
    ),
]


@pytest.mark.parametrize(("quantization", "narrow"), BY_DEFINITION)
def test_bytes_are_those_of_the_formats_definition(quantization: dict[str, Any], narrow: float) -> None:
    assert facts.checkpoint_bytes(small(quantization)) == pytest.approx(WIDE + narrow, rel=1e-12)


#: Bytes of the state_dict that compressed-tensors 0.20.0 (ModelCompressor.compress_model) makes of the same small
#: Llama in bfloat16.
BY_COMPRESSED_TENSORS = [
    ("pack-quantized", linear(num_bits=4, type="int", strategy="group", group_size=32), ["lm_head"], 1_690_336),
    (
        "pack-quantized",
        linear(num_bits=4, type="int", strategy="group", group_size=128, symmetric=False),
        ["lm_head"],
        1_639_648,
    ),
    (
        "float-quantized",
        {**linear(num_bits=8, type="float", strategy="channel"), "input_activations": FP8_INPUT},
        ["lm_head"],
        2_214_400,
    ),
    (
        "float-quantized",
        {
            **linear(num_bits=8, type="float", strategy="block", block_structure=[128, 128]),
            "input_activations": FP8_INPUT,
        },
        ["lm_head"],
        2_206_352,
    ),
    (
        "float-quantized",
        {**linear(num_bits=8, type="float", strategy="tensor"), "input_activations": {"num_bits": 8, "type": "float"}},
        ["lm_head"],
        2_206_264,
    ),
    ("int-quantized", linear(num_bits=8, type="int", strategy="channel"), ["lm_head"], 2_214_400),
    (
        "nvfp4-pack-quantized",
        {**linear(num_bits=4, type="float", strategy="tensor_group", group_size=16), "input_activations": {}},
        ["lm_head"],
        1_690_224,
    ),
    (
        "mxfp4-pack-quantized",
        linear(num_bits=4, type="float", strategy="group", group_size=32),
        ["re:.*self_attn.*"],
        1_854_784,
    ),
]


@pytest.mark.parametrize(("layout", "group", "ignore", "stored_bytes"), BY_COMPRESSED_TENSORS)
def test_bytes_are_those_that_compressed_tensors_writes(
    layout: str, group: dict[str, Any], ignore: list[str], stored_bytes: int
) -> None:
    model = small(
        {"quant_method": "compressed-tensors", "format": layout, "ignore": ignore, "config_groups": {"group_0": group}}
    )
    assert facts.checkpoint_bytes(model) == stored_bytes


AWQ = {"quant_method": "awq", "bits": 4, "group_size": 128, "zero_point": True, "modules_to_not_convert": None}
FBGEMM = {"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0, "modules_to_not_convert": ["lm_head"]}
FP8_DYNAMIC = {
    "quant_method": "compressed-tensors",
    "format": "float-quantized",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {**linear(num_bits=8, type="float", strategy="channel"), "input_activations": FP8_INPUT}
    },
}
VPTQ = {
    "quant_method": "vptq",
    "shared_layer_config": {"vector_lens": [-1, 12], "num_centroids": [-1, 65536], "num_res_centroids": [-1, 4096]},
}
#: (preset, quantization_config where its own is not meant, published bytes, tolerance, source).
PUBLISHED = [
    ("openai/gpt-oss-20b", None, 13.76 * GB, 0.001, "Hugging Face, openai/gpt-oss-20b, sum of safetensors"),
    ("openai/gpt-oss-120b", None, 60.8 * 2**30, 0.001, "gpt-oss model card (OpenAI, 2025), table 1: checkpoint size"),
    ("openai/gpt-oss-20b", None, 12.8 * 2**30, 0.003, "gpt-oss model card (OpenAI, 2025), table 1: checkpoint size"),
    ("meta-llama/Llama-3.1-8B-Instruct", AWQ, 5.73 * GB, 0.001, "hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4"),
    ("moonshotai/Kimi-K2.5", None, 595 * GB, 0.002, "Hugging Face, moonshotai/Kimi-K2.5; 0.9 GB of it is the tower"),
    ("MiniMaxAI/MiniMax-M2.5", None, 230 * GB, 0.002, "Hugging Face, MiniMaxAI/MiniMax-M2.5"),
    # Allocated by transformers after a forward pass of 64 tokens, weights and little else:
    # github.com/DerekLiu35/huggingface-quantization-benchmarking-code, runs/*/benchmark.json.
    ("meta-llama/Llama-3.1-70B-Instruct", FBGEMM, 72.7533 * GB, 0.003, "runs/llama70b_fbgemm"),
    ("meta-llama/Llama-3.1-8B-Instruct", FBGEMM, 9.1364 * GB, 0.007, "runs/llama8b_fpgemm"),
    # vLLM 0.11 on 2 GPUs, 33.88 GiB each: github.com/llm-d-incubation/llm-d-planner,
    # docs/empirical-vllm-memory-results.md.
    ("meta-llama/Llama-3.3-70B-Instruct", FP8_DYNAMIC, 2 * 33.88 * 2**30, 0.003, "RedHatAI FP8-dynamic"),
    ("meta-llama/Llama-3.1-8B-Instruct", VPTQ, 4.69538 * GB, 0.05, "runs/llama_vptq"),
]


@pytest.mark.parametrize(("model_id", "quantization", "published", "tolerance", "source"), PUBLISHED)
def test_published_checkpoint_sizes(
    model_id: str, quantization: dict[str, Any] | None, published: float, tolerance: float, source: str
) -> None:
    config = json.loads((MODELS / catalog.models()[model_id].config_file).read_text(encoding="utf-8"))
    model = read_config(config if quantization is None else {**config, "quantization_config": quantization}, name="x")
    assert facts.checkpoint_bytes(model) == pytest.approx(published, rel=tolerance), source


#: meta-llama/Meta-Llama-3.1-405B-Instruct-FP8 keeps attention and the first and last layer's MLP in bf16.
KEPT_405B = [f"model.layers.{layer}.self_attn.{name}_proj" for layer in range(126) for name in "qkvo"] + [
    f"model.layers.{layer}.mlp.{name}_proj" for layer in (0, 125) for name in ("gate", "up", "down")
]


def test_weights_that_vllm_loaded() -> None:
    config = json.loads((MODELS / catalog.models()["meta-llama/Meta-Llama-3.1-405B"].config_file).read_text("utf-8"))
    quantization = {**FBGEMM, "modules_to_not_convert": ["lm_head", *KEPT_405B]}
    # The release of July 2024 repeated the 8 key/value heads to 16.
    changes = {"num_key_value_heads": 16, "quantization_config": quantization}
    model = read_config({**config, **changes}, name="405B")
    assert len(model.layer_counts) == 2
    # 57.752 GiB on each of 8 GPUs: github.com/vllm-project/vllm/issues/6746.
    assert facts.checkpoint_bytes(model) / 8 == pytest.approx(57.752 * 2**30, rel=0.002)


def test_deepseek_v3_with_its_mtp_layer_is_as_large_as_its_files() -> None:
    # 688.6 GB on Hugging Face; README_WEIGHTS.md: the MTP module has 11.5 billion unique parameters and stores
    # embedding and head (0.93 billion each, 16-bit) again; eh_proj of 2 x 7,168 x 7,168 is 16-bit too.
    mtp_layer = 11.5e9 + 2 * 2 * 129_280 * 7_168
    assert facts.checkpoint_bytes(catalog.model("deepseek-ai/DeepSeek-V3")) + mtp_layer == pytest.approx(
        688.6 * GB, rel=0.001
    )


def formats_by_name(model: Model, layer: int) -> dict[str, str]:
    """Format of each linear tensor of a layer; "wide" where it is not quantised."""
    return {
        tensor.name: tensor.stored.name if tensor.stored else "wide"
        for tensor in model.layers[layer].all_tensors()
        if tensor.kind == "linear"
    }


def compressed(ignore: list[str], targets: list[str] | None = None) -> dict[str, Any]:
    group = {**linear(num_bits=8, type="float", strategy="channel"), "targets": targets or ["Linear"]}
    return {"quant_method": "compressed-tensors", "ignore": ignore, "config_groups": {"group_0": group}}


ATTENTION = {"q_proj", "k_proj", "v_proj", "o_proj"}
MLP = {"gate_proj", "up_proj", "down_proj"}
#: (quantization_config, number of a layer, its linear layers that stay wide).
IGNORED = [
    (compressed(["model.layers.1.self_attn.q_proj"]), 1, {"q_proj"}),
    (compressed(["model.layers.1.self_attn.q_proj"]), 0, set()),
    (compressed(["re:.*self_attn.*"]), 0, ATTENTION),
    (compressed(["re:.*mlp\\.(gate|up)_proj$"]), 0, {"gate_proj", "up_proj"}),
    (compressed(["re:model.layers.1.mlp.*"]), 1, MLP),
    (compressed(["re:model.layers.1.mlp.*"]), 0, set()),
    (compressed([], ["re:.*mlp.*"]), 0, ATTENTION),
    (compressed(["re:^lm_head$"], ["Linear", "re:.*o_proj"]), 0, set()),
    ({**AWQ, "modules_to_not_convert": ["o_proj"]}, 0, {"o_proj"}),
    ({**AWQ, "modules_to_not_convert": ["gate"]}, 0, set()),
    ({**FBGEMM, "modules_to_not_convert": ["model.layers.0"]}, 0, ATTENTION | MLP),
    ({"quant_method": "modelopt", "quant_algo": "FP8", "ignore": ["*self_attn*"]}, 1, ATTENTION),
    ({"quant_method": "modelopt", "quant_algo": "FP8", "exclude_modules": ["model.layers.1*"]}, 0, set()),
    ({"quant_method": "gptq", "bits": 4, "group_size": 128, "modules_in_block_to_quantize": [["mlp.down_proj"]]}, 0,
     ATTENTION | {"gate_proj", "up_proj"}),
    ({"quant_method": "gptq", "bits": 4, "group_size": 128, "dynamic": {"-:.*down_proj.*": {}}}, 0, {"down_proj"}),
    ({"quant_method": "bitsandbytes", "load_in_8bit": True, "llm_int8_skip_modules": ["up_proj"]}, 0, {"up_proj"}),
]  # fmt: skip


@pytest.mark.parametrize(("quantization", "layer", "kept"), IGNORED)
def test_lists_of_modules_select_the_right_ones(quantization: dict[str, Any], layer: int, kept: set[str]) -> None:
    found = formats_by_name(small(quantization), layer)
    assert {name for name, stored in found.items() if stored == "wide"} == kept


def test_layers_that_stay_equal_stay_one_object() -> None:
    model = small(compressed(["model.layers.0.self_attn.q_proj"]), num_hidden_layers=5)
    assert len({id(layer) for layer in model.layers}) == len(model.layer_counts) == 2
    assert [count for _, count in model.layer_counts] == [1, 4]


def test_lm_head_is_narrow_only_where_it_is_meant() -> None:
    def head(quantization: dict[str, Any]) -> str:
        stored = small(quantization).head[-1].stored
        return stored.name if stored else "wide"

    assert head(AWQ) == head(FBGEMM) == head({"quant_method": "modelopt", "quant_algo": "FP8"}) == "wide"
    assert head({"quant_method": "gptq", "bits": 4, "group_size": 128}) == "wide"
    assert head({"quant_method": "gptq", "bits": 4, "group_size": 128, "lm_head": True}) == "int4"
    assert head(compressed(["lm_head"])) == "wide"
    assert head(compressed([])) == "fp8"


def expert_formats(model_id: str) -> dict[str, str]:
    model = catalog.model(model_id)
    layer = next(i for i, entry in enumerate(model.layers) if any(isinstance(b, Experts) for b in entry.blocks))
    return formats_by_name(model, layer)


@pytest.mark.parametrize(
    ("model_id", "expert", "attention", "shared"),
    [
        ("openai/gpt-oss-20b", "mxfp4", "wide", None),
        ("deepseek-ai/DeepSeek-V3", "fp8", "fp8", "fp8"),
        ("deepseek-ai/DeepSeek-V4-Flash", "mxfp4", "fp8", "fp8"),
        ("moonshotai/Kimi-K2.5", "int4", "wide", "wide"),
        ("nvidia/Kimi-K2.6-NVFP4", "nvfp4", "wide", "wide"),
        ("nvidia/Qwen3.6-35B-A3B-NVFP4", "nvfp4", None, "nvfp4"),
    ],
)
def test_ignore_lists_of_published_checkpoints_act(
    model_id: str, expert: str, attention: str | None, shared: str | None
) -> None:
    found = expert_formats(model_id)
    assert found["router"] == "wide"
    assert {found[f"{name}_proj"] for name in ("gate", "up", "down")} == {expert}
    assert attention is None or found.get("o_proj", found.get("o_b_proj")) == attention
    assert shared is None or found["shared_up_proj"] == shared


def test_mixed_checkpoints_keep_each_format() -> None:
    model = catalog.model("nvidia/Qwen3.6-27B-NVFP4")
    recurrent, attention = formats_by_name(model, 0), formats_by_name(model, 3)
    assert recurrent["in_proj_qk"] == recurrent["in_proj_z"] == recurrent["out_proj"] == "fp8"
    assert recurrent["in_proj_a"] == "wide" and recurrent["up_proj"] == "nvfp4"
    assert attention["q_proj"] == "fp8" and attention["down_proj"] == "nvfp4"
    assert model.head[-1].stored is not None and model.head[-1].stored.name == "nvfp4"


def peaks(model: Model, gpu: str, activations: str = "auto") -> dict[str, str]:
    formats = resolve(model, catalog.gpu(gpu), weights="auto", activations=activations, kv_cache="auto")
    found = {}
    for layer, _ in model.layer_counts:
        found |= {tensor.name: formats.multiplied(tensor) for tensor in layer.all_tensors() if tensor.kind == "linear"}
    return found


NVFP4_FP8 = {
    "quant_method": "modelopt",
    "quant_algo": "MIXED_PRECISION",
    "ignore": ["lm_head"],
    "config_groups": {
        "group_0": {
            "targets": ["re:.*self_attn.*"],
            "weights": {"num_bits": 8, "type": "float"},
            "input_activations": {"num_bits": 8, "type": "float"},
        },
        "group_1": {
            "targets": ["re:.*mlp.*"],
            "weights": {"num_bits": 4, "type": "float", "group_size": 16},
            "input_activations": {"num_bits": 4, "type": "float", "group_size": 16},
        },
    },
}


@pytest.mark.parametrize(
    ("quantization", "gpu", "activations", "attention", "mlp"),
    [
        (NVFP4_FP8, "b200", "auto", "fp8", "fp4"),
        (NVFP4_FP8, "h100-sxm", "auto", "fp8", "bf16"),
        (NVFP4_FP8, "a100-sxm-80gb", "auto", "bf16", "bf16"),
        (NVFP4_FP8, "h100-sxm", "fp8", "fp8", "fp8"),
        (NVFP4_FP8, "b200", "bf16", "bf16", "bf16"),
        (AWQ, "h100-sxm", "auto", "bf16", "bf16"),
        (AWQ, "t4", "auto", "fp16", "fp16"),
        ({"quant_method": "bitsandbytes", "load_in_8bit": True}, "a100-sxm-80gb", "auto", "int8", "int8"),
    ],
    ids=["both", "no fp4 units", "neither", "chosen fp8", "chosen bf16", "weights only", "no bf16", "int8"],
)
def test_mixed_checkpoints_multiply_tensor_by_tensor(
    quantization: dict[str, Any], gpu: str, activations: str, attention: str, mlp: str
) -> None:
    found = peaks(small(quantization), gpu, activations)
    assert (found["q_proj"], found["up_proj"]) == (attention, mlp)


def test_weights_chosen_by_hand_ignore_the_checkpoints_formats() -> None:
    model = catalog.model("nvidia/Qwen3.6-27B-NVFP4")
    formats = resolve(model, catalog.gpu("h100-sxm"), weights="bf16", activations="auto", kv_cache="auto")
    assert {formats.stored(tensor).name for tensor in model.tensors()} == {"bf16"}


@pytest.mark.parametrize(
    ("quantization", "warning"),
    [
        ({"quant_method": "secret"}, "not known"),
        ({"quant_method": "hqq"}, "HQQ"),
        ({"quant_method": "quanto", "weights": "int4"}, "16-bit scales"),
        ({**AWQ, "outlier_rows": 3}, "outlier_rows"),
        ({"quant_method": "compressed-tensors"}, "no config_groups"),
        (compressed(["re:(a+)+b"]), "patterns not understood"),
        (compressed([f"re:.*{'x.*' * 9}y"]), "patterns not understood"),
        ({**compressed(["lm_head"]), "sparsity_config": {"format": "sparse-24-bitmask"}}, "sparsity_config"),
    ],
)
def test_what_is_assumed_becomes_a_warning(quantization: dict[str, Any], warning: str) -> None:
    assert any(warning in text for text in small(quantization).warnings)


@pytest.mark.parametrize(
    "ignore",
    [
        [f"re:model.+.+.+{number}x" for number in range(30)],
        [f"*a*{number}*b*c" for number in range(5000)],
        [f"re:.*{number}.*(a|b).*c" for number in range(200)],
    ],
    ids=["open repeats", "globs", "many"],
)
def test_lists_that_would_take_long_are_refused(ignore: list[str]) -> None:
    with pytest.raises(InvalidInput) as refused:
        small(compressed(ignore), num_hidden_layers=500)
    assert refused.value.field == "config.quantization_config"


@pytest.mark.parametrize(
    ("quantization", "field"),
    [
        ({"quant_method": "awq", "bits": "four"}, "bits"),
        ({"quant_method": "awq", "bits": 99}, "bits"),
        ({"quant_method": "fp8", "weight_block_size": [128]}, "weight_block_size"),
        ({"quant_method": "gptq", "bits": 4, "lm_head": "yes"}, "lm_head"),
        ({"quant_method": "compressed-tensors", "ignore": [3], "config_groups": {}}, "ignore"),
        ({"quant_method": 7}, "quant_method"),
    ],
)
def test_values_that_mean_nothing_are_refused(quantization: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        small(quantization)
    assert refused.value.field == f"config.quantization_config.{field}"


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=30),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=6,
)
METHODS = (
    "fp8",
    "fbgemm_fp8",
    "mxfp4",
    "awq",
    "gptq",
    "bitsandbytes",
    "compressed-tensors",
    "modelopt",
    "quark",
    "hqq",
    "aqlm",
    "vptq",
    "eetq",
    "torchao",
    "quanto",
    "bitnet",
    "fp_quant",
    "auto-round",
    "other",
)
KEYS = (
    "bits",
    "group_size",
    "ignore",
    "modules_to_not_convert",
    "config_groups",
    "weight_block_size",
    "quant_algo",
    "dynamic",
    "load_in_4bit",
    "quantized_layers",
    "exclude_modules",
    "format",
    "quant_config",
    "global_quant_config",
    "exclude",
    "lm_head",
    "activation_scheme",
    "config_for_layers",
    "num_codebooks",
    "nbits_per_codebook",
    "extra_config",
    "quantization",
    "expert_dtype",
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(METHODS), st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6))
def test_any_quantization_config_gives_a_model_or_a_refusal(method: str, keys: dict[str, Any]) -> None:
    try:
        model = small({"quant_method": method, **keys})
    except InvalidInput as refused:
        assert refused.field.startswith("config.")
    else:
        assert 0 < facts.checkpoint_bytes(model) < 1e12
