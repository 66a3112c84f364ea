"""Every script and notebook of examples/ runs as its docstring says, and says something true."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from app.config import PROJECT

EXAMPLES = PROJECT / "examples"
#: A line that each script must print for its question to be answered.
ANSWERS = {
    "which_gpu_for_chat.py": r"\$ +\d+\.\d\d per 1M tokens   TTFT +\d+ ms   TPOT +[\d.]+ ms   \d+ x .+",
    "rag_on_two_l40s.py": r"fp8 weights, fp8 cache: Fits: .+ on 2 x L40S 48GB\.",
    "fp8_against_bf16.py": r"fp8 weights and cache .+",
    "cost_of_lora.py": r"h100-sxm +lora +[\d.]+ h +\$ *[\d.]+ +[\d.]+ GiB +MFU \d+%",
    "published_table.py": r"\d+ of \d+ rows, median error \d+%",
    "calibrate_on_your_own.py": r"Calibration +my cluster",
    "sweep.py": r"Wrote .*sweep\.csv and .*sweep\.html",
}


def run(name: str, directory: Path, *arguments: str) -> str:
    environ = os.environ | {"DATA_DIR": str(directory / "data"), "LOG_DIR": str(directory / "log")}
    done = subprocess.run(
        [sys.executable, EXAMPLES / name, *arguments], cwd=directory, env=environ, capture_output=True, text=True
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def test_all_are_here_and_in_the_list() -> None:
    scripts = {path.name for path in EXAMPLES.glob("*.py")}
    assert scripts == set(ANSWERS)
    listed = set(re.findall(r"\]\(([\w.]+)\)", (EXAMPLES / "README.md").read_text()))
    assert listed == scripts | {path.name for path in EXAMPLES.glob("*.ipynb")}


@pytest.mark.parametrize("name", ANSWERS)
def test_a_script_answers_its_question(name: str, tmp_path: Path) -> None:
    assert re.search(rf"^{ANSWERS[name]}$", run(name, tmp_path), re.MULTILINE)


def test_which_gpu_keeps_to_the_goals_and_lists_the_cheapest_first(tmp_path: Path) -> None:
    lines = run("which_gpu_for_chat.py", tmp_path, "--max-tpot-ms", "35").splitlines()
    rows = [list(map(float, re.findall(r"[\d.]+", line)[:5])) for line in lines]
    assert len(rows) > 1
    assert [row[0] for row in rows] == sorted(row[0] for row in rows)
    assert all(ttft <= 1000 and tpot <= 35 for _, _, ttft, tpot, _ in rows)


def test_the_sweep_is_a_table_and_a_chart(tmp_path: Path) -> None:
    run("sweep.py", tmp_path, "--gpu", "l40s")
    with (tmp_path / "sweep.csv").open(newline="") as file:
        rates = [float(row["output_tokens_per_s"]) for row in csv.DictReader(file)]
    assert len(rates) == 9 and rates == sorted(rates)
    assert "Plotly.newPlot" in (tmp_path / "sweep.html").read_text(encoding="utf-8")


def test_the_notebook_runs_from_top_to_bottom(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(EXAMPLES)
    monkeypatch.setattr(sys, "path", list(sys.path))
    notebook = json.loads((EXAMPLES / "sizing.ipynb").read_text(encoding="utf-8"))
    assert notebook["nbformat"] == 4
    code = ["".join(cell["source"]) for cell in notebook["cells"] if cell["cell_type"] == "code"]
    names: dict[str, object] = {}
    for number, cell in enumerate(code, start=1):
        exec(compile(cell, f"cell {number}", "exec"), names)
    out = capsys.readouterr().out
    assert "70.6 billion parameters, 131 GiB in bf16" in out and "320 KiB of cache per token" in out
    assert all(not cell.get("outputs") for cell in notebook["cells"]), "kept without outputs, which would grow old"
