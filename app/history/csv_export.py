"""Rows of the history as CSV that a spreadsheet opens safely."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TextIO

from app.calculations.errors import InvalidInput
from app.calculations.watch import Watch, nobody
from app.history.database import IndexUnavailable
from app.history.query import Query
from app.history.rows import Row
from app.history.table import History

#: The columns: the fields of a row, whose names carry their units.
FIELDS = Row._fields
#: How many rows pass until it is told again.
TOLD_ROWS = 200
#: A spreadsheet takes a cell that begins with one of these for a formula or a command.
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")


def write(file: TextIO, rows: Iterable[Row], of: int, watch: Watch = nobody) -> None:
    """All `of` rows into a file; `watch` is told how many of them it holds."""
    for part in lines(told(rows, of, watch)):
        file.write(part)


def write_file(path: Path, history: History, query: Query, most: int, watch: Watch = nobody) -> int:
    """The rows that a query asks for into a file, and how many they are. Raises InvalidInput where it cannot be made;
    nothing is left of it then."""

    def keep(rows: Iterator[Row], of: int) -> int:
        with path.open("w", encoding="utf-8", newline="") as file:
            write(file, rows, of, watch)
        return of

    try:
        return history.export(query, most, keep)
    except (OSError, IndexUnavailable) as error:
        path.unlink(missing_ok=True)
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise InvalidInput("", f"The file could not be written: {reason}.") from None


def told(rows: Iterable[Row], of: int, watch: Watch) -> Iterator[Row]:
    """The rows, while `watch` is told how many have passed."""
    for number, row in enumerate(rows):
        if number % TOLD_ROWS == 0:
            watch(number, of)
        yield row
    watch(of, of)


def lines(rows: Iterable[Row]) -> Iterator[str]:
    """The heading and one line per row, ended by CRLF as RFC 4180 has it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(FIELDS)
    for row in rows:
        writer.writerow([cell(getattr(row, name)) for name in FIELDS])
        if buffer.tell() > 64 * 1024:
            yield buffer.getvalue()
            buffer.seek(0)
            buffer.truncate()
    yield buffer.getvalue()


def cell(value: str | float | None) -> str | float:
    """A text that cannot be taken for a formula; a number as it is."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, str):
        return "'" + value if value.startswith(DANGEROUS) else value
    return "saturated" if math.isinf(value) else value
