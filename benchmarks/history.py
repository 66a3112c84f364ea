"""How fast the history of many runs is: reading the log, and the pages of it.

    python benchmarks/history.py [--runs 1000000] [--directory DIRECTORY]

Writes a log of that many runs (5.5 kB each) where DIRECTORY has none, indexes it, and prints runs per second, the
median milliseconds of pages, the memory of the process, and how long the first page of an unread log takes.
"""

from __future__ import annotations

import argparse
import json
import random
import resource
import statistics
import sys
import tempfile
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from time import perf_counter, process_time

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

REPEATS = 15
SEED = 20261127
MODELS = ("meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct", "Qwen/Qwen2.5-72B-Instruct",
          "Qwen/Qwen3-235B-A22B", "deepseek-ai/DeepSeek-V3", "mistralai/Mixtral-8x7B-Instruct-v0.1")  # fmt: skip
GPUS = ("h100-sxm", "h200-sxm", "b200", "l40s")


def lines(count: int) -> Iterator[bytes]:
    """Runs like those of the calculator, each with a time, an id, tokens and speeds of its own."""
    from app.calculations.errors import InvalidInput
    from app.history.run_log import run_id, utc_text
    from app.runs import estimate_run

    chance = random.Random(SEED)  # noqa: S311
    documents = []
    for model in MODELS:
        for gpu in GPUS:
            for gpus in (1, 4, 8):
                try:
                    run = estimate_run({"model": model, "gpu": gpu, "num_gpus": gpus}, source="web")
                except InvalidInput:
                    continue
                documents.append(run.as_dict())
    start = datetime(2025, 1, 1, tzinfo=UTC)
    for number in range(count):
        document = chance.choice(documents)
        now = start + timedelta(seconds=37 * number)
        document["run_id"], document["time"] = run_id(now, number.to_bytes(6, "big")), utc_text(now.isoformat())
        inputs, results = document["inputs"], document["results"]
        inputs["input_tokens"] = chance.choice((128, 512, 1024, 2048, 8192, 32768))
        inputs["output_tokens"] = chance.randrange(1, 4096)
        inputs["concurrency"] = chance.choice((1, 2, 4, 8, 16, 32, 64, 128, 256))
        if number % 50 == 0:
            inputs["note"] = f"ticket {chance.randrange(count // 100 + 1)}"
        else:
            inputs.pop("note", None)
        for name in ("ttft_ms", "tpot_ms", "output_tokens_per_s", "output_tokens_per_s_per_user"):
            if results[name]["value"] is not None:
                results[name]["value"] = chance.lognormvariate(4, 1)
        yield msgspec.json.encode(document) + b"\n"


def milliseconds(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(REPEATS):
        start = perf_counter()
        work()
        taken.append(1000 * (perf_counter() - start))
    return statistics.median(taken)


def parsing_seconds(log_file: Path, count: int = 20_000) -> float:
    """What json.loads takes for a line of the log: how fast this machine is today."""
    with log_file.open("rb") as log:
        some = list(islice(log, count))
    start = perf_counter()
    for line in some:
        json.loads(line)
    return (perf_counter() - start) / len(some)


def megabytes() -> float:
    """The most memory that this process has held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000


def measure(directory: Path, count: int, keep: bool) -> None:
    log_file = directory / "web_app_calculations.log"
    if not log_file.exists():
        start = perf_counter()
        with log_file.open("wb", buffering=1 << 20) as log:
            log.writelines(lines(count))
        gigabytes = log_file.stat().st_size / 1e9
        print(f"log of {count:,} runs, {gigabytes:.2f} GB, written in {perf_counter() - start:.0f} s")

    from app.charts.history_view import view_figure
    from app.factory import create_app
    from app.history.query import Filters, Query
    from app.history.view import View

    if not keep:
        for old in directory.glob("data/history-*"):
            old.unlink()
    start = perf_counter()
    application = create_app({"LOG_DIR": directory, "DATA_DIR": directory / "data"})
    print(f"start-up: {perf_counter() - start:.2f} s")
    client, history = application.test_client(), application.extensions["history"]
    start = perf_counter()
    client.get("/visualize")
    print(f"first page while the log is unread: {perf_counter() - start:.2f} s")
    start, worked = perf_counter(), process_time()
    history.catch_up()
    seconds, worked = perf_counter() - start, process_time() - worked
    print(f"catch-up: {count / seconds:,.0f} runs/s ({seconds:.0f} s, indexes included)")
    print(f"          of it this process had a core for {worked:.0f} s; another reads ahead where there are two")
    share = seconds / count / parsing_seconds(log_file)
    print(f"          {share:.2f} of the time that json.loads takes for every line")
    for path in directory.glob("data/history-*.sqlite"):
        print(f"index: {path.stat().st_size / 1e6:,.0f} MB")

    cases = {
        "first page": Query(),
        "filter by model and GPU": Query(filters=Filters(model=MODELS[0], gpu="h100-sxm")),
        "filter by text": Query(filters=Filters(q="qwen h200")),
        "filter by a note": Query(filters=Filters(q="ticket 77")),
        "filter by days": Query(filters=Filters(since="2025-06-01", until="2025-06-30")),
        "filter by model and days": Query(filters=Filters(model=MODELS[0], since="2025-06-01", until="2025-12-31")),
        "sort by TTFT": Query(sort="ttft"),
        "sort by throughput, largest first": Query(sort="-tokens"),
        "sort by prompt": Query(sort="prompt"),
        "sort by model": Query(sort="model"),
        "sort by fits": Query(sort="-fits"),
        "filter by GPU, sort by TPOT": Query(filters=Filters(gpu="b200"), sort="tpot"),
        "filter by note, sort by cost": Query(filters=Filters(q="ticket 7"), sort="-cost"),
        "page 1,000": Query(page=1000),
    }
    for name, query in cases.items():
        history.query(query)
        found = history.query(query).matching
        print(f"{name:36} {milliseconds(lambda query=query: history.query(query)):7.1f} ms  {found:>9,} match")
    draw = milliseconds(lambda: view_figure(history.points(Query()), View("scatter")))
    print(f"{'chart of 5,000 points':36} {draw:7.1f} ms")
    run_id = history.query(Query(page=5000)).rows[0].run_id
    print(f"{'one run by its id':36} {milliseconds(lambda: history.run(run_id)):7.1f} ms")
    print(f"{'whole page by HTTP':36} {milliseconds(lambda: client.get('/visualize')):7.1f} ms")
    drawn = milliseconds(lambda: client.get("/visualize?chart=scatter"))
    print(f"{'whole page with chart by HTTP':36} {drawn:7.1f} ms")
    print(f"memory of this process at most: {megabytes():,.0f} MB")


def main() -> None:
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--runs", type=int, default=1_000_000)
    options.add_argument("--directory", type=Path, help="where the log is kept; else in a directory thrown away")
    options.add_argument("--keep", action="store_true", help="use the index that DIRECTORY has")
    given = options.parse_args()
    if given.directory:
        given.directory.mkdir(parents=True, exist_ok=True)
        measure(given.directory, given.runs, given.keep)
    else:
        with tempfile.TemporaryDirectory() as temporary:
            measure(Path(temporary), given.runs, False)


if __name__ == "__main__":
    main()
