"""A large file of the history: a thread writes it, its page says how far it is and where the file is."""

from __future__ import annotations

import errno
import re
import threading
import time
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.blueprints import visualize
from app.calculations.watch import Watch
from app.history import csv_export
from app.history.run_log import Run, RunLog
from app.server.jobs import Jobs
from tests.pages import soup, words
from tests.test_history import logged


@pytest.fixture
def runs(run_log: RunLog) -> dict[str, Run]:
    runs = {"first": logged(1), "second": logged(2), "qwen": logged(3, model="Qwen/Qwen2.5-72B-Instruct")}
    for one in runs.values():
        run_log.append(one)
    return runs


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> None:
    """Three runs are many."""
    monkeypatch.setattr(visualize, "LARGE_FILE", 2)


def until_written(client: FlaskClient, address: str) -> TestResponse:
    deadline = time.monotonic() + 30
    while "Refresh" in (answer := client.get(address)).headers:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return answer


@pytest.mark.usefixtures("large", "runs")
def test_many_runs_are_written_to_a_file_that_is_the_same_as_the_direct_one(client: FlaskClient) -> None:
    page = soup(client.get("/visualize?q=llama&sort=gpu").text)
    assert page.find("a", href=re.compile(r"/visualize\.csv")) is not None, "two runs are few"
    page = soup(client.get("/visualize?sort=gpu").text)
    button = page.find("button", attrs={"form": "export"})
    assert words(button).startswith("CSV of all")
    sent = client.post(page.find(id="export")["action"])
    assert sent.status_code == 303 and sent.location.startswith("/visualize/export/")
    done = until_written(client, sent.location)
    link = soup(done.text).find("a", attrs={"download": True})
    with client.get(link["href"]) as file:
        assert file.mimetype == "text/csv" and "runs.csv" in file.headers["Content-Disposition"]
        assert int(file.headers["Content-Length"]) == len(file.data)
        assert file.data == client.get("/visualize.csv?sort=gpu").data
    assert "/visualize?sort=gpu" in done.text, "the way back"
    assert client.get(sent.location.replace("/visualize/export/", "/plan/progress/")).status_code == 404


def test_the_page_of_a_file_says_how_many_rows_are_written(app: Flask, client: FlaskClient) -> None:
    let_go = threading.Event()

    def write(path: Path, watch: Watch) -> dict[str, int]:
        while not let_go.wait(0.02):
            watch(2400, 8000)
        path.write_text("rows")
        return {"rows": 8000, "bytes": 4}

    job_id = app.extensions["jobs"].start_file(write, {"export": {"q": "llama"}})
    deadline = time.monotonic() + 30
    while "2,400 of 8,000 runs are written" not in (answer := client.get(f"/visualize/export/{job_id}")).text:
        assert time.monotonic() < deadline
    assert answer.headers["Refresh"] == "1" and "/visualize?q=llama" in answer.text
    assert client.get(f"/visualize/export/{job_id}/runs.csv").status_code == 404, "not half of it"
    let_go.set()
    assert "8,000 runs as CSV" in until_written(client, f"/visualize/export/{job_id}").text
    with client.get(f"/visualize/export/{job_id}/runs.csv") as file:
        assert file.data == b"rows"


@pytest.mark.usefixtures("runs")
def test_a_file_that_cannot_be_written_says_why_and_leaves_nothing(
    app: Flask, client: FlaskClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(csv_export, "write", full)
    sent = client.post("/visualize/export")
    answer = until_written(client, sent.location)
    assert answer.status_code == 500 and "No space left on device" in answer.text
    assert not list((Path(app.config["DATA_DIR"]) / "jobs").glob("*.made"))


def test_a_file_that_cannot_be_kept_or_is_gone_has_another_way(
    app: Flask, client: FlaskClient, runs: dict[str, Run], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in ("/visualize/export/0123456789abcdef", "/visualize/export/0123456789abcdef/runs.csv"):
        assert client.get(path).status_code == 404
    assert client.post("/visualize/export?from=xyz").status_code == 400
    monkeypatch.setattr(visualize, "MAX_EXPORTED", 1)
    refused = client.post("/visualize/export")
    assert refused.status_code == 422 and "history --csv" in refused.text
    monkeypatch.undo()
    (tmp_path / "file").write_text("")
    app.extensions["jobs"] = Jobs(tmp_path / "file")
    assert client.post("/visualize/export?q=llama").location == "/visualize.csv?q=llama"
