"""The result page: verdict first, then numbers with units, then charts with tables of the same numbers."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from flask.testing import FlaskClient

from app import formatting
from app.formatting import range_text
from app.history.run_log import Run, RunLog
from app.pages.result import is_complete, state
from app.runs import estimate_run
from tests.pages import soup, table, value, words

LLAMA_70B = "meta-llama/Llama-3.1-70B-Instruct"
DEEPSEEK = "deepseek-ai/DeepSeek-V3"


def logged(run_log: RunLog, raw: dict[str, Any] | None = None, **changes: Any) -> Run:
    """A run of these inputs in the log, with parts of its results changed."""
    run = estimate_run(raw or {}, source="web")
    changed = Run.from_dict(run.as_dict() | {"results": run.results | changes})
    run_log.append(changed)
    return changed


def metrics(page: Any) -> dict[str, str]:
    return {words(one.find("dt")): words(one.find("dd")) for one in page.find_all(class_="metric")}


@pytest.mark.parametrize(
    ("raw", "css", "start"),
    [
        ({}, "fits", "Fits Fits: "),
        ({"model": LLAMA_70B, "num_gpus": 1}, "no", "Does not fit Does not fit: "),
        ({"concurrency": "saturated"}, "fits", "Fits Fits, filled with "),
        ({"concurrency": "most", "num_gpus": 1}, "tight", "Tight Fits, tightly: "),
    ],
    ids=["fits", "does not fit", "saturated", "tight"],
)
def test_the_verdict_comes_first_in_words_and_colour(
    client: FlaskClient, run_log: RunLog, raw: dict[str, Any], css: str, start: str
) -> None:
    if raw.get("concurrency") == "most":
        raw = raw | {"concurrency": estimate_run({}, source="web").results["max_concurrency"]}
    run = logged(run_log, raw)
    page = soup(client.get(f"/results/{run.run_id}").text)
    verdict = page.find(class_="verdict")
    assert css in verdict["class"]
    assert words(verdict).startswith(start)
    assert run.results["verdict"] in words(verdict)
    assert state(run.results) == css


def test_the_key_numbers_have_units(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    page = soup(client.get(f"/results/{run.run_id}").text)
    shown = metrics(page)
    found = run.results
    for label, key in (("Time to first token", "ttft_ms"), ("Time per output token", "tpot_ms")):
        value, low, high = (formatting.milliseconds(found[key][name]) for name in ("value", "low", "high"))
        assert shown[label] == f"{value} {range_text(low, high)}"
    assert shown["Output in total"].startswith(f"{formatting.rate(found['output_tokens_per_s']['value'])} tok/s ")
    assert " tok/s" in shown["Output per user"]
    assert " req/s" in shown["Requests"]
    assert shown["Largest concurrency"] == f"{found['max_concurrency']:,} requests"
    assert shown["Largest context"] == f"{found['max_context_tokens']:,} tokens"
    assert shown["Per hour"] == formatting.usd(found["usd_per_hour"]["value"])
    assert shown["Power per GPU"].startswith(f"{formatting.watts(found['power_w_per_gpu']['value'])} ")


def test_every_number_is_explained(client: FlaskClient, run_log: RunLog) -> None:
    page = soup(client.get(f"/results/{logged(run_log).run_id}").text)
    meanings = {words(one.find("dt")): words(one.find("dd")) for one in page.select(".meanings dl div")}
    assert meanings.keys() == metrics(page).keys()
    assert meanings["Time to first token"] == "Time to first token: waiting and prefill included."


def test_a_range_is_shown_where_there_is_one(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, ttft_ms={"value": 31.2, "low": 25.1, "high": 40.24})
    shown = metrics(soup(client.get(f"/results/{run.run_id}").text))
    assert shown["Time to first token"] == "31.2 ms 25.1 to 40.2 ms"


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [("25.1 ms", "40.2 ms", "25.1 to 40.2 ms"), ("980 ms", "1.20 s", "980 ms to 1.20 s"), ("$1", "$2", "$1 to $2")],
)
def test_a_unit_that_both_ends_share_stands_once(low: str, high: str, text: str) -> None:
    assert range_text(low, high) == text


def test_an_unknown_price_is_unknown(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"gpu": "custom"})
    shown = metrics(soup(client.get(f"/results/{run.run_id}").text))
    assert shown["Per hour"] == "unknown"
    assert shown["Time to first token"] != "unknown"


def test_energy_names_its_grid_and_electricity_is_priced_only_where_asked(client: FlaskClient, run_log: RunLog) -> None:
    plain = client.get(f"/results/{logged(run_log).run_id}").text
    assert "World, mean of 2024: 473 gCO2e per kWh (life cycle), PUE 1.2" in plain
    assert "Electricity per hour" not in metrics(soup(plain))
    run = logged(run_log, {"region": "us-texas", "electricity_usd_per_kwh": "0.1"})
    shown = metrics(soup(client.get(f"/results/{run.run_id}").text))
    grams = formatting.grams(run.results["gco2_per_million_output_tokens"]["value"])
    assert shown["CO2 of 1M output"].startswith(f"{grams} ")
    assert shown["Electricity per hour"].startswith("$")


def test_what_does_not_fit_says_what_would(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"model": LLAMA_70B, "num_gpus": 1})
    page = soup(client.get(f"/results/{run.run_id}").text)
    assert run.results["remedies"]
    remedies = page.find(id="remedies").find_parent("section")
    assert [words(one) for one in remedies.find_all("li")] == run.results["remedies"]
    assert metrics(page)["Time to first token"] == "does not run"
    assert "Too much" in table(page, "memory")


def test_the_memory_table_holds_the_numbers_of_the_chart(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    page = soup(client.get(f"/results/{run.run_id}").text)
    memory = run.results["memory_bytes_per_gpu"]
    rows = table(page, "memory")
    assert rows["Weights"][:2] == [formatting.gib(memory["weights"]), formatting.gb(memory["weights"])]
    assert rows["Total"][2] == formatting.percent(memory["total"] / memory["capacity"])
    assert rows["Free"][0] == formatting.gib(memory["capacity"] - memory["total"])
    assert rows["Memory of the GPU"][0] == formatting.gib(memory["device"])


def test_the_operations_and_the_bounds_have_tables(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"model": DEEPSEEK, "num_gpus": 16})
    page = soup(client.get(f"/results/{run.run_id}").text)
    rows = table(page, "flops")
    assert {"Attention projections", "Experts", "Router", "Output head", "Total"} <= set(rows)
    assert rows["Total"][1::2] == ["100 %", "100 %"]
    bound = run.results["bound"]
    assert f"bound by {bound['decode']['by']}" in words(page.find(class_="limits"))
    assert table(page, "bound")["Network"][2] == formatting.duration(bound["decode"]["seconds"]["network"])


def test_the_scaling_says_how_and_why(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"model": DEEPSEEK, "num_gpus": 16})
    text = words(soup(client.get(f"/results/{run.run_id}").text).find(id="scaling").find_parent("section"))
    assert run.results["layout"]["strategy"] in text
    assert " ".join(run.results["layout"]["reason"].split()) in text
    assert run.results["layout"]["alternatives"][0]["strategy"] in text


def test_gpus_that_only_prefill_are_named(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"num_gpus": 6, "prefill_gpus": 2, "tp": 2})
    text = words(soup(client.get(f"/results/{run.run_id}").text).find(id="scaling").find_parent("section"))
    assert "2 GPUs = TP 2 prefill, 4 GPUs = 2 replicas x TP 2 decode" in text
    assert "GPUs that only prefill 2" in text and "Sending a prompt's cache" in text


def test_warnings_are_shown_as_text(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, warnings=["<b>careful</b> & slow"])
    response = client.get(f"/results/{run.run_id}")
    assert words(soup(response.text).find(id="warnings").find_parent("section").find("li")) == "<b>careful</b> & slow"


@pytest.mark.parametrize(
    ("raw", "charts"),
    [
        ({}, ["memory-chart", "bound-prefill-chart", "bound-decode-chart", "flops-chart"]),
        ({"model": LLAMA_70B, "num_gpus": 1}, ["memory-chart", "flops-chart"]),
    ],
)
def test_every_chart_has_a_caption_and_its_figure(
    client: FlaskClient, run_log: RunLog, raw: dict[str, Any], charts: list[str]
) -> None:
    page = soup(client.get(f"/results/{logged(run_log, raw).run_id}").text)
    scripts = page.find_all("script", type="application/json")
    assert [script["data-chart"] for script in scripts] == charts
    for script in scripts:
        assert json.loads(script.string)["data"]
        figure = script.find_parent("figure")
        assert words(page.find(id=figure["aria-labelledby"]))
        assert figure.find(id=script["data-chart"]) is not None


def test_the_work_is_shown_as_tables_and_lines(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"model": DEEPSEEK, "num_gpus": 16})
    section = soup(client.get(f"/results/{run.run_id}?tab=operators").text).find(id="work").find_parent("section")
    work = client.get(f"/api/v1/runs/{run.run_id}?work=1").get_json()["work"]
    tables = section.find_all("table")
    for shown, step in zip(tables, work["steps"].values(), strict=True):
        names = [words(row.find("th")) for row in shown.find("tbody").find_all("tr")]
        assert names == [*(row["name"] for row in step["rows"]), "Total"]
        assert formatting.duration(step["seconds"]) in words(shown.find(class_="total"))
        assert len(shown.find("thead").find_all("th", scope="col")) == len(
            shown.find(class_="total").find_all(["th", "td"])
        )
    equations = soup(client.get(f"/results/{run.run_id}?tab=equations").text)
    lines = [words(line) for line in equations.select(".chain:last-of-type code")]
    assert len(lines) == len(work["chain"])
    cycle = next(line for line in work["chain"] if line["symbol"] == "cycle")
    (shown,) = [line for line in lines if line.startswith("cycle = h + (L - 1)")]
    assert cycle["numbers"] in shown
    assert "changed since" not in words(section)


def test_the_work_of_what_does_not_run_is_a_sentence(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"model": LLAMA_70B, "num_gpus": 1})
    section = soup(client.get(f"/results/{run.run_id}?tab=operators").text).find(id="work").find_parent("section")
    assert section.find("table") is None
    assert "Nothing runs" in words(section)


def test_the_work_of_another_calculator_is_said_to_differ(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, ttft_ms={"value": 31.2, "low": None, "high": None})
    section = soup(client.get(f"/results/{run.run_id}?tab=operators").text).find(id="work").find_parent("section")
    assert "changed since this run was logged" in words(section)


def test_the_work_of_a_model_that_is_gone_says_so(client: FlaskClient, run_log: RunLog) -> None:
    run = estimate_run({}, source="web")
    gone = Run.from_dict(run.as_dict() | {"inputs": run.inputs | {"model": "was-deleted"}})
    run_log.append(gone)
    section = soup(client.get(f"/results/{run.run_id}?tab=operators").text).find(id="work").find_parent("section")
    assert "cannot be made again" in words(section)
    assert client.get(f"/api/v1/runs/{run.run_id}?work=1").get_json()["work"] is None


def test_the_link_to_the_inputs_holds_what_differs_and_fills_the_form(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log, {"model": LLAMA_70B, "gpu": "h200-sxm", "input_tokens": "4096"})
    page = soup(client.get(f"/results/{run.run_id}").text)
    link = page.find("a", string="Change inputs")["href"]
    assert link.count("=") == 3
    form = soup(client.get(link).text)
    found = [value(form, name) for name in ("model", "gpu", "input_tokens", "output_tokens")]
    assert found == [LLAMA_70B, "h200-sxm", "4096", "256"]


def test_the_run_can_be_had_as_json(client: FlaskClient, run_log: RunLog) -> None:
    run = logged(run_log)
    page = soup(client.get(f"/results/{run.run_id}").text)
    assert client.get(page.find("a", string="This run as JSON")["href"]).get_json()["run_id"] == run.run_id


@pytest.mark.parametrize("run_id", ["nope", "%3Cscript%3E", "0" * 20, "x" * 3000])
def test_a_run_that_is_not_there_is_a_page_with_what_to_do(client: FlaskClient, run_id: str) -> None:
    response = client.get(f"/results/{run_id}")
    page = soup(response.text)
    assert response.status_code == 404
    assert words(page.find("h1")) == "This run is not in the log"
    assert page.find("a", string="Look through all runs")


@pytest.mark.parametrize(
    "results",
    [
        {},
        {"fits": True},
        {"memory_bytes_per_gpu": None},
        {"bound": {"prefill": {"by": "compute"}}},
        {"ttft_ms": 3},
        {"layout": {"alternatives": [{}]}},
    ],
)
def test_a_run_of_another_version_is_shown_as_it_was_logged(
    client: FlaskClient, run_log: RunLog, results: dict[str, Any]
) -> None:
    run = estimate_run({}, source="web")
    whole = run.results if len(results) == 1 and "fits" not in results else {}
    other = Run.from_dict(run.as_dict() | {"results": whole | results, "app_version": "0.0.1"})
    assert not is_complete(other.results)
    run_log.append(other)
    response = client.get(f"/results/{run.run_id}")
    page = soup(response.text)
    assert response.status_code == 200
    assert words(page.find("h1")) == "A run of another version"
    assert json.loads(page.find("pre").text) == other.as_dict()


@pytest.mark.parametrize(
    "address",
    ["/results/{}", "/results/{}.csv", "/results/{}/plans", "/results/{}/heat", "/results/{}/sensitivity",
     "/api/v1/runs/{}", "/visualize?run={}", "/visualize.csv", "/compare?ids={}"],
)  # fmt: skip
def test_a_log_that_cannot_be_read_is_said_on_every_page_of_a_run(
    client: FlaskClient, run_log: RunLog, address: str
) -> None:
    run = logged(run_log)
    run_log.directory.rename(run_log.directory.with_name("away"))
    run_log.directory.touch()
    answer = client.get(address.format(run.run_id))
    assert answer.status_code == 503 and "cannot be read" in answer.text


@pytest.mark.parametrize("name", ['=HYPERLINK("http://evil","x")', "=cmd|calc", "+1", "-1", "@a", "\tb", "\r=c"])
def test_no_cell_of_the_csv_file_is_a_formula(client: FlaskClient, run_log: RunLog, name: str) -> None:
    made = logged(run_log)
    evil = {name: name, "fine": {"value": name, "low": name, "high": name}}
    run = Run.from_dict(
        made.as_dict() | {"run_id": "evil", "inputs": evil, "results": {**evil, "of": [{name: 1}], "n": -5}}
    )
    run_log.append(run)
    rows = list(csv.reader(io.StringIO(client.get("/results/evil.csv").text, newline="")))
    assert ["results", "n", "-5", "", "", "", ""] in rows, "a number is none"
    texts = [cell for row in rows for cell in row if cell != "-5"]
    assert not [cell for cell in texts if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]
    assert ["inputs", f"'{name}", f"'{name}", "", "", "", ""] in rows
