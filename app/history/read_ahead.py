"""Reads a long log ahead: while one part of it goes into the index, a process of its own reads the next."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from typing import Any

from app.history.run_log import Mark, News

#: What reads a part of a log: the file, the mark after which, and how many bytes at most; None without a file.
Follow = Callable[[str, Mark | None, int], News[Any] | None]
#: What it is asked for.
Part = tuple[str, Mark | None, int]

#: For less the process would come too late: in the time that it takes to start, so much is read.
WORTH_BYTES = 150_000_000


class ReadAhead:
    """`follow`, of which the next part has been read already where much is left and a core is free.

    What the process reads is what `follow` would have read a moment later. Where another part is asked for, or the
    process fails, `follow` is asked itself. To be used with `with`, by one thread.
    """

    def __init__(self, follow: Follow) -> None:
        """`follow` can be pickled."""
        self._follow = follow
        self._process: BaseProcess | None = None
        self._pipe: Connection | None = None
        self._useful = (os.cpu_count() or 1) > 1

    def __enter__(self) -> ReadAhead:
        return self

    def __exit__(self, *_: object) -> None:
        self._stop()

    def follow(self, name: str, mark: Mark | None, max_bytes: int) -> News[Any] | None:
        """What `follow` says of that part."""
        part = (name, mark, max_bytes)
        news = self._read_already(part) or self._follow(*part)
        left = news.behind if news is not None else 0
        if self._pipe is not None and not left:
            self._stop()  # It has come to the end, too.
        if news is not None and self._pipe is None and self._useful and left > WORTH_BYTES:
            self._start((name, news.mark, max_bytes))
        return news

    def _read_already(self, part: Part) -> News[Any] | None:
        if self._pipe is None:
            return None
        with suppress(EOFError, OSError):
            found, news = self._pipe.recv()
            if found == part and news is not None:
                return news
        self._stop()
        self._useful = False  # Another process takes parts of the log, too, or this one is not let live.
        return None

    def _start(self, part: Part) -> None:
        context = get_context("spawn")
        self._pipe, theirs = context.Pipe(duplex=False)
        self._process = context.Process(target=_read, args=(theirs, self._follow, part), name="read-ahead", daemon=True)
        try:
            self._process.start()
        except OSError:  # No process may be started.
            self._process, self._useful = None, False
            self._stop()
        theirs.close()

    def _stop(self) -> None:
        if self._pipe is not None:
            self._pipe.close()
        if self._process is not None:
            self._process.kill()
            self._process.join()
            self._process.close()
        self._process = self._pipe = None


def _read(pipe: Connection, follow: Follow, part: Part) -> None:
    """Send this part and those that follow to the end of the file, each when the one before has been taken."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError):  # Nobody listens any more; or what cannot be read, whoever asked for it meets and tells.
        while True:
            news = follow(*part)
            pipe.send((part, news))
            if news is None or not news.behind:
                return
            part = (part[0], news.mark, part[2])
