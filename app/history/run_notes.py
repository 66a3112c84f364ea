"""Tags and notes that people give to runs: JSON Lines beside the log of runs, append-only.

A run is never edited: each line names the run it is about, and the newest line of a run is what counts. The file is not
one of the log's own, so that whoever reads runs never meets a line that is none. Servers that share a database show the
notes of all of them.
"""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import asdict, replace
from datetime import datetime, timedelta

from app.history.append_only import ends_a_line, locked, write_whole
from app.history.note import Note, read
from app.history.run_log import Mark, RunLog, utc_text
from app.history.shared_notes import NotShared, SharedNotes, Written

SCHEMA = 1
FILE = "run_notes.log"


class RunNotes:
    """The notes of a directory of logs; with `shared` those of all servers of a database. Any number of processes may
    add and read at once; safe among threads.

    Runs can be looked at without their notes, so reading never raises: where some cannot be read, what was read of them
    before stands, and `problem` says why.
    """

    def __init__(self, log: RunLog, shared: SharedNotes | None = None) -> None:
        self.problem = ""
        self._log = log
        self._shared = shared
        self._lock = threading.Lock()
        self._mark: Mark | None = None
        #: The newest of each run in the file, and which of them the other servers may not have.
        self._own: dict[str, Written] = {}
        self._unsent: set[str] = set()
        self._newest: dict[str, Note] = {}

    def add(self, note: Note) -> None:
        """Append a line. Raises OSError if it could not be written whole."""
        self._look()
        if note.run_id in self._newest:  # Made in sight of that one, so newer than it whatever the clocks say.
            note = replace(note, time=later(note.time, self._newest[note.run_id].time))
        record = {"schema": SCHEMA, **asdict(note)}
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
        self._log.directory.mkdir(parents=True, exist_ok=True)
        with locked(self._log.directory / FILE) as file:
            write_whole(file, line if ends_a_line(file) else b"\n" + line)
            if self._log.fsync:
                os.fsync(file)
        self._look()  # So that the other servers have it, too.

    def of(self, run_ids: Iterable[str]) -> dict[str, Note]:
        """The newest note of each of these runs that has one."""
        known = self.all()
        return {run_id: known[run_id] for run_id in run_ids if run_id in known}

    def all(self) -> dict[str, Note]:
        """The newest note of every run that has one."""
        return {run_id: note for run_id, note in self._look().items() if note.tags or note.text}

    def _look(self) -> Mapping[str, Note]:
        """The newest note of every run, also one that was taken back, after a look at what is new."""
        with self._lock:
            self.problem, changed = "", False
            try:
                changed = self._follow()
            except OSError as error:
                self.problem = error.strerror or "the disk refuses"
            if self._shared is not None:
                try:
                    changed |= self._shared.catch_up(self._own, self._unsent)
                    self._unsent.clear()
                except NotShared as error:
                    self.problem, changed = str(error), True  # Some may have been read before.
            if changed:
                self._newest = self._merged()
            return self._newest

    def _follow(self) -> bool:
        """Take in what was appended to the file, and say whether anything was. Raises OSError."""
        news = self._log.follow(FILE, self._mark, read)
        is_new = self._mark is not None and (news is None or news.restarted)
        if is_new:
            self._own = {}
        if news is not None and news.items:
            server = self._shared.server if self._shared is not None else ""
            self._own |= {note.run_id: Written(note, server, position) for position, _, note in news.items}
            if self._shared is not None:
                self._unsent |= {note.run_id for _, _, note in news.items}
        self._mark = news.mark if news is not None else None
        return is_new or bool(news is not None and news.items)

    def _merged(self) -> dict[str, Note]:
        """Of each run the newest note, whether it is in the file alone, in the database alone or in both."""
        others = self._shared.newest if self._shared is not None else {}
        own = {run_id: one for run_id, one in self._own.items() if one.counts_before(others.get(run_id))}
        return {run_id: one.note for run_id, one in {**others, **own}.items()}

    def tagged(self, tag: str) -> list[str]:
        """The runs that have a tag, in capitals or not."""
        return [run_id for run_id, note in self.all().items() if tag.lower() in map(str.lower, note.tags)]

    def lacking(self, words: Iterable[str]) -> dict[str, tuple[str, ...]]:
        """The runs whose note or tags hold any of these words, which are in small letters -> those they do not hold."""
        wanted = list(words)
        found = {}
        for run_id, note in self.all().items():
            said = note.words
            lacks = tuple(word for word in wanted if word not in said)
            if len(lacks) < len(wanted):
                found[run_id] = lacks
        return found

    def tags(self) -> Counter[str]:
        """Every tag, and how many runs have it."""
        return Counter(tag for note in self.all().values() for tag in note.tags)


def later(time: str, than: str) -> str:
    """A time, or the millisecond after another where that is later."""
    if time > than:
        return time
    with suppress(OverflowError):
        return utc_text((datetime.fromisoformat(than) + timedelta(milliseconds=1)).isoformat())
    return time
