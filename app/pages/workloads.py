"""Typical workloads to start from: what a button of the serving form, and of the planning form, fills in."""

from __future__ import annotations

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from app.catalog import DATA, DataError
from app.planning import PLANNING_INPUTS
from app.scenarios import ALL_INPUTS


@dataclass(frozen=True, slots=True, kw_only=True)
class TypicalWorkload:
    """Lengths and load of a use, and where they come from. Goals are None where nobody waits."""

    label: str
    reason: str
    input_tokens: int
    output_tokens: int
    #: Requests in flight, or "saturated".
    concurrency: int | str
    request_rate: float
    prefix_hit_rate: float = 0.0
    max_ttft_ms: float | None = None
    max_tpot_ms: float | None = None

    @property
    def serving(self) -> dict[str, object]:
        """The inputs of an estimate; those that it leaves open are emptied. It describes requests in flight."""
        return self._inputs("input_tokens", "output_tokens", "concurrency", "prefix_hit_rate") | {
            "arrival": ALL_INPUTS["arrival"].default,
            "request_rate": "",
        }

    @property
    def planning(self) -> dict[str, object]:
        """The inputs of a plan."""
        return self._inputs("input_tokens", "output_tokens", "request_rate") | {"concurrency": ""}

    def _inputs(self, *names: str) -> dict[str, object]:
        found = {name: getattr(self, name) for name in (*names, "max_ttft_ms", "max_tpot_ms")}
        return {name: "" if value is None else value for name, value in found.items()}


@cache
def workloads() -> Mapping[str, TypicalWorkload]:
    """The workloads of app/data/workloads.toml by name. Raises DataError."""
    with (DATA / "workloads.toml").open("rb") as file:
        return {name: _read(name, table) for name, table in tomllib.load(file).items()}


def _read(name: str, table: Mapping[str, object]) -> TypicalWorkload:
    fields = dataclasses.fields(TypicalWorkload)
    required = {field.name for field in fields if field.default is dataclasses.MISSING}
    if not required <= table.keys() <= {field.name for field in fields}:
        wrong = (required - table.keys()) | (table.keys() - {field.name for field in fields})
        raise DataError(f"workloads.toml: [{name}] lacks or has too many keys: {', '.join(sorted(wrong))}")
    found = TypicalWorkload(**table)  # type: ignore[arg-type]
    for declared, values in ((ALL_INPUTS, found.serving), (PLANNING_INPUTS, found.planning)):
        for key, value in values.items():
            declared[key].parse(value)
    return found
