"""The measured points nearest to a scenario: what counts as near, why, how fast, and where it is shown."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path

import pytest
from flask.testing import FlaskClient

from app.accuracy import crossvalidated, nearest, scoring
from app.accuracy.nearest import OPEN, SATURATED, Point
from app.runs import estimate_run
from tests import predictions
from tests.pages import soup, words

LLAMA = "meta-llama/Llama-3.1-70B-Instruct"


def wanted(**raw: object) -> Point:
    run = estimate_run(
        {"model": LLAMA, "gpu": "h100-sxm", "tp": 4, "num_gpus": 4, "concurrency": 32} | raw, source="web"
    )
    return nearest.scenario_point(run.inputs, run.results)


@pytest.fixture
def calibrated(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    path: Path = tmp_path_factory.getbasetemp() / "nearest-accuracy.csv.gz"
    if not path.exists():
        predictions.write(path)
    monkeypatch.setattr(crossvalidated, "FILES", (path,))


def test_every_measurement_that_counts_is_in_one_run() -> None:
    members = [row for rows in nearest.index().members for row in rows]
    assert sorted(members) == nearest.scorable()


def test_a_measured_run_is_nearest_to_itself() -> None:
    for number in range(0, len(nearest.index().points), 1000):
        point = nearest.index().points[number]
        assert nearest.distances(point)[number] == 0
        assert nearest.differences(point, point) == []


def test_the_nearest_are_of_the_same_model_gpu_and_engine_where_there_are_some() -> None:
    first, *rest = nearest.nearest(wanted(input_tokens=380, output_tokens=351))
    assert first.title == "Llama-3.1-70B-Instruct on 4 \N{MULTIPLICATION SIGN} H100 SXM5 80GB"
    assert first.source == "mlenergy-leaderboard-v3"
    assert first.distance < 0.01
    assert len(rest) == nearest.COUNT - 1
    assert [one.distance for one in rest] == sorted(one.distance for one in rest)


@pytest.mark.parametrize(
    ("change", "said", "cost"),
    [
        ({"concurrency": 64.0}, "32 in flight per replica not 64 in flight per replica", 0.6),
        ({"input_tokens": 2048.0}, "prompt 1,024 not 2,048", 0.4),
        ({"output_tokens": 512.0}, "output 256 not 512", 0.2),
        ({"weight_bits": 8.0, "weights": "fp8"}, "weights BF16 not FP8", 1.0),
        ({"gpus": 8.0}, "4 GPUs per replica not 8", 1.0),
        ({"engine": "sglang"}, "vLLM not SGLang", 1.5),
        ({"gpu": "other", "bandwidth": 2 * 3.35e12}, "another GPU, 0.50 \N{MULTIPLICATION SIGN} the bandwidth", 1.5),
        ({"model": "other"}, "another model with about the same active parameters", 0.25),
        ({"concurrency": OPEN}, "32 in flight per replica not open-loop arrivals", 2.0),
        ({"concurrency": SATURATED}, "32 in flight per replica not saturated", 2.0),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_a_difference_is_said_with_what_it_costs(change: dict[str, float | str], said: str, cost: float) -> None:
    point = wanted()
    found = nearest.terms(replace(point, **change), point)  # type: ignore[arg-type]
    assert found == {said: pytest.approx(cost)}


def test_the_differences_add_up_to_the_distance() -> None:
    for point in (
        wanted(),
        wanted(model="deepseek-ai/DeepSeek-V3", gpu="h200-sxm", concurrency="saturated", tp=8, num_gpus=8),
    ):
        found = nearest.distances(point)
        for number in range(0, len(found), 97):
            told = nearest.terms(point, nearest.index().points[number])
            assert sum(told.values()) == pytest.approx(found[number], abs=0.05)


def test_what_a_measurement_does_not_state_is_no_agreement() -> None:
    point = wanted()
    unknown = replace(point, model="other", active_params=math.nan, total_params=math.nan, cache_elements=math.nan)
    assert nearest.terms(point, unknown) == {"another model": pytest.approx(2.0)}


def test_replicas_share_the_requests() -> None:
    one = wanted()
    two = wanted(num_gpus=8, dp=2, concurrency=64)
    assert (two.gpus, two.concurrency) == (one.gpus, one.concurrency)


def test_a_model_described_by_hand_is_compared_by_its_size() -> None:
    run = estimate_run({"model": "custom", "gpu": "l4"}, source="web")
    block = nearest.block(run.inputs, run.results)
    assert len(block["runs"]) == nearest.COUNT
    assert block["link"] == {"engine": "vllm"}, "no measurement on an L4"


def test_values_carry_the_cross_validated_prediction(calibrated: None) -> None:
    first = nearest.nearest(wanted(input_tokens=380, output_tokens=351), data=crossvalidated.current())[0]
    assert set(first.values) == {"throughput", "tpot", "energy", "power"}
    assert list(first.values) == [name for name in scoring.CLASS_NAMES if name in first.values]
    for value in first.values.values():
        assert value.predicted is None or round(value.predicted / value.measured, 2) in predictions.FACTORS


def test_a_warm_answer_takes_less_than_20_ms() -> None:
    point = wanted()
    nearest.nearest(point)
    took = []
    for _ in range(5):
        start = time.perf_counter()
        nearest.nearest(point, data=crossvalidated.current())
        took.append(time.perf_counter() - start)
    assert min(took) < 0.020


# ---- the result page


def result(client: FlaskClient, **changes: str) -> str:
    response = client.post("/", data={"model": LLAMA, "gpu": "h100-sxm", **changes}, follow_redirects=True)
    assert response.status_code == 200
    return response.text


def test_the_result_page_shows_them_with_a_link_to_all_of_the_same_gpu_and_engine(
    client: FlaskClient, calibrated: None
) -> None:
    page = soup(result(client))
    section = page.find(id="nearest").find_parent("section")
    assert len(section.find("tbody").find_all("tr")) == nearest.COUNT
    link = section.find("a")
    assert link["href"] == "/accuracy?gpu=h100-sxm&engine=vllm#points"
    assert words(link) == "All measurements of H100 SXM5 80GB with vLLM"
    assert "predicted" in words(section.find("tbody"))
    assert client.get(link["href"]).status_code == 200


def test_before_the_first_calibration_they_are_shown_without_predictions(
    client: FlaskClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(crossvalidated, "FILES", (tmp_path / "none.csv.gz",))
    section = soup(result(client)).find(id="nearest").find_parent("section")
    assert len(section.find("tbody").find_all("tr")) == nearest.COUNT
    assert "predicted" not in words(section.find("tbody"))


def test_a_result_that_does_not_fit_has_them_too(client: FlaskClient) -> None:
    assert 'id="nearest"' in result(client, num_gpus="1")
