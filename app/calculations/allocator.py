"""Memory of eager Transformers on PyTorch's caching allocator: allocated, reserved and process memory differ.

Allocated is what tensors hold at the peak, reserved what the allocator has taken from the GPU, process what the driver
counts for the process (reserved plus context). Read off optimum-benchmark's runs of Llama 2 on A100 and checked on them
(`python -m app validate`).
"""

from __future__ import annotations

from dataclasses import dataclass

from app.calculations.architecture import Model
from app.calculations.formats import Formats
from app.calculations.kv_cache import layer_cache_bytes
from app.calculations.parallelism import Layout
from app.calculations.weights import stage_weight_bytes, stages

#: Transformers returns logits of every prompt position, in the model's 16 bits and once more in fp32.
LOGITS_BYTES_PER_ELEMENT = 2 + 4
#: PyTorch gives tensors of at least 10 MiB a segment of their own, rounded up to 2 MiB (CUDACachingAllocator.cpp).
OWN_SEGMENT_BYTES = 10 * 2**20
SEGMENT_STEP_BYTES = 2 * 2**20
#: CUDA context and libraries of a PyTorch process, and what the driver keeps for itself: both are in what its tools
#: show as used (1,472 MB above the reserved memory in optimum-benchmark's runs on A100).
CONTEXT_BYTES = 1.0e9
DRIVER_BYTES = 0.47e9
#: The allocator keeps blocks of past temporaries: 1.4 times the working set of a forward pass (same runs).
FRAGMENTATION = 1.4
#: Legacy caches of Transformers hold the old and the new cache while a token is appended.
CACHE_COPIES = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class EagerMemory:
    """Peaks in bytes over all GPUs of the process."""

    allocated: float
    reserved: float
    process: float


def eager_memory(
    model: Model,
    formats: Formats,
    *,
    batch: int,
    input_tokens: int,
    output_tokens: int,
    gpus: int = 1,
    device_bytes: float,
    cache_copies: int = CACHE_COPIES,
    fused_attention: bool = True,
) -> EagerMemory:
    """Peaks of a forward pass (no output tokens) or of generation without a static cache, summed over `gpus`.

    allocated = weights + batch x (cache + prompt logits in 2 + 4 bytes + scores of one layer where attention is not
    fused), while generating cache copies x the final cache. Reserved grows with every 2 MiB that the cache tensors
    grow: a freed segment is too small for the next size.
    """
    (stage,) = stages(model, 1)
    weights = stage_weight_bytes(model, stage, Layout(), formats)
    total = input_tokens + output_tokens

    def cache(tokens: int) -> float:
        return float(sum(n * layer_cache_bytes(layer, tokens, Layout(), formats) for layer, n in model.layer_counts))

    scores = 0.0 if fused_attention else model.num_heads * input_tokens**2 * LOGITS_BYTES_PER_ELEMENT
    logits = input_tokens * model.vocab_size * LOGITS_BYTES_PER_ELEMENT
    prompt = batch * (cache(input_tokens) + logits + scores)
    final = batch * cache(total) * (cache_copies if output_tokens else 1)
    allocated = weights + max(prompt, final)
    tensors = 2 * model.num_layers  # a key and a value tensor per layer
    outgrown = outgrown_segments(tensors, batch * cache(input_tokens) / tensors, batch * cache(total) / tensors)
    reserved = max(weights + FRAGMENTATION * prompt, allocated, weights + (outgrown if output_tokens else 0.0))
    device = gpus * device_bytes
    context = gpus * CONTEXT_BYTES
    reserved = min(reserved, max(device - context, 0.0))
    return EagerMemory(
        allocated=min(allocated, device),
        reserved=max(reserved, min(allocated, device)),
        process=min(max(reserved, allocated) + context + gpus * DRIVER_BYTES, device),
    )


def outgrown_segments(tensors: int, first_bytes: float, last_bytes: float) -> float:
    """Segments of all sizes that `tensors` needed while each grew from `first_bytes` to `last_bytes`."""
    smallest, largest = max(first_bytes, OWN_SEGMENT_BYTES), last_bytes
    if largest <= smallest:
        return 0.0
    steps = int((largest - smallest) // SEGMENT_STEP_BYTES) + 1
    return float(tensors * sum(smallest + step * SEGMENT_STEP_BYTES for step in range(steps)))
