"""Which accelerators serve a 70B chat assistant well, and which of them cheapest?

    python examples/which_gpu_for_chat.py [--users 32] [--max-ttft-ms 1000] [--max-tpot-ms 50]

Every accelerator of the catalogue that has a price, as many as are needed to hold the model, FP8 weights where its
units can. Those that miss a goal are left out; the rest stand by dollars per million output tokens.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app import catalog
from app.calculations import estimate, results
from app.scenarios import serving_scenario


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--users", type=int, default=32, help="answers that are being written at once")
    parser.add_argument("--max-ttft-ms", type=float, default=1000)
    parser.add_argument("--max-tpot-ms", type=float, default=50)
    goals = parser.parse_args()
    found = []
    for slug, gpu in catalog.gpus().items():
        if gpu.price_usd_per_hour is None:
            continue
        asked = {
            "model": "meta-llama/Llama-3.1-70B-Instruct",
            "gpu": slug,
            "weight_precision": "fp8" if "fp8" in gpu.peak_flops_per_second else "auto",
            "input_tokens": 1500,
            "output_tokens": 300,
            "concurrency": goals.users,
        }
        scenario, _ = serving_scenario(asked)
        answer = results(estimate(scenario))
        ttft, tpot = answer["ttft_ms"]["value"], answer["tpot_ms"]["value"]
        if answer["fits"] and ttft <= goals.max_ttft_ms and tpot <= goals.max_tpot_ms:
            found.append((answer["usd_per_million_output_tokens"]["value"], gpu.name, answer))
    if not found:
        print("No accelerator meets these goals; allow more time or fewer users.")
    for usd, name, answer in sorted(found, key=lambda one: one[0])[:12]:
        print(
            f"${usd:6.2f} per 1M tokens   TTFT {answer['ttft_ms']['value']:5.0f} ms   "
            f"TPOT {answer['tpot_ms']['value']:4.1f} ms   {answer['layout']['num_gpus']} x {name}"
        )


if __name__ == "__main__":
    main()
