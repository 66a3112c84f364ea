"""Colours, fonts and sizes of the window. Every size is in points, so that it follows the screen's density."""

from __future__ import annotations

import contextlib
import ctypes
import tkinter as tk
from collections.abc import Mapping
from tkinter import font, ttk
from types import MappingProxyType
from typing import Literal

#: Names and values are those of static/app.css.
LIGHT: Mapping[str, str] = MappingProxyType({
    "accent": "#2f49c9", "accent-soft": "#e9ecfb", "page": "#f5f6f8", "surface": "#ffffff", "line": "#dcdfe6",
    "text": "#1a1f2b", "quiet": "#565f70", "good": "#12693a", "warn": "#7c4f00", "bad": "#a81c1c",
    "chart-line": "#a81c1c", "chart-part-1": "#2f49c9", "chart-part-2": "#1b9aaa", "chart-part-3": "#e0931a",
    "chart-part-4": "#8a5fbf", "chart-part-5": "#c2486b", "chart-part-6": "#5d8a3a", "chart-part-7": "#7d8699",
    "chart-part-8": "#5fb3e6", "chart-part-9": "#a0522d", "chart-part-10": "#b9a13a", "chart-rest": "#b9c1d3",
    "chart-free": "#e4efe8", "chart-reserved": "#eceef2",
})  # fmt: skip
DARK: Mapping[str, str] = MappingProxyType({
    "accent": "#93a5ff", "accent-soft": "#20274a", "page": "#0e1117", "surface": "#161b24", "line": "#2b3240",
    "text": "#e6e9f0", "quiet": "#a0a9ba", "good": "#6fd69a", "warn": "#f1c15c", "bad": "#ff9a94",
    "chart-line": "#ff8a83", "chart-part-1": "#7c91ff", "chart-part-2": "#3dbdcc", "chart-part-3": "#eeb04e",
    "chart-part-4": "#b48ce6", "chart-part-5": "#e67d9b", "chart-part-6": "#8fbf68", "chart-part-7": "#8f98ab",
    "chart-part-8": "#8ad0ff", "chart-part-9": "#d08a63", "chart-part-10": "#d9c65c", "chart-rest": "#434c5f",
    "chart-free": "#1f3328", "chart-reserved": "#232935",
})  # fmt: skip

#: Named font -> its size and weight beside that of plain text.
FONTS: dict[str, tuple[int, Literal["normal", "bold"]]] = {
    "Heading": (2, "bold"),
    "Verdict": (4, "bold"),
    "Figure": (7, "bold"),
    "Strong": (0, "bold"),
    "Small": (-1, "normal"),
}
TEXT_POINTS = 10
SMALLEST, LARGEST = 7, 24


def sharpen() -> None:
    """Ask Windows for real pixels instead of a blurred enlargement; elsewhere there is nothing to ask."""
    windll = getattr(ctypes, "windll", None)
    if windll is not None:
        with contextlib.suppress(AttributeError, OSError):
            windll.shcore.SetProcessDpiAwareness(1)


class Theme:
    """The look of one window: `palette` and the size of its text, both changed while it is open."""

    def __init__(self, root: tk.Tk) -> None:
        self.root = root
        self.style = ttk.Style(root)
        self.style.theme_use("clam")
        self.points = TEXT_POINTS
        self.palette = LIGHT
        plain = font.nametofont("TkDefaultFont", root).actual()
        self._fonts = [font.Font(root, name=name, **plain) for name in FONTS]  # A font lives as long as its object.
        self.apply()

    def px(self, points: float) -> int:
        """So many points in pixels of this screen."""
        return round(self.root.winfo_fpixels(f"{points}p"))

    def resize(self, steps: int) -> None:
        """Larger or smaller text; 0 is the first size again."""
        self.points = TEXT_POINTS if steps == 0 else min(LARGEST, max(SMALLEST, self.points + steps))
        self.apply()

    def apply(self) -> None:
        """Give every style its colours, and every font its size."""
        for name in ("TkDefaultFont", "TkTextFont", "TkMenuFont", "TkHeadingFont", "TkFixedFont", "TkTooltipFont"):
            font.nametofont(name, self.root).configure(size=self.points)
        for name, (larger, weight) in FONTS.items():
            font.nametofont(name, self.root).configure(size=self.points + larger, weight=weight)
        self._colours()
        self.root.event_generate("<<Theme>>")

    def menu(self, menu: tk.Menu) -> None:
        """Give a menu the colours, which it takes from no style."""
        colours = self.palette
        menu.configure(
            background=colours["page"],
            foreground=colours["text"],
            activebackground=colours["accent"],
            activeforeground=colours["surface"],
            selectcolor=colours["text"],
            relief="flat",
        )

    def _colours(self) -> None:
        colours, style = self.palette, self.style
        page, surface, text, quiet, line, accent = (
            colours[name] for name in ("page", "surface", "text", "quiet", "line", "accent")
        )
        self.root.configure(background=page)
        self.root.option_add("*TCombobox*Listbox.background", surface)
        self.root.option_add("*TCombobox*Listbox.foreground", text)
        style.configure(
            ".", background=page, foreground=text, fieldbackground=surface, insertcolor=text, bordercolor=line,
            lightcolor=page, darkcolor=page, troughcolor=page, selectbackground=accent, selectforeground=surface,
            focuscolor=accent, arrowcolor=text, font="TkDefaultFont",
        )  # fmt: skip
        style.map(".", foreground=[("disabled", quiet)])
        style.configure("TButton", padding=(self.px(8), self.px(3)), background=surface)
        style.map("TButton", background=[("active", colours["accent-soft"])])
        style.configure("Accent.TButton", background=accent, foreground=surface, font="Heading")
        style.map("Accent.TButton", background=[("disabled", line), ("active", colours["chart-part-1"])])
        style.map("Accent.TButton", foreground=[("disabled", quiet)])
        style.configure("Fold.TButton", relief="flat", borderwidth=0, anchor="w", background=page)
        for entry in ("TEntry", "TCombobox"):
            style.configure(entry, padding=self.px(2), arrowsize=self.px(9))
            style.map(entry, fieldbackground=[("readonly", surface)], foreground=[("readonly", text)])
            style.map(entry, bordercolor=[("focus", accent)], selectbackground=[("!focus", surface)],
                      selectforeground=[("!focus", text)])  # fmt: skip
            wrong = f"Wrong.{entry}"
            style.configure(wrong, bordercolor=colours["bad"], lightcolor=colours["bad"], darkcolor=colours["bad"])
        style.map("TCheckbutton", background=[("active", page)])
        style.configure("TScrollbar", arrowsize=self.px(9), background=line)
        style.map("TScrollbar", background=[("disabled", page)], arrowcolor=[("disabled", line)])
        style.configure("TCheckbutton", indicatorsize=self.px(9), indicatorbackground=surface, indicatorforeground=text)
        style.configure("TNotebook", borderwidth=0)
        style.configure("TNotebook.Tab", padding=(self.px(6), self.px(3)), background=page, foreground=quiet)
        style.map("TNotebook.Tab", background=[("selected", surface)], foreground=[("selected", text)],
                  lightcolor=[("selected", surface), ("!selected", page)], bordercolor=[("", line)])  # fmt: skip
        rows = font.nametofont("TkDefaultFont", self.root).metrics("linespace")
        style.configure("Treeview", background=surface, fieldbackground=surface, foreground=text,
                        rowheight=rows + self.px(4), indicatorsize=self.px(8), borderwidth=0)  # fmt: skip
        style.map("Treeview", background=[("selected", accent)], foreground=[("selected", surface)])
        style.configure("Treeview.Heading", background=page, foreground=quiet, relief="flat")
        style.map("Treeview.Heading", background=[("active", colours["accent-soft"])])
        for name, colour in {"Quiet": quiet, "Bad": colours["bad"], "Good": colours["good"]}.items():
            style.configure(f"{name}.TLabel", foreground=colour, font="Small")
        for name, colour in {"fits": "good", "tight": "warn", "no": "bad"}.items():
            style.configure(f"{name}.TLabel", foreground=colours[colour], font="Verdict")
        style.configure("Hint.TLabel", background=surface, foreground=quiet, font="Small")
        style.configure("Heading.TLabel", font="Heading")
        style.configure("Tile.TFrame", background=surface)
        style.configure("Tile.TLabel", background=surface, foreground=quiet, font="Small")
        style.configure("Figure.TLabel", background=surface, foreground=text, font="Figure")
