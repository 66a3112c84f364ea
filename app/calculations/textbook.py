"""The textbook formulas of a transformer's cost: B batch, S sequence, H hidden, F feed-forward, L layers, V vocabulary.

What each leaves out, and by how much the exact core differs, is told where AdvancedCalculator offers it. A GB here has
1024^3 bytes, as GPU drivers count.
"""

from __future__ import annotations

from typing import Any

BYTES_PER_ELEMENT = {
    "fp32": 4.0, "fp16": 2.0, "bf16": 2.0, "int8": 1.0, "fp8": 1.0, "int4": 0.5, "fp4": 0.5,
}  # fmt: skip
BYTES_PER_GB = 1024**3
TERA = 1e12
GIGA = 1e9


def attention_flops(batch_size: int, sequence_length: int, hidden_dimensions: int) -> int:
    """B S (H^2 + S H)."""
    return batch_size * sequence_length * (hidden_dimensions**2 + sequence_length * hidden_dimensions)


def feedforward_flops(
    batch_size: int, sequence_length: int, hidden_dimensions: int, feedforward_dimensions: int
) -> int:
    """2 B S H F."""
    return 2 * batch_size * sequence_length * hidden_dimensions * feedforward_dimensions


def model_gb(
    hidden_dimensions: int, feedforward_dimensions: int, num_layers: int, vocab_size: int, precision: str
) -> float:
    """(L (4 H^2 + 2 H F) + V H) bytes(precision)."""
    per_layer = 4 * hidden_dimensions**2 + 2 * hidden_dimensions * feedforward_dimensions
    params = num_layers * per_layer + vocab_size * hidden_dimensions
    return params * BYTES_PER_ELEMENT[precision] / BYTES_PER_GB


def kv_cache_gb(
    batch_size: int, sequence_length: int, hidden_dimensions: int, num_layers: int, precision: str
) -> float:
    """2 B S H L bytes(precision)."""
    elements = 2 * batch_size * sequence_length * hidden_dimensions * num_layers
    return elements * BYTES_PER_ELEMENT[precision] / BYTES_PER_GB


def activations_gb(
    batch_size: int, sequence_length: int, hidden_dimensions: int, num_layers: int, precision: str
) -> float:
    """4 B S H L bytes(precision)."""
    elements = 4 * batch_size * sequence_length * hidden_dimensions * num_layers
    return elements * BYTES_PER_ELEMENT[precision] / BYTES_PER_GB


def total_gb(
    batch_size: int,
    sequence_length: int,
    hidden_dimensions: int,
    feedforward_dimensions: int,
    num_layers: int,
    vocab_size: int,
    precision: str,
    *overheads: float,
) -> float:
    """Weights, KV cache and activations, each times its overhead; all times the last of `overheads`."""
    weights_overhead, kv_cache_overhead, activations_overhead, system_overhead = overheads
    return system_overhead * (
        weights_overhead * model_gb(hidden_dimensions, feedforward_dimensions, num_layers, vocab_size, precision)
        + kv_cache_overhead * kv_cache_gb(batch_size, sequence_length, hidden_dimensions, num_layers, precision)
        + activations_overhead * activations_gb(batch_size, sequence_length, hidden_dimensions, num_layers, precision)
    )


def prefill_flops(
    batch_size: int, sequence_length: int, hidden_dimensions: int, feedforward_dimensions: int, num_layers: int
) -> int:
    """L (attention + feed-forward)."""
    attention = attention_flops(batch_size, sequence_length, hidden_dimensions)
    feedforward = feedforward_flops(batch_size, sequence_length, hidden_dimensions, feedforward_dimensions)
    return num_layers * (attention + feedforward)


def prefill_seconds(flops: float, gpu_tflops: float, compute_efficiency: float, num_gpus: int) -> float:
    """FLOPs / (N TFLOPS efficiency): bound by compute."""
    return flops / (num_gpus * gpu_tflops * TERA * compute_efficiency)


def token_seconds(gigabytes: float, memory_bandwidth_gb_s: float, bandwidth_efficiency: float, num_gpus: int) -> float:
    """(weights + KV cache) / (N bandwidth efficiency): bound by memory; a GB of memory has 1024^3 bytes."""
    return gigabytes * BYTES_PER_GB / (num_gpus * memory_bandwidth_gb_s * GIGA * bandwidth_efficiency)


def completion_seconds(
    batch_size: int,
    sequence_length: int,
    output_tokens: int,
    hidden_dimensions: int,
    feedforward_dimensions: int,
    num_layers: int,
    vocab_size: int,
    precision: str,
    gpu_tflops: float,
    memory_bandwidth_gb_s: float,
    compute_efficiency: float = 1.0,
    bandwidth_efficiency: float = 1.0,
    num_gpus: int = 1,
) -> float:
    """Prefill + output tokens x decode step at the mean context, S + output / 2."""
    flops = prefill_flops(batch_size, sequence_length, hidden_dimensions, feedforward_dimensions, num_layers)
    read = model_gb(hidden_dimensions, feedforward_dimensions, num_layers, vocab_size, precision)
    read += kv_cache_gb(batch_size, sequence_length + output_tokens // 2, hidden_dimensions, num_layers, precision)
    step = token_seconds(read, memory_bandwidth_gb_s, bandwidth_efficiency, num_gpus)
    return prefill_seconds(flops, gpu_tflops, compute_efficiency, num_gpus) + output_tokens * step


def scaling(total_gb: float, num_layers: int, tp: int, stages: int) -> dict[str, Any]:
    """What `determine_model_scaling` says of so many stages of so many parts."""
    strategy = {
        (False, False): "single GPU",
        (True, False): "tensor parallel",
        (False, True): "pipeline parallel",
        (True, True): "tensor and pipeline parallel",
    }[tp > 1, stages > 1]
    return {
        "recommended_strategy": strategy,
        "num_gpus_required": tp * stages,
        "tensor_parallel": tp,
        "pipeline_parallel": stages,
        "vram_per_gpu_gb": total_gb / tp * -(-num_layers // stages) / num_layers,
    }
