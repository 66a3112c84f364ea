"""Planning by command line and API: the same answer, logged, and bad input named."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from app.command_line.main import main
from app.deploy import launch_serving
from app.planning import plan

ASKED = {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm, l40s", "request_rate": 20, "max_tpot_ms": 30}


@pytest.fixture(autouse=True)
def directories(tmp_path, monkeypatch):
    monkeypatch.setenv("DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("LOG_DIR", str(tmp_path / "log"))


def cli(*args):
    return CliRunner().invoke(main, ["plan", *map(str, args)])


def test_command_line_and_api_give_the_same_plan(client):
    words = ("--model", ASKED["model"], "--gpu", "h100-sxm", "--gpu", "l40s", "--request-rate", 20, "--max-tpot-ms", 30)
    done = cli(*words, "--json")
    assert done.exit_code == 0, done.stderr
    answered = client.post("/api/v1/plan", json=ASKED)
    assert answered.status_code == 200
    assert json.loads(done.stdout)["results"] == answered.json["results"]
    logged = client.get(f"/api/v1/runs/{answered.json['run_id']}").json
    assert logged["kind"] == "plan" and logged["results"] == answered.json["results"]
    assert client.get(f"/results/{answered.json['run_id']}").status_code == 200


def test_the_best_plan_says_what_is_bought_and_its_price():
    results, _ = plan(ASKED)
    best = results["plans"][0]
    assert results["meets_goals"] and best["summary"].startswith(f"{best['num_gpus']} GPU")
    assert best["num_gpus"] == best["replicas"] * best["gpus_per_replica"]
    assert best["usd_per_month"]["value"] == pytest.approx(730 * best["usd_per_hour"]["value"])
    tokens = 20 * 256 * 3600 / 1e6
    assert best["usd_per_million_output_tokens"]["value"] == pytest.approx(best["usd_per_hour"]["value"] / tokens)
    assert 0 < best["probability"] <= 1 and best["binding_goal"] == "max_tpot_ms"


def test_the_terminal_shows_the_ranked_plans():
    done = cli("--gpu", "h100-sxm", "--request-rate", 20)
    assert done.exit_code == 0 and "kinds of replica" in done.stdout and "H100" in done.stdout
    none = cli("--gpu", "h100-sxm", "--request-rate", 20, "--max-tpot-ms", 0.02)
    assert none.exit_code == 0 and "No plan meets all goals" in none.stdout and "Without max_tpot_ms" in none.stdout


def test_an_unknown_price_is_unknown_and_not_zero():
    results, _ = plan({"request_rate": 1, "gpu": "h100-sxm", "price_usd_per_gpu_hour": 0})
    assert results["plans"][0]["usd_per_hour"]["value"] == 0
    own, _ = plan({"request_rate": 1, "gpu": "apple-m2-ultra"})
    assert all(one["usd_per_hour"]["value"] is None for one in own["plans"])


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"request_rate": None}, "request_rate"),
        ({"concurrency": 5}, "request_rate"),
        ({"gpu": "h100-sxm, nothing"}, "gpu"),
        ({"weight_precision": "fp8, fp7"}, "weight_precision"),
        ({"max_ttft_ms": -1}, "max_ttft_ms"),
        ({"statistic": "p90", "request_rate": None, "concurrency": 5}, "statistic"),
        ({"reqest_rate": 5}, "reqest_rate"),
        ({"model": "nobody/nothing"}, "model"),
        ({"other_models": "nobody/nothing"}, "other_models"),
        ({"request_mix": "half 1024/256"}, "request_mix"),
        ({"request_mix": "50% 100/10, 50% 200/10", "engine": "hf"}, "request_mix"),
    ],
)
def test_bad_input_names_its_field(client, changes, field):
    answered = client.post("/api/v1/plan", json=ASKED | changes)
    assert answered.status_code == 422 and answered.json["error"]["field"] == field


def send(client, **changes):
    return client.post("/plan", data={name: str(value) for name, value in (ASKED | changes).items()})


def test_the_form_leads_to_the_page_of_its_plan(client):
    sent = send(client)
    assert sent.status_code == 303
    page = client.get(sent.headers["Location"]).get_data(as_text=True)
    best = plan(ASKED)[0]["plans"][0]
    assert "Plans that meet the goals" in page and best["summary"] in page
    assert "Llama-3.1-8B-Instruct" in page and "20.0 requests per second" in page


def test_a_load_that_nothing_serves_gets_the_nearest_plans(client):
    page = client.get(send(client, max_tpot_ms=0.02).headers["Location"]).get_data(as_text=True)
    assert "Nearest to the goals" in page and "The cheapest without one goal" in page


def test_bad_input_stands_beside_its_field_and_nothing_is_lost(client):
    sent = send(client, gpu="h100-sxm, nothing", max_ttft_ms="soon")
    page = sent.get_data(as_text=True)
    assert sent.status_code == 422 and "soon" in page and "h100-sxm, nothing" in page
    assert 'id="error-max_ttft_ms"' in page
    both = send(client, concurrency=5)
    assert both.status_code == 422 and "both given" in both.get_data(as_text=True)


def test_the_address_fills_the_form(client):
    page = client.get("/plan?request_rate=7&gpu=b200").get_data(as_text=True)
    assert 'value="7"' in page and 'value="b200"' in page


PLAN = {
    "layout": {"tp": 4, "pp": 2, "dp": 1, "ep": 1},
    "weight_precision": "fp8",
    "kv_precision": "bf16",
    "requests_in_flight_per_replica": 96.0,
}
LAUNCHED = {"model": "meta-llama/Llama-3.1-70B-Instruct", "input_tokens": 1000, "output_tokens": 200}


def test_commands_say_the_layout_in_the_words_of_each_engine():
    assert launch_serving.snippet("vllm", LAUNCHED, PLAN).split(" \\\n    ") == [
        "vllm serve meta-llama/Llama-3.1-70B-Instruct",
        "--tensor-parallel-size 4",
        "--pipeline-parallel-size 2",
        "--quantization fp8",
        "--max-num-seqs 96",
        "--max-model-len 2400",
    ]
    assert "--tp-size 4" in launch_serving.snippet("sglang", LAUNCHED, PLAN)
    assert "--tp_size 4" in launch_serving.snippet("trtllm", LAUNCHED, PLAN)


def test_experts_over_copies_of_the_attention_have_their_own_flags():
    shared = PLAN | {"layout": {"tp": 1, "pp": 1, "dp": 8, "ep": 8}, "kv_precision": "fp8"}
    assert "--enable-expert-parallel" in launch_serving.snippet("vllm", LAUNCHED, shared)
    sglang = launch_serving.snippet("sglang", LAUNCHED, shared)
    assert "--tp-size 8" in sglang and "--dp-size 8" in sglang and "--enable-dp-attention" in sglang
    assert "--max-num-seqs 12" in launch_serving.snippet("vllm", LAUNCHED, shared)


def test_the_command_line_prints_what_starts_a_replica():
    done = cli("--gpu", "h100-sxm", "--request-rate", 20, "--launch", "vllm")
    assert done.exit_code == 0 and "vllm serve meta-llama/Llama-3.1-8B-Instruct" in done.stdout


MIX = "70% 1024/256, 30% 8192/512"


def test_a_mix_gives_the_same_plan_by_command_line_and_api_and_every_class_on_the_page(client):
    asked = ASKED | {"request_mix": MIX}
    answered = client.post("/api/v1/plan", json=asked)
    words = ("--gpu", ASKED["gpu"], "--request-rate", 20, "--max-tpot-ms", 30)
    halves = ("--request-mix", "70% 1024/256", "--request-mix", "30% 8192/512")
    done = cli(*words, *halves, "--model", ASKED["model"], "--json")
    assert json.loads(done.stdout)["results"] == answered.json["results"]
    best = answered.json["results"]["plans"][0]
    assert [one["input_tokens"] for one in best["classes"]] == [1024, 8192]
    assert [one["binds"] for one in best["classes"]].count(True) == 1
    assert best["tpot_ms"]["value"] == max(one["tpot_ms"]["value"] for one in best["classes"])
    tokens = 20 * (0.7 * 256 + 0.3 * 512) * 3600 / 1e6
    assert best["usd_per_million_output_tokens"]["value"] == pytest.approx(best["usd_per_hour"]["value"] / tokens)
    page = client.get(f"/results/{answered.json['run_id']}").get_data(as_text=True)
    assert "Each class of requests" in page and "8,192" in page and 'id="what-if-input_tokens"' not in page
    assert "--max-model-len 17408" in page
    assert client.get(f"/results/{answered.json['run_id']}/heat").status_code == 200
    moved = client.get(f"/results/{answered.json['run_id']}/sensitivity").get_data(as_text=True)
    assert "at the mean lengths of the mix" in moved
    assert "nearest to a goal" in cli(*words, *halves).stdout


def test_a_mix_of_one_class_is_the_plan_without_a_mix():
    mixed, logged = plan(ASKED | {"input_tokens": 7, "request_mix": "60% 2000/300, 40% 2000/300"})
    assert mixed == plan(ASKED | {"input_tokens": 2000, "output_tokens": 300})[0]
    assert (logged["input_tokens"], logged["output_tokens"]) == (2000, 300)


def test_several_models_are_ranked_by_what_their_plans_cost(client):
    names = ("Qwen/Qwen3-32B", "openai-community/gpt2")
    asked = ASKED | {"input_tokens": 2000, "other_models": ", ".join(names)}
    answered = client.post("/api/v1/plan", json=asked).json
    small, large, short = answered["results"]["models"]
    assert (small["model"], large["model"]) == (ASKED["model"], names[0])
    assert small["plan"] == answered["results"]["plans"][0]
    assert small["plan"]["usd_per_hour"]["value"] <= large["plan"]["usd_per_hour"]["value"]
    assert (short["plan"], short["reason"]) == (None, "its context is shorter than the longest request")
    for one in (small, large):
        alone, _ = plan(asked | {"model": one["model"], "other_models": ""})
        assert one["plan"] == alone["plans"][0] and len(alone["models"]) == 1
    page = client.get(f"/results/{answered['run_id']}").get_data(as_text=True)
    assert "Which model" in page and "Qwen/Qwen3-32B" in page and "shorter than the longest request" in page
    shown = cli("--gpu", "h100-sxm", "--request-rate", 20, "--other-models", names[0]).stdout
    assert f": {names[0]}" in shown and "cheapest plan" in shown


def test_a_request_that_the_model_was_not_made_for_has_no_plan():
    results, _ = plan({"model": "openai-community/gpt2", "gpu": "h100-sxm", "request_rate": 1, "input_tokens": 1000})
    assert not results["meets_goals"] and results["searched"]["too_long"] == ["openai-community/gpt2"]
    assert "more tokens than the model" in results["verdict"]
