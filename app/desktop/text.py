"""Text to read, select and copy."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk

from app.desktop.theme import Theme


class ReadOnly(ttk.Frame):
    """Text of fixed width that scrolls both ways."""

    def __init__(self, parent: tk.Misc, theme: Theme, padding: int = 0) -> None:
        super().__init__(parent, padding=padding)
        self.theme = theme
        self.text = tk.Text(
            self, wrap="none", font="TkFixedFont", borderwidth=0, highlightthickness=1, state="disabled"
        )
        down = ttk.Scrollbar(self, orient="vertical", command=self.text.yview)
        across = ttk.Scrollbar(self, orient="horizontal", command=self.text.xview)
        self.text.configure(yscrollcommand=down.set, xscrollcommand=across.set)
        self.text.grid(row=0, column=0, sticky="nsew")
        down.grid(row=0, column=1, sticky="ns")
        across.grid(row=1, column=0, sticky="ew")
        self.rowconfigure(0, weight=1)
        self.columnconfigure(0, weight=1)
        self.recolour()
        theme.root.bind("<<Theme>>", lambda _: self.recolour(), add="+")

    def recolour(self) -> None:
        colours = self.theme.palette
        self.text.configure(
            background=colours["surface"],
            foreground=colours["text"],
            highlightbackground=colours["line"],
            highlightcolor=colours["accent"],
        )

    def show(self, text: str) -> None:
        self.text.configure(state="normal")
        self.text.delete("1.0", "end")
        self.text.insert("1.0", text)
        self.text.configure(state="disabled")
