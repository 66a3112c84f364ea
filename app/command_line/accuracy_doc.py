"""The command that makes the tables of docs/accuracy.md from the data."""

from __future__ import annotations

import sys

import click

from app import json_text
from app.accuracy import document
from app.command_line.accuracy import json_option

STALE = 1


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; exit with code 1 where the tables are stale.")
@json_option
def accuracy(check: bool, as_json: bool) -> None:
    """Make the tables of docs/accuracy.md anew from the predictions of the last calibration."""
    stale = document.write(check=check)
    said = {(True, True): "is stale", (True, False): "was written"}.get((stale, check), "is up to date")
    if as_json:
        click.echo(
            json_text.write({"document": document.DOCUMENT.name, "stale": stale, "written": stale and not check})
        )
    else:
        click.echo(f"docs/{document.DOCUMENT.name} {said}.")
    if stale and check:
        sys.exit(STALE)
