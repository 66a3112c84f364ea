"""Rows of measurement tables -> what the calculator says of them. One predictor per kind of table."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from app import catalog
from app.calculations import InvalidInput
from app.calculations.allocator import eager_memory
from app.calculations.formats import resolve
from app.calculations.layout_estimate import GIB, formats_of, memory_plan
from app.calculations.memory import largest
from app.calculations.parallelism import Layout
from app.calculations.scenario import ServingScenario
from app.measurements.prediction import Prediction, Row
from app.measurements.serving import precision, predict_serving, weight_precision, whole
from app.measurements.training_prediction import predict_training
from app.scenarios import serving_scenario

MEGABYTE = 1e6
#: The engine's limit of sequences, where a row's notes state one.
MAX_SEQUENCES = re.compile(r"max-num-seqs (\d+)")

#: Memory of a process, by metric of the table.
EAGER_METRICS = {"max_allocated_mb": "allocated", "max_reserved_mb": "reserved", "max_process_vram_mb": "process"}


def kind(columns: set[str]) -> str:
    """Which table has these columns: serving, training, eager, kv-capacity, breakdown. Raises InvalidInput."""
    if {"kv_tokens_or_blocks", "unit"} <= columns:
        return "kv-capacity"
    if {"weights_gib", "activation_peak_gib"} <= columns:
        return "breakdown"
    if {"framework", "micro_batch_size", "metric", "value"} <= columns:
        return "training"
    if {"backend", "batch_size", "metric", "value"} <= columns:
        return "eager"
    if {"engine", "concurrency", "metric", "value"} <= columns:
        return "serving"
    raise InvalidInput(
        "file",
        f"The columns {', '.join(sorted(columns))[:200]} are not those of a measurement table.",
        "tables of serving, training, vLLM cache capacity, vLLM memory, or memory of a process (see docs/accuracy.md)",
    )


def row_notes(row: Row) -> str:
    return row.get("notes") or ""


# --- memory -----------------------------------------------------------------------------------------------------


def predict_kv_capacity(row: Row) -> Iterator[Prediction]:
    """Tokens that vLLM's cache holds after start-up."""
    block = 16 if row["unit"] == "blocks16" else 1
    base = Prediction(
        id=row["id"],
        source="vllm-kv-capacity",
        metric="kv_cache_tokens",
        measured=float(row["kv_tokens_or_blocks"]) * block,
    )
    if not row["gpu"]:
        yield replace(base, reason="the accelerator is not stated")
        return
    scenario, layout = vllm_run(row, row.get("vllm_version", ""), kv_precision=precision(row["kv_precision"]))
    plan = memory_plan(scenario, layout, formats_of(scenario))
    tokens = largest(lambda count: plan.fits(1, count), 1_000_000_000)
    yield replace(base, predicted=float(tokens // block * block))


def predict_breakdown(row: Row) -> Iterator[Prediction]:
    """Weights, everything but the cache, and the cache per GPU in GiB, as vLLM logs them."""
    scenario, layout = vllm_run(row, row["engine_version"])
    plan = memory_plan(scenario, layout, formats_of(scenario))
    weights = plan.stage_weights[0]
    fixed = weights + plan.activations + plan.runtime
    parts = [row[name] for name in ("weights_gib", "non_torch_gib", "activation_peak_gib")]
    measured = {
        "weights_gib": row["weights_gib"],
        "non_kv_gib": str(sum(map(float, parts))) if all(parts) else "",
        "kv_cache_gib": row["kv_cache_gib"],
    }
    predicted = {"weights_gib": weights, "non_kv_gib": fixed, "kv_cache_gib": plan.capacity(weights) - fixed}
    for metric, value in measured.items():
        if value:
            yield Prediction(
                id=f"{row['id']}-{metric}",
                source="vllm-memory-breakdown",
                metric=metric,
                measured=float(value),
                predicted=predicted[metric] / GIB,
            )


def vllm_run(row: Row, version: str, **inputs: object) -> tuple[ServingScenario, Layout]:
    """A row of vLLM's log as a scenario: its era decides the defaults, the old one profiled the whole model length.

    The model is what its publisher offered at the time.
    """
    tp, pp = whole(row["tp"]) or 1, whole(row.get("pp", "")) or 1
    old = is_old_vllm(version)
    longest = whole(row.get("max_model_len", "")) or 0
    raw: dict[str, object] = {
        "model": row["model"],
        "gpu": row["gpu"],
        "engine": "vllm-v0" if old else "vllm",
        "num_gpus": tp * pp,
        "tp": tp,
        "pp": pp,
        "dp": 1,
        "weight_precision": weight_precision(row),
        "memory_utilization": row["gpu_memory_utilization"] or None,
        "max_batched_tokens": max(2048, longest) if old and longest else None,
        "max_sequences": limit[1] if (limit := MAX_SEQUENCES.search(row_notes(row))) else None,
        **inputs,
    }
    scenario, _ = serving_scenario(raw)
    model = catalog.revision(scenario.model.name, month_of(version))
    return replace(scenario, model=model), Layout(tp=tp, pp=pp)


def month_of(version: str) -> str:
    """The month (YYYY-MM) that a version states, else ""."""
    found = re.search(r"\b20\d\d-\d\d", version)
    return found.group() if found else ""


def is_old_vllm(version: str) -> bool:
    """Whether it is the first engine (V0): before 0.8 or February 2025, or not said (most logs are of 2024)."""
    if "V1" in version:
        return False
    number = re.search(r"\b0\.(\d+)", version)
    month = month_of(version)
    if number:
        return int(number.group(1)) < 8
    return month < "2025-02"


def predict_eager(row: Row) -> Iterator[Prediction]:
    """Memory of a process that runs a model with Transformers."""
    base = Prediction(id=row["id"], source=row["source"], metric=row["metric"], measured=float(row["value"]))
    if row["metric"] not in EAGER_METRICS:
        yield replace(base, reason=f"metric {row['metric']} is not predicted")
        return
    model, gpu = catalog.model(row["model"]), catalog.gpu(row["gpu"])
    notes = row_notes(row)
    gpus = int(found.group(1)) if (found := re.search(r"\b(\d+) x ", notes)) else 1
    version = re.search(r"transformers (\d+)\.(\d+)", notes)
    doubled = version is not None and (int(version.group(1)), int(version.group(2))) < (4, 36)
    memory = eager_memory(
        model,
        resolve(model, gpu, weights=precision(row["weight_precision"]), activations="auto", kv_cache="auto"),
        batch=whole(row["batch_size"]) or 1,
        input_tokens=whole(row["input_tokens"]) or 1,
        output_tokens=whole(row["output_tokens"]) or 0,
        gpus=gpus,
        device_bytes=gpu.memory_bytes,
        cache_copies=2 if doubled else 1,
        fused_attention=row["backend"] != "autoawq",
    )
    yield replace(base, predicted=getattr(memory, EAGER_METRICS[row["metric"]]) / MEGABYTE)


PREDICTORS: Mapping[str, Callable[[Row], Iterator[Prediction]]] = {
    "serving": predict_serving,
    "training": predict_training,
    "eager": predict_eager,
    "kv-capacity": predict_kv_capacity,
    "breakdown": predict_breakdown,
}


def predict(table: str, row: Row) -> list[Prediction]:
    """The predictions of a row; one that cannot be predicted says why."""
    try:
        return list(PREDICTORS[table](row))
    except InvalidInput as error:
        return [unsupported(row, error.message)]
    except (KeyError, ValueError) as error:
        return [unsupported(row, f"the row cannot be read: {error}")]


def unsupported(row: Row, reason: str) -> Prediction:
    value = row.get("value") or row.get("kv_tokens_or_blocks") or row.get("weights_gib") or "nan"
    try:
        measured = float(value)
    except ValueError:
        measured = float("nan")
    return Prediction(
        id=row.get("id") or "", source=row.get("source") or "", metric=row.get("metric") or "", measured=measured,
        reason=reason,
    )  # fmt: skip
