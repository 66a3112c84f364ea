"""What mixes tokens in each layer: full, windowed, compressed, cross-attention or a recurrent block."""

from __future__ import annotations

from collections.abc import Collection

from app.calculations.errors import InvalidInput
from app.calculations.huggingface.config import Config, shown
from app.calculations.huggingface.family import Family

#: Entries of layer_types and its like -> what mixes the tokens.
LAYER_TYPES: dict[str, str] = {
    "full_attention": "full",
    "attention": "full",
    "global_attention": "full",
    "global": "full",
    "indexed_attention": "full",
    "minimax_m3_sparse": "full",
    "sliding_attention": "sliding",
    "local_attention": "sliding",
    "local": "sliding",
    "chunked_attention": "sliding",
    "linear_attention": "linear",
    "recurrent": "linear",
    "mamba": "linear",
    "mamba2": "linear",
    "conv": "linear",
    "compressed_sparse_attention": "compressed_sparse",
    "heavily_compressed_attention": "heavily_compressed",
}


def window_size(config: Config) -> int | None:
    """The attention window in tokens, None where there is none or it exceeds every possible position."""
    window = config.integer("sliding_window", minimum=0)
    used = config.get("use_sliding_window")
    if not window or (used is not None and not config.flag("use_sliding_window")):
        return None
    longest = config.integer("max_position_embeddings")
    return None if longest is not None and window >= longest else window


def named_types(config: Config, meaning: str, count: int, known: Collection[str]) -> list[str] | None:
    """A list of names, one per layer, each of them known."""
    mtp_layers = config.integer("num_nextn_predict_layers", minimum=0) or 0
    entries = config.items(meaning)
    if entries is None:
        return None
    # Step-3.5 lists its multi-token-prediction layers behind the others.
    entries = entries[:count] if len(entries) == count + mtp_layers else config.items(meaning, count) or []
    names: list[str] = []
    for index, entry in enumerate(entries):
        if not isinstance(entry, str) or entry not in known:
            raise InvalidInput(
                config.field(meaning),
                f"{config.spelled(meaning)}[{index}] is {shown(entry)}",
                "one of " + ", ".join(sorted(known)),
            )
        names.append(entry)
    return names


def every(count: int, period: int, offset: int, chosen: str, other: str) -> list[str]:
    """`chosen` where index modulo period equals offset, else `other`."""
    return [chosen if i % period == offset else other for i in range(count)]


def mixer_names(config: Config, family: Family, count: int) -> list[str]:
    """What mixes tokens in each layer."""
    if family.special == "no_attention":
        return ["linear"] * count
    if family.special == "deepseek_v4":
        ratios = config.items("compress_ratios")
        config.ignore("layer_types")
        if ratios is not None and not config.states("layer_types"):
            return deepseek_v4_mixers(config, ratios, count)
        if not config.states("layer_types"):
            rest = ["compressed_sparse" if i % 2 else "heavily_compressed" for i in range(max(count - 2, 0))]
            return (["heavily_compressed"] * 2 + rest)[:count]
    names = named_types(config, "layer_types", count, LAYER_TYPES)
    if names is not None:
        config.ignore("sliding_window_pattern", "full_attention_interval", "max_window_layers")
        mixers = [LAYER_TYPES[name] for name in names]
        return mixers if window_size(config) else ["full" if m == "sliding" else m for m in mixers]
    if family.special == "mllama":
        cross = config.indices("cross_attention_layers", count - 1) or frozenset()
        return ["cross" if i in cross else "full" for i in range(count)]
    if family.special == "parallel_mamba":
        return ["both"] * count
    if family.special == "jamba":
        period = config.size("attn_layer_period")
        return every(count, period, config.size("attn_layer_offset", minimum=0), "full", "linear")
    if family.special == "recurrent_gemma":
        return griffin_mixers(config, count)
    if family.recurrent:
        return hybrid_mixers(config, count)
    return windowed_mixers(config, family, count)


def griffin_mixers(config: Config, count: int) -> list[str]:
    """RecurrentGemma repeats block_types."""
    kinds = config.items("block_types") or ["recurrent", "recurrent", "attention"]
    names = {"recurrent": "linear", "attention": "sliding"}
    for kind in kinds:
        if not isinstance(kind, str) or kind not in names:
            raise InvalidInput("config.block_types", f"block_types holds {shown(kind)}", "recurrent or attention")
    return [names[str(kinds[i % len(kinds)])] for i in range(count)]


def hybrid_mixers(config: Config, count: int) -> list[str]:
    """Attention among recurrent layers: by interval (Qwen3-Next) or by layer numbers (Bamba, LFM2)."""
    linear = config.get("linear_attn_config")
    if isinstance(linear, dict) and isinstance(linear.get("full_attn_layers"), list):
        field = "config.linear_attn_config.full_attn_layers"
        # Kimi-Linear counts layers from 1.
        full = {config.checked(field, entry, 1, count) - 1 for entry in linear["full_attn_layers"]}
        return ["full" if i in full else "linear" for i in range(count)]
    # MiniMax-Text-01: 1 for softmax attention.
    kinds = config.items("kinds_of_attention")
    if kinds is not None:
        kinds = config.items("kinds_of_attention", count) or []
        return ["full" if kind else "linear" for kind in kinds]
    for meaning in ("attn_layer_indices", "full_attn_idxs"):
        chosen = config.indices(meaning, count - 1)
        if chosen is not None:
            return ["full" if i in chosen else "linear" for i in range(count)]
    interval = config.integer("full_attention_interval")
    if interval is None:
        return ["linear"] * count
    return every(count, interval, interval - 1, "full", "linear")


def windowed_mixers(config: Config, family: Family, count: int) -> list[str]:
    """Which layers the window applies to, where layer_types does not say."""
    pattern = config.get("sliding_window_pattern")
    first = config.integer("max_window_layers", minimum=0)
    rotary = config.items("no_rope_layers")
    windowed = config.items("hybrid_layer_pattern", count)
    if window_size(config) is None:
        return ["full"] * count
    if isinstance(pattern, str):
        # EXAONE-4 writes "LLLG": local, local, local, global, repeated.
        letters = (pattern or "L").upper()[:64]
        return ["full" if letters[i % len(letters)] == "G" else "sliding" for i in range(count)]
    if windowed is not None:
        # MiMo-V2: 1 where the window applies.
        return ["sliding" if mark else "full" for mark in windowed]
    if rotary:
        # Llama 4: 1 where rotary positions (and chunks) are used, 0 where the layer sees everything.
        marks = config.items("no_rope_layers", count) or []
        return ["sliding" if mark else "full" for mark in marks]
    period = config.integer("sliding_window_pattern") or family.full_every
    if period:
        mixers = every(count, period, period - 1, "full", "sliding")
        if family.special == "mimo_v2":
            # The first layer is global too.
            return ["full", *mixers[1:]]
        # Gemma 4: the last layer is always global.
        return [*mixers[:-1], "full"] if family.special == "gemma4" else mixers
    if first is not None:
        # Qwen2: the first max_window_layers layers see everything.
        return ["full" if i < first else "sliding" for i in range(count)]
    return ["sliding"] * count


def deepseek_v4_mixers(config: Config, ratios: list[object], count: int) -> list[str]:
    """compress_ratios: 0 window only, 4 compressed sparse, 128 heavily compressed; MTP layers come last."""
    names = {0: "sliding", 4: "compressed_sparse", 128: "heavily_compressed"}
    if len(ratios) < count:
        raise InvalidInput(
            "config.compress_ratios",
            f"compress_ratios has {len(ratios)} entries",
            f"at least {count} entries",
        )
    mixers: list[str] = []
    for ratio in ratios[:count]:
        number = config.checked("config.compress_ratios", ratio, 0, 128)
        if number not in names:
            raise InvalidInput("config.compress_ratios", f"compress_ratios holds {number}", "0, 4 or 128")
        mixers.append(names[number])
    return mixers


def compression_rates(config: Config, family: Family, mixers: list[str]) -> list[int]:
    """Tokens per compressed row of each layer (DeepSeek-V4: 4 and 128), 0 without compression."""
    rates = {"compressed_sparse": 4, "heavily_compressed": 128}
    if family.special != "deepseek_v4":
        if any(mixer in rates for mixer in mixers):
            raise InvalidInput("config.layer_types", "compressed attention is known for deepseek_v4 only", "")
        return [0] * len(mixers)
    stated = config.get("compress_rates")
    if isinstance(stated, dict):
        for kind in rates:
            rate = stated.get(f"{kind}_attention")
            if rate is not None:
                rates[kind] = config.checked("config.compress_rates", rate, 1, 1_000_000)
    return [rates.get(mixer, 0) for mixer in mixers]
