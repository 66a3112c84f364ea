"""The import of a model by page: paste, file or id; what is shown, what is saved, and who is refused."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.factory import create_app
from tests.fake_hub import CONFIG, NOBODY, PARAMS, FakeHub, endless, sent, status
from tests.pages import messages, soup, table, value, words

TEXT = json.dumps(CONFIG)
ID = "someone/Tiny"
BOUNDARY = "part-of-the-form"


def send(client: FlaskClient, address: str = "/models/import", **fields: Any) -> TestResponse:
    """Post a form as a browser does. (The test client leaves temporary files open where a body is large.)"""
    body = b""
    for name, given in fields.items():
        data, file_name = (given[0].getvalue(), f'; filename="{given[1]}"') if isinstance(given, tuple) else (given, "")
        head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{file_name}\r\n\r\n'
        body += head.encode() + (data.encode() if isinstance(data, str) else data) + b"\r\n"
    return client.post(
        address, data=body + f"--{BOUNDARY}--\r\n".encode(), content_type=f"multipart/form-data; boundary={BOUNDARY}"
    )


def upload(data: bytes, name: str = "config.json") -> tuple[io.BytesIO, str]:
    return io.BytesIO(data), name


def hidden(page: BeautifulSoup) -> dict[str, Any]:
    """What the form of the preview holds and would send."""
    form = page.find("form", class_="save")
    assert form is not None
    fields = {one["name"]: one.get("value", "") for one in form.find_all("input") if one.get("type") != "checkbox"}
    return {str(name): str(text) for name, text in fields.items()}


def error(response: TestResponse, field: str) -> str:
    """The message beside a field of the import form."""
    assert response.status_code == 422
    page = soup(response.text)
    box = page.find(id=field)
    assert box is not None
    assert box["aria-invalid"] == "true"
    assert f"error-{field}" in box["aria-describedby"]
    assert page.title is not None and page.title.text.startswith("Error: ")
    return words(page.find(id=f"error-{field}"))


def test_the_form_is_linked_beside_the_picker(client: FlaskClient) -> None:
    links = [link["href"] for link in soup(client.get("/").text).find_all("a")]
    assert {"/models/import", "/models", "/gpus"} <= set(links)
    page = soup(client.get("/models/import").text)
    for name in ("config", "file", "model_id", "name"):
        assert page.find("label", attrs={"for": name})
        assert page.find(id=f"help-{name}")


@pytest.mark.parametrize(
    "fields",
    [{"config": TEXT}, {"file": upload(TEXT.encode())}, {"config": "  \n" + TEXT}],
    ids=["pasted", "uploaded", "with spaces"],
)
def test_what_was_read_is_shown_and_not_saved(client: FlaskClient, tmp_path: Path, fields: dict[str, Any]) -> None:
    response = send(client, name="My tiny", **fields)
    assert response.status_code == 200
    page = soup(response.text)
    assert words(page.find("h1")) == "My tiny"
    assert "Read, not saved yet" in response.text
    assert table(page, "facts")["Parameters"][0] == f"{PARAMS:,}"
    assert table(page, "facts")["Attention"][0] == "GQA"
    assert table(page, "facts")["KV cache of a token"][0] == "256 B"
    assert table(page, "facts")["Checkpoint precision"][0] == "bf16"
    assert table(page, "params")["Dense feed-forward"][0] == "49,152"
    assert table(page, "layers")["2"][1] == "36,992"
    assert not list((tmp_path / "data").rglob("*.json"))


def test_the_readers_warnings_are_shown(client: FlaskClient) -> None:
    page = soup(send(client, config=json.dumps(CONFIG | {"quantum_gates": 5})).text)
    assert "quantum_gates" in words(page.find("section", class_="warning"))


def test_saved_it_has_a_page_and_stands_in_every_list(client: FlaskClient) -> None:
    fields = hidden(soup(send(client, config=TEXT, name="My tiny").text))
    saved = send(client, "/models/save", **fields)
    assert (saved.status_code, saved.location) == (303, "/models/My%20tiny")
    page = soup(client.get(saved.location).text)
    assert words(page.find("h1")) == "My tiny own"
    assert "config.json, pasted" in words(page.find(class_="source"))
    picker = soup(client.get("/").text).find(id="model")
    assert words(picker.find("optgroup", attrs={"label": "My models"})) == "My tiny"
    assert client.get("/api/v1/models").json["models"][0]["own"] is True
    assert client.get("/api/v1/models/my tiny").json["total_params"] == PARAMS
    run = client.post("/", data={"model": "My tiny"})
    assert run.status_code == 303
    assert "My tiny" in client.get(run.location).text


def test_calculate_with_this_saves_and_opens_the_form(client: FlaskClient) -> None:
    fields = hidden(soup(send(client, config=TEXT, name="My tiny").text))
    response = send(client, "/models/save", calculate="1", **fields)
    assert (response.status_code, response.location) == (303, "/?model=My+tiny")
    assert value(soup(client.get(response.location).text), "model") == "My tiny"


def test_exported_it_is_the_configuration_again(client: FlaskClient) -> None:
    client.post("/models/save", data={"config": TEXT, "name": "me/Tiny"})
    response = client.get("/models/export?name=me/Tiny")
    assert response.json == CONFIG
    assert response.headers["Content-Disposition"] == 'attachment; filename="me__tiny.json"'
    assert send(client, file=upload(response.data)).status_code == 200


def test_deleted_it_is_gone(client: FlaskClient) -> None:
    client.post("/models/save", data={"config": TEXT, "name": "Tiny"})
    assert "Delete Tiny" in client.get("/models/Tiny").text
    response = client.post("/models/delete", data={"name": "Tiny"})
    assert (response.status_code, response.location) == (303, "/models")
    assert client.get("/models/Tiny").status_code == 404
    assert client.post("/models/delete", data={"name": "Tiny"}).status_code == 404
    assert client.post("/models/delete", data={"name": "openai/gpt-oss-120b"}).status_code == 404


def test_another_site_can_neither_save_nor_delete(client: FlaskClient) -> None:
    client.post("/models/save", data={"config": TEXT, "name": "Tiny"})
    for address in ("/models/save", "/models/delete", "/gpus/delete", "/models/import"):
        headers = {"Sec-Fetch-Site": "cross-site"}
        assert client.post(address, data={"name": "Tiny"}, headers=headers).status_code == 403
    assert client.get("/models/Tiny").status_code == 200


def test_a_name_that_is_taken_keeps_what_was_read(client: FlaskClient) -> None:
    fields = {"config": TEXT, "name": "Tiny", "source": "the first"}
    client.post("/models/save", data=fields)
    again = client.post("/models/save", data=fields | {"source": "the second"})
    assert again.status_code == 422
    page = soup(again.text)
    assert "'Tiny' is saved already" in messages(page, "name")[0]
    assert page.find(id="replace") is not None
    assert json.loads(hidden(page)["config"]) == CONFIG
    done = client.post("/models/save", data=hidden(page) | {"replace": "1"})
    assert done.status_code == 303
    assert "the second" in client.get(done.location).text


@pytest.mark.parametrize("name", ["", "../x", "openai/gpt-oss-120b", "custom", "<script>"])
def test_a_name_that_cannot_be_used_is_told_and_kept(client: FlaskClient, name: str) -> None:
    response = client.post("/models/save", data={"config": TEXT, "name": name})
    assert response.status_code == 422
    page = soup(response.text)
    assert messages(page, "name")
    assert value(page, "name") == name
    assert "<script>" not in response.text.replace("<script src", "")


def test_the_name_is_suggested(client: FlaskClient) -> None:
    for fields, name in (
        ({"config": json.dumps(CONFIG | {"_name_or_path": "me/own"})}, "me/own"),
        ({"config": json.dumps(CONFIG | {"_name_or_path": "/home/me/../x"})}, ""),
        ({"config": json.dumps(CONFIG | {"_name_or_path": "openai/gpt-oss-120b"})}, "my gpt-oss-120b"),
        ({"file": upload(TEXT.encode(), "tiny-llama.json")}, "tiny-llama"),
        ({"file": upload(TEXT.encode(), "C:\\models\\config.json")}, ""),
        ({"config": TEXT}, ""),
    ):
        assert hidden(soup(send(client, **fields).text))["name"] == name


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"hidden_size": "64"}, "hidden_size is '64', not a whole number. Allowed: a whole number from 1"),
        ({"hidden_size": None}, "hidden_size is null"),
        ({"hidden_size": 10**30}, "hidden_size is an integer of more than 24 digits"),
        ({"num_attention_heads": 5, "num_key_value_heads": 5}, "num_attention_heads"),
        ({"model_type": "bert"}, "bert is an encoder model"),
        ({"model_type": "t5"}, "not a causal language model"),
        ({"num_hidden_layers": -2}, "num_hidden_layers is -2, out of range"),
        ({"layer_types": ["full_attention"]}, "the model has 2 layers"),
    ],
)
def test_a_configuration_that_means_nothing_is_told_by_key_and_value(
    client: FlaskClient, changes: dict[str, Any], said: str
) -> None:
    typed = json.dumps(CONFIG | changes)
    response = send(client, config=typed, name="kept")
    assert said in error(response, "config")
    page = soup(response.text)
    assert page.find(id="config").text.strip() == typed
    assert value(page, "name") == "kept"
    assert said in error(send(client, file=upload(typed.encode())), "file")


@pytest.mark.parametrize("key", ["hidden_size", "num_hidden_layers", "vocab_size"])
def test_a_missing_key_is_named(client: FlaskClient, key: str) -> None:
    config = {name: size for name, size in CONFIG.items() if name != key}
    assert f"{key} is missing" in error(send(client, config=json.dumps(config)), "config")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{", "not JSON: "),
        (b"not json", "not JSON: "),
        (b"[1, 2]", "not an object"),
        (b'"text"', "not an object"),
        (b'{"hidden_size": 1, "hidden_size": 2}', "'hidden_size' stands twice"),
        (b'{"a":' * 60 + b"1" + b"}" * 60, "nested more than 50 levels"),
        (b'{"a":' * 100_000, "nested more than 50 levels"),
        (b'{"model_type": "\xff\xfe"}', "not UTF-8: byte 16"),
        (b'{"model_type": "\\ud800"}', "half of a character"),
        (b"{}", "is missing"),
        (b'{"a": "' + b"x" * 10_000_000 + b'"}', "10,000,009 bytes are more than the limit of 10 MB"),
        (b"", "Nothing to read"),
    ],
    ids=[
        "open",
        "text",
        "list",
        "string",
        "twice",
        "deep",
        "very deep",
        "utf-8",
        "surrogate",
        "empty",
        "large",
        "none",
    ],
)
def test_what_is_no_configuration_is_told(client: FlaskClient, data: bytes, said: str) -> None:
    if data:
        assert said in error(send(client, file=upload(data)), "file")
    if data.isascii():
        response = send(client, config=data.decode())
        assert said in error(response, "config")
        assert soup(response.text).find(id="config").text.strip() == data.decode()


def test_more_than_the_route_takes_is_413_with_its_own_limit(client: FlaskClient) -> None:
    response = send(client, file=upload(b"x" * 12_000_001))
    assert response.status_code == 413
    assert "12,000,000 bytes" in response.text


def test_a_large_configuration_is_read_though_other_bodies_are_smaller(client: FlaskClient) -> None:
    large = json.dumps(CONFIG | {"quantization_config": None, "_note": "x" * 2_000_000})
    preview = send(client, config=large, name="Huge one")
    assert preview.status_code == 200
    fields = hidden(soup(preview.text))
    assert send(client, "/models/save", **fields).status_code == 303
    assert client.post("/", data={"model": "x" * 300_000}).status_code == 413


def test_only_one_of_the_three_can_be_read(client: FlaskClient) -> None:
    response = send(client, config=TEXT, model_id=ID)
    for field in ("config", "model_id"):
        assert "Only one" in error(response, field)
    assert value(soup(response.text), "model_id") == ID


def test_bodies_that_are_no_form_are_answered(client: FlaskClient) -> None:
    for content_type in ("text/plain", "multipart/form-data", "multipart/form-data; boundary=x", "application/json"):
        response = client.post("/models/import", data=b"--x\r\nnonsense", content_type=content_type)
        assert response.status_code == 422


# ---- by id


def app_with(hub_url: str, tmp_path: Path) -> FlaskClient:
    settings = {"LOG_DIR": tmp_path / "logging", "DATA_DIR": tmp_path / "data", "HF_ENDPOINT": hub_url, "TESTING": True}
    return create_app(settings).test_client()


def test_a_model_of_the_hub_is_read_and_saved_with_what_was_found_out(hub: FakeHub, tmp_path: Path) -> None:
    hub.put(ID, counts={"BF16": 100_000})
    client = app_with(hub.url, tmp_path)
    page = soup(send(client, model_id=f" {ID} ").text)
    assert hidden(page)["name"] == ID
    assert "100,000 parameters" in words(page.find("section", class_="warning"))
    saved = client.post("/models/save", data=hidden(page))
    assert saved.location == f"/models/{ID}"
    page = soup(client.get(saved.location).text)
    assert f"config.json of {hub.url}/{ID}" in words(page.find(class_="source"))
    assert "100,000 parameters" in words(page.find("section", class_="warning"))


def test_what_the_checkpoint_confirms_is_said(hub: FakeHub, tmp_path: Path) -> None:
    hub.put(ID, counts={"BF16": PARAMS})
    page = soup(send(app_with(hub.url, tmp_path), model_id=ID).text)
    assert "count confirmed by safetensors metadata" in words(page.find(class_="source"))


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (status(401, "GatedRepo"), "is gated"),
        (status(404, "RepoNotFound"), "no such model"),
        (endless, "larger than 10 MB"),
        (sent(b"<html>"), "not JSON"),
        (sent({"model_type": "bert"}), "bert is an encoder model"),
    ],
)
def test_what_the_hub_refuses_is_told(hub: FakeHub, tmp_path: Path, answer: Any, said: str) -> None:
    hub.put(ID, answer)
    response = send(app_with(hub.url, tmp_path), model_id=ID)
    assert said in error(response, "model_id")
    assert value(soup(response.text), "model_id") == ID


@pytest.mark.parametrize("name", ["gpt2", "../../etc/passwd", "a/b/c", "http://127.0.0.1/x", "a/b?c"])
def test_what_is_no_id_is_not_asked_for(hub: FakeHub, tmp_path: Path, name: str) -> None:
    assert "is not the id of a model" in error(send(app_with(hub.url, tmp_path), model_id=name), "model_id")
    assert not hub.asked


def test_without_a_hub_the_page_says_so(tmp_path: Path) -> None:
    assert f"{NOBODY} could not be reached" in error(send(app_with(NOBODY, tmp_path), model_id=ID), "model_id")


def test_nothing_else_asks_the_hub(hub: FakeHub, tmp_path: Path) -> None:
    hub.put(ID)
    client = app_with(hub.url, tmp_path)
    assert client.post("/", data={"model": ID}).status_code == 422
    assert client.get(f"/?model={ID}").status_code == 200
    assert client.get(f"/models/{ID}").status_code == 404
    assert client.post("/api/v1/estimate", json={"model": ID}).status_code == 422
    assert client.get(f"/api/v1/models/{ID}").status_code == 404
    assert not hub.asked


# ---- a disk that fails


def test_a_directory_that_cannot_be_written_to_costs_only_the_saving(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    client = create_app({"LOG_DIR": tmp_path, "DATA_DIR": tmp_path / "file" / "data", "TESTING": True}).test_client()
    assert client.get("/models").status_code == 200
    assert send(client, config=TEXT).status_code == 200
    response = client.post("/models/save", data={"config": TEXT, "name": "Tiny"})
    assert response.status_code == 422
    assert "Nothing can be saved on this server: Not a directory." in messages(soup(response.text), "name")[0]
