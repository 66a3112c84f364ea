"""Predictions beside measurements: the file, the page, its filters and tables, the document."""

from __future__ import annotations

import csv
import dataclasses
import gzip
import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import plotly.graph_objects as go
import pytest
from click.testing import CliRunner
from flask.testing import FlaskClient

from app.accuracy import crossvalidated, scoring
from app.accuracy import document as accuracy_doc
from app.accuracy import page as accuracy_page
from app.accuracy.crossvalidated import COLUMNS, Accuracy
from app.accuracy.query import Query, choices
from app.catalog import DataError
from app.charts.accuracy import accuracy_figure
from app.command_line.main import main
from app.measurements import published
from tests import predictions
from tests.pages import soup, table, words


@pytest.fixture(scope="module")
def path(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return predictions.write(tmp_path_factory.mktemp("accuracy") / "accuracy.csv.gz")


@pytest.fixture(scope="module")
def data(path: Path) -> Accuracy:
    found = crossvalidated.read(path)
    assert found is not None
    return found


@pytest.fixture
def calibrated(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossvalidated, "FILES", (path,))


@pytest.fixture
def not_calibrated(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crossvalidated, "FILES", (tmp_path / "none.csv.gz",))


# ---- the file


def test_the_file_that_ships_can_be_read() -> None:
    found = crossvalidated.current()
    assert found is None or len(found) > 20_000


def test_every_measurement_that_counts_is_held_with_its_prediction(data: Accuracy) -> None:
    assert len(data) == len(crossvalidated.scorable()) > 20_000
    assert data.missing == 0
    row = 9000
    stated = published.serving().row(int(data.rows[row]))
    assert data.measured[row] == float(stated["value"])
    assert data.facets["source"].text(row) == stated["source"]
    assert data.facets["metric"].text(row) == scoring.metric_class(stated)


def test_it_is_held_in_little_memory(data: Accuracy) -> None:
    arrays = [data.rows, data.measured, data.predicted, data.low, data.high, data.roofline]
    assert sum(array.nbytes for array in arrays) + sum(one.codes.nbytes for one in data.facets.values()) < 3_000_000


def test_measurements_added_since_are_counted(tmp_path: Path) -> None:
    found = crossvalidated.read(predictions.write(tmp_path / "half.csv.gz", every=2))
    assert found is not None
    assert found.missing == len(crossvalidated.scorable()) - len(found) > 10_000


def line(identifier: str = "", **changes: str) -> list[str]:
    first = published.serving().columns["id"][crossvalidated.scorable()[0]]
    good = {"id": identifier or first, "predicted": "1", "low": "1", "high": "2", "roofline": "3", "tag": "nearby"}
    return list((good | changes).values())


@pytest.mark.parametrize(
    ("columns", "lines", "said"),
    [
        (COLUMNS[:-1], [line()[:-1]], "columns differ"),
        (COLUMNS, [line("unheard of")], "no measurement has the id 'unheard of'"),
        (COLUMNS, [line(), line()], "an id stands twice"),
        (COLUMNS, [line(tag="far")], "not 'far'"),
        (COLUMNS, [line(predicted="much")], "could not convert string to float: 'much'"),
    ],
    ids=["columns", "unknown id", "twice", "tag", "number"],
)
def test_a_file_that_does_not_fit_is_refused(
    tmp_path: Path, columns: tuple[str, ...], lines: list[list[str]], said: str
) -> None:
    path = tmp_path / "accuracy.csv.gz"
    published.write(path, columns, lines)
    with pytest.raises(DataError, match=said):
        crossvalidated.read(path)


def test_a_row_that_does_not_count_is_refused(tmp_path: Path) -> None:
    ids = published.serving().columns["id"]
    other = next(name for number, name in enumerate(ids) if number not in set(crossvalidated.scorable()))
    published.write(tmp_path / "accuracy.csv.gz", COLUMNS, [line(other)])
    with pytest.raises(DataError, match="is no measurement that counts"):
        crossvalidated.read(tmp_path / "accuracy.csv.gz")


# ---- figures


def test_what_is_the_same_for_a_whole_pair_is_told_from_what_is_not(data: Accuracy) -> None:
    always = dataclasses.replace(data, predicted=1.5 * data.measured)
    for row in accuracy_page.cause_rows(always):
        assert (row.error, row.within_pair) == pytest.approx((0.5, 0.0))
    in_turn = np.where(np.arange(len(data)) % 2 == 0, 1.0, 0.5) * data.measured
    [first, *_] = accuracy_page.cause_rows(dataclasses.replace(data, predicted=in_turn))
    assert first.label == "Throughput" and first.within_pair > 0.1


def test_the_figures_are_those_of_the_rules_of_scoring(data: Accuracy) -> None:
    headlines = scoring.headlines(data.judged())
    for row in accuracy_page.headline_rows(data):
        assert row.ours == headlines[row.name]
        assert row.roofline.mean_of_source_medians == pytest.approx(0.5)
    assert {row.name: row.other.error for row in accuracy_page.headline_rows(data) if row.other} == {
        "throughput": 0.20,
        "tpot": 0.19,
        "ttft": 0.53,
        "e2e": 0.25,
    }


@pytest.mark.parametrize(
    ("query", "facets"),
    [
        (Query(), {}),
        (Query(metric="ttft", engine="vllm"), {"metric": "ttft", "engine": "vllm"}),
        (Query(gpu="h100-sxm", year="2024", tag="nearby"), {"gpu": "h100-sxm", "year": "2024", "tag": "nearby"}),
        (Query(family="qwen"), {"family": "qwen"}),
        (Query(source="tpu-recipes-v6e"), {"source": "tpu-recipes-v6e"}),
    ],
    ids=["all", "class and engine", "GPU, year, nearness", "family", "source"],
)
def test_a_query_selects_the_rows_that_are_so(data: Accuracy, query: Query, facets: dict[str, str]) -> None:
    rows = np.flatnonzero(query.mask(data))
    expected = [
        row for row in range(len(data)) if all(data.facets[name].text(row) == value for name, value in facets.items())
    ]
    assert rows.tolist() == expected
    assert len(rows) > 0


def test_the_choices_of_a_filter_are_counted_under_the_others(data: Accuracy) -> None:
    found = choices(data, Query(metric="ttft", gpu="h100-sxm"))
    gpus = {one.value: one.count for one in found["gpu"]}
    assert gpus["h100-sxm"] == int(Query(metric="ttft", gpu="h100-sxm").mask(data).sum())
    assert sum(gpus.values()) == int(Query(metric="ttft").mask(data).sum())
    assert found["metric"][0].value == "throughput"


def test_all_sources_of_a_class_stand_first(data: Accuracy) -> None:
    rows = accuracy_page.source_rows(data, Query(metric="throughput"))["throughput"]
    assert rows[0].source == ""
    assert rows[0].figures.rows == sum(row.figures.rows for row in rows[1:])


def test_where_not_to_trust_is_found_in_the_data(tmp_path: Path) -> None:
    """A GPU whose predictions are made ten times too large is at the top; nothing is fixed by hand."""
    columns = published.everything().columns
    lines = []
    for number, row in enumerate(crossvalidated.scorable()):
        cells = predictions.cells(0, row)
        if columns["gpu"][row] == "l40s" and columns["metric"][row] == "ttft_ms":
            value = 10 * float(columns["value"][row])
            cells[1:4] = [f"{value:.6g}", f"{0.9 * value:.6g}", f"{1.1 * value:.6g}"]
        lines.append([*cells[:-1], crossvalidated.TAGS[number % 3]])
    published.write(tmp_path / "accuracy.csv.gz", COLUMNS, lines)
    data = crossvalidated.read(tmp_path / "accuracy.csv.gz")
    assert data is not None
    worst = accuracy_page.worst_rows(data)["gpu"]
    assert [(row.value, row.name, row.why) for row in worst] == [("l40s", "ttft", ("error", "range"))]


def test_more_points_than_can_be_seen_are_thinned_evenly_and_always_the_same(data: Accuracy) -> None:
    everything = np.ones(len(data), bool)
    rows = accuracy_page.points(data, everything)
    assert len(rows) == accuracy_page.MOST_POINTS
    assert rows == accuracy_page.points(data, everything) == sorted(set(rows))
    steps = np.diff(rows)
    assert steps.max() <= 2 * steps.mean()
    assert data.is_predicted[rows].all()


def test_the_chart_is_one_that_plotly_takes_and_shows_where_a_point_comes_from(data: Accuracy) -> None:
    mask = Query(metric="ttft", source="tpu-recipes-v6e").mask(data) | Query(metric="power").mask(data)
    figure = accuracy_figure(data, accuracy_page.points(data, mask))
    go.Figure({**figure, "data": [{**one, "line": {}, "marker": {}, "fillcolor": None} for one in figure["data"]]})
    lower, upper, diagonal, *classes = figure["data"]
    assert upper["y"][0] / lower["y"][0] == pytest.approx(1.2 / 0.8)
    assert diagonal["x"] == diagonal["y"]
    assert [one["name"] for one in classes] == ["Time to first token", "Power per GPU"]
    assert {figure["layout"][axis]["type"] for axis in ("xaxis", "yaxis")} == {"log"}
    text = classes[0]["hovertext"][0]
    for part in ("Llama-3.3-70B", "TPU v6e", "vLLM", "prompt", "tpu-recipes-v6e", "ms to the first token"):
        assert part in text


def test_a_chart_without_points_is_still_a_chart(data: Accuracy) -> None:
    assert len(accuracy_figure(data, [])["data"]) == 3


# ---- the page


@pytest.mark.usefixtures("not_calibrated")
def test_before_the_first_calibration_the_page_says_so(client: FlaskClient) -> None:
    response = client.get("/accuracy")
    assert response.status_code == 200
    assert "Not calibrated yet" in response.text
    assert client.get("/accuracy.csv").status_code == 404


@pytest.mark.usefixtures("calibrated")
def test_the_page_has_its_tables_and_says_what_its_figures_are(client: FlaskClient) -> None:
    response = client.get("/accuracy")
    assert response.status_code == 200
    page = soup(response.text)
    assert "left out all measurements of the same model on the same GPU" in words(page.find("header", class_="intro"))
    head = table(page, "headline")
    assert list(head) == list(scoring.CLASS_NAMES.values())
    assert head["Time to first token"][2] == "53 % on 76 % of rows"
    assert words(page.find(id="worst")) == "Where not to trust us"
    assert "3,000 of them are drawn" in words(page.find("div", class_="toolbar"))
    assert page.find("a", href="/accuracy", attrs={"aria-current": "page"}) is not None


@pytest.mark.usefixtures("calibrated")
def test_without_its_chart_the_page_is_small(client: FlaskClient) -> None:
    page = soup(client.get("/accuracy").text)
    page.find("script", attrs={"data-chart": True}).decompose()
    assert len(gzip.compress(str(page).encode())) < 60_000


@pytest.mark.usefixtures("calibrated")
def test_filters_are_kept_in_the_address_and_shown(client: FlaskClient) -> None:
    page = soup(client.get("/accuracy?metric=ttft&gpu=h100-sxm&engine=vllm").text)
    chosen = {
        select["name"]: select.find("option", selected=True)["value"]
        for select in page.select("form.filters select")
        if select.find("option", selected=True)
    }
    assert chosen == {"metric": "ttft", "gpu": "h100-sxm", "engine": "vllm"}
    figure = json.loads(page.find("script", attrs={"data-chart": "accuracy-chart"}).string)
    assert [one.get("name") for one in figure["data"]][3:] == ["Time to first token"]


@pytest.mark.usefixtures("calibrated")
@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/accuracy?metric=speed", 400, "'speed' is not one of the choices"),
        ("/accuracy?tag=far", 400, "'far' is not one of the choices"),
        ("/accuracy?gpu=" + "x" * 300, 400, "is too long"),
        ("/accuracy?gpu=none-such", 200, "No measurement matches"),
        ("/accuracy?source=<script>", 200, "No measurement matches"),
    ],
    ids=["class", "tag", "long", "unknown GPU", "markup"],
)
def test_a_filter_that_means_nothing_is_answered(client: FlaskClient, address: str, status: int, said: str) -> None:
    response = client.get(address)
    assert response.status_code == status
    assert said in soup(response.text).get_text()
    assert "<script>&" not in response.text


@pytest.mark.usefixtures("calibrated")
def test_what_is_selected_can_be_had_as_a_table(client: FlaskClient, data: Accuracy) -> None:
    response = client.get("/accuracy.csv?source=tpu-recipes-v6e")
    rows = list(csv.DictReader(io.StringIO(response.text)))
    assert len(rows) == int(Query(source="tpu-recipes-v6e").mask(data).sum())
    assert {row["source"] for row in rows} == {"tpu-recipes-v6e"}
    assert all(float(row["value"]) > 0 for row in rows)
    assert client.get("/accuracy.csv?metric=speed").status_code == 400


# ---- the document


def test_the_document_is_not_stale() -> None:
    text = accuracy_doc.DOCUMENT.read_text(encoding="utf-8")
    assert accuracy_doc.updated(text, crossvalidated.current()) == text, "run python -m app accuracy"


@pytest.fixture
def document(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    path = tmp_path / "accuracy.md"
    path.write_text(f"before\n{accuracy_doc.BEGIN}\n{accuracy_doc.END}\nafter\n")
    monkeypatch.setattr(accuracy_doc, "DOCUMENT", path)
    return path


@pytest.fixture
def command(tmp_path: Path) -> Callable[..., tuple[int, str]]:
    def run(*options: str) -> tuple[int, str]:
        done = CliRunner().invoke(main, ["accuracy", *options], env={"DATA_DIR": str(tmp_path)})
        return done.exit_code, done.output

    return run


@pytest.mark.usefixtures("calibrated")
def test_the_command_makes_the_tables_and_says_when_they_are_stale(
    document: Path, command: Callable[..., tuple[int, str]]
) -> None:
    assert command("--check") == (1, "docs/accuracy.md is stale.\n")
    assert "|" not in document.read_text()
    assert command() == (0, "docs/accuracy.md was written.\n")
    text = document.read_text()
    assert text.startswith("before\n")
    assert text.endswith("\nafter\n")
    assert "| Throughput | all |" in text
    assert command("--check") == (0, "docs/accuracy.md is up to date.\n")
    assert json.loads(command("--json")[1]) == {"document": "accuracy.md", "stale": False, "written": False}


def test_a_document_without_the_marks_is_refused(document: Path, command: Callable[..., tuple[int, str]]) -> None:
    document.write_text("nothing")
    code, said = command()
    assert code == 2
    assert "lacks the lines" in said
