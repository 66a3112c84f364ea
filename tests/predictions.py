"""A file of predictions for the published measurements, made up: what they would be if every error were known."""

from __future__ import annotations

from pathlib import Path

from app.accuracy import crossvalidated
from app.accuracy.crossvalidated import COLUMNS, TAGS
from app.measurements import published

#: What predictions are off by, in turn; the range around them is 0.8 to 1.25 of the prediction.
FACTORS = (1.0, 1.1, 0.9, 2.0)
#: Every so many rows one is not predicted.
NOT_PREDICTED = 50


def cells(number: int, row: int) -> list[str]:
    """The line of a measurement."""
    table = published.everything()
    measured = float(table.columns["value"][row])
    predicted = measured * FACTORS[number % len(FACTORS)]
    numbers = [str(value) for value in (predicted, 0.8 * predicted, 1.25 * predicted, 1.5 * measured)]
    if number % NOT_PREDICTED == NOT_PREDICTED - 1:
        numbers = [""] * 4
    return [table.columns["id"][row], *numbers, TAGS[number % len(TAGS)]]


def write(path: Path, every: int = 1) -> Path:
    """Predictions of every so many of the measurements that count."""
    rows = crossvalidated.scorable()[::every]
    published.write(path, COLUMNS, [cells(number, row) for number, row in enumerate(rows)])
    return path
