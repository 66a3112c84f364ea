"""The charts of many runs: what is drawn of which run, views as addresses, and runs calculated again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import plotly.graph_objects as go
import pytest
from bs4 import BeautifulSoup
from flask import Flask
from flask.testing import FlaskClient

from app.charts.history_view import COLOURS, view_figure
from app.factory import create_app
from app.history import view as history_view
from app.history.run_log import Run
from app.history.table import Point
from app.history.view import CHARTS, MEASURES, SAVED, USED, View
from app.runs import estimate_run, plan_run
from tests.pages import soup, words

HOUR = 3_600_000


def point(number: int, **changes: object) -> Point:
    known = Point(
        run_id=f"run-{number}", milliseconds=number * HOUR, kind="estimate", source="web", model="Llama",
        gpu_name="H100", num_gpus=2.0, layout="TP 2", engine_name="vLLM", precision="bf16", fits=True,
        input_tokens=1000.0,
        output_tokens=200.0, concurrency=8.0, used_bytes=64.0 * 2**30, ttft_ms=100.0, tpot_ms=10.0, tokens_per_s=800.0,
        tokens_per_s_per_user=100.0, usd_per_hour=7.2,
    )  # fmt: skip
    return known._replace(**changes)


def drawn(points: list[Point], **view: str) -> go.Figure:
    return go.Figure(view_figure(points, View(**view)))


def test_a_point_of_the_scatter_stands_where_its_numbers_are_and_has_the_colour_of_its_group() -> None:
    points = [point(1), point(2, gpu_name="L40S", ttft_ms=400.0), point(3, ttft_ms=None), point(4, tokens_per_s=0.0)]
    figure = drawn(points, chart="scatter", x="ttft", y="tokens", by="gpu")
    assert [trace.name for trace in figure.data] == ["H100", "L40S"]
    assert [list(trace.x) for trace in figure.data] == [[100.0], [400.0]]
    assert (figure.layout.xaxis.type, figure.layout.yaxis.type) == ("log", "log")
    linear = drawn(points, chart="scatter", x="ttft", y="tokens", by="gpu", xs="linear", ys="linear")
    assert [len(trace.x) for trace in linear.data] == [2, 1]  # Zero can be drawn now.


def test_groups_beyond_the_colours_share_one() -> None:
    points = [point(n, model=f"model {n}") for n in range(COLOURS + 5)]
    figure = drawn(points, chart="scatter", by="model")
    assert len(figure.data) == COLOURS + 1 and figure.data[-1].name == "others" and len(figure.data[-1].x) == 5


def test_bars_and_cells_are_medians_of_their_groups() -> None:
    points = [
        point(n, ttft_ms=ms, gpu_name=gpu) for n, (ms, gpu) in enumerate([(10, "A"), (30, "A"), (90, "A"), (5, "B")])
    ]
    bars = drawn(points, chart="bar", y="ttft", by="gpu").data[0]
    assert (list(bars.x), list(bars.y), list(bars.text)) == (["A", "B"], [30, 5], ["3 runs", "1 runs"])
    heat = drawn(points, chart="heat", y="ttft", by="gpu", across="model").data[0]
    assert (list(heat.x), list(heat.y), [list(row) for row in heat.z]) == (["Llama"], ["A", "B"], [[30], [5]])


def test_the_trend_is_in_the_order_of_time() -> None:
    trace = drawn([point(3), point(1)], chart="trend", y="ttft").data[0]
    assert list(trace.x) == ["1970-01-01 01:00:00", "1970-01-01 03:00:00"]


def test_a_line_of_the_parallel_coordinates_goes_from_the_bottom_to_the_top_of_each_axis() -> None:
    figure = drawn(
        [point(1, ttft_ms=1.0), point(2, ttft_ms=10.0), point(3, ttft_ms=100.0)], chart="parallel", by="model"
    )
    trace = figure.data[0]
    heights = [y for x, y in zip(trace.x, trace.y, strict=True) if x == MEASURES["ttft"].title]
    assert heights == pytest.approx([0, 0.5, 1])
    assert {y for x, y in zip(trace.x, trace.y, strict=True) if x == MEASURES["tpot"].title} == {0.5}  # All alike.


@pytest.mark.parametrize("chart", CHARTS)
def test_every_chart_can_be_drawn_of_nothing_and_of_what_is_not_known(chart: str) -> None:
    unknown = dict.fromkeys(name for name, kind in Point.__annotations__.items() if "None" in str(kind))
    for points in ([], [point(1, **unknown)], [point(1, model="<b>&", gpu_name="")]):
        figure = json.dumps(view_figure(points, View(chart)))
        assert "<b>" not in figure


def test_costs_are_derived_from_price_and_speed() -> None:
    assert history_view.token_cost(point(1)) == pytest.approx(7.2 / 3600 / 800 * 1e6)
    assert history_view.token_cost(point(1, usd_per_hour=None)) is None
    assert MEASURES["gpu_tokens"].of(point(1)) == 400


# ---- the page


@pytest.fixture
def app(tmp_path: Path) -> Flask:
    return create_app({"LOG_DIR": tmp_path / "logging", "DATA_DIR": tmp_path / "data", "TESTING": True})


@pytest.fixture
def client(app: Flask) -> FlaskClient:
    return app.test_client()


@pytest.fixture
def logged(app: Flask) -> Run:
    run = estimate_run({"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm"}, source="web")
    app.extensions["run_log"].append(run)
    return run


def page(client: FlaskClient, query: str) -> BeautifulSoup:
    answer = client.get(f"/visualize{query}")
    assert answer.status_code == 200
    return soup(answer.text)


@pytest.mark.parametrize(("label", "view"), SAVED, ids=[label for label, _ in SAVED])
def test_an_offered_view_is_a_link_that_draws_it(client: FlaskClient, logged: Run, label: str, view: View) -> None:
    link = next(a for a in page(client, "").select("#chart a") if a.text == label)
    shown = page(client, link["href"].removeprefix("/visualize").partition("#")[0])
    assert shown.select_one("script[data-chart=points-chart]") is not None
    assert shown.select_one(f"#chart select[name=chart] option[value={view.chart}]").has_attr("selected")
    asked = {select["name"] for select in shown.select("#chart select")}
    assert asked == {"chart", *USED[view.chart]}


def test_drawing_keeps_filters_and_ticks(client: FlaskClient, logged: Run) -> None:
    form = page(client, f"?q=llama&run={logged.run_id}&chart=bar&by=engine").select_one("#chart form")
    kept = {(field["name"], field["value"]) for field in form.select("input[type=hidden]")}
    assert {("q", "llama"), ("run", logged.run_id), ("by", "engine")} <= kept | {("by", "engine")}
    assert form.select_one("select[name=by] option[selected]")["value"] == "engine"


@pytest.mark.parametrize("query", ["chart=pie", "chart=bar&y=beauty", "chart=scatter&xs=cubic", "drift=perhaps"])
def test_what_cannot_be_drawn_is_named(client: FlaskClient, logged: Run, query: str) -> None:
    answer = client.get(f"/visualize?{query}")
    assert answer.status_code == 400
    assert "is not one of the choices" in words(soup(answer.text).select_one(".problem"))


def test_a_run_of_today_has_not_drifted(client: FlaskClient, logged: Run) -> None:
    compared = page(client, f"?run={logged.run_id}")
    link = next(a for a in compared.select("#compare a") if "today's version" in a.text)
    rows = page(client, link["href"].removeprefix("/visualize").partition("#")[0]).select(
        "[aria-labelledby=drift] tbody tr"
    )
    assert len(rows) >= 4 and {row.select("td")[-1].text for row in rows} == {"same"}


def test_an_old_run_shows_by_how_much_its_numbers_moved(app: Flask, client: FlaskClient, logged: Run) -> None:
    ttft = logged.results["ttft_ms"]
    old = dataclasses.replace(
        logged, run_id=logged.run_id[:-1] + "0", app_version="0.0.1",
        results=logged.results | {"ttft_ms": ttft | {"value": ttft["value"] * 2}},
    )  # fmt: skip
    app.extensions["run_log"].append(old)
    first = page(client, f"?run={old.run_id}&drift=yes").select("[aria-labelledby=drift] tbody tr")[0]
    assert words(first).startswith("A 0.0.1") and words(first).endswith("-50.0%")


def test_runs_that_cannot_be_calculated_again_say_why(app: Flask, client: FlaskClient, logged: Run) -> None:
    unknown = dataclasses.replace(logged, run_id=logged.run_id[:-1] + "1", inputs=logged.inputs | {"model": "gone"})
    plan = plan_run({"model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm", "concurrency": 8}, source="web")
    for run in (unknown, plan):
        app.extensions["run_log"].append(run)
    rows = page(client, f"?run={unknown.run_id}&run={plan.run_id}&drift=yes").select("[aria-labelledby=drift] tbody tr")
    assert "refuses it" in words(rows[0]) and "not calculated again" in words(rows[1])
