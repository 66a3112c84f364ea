"""How long a plan over the whole catalogue takes, as a ratio to starting up.

python benchmarks/plan_speed.py
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.planning import plan

ROOT = Path(__file__).resolve().parent.parent
ASKED = {"model": "meta-llama/Llama-3.1-70B-Instruct", "request_rate": 20, "max_ttft_ms": 500, "max_tpot_ms": 40}


def main() -> None:
    start = perf_counter()
    subprocess.run([sys.executable, "-m", "app", "--version"], cwd=ROOT, check=True, capture_output=True)
    start_up = perf_counter() - start
    plan(ASKED | {"gpu": "h100-sxm"})
    start = perf_counter()
    results, _ = plan(ASKED)
    taken = perf_counter() - start
    searched = results["searched"]
    print(f"{searched['replicas']} kinds of replica at {searched['points']:,} loads in {taken:.2f} s")
    print(f"start-up {start_up:.2f} s, ratio {taken / start_up:.1f}")


if __name__ == "__main__":
    main()
