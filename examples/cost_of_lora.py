"""What does it cost to fine-tune an 8B model on 100 million tokens: all weights, LoRA, QLoRA; on which GPUs?

python examples/cost_of_lora.py [MODEL] [TOKENS]
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.calculations import InvalidInput
from app.runs import train_run

MACHINES = {"rtx-4090": 1, "l40s": 1, "a100-sxm-80gb": 1, "h100-sxm": 1, "h100-sxm, 8 of them": 8}


def main() -> None:
    model = sys.argv[1] if len(sys.argv) > 1 else "llama-3.1-8b"
    tokens = float(sys.argv[2]) if len(sys.argv) > 2 else 1e8
    print(f"{model}, {tokens:,.0f} tokens in sequences of 2,048")
    for machine, gpus in MACHINES.items():
        for method in ("full", "lora", "qlora"):
            asked = {
                "model": model, "gpu": machine.split(",")[0], "num_gpus": gpus, "method": method, "seq_len": 2048,
                "tokens": tokens,
            }  # fmt: skip
            try:
                found = train_run(asked, source="cli").results
            except InvalidInput as error:
                print(f"{machine:20} {method:6} {error.message}")
                continue
            if not found["fits"]:
                print(f"{machine:20} {method:6} does not fit")
                continue
            days, usd = found["run"]["days"]["value"], found["run"]["usd"]["value"]
            print(
                f"{machine:20} {method:6} {24 * days:6.1f} h  ${usd:7.2f}  "
                f"{found['peak_memory_gb']['value']:5.1f} GiB  MFU {found['mfu']['value']:.0%}"
            )


if __name__ == "__main__":
    main()
