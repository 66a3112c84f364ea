"""Published measurements that ship with the project: compressed tables of `data/measurements`, read once and kept.

A table is held by columns with each text once, so that tens of thousands of rows take a few megabytes; a row is a dict
made when it is asked for, as `measurements.predict` reads it.
"""

from __future__ import annotations

import csv
import gzip
import io
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path

from app import catalog
from app.catalog import DATA, DataError
from app.once import once

MEASUREMENTS = DATA / "measurements"
Row = Mapping[str, str]
SERVING_COLUMNS = (
    "id", "source", "source_ref", "source_date", "model", "gpu", "num_gpus", "tp", "pp", "ep", "dp", "engine",
    "engine_version", "weight_precision", "activation_precision", "kv_precision", "input_tokens", "output_tokens",
    "concurrency", "metric", "value", "notes",
)  # fmt: skip
TRAINING_COLUMNS = (
    "id", "source", "source_ref", "source_date", "model", "n_params", "num_layers", "hidden_size", "num_heads",
    "num_kv_heads", "ffn_size", "vocab_size", "gated_mlp", "num_experts", "experts_per_token", "tied_embeddings",
    "seq_len", "gpu", "num_gpus", "micro_batch_size", "global_batch_size", "grad_accum", "tp", "pp", "vpp", "dp", "cp",
    "ep", "sequence_parallel", "sharding", "precision", "activation_recompute", "framework", "metric", "value", "notes",
)  # fmt: skip
LENGTH_COLUMNS = ("source", "notes", "metric", "input_tokens", "output_tokens", "beam_width", "basis", "reference")


# --- compressed tables ------------------------------------------------------------------------------------------


def write(path: Path, columns: Sequence[str], lines: Iterable[Sequence[object]]) -> None:
    """A CSV table, compressed; the same content gives the same bytes. Raises OSError."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(lines)
    with path.open("wb") as raw, gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as file:
        file.write(text.getvalue().encode())


def read(path: Path) -> tuple[list[str], list[list[str]]]:
    """Header and lines of a compressed CSV table."""
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        lines = csv.reader(file)
        return next(lines), list(lines)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows by columns: `columns[name][i]` is a cell of row i."""

    columns: dict[str, tuple[str, ...]]

    def __len__(self) -> int:
        return len(self.columns["id"])

    def row(self, index: int) -> dict[str, str]:
        return {name: cells[index] for name, cells in self.columns.items()}

    def __iter__(self) -> Iterator[dict[str, str]]:
        return map(self.row, range(len(self)))


def _tables(folder: str, columns: Sequence[str]) -> Table:
    lines: list[list[str]] = []
    for path in sorted((MEASUREMENTS / folder).glob("*.csv.gz")):
        header, found = read(path)
        if tuple(header) != tuple(columns):
            raise DataError(f"{path.name}: columns differ: {set(header) ^ set(columns)}")
        lines.extend(found)
    cells = zip(*lines, strict=True)
    return Table({name: tuple(map(sys.intern, column)) for name, column in zip(columns, cells, strict=True)})


@once
def serving() -> Table:
    """All published measurements of serving speed and power, source by source. Ids are unique."""
    return _tables("serving", SERVING_COLUMNS)


@once
def training() -> Table:
    """All published measurements of training speed and memory, source by source. Ids are unique."""
    return _tables("training", TRAINING_COLUMNS)


@once
def everything() -> Table:
    """Serving, then training; a cell that a table has no column for is empty."""
    parts = (serving(), training())
    names = dict.fromkeys(name for part in parts for name in part.columns)
    return Table(
        {name: tuple(cell for part in parts for cell in part.columns.get(name, ("",) * len(part))) for name in names}
    )


@once
def positions() -> dict[str, int]:
    """Id of a measurement -> its row in `everything()`; a row of serving has the same number in `serving()`."""
    return {identifier: index for index, identifier in enumerate(everything().columns["id"])}


def memory() -> dict[str, list[dict[str, str]]]:
    """Published measurements of memory, by table (three kinds, see docs/accuracy.md)."""
    tables = {}
    for path in sorted((MEASUREMENTS / "memory").glob("*.csv.gz")):
        header, lines = read(path)
        tables[path.name.removesuffix(".csv.gz")] = [dict(zip(header, line, strict=True)) for line in lines]
    return tables


# --- lengths that a table does not state ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Lengths:
    """Mean prompt and answer of a row in tokens, None where nothing is known, and the sequences that were generated for
    each request; `assumed` says what is not the row's."""

    input_tokens: float | None
    output_tokens: float | None
    beam_width: int = 1
    assumed: tuple[str, ...] = ()


@cache
def task_lengths() -> tuple[dict[str, str], ...]:
    return tuple(catalog.rows(DATA / "task_lengths.csv", LENGTH_COLUMNS))


def mean_lengths(row: Row) -> Lengths:
    """The lengths that a row states; for one it leaves empty, the mean of its task in task_lengths.csv.

    A task is recognised by the row's source (a pattern such as mlperf-*) and a piece of its notes; the first line of
    the file that fits counts. A row of neither has None.
    """
    stated = {name: float(row[name]) if row.get(name) else None for name in ("input_tokens", "output_tokens")}
    task = next((line for line in task_lengths() if _fits(line, row)), None)
    assumed: list[str] = []
    beams = 1
    if task is not None:
        for name in [name for name, value in stated.items() if value is None and task[name]]:
            stated[name] = float(task[name])
            assumed.append(f"{name} not stated, {task[name]} taken ({task['basis']}: {task['reference']})")
        beams = int(task["beam_width"] or 1)
        if beams > 1:
            assumed.append(f"beam width {beams} taken ({task['reference']})")
    return Lengths(
        input_tokens=stated["input_tokens"],
        output_tokens=stated["output_tokens"],
        beam_width=beams,
        assumed=tuple(assumed),
    )


def _fits(line: dict[str, str], row: Row) -> bool:
    return (
        fnmatchcase(row.get("source") or "", line["source"])
        and line["notes"] in (row.get("notes") or "")
        and line["metric"] in ("", row.get("metric"))
    )
