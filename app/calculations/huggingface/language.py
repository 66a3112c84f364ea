"""The language model's part of a config.json, and what has to be assumed about it."""

from __future__ import annotations

from collections.abc import Mapping

from app.calculations.errors import InvalidInput
from app.calculations.huggingface.config import Config, shown
from app.calculations.huggingface.families import FAMILIES
from app.calculations.huggingface.keys import TEXT_CONFIGS
from app.calculations.huggingface.not_causal import NOT_CAUSAL, NOT_READ, STRUCTURAL

#: Keys that a multimodal config states for its language model too.
INHERITED = ("torch_dtype", "dtype", "quantization_config", "compression_config", "quantization")
#: Wrappers whose class ties by the language model's key, by their own only, or by either (transformers 5.23).
TIED_BY_TEXT_CONFIG = ("llama4",)
TIED_BY_WRAPPER = ("gemma3", "gemma4", "idefics3", "qwen3_5", "qwen3_5_moe", "qwen3_vl", "qwen3_vl_moe", "smolvlm")
TIED_BY_EITHER = ("glm4v", "glm4v_moe", "llava", "llava_onevision", "qwen2_5_vl", "qwen2_vl")
#: Class names that end so are no causal language models.
OTHER_TASKS = ("ForMaskedLM", "Classification", "ForQuestionAnswering", "ForSpeechSeq2Seq", "EncoderModel")


def language_part(config: Mapping[str, object]) -> tuple[str, str, dict[str, object]]:
    """(model_type of the file, that of its language model, the language model's keys)."""
    if not isinstance(config, Mapping):
        raise InvalidInput("config", f"the configuration is {shown(config)}", "a JSON object")
    outer_type = model_type_of(config)
    model_type, values = outer_type, dict(config)
    tied = config.get("tie_word_embeddings")
    for _ in range(4):
        inner = next((values[key] for key in TEXT_CONFIGS if isinstance(values.get(key), Mapping)), None)
        if not isinstance(inner, Mapping):
            break
        inherited = {key: values[key] for key in INHERITED if values.get(key) is not None}
        values = {**inherited, **inner}
        model_type = model_type_of(values) or model_type
    else:
        raise InvalidInput("config.text_config", "text_config is nested too deep", "at most 3 levels")
    if any(isinstance(config.get(key), Mapping) for key in TEXT_CONFIGS):
        settle_tie(values, outer_type, tied)
    return outer_type, model_type, values


def settle_tie(values: dict[str, object], outer_type: str, tied: object) -> None:
    """tie_word_embeddings of a wrapped language model, given the wrapper's key."""
    if outer_type in TIED_BY_TEXT_CONFIG:
        return
    if outer_type in TIED_BY_WRAPPER:
        values.pop("tie_word_embeddings", None)
    if isinstance(tied, bool):
        inner = values.get("tie_word_embeddings") is True and outer_type in TIED_BY_EITHER
        values["tie_word_embeddings"] = tied or inner


def model_type_of(values: Mapping[str, object]) -> str:
    """model_type without "_text" and the like; refuses what is no causal language model."""
    model_type = values.get("model_type", "")
    if model_type is None:
        model_type = ""
    if not isinstance(model_type, str):
        raise InvalidInput("config.model_type", f"model_type is {shown(model_type)}", "a text such as llama")
    model_type = model_type.lower()
    if model_type in NOT_CAUSAL:
        raise InvalidInput(
            "config.model_type",
            f"model_type {model_type} is {NOT_CAUSAL[model_type]} model, not a causal language model",
            "a causal language model such as llama, qwen3, deepseek_v3",
        )
    if model_type in NOT_READ:
        raise InvalidInput(
            "config.model_type",
            f"model_type {model_type} has blocks that are not read ({NOT_READ[model_type]})",
            "a model of attention, Mamba, delta nets or short convolutions",
        )
    if values.get("is_encoder_decoder") is True:
        raise InvalidInput("config.is_encoder_decoder", "an encoder-decoder is not a causal language model", "false")
    architectures = values.get("architectures")
    names = architectures if isinstance(architectures, list | tuple) else ()
    if names and all(isinstance(entry, str) and entry.endswith(OTHER_TASKS) for entry in names):
        raise InvalidInput(
            "config.architectures",
            f"{shown(names[0])} is not a causal language model",
            "a class ...ForCausalLM",
        )
    for ending in ("_text_model", "_vl_text", "_text"):
        shorter = model_type.removesuffix(ending)
        if shorter != model_type and (shorter in FAMILIES or ending != "_vl_text"):
            return shorter
    return model_type


def refuse_unknown_blocks(model_type: str, unread: list[str]) -> None:
    """Raises InvalidInput where an unknown model_type states keys that change its layers."""
    telling = [key[:60] for key in unread if any(part in key for part in STRUCTURAL)]
    if telling:
        raise InvalidInput(
            "config.model_type",
            f"model_type {shown(model_type)} is not known, and neither are keys of it that change its layers: "
            + ", ".join(telling[:6]),
            "a model_type that is known, or custom with the keys of a model described by hand",
        )


def warn_of_assumptions(config: Config, model_type: str) -> None:
    """Names each trait that is taken for granted because nothing states it."""
    if model_type != "custom":
        config.warn(f"model_type {shown(model_type)} is not known: read by what its keys mean")
    assumptions = (
        (("norm",), "norms are assumed to be RMS norms, two a layer and a final one"),
        (("gated_mlp",), "MLPs are assumed to be gated (three matrices)"),
        (("qkv_bias", "attention_bias"), "attention is assumed to have no biases"),
        (("mlp_bias",), "MLPs are assumed to have no biases"),
        (("tie_word_embeddings",), "embedding and lm_head are assumed not to be tied"),
        (("num_key_value_heads", "kv_lora_rank"), "as many key/value heads as query heads are assumed"),
    )
    for keys, assumption in assumptions:
        if not any(config.states(key) for key in keys):
            config.warn(f"{keys[0]} is not stated: {assumption}")
