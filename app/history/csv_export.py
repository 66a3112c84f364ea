"""Rows of the history as CSV that a spreadsheet opens safely."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterable, Iterator

from app.history.rows import Row

#: The columns: the fields of a row, whose names carry their units.
FIELDS = Row._fields
#: A spreadsheet takes a cell that begins with one of these for a formula or a command.
DANGEROUS = ("=", "+", "-", "@", "\t", "\r", "\n")


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
