"""Several runs side by side: what was asked of each, where they differ, and what came out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from app import formatting
from app.calculations.inputs import inputs_of
from app.calculations.scenario import CustomAccelerator, CustomArchitecture, ServingInputs
from app.calculations.training.inputs import TrainingInputs
from app.history.rows import Row, number, part, text
from app.history.run_log import Run

#: What an input says that was left to the calculator.
AUTOMATIC = "automatic"

_SERVING = {**inputs_of(ServingInputs), **inputs_of(CustomArchitecture), **inputs_of(CustomAccelerator)}
_INPUTS = _SERVING | {name: one for name, one in inputs_of(TrainingInputs).items() if name not in _SERVING}


@dataclass(frozen=True, slots=True)
class Compared:
    """One run of a comparison: a letter that stands for it in charts and tables, the run, and its row."""

    letter: str
    run: Run
    row: Row

    @property
    def title(self) -> str:
        """Model on how many of which accelerator."""
        gpus = f"{self.row.num_gpus:g} \N{MULTIPLICATION SIGN} " if self.row.num_gpus else ""
        return f"{self.row.model or 'unknown model'} on {gpus}{self.row.gpu_name or 'unknown GPU'}"


@dataclass(frozen=True, slots=True)
class Line:
    """One line of the table: what it is and its value in each run."""

    label: str
    unit: str
    cells: list[str]

    @property
    def differs(self) -> bool:
        return len(set(self.cells)) > 1


def compared(runs: Sequence[Run]) -> list[Compared]:
    """The runs with their letters, A first."""
    return [Compared(letter, run, Row.of(run)) for letter, run in zip(ascii_uppercase, runs, strict=False)]


def input_lines(runs: Sequence[Compared]) -> list[Line]:
    """What any of the runs was given, in the order of the form, then what this version does not know."""
    given = {name for one in runs for name in one.run.inputs}
    names = [name for name in _INPUTS if name in given] + sorted(given - set(_INPUTS))
    return [
        Line(
            _INPUTS[name].label if name in _INPUTS else name[:60],
            _INPUTS[name].unit if name in _INPUTS else "",
            [input_text(one.run.inputs.get(name)) for one in runs],
        )
        for name in names
    ]


def input_text(value: Any) -> str:
    """An input as it was typed, with commas in large numbers."""
    if value is None:
        return AUTOMATIC
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int) and abs(value) < 1e15:
        return f"{value:,}"
    return (value if isinstance(value, str) else json.dumps(value))[:200]


def fits_text(results: dict[str, Any]) -> str:
    fits = results.get("fits")
    return "yes" if fits is True else "no" if fits is False else formatting.UNKNOWN


def memory(name: str) -> Callable[[dict[str, Any]], str]:
    return lambda results: formatting.gib(number(part(results, "memory_bytes_per_gpu"), name))


def value(name: str, show: Callable[[float | None], str]) -> Callable[[dict[str, Any]], str]:
    return lambda results: show(number(part(results, name), "value"))


#: Label, unit, and how to read it from the results.
RESULTS: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
    ("Fits", "", fits_text),
    ("Layout", "", lambda results: text(part(results, "layout"), "strategy") or formatting.UNKNOWN),
    ("Weights", "GiB per GPU", memory("weights")),
    ("KV cache", "GiB per GPU", memory("kv_cache")),
    ("Activations", "GiB per GPU", memory("activations")),
    ("Runtime", "GiB per GPU", memory("runtime")),
    ("Total", "GiB per GPU", memory("total")),
    ("Capacity", "GiB per GPU", memory("capacity")),
    (
        "Largest concurrency",
        "requests",
        lambda results: formatting.integer(number(results, "max_concurrency")),
    ),
    ("TTFT", "ms", value("ttft_ms", formatting.number)),
    ("TPOT", "ms", value("tpot_ms", formatting.number)),
    ("Output, all users", "tokens/s", value("output_tokens_per_s", formatting.rate)),
    ("Output, per user", "tokens/s", value("output_tokens_per_s_per_user", formatting.rate)),
    ("Cost", "per hour", value("usd_per_hour", formatting.usd)),
    ("Cost of output", "per million tokens", value("usd_per_million_output_tokens", formatting.usd)),
    ("Energy", "J per token", value("energy_j_per_token", formatting.number)),
)


def result_lines(runs: Sequence[Compared]) -> list[Line]:
    """What came out, the same lines for every comparison."""
    return [Line(label, unit, [read(one.run.results) for one in runs]) for label, unit, read in RESULTS]
