"""The database of the index: an SQLite file in DATA_DIR, or PostgreSQL. Opened when used, made anew when broken."""

from __future__ import annotations

import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from app.history.append_only import locked
from app.history.tables import INDEXES, metadata, runs

#: How long a reader waits for another process that writes.
PATIENCE_SECONDS = 1.0
#: How long a database that does not answer is waited for.
CONNECT_SECONDS = 3
#: PostgreSQL's advisory lock: whoever holds it catches up.
LOCK = 0x6C6C6D63

#: Large pages take in rows by the thousand with fewer splits; a file that exists keeps its own size.
SETTINGS = ("page_size=16384", "journal_mode=WAL", "synchronous=NORMAL", "cache_size=-16000", "temp_store=MEMORY")
#: With these SQLite sorts in parts that fit the processor's cache, put aside in temporary files: in half the time that
#: sorting a million rows in one piece takes, and in a megabyte.
SORTING = ("cache_size=-1000", "temp_store=FILE")


class IndexUnavailable(Exception):
    """The index can be neither used nor made anew; the message says why."""


class Database:
    """One database. Safe to share among threads and, before its first use, to take along in a fork."""

    def __init__(self, path: Path, url: str | None = None) -> None:
        self.path = path
        self.is_shared = bool(url)
        self._url = url
        self._engine: sa.Engine | None = None
        self._identity: tuple[int, int] | None = None
        self._temporary: tempfile.TemporaryDirectory | None = None
        self._lock = threading.RLock()
        self._indexed = False

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
        if self._url:
            engine = sa.create_engine(
                self._url, pool_pre_ping=True, pool_size=4, connect_args={"connect_timeout": CONNECT_SECONDS}
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
            if not is_damaged(error):
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
        if self.is_shared:
            return False
        try:
            state = self._file.stat()
        except OSError:
            return True
        return (state.st_dev, state.st_ino) != self._identity

    def _forget_engine(self) -> None:
        if self._engine is not None:
            self._engine.dispose()
        self._engine, self._indexed = None, False

    def forget_replaced(self) -> None:
        """Open anew next time where another process has begun the file anew."""
        with self._lock:
            if self._engine is not None and self._is_replaced():
                self._forget_engine()

    def rebuild(self) -> None:
        """Throw the index away and begin anew. Of several processes that find it broken, one does."""
        with self._lock:
            if self._engine is None:
                return
            if self.is_shared:
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
    def writing(self, settings: tuple[str, ...] = ()) -> Iterator[sa.Connection]:
        """A transaction that no other process catches up beside; in SQLite with these settings."""
        with self.engine().connect().execution_options(writes=True) as db:
            if settings:
                _set(db.connection.driver_connection, settings)
                db.detach()  # They end with the connection.
            with db.begin():
                if self.is_shared:
                    db.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
                yield db

    def is_indexed(self) -> bool:
        """Whether all indexes are there."""
        if not self._indexed:
            with self.reading() as db:
                there = {index["name"] for index in sa.inspect(db).get_indexes(runs.name)}
            self._indexed = there >= {index.name for index in INDEXES}
        return self._indexed

    def is_broken(self, error: sa.exc.DatabaseError) -> bool:
        """Whether the database is damaged or its tables are not those that were made, so that a new one helps."""
        if is_damaged(error):
            return True
        if is_busy(error) or (self.is_shared and isinstance(error, sa.exc.OperationalError)):
            return False  # A PostgreSQL that is away; its word for a table that is another is a ProgrammingError.
        try:
            with self.reading() as db:
                return not all(_is_as_made(db, table) for table in metadata.tables.values())
        except (IndexUnavailable, sa.exc.SQLAlchemyError):
            return False

    def make_indexes(self) -> None:
        """Make those that are missing, each in a transaction of its own, so that others can write in between."""
        if self.is_indexed():
            return
        for index in INDEXES:
            try:
                self._make(index, () if self.is_shared else SORTING)
            except sa.exc.OperationalError as error:
                if self.is_shared or is_busy(error):
                    raise
                self._make(index)  # No place for temporary files: a container may be read-only.
        if not self.is_shared:
            with self.writing() as db:
                db.exec_driver_sql("PRAGMA analysis_limit=1000")  # A sample tells as much, in no time.
                db.exec_driver_sql("ANALYZE")
            with self.engine().connect().execution_options(isolation_level="AUTOCOMMIT") as db:
                db.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")

    def _make(self, index: sa.Index, settings: tuple[str, ...] = ()) -> None:
        with self.writing(settings) as db:
            index.create(db, checkfirst=True)


def reason(error: Exception) -> str:
    """One line that says what the database or the disk refused."""
    return str(getattr(error, "orig", None) or getattr(error, "strerror", None) or error).splitlines()[0]


def is_damaged(error: sa.exc.DatabaseError) -> bool:
    """Whether the database says that it is damaged or lacks what it should have."""
    signs = ("malformed", "not a database", "no such table", "no such column", "does not exist", "disk I/O error")
    return any(sign in str(error) for sign in signs)


def is_busy(error: sa.exc.DatabaseError) -> bool:
    """Whether another process writes just now."""
    return "locked" in str(error)


def _create_tables(db: sa.Connection) -> None:
    for table in metadata.sorted_tables:
        db.execute(sa.schema.CreateTable(table, if_not_exists=True))


def _is_as_made(db: sa.Connection, table: sa.Table) -> bool:
    """Whether a table has the columns that it was made with and no others."""
    return {column["name"] for column in sa.inspect(db).get_columns(table.name)} == set(table.columns.keys())


def _prepare(connection: Any, _: Any) -> None:
    connection.isolation_level = None  # Transactions begin where `_begin` says so.
    _set(connection, SETTINGS)


def _set(connection: Any, settings: tuple[str, ...]) -> None:
    for pragma in settings:
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: sa.Connection) -> None:
    writes = connection.get_execution_options().get("writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")
