"""The answer: verdict, memory bar, key numbers with their ranges, what to mind."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Sequence
from tkinter import ttk

from app import formatting
from app.desktop.memory_bar import MemoryBar
from app.desktop.scroll import Scrolled
from app.desktop.task import Answer
from app.desktop.theme import Theme
from app.pages.result import MemoryRow, Metric

#: Most numbers that are large.
TILES = 4
NO_RANGE = "exact, or never measured"
ASK = "Press Calculate, or Ctrl+Return."


class Tile(ttk.Frame):
    """One large number with its range below it."""

    def __init__(self, parent: tk.Misc, theme: Theme) -> None:
        super().__init__(parent, style="Tile.TFrame", padding=(theme.px(9), theme.px(6)))
        self.heading = ttk.Label(self, style="Tile.TLabel")
        self.figure = ttk.Label(self, style="Figure.TLabel")
        self.range = ttk.Label(self, style="Tile.TLabel")
        for label in (self.heading, self.figure, self.range):
            label.pack(anchor="w")
        self.bind("<Configure>", lambda event: self._wrap(event.width - 2 * theme.px(9)))

    def _wrap(self, width: int) -> None:
        for label in (self.heading, self.range):
            label.configure(wraplength=width)

    def show(self, one: Metric) -> None:
        self.heading.configure(text=one.label)
        self.figure.configure(text=written(one))
        self.range.configure(text=one.range)


def written(one: Metric) -> str:
    return f"{one.value} {one.unit}".strip()


class Result(Scrolled):
    """One answer. Its numbers are those of the result page, heading by heading."""

    def __init__(self, parent: tk.Misc, theme: Theme, say: Callable[[str], None]) -> None:
        super().__init__(parent, theme)
        inside = self.inside
        inside.configure(padding=theme.px(9))
        self.say = say
        self.meanings: dict[str, str] = {}
        self.verdict = ttk.Label(inside)
        self.subject = ttk.Label(inside, style="Quiet.TLabel")
        self.bar = MemoryBar(inside, theme)
        self.tile_row = ttk.Frame(inside)
        self.tiles = [Tile(self.tile_row, theme) for _ in range(TILES)]
        self.advice = ttk.Label(inside)
        self.numbers = ttk.Treeview(inside, columns=("value", "range"), selectmode="browse")
        for name, heading, width in (("#0", "Quantity", 190), ("value", "Value", 110), ("range", "Range", 170)):
            self.numbers.heading(name, text=heading, anchor="w")
            self.numbers.column(name, width=theme.px(width), minwidth=theme.px(60), anchor="w")
        self.numbers.bind("<<TreeviewSelect>>", lambda _: self._tell())
        parts: tuple[tk.Grid, ...] = (self.verdict, self.subject, self.bar, self.tile_row, self.advice, self.numbers)
        for row, part in enumerate(parts):
            part.grid(row=row, column=0, sticky="ew", pady=(0, theme.px(6)))
        inside.columnconfigure(0, weight=1)
        inside.bind("<Configure>", lambda event: self._arrange(event.width - 2 * theme.px(9)), add="+")
        self.follow_focus()

    def _tell(self) -> None:
        """Say what the selected number means, and keep it in sight."""
        for row in self.numbers.selection():
            self.say(self.meanings.get(row, ""))
            box = self.numbers.bbox(row)
            if box:
                _, y, _, height = box
                self.reveal(self.numbers, y, y + height)

    def _arrange(self, width: int) -> None:
        """Wrap the sentences; set the tiles in one row, or in two where they would be too narrow."""
        for label in (self.verdict, self.subject, self.advice):
            label.configure(wraplength=max(1, width))
        columns = TILES if width >= self.theme.px(480) else TILES // 2
        gap = self.theme.px(3)
        for number, tile in enumerate(self.tiles):
            row, column = divmod(number, columns)
            tile.grid(row=row, column=column, sticky="nsew", padx=gap, pady=gap)
        for column in range(TILES):
            self.tile_row.columnconfigure(
                column, weight=int(column < columns), uniform="tile" if column < columns else ""
            )

    def show(self, answer: Answer | None) -> None:
        """Fill the pane with an answer, or say how to get one."""
        for part in (self.subject, self.bar, self.tile_row, self.advice, self.numbers):
            part.grid_remove()
        if answer is None:
            self.verdict.configure(text=ASK, style="Heading.TLabel")
            return
        self.verdict.configure(text=answer.verdict, style=f"{answer.state}.TLabel")
        self.subject.configure(text=answer.subject)
        self.subject.grid()
        if answer.memory:
            self.bar.grid()
        self.bar.show(answer.memory)
        if answer.tiles:
            self.tile_row.grid()
        for tile, one in zip(self.tiles, answer.tiles, strict=False):
            tile.show(one)
        if answer.advice:
            self.advice.configure(text="\n".join(f"\N{BULLET} {text}" for text in answer.advice))
            self.advice.grid()
        if answer.numbers:
            self._fill_numbers(answer)
            self.numbers.grid()
        self.canvas.yview_moveto(0)

    def _fill_numbers(self, answer: Answer) -> None:
        tree = self.numbers
        tree.delete(*tree.get_children())
        self.meanings.clear()
        for heading, ones in answer.numbers.items():
            rows = [(one.label, written(one), one.range, meaning(one)) for one in ones]
            self._insert(heading, answer.notes.get(heading, ""), rows)
        if answer.memory:
            self._insert("Memory per GPU", "", list(map(memory_cells, answer.memory)))
        headings = tree.get_children()
        tree.focus(headings[0])  # Arrow keys need a row to begin from.
        tree.configure(height=sum(1 + len(tree.get_children(one)) for one in headings))

    def _insert(self, heading: str, note: str, rows: Sequence[tuple[str, str, str, str]]) -> None:
        """A heading with what is to be said of it, and below it (name, value, range, meaning) of each row."""
        parent = self.numbers.insert("", "end", text=heading, open=True)
        self.meanings[parent] = note
        for name, value, between, said in rows:
            row = self.numbers.insert(parent, "end", text=name, values=(value, between))
            self.meanings[row] = said


def memory_cells(row: MemoryRow) -> tuple[str, str, str, str]:
    size, share = f"{formatting.gib(row.size_bytes)} GiB", f"{formatting.percent(row.share)} of capacity"
    return row.name, size, share, ""


def meaning(one: Metric) -> str:
    """What the line below says of a number."""
    if not one.meaning:
        return ""
    return f"{one.label}: {one.meaning}" + ("" if one.range else f" Range: {NO_RANGE}.")
