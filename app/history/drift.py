"""Runs of the log calculated again with today's calculator: how far its numbers have moved since."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app import formatting
from app.calculations.errors import InvalidInput
from app.history.comparison import Compared
from app.history.rows import number, part
from app.history.run_log import Run
from app.runs import estimate_run, train_run
from app.version import APP_VERSION

#: Kind of a run -> how it is calculated; what takes longer than a page may is not.
AGAIN: dict[str, Callable[..., Run]] = {"estimate": estimate_run, "train": train_run}
#: What is held against each other: key of the results, what it is called, its unit, how it is written.
SHOWN: tuple[tuple[str, str, str, Callable[[float | None], str]], ...] = (
    ("ttft_ms", "TTFT", "ms", formatting.number),
    ("tpot_ms", "TPOT", "ms", formatting.number),
    ("output_tokens_per_s", "Output, all users", "tokens/s", formatting.rate),
    ("usd_per_million_output_tokens", "Cost of output", "$ per million tokens", formatting.usd),
    ("step_time_s", "Training step", "s", formatting.number),
    ("tokens_per_s_per_gpu", "Trained per GPU", "tokens/s", formatting.rate),
)


@dataclass(frozen=True, slots=True)
class Line:
    """One number then and now; `change` is now / then - 1."""

    label: str
    unit: str
    then: str
    now: str
    change: float | None

    @property
    def moved(self) -> str:
        if self.change is None:
            return formatting.UNKNOWN
        return "same" if abs(self.change) < 5e-4 else f"{self.change:+.1%}"


@dataclass(frozen=True, slots=True)
class Drift:
    """A run beside its calculation of today; `problem` says why there is none."""

    letter: str
    title: str
    version: str
    now_version: str
    lines: tuple[Line, ...] = ()
    problem: str = ""


def drifts(runs: Sequence[Compared]) -> list[Drift]:
    return [drift(one) for one in runs]


def drift(one: Compared) -> Drift:
    """Nothing is logged."""
    run = one.run
    base = Drift(one.letter, one.title, run.app_version, APP_VERSION)
    again = AGAIN.get(run.kind)
    if again is None:
        return replaced(base, problem=f"A run of kind {run.kind} is not calculated again here; open it instead.")
    try:
        now = again(run.inputs, source=run.source).results
    except InvalidInput as error:
        return replaced(base, problem=f"Today's calculator refuses it: {error}")
    found = (line_of(run.results, now, key, label, unit, written) for key, label, unit, written in SHOWN)
    lines = [line for line in found if line is not None]
    return replaced(base, lines=tuple(lines))


def replaced(base: Drift, **changes: Any) -> Drift:
    return Drift(base.letter, base.title, base.version, base.now_version, **changes)


def line_of(
    then: Mapping[str, Any],
    now: Mapping[str, Any],
    key: str,
    label: str,
    unit: str,
    written: Callable[[float | None], str],
) -> Line | None:
    """None where neither has the number."""
    values = [number(part(dict(results), key), "value") for results in (then, now)]
    if values == [None, None]:
        return None
    before, after = values
    change = after / before - 1 if before and after is not None else None
    return Line(label, unit, written(before), written(after), change)
