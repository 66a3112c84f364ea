"""One plan per layer: what it is made of, before any size is known.

Configs say it in a dozen ways (lists by name, periods, offsets, first k, patterns of letters). Layers with
equal plans are the same layer.
"""

from __future__ import annotations

from app.calculations.errors import InvalidInput
from app.calculations.huggingface.block_configs import block_config_plans
from app.calculations.huggingface.config import Config, shown
from app.calculations.huggingface.family import Family
from app.calculations.huggingface.mixers import compression_rates, mixer_names, named_types
from app.calculations.huggingface.schedule_plan import LayerPlan
from app.calculations.huggingface.sparsity import feed_forward_names

#: Nemotron-H: each layer is one block.
ONE_BLOCK_TYPES = {
    "mamba": ("linear", "none"),
    "linear_attention": ("linear", "none"),
    "attention": ("full", "none"),
    "full_attention": ("full", "none"),
    "mlp": ("none", "dense"),
    "moe": ("none", "experts"),
}
PATTERN_LETTERS = {"M": "mamba", "*": "attention", "-": "mlp", "E": "moe"}


def layer_plans(config: Config, family: Family) -> tuple[LayerPlan, ...]:
    """One plan per layer, in order."""
    count = layer_count(config, family)
    if family.special == "one_block":
        return one_block_plans(config, count)
    if family.special == "block_configs":
        return block_config_plans(config, count)
    mixers = mixer_names(config, family, count)
    feed_forwards = feed_forward_names(config, family, count)
    kv_heads = kv_heads_per_layer(config, count)
    shared = first_sharing_layer(config, count)
    indexed = index_owners(config, family, count)
    compressions = compression_rates(config, family, mixers)
    return tuple(
        LayerPlan(
            "sliding" if compressions[i] else mixers[i],
            feed_forwards[i],
            i < shared,
            indexed[i],
            compressions[i],
            kv_heads[i],
        )
        for i in range(count)
    )


def layer_count(config: Config, family: Family) -> int:
    """num_hidden_layers, or the length of the list of blocks where only that is given (Nemotron-H)."""
    if family.special == "one_block" and config.integer("num_hidden_layers") is None:
        names = one_block_names(config)
        if names:
            return config.checked("config.layers_block_type", len(names), 1, 1000)
    return config.size("num_hidden_layers")


def one_block_names(config: Config) -> list[str] | None:
    """Block names from layers_block_type or from a pattern of letters such as "ME*-"."""
    pattern = config.get("hybrid_override_pattern")
    entries = config.items("layer_types")
    if entries is not None:
        return named_types(config, "layer_types", len(entries), ONE_BLOCK_TYPES)
    if pattern is None:
        return None
    if not isinstance(pattern, str) or not set(pattern) <= set(PATTERN_LETTERS):
        raise InvalidInput(
            "config.hybrid_override_pattern",
            f"hybrid_override_pattern is {shown(pattern)}",
            "a text of M (Mamba-2), * (attention), - (MLP) and E (experts)",
        )
    return [PATTERN_LETTERS[letter] for letter in pattern]


def one_block_plans(config: Config, count: int) -> tuple[LayerPlan, ...]:
    names = one_block_names(config)
    if names is None:
        raise InvalidInput(
            "config.layers_block_type",
            "layers_block_type and hybrid_override_pattern are missing",
            "one of the two",
        )
    if len(names) != count:
        raise InvalidInput(
            "config.num_hidden_layers",
            f"num_hidden_layers is {count}, the block pattern has {len(names)} entries",
            str(len(names)),
        )
    return tuple(LayerPlan(*ONE_BLOCK_TYPES[name]) for name in names)


def kv_heads_per_layer(config: Config, count: int) -> list[int | None]:
    """Key/value heads of each layer where a list states them (DeciLM), else None."""
    entries = config.items("num_key_value_heads_per_layer", count)
    if entries is None:
        return [None] * count
    field = config.field("num_key_value_heads_per_layer")
    return [config.checked(field, entry, 1, 100_000) for entry in entries]


def first_sharing_layer(config: Config, count: int) -> int:
    """The first layer that reads an earlier layer's cache (Gemma 3n and 4); `count` where none does."""
    shared = config.integer("num_kv_shared_layers", minimum=0) or 0
    if shared >= count:
        raise InvalidInput(
            "config.num_kv_shared_layers",
            f"num_kv_shared_layers is {shared} of {count} layers",
            f"0 to {count - 1}",
        )
    return count - shared


def index_owners(config: Config, family: Family, count: int) -> list[bool]:
    """Which layers have their own indexer: GLM-5.2 shares one among several, MiniMax-M3 has dense layers."""
    if family.special == "block_sparse":
        marks = config.items("sparse_attention_freq", count) or config.items("layer_types", count)
        return [bool(mark) and mark != "full_attention" for mark in marks or [False] * count]
    names = config.items("indexer_types", count)
    if names is not None:
        config.ignore("index_topk_freq")
        return [name != "shared" for name in names]
    return [True] * count
