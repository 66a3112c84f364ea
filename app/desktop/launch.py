"""What starts the answer that is shown: one command or file at a time, to copy."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from tkinter import ttk

from app.desktop.task import Launch
from app.desktop.text import ReadOnly
from app.desktop.theme import Theme


class LaunchPane(ttk.Frame):
    """A choice of software, and what starts it with that. `put` puts a text on the clipboard, told by its title."""

    def __init__(self, parent: tk.Misc, theme: Theme, put: Callable[[str, str], None]) -> None:
        super().__init__(parent, padding=theme.px(9))
        self.put = put
        self.launches: Sequence[Launch] = ()
        head = ttk.Frame(self)
        label = ttk.Label(head, text="Start it with")
        self.choice = ttk.Combobox(head, state="readonly")
        self.copy_button = ttk.Button(head, text="Copy", command=self.copy)
        label.pack(side="left")
        self.choice.pack(side="left", fill="x", expand=True, padx=theme.px(6))
        self.copy_button.pack(side="left")
        head.grid(row=0, column=0, sticky="ew", pady=(0, theme.px(6)))
        self.problem = ttk.Label(self)
        self.problem.grid(row=1, column=0, sticky="ew")
        self.bind("<Configure>", lambda event: self.problem.configure(wraplength=event.width - 2 * theme.px(9)))
        self.body = ReadOnly(self, theme)
        self.body.grid(row=2, column=0, sticky="nsew")
        self.rowconfigure(2, weight=1)
        self.columnconfigure(0, weight=1)
        self.choice.bind("<<ComboboxSelected>>", lambda _: self.chosen())

    def show(self, launches: Sequence[Launch]) -> None:
        self.launches = launches
        self.choice.configure(values=[one.title for one in launches])
        if launches:
            self.choice.current(0)
        else:
            self.choice.set("")
        self.chosen()

    def chosen(self) -> None:
        """Show what starts it with the software that is chosen, or why that cannot."""
        one = self.launches[self.choice.current()] if self.launches else Launch("")
        self.body.show(one.text)
        self.copy_button.state(["!disabled" if one.text else "disabled"])
        self.problem.configure(text=one.problem)
        if one.problem:
            self.problem.grid()
            self.body.grid_remove()
        else:
            self.problem.grid_remove()
            self.body.grid()

    def copy(self) -> None:
        """Put what is shown on the clipboard."""
        one = self.launches[self.choice.current()]
        self.put(one.text, one.title)
