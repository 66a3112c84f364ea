"""How a quantised matrix is laid out: bits per element, scales per tile, and what a row, column or tensor adds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil

from app.calculations.architecture import Tensor
from app.calculations.precision import Precision

#: Peak that multiplies weights which are widened first: no narrow one.
WEIGHTS_ONLY = ""
FP16_BITS = 16
FP32_BITS = 32


@dataclass(frozen=True, slots=True)
class Scheme:
    """The storage of a matrix of (outputs, inputs).

    A tile of (`tile_rows`, `tile_columns`) shares `tile_bits` of scale and zero point; 0 stands for a whole
    side. `input_bits` are stored per input (GPTQ's g_idx), `output_bits` per output, `tensor_bits` once.
    `peak` names the accelerator's peak that multiplies it, "" where only the weights are narrow.
    """

    name: str
    bits: float
    peak: str = WEIGHTS_ONLY
    tile_rows: int = 1
    tile_columns: int = 0
    tile_bits: float = 0.0
    input_bits: float = 0.0
    output_bits: float = 0.0
    tensor_bits: float = 0.0

    def storage(self, tensor: Tensor) -> Precision:
        """The precision of one tensor: its scales, zero points and indices spread over its elements."""
        rows, columns = tensor.shape
        tile = (self.tile_rows or rows, self.tile_columns or columns)
        extra = self.input_bits * columns + self.output_bits * rows + self.tensor_bits
        label = f"{self.name.upper()} of the checkpoint"
        if not extra and rows % tile[0] == 0 and columns % tile[1] == 0:
            return Precision(self.name, label, self.bits, self.peak, self.tile_bits, tile[0] * tile[1])
        tiles = ceil(rows / tile[0]) * ceil(columns / tile[1])
        return Precision(self.name, label, self.bits, self.peak, tiles * self.tile_bits + extra, rows * columns)

    def weights_only(self) -> Scheme:
        """The same storage, multiplied in 16 bits."""
        return replace(self, peak=WEIGHTS_ONLY)


def named(bits: float, *, floating: bool = False) -> str:
    """int4, int2, fp8 ..."""
    return f"{'fp' if floating else 'int'}{bits:g}"


def fp8_blocks(rows: int = 128, columns: int = 128, scale_bits: int = FP32_BITS) -> Scheme:
    """FP8 with a scale per block (DeepSeek-V3, arXiv:2412.19437, section 3.3)."""
    return Scheme("fp8", 8, "fp8", rows, columns, scale_bits)


def fp8_tensor(scales: int = 1) -> Scheme:
    """FP8 with one fp32 scale for the weight, and one for its input where `scales` is 2."""
    return Scheme("fp8", 8, "fp8", 0, 0, 0, tensor_bits=scales * FP32_BITS)


def rows_scaled(name: str, bits: float, peak: str, scale_bits: int = FP32_BITS) -> Scheme:
    """One scale per output."""
    return Scheme(name, bits, peak, output_bits=scale_bits)


def mxfp4(peak: str = WEIGHTS_ONLY) -> Scheme:
    """Two elements a byte, an 8-bit exponent per 32 inputs (OCP Microscaling Formats 1.0)."""
    return Scheme("mxfp4", 4, peak, 1, 32, 8)


def nvfp4(group: int = 16, *, scales: int = 2, peak: str = "fp4") -> Scheme:
    """Two elements a byte, an fp8 scale per 16 inputs, fp32 scales of the weight and of its input."""
    return Scheme("nvfp4", 4, peak, 1, group, 8, tensor_bits=scales * FP32_BITS)


def grouped(
    bits: float, group: int, *, zero_bits: float = 0.0, scale_bits: int = FP16_BITS, input_bits: float = 0.0
) -> Scheme:
    """Integers with a scale and a zero point per `group` inputs (0: per output): AWQ, GPTQ, compressed-tensors."""
    return Scheme(named(bits), bits, WEIGHTS_ONLY, 1, max(group, 0), scale_bits + zero_bits, input_bits)


def bitsandbytes_4bit(block: int = 64, *, double: bool = True) -> Scheme:
    """NF4 or FP4: an absolute maximum per 64 elements, fp32, or 8 bits and an fp32 per 256 of them (QLoRA,
    arXiv:2305.14314, section 3)."""
    return Scheme("int4", 4, WEIGHTS_ONLY, 1, block, 8 + FP32_BITS / 256 if double else FP32_BITS)


def codebooks(name: str, bits: float, *, entries_bits: float, output_bits: float = 0.0) -> Scheme:
    """Indices into tables of `entries_bits` per matrix (AQLM, VPTQ)."""
    return Scheme(name, bits, WEIGHTS_ONLY, tensor_bits=entries_bits, output_bits=output_bits)
