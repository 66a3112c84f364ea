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
from app.runs import estimate_run, plan_run, train_run
from tests.pages import soup, words

H100 = {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm"}


@pytest.fixture
def data(tmp_path: Path) -> UserData:
    return UserData(tmp_path / "data")


def hourly(**changes: object) -> float | None:
    value: float | None = estimate_run(H100 | changes, source="cli").results["usd_per_hour"]["value"]
    return value


def test_every_listed_price_has_a_source_and_a_date_and_an_accelerator() -> None:
    for (slug, region), row in catalog.prices().items():
        assert slug in catalog.preset_gpus() and float(row["usd_per_gpu_hour"]) > 0
        assert not region or region in catalog.grids()
        assert len(row["date"]) == 7 and row["source"]


def test_what_is_not_listed_is_unknown_and_not_zero() -> None:
    assert not any(slug == "mi300x" for slug, _ in catalog.prices())
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


def test_a_region_has_its_listed_price_and_one_without_has_that_of_any() -> None:
    """AWS, August 2026: p5.48xlarge 58.8928 USD an hour in Stockholm and 68.80 in Tokyo, eight GPUs each."""
    assert hourly(region="sweden") == pytest.approx(58.8928 / 8, abs=1e-4)
    assert hourly(region="japan") == pytest.approx(68.8 / 8, abs=1e-4)
    assert hourly(region="world") == hourly(region="poland") == 2.69
    assert hourly(region="sweden", price_usd_per_gpu_hour=5) == 5
    assert hourly(region="sweden", gpu="mi300x") is None
    assert catalog.gpu("h100-sxm", region="sweden").price_region == "sweden"
    assert catalog.gpu("h100-sxm", region="poland").price_region == ""


def test_a_training_run_costs_what_its_region_asks() -> None:
    asked = {"model": H100["model"], "gpu": "h100-sxm", "num_gpus": 8, "tokens": 1e9}
    cost = {
        region: train_run(asked | {"region": region}, source="cli").results["run"]["usd"]["value"]
        for region in ("world", "sweden")
    }
    assert cost["sweden"] / cost["world"] == pytest.approx(58.8928 / 8 / 2.69, rel=1e-4)


def test_ones_own_price_of_a_region_counts_there_and_the_general_one_elsewhere(data: UserData) -> None:
    with user_data.using(data):
        manage.save_price("h100-sxm", 3, "contract", region="Sweden")
        assert (hourly(region="sweden"), hourly(region="world")) == (3, 2.69)
        manage.save_price("h100-sxm", 2)
        assert (hourly(region="sweden"), hourly(region="japan"), hourly()) == (3, 2, 2)
        manage.delete_price("h100-sxm", "sweden")
        assert hourly(region="sweden") == 2
        with pytest.raises(InvalidInput, match="No price of one's own"):
            manage.delete_price("h100-sxm", "sweden")
        with pytest.raises(InvalidInput) as refused:
            manage.save_price("h100-sxm", 2, region="atlantis")
        assert refused.value.field == "region"


def test_the_region_moves_price_and_carbon_of_a_plan_and_says_where_the_price_is_from() -> None:
    asked = {"model": H100["model"], "gpu": "h100-sxm", "request_rate": 5}
    best = {
        region: plan_run(asked | {"region": region}, source="cli").results["plans"][0]
        for region in ("world", "sweden", "japan")
    }
    assert best["sweden"]["usd_per_hour"]["value"] < best["japan"]["usd_per_hour"]["value"]
    carbon = {region: one["gco2_per_million_output_tokens"]["value"] for region, one in best.items()}
    assert carbon["sweden"] < carbon["world"] < carbon["japan"]
    assert [one["price_region"] for one in best.values()] == ["", "sweden", "japan"]
    assert "eu-north-1" in best["sweden"]["price_source"] and "RunPod" in best["world"]["price_source"]
    set_by_hand = plan_run(asked | {"region": "sweden", "price_usd_per_gpu_hour": 1}, source="cli").results["plans"][0]
    assert (set_by_hand["price_region"], set_by_hand["price_source"]) == ("", "set for this plan")


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


def test_a_price_of_a_region_is_saved_and_taken_back_on_the_page(client: FlaskClient) -> None:
    client.post("/gpus/price", data={"gpu": "l40s", "usd": "1.25", "source": "quote", "region": "poland"})
    rows = [words(row) for row in soup(client.get("/gpus/l40s").text).select("[aria-labelledby=regions] tbody tr")]
    own = [row for row in rows if row.startswith("Poland")]
    assert len(own) == 1 and "$1.25" in own[0] and "quote" in own[0]
    assert any(row.startswith("Sweden") and "eu-north-1" in row for row in rows)
    assert client.get("/api/v1/gpus/l40s").json["price_usd_per_gpu_hour"] == 0.79
    client.post("/gpus/price", data={"gpu": "l40s", "delete": "1", "region": "poland"})
    assert "Poland" not in words(soup(client.get("/gpus/l40s").text).select_one("[aria-labelledby=regions]"))


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
    assert all(word in said("h200", "--region", "sweden") for word in ("$8.47", "sweden", "AWS on demand"))
    assert "1.10" in said("l40s", "1.1", "--region", "poland") and "0.79" in said("l40s")
    document = json.loads(said("--json"))["prices"]
    by_slug = {one["gpu"]: one["usd_per_gpu_hour"] for one in document}
    assert len(by_slug) == len(catalog.gpus()) and by_slug["h100-sxm"] == 1.9
    assert "2.69" in said("h100-sxm", "--delete")
    assert "is no price" in said("h100-sxm", "free", code=2)
    assert "GPU is missing" in said("--delete", code=2)
