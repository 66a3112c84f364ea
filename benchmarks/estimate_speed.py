"""How long an estimate takes, as a ratio to a bare roofline evaluated in the same run.

    python benchmarks/estimate_speed.py [--rows 20000]

Prints the median milliseconds of one estimate after loading, and how many published measurements are predicted in a
second on all cores.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from collections.abc import Callable
from pathlib import Path
from time import perf_counter

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.accuracy import validation
from app.calculations import estimate
from app.calculations.report import speed_results
from app.calculations.scenario import ServingScenario
from app.measurements import published
from app.scenarios import serving_scenario

SCENARIOS = {
    "8B on one H100": {},
    "70B on four H100, given layout": {
        "model": "meta-llama/Llama-3.1-70B-Instruct", "num_gpus": 4, "tp": 4, "pp": 1, "dp": 1, "concurrency": 64,
    },
    "70B on eight H100, best layout": {"model": "meta-llama/Llama-3.1-70B-Instruct", "num_gpus": 8, "concurrency": 64},
    "DeepSeek-V3 on eight H200, tp 8": {
        "model": "deepseek-ai/DeepSeek-V3", "gpu": "h200-sxm", "num_gpus": 8, "tp": 8, "pp": 1, "dp": 1,
        "concurrency": 128,
    },
}  # fmt: skip
REPEATS = 30


def bare_roofline(scenario: ServingScenario) -> tuple[float, float]:
    """Seconds of a prompt and of a decode step: 2 FLOPs a parameter at the peak, weights and cache at the bandwidth."""
    model, gpu = scenario.model, scenario.gpu
    peak = gpu.peak_flops_per_second["bf16"]
    cache = model.cache_elements_per_token * 2 * (scenario.input_tokens + scenario.output_tokens / 2)
    batch = scenario.concurrency or 1
    prompt = 2 * model.active_params * scenario.input_tokens / peak
    step = max(
        2 * model.active_params * batch / peak,
        (2 * model.total_params + batch * cache) / gpu.memory_bandwidth_bytes_per_second,
    )
    return prompt, step


def median_seconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPEATS):
        start = perf_counter()
        work()
        taken.append(perf_counter() - start)
    return statistics.median(taken)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=20_000, help="published measurements to predict; 0: none")
    rows = parser.parse_args().rows
    print(f"{'scenario':34} {'estimate':>10} {'roofline':>12} {'ratio':>7}")
    for name, raw in SCENARIOS.items():
        scenario, _ = serving_scenario(raw)
        speed_results(estimate(scenario).best)
        ours = median_seconds(lambda scenario=scenario: speed_results(estimate(scenario).best))  # type: ignore[misc]
        bare = median_seconds(lambda scenario=scenario: bare_roofline(scenario))  # type: ignore[misc]
        print(f"{name:34} {ours * 1e3:7.2f} ms {bare * 1e6:9.2f} us {ours / bare:7.0f}")
    if rows:
        measured = list(published.serving())[:rows]
        start = perf_counter()
        found = sum(map(len, validation.predictions_in_parallel("serving", measured)))
        taken = perf_counter() - start
        print(f"{found:,} published measurements predicted in {taken:.1f} s: {found / taken:,.0f} a second")


if __name__ == "__main__":
    main()
