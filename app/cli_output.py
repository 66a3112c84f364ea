"""What commands print, and files that they write."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from app.calculations.errors import InvalidInput


def show(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


@contextmanager
def writable(field: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInput(field, f"{str(path)!r} cannot be written: {error.strerror}.", "a file") from None
