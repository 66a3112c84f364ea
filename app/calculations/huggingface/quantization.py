"""quantization_config -> which tensors are stored how. Sources: the configuration classes of transformers 5.23
(utils/quantization_config.py) and the packers named at each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log2

from app.calculations.huggingface.config import Config, shown
from app.calculations.huggingface.patterns import Patterns
from app.calculations.huggingface.quantization_entry import Entry, Recipe, Rule, wide
from app.calculations.huggingface.quantization_groups import compressed_tensors, modelopt, quark
from app.calculations.huggingface.schemes import (
    FP16_BITS,
    FP32_BITS,
    Scheme,
    bitsandbytes_4bit,
    codebooks,
    fp8_blocks,
    fp8_tensor,
    grouped,
    mxfp4,
    named,
    nvfp4,
    rows_scaled,
)

#: Lists of modules that stay wide.
KEPT = ("modules_to_not_convert", "ignored_layers", "ignore", "exclude_modules", "skip_modules")
EXPERTS = frozenset({"expert"})
ASSUMED_GROUP = 128


def quantization(config: Config) -> Recipe | None:
    """The recipe of a checkpoint, None where it is not quantised. What had to be assumed becomes a warning."""
    found = next(
        (
            value
            for key in ("quantization_config", "compression_config", "quantization")
            if isinstance(value := config.get(key), Mapping) and value
        ),
        None,
    )
    if found is None:
        return None
    entry = Entry(found, "config.quantization_config")
    method = entry.text("quant_method").lower().removeprefix("intel/").replace("_", "-") or inferred(entry)
    maker = METHODS.get(method)
    if maker is None:
        recipe = by_bits(entry, config)
        assumed = "linear layers are taken by their bits" if recipe else "taken as not quantised"
        config.warn(f"quantization_config.quant_method {shown(method)} is not known: {assumed}")
        return recipe
    recipe = maker(entry, config)
    unread = entry.unread()
    if unread:
        config.warn("quantization_config keys not understood: " + ", ".join(key[:60] for key in unread[:12]))
    refused = [word for rule in recipe.rules if rule.patterns for word in rule.patterns.refused]
    if refused:
        config.warn("Module patterns not understood and left out: " + ", ".join(shown(word) for word in refused[:5]))
    return recipe


def inferred(entry: Entry) -> str:
    """The method where nothing names it."""
    keys = entry.values.keys()
    for method, telling in (
        ("bitsandbytes", {"load_in_4bit", "load_in_8bit", "_load_in_4bit", "_load_in_8bit"}),
        ("compressed-tensors", {"config_groups"}),
        ("modelopt", {"quant_algo", "quantization"}),
        ("gptq", {"desc_act", "damp_percent"}),
        ("awq", {"w_bit", "q_group_size", "zero_point"}),
    ):
        if telling & keys:
            return method
    return "mlx" if {"bits", "group_size"} <= keys else ""


def fp8(entry: Entry, config: Config) -> Recipe:
    """FP8 in blocks with fp32 scales (weight_block_size), or whole tensors; DeepSeek-V4's experts are MXFP4.

    The multiplication is in FP8: inputs are quantised as they come.
    """
    block = entry.get("weight_block_size")
    expert_dtype = entry.text("expert_dtype") or config.get("expert_dtype")
    kept = wide(entry.words(*KEPT))
    scheme = fp8_tensor(2 if entry.text("activation_scheme") == "static" else 1)
    if block is not None:
        if not isinstance(block, list | tuple) or len(block) != 2:
            raise entry.refused("weight_block_size", block, "two whole numbers, such as 128 and 128")
        rows, columns = (config.checked("config.quantization_config.weight_block_size", b, 1, 100_000) for b in block)
        scheme = fp8_blocks(rows, columns, 8 if expert_dtype == "fp4" else FP32_BITS)
    narrow = (Rule(scheme=mxfp4("fp8"), groups=EXPERTS),) if expert_dtype == "fp4" else ()
    return Recipe(rules=(*kept, *narrow, Rule(scheme=scheme)))


def fbgemm_fp8(entry: Entry, config: Config) -> Recipe:
    """Llama 3.1 405B FP8: a scale per output, a bound of the inputs per matrix."""
    entry.get("activation_scale_ub")
    scheme = Scheme("fp8", 8, "fp8", output_bits=FP32_BITS, tensor_bits=FP32_BITS)
    return Recipe(rules=(*wide(entry.words(*KEPT)), Rule(scheme=scheme)))


def mxfp4_experts(entry: Entry, config: Config) -> Recipe:
    """gpt-oss: the experts' matrices, whatever the list says about others; their biases stay wide."""
    return Recipe(rules=(*wide(entry.words(*KEPT)), Rule(scheme=mxfp4(), groups=EXPERTS)))


def awq(entry: Entry, config: Config) -> Recipe:
    """AutoAWQ: linear layers of the blocks; packed zero points are stored with or without zero_point."""
    bits = entry.bits("bits", "w_bit") or 4
    entry.get("zero_point")
    group = entry.group_size("group_size", "q_group_size")
    return Recipe(rules=(*wide(entry.words(*KEPT)), Rule(scheme=grouped(bits, group, zero_bits=bits))))


def gptq_scheme(bits: int, group: int) -> Scheme:
    """qweight, fp16 scales, packed qzeros (also when symmetric) and an int32 group index per input."""
    return grouped(bits, group, zero_bits=bits, input_bits=FP32_BITS)


def gptq(entry: Entry, config: Config) -> Recipe:
    """AutoGPTQ and GPTQModel: linear layers of the blocks, those named where only some are, lm_head by its flag.

    `dynamic` (GPTQModel) skips modules ("-:expression") or gives them other bits.
    """
    bits = entry.bits("bits") or 4
    group = entry.group_size()
    entry.get("sym")
    head = entry.flag("lm_head")
    rules = wide(entry.words(*KEPT, "modules_to_not_quantize"))
    for pattern, changed in (entry.entry("dynamic") or Entry({}, "")).entries():
        sign, _, text = pattern.rpartition(":") if pattern[:2] in ("-:", "+:") else ("+", "", pattern)
        other = gptq_scheme(
            changed.bits("bits") or bits, changed.group_size() if changed.get("group_size") is not None else group
        )
        rules += (Rule(scheme=None if sign == "-" else other, patterns=Patterns([f"re:{text}"])),)
    rules += overrides(entry, "extra_config", bits, group)
    inside = entry.words("modules_in_block_to_quantize")
    if inside:
        return Recipe(rules=(*rules, Rule(scheme=gptq_scheme(bits, group), patterns=Patterns(inside))))
    return Recipe(rules=(*rules, Rule(scheme=gptq_scheme(bits, group))), head=head)


def overrides(entry: Entry, key: str, bits: int, group: int) -> tuple[Rule, ...]:
    """Modules with bits of their own (AutoRound's extra_config); 16 bits mean wide."""
    rules: tuple[Rule, ...] = ()
    for name, changed in (entry.entry(key) or Entry({}, "")).entries():
        own = changed.bits("bits") or bits
        size = changed.group_size() if changed.get("group_size") is not None else group
        rules += (Rule(scheme=None if own == 16 else gptq_scheme(own, size), patterns=Patterns([name])),)
    return rules


def bitsandbytes(entry: Entry, config: Config) -> Recipe:
    """All linear layers but lm_head: int8 with an fp32 maximum per output, or NF4/FP4 in blocks of 64."""
    kept = wide(entry.words("llm_int8_skip_modules", *KEPT))
    four, eight = (entry.flag(f"load_in_{n}bit") or entry.flag(f"_load_in_{n}bit") for n in (4, 8))
    if not four and not eight:
        config.warn("quantization_config of bitsandbytes loads in neither 4 nor 8 bits: taken as not quantised")
        return Recipe(rules=())
    double = entry.flag("bnb_4bit_use_double_quant")
    scheme = bitsandbytes_4bit(double=double) if four else rows_scaled("int8", 8, "int8")
    return Recipe(rules=(*kept, Rule(scheme=scheme)))


def hqq(entry: Entry, config: Config) -> Recipe:
    """HQQ: a 16-bit scale and zero per group; quant_config may be by module name."""
    outer = entry.entry("quant_config") or entry
    kept = wide(entry.words("skip_modules") or ["lm_head"])
    rules: tuple[Rule, ...] = ()
    for name, inner in outer.entries():
        if name != "weight_quant_params":
            weights = inner.entry("weight_quant_params")
            if weights is not None:
                rules += (Rule(scheme=hqq_scheme(weights), patterns=Patterns([name])),)
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
    rules: tuple[Rule, ...] = ()
    layers = entry.entry("config_for_layers") or Entry({}, "")
    for name, layer in layers.entries():
        rules += (Rule(scheme=vptq_scheme(layer), patterns=Patterns([name])),)
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
    rules: tuple[Rule, ...] = ()
    for name, changed in entry.entries():
        own = changed.bits("bits") or bits
        rules += (
            Rule(
                scheme=grouped(own, changed.group_size() or group, zero_bits=FP16_BITS),
                patterns=Patterns([name]),
            ),
        )
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
        bits = next((n for n in (8, 4, 2) if any(f"{kind}{n}" in words for kind in ("int", "float", "fp", "qint"))), None)
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


METHODS: Mapping[str, Callable[[Entry, Config], Recipe]] = {
    "fp8": fp8,
    "fbgemm-fp8": fbgemm_fp8,
    "mxfp4": mxfp4_experts,
    "gpt-oss-mxfp4": mxfp4_experts,
    "nvfp4": fp_quant,
    "fp-quant": fp_quant,
    "awq": awq,
    "awq-marlin": awq,
    "gptq": gptq,
    "gptq-marlin": gptq,
    "auto-round": gptq,
    "inc": gptq,
    "bitsandbytes": bitsandbytes,
    "compressed-tensors": compressed_tensors,
    "modelopt": modelopt,
    "modelopt-fp4": modelopt,
    "modelopt-mixed": modelopt,
    "quark": quark,
    "hqq": hqq,
    "aqlm": aqlm,
    "vptq": vptq,
    "eetq": eetq,
    "bitnet": bitnet,
    "mlx": mlx,
    **dict.fromkeys(("quanto", "torchao", "higgs", "spqr", "exl2", "exl3", "marlin", "squeezellm", "sinq"), assumed),
}
