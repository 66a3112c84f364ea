"""The memory of the most loaded GPU as a bar against what may be used of it."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Sequence
from tkinter import font
from typing import Literal, NamedTuple

from app import formatting
from app.desktop.theme import Theme
from app.pages.result import MemoryRow


class Part(NamedTuple):
    """A stretch of the bar: its name, its colour in the palette, where it begins and ends in bytes."""

    name: str
    colour: str
    start: float
    end: float


def limits(rows: Sequence[MemoryRow]) -> list[float]:
    """Bytes that may be used, and those that the GPU has."""
    return [row.size_bytes for row in rows if row.kind == "limit"]


def parts(rows: Sequence[MemoryRow]) -> list[Part]:
    """What the GPU holds, then what is free, then what may not be used."""
    found: list[Part] = []
    at = 0.0

    def put(name: str, colour: str, size: float) -> None:
        nonlocal at
        if size > 0:
            found.append(Part(name, colour, at, at + size))
            at += size

    for row in rows:
        if row.kind == "part":
            put(row.name, f"chart-{row.shade}", row.size_bytes)
    capacity, device = limits(rows)
    put("Free", "chart-free", capacity - at)
    put("Reserved", "chart-reserved", device - at)
    return found


class MemoryBar(tk.Canvas):
    """Drawn anew whenever its width or the colours change."""

    def __init__(self, parent: tk.Misc, theme: Theme) -> None:
        super().__init__(parent, height=theme.px(74), highlightthickness=0, borderwidth=0, takefocus=False)
        self.theme = theme
        self.rows: Sequence[MemoryRow] = ()
        self.bind("<Configure>", lambda _: self.draw())
        theme.root.bind("<<Theme>>", lambda _: self.draw(), add="+")

    def show(self, rows: Sequence[MemoryRow]) -> None:
        self.rows = rows
        self.draw()

    def draw(self) -> None:
        """The bar, the line of the capacity, and a legend that wraps."""
        colours, px = self.theme.palette, self.theme.px
        self.delete("all")
        self.configure(background=colours["page"])
        if not self.rows:
            return
        margin, line_height = px(2), font.nametofont("Small", self).metrics("linespace")
        top = line_height + px(4)
        bottom = top + px(24)
        found = parts(self.rows)
        capacity, _ = limits(self.rows)
        scale = (self.winfo_width() - 2 * margin) / max(found[-1].end, capacity)
        for part in found:
            left, right = margin + part.start * scale, margin + part.end * scale
            self.create_rectangle(left, top, right, bottom, fill=colours[part.colour], width=0, tags="part")
        self._limit(margin + capacity * scale, top, bottom, capacity)
        height = self._legend(found, margin, bottom + px(7), line_height)
        if height != self.winfo_reqheight():
            self.configure(height=height)

    def _limit(self, x: float, top: float, bottom: float, capacity: float) -> None:
        colour = self.theme.palette["chart-line"]
        self.create_line(x, top - self.theme.px(3), x, bottom + self.theme.px(3), fill=colour, width=self.theme.px(1.5))
        text = f"usable {formatting.gib(capacity)} GiB"
        anchor: Literal["se", "sw"] = "se" if x > self.winfo_width() / 2 else "sw"
        self.create_text(x, top - self.theme.px(3), text=text, anchor=anchor, fill=colour, font="Small")

    def _legend(self, found: list[Part], margin: int, y: int, line_height: int) -> int:
        """Swatches with names and sizes; the height that all of it takes."""
        px, x, small = self.theme.px, margin, font.nametofont("Small", self)
        side = px(7)
        for part in found:
            text = f"{part.name} {formatting.gib(part.end - part.start)}"
            width = side + px(4) + small.measure(text) + px(12)
            if x > margin and x + width > self.winfo_width():
                x, y = margin, y + line_height
            middle = y + line_height / 2
            box = (x, middle - side / 2, x + side, middle + side / 2)
            self.create_rectangle(*box, fill=self.theme.palette[part.colour], outline=self.theme.palette["line"])
            self.create_text(
                x + side + px(4), middle, text=text, anchor="w", fill=self.theme.palette["text"], font="Small"
            )
            x += width
        return y + line_height + px(2)
