"""The index of the log: what the history searches. Disposable: made from the log, and made anew where it is broken.

SQLite in DATA_DIR, one file per directory of logs; or PostgreSQL (DATABASE_URL), shared by the logs of several servers,
which then also holds the runs themselves so that each server finds those of the others. Any number of processes
catch up with the log; one at a time, a part of a file per transaction, from the byte where the last one stopped.
"""

from __future__ import annotations

import hashlib
import secrets
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from operator import attrgetter
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.history.append_only import locked
from app.history.lines import row_of
from app.history.rows import Row
from app.history.run_log import LogFile, Mark, News, Run, RunLog, run_of

#: Part of every name: another version makes an index of its own.
SCHEMA = 1
#: Of a log file, read in one transaction.
BATCH_BYTES = 12_000_000
#: Of so many the indexes are made in a moment; of more, a thread makes them while pages do without.
FEW_RUNS = 20_000
#: How long a reader waits for another process that writes.
PATIENCE_SECONDS = 1.0
#: How long a database that does not answer is waited for.
CONNECT_SECONDS = 3
#: PostgreSQL's advisory lock: whoever holds it catches up.
LOCK = 0x6C6C6D63

metadata = sa.MetaData()
PREFIX = f"history{SCHEMA}_"

#: The log files and how far each has been read. `origin` tells the directories of several servers apart.
files = sa.Table(
    PREFIX + "files",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("origin", sa.String, nullable=False),
    sa.Column("device", sa.String, nullable=False),
    sa.Column("inode", sa.String, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("before", sa.String, nullable=False),
    sa.Column("size", sa.BigInteger, nullable=False),
    sa.Column("torn", sa.Boolean, nullable=False),
    sa.Column("skipped", sa.Integer, nullable=False),
    sa.Column("runs", sa.Integer, nullable=False),
)

#: What many runs share, kept once, and how many runs that is: filters and counts look here first.
SETUP_FIELDS = (
    "source", "kind", "model", "gpu", "gpu_name", "num_gpus", "layout", "engine", "engine_name", "precision", "note",
    "fits",
)  # fmt: skip
setups = sa.Table(
    PREFIX + "setups",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("digest", sa.String, nullable=False, unique=True),
    sa.Column("runs", sa.Integer, nullable=False),
    sa.Column("words", sa.Text, nullable=False),
    *(sa.Column(name, sa.Text, nullable=False) for name in SETUP_FIELDS if name not in ("num_gpus", "fits")),
    sa.Column("num_gpus", sa.Double),
    sa.Column("fits", sa.Boolean),
)

NUMBERS = (
    "input_tokens", "output_tokens", "concurrency", "used_bytes", "capacity_bytes", "ttft_ms", "tpot_ms",
    "tokens_per_s", "tokens_per_s_per_user", "usd_per_hour",
)  # fmt: skip
#: One row per line of the log. `milliseconds` since 1970; `record` is the run as JSON, where the log may be elsewhere.
runs = sa.Table(
    PREFIX + "runs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("file", sa.Integer, nullable=False),
    sa.Column("offset", sa.BigInteger, nullable=False),
    sa.Column("length", sa.Integer, nullable=False),
    sa.Column("run_id", sa.String, nullable=False),
    sa.Column("milliseconds", sa.BigInteger, nullable=False),
    sa.Column("setup", sa.Integer, nullable=False),
    *(sa.Column(name, sa.Double) for name in NUMBERS),
    sa.Column("record", sa.Text),
)
#: Each holds all that a filtered and sorted page needs to find its rows. Made once the log has been read.
INDEXES = (
    sa.Index(PREFIX + "by_id", runs.c.run_id),
    sa.Index(PREFIX + "by_time", runs.c.milliseconds, runs.c.setup),
    sa.Index(PREFIX + "by_setup", runs.c.setup, runs.c.milliseconds),
    *(
        sa.Index(f"{PREFIX}by_{name}", runs.c[name], runs.c.milliseconds, runs.c.setup)
        for name in NUMBERS
        if name != "capacity_bytes"
    ),
)

INSERT_COLUMNS = ("file", "offset", "length", "run_id", "milliseconds", "setup", *NUMBERS, "record")
#: Its names are those above, its values are bound.
INSERT = f"INSERT INTO {runs.name} (" + ", ".join(f'"{name}"' for name in INSERT_COLUMNS) + ") VALUES ({})"  # noqa: S608

Setup = tuple[Any, ...]
setup_of = attrgetter(*SETUP_FIELDS)
numbers_of = attrgetter(*NUMBERS)

EPOCH = datetime.fromisoformat("1970-01-01T00:00:00.000Z")


class IndexUnavailable(Exception):
    """The index can be neither used nor made anew; the message says why."""


@dataclass(frozen=True, slots=True)
class State:
    """What the index knows of the log as a whole."""

    runs: int
    skipped: int
    #: Bytes of the log that are not read yet.
    behind: int
    #: Of how many.
    size: int


class Index:
    """The index of one log. Safe to share among threads and, before its first use, to take along in a fork."""

    def __init__(self, log: RunLog, directory: Path, url: str | None = None) -> None:
        self.log = log
        self.url = url
        digest = hashlib.sha256(str(Path(log.directory).absolute()).encode()).hexdigest()[:12]
        self.path = Path(directory) / f"history-{digest}-v{SCHEMA}.sqlite"
        self._engine: sa.Engine | None = None
        self._identity: tuple[int, int] | None = None
        self._temporary: tempfile.TemporaryDirectory | None = None
        self._lock = threading.RLock()  # Of the connection.
        self._turn = threading.Lock()  # Of reading the log.
        self._reader: threading.Thread | None = None
        self._setups: dict[Setup, int] = {}
        self._indexed = False
        self._behind = 0

    # Opening

    def engine(self) -> sa.Engine:
        """The database, made where it is missing. Raises IndexUnavailable."""
        with self._lock:
            if self._engine is None:
                try:
                    self._engine = self._opened()
                except (sa.exc.SQLAlchemyError, OSError) as error:
                    raise IndexUnavailable(reason(error)) from error
            return self._engine

    def _opened(self) -> sa.Engine:
        if self.url:
            engine = sa.create_engine(
                self.url, pool_pre_ping=True, pool_size=4, connect_args={"connect_timeout": CONNECT_SECONDS}
            )
            with engine.begin() as db:
                db.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
                _create_tables(db)
            return engine
        try:
            return self._sqlite(self.path)
        except (OSError, sa.exc.OperationalError):
            # DATA_DIR cannot be written to: an index of this process alone is better than none.
            self._temporary = self._temporary or tempfile.TemporaryDirectory(prefix="history-")
            return self._sqlite(Path(self._temporary.name) / self.path.name)

    def _sqlite(self, path: Path) -> sa.Engine:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch(mode=0o600)
        state = path.stat()
        self._file, self._identity = path, (state.st_dev, state.st_ino)
        engine = sa.create_engine(
            sa.URL.create("sqlite", database=str(path)), connect_args={"timeout": PATIENCE_SECONDS}, pool_size=8
        )
        sa.event.listen(engine, "connect", _prepare)
        sa.event.listen(engine, "begin", _begin)
        try:
            with engine.connect().execution_options(writes=True) as db, db.begin():
                _create_tables(db)
        except sa.exc.DatabaseError as error:
            engine.dispose()
            if not is_broken(error):
                raise
            self._discard()
            return self._sqlite(path)
        return engine

    def _discard(self) -> None:
        """Delete the file, unless another process has done so and begun anew."""
        with locked(self._file.with_suffix(".lock")):
            if not self._is_replaced():
                for end in ("", "-wal", "-shm"):
                    Path(f"{self._file}{end}").unlink(missing_ok=True)

    def _is_replaced(self) -> bool:
        """Whether another process has begun the file anew, or somebody has deleted it."""
        if self.url:
            return False
        try:
            state = self._file.stat()
        except OSError:
            return True
        return (state.st_dev, state.st_ino) != self._identity

    def _forget_engine(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        self._engine, self._setups, self._indexed = None, {}, False

    def rebuild(self) -> None:
        """Throw the index away and begin anew. Of several processes that find it broken, one does."""
        with self._lock:
            if self._engine is None:
                return
            if self.url:
                metadata.drop_all(self._engine)
            else:
                self._discard()
            self._forget_engine()

    def close(self) -> None:
        with self._lock:
            self._forget_engine()
            if self._temporary is not None:
                self._temporary.cleanup()
                self._temporary = None

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """A connection that sees one state of the index."""
        with self.engine().connect() as db, db.begin():
            yield db

    @contextmanager
    def _writing(self) -> Iterator[sa.Connection]:
        """A transaction that no other process catches up beside."""
        with self.engine().connect().execution_options(writes=True) as db, db.begin():
            if self.url:
                db.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            yield db

    # Catching up

    def catch_up(self, seconds: float | None = None) -> int:
        """Read what was appended to the log; stop after so many seconds. Returns how many bytes are left.

        Without a limit of time the indexes are there afterwards too. Raises IndexUnavailable, and OSError where the log
        cannot be read.
        """
        end = None if seconds is None else time.monotonic() + seconds
        while True:
            self._behind = self._step(patient=seconds is None)
            if not self._behind and seconds is None:
                self._make_indexes()
            if not self._behind or (end is not None and time.monotonic() >= end):
                return self._behind

    def catch_up_soon(self, seconds: float) -> int:
        """The same for a page that shall not wait: what is left after that time is read by a thread."""
        reader = self._reader
        if reader is not None and reader.is_alive():
            return self._behind
        left = self.catch_up(seconds)
        if left or not self._is_indexed():
            self._reader = threading.Thread(target=self._finish, name="history", daemon=True)
            self._reader.start()
        return left

    def _finish(self) -> None:
        with suppress(IndexUnavailable, OSError, sa.exc.SQLAlchemyError):
            while self.catch_up(5.0):
                time.sleep(0.01)
            self._make_indexes()

    def _step(self, patient: bool) -> int:
        """One transaction's worth."""
        with self._turn:
            with self._lock:
                if self._engine is not None and self._is_replaced():
                    self._forget_engine()
            try:
                with self.reading() as db:
                    stale, gone, size = self._compare(db)
                if not (stale or gone):
                    return 0
                with self._writing() as db:
                    stale, gone, size = self._compare(db)  # Another process may have been faster.
                    for known in gone:
                        _forget(db, known.id)
                        db.execute(files.delete().where(files.c.id == known.id))
                    fresh: dict[Setup, int] = {}
                    budget = BATCH_BYTES
                    for file, row in stale:
                        budget -= self._read(db, file, row, fresh, budget)
                        if budget <= 0:
                            break
                self._setups |= fresh
                return max(0, size - (BATCH_BYTES - budget))
            except sa.exc.OperationalError as error:
                if "locked" not in str(error):
                    raise
                if patient:
                    time.sleep(0.05)
                return self._behind or 1  # Another process is at it.

    def _compare(self, db: sa.Connection) -> tuple[list[tuple[LogFile, Any]], list[Any], int]:
        """Files that have grown or changed with what is known of them, those that are gone, and the bytes to read."""
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
        return stale, list(known.values()), left

    def _read(self, db: sa.Connection, file: LogFile, row: Any, fresh: dict[Setup, int], budget: int) -> int:
        """Take in what a file holds beyond what is known of it; returns how many bytes that were."""
        news = self.log.follow(file.name, mark_of(row) if row else None, self._item, budget)
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
        self._insert(db, file_id, news, fresh)
        state = self._state(news, known_runs + len(news.items), skipped + news.skipped)
        db.execute(files.update().where(files.c.id == file_id).values(state))
        started = 0 if row is None or news.restarted else row.offset
        return max(1, news.mark.offset - started)

    def _item(self, line: bytes) -> tuple[Row, str | None] | None:
        row = row_of(line)
        return None if row is None else (row, line.decode() if self.url else None)

    def _state(self, news: News, count: int, skipped: int) -> dict[str, Any]:
        device, inode = map(str, news.mark.identity)
        return {
            "origin": self.origin, "device": device, "inode": inode, "offset": news.mark.offset,
            "before": news.mark.before, "size": news.size - news.behind, "torn": news.torn, "skipped": skipped,
            "runs": count,
        }  # fmt: skip

    def _insert(self, db: sa.Connection, file: int, news: News, fresh: dict[Setup, int]) -> None:
        rows = [row for _, _, (row, _) in news.items]
        if not rows:
            return
        keys = list(map(setup_of, rows))
        counts = Counter(keys)
        by_key = dict(zip(keys, rows, strict=True))
        missing = {key: row for key, row in by_key.items() if key not in self._setups and key not in fresh}
        fresh |= _setup_ids(db, missing)
        ids = {key: self._setups[key] if key in self._setups else fresh[key] for key in counts}
        db.execute(
            setups.update().where(setups.c.id == sa.bindparam("of")).values(runs=setups.c.runs + sa.bindparam("more")),
            [{"of": ids[key], "more": count} for key, count in counts.items()],
        )
        added = [
            (file, offset, length, row.run_id, milliseconds(row.time), ids[key], *numbers_of(row), record)
            for key, (offset, length, (row, record)) in zip(keys, news.items, strict=True)
        ]
        # Written out: for as many rows as these, SQLAlchemy's own insert takes longer than the database.
        db.exec_driver_sql(INSERT.format(", ".join(["%s" if self.url else "?"] * len(added[0]))), added)

    def _is_indexed(self) -> bool:
        """Whether the indexes are there; made at once where that takes no time."""
        if not self._indexed:
            with self.reading() as db:
                few = self.state(db).runs < FEW_RUNS
                there = {index["name"] for index in sa.inspect(db).get_indexes(runs.name)}
                self._indexed = there >= {index.name for index in INDEXES}
            if few:
                self._make_indexes()
        return self._indexed

    def _make_indexes(self) -> None:
        with self._turn:
            if self._indexed:
                return
            with self._writing() as db:
                for index in INDEXES:
                    index.create(db, checkfirst=True)
                if not self.url:
                    db.exec_driver_sql("PRAGMA analysis_limit=1000")  # A sample tells as much, in no time.
                    db.exec_driver_sql("ANALYZE")
            if not self.url:
                with self.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as db:
                    db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
            self._indexed = True

    @property
    def origin(self) -> str:
        """Which log this is among those that a shared index holds: an id kept in its directory."""
        if not self.url:
            return ""
        path = self.log.directory / "log_id"
        with suppress(FileNotFoundError):
            return path.read_text().strip()
        with suppress(FileExistsError):
            self.log.directory.mkdir(parents=True, exist_ok=True)
            with path.open("x") as file:
                file.write(secrets.token_hex(8))
        return path.read_text().strip()

    # Reading

    @property
    def is_behind(self) -> bool:
        """Whether the log held more than was read when this process last looked."""
        return self._behind > 0

    def lag_bytes(self) -> int:
        """How much of the log is not read now. Raises IndexUnavailable, OSError or SQLAlchemyError."""
        with self.reading() as db:
            return self._compare(db)[2]

    def check(self) -> None:
        """Raise IndexUnavailable, OSError or SQLAlchemyError where the index cannot be read."""
        with self.reading() as db:
            db.execute(sa.select(files.c.id).limit(1))

    def state(self, db: sa.Connection) -> State:
        count, skipped, torn = db.execute(
            sa.select(
                sa.func.coalesce(sa.func.sum(files.c.runs), 0),
                sa.func.coalesce(sa.func.sum(files.c.skipped), 0),
                sa.func.count().filter(files.c.torn),
            )
        ).one()
        return State(int(count), int(skipped) + torn, self._behind, sum(file.size for file in self.log.files()))

    def run(self, db: sa.Connection, run_id: str) -> Run | None:
        """The newest run of this id; None where the index knows none, or the log has changed since."""
        found = db.execute(
            sa.select(runs, files.c.device, files.c.inode)
            .join_from(runs, files, runs.c.file == files.c.id)
            .where(runs.c.run_id == run_id)
            .order_by(runs.c.id.desc())
            .limit(1)
        ).first()
        if found is None:
            return None
        if found.record is not None:
            return run_of(found.record.encode())
        at = {(str(file.identity[0]), str(file.identity[1])): file for file in self.log.files()}
        file = at.get((found.device, found.inode))
        run = run_of(self.log.line_at(file, found.offset, found.length)) if file else None
        return run if run is not None and run.run_id == run_id else None


def milliseconds(text: str) -> int:
    """Since 1970, of a time as `run_log` writes it."""
    moment = datetime.fromisoformat(text) - EPOCH
    return (moment.days * 86_400 + moment.seconds) * 1000 + moment.microseconds // 1000


def time_text(since_1970: int) -> str:
    moment = EPOCH + timedelta(milliseconds=since_1970)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def mark_of(row: Any) -> Mark:
    return Mark((int(row.device), int(row.inode)), row.offset, row.before)


def reason(error: Exception) -> str:
    """One line that says what the database or the disk refused."""
    return str(getattr(error, "orig", None) or getattr(error, "strerror", None) or error).splitlines()[0]


def is_broken(error: sa.exc.DatabaseError) -> bool:
    """Whether the database itself is damaged or lacks what it should have, so that a new one helps."""
    signs = ("malformed", "not a database", "no such table", "no such column", "does not exist", "disk I/O error")
    return any(sign in str(error) for sign in signs)


def _setup_ids(db: sa.Connection, missing: Mapping[Setup, Row]) -> dict[Setup, int]:
    """The ids of setups that this process does not know yet; those that nobody knows are added."""
    digests = {hashlib.sha256(repr(key).encode()).hexdigest(): (key, row) for key, row in missing.items()}
    found: dict[str, int] = {}
    for some in _parts(list(digests), 500):
        query = sa.select(setups.c.digest, setups.c.id).where(setups.c.digest.in_(some))
        found |= dict(tuple(pair) for pair in db.execute(query))
    new = [digest for digest in digests if digest not in found]
    if new:
        fields = [{name: getattr(digests[d][1], name) for name in (*SETUP_FIELDS, "words")} for d in new]
        db.execute(setups.insert(), [{"digest": d, "runs": 0} | f for d, f in zip(new, fields, strict=True)])
        for some in _parts(new, 500):
            query = sa.select(setups.c.digest, setups.c.id).where(setups.c.digest.in_(some))
            found |= dict(tuple(pair) for pair in db.execute(query))
    return {digests[digest][0]: number for digest, number in found.items()}


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


def _create_tables(db: sa.Connection) -> None:
    for table in metadata.sorted_tables:
        db.execute(sa.schema.CreateTable(table, if_not_exists=True))


def _prepare(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # Transactions begin where `_begin` says so.
    for pragma in ("journal_mode=WAL", "synchronous=NORMAL", "cache_size=-16000", "temp_store=MEMORY"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
