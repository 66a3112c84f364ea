"""How many requests a second a real server answers, by kind: what docs/operations.md sizes machines from.

    python benchmarks/throughput.py [--workers 1] [--seconds 6]

Clients on this machine keep the server busy with one kind of request after the other, and take from it what they need
themselves: the processor seconds of the workers per request, from /proc, are what a core of the server can do. Prints
requests per second, as a share of those of /healthz too, and the workers' processor milliseconds per request.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlencode

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.crash import INPUTS, Server, post

CLIENTS = 16
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
PLAN = {"model": "llama-3.1-8b", "input_tokens": 1000, "output_tokens": 300, "request_rate": 20, "max_ttft_ms": 500}
TRAIN = {"model": "llama-3.1-8b", "gpu": "h100-sxm", "num_gpus": 64}


def kinds(server: Server) -> dict[str, Callable[[], object]]:
    """Name of a kind of request -> sending one."""
    run_id = post(server, by_form=True)
    return {
        "health": lambda: server.request("GET", "/healthz"),  # First: the others are compared with it.
        "form": lambda: server.request("GET", "/"),
        "estimate, form": lambda: server.request("POST", "/", urlencode(INPUTS), FORM),
        "its page": lambda: server.request("GET", f"/results/{run_id}"),
        "estimate, API": lambda: server.request("POST", "/api/v1/estimate", json.dumps(INPUTS), JSON),
        "train, API": lambda: server.request("POST", "/api/v1/train", json.dumps(TRAIN), JSON),
        "plan, API": lambda: server.request("POST", "/api/v1/plan", json.dumps(PLAN), JSON),
        "history": lambda: server.request("GET", "/visualize"),
    }


def processor_seconds(server: Server) -> float:
    """What the workers have used so far."""
    ticks = 0
    for pid in server.workers():
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")


def measure(server: Server, send: Callable[[], object], seconds: float) -> tuple[float, float]:
    """Requests per second, and processor seconds of the workers per request."""
    for _ in range(8):
        send()
    start, used = time.monotonic(), processor_seconds(server)
    end = start + seconds

    def client(_: int) -> int:
        sent = 0
        while time.monotonic() < end:
            send()
            sent += 1
        return sent

    with ThreadPoolExecutor(CLIENTS) as pool:
        total = sum(pool.map(client, range(CLIENTS)))
    return total / (time.monotonic() - start), (processor_seconds(server) - used) / total


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--workers", type=int, default=1)
    options.add_argument("--seconds", type=float, default=6.0)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as directory, Server(Path(directory), given.workers) as server:
        print(f"{CLIENTS} clients, {given.workers} workers")
        print(f"{'':16} {'requests/s':>10} {'of health':>10} {'ms of a core':>13} {'a core, /s':>11}")
        health = None
        for name, send in kinds(server).items():
            per_second, used = measure(server, send, given.seconds)
            health = health or per_second
            share = per_second / health
            print(f"{name:16} {per_second:10.1f} {share:10.3f} {1000 * used:13.1f} {1 / used:11.0f}", flush=True)


if __name__ == "__main__":
    main()
