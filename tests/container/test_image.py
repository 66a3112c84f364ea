"""The built image: what it says of itself, what is in it, who it runs as, and that it serves and logs.

`scripts/check-container` builds the image and runs these; by themselves they are skipped.
"""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.config import PROJECT
from tests.fake_hub import CONFIG
from tests.serving import free_port, wait_until_healthy

pytestmark = [
    pytest.mark.container,
    pytest.mark.skipif("CONTAINER_IMAGE" not in os.environ, reason="run by scripts/check-container"),
]

STATIC = PROJECT / "static"
ESTIMATE = {"model": "llama-3.1-8b", "gpu": "h100-sxm"}


def buildah(*arguments: str) -> str:
    command = [*shlex.split(os.environ["CONTAINER_BUILDAH"]), *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture(scope="module")
def container() -> Iterator[str]:
    name = buildah("from", "--pull-never", os.environ["CONTAINER_IMAGE"])
    yield name
    buildah("rm", name)


@pytest.fixture(scope="module")
def config() -> dict[str, object]:
    return json.loads(buildah("inspect", "--type", "image", os.environ["CONTAINER_IMAGE"]))["Docker"]["config"]


@contextmanager
def serving(container: str, config: dict, log_dir: Path, *options: str) -> Iterator[str]:
    """The image's own command, on a free port, with `log_dir` mounted as the readme says."""
    port = free_port()
    mount = f"{log_dir}:/app/logging"
    command = [*shlex.split(os.environ["CONTAINER_BUILDAH"]), "run", "--network", "host", "--volume", mount]
    command += ["--env", f"PORT={port}", *options, container, "--", *config["Cmd"]]
    process = subprocess.Popen(command, start_new_session=True)
    try:
        wait_until_healthy(port, process)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=20)


def post_estimate(url: str) -> dict:
    request = urllib.request.Request(
        f"{url}/api/v1/estimate", json.dumps(ESTIMATE).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=20) as response:
        return json.load(response)


def test_it_declares_its_user_port_command_and_health_check(config: dict) -> None:
    assert config["User"] == "1000:1000"
    assert list(config["ExposedPorts"]) == ["5000/tcp"]
    assert "HOST=0.0.0.0" in config["Env"]
    assert config["Cmd"][-2:] == ["gunicorn", "wsgi:app"]
    assert "/healthz" in config["Healthcheck"]["Test"][-1]


def test_it_runs_as_a_user_without_privileges(container: str) -> None:
    assert buildah("run", container, "--", "id", "-u") == "1000"


def test_only_the_log_directory_can_be_written_to(container: str) -> None:
    # Folders that its user may not look into make find end with an error; those are not writable either.
    search = "find /app /opt /usr /etc /var -writable ! -type l 2>/dev/null || true"
    # Mounted in or meant for everybody, in any image.
    common = ["/etc/hosts", "/etc/resolv.conf", "/var/tmp", "/var/lock"]
    writable = buildah("run", container, "--", "sh", "-c", search).split()
    assert [path for path in writable if path not in common] == ["/app/logging"]


def test_it_holds_the_application_and_nothing_else(container: str) -> None:
    held = buildah("run", container, "--", "ls", "-A", "/app").split()
    assert sorted(held) == ["app", "docs", "gunicorn.conf.py", "logging", "static", "templates", "wsgi.py"]
    assert buildah("run", container, "--", "ls", "-A", "/app/logging") == ""


def test_static_files_are_compressed_and_modules_compiled(container: str) -> None:
    found = buildah("run", container, "--", "find", "/app", "-name", "*.gz", "-o", "-name", "config.*.pyc").split()
    assert any(path.endswith(".js.gz") for path in found)
    assert any(path.endswith(".pyc") for path in found)


def test_static_files_are_sent_compressed(container: str, config: dict, tmp_path: Path) -> None:
    with serving(container, config, tmp_path) as url:
        path = next(f"/static/{path.relative_to(STATIC)}" for path in STATIC.rglob("*.min.js"))
        request = urllib.request.Request(url + path, headers={"Accept-Encoding": "gzip"})
        with urllib.request.urlopen(request, timeout=20) as response:
            assert response.headers["Content-Encoding"] == "gzip"


def test_it_serves_and_logs_into_the_mounted_directory(container: str, config: dict, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with serving(container, config, tmp_path) as url:
        answer = post_estimate(url)
    log = tmp_path / "web_app_calculations.log"
    assert log.stat().st_uid == 1000
    assert [json.loads(line)["run_id"] for line in log.read_text().splitlines()] == [answer["run_id"]]


def test_what_is_saved_lies_in_the_mounted_directory_too(container: str, config: dict, tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with serving(container, config, tmp_path) as url:
        body = urllib.parse.urlencode({"name": "Saved", "config": json.dumps(CONFIG)}).encode()
        with urllib.request.urlopen(f"{url}/models/save", body, timeout=20) as response:
            assert response.url == f"{url}/models/Saved"
    assert json.loads((tmp_path / "data" / "models" / "saved.json").read_text())["config"] == CONFIG


def test_the_declared_health_check_passes_while_it_serves(container: str, config: dict, tmp_path: Path) -> None:
    check = config["Healthcheck"]["Test"][1:]
    with serving(container, config, tmp_path) as url:
        port = url.rsplit(":", 1)[1]
        buildah("run", "--network", "host", "--env", f"PORT={port}", container, "--", *check)
    with pytest.raises(subprocess.CalledProcessError):
        buildah("run", "--network", "host", "--env", f"PORT={port}", container, "--", *check)


def test_any_user_may_run_it_and_log_into_a_directory_of_their_own(
    container: str, config: dict, tmp_path: Path
) -> None:
    os.chown(tmp_path, 12345, 12345)
    with serving(container, config, tmp_path, "--user", "12345") as url:
        post_estimate(url)
    assert (tmp_path / "web_app_calculations.log").stat().st_uid == 12345


def test_a_log_directory_that_it_may_not_write_to_costs_the_log_and_not_the_answer(
    container: str, config: dict, tmp_path: Path
) -> None:
    tmp_path.chmod(0o755)
    with serving(container, config, tmp_path) as url:
        assert post_estimate(url)["results"]["fits"] in (True, False)
    assert list(tmp_path.iterdir()) == []
