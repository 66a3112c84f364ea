"""What a user describes by hand: inputs of the custom parts -> a model's config.json, a model, an accelerator."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from app.calculations.accelerator import Gpu
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config
from app.calculations.inputs import inputs_of
from app.calculations.scenario import CUSTOM, CustomAccelerator, CustomArchitecture
from app.units import GB_PER_SECOND, GIB, TERA

MODEL_INPUTS = inputs_of(CustomArchitecture)
GPU_INPUTS = inputs_of(CustomAccelerator)

SOURCE = "described by hand"
#: Of an accelerator described by hand: those of an H100, and a PCIe 4.0 x16 slot.
MULTIPROCESSORS = 132
PCIE_GB_PER_SECOND = 32.0


def custom_model(values: Mapping[str, Any]) -> Model:
    """The model described by hand, read by the same reader as any config.json."""
    return read_config(custom_config(values), name=CUSTOM, source=SOURCE)


def custom_config(values: Mapping[str, Any]) -> dict[str, object]:
    """The config.json of the model described by hand. Raises InvalidInput."""
    check_heads(values)
    config: dict[str, object] = {
        "model_type": "custom",
        "num_hidden_layers": values["num_layers"],
        "hidden_size": values["hidden_size"],
        "num_attention_heads": values["num_heads"],
        "num_key_value_heads": values["num_kv_heads"] or values["num_heads"],
        "head_dim": values["head_dim"] or values["hidden_size"] // values["num_heads"],
        "intermediate_size": values["ffn_size"],
        "gated_mlp": values["gated_mlp"],
        "vocab_size": values["vocab_size"],
        "tie_word_embeddings": values["tied_embeddings"],
        "attention_bias": values["attention_bias"],
        "mlp_bias": values["mlp_bias"],
        "norm": "rms",
    }
    if values["num_experts"]:
        config |= {
            "num_experts": values["num_experts"],
            "num_experts_per_tok": values["experts_per_token"],
            "moe_intermediate_size": values["expert_ffn_size"] or values["ffn_size"],
            "n_shared_experts": values["shared_experts"],
            "first_k_dense_replace": values["dense_layers"],
        }
    if values["kv_lora_rank"]:
        width = values["head_dim"] or values["hidden_size"] // values["num_heads"]
        config |= {
            "kv_lora_rank": values["kv_lora_rank"],
            "q_lora_rank": values["q_lora_rank"],
            "qk_rope_head_dim": values["qk_rope_head_dim"],
            "qk_nope_head_dim": width,
            "v_head_dim": width,
        }
    if values["sliding_window"]:
        config["sliding_window"] = values["sliding_window"]
    return config


def check_heads(values: Mapping[str, Any]) -> None:
    """What the numbers of a hand-made architecture must be to each other."""
    heads, kv_heads = values["num_heads"], values["num_kv_heads"]
    if kv_heads and heads % kv_heads:
        raise InvalidInput(
            "num_kv_heads",
            f"Key/value heads: {kv_heads} does not divide the {heads} attention heads.",
            ", ".join(str(n) for n in range(1, heads + 1) if heads % n == 0),
        )
    if not values["head_dim"] and values["hidden_size"] % heads:
        raise InvalidInput(
            "num_heads",
            f"Attention heads: {heads} does not divide the hidden size {values['hidden_size']}; "
            "set the head dimension by hand if that is meant.",
            "a divisor of the hidden size",
        )
    if values["num_experts"] and values["experts_per_token"] > values["num_experts"]:
        raise InvalidInput(
            "experts_per_token",
            f"Experts per token: {values['experts_per_token']} is more than the {values['num_experts']} experts.",
            f"1 to {values['num_experts']}",
        )
    if values["dense_layers"] > values["num_layers"]:
        raise InvalidInput(
            "dense_layers",
            f"Dense first layers: {values['dense_layers']} is more than the {values['num_layers']} layers.",
            f"0 to {values['num_layers']}",
        )


def custom_gpu(
    values: Mapping[str, Any], *, slug: str = CUSTOM, name: str = "Custom accelerator", source: str = SOURCE
) -> Gpu:
    """The accelerator described by hand."""
    peaks = {
        "bf16": values["gpu_bf16_tflops"],
        "fp16": values["gpu_bf16_tflops"],
        "tf32": values["gpu_bf16_tflops"] / 2,
        "fp8": values["gpu_fp8_tflops"],
        "int8": values["gpu_int8_tops"],
        "fp4": values["gpu_fp4_tflops"],
    }
    return Gpu(
        slug=slug,
        name=name,
        vendor="custom",
        architecture="custom",
        year=0,
        memory_bytes=values["gpu_memory_gib"] * GIB,
        marketing_memory_gb=values["gpu_memory_gib"],
        memory_bandwidth_bytes_per_second=values["gpu_bandwidth_gb_s"] * GB_PER_SECOND,
        peak_flops_per_second=MappingProxyType({name: p * TERA for name, p in peaks.items() if p}),
        link="link",
        link_bytes_per_second=values["gpu_link_gb_s"] * GB_PER_SECOND,
        domain_gpus=values["gpu_domain"],
        multiprocessors=MULTIPROCESSORS,
        pcie_bytes_per_second=PCIE_GB_PER_SECOND * GB_PER_SECOND,
        tdp_watts=values["gpu_tdp_w"],
        price_usd_per_hour=None,
        price_source="",
        source=source,
    )
