"""AdvancedCalculator: the textbook formulas of a transformer's cost, one method each.

They need a handful of numbers and no catalogue, which makes them good for teaching and for a first guess.
They describe a decoder with full multi-head attention and a two-matrix MLP; no current model is one. Each
docstring says what its formula leaves out and how far that is from the exact core, which counts the real
tensors, for Llama-3.1-8B and Llama-3.1-70B.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar, cast

from app.calculations.advanced_lookups import Lookups
from app.calculations.errors import InvalidInput
from app.calculations.textbook import (
    BYTES_PER_ELEMENT,
    activations_gb,
    attention_flops,
    completion_seconds,
    feedforward_flops,
    kv_cache_gb,
    model_gb,
    prefill_flops,
    prefill_seconds,
    scaling,
    token_seconds,
    total_gb,
)

#: Arguments that are real numbers; all others except `precision` are whole.
REAL = ("overhead_factor", "weights_overhead", "kv_cache_overhead", "activations_overhead", "system_overhead",
        "gpu_vram_gb", "gpu_tflops", "memory_bandwidth_gb_s", "compute_efficiency", "bandwidth_efficiency")  # fmt: skip
LARGEST = 10**12
#: GPUs of one server, joined well enough for an all-reduce in every layer.
SERVER_GPUS = 8

P = ParamSpec("P")
R = TypeVar("R")


def checked(name: str, value: Any) -> Any:
    """The argument; InvalidInput where it is no positive number or, of a precision, not known."""
    if name == "precision":
        text = value.strip().lower() if isinstance(value, str) else value
        if not isinstance(text, str) or text not in BYTES_PER_ELEMENT:
            message = f"{name}: {value!r:.60} is not a known precision."
            raise InvalidInput(name, message, ", ".join(BYTES_PER_ELEMENT))
        return text
    allowed = f"a {'' if name in REAL else 'whole '}number above 0, up to {LARGEST:,}"
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise InvalidInput(name, f"{name}: {value!r:.60} is not a number.", allowed)
    if isinstance(value, float) and not math.isfinite(value):
        raise InvalidInput(name, f"{name}: {value!r} is not a finite number.", allowed)
    if not 0 < value <= LARGEST:
        raise InvalidInput(name, f"{name}: the value is out of range.", allowed)
    if name in REAL:
        return value
    if value != int(value):
        raise InvalidInput(name, f"{name}: {value!r} is not a whole number.", allowed)
    return int(value)


def recorded(
    method: Callable[Concatenate[AdvancedCalculator, P], R],
) -> Callable[Concatenate[AdvancedCalculator, P], R]:
    """Check the arguments of a method by their names, and keep the call in the calculator's history."""
    signature = inspect.signature(method)

    @functools.wraps(method)
    def call(self: AdvancedCalculator, /, *args: P.args, **kwargs: P.kwargs) -> R:
        bound = signature.bind(self, *args, **kwargs)
        bound.apply_defaults()
        arguments = {name: checked(name, value) for name, value in list(bound.arguments.items())[1:]}
        result: R = cast(Any, method)(self, **arguments)
        self._history.append({"method": method.__name__, "arguments": arguments, "result": result})
        return result

    return call


class AdvancedCalculator(Lookups):
    """Textbook formulas in B (batch), S (sequence), H (hidden), F (feed-forward), L (layers), V (vocabulary).

    FLOPs are returned as whole numbers, memory in GB of 1024^3 bytes. `precision` is fp32 (4 bytes), fp16 or
    bf16 (2), int8 or fp8 (1), int4 or fp4 (0.5). Arguments that mean nothing raise InvalidInput with the
    argument's name. Latencies are seconds. Models and accelerators of the catalogue are looked up by name.
    """

    def __init__(self) -> None:
        self._history: list[dict[str, Any]] = []

    @recorded
    def calculate_flops_attention(self, batch_size: int, sequence_length: int, hidden_dimensions: int) -> int:
        """FLOPs of one attention layer over a prompt: B S (H^2 + S H).

        Counts one of the four projections, and a multiply-add as one operation. The exact count is 2 (H^2 + 2
        H K + H^2) per token for K key/value columns, plus 2 S H for scores and values under a causal mask. At
        S = 1,024 the exact core is 4.4 times this for Llama-3.1-8B, 4.2 times for Llama-3.1-70B.
        """
        return attention_flops(batch_size, sequence_length, hidden_dimensions)

    @recorded
    def calculate_flops_feedforward(
        self, batch_size: int, sequence_length: int, hidden_dimensions: int, feedforward_dimensions: int
    ) -> int:
        """FLOPs of one MLP over a prompt: 2 B S H F.

        One matrix at two operations per multiply-add, or two at one. A plain MLP has two matrices, 4 H F per
        token, and a gated one (SwiGLU) three, 6 H F: the exact core is 3 times this for Llama-3.1-8B and 70B.
        """
        return feedforward_flops(batch_size, sequence_length, hidden_dimensions, feedforward_dimensions)

    @recorded
    def calculate_flops_prefill(
        self,
        batch_size: int,
        sequence_length: int,
        hidden_dimensions: int,
        feedforward_dimensions: int,
        num_layers: int,
    ) -> int:
        """FLOPs of a prompt through all layers: L (attention + feed-forward), without lm_head.

        At S = 1,024 the exact core is 3.2 times this for Llama-3.1-8B and for Llama-3.1-70B.
        """
        return prefill_flops(batch_size, sequence_length, hidden_dimensions, feedforward_dimensions, num_layers)

    @recorded
    def calculate_model_vram(
        self,
        hidden_dimensions: int,
        feedforward_dimensions: int,
        num_layers: int,
        vocab_size: int,
        precision: str,
        overhead_factor: float = 1.0,
    ) -> float:
        """Weights in GB of 1024^3 bytes: (L (4 H^2 + 2 H F) + V H) x bytes x overhead.

        Leaves out the third matrix of a gated MLP, a separate lm_head, norms, biases and experts; counts
        full-size key and value projections where grouped-query attention has small ones; no block scales.
        Llama-3.1-8B comes out 20 % too small (6.43 of 8.03 billion parameters), Llama-3.1-70B 15 % (60.1 of
        70.6).
        """
        weights = model_gb(hidden_dimensions, feedforward_dimensions, num_layers, vocab_size, precision)
        return weights * overhead_factor

    @recorded
    def calculate_kv_cache_vram(
        self,
        batch_size: int,
        sequence_length: int,
        hidden_dimensions: int,
        num_layers: int,
        precision: str,
        overhead_factor: float = 1.0,
    ) -> float:
        """KV cache in GB of 1024^3 bytes: 2 B S H L x bytes x overhead.

        Takes every query head to have its own key and value. With grouped-query attention the cache is
        smaller by the group: this is 4 times the exact core for Llama-3.1-8B (524,288 against 131,072 bytes
        per token) and 8 times for Llama-3.1-70B. Knows no windows, no latent attention, no recurrent layers,
        no paging.
        """
        cache = kv_cache_gb(batch_size, sequence_length, hidden_dimensions, num_layers, precision)
        return cache * overhead_factor

    @recorded
    def calculate_activations_vram(
        self,
        batch_size: int,
        sequence_length: int,
        hidden_dimensions: int,
        num_layers: int,
        precision: str,
        overhead_factor: float = 1.0,
    ) -> float:
        """Activations in GB of 1024^3 bytes: 4 B S H L x bytes x overhead.

        Keeps query, key, value and output of every layer at once, as training without recomputation would.
        Inference reuses one layer's buffers for the next. For a step of 8,192 tokens in bf16 this is 8 GB for
        Llama-3.1-8B and 40 GB for Llama-3.1-70B, 10 and 26 times the working set of the widest layer: 0.8 and
        1.7 GB.
        """
        activations = activations_gb(batch_size, sequence_length, hidden_dimensions, num_layers, precision)
        return activations * overhead_factor

    @recorded
    def calculate_total_vram(
        self,
        batch_size: int,
        sequence_length: int,
        hidden_dimensions: int,
        feedforward_dimensions: int,
        num_layers: int,
        vocab_size: int,
        precision: str,
        weights_overhead: float = 1.05,
        kv_cache_overhead: float = 1.05,
        activations_overhead: float = 1.1,
        system_overhead: float = 1.05,
    ) -> float:
        """Weights, KV cache and activations, each with its overhead, times the system's; GB of 1024^3 bytes.

        Overheads are shares here; real ones are bytes that hardly depend on the model (context, communication
        buffers, graphs). Errors of the three terms partly cancel: see their own methods.
        """
        return total_gb(
            batch_size,
            sequence_length,
            hidden_dimensions,
            feedforward_dimensions,
            num_layers,
            vocab_size,
            precision,
            weights_overhead,
            kv_cache_overhead,
            activations_overhead,
            system_overhead,
        )

    @recorded
    def determine_model_scaling(
        self,
        gpu_vram_gb: float,
        batch_size: int,
        sequence_length: int,
        hidden_dimensions: int,
        feedforward_dimensions: int,
        num_layers: int,
        vocab_size: int,
        precision: str,
        weights_overhead: float = 1.05,
        kv_cache_overhead: float = 1.05,
        activations_overhead: float = 1.1,
        system_overhead: float = 1.05,
    ) -> dict[str, Any]:
        """GPUs of `gpu_vram_gb` (GB of 1024^3 bytes) among which an even share of the total fits.

        Tensor parallel first: the smallest power of two that divides H and is enough, up to 8. Then as few
        pipeline stages of whole layers as that needs, and only then more than 8. Returns
        `recommended_strategy` ("single GPU", "tensor parallel", "pipeline parallel", "tensor and pipeline
        parallel", or "does not fit" with None for the numbers of GPUs), `num_gpus_required`,
        `tensor_parallel`, `pipeline_parallel` and `vram_per_gpu_gb`, the share of the most loaded GPU.

        Leaves out what every GPU keeps whole (replicated key/value heads, norms, context, communication
        buffers) and whether the attention heads can be divided so; the exact core counts and checks these.
        """
        total = total_gb(
            batch_size,
            sequence_length,
            hidden_dimensions,
            feedforward_dimensions,
            num_layers,
            vocab_size,
            precision,
            weights_overhead,
            kv_cache_overhead,
            activations_overhead,
            system_overhead,
        )
        degrees = [2**n for n in range(hidden_dimensions.bit_length()) if hidden_dimensions % 2**n == 0]
        in_server = [tp for tp in degrees if tp <= SERVER_GPUS]
        for tp in in_server:
            if total / tp <= gpu_vram_gb:
                return scaling(total, num_layers, tp, 1)
        for tp in degrees[len(in_server) - 1 :]:
            layers_per_gpu = int(num_layers * gpu_vram_gb * tp / total)
            if layers_per_gpu:
                return scaling(total, num_layers, tp, -(-num_layers // layers_per_gpu))
        return {
            "recommended_strategy": "does not fit",
            "num_gpus_required": None,
            "tensor_parallel": None,
            "pipeline_parallel": None,
            "vram_per_gpu_gb": total / degrees[-1] / num_layers,
        }

    @recorded
    def calculate_prefill_latency(
        self,
        batch_size: int,
        sequence_length: int,
        hidden_dimensions: int,
        feedforward_dimensions: int,
        num_layers: int,
        gpu_tflops: float,
        compute_efficiency: float = 1.0,
        num_gpus: int = 1,
    ) -> float:
        """Seconds until the first token: FLOPs of the prompts / (GPUs x TFLOPS x efficiency).

        As simplified as its FLOPs, and at the peak unless an efficiency is given. Leaves out reading weights,
        collectives, kernel launches, the host and waiting: a lower bound.
        """
        flops = prefill_flops(batch_size, sequence_length, hidden_dimensions, feedforward_dimensions, num_layers)
        return prefill_seconds(flops, gpu_tflops, compute_efficiency, num_gpus)

    @recorded
    def calculate_token_latency(
        self,
        batch_size: int,
        sequence_length: int,
        hidden_dimensions: int,
        feedforward_dimensions: int,
        num_layers: int,
        vocab_size: int,
        precision: str,
        memory_bandwidth_gb_s: float,
        bandwidth_efficiency: float = 1.0,
        num_gpus: int = 1,
    ) -> float:
        """Seconds of a decode step of B sequences with S tokens each: (weights + KV cache) / (GPUs x bandwidth).

        The bandwidth is that of one GPU in GB of 10^9 bytes, at its peak unless an efficiency is given. Leaves out
        compute, which bounds large batches, collectives and the host; the weights are too few and the cache too
        large as their own methods say.
        """
        read = model_gb(hidden_dimensions, feedforward_dimensions, num_layers, vocab_size, precision)
        read += kv_cache_gb(batch_size, sequence_length, hidden_dimensions, num_layers, precision)
        return token_seconds(read, memory_bandwidth_gb_s, bandwidth_efficiency, num_gpus)

    @recorded
    def calculate_completion_latency(
        self,
        batch_size: int,
        sequence_length: int,
        output_tokens: int,
        hidden_dimensions: int,
        feedforward_dimensions: int,
        num_layers: int,
        vocab_size: int,
        precision: str,
        gpu_tflops: float,
        memory_bandwidth_gb_s: float,
        compute_efficiency: float = 1.0,
        bandwidth_efficiency: float = 1.0,
        num_gpus: int = 1,
    ) -> float:
        """Seconds of a batch from prompt to last token: prefill + output tokens x decode step at the mean context.

        The mean context is S + output / 2. One batch that starts and ends together: no arrivals, no queue.
        """
        return completion_seconds(
            batch_size, sequence_length, output_tokens, hidden_dimensions, feedforward_dimensions, num_layers,
            vocab_size, precision, gpu_tflops, memory_bandwidth_gb_s, compute_efficiency, bandwidth_efficiency,
            num_gpus,
        )  # fmt: skip

    @recorded
    def estimate_inference_throughput(
        self,
        batch_size: int,
        sequence_length: int,
        output_tokens: int,
        hidden_dimensions: int,
        feedforward_dimensions: int,
        num_layers: int,
        vocab_size: int,
        precision: str,
        gpu_tflops: float,
        memory_bandwidth_gb_s: float,
        compute_efficiency: float = 1.0,
        bandwidth_efficiency: float = 1.0,
        num_gpus: int = 1,
    ) -> float:
        """Output tokens per second of one batch: B x output tokens / completion latency.

        What the latency leaves out makes this too high; docs/metrics_calculation.md says by how much.
        """
        seconds = completion_seconds(
            batch_size, sequence_length, output_tokens, hidden_dimensions, feedforward_dimensions, num_layers,
            vocab_size, precision, gpu_tflops, memory_bandwidth_gb_s, compute_efficiency, bandwidth_efficiency,
            num_gpus,
        )  # fmt: skip
        return batch_size * output_tokens / seconds

    def get_history(self) -> list[dict[str, Any]]:
        """The calculations of this instance, oldest first: `method`, `arguments` and `result` of each."""
        return copy.deepcopy(self._history)
