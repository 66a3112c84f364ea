"""What a visitor downloads: each page in gzip before its charts, our own files, plotly only where something is drawn."""

from __future__ import annotations

import gzip
import re
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient

from app.factory import create_app
from app.runs import estimate_run, plan_run, train_run

STATIC = Path(__file__).resolve().parent.parent / "static"
#: Bytes in gzip of a page without the figures that it draws, and of a style sheet or script of our own.
PAGE, FILE = 60_000, 20_000
CHARTS = re.compile(r'<script[^>]*type="application/json"[^>]*>.*?</script>', re.DOTALL)
PLOTLY = "plotly-cartesian"
PAGES = (
    "/", "/train", "/plan", "/models", "/gpus", "/models/meta-llama/Meta-Llama-3.1-8B", "/gpus/h100-sxm", "/visualize",
    "/accuracy", "/docs", "/docs/metrics_calculation", "/docs/assumptions", "/docs/nomenclature", "/api",
    "/sensitivity",
)  # fmt: skip
DRAWN = {"/models/meta-llama/Meta-Llama-3.1-8B", "/accuracy", "/sensitivity"}


@pytest.fixture(scope="module")
def app(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    directory = tmp_path_factory.mktemp("budgets")
    return create_app({"LOG_DIR": directory, "DATA_DIR": directory / "data", "TESTING": True})


@pytest.fixture(scope="module")
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def text_of(client: FlaskClient, address: str) -> str:
    answer = client.get(address, follow_redirects=True)
    assert answer.status_code == 200, address
    return answer.text


def bytes_of(text: str) -> int:
    return len(gzip.compress(CHARTS.sub("", text).encode()))


@pytest.mark.parametrize("address", PAGES)
def test_a_page_is_small_and_loads_plotly_only_to_draw(client: FlaskClient, address: str) -> None:
    text = text_of(client, address)
    assert bytes_of(text) < PAGE
    assert (PLOTLY in text) == (address in DRAWN)


def test_results_are_small(app: Flask, client: FlaskClient) -> None:
    runs = (
        estimate_run({}, source="web"),
        train_run({"model": "meta-llama/Llama-3.1-8B", "num_gpus": 8}, source="web"),
        plan_run({"gpu": "h100-sxm, l40s", "request_rate": 10}, source="web"),
    )
    for run in runs:
        app.extensions["run_log"].append(run)
        text = text_of(client, f"/results/{run.run_id}")
        assert bytes_of(text) < PAGE and PLOTLY in text, run.kind


@pytest.mark.parametrize("path", sorted(STATIC.glob("*.*")), ids=lambda path: path.name)
def test_a_file_of_our_own_is_small(path: Path) -> None:
    assert path.suffix in (".gz", ".br") or len(gzip.compress(path.read_bytes())) < FILE
