"""Lists that the query string searches and sorts: columns, rows, links."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app.formatting import NOTHING

#: Letters of a search that count.
MOST_LETTERS = 100


@dataclass(frozen=True)
class Column:
    """A column: the key of its values in a row, its heading, and how a value is written."""

    key: str
    label: str
    write: Callable[[Any], str] | None = None
    #: What stands small below the heading.
    unit: str = ""

    @property
    def is_number(self) -> bool:
        return self.write is not None

    def text(self, row: Mapping[str, Any]) -> str:
        value = row[self.key]
        if value is None:
            return NOTHING
        return self.write(value) if self.write else str(value)


@dataclass(frozen=True)
class Listing:
    """What is asked of a list: words that a row must hold, the column it is sorted by, and which way."""

    columns: Sequence[Column]
    search: str
    sort: str
    descending: bool

    @classmethod
    def read(cls, columns: Sequence[Column], args: Mapping[str, str]) -> Listing:
        """From a query string; what means nothing counts as left out."""
        sort = args.get("sort", "")
        sort = sort if any(column.key == sort for column in columns) else ""
        return cls(columns, args.get("q", "").strip()[:MOST_LETTERS], sort, args.get("order") == "desc")

    def shown(self, rows: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
        """The rows with every word of the search, sorted; what is not known stands last, either way."""
        words = self.search.lower().split()
        found = [row for row in rows if all(word in row["words"] for word in words)]
        if not self.sort:
            return found
        known = [row for row in found if row[self.sort] is not None]
        known.sort(key=lambda row: _order(row[self.sort]), reverse=self.descending)
        return known + [row for row in found if row[self.sort] is None]

    def link(self, column: Column) -> dict[str, str]:
        """The query of the list sorted by a column: first the largest of numbers, and the other way round next."""
        turned = not self.descending if self.sort == column.key else column.is_number
        query = {"q": self.search} if self.search else {}
        return query | {"sort": column.key, "order": "desc" if turned else "asc"}

    def direction(self, column: Column) -> str:
        """The value of aria-sort; "" for a column that the list is not sorted by."""
        return ("descending" if self.descending else "ascending") if self.sort == column.key else ""


def _order(value: Any) -> Any:
    return value.lower() if isinstance(value, str) else value
