"""Layers that do not fit on the GPU stay in main memory and are computed there: local use with llama.cpp."""

from __future__ import annotations

from dataclasses import dataclass

from app.calculations.kv_cache import layer_cache_bytes
from app.calculations.layout_estimate import LayoutEstimate
from app.calculations.serving import decode_seconds
from app.calculations.weights import layer_weight_bytes, tensor_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Offload:
    """How a model is split between GPU and main memory, and what a decode step then takes."""

    gpu_layers: int
    layers: int
    gpu_bytes: float
    cpu_bytes: float
    tpot_seconds: float


def offload(best: LayoutEstimate, cpu_bytes_per_second: float) -> Offload | None:
    """The split with most layers on one GPU; None where another layout was asked for or everything fits.

    Embedding and lm_head stay with the CPU's part, as in llama.cpp with fewer GPU layers than the model has. A step
    takes the GPU's share of its own time, and reads the rest once from main memory (bandwidth bound: few sequences).
    """
    if best.num_gpus != 1 or best.fits:
        return None
    scenario, plan = best.scenario, best.plan
    sequences = best.resident if scenario.concurrency is not None else 1
    length = plan.rounded(scenario.input_tokens + scenario.output_tokens)
    context = scenario.input_tokens + scenario.output_tokens // 2
    held, read = [], []
    for kind in plan.model.layer_kinds:
        layer = plan.model.layer_counts[kind][0]
        weights = layer_weight_bytes(layer, plan.layout, plan.formats)
        held.append(weights + sequences * layer_cache_bytes(layer, length, plan.layout, plan.formats))
        read.append(weights + sequences * layer_cache_bytes(layer, context, plan.layout, plan.formats))
    room = best.capacity - plan.activations - plan.runtime
    gpu_layers = 0
    while gpu_layers < len(held) and held[gpu_layers] <= room:
        room -= held[gpu_layers]
        gpu_layers += 1
    ends = sum(tensor_bytes(t, plan.layout, plan.formats) for t in (*plan.model.embedding, *plan.model.head))
    head = sum(tensor_bytes(t, plan.layout, plan.formats) for t in plan.model.head) or ends
    on_gpu = decode_seconds(plan, best.machine, sequences, context).total
    share = sum(read[:gpu_layers]) / (sum(read) + head)
    return Offload(
        gpu_layers=gpu_layers,
        layers=len(held),
        gpu_bytes=sum(held[:gpu_layers]) + plan.activations + plan.runtime,
        cpu_bytes=sum(held[gpu_layers:]) + ends,
        tpot_seconds=on_gpu * share + (sum(read[gpu_layers:]) + head) / cpu_bytes_per_second,
    )
