"""The API's description says what the API does: every input, every key of real answers, every address."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app import openapi
from app.factory import create_app
from app.glossary import serving
from app.scenarios import ALL_INPUTS

JSON_TYPES = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "object": dict, "array": list,
    "null": type(None),
}  # fmt: skip
QUESTIONS = {
    "dense": {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm"},
    "mixture of experts, latent cache": {"model": "deepseek-ai/DeepSeek-V3", "gpu": "h200-sxm", "num_gpus": 16},
    "windows": {"model": "openai/gpt-oss-120b", "gpu": "h100-sxm", "concurrency": "saturated"},
    "does not fit": {"model": "meta-llama/Llama-3.1-70B-Instruct", "gpu": "h100-sxm", "num_gpus": 1},
    "one token": {"output_tokens": 1},
    "described by hand": {"model": "custom", "gpu": "custom"},
}
TRAINING_QUESTIONS: dict[str, dict[str, Any]] = {
    "automatic": {},
    "does not fit": {"model": "meta-llama/Llama-3.1-70B", "gpu": "rtx-4090", "num_gpus": 1},
    "adapters": {"method": "qlora", "gpu": "rtx-4090", "num_gpus": 1, "seq_len": 2048},
    "budget": {"num_gpus": 64, "tp": 2, "pp": 2, "budget_usd": 10_000, "tokens": 1e12},
}


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app({"LOG_DIR": tmp_path, "TESTING": True})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return openapi.document()


def resolved(schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: Any = openapi.document()
    for name in schema["$ref"].removeprefix("#/").split("/"):
        found = found[name]
    return found


def is_of(value: object, name: str) -> bool:
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, JSON_TYPES[name]) or (name == "integer" and isinstance(value, float) and value % 1 == 0)


def check(value: Any, schema: dict[str, Any], path: str = "answer") -> None:
    """The value is what the schema says, and the schema leaves nothing of it unsaid."""
    schema = resolved(schema)
    if "anyOf" in schema:
        assert any(is_as(value, one) for one in schema["anyOf"]), f"{path} is none of what is described"
        return
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    assert any(is_of(value, name) for name in types), f"{path}: {value!r} is not {types}"
    if "enum" in schema:
        assert value in schema["enum"], path
    if isinstance(value, int | float) and not isinstance(value, bool) and "minimum" in schema:
        assert schema["minimum"] <= value <= schema["maximum"], path
    if isinstance(value, list) and "items" in schema:
        for one in value:
            check(one, schema["items"], f"{path}[]")
    if isinstance(value, dict) and schema != {"type": "object"}:
        assert set(schema.get("required", ())) <= set(value), path
        for name, inside in value.items():
            known = schema.get("properties", {}).get(name) or schema.get("additionalProperties")
            assert known, f"{path}.{name} is not described"
            check(inside, known, f"{path}.{name}")


def is_as(value: Any, schema: dict[str, Any]) -> bool:
    try:
        check(value, schema)
    except AssertionError:
        return False
    return True


def schema_of(document: dict[str, Any], path: str, method: str, status: str) -> dict[str, Any]:
    return document["paths"][path][method]["responses"][status]["content"]["application/json"]["schema"]


def test_every_address_is_described_and_every_description_has_an_address(app: Flask, document: dict[str, Any]) -> None:
    served = {
        (re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", rule.rule.removeprefix("/api/v1")), method.lower())
        for rule in app.url_map.iter_rules()
        if rule.endpoint.startswith("api.") and rule.endpoint != "api.unknown"
        for method in (rule.methods or set()) - {"HEAD", "OPTIONS"}
    }
    assert served == {(path, method) for path, methods in document["paths"].items() for method in methods}


def test_every_input_is_described(document: dict[str, Any]) -> None:
    described = document["components"]["schemas"]["Inputs"]
    assert list(described["properties"]) == list(ALL_INPUTS)
    assert described["additionalProperties"] is False
    for name, one in ALL_INPUTS.items():
        schema = described["properties"][name]
        assert schema["title"] == one.label
        assert one.help in schema["description"]
        assert schema.get("default") == one.default
        check(one.default, schema, name)


def test_references_lead_somewhere(document: dict[str, Any]) -> None:
    for name in re.findall(r"'#/components/schemas/(\w+)'", str(document)):
        assert name in document["components"]["schemas"]


@pytest.mark.parametrize("question", QUESTIONS.values(), ids=QUESTIONS.keys())
def test_estimates_are_as_described(client: FlaskClient, document: dict[str, Any], question: dict[str, Any]) -> None:
    check(question, document["components"]["schemas"]["Inputs"])
    answer = client.post("/api/v1/estimate", json=question).get_json()
    check(answer, schema_of(document, "/estimate", "post", "200"))
    run = client.get(f"/api/v1/runs/{answer['run_id']}").get_json()
    check(run, schema_of(document, "/runs/{run_id}", "get", "200"))


@pytest.mark.parametrize("question", TRAINING_QUESTIONS.values(), ids=TRAINING_QUESTIONS.keys())
def test_training_is_as_described(client: FlaskClient, document: dict[str, Any], question: dict[str, Any]) -> None:
    check(question, document["components"]["schemas"]["TrainingInputs"])
    answer = client.post("/api/v1/train", json=question).get_json()
    check(answer, schema_of(document, "/train", "post", "200"))
    run = client.get(f"/api/v1/runs/{answer['run_id']}").get_json()
    assert run["kind"] == "train"
    check(run, schema_of(document, "/runs/{run_id}", "get", "200"))


def test_facts_are_as_described(client: FlaskClient, document: dict[str, Any]) -> None:
    models = client.get("/api/v1/models").get_json()
    check(models, schema_of(document, "/models", "get", "200"))
    for row in models["models"]:
        check(client.get(f"/api/v1/models/{row['id']}").get_json(), schema_of(document, "/models/{name}", "get", "200"))
    gpus = client.get("/api/v1/gpus").get_json()
    check(gpus, schema_of(document, "/gpus", "get", "200"))


def test_errors_are_as_described(client: FlaskClient, document: dict[str, Any]) -> None:
    answer = client.post("/api/v1/estimate", json={"tp": 3}).get_json()
    check(answer, schema_of(document, "/estimate", "post", "422"))


def test_the_document_is_served(client: FlaskClient, document: dict[str, Any]) -> None:
    response = client.get("/api/v1/openapi.json")
    assert response.mimetype == "application/json"
    assert response.get_json() == document
    assert document["openapi"] == "3.1.0"


def test_components_are_in_the_glossary(client: FlaskClient) -> None:
    for question in QUESTIONS.values():
        flops = client.post("/api/v1/estimate", json=question).get_json()["results"]["flops"]
        assert set(flops["prefill"]) <= set(serving.COMPONENTS)
        assert set(flops["decode_per_token"]) <= set(serving.COMPONENTS)
