"""The core is pure: no framework, no file, no clock, no environment, no output. It loads without Flask."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
MODULES = sorted((ROOT / "app" / "calculations").rglob("*.py"))

#: Of the standard library: what reads or changes the world.
WORLDLY = {
    "asyncio", "builtins", "calendar", "configparser", "ctypes", "datetime", "fileinput", "getpass", "glob",
    "http", "importlib", "io", "locale", "logging", "mmap", "multiprocessing", "os", "pathlib", "pkgutil",
    "platform", "random", "secrets", "shelve", "shutil", "signal", "socket", "sqlite3", "subprocess", "sys",
    "tempfile", "threading", "time", "tkinter", "urllib", "uuid", "warnings", "webbrowser",
}  # fmt: skip
#: The one door to the catalogue: these modules import it, inside functions only, for who asks by name.
DOORS = {"advanced_lookups.py": {"app", "app.scenarios"}}
CALLS = {"print", "open", "input", "exec", "eval", "compile", "__import__", "breakpoint"}


def imported(tree: ast.AST) -> set[str]:
    """Full names of the modules that a file imports."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add("." * node.level + (node.module or ""))
    return names


def test_the_core_is_there() -> None:
    assert len(MODULES) > 10


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_imports(path: Path) -> None:
    for name in imported(ast.parse(path.read_text(encoding="utf-8"))) - DOORS.get(path.name, set()):
        top = name.split(".")[0]
        own = name == "app.calculations" or name.startswith("app.calculations.")
        assert own or top == "numpy" or (top in sys.stdlib_module_names and top not in WORLDLY), name


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_calls(path: Path) -> None:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = {node.func.id for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name)}
    assert not names & CALLS


def loaded_by(statement: str) -> set[str]:
    code = f"import sys\n{statement}\nprint(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    return set(done.stdout.split())


def test_the_core_loads_without_a_framework() -> None:
    """That is what keeps its start at a fraction of Flask's or numpy's: about 0.1 s."""
    loaded = loaded_by("import app.calculations")
    assert not loaded & {"flask", "click", "wtforms", "plotly", "jinja2", "numpy", "app.catalog", "app.scenarios"}


def test_all_that_the_core_offers_loads_without_a_framework() -> None:
    names = "AdvancedCalculator, InvalidInput, Model, ServingScenario, estimate, plan, results, train"
    loaded = loaded_by(f"from app.calculations import {names}")
    assert not loaded & {"flask", "click", "wtforms", "plotly", "jinja2", "numpy", "app.catalog", "app.scenarios"}


def test_the_command_line_loads_without_flask() -> None:
    assert not loaded_by("import app.command_line.main") & {"flask", "wtforms", "plotly", "jinja2", "werkzeug"}
