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
from app.calibration import fit, folds, left_out, ranges, training, training_memory
from app.calibration.compiled import CHUNK, Compiled, compile_in_parallel
from app.calibration.model import Table

#: Classes of metrics that coefficients are fitted to, and those that follow from them.
SPEEDS, POWERS = ("throughput", "tpot", "ttft", "e2e"), ("energy", "power")

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
@click.option("--efficiency", type=click.Path(path_type=Path), help="Where to write the coefficients.")
@click.option("--accuracy", type=click.Path(path_type=Path), help="Where to write prediction beside measurement.")
@click.option("--memory", type=click.Path(path_type=Path), help="Where to write coefficients of training memory.")
@click.option("--memory-ranges", type=click.Path(path_type=Path), help="Where to write ranges of training memory.")
@click.option(
    "--leave-out", "left_out_of", multiple=True, type=click.Choice(list(folds.GROUPINGS)), default=("pairs",),
    show_default=True, help="Show the errors of fits that whole groups were left out of (may be repeated).",
)  # fmt: skip
@json_option
def calibrate(
    files: tuple[Path, ...],
    output: Path | None,
    efficiency: Path | None,
    accuracy: Path | None,
    memory: Path | None,
    memory_ranges: Path | None,
    left_out_of: tuple[str, ...],
    as_json: bool,
) -> None:
    """Fit the coefficients and the ranges beside the estimates to the measurement tables FILES, serving or training.

    Ranges are made from the errors on pairs of model and GPU that were left out of the fit, and it is shown how many of
    the measurements lie inside ranges that they were left out of.
    """
    kind, rows = rows_to_fit(files)
    if kind == "training":
        calibrate_training(rows, output, efficiency, left_out_of, as_json)
        calibrate_training_memory(rows, memory_ranges, memory, left_out_of, as_json)
        return
    compiled = compiled_rows(rows)
    fitted = fit.fit(Table(compiled)) if compiled else fit.Fitted(deviations={}, rows={})
    if efficiency is not None:
        with writable("efficiency", efficiency):
            fit.write(efficiency, fitted)
        if efficiency.resolve() == catalog.EFFICIENCY.resolve():
            catalog.efficiency.cache_clear()
    found = [one for row in rows if scoring.metric_class(row) in POWERS for one in ranges.residuals("serving", [row])]
    errors = {name: folds.left_out_errors(compiled, fitted.deviations, name) for name in {"pairs", *left_out_of}}
    found += left_out.residuals(compiled, errors["pairs"])
    lines = ranges.ranges(found)
    if output is not None:
        with writable("output", output):
            ranges.write(output, lines)
    if accuracy is not None:
        with writable("accuracy", accuracy):
            left_out.write(accuracy, compiled, errors["pairs"])
    if as_json:
        click.echo(json_text.write({"ranges": [dataclasses.asdict(line) for line in lines]}, indent=2))
        return
    for name in dict.fromkeys(left_out_of):
        show(text_report.left_out(name, folds.judged(compiled, errors[name])))
    show(text_report.ranges(lines))


def rows_to_fit(files: Iterable[Path]) -> tuple[str, list[dict[str, str]]]:
    """The kind of the tables, serving or training, and their rows. Raises InvalidInput for others and for both."""
    kinds: dict[str, list[dict[str, str]]] = {}
    for file in files:
        table, rows = validation.read(file)
        if table not in ("serving", "training"):
            raise InvalidInput(
                "file", f"{str(file)!r} is not a table of serving or training speed.", "tables of serving speed"
            )
        kinds.setdefault(table, []).extend(rows)
    if len(kinds) > 1:
        raise InvalidInput("file", "Serving and training have coefficients of their own.", "tables of one kind")
    return next(iter(kinds.items()))


def calibrate_training(
    rows: list[dict[str, str]],
    output: Path | None,
    efficiency: Path | None,
    left_out_of: tuple[str, ...],
    as_json: bool,
) -> None:
    """Coefficients and ranges of training steps; ranges of frameworks not measured come from sources left out."""
    runs = training.compile_rows(rows)
    problem = training.Problem(runs)
    found = problem.fit()
    errors = {name: problem.left_out(name, found) for name in {"pairs", "sources", *left_out_of}}
    lines = training.speed_ranges(runs, errors["pairs"], errors["sources"])
    if efficiency is not None:
        with writable("efficiency", efficiency):
            training.write(efficiency, problem, found)
    if output is not None:
        with writable("output", output):
            ranges.write(output, lines)
    if as_json:
        click.echo(json_text.write({"ranges": [dataclasses.asdict(line) for line in lines]}, indent=2))
        return
    for name in dict.fromkeys(left_out_of):
        show(text_report.left_out(name, training.judged(runs, errors[name])))
    show(text_report.ranges(lines))


def calibrate_training_memory(
    rows: list[dict[str, str]],
    output: Path | None,
    coefficients: Path | None,
    left_out_of: tuple[str, ...],
    as_json: bool,
) -> None:
    """Coefficients and ranges of the memory of training."""
    peaks = training_memory.compile_rows(rows)
    if not peaks:
        return
    problem = training_memory.Problem(peaks)
    found, slope = problem.fit()
    errors = {name: problem.left_out(name, found) for name in {"pairs", "sources", *left_out_of}}
    lines = training_memory.memory_ranges(peaks, errors["pairs"], errors["sources"])
    if coefficients is not None:
        with writable("memory", coefficients):
            training_memory.write(coefficients, problem, found, slope)
    if output is not None:
        with writable("memory_ranges", output):
            ranges.write(output, lines)
    if as_json:
        return
    for name in dict.fromkeys(left_out_of):
        show(text_report.left_out(name, training_memory.judged(peaks, errors[name])))
    show(text_report.ranges(lines))


def compiled_rows(rows: list[dict[str, str]]) -> list[Compiled]:
    """The rows that coefficients are fitted to; those of one run stand together, so that it is made once."""
    speeds = sorted((row for row in rows if scoring.metric_class(row) in SPEEDS), key=run_order)
    found: list[Compiled] = []
    with click.progressbar(
        length=len(speeds), label="Reading", file=sys.stderr, hidden=not sys.stderr.isatty()
    ) as progress:
        for chunk in compile_in_parallel(speeds):
            found += chunk
            progress.update(CHUNK)
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
