"""The program's window as its user has it: opened for real, driven by keys and buttons, waited for."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from app.history.run_log import Run, RunLog
from app.pages.forms import text_of

if TYPE_CHECKING:
    import tkinter as tk

    from app.desktop.window import Window

LONGEST_SECONDS = 60.0


class Driver:
    """A window and its event loop, turned by hand."""

    def __init__(self, window: Window) -> None:
        self.window = window
        self.errors: list[BaseException] = []
        window.root.report_callback_exception = lambda _, error, __: self.errors.append(error)  # type: ignore[assignment,method-assign]

    def is_idle(self) -> bool:
        return not self.window.worker.busy and not self.window.history.worker.busy

    def settle(self, turns: int = 10) -> None:
        """Let the window do what is due."""
        for _ in range(turns):
            self.window.root.update()
            time.sleep(0.005)
        if self.errors:
            raise self.errors[0]

    def until(self, reached: Callable[[], object]) -> None:
        """Turn the loop until something is so."""
        end = time.monotonic() + LONGEST_SECONDS
        while not reached():
            self.settle(1)
            assert time.monotonic() < end, "waited in vain"
        self.settle()

    def type(self, **texts: Any) -> None:
        """Answer inputs, by name, as a person chooses or types them."""
        for name, value in texts.items():
            self.window.form.fields[name].text = text_of(value)
        self.settle()

    def press(self, key: str, widget: tk.Misc | None = None) -> None:
        """Press a key, such as <Control-Return>, where the focus is or in a widget."""
        root = self.window.root
        if widget is not None:
            widget.focus_force()
            self.settle()
        (widget or root.focus_get() or root).event_generate(key)
        self.settle()

    def calculate(self, **texts: Any) -> Run:
        """Answer inputs, press the button, and wait for the run."""
        self.type(**texts)
        before = self.run
        self.window.questions.button.invoke()
        self.until(self.is_idle)
        run = self.run
        assert run is not None and run is not before, self.status
        return run

    @property
    def run(self) -> Run | None:
        """The one whose answer is shown."""
        return self.window.answer.run if self.window.answer else None

    def turn_to(self, task: str) -> None:
        """Choose a task by its tab, as a click does."""
        questions = self.window.questions
        questions.tabs.select(questions.frames[task])
        self.settle()

    @property
    def status(self) -> str:
        """What the line below says."""
        return str(self.window.status["text"])

    @property
    def tab(self) -> str:
        return str(self.window.tabs.tab("current", "text"))

    def message(self, name: str) -> str:
        """What stands below an input, if it can be seen."""
        field = self.window.form.fields[name]
        return str(field.message["text"]) if field.message.winfo_manager() else ""


@contextmanager
def open_window(log_dir: Path) -> Iterator[Driver]:
    """The window on the screen that DISPLAY names."""
    import tkinter as tk

    from app.desktop.window import Window

    root = tk.Tk()
    driver = Driver(Window(root, RunLog(log_dir)))
    try:
        driver.until(driver.is_idle)
        root.focus_force()
        driver.settle()
        yield driver
    finally:
        if tk._default_root is not None:  # type: ignore[attr-defined]  # not closed by the test
            root.destroy()
        del driver, root
        gc.collect()  # Here, on Tk's thread: on another one Tk would end the process.


def cells(tree: Any) -> Mapping[str, tuple[str, ...]]:
    """The lines of a tree by their names, those below a heading included."""
    found = {}
    for parent in ("", *tree.get_children()):
        for row in tree.get_children(parent):
            found[tree.item(row, "text")] = tuple(map(str, tree.item(row, "values")))
    return found
