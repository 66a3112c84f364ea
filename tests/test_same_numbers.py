"""One scenario, five front ends: page, API, command line, window and Python give equal results, to the last digit."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient

from app.calculations import estimate, results
from app.command_line.main import main
from app.factory import create_app
from app.scenarios import serving_scenario
from tests.window import Driver

SCENARIOS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "small": {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "rtx-4090", "concurrency": 3, "input_tokens": 777},
    "saturated": {"model": "meta-llama/Llama-3.1-70B-Instruct", "gpu": "h200-sxm", "concurrency": "saturated"},
    "layout by hand": {"model": "meta-llama/Llama-3.1-70B-Instruct", "gpu": "h100-sxm", "tp": 4, "pp": 2, "dp": 2},
    "experts": {"model": "deepseek-ai/DeepSeek-V3", "gpu": "h200-sxm", "num_gpus": 16, "kv_precision": "fp8"},
    "windows": {"model": "openai/gpt-oss-120b", "gpu": "h100-sxm", "output_tokens": 4096},
    "recurrent": {"model": "Qwen/Qwen3.5-27B", "gpu": "a100-sxm-80gb", "input_tokens": 100_000},
    "overheads by hand": {
        "gpu": "l40s",
        "engine": "sglang",
        "memory_utilization": 0.87,
        "runtime_gib": 1.3,
        "compute_efficiency": 0.61,
        "step_overhead_ms": 0.7,
        "price_usd_per_gpu_hour": 1.23,
    },
    "electricity": {"region": "us-texas", "pue": 1.37, "electricity_usd_per_kwh": 0.083},
    "does not fit": {"model": "deepseek-ai/DeepSeek-V3", "gpu": "t4", "num_gpus": 2},
    "one token": {"output_tokens": 1},
    "described by hand": {
        "model": "custom",
        "gpu": "custom",
        "num_layers": 7,
        "num_kv_heads": 4,
        "gated_mlp": False,
        "gpu_memory_gib": 23.5,
        "gpu_fp8_tflops": 333.3,
        "weight_precision": "fp8",
    },
}


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app({"LOG_DIR": tmp_path / "logging", "TESTING": True})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def by_python(scenario: dict[str, Any]) -> dict[str, Any]:
    found, _ = serving_scenario(scenario)
    return json.loads(json.dumps(results(estimate(found))))


def by_command_line(scenario: dict[str, Any], log_dir: Path) -> dict[str, Any]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in scenario.items()]
    done = CliRunner().invoke(main, ["estimate", "--json", *options], env={"LOG_DIR": str(log_dir)})
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["results"]


def by_api(client: FlaskClient, scenario: dict[str, Any]) -> dict[str, Any]:
    return client.post("/api/v1/estimate", json=scenario).get_json()["results"]


def filled_form(page: str) -> dict[str, str]:
    """What a browser would send of the form that is posted, as it stands on the page."""
    form = BeautifulSoup(page, "html.parser").find("form", method=lambda method: (method or "").lower() == "post")
    assert form is not None
    fields = {}
    for field in form.find_all("input"):
        chosen = field.get("type") not in ("checkbox", "radio") or field.has_attr("checked")
        if field.get("name") and chosen:
            fields[field["name"]] = field.get("value", "on")
    for field in form.find_all("select"):
        option = field.find("option", selected=True) or field.find("option")
        fields[field["name"]] = option.get("value", option.text)
    for field in form.find_all("textarea"):
        fields[field["name"]] = field.text.strip()
    return fields


def by_page(client: FlaskClient, scenario: dict[str, Any]) -> dict[str, Any]:
    fields = filled_form(client.get("/").text)
    for name, value in scenario.items():
        assert name in fields or isinstance(value, bool), name
        fields[name] = value
    unchecked = {name for name, value in scenario.items() if value is False}
    response = client.post("/", data={name: value for name, value in fields.items() if name not in unchecked})
    assert response.status_code == 303, response.text
    run_id = response.headers["Location"].rsplit("/", 1)[-1]
    assert client.get(response.headers["Location"]).status_code == 200
    return client.get(f"/api/v1/runs/{run_id}").get_json()["results"]


@pytest.mark.parametrize("scenario", SCENARIOS.values(), ids=SCENARIOS.keys())
def test_all_give_the_same_results(client: FlaskClient, tmp_path: Path, scenario: dict[str, Any]) -> None:
    expected = by_python(scenario)
    assert by_api(client, scenario) == expected
    assert by_command_line(scenario, tmp_path) == expected
    assert by_page(client, scenario) == expected


@pytest.mark.desktop
def test_the_window_gives_the_same_results(window: Driver) -> None:
    for name, scenario in SCENARIOS.items():
        window.press("<Control-r>")
        assert window.calculate(**scenario).results == by_python(scenario), name
