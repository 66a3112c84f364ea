"""The history page as a person reads it: rows, order, filters, pages, comparison, and messages for bad addresses."""

import csv
import io
import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import plotly.graph_objects as go
import pytest
from bs4 import BeautifulSoup, Tag
from flask import Flask
from flask.testing import FlaskClient

from app import formatting
from app.charts.history import memory_figure, throughput_figure, user_rate_figure
from app.factory import create_app
from app.history.comparison import compared, input_lines, result_lines
from app.history.query import MAX_COMPARED
from app.history.rows import COLUMNS
from app.history.run_log import WEB_FILE, Run, RunLog
from app.runs import estimate_run, plan_run, train_run

SCENARIOS = {
    "small": {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm"},
    "large": {"model": "Qwen/Qwen2.5-72B-Instruct", "gpu": "h200-sxm", "num_gpus": 4, "kv_precision": "fp8"},
    "too_large": {"model": "deepseek-ai/DeepSeek-V3", "gpu": "l4", "num_gpus": 1},
    "saturated": {"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "l40s", "concurrency": "saturated"},
}


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app({"LOG_DIR": tmp_path / "logging", "TESTING": True})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def run_log(app: Flask) -> RunLog:
    return app.extensions["run_log"]


@pytest.fixture(scope="module")
def estimates() -> dict[str, Run]:
    sources = dict(zip(SCENARIOS, ("web", "api", "cli", "desktop"), strict=True))
    return {name: estimate_run(raw, source=sources[name]) for name, raw in SCENARIOS.items()}


@pytest.fixture
def runs(run_log: RunLog, estimates: dict[str, Run]) -> dict[str, Run]:
    """One run per source, logged."""
    for run in estimates.values():
        run_log.append(run)
    return estimates


def page(client: FlaskClient, query: str = "", status: int = 200) -> BeautifulSoup:
    response = client.get("/visualize" + query)
    assert response.status_code == status
    return BeautifulSoup(response.data, "html.parser")


def rows(soup: BeautifulSoup) -> list[Tag]:
    return soup.select("table.runs tbody tr")


def ids(soup: BeautifulSoup) -> list[str]:
    return [row.select_one("input[name=run]")["value"] for row in rows(soup)]


def selection(*runs: Run) -> str:
    return "&".join(f"run={run.run_id}" for run in runs)


def words(tag: Tag) -> str:
    return " ".join(tag.get_text(" ").split())


# The table


def test_every_front_ends_runs_are_in_one_table(client: FlaskClient, runs: dict[str, Run]) -> None:
    soup = page(client)
    assert sorted(ids(soup)) == sorted(run.run_id for run in runs.values())
    sources = {row.select("td")[1].get_text() for row in rows(soup)}
    assert sources == {"web", "api", "cli", "desktop"}


def test_a_row_shows_the_numbers_and_links_to_the_result(client: FlaskClient, runs: dict[str, Run]) -> None:
    [row] = rows(page(client, "?source=web"))
    run = runs["small"]
    assert row.select_one("th a")["href"] == f"/results/{run.run_id}"
    assert row.select_one("time")["datetime"] == run.time
    shown = words(row)
    for expected in ("meta-llama/Llama-3.1-8B-Instruct", "H100", "vLLM", "bf16", "1,024", "256", "16", "yes", "$"):
        assert expected in shown


def test_every_column_has_a_heading_that_sorts(client: FlaskClient, runs: dict[str, Run]) -> None:
    headings = page(client).select("table.runs thead th[scope=col]")[1:]
    assert len(headings) == len(COLUMNS)
    for heading, column in zip(headings, COLUMNS, strict=True):
        link = urlsplit(heading.a["href"])
        assert parse_qs(link.query).get("sort", ["-time"])[0].lstrip("-") == column.name
        sorted_page = page(client, "?" + link.query)
        [current] = sorted_page.select("th[aria-sort]")
        assert words(current).startswith(column.label)


def test_all_rows_have_as_many_cells_as_there_are_headings(client: FlaskClient, runs: dict[str, Run]) -> None:
    soup = page(client)
    assert {len(row.select("th, td")) for row in soup.select("table.runs tr")} == {len(COLUMNS) + 1}


def test_filters_keep_what_was_asked(client: FlaskClient, runs: dict[str, Run]) -> None:
    soup = page(client, "?q=llama&fits=yes&gpu=l40s&sort=model&from=2020-01-01")
    assert ids(soup) == [runs["saturated"].run_id]
    form = soup.select_one("form#history")
    assert form.select_one("[name=q]")["value"] == "llama"
    assert form.select_one("[name=fits] [selected]")["value"] == "yes"
    assert form.select_one("[name=gpu] [selected]")["value"] == "l40s"
    assert form.select_one("[name=from]")["value"] == "2020-01-01"
    assert form.select_one("[name=sort]")["value"] == "model"


def test_a_filter_that_nothing_meets_says_how_to_widen_it(client: FlaskClient, runs: dict[str, Run]) -> None:
    soup = page(client, "?model=nothing/like-it")
    assert "None of the 4 runs matches" in words(soup)
    assert soup.select_one("[name=model] [selected]")["value"] == "nothing/like-it"
    assert soup.find("a", string="show all runs")["href"] == "/visualize"


def test_pages_are_turned_by_buttons_that_take_the_ticks_along(client: FlaskClient, run_log: RunLog) -> None:
    first = estimate_run(SCENARIOS["small"], source="web")
    for number in range(60):
        run_log.append(Run(**{**first.as_dict(), "run_id": f"run{number:04}"}))
    soup = page(client, "?per_page=25&page=2&run=run0059&run=run0030")
    assert len(rows(soup)) == 25
    turns = {button.get_text(): button for button in soup.select(".pages button")}
    assert turns["Next"]["value"] == "3"
    assert turns["Next"]["form"] == "history"
    hidden = [field["value"] for field in soup.select("form#history [type=hidden][name=run]")]
    ticked = [box["value"] for box in soup.select("table.runs [name=run][checked]")]
    assert (hidden, ticked) == (["run0059"], ["run0030"])
    assert "disabled" in {b.get_text(): b for b in page(client, "?page=2").select(".pages button")}["Next"].attrs


def test_an_empty_history_says_what_to_do(client: FlaskClient) -> None:
    soup = page(client)
    assert "no runs yet" in words(soup)
    assert "python -m app estimate" in words(soup)
    examples = [link["href"] for link in soup.select("main li li a")]
    assert len(examples) == 3
    for example in examples:
        raw = {name: values[0] for name, values in parse_qs(urlsplit(example).query).items()}
        assert estimate_run(raw, source="web").results["fits"]


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("page=abc", "page"),
        ("sort=foo", "sort"),
        ("per_page=1000000000", "per_page"),
        ("from=xyz", "from"),
        ("fits=%3Cscript%3E", "fits"),
        ("run=..%2F..%2Fetc", "run"),
    ],
)
def test_a_bad_address_still_shows_the_page_and_names_what_is_wrong(
    client: FlaskClient, runs: dict[str, Run], query: str, field: str
) -> None:
    soup = page(client, "?" + query, status=400)
    [message] = soup.select("[role=alert] li")
    assert message.code.get_text() == field
    assert "Allowed:" in words(message)
    assert len(rows(soup)) == 4


def test_a_page_beyond_the_last_shows_the_last(client: FlaskClient, runs: dict[str, Run]) -> None:
    soup = page(client, "?page=7")
    assert "There is only one page" in words(soup)
    assert len(rows(soup)) == 4


def test_lines_that_are_no_runs_are_mentioned(client: FlaskClient, run_log: RunLog, runs: dict[str, Run]) -> None:
    assert "skipped" not in words(page(client))
    with (run_log.directory / WEB_FILE).open("ab") as log:
        log.write(b"not a run\n")
    assert "1 line of the log could not be read as a run and was skipped." in words(page(client))


def test_a_log_that_is_a_directory_is_said(client: FlaskClient, run_log: RunLog) -> None:
    (run_log.directory / WEB_FILE).mkdir(parents=True)
    assert "cannot be read" in words(page(client, status=503))


# Foreign runs

EVIL = "</script><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture
def evil(run_log: RunLog, estimates: dict[str, Run]) -> Run:
    """A run whose every text is markup, as anyone who may write to the log could leave one."""
    record = json.loads(json.dumps(estimates["small"].as_dict()))

    def spoil(tree: dict) -> None:
        for key, value in tree.items():
            if isinstance(value, dict):
                spoil(value)
            elif isinstance(value, str):
                tree[key] = EVIL

    spoil(record["inputs"])
    spoil(record["results"])
    run = Run(**{**record, "kind": EVIL, "app_version": EVIL})
    run_log.append(run)
    return run


def test_nothing_from_the_log_becomes_markup(client: FlaskClient, evil: Run) -> None:
    for query in ("", f"?{selection(evil)}", f"?model={EVIL}", f"?q={EVIL}"):
        soup = page(client, query)
        assert not soup.select("img")
        assert all(
            "alert" not in (script.string or "") or script["type"] == "application/json"
            for script in soup.select("script")
        )
        assert "<script>alert" not in client.get("/visualize" + query).get_data(as_text=True)


def test_nothing_from_the_log_becomes_markup_of_a_chart(client: FlaskClient, evil: Run) -> None:
    for script in page(client, f"?{selection(evil)}").select("script[type='application/json']"):
        assert "<img" not in json.dumps(json.loads(script.string))


@pytest.mark.parametrize(
    "results", [{}, {"fits": []}, {"model": 5, "gpu": {"name": {}}, "ttft_ms": {"value": 10**400}}]
)
def test_a_run_without_the_usual_results_is_shown_and_compared(
    client: FlaskClient, run_log: RunLog, estimates: dict[str, Run], results: dict
) -> None:
    run = Run(**{**estimates["small"].as_dict(), "results": results, "inputs": {"other": [1, {"a": None}]}})
    run_log.append(run)
    soup = page(client, f"?{selection(run)}")
    assert len(rows(soup)) == 1
    assert soup.select_one("#compare")


# Comparison


def figures(soup: BeautifulSoup) -> dict[str, dict]:
    return {script["data-chart"]: json.loads(script.string) for script in soup.select("script[data-chart]")}


def test_ticked_runs_are_compared_in_charts_and_a_table(client: FlaskClient, runs: dict[str, Run]) -> None:
    small, large = runs["small"], runs["large"]
    soup = page(client, f"?{selection(small, large)}")
    drawn = figures(soup)
    assert len(drawn) == 3
    assert all(soup.find(id=name) for name in drawn)
    for figure in drawn.values():
        go.Figure(figure)
    [weights] = [trace for trace in drawn["memory-chart"]["data"] if trace["name"] == "Weights"]
    assert weights["y"] == [run.results["memory_bytes_per_gpu"]["weights"] / 2**30 for run in (small, large)]
    table = soup.select_one("table.compared")
    assert [cell.get_text() for cell in table.select("thead th")] == ["A", "B"]
    differing = {words(row.th).removesuffix(" differs") for row in table.select("tr.differs")}
    assert differing == {"Model", "Accelerator", "Number of GPUs GPUs", "KV cache"}


def test_the_selection_survives_sorting_and_can_be_cleared(client: FlaskClient, runs: dict[str, Run]) -> None:
    soup = page(client, f"?{selection(runs['small'], runs['large'])}&q=llama")
    for link in soup.select("table.runs thead a"):
        assert parse_qs(urlsplit(link["href"]).query)["run"] == [runs["small"].run_id, runs["large"].run_id]
    clear = urlsplit(soup.find("a", string="Clear selection")["href"])
    assert parse_qs(clear.query) == {"q": ["llama"]}
    leave_out = urlsplit(soup.find("a", string="leave out")["href"])
    assert parse_qs(leave_out.query)["run"] == [runs["large"].run_id]


def test_runs_that_are_not_in_the_log_are_left_out_with_a_note(client: FlaskClient, runs: dict[str, Run]) -> None:
    soup = page(client, f"?{selection(runs['small'])}&run=gone")
    assert "1 of the runs in the address is not in the log: gone" in words(soup)
    assert "gone" not in [box["value"] for box in soup.select("[name=run]")]


def test_more_runs_than_can_be_compared_is_said(client: FlaskClient, run_log: RunLog, runs: dict[str, Run]) -> None:
    many = [Run(**{**runs["small"].as_dict(), "run_id": f"run{number}"}) for number in range(MAX_COMPARED + 1)]
    for run in many:
        run_log.append(run)
    soup = page(client, f"?{selection(*many)}", status=400)
    assert "up to 12 runs" in words(soup.select_one("[role=alert]"))
    assert len(soup.select("table.compared thead th")) == MAX_COMPARED


def test_charts_say_what_does_not_fit(estimates: dict[str, Run]) -> None:
    run = estimates["too_large"]
    run = Run(**{**run.as_dict(), "results": {**run.results, "output_tokens_per_s": {"value": None}}})
    both = compared([estimates["small"], run])
    figure = throughput_figure(both)
    go.Figure(figure)
    assert figure["data"][0]["y"][1] is None
    assert [(note["x"], note["text"]) for note in figure["layout"]["annotations"]] == [("B", "does not fit")]


@pytest.mark.parametrize("count", [0, 1, 12])
def test_figures_are_valid_for_any_number_of_runs(estimates: dict[str, Run], count: int) -> None:
    runs = compared([estimates["saturated"]] * count)
    for figure in (memory_figure(runs), throughput_figure(runs), user_rate_figure(runs)):
        go.Figure(figure)
        assert all(len(trace["x"]) == len(trace["y"]) == count for trace in figure["data"])


def test_bars_add_up_to_the_total_and_the_line_is_the_capacity(estimates: dict[str, Run]) -> None:
    *parts, capacity = memory_figure(compared([estimates["large"]]))["data"]
    memory = estimates["large"].results["memory_bytes_per_gpu"]
    assert sum(part["y"][0] for part in parts) == pytest.approx(memory["total"] / 2**30)
    assert capacity["y"] == [memory["capacity"] / 2**30]


def test_the_lines_of_the_comparison(estimates: dict[str, Run]) -> None:
    both = compared([estimates["small"], estimates["large"]])
    inputs = {line.label: line for line in input_lines(both)}
    assert inputs["Number of GPUs"].cells == ["automatic", "4"]
    assert inputs["Prompt"].cells == ["1,024", "1,024"]
    assert not inputs["Prompt"].differs
    results = {(line.label, line.unit): line.cells for line in result_lines(both)}
    assert results["Fits", ""] == ["yes", "yes"]
    assert "unknown" not in results["TTFT", "ms"]
    assert ("MFU", "") not in results


def test_training_and_plans_are_compared_by_their_own_numbers() -> None:
    trained = [train_run({"num_gpus": count}, source="cli") for count in (8, 16)]
    results = {(line.label, line.unit): line.cells for line in result_lines(compared(trained))}
    assert results["MFU", ""] == [formatting.percent(run.results["mfu"]["value"]) for run in trained]
    assert results["GPUs", ""] == ["8", "16"]
    assert ("TTFT", "ms") not in results
    planned = compared([plan_run({"gpu": "l40s", "concurrency": users}, source="cli") for users in (50, 500)])
    results = {(line.label, line.unit): line.cells for line in result_lines(planned)}
    best = [one.run.results["plans"][0] for one in planned]
    assert results["Cost", "per hour"] == [formatting.usd(one["usd_per_hour"]["value"]) for one in best]
    assert results["GPUs", ""] == [str(one["num_gpus"]) for one in best]
    assert planned[0].title == "Plan for meta-llama/Llama-3.1-8B-Instruct"
    assert "Peak factor" in {line.label for line in input_lines(planned)}


def test_what_a_kind_of_run_has_no_place_for_is_a_dash_and_what_is_not_known_says_so(estimates: dict[str, Run]) -> None:
    both = compared([estimates["small"], train_run({"gpu": "t4", "num_gpus": 1, "precision": "fp16"}, source="cli")])
    results = {(line.label, line.unit): line.cells for line in result_lines(both)}
    assert results["TTFT", "ms"][1] == results["MFU", ""][0] == "–"
    assert results["Training run", "USD"] == ["–", "unknown"], "a GPU without a price"
    inputs = {line.label: line.cells for line in input_lines(both)}
    assert inputs["Output"][1] == inputs["Optimizer"][0] == "–"
    assert inputs["Number of GPUs"] == ["automatic", "1"]


# CSV


def test_the_csv_file_holds_all_rows_that_match(client: FlaskClient, runs: dict[str, Run]) -> None:
    response = client.get("/visualize.csv?q=llama&sort=gpu&per_page=25")
    assert response.mimetype == "text/csv"
    lines = list(csv.DictReader(io.StringIO(response.get_data(as_text=True), newline="")))
    assert [line["run_id"] for line in lines] == [runs["small"].run_id, runs["saturated"].run_id]


def test_a_bad_address_of_the_csv_file_is_refused(client: FlaskClient) -> None:
    response = client.get("/visualize.csv?from=xyz")
    assert response.status_code == 400
    assert "from" in response.get_data(as_text=True)
