"""What is known about a model or an accelerator as plain data: for the API and the command line."""

from __future__ import annotations

from typing import Any

from app import catalog
from app.calculations.accelerator import Gpu
from app.calculations.architecture import Model
from app.calculations.formats import Formats
from app.calculations.precision import PRECISIONS

BF16_BYTES = 2


def checkpoint_bytes(model: Model) -> float:
    """Bytes of the published checkpoint: its linear layers in its own precision, the rest 16-bit."""
    own, wide = PRECISIONS[model.checkpoint_precision], PRECISIONS["bf16"]
    formats = Formats(weights=own, activations=own, kv_cache=wide, wide=own if own.name == "fp32" else wide)
    return sum(tensor.params * formats.stored(tensor).bytes_per_element for tensor in model.tensors())


def model_row(entry: catalog.ModelEntry) -> dict[str, Any]:
    """A line of the list of models."""
    model = catalog.model(entry.id)
    return {
        "id": entry.id,
        "family": entry.family,
        "total_params": model.total_params,
        "active_params": model.active_params,
        "kv_bytes_per_token_bf16": model.cache_elements_per_token * BF16_BYTES,
        "source": entry.source,
    }


def model_facts(model: Model) -> dict[str, Any]:
    """Everything countable about a model. Cache and state are per sequence and 16-bit."""
    return {
        "model": model.name,
        "family": model.family,
        "total_params": model.total_params,
        "active_params": model.active_params,
        "params_by_group": {group: count for group, count in model.params_by_group.items() if count},
        "num_layers": model.num_layers,
        "hidden_size": model.hidden_size,
        "num_heads": model.num_heads,
        "num_kv_heads": model.num_kv_heads,
        "num_experts": model.num_experts,
        "vocab_size": model.vocab_size,
        "tied_embeddings": model.tied_embeddings,
        "max_position": model.max_position,
        "kv_bytes_per_token_bf16": model.cache_elements_per_token * BF16_BYTES,
        "kv_bytes_per_token_past_windows_bf16": model.cache_elements_per_token_past_windows * BF16_BYTES,
        "window_bytes_per_sequence_bf16": model.window_cache_elements_per_sequence * BF16_BYTES,
        "state_bytes_per_sequence_bf16": model.state_elements_per_sequence * BF16_BYTES,
        "weight_bytes_bf16": model.total_params * BF16_BYTES,
        "checkpoint_precision": model.checkpoint_precision,
        "checkpoint_bytes": checkpoint_bytes(model),
        "tower_params": model.tower_params,
        "mtp_layers": model.mtp_layers,
        "source": model.source,
        "warnings": list(model.warnings),
    }


def gpu_facts(gpu: Gpu) -> dict[str, Any]:
    """Everything known about an accelerator. Peaks are dense; the link is per GPU and one direction."""
    return {
        "gpu": gpu.slug,
        "name": gpu.name,
        "vendor": gpu.vendor,
        "architecture": gpu.architecture,
        "year": gpu.year,
        "memory_bytes": gpu.memory_bytes,
        "marketing_memory_gb": gpu.marketing_memory_gb,
        "memory_bandwidth_bytes_per_s": gpu.memory_bandwidth_bytes_per_second,
        "peak_flops_per_s": dict(gpu.peak_flops_per_second),
        "link": gpu.link,
        "link_bytes_per_s": gpu.link_bytes_per_second,
        "domain_gpus": gpu.domain_gpus,
        "tdp_w": gpu.tdp_watts,
        "price_usd_per_gpu_hour": gpu.price_usd_per_hour,
        "price_source": gpu.price_source,
        "source": gpu.source,
        "notes": gpu.notes,
    }
