"""The server as it is started for real: gunicorn with gunicorn.conf.py, settings from the environment."""

from __future__ import annotations

import http.client
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.parse
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from app.config import PROJECT
from tests.serving import free_port, wait_until_healthy

ESTIMATE = {"model": "llama-3.1-8b", "gpu": "h100-sxm"}


PYTHON = sys.executable
BY_HAND = (PYTHON, "-m", "app.config", PYTHON, "-m", "gunicorn", "wsgi:app")


class Server:
    """A running gunicorn, its port and the directory that it logs runs to."""

    def __init__(self, environ: Mapping[str, str], log_dir: Path, output: Path, command: Sequence[str]) -> None:
        self.port = free_port()
        self.log_dir = log_dir
        self.output = output
        inherited = {name: os.environ[name] for name in ("PATH", "COVERAGE_PROCESS_START") if name in os.environ}
        with output.open("w") as file:
            self.process = subprocess.Popen(
                command,
                cwd=PROJECT,
                env=inherited | {"PORT": str(self.port), "LOG_DIR": str(log_dir)} | environ,
                stdout=file,
                stderr=subprocess.STDOUT,
            )

    def request(
        self, method: str, path: str, body: str | Iterator[bytes] | None = None, **headers: str
    ) -> tuple[http.client.HTTPResponse, str]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        response = connection.getresponse()
        text = response.read().decode()
        connection.close()
        return response, text

    def stop(self) -> int:
        """Ask it to end, if it has not, and return its exit status."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=45)


Start = Callable[..., Server]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a server with these variables in its environment; each is stopped after the test."""
    servers: list[Server] = []

    def start_server(command: Sequence[str] = BY_HAND, **environ: str) -> Server:
        server = Server(environ, tmp_path / "runs", tmp_path / f"output{len(servers)}.txt", command)
        servers.append(server)
        wait_until_healthy(server.port, server.process, server.output)
        return server

    yield start_server
    for server in servers:
        server.stop()


def logged_runs(server: Server) -> list[dict]:
    return [json.loads(line) for line in (server.log_dir / "web_app_calculations.log").read_text().splitlines()]


def wait_for_workers(server: Server, number: int) -> None:
    end = time.monotonic() + 20
    while server.output.read_text().count("Booting worker") < number:
        assert time.monotonic() < end, server.output.read_text()
        time.sleep(0.05)


FORM = {"Content_Type": "application/x-www-form-urlencoded"}
JSON = {"Content_Type": "application/json"}


def test_it_serves_the_form_takes_a_run_and_logs_it(start: Start) -> None:
    server = start()
    response, page = server.request("GET", "/")
    assert (response.status, "<form" in page) == (200, True)
    response, _ = server.request("POST", "/", urllib.parse.urlencode(ESTIMATE), **FORM)
    assert response.status == 303
    result = response.headers["Location"]
    assert [(run["run_id"], run["source"]) for run in logged_runs(server)] == [(result.rsplit("/", 1)[1], "web")]
    assert server.request("GET", result)[0].status == 200
    assert server.stop() == 0


def test_a_form_in_chunks_is_taken_whole_or_refused(start: Start) -> None:
    server = start()
    form = urllib.parse.urlencode(ESTIMATE).encode()
    statuses = [
        server.request("POST", "/", iter([form, b"&filler=" + b"x" * size, b"&concurrency=77"]), **FORM)[0].status
        for size in (1000, 300_000)
    ]
    assert statuses == [303, 413]
    assert [run["inputs"]["concurrency"] for run in logged_runs(server)] == [77]


def test_runs_of_several_processes_at_once_are_all_logged(start: Start) -> None:
    server = start(WEB_CONCURRENCY="3")
    wait_for_workers(server, 3)

    def post(_: int) -> str:
        response, text = server.request("POST", "/api/v1/estimate", json.dumps(ESTIMATE), **JSON)
        assert response.status == 200, text
        return json.loads(text)["run_id"]

    with ThreadPoolExecutor(8) as pool:
        run_ids = list(pool.map(post, range(40)))
    assert sorted(run["run_id"] for run in logged_runs(server)) == sorted(run_ids)


def test_a_run_of_one_process_is_found_by_every_other(start: Start) -> None:
    server = start(WEB_CONCURRENCY="3")
    wait_for_workers(server, 3)
    response, _ = server.request("POST", "/", urllib.parse.urlencode(ESTIMATE), **FORM)
    with ThreadPoolExecutor(8) as pool:
        answers = pool.map(lambda _: server.request("GET", response.headers["Location"]), range(16))
        assert {answer.status for answer, _ in answers} == {200}


def test_a_request_under_way_is_answered_before_the_server_stops(start: Start) -> None:
    """The body is sent half, then SIGTERM, then the rest: the answer still comes, and the server ends with 0."""
    server = start()
    body = json.dumps(ESTIMATE).encode()
    connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=20)
    connection.putrequest("POST", "/api/v1/estimate")
    connection.putheader("Content-Type", "application/json")
    connection.putheader("Content-Length", str(len(body)))
    connection.endheaders(body[:10])
    time.sleep(0.3)
    server.process.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    connection.send(body[10:])
    response = connection.getresponse()
    assert response.status == 200
    assert len(logged_runs(server)) == 1
    response.read()
    connection.close()
    assert server.process.wait(timeout=45) == 0


def test_the_numbers_of_all_workers_are_added_up_and_outlive_a_killed_one(start: Start) -> None:
    server = start(WEB_CONCURRENCY="3")
    wait_for_workers(server, 3)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _: server.request("POST", "/api/v1/estimate", json.dumps(ESTIMATE), **JSON), range(24)))

    def appended() -> str:
        return next(line for line in server.request("GET", "/metrics")[1].splitlines() if line.startswith(COUNTED))

    assert appended() == f"{COUNTED} 24.0"
    victim = int(re.findall(r"Booting worker with pid: (\d+)", server.output.read_text())[0])
    os.kill(victim, signal.SIGKILL)
    wait_for_workers(server, 4)
    assert appended() == f"{COUNTED} 24.0"
    directory = directory_of_counts(server)
    assert directory.is_dir()
    assert directory.name.startswith(f"calculator-metrics-{server.process.pid}-")
    assert server.stop() == 0
    assert not directory.exists()


COUNTED = 'calculator_runs_appended_total{kind="estimate"}'


def directory_of_counts(server: Server) -> Path:
    """Where the workers count: a file of it is in the memory of each that has counted."""
    for worker in re.findall(r"Booting worker with pid: (\d+)", server.output.read_text()):
        maps = Path(f"/proc/{worker}/maps")
        found = re.search(r"(/\S+)/counter_\d+\.db", maps.read_text() if maps.exists() else "")
        if found:
            return Path(found[1])
    raise AssertionError("no worker counts in a file")


def test_a_line_of_json_per_request_goes_to_stderr(start: Start) -> None:
    server = start(REQUEST_LOG="1")
    response, _ = server.request("POST", "/api/v1/estimate", json.dumps(ESTIMATE), **JSON)
    server.stop()
    lines = [json.loads(line) for line in server.output.read_text().splitlines() if line.startswith("{")]
    assert response.headers["X-Request-ID"] in [line["request_id"] for line in lines]


def test_it_listens_on_this_machine_only_unless_host_says_otherwise(start: Start) -> None:
    assert f"Listening at: http://127.0.0.1:{(server := start()).port}" in server.output.read_text()
    assert f"Listening at: http://0.0.0.0:{(server := start(HOST='0.0.0.0')).port}" in server.output.read_text()


def test_it_leaves_nothing_in_the_home_directory(start: Start, tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    start(HOME=str(home))
    assert list(home.iterdir()) == []


def test_a_log_directory_that_cannot_be_written_costs_the_log_and_not_the_answer(start: Start, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    server = start(LOG_DIR=str(tmp_path / "file" / "runs"))
    response, text = server.request("POST", "/api/v1/estimate", json.dumps(ESTIMATE), **JSON)
    assert response.status == 200, text
    assert server.request("GET", "/healthz")[0].status == 200


def health_check() -> list[str]:
    return json.loads(re.findall(r"^HEALTHCHECK .*?CMD (.+)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)[0])


def test_the_health_check_of_the_image_asks_the_port_that_is_served(start: Start) -> None:
    port = str(start().port)
    assert subprocess.run(health_check(), cwd=PROJECT, env={"PATH": PATH, "PORT": port}).returncode == 0
    # An empty PORT is 5000, for the server as for the check; whether something listens there is not ours to say.
    shown = [part.replace("c.request(", "print(c.port); sys.exit(); c.request(") for part in health_check()]
    empty = subprocess.run(shown, cwd=PROJECT, env={"PATH": PATH, "PORT": ""}, capture_output=True, text=True)
    assert (empty.stdout, empty.stderr) == ("5000\n", "")


def refused(command: Sequence[str], **environ: str) -> subprocess.CompletedProcess[str]:
    """What becomes of a start with settings that are not allowed."""
    return subprocess.run(
        command, cwd=PROJECT, env={"PATH": PATH} | environ, capture_output=True, text=True, timeout=20
    )


#: Where the programs of this environment are found first, as in the image.
PATH = f"{Path(PYTHON).parent}:{os.environ['PATH']}"


def of_image() -> list[str]:
    return json.loads(re.findall(r"^CMD (.+)$", (PROJECT / "Dockerfile").read_text(), re.MULTILINE)[-1])


def of_make() -> list[str]:
    """What `make run` does once the packages are there."""
    if shutil.which("make") is None:
        pytest.skip("make is not installed")
    asked = ["make", "--no-print-directory", "-n", "run", f"PY={PYTHON}"]  # Quiet where make runs the tests, too.
    printed = subprocess.run(asked, cwd=PROJECT, capture_output=True, text=True)
    return ["sh", "-c", printed.stdout.splitlines()[-1]]


WAYS = {"by hand": lambda: BY_HAND, "image": of_image, "make": of_make, "serve": lambda: (PYTHON, "-m", "app", "serve")}


@pytest.mark.parametrize("way", WAYS)
def test_an_empty_number_of_processes_counts_as_not_set_and_a_bad_one_is_told(start: Start, way: str) -> None:
    """gunicorn reads WEB_CONCURRENCY itself, before its configuration."""
    command = WAYS[way]()
    wait_for_workers(start(command, PATH=PATH, WEB_CONCURRENCY=""), 2)
    done = refused(command, WEB_CONCURRENCY="abc")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(
        r".*WEB_CONCURRENCY: 'abc' is not allowed\. Allowed: a whole number from 1 to 256\.\n", done.stderr
    )


@pytest.mark.parametrize(("arguments", "status"), [(["--check-config"], 0), ([], 1)], ids=["checked", "port taken"])
def test_a_start_that_comes_to_nothing_leaves_nothing(arguments: list[str], status: int, tmp_path: Path) -> None:
    """Where workers of the machine count: in a directory that is named after the process."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        environ = {"PATH": PATH, "PORT": str(taken.getsockname()[1]), "DATA_DIR": str(tmp_path)}
        process = subprocess.Popen([*BY_HAND, *arguments], cwd=PROJECT, env=environ, stderr=subprocess.DEVNULL)
        assert process.wait(timeout=30) == status
    memory = Path("/dev/shm")
    directory = memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())
    assert list(directory.glob(f"calculator-metrics-{process.pid}-*")) == []


@pytest.mark.parametrize(("name", "value"), [("PORT", "many"), ("LOG_FSYNC", "2"), ("MAX_CONTENT_LENGTH", "1")])
def test_a_bad_setting_ends_the_start_with_one_line(name: str, value: str) -> None:
    done = refused([PYTHON, "-m", "gunicorn", "wsgi:app"], **{name: value})
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(rf"{name}: '{value}' is not allowed\. Allowed: .+\.\n", done.stderr)
