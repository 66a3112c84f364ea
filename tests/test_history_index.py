"""The index agrees with the log whatever happens to either, and is made anew where it is broken."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st

from app.history import database, log_care, read_ahead
from app.history import index as history_index
from app.history.index import Index
from app.history.lines import entry, entry_of
from app.history.query import Filters, Query
from app.history.rows import Row
from app.history.run_log import WEB_FILE, Run, RunLog, run_of
from app.history.table import History
from app.history.tables import INDEXES, milliseconds, runs, setups, time_text
from app.runs import estimate_run, train_run
from tests.test_history import logged
from tests.test_run_log import MENDED, NOT_RUNS, write_lines

ROOT = Path(__file__).parent.parent


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    return RunLog(tmp_path / "logging")


@pytest.fixture
def index(log: RunLog, tmp_path: Path) -> Iterator[Index]:
    one = Index(log, tmp_path / "data")
    yield one
    one.close()


@pytest.fixture
def history(log: RunLog, index: Index) -> History:
    return History(log, index)


def ids(history: History) -> list[str]:
    return [row.run_id for row in history.query(Query(per_page=100)).rows]


def newest_first(log: RunLog) -> list[str]:
    return [run.run_id for run in log.read().runs]


# Lines to rows


@pytest.mark.parametrize(
    "run",
    [
        estimate_run({"model": "llama-3.1-8b", "gpu": "h100-sxm"}, source="web"),
        estimate_run({"model": "deepseek-ai/DeepSeek-V3", "gpu": "l4", "num_gpus": 1}, source="api"),
        estimate_run({"model": "llama-3.1-8b", "gpu": "l40s", "concurrency": "saturated"}, source="cli"),
        train_run({"model": "llama-3.1-8b", "gpu": "h100-sxm", "num_gpus": 8}, source="api"),
        Run(**{**logged(1).as_dict(), "inputs": {"note": "n" * 300 + "\0", "concurrency": "many"}, "results": {}}),
        Run(**{**logged(1).as_dict(), "results": {"fits": "yes", "layout": [], "ttft_ms": {"value": 1e301}}}),
        Run(**{**logged(1).as_dict(), "time": "2026-11-23T08:15:30+02:00", "schema": 0}),
    ],
    ids=["estimate", "does not fit", "saturated", "train", "long note", "foreign", "older schema"],
)
def test_the_fast_way_and_the_careful_way_give_the_same_entry(run: Run) -> None:
    line = json.dumps(run.as_dict()).encode()
    assert entry_of(line) == entry(Row.of(run_of(line)))


@pytest.mark.parametrize("name", sorted(NOT_RUNS))
def test_what_is_no_run_for_the_log_is_none_for_the_index(name: str) -> None:
    if len(NOT_RUNS[name]) < 1_000_000:
        assert entry_of(NOT_RUNS[name]) is None


OVERFLOWING = logged(1, layout={"tp": 10**400})


@pytest.mark.parametrize(
    "line",
    [
        *(line for line, _ in MENDED.values()),
        json.dumps(OVERFLOWING.as_dict()).encode(),
        json.dumps(logged(1).as_dict()).replace("30.0", "1e999").encode(),
        json.dumps(logged(1).as_dict()).replace("H100 SXM5", "\\udc00").encode(),
    ],
    ids=[*MENDED, "a layout of too many", "a time that is none", "half a name"],
)
def test_the_index_and_the_log_agree_on_what_is_a_run(log: RunLog, history: History, line: bytes) -> None:
    """Its row has a page, and the row says what the page says."""
    write_lines(log.directory, line, line[: len(line) // 2])
    page = history.query(Query())
    assert (page.total, page.skipped) == (1, 1) == (log_care.verify(log).good, log_care.verify(log).broken)
    assert page.rows == [Row.of(run) for run in history.runs([page.rows[0].run_id])]


whole = json.dumps(logged(1).as_dict() | {"other": ["texts", {"and": [1.5, "numbers\\n"]}]}).encode()
garbage = st.sampled_from(
    [b"\\ud800", b"\\x", b"\\", b"\x01", b"\xff", b"\xc3\xa9", b"1e999", b"9" * 400, b"9" * 5000, b"01", b"-", b"NaN",
     b"null", b"{}", b'"', b",", b":", b"}", b"\xef\xbb\xbf", b'"schema": 2,', b'"results": {},', b'"run_id": "x",']
) | st.binary(min_size=1, max_size=2).map(lambda some: some.replace(b"\n", b""))  # fmt: skip


@settings(max_examples=300)
@given(st.integers(0, len(whole)), st.integers(0, 20), garbage)
def test_whatever_happens_to_a_line_index_and_log_agree_on_it(start: int, length: int, instead: bytes) -> None:
    line = whole[:start] + instead + whole[start + length :]
    run = run_of(line)
    assert entry_of(line) == (None if run is None else entry(Row.of(run)))


@given(st.integers(-(10**13), 10**13))
def test_times_survive_as_milliseconds(moment: int) -> None:
    assert milliseconds(time_text(moment)) == moment


# Following the log


def test_all_generations_are_indexed_and_a_rotation_moves_nothing(tmp_path: Path, index: Index) -> None:
    log = RunLog(tmp_path / "logging", max_bytes=3000)
    history = History(log, index)
    for number in range(20):
        log.append(logged(number))
        assert ids(history) == [logged(n).run_id for n in range(number, -1, -1)]
    assert len(log.files()) > 3
    assert history.runs([logged(number).run_id for number in range(20)]) == [logged(number) for number in range(20)]


@pytest.mark.parametrize("change", ["deleted", "truncated", "rewritten", "renamed away", "copied and truncated"])
def test_a_file_that_changes_underneath_is_followed(log: RunLog, history: History, change: str) -> None:
    for number in range(5):
        log.append(logged(number))
    assert len(ids(history)) == 5
    path = log.directory / WEB_FILE
    if change == "deleted":
        path.unlink()
    elif change == "truncated":
        os.truncate(path, path.stat().st_size // 2)
    elif change == "rewritten":
        path.write_bytes(path.read_bytes().replace(logged(2).run_id.encode(), b"another-run-of-20chr"))
    elif change == "renamed away":
        path.rename(log.directory / "old")
    else:
        (log.directory / (WEB_FILE + ".1")).write_bytes(path.read_bytes())
        os.truncate(path, 0)
    log.append(logged(9))
    assert ids(history) == newest_first(log)
    page = history.query(Query())
    assert page.total == len(newest_first(log)) == sum(one.count for one in page.choices["model"])


@pytest.mark.parametrize("name", sorted(NOT_RUNS))
def test_broken_lines_are_counted_as_the_log_counts_them(log: RunLog, history: History, name: str) -> None:
    log.append(logged(1))
    write_lines(log.directory, NOT_RUNS[name])
    log.append(logged(2))
    page = history.query(Query())
    assert (page.total, page.skipped) == (2, log.read().skipped) == (2, 1)


def test_a_run_is_found_by_its_id_and_an_unknown_one_is_not(log: RunLog, history: History) -> None:
    for number in range(30):
        log.append(logged(number, source="cli" if number % 2 else "web"))
    assert history.run(logged(17).run_id) == logged(17, source="cli")
    assert history.run("unknown") is None


def test_a_long_log_is_read_in_parts_and_the_page_says_how_far(
    log: RunLog, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_index, "BATCH_BYTES", 2000)
    for number in range(40):
        log.append(logged(number))
    left = index.catch_up_soon(0.0)
    assert 0 < left < sum(file.size for file in log.files())
    index.catch_up()
    with index.reading() as db:
        assert index.state(db) == history_index.State(40, 0, 0, log.files()[0].size, "")


def test_a_run_logged_while_the_first_indexes_are_made_is_found(
    log: RunLog, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(history_index, "FEW_RUNS", 0)
    made, make = threading.Event(), database.Database.make_indexes

    def slowly(self: database.Database) -> None:
        made.wait(30)
        make(self)

    monkeypatch.setattr(database.Database, "make_indexes", slowly)
    log.append(logged(1))
    assert ids(history) == [logged(1).run_id]
    log.append(logged(2))
    assert history.run(logged(2).run_id) == logged(2)
    made.set()
    history.catch_up()
    assert ids(history) == [logged(2).run_id, logged(1).run_id]


def test_indexes_are_made_where_there_is_no_place_for_temporary_files(
    log: RunLog, index: Index, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "SORTING", ("max_page_count=1",))  # The disk is full.
    log.append(logged(1))
    index.catch_up()
    with index.reading() as db:
        assert {one["name"] for one in sa.inspect(db).get_indexes(runs.name)} == {one.name for one in INDEXES}


def test_what_runs_share_is_kept_once(log: RunLog, index: Index) -> None:
    for number in range(50):
        log.append(logged(number, ttft=float(number)))
    index.catch_up()
    with index.reading() as db:
        assert db.scalar(sa.select(sa.func.count()).select_from(setups)) == 1
        assert db.scalar(sa.select(setups.c.runs)) == 50


def test_notes_are_searched(log: RunLog, history: History) -> None:
    run = logged(1)
    run.inputs["note"] = "For the Board, 50% more"
    log.append(run)
    log.append(logged(2))
    for words in ("board", "50%", "llama BOARD"):
        assert [row.run_id for row in history.query(Query(filters=Filters(q=words))).rows] == [run.run_id]
    assert history.query(Query(filters=Filters(q="50_"))).rows == []


# Reading ahead


@pytest.fixture
def long_log(log: RunLog, monkeypatch: pytest.MonkeyPatch) -> RunLog:
    """Its parts are small, and any number of them is worth a process that reads ahead."""
    monkeypatch.setattr(history_index, "BATCH_BYTES", 20_000)
    monkeypatch.setattr(read_ahead, "WORTH_BYTES", 0)
    monkeypatch.setattr(os, "cpu_count", lambda: 2)
    for number in range(400):
        log.append(logged(number))
    return log


@pytest.fixture
def read_already(monkeypatch: pytest.MonkeyPatch) -> list[bool]:
    """Whether each part that was asked for while the process lived had been read by it."""
    found, look = [], read_ahead.ReadAhead._read_already

    def noted(self: read_ahead.ReadAhead, part: read_ahead.Part) -> object:
        lives, news = self._pipe is not None, look(self, part)
        found.extend([news is not None] if lives else [])
        return news

    monkeypatch.setattr(read_ahead.ReadAhead, "_read_already", noted)
    return found


def ahead() -> list[multiprocessing.process.BaseProcess]:
    """The processes that read ahead just now."""
    return [child for child in multiprocessing.active_children() if child.name == "read-ahead"]


def test_a_long_log_is_read_ahead_by_another_process(
    long_log: RunLog, history: History, read_already: list[bool]
) -> None:
    history.catch_up()
    assert len(read_already) > 3
    assert all(read_already)
    assert ahead() == []
    assert [row.run_id for row in history.matching(Query(), 1000)] == newest_first(long_log)


def test_where_the_process_that_reads_ahead_is_killed_nothing_is_lost(
    long_log: RunLog, history: History, read_already: list[bool]
) -> None:
    def kill(done: int, of: int) -> None:
        for child in ahead():
            child.kill()
            child.join()

    history.catch_up(kill)
    assert False in read_already
    assert [row.run_id for row in history.matching(Query(), 1000)] == newest_first(long_log)


def test_what_was_read_ahead_of_a_log_that_has_changed_is_not_used(
    long_log: RunLog, history: History, read_already: list[bool]
) -> None:
    path, cut = long_log.directory / WEB_FILE, []

    def change(done: int, of: int) -> None:
        if read_already and not cut:
            cut.append(os.truncate(path, path.stat().st_size // 4))
            long_log.append(logged(999))

    history.catch_up(change)
    history.catch_up()
    assert cut
    assert [row.run_id for row in history.matching(Query(), 1000)] == newest_first(long_log)


# A broken index


DAMAGES = {
    "a table is missing": f"DROP TABLE {runs.name}",
    "an unknown column": f"ALTER TABLE {runs.name} RENAME setup TO other",
    "a column is missing": f"ALTER TABLE {runs.name} DROP COLUMN record",
}


@pytest.mark.parametrize("damage", ["garbage", "empty", "deleted", *DAMAGES])
def test_a_broken_index_is_made_anew(log: RunLog, index: Index, history: History, damage: str) -> None:
    for number in range(30):
        log.append(logged(number))
    assert len(ids(history)) == 30
    if damage in DAMAGES:
        with index.engine().begin() as db:
            for one in INDEXES:
                one.drop(db, checkfirst=True)
            db.exec_driver_sql(DAMAGES[damage])
    else:
        index.close()
        for end in ("-wal", "-shm"):
            Path(f"{index.path}{end}").unlink(missing_ok=True)
        if damage == "deleted":
            index.path.unlink()
        else:
            size = index.path.stat().st_size
            index.path.write_bytes(b"" if damage == "empty" else os.urandom(size))
    log.append(logged(30))
    assert ids(history) == newest_first(log)
    assert history.query(Query()).outdated == ""


def test_pages_torn_in_the_middle_of_the_index_are_noticed(log: RunLog, index: Index, history: History) -> None:
    for number in range(300):
        log.append(logged(number))
    history.catch_up()
    index.close()
    data = bytearray(index.path.read_bytes())
    data[4096 * 3 :] = os.urandom(len(data) - 4096 * 3)
    index.path.write_bytes(data)
    assert ids(history) == newest_first(log)[:100]


def test_a_directory_that_cannot_be_written_costs_only_speed(tmp_path: Path, log: RunLog) -> None:
    (tmp_path / "data").write_text("in the way")
    log.append(logged(1))
    index = Index(log, tmp_path / "data")
    assert ids(History(log, index)) == [logged(1).run_id]
    index.close()


# An index that cannot be written to


@pytest.fixture
def full(log: RunLog, index: Index, history: History, monkeypatch: pytest.MonkeyPatch) -> Index:
    """An index of three runs that finds no place for another page of its file."""
    for number in range(3):
        log.append(logged(number))
    history.catch_up()
    index.close()
    monkeypatch.setattr(database, "SETTINGS", (*database.SETTINGS, "max_page_count=1"))
    return index


def test_runs_that_the_index_has_no_place_for_are_found_in_the_log(log: RunLog, full: Index, history: History) -> None:
    for number in range(3, 300):
        log.append(logged(number))
    assert history.runs([logged(2).run_id, "unknown", logged(299).run_id]) == [logged(2), logged(299)]
    page = history.query(Query())
    assert (page.total, page.outdated) == (3, "database or disk is full")


def test_an_index_that_has_found_place_again_is_up_to_date(
    log: RunLog, full: Index, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(3, 300):
        log.append(logged(number))
    assert history.state().problem
    full.close()
    monkeypatch.setattr(database, "SETTINGS", database.SETTINGS[:-1])
    page = history.query(Query())
    assert (page.total, page.outdated) == (300, "")


def test_a_run_that_was_logged_after_the_index_was_looked_at_is_found(
    log: RunLog, index: Index, history: History, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process logs it, and another thread takes it in, between two steps of this one."""
    log.append(logged(1))
    history.catch_up()
    look = index.run

    def late(db: sa.Connection, run_id: str) -> Run | None:
        found = look(db, run_id)
        log.append(logged(2))
        index.catch_up()
        return found

    monkeypatch.setattr(index, "run", late)
    assert history.run(logged(2).run_id) == logged(2)


# Several processes

CATCH_UP = """
import sys
from pathlib import Path
from app.history.index import Index
from app.history.run_log import RunLog
Index(RunLog(Path(sys.argv[1])), Path(sys.argv[2])).catch_up()
"""


def test_processes_that_catch_up_at_once_read_every_line_once(log: RunLog, history: History, tmp_path: Path) -> None:
    for number in range(2000):
        log.append(logged(number))
    started = [
        subprocess.Popen([sys.executable, "-c", CATCH_UP, str(log.directory), str(tmp_path / "data")], cwd=ROOT)
        for _ in range(3)
    ]
    for number in range(2000, 2100):
        log.append(logged(number))
        if number % 25 == 0:
            history.query(Query())
    assert [process.wait(60) for process in started] == [0, 0, 0]
    history.catch_up()
    page = history.query(Query())
    assert (page.total, page.matching, page.skipped) == (2100, 2100, 0)
    assert history.matching(Query(sort="time"), 3000) == [Row.of(logged(number)) for number in range(2100)]
