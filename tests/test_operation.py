"""What whoever runs the server sees of it: liveness, readiness, numbers, a line per request."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client.parser import text_string_to_metric_families

from app.factory import create_app
from app.history.index import Index
from app.history.run_log import RunLog
from app.history.tables import files
from app.runs import estimate_run

ESTIMATE = {"model": "llama-3.1-8b", "gpu": "h100-sxm"}

Make = Callable[..., FlaskClient]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def client_of(**config: object) -> FlaskClient:
        paths = {"LOG_DIR": tmp_path / "logging", "DATA_DIR": tmp_path / "data"}
        return create_app(paths | {"TESTING": True} | config).test_client()

    return client_of


# ---- readiness


def test_a_server_that_can_do_its_work_is_ready(client: FlaskClient) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json == {"status": "ok", "checks": {"log": "ok", "index": "ok"}}


def test_a_log_that_cannot_be_written_is_named_and_the_server_lives_on(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = make(LOG_DIR=tmp_path / "file" / "runs")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json["checks"]["log"] == "cannot be written to: Not a directory"
    assert client.get("/healthz").status_code == 200
    assert client.post("/api/v1/estimate", json=ESTIMATE).json["saved"] is False


def test_a_full_disk_is_named(client: FlaskClient, run_log: RunLog, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        f_bavail, f_frsize = 3, 4096

    monkeypatch.setattr(os, "fstatvfs", lambda _: Full)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json["checks"] == {"log": f"cannot be written to: {os.strerror(errno.ENOSPC)}", "index": "ok"}


def test_a_database_that_does_not_answer_is_named(make: Make) -> None:
    client = make(DATABASE_URL="postgresql+psycopg://nobody:hunter2@127.0.0.1:1/nothing")
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json["checks"]["log"] == "ok"
    assert answer.json["checks"]["index"].startswith("cannot be used: ")
    assert "hunter2" not in answer.text


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system that holds the index of a few runs, and a log that is elsewhere."""
    place = tmp_path / "data"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", str(place)], capture_output=True)
    if mounted.returncode:
        pytest.skip("a file system cannot be mounted here")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


def test_a_full_disk_under_the_index_alone_costs_no_run_and_is_named(small_disk: Path, make: Make) -> None:
    client = make()
    for _ in range(3):
        client.post("/api/v1/estimate", json=ESTIMATE)
    assert client.get("/visualize").status_code == client.get("/readyz").status_code == 200
    with suppress(OSError), (small_disk / "filler").open("wb", buffering=0) as file:
        while file.write(b"x" * 1024):
            pass
    for _ in range(200):
        run = client.post("/api/v1/estimate", json=ESTIMATE).json
    assert client.get(f"/results/{run['run_id']}").status_code == 200
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json["checks"]["log"]) == (503, "ok")
    assert answer.json["checks"]["index"].startswith("is not up to date: ")
    page = client.get("/visualize")
    assert page.status_code == 200
    assert "The newest runs are missing here" in page.text
    (small_disk / "filler").unlink()
    assert client.get("/readyz").status_code == 200
    assert "The newest runs are missing here" not in client.get("/visualize").text


@pytest.mark.parametrize("damage", ["a table is missing", "a page is torn"])
def test_a_broken_index_is_mended_without_a_visitor(client: FlaskClient, damage: str) -> None:
    for _ in range(3):
        client.post("/api/v1/estimate", json=ESTIMATE)
    client.get("/visualize")
    index: Index = client.application.extensions["index"]
    with index.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as db:
        db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
        root = db.exec_driver_sql("SELECT rootpage FROM sqlite_master WHERE name = ?", (files.name,)).scalar_one()
        size = db.exec_driver_sql("PRAGMA page_size").scalar_one()
        if damage == "a table is missing":
            db.exec_driver_sql(f"DROP TABLE {files.name}")
    if damage == "a page is torn":
        index.close()
        with index.path.open("r+b") as file:
            file.seek((root - 1) * size)
            file.write(b"\xff" * size)
    assert client.get("/readyz").json == {"status": "ok", "checks": {"log": "ok", "index": "ok"}}
    assert client.application.extensions["history"].state().runs == 3


# ---- numbers


def numbers(client: FlaskClient) -> dict[tuple[str, ...], float]:
    """Each sample of /metrics by its name and its labels in the order of their names."""
    answer = client.get("/metrics")
    assert answer.content_type.startswith("text/plain; version=")
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(answer.text)
        for sample in family.samples
    }


def test_requests_runs_and_seconds_are_counted(client: FlaskClient) -> None:
    before = numbers(client)
    for _ in range(3):
        client.post("/api/v1/estimate", json=ESTIMATE)
    client.post("/api/v1/estimate", json={})
    client.get("/no-such-page")
    client.open("/", method="BREW")
    after = numbers(client)

    def more(*sample: str) -> float:
        return after[sample] - before.get(sample, 0.0)

    assert more("calculator_requests_total", "api.estimate", "POST", "200") == 4
    assert more("calculator_requests_total", "none", "GET", "404") == 1
    assert more("calculator_requests_total", "none", "other", "405") == 1
    assert more("calculator_request_seconds_count", "api.estimate") == 4
    assert more("calculator_request_seconds_bucket", "api.estimate", "+Inf") == 4
    assert more("calculator_runs_appended_total", "estimate") == 4


def test_failed_writes_are_counted(make: Make, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = make(LOG_DIR=tmp_path / "file" / "runs")
    before = numbers(client)["calculator_failed_writes_total",]
    client.post("/api/v1/estimate", json=ESTIMATE)
    client.post("/", data=ESTIMATE)
    assert numbers(client)["calculator_failed_writes_total",] == before + 2


def test_what_the_index_has_not_read_is_told(client: FlaskClient, run_log: RunLog) -> None:
    assert numbers(client)["calculator_index_lag_bytes",] == 0
    run_log.append(estimate_run(ESTIMATE, source="web"))
    size = sum(file.size for file in run_log.files())
    assert numbers(client)["calculator_index_lag_bytes",] == size
    client.get("/visualize")
    assert numbers(client)["calculator_index_lag_bytes",] == 0


def test_the_lag_is_what_a_catch_up_reads(run_log: RunLog, tmp_path: Path) -> None:
    index = Index(run_log, tmp_path / "other")
    run_log.append(estimate_run(ESTIMATE, source="web"))
    assert index.lag_bytes() == sum(file.size for file in run_log.files()) > 0
    index.catch_up()
    assert index.lag_bytes() == 0
    index.close()


# ---- a line per request


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_a_request_is_one_line_of_json(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    client = make(REQUEST_LOG=True)
    answer = client.post("/api/v1/estimate", json=ESTIMATE)
    (line,) = lines(capsys)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
    assert line.pop("milliseconds") > 0
    assert line.pop("bytes") == answer.content_length
    assert line == {
        "request_id": answer.headers["X-Request-ID"],
        "method": "POST",
        "path": "/api/v1/estimate",
        "endpoint": "api.estimate",
        "status": 200,
        "client": "127.0.0.1",
        "run_id": answer.json["run_id"],
    }


def test_refusals_and_unknown_pages_have_a_line_too(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    client = make(REQUEST_LOG=True, RATE_LIMIT=1)
    for _ in range(2):
        client.post("/api/v1/estimate", json={})
    client.get("/no-such-page")
    assert [line["status"] for line in lines(capsys)] == [200, 429, 404]


def test_no_line_holds_a_secret(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    client = make(REQUEST_LOG=True, AUTH_PASSWORD_HASH="pbkdf2:sha256:1$a$00")
    client.post("/login?key=swordfish", data={"password": "swordfish"}, headers={"X-Request-ID": "sword fish"})
    client.get("/?note=swordfish", headers={"Cookie": "session=swordfish", "Authorization": "Basic c3dvcmRmaXNo"})
    printed = capsys.readouterr().err
    assert printed.count("\n") == 2
    assert "swordfish" not in printed
    assert "c3dvcmRmaXNo" not in printed


@pytest.mark.parametrize(
    ("given", "kept"), [("abc-123.4_5", True), ("a" * 65, False), ("a b", False), ("ä", False), ("", False)]
)
def test_an_id_of_the_proxy_is_kept_if_it_is_one(client: FlaskClient, given: str, kept: bool) -> None:
    answer = client.get("/healthz", headers={"X-Request-ID": given.encode().decode("latin-1")})
    assert (answer.headers["X-Request-ID"] == given) == kept


def test_a_static_file_has_neither_line_nor_number(make: Make, capsys: pytest.CaptureFixture[str]) -> None:
    """As operations says: it is answered before the application, and a page asks for several."""
    client = make(REQUEST_LOG=True)
    before = numbers(client)
    capsys.readouterr()
    with client.get("/static/app.css") as answer:
        assert answer.status_code == 200
    assert lines(capsys) == []
    counted = {sample: number for sample, number in numbers(client).items() if sample[0] == "calculator_requests_total"}
    assert counted == {
        sample: before.get(sample, 0.0) + (sample[1:] == ("health.numbers", "GET", "200")) for sample in counted
    }


def test_without_the_setting_nothing_is_printed(app: Flask, capsys: pytest.CaptureFixture[str]) -> None:
    app.test_client().get("/")
    assert capsys.readouterr().err == ""
