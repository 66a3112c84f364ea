"""Which layers have experts and which a dense MLP."""

from __future__ import annotations

from app.calculations.huggingface.config import Config
from app.calculations.huggingface.family import Family


def feed_forward_names(config: Config, family: Family, count: int) -> list[str]:
    """ "dense" or "experts" for each layer."""
    experts = config.integer("num_experts", minimum=0)
    if family.special == "no_attention":
        return ["none"] * count
    if family.special == "gemma4":
        return ["both" if config.flag("enable_moe_block") and experts else "dense"] * count
    sparse = sparse_layers(config, family, count)
    if not experts or (experts == 1 and family.special == "jamba"):
        return ["dense"] * count
    # Arctic: a dense MLP beside the experts.
    mixture = "both" if family.special == "arctic" and config.flag("parallel_attn_mlp_res") else "experts"
    return [mixture if i in sparse else "dense" for i in range(count)]


def sparse_layers(config: Config, family: Family, count: int) -> frozenset[int]:
    """Numbers of the layers with experts; all keys that say so are read, the most explicit wins."""
    layers = range(count)
    first = config.integer("first_k_dense_replace", minimum=0) or 0
    frequency = config.get("moe_layer_freq")
    dense_only = config.indices("mlp_only_layers", count - 1) or frozenset()
    step = config.integer("decoder_sparse_step")
    interleave = config.integer("interleave_moe_layer_step")
    listed = enumerated(config, count) or config.indices("moe_layers", count - 1)
    names = config.items("mlp_layer_types", count)
    if names is not None:
        return frozenset(i for i in layers if names[i] in ("sparse", "moe", "hash_moe"))
    if family.special == "deepseek_v4":
        return frozenset(layers)
    if isinstance(frequency, list | tuple):
        marks = config.items("moe_layer_freq", count) or []
        return frozenset(i for i in layers if marks[i])
    if listed is not None:
        return listed
    if interleave is not None:
        return frozenset(range(interleave - 1, count, interleave))
    if family.special == "jamba":
        period = config.size("expert_layer_period")
        offset = config.size("expert_layer_offset", minimum=0)
        return frozenset(i for i in layers if i % period == offset)
    start = config.get("moe_layer_start_index")
    if start is not None:
        # ERNIE 4.5: from start to end, each interval-th.
        begin = config.size("moe_layer_start_index", minimum=0)
        interval = config.integer("moe_layer_interval") or 1
        end = config.get("moe_layer_end_index")
        last = count - 1 if end in (None, -1) else config.size("moe_layer_end_index", minimum=0)
        return frozenset(i for i in layers if begin <= i <= last and (i + 1) % interval == 0)
    if step is not None:
        return frozenset(i for i in layers if i >= first and i not in dense_only and (i + 1) % step == 0)
    period = config.integer("moe_layer_freq") or 1
    return frozenset(i for i in layers if i >= first and i % period == 0 and i not in dense_only)


def enumerated(config: Config, count: int) -> frozenset[int] | None:
    """moe_layers_enum of Step-3.5: layer numbers in a text such as "3,4,5"; MTP layers may be among them."""
    text = config.get("moe_layers_enum")
    if not isinstance(text, str):
        return None
    entries = [int(part) if part.strip().isdecimal() and len(part) < 10 else None for part in text.split(",")]
    field = config.field("moe_layers_enum")
    numbers = frozenset(config.checked(field, entry, 0, 100_000) for entry in entries)
    return frozenset(number for number in numbers if number < count)
