"""Commands that hold predictions against measurements: validate and calibrate."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click

from app import catalog, json_text, scoring, text_report, validation
from app.calculations.errors import InvalidInput
from app.calibration import fit, folds, ranges
from app.calibration.compiled import compile_rows
from app.calibration.model import Table

#: Classes of metrics that coefficients are fitted to.
SPEEDS = ("throughput", "tpot", "ttft", "e2e")

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
@click.option("--efficiency", type=click.Path(path_type=Path), help="Fit the coefficients too, and write them here.")
@click.option(
    "--leave-out", "left_out", multiple=True, type=click.Choice(list(folds.GROUPINGS)),
    help="Show the errors of fits that whole groups were left out of (may be repeated).",
)  # fmt: skip
@json_option
def calibrate(
    files: tuple[Path, ...], output: Path | None, efficiency: Path | None, left_out: tuple[str, ...], as_json: bool
) -> None:
    """Fit the ranges beside the estimates to the measurement tables FILES, and show how many of the measurements lie
    inside ranges that they were left out of. With --efficiency or --leave-out the coefficients are fitted as well."""
    tables = [(file, rows_of_speed(file)) for file in files]
    if efficiency is not None or left_out:
        fit_coefficients([row for _, rows in tables for row in rows], efficiency, left_out)
    found: list[ranges.Residual] = []
    for file, rows in tables:
        with click.progressbar(rows, label=file.stem[:40], file=sys.stderr, hidden=not sys.stderr.isatty()) as progress:
            found.extend(ranges.residuals("serving", progress))
    lines = ranges.ranges(found)
    if output is not None:
        with writable(output):
            ranges.write(output, lines)
    if as_json:
        click.echo(json_text.write({"ranges": [dataclasses.asdict(line) for line in lines]}, indent=2))
    else:
        show(text_report.ranges(lines))


def rows_of_speed(file: Path) -> list[dict[str, str]]:
    table, rows = validation.read(file)
    if table != "serving":
        raise InvalidInput("file", f"{str(file)!r} is not a table of serving speed.", "tables of serving speed")
    return rows


@contextmanager
def writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInput("output", f"{str(path)!r} cannot be written: {error.strerror}.", "a file") from None


def fit_coefficients(rows: list[dict[str, str]], output: Path | None, left_out: tuple[str, ...]) -> None:
    """Fit the coefficients, write and use them, and show how far left-out groups lie from their predictions."""
    compiled = compile_rows([row for row in rows if scoring.metric_class(row) in SPEEDS])
    if not compiled:
        raise InvalidInput("file", "No row of the tables can be fitted.", "rows of throughput or latency")
    fitted = fit.fit(Table(compiled))
    if output is not None:
        with writable(output):
            fit.write(output, fitted)
        if output.resolve() == catalog.EFFICIENCY.resolve():
            catalog.efficiency.cache_clear()
    for grouping in left_out:
        judged = folds.judged(compiled, folds.left_out_errors(compiled, fitted.deviations, grouping))
        show(text_report.left_out(grouping, judged))
