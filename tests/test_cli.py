"""The command line: what it prints, what it logs, and how it ends."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app import catalog
from app.calculations.scenario import GROUPS
from app.command_line.main import main
from app.glossary import serving
from app.scenarios import ALL_INPUTS

ROOT = Path(__file__).resolve().parent.parent
LLAMA = ("estimate", "--model", "meta-llama/Llama-3.1-8B-Instruct", "--gpu", "h100-sxm")
CONFIG = {
    "architectures": ["LlamaForCausalLM"],
    "model_type": "llama",
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "vocab_size": 100,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "hidden_act": "silu",
    "tie_word_embeddings": False,
    "torch_dtype": "bfloat16",
}


class Program:
    """The command line with a log directory of its own."""

    def __init__(self, log_dir: Path) -> None:
        self.log_dir = log_dir

    def __call__(self, *words: str) -> Result:
        return CliRunner().invoke(main, list(words), env={"LOG_DIR": str(self.log_dir)}, prog_name="python -m app")

    def json(self, *words: str) -> Any:
        done = self(*words, "--json")
        assert (done.exit_code, done.stderr) == (0, "")
        return json.loads(done.stdout)

    def logged(self) -> list[dict[str, Any]]:
        log = self.log_dir / "cli_calculations.log"
        return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


@pytest.fixture
def run(tmp_path: Path) -> Program:
    return Program(tmp_path / "logging")


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(CONFIG))
    return path


def assert_refused(done: Result, field: str) -> None:
    """Code 2, nothing on stdout, and one line on stderr that names the field."""
    assert done.exit_code == 2, done.output
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert field in done.stderr
    assert "Traceback" not in done.stderr


# --- estimate ---


def test_an_estimate_begins_with_the_verdict(run: Program) -> None:
    done = run(*LLAMA)
    assert done.exit_code == 0
    assert done.stderr == ""
    assert done.stdout.startswith("Fits: ")
    for text in ("Time to first token", "KV cache", "Attention scores", "Decode limited by", "bf16", "H100"):
        assert text in done.stdout


def test_an_estimate_as_json_is_the_logged_run(run: Program) -> None:
    printed = run.json(*LLAMA)
    assert list(printed) == ["run_id", "inputs", "results"]
    (line,) = run.logged()
    assert line["source"] == "cli"
    assert {name: line[name] for name in printed} == printed


def test_the_work_is_shown_where_it_is_asked_for(run: Program) -> None:
    text = run(*LLAMA, "--work").stdout
    for part in ("Prefill of one prompt", "One decode step", "of bandwidth", "cycle = h + (L - 1)", "TPOT = "):
        assert part in text
        assert part not in run(*LLAMA).stdout
    document = run.json(*LLAMA, "--work")
    work = document["work"]
    assert work["same"]
    rows = work["steps"]["decode"]["rows"]
    assert sum(row["seconds"] for row in rows) == pytest.approx(work["steps"]["decode"]["seconds"], rel=1e-12)
    values = {line["symbol"]: line["value"] for line in work["chain"]}
    assert 1000 * values["TPOT"] == pytest.approx(document["results"]["tpot_ms"]["value"], rel=1e-12)
    assert "work" not in run.json(*LLAMA)
    assert all("work" not in line and "work" not in line["results"] for line in run.logged())


def test_the_work_of_a_config_file(run: Program, config: Path) -> None:
    assert run.json("estimate", "--model", str(config), "--gpu", "t4", "--work")["work"]["same"]


def test_what_does_not_fit_is_an_answer(run: Program) -> None:
    done = run("estimate", "--model", "meta-llama/Llama-3.1-70B-Instruct", "--gpu", "h100-sxm", "--num-gpus", "1")
    assert done.exit_code == 0
    assert done.stdout.startswith("Does not fit")
    assert "Remedies:" in done.stdout


def test_every_option_of_the_serving_contract_is_taken(run: Program) -> None:
    counts = {"num-gpus": 8, "tp": 4, "pp": 1, "ep": 1, "dp": 2, "input-tokens": 1000, "output-tokens": 100}
    precisions = {"weight-precision": "fp8", "activation-precision": "fp8", "kv-precision": "fp8"}
    options = {**counts, **precisions, "engine": "sglang", "concurrency": "saturated"}
    found = run.json(*LLAMA, *(f"--{name}={value}" for name, value in options.items()))
    assert found["inputs"]["concurrency"] == "saturated"
    assert found["results"]["layout"]["tp"] == 4
    assert found["results"]["precision"] == {"weights": "fp8", "activations": "fp8", "kv_cache": "fp8"}


def test_every_input_is_an_option_with_its_help_under_its_heading(run: Program) -> None:
    shown = " ".join(run("estimate", "--help").stdout.split())
    for name, declared in ALL_INPUTS.items():
        assert f"--{name.replace('_', '-')} " in shown
        assert declared.label in shown
        assert declared.help.split(".")[0].split("-")[0] in shown
    assert all(heading in shown for heading, _ in GROUPS.values())


def test_a_custom_model_on_a_custom_accelerator(run: Program) -> None:
    options = {
        "model": "custom",
        "gpu": "custom",
        "num-layers": 2,
        "hidden-size": 64,
        "num-heads": 4,
        "gated-mlp": "no",
    }
    found = run.json("estimate", *(f"--{name}={value}" for name, value in options.items()))
    assert found["inputs"]["gated_mlp"] is False
    assert found["results"]["fits"] is True


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--num-gpus", "0"),
        ("--num-gpus", "-1"),
        ("--num-gpus", "two"),
        ("--num-gpus", "1e400"),
        ("--num-gpus", "9" * 5000),
        ("--input-tokens", "nan"),
        ("--concurrency", "all"),
        ("--weight-precision", "fp7"),
        ("--gated-mlp", "perhaps"),
        ("--model", "no-such-model"),
        ("--gpu", "h1000"),
        ("--engine", "vlm"),
        ("--tp", "3"),
    ],
)
def test_a_value_that_is_not_allowed(run: Program, option: str, value: str) -> None:
    done = run(*LLAMA, option, value)
    assert_refused(done, option.removeprefix("--").replace("-", "_"))
    assert option in done.stderr
    assert run.logged() == []


@pytest.mark.parametrize(
    ("words", "field"),
    [
        (("estimate", "--modle", "x"), "--model"),
        (("estimate", "--tp"), "tp"),
        (("estimate", "extra"), "extra"),
        (("estimat",), "estimat"),
        (("gpu", "--limit", "3"), "--limit"),
        (("history", "--limit", "many"), "limit"),
        (("gpu", "h1000"), "gpu"),
        (("model", "no-such-model"), "model"),
    ],
)
def test_a_command_line_that_is_not_understood(run: Program, words: tuple[str, ...], field: str) -> None:
    assert_refused(run(*words), field)


def test_errors_as_json(run: Program) -> None:
    for words, field in ((("estimate", "--tp", "3"), "tp"), (("estimate", "--tp"), "tp"), (("gpu", "h1000"), "gpu")):
        done = run(*words, "--json") if words[-1] != "--tp" else run("estimate", "--json", "--tp")
        assert (done.exit_code, done.stdout) == (2, "")
        error = json.loads(done.stderr)["error"]
        assert set(error) == {"field", "message", "allowed"}
        assert error["field"] == field


def test_no_command_shows_the_help(run: Program) -> None:
    done = run()
    assert done.exit_code == 2
    for name in main.commands:
        assert f"\n  {name} " in done.stderr


def test_a_log_that_cannot_be_written_is_a_warning(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    for log_dir in (tmp_path / "file", tmp_path / "file" / "logging"):
        done = Program(log_dir)(*LLAMA, "--json")
        assert done.exit_code == 0
        assert done.stderr.startswith("Warning: ")
        assert json.loads(done.stdout)["saved"] is False


# --- a model's own config.json ---


def test_a_config_file_as_the_model(run: Program, config: Path) -> None:
    found = run.json("estimate", "--model", str(config))
    assert found["results"]["fits"] is True
    assert found["inputs"]["model"] == str(config)
    assert found["results"]["model"]["total_params"] == run.json("model", str(config))["total_params"]


def test_a_folder_with_a_config_file(run: Program, config: Path) -> None:
    assert run.json("model", str(config.parent)) == run.json("model", str(config))


def write(path: Path, text: bytes) -> Path:
    path.write_bytes(text)
    return path


def test_files_that_cannot_be_read_as_a_model(run: Program, tmp_path: Path) -> None:
    for path in (
        tmp_path / "missing.json",
        tmp_path / ("long" * 100 + ".json"),
        Path("/dev/null/config.json"),
        write(tmp_path / "empty.json", b""),
        write(tmp_path / "list.json", b"[]"),
        write(tmp_path / "deep.json", b'{"a":' * 100_000),
        write(tmp_path / "binary.json", b"\xff\xfe\x00"),
        write(tmp_path / "large.json", b" " * 10_000_001),
        write(tmp_path / "other.json", b"{}"),
        write(tmp_path / "strange.json", json.dumps({**CONFIG, "num_hidden_layers": "many"}).encode()),
        write(tmp_path / "negative.json", json.dumps({**CONFIG, "num_attention_heads": -4}).encode()),
        tmp_path,
        Path("/dev/zero"),
    ):
        done = run("model", str(path) if path != tmp_path else f"{tmp_path}/")
        assert done.exit_code == 2, path
        assert done.stderr.count("\n") == 1, done.stderr
        assert "Traceback" not in done.output


# --- facts ---


def test_model_facts(run: Program) -> None:
    facts = run.json("model", "meta-llama/Llama-3.1-70B-Instruct")
    assert set(facts) == {name for name in serving.MODEL_KEYS if "." not in name}
    assert facts["total_params"] == 70_553_706_496
    assert facts["kv_bytes_per_token_bf16"] == 327_680
    done = run("model", "meta-llama/Llama-3.1-70B-Instruct")
    assert "70,553,706,496" in done.stdout
    assert "327,680 bytes" in done.stdout


def test_every_model_and_accelerator_can_be_shown(run: Program) -> None:
    models = run.json("model")["models"]
    assert [row["id"] for row in models] == list(catalog.models())
    gpus = run.json("gpu")["gpus"]
    assert [row["gpu"] for row in gpus] == list(catalog.gpus())
    for name in catalog.models():
        assert run("model", name).exit_code == 0, name
    for name in catalog.gpus():
        assert run("gpu", name).exit_code == 0, name


def test_lists_name_everything(run: Program) -> None:
    models, gpus = run("model").stdout, run("gpu").stdout
    assert all(name in models for name in catalog.models())
    assert all(name in gpus for name in catalog.gpus())


def test_gpu_facts(run: Program) -> None:
    facts = run.json("gpu", "h100-sxm")
    assert set(facts) == {name for name in serving.GPU_KEYS if "." not in name}
    assert "3.35 TB/s" in run("gpu", "H100-SXM").stdout


# --- history ---


def test_history_is_newest_first(run: Program) -> None:
    assert run("history").stdout == "No runs yet.\n"
    ids = [run.json(*LLAMA, "--concurrency", str(n))["run_id"] for n in (1, 2, 3)]
    assert [line.split()[0] for line in run("history", "--limit", "2").stdout.splitlines()] == [ids[2], ids[1]]
    assert [one["run_id"] for one in run.json("history")["runs"]] == ids[::-1]


# --- the real program ---


def program(*words: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "app", *words], cwd=ROOT, capture_output=True, text=True, timeout=60, **options
    )


def test_the_program_answers(tmp_path: Path) -> None:
    done = program(*LLAMA, "--json", env={**os.environ, "LOG_DIR": str(tmp_path)})
    assert (done.returncode, done.stderr) == (0, "")
    assert json.loads(done.stdout)["results"]["fits"] is True
    assert (tmp_path / "cli_calculations.log").read_text().count("\n") == 1


def test_the_program_refuses() -> None:
    done = program("estimate", "--num-gpus", "0")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("Error in num_gpus (--num-gpus): ")
    assert "Allowed: a whole number from 1 to 16,384" in done.stderr


def test_a_terminal_that_knows_ascii_only(tmp_path: Path) -> None:
    environ = {**os.environ, "LOG_DIR": str(tmp_path), "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = program(*LLAMA, env=environ)
    assert (done.returncode, done.stderr) == (0, "")


def test_an_output_that_is_closed_early() -> None:
    command = f"{sys.executable} -m app model | head -1"
    done = subprocess.run(["sh", "-c", command], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert done.stderr == ""


def test_serve_refuses_a_setting_that_is_not_allowed() -> None:
    done = program("serve", env={**os.environ, "PORT": "many"})
    assert done.returncode == 2
    assert done.stderr.startswith("Error in PORT: ")
    assert done.stderr.count("\n") == 1
