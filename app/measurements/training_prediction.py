"""Rows of training tables -> predicted speed or memory with its range."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from app import training_catalog
from app.calculations.training.speed import spread_of, time_of
from app.measurements.prediction import Prediction, Row
from app.measurements.training import SPEEDS, run_of, speed
from app.measurements.training_memory import MEMORY_METRIC, predict_training_memory
from app.measurements.training_notes import is_known


def predict_training(row: Row) -> Iterator[Prediction]:
    """Speed or peak memory, whichever the row measured."""
    return predict_training_memory(row) if row["metric"] == MEMORY_METRIC else predict_training_speed(row)


def predict_training_speed(row: Row) -> Iterator[Prediction]:
    """Step time, tokens per second, MFU, HFU or TFLOPS, counted as the row's source counts."""
    metric = row["metric"]
    base = Prediction(id=row["id"], source=row.get("source", ""), metric=metric, measured=float(row["value"]))
    if metric not in SPEEDS:
        yield replace(base, reason=f"metric {metric} is not predicted")
        return
    run = run_of(row)
    setting, efficiency = run.setting, training_catalog.efficiency()
    assumed = list(run.assumed)
    if not is_known(row):
        assumed.append(f"framework taken as {setting.stack.label}")
    seconds = float(time_of(setting, efficiency).total)
    spread = spread_of(setting, efficiency, training_catalog.spreads(), known=is_known(row))
    ends = sorted(speed(metric, one, run) for one in (spread.around(seconds) if spread else ()))
    low, high = ends if ends else (None, None)
    yield replace(base, predicted=speed(metric, seconds, run), low=low, high=high, reason="; ".join(assumed))
