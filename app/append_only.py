"""A file of lines that several processes append to: locked writes, and lines read from its end backwards."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

#: A longer line is not written, and is skipped when read.
MAX_LINE_BYTES = 1024 * 1024
BLOCK_BYTES = 256 * 1024


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


def write_all(log: int, data: bytes) -> None:
    """One write. What a full disk or a limit leaves over is tried once more, which finishes it or raises."""
    written = os.write(log, data)
    while written < len(data):
        written += os.write(log, data[written:])


def before(log: int, offset: int) -> bytes:
    """The last bytes before the offset: enough to tell a run from any other."""
    length = min(offset, 4096)
    return os.pread(log, length, offset - length)


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
