"""Lines of the work as text: expressions with the numbers in place of the symbols."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient

from app.runs import estimate_run
from app.show_work import line_text, substituted, work_of


def line(symbol: str, value: float | None, expression: str = "", unit: str = "s") -> dict[str, Any]:
    return {"symbol": symbol, "expression": expression, "value": value, "unit": unit}


def test_symbols_give_way_to_their_values() -> None:
    lines = [line("h", 0.01), line("L", 256.0, unit="tokens"), line("p1", 0.0241), line("d", 0.0123)]
    lines.append(line("cycle", 3.1706, "h + (L - 1) * d + p1"))
    *_, numbers = substituted(lines)
    assert numbers == "0.01000 + (256 - 1) × 0.01230 + 0.02410"
    shown = line_text(lines[-1] | {"numbers": numbers})
    assert shown == f"cycle = h + (L - 1) × d + p1 = {numbers} = 3.171 s"


def test_functions_and_exponents_of_ten_stay() -> None:
    *_, numbers = substituted([line("x", 2.0, unit=""), line("w", 1.0, "min(log(max(x, 1e-9)), 1) ** x", unit="")])
    assert numbers == "min(log(max(2, 1e-9)), 1) ^ 2"


@pytest.mark.parametrize(
    ("one", "text"),
    [
        (line("I", 1024.0, unit="tokens") | {"numbers": ""}, "I = 1024 tokens"),
        (line("t", 0.5, "settled") | {"numbers": "0.5000"}, "t = settled = 0.5000 s"),
        (line("n", None, unit="") | {"numbers": ""}, "n = unknown"),
    ],
)
def test_nothing_is_said_twice(one: dict[str, Any], text: str) -> None:
    assert line_text(one) == text


@pytest.mark.parametrize(
    "raw",
    [
        {},
        {"concurrency": "saturated"},
        {"model": "deepseek-ai/DeepSeek-V3", "num_gpus": 16},
        {"model": "custom", "gpu": "custom"},
        {"arrival": "open", "request_rate": 2},
        {"arrival": "open", "request_rate": 5000},
    ],
)
def test_the_work_leads_to_the_logged_results(raw: dict[str, Any]) -> None:
    run = estimate_run(raw, source="web")
    assert work_of(run.inputs, run.results)["same"]


def test_the_api_adds_it_only_on_request(client: FlaskClient) -> None:
    run_id = client.post("/api/v1/estimate", json={}).get_json()["run_id"]
    address = f"/api/v1/runs/{run_id}"
    plain = client.get(address).get_json()
    assert "work" not in plain
    for word in ("0", "false", ""):
        assert client.get(f"{address}?work={word}").get_json() == plain
    assert client.get(f"{address}?work=1").get_json().keys() == plain.keys() | {"work"}
    refused = client.get(f"{address}?work=maybe")
    assert (refused.status_code, refused.get_json()["error"]["field"]) == (422, "work")
