"""How benchmarks ran that their tables do not say, out of their launch scripts: app/data/benchmarks.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from app.calculations.engine import release
from app.catalog import DATA, DataError

Row = Mapping[str, str]


def shape(row: Row) -> tuple[int, int]:
    """(prompt, output) in whole tokens."""
    return round(float(row.get("input_tokens") or 0)), round(float(row.get("output_tokens") or 0))


@dataclass(frozen=True, kw_only=True)
class Option:
    """What a launch script sets, and the runs that it starts."""

    model: str
    engines: tuple[str, ...]
    reference: str
    gpus: tuple[str, ...] = ()

    def covers(self, row: Row) -> bool:
        return (
            (row.get("model") or "").rpartition("/")[2].lower().startswith(self.model)
            and row.get("engine") in self.engines
            and (not self.gpus or row.get("gpu") in self.gpus)
        )


@dataclass(frozen=True, kw_only=True)
class KvCacheOption(Option):
    """A precision of the KV cache."""

    precision: str
    #: (first version, first month of builds without one); None: always.
    since: tuple[str, str] | None = None

    def covers(self, row: Row) -> bool:
        return super().covers(row) and (self.since is None or self._recent(row, *self.since))

    @staticmethod
    def _recent(row: Row, version: str, month: str) -> bool:
        number = release(row.get("engine_version") or "")
        return number >= (release(version) or (0, 0)) if number else (row.get("source_date") or "") >= month


@dataclass(frozen=True, kw_only=True)
class DraftOption(Option):
    """Speculative decoding: tokens drafted before each step, with attention in replicas and else."""

    version: str
    from_month: str
    draft_tokens: int
    draft_tokens_attention_dp: int
    acceptance_rate: float

    def covers(self, row: Row) -> bool:
        return (
            super().covers(row)
            and row.get("engine_version") == self.version
            and (row.get("source_date") or "") >= self.from_month
        )

    def drafts(self, row: Row) -> int:
        in_replicas = float(row.get("dp") or 1) > 1
        return self.draft_tokens_attention_dp if in_replicas else self.draft_tokens


@dataclass(frozen=True, slots=True, kw_only=True)
class Benchmark:
    """Shapes that a benchmark's own runs have (tokens), the spread of their lengths, options of its scripts."""

    source: str
    reference: str
    shapes: frozenset[tuple[int, int]]
    length_spread: float
    kv_cache: tuple[KvCacheOption, ...]
    drafts: tuple[DraftOption, ...]

    def kv_precision(self, row: Row) -> str:
        """Of a row of quantised weights; empty where the script sets none."""
        if not row.get("weight_precision"):
            return ""
        return next((option.precision for option in self.kv_cache if option.covers(row)), "")

    def drafting(self, row: Row) -> tuple[int, float] | None:
        """Drafted tokens and the rate of their acceptance; None where the script sets none."""
        found = next((option for option in self.drafts if option.covers(row)), None)
        return (found.drafts(row), found.acceptance_rate) if found else None


def benchmark_of(row: Row) -> Benchmark | None:
    """The benchmark that a row is a run of. Raises DataError."""
    source = row.get("source") or ""
    return next((one for one in benchmarks() if source.startswith(one.source) and shape(row) in one.shapes), None)


@cache
def benchmarks() -> tuple[Benchmark, ...]:
    """All of app/data/benchmarks.toml. Raises DataError."""
    with (DATA / "benchmarks.toml").open("rb") as file:
        tables = tomllib.load(file)
    try:
        return tuple(_read(table) for table in tables.values())
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"benchmarks.toml: {error}") from None


def _read(table: Mapping[str, Any]) -> Benchmark:
    def values(found: Mapping[str, Any]) -> dict[str, Any]:
        return {key: tuple(one) if isinstance(one, list) else one for key, one in found.items()}

    read: dict[str, Any] = dict(table)
    read["shapes"] = frozenset((prompt, output) for prompt, output in table["shapes"])
    read["kv_cache"] = tuple(KvCacheOption(**values(found)) for found in table["kv_cache"])
    read["drafts"] = tuple(DraftOption(**values(found)) for found in table["drafts"])
    return Benchmark(**read)
