"""Saved models and accelerators: what is kept, what is refused, and what happens to files that are wrong."""

from __future__ import annotations

import json
import multiprocessing
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from app import catalog
from app.calculations.errors import InvalidInput
from app.own import manage, user_data
from app.own.user_data import UserData
from app.scenarios import serving_scenario
from tests.fake_hub import CONFIG, PARAMS

NOW = datetime(2026, 11, 24, 12, 30, 5, tzinfo=UTC)
GPU = {"gpu_memory_gib": 48, "gpu_bandwidth_gb_s": 900, "gpu_bf16_tflops": 200}


@pytest.fixture
def data(tmp_path: Path):
    with user_data.using(UserData(tmp_path)) as one:
        yield one


def save_model(name: str = "Tiny", **changes: Any) -> user_data.OwnModel:
    return manage.save_model(name, "pasted", CONFIG | changes)


def test_what_is_saved_stands_beside_the_presets(data: UserData) -> None:
    save_model()
    manage.save_gpu("Big Card", "by hand", GPU)
    assert catalog.model("tiny").total_params == PARAMS
    assert catalog.gpu("big card").memory_bytes == 48 * 2**30
    assert catalog.gpu("big-card").name == "Big Card"
    assert next(iter(catalog.models().values())).own
    assert next(iter(catalog.gpus())) == "big-card"
    assert len(catalog.models()) == len(catalog.preset_models()) + 1
    assert len(catalog.gpus()) == len(catalog.preset_gpus()) + 1


def test_a_scenario_takes_them_by_name(data: UserData) -> None:
    save_model("me/Tiny")
    manage.save_gpu("Big Card", "by hand", GPU)
    scenario, inputs = serving_scenario({"model": "me/tiny", "gpu": "BIG CARD"})
    assert (scenario.model.total_params, scenario.gpu.memory_bytes) == (PARAMS, 48 * 2**30)
    assert (inputs["model"], inputs["gpu"]) == ("me/Tiny", "big-card")


def test_elsewhere_only_the_presets_are_listed(tmp_path: Path) -> None:
    with user_data.using(UserData(tmp_path)):
        save_model()
    assert not catalog.own_models()
    with pytest.raises(InvalidInput):
        catalog.model("Tiny")


def test_the_file_says_what_it_is(data: UserData, tmp_path: Path) -> None:
    data.models.save("me/My Model", "from the hub", CONFIG, notes=["odd"], now=NOW, replace=False)
    document = json.loads((tmp_path / "models" / "me__my-model.json").read_text())
    assert document == {
        "schema": 1,
        "name": "me/My Model",
        "source": "from the hub",
        "notes": ["odd"],
        "saved": "2026-11-24T12:30:05Z",
        "config": CONFIG,
    }
    assert catalog.model("me/My Model").warnings == ("odd",)
    assert os.stat(tmp_path / "models" / "me__my-model.json").st_mode & 0o777 == 0o644
    assert len(list((tmp_path / "models").iterdir())) == 1, "no temporary file is left"


@pytest.mark.parametrize(
    "name",
    ["", "  ", ".hidden", "-a", "a..b", "../a", "a/../b", "a/b/c", "a\\b", "a\nb", "a\x00b", "é", "a?b", "<b>",
     "x" * 101, "a.", "a /b", "/etc/passwd", "custom", "Import", "delete", None, 5],
)  # fmt: skip
def test_names_that_cannot_be_used(data: UserData, tmp_path: Path, name: Any) -> None:
    for save in (manage.save_model, manage.save_gpu):
        with pytest.raises(InvalidInput) as caught:
            save(name, "x", CONFIG if save is manage.save_model else GPU)
        assert caught.value.field == "name"
        assert len(str(caught.value)) < 400
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("name", ["a/b", "A b+c_d-1.5", "x" * 100, "7b"])
def test_names_that_can(data: UserData, name: str) -> None:
    assert catalog.model(save_model(name).name).name == name


@pytest.mark.parametrize("name", ["openai/gpt-oss-120b", "GPT OSS 120B", "llama-3.1-8b", "nvidia/DeepSeek-R1-NVFP4"])
def test_a_preset_is_not_shadowed(data: UserData, name: str) -> None:
    with pytest.raises(InvalidInput, match="of the list"):
        save_model(name)


@pytest.mark.parametrize("name", ["H100", "h100-sxm", "RTX 4090", "h100 sxm"])
def test_nor_is_an_accelerator(data: UserData, name: str) -> None:
    with pytest.raises(InvalidInput, match="of the list"):
        manage.save_gpu(name, "x", GPU)


def test_a_file_that_has_become_a_presets_name_is_left_out(data: UserData) -> None:
    data.models.save("Llama-3.1-8B-Instruct", "x", CONFIG, now=NOW, replace=False)
    assert catalog.model("Llama-3.1-8B-Instruct").total_params > 8e9
    assert not catalog.own_models()


def test_a_name_is_taken_until_it_is_replaced_or_deleted(data: UserData) -> None:
    save_model()
    with pytest.raises(InvalidInput, match="'TINY' is saved already"):
        save_model("TINY")
    manage.save_model("TINY", "again", CONFIG | {"num_hidden_layers": 4}, replace=True)
    assert catalog.model("tiny").num_layers == 4
    assert len(catalog.own_models()) == 1
    manage.delete_model("Tiny")
    assert not catalog.own_models()
    with pytest.raises(InvalidInput, match="No model is saved under 'Tiny'"):
        manage.delete_model("Tiny")


def test_what_means_nothing_is_not_saved(data: UserData, tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="hidden_size"):
        save_model(hidden_size="64")
    for inputs in ({"gpu_memory_gib": "much"}, {"gpu_memory": 80}, {"gpu_memory_gib": 10**9}):
        with pytest.raises(InvalidInput, match=r"gpu_memory|Memory"):
            manage.save_gpu("x", "y", inputs)
    assert not list(tmp_path.rglob("*.json"))


def test_numbers_that_json_lacks_survive(data: UserData) -> None:
    save_model(time_step_limit=[0.0, float("inf")])
    assert manage.export_model("Tiny")["time_step_limit"] == [0.0, float("inf")]


def test_another_process_sees_every_change_at_once(data: UserData, tmp_path: Path) -> None:
    other = UserData(tmp_path)
    for layers in (1, 2, 3, 4):
        manage.save_model("Tiny", "x", CONFIG | {"num_hidden_layers": layers}, replace=True)
        entry = other.models.get("Tiny")
        assert entry is not None and entry.model.num_layers == layers
    manage.delete_model("Tiny")
    assert other.models.get("Tiny") is None


def save_many(directory: str, start: int) -> int:
    data = UserData(Path(directory))
    saved = 0
    with user_data.using(data):
        for number in range(20):
            try:
                manage.save_model(f"shared {number}", str(start), CONFIG)
                saved += 1
            except InvalidInput:
                pass
            manage.save_model("always replaced", str(start), CONFIG, replace=True)
            assert data.models.problems() == []
    return saved


def test_processes_that_save_at_once_lose_and_break_nothing(data: UserData, tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(3) as pool:
        saved = pool.starmap(save_many, [(str(tmp_path), start) for start in range(3)])
    assert sum(saved) == 20, "each name is won by one process"
    assert len(data.models.entries()) == 21
    assert data.models.problems() == []
    assert not list((tmp_path / "models").glob("*.tmp"))


GOOD = {"schema": 1, "name": "x", "source": "", "notes": [], "saved": "2026-11-24T00:00:00Z", "config": CONFIG}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "not JSON"),
        (b"{", "not JSON"),
        (b"[]", "not an object"),
        (b'"\xff"', "not UTF-8"),
        (b'{"a": 1, "a": 2}', "stands twice"),
        (b"{}", "keys differ"),
        (GOOD | {"more": 1}, "keys differ: more"),
        (GOOD | {"schema": 2}, "schema 2 is not known"),
        (GOOD | {"name": 5}, "not text"),
        (GOOD | {"name": "../x"}, "cannot be used"),
        (GOOD | {"name": "y"}, "belongs in another file"),
        (GOOD | {"notes": "odd"}, "notes"),
        (GOOD | {"config": []}, "config is not an object"),
        (GOOD | {"config": CONFIG | {"hidden_size": 0}}, "hidden_size is 0"),
        (GOOD | {"config": {"model_type": "bert"}}, "bert"),
        (b" " * 10_200_000, "too large"),
    ],
)
def test_a_file_that_is_wrong_is_left_out_and_reported(
    data: UserData, tmp_path: Path, content: bytes | dict[str, Any], words: str
) -> None:
    save_model("Good one")
    (tmp_path / "models" / "x.json").write_bytes(
        content if isinstance(content, bytes) else json.dumps(content).encode()
    )
    assert list(catalog.own_models()) == ["Good one"]
    (problem,) = data.models.problems()
    assert problem.startswith("models/x.json: ") and words in problem
    (tmp_path / "models" / "x.json").write_text(json.dumps(GOOD))
    assert list(catalog.own_models()) == ["Good one", "x"]
    assert data.models.problems() == []


def test_other_files_are_left_alone(data: UserData, tmp_path: Path) -> None:
    save_model()
    for name in ("notes.txt", ".x.tmp", ".hidden.json"):
        (tmp_path / "models" / name).write_text("?")
    (tmp_path / "models" / "Odd Name.json").write_text("{}")
    (tmp_path / "models" / "folder.json").mkdir()
    assert list(catalog.own_models()) == ["Tiny"]
    assert len(data.models.problems()) == 2


def test_a_bad_accelerator_is_reported_too(data: UserData, tmp_path: Path) -> None:
    manage.save_gpu("Card", "x", GPU)
    path = tmp_path / "gpus" / "card.json"
    document = json.loads(path.read_text())
    document["inputs"]["gpu_memory_gib"] = -1
    path.write_text(json.dumps(document))
    assert not catalog.own_gpus()
    assert "gpus/card.json: Memory: -1 is out of range" in data.gpus.problems()[0]


def test_no_directory_means_nothing_saved(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for directory in (tmp_path / "none", tmp_path / "file"):
        with user_data.using(UserData(directory)) as data:
            assert not catalog.own_models()
            assert data.models.problems() == []
    with user_data.using(UserData(tmp_path / "file")), pytest.raises(OSError, match=r"Not a directory|exists"):
        save_model()


def test_there_is_an_end_to_what_is_kept(data: UserData, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(user_data, "MOST", 2)
    save_model("a")
    save_model("b")
    with pytest.raises(InvalidInput, match="2 are saved already"):
        save_model("c")
    manage.save_model("b", "x", CONFIG, replace=True)


def test_a_directory_that_may_not_be_looked_into_is_reported(data: UserData, monkeypatch: pytest.MonkeyPatch) -> None:
    save_model()

    def refuse(_: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("os.scandir", refuse)
    assert not catalog.own_models()
    assert data.models.problems() == ["models: the directory cannot be read: Permission denied"]
