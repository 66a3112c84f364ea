"""The window on a virtual screen: what it shows, what its keys do, what it says of mistakes, and what it keeps."""

from __future__ import annotations

import csv
import json
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app import formatting
from app.command_line import report
from app.config import PROJECT
from app.desktop.tasks import TASKS
from app.history.run_log import CLI_FILE, RunLog
from app.runs import estimate_run
from tests.screen import Screen, virtual_screen
from tests.window import Driver, cells, open_window

pytestmark = pytest.mark.desktop

LLAMA_70B = "meta-llama/Llama-3.1-70B-Instruct"


# ---- what it shows


@pytest.mark.parametrize("kind", TASKS)
def test_every_input_is_there_with_its_label_unit_and_help(window: Driver, kind: str) -> None:
    window.turn_to(kind)
    form, inputs = window.window.form, TASKS[kind].inputs
    assert list(form.fields) and set(form.fields) == set(inputs)
    for name, one in inputs.items():
        field = form.fields[name]
        texts = {child["text"] for child in field.widget.master.winfo_children() if child.winfo_class() == "TLabel"}
        assert {one.label} <= texts and (not one.unit or one.unit in texts), name
    window.press("<Control-Key-0>", form.fields["model"].widget)
    assert window.status.startswith(f"Model: {inputs['model'].help}")


def test_inputs_described_by_hand_appear_where_something_is_custom(window: Driver) -> None:
    form = window.window.form
    layers = form.fields["num_layers"].widget
    assert not layers.winfo_viewable() and "num_layers" not in form.raw()
    window.type(model="custom")
    assert layers.winfo_viewable() and form.raw()["num_layers"] == "32"
    window.type(model=LLAMA_70B)
    assert not layers.winfo_viewable()


def test_an_answer_is_verdict_bar_tiles_and_numbers_with_ranges(window: Driver) -> None:
    run = window.calculate(model=LLAMA_70B, gpu="h200-sxm", num_gpus=2)
    result, found = window.window.result, run.results
    assert window.tab == "Result"
    assert result.verdict["text"] == found["verdict"]
    tile = result.tiles[0]
    assert tile.figure["text"] == formatting.milliseconds(found["ttft_ms"]["value"])
    between = formatting.range_text(*(formatting.milliseconds(found["ttft_ms"][end]) for end in ("low", "high")))
    assert tile.range["text"] == between
    assert cells(result.numbers)["Time to first token"] == (tile.figure["text"], between)
    assert cells(result.numbers)["Weights"][0] == f"{formatting.gib(found['memory_bytes_per_gpu']['weights'])} GiB"
    assert window.window.report.text.get("1.0", "end").split("\n")[:-1] == list(report.estimate(run))


def test_the_bar_is_as_long_as_the_parts_are_large(window: Driver, screen: Screen) -> None:
    """Pixels of each colour stand to each other as bytes do."""
    run = window.calculate(model="meta-llama/Llama-3.1-8B-Instruct", gpu="l40s", concurrency=64)
    memory, palette = run.results["memory_bytes_per_gpu"], window.window.theme.palette
    picture = screen.picture()
    weights, cache = picture.count(palette["chart-part-1"]), picture.count(palette["chart-part-2"])
    button = window.window.questions.button.winfo_width() * window.window.questions.button.winfo_height()
    bar_height = window.window.theme.px(24)
    width = window.window.result.bar.winfo_width()
    per_byte = (width - 2 * window.window.theme.px(2)) * bar_height / memory["device"]
    assert cache == pytest.approx(memory["kv_cache"] * per_byte, rel=0.05)
    assert weights >= memory["weights"] * per_byte * 0.95
    assert weights <= memory["weights"] * per_byte * 1.05 + button  # It has the same colour.


def test_what_does_not_fit_reaches_beyond_the_capacity_and_says_what_would_help(window: Driver) -> None:
    run = window.calculate(model=LLAMA_70B, gpu="l40s", num_gpus=1)
    result = window.window.result
    assert run.results["fits"] is False
    assert str(result.verdict["style"]) == "no.TLabel"
    assert all(remedy in result.advice["text"] for remedy in run.results["remedies"])
    assert cells(result.numbers)["Time to first token"][0] == "does not run"
    first, *_ = (window.window.ranking.tree.item(row, "values") for row in window.window.ranking.tree.get_children())
    assert first[0] == run.results["layout"]["strategy"] and first[-1] == "does not fit"


@pytest.fixture(scope="session")
def dense_screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    """Of the whole session, as Tk ends the process where a screen that it has once used goes away."""
    with virtual_screen(tmp_path_factory.mktemp("dense"), size="3000x2200", dpi=192) as one:
        yield one


def test_sizes_follow_the_density_of_the_screen(
    screen: Screen, dense_screen: Screen, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = []
    for one in (screen, dense_screen):
        monkeypatch.setenv("DISPLAY", one.display)
        with open_window(tmp_path) as driver:
            driver.calculate()
            entry, bar = driver.window.form.fields["input_tokens"].widget, driver.window.result.bar
            sizes.append((entry.winfo_height(), bar.winfo_height(), driver.window.root.winfo_width()))
    for plain, dense in zip(*sizes, strict=True):
        assert dense == pytest.approx(2 * plain, rel=0.15)


def test_a_small_window_still_shows_the_numbers(window: Driver) -> None:
    window.calculate()
    window.window.root.geometry("760x480")
    window.settle(30)
    tiles = window.window.result.tiles
    assert {int(tile.grid_info()["row"]) for tile in tiles} == {0, 1}
    assert window.window.questions.button.winfo_viewable()
    assert window.window.root.winfo_width() == 760
    result = window.window.result
    last = result.numbers.get_children(result.numbers.get_children()[-1])[-1]
    result.numbers.selection_set(last)
    window.settle()
    _, y, _, height = result.numbers.bbox(last)
    bottom = result.numbers.winfo_rooty() + y + height
    assert result.canvas.winfo_rooty() < bottom <= result.canvas.winfo_rooty() + result.canvas.winfo_height()


def test_dark_colours_and_larger_text(window: Driver, screen: Screen) -> None:
    window.calculate()
    before = window.window.form.fields["input_tokens"].widget.winfo_reqheight()
    window.window.dark.set(True)
    window.window.recolour()
    window.press("<Control-plus>")
    window.press("<Control-plus>")
    window.settle(30)
    assert window.window.form.fields["input_tokens"].widget.winfo_reqheight() > before
    picture = screen.picture()
    assert picture.count("#0e1117") > 10 * picture.count("#f5f6f8")
    assert picture.count("#7c91ff") > 0


def test_the_colours_are_those_of_the_pages() -> None:
    pytest.importorskip("tkinter")
    from app.desktop.theme import DARK, LIGHT

    css = (PROJECT / "static" / "app.css").read_text()
    for palette, selector in ((LIGHT, r':root, \[data-theme="light"\]'), (DARK, r'\n\[data-theme="dark"\]')):
        block = re.search(selector + r"[^{]*\{(.*?)\n\}", css, re.DOTALL)
        assert block is not None
        said = dict(re.findall(r"--([a-z0-9-]+): (#[0-9a-f]{6})", block[1]))
        assert {name: said.get(name) for name in palette} == dict(palette)


# ---- keys


def test_it_is_used_without_a_mouse(window: Driver) -> None:
    """Keys calculate, turn pages and search; Tab leads from the model through the inputs to the button and numbers."""
    form = window.window.form
    window.press("<Control-Return>")
    window.until(lambda: window.run and not window.window.history.worker.busy)
    window.press("<Control-Key-0>", form.fields["model"].widget)
    reached, kinds = set(), set()
    for _ in range(60):
        focus = window.window.root.focus_get()
        reached.add(str(focus))
        kinds.add(focus.winfo_class())
        focus.tk_focusNext().focus_force()
        window.settle(2)
    wanted = [form.fields[name].widget for name in ("input_tokens", "concurrency", "gpu", "num_gpus")]
    wanted += [form.sections["layout"].button, window.window.questions.button, window.window.result.numbers]
    assert {str(widget) for widget in wanted} <= reached
    assert not kinds & {"TLabel", "TFrame", "Frame", "Canvas"}, "what cannot be used is no stop"
    window.press("<Control-f>")
    assert window.tab == "History" and window.window.root.focus_get() is window.window.history.entry
    window.press("<Alt-Key-4>")
    assert window.tab == "Report"


def test_return_in_an_entry_calculates(window: Driver) -> None:
    window.press("<Return>", window.window.form.fields["output_tokens"].widget)
    window.until(lambda: window.run)


def test_the_focus_is_kept_in_sight(window: Driver) -> None:
    form = window.window.form
    form.sections["engine"].unfold(True)
    window.settle()
    last = list(form.sections["engine"].fields.values())[-1].widget
    last.focus_force()
    window.settle()
    below = form.canvas.winfo_rooty() + form.canvas.winfo_height()
    assert form.canvas.winfo_rooty() <= last.winfo_rooty() <= below - last.winfo_height()


def test_typing_into_the_list_of_models_narrows_it(window: Driver) -> None:
    field = window.window.form.fields["model"]
    field.value.set("qwen3 32b")
    offered = field.matching()
    assert "Qwen/Qwen3-32B" in offered and len(offered) < 10
    field.value.set("")
    assert len(field.matching()) > 150


# ---- mistakes


def test_mistakes_are_told_beside_their_inputs_and_the_first_has_the_focus(window: Driver) -> None:
    window.type(input_tokens="many", tp="0")
    window.window.questions.button.invoke()
    window.settle()
    assert "'many' is not a number" in window.message("input_tokens")
    assert "out of range" in window.message("tp")
    assert window.window.form.fields["tp"].widget.winfo_viewable(), "its folded part is opened"
    assert window.window.root.focus_get() is window.window.form.fields["input_tokens"].widget
    assert window.run is None
    window.calculate(input_tokens=100, tp="")
    assert not window.message("input_tokens") and not window.message("tp")


def test_what_only_the_core_can_see_is_told_beside_its_input_too(window: Driver) -> None:
    for texts, name, said in (
        ({"gpu": "abacus"}, "gpu", "abacus"),
        ({"gpu": "h100-sxm", "model": "custom", "num_kv_heads": "5"}, "num_kv_heads", "does not divide"),
    ):
        window.type(**texts)
        window.window.questions.button.invoke()
        window.until(lambda: not window.window.worker.busy)
        assert said in window.message(name)


def test_a_log_that_cannot_be_written_costs_the_log_and_not_the_answer(screen: Screen, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with open_window(tmp_path / "file" / "runs") as window:
        run = window.calculate()
        assert run.results["verdict"] == window.window.result.verdict["text"]
        assert "could not be saved" in window.status or "cannot be read" in window.status


def test_the_window_answers_while_it_calculates(window: Driver, monkeypatch: pytest.MonkeyPatch) -> None:
    go_on = threading.Event()

    def slow(raw: dict[str, str], *, source: str) -> object:
        assert go_on.wait(30)
        return estimate_run(raw, source=source)

    monkeypatch.setitem(TASKS, "estimate", replace(TASKS["estimate"], door=slow))
    window.window.questions.button.invoke()
    window.settle()
    assert window.window.worker.busy and window.window.questions.button.instate(["disabled"])
    window.press("<Alt-Key-5>")
    assert window.tab == "History"
    go_on.set()
    window.until(lambda: window.run)
    assert window.window.questions.button.instate(["!disabled"])


def test_a_fault_of_ours_is_one_line_there_and_a_trace_on_stderr(
    window: Driver, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def broken(raw: dict[str, str], *, source: str) -> object:
        raise RuntimeError("it broke")

    monkeypatch.setitem(TASKS, "estimate", replace(TASKS["estimate"], door=broken))
    window.window.questions.button.invoke()
    window.until(lambda: not window.window.worker.busy)
    assert window.status == "Something went wrong here: RuntimeError: it broke"
    assert "Traceback" in capsys.readouterr().err
    assert window.window.questions.button.instate(["!disabled"])


# ---- history, comparison, export


def test_runs_are_in_the_history_that_all_share(window: Driver, tmp_path: Path) -> None:
    log = RunLog(tmp_path / "logging")
    log.append(estimate_run({"gpu": "l40s"}, source="web"))
    run = window.calculate(gpu="b200")
    assert (run.source, run.kind) == ("desktop", "estimate")
    assert run.run_id in (tmp_path / "logging" / CLI_FILE).read_text()
    tree = window.window.history.tree
    sources = [tree.set(row, "source") for row in tree.get_children()]
    assert sources == ["desktop", "web"]


def test_the_history_is_searched_and_sorted(window: Driver) -> None:
    for gpu in ("l40s", "b200", "h200-sxm"):
        window.calculate(gpu=gpu)
    history = window.window.history
    history.sort_by("tpot")
    window.until(lambda: not history.worker.busy)
    found = [history.tree.set(row, "gpu") for row in history.tree.get_children()]
    assert found[0].startswith("L40S")
    history.search.set("b200")
    window.until(lambda: not history.worker.busy)
    assert [history.tree.set(row, "gpu") for row in history.tree.get_children()] == ["HGX B200 180GB"]
    assert history.foot["text"] == "1 of 3 runs"


def test_a_run_of_the_history_is_opened_with_its_inputs(window: Driver) -> None:
    first = window.calculate(model=LLAMA_70B, gpu="h200-sxm", kv_precision="fp8", concurrency="saturated", tp=2)
    window.press("<Control-r>")
    assert window.window.form.raw()["concurrency"] == "16"
    window.calculate()
    history = window.window.history
    window.press("<Alt-Key-5>")
    history.tree.selection_set(first.run_id)
    window.press("<Return>", history.tree)
    window.until(lambda: window.run == first)
    raw = window.window.form.raw()
    assert (raw["model"], raw["gpu"], raw["kv_precision"], raw["concurrency"], raw["tp"]) == (
        LLAMA_70B, "h200-sxm", "fp8", "saturated", "2"
    )  # fmt: skip
    assert window.window.form.sections["layout"].open and not window.window.form.sections["price"].open


def test_runs_are_compared_side_by_side(window: Driver) -> None:
    runs = [window.calculate(gpu=gpu) for gpu in ("l40s", "h200-sxm")]
    history = window.window.history
    assert history.compare_button.instate(["disabled"])
    history.tree.selection_set([run.run_id for run in runs])
    window.settle()
    history.compare_button.invoke()
    window.until(lambda: window.window.comparison.runs)
    lines = cells(window.window.comparison.tree)
    assert window.tab == "Compare"
    assert set(lines["Accelerator"]) == {"l40s", "h200-sxm"}
    assert len(set(lines["TPOT, ms"])) == 2
    window.window.comparison.only_different.set(True)
    window.window.comparison.fill()
    assert "Prompt, tokens" in lines and "Prompt, tokens" not in cells(window.window.comparison.tree)


def test_results_and_history_are_exported(window: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = window.calculate(gpu="l40s")
    chosen = iter([tmp_path / "a.json", tmp_path / "a.txt", tmp_path / "runs.csv", tmp_path / "no" / "a.json", ""])
    monkeypatch.setattr("app.desktop.export.filedialog.asksaveasfilename", lambda **_: str(next(chosen)))
    for key in ("<Control-s>", "<Control-s>", "<Control-e>"):
        window.press(key)
    window.until(lambda: (tmp_path / "runs.csv").exists())
    assert json.loads((tmp_path / "a.json").read_text()) == run.as_dict()
    assert (tmp_path / "a.txt").read_text().splitlines() == list(report.estimate(run))
    with (tmp_path / "runs.csv").open(newline="") as file:
        assert [row["run_id"] for row in csv.DictReader(file)] == [run.run_id]
    window.press("<Control-s>")
    assert "cannot be written: No such file or directory" in window.status
    window.press("<Control-s>")  # The dialogue was closed without a name.


def test_the_command_on_the_clipboard_repeats_the_run(window: Driver) -> None:
    window.calculate(gpu="l40s", concurrency="saturated", kv_precision="fp8")
    window.window.copy_command()
    assert window.window.root.clipboard_get() == (
        "python -m app estimate --gpu l40s --kv-precision fp8 --concurrency saturated"
    )


# ---- the command


def command(*arguments: str, code: str = "", **environ: str) -> subprocess.CompletedProcess[str]:
    start = ["-c", code] if code else ["-m", "app"]
    return subprocess.run(
        [sys.executable, *start, *arguments], cwd=PROJECT, env=environ, capture_output=True, text=True, timeout=60
    )


def test_without_a_screen_it_says_so_in_one_line() -> None:
    pytest.importorskip("tkinter")
    done = command("desktop")
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"Error in DISPLAY: There is no screen to open the window on: .*\n", done.stderr)
    as_json = command("desktop", "--json")
    assert json.loads(as_json.stderr)["error"]["field"] == "DISPLAY"


def test_without_tkinter_it_says_what_to_install() -> None:
    done = command(
        "desktop", code="import sys; sys.modules['tkinter'] = None; from app.command_line.main import main; main()"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert re.fullmatch(r"Error: The window needs tkinter, .* apt-get install python3-tk\.\n", done.stderr)


def test_the_command_opens_the_window_until_it_is_closed(screen: Screen, tmp_path: Path) -> None:
    """For real: another process, whose window is found on the screen and closed by Ctrl+Q."""
    code = (
        "import tkinter, app.command_line.main\n"
        "loop = tkinter.Misc.mainloop\n"
        "def close(self, n=0):\n"
        "    self.after(1500, lambda: (self.focus_force(), self.update(), self.event_generate('<Control-q>')))\n"
        "    loop(self, n)\n"
        "tkinter.Misc.mainloop = close\n"
        "app.command_line.main.main()\n"
    )
    done = command("desktop", code=code, DISPLAY=screen.display, LOG_DIR=str(tmp_path))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_nothing_else_loads_tkinter() -> None:
    code = "import sys, app.command_line.main, app.factory, app.desktop.start; print('tkinter' in sys.modules)"
    assert command(code=code).stdout == "False\n"
    users = [
        path.relative_to(PROJECT / "app").parts[0]
        for path in (PROJECT / "app").rglob("*.py")
        if re.search(r"import tkinter|from tkinter", path.read_text())
    ]
    assert set(users) == {"desktop"}
