"""The command line: models by path and id, and what is saved, handed out and deleted."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from app.command_line.main import main
from app.config import PROJECT
from tests.fake_hub import CONFIG, NOBODY, PARAMS, FakeHub, endless, silent, status

ID = "someone/Tiny"
Run = Callable[..., Result]


@pytest.fixture
def environ(tmp_path: Path) -> dict[str, str]:
    return {"LOG_DIR": str(tmp_path / "logging"), "DATA_DIR": str(tmp_path / "data"), "HF_ENDPOINT": NOBODY}


@pytest.fixture
def run(environ: dict[str, str]) -> Run:
    def invoke(*words: str, **settings: str) -> Result:
        return CliRunner().invoke(main, list(words), env=environ | settings, prog_name="python -m app")

    return invoke


@pytest.fixture
def config(tmp_path: Path) -> Path:
    path = tmp_path / "tiny" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(CONFIG))
    return path


def printed(done: Result) -> Any:
    assert done.exit_code == 0, done.output
    return json.loads(done.stdout)


def refusal(done: Result) -> str:
    assert (done.exit_code, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 1
    return done.stderr


# ---- from the hub


def test_a_model_of_the_hub_is_shown_and_estimated(run: Run, hub: FakeHub) -> None:
    hub.put(ID, counts={"BF16": PARAMS})
    facts = printed(run("model", ID, "--json", HF_ENDPOINT=hub.url))
    assert (facts["model"], facts["total_params"], facts["own"]) == (ID, PARAMS, False)
    assert "count confirmed by safetensors metadata" in facts["source"]
    estimate = printed(run("estimate", "--model", ID, "--gpu", "l4", "--json", HF_ENDPOINT=hub.url))
    assert estimate["inputs"]["model"] == ID
    assert estimate["results"]["model"]["total_params"] == PARAMS


def test_a_token_is_sent(run: Run, hub: FakeHub) -> None:
    hub.put(ID)
    run("model", ID, HF_ENDPOINT=hub.url, HF_TOKEN="hf_abc")
    assert "Bearer hf_abc" in hub.server.tokens


def test_a_checkpoint_of_another_size_is_warned_of(run: Run, hub: FakeHub) -> None:
    hub.put(ID, total_size=4 * PARAMS)
    (warning,) = printed(run("model", ID, "--json", HF_ENDPOINT=hub.url))["warnings"]
    assert f"{4 * PARAMS:,} bytes" in warning and f"{2 * PARAMS:,} counted" in warning


def test_without_a_hub_the_file_is_asked_for_and_the_nearest_are_named(run: Run) -> None:
    for command in (("model", "Qwen/Qwen3-33B"), ("estimate", "--model", "Qwen/Qwen3-33B")):
        said = refusal(run(*command))
        assert f"is not a preset, and {NOBODY} could not be reached: give the config.json instead." in said
        assert "Qwen/Qwen3-32B" in said


@pytest.mark.parametrize(
    ("answer", "said"),
    [(status(403, "GatedRepo"), "gated"), (status(404), "no such model"), (endless, "10 MB"), (silent, "within 0.5 s")],
)
def test_what_the_hub_refuses_is_told(
    run: Run, hub: FakeHub, monkeypatch: pytest.MonkeyPatch, answer: Any, said: str
) -> None:
    if answer is silent:
        monkeypatch.setattr("app.own.hub.TOTAL_SECONDS", 0.5)
    hub.put(ID, answer)
    assert said in refusal(run("model", ID, HF_ENDPOINT=hub.url))


@pytest.mark.parametrize(
    "name", ["no-such-model", "a/b/c", "../x", "custm", "openai/gpt-oss-120b", "nvidia/DeepSeek-R1-NVFP4"]
)
def test_what_is_no_id_or_is_a_preset_is_not_asked_for(run: Run, hub: FakeHub, name: str) -> None:
    run("model", name, HF_ENDPOINT=hub.url)
    run("estimate", "--model", name, HF_ENDPOINT=hub.url)
    assert not hub.asked


def test_a_bad_address_of_the_hub_is_a_bad_setting(run: Run) -> None:
    assert "HF_ENDPOINT: 'hub' is not allowed" in refusal(run("model", ID, HF_ENDPOINT="hub"))
    assert run("model", "openai/gpt-oss-120b", PORT="x").exit_code == 0, "other settings do not matter"


# ---- from a folder


def test_the_files_beside_a_configuration_confirm_it(run: Run, config: Path) -> None:
    index = config.with_name("model.safetensors.index.json")
    index.write_text(json.dumps({"metadata": {"total_size": 2 * PARAMS}}))
    facts = printed(run("model", str(config.parent), "--json"))
    assert f"confirmed by safetensors metadata: {2 * PARAMS:,} bytes" in facts["source"]
    index.unlink()
    header = json.dumps({"a": {"dtype": "BF16", "shape": [PARAMS // 2, 2]}, "__metadata__": {"format": "pt"}}).encode()
    config.with_name("model.safetensors").write_bytes(len(header).to_bytes(8, "little") + header)
    facts = printed(run("model", str(config), "--json"))
    assert f"confirmed by safetensors metadata: {PARAMS:,} parameters" in facts["source"]


@pytest.mark.parametrize("data", [b"", b"\xff" * 20, b"\x02\0\0\0\0\0\0\0{}", b"\x09\0\0\0\0\0\0\0" + b'{"a": 1 }'])
def test_files_beside_it_that_say_nothing_are_passed_over(run: Run, config: Path, data: bytes) -> None:
    config.with_name("model.safetensors").write_bytes(data)
    config.with_name("model.safetensors.index.json").write_bytes(data)
    facts = printed(run("model", str(config), "--json"))
    assert facts["source"] == str(config) and not facts["warnings"]


# ---- saved


def test_a_model_is_saved_listed_used_handed_out_and_deleted(run: Run, config: Path) -> None:
    assert printed(run("model", str(config), "--save", "My tiny", "--json"))["model"] == "My tiny"
    assert run("model", str(config), "--save", "Second").stdout.startswith("Saved as 'Second'.\n\nSecond\n")
    assert run("model", "Second", "--delete").exit_code == 0
    assert printed(run("model", "--json"))["models"][0]["id"] == "My tiny"
    assert "My tiny (own)" in run("model").stdout
    assert printed(run("estimate", "--model", "my TINY", "--json"))["inputs"]["model"] == "My tiny"
    assert printed(run("model", "my tiny", "--export")) == CONFIG
    assert run("model", "My tiny", "--delete").stdout == "Deleted 'My tiny'.\n"
    assert "No model is saved" in refusal(run("model", "My tiny", "--delete"))
    assert refusal(run("model", "My tiny"))


def test_a_model_of_the_hub_is_saved_under_its_id(run: Run, hub: FakeHub) -> None:
    hub.put(ID, total_size=4 * PARAMS)
    run("model", ID, "--save", ID, HF_ENDPOINT=hub.url)
    facts = printed(run("model", ID, "--json"))
    assert facts["own"] and facts["source"].startswith(f"config.json of {hub.url}/{ID}")
    assert len(facts["warnings"]) == 1, "what the hub's metadata said is kept"


def test_an_accelerator_is_saved_used_handed_out_and_deleted(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "card.json"
    path.write_text('{"gpu_memory_gib": 48}')
    assert printed(run("gpu", str(path), "--save", "Big Card", "--json"))["memory_bytes"] == 48 * 2**30
    assert printed(run("estimate", "--gpu", "big card", "--json"))["inputs"]["gpu"] == "big-card"
    exported = printed(run("gpu", "big-card", "--export"))
    path.write_text(json.dumps(exported))
    assert run("gpu", str(path), "--save", "Second").exit_code == 0
    assert printed(run("gpu", "big card", "--delete", "--json")) == {"deleted": "big card"}
    assert printed(run("gpu", "--json"))["gpus"][0]["gpu"] == "second"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--save", "x"), "NAME is missing"),
        (("--delete",), "NAME is missing"),
        (("x", "--save", "y", "--delete"), "do not go together"),
        (("x", "--replace"), "counts only with --save"),
        (("h100-sxm", "--export"), "is saved under 'h100-sxm'"),
        (("no-such-file.json", "--save", "x"), "no file 'no-such-file.json'"),
    ],
)
@pytest.mark.parametrize("command", ["model", "gpu"])
def test_options_that_mean_nothing_are_refused(run: Run, command: str, words: tuple[str, ...], said: str) -> None:
    assert said in refusal(run(command, *words))


def test_names_that_cannot_be_used_are_refused(run: Run, config: Path) -> None:
    for name in ("../x", "gpt2", "custom", ""):
        assert "name" in refusal(run("model", str(config), "--save", name))
    assert "in the list already" in refusal(run("model", "gpt2", "--save", "mine"))


def test_a_name_is_taken_until_it_is_replaced(run: Run, config: Path) -> None:
    assert run("model", str(config), "--save", "x").exit_code == 0
    assert "'x' is saved already" in refusal(run("model", str(config), "--save", "x"))
    assert run("model", str(config), "--save", "x", "--replace").exit_code == 0


def test_a_directory_that_cannot_be_written_to_is_named(run: Run, config: Path) -> None:
    config.with_name("file").touch()
    directory = str(config.with_name("file") / "data")
    said = refusal(run("model", str(config), "--save", "x", DATA_DIR=directory))
    assert "DATA_DIR" in said and "Not a directory" in said


def test_it_works_as_a_program(config: Path, environ: dict[str, str]) -> None:
    command = [sys.executable, "-W", "error", "-m", "app", "model", "someone/Unknown"]
    done = subprocess.run(command, cwd=PROJECT, env=os.environ | environ, capture_output=True, text=True)
    assert done.returncode == 2
    assert "could not be reached" in done.stderr and "Traceback" not in done.stderr
