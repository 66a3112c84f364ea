"""Layers of DeciLM's neural architecture search: block_configs says for each layer what its two blocks are.

Source: modeling_decilm.py and configuration_decilm.py of nvidia/Llama-3_3-Nemotron-Super-49B-v1.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.calculations.architecture import FeedForward
from app.calculations.errors import InvalidInput
from app.calculations.huggingface.config import Config, shown
from app.calculations.huggingface.schedule_plan import LayerPlan
from app.calculations.huggingface.tensors import replicated

FIELD = "config.block_configs"


def block_config_plans(config: Config, count: int) -> tuple[LayerPlan, ...]:
    """One plan per entry of block_configs."""
    entries = config.items("block_configs", count)
    if entries is None:
        raise InvalidInput(FIELD, "block_configs is missing", f"a list of {count} objects")
    return tuple(block_config_plan(config, entry, index) for index, entry in enumerate(entries))


def block_config_plan(config: Config, entry: object, index: int) -> LayerPlan:
    """The plan of one layer: attention (grouped, none or a linear layer) and MLP (of its own width, none, linear)."""
    field = f"{FIELD}[{index}]"
    if not isinstance(entry, Mapping):
        raise InvalidInput(field, f"block_configs[{index}] is {shown(entry)}", "an object with attention and ffn")
    attention, ffn = part(entry, "attention", field), part(entry, "ffn", field)
    mixer, kv_heads = "full", None
    if attention.get("no_op") is True:
        mixer = "none"
    elif attention.get("replace_with_linear") is True:
        mixer = "linear_layer"
    else:
        heads = config.size("num_attention_heads")
        group = config.checked(f"{field}.attention.n_heads_in_group", attention.get("n_heads_in_group"), 1, heads)
        kv_heads = max(heads // group, 1)
        if attention.get("window_length") is not None:
            config.warn("window_length in block_configs is left out: attention is taken as full")
    feed_forward, width = "dense", 0
    if ffn.get("no_op") is True:
        feed_forward = "none"
    elif ffn.get("replace_with_linear") is True:
        feed_forward = "linear_layer"
    else:
        width = ffn_width(config, ffn, field)
    for block in (attention, ffn):
        if block.get("sparsify"):
            config.warn("sparsify in block_configs is left out: weights are taken as dense")
    return LayerPlan(mixer, feed_forward, kv_heads=kv_heads, width=width)


def part(entry: Mapping[object, object], key: str, field: str) -> Mapping[object, object]:
    value = entry.get(key)
    if not isinstance(value, Mapping):
        raise InvalidInput(f"{field}.{key}", f"{key} is {shown(value)}", "an object")
    return value


def ffn_width(config: Config, ffn: Mapping[object, object], field: str) -> int:
    """intermediate_size, or two thirds of ffn_mult times the hidden size, rounded up to a multiple of 256."""
    stated = ffn.get("intermediate_size")
    if stated is not None:
        return config.checked(f"{field}.ffn.intermediate_size", stated, 1, 10_000_000)
    multiple = ffn.get("ffn_mult")
    if isinstance(multiple, bool) or not isinstance(multiple, int | float) or not 0 < multiple < 1000:
        raise InvalidInput(f"{field}.ffn.ffn_mult", f"ffn_mult is {shown(multiple)}", "a number above 0")
    width = int(2 * multiple * config.size("hidden_size") / 3)
    return -(-width // 256) * 256


def linear_layer(config: Config, group: str) -> FeedForward:
    """A square matrix in place of a block."""
    hidden = config.size("hidden_size")
    biased = config.flag("attention_bias" if group == "attention" else "mlp_bias")
    tensors = replicated("linear_attn" if group == "attention" else "linear_mlp", group, hidden, hidden, bias=biased)
    return FeedForward(tensors=tensors, width=hidden, gated=False)
