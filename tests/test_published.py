"""The published measurements that ship: whole, sourced, readable; and the lengths of tasks that tables leave out."""

from __future__ import annotations

import gzip
from pathlib import Path

import pytest

from app import catalog
from app.calculations.uncertainty import METRIC_CLASS
from app.measurements import published
from app.measurements.predictors import kind
from app.measurements.serving import METRICS

MLPERF = {"source": "mlperf-inference-v4.1", "input_tokens": "", "output_tokens": "290.6", "metric": "requests_per_s"}


def test_every_row_names_its_origin_and_has_a_unique_id() -> None:
    table = published.serving()
    assert len(set(table.columns["id"])) == len(table) > 25_000
    assert all(table.columns["source_ref"])
    assert all(table.columns["model"])


def test_every_row_is_of_a_metric_that_is_predicted_with_a_positive_value() -> None:
    table = published.serving()
    assert set(table.columns["metric"]) <= METRICS
    assert all(float(value) > 0 for value in table.columns["value"])
    assert set(METRIC_CLASS) <= METRICS


def test_training_is_held_beside_serving_without_mixing_ids() -> None:
    serving, training, whole = published.serving(), published.training(), published.everything()
    assert len(whole) == len(serving) + len(training) == len(set(whole.columns["id"]))
    assert whole.row(len(serving))["framework"] == training.row(0)["framework"]
    assert whole.row(0)["framework"] == "" and whole.row(len(serving))["engine"] == ""


def test_the_licence_and_origin_of_every_table_are_stated() -> None:
    text = (published.MEASUREMENTS / "README.md").read_text()
    for folder in ("serving/", "memory/", "training/"):
        text = text.replace(folder, "")
    names = [path.name.removesuffix(".csv.gz") for path in published.MEASUREMENTS.rglob("*.csv.gz")]
    stated = [name for name in names if f"`{name}`" in text]
    by_pattern = [name for name in names if name.startswith(("trtllm-", "memory-"))]
    assert sorted({*stated, *by_pattern}) == sorted(names)


def test_tables_of_memory_are_of_known_kinds() -> None:
    assert {kind(set(rows[0])) for rows in published.memory().values()} == {"eager", "kv-capacity", "breakdown"}


def test_the_accelerators_are_those_of_the_catalogue() -> None:
    unknown = set()
    for slug in set(published.serving().columns["gpu"]):
        try:
            catalog.gpu(slug)
        except ValueError:
            unknown.add(slug)
    assert unknown == set()


def test_a_written_table_reads_back_and_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    first, second = tmp_path / "a.csv.gz", tmp_path / "b.csv.gz"
    for path in (first, second):
        published.write(path, ("id", "value"), [("a", 1.5), ("b, quoted", "")])
    assert first.read_bytes() == second.read_bytes()
    assert gzip.decompress(first.read_bytes()) == b'id,value\na,1.5\n"b, quoted",\n'
    assert published.read(first) == (["id", "value"], [["a", "1.5"], ["b, quoted", ""]])


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ({"input_tokens": "128", "output_tokens": "0", "source": "any"}, (128.0, 0.0)),
        (MLPERF | {"notes": "benchmark llama2-70b-99; scenario Offline"}, (290.0, 290.6)),
        (MLPERF | {"notes": "benchmark gptj-99; scenario Server", "output_tokens": ""}, (850.0, 69.0)),
        (MLPERF | {"notes": "benchmark llama3.1-405b; scenario Offline"}, (9428.0, 290.6)),
        ({"source": "mlenergy-leaderboard-v3", "notes": "task gpqa; vLLM"}, (250.0, None)),
        ({"source": "unheard of", "notes": "task gpqa; vLLM"}, (None, None)),
    ],
    ids=["stated", "OpenOrca", "GPT-J", "the task before the rest", "no answer known", "unknown source"],
)
def test_lengths_that_are_not_stated_are_those_of_the_task(
    row: dict[str, str], expected: tuple[float | None, float | None]
) -> None:
    lengths = published.mean_lengths(row)
    assert (lengths.input_tokens, lengths.output_tokens) == expected


def test_a_task_with_beam_search_generates_several_sequences_a_request() -> None:
    """mlcommons/inference language/gpt-j: num_beams 4; the other tasks of MLPerf are greedy."""
    found = published.mean_lengths(MLPERF | {"notes": "benchmark gptj-99; scenario Server"})
    assert found.beam_width == 4 and "beam width 4 taken" in found.assumed[-1]
    assert published.mean_lengths(MLPERF | {"notes": "benchmark llama2-70b-99"}).beam_width == 1


def test_what_is_assumed_is_said_with_its_basis() -> None:
    assumed = published.mean_lengths(MLPERF | {"notes": "benchmark deepseek-r1; scenario Offline"}).assumed
    assert len(assumed) == 1
    assert assumed[0].startswith("input_tokens not stated, 400 taken (reasoned: questions of MMLU-Pro")


def test_no_shipped_row_is_left_without_lengths() -> None:
    bare = {
        row["source"]
        for row in published.serving()
        if None in ((found := published.mean_lengths(row)).input_tokens, found.output_tokens)
    }
    assert bare == set()
