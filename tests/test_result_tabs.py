"""The tabs of a result page: plain links, each a table with its chart, worked out only when it is asked for."""

from __future__ import annotations

import gzip
import json
from typing import Any

import plotly.graph_objects as go
import pytest
from flask.testing import FlaskClient

from app import formatting
from app.history.run_log import RunLog
from app.pages import result_tabs
from app.runs import estimate_run
from tests.pages import soup, words
from tests.test_results import DEEPSEEK, LLAMA_70B, logged

#: Tab -> its charts.
CHARTS = {
    "precision": ["precision-chart"],
    "gpus": ["gpus-chart"],
    "batch": ["latency-chart", "throughput-chart"],
    "scaling": ["scaling-chart"],
    "operators": ["roofline-chart"],
    "cost": ["price-chart", "energy-chart"],
    "equations": [],
    "launch": [],
    "json": [],
}


def panel(client: FlaskClient, run: Any, tab: str) -> Any:
    response = client.get(f"/results/{run.run_id}?tab={tab}")
    assert response.status_code == 200
    return soup(response.text).find(id="tab")


def table(part: Any, label: str) -> dict[str, list[str]]:
    found = part.find(attrs={"aria-label": label}).find("tbody").find_all("tr")
    return {words(row.find("th")): [words(cell) for cell in row.find_all("td")] for row in found}


@pytest.mark.parametrize("raw", [{"max_tpot_ms": 20}, {"model": LLAMA_70B, "num_gpus": 1}], ids=["runs", "no room"])
@pytest.mark.parametrize("tab", CHARTS)
def test_every_tab_has_its_charts_with_tables_of_the_same(
    client: FlaskClient, run_log: RunLog, tab: str, raw: dict[str, Any]
) -> None:
    part = panel(client, logged(run_log, raw), tab)
    scripts = part.find_all("script", type="application/json")
    if tab != "operators" or "num_gpus" not in raw:
        assert [script["data-chart"] for script in scripts] == CHARTS[tab]
    for script in scripts:
        go.Figure(json.loads(script.string))
        assert script.find_parent("section").find("table") is not None


def test_the_tabs_are_links_and_one_is_the_present_one(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    page = soup(client.get(f"/results/{run.run_id}?tab=batch").text)
    links = page.find(id="tabs").find_all("a")
    assert [words(link) for link in links] == list(result_tabs.TABS.values())
    assert [words(link) for link in links if link.get("aria-current")] == ["Concurrency"]
    for address in (f"/results/{run.run_id}", f"/results/{run.run_id}?tab=nonsense"):
        assert words(soup(client.get(address).text).find(id="tabs").find(attrs={"aria-current": True})) == "Overview"


def test_the_row_of_the_run_holds_its_logged_numbers(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    rows = table(panel(client, run, "batch"), "Table of requests in flight")
    cells = rows["16 this run"]
    assert cells[3] == formatting.milliseconds(run.results["ttft_ms"]["value"])
    assert cells[6] == formatting.rate(run.results["output_tokens_per_s"]["value"])
    assert cells[8] == formatting.usd(run.results["usd_per_million_output_tokens"]["value"])


def test_goals_are_drawn_in(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"max_tpot_ms": 20, "max_ttft_ms": 300})
    script = panel(client, run, "batch").find("script", attrs={"data-chart": "latency-chart"})
    figure = json.loads(script.string)
    levels = [one for one in figure["layout"]["shapes"] if one.get("xref") == "paper"]
    assert [one["y0"] for one in levels] == [300, 20]
    texts = [one["text"] for one in figure["layout"]["annotations"]]
    assert texts == ["goal: TTFT 300 ms", "goal: TPOT 20 ms"]


def test_a_row_can_be_used_as_the_next_question(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"input_tokens": 2048})
    part = panel(client, run, "scaling")
    link = part.find("a", attrs={"aria-label": "Use 4"})["href"]
    assert "num_gpus=4" in link and "input_tokens=2048" in link
    assert client.get(link).status_code == 200


def test_what_does_not_fit_has_the_cheapest_fixes_priced(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"model": LLAMA_70B, "num_gpus": 1})
    section = soup(client.get(f"/results/{run.run_id}").text).find(id="remedies").find_parent("section")
    rows = table(section, "Table of changes")
    assert list(rows) == ["Store the weights in int4", "Use 4 GPUs"]
    assert [cells[7] for cells in rows.values()] == ["$2.69", "$10.76"]
    link = section.find("a", attrs={"aria-label": "Use Store the weights in int4"})["href"]
    assert "weight_precision=int4" in link


def test_a_missed_goal_has_the_cheapest_fixes(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"max_tpot_ms": 7})
    page = soup(client.get(f"/results/{run.run_id}").text)
    section = page.find(id="remedies").find_parent("section")
    assert words(section.find("h2")) == "What would meet the goals"
    assert "the goal at most 7.00 ms" in words(section)
    assert "Store the weights in int4" in table(section, "Table of changes")
    assert page.find(id="warnings") is None


def test_a_run_without_trouble_has_no_fixes(client: FlaskClient, run_log: RunLog) -> None:
    page = soup(client.get(f"/results/{logged(run_log).run_id}").text)
    assert page.find(id="remedies") is None


def test_the_memory_equations_end_in_the_verdict(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    memory = run.results["memory_bytes_per_gpu"]
    lines = [words(line) for line in panel(client, run, "equations").find(class_="chain").find_all("code")]
    parts = " + ".join(formatting.gib(memory[key]) for key in ("weights", "kv_cache", "activations", "runtime"))
    assert f"total = {parts} = {formatting.gib(memory['total'])}" in lines
    assert lines[-1].endswith(": fits")


def test_the_commands_start_what_was_estimated(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"model": LLAMA_70B, "num_gpus": 4, "tp": 4, "kv_precision": "fp8"})
    part = panel(client, run, "launch")
    command = part.find(id="launch-vllm").text
    assert f"vllm serve {LLAMA_70B}" in command
    assert "--tensor-parallel-size 4" in command and "--kv-cache-dtype fp8" in command
    assert "--max-num-seqs 16" in command
    assert [words(one) for one in part.find_all("summary")] == ["vLLM", "SGLang", "TensorRT-LLM"]


@pytest.mark.parametrize(
    ("raw", "said"),
    [
        ({"num_gpus": 6, "prefill_gpus": 2, "tp": 2}, "orchestrator"),
        ({"engine": "llamacpp", "weight_precision": "q4_k_m"}, "llama-server"),
    ],
)
def test_what_has_no_command_says_so(client: FlaskClient, run_log: RunLog, raw: dict[str, Any], said: str) -> None:
    part = panel(client, logged(run_log, raw), "launch")
    assert said in words(part)
    assert part.find("pre") is None


def test_the_json_is_the_logged_run(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    assert json.loads(panel(client, run, "json").find("pre").text) == run.as_dict()


def test_a_run_whose_model_is_gone_says_so_on_its_tabs(client: FlaskClient, run_log: RunLog) -> None:
    run = estimate_run({}, source="web")
    gone = type(run).from_dict(run.as_dict() | {"inputs": run.inputs | {"model": "was-deleted"}})
    run_log.append(gone)
    assert "cannot be calculated again" in words(panel(client, run, "gpus"))


@pytest.mark.parametrize("tab", result_tabs.TABS)
def test_every_tab_weighs_little(client: FlaskClient, run_log: RunLog, tab: str) -> None:
    run = logged(run_log, {"model": DEEPSEEK, "num_gpus": 16} if tab != "gpus" else {})
    response = client.get(f"/results/{run.run_id}?tab={tab}")
    assert len(gzip.compress(response.data)) < 60_000
