"""`python -m app history`: the log listed, searched, exported, checked and tidied."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from datetime import date
from typing import TYPE_CHECKING, Any

import click

from app import catalog, json_text
from app.calculations.errors import InvalidInput
from app.calculations.watch import Watch
from app.command_line import report
from app.command_line.accuracy import json_option, show
from app.command_line.progress import watched
from app.config import setting
from app.history import log_care
from app.history.run_log import Run, RunLog

if TYPE_CHECKING:
    from app.history.rows import Row

#: Runs listed where no number is given.
LISTED = 20
#: More are read by way of the index, which tells how far it is; so many at once.
MANY, READ_AT_ONCE = 1000, 100
#: So are those of a longer log: reading so much of one takes as long as the index does.
LONG_BYTES = 50_000_000


@click.command()
@click.option("--limit", type=click.IntRange(1, 10_000_000), help=f"How many.  [default: {LISTED}; with --csv all]")
@click.option("--model", metavar="NAME", help="Only runs of this model.")
@click.option("--gpu", metavar="NAME", help="Only runs on this accelerator.")
@click.option("--kind", type=click.Choice(("estimate", "train", "plan")), help="Only runs of this kind.")
@click.option("--since", metavar="DAY", help="Only runs from this day (UTC) on, as in 2026-11-23.")
@click.option("--text", metavar="WORDS", help="Only runs with these words in model, GPU, tags or note.")
@click.option("--tag", metavar="TAG", help="Only runs with this tag.")
@click.option("--csv", "as_csv", is_flag=True, help="Print a table for a spreadsheet.")
@click.option("--verify", is_flag=True, help="Count good lines, broken ones and ids that occur twice.")
@click.option("--compact", is_flag=True, help="Take broken lines and older twins out of the log.")
@json_option
def history(limit: int | None, as_csv: bool, verify: bool, compact: bool, as_json: bool, **filters: str | None) -> None:
    """The newest runs of the log, newest first."""
    if as_csv + verify + compact + as_json > 1 and not (as_json and (verify or compact)):
        raise InvalidInput("csv", "--csv, --json, --verify and --compact do not go together.", "one of them")
    if verify or compact:
        refuse_filters("--compact" if compact else "--verify", {"limit": limit, **filters})
    log = RunLog(setting("LOG_DIR"))
    with readable(log):
        if verify or compact:
            tell(log_care.compact(log) if compact else log_care.verify(log), compact, as_json)
        elif as_csv or any(filters.values()) or (limit or 0) > MANY or is_long(log):
            searched(log, limit, filters, as_csv, as_json)
        else:
            listed(log.read(limit or LISTED).runs, as_json, "No runs yet.")


def refuse_filters(of: str, given: dict[str, Any]) -> None:
    """What looks at the whole log takes no filter, and does not do as if."""
    for name, value in given.items():
        if value is not None:
            raise InvalidInput(name, f"{of} looks at the whole log, so --{name} does not go with it.", f"{of} alone")


def is_long(log: RunLog) -> bool:
    return sum(file.size for file in log.files()) > LONG_BYTES


def listed(runs: list[Run], as_json: bool, none: str = "No run matches.") -> None:
    with printing():
        if as_json:
            click.echo(json_text.write({"runs": [run.as_dict() for run in runs]}, indent=2))
        else:
            show(report.runs(runs) if runs else [none])


def searched(log: RunLog, limit: int | None, filters: dict[str, str | None], as_csv: bool, as_json: bool) -> None:
    """What the index finds. It is loaded here, since a short list does without."""
    from app.history.database import IndexUnavailable
    from app.history.index import Index
    from app.history.query import Filters, Query
    from app.history.table import History

    query = Query(
        filters=Filters(
            q=filters["text"] or "",
            model=known(filters["model"], lambda name: catalog.model(name).name),
            gpu=known(filters["gpu"], lambda name: catalog.gpu(name).slug),
            kind=filters["kind"] or "",
            tag=filters["tag"] or "",
            since=day(filters["since"]),
        )
    )
    index = Index(log, setting("DATA_DIR"), setting("DATABASE_URL"))
    found = History(log, index)
    try:
        with watched("Reading the log") as watch:
            found.catch_up(watch)
        if as_csv:
            with watched("Writing", beside_output=True) as watch:
                found.export(query, limit or 1 << 31, printed_once(watch))
        else:
            ids = [row.run_id for row in found.matching(query, limit or LISTED)]
            runs: list[Run] = []
            with watched("Reading the runs") as watch:
                for start in range(0, len(ids), READ_AT_ONCE):
                    watch(start, len(ids))
                    runs += found.runs(ids[start : start + READ_AT_ONCE])
            listed(runs, as_json)
        if found.notes.problem:
            click.echo(f"Tags and notes cannot be read, so some runs may lack: {found.notes.problem}.", err=True)
    except IndexUnavailable as error:
        where = "DATABASE_URL" if index.url else "DATA_DIR"
        raise InvalidInput(where, f"The index of the history cannot be used: {error}.") from None
    finally:
        index.close()


def printed_once(watch: Watch) -> Callable[[Iterator[Row], int], None]:
    """Prints rows as CSV. An index that breaks meanwhile ends it: what was printed cannot be taken back."""
    from app.history import csv_export
    from app.history.database import IndexUnavailable

    begun = False

    def printed(rows: Iterator[Row], of: int) -> None:
        nonlocal begun
        if begun:
            raise IndexUnavailable("it broke while it was read; it is made anew now, so ask again")
        begun = True
        with printing():
            csv_export.write(sys.stdout, rows, of, watch)

    return printed


def known(name: str | None, proper: Callable[[str], str]) -> str:
    """The name that the log has for what was typed; as typed where the catalogue does not know it."""
    if not name:
        return ""
    try:
        return proper(name)
    except InvalidInput:
        return name


def day(text: str | None) -> str:
    try:
        return date.fromisoformat(text).isoformat() if text else ""
    except ValueError:
        raise InvalidInput("since", f"{text!r} is not a day.", "a date as in 2026-11-23") from None


def tell(tally: log_care.Tally, compacted: bool, as_json: bool) -> None:
    """What the log holds, or held."""
    with printing():
        print_tally(tally, compacted, as_json)


def print_tally(tally: log_care.Tally, compacted: bool, as_json: bool) -> None:
    if as_json:
        click.echo(json_text.write(asdict(tally) | ({"compacted": True} if compacted else {})))
        return
    newer = f"{tally.newer:,} of a newer version, " if tally.newer else ""
    counted = f"{tally.good:,} runs, {newer}{tally.broken:,} broken lines, {tally.duplicates:,} twins"
    click.echo(f"{tally.files:,} files: {counted}.")
    if compacted:
        removed = tally.broken + tally.duplicates
        took = f"Took {removed:,} lines out; they are in {log_care.REMOVED}."
        click.echo(took if removed else "Nothing to take out.")


@contextmanager
def printing() -> Iterator[None]:
    """Where the output cannot be written it is that which is told, and not that the log cannot be read."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # What is left is not tried again at the end.
        raise InvalidInput("", f"The output cannot be written: {error.strerror}.") from None


@contextmanager
def readable(log: RunLog) -> Iterator[None]:
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise InvalidInput("LOG_DIR", f"The log in {log.directory} cannot be used: {error.strerror}.") from None
