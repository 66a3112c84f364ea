"""Your own benchmark on top of the published calibration: estimates of your cluster then follow it.

    python examples/calibrate_on_your_own.py [BENCHMARK.csv] [NAME]

Without a file, published rows of one model on one GPU stand in for yours. The file has one measured number a row, in
the columns that `python -m app validate` reads (app/data/measurements/README.md). What is saved stays in DATA_DIR.
"""

from __future__ import annotations

import csv
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from app.measurements import published

STAND_IN = {"source": "inferencex-silicon-sample", "model": "Qwen/Qwen3-32B", "gpu": "h100-sxm", "engine": "vllm"}


def stand_in(path: Path) -> Path:
    """Published rows as a benchmark file."""
    rows = [row for row in published.serving() if row.items() >= STAND_IN.items()]
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, published.SERVING_COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    return path


def app(*arguments: str) -> None:
    """Run a command of the calculator, shown as it would be typed."""
    print("\n$ python -m app", *arguments, flush=True)
    subprocess.run([sys.executable, "-m", "app", *arguments], cwd=PROJECT, check=True)  # noqa: S603


def main() -> None:
    name = sys.argv[2] if len(sys.argv) > 2 else "my cluster"
    with tempfile.TemporaryDirectory() as directory:
        benchmark = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else stand_in(Path(directory) / "benchmark.csv")
        app("validate", str(benchmark))
        app("calibrate", str(benchmark), "--save", name, "--replace")
        with benchmark.open(newline="") as file:
            first = next(csv.DictReader(file))
    scenario = [f"--{option}={first[option]}" for option in ("model", "gpu", "engine") if first[option]]
    app("estimate", *scenario)
    app("estimate", *scenario, "--calibration", name)


if __name__ == "__main__":
    main()
