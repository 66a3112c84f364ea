"""The logged runs as rows of a table: the query string in; filtered, sorted, paged rows out.

The rows are a cache of the log in this process: thrown away and read again at any time, and only appended
lines are read for the next request.
"""

from __future__ import annotations

import functools
import math
import threading
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date
from operator import attrgetter
from typing import Any

from app.calculations.errors import InvalidInput
from app.run_log import FILES, RUN_ID, SOURCES, Mark, Run, RunLog

#: Runs kept in memory, about 0.7 kB each; of a longer history the oldest are left out.
MAX_ROWS = 100_000
#: Runs compared at once.
MAX_COMPARED = 12
PER_PAGE = (25, 50, 100)
#: Choices offered in one selection; the text search finds the rest.
MAX_CHOICES = 300
MAX_TEXT = 200
#: Where a page number ends.
MAX_PAGE = 1_000_000


@dataclass(frozen=True, slots=True)
class Row:
    """What the table shows of a run. None is what the run does not say."""

    run_id: str
    time: str
    source: str
    kind: str
    model: str
    gpu: str
    gpu_name: str
    num_gpus: float | None
    layout: str
    engine: str
    engine_name: str
    precision: str
    input_tokens: float | None
    output_tokens: float | None
    #: math.inf is "saturated": as many requests as the memory holds.
    concurrency: float | None
    fits: bool | None
    used_bytes: float | None
    capacity_bytes: float | None
    ttft_ms: float | None
    tpot_ms: float | None
    tokens_per_s: float | None
    tokens_per_s_per_user: float | None
    usd_per_hour: float | None
    #: In lower case, what the text search looks through.
    words: str

    @property
    def saturated(self) -> bool:
        """Whether as many requests were asked for as the memory holds."""
        return self.concurrency == math.inf

    @classmethod
    def of(cls, run: Run) -> Row:
        """The row of a run; whatever a foreign run holds, it only makes fields unknown."""
        inputs, results = run.inputs, run.results
        memory, layout = part(results, "memory_bytes_per_gpu"), part(results, "layout")
        gpu_part, engine_part = part(results, "gpu"), part(results, "engine")
        model = text(part(results, "model"), "name") or text(inputs, "model")
        gpu = text(gpu_part, "slug") or text(inputs, "gpu")
        gpu_name = text(gpu_part, "name") or gpu
        engine = text(engine_part, "name") or text(inputs, "engine")
        saturated = inputs.get("concurrency") == "saturated"
        return cls(
            run_id=run.run_id,
            time=run.time,
            source=_kept(run.source),
            kind=_kept(run.kind),
            model=model,
            gpu=gpu,
            gpu_name=gpu_name,
            num_gpus=number(layout, "num_gpus") or number(inputs, "num_gpus"),
            layout=layout_text(layout),
            engine=engine,
            engine_name=text(engine_part, "label") or engine,
            precision=precision_text(part(results, "precision")),
            input_tokens=number(inputs, "input_tokens"),
            output_tokens=number(inputs, "output_tokens"),
            concurrency=math.inf if saturated else number(inputs, "concurrency"),
            fits=results["fits"] if isinstance(results.get("fits"), bool) else None,
            used_bytes=number(memory, "total"),
            capacity_bytes=number(memory, "capacity"),
            ttft_ms=number(part(results, "ttft_ms"), "value"),
            tpot_ms=number(part(results, "tpot_ms"), "value"),
            tokens_per_s=number(part(results, "output_tokens_per_s"), "value"),
            tokens_per_s_per_user=number(part(results, "output_tokens_per_s_per_user"), "value"),
            usd_per_hour=number(part(results, "usd_per_hour"), "value"),
            words=_kept(f"{model} {gpu} {gpu_name}".lower()),
        )


def part(whole: dict[str, Any], name: str) -> dict[str, Any]:
    """The object of that name; an empty one where there is none."""
    value = whole.get(name)
    return value if isinstance(value, dict) else {}


def number(whole: dict[str, Any], name: str) -> float | None:
    """The number of that name, if it is finite and of a size that a float can hold."""
    value: object = whole.get(name)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return value if -1e300 < value < 1e300 else None


def text(whole: dict[str, Any], name: str) -> str:
    """The text of that name, shortened to what a cell holds."""
    value = whole.get(name)
    return _kept(value) if isinstance(value, str) else ""


@functools.lru_cache(maxsize=10_000)
def _kept(value: str) -> str:
    """The one copy of a text that many rows share, short and fit for UTF-8."""
    return value[:MAX_TEXT].encode("utf-8", "replace").decode("utf-8")


def layout_text(layout: dict[str, Any]) -> str:
    """TP 8 · PP 2: the ways the instance is cut, without those of one."""
    ways = ((name, number(layout, name)) for name in ("tp", "pp", "dp", "ep"))
    return _kept(" · ".join(f"{name.upper()} {way:g}" for name, way in ways if way and way > 1))


def precision_text(precision: dict[str, Any]) -> str:
    """The one format, or weights / activations / KV cache where they differ."""
    formats = [text(precision, name) for name in ("weights", "activations", "kv_cache")]
    return formats[0] if len(set(formats)) == 1 else _kept(" / ".join(name or "?" for name in formats))


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name in `sort=` and in the CSV file, its heading, and what it sorts by."""

    name: str
    label: str
    unit: str
    key: Callable[[Row], Any]
    #: A first click sorts "text" from A, "number" and "other" from the largest; "number" stands right.
    kind: str = "number"


COLUMNS = (
    Column("time", "Time", "UTC", attrgetter("time"), kind="other"),
    Column("source", "Source", "", attrgetter("source"), kind="text"),
    Column("model", "Model", "", lambda row: row.model.lower(), kind="text"),
    Column("gpu", "GPU", "", lambda row: row.gpu_name.lower(), kind="text"),
    Column("gpus", "GPUs", "layout", attrgetter("num_gpus")),
    Column("engine", "Engine", "", lambda row: row.engine_name.lower(), kind="text"),
    Column("precision", "Precision", "weights / act. / KV", attrgetter("precision"), kind="text"),
    Column("prompt", "Prompt", "tokens", attrgetter("input_tokens")),
    Column("output", "Output", "tokens", attrgetter("output_tokens")),
    Column("concurrency", "Concurrency", "requests", attrgetter("concurrency")),
    Column("fits", "Fits", "", attrgetter("fits"), kind="other"),
    Column("vram", "VRAM per GPU", "GiB, used / usable", attrgetter("used_bytes")),
    Column("ttft", "TTFT", "ms", attrgetter("ttft_ms")),
    Column("tpot", "TPOT", "ms", attrgetter("tpot_ms")),
    Column("tokens", "Throughput", "tokens/s", attrgetter("tokens_per_s")),
    Column("user_tokens", "Per user", "tokens/s", attrgetter("tokens_per_s_per_user")),
    Column("cost", "Cost", "USD/h", attrgetter("usd_per_hour")),
)
COLUMN = {column.name: column for column in COLUMNS}
DEFAULT_SORT = "-time"
SORTS = tuple(sign + name for name in COLUMN for sign in ("", "-"))


@dataclass(frozen=True, slots=True)
class Filters:
    """Which runs are wanted; an empty text lets every run through."""

    q: str = ""
    model: str = ""
    gpu: str = ""
    engine: str = ""
    source: str = ""
    fits: str = ""
    since: str = ""
    until: str = ""

    def tests(self) -> list[Callable[[Row], bool]]:
        """The conditions that a row must meet, only those that were asked for."""
        tests: list[Callable[[Row], bool]] = [
            _has(name, getattr(self, name)) for name in ("model", "gpu", "engine", "source") if getattr(self, name)
        ]
        if self.fits:
            tests.append(_has("fits", self.fits == "yes"))
        if self.since:
            tests.append(lambda row: row.time[:10] >= self.since)
        if self.until:
            tests.append(lambda row: row.time[:10] <= self.until)
        return tests + [_mentions(word) for word in self.q.lower().split()]


def _has(name: str, wanted: object) -> Callable[[Row], bool]:
    get = attrgetter(name)
    return lambda row: get(row) == wanted


def _mentions(word: str) -> Callable[[Row], bool]:
    return lambda row: word in row.words


#: Names in the query string of the filters whose own names Python has taken, or that read better.
QUERY_NAMES = {"since": "from", "until": "to"}


@dataclass(frozen=True, slots=True)
class Query:
    """The whole state of the history page. `selected` are the runs ticked for comparison."""

    filters: Filters = Filters()
    sort: str = DEFAULT_SORT
    page: int = 1
    per_page: int = 50
    selected: tuple[str, ...] = ()

    @classmethod
    def read(cls, args: Mapping[str, Sequence[str]]) -> tuple[Query, list[InvalidInput]]:
        """The query of a query string, and what is wrong with it; a wrong value counts as not given."""
        reader = _Reader(args)
        query = cls(
            filters=Filters(
                q=reader.short("q"),
                model=reader.short("model"),
                gpu=reader.short("gpu"),
                engine=reader.short("engine"),
                source=reader.one_of("source", SOURCES),
                fits=reader.one_of("fits", ("yes", "no")),
                since=reader.day("from"),
                until=reader.day("to"),
            ),
            sort=reader.one_of("sort", SORTS, DEFAULT_SORT),
            page=reader.page("page"),
            per_page=int(reader.one_of("per_page", tuple(map(str, PER_PAGE)), "50")),
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

    def args(self, **changes: Any) -> dict[str, Any]:
        """The query string that says this, changed; what is as by default is not said."""
        query = replace(self, **{"page": 1, **changes})  # Another order or filter begins at the first page.
        said = {
            QUERY_NAMES.get(name, name): getattr(query.filters, name)
            for name in Filters.__slots__
            if getattr(query.filters, name)
        }
        default = Query()
        for name in ("sort", "page", "per_page"):
            if getattr(query, name) != getattr(default, name):
                said[name] = getattr(query, name)
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


class _Reader:
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
