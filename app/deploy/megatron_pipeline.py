"""Layers dealt out to Megatron-LM's pipeline stages as the estimate deals them out (`parallelism.stage_sizes`)."""

from __future__ import annotations

from itertools import groupby
from typing import Any

from app.calculations.parallelism import stage_sizes


def pipeline_options(num_layers: int, pp: int, vpp: int) -> dict[str, Any]:
    """Arguments for the stages of a pipeline.

    Even stages need none (chunks: their size). Else the first and the last are given where the others are alike, and
    any other deal is spelled out (`--pipeline-model-parallel-layout`, megatron/core/transformer/
    pipeline_parallel_layer_layout.py).
    """
    sizes = stage_sizes(num_layers, pp)
    if len(set(sizes)) == 1 and sizes[0] % vpp == 0:
        return {"num-layers-per-virtual-pipeline-stage": sizes[0] // vpp} if vpp > 1 else {}
    middle = set(sizes[1:-1])
    if vpp == 1 and len(middle) == 1:
        ends = {"decoder-first-pipeline-num-layers": sizes[0], "decoder-last-pipeline-num-layers": sizes[-1]}
        return {name: size for name, size in ends.items() if size not in middle}
    return {"pipeline-model-parallel-layout": f"'{layout(chunk_sizes(sizes, vpp))}'"}


def chunk_sizes(sizes: list[int], vpp: int) -> list[int]:
    """Layers of each chunk in the order of the layers: chunk by chunk, the stages in turn.

    A stage's spare layers go to its first chunks, but not to the one beside the embedding.
    """
    dealt = []
    for stage, size in enumerate(sizes):
        each, spare = divmod(size, vpp)
        chunks = [each + (chunk < spare) for chunk in range(vpp)]
        dealt.append(chunks[::-1] if stage == 0 else chunks)
    return [chunks[turn] for turn in range(vpp) for chunks in dealt]


def layout(chunks: list[int]) -> str:
    """Megatron-LM's notation: E embedding, t*n layers, L loss, | between chunks, (...)*n repeats."""
    inner = [f"(t*{size}|)*{len(list(alike))}" for size, alike in groupby(chunks[1:-1])]
    return f"Et*{chunks[0]}|{''.join(inner)}t*{chunks[-1]}L"
