"""What the address of the history page asks for: filters, order, page and ticked runs, read from the query string."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from app.calculations.errors import InvalidInput
from app.history.rows import DEFAULT_SORT, MAX_TEXT, SORTS, Column
from app.history.run_log import RUN_ID, SOURCES
from app.history.view import NO_CHART, View

#: Runs compared at once.
MAX_COMPARED = 12
PER_PAGE = (25, 50, 100)
KINDS = ("estimate", "train", "plan")
#: Where a page number ends.
MAX_PAGE = 1_000_000


@dataclass(frozen=True, slots=True)
class Filters:
    """Which runs are wanted; an empty text lets every run through."""

    q: str = ""
    model: str = ""
    gpu: str = ""
    engine: str = ""
    source: str = ""
    kind: str = ""
    fits: str = ""
    tag: str = ""
    since: str = ""
    until: str = ""


#: Names in the query string of the filters whose own names Python has taken, or that read better.
QUERY_NAMES = {"since": "from", "until": "to"}


@dataclass(frozen=True, slots=True)
class Query:
    """The whole state of the history page. `selected` are the runs ticked for comparison."""

    filters: Filters = Filters()
    sort: str = DEFAULT_SORT
    page: int = 1
    per_page: int = 50
    #: How the runs that match are drawn.
    view: View = NO_CHART
    #: Whether the ticked runs are calculated again.
    drift: str = ""
    selected: tuple[str, ...] = ()

    @classmethod
    def read(cls, args: Mapping[str, Sequence[str]]) -> tuple[Query, list[InvalidInput]]:
        """The query of a query string, and what is wrong with it; a wrong value counts as not given."""
        reader = Reader(args)
        query = cls(
            filters=Filters(
                q=reader.short("q"),
                model=reader.short("model"),
                gpu=reader.short("gpu"),
                engine=reader.short("engine"),
                source=reader.one_of("source", SOURCES),
                kind=reader.one_of("kind", KINDS),
                fits=reader.one_of("fits", ("yes", "no")),
                tag=reader.short("tag"),
                since=reader.day("from"),
                until=reader.day("to"),
            ),
            sort=reader.one_of("sort", SORTS, DEFAULT_SORT),
            page=reader.page("page"),
            per_page=int(reader.one_of("per_page", tuple(map(str, PER_PAGE)), "50")),
            view=View.read(reader),
            drift=reader.one_of("drift", ("yes",)),
            selected=reader.runs("run"),
        )
        filters = query.filters
        if filters.since and filters.until and filters.since > filters.until:
            reader.refuse("to", filters.until, "is before the first day", f"{filters.since} or later")
            query = replace(query, filters=replace(filters, until=""))
        return query, reader.errors

    def only(self, selected: tuple[str, ...], page: int) -> Query:
        """The same with what turned out to exist: these runs, this page."""
        return replace(self, selected=selected, page=page)

    def tagged(self, tag: str) -> Query:
        """The same of the runs that have this tag."""
        return replace(self, filters=replace(self.filters, tag=tag))

    def args(self, **changes: Any) -> dict[str, Any]:
        """The query string that says this, changed; what is as by default is not said."""
        query = replace(self, **{"page": 1, **changes})  # Another order or filter begins at the first page.
        said = {
            QUERY_NAMES.get(name, name): getattr(query.filters, name)
            for name in Filters.__slots__
            if getattr(query.filters, name)
        }
        default = Query()
        for name in ("sort", "page", "per_page", "drift"):
            if getattr(query, name) != getattr(default, name):
                said[name] = getattr(query, name)
        said |= query.view.args()
        if query.selected:
            said["run"] = list(query.selected)
        return said

    def sort_after_click(self, column: Column) -> str:
        """The order that a click on the heading asks for: turned round if it is sorted by it already."""
        up, down = column.name, f"-{column.name}"
        first, second = (up, down) if column.kind == "text" else (down, up)
        return second if self.sort == first else first

    def direction(self, column: Column) -> str | None:
        """For aria-sort; None where the table is not sorted by the column."""
        return {column.name: "ascending", f"-{column.name}": "descending"}.get(self.sort)


class Reader:
    """Reads the values of a query string and keeps what is wrong with them."""

    def __init__(self, args: Mapping[str, Sequence[str]]) -> None:
        self.args = args
        self.errors: list[InvalidInput] = []

    def refuse(self, name: str, value: str, why: str, allowed: str) -> None:
        shown = value if len(value) <= 60 else value[:57] + "..."
        self.errors.append(InvalidInput(name, f"{shown!r} {why}", allowed))

    def given(self, name: str) -> str:
        values = self.args.get(name) or ("",)
        return values[0].strip()

    def short(self, name: str) -> str:
        value = self.given(name)
        if len(value) > MAX_TEXT:
            self.refuse(name, value, "is too long", f"up to {MAX_TEXT} characters")
            return ""
        return value

    def one_of(self, name: str, allowed: Sequence[str], default: str = "") -> str:
        value = self.given(name)
        if value and value not in allowed:
            self.refuse(name, value, "is not one of the choices", ", ".join(allowed))
            return default
        return value or default

    def day(self, name: str) -> str:
        value = self.given(name)
        try:
            return date.fromisoformat(value).isoformat() if value else ""
        except ValueError:
            self.refuse(name, value, "is not a day", "a date as in 2026-11-23")
            return ""

    def page(self, name: str) -> int:
        value = self.given(name)
        if not value:
            return 1
        if not (value.isascii() and value.isdigit() and len(value) < 10 and 1 <= int(value) <= MAX_PAGE):
            self.refuse(name, value, "is not a page", f"a whole number from 1 to {MAX_PAGE:,}")
            return 1
        return int(value)

    def runs(self, name: str) -> tuple[str, ...]:
        values = dict.fromkeys(value.strip() for value in self.args.get(name, ()) if value.strip())
        ids = [value for value in values if RUN_ID.fullmatch(value)]
        for value in [value for value in values if not RUN_ID.fullmatch(value)][:3]:
            self.refuse(name, value, "is not the id of a run", "the id of a run in the table")
        if len(ids) > MAX_COMPARED:
            self.refuse(
                name,
                f"{len(ids)} runs",
                "are more than can be compared",
                f"up to {MAX_COMPARED} runs at once",
            )
        return tuple(ids[:MAX_COMPARED])
