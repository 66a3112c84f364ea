"""Will retrieval-augmented generation with prompts of 32k tokens fit on two L40S, and for how many users?

    python examples/rag_on_two_l40s.py [MODEL]

The cache decides: each answer holds 32k tokens of it. An FP8 cache takes half; a smaller prompt, less.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.calculations import estimate, results
from app.scenarios import serving_scenario


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else "Qwen/Qwen2.5-32B-Instruct"
    print(f"{model} on two L40S, prompts of 32,000 tokens, answers of 500")
    for weights in ("bf16", "fp8"):
        for cache in ("bf16", "fp8"):
            asked = {
                "model": model, "gpu": "l40s", "num_gpus": 2, "weight_precision": weights, "kv_precision": cache,
                "input_tokens": 32_000, "output_tokens": 500, "concurrency": 1,
            }  # fmt: skip
            answer = results(estimate(serving_scenario(asked)[0]))
            print(f"\n{weights} weights, {cache} cache: {answer['verdict']}")
            if answer["fits"]:
                first, next_ms = answer["ttft_ms"]["value"] / 1000, answer["tpot_ms"]["value"]
                print(
                    f"  {answer['max_concurrency']} such requests at once; alone, the first token after {first:.1f} s,"
                )
                print(f"  each further one after {next_ms:.0f} ms")
            for remedy in answer["remedies"][:2]:
                print(f"  {remedy}")


if __name__ == "__main__":
    main()
