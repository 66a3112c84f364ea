"""The layouts or plans that were weighed, the chosen one first, and why the others lose."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from tkinter import font, ttk

from app.desktop.task import Ranking
from app.desktop.theme import Theme


class RankingPane(ttk.Frame):
    """A row each; the one that is selected is told in full."""

    def __init__(self, parent: tk.Misc, theme: Theme, say: Callable[[str], None]) -> None:
        super().__init__(parent, padding=theme.px(9))
        self.theme, self.say = theme, say
        self.ranking = Ranking((), ())
        self.tree = ttk.Treeview(self, show="headings", selectmode="browse")
        down = ttk.Scrollbar(self, orient="vertical", command=self.tree.yview)
        across = ttk.Scrollbar(self, orient="horizontal", command=self.tree.xview)
        self.tree.configure(yscrollcommand=down.set, xscrollcommand=across.set)
        self.tree.grid(row=0, column=0, sticky="nsew")
        down.grid(row=0, column=1, sticky="ns")
        across.grid(row=1, column=0, sticky="ew")
        self.rowconfigure(0, weight=1)
        self.columnconfigure(0, weight=1)
        self.tree.bind("<<TreeviewSelect>>", lambda _: self.tell())
        theme.root.bind("<<Theme>>", lambda _: self.fit(), add="+")

    def show(self, ranking: Ranking) -> None:
        self.ranking = ranking
        tree = self.tree
        tree.delete(*tree.get_children())
        tree.configure(columns=[str(place) for place, _ in enumerate(ranking.heads)])
        for row in ranking.rows:
            tree.insert("", "end", values=tuple(row))
        tree.focus("".join(tree.get_children()[:1]))  # Arrow keys need a row to begin from.
        self.fit()

    def fit(self) -> None:
        """Columns as wide as what stands in them."""
        plain, bold = (font.nametofont(name, self) for name in ("TkDefaultFont", "TkHeadingFont"))
        for place, head in enumerate(self.ranking.heads):
            cells = (plain.measure(row[place]) for row in self.ranking.rows)
            width = max(bold.measure(head), *cells) + self.theme.px(14)
            self.tree.heading(place, text=head, anchor="w")
            last = place == len(self.ranking.heads) - 1
            self.tree.column(place, width=width, minwidth=width, anchor="w", stretch=last)

    def tell(self) -> None:
        for chosen in self.tree.selection():
            row = self.ranking.rows[self.tree.index(chosen)]
            pairs = zip(self.ranking.heads, row, strict=True)
            self.say(", ".join(f"{head} {cell}".strip() for head, cell in pairs if cell))
