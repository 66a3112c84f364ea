"""The answer: verdict, memory bar, key numbers with their ranges, what to mind; and the whole report as text."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable
from tkinter import ttk

from app import formatting
from app.command_line import report
from app.desktop.memory_bar import MemoryBar
from app.desktop.theme import Theme
from app.history.run_log import Run
from app.pages import result as page

#: The numbers that are large: heading, key of the results, how it is written.
TILES = (
    ("Time to first token", "ttft_ms", formatting.milliseconds),
    ("Time per output token", "tpot_ms", formatting.milliseconds),
    ("Output, all users", "output_tokens_per_s", page.per_second("tok/s")),
    ("Cost per 1M output", "usd_per_million_output_tokens", formatting.usd),
)
NO_RANGE = "exact, or never measured"


class Tile(ttk.Frame):
    """One large number with its range below it."""

    def __init__(self, parent: tk.Misc, heading: str, theme: Theme) -> None:
        super().__init__(parent, style="Tile.TFrame", padding=(theme.px(9), theme.px(6)))
        ttk.Label(self, text=heading, style="Tile.TLabel").pack(anchor="w")
        self.figure = ttk.Label(self, style="Figure.TLabel")
        self.range = ttk.Label(self, style="Tile.TLabel")
        self.figure.pack(anchor="w")
        self.range.pack(anchor="w")

    def show(self, value: str, between: str) -> None:
        self.figure.configure(text=value)
        self.range.configure(text=between)


class Result(ttk.Frame):
    """One run. Its numbers are those of the result page, heading by heading."""

    def __init__(self, parent: tk.Misc, theme: Theme, say: Callable[[str], None]) -> None:
        super().__init__(parent, padding=theme.px(9))
        self.run: Run | None = None
        self.meanings: dict[str, str] = {}
        self.verdict = ttk.Label(self, style="fits.TLabel", text="Press Calculate, or Ctrl+Return.")
        self.subject = ttk.Label(self, style="Quiet.TLabel")
        self.bar = MemoryBar(self, theme)
        tiles = ttk.Frame(self)
        self.tiles = [Tile(tiles, heading, theme) for heading, _, _ in TILES]
        self.advice = ttk.Label(self)
        numbers = ttk.Frame(self)
        self.numbers = ttk.Treeview(numbers, columns=("value", "range"), selectmode="browse", height=12)
        bar = ttk.Scrollbar(numbers, orient="vertical", command=self.numbers.yview)
        self.numbers.configure(yscrollcommand=bar.set)
        for name, heading, width in (("#0", "Quantity", 190), ("value", "Value", 110), ("range", "Range", 170)):
            self.numbers.heading(name, text=heading, anchor="w")
            self.numbers.column(name, width=theme.px(width), minwidth=theme.px(60), anchor="w")
        self.numbers.grid(row=0, column=0, sticky="nsew")
        bar.grid(row=0, column=1, sticky="ns")
        numbers.rowconfigure(0, weight=1)
        numbers.columnconfigure(0, weight=1)
        self.numbers.bind(
            "<<TreeviewSelect>>", lambda _: say(self.meanings.get("".join(self.numbers.selection()[:1]), ""))
        )
        parts: tuple[tk.Grid, ...] = (self.verdict, self.subject, self.bar, tiles, self.advice, numbers)
        for row, part in enumerate(parts):
            part.grid(row=row, column=0, sticky="nsew" if part is numbers else "ew", pady=(0, theme.px(6)))
        self.advice.grid_remove()
        self.rowconfigure(5, weight=1)
        self.columnconfigure(0, weight=1)
        self.bind("<Configure>", lambda event: self._arrange(event.width - 2 * theme.px(9), theme))

    def _arrange(self, width: int, theme: Theme) -> None:
        """Wrap the sentences; set the tiles in one row, or in two where they would be too narrow."""
        for label in (self.verdict, self.subject, self.advice):
            label.configure(wraplength=max(1, width))
        columns = 4 if width >= theme.px(480) else 2
        gap = theme.px(3)
        for number, tile in enumerate(self.tiles):
            row, column = divmod(number, columns)
            tile.grid(row=row, column=column, sticky="nsew", padx=gap, pady=gap)
        for column in range(len(self.tiles)):
            tile.master.columnconfigure(
                column, weight=int(column < columns), uniform="tile" if column < columns else ""
            )

    def show(self, run: Run) -> None:
        """Fill the pane with a run that has a complete estimate."""
        self.run = run
        found = run.results
        self.verdict.configure(text=found["verdict"], style=f"{page.state(found)}.TLabel")
        layout, engine = found["layout"], found["engine"]["label"]
        self.subject.configure(
            text=f"{found['model']['name']}, {engine}. {layout['strategy']}. {layout['reason']} "
            f"Nearest measurements: {found['nearness']}."
        )
        self.bar.show(found)
        for tile, (_, key, write) in zip(self.tiles, TILES, strict=True):
            quantity = found[key]
            known = quantity["low"] is not None and quantity["high"] is not None
            between = formatting.range_text(write(quantity["low"]), write(quantity["high"])) if known else ""
            tile.show(write(quantity["value"]), between)
        advice = found["remedies"] + found["warnings"]
        self.advice.configure(text="\n".join(f"\N{BULLET} {text}" for text in advice))
        if advice:
            self.advice.grid()
        else:
            self.advice.grid_remove()
        self._fill_numbers()

    def _fill_numbers(self) -> None:
        assert self.run is not None  # noqa: S101  (for the reader of types; `show` has set it)
        found, tree = self.run.results, self.numbers
        tree.delete(*tree.get_children())
        self.meanings.clear()
        for heading, ones in page.metrics(found).items():
            parent = tree.insert("", "end", text=heading, open=True)
            for one in ones:
                row = tree.insert(parent, "end", text=one.label, values=(f"{one.value} {one.unit}".strip(), one.range))
                self.meanings[row] = f"{one.label}: {one.meaning}" + ("" if one.range else f" Range: {NO_RANGE}.")
        parent = tree.insert("", "end", text="Memory per GPU", open=True)
        for line in page.memory_rows(found):
            size = f"{formatting.gib(line.size_bytes)} GiB"
            tree.insert(parent, "end", text=line.name, values=(size, f"{formatting.percent(line.share)} of capacity"))


class Report(ttk.Frame):
    """What the command line prints of a run: to read, select and copy."""

    def __init__(self, parent: tk.Misc, theme: Theme) -> None:
        super().__init__(parent, padding=theme.px(9))
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

    def show(self, run: Run) -> None:
        self.text.configure(state="normal")
        self.text.delete("1.0", "end")
        self.text.insert("1.0", "\n".join(report.estimate(run)))
        self.text.configure(state="disabled")
