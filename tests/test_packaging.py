"""The project as a whole: its layout, its pins, its image and its two commands."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
import urllib.request
from pathlib import Path

import pytest

from app.config import PROJECT
from app.version import APP_VERSION
from tests.serving import free_port, wait_until_healthy

PINNED = re.compile(r"[a-z0-9-]+==[0-9][0-9a-z.]*")
DEMANDED = {"flask", "jinja2", "wtforms", "plotly", "gunicorn", "pytest"}


def pins(name: str) -> list[str]:
    lines = (PROJECT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith(("#", "-r "))]


@pytest.mark.parametrize(
    "name", ["app", "templates", "static", "tests", "docs", "logging", "Dockerfile", ".dockerignore", "wsgi.py"]
)
def test_the_layout(name: str) -> None:
    assert (PROJECT / name).exists()


def test_no_module_in_logging_hides_the_standard_library() -> None:
    assert not list((PROJECT / "logging").rglob("*.py"))
    found = subprocess.run(
        [sys.executable, "-c", "import logging; print(logging.__file__)"],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert str(PROJECT) not in found.stdout


@pytest.mark.parametrize("name", ["requirements.txt", "requirements-dev.txt"])
def test_every_requirement_is_pinned_to_one_version(name: str) -> None:
    assert [line for line in pins(name) if not PINNED.fullmatch(line)] == []
    names = [line.split("==")[0] for line in pins(name)]
    assert len(names) == len(set(names))


def test_the_image_installs_what_is_pinned_and_checks_every_file() -> None:
    """requirements.lock holds the same versions with hashes, and what other systems need on top."""
    assert "--require-hashes -r requirements.lock" in dockerfile()
    blocks = re.split(r"\n(?=[a-z])", (PROJECT / "requirements.lock").read_text())[1:]
    locked = {block.split()[0]: block for block in blocks}
    elsewhere = {name for name, block in locked.items() if " ; " in block.splitlines()[0]}
    assert set(locked) - elsewhere == set(pins("requirements.txt")), "run scripts/lock"
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", block) for block in locked.values())


def test_the_demanded_packages_are_there() -> None:
    assert {line.split("==")[0] for line in pins("requirements.txt")} >= DEMANDED


def test_the_version_is_the_same_everywhere() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    assert project["version"] == APP_VERSION


def test_the_version_and_the_settings_are_read_without_flask() -> None:
    code = "import sys, app.version, app.config; print(sorted({'flask', 'werkzeug', 'numpy'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


# ---- the image: facts that hold without building it; tests/container builds and runs it


def dockerfile() -> str:
    return (PROJECT / "Dockerfile").read_text()


def test_the_image_has_a_user_without_privileges_a_health_check_and_a_port() -> None:
    lines = dockerfile().splitlines()
    assert "USER 1000:1000" in lines
    assert "EXPOSE 5000" in lines
    assert any(line.startswith("HEALTHCHECK") and "/healthz" in line for line in lines)
    assert {line.split()[1] for line in lines if line.startswith("FROM")} == {"python:3.12-slim"}


def test_the_image_copies_all_that_the_application_reads() -> None:
    final = dockerfile().rsplit("\nFROM", 1)[1]
    for name in ("app", "static", "templates", "docs", "wsgi.py", "gunicorn.conf.py"):
        assert re.search(rf"^COPY .*\b{re.escape(name)}\b", final, re.MULTILINE), name


def test_the_image_is_built_without_history_tests_and_logs() -> None:
    ignored = (PROJECT / ".dockerignore").read_text().splitlines()
    assert {".git", "tests", ".venv", "data", "logging/*", "!logging/.gitkeep", "**/__pycache__"} <= set(ignored)


def test_what_users_save_in_the_container_is_kept_with_the_log() -> None:
    assert re.search(r"^    DATA_DIR=/app/logging/data$", dockerfile(), re.MULTILINE)


def test_what_users_save_is_not_committed() -> None:
    assert "/data/" in (PROJECT / ".gitignore").read_text().splitlines()


def test_the_linter_finds_no_fault_with_the_dockerfile() -> None:
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed beside this Python")
    done = subprocess.run([hadolint, PROJECT / "Dockerfile"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


# ---- the commands


@pytest.fixture
def fresh(tmp_path: Path) -> Path:
    """The project's set-up in a directory of its own, with one requirement that is on no index: nothing."""
    shutil.copytree(PROJECT / "scripts", tmp_path / "scripts")
    shutil.copy(PROJECT / "Makefile", tmp_path)
    (tmp_path / "requirements.txt").write_text("# nothing\n")
    (tmp_path / "requirements-dev.txt").write_text("-r requirements.txt\n")
    return tmp_path


def set_up(directory: Path, name: str = "requirements.txt", **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["scripts/environment", name],
        cwd=directory,
        env={"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")} | environ,
        capture_output=True,
        text=True,
    )


def test_the_environment_is_made_once_and_filled_again_when_the_pins_change(fresh: Path) -> None:
    (fresh / "requirements.txt").write_text("./no-such-package\n")
    first = set_up(fresh, PYTHON=sys.executable)
    assert first.returncode != 0
    assert "Making .venv" in first.stderr
    assert set_up(fresh).returncode != 0, "an install that failed must be tried again"
    (fresh / "requirements.txt").write_text("# nothing\n")
    second = set_up(fresh)
    assert second.returncode == 0, second.stderr
    assert "Making .venv" not in second.stderr
    assert "Installing requirements.txt" in second.stderr
    assert set_up(fresh).stderr == ""
    (fresh / "requirements.txt").write_text("# still nothing\n")
    assert "Installing requirements.txt" in set_up(fresh).stderr
    assert "Installing requirements-dev.txt" in set_up(fresh, "requirements-dev.txt").stderr
    (fresh / "requirements.txt").write_text("# an included file counts too\n")
    assert "Installing requirements-dev.txt" in set_up(fresh, "requirements-dev.txt").stderr


def fake_python(directory: Path, body: str) -> str:
    path = directory / "fake-python"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return str(path)


def test_a_python_that_is_too_old_is_refused_by_name(fresh: Path) -> None:
    old = fake_python(fresh, "exit 1")
    done = set_up(fresh, PYTHON=old)
    assert done.returncode == 1
    assert f"PYTHON={old} is not a Python of version 3.11 or newer." in done.stderr


def test_a_python_without_ensurepip_is_answered_with_what_to_install(fresh: Path) -> None:
    """As Debian's python3 without python3-venv."""
    body = f"""case "$*" in *ensurepip*|*virtualenv*) exit 1;; esac; exec {sys.executable} "$@" """
    done = set_up(fresh, PYTHON=fake_python(fresh, body), PATH="/usr/bin:/bin")
    if shutil.which("virtualenv", path="/usr/bin:/bin"):
        assert done.returncode == 0
    else:
        assert done.returncode == 1
        assert "apt-get install python3-venv" in done.stderr
        assert not (fresh / ".venv" / "bin").exists()


def test_make_alone_explains_itself() -> None:
    done = subprocess.run(
        ["make"], cwd=PROJECT, capture_output=True, text=True, check=True, env={"PATH": os.environ["PATH"]}
    )
    for target in ("run", "test", "lint", "container", "clean"):
        assert f"make {target} " in done.stdout


# ---- pip install .


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The package as pip installs it, without its dependencies, into a directory of its own."""
    if not importlib.util.find_spec("setuptools.command.bdist_wheel"):
        pytest.skip("this Python has no setuptools that makes wheels; make test installs one")
    source, target = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for name in ("app", "templates", "static", "docs"):
        shutil.copytree(PROJECT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "README.md", "gunicorn.conf.py"):
        shutil.copy(PROJECT / name, source)
    options = ("--no-deps", "--no-build-isolation", "--no-index", "--target", str(target))
    done = subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", *options, str(source)], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return target


def test_every_file_of_the_package_and_the_pages_is_installed(installed: Path) -> None:
    def files(directory: Path, below: Path) -> set[str]:
        found = (path.relative_to(below) for path in directory.rglob("*") if path.is_file())
        return {str(path) for path in found if path.suffix not in (".pyc", ".br")}

    wanted = files(PROJECT / "app", PROJECT)
    for name in ("templates", "static", "docs"):
        wanted |= {f"app/{path}" for path in files(PROJECT / name, PROJECT)}
    assert len(wanted) > 300
    assert wanted - files(installed, installed) == set()
    assert {path.name for path in installed.iterdir()} - {"bin"} == {
        "app",
        f"llm_scaling_calculator-{APP_VERSION}.dist-info",
    }


def test_the_console_command_calculates_away_from_the_project(installed: Path, tmp_path: Path) -> None:
    environ = os.environ | {"PYTHONPATH": str(installed)}
    command = installed / "bin" / "llm-scaling-calculator"
    done = subprocess.run(
        [command, "estimate", "--json"], cwd=tmp_path, env=environ, capture_output=True, text=True, check=True
    )
    assert json.loads(done.stdout)["results"]["fits"] is True
    assert (tmp_path / "logging" / "cli_calculations.log").exists()


def test_the_console_command_serves_the_pages_away_from_the_project(installed: Path, tmp_path: Path) -> None:
    port, output = free_port(), tmp_path / "output.txt"
    environ = os.environ | {"PYTHONPATH": str(installed), "WEB_CONCURRENCY": "1"}
    command = [installed / "bin" / "llm-scaling-calculator", "serve", "--port", str(port)]
    with output.open("w") as file:
        process = subprocess.Popen(command, cwd=tmp_path, env=environ, stdout=file, stderr=file)
    try:
        wait_until_healthy(port, process, output)
        for address in ("/", "/static/app.css"):
            with urllib.request.urlopen(f"http://127.0.0.1:{port}{address}", timeout=10) as answer:
                assert answer.status == 200
    finally:
        process.terminate()
        process.wait(timeout=45)


def test_what_pip_installs_is_what_is_pinned() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    direct = {re.split(r"[>=;\[]", one)[0] for one in project["dependencies"]}
    assert direct <= {line.split("==")[0] for line in pins("requirements.txt")}
    brought_along = {"httpx2", "markupsafe", "werkzeug"}
    imported = set()
    for path in [*(PROJECT / "app").rglob("*.py"), PROJECT / "gunicorn.conf.py"]:
        imported |= set(re.findall(r"^\s*(?:from|import) (\w+)", path.read_text(), re.MULTILINE))
    imported -= {"app", *sys.stdlib_module_names, *brought_along}
    modules = {"markdown-it-py": "markdown_it", "pyyaml": "yaml"}
    assert imported <= {modules.get(name, name.replace("-", "_")) for name in direct}


# ---- in CI nothing is skipped for want of a browser


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_a_skipped_browser_test_fails_in_ci_only(tmp_path: Path, ci: str, status: int) -> None:
    shutil.copy(PROJECT / "conftest.py", tmp_path)
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = browser: x\n")
    (tmp_path / "test_page.py").write_text(
        "import pytest\n\n@pytest.mark.browser\ndef test_page():\n    pytest.skip('no Chromium here')\n"
        "\n\ndef test_other():\n    pytest.skip('another reason')\n"
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env={"PATH": os.environ["PATH"], "CI": ci},
        capture_output=True,
        text=True,
    )
    assert done.returncode == status, done.stdout
    assert "no Chromium here" in done.stdout
    assert ("1 failed, 1 skipped" if ci else "2 skipped") in done.stdout
