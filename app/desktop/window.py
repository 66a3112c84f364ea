"""The window: inputs to the left; result, report, history and comparison to the right; one line of help below."""

from __future__ import annotations

import json
import shlex
import sys
import tkinter as tk
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from tkinter import filedialog, ttk

from app.calculations.errors import InvalidInput
from app.command_line import report
from app.command_line.options import option_name
from app.config import setting
from app.desktop.form import Form
from app.desktop.history import Comparison, HistoryList
from app.desktop.result import Report, Result
from app.desktop.theme import DARK, LIGHT, Theme
from app.desktop.worker import Worker
from app.history import csv_export
from app.history.index import Index
from app.history.run_log import Run, RunLog
from app.history.table import MAX_EXPORTED, History
from app.pages import result as page
from app.pages.forms import sentence, share_args
from app.runs import estimate_run

TITLE = "LLM Infrastructure Scaling Calculator"
#: Largest share of the screen that the window takes by itself.
OF_SCREEN = 0.92


def pressed(command: Callable[[], object], _: tk.Event) -> None:
    """A command as what a key calls."""
    command()


class Window:
    """All of it, in a root window that is given. `say` writes the line below."""

    def __init__(self, root: tk.Tk, log: RunLog) -> None:
        self.root, self.log = root, log
        self.theme = theme = Theme(root)
        self.worker = Worker(root)
        root.title(TITLE)
        self._place()
        self.status = ttk.Label(root, style="Quiet.TLabel", padding=(theme.px(9), theme.px(3)))
        halves = ttk.PanedWindow(root, orient="horizontal")
        left = ttk.Frame(halves)
        self.form = Form(left, theme, self.say)
        foot = ttk.Frame(left, padding=theme.px(9))
        self.button = ttk.Button(foot, text="Calculate", style="Accent.TButton", command=self.calculate)
        self.progress = ttk.Progressbar(foot, mode="indeterminate", length=theme.px(80))
        self.button.pack(side="left", fill="x", expand=True)
        self.form.grid(row=0, column=0, sticky="nsew")
        foot.grid(row=1, column=0, sticky="ew")
        left.rowconfigure(0, weight=1)
        left.columnconfigure(0, weight=1)
        self.tabs = ttk.Notebook(halves, width=theme.px(560))
        self.result = Result(self.tabs, theme, self.say)
        self.report = Report(self.tabs, theme)
        history = History(log, Index(log, setting("DATA_DIR"), setting("DATABASE_URL")))
        self.history = HistoryList(
            self.tabs, theme, history, open_run=self.open_run, compare=self.compare, say=self.say
        )
        self.comparison = Comparison(self.tabs, theme)
        self.panes = {
            "Result": self.result, "Report": self.report, "History": self.history, "Compare": self.comparison
        }  # fmt: skip
        for name, pane in self.panes.items():
            self.tabs.add(pane, text=name, underline=0)
        self.tabs.enable_traversal()
        halves.add(left, weight=0)
        halves.add(self.tabs, weight=1)
        self.status.pack(side="bottom", fill="x")
        halves.pack(side="top", fill="both", expand=True)
        root.bind("<Configure>", lambda _: self.status.configure(wraplength=root.winfo_width() - 2 * theme.px(9)))
        self.dark = tk.BooleanVar(root, value=False)
        self.menu()
        self.keys()
        self.form.fields["model"].widget.focus_set()
        self.history.refresh()

    def _place(self) -> None:
        """As large as it wants to be, within the screen; never so small that it cannot be used."""
        px, root = self.theme.px, self.root
        most = (int(root.winfo_screenwidth() * OF_SCREEN), int(root.winfo_screenheight() * OF_SCREEN))
        wanted = (px(960), px(640))
        root.geometry("{}x{}".format(*map(min, wanted, most)))
        root.minsize(*map(min, (px(520), px(320)), most))

    def menu(self) -> None:
        """Everything that can be done, with its key."""
        bar = tk.Menu(self.root, tearoff=False)
        self.menus = [bar]
        menus = {
            "File": (
                ("Export result...", "Ctrl+S", self.export_result),
                ("Export history...", "Ctrl+E", self.export_history),
                ("Quit", "Ctrl+Q", self.root.destroy),
            ),
            "Run": (
                ("Calculate", "Ctrl+Return", self.calculate),
                ("Reset inputs", "Ctrl+R", lambda: self.form.fill({})),
                ("Copy as command", "Ctrl+Shift+C", self.copy_command),
                ("Compare selected runs", "Ctrl+M", self.history.compare_selected),
            ),
            "View": (
                ("Find in history", "Ctrl+F", self.find),
                ("Read the log again", "F5", self.history.refresh),
                ("Larger text", "Ctrl++", lambda: self.theme.resize(1)),
                ("Smaller text", "Ctrl+-", lambda: self.theme.resize(-1)),
                ("First size of text", "Ctrl+0", lambda: self.theme.resize(0)),
            ),
        }
        for name, entries in menus.items():
            menu = tk.Menu(bar, tearoff=False)
            for label, key, command in entries:
                menu.add_command(label=label, accelerator=key, command=command, underline=0)
            if name == "View":
                menu.add_checkbutton(label="Dark colours", variable=self.dark, command=self.recolour, underline=0)
            bar.add_cascade(label=name, menu=menu, underline=0)
            self.menus.append(menu)
        self.root.configure(menu=bar)
        self.recolour()

    def keys(self) -> None:
        bound: dict[str, Callable[[], object]] = {
            "<Control-Return>": self.calculate, "<Control-KP_Enter>": self.calculate, "<F5>": self.history.refresh,
            "<Control-s>": self.export_result, "<Control-e>": self.export_history, "<Control-q>": self.root.destroy,
            "<Control-r>": lambda: self.form.fill({}), "<Control-Shift-C>": self.copy_command,
            "<Control-f>": self.find, "<Control-m>": self.history.compare_selected,
            "<Control-plus>": lambda: self.theme.resize(1), "<Control-equal>": lambda: self.theme.resize(1),
            "<Control-minus>": lambda: self.theme.resize(-1), "<Control-Key-0>": lambda: self.theme.resize(0),
        }  # fmt: skip
        for key, command in bound.items():
            self.root.bind(key, partial(pressed, command))
        for number, pane in enumerate(self.panes.values(), start=1):
            self.root.bind(f"<Alt-Key-{number}>", partial(pressed, partial(self.tabs.select, pane)))
        for field in self.form.fields.values():
            if field.declared.kind in ("integer", "number"):
                field.widget.bind("<Return>", lambda _: self.calculate())

    def say(self, text: str) -> None:
        """Put a sentence into the line below."""
        self.status.configure(text=text)

    def recolour(self) -> None:
        self.theme.palette = DARK if self.dark.get() else LIGHT
        self.theme.apply()
        for menu in self.menus:
            self.theme.menu(menu)

    def find(self) -> None:
        self.tabs.select(self.history)
        self.history.entry.focus_set()

    # --- a calculation

    def calculate(self) -> None:
        """Estimate what the form says, in a thread; mistakes are shown beside their fields."""
        if self.worker.busy:
            return
        errors = self.form.mistakes()
        self.form.show(errors)
        if errors:
            return
        raw = self.form.raw()
        self.button.state(["disabled"])
        self.progress.pack(side="left", padx=(self.theme.px(6), 0))
        self.progress.start()
        self.say("Calculating...")
        self.worker.start(lambda: self.estimate(raw), self.done, self.failed)

    def estimate(self, raw: dict[str, str]) -> tuple[Run, str]:
        """The logged run, and why it could not be logged where it could not."""
        run = estimate_run(raw, source="desktop")
        try:
            self.log.append(run)
        except (OSError, ValueError) as error:
            return run, f"This run could not be saved: {getattr(error, 'strerror', None) or error}."
        return run, ""

    def ready(self) -> None:
        self.button.state(["!disabled"])
        self.progress.stop()
        self.progress.pack_forget()

    def done(self, answer: tuple[Run, str]) -> None:
        run, not_saved = answer
        self.ready()
        self.show(run)
        self.say(not_saved or f"Saved as run {run.run_id}.")
        self.history.refresh()

    def failed(self, error: Exception) -> None:
        """What the user can mend beside its field; what only we can mend in a line, and in full on stderr."""
        self.ready()
        if isinstance(error, InvalidInput):
            self.form.show([error])
            self.say(sentence(error))
        else:
            traceback.print_exception(error, file=sys.stderr)
            self.say(f"Something went wrong here: {type(error).__name__}: {error}")

    def show(self, run: Run) -> None:
        self.result.show(run)
        self.report.show(run)
        self.tabs.select(self.result)

    # --- the history

    def open_run(self, run: Run) -> None:
        """Show a logged run and fill the form with what it was given."""
        if run.kind != "estimate" or not page.is_complete(run.results):
            self.say(f"Run {run.run_id} is no estimate of this version; its page in the browser shows it.")
            return
        self.form.fill(run.inputs)
        self.show(run)
        self.say(f"Run {run.run_id} of {run.time[:16].replace('T', ' ')} UTC.")

    def compare(self, runs: Sequence[Run]) -> None:
        self.comparison.show(runs)
        self.tabs.select(self.comparison)

    # --- out of the window

    def export_result(self) -> None:
        """Save the result that is shown, as JSON as it is logged or as the report's text, by the name's ending."""
        run = self.result.run
        if run is None:
            self.say("There is no result yet. Calculate first.")
            return
        kinds = [("JSON", "*.json"), ("Text", "*.txt")]
        name = filedialog.asksaveasfilename(parent=self.root, defaultextension=".json", filetypes=kinds)
        if name:
            text = "\n".join(report.estimate(run)) if name.endswith(".txt") else json.dumps(run.as_dict(), indent=2)
            self.write(name, text + "\n")

    def export_history(self) -> None:
        """Save every run that the search finds, as CSV."""
        name = filedialog.asksaveasfilename(
            parent=self.root, defaultextension=".csv", filetypes=[("CSV", "*.csv")], initialfile="runs.csv"
        )
        if name:
            query = self.history.query()
            self.history.worker.start(
                lambda: "".join(csv_export.lines(self.history.history.matching(query, MAX_EXPORTED))),
                lambda text: self.write(name, text),
                self.history.failed,
            )

    def write(self, name: str, text: str) -> None:
        try:
            Path(name).write_text(text, encoding="utf-8", newline="")
        except OSError as error:
            self.say(f"{name} cannot be written: {error.strerror}.")
        else:
            self.say(f"Saved {name}.")

    def copy_command(self) -> None:
        """Put the command line that repeats the result that is shown on the clipboard."""
        run = self.result.run
        if run is None:
            self.say("There is no result yet. Calculate first.")
            return
        words = [word for name, text in share_args(run.inputs).items() for word in (option_name(name), text)]
        command = shlex.join(["python", "-m", "app", "estimate", *words])
        self.root.clipboard_clear()
        self.root.clipboard_append(command)
        self.say(f"Copied: {command}")
