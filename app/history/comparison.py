"""Several runs side by side: what was asked of each, where they differ, and what came out."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from string import ascii_uppercase
from typing import Any

from app import formatting
from app.calculations.inputs import Input, inputs_of
from app.calculations.planning.inputs import PlanningInputs
from app.calculations.scenario import CustomAccelerator, CustomArchitecture, ServingInputs
from app.calculations.training.inputs import TrainingInputs
from app.history.rows import Row, layout_text, number, number_at, part, text
from app.history.run_log import Run

#: What an input says that was left to the calculator.
AUTOMATIC = "automatic"

#: Kind of run -> what it may be given.
_ASKED: dict[str, dict[str, Input]] = {
    kind: {name: one for declared in scenarios for name, one in inputs_of(declared).items()}
    for kind, scenarios in {
        "estimate": (ServingInputs, CustomArchitecture, CustomAccelerator),
        "train": (TrainingInputs, CustomArchitecture, CustomAccelerator),
        "plan": (PlanningInputs,),
    }.items()
}
#: All of them; one that several kinds have is named as the first names it.
_INPUTS: dict[str, Input] = {}
for _asked in _ASKED.values():
    _INPUTS |= {name: one for name, one in _asked.items() if name not in _INPUTS}


@dataclass(frozen=True, slots=True)
class Compared:
    """One run of a comparison: a letter that stands for it in charts and tables, the run, and its row."""

    letter: str
    run: Run
    row: Row

    @property
    def title(self) -> str:
        """Model on how many of which accelerator, which a plan has yet to find."""
        if self.run.kind == "plan":
            return f"Plan for {self.row.model}"
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
            [given_text(one.run, name) for one in runs],
        )
        for name in names
    ]


def given_text(run: Run, name: str) -> str:
    """What a run was given, or whether it is asked for that at all."""
    if name not in run.inputs and name not in _ASKED.get(run.kind, _INPUTS):
        return formatting.NOTHING
    return input_text(run.inputs.get(name))


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
    return "yes" if fits is True else "no" if fits is False else formatting.NOTHING


def strategy(results: dict[str, Any]) -> str:
    """How the model is cut, in words where the results have them."""
    layout = part(results, "layout")
    ways = layout_text(*(number(layout, way) for way in ("tp", "pp", "dp", "ep")))
    return text(results, "strategy") or text(layout, "strategy") or ways or formatting.NOTHING


def gpus(results: dict[str, Any]) -> str:
    count = number_at(results, "layout", "num_gpus") or number(results, "num_gpus")
    return formatting.integer(count) if count else formatting.NOTHING


def value(show: Callable[[float | None], str], *path: str) -> Callable[[dict[str, Any]], str]:
    """How to read a number at the end of a path, which a run of another kind has no place for."""
    *parents, name = path

    def read(results: dict[str, Any]) -> str:
        for one in parents:
            results = part(results, one)
        return show(number(results, name)) if name in results else formatting.NOTHING

    return read


def memory(name: str) -> Callable[[dict[str, Any]], str]:
    return value(formatting.gib, "memory_bytes_per_gpu", name)


#: Label, unit, and how to read it from the results.
RESULTS: tuple[tuple[str, str, Callable[[dict[str, Any]], str]], ...] = (
    ("Fits", "", fits_text),
    ("GPUs", "", gpus),
    ("Layout", "", strategy),
    ("Weights", "GiB per GPU", memory("weights")),
    ("FP32 weights", "GiB per GPU", memory("master_weights")),
    ("Gradients", "GiB per GPU", memory("gradients")),
    ("Optimizer states", "GiB per GPU", memory("optimizer_states")),
    ("Adapters", "GiB per GPU", memory("adapters")),
    ("KV cache", "GiB per GPU", memory("kv_cache")),
    ("Activations", "GiB per GPU", memory("activations")),
    ("Runtime", "GiB per GPU", memory("runtime")),
    ("Total", "GiB per GPU", memory("total")),
    ("Capacity", "GiB per GPU", memory("capacity")),
    ("Largest concurrency", "requests", value(formatting.integer, "max_concurrency")),
    ("TTFT", "ms", value(formatting.number, "ttft_ms", "value")),
    ("TPOT", "ms", value(formatting.number, "tpot_ms", "value")),
    ("Output, all users", "tokens/s", value(formatting.rate, "output_tokens_per_s", "value")),
    ("Output, per user", "tokens/s", value(formatting.rate, "output_tokens_per_s_per_user", "value")),
    ("Cost", "per hour", value(formatting.usd, "usd_per_hour", "value")),
    ("Cost of output", "per million tokens", value(formatting.usd, "usd_per_million_output_tokens", "value")),
    ("Energy", "J per token", value(formatting.number, "energy_j_per_token", "value")),
    ("Training step", "s", value(formatting.number, "step_time_s", "value")),
    ("Trained per GPU", "tokens/s", value(formatting.rate, "tokens_per_s_per_gpu", "value")),
    ("MFU", "", value(formatting.percent, "mfu", "value")),
    ("Training run", "days", value(formatting.number, "run", "days", "value")),
    ("Training run", "USD", value(formatting.usd, "run", "usd", "value")),
    ("Training run", "MWh", value(formatting.number, "run", "mwh", "value")),
)


def answer(run: Run) -> dict[str, Any]:
    """What came out: of a plan, its best."""
    plans = run.results.get("plans")
    return plans[0] if isinstance(plans, list) and plans and isinstance(plans[0], dict) else run.results


def result_lines(runs: Sequence[Compared]) -> list[Line]:
    """What came out, as far as any of the runs says it."""
    lines = [Line(label, unit, [read(answer(one.run)) for one in runs]) for label, unit, read in RESULTS]
    return [line for line in lines if set(line.cells) != {formatting.NOTHING}]
