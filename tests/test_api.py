"""The JSON API: answers, what is logged, and errors, which all have one shape."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app import catalog
from app.factory import create_app
from app.glossary import serving
from app.history.run_log import RunLog
from app.scenarios import ALL_INPUTS

ESTIMATE = "/api/v1/estimate"
QUESTION = {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm", "concurrency": 16}


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app({"LOG_DIR": tmp_path, "TESTING": True})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def log_lines(directory: Path) -> list[dict[str, Any]]:
    log = directory / "web_app_calculations.log"
    return [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []


def assert_error(response: Any, status: int, field: str = "", allowed: str = "") -> None:
    """The one shape: an object with field, message and allowed, all text, none of them a trace."""
    assert response.status_code == status, response.text
    assert response.mimetype == "application/json"
    error = response.get_json()["error"]
    assert set(response.get_json()) == {"error"}
    assert set(error) == {"field", "message", "allowed"}
    assert all(isinstance(text, str) for text in error.values())
    assert error["message"]
    assert "Traceback" not in response.text
    assert error["field"] == field
    assert allowed in error["allowed"]


def test_an_estimate_is_answered_and_logged_once(client: FlaskClient, tmp_path: Path) -> None:
    response = client.post(ESTIMATE, json=QUESTION)
    assert response.status_code == 200
    answer = response.get_json()
    assert set(answer) == {"run_id", "inputs", "results"}
    assert answer["results"]["fits"] is True
    assert answer["inputs"]["concurrency"] == 16
    assert answer["inputs"]["input_tokens"] == ALL_INPUTS["input_tokens"].default
    (line,) = log_lines(tmp_path)
    assert line["source"] == "api"
    assert line["kind"] == "estimate"
    assert {name: line[name] for name in answer} == answer


def test_a_run_can_be_fetched(client: FlaskClient) -> None:
    answer = client.post(ESTIMATE, json=QUESTION).get_json()
    run = client.get(f"/api/v1/runs/{answer['run_id']}")
    assert run.status_code == 200
    assert set(run.get_json()) == set(serving.RUN_KEYS)
    assert {name: run.get_json()[name] for name in answer} == answer


def test_text_means_the_same_as_numbers(client: FlaskClient) -> None:
    typed = {**QUESTION, "input_tokens": 2048, "memory_utilization": 0.85, "tp": 2}
    answer, again = (
        client.post(ESTIMATE, json=body).get_json() for body in (typed, {k: str(v) for k, v in typed.items()})
    )
    assert answer["inputs"] == again["inputs"]
    assert answer["results"] == again["results"]


def test_an_empty_object_takes_every_default(client: FlaskClient) -> None:
    answer = client.post(ESTIMATE, json={}).get_json()
    assert answer["results"]["model"]["name"] == ALL_INPUTS["model"].default


def test_saturated(client: FlaskClient) -> None:
    answer = client.post(ESTIMATE, json={**QUESTION, "concurrency": "saturated"}).get_json()
    assert answer["inputs"]["concurrency"] == "saturated"
    assert answer["results"]["batch"]["running"] > 16


def test_a_custom_model_on_a_custom_accelerator(client: FlaskClient) -> None:
    body = {"model": "custom", "gpu": "custom", "num_layers": 2, "hidden_size": 64, "num_heads": 4, "vocab_size": 100}
    answer = client.post(ESTIMATE, json=body).get_json()
    assert answer["results"]["fits"] is True
    assert answer["inputs"]["num_layers"] == 2
    assert answer["inputs"]["gpu_memory_gib"] == 80


def test_what_does_not_fit_is_an_answer(client: FlaskClient) -> None:
    body = {"model": "meta-llama/Llama-3.1-70B-Instruct", "gpu": "h100-sxm", "num_gpus": 1}
    response = client.post(ESTIMATE, json=body)
    assert response.status_code == 200
    assert response.get_json()["results"]["fits"] is False


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "application/x-www-form-urlencoded", ""])
def test_any_content_type_will_do(client: FlaskClient, kind: str) -> None:
    response = client.post(ESTIMATE, data=json.dumps(QUESTION), content_type=kind)
    assert response.status_code == 200


def test_a_byte_order_mark_is_overlooked(client: FlaskClient) -> None:
    assert client.post(ESTIMATE, data=b"\xef\xbb\xbf{}").status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"{'model': 1}",
        b"[]",
        b'"text"',
        b"null",
        b"3",
        b"{} {}",
        b'{"tp": 1, "tp": 2}',
        b'{"tp": 0x10}',
        b"\xff\xfe{}",
        b'{"model": "\xed\xa0\x80"}',
        b"[" * 100_000,
        b'{"tp":' * 20_000,
        b'{"tp":' + b"[" * 60 + b"]" * 60 + b"}",
    ],
    ids=lambda body: repr(body[:20]),
)
def test_a_body_that_is_not_one_json_object_is_400(client: FlaskClient, tmp_path: Path, body: bytes) -> None:
    assert_error(client.post(ESTIMATE, data=body), 400, "body", "one JSON object")
    assert log_lines(tmp_path) == []


def test_a_body_that_is_too_large_is_413(client: FlaskClient) -> None:
    assert_error(client.post(ESTIMATE, data=b" " * 262_145), 413, "body", "262,144 bytes")


def test_a_body_in_chunks_that_is_too_large_is_413(client: FlaskClient) -> None:
    chunked = {"environ_base": {"wsgi.input_terminated": True}, "headers": {"Transfer-Encoding": "chunked"}}
    response = client.post(ESTIMATE, input_stream=io.BytesIO(b"{}" + b" " * 400_000), **chunked)
    assert_error(response, 413, "body", "262,144 bytes")
    response = client.post(ESTIMATE, input_stream=io.BytesIO(b"{}" + b" " * 262_142), **chunked)
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("body", "field", "allowed"),
    [
        ('{"num_gpus": 0}', "num_gpus", "1 to 16,384"),
        ('{"num_gpus": -1}', "num_gpus", "1 to 16,384"),
        ('{"num_gpus": 1.5}', "num_gpus", "whole number"),
        ('{"num_gpus": true}', "num_gpus", "whole number"),
        ('{"num_gpus": "eight"}', "num_gpus", "whole number"),
        ('{"num_gpus": []}', "num_gpus", "whole number"),
        ('{"num_gpus": {"a": 1}}', "num_gpus", "whole number"),
        ('{"num_gpus": NaN}', "num_gpus", "whole number"),
        ('{"num_gpus": -Infinity}', "num_gpus", "whole number"),
        ('{"num_gpus": 1e400}', "num_gpus", "whole number"),
        ('{"num_gpus": 1000000000000000000000000000000}', "num_gpus", "whole number"),
        ('{"num_gpus": ' + "9" * 5000 + "}", "num_gpus", "whole number"),
        ('{"num_gpus": "' + "9" * 5000 + '"}', "num_gpus", "whole number"),
        ('{"price_usd_per_gpu_hour": "1e400"}', "price_usd_per_gpu_hour", "a number"),
        ('{"concurrency": "all"}', "concurrency", "saturated"),
        ('{"weight_precision": "fp7"}', "weight_precision", "bf16"),
        ('{"weight_precision": 16}', "weight_precision", "bf16"),
        ('{"gated_mlp": "perhaps"}', "gated_mlp", "true or false"),
        ('{"model": 7}', "model", "name"),
        ('{"model": "\\ud800"}', "model", "name"),
        ('{"model": "no-such-model-anywhere"}', "model", ""),
        ('{"gpu": "h1000"}', "gpu", "h100-sxm"),
        ('{"engine": "vlm"}', "engine", "vllm"),
        ('{"modell": "custom"}', "modell", "model"),
        ('{"": 1}', "", "model"),
        ('{"tp": 3}', "tp", "4"),
    ],
)  # fmt: skip
def test_a_value_that_is_not_allowed_is_422(
    client: FlaskClient, tmp_path: Path, body: str, field: str, allowed: str
) -> None:
    assert_error(client.post(ESTIMATE, data=body), 422, field, allowed)
    assert log_lines(tmp_path) == []


def test_an_unknown_name_suggests_the_nearest(client: FlaskClient) -> None:
    error = client.post(ESTIMATE, json={"input_token": 5}).get_json()["error"]
    assert "Did you mean input_tokens" in error["message"]


@pytest.mark.parametrize(
    ("method", "path", "status", "field", "allowed"),
    [
        ("GET", "/api/v1/runs/nothing", 404, "run_id", ""),
        ("GET", "/api/v1/runs/..%2F..%2Fetc", 404, "", ""),
        ("GET", "/api/v1/models/no-such-model", 404, "model", ""),
        ("GET", "/api/v1/gpus/h1000", 404, "gpu", "h100-sxm"),
        ("GET", "/api/v1/nothing/here", 404, "", ""),
        ("GET", "/api/v1/", 404, "", ""),
        ("GET", "/api/v1/estimate", 405, "method", "POST"),
        ("DELETE", "/api/v1/runs/nothing", 405, "method", "GET"),
        ("PUT", "/api/v1/models", 405, "method", "GET"),
    ],
)
def test_addresses_that_do_not_exist(
    client: FlaskClient, method: str, path: str, status: int, field: str, allowed: str
) -> None:
    response = client.open(path, method=method)
    assert_error(response, status, field, allowed)
    assert (status == 405) == ("Allow" in response.headers)


def test_a_log_that_cannot_be_written_costs_the_log_not_the_answer(app: Flask, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    app.extensions["run_log"] = RunLog(tmp_path / "file" / "logging")
    response = app.test_client().post(ESTIMATE, json=QUESTION)
    assert response.status_code == 200
    answer = response.get_json()
    assert answer["saved"] is False
    assert "not be logged" in answer["warning"]
    assert answer["results"]["fits"] is True


def test_models(client: FlaskClient) -> None:
    rows = client.get("/api/v1/models").get_json()["models"]
    assert [row["id"] for row in rows] == list(catalog.models())
    assert all(set(row) == set(serving.MODEL_ROW_KEYS) for row in rows)
    llama = next(row for row in rows if row["id"] == "meta-llama/Llama-3.1-8B-Instruct")
    assert llama["total_params"] == 8_030_261_248
    assert llama["kv_bytes_per_token_bf16"] == 131_072


def test_a_model(client: FlaskClient) -> None:
    facts = client.get("/api/v1/models/meta-llama/Llama-3.1-70B-Instruct").get_json()
    assert facts["total_params"] == 70_553_706_496
    assert facts["kv_bytes_per_token_bf16"] == 327_680
    assert facts["weight_bytes_bf16"] == 141_107_412_992


def test_gpus(client: FlaskClient) -> None:
    rows = client.get("/api/v1/gpus").get_json()["gpus"]
    assert [row["gpu"] for row in rows] == list(catalog.gpus())
    h100 = client.get("/api/v1/gpus/h100-sxm").get_json()
    assert h100 in rows
    assert h100["memory_bandwidth_bytes_per_s"] == 3.35e12


JSON_VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-3, 300)
    | st.floats(allow_nan=True)
    | st.text(max_size=20)
    | st.sampled_from(
        ["custom", "saturated", "auto", "", "1e999", "-0", "nan", "0x1", "1_000", "٣", "9" * 400, "fp8", "\x00"]
    ),
    lambda values: st.lists(values, max_size=3) | st.dictionaries(st.text(max_size=5), values, max_size=3),
    max_leaves=5,
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.dictionaries(st.sampled_from(sorted(ALL_INPUTS)), JSON_VALUES, max_size=4)
    | st.dictionaries(st.sampled_from(["model", "gpu"]), st.just("custom"), min_size=1)
    | st.dictionaries(st.text(max_size=10), JSON_VALUES, max_size=2)
)
def test_any_value_of_any_input_is_answered_or_refused_by_name(client: FlaskClient, body: dict[str, Any]) -> None:
    response = client.post(ESTIMATE, data=json.dumps(body))
    if response.status_code == 200:
        assert "results" in json.loads(response.text, parse_constant=lambda name: pytest.fail(name))
    else:
        assert response.status_code == 422
        assert set(response.get_json()["error"]) == {"field", "message", "allowed"}


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=st.binary(max_size=60) | st.text('{}[]":,01eE.-+tfn \\u', max_size=40).map(str.encode))
def test_any_bytes_are_answered_or_refused(client: FlaskClient, body: bytes) -> None:
    assert client.post(ESTIMATE, data=body).status_code in (200, 400, 422)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    body=st.fixed_dictionaries(
        {"model": st.just("custom"), "gpu": st.just("custom")},
        optional={
            name: st.integers(int(one.minimum or 0), int(min(one.maximum or 0, 10**6)))
            for name, one in ALL_INPUTS.items()
            if one.kind == "integer"
        },
    )
)
def test_custom_shapes_in_their_limits_never_crash(client: FlaskClient, body: dict[str, Any]) -> None:
    assert client.post(ESTIMATE, json=body).status_code in (200, 422)
