"""Prediction against measurement: a table read, predicted row by row, written, and its errors summed up."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from app import scoring
from app.calculations.errors import InvalidInput
from app.measurements import kind, predict
from app.prediction import Prediction

COLUMNS = ("id", "metric", "measured", "predicted", "low", "high", "supported", "reason")
#: Rows whose notes begin with this are doubtful: predicted, but left out of the error figures.
DOUBTFUL = "FLAG="


def read(path: Path) -> tuple[str, list[dict[str, str]]]:
    """The kind of a measurement table and its rows. Raises InvalidInput where the file is no such table."""
    try:
        with path.open(encoding="utf-8", newline="") as file:
            reader = csv.DictReader(file)
            table = kind(set(reader.fieldnames or ()))
            return table, [{key: value or "" for key, value in row.items() if key} for row in reader]
    except OSError as error:
        raise InvalidInput("file", f"{str(path)!r} cannot be read: {error.strerror}.", "a CSV file") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise InvalidInput("file", f"{str(path)!r} is not a CSV table: {error}.", "a CSV file in UTF-8") from None


def predictions(table: str, rows: Iterable[dict[str, str]]) -> Iterator[tuple[dict[str, str], Prediction]]:
    for row in rows:
        for prediction in predict(table, row):
            yield row, prediction


def write(path: Path, found: Iterable[Prediction]) -> None:
    """The predictions as CSV with COLUMNS."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for p in found:
            numbers = ["" if n is None else f"{n:.6g}" for n in (p.predicted, p.low, p.high)]
            writer.writerow([p.id, p.metric, p.measured, *numbers, int(p.supported), p.reason])


@dataclass(frozen=True, slots=True, kw_only=True)
class Summary:
    """Errors of one source and metric: |predicted / measured - 1|, bias as the median of ln(predicted / measured)."""

    source: str
    metric: str
    rows: int
    predicted: int
    median_error: float | None
    p90_error: float | None
    bias: float | None
    within_range: float | None


def summaries(found: Iterable[tuple[dict[str, str], Prediction]]) -> list[Summary]:
    """By source and metric, doubtful rows left out."""
    groups: dict[tuple[str, str], list[Prediction]] = {}
    for row, prediction in found:
        if not (row.get("notes") or "").startswith(DOUBTFUL):
            groups.setdefault((prediction.source, prediction.metric), []).append(prediction)
    return [summary(source, metric, group) for (source, metric), group in sorted(groups.items())]


def summary(source: str, metric: str, group: list[Prediction]) -> Summary:
    found = scoring.figures(
        scoring.Judged(source, metric, p.measured, p.predicted, p.low, p.high) for p in group if p.measured > 0
    )
    return Summary(
        source=source,
        metric=metric,
        rows=len(group),
        predicted=found.predicted,
        median_error=found.median,
        p90_error=found.p90,
        bias=found.bias,
        within_range=found.within_range,
    )
