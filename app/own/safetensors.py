"""What the safetensors files of a checkpoint say of its size, held against the counted tensors.

The metadata come as element counts by data type (the hub's API, a file's header) or as bytes in all
(model.safetensors.index.json). Quantised weights are packed several to an element, so those are compared by bytes.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

from app import facts, formatting
from app.calculations.architecture import Model

#: Bits of the data types that safetensors files name.
BITS = {
    "F64": 64, "I64": 64, "U64": 64, "F32": 32, "I32": 32, "U32": 32, "F16": 16, "BF16": 16, "I16": 16, "U16": 16,
    "F8_E4M3": 8, "F8_E5M2": 8, "F8_E8M0": 8, "I8": 8, "U8": 8, "BOOL": 8, "F4": 4,
}  # fmt: skip
#: Types that hold one parameter in each element.
PLAIN = {"F64", "F32", "F16", "BF16"}
#: Buffers and the like that no count has.
TOLERANCE = 0.001
#: Scales, paddings and what is left wide differ between quantisers.
QUANTISED_TOLERANCE = 0.01
MOST = 10**16


@dataclass(frozen=True, slots=True, kw_only=True)
class Stored:
    """The size of a stored checkpoint: elements by data type where they are known, or bytes."""

    elements: Mapping[str, int] = dataclasses.field(default_factory=dict)
    total_bytes: int | None = None


def from_counts(counts: object) -> Stored | None:
    """From {"BF16": 8030261248, ...}; None where it is nothing of the kind."""
    if not isinstance(counts, dict) or not counts:
        return None
    if not all(name in BITS and is_size(count) for name, count in counts.items()):
        return None
    return Stored(elements=counts)


def from_index(index: Mapping[str, Any]) -> Stored | None:
    """From the content of model.safetensors.index.json; None where it does not say."""
    metadata = index.get("metadata")
    total = metadata.get("total_size") if isinstance(metadata, dict) else None
    if isinstance(total, float) and total.is_integer():
        total = int(total)
    return Stored(total_bytes=total) if is_size(total) else None


def from_header(header: Mapping[str, Any]) -> Stored | None:
    """From a .safetensors file's header: {tensor: {"dtype", "shape", ...}}; None where it is nothing of the kind."""
    counts: dict[str, int] = {}
    for name, tensor in header.items():
        if name == "__metadata__":
            continue
        shape = tensor.get("shape") if isinstance(tensor, dict) else None
        if not isinstance(shape, list) or not all(isinstance(size, int) and 0 <= size < MOST for size in shape):
            return None
        kind = str(tensor.get("dtype"))
        counts[kind] = counts.get(kind, 0) + prod(shape)
    return from_counts({kind: count for kind, count in counts.items() if count})


def is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 < value < MOST


def compared(model: Model, stored: Stored | None) -> Model:
    """The model with what the metadata say: a confirmation in its source, or a warning with both numbers."""
    if stored is None:
        return model
    if stored.elements and set(stored.elements) <= PLAIN:
        found, counted, unit, tolerance = sum(stored.elements.values()), model.total_params, "parameters", TOLERANCE
        extra = tied_copy(model)
        tower = model.tower_params or 0
    else:
        found = stored.total_bytes or round(sum(BITS[name] / 8 * count for name, count in stored.elements.items()))
        unit, counted = "bytes", round(facts.checkpoint_bytes(model))
        wide = model.checkpoint_precision in ("bf16", "fp16", "fp32")
        tolerance = TOLERANCE if wide else QUANTISED_TOLERANCE
        extra, tower = 2 * tied_copy(model), 2 * (model.tower_params or 0)
    expected = {
        "": counted,
        ", with its tied table stored twice": counted + extra,
        ", with its vision or audio tower": counted + tower,
        ", with its tower and its tied table stored twice": counted + tower + extra,
    }
    for words, size in expected.items():
        if abs(found - size) <= tolerance * found:
            source = f"{model.source}; count confirmed by safetensors metadata: {found:,} {unit}{words}"
            return dataclasses.replace(model, source=source)
    return dataclasses.replace(model, warnings=(*model.warnings, difference(model, found, counted, unit)))


def tied_copy(model: Model) -> int:
    """Parameters of an lm_head that is stored although it is tied."""
    return model.vocab_size * model.hidden_size if model.tied_embeddings else 0


def difference(model: Model, found: int, counted: int, unit: str) -> str:
    """Both numbers, and what may explain them."""
    percent = formatting.percent(abs(found - counted) / found)
    side = "more" if found > counted else "less"
    text = f"The checkpoint's safetensors metadata say {found:,} {unit}, {percent} {side} than the {counted:,} counted."
    if found > counted and (model.mtp_layers or model.tower_params is None):
        parts = ["multi-token-prediction layers"] if model.mtp_layers else []
        parts += ["a vision or audio tower"] if model.tower_params is None else []
        text += f" The checkpoint also holds {' and '.join(parts)}, which are not counted."
    return text
