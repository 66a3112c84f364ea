"""docs/architecture.md is true: every file it names is there, and each recipe is followed in a copy of the project."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from app.config import PROJECT

TEXT = (PROJECT / "docs" / "architecture.md").read_text(encoding="utf-8")
RECIPES = {part.split("\n")[0]: part for part in TEXT.split("\n### ")[1:]}
#: What a step does, in the document's own words, and the block below it.
STEP = re.compile(
    r"(?:(Write) `([^`]+)`|(At the end of) `([^`]+)`|In `([^`]+)`, (after the line that begins with) `([^`]+)`)"
    r"[^\n]*(?:\n[^\n]+)*:\n\n```\w+\n(.*?)^```",
    re.MULTILINE | re.DOTALL,
)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the project in which all recipes are followed, one after the other."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(PROJECT / "app", root / "app", ignore=shutil.ignore_patterns("__pycache__"))
    return root


def follow(recipe: str, root: Path) -> int:
    """Do every step of a recipe; how many there were."""
    steps = list(STEP.finditer(RECIPES[recipe]))
    for step in steps:
        write, new, _, end, inside, _, anchor, block = step.groups()
        path = root / (new or end or inside)
        if write:
            assert not path.exists()
            path.write_text(block)
        elif end:
            path.write_text(path.read_text().rstrip("\n") + "\n" + block)
        else:
            lines = path.read_text().splitlines(keepends=True)
            (at,) = (number for number, line in enumerate(lines) if line.strip().startswith(anchor))
            path.write_text("".join([*lines[: at + 1], block, *lines[at + 1 :]]))
    return len(steps)


def app(root: Path, *arguments: str) -> str:
    environ = os.environ | {"LOG_DIR": str(root / "log"), "DATA_DIR": str(root / "data")}
    done = subprocess.run(
        [sys.executable, "-m", "app", *arguments], cwd=root, env=environ, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_a_model(copy: Path) -> None:
    assert follow("A model", copy) == 2
    facts = json.loads(app(copy, "model", "example/Tiny-1B", "--json"))
    assert facts["total_params"] == 1_235_814_400, "the size of Llama-3.2-1B, whose shape it has"
    assert "Fits" in app(copy, "estimate", "--model", "example/Tiny-1B")


def test_an_accelerator(copy: Path) -> None:
    assert follow("An accelerator", copy) == 2
    facts = json.loads(app(copy, "gpu", "Example X1", "--json"))
    assert (facts["gpu"], facts["memory_bytes"], facts["peak_flops_per_s"]["fp8"]) == ("example-x1", 96 * 2**30, 1e15)
    assert "Fits" in app(copy, "estimate", "--gpu", "example-x1")


def test_an_engine(copy: Path) -> None:
    path = copy / "app" / "data" / "engines.toml"
    tables = re.split(r"\n(?=\[)", path.read_text())
    (nearest,) = (table for table in tables if table.startswith("[vllm]"))
    changed = nearest.replace("[vllm]", "[example]").replace('"vLLM"', '"Example"').replace("= 0.90", "= 0.80")
    path.write_text(path.read_text().rstrip("\n") + "\n\n" + changed)

    def capacity(engine: str) -> int:
        found = json.loads(app(copy, "estimate", "--engine", engine, "--json"))["results"]
        return found["memory_bytes_per_gpu"]["capacity"]

    assert capacity("example") == pytest.approx(capacity("vllm") * 8 / 9)


def test_a_metric(copy: Path) -> None:
    assert follow("A metric", copy) == 4
    found = json.loads(app(copy, "estimate", "--json"))["results"]
    assert found["output_tokens_per_joule"]["value"] == pytest.approx(1 / found["energy_j_per_token"]["value"])
    assert re.search(r"^Output per joule +[\d.]+ tokens/J$", app(copy, "estimate"), re.MULTILINE)
    code = (
        "from app import runs\nfrom app.pages import result as result_page\n"
        "r = runs.estimate_run({}, source='cli').results\n"
        "print(result_page.is_complete(r), [m.value for m in result_page.metrics(r)['Energy'] if 'joule' in m.label])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=copy, capture_output=True, text=True, check=True)
    assert re.fullmatch(r"True \['[\d.]+'\]\n", done.stdout)


def test_every_recipe_is_followed_or_described_by_another_test() -> None:
    assert list(RECIPES) == ["A model", "An accelerator", "An engine", "An input", "A metric"]


def test_an_input_is_declared_where_the_recipe_says() -> None:
    """That front ends derive from it is what test_calculator, test_cli, test_openapi and tests/desktop show."""
    path, anchor = re.search(r"In `([^`]+)`, after the line that begins with `([^`]+)`", RECIPES["An input"]).groups()
    assert re.search(rf"^{anchor}$", (PROJECT / path).read_text(), re.MULTILINE)


def test_every_file_that_is_named_is_there() -> None:
    named = set(re.findall(r"`((?:app/|calculations/|tests/)?[\w/]+\*?\.(?:py|csv|toml))`", TEXT)) - {"aliases.csv"}
    assert len(named) > 20
    for name in named:
        places = [PROJECT, PROJECT / "app", PROJECT / "app" / "calculations", PROJECT / "app" / "data"]
        assert any(list(place.glob(name)) for place in [*places, PROJECT / "app" / "data" / "models"]), name
