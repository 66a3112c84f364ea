"""What every answer says to the browser, what is refused, and that nothing of a log or a request becomes markup."""

from __future__ import annotations

import csv
import io
import json
import re
import urllib.parse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient

from app.config import PROJECT
from app.factory import create_app
from app.history import csv_export
from app.history.run_log import RunLog
from app.pages.model_import import MOST_BODY_BYTES
from app.planning import MOST_COMBINATIONS
from app.runs import estimate_run, plan_run, train_run
from app.server.rate_limit import Counter
from app.server.security import HEADERS

ESTIMATE = {"model": "llama-3.1-8b", "gpu": "h100-sxm"}
TRAIN = {"model": "llama-3.1-8b", "gpu": "h100-sxm", "num_gpus": 8}
PLAN = {"model": "llama-3.1-8b", "gpu": "h100-sxm", "input_tokens": 500, "output_tokens": 100, "request_rate": 1}
MARKUP = "<img src=x onerror=alert(1)>"
FORM = "application/x-www-form-urlencoded"
TEMPLATES = sorted((PROJECT / "templates").rglob("*.html"))


# ---- headers


def paths(app: Flask, run_log: RunLog) -> Iterator[str]:
    """An address of every route that is read, with a run, a model and so on that there is."""
    run = estimate_run(ESTIMATE, source="web")
    run_log.append(run)
    known = {"run_id": run.run_id, "path": "nothing", "filename": "app.css", "job_id": "0" * 16}
    for rule in app.url_map.iter_rules():
        if "GET" in (rule.methods or ()):
            names = {"models.model": "meta-llama/Llama-3.1-8B", "api.model": "llama-3.1-8b"}
            values = known | {"name": names.get(rule.endpoint, "h100-sxm" if "gpu" in rule.endpoint else "accuracy")}
            yield re.sub(r"<(?:\w+:)?(\w+)>", lambda found, values=values: values[found[1]], rule.rule)


def test_every_route_sends_every_header(app: Flask, client: FlaskClient, run_log: RunLog) -> None:
    found = list(paths(app, run_log))
    assert len(found) > 25
    for path in found:
        if path.startswith("/static/"):
            continue  # Served before the application; below.
        answer = client.get(path)
        assert answer.status_code < 500, path
        assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS, path
        assert re.fullmatch(r"[0-9a-f]{16}", answer.headers["X-Request-ID"]), path


@pytest.mark.parametrize(("method", "path", "status"), [
    ("GET", "/nothing", 404), ("PUT", "/", 405), ("POST", "/models/import", 422), ("POST", "/api/v1/estimate", 400),
    ("POST", "/login", 404), ("GET", "/visualize?page=x", 400),
])  # fmt: skip
def test_refusals_send_them_too(client: FlaskClient, method: str, path: str, status: int) -> None:
    answer = client.open(path, method=method)
    assert answer.status_code == status
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS


def test_an_unforeseen_error_sends_them_too_and_shows_no_trace(app: Flask) -> None:
    def fail() -> str:
        raise RuntimeError("the password is swordfish")

    app.add_url_rule("/fails", view_func=fail)
    app.testing = False
    answer = app.test_client().get("/fails")
    assert answer.status_code == 500
    assert {name: answer.headers.get(name) for name in HEADERS} == HEADERS
    assert "swordfish" not in answer.text
    assert "Traceback" not in answer.text


def test_no_script_may_stand_in_a_page() -> None:
    policy = dict(part.strip().split(" ", 1) for part in HEADERS["Content-Security-Policy"].split(";"))
    assert policy["script-src"] == "'self'"
    assert policy["object-src"] == policy["frame-ancestors"] == "'none'"
    assert policy["form-action"] == policy["base-uri"] == policy["default-src"] == "'self'"


# ---- templates


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: str(path.relative_to(PROJECT / "templates")))
def test_no_template_takes_anything_for_markup(path: Path) -> None:
    text = path.read_text()
    assert re.findall(r"\|\s*safe\b|\bautoescape\b|Markup\(", text) == []
    assert re.findall(r"<script(?![^>]*(?:\bsrc=|type=\"application/json\"))", text) == []
    assert re.findall(r"\son\w+\s*=|javascript:", text, re.IGNORECASE) == []
    # A value outside of quotation marks could begin an attribute of its own.
    assert re.findall(r"\s[\w-]+=\{\{", text) == []


#: Their forms have the page's own address.
READS_ONLY = {"visualize", "accuracy", "models", "gpus", "docs"}


def test_every_form_that_changes_something_is_a_post(app: Flask) -> None:
    """Posts are refused when another site sends them; see test_calculator and test_login. A GET changes nothing."""
    forms = [(path, form) for path in TEMPLATES for form in re.findall(r"<form\b[^>]*>", path.read_text())]
    assert len(forms) > 8
    reading = {rule.endpoint for rule in app.url_map.iter_rules() if "GET" in (rule.methods or ())}
    for path, form in forms:
        method = re.search(r'method="(\w+)"', form)
        endpoint = re.search(r"url_for\(\W(\w+\.\w+)", form)
        if method is None or method[1] != "post":
            assert endpoint is None or endpoint[1] in reading, (path, form)
            assert endpoint is not None or path.name == "_macros.html" or path.parent.name in READS_ONLY, (path, form)


def test_markup_in_a_log_stays_text_on_every_page(client: FlaskClient, run_log: RunLog) -> None:
    hostile = []
    for run in (estimate_run(ESTIMATE, source="web"), train_run(TRAIN, source="web"), plan_run(PLAN, source="web")):
        document = run.as_dict()
        hostile.append(type(run).from_dict({**document, "inputs": poisoned(document["inputs"]),
                                            "results": poisoned(document["results"])}))  # fmt: skip
        run_log.append(hostile[-1])
    ids = [run.run_id for run in hostile]
    pages = [f"/results/{run_id}" for run_id in ids]
    pages += ["/visualize", "/visualize?chart=yes", "/visualize?" + "&".join(f"run={run_id}" for run_id in ids)]
    pages += [f"/visualize?q={MARKUP}", f"/?model={MARKUP}&note={MARKUP}", f"/models/{MARKUP}", f"/{MARKUP}"]
    charts = 0
    for path in pages:
        answer = client.get(path)
        assert answer.status_code < 500, path
        page = BeautifulSoup(answer.text, "html.parser")
        assert page.find("img", src="x") is None, path
        for script in page.find_all("script", type="application/json"):
            charts += 1
            shown = [text for text in texts(json.loads(script.string)) if MARKUP in text]
            assert shown == [], (path, shown[:3])
    assert charts > 5


def poisoned(value: Any, key: str = "") -> Any:
    """The same with markup in every text that is not one of the words that the program itself goes by."""
    if isinstance(value, dict):
        return {name: poisoned(inner, name) for name, inner in value.items()}
    if isinstance(value, list):
        return [poisoned(inner, key) for inner in value]
    return f"{value} {MARKUP}" if isinstance(value, str) and key in ("name", "label", "note", "warnings") else value


def texts(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


# ---- files for spreadsheets


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", '=HYPERLINK("http://x")'])
def test_no_cell_of_a_text_begins_a_formula(text: str) -> None:
    assert csv_export.cell(text) == "'" + text


def test_an_exported_note_is_no_formula(client: FlaskClient, run_log: RunLog) -> None:
    run = estimate_run(ESTIMATE, source="web")
    run.inputs["note"] = "=cmd|' /C calc'!A0"
    run_log.append(run)
    (row,) = csv.DictReader(io.StringIO(client.get("/visualize.csv").text))
    assert row["note"] == "'=cmd|' /C calc'!A0"
    assert not any(cell.startswith(("=", "+", "@")) for cell in row.values())


# ---- limits


def test_a_client_that_asks_too_often_waits(tmp_path: Path) -> None:
    limited = {"LOG_DIR": tmp_path / "logging", "DATA_DIR": tmp_path / "data", "TESTING": True, "RATE_LIMIT": 3}
    client = create_app(limited).test_client()
    statuses = [client.post("/api/v1/estimate", json=ESTIMATE).status_code for _ in range(3)]
    assert statuses == [200, 200, 200]
    refused = client.post("/api/v1/estimate", json=ESTIMATE)
    assert (refused.status_code, refused.json["error"]["field"]) == (429, "")
    assert "3 a minute" in refused.json["error"]["message"]
    assert 1 <= int(refused.headers["Retry-After"]) <= 60
    assert client.post("/", data=ESTIMATE).status_code == 429
    assert "3 a minute" in client.post("/", data=ESTIMATE).text
    assert client.get("/").status_code == 200
    other_worker = create_app(limited).test_client()
    assert other_worker.post("/api/v1/estimate", json=ESTIMATE).status_code == 429
    elsewhere = client.post("/api/v1/estimate", json=ESTIMATE, environ_base={"REMOTE_ADDR": "192.0.2.7"})
    assert elsewhere.status_code == 200


def test_previews_are_counted_by_themselves(tmp_path: Path) -> None:
    limited = {"LOG_DIR": tmp_path / "logging", "DATA_DIR": tmp_path / "data", "TESTING": True, "RATE_LIMIT": 2}
    client = create_app(limited).test_client()
    assert [client.get("/preview").status_code for _ in range(21)] == [200] * 20 + [429]
    assert client.post("/", data={}).status_code == 303


def test_pages_that_calculate_when_they_are_read_are_counted_too(tmp_path: Path) -> None:
    limited = {"LOG_DIR": tmp_path / "logging", "DATA_DIR": tmp_path / "data", "TESTING": True, "RATE_LIMIT": 2}
    client = create_app(limited).test_client()
    plan = plan_run(PLAN, source="web")
    client.application.extensions["run_log"].append(plan)
    heat, drift = f"/results/{plan.run_id}/heat", f"/visualize?drift=yes&run={plan.run_id}"
    assert [client.get(path).status_code for path in (heat, drift, heat, drift)] == [200, 200, 429, 429]
    # To read what has been calculated is not counted, and what looks at one run by itself.
    reading = (f"/visualize?run={plan.run_id}", f"/results/{plan.run_id}/plans", f"/api/v1/runs/{plan.run_id}")
    assert [client.get(path).status_code for path in reading for _ in range(3)] == [200] * 9
    work = f"/api/v1/runs/{plan.run_id}?work=1"
    assert [client.get(work).status_code for _ in range(21)] == [200] * 20 + [429]


def test_counts_begin_anew_each_minute_and_are_kept_apart(tmp_path: Path) -> None:
    now = [120.0]
    one, other = Counter(tmp_path, "one", lambda: now[0]), Counter(tmp_path, "other", lambda: now[0])
    assert [one.count("a"), one.count("a"), one.count("b"), other.count("a")] == [1, 2, 1, 1]
    now[0] = 179.9
    assert (one.count("a"), one.seconds_left()) == (3, 1)
    now[0] = 180.0
    assert (one.count("a"), one.seconds_left()) == (1, 60)
    one.forget("a")
    assert one.count("a") == 1


def test_no_address_is_kept_on_the_disk(tmp_path: Path) -> None:
    Counter(tmp_path, "one").count("192.0.2.7")
    assert not any(b"192.0.2.7" in path.read_bytes() for path in tmp_path.iterdir())


def test_where_nothing_can_be_written_a_process_counts_for_itself(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    counter = Counter(tmp_path / "file" / "data", "one")
    assert [counter.count("a"), counter.count("a")] == [1, 2]


def test_the_counts_of_ever_new_clients_are_not_kept_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.server.rate_limit.MOST_ROWS", 10)
    now = [0.0]
    counter = Counter(tmp_path, "one", lambda: now[0])
    for number in range(40):
        now[0] = 60.0 * number
        assert counter.count(str(number)) == 1
    assert counter._opened().execute("SELECT count(*) FROM counts").fetchone()[0] <= 11


def test_a_search_of_too_much_is_refused_with_the_limit(client: FlaskClient) -> None:
    formats = {"weight_precision": "bf16,fp8,int8,int4", "kv_precision": "bf16,fp8"}
    everything = formats | {"gpu": "", "other_engines": "sglang"}
    answer = client.post("/api/v1/plan", json=PLAN | everything)
    assert answer.status_code == 422
    assert answer.json["error"]["field"] == "weight_precision"
    assert answer.json["error"]["allowed"] == f"up to {MOST_COMBINATIONS} combinations"


@pytest.mark.parametrize(("name", "value"), [
    ("concurrency", 10**9), ("input_tokens", 10**9), ("num_gpus", 10**9), ("waves", 10**18), ("beam_width", 10**9),
])  # fmt: skip
def test_numbers_that_would_cost_time_are_refused_with_the_limit(client: FlaskClient, name: str, value: int) -> None:
    answer = client.post("/api/v1/estimate", json=ESTIMATE | {name: value})
    assert (answer.status_code, answer.json["error"]["field"]) == (422, name)
    assert re.search(r"\d", answer.json["error"]["allowed"])


@pytest.mark.parametrize("path", ["/", "/train", "/plan", "/api/v1/estimate", "/api/v1/train", "/api/v1/plan"])
def test_a_body_beyond_the_limit_is_not_read(app: Flask, client: FlaskClient, path: str) -> None:
    body = b"a=" + b"x" * app.config["MAX_CONTENT_LENGTH"]
    answer = client.post(path, data=body, content_type="application/x-www-form-urlencoded")
    assert answer.status_code == 413
    assert f"{app.config['MAX_CONTENT_LENGTH']:,} bytes" in answer.text


def sent_in_chunks(client: FlaskClient, path: str, body: bytes, content_type: str = FORM) -> int:
    """The status. The client of the tests tells the length of every body; with this header it does not count."""
    answer = client.post(
        path,
        input_stream=io.BytesIO(body),
        content_type=content_type,
        headers={"Transfer-Encoding": "chunked"},
        environ_base={"wsgi.input_terminated": True},
    )
    return answer.status_code


@pytest.mark.parametrize(("path", "about"), [("/", ESTIMATE), ("/train", TRAIN), ("/plan", PLAN)])
def test_a_form_in_chunks_may_be_as_long_as_any_and_is_never_cut(
    app: Flask, client: FlaskClient, run_log: RunLog, path: str, about: dict[str, Any]
) -> None:
    body = urllib.parse.urlencode(about).encode() + b"&filler="
    body += b"x" * (app.config["MAX_CONTENT_LENGTH"] - len(body))
    assert sent_in_chunks(client, path, body + b"x") == 413
    assert sent_in_chunks(client, path, body + b"x" * 100_000 + b"&concurrency=77") == 413
    assert run_log.files() == []
    assert sent_in_chunks(client, path, body) == 303


def test_an_import_in_chunks_may_be_as_long_as_any_import(client: FlaskClient) -> None:
    form = b"name=Large&config=%7B"
    assert sent_in_chunks(client, "/models/import", form + b"x" * (MOST_BODY_BYTES - len(form))) == 422
    assert sent_in_chunks(client, "/models/import", form + b"x" * (MOST_BODY_BYTES - len(form) + 1)) == 413


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # Werkzeug leaves the refused file open.
def test_a_file_in_chunks_may_be_as_long_as_any_import(client: FlaskClient) -> None:
    part = b'--edge\r\nContent-Disposition: form-data; name="file"; filename="config.json"\r\n\r\n'
    file = part + b"x" * MOST_BODY_BYTES + b"\r\n--edge--\r\n"
    assert sent_in_chunks(client, "/models/import", file, "multipart/form-data; boundary=edge") == 413
