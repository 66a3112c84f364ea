"""A published table beside what is predicted for it.

    python examples/published_table.py [SOURCE]

SOURCE is the beginning of a source's name in app/data/measurements, such as trtllm-perf-overview or vllm-buildkite.
"""

from __future__ import annotations

import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.measurements import published
from app.measurements.predictors import predict

MOST = 40


def main() -> None:
    wanted = sys.argv[1] if len(sys.argv) > 1 else "trtllm-perf-overview-main"
    rows = [row for row in published.serving() if row["source"].startswith(wanted)]
    if not rows:
        known = ", ".join(sorted(set(published.serving().columns["source"])))
        sys.exit(f"No source begins with {wanted!r}. There are: {known}")
    errors = []
    for row in rows[:MOST]:
        for found in predict("serving", row):
            lengths = f"{row['input_tokens']:>6}/{row['output_tokens']:<6}"
            what = f"{row['model'].split('/')[-1]:34.34} {row['gpu']:10} {lengths}"
            if found.predicted is None:
                print(f"{what} {found.metric:24} {found.measured:12,.1f}            - {found.reason[:50]}")
                continue
            error = found.predicted / found.measured - 1
            errors.append(abs(error))
            print(f"{what} {found.metric:24} {found.measured:12,.1f} {found.predicted:12,.1f} {error:+6.0%}")
    if errors:
        print(f"\n{len(errors)} of {len(rows)} rows, median error {statistics.median(errors):.0%}")


if __name__ == "__main__":
    main()
