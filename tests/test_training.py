"""Training on the command line and by the API: the same numbers, logged as runs of their kind, and what starts them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from app.command_line.main import main
from app.factory import create_app
from app.history.run_log import RunLog
from app.runs import train_run

RAW = {
    "model": "meta-llama/Llama-3.1-8B", "gpu": "h100-sxm", "num_gpus": "64", "seq_len": "8192",
    "micro_batch_size": "1", "global_batch_size": "256", "tp": "2", "pp": "2", "sharding": "zero1",
    "activation_recompute": "none", "tokens": "1e12",
}  # fmt: skip
QUANTITIES = ("peak_memory_gb", "step_time_s", "tokens_per_s_per_gpu", "mfu", "hfu", "tflops_per_gpu")


def options(raw: dict[str, str]) -> list[str]:
    return [word for name, value in raw.items() for word in (f"--{name.replace('_', '-')}", value)]


def run_cli(log_dir: Path, *words: str) -> Any:
    return CliRunner().invoke(main, ["train", *words], env={"LOG_DIR": str(log_dir)}, prog_name="python -m app")


@pytest.fixture
def client(tmp_path: Path) -> FlaskClient:
    return create_app({"LOG_DIR": tmp_path, "TESTING": True}).test_client()


def test_command_line_and_api_give_the_same_answer_and_log_it(client: FlaskClient, tmp_path: Path) -> None:
    shown = json.loads(run_cli(tmp_path, *options(RAW), "--json").stdout)
    answer = client.post("/api/v1/train", json=RAW).get_json()
    assert shown["results"] == answer["results"]
    assert shown["inputs"] == answer["inputs"]
    kinds = {run.run_id: (run.kind, run.source) for run in RunLog(tmp_path).read().runs}
    assert kinds == {shown["run_id"]: ("train", "cli"), answer["run_id"]: ("train", "api")}
    logged = client.get(f"/api/v1/runs/{shown['run_id']}").get_json()
    assert logged["results"] == shown["results"]


def test_quantities_have_ranges_that_hold_them() -> None:
    results = train_run(RAW, source="cli").results
    for name in QUANTITIES:
        found = results[name]
        assert found["low"] <= found["value"] <= found["high"], name
    assert results["hfu"]["value"] == pytest.approx(results["mfu"]["value"])
    assert sum(results["step_terms_s"].values()) == pytest.approx(results["step_time_s"]["value"])
    tokens = 256 * 8192 / results["step_time_s"]["value"] / 64
    assert results["tokens_per_s_per_gpu"]["value"] == pytest.approx(tokens)


def test_what_was_logged_asks_the_same_again() -> None:
    first = train_run(RAW, source="cli")
    assert train_run(first.inputs, source="cli").results == first.results


def test_a_run_of_ten_times_the_tokens_takes_ten_times_as_long() -> None:
    short, long = (train_run(RAW | {"tokens": tokens}, source="cli").results["run"] for tokens in ("1e12", "1e13"))
    for name in ("days", "gpu_hours", "usd", "mwh", "tco2"):
        assert long[name]["value"] == pytest.approx(10 * short[name]["value"])


def test_epochs_are_passes_over_the_data() -> None:
    raw = {name: value for name, value in RAW.items() if name != "tokens"} | {"epochs": "3", "dataset_tokens": "2e9"}
    assert train_run(raw, source="cli").results["run"]["tokens"] == 6e9


def test_adapters_train_few_parameters_in_little_memory() -> None:
    raw = {"gpu": "rtx-4090", "num_gpus": "1", "method": "qlora", "seq_len": "2048", "lora_rank": "8",
           "lora_targets": "qv"}  # fmt: skip
    results = train_run(raw, source="cli").results
    assert results["fits"]
    assert results["model"]["trained_params"] == 32 * 8 * (4096 + 4096 + 4096 + 1024)


def test_what_does_not_fit_is_an_answer_with_remedies(tmp_path: Path) -> None:
    done = run_cli(tmp_path, "--gpu", "rtx-4090", "--num-gpus", "1", "--seq-len", "2048", "--json")
    assert done.exit_code == 0
    results = json.loads(done.stdout)["results"]
    assert not results["fits"]
    assert "QLoRA" in [one["change"] for one in results["remedies"]]
    assert "GiB more than it has" in results["verdict"]


def test_text_shows_verdict_memory_step_run_and_layouts(tmp_path: Path) -> None:
    done = run_cli(tmp_path, "--num-gpus", "16")
    assert done.exit_code == 0
    for words in ("Fits: ", "Memory per GPU", "Optimizer states", "Step", "MFU", "Tokens", "Layout", "the fastest"):
        assert words in done.stdout


def test_bad_input_ends_with_2_and_is_422(client: FlaskClient, tmp_path: Path) -> None:
    done = run_cli(tmp_path, "--tp", "3", "--json")
    assert done.exit_code == 2
    error = json.loads(done.stderr)["error"]
    assert error["field"] == "tp"
    response = client.post("/api/v1/train", json={"tp": 3})
    assert response.status_code == 422
    assert response.get_json()["error"] == error


def test_pages_live_with_training_runs_in_the_log(client: FlaskClient) -> None:
    run_id = client.post("/api/v1/train", json=RAW).get_json()["run_id"]
    assert client.get("/visualize").status_code == 200
    assert client.get(f"/results/{run_id}").status_code < 500


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"gpu": "mi300x"}, "The price of a GPU hour of Instinct MI300X 192GB is not known"),
        ({"price_usd_per_gpu_hour": "0"}, "is 0, so nothing can be said of the budget; give price_usd_per_gpu_hour"),
    ],
    ids=["unknown", "nothing"],
)
def test_a_budget_without_a_price_says_so_everywhere(
    client: FlaskClient, tmp_path: Path, changes: dict[str, str], words: str
) -> None:
    raw = RAW | {"budget_usd": "1000"} | changes
    results = client.post("/api/v1/train", json=raw).get_json()["results"]
    assert results["run"]["budget"] is None
    assert any(words in one for one in results["warnings"])
    assert words in " ".join(run_cli(tmp_path, *options(raw)).stdout.split())
    assert words in client.post("/train", data=raw, follow_redirects=True).text


STALLED = RAW | {"num_gpus": "4096", "global_batch_size": "4096", "gpu_mtbf_hours": "1", "restart_minutes": "60"}


def test_a_run_that_makes_no_progress_is_answered_and_says_why(client: FlaskClient, tmp_path: Path) -> None:
    answer = client.post("/api/v1/train", json=STALLED | {"budget_usd": "1000"})
    assert answer.status_code == 200
    results = answer.get_json()["results"]
    run = results["run"]
    for name in ("days", "gpu_hours", "usd", "mwh", "tco2"):
        assert run[name] == {"value": None, "low": None, "high": None}, name
    assert (run["failures"], run["budget"]) == (None, None)
    assert run["problem"] in results["warnings"]
    for words in ("no progress: a failure every 0.879 s, a restart takes 60 minutes", "gpu_mtbf_hours", "restart_min"):
        assert words in run["problem"]
    assert results["step_time_s"]["value"] > 0
    text = " ".join(run_cli(tmp_path, *options(STALLED)).stdout.split())
    assert "Time The run makes no progress" in text
    page = client.post("/train", data=STALLED, follow_redirects=True)
    assert page.status_code == 200
    assert "The run makes no progress" in page.text


# --- launch -----------------------------------------------------------------------------------------------------


def launched(tmp_path: Path, launcher: str, raw: dict[str, str]) -> str:
    done = run_cli(tmp_path, *options(raw), "--launch", launcher, "--json")
    assert done.exit_code == 0, done.stderr
    return str(json.loads(done.stdout)["launch"])


def test_megatron_arguments_say_the_layout_and_the_architecture(tmp_path: Path) -> None:
    text = launched(tmp_path, "megatron", RAW)
    for words in (
        "--nnodes 8 --nproc-per-node 8", "--tensor-model-parallel-size 2", "--pipeline-model-parallel-size 2",
        "--sequence-parallel", "--use-distributed-optimizer", "--micro-batch-size 1", "--global-batch-size 256",
        "--num-layers 32", "--num-query-groups 8", "--swiglu", "--bf16",
    ):  # fmt: skip
        assert words in text
    assert "recompute" not in text


def test_torchtitan_shards_over_data_parallel_gpus(tmp_path: Path) -> None:
    raw = RAW | {"sharding": "fsdp-full", "pp": "1", "activation_recompute": "selective"}
    text = launched(tmp_path, "torchrun", raw)
    for words in ("data_parallel_shard_degree 32", "tensor_parallel_degree 2", "activation_checkpoint.mode selective"):
        assert words in text


def test_deepspeed_configuration(tmp_path: Path) -> None:
    raw = RAW | {"tp": "1", "pp": "1", "sharding": "zero3", "offload": "optimizer"}
    text = launched(tmp_path, "deepspeed", raw)
    config = json.loads(text[text.index("{") : text.rindex("}") + 1])
    assert config["zero_optimization"]["stage"] == 3
    assert config["zero_optimization"]["offload_optimizer"]["device"] == "cpu"
    batch = config["train_micro_batch_size_per_gpu"] * config["gradient_accumulation_steps"] * 64
    assert batch == config["train_batch_size"] == 256


def test_accelerate_configuration_of_qlora(tmp_path: Path) -> None:
    text = launched(tmp_path, "accelerate", {"method": "qlora", "gpu": "rtx-4090", "num_gpus": "1", "seq_len": "2048"})
    assert "--use_peft" in text and "--lora_r 16" in text
    assert "--load_in_4bit" in text


def test_a_launcher_that_cannot_do_the_layout_says_so(tmp_path: Path) -> None:
    done = run_cli(tmp_path, *options(RAW), "--launch", "deepspeed", "--json")
    assert done.exit_code == 2
    assert json.loads(done.stderr)["error"]["field"] == "launch"
