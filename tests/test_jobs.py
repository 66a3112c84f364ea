"""Work that a thread does: any process says how far it is, a lost one is told, and there are never too many."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.calculations.errors import InvalidInput
from app.planning import plan
from app.server.jobs import (
    DONE,
    FAILED,
    KEEP_SECONDS,
    LOST,
    LOST_SECONDS,
    MOST_FILES,
    MOST_RUNNING,
    RUNNING,
    Busy,
    Job,
    Jobs,
)
from tests.pages import soup, words

PATIENCE_SECONDS = 60.0


class Gate:
    """Work that tells how far it is, waits to be let go, and ends with an answer."""

    def __init__(self) -> None:
        self.open = threading.Event()

    def __call__(self, watch: Callable[[int, int], None]) -> dict[str, int]:
        while not self.open.wait(0.05):
            watch(3, 7)
        return {"answer": 42}


@pytest.fixture
def gate() -> Iterator[Gate]:
    gate = Gate()
    yield gate
    gate.open.set()


def until(found: Callable[[], object]) -> object:
    """What is found in the end."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not (one := found()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return one


def ended(jobs: Jobs, job_id: str) -> Job:
    until(lambda: (job := jobs.look(job_id)) is not None and job.state != RUNNING)
    job = jobs.look(job_id)
    assert job is not None
    return job


def test_another_process_sees_how_far_it_is_and_what_came_of_it(tmp_path: Path, gate: Gate) -> None:
    job_id = Jobs(tmp_path).start(gate, {"model": "x"})
    other = Jobs(tmp_path)
    until(lambda: (job := other.look(job_id)) is not None and (job.done, job.of) == (3, 7))
    job = other.look(job_id)
    assert job is not None and (job.state, job.about) == (RUNNING, {"model": "x"})
    gate.open.set()
    assert (ended(other, job_id).state, ended(other, job_id).outcome) == (DONE, {"answer": 42})


def test_what_is_wrong_with_the_question_is_told(tmp_path: Path) -> None:
    def refuse(watch: Callable[[int, int], None]) -> dict[str, int]:
        raise InvalidInput("gpu", "No such accelerator.")

    job = ended(Jobs(tmp_path), Jobs(tmp_path).start(refuse, {}))
    assert (job.state, job.problem) == (FAILED, "No such accelerator.")


def test_an_unforeseen_error_ends_it_without_its_text(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def fail(watch: Callable[[int, int], None]) -> dict[str, int]:
        raise RuntimeError("the password is swordfish")

    job = ended(Jobs(tmp_path), Jobs(tmp_path).start(fail, {}))
    assert job.state == FAILED and "unforeseen" in job.problem and "swordfish" not in job.problem
    assert job.id in caplog.text and "swordfish" in caplog.text


def test_a_job_whose_process_is_gone_has_failed_and_is_not_for_ever_running(tmp_path: Path) -> None:
    stopped = threading.Event()
    job_id = Jobs(tmp_path).start(lambda watch: {"ended": stopped.wait()}, {})
    now = time.time()
    assert Jobs(tmp_path, clock=lambda: now + LOST_SECONDS - 5).look(job_id).state == RUNNING
    later = Jobs(tmp_path, clock=lambda: now + LOST_SECONDS + 5).look(job_id)
    assert (later.state, later.problem) == (FAILED, LOST)
    stopped.set()


def test_only_so_many_run_at_once_and_what_nobody_fetched_is_deleted(tmp_path: Path, gate: Gate) -> None:
    jobs = Jobs(tmp_path)
    first, *_ = [jobs.start(gate, {}) for _ in range(MOST_RUNNING)]
    with pytest.raises(Busy):
        Jobs(tmp_path).start(gate, {})
    gate.open.set()
    ended(jobs, first)
    later = Jobs(tmp_path, clock=lambda: time.time() + KEEP_SECONDS + 5)
    until(lambda: len(list((tmp_path / "jobs").glob("*.json"))) == MOST_RUNNING)
    new = later.start(gate, {})
    assert jobs.look(first) is None and later.look(new) is not None


def test_only_the_newest_files_are_kept_and_none_without_its_job(tmp_path: Path, gate: Gate) -> None:
    now = time.time()
    jobs = Jobs(tmp_path, clock=lambda: now)

    def write(path: Path, watch: Callable[[int, int], None]) -> dict[str, int]:
        path.write_text("rows")
        return {"rows": 1}

    made = []
    for _ in range(MOST_FILES + 2):
        now += 1
        made.append(jobs.start_file(write, {}))
        ended(jobs, made[-1])
    (tmp_path / "jobs" / "0123456789abcdef.made").write_text("of a job that nobody knows")
    jobs.start(gate, {})
    kept = {one for one in made if jobs.file(one) is not None}
    assert kept == set(made[-MOST_FILES + 1 :]), "with that of the next they are as many as may be"
    assert {path.stem for path in (tmp_path / "jobs").glob("*.made")} == kept
    now += KEEP_SECONDS + 5
    jobs.start(gate, {})
    assert not list((tmp_path / "jobs").glob("*.made"))


@pytest.mark.parametrize("job_id", ["", "0123456789abcdef", "../secret_key", "0" * 400, "0123456789ABCDEF"])
def test_an_id_of_no_job_finds_nothing(tmp_path: Path, client: FlaskClient, job_id: str) -> None:
    assert Jobs(tmp_path).look(job_id) is None
    assert client.get(f"/plan/progress/{job_id}").status_code == 404


# ---- the page

#: The whole catalogue in two by two formats; in two it takes about a second.
CATALOGUE = {"model": "meta-llama/Llama-3.1-8B-Instruct", "request_rate": "20", "max_gpus_per_replica": "1"}
LONG = CATALOGUE | {"kv_precision": "auto, fp8"}


def test_a_long_plan_leads_to_its_page_by_way_of_its_progress(client: FlaskClient) -> None:
    sent = client.post("/plan", data=LONG)
    assert sent.status_code == 303 and sent.location.startswith("/plan/progress/")
    answer = until(lambda: (page := client.get(sent.location)).status_code == 303 and page)
    assert answer.location.startswith("/results/")
    run = client.get(f"/api/v1/runs/{answer.location.rsplit('/', 1)[-1]}").json
    assert run["source"] == "web" and run["results"] == plan(LONG)[0]
    assert client.get(answer.location).status_code == 200


def test_a_short_plan_leads_to_its_page_at_once(client: FlaskClient) -> None:
    assert client.post("/plan", data=CATALOGUE).location.startswith("/results/")


def test_the_page_says_how_far_it_is_and_looks_again_by_itself(app: Flask, client: FlaskClient, gate: Gate) -> None:
    job_id = app.extensions["jobs"].start(gate, {"plan": {"model": "some/model", "request_rate": "20"}})
    until(lambda: app.extensions["jobs"].look(job_id).of)
    answer = client.get(f"/plan/progress/{job_id}")
    page = soup(answer.text)
    assert (answer.status_code, answer.headers["Refresh"]) == (200, "1")
    assert (page.progress["value"], page.progress["max"]) == ("3", "7")
    assert "3 of 7 parts of the search are done" in words(page.select_one("[role=status]"))
    assert page.select_one("a[href^='/plan?']")["href"] == "/plan?model=some/model&request_rate=20"


def test_a_lost_one_is_told_with_the_way_back(app: Flask, client: FlaskClient, gate: Gate) -> None:
    job_id = app.extensions["jobs"].start(gate, {"plan": {"model": "some/model"}})
    app.extensions["jobs"] = Jobs(app.config["DATA_DIR"], clock=lambda: time.time() + LOST_SECONDS + 5)
    answer = client.get(f"/plan/progress/{job_id}")
    assert answer.status_code == 500 and "Refresh" not in answer.headers
    assert LOST in answer.text and "/plan?model=some/model" in answer.text


@pytest.mark.parametrize(
    ("page", "made"),
    [
        ("/plan/progress/{}", {"export": {"q": "llama"}}),
        ("/visualize/export/{}", {"plan": {"model": "some/model", "request_rate": "20"}}),
    ],
    ids=["a file is no plan", "a plan is no file"],
)
def test_a_page_tells_only_of_what_it_began(
    app: Flask, client: FlaskClient, gate: Gate, page: str, made: dict[str, dict[str, str]]
) -> None:
    job_id = app.extensions["jobs"].start(gate, made)
    assert client.get(page.format(job_id)).status_code == 404, "while it runs"
    gate.open.set()
    ended(app.extensions["jobs"], job_id)
    assert client.get(page.format(job_id)).status_code == 404, "and once it is done"


def test_beyond_the_most_that_run_the_form_comes_back_with_what_was_typed(
    app: Flask, client: FlaskClient, gate: Gate
) -> None:
    for _ in range(MOST_RUNNING):
        app.extensions["jobs"].start(gate, {})
    answer = client.post("/plan", data=LONG)
    assert answer.status_code == 503 and "Try again in a minute" in answer.text and 'value="20"' in answer.text


def test_where_nothing_can_be_kept_the_answer_comes_at_once(app: Flask, client: FlaskClient, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    app.extensions["jobs"] = Jobs(tmp_path / "file")
    assert client.post("/plan", data=LONG).location.startswith("/results/")


def test_an_answer_that_cannot_be_logged_is_shown_all_the_same(client: FlaskClient, tmp_path: Path) -> None:
    (tmp_path / "logging").write_text("no directory")
    sent = client.post("/plan", data=LONG)
    page = until(lambda: "Refresh" not in (page := client.get(sent.location)).headers and page)
    assert page.status_code == 200 and "could not be saved" in page.text
