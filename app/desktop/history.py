"""The history that pages, command line and window share: search, sort, open, compare, export."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from functools import partial
from tkinter import ttk
from typing import Literal

from app import formatting
from app.desktop.theme import Theme
from app.desktop.worker import Worker
from app.history.comparison import Compared, Line, compared, input_lines, result_lines
from app.history.query import MAX_COMPARED, Filters, Query
from app.history.rows import COLUMN, DEFAULT_SORT, Row
from app.history.run_log import Run
from app.history.table import History, Page

#: Rows that the list holds at once; the search finds older runs.
MOST_ROWS = 500


def _fits(row: Row) -> str:
    return formatting.NOTHING if row.fits is None else "yes" if row.fits else "no"


def _written(value: float | None, write: Callable[[float | None], str]) -> str:
    return formatting.NOTHING if value is None else write(value)


#: Columns of app.history.rows that are shown: name -> (width in points, how a row's cell is written).
CELLS: dict[str, tuple[int, Callable[[Row], str]]] = {
    "time": (104, lambda row: row.time[:16].replace("T", " ")),
    "source": (48, lambda row: row.source),
    "kind": (52, lambda row: row.kind),
    "model": (170, lambda row: row.model),
    "gpu": (104, lambda row: row.gpu_name),
    "gpus": (36, lambda row: _written(row.num_gpus, formatting.integer)),
    "prompt": (50, lambda row: _written(row.input_tokens, formatting.integer)),
    "output": (50, lambda row: _written(row.output_tokens, formatting.integer)),
    "concurrency": (70, lambda row: "saturated" if row.saturated else _written(row.concurrency, formatting.integer)),
    "fits": (34, _fits),
    "ttft": (54, lambda row: _written(row.ttft_ms, formatting.milliseconds)),
    "tpot": (54, lambda row: _written(row.tpot_ms, formatting.milliseconds)),
    "tokens": (64, lambda row: _written(row.tokens_per_s, formatting.rate)),
    "cost": (50, lambda row: _written(row.usd_per_hour, formatting.usd)),
}


class HistoryList(ttk.Frame):
    """The runs of the log. `open_run` and `compare` get what is selected."""

    def __init__(
        self,
        parent: tk.Misc,
        theme: Theme,
        history: History,
        *,
        open_run: Callable[[Run], None],
        compare: Callable[[Sequence[Run]], None],
        say: Callable[[str], None],
    ) -> None:
        super().__init__(parent, padding=theme.px(9))
        self.history, self.say = history, say
        self.open_run, self.compare = open_run, compare
        self.worker = Worker(self)
        self.sort = DEFAULT_SORT
        self.search = tk.StringVar(self)
        head = ttk.Frame(self)
        ttk.Label(head, text="Search").pack(side="left")
        self.entry = ttk.Entry(head, textvariable=self.search)
        self.entry.pack(side="left", fill="x", expand=True, padx=theme.px(6))
        self.open_button = ttk.Button(head, text="Open", command=self.open_selected)
        self.compare_button = ttk.Button(head, text="Compare", command=self.compare_selected)
        self.open_button.pack(side="left")
        self.compare_button.pack(side="left", padx=(theme.px(6), 0))
        head.grid(row=0, column=0, columnspan=2, sticky="ew", pady=(0, theme.px(6)))
        self.tree = ttk.Treeview(self, columns=tuple(CELLS), show="headings", selectmode="extended")
        down = ttk.Scrollbar(self, orient="vertical", command=self.tree.yview)
        across = ttk.Scrollbar(self, orient="horizontal", command=self.tree.xview)
        self.tree.configure(yscrollcommand=down.set, xscrollcommand=across.set)
        for name, (width, _) in CELLS.items():
            anchor: Literal["e", "w"] = "e" if COLUMN[name].kind == "number" else "w"
            self.tree.column(name, width=theme.px(width), minwidth=theme.px(30), stretch=name == "model", anchor=anchor)
            self.tree.heading(name, anchor=anchor, command=partial(self.sort_by, name))
        self.tree.grid(row=1, column=0, sticky="nsew")
        down.grid(row=1, column=1, sticky="ns")
        across.grid(row=2, column=0, sticky="ew")
        self.foot = ttk.Label(self, style="Quiet.TLabel")
        self.foot.grid(row=3, column=0, columnspan=2, sticky="ew")
        self.rowconfigure(1, weight=1)
        self.columnconfigure(0, weight=1)
        self.search.trace_add("write", lambda *_: self.refresh())
        self.tree.bind("<Return>", lambda _: self.open_selected())
        self.tree.bind("<Double-1>", lambda event: self.open_selected() if self.tree.identify_row(event.y) else None)
        self.tree.bind("<<TreeviewSelect>>", lambda _: self.enable())
        self.headings()
        self.enable()

    def headings(self) -> None:
        """Each heading with its unit, and an arrow at the one that the list is sorted by."""
        for name in CELLS:
            column = COLUMN[name]
            arrow = {name: " \N{UPWARDS ARROW}", f"-{name}": " \N{DOWNWARDS ARROW}"}.get(self.sort, "")
            self.tree.heading(name, text=column.label + arrow)

    def query(self) -> Query:
        return Query(filters=Filters(q=self.search.get()), sort=self.sort, per_page=MOST_ROWS)

    def sort_by(self, name: str) -> None:
        self.sort = self.query().sort_after_click(COLUMN[name])
        self.headings()
        self.refresh()

    def refresh(self) -> None:
        """Read what is new in the log and show what matches."""
        query = self.query()
        self.worker.start(lambda: self.history.query(query), self.show, self.failed)

    def failed(self, error: Exception) -> None:
        self.say(f"The log of runs cannot be read: {getattr(error, 'strerror', None) or error}.")

    def show(self, page: Page) -> None:
        chosen, at = self.tree.selection(), self.tree.focus()
        self.tree.delete(*self.tree.get_children())
        for row in page.rows:
            if not self.tree.exists(row.run_id):  # Two lines of the log may carry the same id.
                self.tree.insert("", "end", iid=row.run_id, values=[write(row) for _, write in CELLS.values()])
        self.tree.selection_set([run_id for run_id in chosen if self.tree.exists(run_id)])
        rows = self.tree.get_children()
        self.tree.focus(at if at in rows else "".join(rows[:1]))  # Arrow keys need a row to begin from.
        shown = f"{page.matching:,} of {page.total:,} runs" if page.total else "No runs yet."
        if page.matching > len(page.rows):
            shown += f", the first {len(page.rows):,} are shown"
        if page.skipped:
            shown += f"; {page.skipped:,} lines of the log are no runs"
        self.foot.configure(text=shown)
        self.enable()

    def enable(self) -> None:
        chosen = len(self.tree.selection())
        self.open_button.state(["!disabled" if chosen == 1 else "disabled"])
        self.compare_button.state(["!disabled" if 2 <= chosen <= MAX_COMPARED else "disabled"])

    def _found(self, then: Callable[[list[Run]], None]) -> None:
        chosen = self.tree.selection()
        self.worker.start(lambda: self.history.runs(chosen), then, self.failed)

    def open_selected(self) -> None:
        """Hand over the run that is selected."""
        if len(self.tree.selection()) == 1:
            self._found(lambda runs: self.open_run(runs[0]) if runs else self.say("That run is not in the log now."))

    def compare_selected(self) -> None:
        """Hand over the runs that are selected."""
        if 2 <= len(self.tree.selection()) <= MAX_COMPARED:
            self._found(self.compare)


class Comparison(ttk.Frame):
    """Runs side by side: what was asked and what came out; lines that differ stand out."""

    def __init__(self, parent: tk.Misc, theme: Theme) -> None:
        super().__init__(parent, padding=theme.px(9))
        self.theme = theme
        self.runs: list[Compared] = []
        self.only_different = tk.BooleanVar(self, value=False)
        self.title = ttk.Label(self, text="Select two or more runs of the history, then Compare.")
        self.title.grid(row=0, column=0, sticky="ew")
        ttk.Checkbutton(self, text="Only what differs", variable=self.only_different, command=self.fill).grid(
            row=1, column=0, sticky="w", pady=theme.px(4)
        )
        self.tree = ttk.Treeview(self, selectmode="browse")
        down = ttk.Scrollbar(self, orient="vertical", command=self.tree.yview)
        across = ttk.Scrollbar(self, orient="horizontal", command=self.tree.xview)
        self.tree.configure(yscrollcommand=down.set, xscrollcommand=across.set)
        self.tree.grid(row=2, column=0, sticky="nsew")
        down.grid(row=2, column=1, sticky="ns")
        across.grid(row=3, column=0, sticky="ew")
        self.rowconfigure(2, weight=1)
        self.columnconfigure(0, weight=1)
        self.bind("<Configure>", lambda event: self.title.configure(wraplength=max(1, event.width - 2 * theme.px(9))))

    def show(self, runs: Sequence[Run]) -> None:
        self.runs = compared(runs)
        self.title.configure(text="\n".join(f"{one.letter}: {one.title}" for one in self.runs))
        letters = [one.letter for one in self.runs]
        self.tree.configure(columns=letters)
        self.tree.column("#0", width=self.theme.px(230), stretch=False)
        for letter in letters:
            self.tree.heading(letter, text=letter, anchor="w")
            self.tree.column(letter, width=self.theme.px(140), minwidth=self.theme.px(80), anchor="w")
        self.fill()

    def lines(self) -> dict[str, list[Line]]:
        """The lines under each heading that are to be shown."""
        found = {"Results": result_lines(self.runs), "Inputs": input_lines(self.runs)}
        if self.only_different.get():
            return {heading: [line for line in lines if line.differs] for heading, lines in found.items()}
        return found

    def fill(self) -> None:
        tree = self.tree
        tree.delete(*tree.get_children())
        tree.tag_configure("differs", font="Strong")
        for heading, lines in self.lines().items() if self.runs else ():
            parent = tree.insert("", "end", text=heading, open=True)
            for line in lines:
                name = f"{line.label}, {line.unit}" if line.unit else line.label
                tree.insert(parent, "end", text=name, values=line.cells, tags="differs" if line.differs else "")
