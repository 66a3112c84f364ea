"""The left half of the window: a tab for each task with its form, and the button that asks."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from tkinter import ttk

from app.desktop.form import Form, Say
from app.desktop.task import Task
from app.desktop.tasks import TASKS
from app.desktop.theme import Theme


class Questions(ttk.Frame):
    """A form is made when its task is first turned to; `turned` is called each time, `calculate` by button and keys."""

    def __init__(
        self, parent: tk.Misc, theme: Theme, say: Say, calculate: Callable[[], None], turned: Callable[[], None]
    ) -> None:
        super().__init__(parent)
        self.theme, self.say, self.calculate, self.turned = theme, say, calculate, turned
        self.forms: dict[str, Form] = {}
        self.tabs = ttk.Notebook(self)
        self.frames = {kind: ttk.Frame(self.tabs) for kind in TASKS}
        for kind, frame in self.frames.items():
            frame.rowconfigure(0, weight=1)
            frame.columnconfigure(0, weight=1)
            self.tabs.add(frame, text=TASKS[kind].label, underline=0)
        self.tabs.enable_traversal()
        self.tabs.bind("<<NotebookTabChanged>>", lambda _: self.turn())
        foot = ttk.Frame(self, padding=theme.px(9))
        self.button = ttk.Button(foot, text="Calculate", style="Accent.TButton", command=calculate)
        self.progress = ttk.Progressbar(foot, mode="indeterminate", length=theme.px(80))
        self.button.pack(side="left", fill="x", expand=True)
        self.tabs.grid(row=0, column=0, sticky="nsew")
        foot.grid(row=1, column=0, sticky="ew")
        self.rowconfigure(0, weight=1)
        self.columnconfigure(0, weight=1)

    @property
    def task(self) -> Task:
        """The one that is asked now."""
        return TASKS[list(self.frames)[self.tabs.index("current")]]

    @property
    def form(self) -> Form:
        """Its inputs."""
        return self.forms[self.task.kind]

    def _made(self, task: Task) -> Form:
        form = Form(self.frames[task.kind], task, self.theme, self.say)
        form.grid(row=0, column=0, sticky="nsew")
        for field in form.fields.values():
            if field.declared.kind in ("integer", "number"):
                field.widget.bind("<Return>", lambda _: self.calculate())
        return form

    def ask(self, kind: str) -> None:
        """Turn to a task, and to its first input where it was another."""
        if kind in self.forms and kind == self.task.kind:
            return
        self.tabs.select(self.frames[kind])
        self.turn()  # The event comes later.
        next(iter(self.form.fields.values())).widget.focus_set()

    def turn(self) -> None:
        """Offer the inputs of the task that was turned to."""
        task = self.task
        if task.kind not in self.forms:
            self.forms[task.kind] = self._made(task)
        self.turned()

    def wait(self, waiting: bool) -> None:
        """Show that an answer is being worked out, and ask for no other until then."""
        self.button.state(["disabled" if waiting else "!disabled"])
        if waiting:
            self.progress.pack(side="left", padx=(self.theme.px(6), 0))
            self.progress.start()
        else:
            self.progress.stop()
            self.progress.pack_forget()
