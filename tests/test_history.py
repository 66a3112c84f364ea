"""The history: query string in, the right rows in the right order out, and only new lines are read."""

import csv
import io
import math
import threading
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.history import csv_export, table
from app.history.index import Index
from app.history.query import MAX_COMPARED, Filters, Query
from app.history.rows import COLUMNS, SORTS, Row
from app.history.run_log import WEB_FILE, Run, RunLog, new_run
from app.history.table import History

START = datetime(2026, 11, 23, 8, 15, 30, tzinfo=UTC)


def quantity(value: float | None) -> dict[str, float | None]:
    return {"value": value, "low": None, "high": None}


def logged(
    number: int,
    *,
    source: str = "web",
    model: str = "meta-llama/Llama-3.1-8B-Instruct",
    gpu: tuple[str, str] = ("h100-sxm", "H100 SXM5 80GB"),
    engine: tuple[str, str] = ("vllm", "vLLM"),
    fits: bool = True,
    ttft: float | None = 30.0,
    concurrency: int | str = 16,
    layout: Mapping[str, int] | None = None,
    days: int = 0,
) -> Run:
    """A run like those of the calculator, a second after the one before."""
    return new_run(
        "estimate",
        source,
        {"model": model, "gpu": gpu[0], "engine": engine[0], "input_tokens": 1024, "output_tokens": 256,
         "concurrency": concurrency},
        {
            "fits": fits,
            "model": {"name": model},
            "gpu": {"slug": gpu[0], "name": gpu[1]},
            "engine": {"name": engine[0], "label": engine[1]},
            "layout": {"num_gpus": 1, "tp": 1, "pp": 1, "dp": 1, "ep": 1, **(layout or {})},
            "precision": {"weights": "bf16", "activations": "bf16", "kv_cache": "bf16"},
            "memory_bytes_per_gpu": {"total": 2**34, "capacity": 2**36},
            "ttft_ms": quantity(ttft),
            "tpot_ms": quantity(8.0),
            "output_tokens_per_s": quantity(2000.0),
            "output_tokens_per_s_per_user": quantity(125.0),
            "usd_per_hour": quantity(2.49),
        },
        now=START + timedelta(days=days, seconds=number),
        token=number.to_bytes(6, "big"),
    )  # fmt: skip


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    return RunLog(tmp_path / "logging")


@pytest.fixture
def index(log: RunLog, tmp_path: Path) -> Index:
    return Index(log, tmp_path / "data")


@pytest.fixture
def history(log: RunLog, index: Index) -> Iterator[History]:
    yield History(log, index)
    index.close()


def found(history: History, query: str) -> list[str]:
    """The ids that a query string without mistakes finds."""
    read, errors = Query.read(parse_qs(query))
    assert errors == []
    return [row.run_id for row in history.query(read).rows]


# Rows


def test_a_row_says_what_the_table_shows() -> None:
    run = logged(1, layout={"num_gpus": 16, "tp": 8, "pp": 2})
    run.inputs["note"] = "for the board"
    assert Row.of(run) == Row(
        run_id=run.run_id,
        time="2026-11-23T08:15:31.000Z",
        source="web",
        kind="estimate",
        model="meta-llama/Llama-3.1-8B-Instruct",
        gpu="h100-sxm",
        gpu_name="H100 SXM5 80GB",
        num_gpus=16,
        layout="TP 8 · PP 2",
        engine="vllm",
        engine_name="vLLM",
        precision="bf16",
        note="for the board",
        input_tokens=1024,
        output_tokens=256,
        concurrency=16,
        fits=True,
        used_bytes=2**34,
        capacity_bytes=2**36,
        ttft_ms=30.0,
        tpot_ms=8.0,
        tokens_per_s=2000.0,
        tokens_per_s_per_user=125.0,
        usd_per_hour=2.49,
    )


def test_formats_that_differ_are_all_named() -> None:
    run = logged(1)
    run.results["precision"] = {"weights": "int4", "activations": "bf16", "kv_cache": "fp8"}
    assert Row.of(run).precision == "int4 / bf16 / fp8"


def test_saturated_stands_above_every_number() -> None:
    assert Row.of(logged(1, concurrency="saturated")).concurrency == math.inf


any_json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)
names = st.sampled_from(sorted(logged(0).results) + sorted(logged(0).inputs))


@given(inputs=st.dictionaries(names, any_json), results=st.dictionaries(names, any_json))
def test_whatever_a_run_holds_it_has_a_row(inputs: dict[str, Any], results: dict[str, Any]) -> None:
    row = Row.of(new_run("estimate", "web", inputs, results, now=START, token=b"123456"))
    assert all(value == value for value in map(row.__getattribute__, (column.field for column in COLUMNS)))
    "".join(csv_export.lines([row])).encode()


# Filters


@pytest.fixture
def four(log: RunLog) -> dict[str, str]:
    """Four runs that differ in everything a filter looks at; names to ids."""
    runs = {
        "llama": logged(1),
        "qwen": logged(2, source="api", model="Qwen/Qwen2.5-72B-Instruct", engine=("sglang", "SGLang"), days=1),
        "b200": logged(3, source="cli", gpu=("b200", "B200 SXM 192GB"), days=2),
        "large": logged(4, source="desktop", model="Qwen/Qwen3-235B-A22B", fits=False, ttft=None, days=3),
    }
    for run in runs.values():
        log.append(run)
    return {name: run.run_id for name, run in runs.items()}


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        ("", "large b200 qwen llama"),
        ("q=llama", "b200 llama"),
        ("q=LLAMA+b200", "b200"),
        ("q=qwen+sxm5", "large qwen"),
        ("q=nothing", ""),
        ("q=%25", ""),
        ("model=Qwen/Qwen2.5-72B-Instruct", "qwen"),
        ("model=Qwen", ""),
        ("gpu=b200", "b200"),
        ("engine=sglang", "qwen"),
        ("source=desktop", "large"),
        ("fits=no", "large"),
        ("fits=yes&q=qwen", "qwen"),
        ("from=2026-11-25", "large b200"),
        ("to=2026-11-24", "qwen llama"),
        ("from=2026-11-24&to=2026-11-24", "qwen"),
        ("q=++&model=&gpu=&from=", "large b200 qwen llama"),
        ("colour=blue", "large b200 qwen llama"),
    ],
)
def test_filters(history: History, four: dict[str, str], query: str, expected: str) -> None:
    assert found(history, query) == [four[name] for name in expected.split()]


def test_a_long_history_counts_its_choices_anew_only_so_often(
    log: RunLog, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    def counted() -> int:
        return sum(one.count for one in history.query(Query()).choices["model"])

    log.append(logged(1))
    assert counted() == 1
    monkeypatch.setattr(table, "LONG", 0)
    log.append(logged(2))
    assert counted() == 1 and history.query(Query()).total == 2
    monkeypatch.setattr(table, "OFFERED_SECONDS", -1.0)
    assert counted() == 2


def test_the_choices_are_the_values_that_occur(history: History, four: dict[str, str]) -> None:
    choices = history.query(Query(filters=Filters(source="cli"))).choices
    assert [(one.value, one.label, one.count) for one in choices["gpu"]] == [
        ("b200", "B200 SXM 192GB", 1),
        ("h100-sxm", "H100 SXM5 80GB", 3),
    ]
    assert [one.value for one in choices["engine"]] == ["sglang", "vllm"]


# Order


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("time", "llama qwen b200 large"),
        ("-time", "large b200 qwen llama"),
        ("model", "b200 llama qwen large"),
        ("gpu", "b200 large qwen llama"),
        ("ttft", "b200 qwen llama large"),
        ("-ttft", "b200 qwen llama large"),
        ("fits", "large b200 qwen llama"),
        ("source", "qwen b200 large llama"),
    ],
)
def test_order_with_ties_newest_first_and_the_unknown_last(
    history: History, four: dict[str, str], sort: str, expected: str
) -> None:
    assert found(history, f"sort={sort}") == [four[name] for name in expected.split()]


@pytest.mark.parametrize("sort", SORTS)
def test_every_column_sorts(history: History, log: RunLog, four: dict[str, str], sort: str) -> None:
    log.append(new_run("train", "cli", {}, {}, now=START, token=b"123456"))
    assert len(found(history, f"sort={sort}")) == 5


@pytest.mark.parametrize("sort", SORTS)
def test_runs_of_the_same_millisecond_stand_on_one_page_each(history: History, log: RunLog, sort: str) -> None:
    """The last run logged first, where they share all that an order looks at."""
    alike = [Run(**{**logged(number).as_dict(), "time": logged(0).time}) for number in range(60)]
    for run in alike:
        log.append(run)
    pages = [history.query(Query(sort=sort, per_page=25, page=number)).rows for number in (1, 2, 3)]
    found = [row.run_id for page in pages for row in page]
    expected = [run.run_id for run in alike]
    assert found == (expected if sort == "time" else expected[::-1])


def test_saturated_sorts_above_any_concurrency(history: History, log: RunLog) -> None:
    for number, concurrency in enumerate((4096, "saturated", 1)):
        log.append(logged(number, concurrency=concurrency))
    rows = history.query(Query(sort="-concurrency")).rows
    assert [row.concurrency for row in rows] == [math.inf, 4096, 1]


def test_a_click_on_a_heading_sorts_by_it_and_a_second_turns_it_round() -> None:
    columns = {column.name: column for column in COLUMNS}
    assert Query().sort_after_click(columns["ttft"]) == "-ttft"
    assert Query(sort="-ttft").sort_after_click(columns["ttft"]) == "ttft"
    assert Query().sort_after_click(columns["model"]) == "model"
    assert Query(sort="model").sort_after_click(columns["model"]) == "-model"
    assert Query(sort="-ttft").direction(columns["ttft"]) == "descending"
    assert Query(sort="-ttft").direction(columns["model"]) is None


# Pages


@pytest.mark.parametrize(
    ("query", "rows", "number", "pages", "first", "last"),
    [
        ("", 50, 1, 3, 1, 50),
        ("page=3", 20, 3, 3, 101, 120),
        ("page=4", 20, 3, 3, 101, 120),
        ("per_page=100&page=2", 20, 2, 2, 101, 120),
        ("per_page=25", 25, 1, 5, 1, 25),
        ("q=nothing", 0, 1, 1, 0, 0),
    ],
)
def test_pages(
    history: History, log: RunLog, query: str, rows: int, number: int, pages: int, first: int, last: int
) -> None:
    for run in range(120):
        log.append(logged(run))
    page = history.query(Query.read(parse_qs(query))[0])
    assert (len(page.rows), page.number, page.pages) == (rows, number, pages)
    assert (page.first, page.last, page.total) == (first, last, 120)


def test_without_a_log_there_is_one_empty_page(history: History) -> None:
    page = history.query(Query())
    assert (page.rows, page.pages, page.total, page.first) == ([], 1, 0, 0)


# The query string


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=abc", "page"),
        ("page=0", "page"),
        ("page=-1", "page"),
        ("page=1.5", "page"),
        ("page=²", "page"),
        ("page=99999999999999999999", "page"),
        ("per_page=1000000000", "per_page"),
        ("per_page=10", "per_page"),
        ("sort=foo", "sort"),
        ("sort=--time", "sort"),
        ("source=telnet", "source"),
        ("fits=maybe", "fits"),
        ("from=xyz", "from"),
        ("to=2026-02-30", "to"),
        ("from=2026-11-24&to=2026-11-23", "to"),
        ("q=" + "x" * 201, "q"),
        ("run=../../etc/passwd", "run"),
        ("&".join(f"run=r{number}" for number in range(MAX_COMPARED + 1)), "run"),
    ],
)
def test_a_wrong_value_is_named_and_left_out(query: str, field: str) -> None:
    read, errors = Query.read(parse_qs(query))
    assert [error.field for error in errors] == [field]
    assert errors[0].message
    assert errors[0].allowed
    assert Query.read({key: [str(value)] for key, value in read.args().items() if key != "run"})[1] == []


def test_every_wrong_value_is_named() -> None:
    _, errors = Query.read(parse_qs("page=abc&sort=foo&per_page=7&from=xyz&source=x"))
    assert {error.field for error in errors} == {"page", "sort", "per_page", "from", "source"}


queries = st.builds(
    Query,
    filters=st.builds(
        Filters,
        q=st.text(max_size=20).map(str.strip),
        model=st.text(max_size=20).map(str.strip),
        source=st.sampled_from(["", "web", "cli"]),
        fits=st.sampled_from(["", "yes", "no"]),
        since=st.dates().map(lambda day: day.isoformat()),
    ),
    sort=st.sampled_from(SORTS),
    page=st.integers(1, 1000),
    per_page=st.sampled_from([25, 50, 100]),
    selected=st.lists(st.from_regex(r"[0-9a-v]{20}", fullmatch=True), max_size=5, unique=True).map(tuple),
)


@given(queries)
def test_a_query_survives_its_own_query_string(query: Query) -> None:
    args = query.args(page=query.page)
    read, errors = Query.read({key: value if isinstance(value, list) else [str(value)] for key, value in args.items()})
    assert errors == []
    assert read == query


def test_what_is_as_by_default_is_not_said() -> None:
    assert Query().args() == {}
    assert Query(page=7, sort="ttft").args(sort="-cost") == {"sort": "-cost"}


# Reading on


def test_new_runs_appear_at_the_next_query(history: History, log: RunLog) -> None:
    for number in range(3):
        log.append(logged(number, source="cli" if number % 2 else "web"))
        assert found(history, "")[0] == logged(number).run_id
    assert history.query(Query()).total == 3


def test_a_log_that_is_deleted_or_rotated_takes_its_rows_along(history: History, log: RunLog) -> None:
    log.append(logged(1, source="cli"))
    log.append(logged(2))
    assert history.query(Query()).total == 2
    (log.directory / WEB_FILE).unlink()
    assert found(history, "") == [logged(1).run_id]
    log.append(logged(3))
    assert found(history, "") == [logged(3).run_id, logged(1).run_id]


def test_lines_that_are_no_runs_are_counted_once(history: History, log: RunLog) -> None:
    log.append(logged(1))
    with (log.directory / WEB_FILE).open("ab") as file:
        file.write(b"foreign\ntorn")
    assert [history.query(Query()).skipped for _ in range(3)] == [2, 2, 2]
    log.append(logged(2))
    page = history.query(Query())
    assert (page.skipped, page.total) == (2, 2)


def test_threads_share_a_history(history: History, log: RunLog) -> None:
    totals: list[int] = []

    def look() -> None:
        totals.extend(history.query(Query()).total for _ in range(50))

    threads = [threading.Thread(target=look) for _ in range(4)]
    for thread in threads:
        thread.start()
    for number in range(50):
        log.append(logged(number))
    for thread in threads:
        thread.join()
    assert history.query(Query()).total == 50
    assert max(totals) <= 50


def test_runs_come_in_the_order_asked_for(history: History, log: RunLog) -> None:
    for number in range(3):
        log.append(logged(number))
    ids = [logged(2).run_id, "unknown", logged(0).run_id]
    assert history.runs(ids) == [logged(2), logged(0)]


# CSV


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1"])
def test_no_cell_is_taken_for_a_formula(text: str) -> None:
    run = logged(1, model=text)
    [heading, row] = list(csv.reader(io.StringIO("".join(csv_export.lines([Row.of(run)])), newline="")))
    assert row[heading.index("model")] == "'" + text


def test_the_csv_file_holds_plain_numbers() -> None:
    text = "".join(
        csv_export.lines([Row.of(logged(1)), Row.of(logged(2, concurrency="saturated", ttft=None, fits=False))])
    )
    first, second = csv.DictReader(io.StringIO(text, newline=""))
    assert (first["ttft_ms"], first["concurrency"], first["fits"], first["used_bytes"]) == (
        "30.0",
        "16",
        "yes",
        str(2**34),
    )
    assert (second["ttft_ms"], second["concurrency"], second["fits"]) == ("", "saturated", "no")
