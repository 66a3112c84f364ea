"""The logged runs as rows of a table: a query in; filtered, sorted, paged rows out.

The rows are a cache of the log in this process: thrown away and read again at any time, and only appended
lines are read for the next request.
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from operator import attrgetter

from app.history_query import Filters, Query
from app.history_rows import COLUMN, DEFAULT_SORT, Row
from app.run_log import FILES, Mark, Run, RunLog

#: Runs kept in memory, about 0.7 kB each; of a longer history the oldest are left out.
MAX_ROWS = 100_000
#: Choices offered in one selection; the text search finds the rest.
MAX_CHOICES = 300


@dataclass(frozen=True, slots=True)
class Choice:
    """A value that occurs in the history, its name, and how many runs have it."""

    value: str
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All rows at one moment, oldest first, with what is known about the whole."""

    rows: list[Row] = field(default_factory=list)
    choices: dict[str, list[Choice]] = field(default_factory=dict)
    skipped: int = 0
    older_left_out: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    """The rows of one page and where it stands among all that match."""

    rows: list[Row]
    number: int
    pages: int
    per_page: int
    matching: int
    #: Of the whole history, whatever the filters say.
    total: int
    skipped: int
    older_left_out: bool
    choices: Mapping[str, list[Choice]]

    @property
    def first(self) -> int:
        """Which of the matching runs is the first of this page, counted from one."""
        return (self.number - 1) * self.per_page + 1 if self.matching else 0

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1 if self.matching else 0


@dataclass
class _File:
    """The rows of one log file and how far it has been read."""

    mark: Mark | None = None
    rows: list[Row] = field(default_factory=list)
    skipped: int = 0
    torn: bool = False
    older_left_out: bool = False


class History:
    """The runs of a log, newest first unless another order is asked for. Safe to share among threads."""

    def __init__(self, log: RunLog, max_rows: int = MAX_ROWS) -> None:
        self._log = log
        self._max_rows = max_rows
        self._files = {name: _File() for name in FILES}
        self._lock = threading.Lock()
        self._snapshot = Snapshot()

    def query(self, query: Query) -> Page:
        """The page of rows that the query asks for; the last page where it asks for one beyond."""
        snapshot = self.snapshot()
        rows = _ordered(_filtered(snapshot.rows, query.filters), query.sort)
        pages = max(1, -(-len(rows) // query.per_page))
        number = min(query.page, pages)
        start = (number - 1) * query.per_page
        return Page(
            rows=rows[start : start + query.per_page],
            number=number,
            pages=pages,
            per_page=query.per_page,
            matching=len(rows),
            total=len(snapshot.rows),
            skipped=snapshot.skipped,
            older_left_out=snapshot.older_left_out,
            choices=snapshot.choices,
        )

    def matching(self, query: Query) -> list[Row]:
        """All rows that the query asks for, in its order."""
        return _ordered(_filtered(self.snapshot().rows, query.filters), query.sort)

    def runs(self, run_ids: Sequence[str]) -> list[Run]:
        """The runs of these ids in their order; an id that no run has is left out."""
        found = self._log.find(run_ids)
        return [found[run_id] for run_id in run_ids if run_id in found]

    def snapshot(self) -> Snapshot:
        """The rows as of now. Only what was appended since the last call is read."""
        with self._lock:
            changes = [self._follow(name, file) for name, file in self._files.items()]
            if any(changes):
                self._snapshot = self._merged()
            return self._snapshot

    def _follow(self, name: str, file: _File) -> bool:
        """Read on in one file; whether anything changed."""
        news = self._log.follow(name, file.mark, self._max_rows, Row.of)
        if news.restarted:
            file.rows, file.skipped, file.older_left_out = [], 0, False
        changed = bool(news.restarted or news.items or news.skipped or news.torn != file.torn)
        rows = file.rows + news.items if news.items else file.rows
        file.older_left_out |= news.more or len(rows) > self._max_rows
        file.rows = rows[-self._max_rows :]
        file.skipped += news.skipped
        file.torn = news.torn
        file.mark = news.mark
        return changed

    def _merged(self) -> Snapshot:
        files = self._files.values()
        rows = sorted((row for file in files for row in file.rows), key=attrgetter("time"))
        kept = rows[-self._max_rows :]
        return Snapshot(
            rows=kept,
            choices=_choices(kept),
            skipped=sum(file.skipped + file.torn for file in files),
            older_left_out=len(kept) < len(rows) or any(file.older_left_out for file in files),
        )


def _choices(rows: list[Row]) -> dict[str, list[Choice]]:
    """Per selection the values that occur, by name."""
    choices = {}
    for name, label in (
        ("model", "model"),
        ("gpu", "gpu_name"),
        ("engine", "engine_name"),
        ("source", "source"),
    ):
        counts = Counter(map(attrgetter(name), rows))
        labels = dict(zip(map(attrgetter(name), rows), map(attrgetter(label), rows), strict=True))
        offered = [Choice(value, labels[value], n) for value, n in counts.most_common(MAX_CHOICES) if value]
        choices[name] = sorted(offered, key=lambda choice: choice.label.lower())
    return choices


def _filtered(rows: list[Row], filters: Filters) -> list[Row]:
    for test in filters.tests():
        rows = [row for row in rows if test(row)]
    return rows


def _ordered(rows: list[Row], sort: str) -> list[Row]:
    """Sorted; equal rows newest first, and those that do not know last whichever way."""
    newest_first = rows[::-1]
    if sort == DEFAULT_SORT:
        return newest_first
    key = COLUMN[sort.removeprefix("-")].key
    known = [row for row in newest_first if key(row) not in (None, "")]
    unknown = [row for row in newest_first if key(row) in (None, "")]
    return sorted(known, key=key, reverse=sort.startswith("-")) + unknown
