"""What the address of the accuracy page asks for: which measurements, read from the query string."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields

import numpy as np

from app.accuracy.crossvalidated import TAGS, Accuracy, Mask, engine_label, gpu_label
from app.accuracy.scoring import CLASS_NAMES
from app.calculations.errors import InvalidInput
from app.history.query import Reader


@dataclass(frozen=True, slots=True)
class Query:
    """The measurements that are wanted; an empty text lets every one through."""

    metric: str = ""
    gpu: str = ""
    family: str = ""
    engine: str = ""
    year: str = ""
    source: str = ""
    tag: str = ""

    @classmethod
    def read(cls, args: Mapping[str, Sequence[str]]) -> tuple[Query, list[InvalidInput]]:
        """The query of a query string, and what is wrong with it; a wrong value counts as not given."""
        reader = Reader(args)
        query = cls(
            metric=reader.one_of("metric", tuple(CLASS_NAMES)),
            gpu=reader.short("gpu"),
            family=reader.short("family"),
            engine=reader.short("engine"),
            year=reader.short("year"),
            source=reader.short("source"),
            tag=reader.one_of("tag", TAGS),
        )
        return query, reader.errors

    def args(self, **changes: str) -> dict[str, str]:
        """The query string that says this, changed; what is not filtered by is not said."""
        return {name: value for name in NAMES if (value := changes.get(name, getattr(self, name)))}

    def mask(self, data: Accuracy, *, without: str = "") -> Mask:
        """The rows that it lets through, or would without one of its filters."""
        mask: Mask = np.ones(len(data), np.bool_)
        for name, value in self.args().items():
            if name != without:
                mask &= data.facets[name].equal(value)
        return mask


NAMES = tuple(field.name for field in fields(Query))
#: Filter -> what it is called on the page.
LABELS = {
    "metric": "Measured",
    "gpu": "GPU",
    "family": "Model family",
    "engine": "Engine",
    "year": "Year",
    "source": "Source",
    "tag": "Nearness",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """A value that a filter can take, and how many rows it would leave."""

    value: str
    label: str
    count: int


def label(name: str, value: str) -> str:
    """What a value of a filter is called."""
    if name == "metric":
        return CLASS_NAMES.get(value, value)
    return {"gpu": gpu_label, "engine": engine_label}.get(name, str)(value)


def choices(data: Accuracy, query: Query) -> dict[str, list[Choice]]:
    """Filter -> the values that occur among the rows that the other filters let through."""
    found = {}
    for name in NAMES:
        counts = data.facets[name].counts(query.mask(data, without=name))
        ones = [Choice(value, label(name, value), count) for value, count in counts.items()]
        orders = {"metric": tuple(CLASS_NAMES), "tag": TAGS}
        order = orders.get(name)
        ones.sort(key=lambda one: order.index(one.value) if order else one.label.lower())
        found[name] = ones[::-1] if name == "year" else ones
    return found
