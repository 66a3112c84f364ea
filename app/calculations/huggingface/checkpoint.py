"""The precision of a published checkpoint in one word, from its dtype and from what its quantisation stores."""

from __future__ import annotations

from app.calculations.huggingface.config import Config
from app.calculations.huggingface.quantization_entry import Recipe

DTYPES = {
    "float32": "fp32",
    "bfloat16": "bf16",
    "float16": "fp16",
    "half": "fp16",
    "float": "fp32",
    "float8_e4m3fn": "fp8",
    "float8_e4m3": "fp8",
}
NARROWEST_FIRST = ("nvfp4", "mxfp4", "int4", "fp8", "int8")


def checkpoint_precision(config: Config, recipe: Recipe | None) -> str:
    """A name of precision.py: that of most linear layers, which is the narrowest where several are mixed."""
    found = {label(scheme.name, scheme.bits) for scheme in recipe.schemes()} if recipe else set()
    for name in NARROWEST_FIRST:
        if name in found:
            return name
    for key in ("dtype", "torch_dtype"):
        dtype = config.get(key)
        if isinstance(dtype, str):
            return DTYPES.get(dtype.removeprefix("torch."), "bf16")
    return "bf16"


def label(name: str, bits: float) -> str:
    """The nearest name of precision.py: int2 and int3 count as int4, 5 to 8 bits as 8."""
    if name in NARROWEST_FIRST:
        return name
    if name.startswith("fp"):
        return "fp8"
    return "int4" if bits <= 4.5 else "int8"
