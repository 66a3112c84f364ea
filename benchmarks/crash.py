"""Does a killed server lose runs? Clients post while workers of a real gunicorn are killed with SIGKILL at random.

    python benchmarks/crash.py [--clients 16] [--runs 1000] [--seconds-between-kills 2]

Each client posts until that many runs are acknowledged: the form's 303 or the API's 200 named their ids. Then the log
is read line by line. Prints the counts; exit status 1 where an acknowledged run is missing or twice in the log, or
where more lines are broken than workers were killed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

PROJECT = Path(__file__).resolve().parent.parent
SEED = 20261127
INPUTS = {"model": "llama-3.1-8b", "gpu": "h100-sxm"}
#: How long a client waits for an answer; the worker that it waits for may be dead.
TIMEOUT_SECONDS = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What the clients were told and what the log holds."""

    seconds: float
    killed: int
    acknowledged: int
    #: Requests whose worker died under them; the client sent another.
    unanswered: int
    logged: int
    #: Acknowledged runs that the log lacks.
    lost: int
    #: Ids that stand in the log twice.
    twice: int
    #: Lines that are no run: writes that a kill cut off.
    broken: int

    @property
    def is_good(self) -> bool:
        return self.lost == self.twice == 0 and self.broken <= self.killed


class Server:
    """A gunicorn on a free port of this machine, stopped at the end of the block."""

    def __init__(self, directory: Path, workers: int, **environ: str) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            self.port = int(listener.getsockname()[1])
        paths = {"LOG_DIR": str(directory / "logging"), "DATA_DIR": str(directory / "data")}
        own = {"PORT": str(self.port), "WEB_CONCURRENCY": str(workers)} | paths | environ
        self.output = directory / "gunicorn.txt"
        with self.output.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gunicorn", "wsgi:app"],
                cwd=PROJECT, env=os.environ | own, stdout=output, stderr=subprocess.STDOUT,
            )  # fmt: skip

    def __enter__(self) -> Server:
        end = time.monotonic() + 60
        while time.monotonic() < end and self.process.poll() is None:
            with suppress(OSError):
                self.request("GET", "/healthz")
                return self
            time.sleep(0.1)
        self.process.kill()
        raise RuntimeError(f"gunicorn does not answer:\n{self.output.read_text()}")

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def workers(self) -> list[int]:
        """The processes that answer."""
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return [int(pid) for pid in children.read_text().split()]

    def request(self, method: str, path: str, body: str = "", kind: str = "") -> tuple[int, dict[str, str], bytes]:
        """Status, headers and body of the answer. Raises OSError or HTTPException where the worker dies."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=TIMEOUT_SECONDS)
        try:
            connection.request(method, path, body or None, {"Content-Type": kind} if kind else {})
            answer = connection.getresponse()
            return answer.status, dict(answer.headers), answer.read()
        finally:
            connection.close()


def post(server: Server, by_form: bool) -> str:
    """The id of an acknowledged run."""
    if by_form:
        status, headers, body = server.request("POST", "/", urlencode(INPUTS), "application/x-www-form-urlencoded")
        run_id = headers.get("Location", "").rpartition("/")[2]
    else:
        status, _, body = server.request("POST", "/api/v1/estimate", json.dumps(INPUTS), "application/json")
        run_id = json.loads(body)["run_id"] if status == 200 else ""
    if not run_id:
        raise RuntimeError(f"status {status}: {body[:200]!r}")
    return run_id


def crash(
    directory: Path, *, clients: int, runs: int, pause_seconds: float, workers: int = 3, least_killed: int = 0
) -> Outcome:
    """Let the clients post and the workers die, and compare what was told with what was kept.

    The clients go on until so many workers were killed, however fast the machine is.
    """
    done, killed, unanswered = threading.Event(), 0, Counter()
    chance = random.Random(SEED)  # noqa: S311

    def kill(server: Server) -> None:
        nonlocal killed
        while not done.wait(chance.uniform(0.5, 1.5) * pause_seconds):
            with suppress(ProcessLookupError, IndexError):
                os.kill(chance.choice(server.workers()), signal.SIGKILL)
                killed += 1

    def work(number: int) -> list[str]:
        acknowledged: list[str] = []
        while len(acknowledged) < runs or killed < least_killed:
            try:
                acknowledged.append(post(server, by_form=len(acknowledged) % 2 == 0))
            except (OSError, http.client.HTTPException):
                unanswered[number] += 1
        return acknowledged

    with Server(directory, workers) as server, ThreadPoolExecutor(clients) as pool:
        killer = threading.Thread(target=kill, args=[server])
        killer.start()
        start = time.perf_counter()
        try:
            acknowledged = [run_id for ids in pool.map(work, range(clients)) for run_id in ids]
        finally:
            done.set()
            killer.join()
        seconds = time.perf_counter() - start
    logged, broken = read(directory / "logging")
    return Outcome(
        seconds=seconds,
        killed=killed,
        acknowledged=len(acknowledged),
        unanswered=unanswered.total(),
        logged=logged.total(),
        lost=len(set(acknowledged) - logged.keys()),
        twice=sum(count > 1 for count in logged.values()),
        broken=broken,
    )


def read(directory: Path) -> tuple[Counter[str], int]:
    """How often each id stands in the log, and how many lines are no runs; read as anybody would read it."""
    logged: Counter[str] = Counter()
    broken = 0
    for path in directory.glob("*.log*"):
        for line in path.read_bytes().split(b"\n"):
            if line:
                try:
                    logged[json.loads(line)["run_id"]] += 1
                except ValueError:
                    broken += 1
    return logged, broken


def main() -> int:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--clients", type=int, default=16)
    options.add_argument("--runs", type=int, default=1000, help="acknowledged runs of each client")
    options.add_argument("--seconds-between-kills", type=float, default=2.0)
    options.add_argument("--workers", type=int, default=3)
    given = options.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        outcome = crash(
            Path(directory),
            clients=given.clients,
            runs=given.runs,
            pause_seconds=given.seconds_between_kills,
            workers=given.workers,
        )
    print(f"{given.clients} clients x {given.runs:,} runs in {outcome.seconds:.0f} s, {given.workers} workers")
    for name in ("killed", "acknowledged", "unanswered", "logged", "lost", "twice", "broken"):
        print(f"{name:14} {getattr(outcome, name):>8,}")
    return not outcome.is_good


if __name__ == "__main__":
    sys.exit(main())
