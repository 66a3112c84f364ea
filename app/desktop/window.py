"""The window: tasks with their inputs to the left; answer and history to the right; one line of help below."""

from __future__ import annotations

import sys
import tkinter as tk
import traceback
from collections.abc import Callable, Sequence
from functools import partial
from tkinter import ttk

from app.calculations.errors import InvalidInput
from app.config import setting
from app.desktop import export
from app.desktop.form import Form
from app.desktop.history import Comparison, HistoryList
from app.desktop.launch import LaunchPane
from app.desktop.menu import Command, Menus, bind, menu_bar
from app.desktop.questions import Questions
from app.desktop.ranking import RankingPane
from app.desktop.result import Result
from app.desktop.task import Answer, Ranking, Task
from app.desktop.tasks import TASKS
from app.desktop.text import ReadOnly
from app.desktop.theme import DARK, LIGHT, Theme
from app.desktop.worker import Worker
from app.history.index import Index
from app.history.run_log import Run, RunLog
from app.history.table import History
from app.pages.forms import sentence

TITLE = "LLM Infrastructure Scaling Calculator"
#: Largest share of the screen that the window takes by itself.
OF_SCREEN = 0.92
#: Tabs to the right -> the letter that Alt leads there with, which no menu and no task has.
LETTERS = {"Result": "u", "Ranking": "k", "Launch": "L", "Report": "o", "History": "H", "Compare": "C"}


class Window:
    """All of it, in a root window that is given. `say` writes the line below."""

    def __init__(self, root: tk.Tk, log: RunLog) -> None:
        self.root, self.log = root, log
        self.theme = theme = Theme(root)
        self.worker = Worker(root)
        #: Kind of task -> its last answer.
        self.answers: dict[str, Answer] = {}
        #: The task and the answer that the panes tell of.
        self.shown: tuple[str, Answer | None] = ("", None)
        root.title(TITLE)
        self._place()
        self.status = ttk.Label(root, style="Quiet.TLabel", padding=(theme.px(9), theme.px(3)))
        halves = ttk.PanedWindow(root, orient="horizontal")
        self.questions = Questions(halves, theme, self.say, self.calculate, self.turned)
        halves.add(self.questions, weight=0)
        halves.add(self._answers(halves), weight=1)
        self.status.pack(side="bottom", fill="x")
        halves.pack(side="top", fill="both", expand=True)
        root.bind("<Configure>", lambda _: self.status.configure(wraplength=root.winfo_width() - 2 * theme.px(9)))
        self.dark = tk.BooleanVar(root, value=False)
        menus = self.commands()
        self.menus = menu_bar(root, menus)
        self.menus[-1].add_checkbutton(label="Dark colours", variable=self.dark, command=self.recolour, underline=0)
        bind(root, menus)
        self.recolour()
        self.questions.ask(next(iter(TASKS)))
        self.history.refresh()

    def _place(self) -> None:
        """As large as it wants to be, within the screen; never so small that it cannot be used."""
        px, root = self.theme.px, self.root
        most = (int(root.winfo_screenwidth() * OF_SCREEN), int(root.winfo_screenheight() * OF_SCREEN))
        wanted = (px(960), px(640))
        root.geometry("{}x{}".format(*map(min, wanted, most)))
        root.minsize(*map(min, (px(520), px(320)), most))

    def _answers(self, parent: tk.Misc) -> ttk.Notebook:
        """The panes of the answer that is shown, then those of all runs."""
        theme = self.theme
        self.tabs = tabs = ttk.Notebook(parent, width=theme.px(560))
        self.result = Result(tabs, theme, self.say)
        self.ranking = RankingPane(tabs, theme, self.say)
        self.launch = LaunchPane(tabs, theme, self.put)
        self.report = ReadOnly(tabs, theme, padding=theme.px(9))
        history = History(self.log, Index(self.log, setting("DATA_DIR"), setting("DATABASE_URL")))
        self.history = HistoryList(tabs, theme, history, open_run=self.open_run, compare=self.compare, say=self.say)
        self.comparison = Comparison(tabs, theme)
        panes = (self.result, self.ranking, self.launch, self.report, self.history, self.comparison)
        self.panes: dict[str, ttk.Frame] = dict(zip(LETTERS, panes, strict=True))
        for name, pane in self.panes.items():
            tabs.add(pane, text=name, underline=name.index(LETTERS[name]))
        tabs.enable_traversal()
        return tabs

    def commands(self) -> Menus:
        """Everything that can be done, with its key."""
        return {
            "File": (
                Command("Export result...", "Ctrl+S", self.export_result, ("<Control-s>",)),
                Command("Export history...", "Ctrl+E", self.export_history, ("<Control-e>",)),
                Command("Quit", "Ctrl+Q", self.root.destroy, ("<Control-q>",)),
            ),
            "Run": (
                *(
                    Command(task.label, f"Ctrl+{place}", partial(self.questions.ask, kind), (f"<Control-Key-{place}>",))
                    for place, (kind, task) in enumerate(TASKS.items(), start=1)
                ),
                Command("Calculate", "Ctrl+Return", self.calculate, ("<Control-Return>", "<Control-KP_Enter>")),
                Command("Reset inputs", "Ctrl+R", lambda: self.form.fill({}), ("<Control-r>",)),
                Command("Copy as command", "Ctrl+Shift+C", self.copy_command, ("<Control-Shift-C>",)),
                Command("Compare selected runs", "Ctrl+M", self.history.compare_selected, ("<Control-m>",)),
            ),
            "View": (
                *(
                    Command(name, f"Alt+{place}", partial(self.tabs.select, pane), (f"<Alt-Key-{place}>",))
                    for place, (name, pane) in enumerate(self.panes.items(), start=1)
                ),
                Command("Find in history", "Ctrl+F", self.find, ("<Control-f>",)),
                Command("Read the log again", "F5", self.history.refresh, ("<F5>",)),
                Command("Larger text", "Ctrl++", lambda: self.theme.resize(1), ("<Control-plus>", "<Control-equal>")),
                Command("Smaller text", "Ctrl+-", lambda: self.theme.resize(-1), ("<Control-minus>",)),
                Command("First size of text", "Ctrl+0", lambda: self.theme.resize(0), ("<Control-Key-0>",)),
            ),
        }

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

    # --- a task

    @property
    def form(self) -> Form:
        """The one of the task that is asked now."""
        return self.questions.form

    @property
    def answer(self) -> Answer | None:
        """The one that is shown: the last of the task."""
        return self.answers.get(self.questions.task.kind)

    def turned(self) -> None:
        """Show the last answer of the task that was turned to, where the panes do not yet."""
        if self.shown != (self.questions.task.kind, self.answer):
            self.show()

    def show(self) -> None:
        """The answer of the task, in all panes that tell of it."""
        answer = self.answer
        self.shown = self.questions.task.kind, answer
        self.result.show(answer)
        self.ranking.show(answer.ranking if answer else Ranking((), ()))
        self.launch.show(answer.launches if answer else ())
        self.report.show("\n".join(answer.report) if answer else "")

    # --- a calculation

    def calculate(self) -> None:
        """Answer what the form says, in a thread; mistakes are shown beside their fields."""
        if self.worker.busy:
            return
        task, form = self.questions.task, self.form
        errors = form.mistakes()
        form.show(errors)
        if errors:
            return
        raw = form.raw()
        self.questions.wait(True)
        self.say("Calculating...")
        self.worker.start(lambda: self.work(task, raw), self.done, partial(self.failed, task))

    def work(self, task: Task, raw: dict[str, str]) -> tuple[Answer, str]:
        """The answer, whose run is logged, and why it could not be logged where it could not."""
        run = task.door(raw, source="desktop")
        try:
            self.log.append(run)
        except (OSError, ValueError) as error:
            return task.describe(run), f"This run could not be saved: {getattr(error, 'strerror', None) or error}."
        return task.describe(run), ""

    def done(self, found: tuple[Answer, str]) -> None:
        answer, not_saved = found
        self.questions.wait(False)
        self.present(answer)
        self.say(not_saved or f"Saved as run {answer.run.run_id}.")
        self.history.refresh()

    def failed(self, task: Task, error: Exception) -> None:
        """What the user can mend beside its field; what only we can mend in a line, and in full on stderr."""
        self.questions.wait(False)
        if isinstance(error, InvalidInput):
            self.questions.ask(task.kind)
            self.form.show([error])
            self.say(sentence(error))
        else:
            traceback.print_exception(error, file=sys.stderr)
            self.say(f"Something went wrong here: {type(error).__name__}: {error}")

    def present(self, answer: Answer) -> None:
        """Turn to an answer and its task."""
        self.answers[answer.run.kind] = answer
        self.questions.ask(answer.run.kind)
        self.turned()
        self.tabs.select(self.result)

    # --- the history

    def open_run(self, run: Run) -> None:
        """Show a logged run and fill the form of its task with what it was given."""
        task = TASKS.get(run.kind)
        if task is None or not task.is_complete(run.results):
            self.say(f"Run {run.run_id} is no answer of this version; its page in the browser shows it.")
            return
        self.present(task.describe(run))
        self.form.fill(task.typed(run.inputs))
        self.say(f"Run {run.run_id} of {run.time[:16].replace('T', ' ')} UTC.")

    def compare(self, runs: Sequence[Run]) -> None:
        self.comparison.show(runs)
        self.tabs.select(self.comparison)

    # --- out of the window

    def answered(self, use: Callable[[Answer], object]) -> None:
        """Do something with the answer that is shown, or say that there is none."""
        if self.answer:
            use(self.answer)
        else:
            self.say("There is no result yet. Calculate first.")

    def export_result(self) -> None:
        self.answered(lambda answer: export.export_result(answer, self.root, self.say))

    def export_history(self) -> None:
        export.export_history(self.history, self.say)

    def copy_command(self) -> None:
        """Put the command line that repeats the result that is shown on the clipboard."""
        self.answered(lambda answer: self.put(command := export.command(self.questions.task, answer), command))

    def put(self, text: str, told: str) -> None:
        """Put a text on the clipboard and tell so."""
        self.root.clipboard_clear()
        self.root.clipboard_append(text)
        self.say(f"Copied: {told}")
