"""GGUF files of llama.cpp: which block format each tensor gets in a file type, and its true bits per weight.

Rules read from llama.cpp, src/llama-quant.cpp (llama_tensor_get_type); bits from the block structures of
ggml/src/ggml-common.h. A file type such as Q4_K_M mixes formats: value and down projections of some layers, the output
table and biases are kept wider, so the nominal four bits become about 4.9.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.calculations.architecture import Attention, Model, Tensor
from app.calculations.precision import Precision

#: Bits per weight of a block format, scales and minima included.
BLOCK_BITS = {
    "Q2_K": 2.625,
    "Q3_K": 3.4375,
    "Q4_0": 4.5,
    "Q4_K": 4.5,
    "Q5_0": 5.5,
    "Q5_K": 5.5,
    "Q6_K": 6.5625,
    "Q8_0": 8.5,
    "F32": 32.0,
}

#: File type -> block format of most tensors.
FILE_TYPES = {
    "q2_k": "Q2_K",
    "q3_k_m": "Q3_K",
    "q4_0": "Q4_0",
    "q4_k_s": "Q4_K",
    "q4_k_m": "Q4_K",
    "q5_k_m": "Q5_K",
    "q6_k": "Q6_K",
    "q8_0": "Q8_0",
}


def more_bits_share(num_layers: int) -> float:
    """Share of layers that get wider value and down projections: the first and last eighth, every third between."""
    n = num_layers
    wider = sum(i < n // 8 or i >= 7 * n // 8 or (i - n // 8) % 3 == 2 for i in range(n))
    return wider / n


@dataclass(frozen=True, slots=True, kw_only=True)
class GgufRules:
    """How a file type stores the tensors of one model."""

    file_type: str
    num_layers: int
    #: Query heads per key/value head.
    grouping: int
    num_experts: int
    tied: bool

    def stored(self, tensor: Tensor) -> Precision:
        """The mean format of a tensor over the layers: vectors and routers are fp32."""
        if tensor.kind == "vector" or tensor.group in ("norm", "router"):
            return precision("F32", BLOCK_BITS["F32"])
        bits = self.bits(tensor)
        return precision(self.file_type, bits)

    def bits(self, tensor: Tensor) -> float:
        base = BLOCK_BITS[FILE_TYPES[self.file_type]]
        if self.file_type == "q8_0":
            return base
        if tensor.group == "lm_head" or (tensor.group == "embedding" and self.tied):
            return BLOCK_BITS["Q6_K"]
        role = tensor.name.rsplit(".", 1)[-1]
        if self.file_type in ("q4_0", "q6_k"):
            return base
        if role == "v_proj":
            return self.value_bits(base)
        if role == "down_proj":
            return self.down_bits(base)
        if role == "k_proj" and self.num_experts == 8:
            return BLOCK_BITS["Q8_0"]
        if role == "o_proj":
            return self.output_bits(base)
        return base

    def mixed(self, wide: str, share: float, narrow: float) -> float:
        return share * BLOCK_BITS[wide] + (1 - share) * narrow

    def value_bits(self, base: float) -> float:
        if self.num_experts == 8:
            return BLOCK_BITS["Q8_0"]
        few = 1 / self.num_layers
        bits = {
            "q2_k": BLOCK_BITS["Q4_K" if self.grouping >= 4 else "Q3_K"],
            "q3_k_m": self.mixed("Q5_K", min(2 * few, 1.0), BLOCK_BITS["Q4_K"]),
            "q4_k_s": self.mixed("Q5_K", min(4 * few, 1.0), base),
        }.get(self.file_type, self.mixed("Q6_K", more_bits_share(self.num_layers), base))
        return bits

    def down_bits(self, base: float) -> float:
        layers = self.num_layers
        return {
            "q2_k": BLOCK_BITS["Q3_K"],
            "q3_k_m": self.mixed("Q5_K", (layers // 16) / layers, BLOCK_BITS["Q4_K"]),
            "q4_k_s": self.mixed("Q5_K", (layers // 8) / layers, base),
        }.get(self.file_type, self.mixed("Q6_K", more_bits_share(layers), base))

    def output_bits(self, base: float) -> float:
        if self.num_experts == 8 and self.file_type != "q5_k_m":
            return BLOCK_BITS["Q5_K"]
        return BLOCK_BITS[{"q2_k": "Q3_K", "q3_k_m": "Q4_K"}[self.file_type]] if self.file_type in (
            "q2_k", "q3_k_m"
        ) else base  # fmt: skip


def precision(name: str, bits: float) -> Precision:
    """A format that is only stored: products take 16 bits."""
    return Precision(name, name, bits, "")


def rules(file_type: str, model: Model) -> GgufRules:
    """The rules of a file type for a model."""
    attention = next((block for block, _ in model.attentions() if isinstance(block, Attention)), None)
    return GgufRules(
        file_type=file_type,
        num_layers=model.num_layers,
        grouping=attention.num_heads // attention.num_kv_heads if attention else 1,
        num_experts=model.num_experts,
        tied=model.tied_embeddings,
    )
