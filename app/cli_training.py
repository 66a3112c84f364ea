"""The calibration of training: coefficients and ranges of steps and of memory."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import click

from app import json_text, text_report
from app.calibration import ranges, training, training_memory
from app.cli_output import show, writable


def calibrate_speed(
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


def calibrate_memory(
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
