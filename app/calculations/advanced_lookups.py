"""What AdvancedCalculator knows by name: models, accelerators, and the exact core's answer for a pair of them.

The one door from the core to the catalogue. It is opened by the first lookup, never by an import: the core itself reads
no file.
"""

from __future__ import annotations

from typing import Any

from app.calculations.architecture import Experts, FeedForward, Model
from app.calculations.errors import InvalidInput
from app.calculations.textbook import (
    BYTES_PER_ELEMENT,
    BYTES_PER_GB,
    GIGA,
    TERA,
    completion_seconds,
    kv_cache_gb,
    model_gb,
    prefill_flops,
    prefill_seconds,
    token_seconds,
    total_gb,
)

#: Names of the textbook's precisions that the exact core spells otherwise.
EXACT_PRECISION = {"fp4": "nvfp4"}
#: What of an exact answer an analysis repeats.
QUANTITIES = ("ttft_ms", "tpot_ms", "e2e_latency_ms", "output_tokens_per_s", "usd_per_hour",
              "usd_per_million_output_tokens", "power_w_per_gpu")  # fmt: skip


def feedforward_dimensions(model: Model) -> int:
    """F of the textbook: the widest dense MLP, or of a mixture all that one token runs through."""
    blocks = [block for layer, _ in model.layer_counts for block in layer.blocks]
    dense = [block.width for block in blocks if isinstance(block, FeedForward)]
    routed = [block.width * block.experts_per_token for block in blocks if isinstance(block, Experts)]
    return max(routed or dense, default=0)


class Lookups:
    """Models and accelerators by name, as the formulas take them. Unknown names raise InvalidInput with the nearest."""

    def get_available_models(self) -> list[str]:
        """Names of all models: those saved on this machine, then the presets."""
        from app import catalog

        return list(catalog.models())

    def get_model_config(self, model_name: str) -> dict[str, Any]:
        """A model's shape under the names of the formulas' arguments, with what these leave out beside it.

        `feedforward_dimensions` of a mixture of experts is what one token runs through: the formulas then give the
        work of a token, not the weights; `total_params` and `kv_bytes_per_token_bf16` are exact.
        """
        from app import catalog

        model = catalog.model(model_name, "model_name")
        return {
            "model": model.name,
            "family": model.family,
            "hidden_dimensions": model.hidden_size,
            "feedforward_dimensions": feedforward_dimensions(model),
            "num_layers": model.num_layers,
            "vocab_size": model.vocab_size,
            "num_heads": model.num_heads,
            "num_kv_heads": model.num_kv_heads,
            "num_experts": model.num_experts,
            "max_position": model.max_position,
            "total_params": model.total_params,
            "active_params": model.active_params,
            "kv_bytes_per_token_bf16": 2 * model.cache_elements_per_token,
            "checkpoint_precision": model.checkpoint_precision,
            "source": model.source,
        }

    def get_available_gpus(self) -> list[str]:
        """Short names of all accelerators: those saved on this machine, then the presets."""
        from app import catalog

        return list(catalog.gpus())

    def get_gpu_config(self, gpu_name: str) -> dict[str, Any]:
        """An accelerator's datasheet: `gpu_vram_gb` in GB of 1024^3 bytes, bandwidth in GB of 10^9, dense TFLOPS."""
        from app import catalog

        gpu = catalog.gpu(gpu_name, "gpu_name")
        return {
            "gpu": gpu.slug,
            "name": gpu.name,
            "vendor": gpu.vendor,
            "gpu_vram_gb": gpu.memory_bytes / BYTES_PER_GB,
            "memory_bandwidth_gb_s": gpu.memory_bandwidth_bytes_per_second / GIGA,
            "tflops": {name: peak / TERA for name, peak in gpu.peak_flops_per_second.items()},
            "domain_gpus": gpu.domain_gpus,
            "tdp_w": gpu.tdp_watts,
            "price_usd_per_gpu_hour": gpu.price_usd_per_hour,
            "source": gpu.source,
        }

    def analyze_model_on_gpu(
        self,
        model_name: str,
        gpu_name: str,
        batch_size: int = 1,
        sequence_length: int = 1024,
        output_tokens: int = 256,
        precision: str = "bf16",
        num_gpus: int | None = None,
    ) -> dict[str, Any]:
        """One batch on one kind of accelerator: `exact` by the core, `simplified` by the textbook on as many GPUs.

        Without `num_gpus` the smallest number that fits. `exact` holds fits, verdict, num_gpus, bytes per GPU and
        quantities with their ranges; `simplified` total_vram_gb of the instance, latencies in ms and tokens per second.
        """
        exact = self._exact(model_name, gpu_name, batch_size, sequence_length, output_tokens, precision, num_gpus)
        shape, gpu = self.get_model_config(model_name), self.get_gpu_config(gpu_name)
        return {
            "model": shape["model"],
            "gpu": gpu["gpu"],
            "exact": exact,
            "simplified": _simplified(
                shape, gpu, batch_size, sequence_length, output_tokens, precision, exact["num_gpus"]
            ),
        }

    def get_recommended_gpus_for_model(
        self,
        model_name: str,
        batch_size: int = 1,
        sequence_length: int = 1024,
        output_tokens: int = 256,
        precision: str = "bf16",
        max_gpus: int = 8,
    ) -> list[dict[str, Any]]:
        """Accelerators on which the exact core fits the model with at most `max_gpus`, cheapest per hour first.

        Those without a known price stand last, the fewest GPUs first. Each says gpu, name, num_gpus, usd_per_hour,
        ttft_ms, tpot_ms and output_tokens_per_s.
        """
        found = []
        for name in self.get_available_gpus():
            exact = self._exact(model_name, name, batch_size, sequence_length, output_tokens, precision, None)
            if exact["fits"] and exact["num_gpus"] <= max_gpus:
                quantities = ("usd_per_hour", "ttft_ms", "tpot_ms", "output_tokens_per_s")
                found.append(
                    {"gpu": name, "name": exact["gpu_name"], "num_gpus": exact["num_gpus"]}
                    | {key: exact[key]["value"] for key in quantities}
                )
        return sorted(found, key=lambda one: (one["usd_per_hour"] is None, one["usd_per_hour"], one["num_gpus"]))

    def _exact(
        self,
        model_name: str,
        gpu_name: str,
        batch_size: int,
        sequence_length: int,
        output_tokens: int,
        precision: str,
        num_gpus: int | None,
    ) -> dict[str, Any]:
        from app.calculations.layout_estimate import estimate
        from app.calculations.report import results
        from app.scenarios import serving_scenario

        if precision not in BYTES_PER_ELEMENT:
            message = f"precision: {precision!r:.60} is not a known precision."
            raise InvalidInput("precision", message, ", ".join(BYTES_PER_ELEMENT))
        raw = {
            "model": model_name,
            "gpu": gpu_name,
            "num_gpus": num_gpus,
            "arrival": "static",
            "concurrency": batch_size,
            "input_tokens": sequence_length,
            "output_tokens": output_tokens,
            "weight_precision": EXACT_PRECISION.get(precision, precision),
        }
        found = results(estimate(serving_scenario(raw)[0]))
        return {
            "fits": found["fits"],
            "verdict": found["verdict"],
            "gpu_name": found["gpu"]["name"],
            "num_gpus": found["layout"]["num_gpus"],
            "memory_bytes_per_gpu": found["memory_bytes_per_gpu"],
            **{key: found[key] for key in QUANTITIES},
        }


def _simplified(
    shape: dict[str, Any],
    gpu: dict[str, Any],
    batch_size: int,
    sequence_length: int,
    output_tokens: int,
    precision: str,
    num_gpus: int,
) -> dict[str, float]:
    """The textbook's answer at the peaks of the datasheet."""
    hidden, width, layers, vocab = (
        shape[name] for name in ("hidden_dimensions", "feedforward_dimensions", "num_layers", "vocab_size")
    )
    peaks, bandwidth = gpu["tflops"], gpu["memory_bandwidth_gb_s"]
    tflops = next(peaks[name] for name in (precision, "bf16", "fp16", "tf32") if name in peaks)
    flops = prefill_flops(batch_size, sequence_length, hidden, width, layers)
    read = model_gb(hidden, width, layers, vocab, precision)
    read += kv_cache_gb(batch_size, sequence_length + output_tokens // 2, hidden, layers, precision)
    seconds = completion_seconds(
        batch_size, sequence_length, output_tokens, hidden, width, layers, vocab, precision, tflops, bandwidth,
        num_gpus=num_gpus,
    )  # fmt: skip
    total = total_gb(
        batch_size, sequence_length + output_tokens, hidden, width, layers, vocab, precision, 1.05, 1.05, 1.1, 1.05
    )
    return {
        "total_vram_gb": total,
        "ttft_ms": 1000 * prefill_seconds(flops, tflops, 1.0, num_gpus),
        "tpot_ms": 1000 * token_seconds(read, bandwidth, 1.0, num_gpus),
        "e2e_latency_ms": 1000 * seconds,
        "output_tokens_per_s": batch_size * output_tokens / seconds,
    }
