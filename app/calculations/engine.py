"""Serving engines: memory rules and overheads, as data."""

from __future__ import annotations

import re
from dataclasses import dataclass

from app.calculations.accelerator import Gpu


def release(version: str) -> tuple[int, int] | None:
    """(major, minor) of a version such as 0.6.3.post2; None where there is no number."""
    found = re.search(r"(?<![\d.])(\d+)\.(\d+)", version)
    return (int(found.group(1)), int(found.group(2))) if found else None


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
    #: CUDA context and libraries, and of the context what each multiprocessor reserves; captured graphs; with more
    #: than one GPU communication buffers, and more for each GPU of the group.
    context_bytes: float
    context_per_multiprocessor_bytes: float
    graphs_bytes: float
    communication_bytes: float
    communication_per_gpu_bytes: float
    #: Whether it cuts matrices over GPUs by default; llama.cpp deals out layers instead.
    tensor_parallel: bool
    #: Whether layers may stay in main memory and be computed by the CPU.
    offloads: bool
    #: Engines of one family share coefficients; an era of a family starts at a version, and at a date (YYYY-MM) where
    #: a version is not known.
    family: str
    since_version: str
    since_date: str
    #: Whose kernels it runs: "vllm", "trtllm", "sglang" or "any" (see `kernel_library.py`), and the format of prefill
    #: attention where the cache is narrower than 16 bits.
    kernels: str
    narrow_attention: str
    #: Whether weights quantised to fp8 or nvfp4 come with a cache in fp8.
    cache_follows_weights: bool
    #: Whether it batches requests as they come (continuous batching); else a batch starts and ends together.
    continuous: bool
    #: Whether a request's whole length is reserved in the cache at its start.
    reserves_whole_length: bool
    #: Whether waiting prompts stop the decoding.
    prefill_first: bool
    #: Prompts that arrive together in a settled closed loop of equal requests; tokens of whole prompts in one step,
    #: 0 where prompts are cut in chunks.
    gang_prompts: float
    whole_prompt_tokens: int
    #: Whether decode steps run from CUDA graphs.
    cuda_graphs: bool
    #: Whether the host prepares the next step while the GPU computes one.
    overlap_scheduling: bool
    #: Whether prompts of a batch are packed without padding; else each takes as many tokens as the longest.
    padding_removal: bool
    #: Whether it keeps room for an image in each of its most sequences.
    profiles_images: bool
    source: str

    def is_large(self, gpu: Gpu) -> bool:
        return gpu.memory_bytes >= self.large_gpu_bytes and gpu.architecture not in self.small_architectures

    def step_tokens(self, gpu: Gpu) -> int:
        return self.step_tokens_large if self.is_large(gpu) else self.step_tokens_small

    def max_sequences(self, gpu: Gpu) -> int:
        return self.max_sequences_large if self.is_large(gpu) else self.max_sequences_small
