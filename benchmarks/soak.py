"""Does memory stay flat? Clients keep a real server busy at a share of what it can do, and its memory is printed.

    python benchmarks/soak.py [--minutes 10] [--load 0.7]

First as many requests as the server answers in ten seconds, then that rate times the load: forms, results, history,
API, in equal parts. Each minute one line: requests, how many were not answered as they should be, the median and 99th
percentile in ms, and the resident memory of all workers in MB, pages that they share counted once (Pss).
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPException
from itertools import count
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from benchmarks.crash import Server, post

CLIENTS = 8
CALIBRATION_SECONDS = 10.0


class Load:
    """Clients that send requests, at most so many a second in total."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.run_id = post(server, by_form=True)
        self.numbers = count()
        self.milliseconds: list[float] = []
        self.failed = 0
        self.lock = threading.Lock()

    def one(self) -> None:
        """One request, counted."""
        start = time.perf_counter()
        try:
            kind = next(self.numbers) % 4
            if kind < 2:
                self.run_id = post(self.server, by_form=kind == 0)
            else:
                path = f"/results/{self.run_id}" if kind == 2 else "/visualize"
                if self.server.request("GET", path)[0] != 200:
                    raise RuntimeError(path)
        except (OSError, HTTPException, RuntimeError):
            self.failed += 1
        with self.lock:
            self.milliseconds.append(1000 * (time.perf_counter() - start))

    def keep(self, seconds: float, per_second: float | None = None) -> list[float]:
        """Send for so long; returns the milliseconds that answers took."""
        self.milliseconds = []
        end = time.monotonic() + seconds

        def client(number: int) -> None:
            pause = CLIENTS / per_second if per_second else 0.0
            due = time.monotonic() + pause * number / CLIENTS
            while time.monotonic() < end:
                time.sleep(max(0.0, due - time.monotonic()))
                self.one()
                due += pause

        with ThreadPoolExecutor(CLIENTS) as pool:
            list(pool.map(client, range(CLIENTS)))
        return self.milliseconds


def megabytes(server: Server) -> list[float]:
    """What each worker holds, its part of what it shares with others included."""
    found = []
    for pid in server.workers():
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
        found.append(next(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1000)
    return found


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--minutes", type=int, default=10)
    options.add_argument("--load", type=float, default=0.7)
    options.add_argument("--workers", type=int, default=2)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as directory, Server(Path(directory), given.workers) as server:
        load = Load(server)
        load.keep(CALIBRATION_SECONDS / 2)  # What is loaded on first use is loaded.
        most = len(load.keep(CALIBRATION_SECONDS)) / CALIBRATION_SECONDS
        print(f"{most:.0f} requests/s at most, {given.workers} workers; now {given.load:.0%} of it")
        for minute in range(1, given.minutes + 1):
            load.failed = 0
            taken = load.keep(60.0, given.load * most)
            worst = statistics.quantiles(taken, n=100)[98]
            held = megabytes(server)
            print(
                f"minute {minute:2}: {len(taken):6,} requests, {load.failed} failed, "
                f"{statistics.median(taken):4.0f} ms median, {worst:5.0f} ms p99, "
                f"memory {sum(held):4.0f} MB ({', '.join(f'{one:.0f}' for one in held)})",
                flush=True,
            )


if __name__ == "__main__":
    main()
