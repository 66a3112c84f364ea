"""Tags and notes that people give to runs: JSON Lines beside the log of runs, append-only.

A run is never edited: each line names the run it is about, and the newest line of a run is what counts. The file is not
one of the log's own, so that whoever reads runs never meets a line that is none.
"""

from __future__ import annotations

import json
import os
import re
import threading
from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from app.calculations.errors import InvalidInput
from app.history.append_only import ends_a_line, locked, write_whole
from app.history.run_log import RUN_ID, Mark, RunLog

SCHEMA = 1
FILE = "run_notes.log"
MAX_NOTE, MAX_TAG, MAX_TAGS = 500, 32, 8
TAG = re.compile(r"[\w.:/+-]+(?: [\w.:/+-]+)*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What stands beside a run. `time` is UTC as in the log of runs; no tags and no text: taken back."""

    run_id: str
    time: str
    tags: tuple[str, ...] = ()
    text: str = ""

    @property
    def words(self) -> str:
        """What a search looks in."""
        return f"{' '.join(self.tags)} {self.text}".lower()


def note_of(run_id: str, time: str, *, tags: str, text: str) -> Note:
    """The note of what was typed: tags separated by commas. Raises InvalidInput."""
    found = tuple(dict.fromkeys(one for tag in tags.split(",") if (one := " ".join(tag.split()))))
    if len(found) > MAX_TAGS:
        raise InvalidInput("tags", f"Tags: {len(found)} are given.", f"up to {MAX_TAGS}")
    for tag in found:
        if len(tag) > MAX_TAG or not TAG.fullmatch(tag):
            allowed = f"up to {MAX_TAG} letters, digits and . : / + - _ with single spaces, separated by commas"
            raise InvalidInput("tags", f"Tags: {tag[:60]!r} cannot be a tag.", allowed)
    text = text.replace("\r\n", "\n").strip()
    if len(text) > MAX_NOTE:
        raise InvalidInput("note", f"Note: it has {len(text):,} characters.", f"up to {MAX_NOTE}")
    return Note(run_id=run_id, time=time, tags=found, text=text)


class RunNotes:
    """The notes of a directory of logs. Any number of processes may add and read at once; safe among threads.

    Runs can be looked at without their notes, so reading never raises: where the file cannot be read, what was read of
    it before stands, and `problem` says why.
    """

    def __init__(self, log: RunLog) -> None:
        self.problem = ""
        self._log = log
        self._lock = threading.Lock()
        self._mark: Mark | None = None
        self._newest: dict[str, Note] = {}

    def add(self, note: Note) -> None:
        """Append a line. Raises OSError if it could not be written whole."""
        record = {"schema": SCHEMA, **asdict(note)}
        line = json.dumps(record, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace") + b"\n"
        self._log.directory.mkdir(parents=True, exist_ok=True)
        with locked(self._log.directory / FILE) as file:
            write_whole(file, line if ends_a_line(file) else b"\n" + line)
            if self._log.fsync:
                os.fsync(file)

    def of(self, run_ids: Iterable[str]) -> dict[str, Note]:
        """The newest note of each of these runs that has one."""
        known = self.all()
        return {run_id: known[run_id] for run_id in run_ids if run_id in known}

    def all(self) -> dict[str, Note]:
        """The newest note of every run that has one, in the order in which they were made."""
        with self._lock:
            try:
                self._follow()
                self.problem = ""
            except OSError as error:
                self.problem = error.strerror or "the disk refuses"
            return {run_id: note for run_id, note in self._newest.items() if note.tags or note.text}

    def _follow(self) -> None:
        """Take in what was appended to the file. Raises OSError."""
        news = self._log.follow(FILE, self._mark, read)
        if news is None or news.restarted:
            self._newest = {}
        if news is not None:
            self._newest |= {note.run_id: note for _, _, note in news.items}
        self._mark = news.mark if news is not None else None

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


def read(line: bytes) -> Note | None:
    """The note of a line; None for a line that is torn or foreign."""
    try:
        record = json.loads(line.decode("utf-8"))
        run_id, time, tags, text = (record[name] for name in ("run_id", "time", "tags", "text"))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None
    texts = isinstance(tags, list) and all(isinstance(one, str) for one in (run_id, time, text, *tags))
    if not texts or not RUN_ID.fullmatch(run_id):
        return None
    return Note(run_id=run_id, time=time, tags=tuple(tags), text=text)
