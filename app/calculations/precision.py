"""Number formats: bytes per stored element with block scales, and the rate that computes them."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Precision:
    """`bits` per element, plus `scale_bits` shared by a block of `block` elements.

    `peak` names the accelerator's peak that multiplies in this format. Scale sizes: fp8 one fp32 per 128x128
    block (DeepSeek-V3, arXiv:2412.19437, section 3.3); int8 one fp16 per output row of about 4,096; int4 (AWQ,
    GPTQ group 128) one fp16 scale and one 4-bit zero point per 128; mxfp4 one 8-bit exponent per 32 (OCP MX
    1.0); nvfp4 one fp8 scale per 16 (NVIDIA TensorRT-LLM documentation).
    """

    name: str
    label: str
    bits: float
    peak: str
    scale_bits: float = 0.0
    block: int = 1

    def __hash__(self) -> int:
        return hash((self.name, self.bits))  # Part of many keys: cheap, and enough to tell formats apart.

    @property
    def bytes_per_element(self) -> float:
        """Bytes of one element with its share of the scales."""
        return (self.bits + self.scale_bits / self.block) / 8

    @property
    def scale_share(self) -> float:
        """The part of those bytes that are scales and zero points."""
        return self.scale_bits / self.block / 8 / self.bytes_per_element


#: The "peak" of GGUF's block formats: they are only stored, products take 16 bits.
GGUF = "gguf"
#: GGUF file types: name, label, bits per weight of Llama 3.1 8B. The true bits go by tensor, see gguf.py.
GGUF_FILE_TYPES = (
    ("q8_0", "GGUF Q8_0 (8.5 bits)", 8.5),
    ("q6_k", "GGUF Q6_K (6.6 bits)", 6.56),
    ("q5_k_m", "GGUF Q5_K_M (5.7 bits)", 5.7),
    ("q4_k_m", "GGUF Q4_K_M (4.9 bits)", 4.89),
    ("q4_k_s", "GGUF Q4_K_S (4.7 bits)", 4.67),
    ("q4_0", "GGUF Q4_0 (4.6 bits)", 4.64),
    ("q3_k_m", "GGUF Q3_K_M (4.0 bits)", 4.0),
    ("q2_k", "GGUF Q2_K (3.2 bits)", 3.16),
)

PRECISIONS = {
    p.name: p
    for p in (
        Precision("fp32", "FP32, 4 bytes", 32, "tf32"),
        Precision("bf16", "BF16, 2 bytes", 16, "bf16"),
        Precision("fp16", "FP16, 2 bytes", 16, "fp16"),
        Precision("fp8", "FP8, 1 byte", 8, "fp8", 32, 128 * 128),
        Precision("int8", "INT8, 1 byte", 8, "int8", 16, 4096),
        Precision("int4", "INT4 (AWQ, GPTQ; group 128)", 4, "int4", 20, 128),
        Precision("mxfp4", "MXFP4 (block 32)", 4, "fp4", 8, 32),
        Precision("nvfp4", "NVFP4 (block 16)", 4, "fp4", 8, 16),
        *(Precision(name, label, bits, GGUF) for name, label, bits in GGUF_FILE_TYPES),
    )
}

#: What tables call formats that are the same to us.
ALIASES = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16", "half": "fp16", "fp4": "nvfp4", "w4a16": "int4"}


def choices(*names: str) -> tuple[tuple[str, str], ...]:
    """(value, label) pairs for an input; "auto" first."""
    return (("auto", "Automatic"), *((name, PRECISIONS[name].label) for name in names))
