"""docs/api.md and docs/python.md run as they stand: every line of its examples, every address and method it names."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from app import openapi
from app.calculations import AdvancedCalculator
from app.command_line.main import main
from app.factory import create_app

ROOT = Path(__file__).resolve().parent.parent
TEXT = (ROOT / "docs" / "api.md").read_text(encoding="utf-8")
PYTHON = (ROOT / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", TEXT, re.MULTILINE | re.DOTALL)
LINES = [line for language, block in BLOCKS if language == "sh" for line in block.splitlines()]
COMMANDS = [line for line in LINES if line.startswith("python -m app ")]
REQUESTS = [line for line in LINES if line.startswith("curl ")]
PROGRAMS = re.findall(r"^```python\n(.*?)^```", PYTHON, re.MULTILINE | re.DOTALL)


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    return create_app({"LOG_DIR": tmp_path, "TESTING": True}).test_client()


def test_every_line_is_run_here() -> None:
    assert set(COMMANDS) | set(REQUESTS) == set(LINES)
    assert {language for language, _ in BLOCKS} == {"sh"}


@pytest.mark.parametrize("line", COMMANDS)
def test_command_lines(line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    words = shlex.split(line.removeprefix("python -m app "))
    done = CliRunner().invoke(main, words, env={"LOG_DIR": str(tmp_path), "DATA_DIR": str(tmp_path / "data")})
    assert (done.exit_code, done.stderr) == (0, "")
    assert done.stdout


@pytest.mark.parametrize("line", REQUESTS)
def test_requests(line: str, client: FlaskClient) -> None:
    _, silent, address, *rest = shlex.split(line)
    assert silent == "-s"
    path = address.removeprefix("http://localhost:5000")
    response = client.post(path, data=rest[rest.index("-d") + 1]) if rest else client.get(path)
    assert response.status_code == 200
    assert json.loads(response.text)


@pytest.mark.parametrize("program", PROGRAMS)
def test_programs(program: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    exec(compile(program, "docs/python.md", "exec"), {})
    assert capsys.readouterr().out


def test_every_address_is_in_the_table() -> None:
    for path, methods in openapi.document()["paths"].items():
        shown = re.sub(r"{(\w+)}", r"<\1>", path)
        for method in methods:
            assert f"`{method.upper()} /api/v1{shown}`" in TEXT


def test_every_method_of_the_calculator_is_in_the_table() -> None:
    for name in dir(AdvancedCalculator):
        assert name.startswith("_") or f"| `{name}` |" in PYTHON


def test_every_command_is_named() -> None:
    for name in main.commands:
        assert f"python -m app {name}" in TEXT
