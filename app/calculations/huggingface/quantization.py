"""quantization_config -> which tensors are stored how. Sources: the configuration classes of transformers 5.23
(utils/quantization_config.py) and the packers named at each method."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.calculations.huggingface.config import Config, shown
from app.calculations.huggingface.patterns import Patterns
from app.calculations.huggingface.quantization_entry import KEPT, Entry, Recipe, Rule, by_name, wide
from app.calculations.huggingface.quantization_groups import compressed_tensors, modelopt, quark
from app.calculations.huggingface.quantization_rare import (
    aqlm,
    assumed,
    bitnet,
    by_bits,
    eetq,
    fp_quant,
    hqq,
    mlx,
    vptq,
)
from app.calculations.huggingface.schemes import (
    FP32_BITS,
    Scheme,
    bitsandbytes_4bit,
    fp8_blocks,
    fp8_tensor,
    grouped,
    mxfp4,
    rows_scaled,
)

EXPERTS = frozenset({"expert"})


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
    changes: dict[str, Scheme | None] = {}
    for pattern, changed in (entry.entry("dynamic") or Entry({}, "")).entries():
        sign, _, text = pattern.rpartition(":") if pattern[:2] in ("-:", "+:") else ("+", "", pattern)
        changes[f"re:{text}"] = None if sign == "-" else changed_scheme(changed, bits, group)
    rules += tuple(by_name(changes))
    rules += overrides(entry, "extra_config", bits, group)
    inside = entry.words("modules_in_block_to_quantize")
    if inside:
        return Recipe(rules=(*rules, Rule(scheme=gptq_scheme(bits, group), patterns=Patterns(inside))))
    return Recipe(rules=(*rules, Rule(scheme=gptq_scheme(bits, group))), head=head)


def overrides(entry: Entry, key: str, bits: int, group: int) -> tuple[Rule, ...]:
    """Modules with bits of their own (AutoRound's extra_config); 16 bits mean wide."""
    changes = (entry.entry(key) or Entry({}, "")).entries()
    return tuple(by_name({name: changed_scheme(changed, bits, group) for name, changed in changes}))


def changed_scheme(changed: Entry, bits: int, group: int) -> Scheme | None:
    """The storage of modules that change bits or group size; 16 bits mean wide."""
    own = changed.bits("bits") or bits
    size = changed.group_size() if changed.get("group_size") is not None else group
    return None if own == 16 else gptq_scheme(own, size)


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
