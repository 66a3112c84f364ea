"""Work off the window's thread: the window keeps answering while it runs."""

from __future__ import annotations

import contextvars
import queue
import threading
import tkinter as tk
from collections.abc import Callable
from typing import Any

#: How often the window looks for an answer, in milliseconds.
LOOK_EVERY_MS = 15


class Worker:
    """Runs what it is given, one thread each. Only the last start's answer counts, and it comes on Tk's thread."""

    def __init__(self, root: tk.Misc) -> None:
        self._root = root
        self._answers: queue.SimpleQueue[tuple[int, Callable[[Any], None], Any]] = queue.SimpleQueue()
        self._latest = 0
        self.busy = False

    def start(self, work: Callable[[], Any], done: Callable[[Any], None], failed: Callable[[Exception], None]) -> None:
        """Call `work`; then `done` with what it returned, or `failed` with the exception that it raised."""
        self._latest += 1
        number = self._latest
        context = contextvars.copy_context()  # Who asks decides whose saved models there are.

        def run() -> None:
            try:
                answer: tuple[Callable[[Any], None], Any] = (done, context.run(work))
            except Exception as error:
                answer = (failed, error)
            self._answers.put((number, *answer))

        threading.Thread(target=run, daemon=True, name="worker").start()
        if not self.busy:
            self.busy = True
            self._root.after(LOOK_EVERY_MS, self._look)

    def _look(self) -> None:
        while not self._answers.empty():
            number, deliver, answer = self._answers.get()
            if number == self._latest:
                self.busy = False
                deliver(answer)  # It may start the next work, which looks for itself.
                return
        self._root.after(LOOK_EVERY_MS, self._look)
