"""Prices: listed with source and date, one's own in place of them, and what is not known is never zero."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from click.testing import CliRunner
from flask import Flask
from flask.testing import FlaskClient

from app import catalog
from app.calculations.errors import InvalidInput
from app.command_line.main import main
from app.factory import create_app
from app.own import manage, user_data
from app.own.user_data import UserData
from app.runs import estimate_run
from tests.pages import soup, words

H100 = {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm"}


@pytest.fixture
def data(tmp_path: Path) -> UserData:
    return UserData(tmp_path / "data")


def hourly(**changes: object) -> float | None:
    value: float | None = estimate_run(H100 | changes, source="cli").results["usd_per_hour"]["value"]
    return value


def test_every_listed_price_has_a_source_and_a_date_and_an_accelerator() -> None:
    for slug, row in catalog.prices().items():
        assert slug in catalog.preset_gpus() and float(row["usd_per_gpu_hour"]) > 0
        assert len(row["date"]) == 7 and row["source"]


def test_what_is_not_listed_is_unknown_and_not_zero() -> None:
    assert "mi300x" not in catalog.prices()
    assert catalog.gpu("mi300x").price_usd_per_hour is None
    found = estimate_run(H100 | {"gpu": "mi300x"}, source="cli").results
    assert found["usd_per_hour"]["value"] is None and found["usd_per_million_output_tokens"]["value"] is None


def test_ones_own_price_stands_in_place_of_the_listed_one_and_a_question_before_both(data: UserData) -> None:
    listed = hourly()
    with user_data.using(data):
        manage.save_price("H100 SXM5 80GB", "2.10", "contract")
        assert hourly() == pytest.approx(2.10) and catalog.gpus()["h100-sxm"].price_usd_per_hour == 2.10
        assert catalog.gpu("h100-sxm").price_source.startswith("contract, saved 20")
        assert hourly(price_usd_per_gpu_hour=5) == 5
        manage.save_price("h100-sxm", 0)
        assert hourly() == 0
        manage.delete_price("h100-sxm")
        assert hourly() == listed
        with pytest.raises(InvalidInput, match="No price of one's own"):
            manage.delete_price("h100-sxm")
    assert hourly() == listed


@pytest.mark.parametrize("price", ["", "cheap", "-1", "nan", "inf", "1e9", None, True])
def test_what_is_no_price_is_refused(data: UserData, price: object) -> None:
    with user_data.using(data), pytest.raises(InvalidInput, match="is no price"):
        manage.save_price("h100-sxm", price)


def test_a_broken_file_of_prices_is_reported_and_the_listed_price_stands(data: UserData) -> None:
    path = data.prices.directory
    assert path is not None
    path.mkdir(parents=True)
    (path / "h100-sxm.json").write_text(
        '{"schema": 1, "name": "h100-sxm", "source": "", "saved": "", "notes": [], "price": {}}'
    )
    with user_data.using(data):
        assert hourly() == catalog.preset_gpus()["h100-sxm"].price_usd_per_hour
        assert "not that of an accelerator" in data.prices.problems()[0]


# ---- page and command


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app({"LOG_DIR": tmp_path / "logging", "DATA_DIR": tmp_path / "data", "TESTING": True})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


def test_a_price_is_saved_and_taken_back_on_the_page_of_the_accelerator(client: FlaskClient) -> None:
    saved = client.post("/gpus/price", data={"gpu": "l40s", "usd": "1.25", "source": "<b>quote</b>"})
    assert saved.location == "/gpus/l40s#price"
    page = client.get("/gpus/l40s").text
    assert "$1.25" in page and "&lt;b&gt;quote" in page
    assert client.get("/api/v1/gpus/l40s").json["price_usd_per_gpu_hour"] == 1.25
    client.post("/gpus/price", data={"gpu": "l40s", "delete": "1"})
    assert client.get("/api/v1/gpus/l40s").json["price_usd_per_gpu_hour"] == 0.79


def test_a_wrong_price_loses_nothing_that_was_typed(client: FlaskClient) -> None:
    answer = client.post("/gpus/price", data={"gpu": "l40s", "usd": "a lot", "source": "rumour"})
    page = soup(answer.text)
    assert answer.status_code == 422 and "'a lot' is no price" in words(page.select_one("#error-usd"))
    assert [field["value"] for field in page.select("form.inline input[type=text]")] == ["a lot", "rumour"]
    assert client.post("/gpus/price", data={"gpu": "none", "usd": "1"}).status_code == 404


def test_the_command_shows_and_keeps_prices(tmp_path: Path) -> None:
    environ = {"LOG_DIR": str(tmp_path), "DATA_DIR": str(tmp_path)}

    def said(*words_: str, code: int = 0) -> str:
        done = CliRunner().invoke(main, ["price", *words_], env=environ)
        assert done.exit_code == code, done.output
        return done.stdout + done.stderr

    assert "2.69" in said("h100-sxm") and "unknown" in said("mi300x")
    assert "1.90" in said("h100", "1.9", "--source", "quote")
    document = json.loads(said("--json"))["prices"]
    by_slug = {one["gpu"]: one["usd_per_gpu_hour"] for one in document}
    assert len(by_slug) == len(catalog.gpus()) and by_slug["h100-sxm"] == 1.9
    assert "2.69" in said("h100-sxm", "--delete")
    assert "is no price" in said("h100-sxm", "free", code=2)
    assert "GPU is missing" in said("--delete", code=2)
