"""Bytes on the most loaded GPU: weights, KV cache, activations, runtime; and what still fits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from app.calculations.accelerator import Gpu
from app.calculations.architecture import Layer, Model
from app.calculations.arrays import Numbers
from app.calculations.engine import Engine
from app.calculations.formats import Formats
from app.calculations.kv_cache import layer_cache_bytes, layer_cache_terms
from app.calculations.parallelism import Layout
from app.calculations.weights import Stage, stage_weight_bytes, stage_weight_terms, stages

#: The sampler works on fp32 logits.
LOGIT_BYTES = 4.0
IMAGE_ENCODER = "image encoder"
#: Sequences or tokens where nothing grows with them.
UNLIMITED = 10_000_000


def activation_terms(
    model: Model,
    layout: Layout,
    formats: Formats,
    *,
    step_tokens: int,
    sampler_rows: int,
    sampler_copies: float,
    images: int = 0,
) -> dict[str, float]:
    """What may need the largest working set of a step, by name: the widest block's live tensors, the sampler's logits,
    an image encoder at so many images. One follows the other in the same memory.

    Buffers are reused from layer to layer, so nothing is multiplied by the number of layers. Live at once: residual,
    normalised input and output, and 1.5 x the block's outputs (query, key, value; gate, up and their product), which
    is the growth per token that vLLM's profiling of Llama 3.1 8B shows (110 kB).
    The sampler sorts fp32 logits of all `sampler_rows`; its copies were read off vLLM's memory log.
    """
    encoder = model.image_encoder
    return {
        "widest block of a step": block_working_bytes(model, layout, formats, step_tokens=step_tokens),
        "logits of the sampler": sampler_bytes(model, sampler_rows=sampler_rows, sampler_copies=sampler_copies),
        IMAGE_ENCODER: encoder.working_bytes(images, layout.tp) if encoder else 0.0,
    }


@lru_cache(maxsize=4096)  # The same on every GPU.
def block_working_bytes(model: Model, layout: Layout, formats: Formats, *, step_tokens: int) -> float:
    """Live tensors of the widest block for `step_tokens` tokens."""
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
    return step_tokens * (3 * model.hidden_size + 1.5 * widest) * size


def sampler_bytes(model: Model, *, sampler_rows: int, sampler_copies: float) -> float:
    """fp32 logits of all rows and the copies that sorting them needs."""
    return sampler_rows * model.vocab_size * LOGIT_BYTES * sampler_copies


def runtime_terms(engine: Engine, gpu: Gpu, num_gpus: int) -> dict[str, float]:
    """Bytes beside the model: context and libraries, captured graphs, communication buffers of a group of GPUs."""
    context = engine.context_bytes + gpu.multiprocessors * engine.context_per_multiprocessor_bytes
    terms = {"context": context, "graphs": engine.graphs_bytes}
    if num_gpus > 1:
        terms["communication buffers"] = engine.communication_bytes + num_gpus * engine.communication_per_gpu_bytes
    return terms


@dataclass(frozen=True)
class Load:
    """What the most loaded GPU holds, and what it may hold."""

    stage: Stage
    weights: float
    kv_cache: float
    capacity: float


@dataclass(frozen=True)
class MemoryPlan:
    """What a GPU of each stage must hold, as a function of how many sequences of which length are in flight.

    `shared_prefix_tokens` at the start of every sequence are cached once per replica; each sequence has room for
    `draft_tokens` beyond its length, which a step verifies before it knows how many of them stay.
    """

    model: Model
    layout: Layout
    formats: Formats
    engine: Engine
    #: The largest working set of a step, and what needs it.
    activations: float
    widest: str
    runtime: float
    device: float
    utilization: float
    shared_prefix_tokens: int = 0
    draft_tokens: int = 0

    @cached_property
    def stages(self) -> tuple[Stage, ...]:
        """The stages that differ: equal ones hold the same."""
        return tuple(dict.fromkeys(stages(self.model, self.layout.pp)))

    @cached_property
    def stage_weights(self) -> tuple[float, ...]:
        return tuple(stage_weight_bytes(self.model, stage, self.layout, self.formats) for stage in self.stages)

    def capacity(self, weights: float) -> float:
        """Most bytes that a GPU with so much weight may hold in all, by the engine's own rule.

        Share of the total (vLLM gpu_memory_utilization): u D. Of weights and cache (SGLang mem_fraction_static):
        u D and the working set beside it. Of what is free after loading (TensorRT-LLM free_gpu_memory_fraction):
        fixed + u (D - fixed).
        """
        working = self.activations + self.runtime
        if self.engine.utilization_of == "static":
            return min(self.device, self.utilization * self.device + working)
        if self.engine.utilization_of == "free":
            fixed = min(weights + working, self.device)
            return fixed + self.utilization * (self.device - fixed)
        return self.utilization * self.device

    def rounded(self, tokens: int) -> int:
        """Tokens rounded up to whole KV-cache blocks."""
        block = self.engine.kv_block_tokens
        return -(-tokens // block) * block

    def sequence_bytes(self, stage: Stage, tokens: int) -> float:
        """Cache and state of one sequence of `tokens` on a GPU of this stage, nothing shared."""
        reserved = self.rounded(tokens)
        return float(
            sum(
                count * layer_cache_bytes(layer, reserved, self.layout, self.formats, self.engine.frees_windows)
                for layer, count in stage.layers(self.model)
            )
        )

    def cache_bytes(self, stage: Stage, sequences: int, tokens: int) -> float:
        """Cache of all sequences: the shared prefix once, the rest of each."""
        shared = self.shared_prefix_tokens if self.shared_prefix_tokens < tokens else 0
        own = sequences * self.sequence_bytes(stage, tokens - shared + self.draft_tokens)
        return own + (self.sequence_bytes(stage, shared) if shared and sequences else 0.0)

    def worst(self, sequences: int, tokens: int) -> Load:
        """The stage with the least room left with `sequences` per replica of `tokens` each."""
        loads = [
            Load(stage, weights, self.cache_bytes(stage, sequences, tokens), self.capacity(weights))
            for stage, weights in zip(self.stages, self.stage_weights, strict=True)
        ]
        return max(loads, key=lambda load: load.weights + load.kv_cache - load.capacity)

    def fits(self, sequences: int, tokens: int) -> bool:
        load = self.worst(sequences, tokens)
        return load.weights + load.kv_cache + self.activations + self.runtime <= load.capacity

    def most_sequences(self, tokens: int) -> int:
        """Most sequences of `tokens` that a replica holds at once: the smallest answer over the stages."""
        answers = []
        for stage, weights in zip(self.stages, self.stage_weights, strict=True):
            first = self.cache_bytes(stage, 1, tokens)
            each = self.cache_bytes(stage, 2, tokens) - first
            free = self.capacity(weights) - weights - self.activations - self.runtime
            if free < first:
                answers.append(0)
            else:
                answers.append(1 + int((free - first) // each) if each else UNLIMITED)
        return min(answers)

    def longest_context(self, sequences: int, limit: int) -> int:
        """Most tokens that each of `sequences` can reach, up to `limit`; solved on the true curve by bisection."""
        return largest(lambda tokens: self.fits(sequences, tokens), limit)

    def weight_terms(self, stage: Stage) -> dict[tuple[str, str], float]:
        """Weights of a stage by (tensor group, format)."""
        return stage_weight_terms(self.model, stage, self.layout, self.formats)

    def layer_terms(self, layer: Layer, tokens: int) -> Iterator[tuple[str, Numbers]]:
        return layer_cache_terms(layer, self.rounded(tokens), self.layout, self.formats, self.engine.frees_windows)

    def cache_terms(self, stage: Stage, sequences: int, tokens: int) -> dict[str, float]:
        """Cache of a stage by what keeps it: full attention, windows, latents, states."""
        shared = self.shared_prefix_tokens if self.shared_prefix_tokens < tokens else 0
        terms: dict[str, float] = {}
        for layer, count in stage.layers(self.model):
            own = self.layer_terms(layer, tokens - shared + self.draft_tokens)
            once = self.layer_terms(layer, shared)
            for (kind, bytes_each), (_, bytes_once) in zip(own, once, strict=True):
                once_or_none = bytes_once if shared and sequences else 0.0
                terms[kind] = terms.get(kind, 0.0) + count * (sequences * bytes_each + once_or_none)
        return terms


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
    gpu: Gpu,
    reserved_bytes: float,
    utilization: float,
    step_tokens: int,
    max_sequences: int | None = None,
    runtime_bytes: float | None = None,
    shared_prefix_tokens: int = 0,
    draft_tokens: int = 0,
) -> MemoryPlan:
    """The memory of one layout on GPUs of one kind.

    The engine takes the share `utilization` of what the driver does not reserve for itself.
    """
    sequences = max_sequences or engine.max_sequences(gpu)
    working = activation_terms(
        model,
        layout,
        formats,
        step_tokens=step_tokens,
        sampler_rows=sequences,
        sampler_copies=engine.sampler_copies,
        images=sequences if engine.profiles_images else 0,
    )
    widest = max(working, key=lambda name: working[name])
    return MemoryPlan(
        model=model,
        layout=layout,
        formats=formats,
        engine=engine,
        activations=working[widest],
        widest=widest,
        runtime=sum(runtime_terms(engine, gpu, layout.num_gpus).values()) if runtime_bytes is None else runtime_bytes,
        device=max(gpu.memory_bytes - reserved_bytes, 0.0),
        utilization=utilization,
        shared_prefix_tokens=shared_prefix_tokens,
        draft_tokens=draft_tokens,
    )
