"""The logged runs as rows of a table: a query in; filtered, sorted, paged rows out, by way of the index."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from math import inf
from typing import Any, NamedTuple, TypeVar

import sqlalchemy as sa

from app.calculations.watch import Watch, nobody
from app.history.database import IndexUnavailable, reason
from app.history.index import Index, State
from app.history.query import Filters, Query
from app.history.rows import COLUMN, Row
from app.history.run_log import RUN_ID, Run, RunLog
from app.history.run_notes import RunNotes
from app.history.shared_notes import SharedNotes
from app.history.tables import NUMBERS, milliseconds, runs, setups, time_text

#: Choices offered in one selection; the text search finds the rest.
MAX_CHOICES = 300
#: How long a page reads on in the log before it shows what it has.
BUDGET_SECONDS = 0.25
#: How long a database that did not answer is left alone by those who only bring news.
AWAY_SECONDS = 30.0
#: Fewer matching runs than one in so many are looked up one by one, more are met soon on a walk in order.
RARE = 50
#: Rows of a CSV file; `python -m app history --csv` knows no limit.
MAX_EXPORTED = 100_000
#: Points of a chart; more could not be told apart.
MAX_POINTS = 5000
#: Histories of more runs count anew what the selections offer only so often.
LONG, OFFERED_SECONDS = 10_000, 10.0
#: Runs that one filter finds by their tags or notes.
MAX_NOTED = 20_000
#: Rows fetched at once.
CHUNK = 2500
#: What no two runs share: a database orders as it likes what an order leaves open, on one page so and on the next
#: otherwise. The setup stands before the id as it does in the indexes, which then need no sorting.
TIME = (runs.c.milliseconds, runs.c.setup, runs.c.id)
NEWEST = [one.desc() for one in TIME]

Answer = TypeVar("Answer")
logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Choice:
    """A value that occurs in the history, its name, and how many runs have it."""

    value: str
    label: str
    count: int


@dataclass(frozen=True, slots=True)
class Offered:
    """The choices of a history of so many runs, and when they were counted."""

    runs: int = -1
    at: float = -inf
    choices: dict[str, list[Choice]] = field(default_factory=dict)


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
    #: Share of the log that is not read yet, from 0 to 1.
    unread: float
    #: Why the newest runs are missing here; nothing where they are not.
    outdated: str
    choices: Mapping[str, list[Choice]]

    @property
    def first(self) -> int:
        """Which of the matching runs is the first of this page, counted from one."""
        return (self.number - 1) * self.per_page + 1 if self.matching else 0

    @property
    def last(self) -> int:
        return self.first + len(self.rows) - 1 if self.matching else 0


class Point(NamedTuple):
    """A run as a point of a chart."""

    run_id: str
    milliseconds: int
    kind: str
    source: str
    model: str
    gpu_name: str
    num_gpus: float | None
    layout: str
    engine_name: str
    precision: str
    fits: bool | None
    input_tokens: float | None
    output_tokens: float | None
    concurrency: float | None
    used_bytes: float | None
    ttft_ms: float | None
    tpot_ms: float | None
    tokens_per_s: float | None
    tokens_per_s_per_user: float | None
    usd_per_hour: float | None


class History:
    """The runs of a log, newest first unless another order is asked for. Safe to share among threads.

    Every method raises OSError where the log cannot be read and IndexUnavailable where the index cannot be used.
    """

    def __init__(self, log: RunLog, index: Index) -> None:
        self._log = log
        self._index = index
        self.notes = RunNotes(log, SharedNotes(index) if index.url else None)
        self._offered = Offered()
        self._share_again = 0.0

    def query(self, query: Query) -> Page:
        """The page of rows that the query asks for; the last page where it asks for one beyond."""

        def page(db: sa.Connection) -> Page:
            state, search = self._index.state(db), self._search(db, query)
            pages = max(1, -(-search.matching // query.per_page))
            number = min(query.page, pages)
            ids = search.ids((number - 1) * query.per_page, query.per_page)
            return Page(
                rows=list(rows_of(db, ids)),
                number=number,
                pages=pages,
                per_page=query.per_page,
                matching=search.matching,
                total=state.runs,
                skipped=state.skipped,
                unread=min(1.0, state.behind / state.size) if state.size else 0.0,
                outdated=state.problem,
                choices=self._choices(db, state)
                | {"tag": [Choice(tag, tag, n) for tag, n in sorted(self.notes.tags().items())]},
            )

        return self._read(page)

    def _choices(self, db: sa.Connection, state: State) -> dict[str, list[Choice]]:
        """What the selections offer, of a long history up to some seconds old: counting takes the most of a page."""
        last, now = self._offered, time.monotonic()
        if last.runs != state.runs and (state.runs < LONG or now - last.at > OFFERED_SECONDS):
            last = self._offered = Offered(runs=state.runs, at=now, choices=choices(db))
        return last.choices

    def _search(self, db: sa.Connection, query: Query) -> Search:
        """What matches by setup and time, and by the tags and notes that people gave."""
        filters = query.filters
        tagged = self.notes.tagged(filters.tag) if filters.tag else None
        words = list(dict.fromkeys(filters.q.lower().split()))
        noted = [*with_the_rest(db, self.notes.lacking(words))] if words else []
        return Search(db, query, tagged=tagged, noted=noted)

    def export(self, query: Query, most: int, keep: Callable[[Iterator[Row], int], Answer]) -> Answer:
        """What `keep` makes of the first `most` rows that the query asks for, in its order, and of how many they are.
        It is called anew where the index turns out to be broken."""

        def kept(db: sa.Connection) -> Answer:
            ids = self._search(db, query).ids(0, most)
            return keep(rows_of(db, ids), len(ids))

        return self._read(kept)

    def matching(self, query: Query, most: int) -> list[Row]:
        """The first `most` rows that the query asks for, in its order."""
        return self.export(query, most, lambda rows, _: list(rows))

    def count(self, query: Query) -> int:
        """How many runs the query asks for."""
        return self._read(lambda db: self._search(db, query).matching)

    def points(self, query: Query, most: int = MAX_POINTS) -> list[Point]:
        """The newest runs that the filters let through, as points of a chart."""
        newest = Query(filters=query.filters)

        def points(db: sa.Connection) -> list[Point]:
            ids = self._search(db, newest).ids(0, most)
            of_run = {*NUMBERS, "run_id", "milliseconds"}
            columns = [(runs if name in of_run else setups).c[name] for name in Point._fields]
            return [Point._make(found) for found in _joined(db, ids, columns)]

        return self._read(points)

    def run(self, run_id: str) -> Run | None:
        """The run of this id, the newest where the log holds it twice; None if there is none."""
        return next(iter(self.runs([run_id])), None)

    def runs(self, run_ids: Sequence[str]) -> list[Run]:
        """The runs of these ids in their order; an id that no run has is left out.

        Without its index a log is searched itself. That of another server cannot be: what may be there is not left out.
        """
        wanted = {run_id for run_id in run_ids if RUN_ID.fullmatch(run_id)}
        known: dict[str, Run] = {}
        away: IndexUnavailable | None = None

        def indexed(db: sa.Connection) -> bool:
            """Take what the index knows; tells whether the log may hold the others."""
            known.update({one: run for one in wanted if (run := self._index.run(db, one)) is not None})
            return len(known) < len(wanted) and self._index.is_behind(db)

        try:
            may_be_in_log = self._read(indexed)
        except IndexUnavailable as error:
            logger.warning("The index of the history cannot be used: %s", error)
            may_be_in_log, away = True, error
        if may_be_in_log:
            known |= self._log.find(wanted - known.keys())
        if away is not None and self._index.url and len(known) < len(wanted):
            raise away
        return [known[run_id] for run_id in run_ids if run_id in known]

    def state(self) -> State:
        """What the index knows of the log."""
        return self._read(self._index.state)

    def share(self) -> None:
        """Put what was appended where the other servers of a shared index look, if there are others. Never raises."""
        if not self._index.url or time.monotonic() < self._share_again:
            return
        try:
            self._index.catch_up_soon(BUDGET_SECONDS)
        except (OSError, IndexUnavailable, sa.exc.SQLAlchemyError) as error:
            self._share_again = time.monotonic() + AWAY_SECONDS
            logger.warning("Other servers do not see the newest runs yet: %s", reason(error))

    def catch_up(self, watch: Watch = nobody) -> None:
        """Read the log to its end, however long that takes; `watch` is told how many bytes of how many are read."""
        self._guarded(lambda: self._index.catch_up(watch))

    def _read(self, work: Callable[[sa.Connection], Answer]) -> Answer:
        """What `work` finds in an index that has caught up, as far as a page can wait for that."""

        def caught_up() -> Answer:
            try:
                self._index.catch_up_soon(BUDGET_SECONDS)
            except sa.exc.DatabaseError as error:
                if self._index.is_broken(error):
                    raise
                logger.warning("The index of the history is not brought up to date: %s", reason(error))
            with self._index.reading() as db:
                return work(db)

        return self._guarded(caught_up)

    def _guarded(self, work: Callable[[], Answer]) -> Answer:
        """What `work` returns; a broken index is made anew first."""
        try:
            return work()
        except sa.exc.DatabaseError as error:
            if not self._index.is_broken(error):
                raise IndexUnavailable(reason(error)) from error
            logger.warning("The index of the history is broken and made anew: %s", reason(error))
        try:
            self._index.rebuild()
            return work()
        except sa.exc.SQLAlchemyError as error:
            raise IndexUnavailable(reason(error)) from error


class Search:
    """A query against one state of the index: how many runs match, and which they are in order."""

    def __init__(
        self, db: sa.Connection, query: Query, *, tagged: Sequence[str] | None = None, noted: Sequence[str] = ()
    ) -> None:
        """`tagged`: the runs that have the tag that is asked for; `noted`: those whose notes hold some of the words
        and their setups the others."""
        self._db = db
        self._order = query.sort
        words = word_conditions(query.filters)
        self._setup_conditions = setup_conditions(query.filters) + ([] if noted else words)
        self._run_conditions = time_conditions(query.filters)
        if noted:
            wordy = runs.c.setup.in_(sa.select(setups.c.id).where(*words))
            self._run_conditions.append(sa.or_(wordy, is_one_of(noted)))
        if tagged is not None:
            self._run_conditions.append(is_one_of(tagged))
        self.matching = self._count(self._setup_conditions)
        total = self._count([]) if self._setup_conditions or self._run_conditions else self.matching
        self._rare = self.matching * RARE < total

    def ids(self, offset: int, most: int) -> list[int]:
        """The runs from the offset on."""
        column = COLUMN[self._order.removeprefix("-")]
        descending = self._order.startswith("-")
        if column.field == "time":
            return self._walk([], [_directed(one, descending) for one in TIME], offset, most)
        if column.field in NUMBERS:
            groups = self._known_and_unknown(runs.c[column.field], descending)
        else:
            groups = self._by_value(setups.c[column.field], descending)
        found: list[int] = []
        for order, run_conditions, conditions in groups:
            some = self._walk(run_conditions, order, offset, most - len(found), conditions)
            found += some
            if len(found) == most:
                break
            offset = 0 if some or not offset else max(0, offset - self._count(conditions, run_conditions))
        return found

    def _known_and_unknown(self, column: sa.Column, descending: bool) -> Iterator[tuple[list, list, list]]:
        """The runs by a number; those that do not know it come last whichever way."""
        yield [_directed(column, descending), *NEWEST], [column.is_not(None)], self._setup_conditions
        yield NEWEST, [column.is_(None)], self._setup_conditions

    def _by_value(self, column: sa.Column, descending: bool) -> Iterator[tuple[list, list, list]]:
        """The runs by what many share: value by value, newest first in each; an empty one last."""
        key = sa.func.lower(column) if isinstance(column.type, sa.Text) else column
        values = [value for (value,) in self._db.execute(sa.select(key).where(*self._setup_conditions).distinct())]
        known = sorted((value for value in values if value not in (None, "")), reverse=descending)
        for value in [*known, *(value for value in values if value in (None, ""))]:
            same = key.is_(None) if value is None else key == value
            yield NEWEST, [], [*self._setup_conditions, same]

    def _walk(self, run_conditions: list, order: list, offset: int, most: int, conditions: list | None = None) -> list:
        """Ids in order. Where matches are rare, the index of setups or times finds them and they are sorted then."""
        conditions = self._setup_conditions if conditions is None else conditions
        query = sa.select(runs.c.id).where(*run_conditions, *self._run_conditions).offset(offset).limit(most)
        rare = self._rare
        if conditions:
            if conditions is not self._setup_conditions:
                rare = self._count(conditions) * RARE < self._count([])
            wanted = sa.select(setups.c.id).where(*conditions)
            # A sum is no column that has an index: what shall not be looked up by is written as one.
            query = query.where((runs.c.setup if rare else runs.c.setup + 0).in_(wanted))
        return list(self._db.scalars(query.order_by(*order)))

    def _count(self, conditions: list, run_conditions: Iterable = ()) -> int:
        """How many runs meet conditions on their setup and on themselves."""
        run_conditions = [*run_conditions, *self._run_conditions]
        if not run_conditions:
            total = sa.select(sa.func.coalesce(sa.func.sum(setups.c.runs), 0)).where(*conditions)
            return int(self._db.scalars(total).one())
        query = sa.select(sa.func.count()).select_from(runs).where(*run_conditions)
        if conditions:
            query = query.where(runs.c.setup.in_(sa.select(setups.c.id).where(*conditions)))
        return int(self._db.scalars(query).one())


def _directed(column: sa.Column, descending: bool) -> sa.UnaryExpression:
    return column.desc() if descending else column.asc()


def setup_conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    """What the filters ask of model, GPU and all else that runs share."""
    if any("\0" in getattr(filters, name) for name in ("model", "gpu", "engine")):
        return [sa.false()]  # No row holds this character, and PostgreSQL refuses a question with it.
    conditions: list[sa.ColumnElement[bool]] = [
        setups.c[name] == getattr(filters, name)
        for name in ("model", "gpu", "engine", "source", "kind")
        if getattr(filters, name)
    ]
    if filters.fits:
        conditions.append(setups.c.fits == (filters.fits == "yes"))
    return conditions


def word_conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    """That a setup holds every word."""
    return [holds(word) for word in filters.q.lower().split()]


def holds(word: str) -> sa.ColumnElement[bool]:
    """That a setup holds a word, which is in small letters."""
    if "\0" in word:  # As above.
        return sa.false()
    return setups.c.words.contains(word, autoescape=True)


def with_the_rest(db: sa.Connection, lacking: Mapping[str, Sequence[str]]) -> Iterator[str]:
    """The runs whose setup holds every word that their note lacks; in their order, of very many the newest."""
    rest = {word for words in lacking.values() for word in words}
    # A word that no setup holds rules out in one look what would be looked up run by run.
    held = {word for word in rest if db.scalar(sa.select(sa.exists().where(holds(word))))}
    candidates = [run_id for run_id, words in lacking.items() if held.issuperset(words)][-MAX_NOTED:]
    open_ones = [run_id for run_id in candidates if lacking[run_id]]
    met: set[str] = set()
    for start in range(0, len(open_ones), CHUNK):
        some = open_ones[start : start + CHUNK]
        query = sa.select(runs.c.run_id, setups.c.words).join_from(runs, setups, runs.c.setup == setups.c.id)
        found = db.execute(query.where(runs.c.run_id.in_(some)))
        met.update(run_id for run_id, words in found if all(word in words for word in lacking[run_id]))
    yield from (run_id for run_id in candidates if not lacking[run_id] or run_id in met)


def is_one_of(run_ids: Sequence[str]) -> sa.ColumnElement[bool]:
    """That a run is one of these; of very many the newest notes count, since a database takes only so many values."""
    return runs.c.run_id.in_(run_ids[-MAX_NOTED:])


def time_conditions(filters: Filters) -> list[sa.ColumnElement[bool]]:
    """Which days, in UTC, the filters ask for."""
    day = 24 * 60 * 60 * 1000
    conditions: list[sa.ColumnElement[bool]] = []
    if filters.since:
        conditions.append(runs.c.milliseconds >= milliseconds(filters.since + "T00:00:00.000Z"))
    if filters.until:
        conditions.append(runs.c.milliseconds < milliseconds(filters.until + "T00:00:00.000Z") + day)
    return conditions


def choices(db: sa.Connection) -> dict[str, list[Choice]]:
    """Per selection the values that occur, by name."""
    offered = {}
    for name, label in (("model", "model"), ("gpu", "gpu_name"), ("engine", "engine_name"), ("source", "source")):
        count = sa.func.sum(setups.c.runs)
        query = (
            sa.select(setups.c[name], sa.func.max(setups.c[label]), count)
            .where(setups.c[name] != "")
            .group_by(setups.c[name])
            .having(count > 0)
            .order_by(count.desc())
            .limit(MAX_CHOICES)
        )
        found = [Choice(value, shown, int(number)) for value, shown, number in db.execute(query)]
        offered[name] = sorted(found, key=lambda choice: choice.label.lower())
    return offered


def rows_of(db: sa.Connection, ids: Sequence[int]) -> Iterator[Row]:
    """The rows of these runs, in their order."""
    names = [name for name in Row._fields if name != "time"]
    columns = [(runs if name in (*NUMBERS, "run_id") else setups).c[name] for name in names]
    for since_1970, *values in _joined(db, ids, [runs.c.milliseconds, *columns]):
        yield Row(**dict(zip(names, values, strict=True)), time=time_text(since_1970))


def _joined(db: sa.Connection, ids: Sequence[int], columns: Sequence[sa.Column]) -> Iterator[Any]:
    """These columns of these runs, in their order."""
    join = sa.select(runs.c.id.label("run_number"), *columns).join_from(runs, setups, runs.c.setup == setups.c.id)
    for start in range(0, len(ids), CHUNK):
        some = ids[start : start + CHUNK]
        found = {row[0]: row[1:] for row in db.execute(join.where(runs.c.id.in_(some))).all()}
        yield from (found[one] for one in some if one in found)
