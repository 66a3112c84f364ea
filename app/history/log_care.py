"""Care of the log as a whole: counting what is good and broken in it, and leaving out what is of no use."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from app.history.append_only import BLOCK_BYTES, lines_forwards, locked, sync_directory, write_whole
from app.history.run_log import RunLog, is_newer, run_of

#: Where `compact` puts what it takes out of the log.
REMOVED = "removed_lines.txt"

#: A file, by device and inode, and where in it a line starts.
Place = tuple[tuple[int, int], int]


@dataclass(frozen=True, slots=True)
class Tally:
    """What a log holds: lines that are runs, lines that are not, and runs whose id another line has too.

    `newer`: runs of a newer version of the calculator, which this one does not read and leaves alone.
    """

    files: int = 0
    good: int = 0
    newer: int = 0
    broken: int = 0
    duplicates: int = 0


def verify(log: RunLog) -> Tally:
    """Read every line of every generation. Raises OSError."""
    tally, _ = _looked_through(log)
    return tally


def compact(log: RunLog) -> Tally:
    """Take broken lines, and all but the newest of lines with the same id, out of the log. Returns what was there.

    What is taken out is added whole to removed_lines.txt beside the log. Others may append meanwhile: a file is
    rewritten under its lock, and whole or not at all. Raises OSError.
    """
    tally, newest = _looked_through(log)
    if not (tally.broken or tally.duplicates):
        return tally
    for file in log.files():
        path = (log.directory / file.name).resolve()  # A link stays one.
        with locked(path) as old:
            state = os.fstat(old)
            if (state.st_dev, state.st_ino) == file.identity:
                _rewrite(path, old, file.identity, newest, log.directory / REMOVED)
    return tally


def _rewrite(path: Path, old: int, identity: tuple[int, int], newest: Mapping[str, Place], aside: Path) -> None:
    """Put a file with only the newest runs in the place of the locked one."""
    state = os.fstat(old)
    compacted = path.with_name(path.name + ".compacting")
    removed: list[tuple[int, int]] = []
    try:
        with compacted.open("wb") as new:
            for offset, length, line, _ in lines_forwards(old, 0, state.st_size):
                run = run_of(line)
                # A run that was appended after the log was looked through is in no list and stays.
                here = (identity, offset)
                is_newest = run is not None and newest.get(run.run_id, here) == here
                if line is not None and (is_newest or (run is None and is_newer(line))):
                    new.write(line + b"\n")
                elif line is None or line.strip():
                    removed.append((offset, length))
            new.flush()
            _belong(new.fileno(), state)
            os.fsync(new.fileno())
        if removed:
            _put_aside(old, removed, state, aside)
        os.utime(compacted, ns=(state.st_atime_ns, state.st_mtime_ns))
        compacted.replace(path)
        sync_directory(path.parent)
    finally:
        compacted.unlink(missing_ok=True)


def _put_aside(log: int, places: Iterable[tuple[int, int]], state: os.stat_result, path: Path) -> None:
    """Add these lines of a log to another file, all or none of them; in parts, since a line may be of any length."""
    with locked(path) as file:
        start = os.fstat(file).st_size
        if not start:
            _belong(file, state)
        try:
            for offset, length in places:
                for part in range(offset, offset + length, BLOCK_BYTES):
                    write_whole(file, os.pread(log, min(BLOCK_BYTES, offset + length - part), part))
                write_whole(file, b"\n")
            os.fsync(file)  # In the log they are no more.
        except OSError:
            os.ftruncate(file, start)
            raise


def _belong(file: int, state: os.stat_result) -> None:
    """Make a file that of the log's owner and group, with its rights."""
    made = os.fstat(file)
    if (made.st_uid, made.st_gid) != (state.st_uid, state.st_gid):
        os.fchown(file, state.st_uid, state.st_gid)
    os.fchmod(file, stat.S_IMODE(state.st_mode))


def _looked_through(log: RunLog) -> tuple[Tally, dict[str, Place]]:
    """The tally, and for each id the file and place of its newest line."""
    tally = Tally()
    newest: dict[str, Place] = {}
    for file in reversed(log.files()):
        tally = replace(tally, files=tally.files + 1)
        with suppress(FileNotFoundError):
            for place, line in _lines(log.directory / file.name):
                run = run_of(line)
                if run is None:
                    if line is not None and is_newer(line):
                        tally = replace(tally, newer=tally.newer + 1)
                    elif line is None or line.strip():
                        tally = replace(tally, broken=tally.broken + 1)
                    continue
                again = newest.get(run.run_id, place) != place
                newest[run.run_id] = place
                tally = replace(tally, good=tally.good + 1, duplicates=tally.duplicates + again)
    return tally, newest


def _lines(path: Path) -> Iterator[tuple[Place, bytes | None]]:
    """Each line with its place in the file that has this name now, which may have changed since it was listed."""
    handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        state = os.fstat(handle)
        for offset, _, line, _ in lines_forwards(handle, 0, state.st_size):
            yield ((state.st_dev, state.st_ino), offset), line
    finally:
        os.close(handle)
