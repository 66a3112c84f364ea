"""Commands that hold predictions against measurements: validate and calibrate."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import click
import numpy as np

from app import catalog, json_text
from app.accuracy import scoring, validation
from app.calculations.coefficients import Efficiency
from app.calculations.errors import InvalidInput
from app.calculations.watch import part_of, passing
from app.calibration import beside as not_fitted
from app.calibration import fit, folds, left_out, ranges, training, training_accuracy, training_memory
from app.calibration import own as own_calibration
from app.calibration import power as watts
from app.calibration.compiled import CHUNK, Compiled, compile_in_parallel
from app.calibration.model import Table
from app.command_line import report
from app.command_line.progress import progress, watched
from app.own import manage

#: Classes of metrics that the coefficients of speed are fitted to.
SPEEDS = ("throughput", "tpot", "ttft", "e2e")

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, errors too.")


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
        show(report.accuracy(summaries))


@click.command()
@click.argument("files", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--output", type=click.Path(path_type=Path), help="Where to write the ranges; else they are only shown.")
@click.option("--efficiency", type=click.Path(path_type=Path), help="Where to write the coefficients.")
@click.option("--power", type=click.Path(path_type=Path), help="Where to write the coefficients of power.")
@click.option("--measured", type=click.Path(path_type=Path), help="Where to write what was measured with what.")
@click.option("--accuracy", type=click.Path(path_type=Path), help="Where to write prediction beside measurement.")
@click.option("--memory", type=click.Path(path_type=Path), help="Where to write coefficients of training memory.")
@click.option("--memory-ranges", type=click.Path(path_type=Path), help="Where to write ranges of training memory.")
@click.option(
    "--leave-out", "left_out_of", multiple=True, type=click.Choice(list(folds.GROUPINGS)), default=("pairs",),
    show_default=True, help="Show the errors of fits that whole groups were left out of (may be repeated).",
)  # fmt: skip
@click.option("--save", "save_as", metavar="NAME", help="Fit your measurements on top of the published ones; keep it.")
@click.option("--replace", is_flag=True, help="With --save: replace what is saved under the name.")
@json_option
def calibrate(
    files: tuple[Path, ...],
    output: Path | None,
    efficiency: Path | None,
    power: Path | None,
    measured: Path | None,
    accuracy: Path | None,
    memory: Path | None,
    memory_ranges: Path | None,
    left_out_of: tuple[str, ...],
    save_as: str | None,
    replace: bool,
    as_json: bool,
) -> None:
    """Fit the coefficients and the ranges beside the estimates to the measurement tables FILES, serving or training.

    Ranges are made from the errors on pairs of model and GPU that were left out of the fit, and it is shown how many of
    the measurements lie inside ranges that they were left out of. With --save your own measurements are fitted on top
    of the published calibration; estimates with --calibration NAME use the result and name it.
    """
    kind, rows = rows_to_fit(files)
    if kind == "training":
        if save_as is not None or replace:
            raise InvalidInput("save", "--save keeps measurements of serving, not of training.", "tables of serving")
        compared = [
            *calibrate_training(rows, output, efficiency, left_out_of, as_json),
            *calibrate_training_memory(rows, memory_ranges, memory, left_out_of, as_json),
        ]
        if accuracy is not None:
            with writable("accuracy", accuracy):
                left_out.write(accuracy, compared)
        return
    compiled = compiled_rows(rows)
    if save_as is not None or replace:
        parts = {"output": output, "efficiency": efficiency, "power": power, "measured": measured, "accuracy": accuracy}
        calibrate_own(compiled, save_as, files, replace, parts, as_json)
        return
    with watched("Fitting speed") as watch:
        fitted = fit.fit(Table(compiled), watch=watch) if compiled else fit.Fitted(deviations={}, rows={})
    if efficiency is not None:
        with writable("efficiency", efficiency):
            fit.write(efficiency, fitted)
        if efficiency.resolve() == catalog.EFFICIENCY.resolve():
            catalog.efficiency.cache_clear()
    idle = catalog.hardware().power.idle
    powered = [row for row in rows if scoring.metric_class(row) in watts.CLASSES]
    with watched("Fitting power") as watch:
        observed = list(watts.observe(passing(powered, watch), speed_of(compiled, fitted.deviations)))
        coefficients = watts.fit(observed, idle)
    if power is not None:
        with writable("power", power):
            watts.write(power, coefficients)
        if power.resolve() == catalog.POWER.resolve():
            catalog.hardware.cache_clear()
    speeds, powers = {}, {}
    names = list(dict.fromkeys([*chain.from_iterable(left_out.LEFT_OUT_AT.values()), *left_out_of]))
    with watched("Leaving out") as watch:
        for number, name in enumerate(names):
            halves = [part_of(watch, 2 * number + half, 2 * len(names)) for half in range(2)]
            speeds[name] = folds.left_out(compiled, fitted.deviations, name, watch=halves[0])
            without = efficiency_without(compiled, speeds[name])
            powers[name] = watts.left_out(powered, observed, without, name, idle, halves[1])
    speed = left_out.errors_at({name: found.errors for name, found in speeds.items()})
    drawn = left_out.errors_at({name: found.errors for name, found in powers.items()})
    powered_rows = powers["pairs"].rows
    lines = ranges.ranges(left_out.residuals(compiled, speed) + left_out.residuals(powered_rows, drawn))
    if output is not None:
        with writable("output", output):
            ranges.write(output, lines)
    if accuracy is not None:
        with watched("Predicting power") as watch:
            plain = watts.on_roofline(powered_rows, passing(powered, watch))
        found = speed_lines(rows, compiled, speed, efficiency_without(compiled, speeds["pairs"]))
        with writable("accuracy", accuracy):
            left_out.write(accuracy, [*found, *left_out.lines(powered_rows, drawn, plain)])
    if measured is not None:
        with writable("measured", measured):
            left_out.write_measured(measured, compiled)
    if as_json:
        click.echo(json_text.write({"ranges": [dataclasses.asdict(line) for line in lines]}, indent=2))
        return
    for name in dict.fromkeys(left_out_of):
        show(report.left_out(name, judged(compiled, speeds[name], powers[name])))
    show(report.power(coefficients))
    show(report.ranges(lines))


def calibrate_own(
    compiled: list[Compiled],
    name: str | None,
    files: tuple[Path, ...],
    replace: bool,
    parts: Mapping[str, Path | None],
    as_json: bool,
) -> None:
    """Keep what a user's measurements teach, and show how much nearer it comes."""
    if name is None:
        raise InvalidInput("replace", "--replace counts only with --save.", "--save NAME --replace")
    for field, path in parts.items():
        if path is not None:
            raise InvalidInput(
                field, f"--{field} writes a part of the published calibration, --save yours.", "one of them"
            )
    if not compiled:
        raise InvalidInput("file", "None of the rows can be predicted, so they teach nothing.", "see validate")
    with watched("Fitting") as watch:
        found = own_calibration.calibrate(compiled, catalog.efficiency(), watch)
    source = f"{len(compiled)} measurements of " + ", ".join(path.name for path in files)
    saved = manage.on_disk(lambda: manage.save_calibration(name, source, found.document(), replace=replace))
    figures = list(found.figures())
    if as_json:
        classes = [{"metric": metric, "rows": rows, "median_errors": errors} for metric, rows, errors in figures]
        click.echo(json_text.write({"saved": saved.name, "errors": classes}, indent=2))
        return
    show(report.own_calibration(saved.name, figures))


def speed_of(compiled: list[Compiled], deviations: fit.Deviations) -> Efficiency:
    """The coefficients of speed to see power with; those of the last calibration where no speed was measured."""
    return Efficiency(deviations=deviations) if compiled else catalog.efficiency()


def efficiency_without(compiled: list[Compiled], speed: folds.LeftOut) -> Callable[[str], Efficiency]:
    """The coefficients of speed of the fit that a fold was left out of."""
    return lambda fold: speed_of(compiled, speed.fit_without(fold))


def speed_lines(
    rows: list[dict[str, str]],
    compiled: list[Compiled],
    speed: left_out.Errors,
    fit_without: Callable[[str], Efficiency],
) -> list[tuple[str, ...]]:
    """Lines of /accuracy of all speeds that count: those that were fitted to, and those beside."""
    if not compiled:
        return []
    fitted = {row.identifier for row in compiled}
    beside = [row for row in rows if scoring.metric_class(row) in SPEEDS and row["id"] not in fitted]
    with watched("Predicting the others") as watch:
        others = list(not_fitted.predicted(passing(beside, watch), fit_without))
    of_others = not_fitted.errors(others)
    errors = {nearness: tuple(np.concatenate([found, of_others]) for found in ways) for nearness, ways in speed.items()}
    plain = np.concatenate([Table(compiled).on_roofline(), np.full(len(others), np.nan)])
    return list(left_out.lines([*compiled, *others], errors, plain))


def judged(compiled: list[Compiled], speed: folds.LeftOut, drawn: watts.LeftOut) -> list[scoring.Judged]:
    """All measurements beside what was predicted without their group; energy also from watts alone."""
    return [
        *folds.judged(compiled, speed.errors),
        *folds.judged(drawn.rows, drawn.errors),
        *drawn.at_measured_throughput(),
    ]


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
) -> list[training_accuracy.Line]:
    """Coefficients and ranges of training steps; ranges of frameworks not measured come from sources left out.

    Returns the lines of /accuracy.
    """
    with watched("Reading") as watch:
        runs = training.compile_rows(passing(rows, watch))
    problem = training.Problem(runs)
    found = problem.fit()
    errors = without_groups(problem, found, left_out_of)
    lines = training.speed_ranges(runs, errors["pairs"], errors["sources"])
    if efficiency is not None:
        with writable("efficiency", efficiency):
            training.write(efficiency, problem, found)
    if output is not None:
        with writable("output", output):
            ranges.write(output, lines)
    compared = list(training_accuracy.speed_lines(rows, runs, errors["pairs"], errors["sources"]))
    if as_json:
        click.echo(json_text.write({"ranges": [dataclasses.asdict(line) for line in lines]}, indent=2))
        return compared
    for name in dict.fromkeys(left_out_of):
        show(report.left_out(name, training.judged(runs, errors[name])))
    show(report.ranges(lines))
    return compared


def calibrate_training_memory(
    rows: list[dict[str, str]],
    output: Path | None,
    coefficients: Path | None,
    left_out_of: tuple[str, ...],
    as_json: bool,
) -> list[training_accuracy.Line]:
    """Coefficients and ranges of the memory of training. Returns the lines of /accuracy."""
    with watched("Reading memory") as watch:
        peaks = training_memory.compile_rows(passing(rows, watch))
    if not peaks:
        return []
    problem = training_memory.Problem(peaks)
    found, slope = problem.fit()
    errors = without_groups(problem, found, left_out_of)
    lines = training_memory.memory_ranges(peaks, errors["pairs"], errors["sources"])
    if coefficients is not None:
        with writable("memory", coefficients):
            training_memory.write(coefficients, problem, found, slope)
    if output is not None:
        with writable("memory_ranges", output):
            ranges.write(output, lines)
    compared = list(training_accuracy.memory_lines(rows, peaks, errors["pairs"], errors["sources"]))
    if as_json:
        return compared
    for name in dict.fromkeys(left_out_of):
        show(report.left_out(name, training_memory.judged(peaks, errors[name])))
    show(report.ranges(lines))
    return compared


def without_groups(
    problem: training.Problem | training_memory.Problem, found: Any, left_out_of: tuple[str, ...]
) -> dict[str, Any]:
    """Errors of training by what was left out of the fit."""
    names = sorted({"pairs", "sources", *left_out_of})
    with watched("Leaving out") as watch:
        return {
            name: problem.left_out(name, found, part_of(watch, number, len(names))) for number, name in enumerate(names)
        }


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
