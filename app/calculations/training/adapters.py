"""Adapters: small trained matrices beside frozen ones (LoRA, arXiv:2106.09685; bottlenecks, arXiv:1902.00751)."""

from __future__ import annotations

from collections.abc import Iterator

from app.calculations.architecture import Block, Experts, Model
from app.calculations.tensor import Tensor
from app.calculations.training.recipe import Adapter


def adapter_params(tensor: Tensor, adapter: Adapter, tp: int) -> float:
    """Parameters of LoRA beside one tensor on a rank: A (rank x inputs) and B (outputs x rank), one of them cut."""
    if tensor.kind != "linear" or not adapter.adapts(tensor.name, tensor.group):
        return 0.0
    outputs, inputs = tensor.shape
    cut = (outputs / tp, inputs) if tensor.split_axis == 0 else (outputs, inputs / tp)
    extra = outputs if adapter.kind == "dora" else 0
    return (adapter.rank * sum(cut) + extra) * tensor.copies


def bottleneck_params(adapter: Adapter, hidden_size: int) -> float:
    """Parameters of the adapter behind a block, down and up; every rank has them whole."""
    return 2.0 * adapter.rank * hidden_size if adapter.kind == "adapter" else 0.0


def held_params(model: Model, adapter: Adapter, *, tp: int, expert_tp: int, ep: int, pp: int) -> float:
    """Trained parameters on a GPU of a mean stage."""
    total = 0.0
    for layer, count in model.layer_counts:
        for block in layer.blocks:
            total += count * bottleneck_params(adapter, model.hidden_size)
            for tensor in block.tensors:
                expert = tensor.group == "expert"
                total += count * adapter_params(tensor, adapter, expert_tp if expert else tp) / (ep if expert else 1)
    return total / pp


def products(
    block: Block, adapter: Adapter, hidden_size: int, tp: int, expert_tp: int
) -> Iterator[tuple[float, float]]:
    """(forward FLOPs of a token, 1 / columns + 1 / inner width) of each adapted matrix of a block on a rank."""
    if adapter.kind == "adapter":
        yield 2 * bottleneck_params(adapter, hidden_size), 1 / adapter.rank + 1 / hidden_size
        return
    for tensor in block.tensors:
        flops = 2 * adapter_params(tensor, adapter, tp)
        if isinstance(block, Experts) and tensor.group == "expert":
            share = block.experts_per_token / block.num_experts * expert_tp / tp
            flops = 2 * adapter_params(tensor, adapter, expert_tp) * share
        if flops:
            yield flops, 1 / adapter.rank + 2 / sum(tensor.shape[:2])
