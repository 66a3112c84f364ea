"""Training in the browser: the form, what it answers, and the page of a run from wherever it came."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from plotly import graph_objects

from app import formatting
from app.calculations.training.inputs import GROUPS
from app.charts import training as charts
from app.factory import create_app
from app.formatting import range_text
from app.history.run_log import Run, RunLog
from app.pages import train
from app.pages.forms import TrainForm
from app.runs import train_run
from app.training_scenarios import ALL_TRAINING_INPUTS
from app.training_work import scaling, work_of
from tests.pages import control, messages, soup, table, value, words

LLAMA_8B, LLAMA_70B = "meta-llama/Meta-Llama-3.1-8B", "meta-llama/Meta-Llama-3.1-70B"
#: Eight stages of which the first holds most.
STAGED = {
    "model": LLAMA_70B, "num_gpus": "128", "tp": "4", "pp": "8", "vpp": "1", "micro_batch_size": "1",
    "global_batch_size": "512", "sharding": "zero1", "activation_recompute": "none", "tokens": "2e12",
}  # fmt: skip
TOO_LARGE = {"model": LLAMA_70B, "num_gpus": "8"}
QLORA = {"gpu": "rtx-4090", "num_gpus": "1", "method": "qlora", "seq_len": "2048"}


def logged(run_log: RunLog, raw: dict[str, Any], **changes: Any) -> Run:
    """A run of these inputs in the log, with parts of it changed."""
    run = train_run(raw, source="cli")
    changed = Run.from_dict(run.as_dict() | changes)
    run_log.append(changed)
    return changed


def page_of(client: FlaskClient, run: Run) -> Any:
    response = client.get(f"/results/{run.run_id}")
    assert response.status_code == 200
    return soup(response.text)


def metrics(page: Any) -> dict[str, str]:
    return {words(one.find("dt")): words(one.find("dd")) for one in page.find_all(class_="metric")}


def figures(page: Any) -> dict[str, Any]:
    scripts = page.find_all("script", type="application/json")
    return {script["data-chart"]: json.loads(script.string) for script in scripts}


def section(page: Any, heading: str) -> Any:
    return page.find(id=heading).find_parent("section")


# --- the form ---------------------------------------------------------------------------------------------------


def test_three_fields_lead_to_a_logged_run(client: FlaskClient, run_log: RunLog) -> None:
    response = client.post("/train", data={"model": LLAMA_8B, "gpu": "h100-sxm", "num_gpus": "8"})
    assert response.status_code == 303
    run = run_log.get(response.location.rsplit("/", 1)[1])
    assert run is not None
    assert (run.source, run.kind) == ("web", "train")
    assert run.results == train_run({}, source="api").results
    assert client.get(response.location).status_code == 200


@pytest.mark.parametrize("task", ["", "train", "plan"])
def test_serving_training_and_planning_are_tabs_of_one_head(client: FlaskClient, task: str) -> None:
    page = soup(client.get(f"/{task}").text)
    tabs = page.find("nav", class_="tasks").find_all("a")
    assert [link["href"] for link in tabs] == ["/", "/train", "/plan"]
    assert [words(link).split()[0] for link in tabs] == ["Serve", "Train", "Plan"]
    assert [link["href"] for link in tabs if link.get("aria-current") == "page"] == [f"/{task}"]
    assert words(page.find("nav", attrs={"aria-label": "Main"}).find(attrs={"aria-current": True})) == "Calculator"


def test_every_input_has_a_label_a_help_text_and_its_unit(client: FlaskClient) -> None:
    page = soup(client.get("/train").text)
    for name, one in ALL_TRAINING_INPUTS.items():
        field = control(page, name).find_parent(class_="field")
        assert words(page.find("label", attrs={"for": name})) == one.label
        assert f"help-{name}" in control(page, name)["aria-describedby"]
        assert words(page.find(id=f"help-{name}")) == one.help
        assert one.unit in words(field)


def test_model_and_gpus_are_open_and_the_rest_is_folded_with_a_line_of_its_values(client: FlaskClient) -> None:
    page = soup(client.get("/train").text)
    folded = {name for name in ALL_TRAINING_INPUTS if control(page, name).find_parent("details")}
    assert folded == {name for name, one in ALL_TRAINING_INPUTS.items() if GROUPS[one.group][1]}
    assert not folded & {"model", "gpu", "num_gpus"}
    lines = {part["id"]: words(part.find(class_="values")) for part in page.find_all("details", class_="group")}
    assert lines["group-batch"] == "sequence length 8192, the rest default"
    assert lines["group-method"] == "method full, the rest default"
    assert lines["group-layout"] == "automatic"


def test_what_is_chosen_at_first_is_on_the_lists(client: FlaskClient) -> None:
    assert "(not known)" not in client.get("/train").text


def test_the_query_string_fills_the_form(client: FlaskClient) -> None:
    page = soup(client.get("/train?model=llama-3.1-70b&framework=deepspeed&optimizer=muon&method=lora&tp=4&x=y").text)
    names = ("model", "framework", "optimizer", "method", "tp")
    assert [value(page, name) for name in names] == [LLAMA_70B, "deepspeed", "muon", "lora", "4"]
    assert [words(part.find(class_="heading")) for part in page.find_all("details", open=True)] == [
        "Method", "Layout", "Software",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("num_gpus", "many", "'many' is not a number"),
        ("seq_len", "0", "out of range"),
        ("gpu", "abacus", "abacus"),
        ("framework", "abacus", "'abacus' is not known"),
        ("optimizer", "adamm", "Did you mean adamw"),
        ("tp", "3", "Tensor parallel"),
        ("document_tokens", "9999", "do not fit into a sequence of 8192"),
        ("lora_rank", "8", "counts only for adapters"),
    ],
)
def test_bad_input_is_told_beside_its_field_and_nothing_is_lost(
    client: FlaskClient, run_log: RunLog, name: str, text: str, message: str
) -> None:
    typed = {"tokens": "3e11", "pue": "1.3", "offload": "optimizer", name: text}
    response = client.post("/train", data=typed)
    page = soup(response.text)
    assert response.status_code == 422
    assert message in " ".join(messages(page, name))
    assert {one: value(page, one) for one in typed} == typed
    assert words(page.find(role="alert").find("h2")) == "1 input needs a change"
    assert page.title.text.startswith("Error: ")
    assert not run_log.read().runs


def test_a_box_that_is_not_ticked_is_no(client: FlaskClient, run_log: RunLog) -> None:
    location = client.post("/train", data={"complete": "1", "sequence_parallel": "true"}).location
    run = run_log.get(location.rsplit("/", 1)[1])
    assert run is not None
    assert [run.inputs[name] for name in ("sequence_parallel", "compiled", "dropless")] == [True, False, False]


def test_a_form_that_another_site_sends_is_refused(client: FlaskClient, run_log: RunLog) -> None:
    assert client.post("/train", data={}, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert not run_log.read().runs


def test_what_was_typed_is_shown_as_text(client: FlaskClient) -> None:
    attack = '"><script>alert(1)</script>'
    response = client.post("/train", data={"seq_len": attack, "model": attack, "framework": attack})
    assert "<script>alert" not in response.text
    assert value(soup(response.text), "seq_len") == attack


def test_a_log_that_cannot_be_written_costs_the_log_and_not_the_answer(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = create_app({"LOG_DIR": tmp_path / "file" / "runs", "TESTING": True}).test_client()
    response = client.post("/train", data={})
    page = soup(response.text)
    assert response.status_code == 200
    assert "This run could not be saved: Not a directory." in words(page.find(role="alert"))
    assert not page.find("a", string="This run as JSON")


def test_every_form_field_means_what_the_declaration_says() -> None:
    assert [field.name for field in TrainForm()] == list(ALL_TRAINING_INPUTS)
    placed = [field.name for group in TrainForm().groups().values() for field in group.fields]
    assert sorted(placed) == sorted(ALL_TRAINING_INPUTS)


# --- the result -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("raw", "css", "start"), [(STAGED, "fits", "Fits Fits: 7"), (TOO_LARGE, "no", "Does not fit Does not fit: ")]
)
def test_the_verdict_comes_first(
    client: FlaskClient, run_log: RunLog, raw: dict[str, str], css: str, start: str
) -> None:
    run = logged(run_log, raw)
    verdict = page_of(client, run).find(class_="verdict")
    assert css in verdict["class"]
    assert words(verdict).startswith(start)
    assert run.results["verdict"] in words(verdict)


def test_what_does_not_fit_says_by_how_much_and_which_single_change_fits(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, TOO_LARGE)
    page = page_of(client, run)
    changes = [words(one) for one in section(page, "remedies").find_all("li")]
    first = run.results["remedies"][0]
    assert changes[0].lower().startswith(first["change"].lower())
    assert f"{formatting.number(first['peak_memory_gb'])} GiB" in changes[0]
    memory = run.results["memory_bytes_per_gpu"]
    assert table(page, "memory")["Too much"][0] == formatting.gib(memory["total"] - memory["capacity"])


def test_the_key_numbers_have_units_and_ranges(client: FlaskClient, run_log: RunLog) -> None:
    found = (run := logged(run_log, STAGED)).results
    shown = metrics(page_of(client, run))
    step = [formatting.duration(found["step_time_s"][name]) for name in ("value", "low", "high")]
    assert shown["Step"] == f"{step[0]} {range_text(step[1], step[2])}"
    assert shown["Tokens per GPU"].startswith(f"{formatting.rate(found['tokens_per_s_per_gpu']['value'])} tok/s ")
    assert shown["MFU"].startswith(formatting.percent(found["mfu"]["value"]))
    assert shown["HFU"].startswith(formatting.percent(found["hfu"]["value"]))
    assert " TFLOPS " in shown["Per GPU"]
    assert shown["Peak, as nvidia-smi"].startswith(f"{formatting.number(found['peak_memory_gb']['value'])} GiB ")
    assert shown["Time"].startswith(f"{formatting.number(found['run']['days']['value'])} days ")
    assert shown["Cost"].startswith(formatting.usd(found["run"]["usd"]["value"]))
    assert shown["Energy"].startswith(f"{formatting.number(found['run']['mwh']['value'])} MWh")
    assert " t CO2 " in shown["Carbon"]
    assert shown["Goodput"] == formatting.percent(found["run"]["goodput"])


def test_every_number_is_explained_and_the_convention_is_named(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, STAGED | {"flops_convention": "causal"})
    page = page_of(client, run)
    meanings = {words(one.find("dt")) for one in page.select(".meanings dl div")}
    assert meanings == metrics(page).keys()
    assert f"FLOPs counted as {run.results['flops_convention']['label']}." in words(page.find(class_="utilization"))
    chosen = page.find(id="conventions").find_next("table").find(class_="chosen")
    assert words(chosen.find("th")).startswith(run.results["flops_convention"]["label"])
    assert formatting.percent(run.results["mfu"]["value"]) in words(chosen)


def test_the_memory_table_holds_the_numbers_of_the_chart(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, STAGED)
    page = page_of(client, run)
    memory = run.results["memory_bytes_per_gpu"]
    rows = table(page, "memory")
    names = {key: name for key, name, _ in charts.MEMORY_TERMS}
    for key in ("weights", "gradients", "optimizer_states", "activations", "runtime"):
        assert rows[names[key]][0] == formatting.gib(memory[key])
    assert rows["Total"][0] == formatting.gib(memory["total"])
    bars = {one["name"]: one["x"][0] for one in figures(page)["memory-chart"]["data"]}
    parts = [name for name in rows if name in bars and name != "Free"]
    assert sum(bars[name] for name in parts) == pytest.approx(memory["total"] / 2**30)


def test_every_term_of_memory_and_of_a_step_has_a_place_in_the_charts(run_log: RunLog) -> None:
    for raw in (STAGED, TOO_LARGE, QLORA, {"model": "deepseek-ai/DeepSeek-V3", "num_gpus": "256"}):
        results = train_run(raw, source="web").results
        memory = dict(results["memory_bytes_per_gpu"])
        total = memory.pop("total")
        memory.pop("capacity")
        assert {name for name, size in memory.items() if size} <= {key for key, _, _ in charts.MEMORY_TERMS}
        shown = sum(results["memory_bytes_per_gpu"][key] for key, _, _ in charts.memory_terms(memory))
        assert shown == pytest.approx(total, rel=1e-6)
        seconds = sum(seconds for _, _, seconds in charts.step_rows(results["step_terms_s"]))
        assert seconds == pytest.approx(results["step_time_s"]["value"])


def test_memory_of_every_stage_is_shown(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, STAGED)
    page = page_of(client, run)
    rows = page.find(id="stage-table").find_parent("details").find("tbody").find_all("tr")
    cells = [[words(cell) for cell in row.find_all(["th", "td"])] for row in rows]
    assert [cell[:2] for cell in cells] == [[str(n), str(9 - n)] for n in range(1, 9)]
    assert cells[0][5] == formatting.gib(run.results["memory_bytes_per_gpu"]["total"])
    figure = figures(page)["stages-chart"]
    first = sum(trace["y"][0] for trace in figure["data"])
    assert first == pytest.approx(run.results["memory_bytes_per_gpu"]["total"] / 2**30, rel=1e-6)
    assert all(trace["x"] == list(range(1, 9)) for trace in figure["data"])


def test_without_a_pipeline_there_are_no_stages(client: FlaskClient, run_log: RunLog) -> None:
    page = page_of(client, logged(run_log, {}))
    assert "stages-chart" not in figures(page)
    assert page.find(id="stages") is None


def test_the_step_is_a_waterfall_that_ends_at_its_time(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, STAGED)
    page = page_of(client, run)
    (bars,) = figures(page)["step-chart"]["data"]
    ends = [start + length for start, length in zip(bars["base"], bars["x"], strict=True)]
    assert bars["base"][1:-1] == pytest.approx(ends[:-2])
    assert (bars["base"][-1], bars["x"][-1]) == (0, pytest.approx(run.results["step_time_s"]["value"]))
    rows = table(page, "step")
    assert rows["Pipeline bubble"][1] == formatting.duration(run.results["step_terms_s"]["bubble"])
    assert rows["Step"][1] == formatting.duration(run.results["step_time_s"]["value"])


def test_what_takes_the_rest_of_the_peak_leads_down_to_mfu(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, STAGED)
    page = page_of(client, run)
    (bars,) = figures(page)["losses-chart"]["data"]
    assert (bars["y"][0], bars["x"][0]) == ("Peak", 100)
    assert (bars["y"][-1], bars["x"][-1]) == ("Useful (MFU)", pytest.approx(100 * run.results["mfu"]["value"]))
    assert bars["base"][-2] == pytest.approx(bars["x"][-1], abs=0.5)
    bubble = run.results["step_terms_s"]["bubble"] / run.results["step_time_s"]["value"]
    assert table(page, "peak")["Pipeline bubble"] == [formatting.percent(bubble)]


def test_the_layouts_have_the_reason_each_loses(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"num_gpus": "16"})
    rows = section(page_of(client, run), "layouts").find("tbody").find_all("tr")
    reasons = [words(row.find_all("td")[-1]) for row in rows]
    assert reasons == [one["reason"] for one in run.results["layouts"]]
    assert reasons[0] == "the fastest that fits"


def test_the_scaling_curve_doubles_and_halves_the_gpus(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, QLORA | {"num_gpus": "4", "global_batch_size": "8"})
    points = scaling(run.inputs, run.results, budget_s=60)
    assert [one.num_gpus for one in points] == [1, 2, 4, 8, 16, 32]
    (own,) = [one for one in points if one.chosen]
    assert (own.num_gpus, own.mfu) == (4, run.results["mfu"]["value"])
    speeds = [one.tokens_per_s for one in points if one.tokens_per_s]
    assert speeds == sorted(speeds)
    assert [one.num_gpus for one in points if one.problem] == [16, 32]  # more replicas than the eight sequences
    page = page_of(client, run)
    rows = {words(row.find("th")): row for row in section(page, "scaling").find("tbody").find_all("tr")}
    assert formatting.integer(run.results["tokens_per_s"]["value"]) in words(rows["4"])
    curve = figures(page)["scaling-mfu-chart"]["data"][0]
    assert curve["y"][curve["x"].index(4)] == pytest.approx(100 * run.results["mfu"]["value"])


def test_without_time_only_the_run_itself_is_on_the_curve() -> None:
    run = train_run({}, source="web")
    assert [one.num_gpus for one in scaling(run.inputs, run.results, budget_s=-1)] == [8]


def test_the_commands_are_there_and_can_be_copied(client: FlaskClient, run_log: RunLog) -> None:
    page = page_of(client, logged(run_log, STAGED))
    launch = section(page, "launch")
    first = launch.find("details")
    assert first.has_attr("open")
    assert words(first.find("summary")).startswith("Megatron-LM")
    assert "--pipeline-model-parallel-size 8" in first.find("pre").text
    for button in launch.find_all("button", attrs={"data-copy": True}):
        assert launch.find("pre", id=button["data-copy"]) is not None
    assert "DeepSpeed's ZeRO does not do tp 4." in words(launch)


def test_commands_of_what_is_sharded_only(client: FlaskClient, run_log: RunLog) -> None:
    raw = {"num_gpus": "16", "sharding": "zero3", "framework": "deepspeed"}
    titles = [words(one) for one in section(page_of(client, logged(run_log, raw)), "launch").find_all("summary")]
    assert titles[0].startswith("DeepSpeed")
    assert any(title.startswith("torchrun") for title in titles)


@pytest.mark.parametrize(
    ("raw", "hint"),
    [
        ({}, "No tokens were given: it has the 161 billion that are Chinchilla-optimal, 20 a parameter."),
        ({"tokens": "1.6e12"}, "1.60 trillion tokens are 9.96 times the 161 billion that are Chinchilla-optimal"),
        ({"budget_usd": "1000000"}, "$1,000,000 buy "),
        ({"gpu": "custom"}, "The price of a GPU hour is not known"),
        (QLORA, "No tokens were given: 100 million are assumed."),
    ],
)
def test_hints_of_tokens_and_budget(client: FlaskClient, run_log: RunLog, raw: dict[str, str], hint: str) -> None:
    assert hint in words(section(page_of(client, logged(run_log, raw)), "hints"))


def test_the_inputs_lead_back_to_the_same_form(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, QLORA)
    link = page_of(client, run).find("a", string="Change inputs")["href"]
    assert link.startswith("/train?")
    assert "global_batch_size" not in link  # it was left to the calculator
    page = soup(client.get(link).text)
    assert {name: value(page, name) for name in QLORA} == QLORA
    assert train_run({name: value(page, name) for name in QLORA}, source="web").results == run.results


def test_a_batch_of_ones_own_is_kept_in_the_link(client: FlaskClient, run_log: RunLog) -> None:
    assert "global_batch_size=64" in page_of(client, logged(run_log, {"global_batch_size": "64"})).find(
        "a", string="Change inputs"
    )["href"]  # fmt: skip


def test_a_custom_model_and_gpu_can_be_saved(client: FlaskClient, run_log: RunLog) -> None:
    page = page_of(client, logged(run_log, {"model": "custom", "gpu": "custom", "num_gpus": "8"}))
    assert page.find(id="save-architecture")
    assert page.find(id="save-accelerator")
    assert page.find(id="launch")


# --- runs from elsewhere ----------------------------------------------------------------------------------------


def test_runs_of_the_api_open_in_the_same_page_and_the_history_lists_them(client: FlaskClient) -> None:
    run_id = client.post("/api/v1/train", json=STAGED).get_json()["run_id"]
    page = soup(client.get(f"/results/{run_id}").text)
    assert words(page.find("h1")) == "Meta-Llama-3.1-70B on 128 × H100 SXM5 80GB"
    other = client.post("/", data={}).location.rsplit("/", 1)[1]
    listed = soup(client.get(f"/visualize?run={run_id}&run={other}").text)
    assert f"/results/{run_id}" in {link["href"] for link in listed.find_all("a", href=True)}
    text = words(listed.find("table", class_="runs"))
    assert "TP 4 · PP 8 · DP 4" in text
    assert "Megatron-Core, NeMo, Megatron-Bridge" in text
    assert "Sequence length" in words(listed.find("table", class_="compared"))


def test_a_run_whose_model_is_gone_shows_what_was_logged(client: FlaskClient, run_log: RunLog) -> None:
    run = train_run(STAGED, source="cli")
    gone = logged(run_log, STAGED, inputs=run.inputs | {"model": "was-deleted"})
    page = page_of(client, gone)
    assert "Parts of this page cannot be made again" in words(page.find("main"))
    assert set(figures(page)) == {"memory-chart", "step-chart"}
    assert page.find(id="launch") is None


def test_a_run_of_another_calculator_is_said_to_differ(client: FlaskClient, run_log: RunLog) -> None:
    run = train_run(STAGED, source="cli")
    assert work_of(run.inputs, run.results).same
    slower = run.results | {"step_time_s": {"value": 60.0, "low": None, "high": None}}
    assert "changed since this run was logged" in words(page_of(client, logged(run_log, STAGED, results=slower)))


@pytest.mark.parametrize(
    ("inputs", "results"),
    [
        ({"seq_len": "long", "num_gpus": None, "method": 7, "tp": [1]}, {}),
        ({}, {"step_terms_s": {"linear": 30.0, "telepathy": 4.8}}),
        ({}, {"memory_bytes_per_gpu": {"weights": 1}}),
        ({}, {"memory_bytes_per_gpu": {"total": 9, "capacity": 0}}),
        ({}, {"layouts": [{"layout": {}, "fits": True}]}),
        ({}, {"layout": {}}),
    ],
)
def test_whatever_a_log_holds_there_is_a_page(
    client: FlaskClient, run_log: RunLog, inputs: dict[str, Any], results: dict[str, Any]
) -> None:
    run = train_run(QLORA, source="cli")
    strange = {"inputs": run.inputs | inputs, "results": run.results | results}
    assert page_of(client, logged(run_log, QLORA, **strange)).find("h1")


def test_a_run_of_another_version_is_shown_as_it_was_logged(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, STAGED, results={"fits": True})
    page = page_of(client, run)
    assert words(page.find("h1")) == "A run of another version"
    assert json.loads(page.find("pre").text) == run.as_dict()


@pytest.mark.parametrize("raw", [STAGED, TOO_LARGE, QLORA, {}], ids=["staged", "too large", "adapters", "defaults"])
def test_every_chart_has_a_caption_and_plotly_accepts_it(
    client: FlaskClient, run_log: RunLog, raw: dict[str, str]
) -> None:
    page = page_of(client, logged(run_log, raw))
    for name, figure in figures(page).items():
        graph_objects.Figure(figure)
        assert figure["data"]
        block = page.find(id=name).find_parent("figure")
        assert words(page.find(id=block["aria-labelledby"]))
        assert block.find_parent("section").find("table") is not None


def test_no_page_holds_a_script_or_style_of_its_own_and_every_address_is_there(
    client: FlaskClient, run_log: RunLog
) -> None:
    for address in ("/train", f"/results/{logged(run_log, STAGED).run_id}"):
        page = soup(client.get(address).text)
        assert all(one.get("src") or one["type"] == "application/json" for one in page.find_all("script"))
        assert not page.find_all(style=True)
        assert not page.find_all("style")
        found = {tag.get("href") or tag.get("src") for tag in page.find_all(["a", "link", "script"])} - {None}
        for one in (one for one in found if not one.startswith("#")):
            with client.get(one) as response:
                assert response.status_code == 200, one


@pytest.mark.parametrize(("days", "text"), [(None, "unknown"), (0.5, "12 h"), (1.5, "1 d 12 h"), (96.8, "96.8 days")])
def test_the_time_of_a_run(days: float | None, text: str) -> None:
    assert train.run_time(days) == text
