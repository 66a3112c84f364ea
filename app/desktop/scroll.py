"""A frame that scrolls: by wheel, by keys, and to wherever the focus goes."""

from __future__ import annotations

import tkinter as tk
from tkinter import ttk
from typing import Any

from app.desktop.theme import Theme


class Scrolled(ttk.Frame):
    """Holds `inside`, which is as wide as the frame and as high as it needs."""

    def __init__(self, parent: tk.Misc, theme: Theme) -> None:
        super().__init__(parent)
        self.theme = theme
        self.canvas = tk.Canvas(self, highlightthickness=0, borderwidth=0, width=theme.px(310), takefocus=False)
        bar = ttk.Scrollbar(self, orient="vertical", command=self.canvas.yview)
        self.canvas.configure(yscrollcommand=bar.set)
        self.canvas.grid(row=0, column=0, sticky="nsew")
        bar.grid(row=0, column=1, sticky="ns")
        self.rowconfigure(0, weight=1)
        self.columnconfigure(0, weight=1)
        self.inside = ttk.Frame(self.canvas)
        window = self.canvas.create_window(0, 0, anchor="nw", window=self.inside)
        self.inside.bind("<Configure>", lambda _: self.canvas.configure(scrollregion=self.canvas.bbox("all")))
        self.canvas.bind("<Configure>", lambda event: self.canvas.itemconfigure(window, width=event.width))
        self.recolour()
        theme.root.bind("<<Theme>>", lambda _: self.recolour(), add="+")
        # Wheel events go to the widget under the pointer: those of all that is inside are taken here.
        tag = f"wheel-{self.inside}"
        self.bind_class(tag, "<MouseWheel>", lambda event: self._turn(-1 if event.delta > 0 else 1))
        self.bind_class(tag, "<Button-4>", lambda _: self._turn(-1))
        self.bind_class(tag, "<Button-5>", lambda _: self._turn(1))
        self.wheel_tag = tag

    def recolour(self) -> None:
        self.canvas.configure(background=self.theme.palette["page"])

    def follow_focus(self) -> None:
        """Let the wheel work on all that is inside by now, and keep what has the focus in sight."""
        for widget in (self.canvas, *descendants(self.inside)):
            # Before the widget's own class: a wheel over a closed list would change what is chosen.
            widget.bindtags((self.wheel_tag, *widget.bindtags()))
            if str(widget["takefocus"]) not in ("", "0"):  # Else the binding would make it a stop of Tab.
                widget.bind("<FocusIn>", self._reveal, add="+")

    def _turn(self, steps: int) -> str:
        if self.inside.winfo_height() > self.canvas.winfo_height():
            self.canvas.yview_scroll(2 * steps, "units")
        return "break"

    def _reveal(self, event: Any) -> None:
        self.reveal(event.widget, 0, event.widget.winfo_height())

    def reveal(self, widget: tk.Misc, start: int, end: int) -> None:
        """Bring a part of a widget's height into sight; the top of it where it is higher than what can be seen."""
        whole, margin = max(1, self.inside.winfo_height()), self.theme.px(30)
        at = widget.winfo_rooty() - self.inside.winfo_rooty()
        top = at + start
        bottom = min(at + end, top + self.canvas.winfo_height() - 2 * margin)
        above = self.canvas.canvasy(0)
        if top - margin < above:
            self.canvas.yview_moveto(max(0, top - margin) / whole)
        elif bottom + margin > above + self.canvas.winfo_height():
            self.canvas.yview_moveto((bottom + margin - self.canvas.winfo_height()) / whole)


def descendants(widget: tk.Misc) -> list[tk.Misc]:
    """All widgets inside one, in no order."""
    found: list[tk.Misc] = list(widget.winfo_children())
    for child in widget.winfo_children():
        found += descendants(child)
    return found
