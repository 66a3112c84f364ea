"""What does FP8 bring: memory, speed, users, dollars?

    python examples/fp8_against_bf16.py [MODEL] [GPU]

FP8 weights halve what a decode step reads; FP8 activations double the peak of prefill where the GPU has the units; an
FP8 cache doubles the users. What it costs in quality is not a matter of arithmetic and not answered here.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.calculations import estimate, results
from app.scenarios import serving_scenario

FORMATS = {"bf16": ("bf16", "bf16"), "fp8 weights": ("fp8", "bf16"), "fp8 weights and cache": ("fp8", "fp8")}


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else "llama-3.1-8b"
    gpu = sys.argv[2] if len(sys.argv) > 2 else "h100-sxm"
    print(f"{model} on {gpu}\n{'':22} {'GiB':>6} {'TTFT ms':>8} {'TPOT ms':>8} {'tok/s':>7} {'$/1M':>6} {'users':>6}")
    for name, (weights, cache) in FORMATS.items():
        asked = {"model": model, "gpu": gpu, "weight_precision": weights, "kv_precision": cache, "concurrency": 32}
        answer = results(estimate(serving_scenario(asked)[0]))
        usd = answer["usd_per_million_output_tokens"]["value"]
        print(
            f"{name:22} {answer['memory_bytes_per_gpu']['total'] / 2**30:6.1f} {answer['ttft_ms']['value']:8.0f} "
            f"{answer['tpot_ms']['value']:8.1f} {answer['output_tokens_per_s']['value']:7.0f} "
            f"{'?' if usd is None else f'{usd:.2f}':>6} {answer['max_concurrency']:6,}"
        )


if __name__ == "__main__":
    main()
