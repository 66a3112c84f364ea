"""Predictions beside the published measurements: `data/accuracy.csv.gz` of the calibration, read once and kept.

Every prediction in it was made without the row's own pair of model and GPU, so its errors are those of a pair that was
never seen. Held as arrays: twenty thousand rows take about a megabyte.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from app import catalog, training_catalog
from app.accuracy import scoring
from app.accuracy.scoring import Judged
from app.calculations.uncertainty import NEARNESS
from app.catalog import DATA, DataError
from app.measurements import published
from app.measurements.protocol import IN_VERSION, SPELLINGS
from app.measurements.training_notes import stack_of
from app.once import once

#: Of serving and of training.
FILES = (DATA / "accuracy.csv.gz", DATA / "training_accuracy.csv.gz")
COLUMNS = ("id", "predicted", "low", "high", "roofline", "tag")
NUMBERS = ("predicted", "low", "high", "roofline")
#: How far a measurement's conditions lay from those that the prediction was fitted to.
TAGS = NEARNESS
OTHER_TOOLS = ("tool", "metric_class", "error", "coverage", "source")
NOT_STATED, OTHER = "not stated", "other"

Numbers = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Facet:
    """One property of all rows: `values[codes[i]]` is that of row i."""

    values: tuple[str, ...]
    codes: NDArray[np.int32]

    @classmethod
    def of(cls, texts: Sequence[str]) -> Facet:
        values = tuple(sorted(set(texts)))
        place = {value: number for number, value in enumerate(values)}
        return cls(values, np.fromiter((place[text] for text in texts), np.int32, len(texts)))

    def text(self, row: int) -> str:
        return self.values[self.codes[row]]

    def equal(self, value: str) -> Mask:
        """Which rows have the value; none where no row has it."""
        code = self.values.index(value) if value in self.values else -1
        found: Mask = self.codes == code
        return found

    def counts(self, mask: Mask) -> dict[str, int]:
        """Value -> rows of the mask, only those that occur."""
        found = np.bincount(self.codes[mask], minlength=len(self.values))
        return {value: int(count) for value, count in zip(self.values, found, strict=True) if count}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Accuracy:
    """The rows that count, in the order of the tables. Not a number (NaN) is what was not predicted."""

    #: Row i is row `rows[i]` of `published.everything()`.
    rows: NDArray[np.int32]
    measured: Numbers
    predicted: Numbers
    low: Numbers
    high: Numbers
    #: Weights and cache over bandwidth, operations over peak, at one flat efficiency; power: the board's limit.
    roofline: Numbers
    #: metric, gpu, family, engine, year, source, tag.
    facets: Mapping[str, Facet]
    #: Measurements that count but are not in the file.
    missing: int
    #: Row of `published.everything()` -> row here.
    places: Mapping[int, int] = field(repr=False)

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_predicted(self) -> Mask:
        found: Mask = np.isfinite(self.predicted) & (self.predicted > 0)
        return found

    def judged(self, mask: Mask | None = None, *, roofline: bool = False) -> list[Judged]:
        """The rows of a mask as `scoring` judges them; `roofline` takes the naive prediction in place of ours."""
        chosen = np.arange(len(self)) if mask is None else np.flatnonzero(mask)
        sources, classes = self.facets["source"], self.facets["metric"]
        columns = [self.roofline] if roofline else [self.predicted, self.low, self.high]
        numbers = [_known(column[chosen]) for column in columns]
        return [
            Judged(sources.text(row), classes.text(row), measured, *found)
            for row, measured, *found in zip(chosen, self.measured[chosen].tolist(), *numbers, strict=True)
        ]


def _known(column: Numbers) -> list[float | None]:
    return [value if value == value else None for value in column.tolist()]


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherTool:
    """What the best other tool reaches on the same rows: its error on the share of rows that it predicts."""

    tool: str
    error: float
    coverage: float
    source: str


def engine_family(name: str, version: str = "") -> str:
    """The family of a table's engine: eras and spellings together; one that we lack keeps its name."""
    known = next((other for word, other in IN_VERSION.items() if word in version), SPELLINGS.get(name, name))
    engines = catalog.engines()
    return engines[known].family if known in engines else name


def engine_label(family: str) -> str:
    engines, stacks = catalog.engines(), training_catalog.stacks()
    return engines[family].label if family in engines else stacks[family].label if family in stacks else family


def framework_of(row: Mapping[str, str]) -> str:
    """The framework of a training row, its eras together."""
    return stack_of(row).family


def gpu_label(slug: str) -> str:
    gpus = catalog.preset_gpus()
    return gpus[slug].name if slug in gpus else slug


@cache
def gpu_slug(name: str) -> str:
    """The accelerator of the catalogue that a table's name means."""
    presets = catalog.preset_gpus()
    return name if name in presets else catalog.gpu_aliases().get(catalog.same(name), name)


@cache
def model_family(name: str) -> str:
    models = catalog.preset_models()
    found = name if name in models else catalog.model_aliases().get(catalog.same(name), "")
    return models[found].family if found in models else OTHER


#: Facet -> how a row of the tables has it.
FACETS: Mapping[str, Callable[[Mapping[str, str]], str]] = {
    "metric": lambda row: scoring.metric_class(row) or "",
    "gpu": lambda row: gpu_slug(row["gpu"]),
    "family": lambda row: model_family(row["model"]),
    "engine": lambda row: engine_family(row["engine"], row["engine_version"]) if row["engine"] else framework_of(row),
    "year": lambda row: row["source_date"][:4] or NOT_STATED,
    "source": lambda row: row["source"],
}


@once
def scorable() -> tuple[int, ...]:
    """The rows of `published.everything()` that count."""
    return tuple(number for number, row in enumerate(published.everything()) if scoring.metric_class(row) is not None)


@once
def read(path: Path, *more: Path) -> Accuracy | None:
    """The predictions of files, None where there is no first. Raises DataError where they do not fit."""
    if not path.exists():
        return None
    lines: list[list[str]] = []
    for one in (path, *(other for other in more if other.exists())):
        header, found = published.read(one)
        if tuple(header) != COLUMNS:
            raise DataError(f"{one.name}: columns differ: {set(header) ^ set(COLUMNS)}")
        lines += found
    positions, table = published.positions(), published.everything()
    unknown = [line[0] for line in lines if line[0] not in positions]
    if unknown:
        raise DataError(f"{path.name}: no measurement has the id {unknown[0]!r}")
    lines.sort(key=lambda line: positions[line[0]])
    numbers = [positions[line[0]] for line in lines]
    if len(set(numbers)) != len(numbers):
        raise DataError(f"{path.name}: an id stands twice")
    uncounted = set(numbers) - set(scorable())
    if uncounted:
        raise DataError(f"{path.name}: {table.columns['id'][min(uncounted)]!r} is no measurement that counts")
    tags = [line[-1] for line in lines]
    if not set(tags) <= set(TAGS):
        raise DataError(f"{path.name}: tags are {', '.join(TAGS)}, not {min(set(tags) - set(TAGS))!r}")
    rows = [table.row(number) for number in numbers]
    facets = {name: Facet.of([of(row) for row in rows]) for name, of in FACETS.items()}
    columns = {name: _floats(path, [line[COLUMNS.index(name)] for line in lines]) for name in NUMBERS}
    return Accuracy(
        rows=np.array(numbers, np.int32),
        measured=np.array([float(row["value"]) for row in rows]),
        **columns,
        facets=facets | {"tag": Facet.of(tags)},
        missing=len(scorable()) - len(rows),
        places={number: place for place, number in enumerate(numbers)},
    )


def _floats(path: Path, cells: Sequence[str]) -> Numbers:
    try:
        return np.array([float(cell) if cell else np.nan for cell in cells])
    except ValueError as error:
        raise DataError(f"{path.name}: {error}") from None


def current() -> Accuracy | None:
    """The predictions that ship, None before the first calibration."""
    return read(*FILES)


@cache
def other_tools() -> Mapping[str, OtherTool]:
    """Class of metrics -> the best other tool."""
    return {
        row["metric_class"]: OtherTool(
            tool=row["tool"], error=float(row["error"]), coverage=float(row["coverage"]), source=row["source"]
        )
        for row in catalog.rows(DATA / "other_tools.csv", OTHER_TOOLS)
    }
