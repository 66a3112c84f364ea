"""Bytes on the most loaded GPU: weights, KV cache, activations, runtime; and what still fits."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

from app.calculations.architecture import Attention, LatentAttention, Layer, Model, Recurrent, Tensor
from app.calculations.arrays import Numbers, smaller
from app.calculations.engine import Engine
from app.calculations.formats import Formats
from app.calculations.parallelism import Layout, stage_sizes

#: Precision of the indexer's key cache (DeepSeek-V3.2 release: FP8).
INDEX_BYTES_PER_ELEMENT = 1.0
#: The sampler works on fp32 logits.
LOGIT_BYTES = 4.0


def tensor_bytes(tensor: Tensor, layout: Layout, formats: Formats) -> float:
    """Bytes of a tensor on the most loaded rank of its stage, block scales included."""
    if tensor.group == "expert":
        elements = tensor.params_per_rank(layout.expert_tensor_parallel, layout.ep)
    else:
        elements = tensor.params_per_rank(layout.tp)
    return elements * formats.stored(tensor).bytes_per_element


def cached_tokens(block: Attention, tokens: Numbers) -> Numbers:
    """Rows of the cache that a sequence of `tokens` holds in one layer: windows saturate, compressed rows grow."""
    if block.window is None:
        return tokens
    rows = smaller(tokens, block.window)
    if block.compression:
        rows = rows + tokens / block.compression
    return rows


def layer_cache_bytes(layer: Layer, tokens: Numbers, layout: Layout, formats: Formats) -> Numbers:
    """Cache and state bytes of one layer for one sequence of `tokens` on one tensor-parallel rank.

    Key/value heads are cut over tp and replicated beyond their number; an MLA latent is whole on every rank.
    """
    size = formats.kv_cache.bytes_per_element
    total: Numbers = 0.0 * tokens
    for block in layer.blocks:
        if isinstance(block, Attention):
            if block.cache_elements_per_token:
                share = -(-block.num_kv_heads // layout.tp) / block.num_kv_heads
                total = total + block.cache_elements_per_token * share * size * cached_tokens(block, tokens)
        elif isinstance(block, LatentAttention):
            total = total + block.cache_elements_per_token * size * tokens
            total = total + block.index_dim * INDEX_BYTES_PER_ELEMENT * tokens
        elif isinstance(block, Recurrent):
            share = -(-block.heads // layout.tp) / block.heads
            total = total + (block.state_elements + block.conv_elements) * share * formats.wide.bytes_per_element
    return total


@dataclass(frozen=True, slots=True)
class Stage:
    """One pipeline stage: how many layers of each kind it has, and whether it holds the embedding and the head."""

    #: (place in the model's layer_counts, number of layers)
    kinds: tuple[tuple[int, int], ...]
    first: bool
    last: bool

    def layers(self, model: Model) -> Iterator[tuple[Layer, int]]:
        for kind, count in self.kinds:
            yield model.layer_counts[kind][0], count


def stages(model: Model, pp: int) -> Iterator[Stage]:
    """The layers dealt out to `pp` stages; the embedding goes to the first, final norm and lm_head to the last."""
    start = 0
    for index, size in enumerate(stage_sizes(model.num_layers, pp)):
        kinds = tuple(Counter(model.layer_kinds[start : start + size]).items())
        yield Stage(kinds, index == 0, index == pp - 1)
        start += size


def stage_weight_bytes(model: Model, stage: Stage, layout: Layout, formats: Formats) -> float:
    """Weights on a GPU of this stage. A tied lm_head needs its own copy of the table when it is on another stage."""
    total = sum(count * layer_weight_bytes(layer, layout, formats) for layer, count in stage.layers(model))
    tied_copy = model.tied_embeddings and stage.last and not stage.first
    for tensor in model.embedding:
        if stage.first or (tied_copy and tensor.kind == "table" and tensor.shape[0] == model.vocab_size):
            total += tensor_bytes(tensor, layout, formats)
    if stage.last:
        total += sum(tensor_bytes(tensor, layout, formats) for tensor in model.head)
    return total


def layer_weight_bytes(layer: Layer, layout: Layout, formats: Formats) -> float:
    return sum(tensor_bytes(tensor, layout, formats) for tensor in layer.all_tensors())


def activation_bytes(
    model: Model, layout: Layout, formats: Formats, *, step_tokens: int, sampler_rows: int, sampler_copies: float
) -> float:
    """Peak working set of one step: the widest block's live tensors, or the sampler's logits if they are larger.

    Buffers are reused from layer to layer, so nothing is multiplied by the number of layers. Live at once: the
    residual and its normalised copy, the block's inputs and outputs (query, key, value; gate, up and product).
    The sampler sorts fp32 logits of all `sampler_rows`; its copies were read off vLLM's memory log.
    """
    size = formats.wide.bytes_per_element
    widest = 0.0
    for layer, _ in model.layer_counts:
        for block in layer.blocks:
            per_token = 0.0
            for tensor in block.tensors:
                if tensor.kind == "linear" and tensor.split_axis == 0 and len(tensor.shape) == 2:
                    cut = layout.expert_tensor_parallel if tensor.group == "expert" else layout.tp
                    active = getattr(block, "experts_per_token", 1) if tensor.group == "expert" else 1
                    per_token += tensor.shape[0] * active / min(cut, max(tensor.split_units, 1))
            widest = max(widest, per_token)
    block_bytes = step_tokens * (2 * model.hidden_size + 1.5 * widest) * size
    logits_bytes = sampler_rows * model.vocab_size * LOGIT_BYTES * sampler_copies
    return max(block_bytes, logits_bytes)


@dataclass(frozen=True)
class MemoryPlan:
    """What a GPU of each stage must hold, as a function of how many sequences of which length are in flight."""

    model: Model
    layout: Layout
    formats: Formats
    engine: Engine
    activations: float
    runtime: float
    device: float
    capacity: float

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that differ: equal ones hold the same."""
        return tuple(dict.fromkeys(stages(self.model, self.layout.pp)))

    @cached_property
    def stage_weights(self) -> tuple[float, ...]:
        return tuple(stage_weight_bytes(self.model, stage, self.layout, self.formats) for stage in self.stages)

    def rounded(self, tokens: int) -> int:
        """Tokens rounded up to whole KV-cache blocks."""
        block = self.engine.kv_block_tokens
        return -(-tokens // block) * block

    def sequence_bytes(self, stage: Stage, tokens: int) -> float:
        """Cache and state of one sequence of `tokens` on a GPU of this stage."""
        reserved = self.rounded(tokens)
        return float(
            sum(
                count * layer_cache_bytes(layer, reserved, self.layout, self.formats)
                for layer, count in stage.layers(self.model)
            )
        )

    def worst(self, sequences: int, tokens: int) -> tuple[float, float]:
        """(weights, KV cache) bytes of the most loaded stage with `sequences` per replica of `tokens` each."""
        loads = (
            (weights, sequences * self.sequence_bytes(stage, tokens))
            for stage, weights in zip(self.stages, self.stage_weights, strict=True)
        )
        return max(loads, key=sum)

    def fits(self, sequences: int, tokens: int) -> bool:
        return sum(self.worst(sequences, tokens)) + self.activations + self.runtime <= self.capacity

    def most_sequences(self, tokens: int) -> int:
        """Most sequences of `tokens` that a replica holds at once: the smallest answer over the stages."""
        fixed = self.activations + self.runtime
        answers = []
        for stage, weights in zip(self.stages, self.stage_weights, strict=True):
            free = self.capacity - weights - fixed
            one = self.sequence_bytes(stage, tokens)
            answers.append(0 if free < 0 else int(free // one) if one else UNLIMITED)
        return min(answers)

    def longest_context(self, sequences: int, limit: int) -> int:
        """Most tokens that each of `sequences` can reach, up to `limit`; solved on the true curve by bisection."""
        return largest(lambda tokens: self.fits(sequences, tokens), limit)


#: Sequences or tokens where nothing grows with them.
UNLIMITED = 10_000_000


def largest(holds: Callable[[int], bool], limit: int) -> int:
    """Largest integer from 0 to `limit` for which a condition that only ever turns false holds."""
    if not holds(1):
        return 0
    low, high = 1, 2
    while high < limit and holds(high):
        low, high = high, high * 2
    high = min(high, limit)
    if holds(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def plan(
    model: Model,
    layout: Layout,
    formats: Formats,
    engine: Engine,
    *,
    memory_bytes: float,
    utilization: float,
    step_tokens: int,
    runtime_bytes: float | None = None,
) -> MemoryPlan:
    """The memory of one layout on GPUs of `memory_bytes`, of which the engine takes the share `utilization`."""
    runtime = engine.context_bytes + (engine.communication_bytes if layout.num_gpus > 1 else 0.0)
    return MemoryPlan(
        model=model,
        layout=layout,
        formats=formats,
        engine=engine,
        activations=activation_bytes(
            model,
            layout,
            formats,
            step_tokens=step_tokens,
            sampler_rows=engine.max_sequences(memory_bytes),
            sampler_copies=engine.sampler_copies,
        ),
        runtime=runtime if runtime_bytes is None else runtime_bytes,
        device=memory_bytes,
        capacity=memory_bytes * utilization,
    )
