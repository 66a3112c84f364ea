"""How far a long command is: a bar on a terminal's error stream; elsewhere nothing is shown."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import click

from app.calculations.watch import Watch

PERCENT = 100


def progress(label: str, rows: int) -> Any:
    """A bar of so many rows, which `update` moves on."""
    return click.progressbar(length=rows, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())


@contextmanager
def watched(label: str, *, beside_output: bool = False) -> Iterator[Watch]:
    """A bar that is told how much of how much is done. One that stands `beside_output`, which is printed meanwhile,
    is not shown where that goes to the terminal too."""
    hidden = not sys.stderr.isatty() or (beside_output and sys.stdout.isatty())
    with click.progressbar(length=PERCENT, label=label, file=sys.stderr, hidden=hidden) as bar:

        def watch(done: int, of: int) -> None:
            bar.update((PERCENT * done // of if of else PERCENT) - bar.pos)

        yield watch
        bar.update(PERCENT - bar.pos)
