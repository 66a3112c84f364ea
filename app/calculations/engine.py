"""Serving engines: memory rules and overheads, as data."""

from __future__ import annotations

from dataclasses import dataclass

from app.calculations.accelerator import Gpu


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What an engine adds to the model's own arithmetic. Sources stand in `app/data/engines.toml`.

    The `*_large` limits hold on GPUs with at least `large_gpu_bytes` of memory, `*_small` on others and on those of
    `small_architectures`.
    """

    name: str
    label: str
    #: Share of the GPU's memory that it takes by default, and of what: "total" (all it uses), "static" (weights and
    #: cache; the working set lives in the rest) or "free" (the cache, of what weights and working set leave).
    memory_utilization: float
    utilization_of: str
    #: Tokens of one KV-cache block; sequences round up to it.
    kv_block_tokens: int
    #: Whether layers with a window give their older blocks back; else they keep as much as full attention.
    frees_windows: bool
    large_gpu_bytes: float
    small_architectures: tuple[str, ...]
    #: Token budget of one step.
    step_tokens_large: int
    step_tokens_small: int
    #: Most sequences of one step; the sampler is sized for them and holds this many copies of their fp32 logits.
    max_sequences_large: int
    max_sequences_small: int
    sampler_copies: float
    #: CUDA context and libraries; captured graphs; with more than one GPU communication buffers, and more for each
    #: GPU of the group.
    context_bytes: float
    graphs_bytes: float
    communication_bytes: float
    communication_per_gpu_bytes: float
    #: Host time between steps, per sequence of a step, and launch latency per layer.
    step_seconds: float
    sequence_seconds: float
    layer_seconds: float
    #: Fixed time of a request outside the model (HTTP, tokeniser).
    request_seconds: float
    #: Whether it cuts matrices over GPUs by default; llama.cpp deals out layers instead.
    tensor_parallel: bool
    #: Whether layers may stay in main memory and be computed by the CPU.
    offloads: bool
    #: Latency of a collective inside a fast domain.
    collective_seconds: float
    #: Shares of the dense peak that matrix products reach in 16-bit and in narrower formats, and attention
    #: scores; shares of the memory bandwidth that reading weights and reading the cache reach.
    compute_efficiency: float
    narrow_compute_efficiency: float
    attention_efficiency: float
    bandwidth_efficiency: float
    cache_bandwidth_efficiency: float
    source: str

    def is_large(self, gpu: Gpu) -> bool:
        return gpu.memory_bytes >= self.large_gpu_bytes and gpu.architecture not in self.small_architectures

    def step_tokens(self, gpu: Gpu) -> int:
        return self.step_tokens_large if self.is_large(gpu) else self.step_tokens_small

    def max_sequences(self, gpu: Gpu) -> int:
        return self.max_sequences_large if self.is_large(gpu) else self.max_sequences_small
