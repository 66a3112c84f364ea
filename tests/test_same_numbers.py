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
from app.calculations.training import report
from app.command_line.main import main
from app.factory import create_app
from app.planning import plan
from app.scenarios import serving_scenario
from app.training_scenarios import question
from tests.window import Driver

Scenarios = dict[str, dict[str, Any]]

SERVING: Scenarios = {
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


TRAINING: Scenarios = {
    "defaults": {},
    "a cluster": {"model": "meta-llama/Meta-Llama-3.1-70B", "num_gpus": 512, "tokens": 2e12, "budget_usd": 1e6},
    "layout by hand": {
        "model": "meta-llama/Meta-Llama-3.1-70B",
        "num_gpus": 64,
        "tp": 8,
        "pp": 4,
        "dp": 2,
        "global_batch_size": 256,
        "sequence_parallel": False,
        "activation_recompute": "full",
        "recompute_layers": 3,
    },
    "experts": {"model": "mistralai/Mixtral-8x7B-v0.1", "num_gpus": 64, "ep": 8, "expert_imbalance": 1.3},
    "adapters": {"model": "meta-llama/Meta-Llama-3.1-8B", "gpu": "rtx-4090", "num_gpus": 1, "method": "qlora"},
    "epochs": {"seq_len": 2048, "epochs": 2.5, "dataset_tokens": 1e9, "price_usd_per_gpu_hour": 1.23, "pue": 1.37},
    "does not fit": {"model": "meta-llama/Meta-Llama-3.1-70B", "gpu": "l40s", "num_gpus": 8},
    "described by hand": {
        "model": "custom",
        "gpu": "custom",
        "num_layers": 7,
        "num_kv_heads": 4,
        "gated_mlp": False,
        "gpu_memory_gib": 23.5,
    },
}

PLANS: Scenarios = {
    "a rate": {"gpu": "h100-sxm, l40s", "request_rate": 20, "max_ttft_ms": 500, "max_tpot_ms": 40.5},
    "users": {"gpu": "a100-sxm-80gb", "concurrency": 200, "spare_replicas": 1, "growth": 0.5, "region": "france"},
    "out of reach": {"gpu": "t4", "request_rate": 5, "max_tpot_ms": 1},
    "against an API": {
        "gpu": "l40s",
        "request_rate": 20,
        "statistic": "p90",
        "api_usd_per_million_input_tokens": 0.2,
        "api_usd_per_million_output_tokens": 0.8,
    },
}


def serving_results(scenario: dict[str, Any]) -> dict[str, Any]:
    return results(estimate(serving_scenario(scenario)[0]))


def training_results(scenario: dict[str, Any]) -> dict[str, Any]:
    asked, _ = question(scenario)
    return report.results(asked.candidates(), asked.make, asked.space)


def plan_results(scenario: dict[str, Any]) -> dict[str, Any]:
    return plan(scenario)[0]


#: Kind of the run, which is also its command and its path of the API -> its page, what Python calls, what is asked.
TASKS = {
    "estimate": ("/", serving_results, SERVING),
    "train": ("/train", training_results, TRAINING),
    "plan": ("/plan", plan_results, PLANS),
}
CASES = [
    pytest.param(task, scenario, id=f"{task}, {name}")
    for task, (_, _, scenarios) in TASKS.items()
    for name, scenario in scenarios.items()
]


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app({"LOG_DIR": tmp_path / "logging", "TESTING": True})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def by_python(task: str, scenario: dict[str, Any]) -> dict[str, Any]:
    return json.loads(json.dumps(TASKS[task][1](scenario)))


def by_command_line(task: str, scenario: dict[str, Any], log_dir: Path) -> dict[str, Any]:
    options = [f"--{name.replace('_', '-')}={value}" for name, value in scenario.items()]
    done = CliRunner().invoke(main, [task, "--json", *options], env={"LOG_DIR": str(log_dir)})
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)["results"]


def by_api(client: FlaskClient, task: str, scenario: dict[str, Any]) -> dict[str, Any]:
    return client.post(f"/api/v1/{task}", json=scenario).get_json()["results"]


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


def by_page(client: FlaskClient, task: str, scenario: dict[str, Any]) -> dict[str, Any]:
    page = TASKS[task][0]
    fields = filled_form(client.get(page).text)
    for name, value in scenario.items():
        assert name in fields or isinstance(value, bool), name
        fields[name] = value
    unchecked = {name for name, value in scenario.items() if value is False}
    response = client.post(page, data={name: value for name, value in fields.items() if name not in unchecked})
    assert response.status_code == 303, response.text
    run_id = response.headers["Location"].rsplit("/", 1)[-1]
    assert client.get(response.headers["Location"]).status_code == 200
    return client.get(f"/api/v1/runs/{run_id}").get_json()["results"]


@pytest.mark.parametrize(("task", "scenario"), CASES)
def test_all_give_the_same_results(client: FlaskClient, tmp_path: Path, task: str, scenario: dict[str, Any]) -> None:
    expected = by_python(task, scenario)
    assert by_api(client, task, scenario) == expected
    assert by_command_line(task, scenario, tmp_path) == expected
    assert by_page(client, task, scenario) == expected


@pytest.mark.desktop
@pytest.mark.parametrize("task", TASKS)
def test_the_window_gives_the_same_results(window: Driver, task: str) -> None:
    window.turn_to(task)
    for name, scenario in TASKS[task][2].items():
        window.press("<Control-r>")
        assert window.calculate(**scenario).results == by_python(task, scenario), name
