"""Commands that hold predictions against measurements: validate and calibrate."""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click

from app import catalog, json_text, scoring, text_report, validation
from app.calculations.errors import InvalidInput
from app.calibration import fit, folds, left_out, ranges
from app.calibration.compiled import CHUNK, Compiled, compile_in_parallel
from app.calibration.model import Table

#: Classes of metrics that coefficients are fitted to, and those that follow from them.
SPEEDS, POWERS = ("throughput", "tpot", "ttft", "e2e"), ("energy", "power")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, errors too.")


def progress(label: str, rows: int) -> Any:
    """A bar on a terminal's error stream; elsewhere nothing is shown."""
    return click.progressbar(length=rows, label=label, file=sys.stderr, hidden=not sys.stderr.isatty())


def show(lines: Iterable[str]) -> None:
    for line in lines:
        click.echo(line)


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Write id, metric, measured, predicted ... as CSV.")
@json_option
def validate(files: tuple[Path, ...], output: Path | None, as_json: bool) -> None:
    """Predict every row of the measurement tables FILES and show the errors by source and metric."""
    tables: dict[str, list[dict[str, str]]] = {}
    for file in files:
        table, rows = validation.read(file)
        tables.setdefault(table, []).extend(rows)
    found: list[validation.Found] = []
    with progress("Predicting", sum(map(len, tables.values()))) as bar:
        for table, rows in tables.items():
            for chunk in validation.predictions_in_parallel(table, rows):
                found += chunk
                bar.update(len(chunk))
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
@click.option("--efficiency", type=click.Path(path_type=Path), help="Where to write the coefficients.")
@click.option("--measured", type=click.Path(path_type=Path), help="Where to write what was measured with what.")
@click.option("--accuracy", type=click.Path(path_type=Path), help="Where to write prediction beside measurement.")
@click.option(
    "--leave-out", "left_out_of", multiple=True, type=click.Choice(list(folds.GROUPINGS)), default=("pairs",),
    show_default=True, help="Show the errors of fits that whole groups were left out of (may be repeated).",
)  # fmt: skip
@json_option
def calibrate(
    files: tuple[Path, ...],
    output: Path | None,
    efficiency: Path | None,
    measured: Path | None,
    accuracy: Path | None,
    left_out_of: tuple[str, ...],
    as_json: bool,
) -> None:
    """Fit the coefficients and the ranges beside the estimates to the measurement tables FILES.

    Ranges are made from the errors on pairs of model and GPU that were left out of the fit, and it is shown how many of
    the measurements lie inside ranges that they were left out of.
    """
    rows = [row for file in files for row in rows_of_speed(file)]
    compiled = compiled_rows(rows)
    fitted = fit.fit(Table(compiled)) if compiled else fit.Fitted(deviations={}, rows={})
    if efficiency is not None:
        with writable("efficiency", efficiency):
            fit.write(efficiency, fitted)
        if efficiency.resolve() == catalog.EFFICIENCY.resolve():
            catalog.efficiency.cache_clear()
    powers = [row for row in rows if scoring.metric_class(row) in POWERS]
    errors = {
        name: folds.left_out_errors(compiled, fitted.deviations, name)
        for name in {*left_out.LEFT_OUT_AT.values(), *left_out_of}
    }
    at = {nearness: errors[name] for nearness, name in left_out.LEFT_OUT_AT.items()}
    found = [*ranges.at_any_distance(ranges.residuals("serving", powers)), *left_out.residuals(compiled, at)]
    lines = ranges.ranges(found)
    if output is not None:
        with writable("output", output):
            ranges.write(output, lines)
    if accuracy is not None:
        with writable("accuracy", accuracy):
            left_out.write(accuracy, compiled, at)
    if measured is not None:
        with writable("measured", measured):
            left_out.write_measured(measured, compiled)
    if as_json:
        click.echo(json_text.write({"ranges": [dataclasses.asdict(line) for line in lines]}, indent=2))
        return
    for name in dict.fromkeys(left_out_of):
        show(text_report.left_out(name, folds.judged(compiled, errors[name])))
    show(text_report.ranges(lines))


def rows_of_speed(file: Path) -> list[dict[str, str]]:
    table, rows = validation.read(file)
    if table != "serving":
        raise InvalidInput("file", f"{str(file)!r} is not a table of serving speed.", "tables of serving speed")
    return rows


def compiled_rows(rows: list[dict[str, str]]) -> list[Compiled]:
    """The rows that coefficients are fitted to; those of one run stand together, so that it is made once."""
    speeds = sorted((row for row in rows if scoring.metric_class(row) in SPEEDS), key=run_order)
    found: list[Compiled] = []
    with progress("Reading", len(speeds)) as bar:
        for chunk in compile_in_parallel(speeds):
            found += chunk
            bar.update(CHUNK)
    return found


def run_order(row: dict[str, str]) -> tuple[str, ...]:
    """Rows that differ in the metric only come one after the other."""
    names = ("source", "model", "gpu", "weight_precision", "tp", "input_tokens", "output_tokens", "concurrency", "id")
    return tuple(row.get(name) or "" for name in names)


@contextmanager
def writable(field: str, path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise InvalidInput(field, f"{str(path)!r} cannot be written: {error.strerror}.", "a file") from None
