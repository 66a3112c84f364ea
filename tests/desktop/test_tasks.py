"""Serve, Train and Plan in one window: what each answers, and that they keep to themselves."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from app import formatting
from app.command_line import report_planning, report_training
from app.history.run_log import RunLog
from app.pages import train as train_page
from app.runs import plan_run, train_run
from app.training_work import work_of
from tests.screen import Screen
from tests.window import Driver, cells

pytestmark = pytest.mark.desktop

CLUSTER = {"model": "meta-llama/Meta-Llama-3.1-70B", "num_gpus": 512, "tokens": 2e12}
LOAD = {"gpu": "h100-sxm, l40s", "request_rate": 20, "max_tpot_ms": 40}


def ranked(window: Driver) -> list[tuple[str, ...]]:
    tree = window.window.ranking.tree
    return [tuple(map(str, tree.item(row, "values"))) for row in tree.get_children()]


def launched(window: Driver) -> dict[str, str]:
    """What stands in the pane for each software that can be chosen."""
    pane, found = window.window.launch, {}
    for place, title in enumerate(pane.choice["values"]):
        pane.choice.current(place)
        pane.choice.event_generate("<<ComboboxSelected>>")
        window.settle()
        found[title] = pane.body.text.get("1.0", "end").strip() or str(pane.problem["text"])
    return found


def shown_report(window: Driver) -> list[str]:
    return window.window.report.text.get("1.0", "end").split("\n")[:-1]


# ---- training


def test_training_is_verdict_bar_tiles_and_numbers_with_ranges(window: Driver) -> None:
    window.turn_to("train")
    run = window.calculate(**CLUSTER)
    result, found = window.window.result, run.results
    assert (run.kind, run.source, window.tab) == ("train", "desktop", "Result")
    assert result.verdict["text"] == found["verdict"]
    assert found["layouts"][0]["reason"] in result.subject["text"]
    assert report_training.layout_text(found["layout"]) in result.subject["text"]
    numbers = cells(result.numbers)
    for tile, label, key, write in (
        (0, "Step", found["step_time_s"], formatting.duration),
        (1, "MFU", found["mfu"], formatting.percent),
        (2, "Time", found["run"]["days"], train_page.run_time),
        (3, "Cost", found["run"]["usd"], formatting.usd),
    ):
        between = formatting.range_text(write(key["low"]), write(key["high"]))
        assert (result.tiles[tile].figure["text"], result.tiles[tile].range["text"]) == (write(key["value"]), between)
        assert numbers[label] == (write(key["value"]), between)
    assert numbers["Tokens in total"][0] == f"{formatting.rate(found['tokens_per_s']['value'])} tok/s"
    assert numbers["Energy"][0] == f"{formatting.number(found['run']['mwh']['value'])} MWh"
    assert numbers["Gradients"][0] == f"{formatting.gib(found['memory_bytes_per_gpu']['gradients'])} GiB"
    bubble = found["step_terms_s"]["bubble"]
    assert numbers["Pipeline bubble"][0] == formatting.duration(bubble)
    assert all(warning in result.advice["text"] for warning in found["warnings"])
    assert shown_report(window) == list(report_training.training(run))


def test_the_bar_of_training_has_a_stretch_for_each_term(window: Driver, screen: Screen) -> None:
    window.turn_to("train")
    memory = window.calculate(**CLUSTER).results["memory_bytes_per_gpu"]
    palette, bar = window.window.theme.palette, window.window.result.bar
    height, width = window.window.theme.px(24), bar.winfo_width() - 2 * window.window.theme.px(2)
    per_byte = width * height / 80 / 2**30  # 80 GiB of the GPU, of which 79.2 may be used.
    picture = screen.picture()
    for term, part in (("activations", 6), ("gradients", 2), ("allocator_slack", 7)):
        assert picture.count(palette[f"chart-part-{part}"]) == pytest.approx(memory[term] * per_byte, rel=0.1), term


def test_layouts_are_ranked_with_why_they_lose_and_the_line_below_tells_one_in_full(window: Driver) -> None:
    window.turn_to("train")
    found = window.calculate(**CLUSTER).results
    assert ranked(window) == list(report_training.layouts(found["layouts"]))
    window.press("<Alt-Key-2>")
    window.press("<Down>", window.window.ranking.tree)
    assert report_training.layout_text(found["layouts"][1]["layout"]) in window.status
    assert window.status.endswith(found["layouts"][1]["reason"])


def test_training_is_started_by_what_the_command_line_prints(window: Driver) -> None:
    window.turn_to("train")
    run = window.calculate(**CLUSTER)
    expected = train_page.launches(run.inputs, run.results, work_of(run.inputs, run.results))
    assert launched(window) == {one.title: one.text.strip() or one.problem for one in expected}
    assert next(iter(launched(window))) == "Megatron-LM", "that of the software that was estimated leads"
    pane = window.window.launch
    pane.choice.current(0)
    pane.choice.event_generate("<<ComboboxSelected>>")
    window.settle()
    pane.copy_button.invoke()
    assert window.window.root.clipboard_get() == expected[0].text


def test_training_that_does_not_fit_says_what_would(window: Driver) -> None:
    window.turn_to("train")
    found = window.calculate(model="meta-llama/Meta-Llama-3.1-70B", gpu="l40s", num_gpus=8).results
    result = window.window.result
    assert found["fits"] is False and found["remedies"]
    assert str(result.verdict["style"]) == "no.TLabel"
    assert all(text in result.advice["text"] for text in report_training.remedies(found["remedies"]))


def test_mistakes_of_training_are_told_beside_their_inputs(window: Driver) -> None:
    window.turn_to("train")
    window.type(num_gpus="many", tp="0")
    window.window.questions.button.invoke()
    window.settle()
    assert "'many' is not a number" in window.message("num_gpus") and "out of range" in window.message("tp")
    assert window.window.form.fields["tp"].widget.winfo_viewable(), "its folded part is opened"
    for texts, name, said in (
        ({"num_gpus": "8", "tp": "3"}, "tp", "does not divide"),
        ({"tp": "", "optimizer": "abacus"}, "optimizer", "abacus"),
        ({"optimizer": "adamw", "epochs": "2"}, "dataset_tokens", "epochs need its tokens"),
    ):
        window.type(**texts)
        window.window.questions.button.invoke()
        window.until(window.is_idle)
        assert said in window.message(name)


# ---- planning


def test_a_plan_is_the_best_with_its_numbers_the_ranking_and_what_deploys_it(window: Driver) -> None:
    window.turn_to("plan")
    run = window.calculate(**LOAD)
    result, best = window.window.result, run.results["plans"][0]
    assert run.kind == "plan" and result.verdict["text"] == run.results["verdict"]
    assert result.tiles[2].figure["text"] == formatting.usd(best["usd_per_hour"]["value"])
    assert cells(result.numbers)["Headroom"][0] == formatting.percent(best["headroom"])
    assert not result.bar.winfo_viewable(), "a plan is not about the memory of one GPU"
    assert ranked(window) == list(map(tuple, report_planning.ranking(run.results, "plans")))
    texts = launched(window)
    assert texts["vLLM"].startswith("vllm serve") and any("kind: Deployment" in text for text in texts.values())
    assert shown_report(window) == list(report_planning.planning(run))


def test_where_no_plan_meets_the_goals_the_nearest_are_ranked_and_the_goal_is_named(window: Driver) -> None:
    window.turn_to("plan")
    found = window.calculate(gpu="t4", request_rate=5, max_tpot_ms=1).results
    result = window.window.result
    assert str(result.verdict["style"]) == "no.TLabel" and not result.tile_row.winfo_viewable()
    assert ranked(window) == list(map(tuple, report_planning.ranking(found, "closest")))
    assert "Longest TPOT" in result.advice["text"]
    assert launched(window) == {"No command": "No plan meets the goals."}


def test_a_plan_without_a_load_is_told_beside_its_input(window: Driver) -> None:
    window.turn_to("plan")
    window.window.questions.button.invoke()
    window.until(window.is_idle)
    assert "both missing" in window.message("request_rate")


# ---- side by side


def test_each_task_keeps_its_inputs_and_its_answer(window: Driver) -> None:
    served = window.calculate(gpu="l40s")
    window.turn_to("train")
    assert window.run is None and window.window.result.verdict["text"].startswith("Press Calculate")
    assert not ranked(window) and not launched(window) and shown_report(window) == [""]
    trained = window.calculate(num_gpus=16)
    window.press("<Control-Key-1>")
    assert window.run == served and window.window.result.verdict["text"] == served.results["verdict"]
    assert window.window.form.raw()["gpu"] == "l40s"
    assert window.window.root.focus_get() is window.window.form.fields["model"].widget
    window.press("<Control-Key-2>")
    assert window.run == trained and window.window.form.raw()["num_gpus"] == "16"


def test_runs_of_every_task_open_with_their_inputs_in_its_form(window: Driver, tmp_path: Path) -> None:
    log = RunLog(tmp_path / "logging")
    runs = {
        "train": train_run({"num_gpus": 16, "method": "lora", "lora_rank": 8}, source="cli"),
        "plan": plan_run({"gpu": "l40s", "concurrency": 50}, source="api"),
    }
    for run in runs.values():
        log.append(run)
    history = window.window.history
    for kind, run in runs.items():
        window.press("<F5>")
        window.press("<Alt-Key-5>")
        window.until(lambda: not history.worker.busy)
        history.tree.selection_set(run.run_id)
        window.press("<Return>", history.tree)
        window.until(lambda run=run: window.run == run)
        assert window.window.questions.task.kind == kind and window.tab == "Result"
        assert window.window.result.verdict["text"] == run.results["verdict"]
        again = window.calculate()
        assert (again.inputs, again.results) == (run.inputs, run.results)
    window.turn_to("train")
    form = window.window.form
    assert (form.raw()["lora_rank"], form.raw()["global_batch_size"]) == ("8", ""), "what was automatic stays so"
    assert form.sections["method"].open and not form.sections["price"].open


def test_a_run_that_this_version_does_not_know_is_left_to_the_browser(window: Driver) -> None:
    run = train_run({}, source="cli")
    window.window.open_run(replace(run, results={"fits": True}))
    assert window.run is None and f"Run {run.run_id} is no answer of this version" in window.status


@pytest.mark.parametrize(
    ("kind", "asked", "command"),
    [
        ("train", {"num_gpus": 16, "sequence_parallel": False}, "--num-gpus 16 --sequence-parallel false"),
        ("plan", LOAD, "--request-rate 20 --max-tpot-ms 40 --gpu 'h100-sxm, l40s'"),
    ],
    ids=["train", "plan"],
)
def test_answers_leave_the_window_as_files_and_as_a_command(
    window: Driver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, asked: dict[str, object], command: str
) -> None:
    window.turn_to(kind)
    run = window.calculate(**asked)
    chosen = iter([tmp_path / "a.json", tmp_path / "a.txt"])
    monkeypatch.setattr("app.desktop.export.filedialog.asksaveasfilename", lambda **_: str(next(chosen)))
    window.press("<Control-s>")
    window.press("<Control-s>")
    assert json.loads((tmp_path / "a.json").read_text()) == run.as_dict()
    assert (tmp_path / "a.txt").read_text().splitlines() == shown_report(window)
    window.press("<Control-Shift-C>")
    assert window.window.root.clipboard_get() == f"python -m app {kind} {command}"


def test_training_runs_are_compared_by_what_training_asks(window: Driver) -> None:
    window.turn_to("train")
    runs = [window.calculate(num_gpus=count) for count in (8, 16)]
    history = window.window.history
    history.tree.selection_set([run.run_id for run in runs])
    window.press("<Control-m>")
    window.until(lambda: window.window.comparison.runs)
    lines = cells(window.window.comparison.tree)
    for label, key in (("Training step, s", "step_time_s"), ("Trained per GPU, tokens/s", "tokens_per_s_per_gpu")):
        assert set(lines[label]) == {formatting.number(run.results[key]["value"]) for run in runs}
    assert set(lines["GPUs"]) == {"8", "16"} and "TTFT, ms" not in lines


def test_every_letter_and_key_leads_to_one_place(window: Driver) -> None:
    """No task, tab or menu takes the letter of another with Alt, and no entry of a menu the key of another."""
    notebooks = (window.window.questions.tabs, window.window.tabs)
    letters = [
        str(book.tab(tab, "text"))[int(book.tab(tab, "underline"))].lower() for book in notebooks for tab in book.tabs()
    ]
    menus = window.window.commands()
    letters += [name[0].lower() for name in menus]
    keys = [one.key for commands in menus.values() for one in commands]
    assert len(set(letters)) == len(letters) and len(set(keys)) == len(keys)
