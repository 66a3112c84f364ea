"""Out of the window: an answer or the history as a file, the command that repeats an answer."""

from __future__ import annotations

import json
import shlex
import tkinter as tk
from collections.abc import Callable
from pathlib import Path
from tkinter import filedialog

from app.command_line.options import option_name
from app.desktop.history import HistoryList
from app.desktop.task import Answer, Task
from app.history import csv_export
from app.history.table import MAX_EXPORTED
from app.pages.forms import share_args

Say = Callable[[str], None]


def export_result(answer: Answer, parent: tk.Misc, say: Say) -> None:
    """Save an answer, as JSON as it is logged or as the report's text, by the name's ending."""
    kinds = [("JSON", "*.json"), ("Text", "*.txt")]
    name = filedialog.asksaveasfilename(parent=parent, defaultextension=".json", filetypes=kinds)
    if name:
        as_text = name.endswith(".txt")
        write(name, ("\n".join(answer.report) if as_text else json.dumps(answer.run.as_dict(), indent=2)) + "\n", say)


def export_history(history: HistoryList, say: Say) -> None:
    """Save every run that the search finds, as CSV."""
    name = filedialog.asksaveasfilename(
        parent=history, defaultextension=".csv", filetypes=[("CSV", "*.csv")], initialfile="runs.csv"
    )
    if name:
        query = history.query()
        history.worker.start(
            lambda: "".join(csv_export.lines(history.history.matching(query, MAX_EXPORTED))),
            lambda text: write(name, text, say),
            history.failed,
        )


def write(name: str, text: str, say: Say) -> None:
    try:
        Path(name).write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        say(f"{name} cannot be written: {error.strerror}.")
    else:
        say(f"Saved {name}.")


def command(task: Task, answer: Answer) -> str:
    """The command line that repeats an answer."""
    typed = share_args(task.typed(answer.run.inputs), task.inputs)
    words = [word for name, text in typed.items() for word in (option_name(name), text)]
    return shlex.join(["python", "-m", "app", task.kind, *words])
