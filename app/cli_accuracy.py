"""Commands that hold predictions against measurements: validate and calibrate."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable
from pathlib import Path

import click

from app import calibration, json_text, text_report, validation
from app.calculations.errors import InvalidInput

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, errors too.")


def show(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


@click.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Write id, metric, measured, predicted ... as CSV.")
@json_option
def validate(file: Path, output: Path | None, as_json: bool) -> None:
    """Predict every row of the measurement table FILE and show the errors by source and metric."""
    table, rows = validation.read(file)
    with click.progressbar(rows, label="Predicting", file=sys.stderr, hidden=not sys.stderr.isatty()) as progress:
        found = list(validation.predictions(table, progress))
    if output is not None:
        try:
            validation.write(output, (prediction for _, prediction in found))
        except OSError as error:
            raise InvalidInput("output", f"{str(output)!r} cannot be written: {error.strerror}.", "a file") from None
    summaries = validation.summaries(found)
    if as_json:
        click.echo(json_text.write({"summaries": [dataclasses.asdict(one) for one in summaries]}, indent=2))
    else:
        show(text_report.accuracy(summaries))


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Where to write the ranges; else they are only shown.")
@json_option
def calibrate(files: tuple[Path, ...], output: Path | None, as_json: bool) -> None:
    """Fit the ranges beside the estimates to the measurement tables FILES, and show how many of the measurements lie
    inside ranges that they were left out of."""
    found: list[calibration.Residual] = []
    for file in files:
        table, rows = validation.read(file)
        if table != "serving":
            raise InvalidInput("file", f"{str(file)!r} is not a table of serving speed.", "tables of serving speed")
        with click.progressbar(rows, label=file.stem[:40], file=sys.stderr, hidden=not sys.stderr.isatty()) as progress:
            found.extend(calibration.residuals(table, progress))
    lines = calibration.ranges(found)
    if output is not None:
        try:
            calibration.write(output, lines)
        except OSError as error:
            raise InvalidInput("output", f"{str(output)!r} cannot be written: {error.strerror}.", "a file") from None
    if as_json:
        click.echo(json_text.write({"ranges": [dataclasses.asdict(line) for line in lines]}, indent=2))
    else:
        show(text_report.ranges(lines))
