"""Quantisation by groups of modules: compressed-tensors, NVIDIA ModelOpt and AMD Quark."""

from __future__ import annotations

from app.calculations.huggingface.config import Config, shown
from app.calculations.huggingface.patterns import Patterns
from app.calculations.huggingface.quantization_entry import Entry, Recipe, Rule, by_name, wide
from app.calculations.huggingface.schemes import (
    FP16_BITS,
    FP32_BITS,
    Scheme,
    fp8_blocks,
    fp8_tensor,
    grouped,
    mxfp4,
    named,
    nvfp4,
    rows_scaled,
)

#: Two int64 with the unpacked shape (compressed-tensors' weight_shape).
SHAPE_BITS = 128
#: compressed-tensors' formats that keep a byte per element whatever num_bits is.
BYTE_FORMATS = ("int-quantized", "float-quantized", "naive-quantized")


def compressed_tensors(entry: Entry, config: Config) -> Recipe:
    """config_groups with targets ("Linear", names, "re:" expressions) and an ignore list. The most exact target wins.

    Storage as in compressed-tensors (compressors/): packed integers with scales of the model's 16 bits and
    weight_shape; fp8 as it is; NVFP4 and MXFP4 with their block scales.
    """
    outer = entry.text("format")
    if entry.get("sparsity_config"):
        config.warn("sparsity_config is not counted: weights are taken as dense")
    named_rules: tuple[Rule, ...] = ()
    all_rules: tuple[Rule, ...] = ()
    for name, group in (entry.entry("config_groups") or Entry({}, "")).entries():
        weights = group.entry("weights")
        if weights is None:
            continue
        weights_only = group.get("input_activations") is None
        scheme = group_scheme(weights, group.text("format") or outer, config, name, weights_only=weights_only)
        targets = group.words("targets") or ["Linear"]
        classes = [target for target in targets if is_class(target)]
        unknown = [target for target in classes if target != "Linear"]
        if unknown:
            config.warn(f"Module class {shown(unknown[0])} is not known: taken as its linear layers")
        if classes:
            all_rules += (Rule(scheme=scheme),)
        exact = [target for target in targets if not is_class(target)]
        if exact:
            named_rules += (Rule(scheme=scheme, patterns=Patterns(exact)),)
    if not named_rules and not all_rules:
        config.warn("quantization_config has no config_groups with weights: taken as not quantised")
    return Recipe(rules=(*wide(entry.words("ignore")), *named_rules, *all_rules), head=True)


def is_class(target: str) -> bool:
    """Whether a target names a class such as Linear and not a module."""
    return "." not in target and target[:1].isupper() and not any(sign in target for sign in "*?:")


def group_scheme(weights: Entry, layout: str, config: Config, name: str, *, weights_only: bool) -> Scheme | None:
    """The storage that a group's `weights` describe."""
    if layout == "dense":
        return None
    bits = weights.bits("num_bits") or 8
    floating = weights.text("type") == "float"
    group = weights.group_size()
    strategy = weights.text("strategy") or ("group" if group else "tensor")
    if bits == 16:
        return None
    if floating and bits == 4:
        scheme = mxfp4("fp4") if group == 32 or layout.startswith("mxfp4") else nvfp4(group or 16)
    elif floating and bits == 8 and group == 32:
        # MXFP8: an 8-bit exponent per 32.
        scheme = Scheme("fp8", 8, "fp8", 1, 32, 8)
    elif floating:
        scheme = float_scheme(weights, bits, strategy, group)
    else:
        scheme = integer_scheme(weights, bits, strategy, group, layout, config)
    return scheme.weights_only() if weights_only else scheme


def float_scheme(weights: Entry, bits: int, strategy: str, group: int) -> Scheme:
    """FP8 by tensor, output, block or group."""
    if strategy == "block":
        rows, columns = block_structure(weights)
        return fp8_blocks(rows, columns, FP16_BITS)
    if strategy == "channel":
        return rows_scaled(named(bits, floating=True), bits, "fp8", FP16_BITS)
    if strategy == "group" and group:
        return Scheme(named(bits, floating=True), bits, "fp8", 1, group, FP16_BITS)
    # Scales of the weight and of its input in the model's 16 bits.
    return Scheme(named(bits, floating=True), bits, "fp8", 0, 0, tensor_bits=2 * FP16_BITS)


def block_structure(weights: Entry) -> tuple[int, int]:
    value = weights.get("block_structure")
    if isinstance(value, str):
        parts = value.lower().split("x")
        value = [int(part) if part.isdecimal() and len(part) < 7 else part for part in parts]
    if value is None:
        return 128, 128
    sizes = [size for size in value if isinstance(size, int) and size > 0] if isinstance(value, list | tuple) else []
    if len(sizes) != 2:
        raise weights.refused("block_structure", value, "two whole numbers, such as 128 and 128")
    return sizes[0], sizes[1]


def integer_scheme(weights: Entry, bits: int, strategy: str, group: int, layout: str, config: Config) -> Scheme:
    """Integers, packed into 32-bit words or one a byte; a zero point where they are not symmetric."""
    symmetric = weights.flag("symmetric", True)
    stored = 8.0 if layout in BYTE_FORMATS else 32 / (32 // bits)
    if "24" in layout:
        config.warn(
            f"Format {shown(layout)} is 2:4 sparse: half of the values and 2 bits of place for each are assumed"
        )
        stored = (stored + 2) / 2
    if strategy == "tensor":
        return Scheme(named(bits), stored, "int8" if bits == 8 else "int4", 0, 0, 2 * FP16_BITS)
    scheme = grouped(
        stored,
        group if strategy == "group" else 0,
        zero_bits=0 if symmetric else stored,
        input_bits=FP32_BITS if weights.get("actorder") == "group" else 0,
    )
    packed = layout not in BYTE_FORMATS
    peak = "int8" if bits == 8 else "int4"
    return Scheme(
        named(bits),
        stored,
        peak,
        1,
        scheme.tile_columns,
        scheme.tile_bits,
        scheme.input_bits,
        tensor_bits=SHAPE_BITS if packed else 0,
    )


def modelopt(entry: Entry, config: Config) -> Recipe:
    """NVIDIA ModelOpt: an algorithm with its group size, or one for each named layer; lists of names and globs.

    lm_head is narrow only where it is named: ModelOpt's own recipes leave it out.
    """
    inner = entry.entry("quantization") or entry
    kept = wide(inner.words("exclude_modules", "ignore") + (entry.words("ignore") if inner is not entry else []))
    group = inner.group_size()
    layers = inner.entry("quantized_layers")
    algorithm = inner.text("quant_algo")
    named_layers = {
        name: algorithm_scheme(layer.text("quant_algo"), layer.group_size() or group, config)
        for name, layer in (layers or Entry({}, "")).entries()
    }
    if named_layers:
        entry.get("config_groups", "quant_algo")
        return Recipe(rules=(*kept, *by_name(named_layers)))
    if algorithm.upper() == "MIXED_PRECISION" or not algorithm:
        recipe = compressed_tensors(entry, config)
        return Recipe(rules=(*kept, *recipe.rules))
    entry.get("config_groups")
    scheme = algorithm_scheme(algorithm, group, config)
    return Recipe(rules=(*kept, Rule(scheme=scheme)))


def algorithm_scheme(algorithm: str, group: int, config: Config) -> Scheme | None:
    """ModelOpt's quant_algo (modelopt/torch/export: names of QUANTIZATION_*)."""
    name = algorithm.upper()
    exact: dict[str, Scheme | None] = {
        "": None,
        "NONE": None,
        "FP8": fp8_tensor(2),
        "FP8_PER_CHANNEL_PER_TOKEN": rows_scaled("fp8", 8, "fp8"),
        "FP8_PB_WO": fp8_blocks(),
        "FP8_PB_REAL": fp8_blocks(),
        "MXFP8": Scheme("fp8", 8, "fp8", 1, 32, 8),
        "NVFP4": nvfp4(group or 16),
        "NVFP4_AWQ": nvfp4(group or 16),
        "NVFP4_SVDQUANT": nvfp4(group or 16),
        "W4A16_NVFP4": nvfp4(group or 16, scales=1, peak=""),
        "W4A8_NVFP4_FP8": nvfp4(group or 16, peak="fp8"),
        "MXFP4": mxfp4("fp4"),
        "W4A16_MXFP4": mxfp4(),
        "W4A8_MXFP4_FP8": mxfp4("fp8"),
        "INT4_AWQ": grouped(4, group or 128),
        "W4A16_AWQ": grouped(4, group or 128),
        "W4A8_AWQ": Scheme("int4", 4, "fp8", 1, group or 128, FP16_BITS),
        "INT8_SQ": rows_scaled("int8", 8, "int8"),
        "W8A8_SQ_PER_CHANNEL": rows_scaled("int8", 8, "int8"),
        "W8A16": rows_scaled("int8", 8, ""),
        "INT8_WO": rows_scaled("int8", 8, ""),
    }
    if name in exact:
        return exact[name]
    for word, scheme in (
        ("NVFP4", nvfp4(group or 16)),
        ("MXFP4", mxfp4()),
        ("W4", grouped(4, group or 128)),
        ("INT4", grouped(4, group or 128)),
        ("FP8", fp8_tensor(2)),
        ("W8", rows_scaled("int8", 8, "")),
        ("INT8", rows_scaled("int8", 8, "")),
    ):
        if word in name:
            config.warn(f"quant_algo {shown(algorithm)} is not known: taken as {scheme.name}")
            return scheme
    config.warn(f"quant_algo {shown(algorithm)} is not known: taken as not quantised")
    return None


def quark(entry: Entry, config: Config) -> Recipe:
    """AMD Quark: a global configuration, others by layer name or type, and an exclude list."""
    kept = wide(entry.words("exclude"))
    layers = entry.entry("layer_quant_config") or Entry({}, "")
    rules = tuple(by_name({name: quark_scheme(layer, config) for name, layer in layers.entries()}))
    for key in ("layer_type_quant_config", "export", "kv_cache_group", "algo_config"):
        entry.get(key)
    overall = entry.entry("global_quant_config")
    if overall is not None:
        rules += (Rule(scheme=quark_scheme(overall, config)),)
    return Recipe(rules=(*kept, *rules))


def quark_scheme(layer: Entry, config: Config) -> Scheme | None:
    """The storage of a layer's `weight`."""
    weight = layer.entry("weight")
    if weight is None:
        return None
    kind, group, scheme = weight.text("dtype").lower(), weight.group_size(), weight.text("qscheme")
    weights_only = layer.get("input_tensors") is None
    made: Scheme
    if kind in ("fp4", "mxfp4", "fp4_e2m1"):
        made = mxfp4("fp4")
    elif kind.startswith("fp8") or kind.startswith("fp6"):
        bits = int(kind[2])
        made = fp8_tensor(2) if scheme == "per_tensor" else rows_scaled(named(bits, floating=True), bits, "fp8")
    elif kind in ("int4", "uint4", "int8", "uint8", "int2", "uint2", "int3"):
        bits = int(kind[-1])
        made = grouped(bits, group if scheme == "per_group" else 0, zero_bits=bits if kind[0] == "u" else 0)
        if bits == 8 and not weights_only:
            made = rows_scaled("int8", 8, "int8")
    else:
        config.warn(f"Quark's dtype {shown(kind)} is not known: taken as not quantised")
        return None
    return made.weights_only() if weights_only else made
