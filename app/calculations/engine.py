"""Serving engines: memory rules and overheads, as data."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Engine:
    """What an engine adds to the model's own arithmetic. Sources stand in `app/data/engines.toml`.

    The `*_large` limits hold on GPUs with at least `large_gpu_bytes` of memory, `*_small` on others.
    """

    name: str
    label: str
    #: Share of the GPU's memory that it takes by default.
    memory_utilization: float
    #: Tokens of one KV-cache block; sequences round up to it.
    kv_block_tokens: int
    large_gpu_bytes: float
    #: Token budget of one step.
    step_tokens_large: int
    step_tokens_small: int
    #: Most sequences of one step; the sampler is sized for them and holds this many copies of their fp32 logits.
    max_sequences_large: int
    max_sequences_small: int
    sampler_copies: float
    #: CUDA context and libraries; with more than one GPU also communication buffers.
    context_bytes: float
    communication_bytes: float
    #: Host time between steps, per sequence of a step, and launch latency per layer.
    step_seconds: float
    sequence_seconds: float
    layer_seconds: float
    #: Fixed time of a request outside the model (HTTP, tokeniser).
    request_seconds: float
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

    def step_tokens(self, memory_bytes: float) -> int:
        return self.step_tokens_large if memory_bytes >= self.large_gpu_bytes else self.step_tokens_small

    def max_sequences(self, memory_bytes: float) -> int:
        return self.max_sequences_large if memory_bytes >= self.large_gpu_bytes else self.max_sequences_small
