"""Counting what each client does in a minute, together in all processes of a machine."""

from __future__ import annotations

import hashlib
import os
import sqlite3
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

FILE = "rate_limit.sqlite"
MINUTE = 60
#: How long one count waits for those of other processes.
PATIENCE_SECONDS = 1.0
#: Rows beyond which those of minutes that are over are deleted.
MOST_ROWS = 10_000

COUNT = """
INSERT INTO counts (client, minute, number) VALUES (?, ?, 1)
ON CONFLICT (client) DO UPDATE SET
    number = CASE WHEN minute = excluded.minute THEN number + 1 ELSE 1 END,
    minute = excluded.minute
RETURNING number
"""
READ = "SELECT number FROM counts WHERE client = ? AND minute = ?"


class Counter:
    """Counts per client and minute, in a small SQLite file. Safe among threads, processes and forks.

    SQLite gives up a lock when its holder dies, so a killed worker blocks nobody. What the file cannot take, as on a
    full disk, each process counts for itself: a limit that a full disk lifts is none. `name` tells counters in one
    directory apart.
    """

    def __init__(self, directory: Path, name: str, clock: Callable[[], float] = time.time) -> None:
        self._directory = Path(directory)
        self._name = name
        self._clock = clock
        self._lock = threading.Lock()
        self._db: sqlite3.Connection | None = None
        self._pid = 0
        #: Client -> minute and number, of what the file could not take.
        self._here: dict[str, tuple[int, int]] = {}

    def count(self, client: str) -> int:
        """Which of this client's in this minute it is, from one on."""
        key, minute = self._key(client), self._minute()
        with self._lock:
            number = self._in_file(COUNT, key, minute)
            if number is not None:
                return number + self._in_memory(key, minute)
            self._here[key] = (minute, self._in_memory(key, minute) + 1)
            if len(self._here) > MOST_ROWS:
                self._here = {one: held for one, held in self._here.items() if held[0] == minute}
            return (self._in_file(READ, key, minute) or 0) + self._in_memory(key, minute)

    def counted(self, client: str) -> int:
        """How many of this client's there were in this minute."""
        key, minute = self._key(client), self._minute()
        with self._lock:
            return (self._in_file(READ, key, minute) or 0) + self._in_memory(key, minute)

    def forget(self, client: str) -> None:
        """Begin anew with a client."""
        key = self._key(client)
        with self._lock:
            self._here.pop(key, None)
            with suppress(sqlite3.Error, OSError):
                self._opened().execute("DELETE FROM counts WHERE client = ?", (key,))

    def seconds_left(self) -> int:
        """Until the next minute begins."""
        return MINUTE - int(self._clock()) % MINUTE

    def _minute(self) -> int:
        return int(self._clock()) // MINUTE

    def _key(self, client: str) -> str:
        """No address is kept."""
        return hashlib.sha256(f"{self._name} {client}".encode()).hexdigest()[:32]

    def _in_memory(self, key: str, minute: int) -> int:
        then, number = self._here.get(key, (minute, 0))
        return number if then == minute else 0

    def _in_file(self, statement: str, key: str, minute: int) -> int | None:
        """The number that a statement gives; None where the file fails, or has none."""
        try:
            db = self._opened()
            row = db.execute(statement, (key, minute)).fetchone()
            if statement is COUNT and row == (1,):
                _tidy(db, minute)
        except (sqlite3.Error, OSError):
            self._close()
            return None
        return int(row[0]) if row else None

    def _opened(self) -> sqlite3.Connection:
        if self._db is None or self._pid != os.getpid():
            self._db = _connection(self._directory)
            self._pid = os.getpid()
        return self._db

    def _close(self) -> None:
        with suppress(sqlite3.Error):
            if self._db is not None:
                self._db.close()
        self._db = None


def _connection(directory: Path) -> sqlite3.Connection:
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / FILE
    path.touch(mode=0o600)
    return _prepared(sqlite3.connect(path, timeout=PATIENCE_SECONDS, isolation_level=None, check_same_thread=False))


def _prepared(db: sqlite3.Connection) -> sqlite3.Connection:
    for statement in (
        "PRAGMA journal_mode=WAL",
        "PRAGMA synchronous=OFF",  # After a loss of power the counts may begin anew.
        "CREATE TABLE IF NOT EXISTS counts (client TEXT PRIMARY KEY, minute INTEGER, number INTEGER) WITHOUT ROWID",
    ):
        db.execute(statement)
    return db


def _tidy(db: sqlite3.Connection, minute: int) -> None:
    (rows,) = db.execute("SELECT count(*) FROM counts").fetchone()
    if rows > MOST_ROWS:
        db.execute("DELETE FROM counts WHERE minute < ?", (minute,))
