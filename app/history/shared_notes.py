"""The notes of all servers that share one database: of each run the newest, so that every server shows the same.

Each server writes its own file first, which is what is backed up. The table is disposable: each server brings what its
file holds and the table lacks, so it is made anew where it is gone, and what was written while the database was away
follows later.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import OID

from app.history.database import IndexUnavailable, is_damaged, reason
from app.history.index import Index
from app.history.intake import Intake
from app.history.note import Note, read
from app.history.tables import PREFIX

#: PostgreSQL's advisory lock: whoever holds it writes, so that changes are numbered in the order in which they are
#: seen.
LOCK = 0x6C6C6E74
#: Notes written at once.
CHUNK = 1000
#: How long a database that did not answer is left alone.
AWAY_SECONDS = 5.0

#: `change` grows with every transaction: who has seen one reads on from there.
table = sa.Table(
    PREFIX + "notes",
    sa.MetaData(),
    sa.Column("run_id", sa.String, primary_key=True),
    sa.Column("change", sa.BigInteger, nullable=False, index=True),
    sa.Column("server", sa.String, nullable=False),
    sa.Column("position", sa.BigInteger, nullable=False),
    #: The note as JSON in ASCII, since PostgreSQL refuses some characters of a text.
    sa.Column("record", sa.Text, nullable=False),
)


class NotShared(Exception):
    """The database cannot be read or written; the message says why."""


@dataclass(frozen=True, slots=True)
class Written:
    """A note, and in whose file and where it stands."""

    note: Note
    server: str
    position: int

    def counts_before(self, other: Written | None) -> bool:
        """Whether it is the newer of two; of two from one moment all servers choose the same."""
        return other is None or self._order > other._order

    @property
    def _order(self) -> tuple[str, str, int]:
        return self.note.time, self.server, self.position


class SharedNotes:
    """What one process knows of the table. Not safe among threads: whoever has it locks."""

    def __init__(self, index: Index) -> None:
        #: Of each run the newest that the database was seen to hold.
        self.newest: dict[str, Written] = {}
        self._index = index
        self._intake = Intake(index.log, is_shared=True)
        self._table: int | None = None
        self._change = 0
        self._again = 0.0

    @property
    def server(self) -> str:
        """Which server's file this one's is. Raises OSError."""
        return self._intake.origin

    def catch_up(self, own: Mapping[str, Written], unsent: Iterable[str]) -> bool:
        """Read what is new in the table and bring it those notes of the own file that it lacks: the unsent ones, or all
        where the table is new. Returns whether anything was read. Raises NotShared.
        """
        if time.monotonic() < self._again:
            raise NotShared("the database does not answer")
        try:
            return self._caught_up(own, unsent)
        except (IndexUnavailable, sa.exc.SQLAlchemyError) as error:
            self._again = time.monotonic() + AWAY_SECONDS
            if isinstance(error, sa.exc.DatabaseError) and is_damaged(error):
                self._drop()
            raise NotShared(f"those of other servers cannot be had ({reason(error)})") from error

    def _caught_up(self, own: Mapping[str, Written], unsent: Iterable[str]) -> bool:
        is_new, changed = self._read()
        if is_new:
            unsent = own
        ahead = [own[one] for one in unsent if one in own and own[one].counts_before(self.newest.get(one))]
        if ahead:
            self._write(ahead)
            self._read()
        return is_new or changed or bool(ahead)

    def _read(self) -> tuple[bool, bool]:
        """Whether the table is another than the last time, and whether it had news."""
        with self._index.reading() as db:
            found = db.scalar(sa.select(sa.cast(sa.func.to_regclass(table.name), OID)))
            is_new = found is None or found != self._table
            if is_new:
                self.newest, self._change, self._table = {}, 0, found
            rows = db.execute(table.select().where(table.c.change > self._change)).all() if found is not None else []
        for row in rows:
            note = read(row.record.encode())
            if note is not None:
                self.newest[row.run_id] = Written(note, row.server, row.position)
            self._change = max(self._change, row.change)
        return is_new, bool(rows)

    def _write(self, ahead: list[Written]) -> None:
        """Put notes into the table, except where another server has put a newer one meanwhile."""
        with self._index.engine().begin() as db:
            db.execute(sa.select(sa.func.pg_advisory_xact_lock(LOCK)))
            table.create(db, checkfirst=True)
            change = (db.scalar(sa.select(sa.func.max(table.c.change))) or 0) + 1
            for start in range(0, len(ahead), CHUNK):
                some = {one.note.run_id: one for one in ahead[start : start + CHUNK]}
                for row in db.execute(table.select().where(table.c.run_id.in_(some))):
                    there = read(row.record.encode())
                    if there and not some[row.run_id].counts_before(Written(there, row.server, row.position)):
                        del some[row.run_id]
                if some:
                    db.execute(table.delete().where(table.c.run_id.in_(some)))
                    db.execute(table.insert(), [_row(one, change) for one in some.values()])

    def _drop(self) -> None:
        """Throw a broken table away; the next look makes it anew."""
        table.drop(self._index.engine(), checkfirst=True)


def _row(one: Written, change: int) -> dict[str, object]:
    record = json.dumps(asdict(one.note))
    return {
        "run_id": one.note.run_id, "change": change, "server": one.server, "position": one.position, "record": record,
    }  # fmt: skip
