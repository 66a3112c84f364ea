"""The index of the log: what the history searches. Disposable: made from the log, and made anew where it is broken.

SQLite in DATA_DIR, one file per directory of logs; or PostgreSQL (DATABASE_URL), shared by the logs of several servers,
which then also holds the runs themselves so that each server finds those of the others. Any number of processes
catch up with the log; one at a time, a part of a file per transaction, from the byte where the last one stopped.
"""

from __future__ import annotations

import hashlib
import threading
import time
from contextlib import AbstractContextManager, suppress
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from app.calculations.watch import Watch, nobody
from app.history.database import Database, IndexUnavailable, is_busy, reason
from app.history.intake import Intake
from app.history.read_ahead import Follow, ReadAhead
from app.history.run_log import Run, RunLog, run_of
from app.history.tables import SCHEMA, files, runs

#: Of the log, read in one transaction.
BATCH_BYTES = 24_000_000
#: Of so many the indexes are made in a moment; of more, a thread makes them while pages do without.
FEW_RUNS = 20_000
#: How long whoever has time waits for another process that writes before trying again.
BUSY_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class State:
    """What the index knows of the log as a whole."""

    runs: int
    skipped: int
    #: Bytes of the log that are not read yet.
    behind: int
    #: Of how many.
    size: int
    #: Why what is behind could not be taken in when that was last tried; nothing where it could.
    problem: str


class Index:
    """The index of one log. Safe to share among threads and, before its first use, to take along in a fork."""

    def __init__(self, log: RunLog, directory: Path, url: str | None = None) -> None:
        self.log = log
        self.url = url
        digest = hashlib.sha256(str(Path(log.directory).absolute()).encode()).hexdigest()[:12]
        self.path = Path(directory) / f"history-{digest}-v{SCHEMA}.sqlite"
        self._database = Database(self.path, url)
        self._intake = Intake(log, is_shared=bool(url))
        self._turn = threading.Lock()  # Of reading the log.
        self._reader: threading.Thread | None = None
        self._behind = 0
        self._problem = ""

    def engine(self) -> sa.Engine:
        """The database, made where it is missing. Raises IndexUnavailable."""
        return self._database.engine()

    def reading(self) -> AbstractContextManager[sa.Connection]:
        """A connection that sees one state of the index."""
        return self._database.reading()

    def rebuild(self) -> None:
        """Throw the index away and begin anew. Of several processes that find it broken, one does."""
        self._database.rebuild()

    def is_broken(self, error: sa.exc.DatabaseError) -> bool:
        """Whether a new index would not meet this error."""
        return self._database.is_broken(error)

    def close(self) -> None:
        self._database.close()

    # Catching up

    def catch_up(self, watch: Watch = nobody) -> None:
        """Read the log to its end and make the indexes, however long that takes; `watch` is told how many bytes of how
        many are read. Raises IndexUnavailable, and OSError where the log cannot be read.
        """
        most = 0
        while self._is_reading():  # Two that read would be in each other's way.
            most = max(most, self._behind)
            watch(most - self._behind, most)
            time.sleep(BUSY_SECONDS)
        with ReadAhead(self._intake.follow) as reader:
            while left := self._step(reader.follow, patient=True):
                most = max(most, left)
                watch(most - left, most)
        self._make_indexes()

    def catch_up_soon(self, seconds: float) -> int:
        """The same for a page that shall not wait: what is left after that time is read by a thread. Returns how many
        bytes that is.
        """
        if self._is_reading():
            return self._behind
        end = time.monotonic() + seconds
        while (left := self._step(self._intake.follow)) and time.monotonic() < end:
            pass
        if left or not self._is_indexed():
            self._reader = threading.Thread(target=self._finish, name="history", daemon=True)
            self._reader.start()
        return left

    def _is_reading(self) -> bool:
        """Whether the thread is at it."""
        reader = self._reader
        return reader is not None and reader.is_alive()

    def _finish(self) -> None:
        with suppress(IndexUnavailable, OSError, sa.exc.SQLAlchemyError):
            with ReadAhead(self._intake.follow) as reader:
                while self._step(reader.follow):
                    time.sleep(0.001)  # Whoever waits for a turn gets one.
            self._make_indexes()

    def _step(self, follow: Follow, patient: bool = False) -> int:
        """One transaction's worth; returns how many bytes are left."""
        with self._turn:
            try:
                self._behind = self._taken(follow, patient)
            except (OSError, IndexUnavailable, sa.exc.SQLAlchemyError) as error:
                self._problem = reason(error)
                raise
            self._problem = ""
            return self._behind

    def _taken(self, follow: Follow, patient: bool) -> int:
        self._database.forget_replaced()
        try:
            with self.reading() as db:
                difference = self._intake.difference(db)
            if not (difference.stale or difference.gone):
                return 0
            with self._database.writing() as db:
                return self._intake.take(db, BATCH_BYTES, follow)
        except sa.exc.OperationalError as error:
            if not is_busy(error):
                raise
            if patient:
                time.sleep(BUSY_SECONDS)
            return self._behind or 1  # Another process is at it.

    def _is_indexed(self) -> bool:
        """Whether the indexes are there; made at once where that takes no time."""
        if not self._database.is_indexed():
            with self.reading() as db:
                few = self.state(db).runs < FEW_RUNS
            if few:
                self._make_indexes(patient=False)
        return self._database.is_indexed()

    def _make_indexes(self, patient: bool = True) -> None:
        with self._turn:
            while True:
                try:
                    return self._database.make_indexes()
                except sa.exc.OperationalError as error:
                    if not is_busy(error):
                        raise
                    if not patient:
                        return
                    time.sleep(BUSY_SECONDS)

    # Reading

    def is_behind(self, db: sa.Connection) -> bool:
        """Whether the log holds, or may hold, what this state of the index does not know."""
        return bool(self._intake.difference(db).stale)

    def lag_bytes(self) -> int:
        """How much of the log is not read now. Raises IndexUnavailable, OSError or SQLAlchemyError."""
        with self.reading() as db:
            return self._intake.difference(db).size

    def state(self, db: sa.Connection) -> State:
        count, skipped, torn = db.execute(
            sa.select(
                sa.func.coalesce(sa.func.sum(files.c.runs), 0),
                sa.func.coalesce(sa.func.sum(files.c.skipped), 0),
                sa.func.count().filter(files.c.torn),
            )
        ).one()
        size = sum(file.size for file in self.log.files())
        return State(int(count), int(skipped) + torn, self._behind, size, self._problem)

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
