"""The index in a real PostgreSQL, as several servers share it."""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from flask.testing import FlaskClient

from app.config import PROJECT, database
from app.factory import create_app
from app.history import shared_notes
from app.history.index import Index
from app.history.note import Note
from app.history.query import Filters, Query
from app.history.run_log import Run, RunLog
from app.history.run_notes import RunNotes
from app.history.table import History
from app.history.tables import runs
from benchmarks.crash import Server
from tests.pages import soup, words
from tests.postgres import Postgres, postgres, programs
from tests.test_history import logged
from tests.test_run_log import NOT_RUNS, write_lines

pytestmark = pytest.mark.postgres

ESTIMATE = {"model": "llama-3.1-8b", "gpu": "h100-sxm"}
names = (f"history_{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    if programs() is None:
        pytest.skip("PostgreSQL is not installed")
    with postgres() as one:
        yield one


@pytest.fixture
def url(server: Postgres) -> str:
    """A database of the test's own."""
    return server.create(next(names))


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    return RunLog(tmp_path / "logging")


@pytest.fixture
def index(log: RunLog, tmp_path: Path, url: str) -> Iterator[Index]:
    one = Index(log, tmp_path / "data", database(url))
    yield one
    one.close()


@pytest.fixture
def history(log: RunLog, index: Index) -> History:
    return History(log, index)


def instance(directory: Path, url: str) -> FlaskClient:
    """An application with a log of its own on a shared database."""
    config = {"LOG_DIR": directory / "logging", "DATA_DIR": directory / "data", "DATABASE_URL": database(url)}
    return create_app(config | {"TESTING": True}).test_client()


def test_two_servers_find_each_others_runs(tmp_path: Path, url: str) -> None:
    one, other = instance(tmp_path / "one", url), instance(tmp_path / "other", url)
    made = {client: client.post("/api/v1/estimate", json=ESTIMATE).json["run_id"] for client in (one, other)}
    for client, run_id in itertools.product((one, other), made.values()):
        assert run_id in client.get("/visualize").text
        assert client.get(f"/results/{run_id}").status_code == 200
        assert client.get(f"/api/v1/runs/{run_id}").json["run_id"] == run_id
    for client in (one, other):
        client.application.extensions["index"].close()


def test_real_servers_with_workers_of_their_own_share_it(tmp_path: Path, url: str) -> None:
    places = [tmp_path / "one", tmp_path / "other"]
    for place in places:
        place.mkdir()
    with Server(places[0], 2, DATABASE_URL=url) as one, Server(places[1], 2, DATABASE_URL=url) as other:
        made = []
        for number in range(8):
            server = (one, other)[number % 2]
            status, _, body = server.request("POST", "/api/v1/estimate", json.dumps(ESTIMATE), "application/json")
            assert status == 200
            made.append(json.loads(body)["run_id"])
            other_one = (other, one)[number % 2]
            assert other_one.request("GET", f"/results/{made[-1]}")[0] == 200
        for server in (one, other):
            assert server.request("GET", "/readyz")[0] == 200
        for server in (one, other):
            page = server.request("GET", "/visualize?per_page=100")[2].decode()
            assert [run_id for run_id in made if run_id not in page] == []
            for run_id in made:
                assert server.request("GET", f"/results/{run_id}")[0] == 200


# ---- notes


@pytest.fixture
def pair(tmp_path: Path, url: str) -> Iterator[tuple[FlaskClient, FlaskClient]]:
    """Two servers on one database."""
    both = instance(tmp_path / "one", url), instance(tmp_path / "other", url)
    yield both
    for client in both:
        client.application.extensions["index"].close()


def note(client: FlaskClient, run_id: str, tags: str, text: str = "") -> None:
    assert client.post(f"/results/{run_id}/note", data={"tags": tags, "note": text}).status_code == 303


def tags(client: FlaskClient, run_id: str) -> list[str]:
    return [words(tag) for tag in soup(client.get(f"/results/{run_id}").text).select(".note-box .tag")]


def found(client: FlaskClient, query: str) -> list[str]:
    rows = soup(client.get(f"/visualize?{query}").text).select("tbody th[scope=row] a")
    return [row["href"].rsplit("/", 1)[1] for row in rows]


def made(client: FlaskClient) -> str:
    return str(client.post("/api/v1/estimate", json=ESTIMATE).json["run_id"])


def test_a_note_is_the_same_on_all_servers(pair: tuple[FlaskClient, FlaskClient]) -> None:
    one, other = pair
    run_id = made(one)
    note(one, run_id, "prod, q3", "zero \0 in the middle")
    assert tags(other, run_id) == ["prod", "q3"]
    assert found(other, "tag=q3") == found(other, "q=middle+llama") == [run_id]
    note(other, run_id, "test")
    assert tags(one, run_id) == tags(other, run_id) == ["test"]
    assert found(one, "tag=prod") == [] and found(one, "tag=test") == [run_id]
    note(one, run_id, "")
    assert tags(other, run_id) == [] and found(other, "tag=test") == []


def test_the_newer_note_counts_though_its_servers_clock_is_behind(
    pair: tuple[FlaskClient, FlaskClient], tmp_path: Path
) -> None:
    one, other = pair
    run_id = made(one)
    ahead = Note(run_id=run_id, time="2199-01-01T00:00:00.000Z", tags=("ahead",))
    one.application.extensions["run_notes"].add(ahead)
    note(other, run_id, "later")
    assert tags(one, run_id) == tags(other, run_id) == ["later"]


def test_what_was_noted_while_the_database_was_away_follows(
    pair: tuple[FlaskClient, FlaskClient], server: Postgres, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_notes, "AWAY_SECONDS", 0.0)
    one, other = pair
    run_id = made(one)
    note(one, run_id, "before")
    assert tags(other, run_id) == ["before"]
    server.stop()
    try:
        note(one, run_id, "meanwhile")
        page = one.get(f"/results/{run_id}")
        assert tags(one, run_id) == ["meanwhile"] and "those of other servers cannot be had" in page.text
    finally:
        server.start()
    assert tags(one, run_id) == ["meanwhile"] and tags(other, run_id) == ["meanwhile"]
    assert "cannot be had" not in one.get(f"/results/{run_id}").text


@pytest.mark.parametrize("statement", ["DROP TABLE {}", "ALTER TABLE {} RENAME record TO other"])
def test_the_table_of_notes_is_made_anew_from_the_files_of_all(
    pair: tuple[FlaskClient, FlaskClient], tmp_path: Path, url: str, statement: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared_notes, "AWAY_SECONDS", 0.0)
    one, other = pair
    first, second = made(one), made(other)
    note(one, first, "one")
    note(other, second, "other")
    with one.application.extensions["index"].engine().begin() as db:
        db.exec_driver_sql(statement.format(shared_notes.table.name))
    for client in (one, other, one, other):
        client.get("/visualize")
    third = instance(tmp_path / "third", url)
    for client in (one, other, third):
        assert (tags(client, first), tags(client, second)) == (["one"], ["other"])
    third.application.extensions["index"].close()


def test_a_server_that_starts_brings_the_notes_of_its_file(tmp_path: Path, url: str) -> None:
    log = RunLog(tmp_path / "other" / "logging")
    run = logged(1)
    log.append(run)
    RunNotes(log).add(Note(run_id=run.run_id, time="2026-11-01T00:00:00.000Z", tags=("old",)))
    one, other = instance(tmp_path / "one", url), instance(tmp_path / "other", url)
    assert found(other, "tag=old") == found(one, "tag=old") == [run.run_id]
    RunNotes(log).add(Note(run_id=run.run_id, time="2026-11-02T00:00:00.000Z", tags=("new",)))
    assert found(other, "tag=new") == found(one, "tag=new") == [run.run_id]
    assert found(other, "tag=old") == found(one, "tag=old") == []
    for client in (one, other):
        client.application.extensions["index"].close()


QUERIES = [
    Query(),
    *(Query(sort=way + name) for name in ("time", "model", "ttft", "prompt", "fits", "tokens") for way in ("", "-")),
    Query(filters=Filters(model="meta-llama/Llama-3.1-8B-Instruct", fits="yes")),
    Query(filters=Filters(q="h200 qwen")),
    Query(filters=Filters(q="50%_\\")),
    Query(filters=Filters(since="2026-11-25", until="2026-11-28")),
    Query(filters=Filters(source="cli", since="2026-11-25"), sort="-ttft"),
    Query(page=2, per_page=25),
]  # fmt: skip


def test_it_answers_as_sqlite_does(log: RunLog, history: History, tmp_path: Path) -> None:
    for number in range(120):
        qwen = number % 3 == 0
        run = logged(
            number,
            source="cli" if number % 5 == 0 else "web",
            model="Qwen/Qwen2.5-72B-Instruct" if qwen else "meta-llama/Llama-3.1-8B-Instruct",
            gpu=("h200-sxm", "H200 SXM") if qwen else ("h100-sxm", "H100 SXM5 80GB"),
            fits=number % 4 > 0,
            ttft=None if number % 7 == 0 else float(number % 11),
            concurrency="saturated" if number % 13 == 0 else number + 1,
            days=number // 20,
        )
        if number % 10 == 0:
            run.inputs["note"] = f"50%_\\ ticket {number}"
        log.append(run)
    small = History(log, Index(log, tmp_path / "data"))
    for query in QUERIES:
        here, there = history.query(query), small.query(query)
        assert (here.matching, here.total, here.skipped) == (there.matching, there.total, there.skipped), query
        assert [row.run_id for row in here.rows] == [row.run_id for row in there.rows], query
        assert here.choices == there.choices
    assert history.runs([logged(7).run_id]) == small.runs([logged(7).run_id])


@pytest.mark.parametrize("sort", ["time", "-time", "ttft", "-prompt", "model", "-fits"])
def test_runs_of_the_same_millisecond_stand_on_one_page_each(log: RunLog, history: History, sort: str) -> None:
    """Also while they are taken in: then no index gives them an order yet, and the first page sorts another way."""
    alike = [Run(**{**logged(number).as_dict(), "time": logged(0).time}) for number in range(90)]
    for run in reversed(alike):
        log.append(run)
    pages = [history.query(Query(sort=sort, per_page=25, page=number)).rows for number in (1, 2, 3, 4)]
    found = [row.run_id for page in pages for row in page]
    expected = [run.run_id for run in alike]
    assert found == (expected[::-1] if sort == "time" else expected)


@pytest.mark.parametrize("name", sorted(NOT_RUNS))
def test_broken_lines_are_skipped_and_counted(log: RunLog, history: History, name: str) -> None:
    log.append(logged(1))
    write_lines(log.directory, NOT_RUNS[name])
    log.append(logged(2))
    page = history.query(Query())
    assert (page.total, page.skipped) == (2, 1)


@pytest.mark.parametrize(
    "inputs",
    [
        {"note": "zero \0 in the middle", "model": "a\0b", "engine": "\0"},
        {"note": "half \ud800 of a pair"},
        {"concurrency": 10**400, "input_tokens": -(10**300), "output_tokens": "many"},
        {"model": "'; DROP TABLE history1_runs; --", "note": "%(name)s {} $1 \\x00 ?"},
        {"note": "ё漢字\U0001f600" * 500},
    ],
    ids=["zero bytes", "half a character", "huge numbers", "statements", "other scripts"],
)
def test_any_text_can_be_in_a_log(log: RunLog, history: History, inputs: dict[str, Any]) -> None:
    run = logged(1)
    log.append(Run(**{**run.as_dict(), "inputs": run.inputs | inputs}))
    log.append(logged(2))
    assert [row.run_id for row in history.query(Query()).rows] == [logged(2).run_id, run.run_id]
    assert history.run(run.run_id) is not None


def test_a_text_with_a_zero_byte_can_be_searched_for(tmp_path: Path, url: str) -> None:
    client = instance(tmp_path, url)
    client.post("/api/v1/estimate", json=ESTIMATE)
    for path in ("/visualize?q=%00", "/visualize?model=%00", "/visualize?run=%00", "/results/%00"):
        assert client.get(path).status_code < 500, path
    client.application.extensions["index"].close()


@pytest.mark.parametrize("statement", ["DROP TABLE {}", "ALTER TABLE {} RENAME setup TO other"])
def test_a_broken_index_is_made_anew(log: RunLog, index: Index, history: History, statement: str) -> None:
    for number in range(30):
        log.append(logged(number))
    assert history.query(Query()).total == 30
    with index.engine().begin() as db:
        db.exec_driver_sql(statement.format(runs.name))
    assert history.query(Query()).total == 30
    assert len(history.query(Query(per_page=100)).rows) == 30


CATCH_UP = """
import sys
from pathlib import Path
from app.config import database
from app.history import shared_notes
from app.history.index import Index
from app.history.note import Note
from app.history.run_log import RunLog
Index(RunLog(Path(sys.argv[1])), Path(sys.argv[2]), database(sys.argv[3])).catch_up()
"""


def test_processes_that_catch_up_at_once_read_every_line_once(
    log: RunLog, index: Index, history: History, tmp_path: Path, url: str
) -> None:
    for number in range(1000):
        log.append(logged(number))
    command = [sys.executable, "-c", CATCH_UP, str(log.directory), str(tmp_path / "data"), url]
    started = [subprocess.Popen(command, cwd=PROJECT) for _ in range(3)]
    history.query(Query())
    assert [process.wait(60) for process in started] == [0, 0, 0]
    page = history.query(Query())
    assert (page.total, page.matching, page.skipped) == (1000, 1000, 0)
    with index.reading() as db:
        assert db.scalar(sa.select(sa.func.count(runs.c.run_id.distinct()))) == 1000


def test_a_database_that_goes_away_costs_the_history_and_not_the_runs(
    tmp_path: Path, server: Postgres, url: str
) -> None:
    client = instance(tmp_path, url)
    first = client.post("/api/v1/estimate", json=ESTIMATE).json["run_id"]
    assert client.get("/visualize").status_code == 200
    server.stop()
    try:
        made = client.post("/api/v1/estimate", json=ESTIMATE).json["run_id"]
        assert client.get(f"/results/{made}").status_code == client.get(f"/results/{first}").status_code == 200
        assert client.get("/visualize").status_code == 503
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json["checks"]["log"]) == (503, "ok")
        assert client.get("/healthz").status_code == client.get("/metrics").status_code == 200
    finally:
        server.start()
    assert made in client.get("/visualize").text
    assert client.get("/readyz").status_code == 200
    client.application.extensions["index"].close()


def test_while_the_database_is_away_no_other_servers_run_is_said_not_to_exist(
    tmp_path: Path, server: Postgres, url: str
) -> None:
    one, other = instance(tmp_path / "one", url), instance(tmp_path / "other", url)
    own, others = (client.post("/api/v1/estimate", json=ESTIMATE).json["run_id"] for client in (one, other))
    server.stop()
    try:
        assert one.get(f"/results/{own}").status_code == 200
        for path in (f"/results/{others}", f"/api/v1/runs/{others}", "/results/unknown"):
            answer = one.get(path)
            assert (answer.status_code, "index of the history cannot be used" in answer.text) == (503, True), path
    finally:
        server.start()
    other.get("/visualize")  # The database was killed and may have lost what its server brings again.
    assert one.get(f"/results/{others}").status_code == 200
    assert one.get("/results/unknown").status_code == 404
    for client in (one, other):
        client.application.extensions["index"].close()


def test_the_command_line_searches_it_too(tmp_path: Path, url: str) -> None:
    environ = os.environ | {
        "LOG_DIR": str(tmp_path / "logging"),
        "DATA_DIR": str(tmp_path / "data"),
        "DATABASE_URL": url,
    }
    command = [sys.executable, "-m", "app"]
    made = subprocess.run([*command, "estimate", "--model", "llama-3.1-8b", "--gpu", "l4"], env=environ, cwd=PROJECT,
                          capture_output=True, text=True)  # fmt: skip
    assert made.returncode == 0, made.stderr
    found = subprocess.run([*command, "history", "--text", "l4", "--json"], env=environ, cwd=PROJECT,
                           capture_output=True, text=True)  # fmt: skip
    assert found.returncode == 0, found.stderr
    assert len(json.loads(found.stdout)["runs"]) == 1
