"""What is known about a model or an accelerator as plain data: for the API and the command line."""

from __future__ import annotations

from typing import Any

from app import catalog
from app.calculations.accelerator import Gpu
from app.calculations.architecture import Attention, LatentAttention, Model, Recurrent
from app.calculations.precision import PRECISIONS

BF16_BYTES = 2


def checkpoint_bytes_by_format(model: Model) -> dict[str, float]:
    """Bytes of the published checkpoint by format, scales included; what is not quantised is in its 16 or 32 bits."""
    own = PRECISIONS[model.checkpoint_precision]
    wide = own if own.bits >= 16 else PRECISIONS["bf16"]
    totals: dict[str, float] = {}
    for stored, params in model.params_by_format.items():
        precision = stored or wide
        totals[precision.name] = totals.get(precision.name, 0.0) + params * precision.bytes_per_element
    return totals


def checkpoint_bytes(model: Model) -> float:
    """Bytes of the published checkpoint, tensor by tensor."""
    return sum(checkpoint_bytes_by_format(model).values())


def attention_kinds(model: Model) -> str:
    """How a model remembers, in a few words: "GQA", "GQA, sliding window", "MLA", "GQA, recurrent"."""
    blocks = [block for layer, _ in model.layer_counts for block in layer.blocks]
    words = [heads_kind(block) for block in blocks if isinstance(block, Attention) and not block.cross]
    words += ["MLA" for block in blocks if isinstance(block, LatentAttention)]
    words += ["sparse" for block in blocks if isinstance(block, Attention | LatentAttention) and block.index_topk]
    words += ["sliding window" for block in blocks if isinstance(block, Attention) and block.window]
    words += ["recurrent" for block in blocks if isinstance(block, Recurrent)]
    return ", ".join(dict.fromkeys(words)) or "none"


def heads_kind(block: Attention) -> str:
    """Multi-head, multi-query or, between them, grouped-query attention."""
    if block.num_kv_heads == block.num_heads:
        return "MHA"
    return "MQA" if block.num_kv_heads == 1 else "GQA"


def model_row(entry: catalog.ModelEntry) -> dict[str, Any]:
    """A line of the list of models."""
    model = catalog.model(entry.id)
    return {
        "id": entry.id,
        "family": entry.family,
        "total_params": model.total_params,
        "active_params": model.active_params,
        "attention": attention_kinds(model),
        "kv_bytes_per_token_bf16": model.cache_elements_per_token * BF16_BYTES,
        "checkpoint_precision": model.checkpoint_precision,
        "own": entry.own,
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
        "attention": attention_kinds(model),
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
        "checkpoint_bytes_by_format": checkpoint_bytes_by_format(model),
        "tower_params": model.tower_params,
        "mtp_layers": model.mtp_layers,
        "own": model.name in catalog.own_models(),
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
        "own": gpu.slug in catalog.own_gpus(),
        "source": gpu.source,
        "notes": gpu.notes,
    }
