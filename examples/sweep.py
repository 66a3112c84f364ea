"""Throughput against latency as the number of users grows: a CSV table and a chart.

    python examples/sweep.py [--model M] [--gpu G] [--output sweep]

Writes sweep.csv and sweep.html, which opens in a browser without a network.
"""

from __future__ import annotations

import argparse
import csv
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from app.calculations import estimate, results
from app.scenarios import serving_scenario

COLUMNS = ("concurrency", "fits", "ttft_ms", "tpot_ms", "output_tokens_per_s", "usd_per_million_output_tokens")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="llama-3.1-8b")
    parser.add_argument("--gpu", default="h100-sxm")
    parser.add_argument("--output", type=Path, default=Path("sweep"))
    asked = parser.parse_args()
    rows = []
    for users in (1, 2, 4, 8, 16, 32, 64, 128, 256):
        raw = {"model": asked.model, "gpu": asked.gpu, "num_gpus": 1, "concurrency": users}
        answer = results(estimate(serving_scenario(raw)[0]))
        numbers = {name: answer[name]["value"] for name in COLUMNS[2:]}
        rows.append({"concurrency": users, "fits": answer["fits"], **numbers})
    with asked.output.with_suffix(".csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)
    chart(rows, f"{asked.model} on {asked.gpu}", asked.output.with_suffix(".html"))
    print(f"Wrote {asked.output.with_suffix('.csv')} and {asked.output.with_suffix('.html')}")


def chart(rows: list[dict], title: str, path: Path) -> None:
    """Tokens per second of all users against what one user sees."""
    import plotly.graph_objects as go

    known = [row for row in rows if row["tpot_ms"]]
    figure = go.Figure(
        go.Scatter(
            x=[1000 / row["tpot_ms"] for row in known],
            y=[row["output_tokens_per_s"] for row in known],
            text=[f"{row['concurrency']} users" for row in known],
            mode="lines+markers+text",
            textposition="top right",
        )
    )
    figure.update_layout(title=title, xaxis_title="tokens/s per user", yaxis_title="tokens/s, all users")
    figure.write_html(path, include_plotlyjs=True)


if __name__ == "__main__":
    main()
