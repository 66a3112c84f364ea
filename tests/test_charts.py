"""The charts of a result: each is a figure that Plotly accepts, and shows the numbers of the estimate."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest
from plotly import graph_objects

from app.charts.estimate import bound_figure, flops_figure, memory_figure
from app.charts.layout import labelled, largest, log_axis
from app.charts.work import roofline_figure
from app.config import PROJECT
from app.pages.result import figures
from app.runs import estimate_run
from app.show_work import work_of

GIB = 2**30

SCENARIOS: dict[str, dict[str, Any]] = {
    "defaults": {},
    "does not fit": {"model": "meta-llama/Llama-3.1-70B-Instruct", "num_gpus": 1},
    "experts": {"model": "deepseek-ai/DeepSeek-V3", "num_gpus": 16},
    "saturated": {"concurrency": "saturated"},
    "all of the memory": {"memory_utilization": 1},
}


def results(name: str) -> dict[str, Any]:
    return estimate_run(SCENARIOS[name], source="web").results


@pytest.mark.parametrize("name", SCENARIOS)
def test_plotly_accepts_every_figure(name: str) -> None:
    for figure in figures(results(name)).values():
        graph_objects.Figure(figure)
        json.dumps(figure, allow_nan=False)


def lengths(figure: dict[str, Any]) -> dict[str, float]:
    return {bar["name"]: bar["x"][0] for bar in figure["data"]}


def test_the_memory_bar_ends_at_the_memory_of_the_gpu() -> None:
    found = results("defaults")
    bars = lengths(memory_figure(found))
    memory = found["memory_bytes_per_gpu"]
    assert list(bars) == ["Weights", "KV cache", "Activations", "Runtime", "Free", "Reserved"]
    assert bars["Weights"] == pytest.approx(memory["weights"] / GIB)
    assert sum(bars.values()) == pytest.approx(memory["device"] / GIB)
    assert memory_figure(found)["layout"]["shapes"][0]["x0"] == pytest.approx(memory["capacity"] / GIB)


def test_the_memory_bar_of_what_does_not_fit_crosses_the_capacity() -> None:
    found = results("does not fit")
    bars = lengths(memory_figure(found))
    assert "Free" not in bars
    assert sum(bars.values()) > found["memory_bytes_per_gpu"]["capacity"] / GIB
    assert memory_figure(found)["layout"]["xaxis"]["range"][1] > sum(bars.values())


@pytest.mark.parametrize("name", SCENARIOS)
def test_the_shares_of_the_operations_are_a_whole(name: str) -> None:
    figure = flops_figure(results(name))
    for row in (0, 1):
        assert sum(bar["x"][row] for bar in figure["data"]) == pytest.approx(100)


@pytest.mark.parametrize("phase", ["prefill", "decode"])
def test_the_largest_share_of_the_time_stands_out(phase: str) -> None:
    found = results("experts")
    (bar,) = bound_figure(found, phase)["data"]
    seconds = found["bound"][phase]["seconds"]
    assert bar["x"] == pytest.approx([1000 * seconds[key] for key in ("compute", "memory", "network", "host")])
    assert bar["marker"]["color"].index("var(--chart-accent)") == bar["x"].index(max(bar["x"]))


def test_the_largest_of_nothing_is_none() -> None:
    assert largest({}) is None
    assert largest({"a": 0.0}) is None


def test_both_themes_have_every_colour_that_a_figure_names() -> None:
    css = Path(PROJECT / "static" / "app.css").read_text()
    text = json.dumps([figures(results(name)) for name in SCENARIOS])
    named = {part.split(")")[0] for part in text.split("var(")[1:]}
    assert named
    for name in named:
        assert css.count(f"{name}:") == 2, name


def roofline(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    run = estimate_run(SCENARIOS[name], source="web")
    work = work_of(run.inputs, run.results)
    return work, roofline_figure(work)


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "does not fit"])
def test_plotly_accepts_the_roofline(name: str) -> None:
    _, figure = roofline(name)
    graph_objects.Figure(figure)
    json.dumps(figure, allow_nan=False)
    named = {part.split(")")[0] for part in json.dumps(figure).split("var(")[1:]}
    css = Path(PROJECT / "static" / "app.css").read_text()
    assert all(css.count(f"{one}:") == 2 for one in named)


def test_the_roofline_has_a_roof_for_each_peak_and_a_marker_for_each_operator() -> None:
    work, figure = roofline("experts")
    roofs = [trace for trace in figure["data"] if trace["mode"] == "lines"]
    assert sorted(roof["y"][-1] for roof in roofs) == sorted(work["peak_flops_per_s"].values())
    bandwidth = work["memory_bandwidth_bytes_per_s"]
    assert all(roof["y"][0] == pytest.approx(roof["x"][0] * bandwidth) for roof in roofs)
    assert all(roof["y"][1] == pytest.approx(roof["x"][1] * bandwidth) for roof in roofs)
    markers = {trace["name"]: trace for trace in figure["data"] if trace["mode"] == "markers"}
    rows = [row for row in work["steps"]["decode"]["rows"] if row["flops_per_byte"]]
    assert markers["Decode step"]["x"] == [row["flops_per_byte"] for row in rows]
    assert markers["Decode step"]["y"] == [row["flops"] / row["seconds"] for row in rows]
    assert [words[0] for words in markers["Decode step"]["customdata"]] == [row["name"] for row in rows]


@pytest.mark.parametrize(
    ("low", "high", "labels"),
    [
        (17, 58, [15, 20, 30, 40, 50, 60]),
        (3, 4.2, [3, 4, 5]),
        (2, 90, [2, 5, 10, 20, 50, 100]),
        (5, 2000, [1, 10, 100, 1000, 10_000]),
        (20, 20, [20]),
        (1e-6, 1e6, [1e-6, 1e-4, 1e-2, 1, 100, 1e4, 1e6]),
    ],
)
def test_a_logarithmic_axis_is_labelled_at_round_numbers_around_its_values(
    low: float, high: float, labels: list[float]
) -> None:
    assert labelled(low, high) == labels


def test_its_labels_are_written_out() -> None:
    made = log_axis("tokens", [12_000, None, 0, 300, math.inf])
    assert made["ticktext"] == ["200", "500", "1,000", "2,000", "5,000", "10,000", "20,000"]
    assert log_axis("tokens", [None])["tickvals"] == []
