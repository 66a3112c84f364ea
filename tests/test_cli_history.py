"""`python -m app history`: lists, searches, exports, checks and tidies the log."""

from __future__ import annotations

import csv
import importlib
import io
import json
import os
import pty
import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest

from app.config import PROJECT
from app.history import log_care
from app.history.run_log import CLI_FILE, WEB_FILE, Run, RunLog
from tests.test_cli import Program
from tests.test_history import logged
from tests.test_run_log import NOT_RUNS, write_lines

#: The module; the command has its name.
history_command = importlib.import_module("app.command_line.history")
QWEN = "Qwen/Qwen2.5-72B-Instruct"


@pytest.fixture
def log(tmp_path: Path) -> RunLog:
    return RunLog(tmp_path / "logging", max_bytes=3000)


@pytest.fixture
def run(log: RunLog, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    return Program(log.directory)


@pytest.fixture
def runs(log: RunLog) -> dict[str, Run]:
    """In several generations of both files."""
    runs = {
        "first": logged(1),
        "qwen": logged(2, source="cli", model=QWEN, days=1),
        "b200": logged(3, gpu=("b200", "B200 SXM 192GB"), days=2),
        "noted": logged(4, days=3),
        "trained": Run(**{**logged(5, source="cli", days=4).as_dict(), "kind": "train"}),
    }
    runs["noted"].inputs["note"] = "=1+1 for the board"
    for one in runs.values():
        log.append(one)
    return runs


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ((), "trained noted b200 qwen first"),
        (("--limit", "2"), "trained noted"),
        (("--model", QWEN), "qwen"),
        (("--model", "qwen2.5-72b-instruct"), "qwen"),
        (("--gpu", "B200"), "b200"),
        (("--kind", "train"), "trained"),
        (("--since", "2026-11-25"), "trained noted b200"),
        (("--text", "BOARD llama"), "noted"),
        (("--since", "2026-11-24", "--gpu", "h100-sxm", "--limit", "2"), "trained noted"),
        (("--model", "nobody/has-this"), ""),
    ],
)
def test_filters(run: Program, runs: dict[str, Run], options: tuple[str, ...], expected: str) -> None:
    found = run.json("history", *options)["runs"]
    assert found == [runs[name].as_dict() for name in expected.split()]


def test_nothing_found_is_said(run: Program, runs: dict[str, Run]) -> None:
    assert run("history", "--text", "nothing like it").stdout == "No run matches.\n"


def test_csv_holds_all_runs_and_no_formula(run: Program, runs: dict[str, Run]) -> None:
    rows = list(csv.DictReader(io.StringIO(run("history", "--csv").stdout, newline="")))
    assert [row["run_id"] for row in rows] == [one.run_id for one in reversed(runs.values())]
    assert rows[1]["note"] == "'=1+1 for the board"


@pytest.mark.parametrize(
    ("options", "field"),
    [
        (("--since", "yesterday"), "since"),
        (("--kind", "guess"), "kind"),
        (("--csv", "--verify"), "csv"),
        (("--limit", "0"), "limit"),
        (("--verify", "--model", QWEN), "model"),
        (("--compact", "--since", "2026-11-25"), "since"),
        (("--verify", "--limit", "5"), "limit"),
    ],
)
def test_what_is_refused(run: Program, options: tuple[str, ...], field: str) -> None:
    done = run("history", *options)
    assert (done.exit_code, field in done.stderr) == (2, True)


def test_verify_counts_runs_broken_lines_and_twins(run: Program, log: RunLog, runs: dict[str, Run]) -> None:
    write_lines(log.directory, *list(NOT_RUNS.values())[:5], b"", NOT_RUNS["a later schema"])
    write_lines(log.directory, b"torn", name=CLI_FILE)
    log.append(runs["first"])
    files = len(log.files())
    assert run.json("history", "--verify") == {"files": files, "good": 6, "newer": 1, "broken": 6, "duplicates": 1}
    counted = "6 runs, 1 of a newer version, 6 broken lines, 1 twins"
    assert run("history", "--verify").stdout == f"{files} files: {counted}.\n"


def test_compacting_takes_out_what_verify_counts_and_nothing_else(
    run: Program, log: RunLog, runs: dict[str, Run]
) -> None:
    write_lines(log.directory, *NOT_RUNS.values())
    newer = Run(**{**runs["first"].as_dict(), "results": {"fits": False}})
    log.append(newer)
    before = log_care.verify(log)
    assert (before.broken, before.newer) == (len(NOT_RUNS) - 1, 1)
    assert f"Took {before.broken + 1} lines out" in run("history", "--compact").stdout
    assert log_care.verify(log) == log_care.Tally(files=before.files, good=5, newer=1)
    kept = b"".join(path.read_bytes() for path in log.directory.glob(f"{WEB_FILE}*"))
    assert NOT_RUNS["a later schema"] in kept.splitlines()
    assert log.get(newer.run_id) == newer
    assert {one.run_id for one in log.read().runs} == {one.run_id for one in runs.values()}
    removed = (log.directory / log_care.REMOVED).read_bytes().splitlines()
    gone = {line for name, line in NOT_RUNS.items() if name != "a later schema" and b"\n" not in line}
    assert gone <= set(removed) and len(removed) >= before.broken + 1
    assert "Nothing to take out." in run("history", "--compact").stdout


def test_runs_appended_while_the_log_is_compacted_stay(log: RunLog) -> None:
    for number in range(200):
        log.append(logged(number))
        write_lines(log.directory, b"foreign")
    writer = threading.Thread(target=lambda: [log.append(logged(number)) for number in range(200, 400)])
    writer.start()
    for _ in range(3):
        log_care.compact(log)
    writer.join()
    assert {one.run_id for one in log.read().runs} == {logged(number).run_id for number in range(400)}


def test_a_compacted_log_is_the_file_of_the_same_user_with_the_same_rights(log: RunLog, tmp_path: Path) -> None:
    """Also where the file is elsewhere and the log a link to it; what was taken out is for nobody else either."""
    write_lines(tmp_path, b"foreign", json.dumps(logged(1).as_dict()).encode(), name="elsewhere")
    elsewhere = tmp_path / "elsewhere"
    elsewhere.chmod(0o640)
    if os.geteuid() == 0:
        os.chown(elsewhere, 1000, 1001)
    before = elsewhere.stat()
    log.directory.mkdir()
    (log.directory / WEB_FILE).symlink_to(elsewhere)
    log_care.compact(log)
    assert (log.directory / WEB_FILE).is_symlink()
    assert elsewhere.read_bytes() == json.dumps(logged(1).as_dict()).encode() + b"\n"
    assert (log.directory / log_care.REMOVED).read_bytes() == b"foreign\n"
    for path in (elsewhere, log.directory / log_care.REMOVED):
        after = path.stat()
        assert (after.st_uid, after.st_gid, after.st_mode) == (before.st_uid, before.st_gid, before.st_mode)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_that_cannot_be_written_is_named(run: Program, log: RunLog, runs: dict[str, Run]) -> None:
    write_lines(log.directory, b"foreign")
    log.directory.chmod(0o500)
    done = run("history", "--compact")
    log.directory.chmod(0o700)
    assert (done.exit_code, "LOG_DIR" in done.stderr) == (2, True)


def test_the_log_survives_a_compaction_that_fails(
    log: RunLog, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    write_lines(log.directory, b"foreign")
    before = (log.directory / WEB_FILE).read_bytes()

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space"):
        log_care.compact(log)
    assert (log.directory / WEB_FILE).read_bytes() == before
    assert not list(log.directory.glob("*.compacting"))


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no file that is always full")
@pytest.mark.parametrize("options", [("--csv",), ("--json",), (), ("--verify",), ("--model", QWEN)])
def test_an_output_that_is_full_is_no_fault_of_the_log(
    log: RunLog, runs: dict[str, Run], tmp_path: Path, options: tuple[str, ...]
) -> None:
    for number in range(10, 200):  # More than a buffer holds.
        log.append(logged(number))
    environment = os.environ | {"LOG_DIR": str(log.directory), "DATA_DIR": str(tmp_path / "data")}
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run([sys.executable, "-m", "app", "history", *options], stdout=full, stderr=subprocess.PIPE,
                              env=environment, cwd=PROJECT, text=True)  # fmt: skip
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert "The output cannot be written: No space left on device." in done.stderr


def test_a_database_that_does_not_answer_is_named_by_its_setting(
    run: Program, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://nobody:hunter2@127.0.0.1:1/nothing")
    done = run("history", "--csv")
    assert (done.exit_code, done.stderr.startswith("Error in DATABASE_URL: ")) == (2, True)
    assert "hunter2" not in done.stderr


def on_a_terminal(words: list[str], environment: dict[str, str], output: Path) -> str:
    """What a command says on a terminal while its output goes to a file."""
    lead, follow = pty.openpty()
    with output.open("wb") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "app", *words], stdout=file, stderr=follow, env=os.environ | environment, cwd=PROJECT
        )
    os.close(follow)
    said = b""
    with suppress(OSError):  # What reading a terminal ends with that nobody writes to any more.
        while part := os.read(lead, 4096):
            said += part
    os.close(lead)
    assert process.wait(timeout=60) == 0, said
    return said.decode()


@pytest.mark.parametrize(
    ("options", "bar"),
    [(("--csv",), "Writing"), (("--json", "--model", QWEN), "Reading the runs")],
    ids=["csv", "json"],
)
def test_a_terminal_sees_how_far_an_export_is_beside_the_file(
    log: RunLog, runs: dict[str, Run], tmp_path: Path, options: tuple[str, ...], bar: str
) -> None:
    environment = {"LOG_DIR": str(log.directory), "DATA_DIR": str(tmp_path / "data")}
    said = on_a_terminal(["history", *options], environment, tmp_path / "output")
    assert "Reading the log" in said and bar in said and "100%" in said
    text = (tmp_path / "output").read_text()
    assert bar not in text and runs["qwen"].run_id in text


@pytest.mark.parametrize("way", ["MANY", "LONG_BYTES"])
def test_many_runs_and_those_of_a_long_log_are_read_by_way_of_the_index_in_the_same_order(
    run: Program, runs: dict[str, Run], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    few = run.json("history", "--limit", "10")["runs"]
    monkeypatch.setattr(history_command, way, 2)
    monkeypatch.setattr(history_command, "READ_AT_ONCE", 2)
    assert run.json("history", "--limit", "10")["runs"] == few
