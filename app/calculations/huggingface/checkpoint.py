"""The precision of a published checkpoint, from its dtype and quantization_config."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from app.calculations.huggingface.config import Config, shown

DTYPES = {
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float": "fp32",
    "float8_e4m3fn": "fp8",
    "float8_e4m3": "fp8",
}
#: Methods that state no number of bits because they have one.
METHODS = {"fp8": "fp8", "fbgemm_fp8": "fp8", "mxfp4": "mxfp4", "nvfp4": "nvfp4", "fp_quant": "mxfp4"}
#: Words of modelopt's quant_algo, the narrowest first.
ALGORITHMS = (
    ("NVFP4", "nvfp4"),
    ("MXFP4", "mxfp4"),
    ("W4", "int4"),
    ("INT4", "int4"),
    ("FP8", "fp8"),
    ("W8", "int8"),
)
NARROWEST_FIRST = ("nvfp4", "mxfp4", "int4", "fp8", "int8")


def checkpoint_precision(config: Config) -> str:
    """A name of precision.py: that of most linear layers, which is the narrowest where several are mixed."""
    quantization = config.get("quantization_config")
    if isinstance(quantization, Mapping) and quantization:
        if quantization.get("expert_dtype", config.get("expert_dtype")) == "fp4":
            # DeepSeek-V4: experts (97% of the weights) in MXFP4, the rest in FP8.
            return "mxfp4"
        found = quantized(quantization)
        if found:
            return found
        config.warn(
            f"quantization_config.quant_method {shown(quantization.get('quant_method'))} is not known: "
            "taken as not quantised"
        )
    for key in ("dtype", "torch_dtype"):
        dtype = config.get(key)
        if isinstance(dtype, str):
            return DTYPES.get(dtype.removeprefix("torch."), "bf16")
    return "bf16"


def quantized(quantization: Mapping[str, object]) -> str | None:
    """Precision that a quantization_config describes, None where it is not understood."""
    method = quantization.get("quant_method")
    if isinstance(method, str) and method.lower() in METHODS:
        return METHODS[method.lower()]
    if quantization.get("load_in_4bit") is True or quantization.get("_load_in_4bit") is True:
        return "int4"
    if quantization.get("load_in_8bit") is True or quantization.get("_load_in_8bit") is True:
        return "int8"
    groups = set(group_precisions(quantization.get("config_groups")))
    for name in NARROWEST_FIRST:
        if name in groups:
            return name
    algorithm = quantization.get("quant_algo")
    for word, name in ALGORITHMS:
        if isinstance(algorithm, str) and word in algorithm.upper():
            return name
    bits = quantization.get("bits", quantization.get("w_bit"))
    if isinstance(bits, int) and not isinstance(bits, bool) and 1 <= bits <= 8:
        return "int4" if bits <= 4 else "int8"
    return None


def group_precisions(groups: object) -> Iterator[str]:
    """Weight precisions of compressed-tensors' (and modelopt's) config_groups."""
    if not isinstance(groups, Mapping):
        return
    for group in groups.values():
        weights = group.get("weights") if isinstance(group, Mapping) else None
        if not isinstance(weights, Mapping):
            continue
        bits, is_float = weights.get("num_bits"), weights.get("type") == "float"
        if bits == 4:
            yield ("mxfp4" if weights.get("group_size") == 32 else "nvfp4") if is_float else "int4"
        elif bits == 8:
            yield "fp8" if is_float else "int8"
