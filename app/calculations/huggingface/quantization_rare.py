"""Quantisation methods that need assumptions or come rarely: HQQ, AQLM, VPTQ, MLX, and what only states its bits."""

from __future__ import annotations

from collections.abc import Mapping
from math import log2

from app.calculations.huggingface.config import Config, shown
from app.calculations.huggingface.quantization_entry import KEPT, Entry, Recipe, Rule, by_name, wide
from app.calculations.huggingface.schemes import (
    FP16_BITS,
    Scheme,
    codebooks,
    grouped,
    mxfp4,
    named,
    nvfp4,
    rows_scaled,
)

ASSUMED_GROUP = 128


def hqq(entry: Entry, config: Config) -> Recipe:
    """HQQ: a 16-bit scale and zero per group; quant_config may be by module name."""
    outer = entry.entry("quant_config") or entry
    kept = wide(entry.words("skip_modules") or ["lm_head"])
    own = {
        name: hqq_scheme(weights)
        for name, inner in outer.entries()
        if name != "weight_quant_params" and (weights := inner.entry("weight_quant_params")) is not None
    }
    rules = tuple(by_name({**own}))
    weights = outer.entry("weight_quant_params")
    config.warn("HQQ: scales and zeros are taken as 16-bit")
    if weights is not None or not rules:
        rules += (Rule(scheme=hqq_scheme(weights or outer)),)
    return Recipe(rules=(*kept, *rules))


def hqq_scheme(weights: Entry) -> Scheme:
    bits = weights.number("nbits", "bits", low=1, high=8) or 4
    return grouped(bits, weights.group_size() or 64, zero_bits=FP16_BITS)


def aqlm(entry: Entry, config: Config) -> Recipe:
    """AQLM (arXiv:2401.06118): codes for groups of weights, fp16 codebooks per matrix, a scale per output."""
    books, code = entry.integer("num_codebooks", high=64) or 1, entry.integer("nbits_per_codebook", high=24) or 16
    size = (entry.integer("in_group_size", high=1024) or 8) * (entry.integer("out_group_size", high=1024) or 1)
    bits = books * code / size
    config.warn(f"AQLM: codes of {bits:g} bits a weight, fp16 codebooks and scales are assumed")
    scheme = codebooks(named(bits), bits, entries_bits=books * 2**code * size * FP16_BITS, output_bits=FP16_BITS)
    return Recipe(rules=(*wide(entry.words("linear_weights_not_to_quantize", *KEPT)), Rule(scheme=scheme)))


def vptq(entry: Entry, config: Config) -> Recipe:
    """VPTQ (arXiv:2409.17066): an index per vector of weights and one for its residual, with fp16 centroids."""
    layers = entry.entry("config_for_layers") or Entry({}, "")
    rules = tuple(by_name({name: vptq_scheme(layer) for name, layer in layers.entries()}))
    if not rules:
        shared = entry.entry("shared_layer_config") or entry
        rules = (Rule(scheme=vptq_scheme(shared)),)
    config.warn("VPTQ: indices of the stated centroids, fp16 centroids are assumed; outliers are left out")
    return Recipe(rules=(*wide(entry.words(*KEPT)), *rules))


def vptq_scheme(layer: Entry) -> Scheme:
    """Bits of the two indices over the vector's length."""

    def last(key: str, default: int) -> int:
        pair = layer.get(key)
        value = pair[-1] if isinstance(pair, list | tuple) and pair else pair
        if value is None or value == -1:
            return default
        if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= 1_000_000:
            raise layer.refused(key, value, "1 to 1000000")
        return value

    length = last("vector_lens", 8)
    centroids, residual = last("num_centroids", 65536), last("num_res_centroids", 1)
    bits = (log2(centroids) + log2(residual)) / length
    tables = (centroids + (residual if residual > 1 else 0)) * length * FP16_BITS
    groups = layer.integer("group_num", low=-1, high=1000) or 1
    return codebooks(named(round(bits)), bits, entries_bits=max(groups, 1) * tables, output_bits=0)


def eetq(entry: Entry, config: Config) -> Recipe:
    """EETQ: int8 weights, an fp16 scale per output."""
    entry.get("weights")
    return Recipe(rules=(*wide(entry.words(*KEPT)), Rule(scheme=rows_scaled("int8", 8, "", FP16_BITS))))


def bitnet(entry: Entry, config: Config) -> Recipe:
    """BitNet: four ternary weights a byte, a scale per matrix."""
    scheme = Scheme("int2", 2, tile_rows=0, tensor_bits=FP16_BITS)
    return Recipe(rules=(*wide(entry.words(*KEPT)), Rule(scheme=scheme)))


def mlx(entry: Entry, config: Config) -> Recipe:
    """MLX: embedding and lm_head too, a 16-bit scale and bias per group; modules may have bits of their own."""
    bits, group = entry.bits("bits") or 4, entry.group_size() or 64
    entry.get("mode")
    own: dict[str, Scheme | None] = {
        name: grouped(changed.bits("bits") or bits, changed.group_size() or group, zero_bits=FP16_BITS)
        for name, changed in entry.entries()
    }
    rules = tuple(by_name(own))
    rules += wide([key for key, value in entry.values.items() if value is False])
    return Recipe(
        rules=(*rules, Rule(scheme=grouped(bits, group, zero_bits=FP16_BITS))),
        head=True,
        embedding=True,
    )


def by_bits(entry: Entry, config: Config) -> Recipe | None:
    """What a less common method (quanto, torchao, HIGGS, SpQR, ExLlama ...) amounts to, from its bits."""
    texts = [value for value in entry.values.values() if isinstance(value, str)]
    inner = entry.entry("quant_type") if isinstance(entry.get("quant_type"), Mapping) else None
    if inner is not None:
        default = inner.entry("default") or inner
        texts += [default.text("_type")]
        inner = default.entry("_data") or default
    words = " ".join(texts).lower()
    floating = any(word in words for word in ("float8", "fp8", "e4m3"))
    bits = (inner or entry).number("bits", "num_bits", "nbits", "w_bit", low=1, high=16)
    if bits is None:
        bits = next(
            (n for n in (8, 4, 2) if any(f"{kind}{n}" in words for kind in ("int", "float", "fp", "qint"))), None
        )
    if bits is None or bits >= 16:
        return None
    group = (inner or entry).group_size() or (0 if bits > 4 else ASSUMED_GROUP)
    kept = wide(entry.words(*KEPT))
    scheme = rows_scaled("fp8", 8, "") if floating and bits == 8 else grouped(bits, group, zero_bits=FP16_BITS)
    return Recipe(rules=(*kept, Rule(scheme=scheme)))


def assumed(entry: Entry, config: Config) -> Recipe:
    """`by_bits` with a warning of what is assumed."""
    recipe = by_bits(entry, config)
    entry.read.update(entry.values)
    method = shown(entry.text("quant_method"))
    if recipe is None:
        config.warn(f"quantization_config of {method} states no bits: taken as not quantised")
        return Recipe(rules=())
    config.warn(f"{method}: linear layers are taken by their bits, with 16-bit scales and zeros per group")
    return recipe


def fp_quant(entry: Entry, config: Config) -> Recipe:
    """FP-Quant: MXFP4 or NVFP4 matrices, multiplied in them."""
    kept = wide(entry.words(*KEPT) or ["lm_head"])
    kind = entry.text("forward_dtype") or ("nvfp4" if entry.text("quant_method") == "nvfp4" else "mxfp4")
    for key in ("forward_method", "backward_dtype", "hadamard_group_size", "transform_init", "store_master_weights"):
        entry.get(key)
    return Recipe(rules=(*kept, Rule(scheme=mxfp4("fp4") if kind == "mxfp4" else nvfp4())))
