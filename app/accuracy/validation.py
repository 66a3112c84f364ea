"""Prediction against measurement: a table read, predicted row by row, written, and its errors summed up."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from app.accuracy import scoring
from app.calculations.errors import InvalidInput
from app.measurements.prediction import Prediction
from app.measurements.predictors import kind, predict
from app.own import user_data

COLUMNS = ("id", "metric", "measured", "predicted", "low", "high", "supported", "reason")
#: Rows whose notes begin with this are doubtful: predicted, but left out of the error figures.
DOUBTFUL = "FLAG="
#: Rows that one task of a worker predicts; fewer chunks are not worth starting processes for.
CHUNK, LEAST_CHUNKS = 250, 8


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


Found = tuple[dict[str, str], Prediction]


def predictions(table: str, rows: Iterable[dict[str, str]]) -> Iterator[Found]:
    for row in rows:
        for prediction in predict(table, row):
            yield row, prediction


def predictions_in_parallel(table: str, rows: Sequence[dict[str, str]]) -> Iterator[list[Found]]:
    """The predictions of CHUNK rows at a time in their order, on as many processes as there are cores."""
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    if len(chunks) < LEAST_CHUNKS:
        yield from (list(predictions(table, chunk)) for chunk in chunks)
        return
    task = partial(_predicted, table, user_data.current().directory)
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as workers:
        yield from workers.map(task, chunks)


def _predicted(table: str, directory: Path | None, rows: Sequence[dict[str, str]]) -> list[Found]:
    """What a worker does: it knows the models and accelerators that are saved in `directory`."""
    with user_data.using(user_data.UserData(directory)):
        return list(predictions(table, rows))


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
