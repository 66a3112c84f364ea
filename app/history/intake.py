"""Takes what was appended to a log into the tables of the index: each line once, from where the last one ended."""

from __future__ import annotations

import hashlib
import secrets
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from app.history.lines import Entry, Setup, entry_of
from app.history.read_ahead import Follow
from app.history.run_log import LogFile, Mark, News, RunLog
from app.history.tables import NUMBERS, SEARCHED, SETUP_FIELDS, files, runs, setups

#: An entry and, where the log may be elsewhere, the line itself.
Item = tuple[Entry, str | None]

COLUMNS = ("file", "offset", "length", "run_id", "milliseconds", "setup", *NUMBERS, "record")
NAMES = ", ".join(f'"{name}"' for name in COLUMNS)


@dataclass(frozen=True, slots=True)
class Difference:
    """How the log differs from what the index knows: files that have grown or changed with what is known of them, what
    is known of files that are gone, and how many bytes there are to read.
    """

    stale: list[tuple[LogFile, Any]]
    gone: list[Any]
    size: int


class Intake:
    """What one log brings to an index. The transactions are the caller's.

    `is_shared`: with the logs of other servers; then the lines themselves are kept too.
    """

    def __init__(self, log: RunLog, is_shared: bool) -> None:
        self.log = log
        self.is_shared = is_shared

    @property
    def origin(self) -> str:
        """Which log this is among those that a shared index holds: an id kept in its directory."""
        if not self.is_shared:
            return ""
        path = self.log.directory / "log_id"
        with suppress(FileNotFoundError):
            return path.read_text().strip()
        with suppress(FileExistsError):
            self.log.directory.mkdir(parents=True, exist_ok=True)
            with path.open("x") as file:
                file.write(secrets.token_hex(8))
        return path.read_text().strip()

    def difference(self, db: sa.Connection) -> Difference:
        ours = files.select().where(files.c.origin == self.origin)
        known = {(row.device, row.inode): row for row in db.execute(ours)}
        stale, left = [], 0
        for file in reversed(self.log.files()):
            row = known.pop((str(file.identity[0]), str(file.identity[1])), None)
            if row is None or row.size != file.size or not self.log.is_followed(file, mark_of(row)):
                stale.append((file, row))
                left += max(0, file.size - (row.offset if row else 0))
        if known:  # A listing may miss a file that is being renamed, but not twice.
            for file in self.log.files():
                known.pop((str(file.identity[0]), str(file.identity[1])), None)
        return Difference(stale, list(known.values()), left)

    def follow(self, name: str, mark: Mark | None, max_bytes: int) -> News[Item] | None:
        """What was appended to a file after the mark, as entries: see RunLog.follow."""
        shared: dict[Setup, Setup] = {}  # One copy of each, which is all that goes from a process to another.

        def item(line: bytes) -> Item | None:
            entry = entry_of(line)
            if entry is None:
                return None
            run_id, moment, setup, numbers = entry
            setup = shared.setdefault(setup, setup)
            return (run_id, moment, setup, numbers), line.decode() if self.is_shared else None

        return self.log.follow(name, mark, item, max_bytes)

    def take(self, db: sa.Connection, most_bytes: int, follow: Follow) -> int:
        """Take in at most so much of the log and one line, as `follow` reads it; returns how many bytes are left."""
        difference, budget = self.difference(db), most_bytes
        for known in difference.gone:
            _forget(db, known.id)
            db.execute(files.delete().where(files.c.id == known.id))
        for file, row in difference.stale:
            budget -= self._read(db, file, row, budget, follow)
            if budget <= 0:
                break
        return max(0, difference.size - (most_bytes - budget))

    def _read(self, db: sa.Connection, file: LogFile, row: Any, budget: int, follow: Follow) -> int:
        """Take in what a file holds beyond what is known of it; returns how many bytes that were."""
        news = follow(file.name, mark_of(row) if row else None, budget)
        if news is None or news.mark.identity != file.identity:  # Rotated a moment ago: the next round sees it.
            return budget
        if row is None:
            added = db.execute(files.insert().values(self._state(news, 0, 0)).returning(files.c.id))
            file_id, known_runs, skipped = added.scalar_one(), 0, 0
        else:
            file_id, known_runs, skipped = row.id, row.runs, row.skipped
            if news.restarted:
                _forget(db, file_id)
                known_runs = skipped = 0
        _insert(db, file_id, news)
        state = self._state(news, known_runs + len(news.items), skipped + news.skipped)
        db.execute(files.update().where(files.c.id == file_id).values(state))
        started = 0 if row is None or news.restarted else row.offset
        return max(1, news.mark.offset - started)

    def _state(self, news: News[Item], count: int, skipped: int) -> dict[str, Any]:
        device, inode = map(str, news.mark.identity)
        return {
            "origin": self.origin, "device": device, "inode": inode, "offset": news.mark.offset,
            "before": news.mark.before, "size": news.size - news.behind, "torn": news.torn, "skipped": skipped,
            "runs": count,
        }  # fmt: skip


def mark_of(row: Any) -> Mark:
    return Mark((int(row.device), int(row.inode)), row.offset, row.before)


def _insert(db: sa.Connection, file: int, news: News[Item]) -> None:
    """A row per run, and what many of them share once."""
    if not news.items:
        return
    counts = Counter(setup for _, _, ((_, _, setup, _), _) in news.items)
    ids = _setup_ids(db, list(counts))
    db.execute(
        setups.update().where(setups.c.id == sa.bindparam("of")).values(runs=setups.c.runs + sa.bindparam("more")),
        [{"of": ids[setup], "more": count} for setup, count in counts.items()],
    )
    added = [
        (file, offset, length, run_id, moment, ids[setup], *numbers, record)
        for offset, length, ((run_id, moment, setup, numbers), record) in news.items
    ]
    if db.dialect.name == "postgresql":
        _copy(db, added)
    else:  # Written out: for as many rows as these, SQLAlchemy's own insert takes longer than the database.
        marks = ", ".join("?" * len(COLUMNS))
        db.exec_driver_sql(f"INSERT INTO {runs.name} ({NAMES}) VALUES ({marks})", added)  # noqa: S608


def _copy(db: sa.Connection, rows: Sequence[tuple[Any, ...]]) -> None:
    """PostgreSQL's own way to take in many rows."""
    statement = f"COPY {runs.name} ({NAMES}) FROM STDIN"
    try:
        cursor: Any = db.connection.cursor()
        with cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except db.dialect.loaded_dbapi.Error as error:  # As SQLAlchemy would, past which this goes.
        raise sa.exc.DatabaseError(statement, None, error) from error


def _setup_ids(db: sa.Connection, wanted: Sequence[Setup]) -> dict[Setup, int]:
    """The ids of these setups; those that are not known yet are added."""
    digests = {hashlib.sha256(repr(setup).encode()).hexdigest(): setup for setup in wanted}
    found: dict[str, int] = {}
    for some in _parts(list(digests), 500):
        query = sa.select(setups.c.digest, setups.c.id).where(setups.c.digest.in_(some))
        found |= dict(tuple(pair) for pair in db.execute(query))
    new = [digest for digest in digests if digest not in found]
    if new:
        db.execute(setups.insert(), [{"digest": digest, "runs": 0} | _fields(digests[digest]) for digest in new])
        for some in _parts(new, 500):
            query = sa.select(setups.c.digest, setups.c.id).where(setups.c.digest.in_(some))
            found |= dict(tuple(pair) for pair in db.execute(query))
    return {digests[digest]: number for digest, number in found.items()}


def _fields(setup: Setup) -> dict[str, Any]:
    """The columns of a setup; `words` are, in lower case, what the text search looks through."""
    fields = dict(zip(SETUP_FIELDS, setup, strict=True))
    return fields | {"words": " ".join(fields[name] for name in SEARCHED).lower()}


def _parts(values: Sequence[str], size: int) -> Iterator[Sequence[str]]:
    return (values[start : start + size] for start in range(0, len(values), size))


def _forget(db: sa.Connection, file: int) -> None:
    """Drop the rows of a file that is gone or another by now."""
    per_setup = sa.select(runs.c.setup, sa.func.count()).where(runs.c.file == file).group_by(runs.c.setup)
    counts = db.execute(per_setup).all()
    if counts:
        db.execute(
            setups.update().where(setups.c.id == sa.bindparam("of")).values(runs=setups.c.runs - sa.bindparam("less")),
            [{"of": setup, "less": count} for setup, count in counts],
        )
        db.execute(runs.delete().where(runs.c.file == file))
