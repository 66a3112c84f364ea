"""From a plan to others: side by side, at other GPUs and requests, with other inputs, against an API."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from plotly import graph_objects

from app.calculations.errors import InvalidInput
from app.factory import create_app
from app.history.run_log import Run
from app.pages import plan_compare, plan_heat
from app.runs import estimate_run, plan_run
from tests.pages import soup, words

ASKED = {
    "model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "l40s, h100-sxm, a100-sxm-80gb", "request_rate": 20,
    "max_tpot_ms": 60, "api_usd_per_million_input_tokens": 0.2, "api_usd_per_million_output_tokens": 0.8,
}  # fmt: skip


@pytest.fixture(scope="module")
def run() -> Run:
    return plan_run(ASKED, source="web")


@pytest.fixture
def app(tmp_path: Path, run: Run) -> Flask:
    app = create_app({"LOG_DIR": tmp_path / "logging", "DATA_DIR": tmp_path / "data", "TESTING": True})
    app.extensions["run_log"].append(run)
    return app


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_ratios_are_to_the_baseline_and_say_what_is_better() -> None:
    number = dict.fromkeys(("value", "low", "high"))
    one = {key: number for key, *_ in plan_compare.NUMBERS} | dict.fromkeys(dict(plan_compare.CHOICES), "same")
    first = one | {"summary": "A", "ttft_ms": {"value": 100.0}, "max_requests_per_s": {"value": 10.0}, "gpu": "x"}
    second = one | {"summary": "B", "ttft_ms": {"value": 50.0}, "max_requests_per_s": {"value": 5.0}, "gpu": "y"}
    table = plan_compare.compared([first, second], 0)
    assert table.choices == (("Accelerator", ("x", "y")),)
    by_label = dict(table.numbers)
    assert [(c.ratio[:4], c.better) for c in by_label["Time to first token"]] == [("", None), ("0.50", True)]
    assert by_label["Most requests per second"][1].better is False
    assert by_label["Cost per hour"][1].text == "unknown"


def test_ticked_plans_stand_side_by_side(client: FlaskClient, run: Run) -> None:
    page = soup(client.get(f"/results/{run.run_id}").text)
    assert [box["value"] for box in page.select("input[name=plan]")] == [
        str(n + 1) for n in range(len(run.results["plans"]))
    ]
    shown = soup(client.get(f"/results/{run.run_id}/plans?plan=1&plan=3&baseline=3").text)
    heads = [words(head) for head in shown.select("thead th")]
    assert len(heads) == 2 and heads[1].startswith(run.results["plans"][2]["summary"]) and "baseline" in heads[1]
    other = shown.select_one("thead a")["href"]
    assert "baseline" in words(soup(client.get(other).text).select("thead th")[0])


@pytest.mark.parametrize(
    "query", ["plan=0", "plan=99", "plan=one", "plan=1&baseline=77", "&".join(f"plan={n}" for n in range(1, 8))]
)
def test_plans_that_are_not_there_are_named(client: FlaskClient, run: Run, query: str) -> None:
    answer = client.get(f"/results/{run.run_id}/plans?{query}")
    assert answer.status_code == 400 and "Allowed" in answer.text


@pytest.mark.parametrize("page", ["plans", "heat"])
def test_only_plans_have_them(app: Flask, client: FlaskClient, page: str) -> None:
    other = estimate_run({}, source="web")
    app.extensions["run_log"].append(other)
    assert client.get(f"/results/{other.run_id}/{page}").status_code == 404
    assert client.get(f"/results/none/{page}").status_code == 404


def test_the_heat_map_has_the_speed_of_each_cell(client: FlaskClient, run: Run) -> None:
    plan = run.results["plans"][0]
    found = plan_heat.cells(run.inputs, plan)
    asked = {name: run.inputs[name] for name in ("model", "input_tokens", "output_tokens")}
    asked |= {name: plan[name] for name in ("gpu", "engine", "weight_precision", "kv_precision")}
    alone = estimate_run({**asked, "num_gpus": 2, "concurrency": 16}, source="web").results
    assert found[2, 16].per_gpu == pytest.approx(alone["output_tokens_per_s"]["value"] / 2)
    assert found[2, 16].per_user == pytest.approx(alone["output_tokens_per_s"]["value"] / 16)
    page = soup(client.get(f"/results/{run.run_id}/heat").text)
    assert len(page.select("tbody tr")) == len(plan_heat.REQUESTS)


def test_the_frontiers_are_drawn_and_stand_in_a_table(client: FlaskClient, run: Run) -> None:
    page = soup(client.get(f"/results/{run.run_id}").text)
    figure = json.loads(page.select_one("script[data-chart=frontier-chart]").text)
    graph_objects.Figure(figure)
    found = run.results["frontiers"]
    assert [trace["name"] for trace in figure["data"]] == [one["gpu"] for one in found]
    rows = page.select("[aria-labelledby=frontiers] tbody tr")
    assert len(rows) == sum(len(one["points"]) for one in found) > len(found)


def test_what_if_plans_again_with_the_rest_kept(client: FlaskClient, run: Run) -> None:
    form = soup(client.get(f"/results/{run.run_id}").text).select_one("form.what-if")
    sent = {field["name"]: field.get("value", "") for field in form.select("input[name]")}
    assert (sent["request_rate"], sent["gpu"], sent["max_ttft_ms"]) == ("20", run.inputs["gpu"], "")
    answer = client.post(form["action"], data=sent | {"request_rate": "40"})
    again = soup(client.get(answer.location).text)
    assert "40" in words(again.select_one("h1"))


def test_the_page_says_from_which_load_own_gpus_pay(client: FlaskClient, run: Run) -> None:
    page = soup(client.get(f"/results/{run.run_id}").text)
    said = words(page.select_one("[aria-labelledby=break-even] p"))
    assert re.match(r"\$[\d,.]+ a month against \$[\d,.]+ by the API", said)
    assert page.select_one("script[data-chart=break-even-chart]") is not None
    found = run.results["break_even"]
    assert found["api_usd_per_month"] == pytest.approx(20 * 730 * 3600 * found["api_usd_per_request"])
    assert found["own_usd_per_month"] == pytest.approx(run.results["plans"][0]["usd_per_month"]["value"])


def test_the_page_shows_how_to_deploy_the_plan(client: FlaskClient, run: Run) -> None:
    page = soup(client.get(f"/results/{run.run_id}").text)
    texts = [words(pre) for pre in page.select("section[aria-labelledby=launch] pre")]
    assert any("kind: Deployment" in text for text in texts) and any("services:" in text for text in texts)


def test_several_engines_are_weighed_together_and_each_plan_names_its_own() -> None:
    asked = {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm", "request_rate": 5}
    alone = {name: plan_run(asked | {"engine": name}, source="cli").results for name in ("vllm", "trtllm")}
    both = plan_run(asked | {"other_engines": "trtllm, vllm"}, source="cli").results
    assert both["searched"]["replicas"] == sum(one["searched"]["replicas"] for one in alone.values())
    assert {one["engine"] for one in both["plans"]} == {"vllm", "trtllm"}
    best = min((one["plans"][0] for one in alone.values()), key=lambda one: one["usd_per_hour"]["value"])
    assert both["plans"][0]["usd_per_hour"] == best["usd_per_hour"]
    with pytest.raises(InvalidInput, match="fastest-engine"):
        plan_run(asked | {"other_engines": "fastest-engine"}, source="cli")
