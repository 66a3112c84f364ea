"""The hub: what is asked, what comes of it, and how each failure is told. A real server on this machine answers."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from app.calculations.errors import InvalidInput
from app.config import PROJECT
from app.own import model_source
from app.own.hub import Hub, HubError, Unreachable, fetch, is_id
from tests.fake_hub import (
    CONFIG,
    NOBODY,
    PARAMS,
    Answer,
    FakeHub,
    dripping,
    dripping_head,
    endless,
    endless_error,
    moved,
    sent,
    silent,
    status,
)

ID = "someone/Tiny-1.5_B"
FILE = f"/{ID}/resolve/main/config.json"


def refused(hub: FakeHub, answer: Answer | dict) -> HubError:
    hub.put(ID, answer)
    with pytest.raises(HubError) as caught:
        model_source.from_hub(ID, Hub(hub.url))
    return caught.value


def test_a_configuration_is_read_with_where_it_comes_from(hub: FakeHub) -> None:
    hub.put(ID)
    model = model_source.from_hub(ID, Hub(hub.url)).model
    assert (model.name, model.total_params) == (ID, PARAMS)
    assert model.source == f"config.json of {hub.url}/{ID} at 0123456789ab"
    assert not model.warnings
    assert hub.asked[0] == FILE


def test_the_token_goes_to_the_hub(hub: FakeHub) -> None:
    hub.put(ID)
    model_source.from_hub(ID, Hub(hub.url, "hf_secret"))
    assert set(hub.server.tokens) == {"Bearer hf_secret"}
    hub.server.tokens.clear()
    model_source.from_hub(ID, Hub(hub.url))
    assert set(hub.server.tokens) == {None}


@pytest.mark.parametrize(
    ("stored", "words"),
    [
        ({"counts": {"BF16": PARAMS}}, f"confirmed by safetensors metadata: {PARAMS:,} parameters"),
        ({"counts": {"BF16": PARAMS - 100, "F32": 100}}, f"metadata: {PARAMS:,} parameters"),
        ({"total_size": 2 * PARAMS}, f"confirmed by safetensors metadata: {2 * PARAMS:,} bytes"),
        ({"counts": {"UNKNOWN": 5}, "total_size": 2 * PARAMS}, "bytes"),
    ],
    ids=["counts", "several types", "index", "index where the counts mean nothing"],
)
def test_the_size_of_the_checkpoint_confirms_the_count(hub: FakeHub, stored: dict, words: str) -> None:
    hub.put(ID, **stored)
    found = model_source.from_hub(ID, Hub(hub.url))
    assert words in found.model.source
    assert found.notes == ()


def test_a_checkpoint_of_another_size_is_told_with_both_numbers(hub: FakeHub) -> None:
    hub.put(ID, counts={"BF16": 100_000})
    found = model_source.from_hub(ID, Hub(hub.url))
    assert "confirmed" not in found.model.source
    (warning,) = found.model.warnings
    assert "100,000 parameters, 13 % more than the 86,848 counted" in warning
    assert found.notes == (warning,)


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (status(401, "GatedRepo"), "it is gated: accept its terms on the hub, then set HF_TOKEN"),
        (status(403, "GatedRepo"), "it is gated"),
        (status(401, "RepoNotFound"), "no such model, or it is private: set HF_TOKEN"),
        (status(404, "RepoNotFound"), "no such model, or it is private"),
        (status(404, "EntryNotFound"), "it has no config.json."),
        (status(401), "HF_TOKEN"),
        (status(403), "does not let it be read"),
        (status(404), "the hub has no such model."),
        (status(429), "asked too often"),
        (status(500), "answered with status 500"),
        (endless_error, "answered with status 500"),
        (sent(b"<html>no</html>"), "The text is not JSON"),
        (sent(b"[1]"), "is not an object"),
        (sent(b'{"a": "\xff"}'), "is not UTF-8"),
        (sent(b'{"a": 1, "a": 2}'), "stands twice"),
        (sent(b'{"a": ' * 60 + b"1" + b"}" * 60), "nested"),
        (sent(b'{"a": "\\ud800"}'), "half of a character"),
        (sent(b"{" + b" " * 10_000_001 + b"}"), "larger than 10 MB"),
        (endless, "larger than 10 MB"),
        (moved("https://elsewhere.example/config.json"), "lies on another host, which is not asked"),
        (moved("//127.0.0.2/config.json"), "lies on another host"),
        (moved(FILE), "from one address to the next"),
    ],
)
def test_what_cannot_be_used_is_told(hub: FakeHub, answer: Answer, words: str) -> None:
    error = refused(hub, answer)
    assert words in error.message
    assert not isinstance(error, Unreachable)
    assert error.field == "model"


def test_a_model_that_has_moved_is_followed_on_the_same_host(hub: FakeHub) -> None:
    hub.put(ID, moved("/new/name/resolve/main/config.json"))
    hub.answers["/new/name/resolve/main/config.json"] = sent(CONFIG)
    assert model_source.from_hub(ID, Hub(hub.url)).model.total_params == PARAMS


@pytest.mark.parametrize("answer", [dripping, dripping_head, silent])
def test_a_hub_that_takes_too_long_is_given_up(hub: FakeHub, answer: Answer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.own.hub.TOTAL_SECONDS", 0.6)
    started = time.monotonic()
    error = refused(hub, answer)
    assert isinstance(error, Unreachable)
    assert "within 0.6 s" in error.message
    assert time.monotonic() - started < 3


@pytest.mark.parametrize("answer", [dripping, silent, endless, status(500), sent(b"no"), sent([])])
def test_metadata_that_cannot_be_had_cost_the_confirmation_only(
    hub: FakeHub, answer: Answer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("app.own.hub.CONFIRM_SECONDS", 0.5)
    hub.put(ID)
    for address in list(hub.answers):
        if address != FILE:
            hub.answers[address] = answer
    found = model_source.from_hub(ID, Hub(hub.url))
    assert "confirmed" not in found.model.source
    assert not found.model.warnings


def test_nobody_at_the_address() -> None:
    with pytest.raises(Unreachable, match=rf"{NOBODY} could not be reached\."):
        model_source.from_hub(ID, Hub(NOBODY))


def test_offline_nothing_is_asked(hub: FakeHub, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    hub.put(ID)
    with pytest.raises(Unreachable, match="HF_HUB_OFFLINE is set"):
        model_source.from_hub(ID, Hub(hub.url))
    assert not hub.asked


@pytest.mark.parametrize(
    "name",
    ["", "a", "a/b/c", "../b", "a/..", "a/b..c", "a/.b", "a/-b", "a /b", "a/b?x=1", "a/b#c", "é/b", "a/b\nc", "a\\b/c",
     "a@b/c", "a/" + "b" * 200, "a--b/c", "http://x"],
)  # fmt: skip
def test_what_is_no_id_is_never_asked_for(hub: FakeHub, name: str) -> None:
    assert not is_id(name)
    with pytest.raises(HubError):
        fetch(name, Hub(hub.url))
    assert not hub.asked


def test_only_an_id_that_means_nothing_else_is_asked_for(hub: FakeHub) -> None:
    where = Hub(hub.url)
    hub.put("openai/gpt-oss-120b")
    assert model_source.find("openai/gpt-oss-120b", where).model.total_params > 1e11
    for name in ("gpt-oss-121", "custom", "no such model"):
        with pytest.raises(InvalidInput):
            model_source.find(name, where)
    assert not hub.asked
    hub.put(ID)
    assert model_source.find(f" {ID} ", where).model.total_params == PARAMS


def test_what_is_neither_a_preset_nor_to_be_had_names_both_and_the_nearest() -> None:
    with pytest.raises(InvalidInput) as caught:
        model_source.find("Qwen/Qwen3-33B", Hub(NOBODY))
    assert caught.value.message.startswith(
        f"Model 'Qwen/Qwen3-33B' is not a preset, and {NOBODY} could not be reached: give the config.json instead."
    )
    assert "Qwen/Qwen3-32B" in caught.value.message


def test_the_library_is_loaded_only_when_a_hub_is_asked() -> None:
    code = "import sys, app.command_line.main, app.factory; print({'huggingface_hub', 'httpx2'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"
