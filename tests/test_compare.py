"""Runs side by side: ratios to a chosen one, the inputs that differ, and a run as CSV."""

from __future__ import annotations

import csv
import io

import pytest
from flask.testing import FlaskClient

from app import formatting
from app.history.run_log import RunLog
from app.pages.compare import MOST, ratio
from app.runs import train_run
from tests.pages import soup, words
from tests.test_results import LLAMA_70B, logged


def rows(page, label: str) -> dict[str, list[str]]:  # type: ignore[no-untyped-def]
    found = page.find(attrs={"aria-label": label}).find("tbody").find_all("tr")
    return {words(row.find("th")): [words(cell) for cell in row.find_all("td")] for row in found}


def test_each_number_has_its_ratio_to_the_first_run(client: FlaskClient, run_log: RunLog) -> None:
    one, two = logged(run_log), logged(run_log, {"num_gpus": 2})
    page = soup(client.get(f"/compare?ids={one.run_id},{two.run_id}").text)
    numbers = rows(page, "Table of results")
    rates = [run.results["output_tokens_per_s"]["value"] for run in (one, two)]
    assert numbers["Output, all users tokens/s"] == [
        formatting.rate(rates[0]),
        f"{formatting.rate(rates[1])} best {formatting.number(rates[1] / rates[0])}×",
    ]
    assert numbers["Cost per hour"] == ["$2.69 best", "$5.38 2.00×"]
    assert rows(page, "Table of inputs") == {"Number of GPUs GPUs": ["automatic", "2"]}


def test_the_baseline_is_chosen_in_the_address(client: FlaskClient, run_log: RunLog) -> None:
    one, two = logged(run_log), logged(run_log, {"num_gpus": 2})
    page = soup(client.get(f"/compare?ids={one.run_id},{two.run_id}&baseline={two.run_id}").text)
    assert rows(page, "Table of results")["Cost per hour"] == ["$2.69 best 0.500×", "$5.38"]
    assert words(page.find("table", class_="ratios").find("thead")) == "A B baseline"


def test_all_inputs_can_be_seen(client: FlaskClient, run_log: RunLog) -> None:
    one, two = logged(run_log), logged(run_log, {"input_tokens": 77})
    page = soup(client.get(f"/compare?ids={one.run_id}&ids={two.run_id}").text)
    assert list(rows(page, "Table of inputs")) == ["Prompt tokens"]
    page = soup(client.get(page.find("a", string=lambda text: text and text.startswith("Also the"))["href"]).text)
    assert "Model" in rows(page, "Table of inputs")


def test_what_does_not_run_has_no_ratio(client: FlaskClient, run_log: RunLog) -> None:
    one, two = logged(run_log), logged(run_log, {"model": LLAMA_70B, "num_gpus": 1})
    numbers = rows(soup(client.get(f"/compare?ids={one.run_id},{two.run_id}").text), "Table of results")
    assert numbers["Time to first token ms"][1] == "unknown"


def test_training_runs_are_compared_by_their_own_numbers(client: FlaskClient, run_log: RunLog) -> None:
    runs = [train_run({"num_gpus": count}, source="web") for count in (8, 16)]
    for run in runs:
        run_log.append(run)
    numbers = rows(soup(client.get(f"/compare?ids={runs[0].run_id},{runs[1].run_id}").text), "Table of results")
    assert "Training step s" in numbers and "MFU" in numbers
    assert "Time to first token ms" not in numbers


def test_up_to_six_runs(client: FlaskClient) -> None:
    response = client.get("/compare?ids=" + ",".join(f"run{number}" for number in range(MOST + 1)))
    assert response.status_code == 400
    assert "Allowed: up to 6" in response.text


def test_runs_that_are_gone_are_named_and_recent_ones_offered(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    page = soup(client.get("/compare?ids=nope").text)
    assert "nope" in words(page.find(class_="warning"))
    assert page.find("input", attrs={"name": "ids", "value": run.run_id}) is not None
    assert client.get("/compare").status_code == 200


def test_tags_are_shown(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    client.post(f"/results/{run.run_id}/note", data={"tags": "prod"})
    page = soup(client.get(f"/compare?ids={run.run_id}").text)
    assert words(page.find(class_="tag")) == "prod"


@pytest.mark.parametrize(("value", "text"), [(1.0003, "same"), (2, "2.00×"), (0.5, "0.500×"), (1234, "1,234×")])
def test_ratios_as_text(value: float, text: str) -> None:
    assert ratio(value) == text


def test_a_run_is_a_table_for_a_spreadsheet(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"model": LLAMA_70B, "num_gpus": 4})
    response = client.get(f"/results/{run.run_id}.csv")
    assert response.mimetype == "text/csv"
    assert f"run-{run.run_id}.csv" in response.headers["Content-Disposition"]
    found = {(row["part"], row["name"]): row for row in csv.DictReader(io.StringIO(response.text))}
    ttft = found["results", "ttft_ms"]
    assert float(ttft["value"]) == run.results["ttft_ms"]["value"]
    assert float(ttft["low"]) == run.results["ttft_ms"]["low"]
    assert (ttft["unit"], ttft["meaning"]) == ("ms", "Time to first token: waiting and prefill included.")
    assert found["inputs", "num_gpus"]["value"] == "4"
    assert found["results", "memory_bytes_per_gpu.total"]["unit"] == "bytes"
    assert found["results", "layout.alternatives.0.strategy"]["meaning"] == "The layout in words."
    assert client.get("/results/nope.csv").status_code == 404
