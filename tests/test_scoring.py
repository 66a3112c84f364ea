"""The rules of judging, on tables small enough to add up by hand."""

from __future__ import annotations

import math

import pytest

from app.accuracy.scoring import Judged, by_source, figures, headlines, metric_class

ROW = {"source": "a", "metric": "ttft_ms", "value": "10", "concurrency": "4", "notes": ""}


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "ttft"),
        ({"metric": "itl_ms"}, "tpot"),
        ({"metric": "decode_tokens_per_s"}, "throughput"),
        ({"metric": "mfu"}, "train_mfu"),
        ({"metric": "colour"}, None),
        ({"value": ""}, None),
        ({"value": "0"}, None),
        ({"notes": "FLAG=early_eos; rest"}, None),
        ({"notes": "8 users; tuning=slow"}, None),
        ({"notes": "prefix caching on"}, None),
        ({"source": "dstack-benchmarks-pd-ratio"}, None),
        ({"concurrency": "saturated"}, None),
        ({"concurrency": ""}, None),
        ({"concurrency": "saturated", "metric": "tpot_ms"}, "tpot"),
        ({"concurrency": "", "metric": "requests_per_s"}, "throughput"),
    ],
    ids=str,
)
def test_which_measurements_count_and_for_which_class(changes: dict[str, str], expected: str | None) -> None:
    assert metric_class(ROW | changes) == expected


def judged(source: str, ratios: list[float], name: str = "tpot") -> list[Judged]:
    """Measurements of 100 with predictions so many times larger, ranges from half to double the prediction."""
    return [Judged(source, name, 100.0, 100 * r, 50 * r, 200 * r) for r in ratios]


def test_the_figures_of_a_group_are_medians_over_its_predicted_rows() -> None:
    found = figures([*judged("a", [1.1, 0.8, 4.0]), Judged("a", "tpot", 5.0), Judged("a", "tpot", 5.0, math.inf)])
    assert (found.rows, found.predicted, found.coverage) == (5, 3, 0.6)
    assert found.median == pytest.approx(0.2)
    assert found.p90 == pytest.approx(3.0)
    assert found.bias == pytest.approx(math.log(1.1))
    assert found.within_range == pytest.approx(2 / 3)


def test_a_group_without_predictions_has_no_error() -> None:
    found = figures([Judged("a", "tpot", 5.0), Judged("a", "tpot", 5.0, 0.0)])
    assert (found.median, found.p90, found.bias, found.within_range, found.coverage) == (None, None, None, None, 0.0)


def test_a_big_source_does_not_hide_a_small_one() -> None:
    found = headlines(judged("big", [1.1] * 1000) + judged("small", [1.5] * 8))["tpot"]
    assert found.mean_of_source_medians == pytest.approx(0.3)
    assert found.sources == 2
    assert found.pooled.median == pytest.approx(0.1)


def test_few_rows_and_tuning_studies_have_no_say_in_the_headline() -> None:
    rows = judged("a", [1.1] * 8) + judged("b", [9.0] * 7) + judged("gpustack-lab", [9.0] * 50)
    found = headlines(rows)["tpot"]
    assert found.mean_of_source_medians == pytest.approx(0.1)
    assert found.pooled.rows == 15
    assert ("gpustack-lab", "tpot") in by_source(rows)


def test_each_class_has_its_own_headline_in_the_order_of_the_page() -> None:
    found = headlines(judged("a", [1.2] * 8, "power") + judged("a", [1.3] * 8, "throughput"))
    assert list(found) == ["throughput", "power"]
    assert [one.mean_of_source_medians for one in found.values()] == pytest.approx([0.3, 0.2])
