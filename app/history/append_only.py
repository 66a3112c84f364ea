"""A file of lines that several processes append to: locked writes, and lines read forwards or from the end."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: A longer line is not written, and is skipped when read.
MAX_LINE_BYTES = 1024 * 1024
BLOCK_BYTES = 128 * 1024


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """The log open for appending and locked; opened again if it was moved away in between."""
    while True:
        log = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(log, fcntl.LOCK_EX)
            if is_at(log, path):
                yield log
                return
        finally:
            os.close(log)


def is_at(log: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(log), os.stat(path))
    except FileNotFoundError:
        return False


def ends_a_line(log: int) -> bool:
    size = os.fstat(log).st_size
    return size == 0 or os.pread(log, 1, size - 1) == b"\n"


def write_whole(log: int, data: bytes) -> None:
    """All of the data at the end of the locked file, or none of it: then OSError. A full disk leaves no half line."""
    start = os.fstat(log).st_size
    written = 0
    try:
        while written < len(data):
            count = os.write(log, data[written:])
            if count == 0:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            written += count
    except OSError:
        if os.fstat(log).st_size == start + written:  # Nobody has written without the lock.
            os.ftruncate(log, start)
        raise


def sync_directory(directory: Path) -> None:
    """Make the names of new and renamed files outlive a loss of power."""
    handle = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def before(log: int, offset: int) -> str:
    """SHA-256 of the last bytes before the offset, at most 4,096: enough to tell a run from any other."""
    length = min(offset, 4096)
    return hashlib.sha256(os.pread(log, length, offset - length)).hexdigest()


def lines_forwards(log: int, start: int, end: int) -> Iterator[tuple[int, int, bytes | None, bool]]:
    """The lines between two offsets: where each starts, its length without the newline, the line, and whether a
    newline ends it, which only the last may lack. None stands for a line that is too long to be kept.
    """
    begun, length = b"", 0  # The start of a line that goes on in the next block: what is kept of it, its length.
    first = position = start
    while position < end:
        block = os.pread(log, min(BLOCK_BYTES, end - position), position)
        if not block:  # The file was cut while we read it.
            return
        position += len(block)
        at = 0
        while (newline := block.find(b"\n", at)) >= 0:  # For long lines many times as fast as `split`.
            length += newline - at
            yield first, length, begun + block[at:newline] if length <= MAX_LINE_BYTES else None, True
            first += length + 1
            begun, length, at = b"", 0, newline + 1
        length += len(block) - at
        begun = begun + block[at:] if length <= MAX_LINE_BYTES else b""
    if length:
        yield first, length, begun if length <= MAX_LINE_BYTES else None, False


def blocks_backwards(log: int, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    while end > start:
        length = min(BLOCK_BYTES, end - start)
        end -= length
        block = os.pread(log, length, end)
        if len(block) < length:  # The file was cut while we read it.
            return
        yield end, block


def lines_backwards(log: int, start: int, end: int) -> Iterator[bytes | None]:
    """The lines between two offsets, the last one first, None for one that is too long."""
    tail = b""  # The end of a line that began in an earlier block.
    too_long = False
    for _, block in blocks_backwards(log, start, end):
        first, *others = block.split(b"\n")
        if not others:
            too_long = too_long or len(first) + len(tail) > MAX_LINE_BYTES
            tail = b"" if too_long else first + tail
            continue
        others[-1] += tail
        others.reverse()
        for line in others:
            yield None if too_long or len(line) > MAX_LINE_BYTES else line
            too_long = False
        tail = first
    if end > start:
        yield None if too_long else tail
