"""What moves an answer: each input by itself, directions that are known by hand, page, command and API."""

from __future__ import annotations

import json
from pathlib import Path

import plotly.graph_objects as go
import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient

from app.calculations import estimate, results
from app.charts.sensitivity import tornado_figure
from app.command_line.main import main
from app.factory import create_app
from app.runs import estimate_run, plan_run, train_run
from app.scenarios import serving_scenario
from app.sensitivity import METRICS, SHARE, Lever, Sensitivity, sensitivity
from tests.pages import soup, words

ASKED = {"model": "meta-llama/Llama-3.1-70B-Instruct", "gpu": "h100-sxm", "concurrency": 20, "output_tokens": 200}


@pytest.fixture(scope="module")
def found() -> Sensitivity:
    return sensitivity(ASKED)


def lever(found: Sensitivity, name: str) -> Lever:
    return next(one for one in found.levers if one.name == name)


def test_the_base_is_the_estimate_itself(found: Sensitivity) -> None:
    same = results(estimate(serving_scenario(ASKED)[0]))
    assert found.base["ttft_ms"] == same["ttft_ms"]["value"]
    assert found.base["max_concurrency"] == same["max_concurrency"]


def test_a_number_is_moved_by_a_fifth_and_the_rest_stays(found: Sensitivity) -> None:
    moved = lever(found, "concurrency")
    assert (moved.value, [one.value for one in moved.outcomes]) == ("20", ["16", "24"])
    alone = results(estimate(serving_scenario(ASKED | {"concurrency": 24, "num_gpus": 4})[0]))
    assert moved.outcomes[1].metrics["ttft_ms"] == alone["ttft_ms"]["value"]


def test_gpus_are_halved_and_doubled_and_what_does_not_fit_says_so(found: Sensitivity) -> None:
    half, double = lever(found, "num_gpus").outcomes
    assert (half.value, half.fits, half.problem, dict(half.metrics)) == ("2", False, "does not fit", {})
    assert (double.value, double.fits) == ("8", True)


def test_formats_give_way_to_the_others(found: Sensitivity) -> None:
    assert [one.value for one in lever(found, "weight_precision").outcomes] == ["fp8", "int4"]


def test_directions_are_those_known_by_hand(found: Sensitivity) -> None:
    def effects(name: str, metric: str) -> list[float]:
        return [one.metrics[metric] / found.base[metric] - 1 for one in lever(found, name).outcomes]

    slower, faster = effects("gpu_bandwidth", "tpot_ms")
    assert 0 < slower <= SHARE / (1 - SHARE) + 1e-9 and -SHARE / (1 + SHARE) - 1e-9 <= faster < 0
    assert effects("input_tokens", "ttft_ms")[0] < 0 < effects("input_tokens", "ttft_ms")[1]
    cheaper, dearer = effects("price_usd_per_gpu_hour", "usd_per_million_output_tokens")
    assert (cheaper, dearer) == (pytest.approx(-SHARE), pytest.approx(SHARE))
    assert effects("price_usd_per_gpu_hour", "ttft_ms") == [0, 0]


@pytest.mark.parametrize("metric", METRICS)
def test_levers_are_ranked_by_how_far_they_move_the_number(found: Sensitivity, metric: str) -> None:
    def strength(one: Lever) -> float:
        low, high = found.effect(one, metric) or (0.0, 0.0)
        return max(abs(low) if low > 0 else 1 / (1 + low) - 1, high)

    ranked = found.ranked(metric)
    strengths = [strength(one) for one in ranked]
    assert strengths == sorted(strengths, reverse=True) and len(ranked) >= 3


def test_the_chart_shows_each_lever_once_on_either_side(found: Sensitivity) -> None:
    figure = go.Figure(tornado_figure(found, "tpot_ms"))
    better, worse = figure.data
    assert all(x < 0 for x in better.x) and all(x > 0 for x in worse.x)
    assert list(figure.layout.yaxis.categoryarray)[-1] == found.ranked("tpot_ms")[0].label


# ---- the ways in


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app({"LOG_DIR": tmp_path / "logging", "DATA_DIR": tmp_path / "data", "TESTING": True})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_it_is_one_click_from_an_estimate(app: Flask, client: FlaskClient) -> None:
    run = estimate_run(ASKED, source="web")
    app.extensions["run_log"].append(run)
    link = next(
        a for a in soup(client.get(f"/results/{run.run_id}").text).select(".actions a") if a.text == "What moves it"
    )
    page = soup(client.get(link["href"]).text)
    assert page.select_one("script[data-chart=tornado-chart]") is not None
    cost = next(a for a in page.select("#tornado ~ .actions a") if a.text == "Cost of output")
    shown = soup(client.get(cost["href"]).text)
    assert words(shown.select_one("#tornado")).startswith("Cost of output")
    assert shown.select_one("#tornado ~ .actions [aria-current]").text == "Cost of output"


def test_it_is_one_click_from_a_plan_and_speaks_of_its_replica(app: Flask, client: FlaskClient) -> None:
    asked = {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "l40s", "request_rate": 20}
    run = plan_run(asked, source="web")
    app.extensions["run_log"].append(run)
    page = client.get(f"/results/{run.run_id}/sensitivity")
    assert page.status_code == 200 and "Prompt" in page.text


def test_training_has_no_serving_question(app: Flask, client: FlaskClient) -> None:
    run = train_run({"model": "meta-llama/Llama-3.1-8B", "num_gpus": 8}, source="web")
    app.extensions["run_log"].append(run)
    assert client.get(f"/results/{run.run_id}/sensitivity").status_code == 404
    assert client.get("/results/none/sensitivity").status_code == 404


@pytest.mark.parametrize("query", ["metric=beauty", "gpu=h1000", "concurrency=-1"])
def test_bad_input_is_named(client: FlaskClient, query: str) -> None:
    answer = client.get(f"/sensitivity?{query}")
    assert answer.status_code == 400 and query.partition("=")[2] in answer.text


def test_command_api_and_core_give_the_same(client: FlaskClient, found: Sensitivity, tmp_path: Path) -> None:
    words_ = [text for name, value in ASKED.items() for text in (f"--{name.replace('_', '-')}", str(value))]
    environ = {"LOG_DIR": str(tmp_path), "DATA_DIR": str(tmp_path)}
    done = CliRunner().invoke(main, ["sensitivity", *words_, "--json"], env=environ)
    assert json.loads(done.stdout) == found.document() == client.post("/api/v1/sensitivity", json=ASKED).json
    assert list(tmp_path.glob("*.log")) == []  # Nothing is logged.
    text = CliRunner().invoke(main, ["sensitivity", *words_, "--metric", "tpot_ms"], env=environ).stdout.splitlines()
    assert text[0].startswith("Time per output token") and found.ranked("tpot_ms")[0].label in text[1]
