"""The run log: JSON Lines, append-only. The only module that knows the format of the files."""

from __future__ import annotations

import base64
import errno
import heapq
import itertools
import json
import math
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from app.history.append_only import (
    MAX_LINE_BYTES,
    before,
    ends_a_line,
    lines_backwards,
    lines_forwards,
    locked,
    sync_directory,
    write_whole,
)
from app.version import APP_VERSION

SCHEMA = 1
WEB_FILE = "web_app_calculations.log"
CLI_FILE = "cli_calculations.log"
#: Which file a run goes to.
FILE_OF_SOURCE = {"web": WEB_FILE, "api": WEB_FILE, "cli": CLI_FILE, "desktop": CLI_FILE}
SOURCES = tuple(FILE_OF_SOURCE)
FILES = (WEB_FILE, CLI_FILE)
#: A log file, or an earlier generation of one: ours end in .1, .2 and so on, the highest the newest; other tools' too.
GENERATION = re.compile(rf"({'|'.join(map(re.escape, FILES))})(?:[.-](\d{{1,18}}))?")
#: The shape of every run id, also of those that older versions wrote: safe in a URL and in a file.
RUN_ID = re.compile(r"[0-9A-Za-z_-]{1,64}")
#: A whole number of more digits is read as null; any float has fewer.
MAX_DIGITS = 400
#: Random bytes at the end of a run id.
TOKEN_BYTES = 6

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One logged calculation. `time` is UTC, to the millisecond, as in 2026-11-23T08:15:30.250Z."""

    run_id: str
    time: str
    source: str
    kind: str
    app_version: str
    inputs: dict[str, Any]
    results: dict[str, Any]
    schema: int = SCHEMA

    def as_dict(self) -> dict[str, Any]:
        """The record as it is logged."""
        return {
            "schema": self.schema,
            "run_id": self.run_id,
            "time": self.time,
            "source": self.source,
            "kind": self.kind,
            "app_version": self.app_version,
            "inputs": self.inputs,
            "results": self.results,
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Run:
        """The run of a logged record, upgraded to this schema. Raises ValueError for anything else.

        Schema 0, which has no `schema` key, may also lack source, kind and app_version.
        """
        schema = record.get("schema", 0)
        if type(schema) is not int or not 0 <= schema <= SCHEMA:
            raise ValueError(f"schema {schema!r} is not known")
        optional = {"source": "web", "kind": "estimate", "app_version": ""} if schema == 0 else {}
        try:
            values = {**optional, **{key: record[key] for key in record if key in _KEYS}}
            run = cls(**{**values, "schema": SCHEMA})
        except TypeError:
            raise ValueError("a key is missing") from None
        if not isinstance(run.run_id, str) or not RUN_ID.fullmatch(run.run_id):
            raise ValueError("run_id is not an id")
        if not all(isinstance(text, str) for text in (run.source, run.kind, run.app_version)):
            raise ValueError("source, kind and app_version are text")
        if not (isinstance(run.inputs, dict) and isinstance(run.results, dict)):
            raise ValueError("inputs and results are objects")
        time = utc_text(run.time)
        return run if time == run.time else cls(**{**run.as_dict(), "time": time})


_KEYS = frozenset(Run.__dataclass_fields__)


def new_run(
    kind: str,
    source: str,
    inputs: dict[str, Any],
    results: dict[str, Any],
    *,
    now: datetime,
    token: bytes,
    app_version: str = APP_VERSION,
) -> Run:
    """A run with an id of its own. `now` is aware; `token` is 6 random bytes that tell it from its twins."""
    if source not in FILE_OF_SOURCE:
        raise ValueError(f"source {source!r} is none of {', '.join(SOURCES)}")
    return Run(
        run_id=run_id(now, token),
        time=utc_text(now.isoformat()),
        source=source,
        kind=kind,
        app_version=app_version,
        inputs=inputs,
        results=results,
    )


def run_id(now: datetime, token: bytes) -> str:
    """Twenty characters that sort by time: milliseconds since 1970, then the token, in base 32."""
    if now.tzinfo is None:
        raise ValueError("now has no time zone")
    if len(token) != TOKEN_BYTES:
        raise ValueError(f"the token has {len(token)} bytes, not {TOKEN_BYTES}")
    milliseconds = int(now.timestamp() * 1000)
    packed = milliseconds.to_bytes(6, "big") + token
    return base64.b32hexencode(packed).decode("ascii").rstrip("=").lower()


def utc_text(text: object) -> str:
    """A time of RFC 3339 as UTC with milliseconds, so that texts compare as times do. Raises ValueError."""
    if not isinstance(text, str):
        raise ValueError("time is not text")
    try:
        moment = datetime.fromisoformat(text)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError:
        raise ValueError("time is out of range") from None
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


@dataclass(frozen=True, slots=True)
class Reading:
    """Runs of the log, newest first, and how many lines on the way were no runs."""

    runs: list[Run]
    skipped: int


@dataclass(frozen=True, slots=True)
class Mark:
    """How far a file has been followed: which file (device, inode), up to which byte, and what stood before it."""

    identity: tuple[int, int]
    offset: int
    before: str

    def is_of(self, log: int, identity: tuple[int, int]) -> bool:
        """Whether the open file is the one that was followed, grown or unchanged."""
        return self.identity == identity and self.before == before(log, self.offset)


@dataclass(frozen=True, slots=True)
class LogFile:
    """One file of the log as it is at a moment."""

    name: str
    identity: tuple[int, int]
    size: int


@dataclass(frozen=True, slots=True)
class News(Generic[T]):
    """What a file holds beyond a mark, oldest first: where each line starts, its length, and what was made of it.

    `restarted`: the mark was not of this file, so what was read before it is gone.
    `behind`: bytes that the limit left unread.
    `torn`: the file ends in a line that is not, or not yet, a run; it is not counted in `skipped`.
    """

    items: list[tuple[int, int, T]]
    skipped: int
    mark: Mark
    size: int
    restarted: bool = False
    behind: int = 0
    torn: bool = False


class RunLog:
    """The log files of one directory. Any number of processes may append and read at once.

    `fsync`: a run is on the disk before `append` returns. `max_bytes`: a file that would grow beyond is put aside as
    its next generation, which stays part of the log; 0 is no limit.
    """

    def __init__(self, directory: Path, *, fsync: bool = False, max_bytes: int = 0) -> None:
        self.directory = Path(directory)
        self.fsync = fsync
        self.max_bytes = max_bytes

    def append(self, run: Run) -> None:
        """Add the run as one line. Raises OSError if it could not be written whole.

        A result that is NaN or infinite is a mistake of the caller: ValueError.
        """
        line = _encode(run)
        path = self.directory / FILE_OF_SOURCE[run.source]
        self.directory.mkdir(parents=True, exist_ok=True)
        while True:
            with locked(path) as log:
                size = os.fstat(log).st_size
                if self.max_bytes and size and size + len(line) > self.max_bytes and self._put_aside(path):
                    continue
                write_whole(log, line if ends_a_line(log) else b"\n" + line)
                if self.fsync:
                    os.fsync(log)
                    if size == 0:
                        sync_directory(self.directory)
                return

    def check(self) -> None:
        """Raise OSError where a run could not be appended: no right to write, a read-only disk, or a full one."""
        self.directory.mkdir(parents=True, exist_ok=True)
        log = os.open(self.directory / WEB_FILE, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            disk = os.fstatvfs(log)
            if disk.f_bavail * disk.f_frsize < MAX_LINE_BYTES:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(log)

    def _put_aside(self, path: Path) -> bool:
        """Rename the locked file to its next generation; False where the directory refuses, and the file grows on."""
        numbers = [int(found[2]) for file in self.files() if (found := GENERATION.fullmatch(file.name)) and found[2]]
        number = max(numbers, default=0) + 1
        # A listing may miss a file that is being renamed; whoever holds the lock is the only one to add a generation.
        while os.path.lexists(f"{path}.{number}"):
            number += 1
        with suppress(OSError):
            path.rename(f"{path}.{number}")
            return True
        return False

    def files(self) -> list[LogFile]:
        """The files that there are, all generations, the one last written to first. Raises OSError."""
        found = []
        try:
            with os.scandir(self.directory) as entries:
                for entry in entries:
                    if GENERATION.fullmatch(entry.name):
                        with suppress(FileNotFoundError):
                            state = entry.stat()
                            found.append((state.st_mtime_ns, entry.name, state))
        except FileNotFoundError:
            return []
        found.sort(key=lambda one: one[:2], reverse=True)
        return [LogFile(name, (state.st_dev, state.st_ino), state.st_size) for _, name, state in found]

    def get(self, run_id: str) -> Run | None:
        """The run of this id, the newest where a file holds it twice; None if there is none."""
        return self.find([run_id]).get(run_id)

    def find(self, run_ids: Iterable[str]) -> dict[str, Run]:
        """The runs of these ids in one pass, by id; without those that no run has."""
        wanted = {run_id: f'"{run_id}"'.encode("ascii") for run_id in run_ids if RUN_ID.fullmatch(run_id)}
        found: dict[str, Run] = {}
        # Both files in turns, so that a recent run is found soon in whichever it is; then the older generations.
        older = (self._lines(file.name) for file in self.files() if file.name not in FILES)
        turns = itertools.zip_longest(*map(self._lines, FILES))
        for lines in itertools.chain(turns, zip(itertools.chain.from_iterable(older), strict=True)):
            if not wanted:
                break
            for line in filter(None, lines):
                for run_id in [run_id for run_id, needle in wanted.items() if needle in line]:
                    run = run_of(line)
                    if run is not None and run.run_id == run_id:
                        found[run_id] = run
                        del wanted[run_id]
        return found

    def read(self, newest: int | None = None) -> Reading:
        """The newest runs of all files, newest first; all of them where no number is given.

        Every line is looked at, since nothing keeps the times of a file in order: clocks are set back and files joined.
        """
        skipped = 0

        def runs() -> Iterator[Run]:
            nonlocal skipped
            for file in self.files():
                for line in self._lines(file.name):
                    run = run_of(line)
                    if run is not None:
                        yield run
                    elif not _is_blank(line):
                        skipped += 1

        def time(run: Run) -> str:
            return run.time

        ordered = sorted(runs(), key=time, reverse=True) if newest is None else heapq.nlargest(newest, runs(), key=time)
        return Reading(ordered, skipped)

    def follow(
        self, name: str, mark: Mark | None, make: Callable[[bytes], T | None], max_bytes: int = 1 << 62
    ) -> News[T] | None:
        """What was appended to a file after the mark, at most `max_bytes` of it and one line; None without a file.

        `make` turns a line into an item, or None where it is no run. Raises OSError.
        """
        try:
            log = os.open(self.directory / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            state = os.fstat(log)
            identity = (state.st_dev, state.st_ino)
            known = mark if mark is not None and mark.is_of(log, identity) else None
            offset = start = known.offset if known else 0
            items: list[tuple[int, int, T]] = []
            skipped, torn = 0, False
            for first, length, line, ended in lines_forwards(log, start, state.st_size):
                made = make(line) if line is not None else None
                if made is None and not ended:
                    torn = True
                    break
                if made is not None:
                    items.append((first, length, made))
                else:
                    skipped += not _is_blank(line)
                offset = first + length + ended
                if offset - start >= max_bytes:
                    break
            return News(
                items,
                skipped,
                Mark(identity, offset, before(log, offset)),
                state.st_size,
                restarted=mark is not None and known is None,
                behind=0 if torn else state.st_size - offset,
                torn=torn,
            )
        finally:
            os.close(log)

    def is_followed(self, file: LogFile, mark: Mark) -> bool:
        """Whether the file still holds what was read up to the mark."""
        try:
            log = os.open(self.directory / file.name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        try:
            return mark.is_of(log, file.identity)
        finally:
            os.close(log)

    def line_at(self, file: LogFile, offset: int, length: int) -> bytes | None:
        """The bytes at a place that `follow` told; None where the file is another by now."""
        try:
            log = os.open(self.directory / file.name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            state = os.fstat(log)
            return os.pread(log, length, offset) if (state.st_dev, state.st_ino) == file.identity else None
        finally:
            os.close(log)

    def _lines(self, name: str) -> Iterator[bytes | None]:
        try:
            log = os.open(self.directory / name, os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            yield from lines_backwards(log, 0, os.fstat(log).st_size)
        finally:
            os.close(log)


def _encode(run: Run) -> bytes:
    text = json.dumps(run.as_dict(), ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    line = text.encode("utf-8", "replace") + b"\n"  # Half a surrogate pair has no place in UTF-8.
    if len(line) > MAX_LINE_BYTES:
        raise OSError(errno.EFBIG, f"the run takes {len(line):,} bytes, a line holds {MAX_LINE_BYTES:,}")
    return line


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is not a number of JSON")


def _float(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _int(digits: str) -> int | None:
    return int(digits) if len(digits) <= MAX_DIGITS else None


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant, parse_float=_float, parse_int=_int)


def run_of(line: bytes | None) -> Run | None:
    """The run of a line; None if the line is torn, foreign or otherwise not a run.

    What JSON can say and nobody can write again does not make a run broken, since the index passes over most of a line:
    a number beyond all floats, as 1e999, is read as null, and half a character as "?", as `append` writes it.
    """
    if line is None:
        return None
    try:
        text = line.decode("utf-8")
        record = _DECODER.decode(text)
        if "\\" in text and "\\ud" in text.lower():
            record = _DECODER.decode(json.dumps(record, ensure_ascii=False).encode("utf-8", "replace").decode("utf-8"))
        return Run.from_dict(record) if isinstance(record, dict) else None
    except (ValueError, RecursionError):
        return None


def is_newer(line: bytes) -> bool:
    """Whether a line that is no run here was written by a newer version."""
    try:
        record = _DECODER.decode(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return False
    schema = record.get("schema") if isinstance(record, dict) else None
    return type(schema) is int and schema > SCHEMA


def _is_blank(line: bytes | None) -> bool:
    return line is not None and not line.strip()
