"""A run as CSV: a line for each input and each result, with its range, unit and meaning."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

from app import json_text
from app.calculations.inputs import Input
from app.glossary.planning import PLANNING_KEYS
from app.glossary.serving import RESULT_KEYS, Key
from app.glossary.training import TRAINING_KEYS
from app.history.csv_export import cell
from app.history.run_log import Run
from app.planning import PLANNING_INPUTS
from app.scenarios import ALL_INPUTS
from app.training_scenarios import ALL_TRAINING_INPUTS

FIELDS = ("part", "name", "value", "low", "high", "unit", "meaning")
#: Kind of a run -> its inputs, and the keys of its results.
KNOWN: Mapping[str, tuple[Mapping[str, Input], Mapping[str, Key]]] = {
    "estimate": (ALL_INPUTS, RESULT_KEYS),
    "train": (ALL_TRAINING_INPUTS, TRAINING_KEYS),
    "plan": (PLANNING_INPUTS, PLANNING_KEYS),
}


def text(run: Run) -> str:
    """The heading and a line for each value, ended by CRLF as RFC 4180 has it."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)
    writer.writerow(FIELDS)
    for line in lines(run):
        writer.writerow(map(plain, line))  # Names come from the log too, so every cell is guarded.
    return buffer.getvalue()


def lines(run: Run) -> Iterator[tuple[object, ...]]:
    """The cells of each line: what the run is, its inputs, its results."""
    inputs, keys = KNOWN.get(run.kind, ({}, {}))
    for name in ("run_id", "time", "source", "kind", "app_version"):
        yield "run", name, getattr(run, name), "", "", "", ""
    for name, value in json_text.finite(run.inputs).items():
        one = inputs.get(name)
        texts = (one.unit, f"{one.label}. {one.help}") if one else ("", "")
        yield "inputs", name, value, "", "", *texts
    for name, value in flat(json_text.finite(run.results)):
        key = keys.get(general(name))
        texts = (key.unit, key.meaning) if key else ("", "")
        low, high = (value["low"], value["high"]) if isinstance(value, dict) else ("", "")
        shown = value["value"] if isinstance(value, dict) else value
        yield "results", name, shown, low, high, *texts


def flat(within: object, path: str = "") -> Iterator[tuple[str, Any]]:
    """(name with dots, value) of every number and text; a value with its range stays together."""
    if isinstance(within, dict) and within.keys() != {"value", "low", "high"}:
        for name, value in within.items():
            yield from flat(value, f"{path}.{name}" if path else name)
    elif isinstance(within, list):
        for place, value in enumerate(within):
            yield from flat(value, f"{path}.{place}")
    else:
        yield path, within


def general(name: str) -> str:
    """The name as the glossary has it: without places in lists."""
    return ".".join(part for part in name.split(".") if not part.isdigit())


def plain(value: object) -> str | float:
    """The cell of a value. A whole number is no formula, and may be larger than any that a row of the history holds."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    return cell(value) if value is None or isinstance(value, bool | str | float) else cell(str(value))
