"""Prediction against measurement: tables are recognised, every row gets an answer or a reason, errors are summed up."""

import csv
import statistics
from pathlib import Path

import pytest
from click.testing import CliRunner

from app import catalog
from app.accuracy import scoring, validation
from app.calculations import InvalidInput
from app.command_line.main import main
from app.measurements.predictors import is_old_vllm, kind, predict
from app.measurements.serving import run_of

DATA = Path(__file__).parent / "data"

SERVING = {
    "id": "a", "source": "s", "model": "meta-llama/Llama-3.1-8B-Instruct", "gpu": "h100-sxm", "num_gpus": "1",
    "tp": "1", "pp": "", "ep": "", "dp": "", "engine": "vllm", "engine_version": "", "weight_precision": "bf16",
    "activation_precision": "", "kv_precision": "", "input_tokens": "1024", "output_tokens": "256", "concurrency": "16",
    "metric": "tpot_ms", "value": "10", "notes": "",
}  # fmt: skip


def test_the_shipped_table_of_vllms_memory_is_met():
    table, rows = validation.read(DATA / "vllm-memory.csv")
    found = {one.metric: one for one in validation.summaries(validation.predictions(table, rows)) if one.metric}
    assert found["weights_gib"].median_error < 0.01
    assert found["non_kv_gib"].median_error < 0.10
    assert found["kv_cache_gib"].median_error < 0.03


def test_each_row_of_vllms_memory_is_met():
    """Weights within 1 %, all but the cache within 10 %."""
    table, rows = validation.read(DATA / "vllm-memory.csv")
    found = [one for row in rows for one in predict(table, row)]
    allowed = {"weights_gib": 0.01, "non_kv_gib": 0.10}
    judged = [one for one in found if one.metric in allowed]
    assert len(judged) == 17
    assert [one.id for one in judged if one.predicted != pytest.approx(one.measured, rel=allowed[one.metric])] == []


def test_a_checkpoint_is_what_its_publisher_offered_at_the_time():
    """vLLM of July 2024 logged 57.75 GiB of weights on each of eight: 16 key/value heads, 8 since August."""
    name = "meta-llama/Llama-3.1-405B-Instruct-FP8"
    first, today = catalog.revision(name, "2024-07"), catalog.revision(name, "")
    assert (first.cache_elements_per_token, today.cache_elements_per_token) == (126 * 2 * 16 * 128, 126 * 2 * 8 * 128)
    assert catalog.revision(name, "2024-08") is today is catalog.model(name)


@pytest.mark.parametrize(
    ("changes", "supported", "reason"),
    [
        ({}, True, ""),
        ({"metric": "itl_ms"}, True, ""),
        ({"metric": "decode_tokens_per_s"}, True, ""),
        ({"metric": "prefill_tokens_per_s"}, True, ""),
        ({"engine": "lightspeed"}, True, "engine lightspeed is not known, predicted as vLLM"),
        ({"input_tokens": ""}, True, "input_tokens not stated"),
        ({"concurrency": "saturated", "metric": "output_tokens_per_s"}, True, ""),
        ({"model": "nobody/nothing-1b"}, False, "not known"),
        ({"weight_precision": "int3"}, False, "'int3' is not known"),
        ({"metric": "happiness"}, False, "happiness is not predicted"),
        ({"model": "deepseek-ai/DeepSeek-V3"}, True, "does not fit by our estimate"),
        ({"value": "fast"}, False, "cannot be read"),
        ({"output_tokens": "1"}, False, "not defined for this run"),
    ],
)
def test_every_row_gets_a_prediction_or_a_reason(changes, supported, reason):
    (found,) = predict("serving", SERVING | changes)
    assert found.supported is supported and reason in found.reason
    assert found.predicted is None or found.predicted > 0


def test_attention_data_parallelism_of_a_mixture_is_laid_out_as_its_notes_say():
    notes = "doc llm_options enable attention DP for MoE models"
    row = SERVING | {"engine": "trtllm", "num_gpus": "8", "tp": "8", "notes": notes}
    mixture = dict(run_of(row | {"model": "Qwen/Qwen3-30B-A3B"}).inputs)
    assert (mixture["tp"], mixture["dp"], mixture["ep"]) == (1, 8, 8)
    dense = dict(run_of(row).inputs)
    assert (dense["tp"], dense["dp"], dense["ep"]) == (8, None, None)


def test_a_perfect_table_has_no_error(tmp_path):
    (exact,) = predict("serving", SERVING)
    rows = [SERVING | {"value": str(exact.predicted)}, SERVING | {"value": "1", "notes": "FLAG=doubtful"}]
    (found,) = validation.summaries(validation.predictions("serving", rows))
    assert (found.rows, found.predicted, found.within_range) == (1, 1, 1.0)
    assert found.median_error == pytest.approx(0, abs=1e-9)
    assert found.bias == pytest.approx(0, abs=1e-9)


def test_twice_the_measurement_is_an_error_of_one(tmp_path):
    (exact,) = predict("serving", SERVING)
    half = SERVING | {"value": str(exact.predicted / 2)}
    (found,) = validation.summaries(validation.predictions("serving", [half]))
    assert found.median_error == pytest.approx(1) and found.bias == pytest.approx(0.693, abs=1e-3)


def test_the_command_writes_the_contracts_columns(tmp_path):
    table = tmp_path / "serving.csv"
    with table.open("w", newline="") as file:
        writer = csv.DictWriter(file, SERVING)
        writer.writeheader()
        writer.writerows([SERVING, SERVING | {"id": "b", "model": "nobody/nothing-1b"}])
    output = tmp_path / "predictions.csv"
    done = CliRunner().invoke(main, ["validate", str(table), "--output", str(output)])
    assert done.exit_code == 0 and "s tpot_ms" in done.stdout
    with output.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["id", "metric", "measured", "predicted", "low", "high", "supported", "reason"]
    assert [row["supported"] for row in rows] == ["1", "0"]
    assert rows[1]["reason"]


@pytest.mark.parametrize("content", [b"a,b\n1,2\n", b"", b"\xff\xfe\x00", b"\x00" * 100])
def test_a_file_that_is_no_measurement_table_is_refused(tmp_path, content):
    path = tmp_path / "table.csv"
    path.write_bytes(content)
    with pytest.raises(InvalidInput):
        validation.read(path)
    done = CliRunner().invoke(main, ["validate", str(path)])
    assert done.exit_code == 2 and "file" in done.stderr


def test_a_file_that_is_not_there_is_named():
    done = CliRunner().invoke(main, ["validate", "/nowhere/table.csv"])
    assert done.exit_code == 2 and "/nowhere/table.csv" in done.stderr


@pytest.mark.parametrize(
    ("version", "old"),
    [("vllm 0.11.0", False), ("0.6.1", True), ("main 2024-12", True), ("main 2025-01 (V1)", False), ("", True)],
)
def test_the_era_of_a_vllm_is_read_off_its_version(version, old):
    assert is_old_vllm(version) is old


def test_tables_are_told_apart_by_their_columns():
    assert kind(set(SERVING)) == "serving"
    assert kind({"kv_tokens_or_blocks", "unit"}) == "kv-capacity"
    with pytest.raises(InvalidInput, match="not those of a measurement table"):
        kind({"a"})


#: Median errors on tests/data/serving-sample.csv (six rows of each metric of each public table), without the tuning
#: studies, as errors are summed up everywhere: a change may not worsen one by more than a point.
HEADLINES = {
    "output_tokens_per_s": 0.058,
    "total_tokens_per_s": 0.041,
    "requests_per_s": 0.041,
    "ttft_ms": 0.117,
    "tpot_ms": 0.082,
    "itl_ms": 0.061,
    "e2e_latency_ms": 0.038,
    "decode_tokens_per_s": 0.070,
    "power_w_per_gpu": 0.063,
    "energy_j_per_token": 0.090,
}


def test_accuracy_on_a_fixed_sample_of_published_speeds_does_not_worsen():
    table, rows = validation.read(DATA / "serving-sample.csv")
    errors: dict[str, list[float]] = {}
    for _, one in validation.predictions(table, rows):
        if one.predicted is not None and not one.source.startswith(scoring.UNEVEN):
            errors.setdefault(one.metric, []).append(abs(one.predicted / one.measured - 1))
    for metric, headline in HEADLINES.items():
        assert statistics.median(errors[metric]) <= headline + 0.01, metric
