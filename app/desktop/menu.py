"""Everything that the window can be told to do, each with its key: the menus and the keyboard are made from here."""

from __future__ import annotations

import tkinter as tk
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple


class Command(NamedTuple):
    """An entry of a menu: its label, its key as people write it, what does it, what Tk calls the key."""

    label: str
    key: str
    call: Callable[[], object]
    events: tuple[str, ...]


Menus = Mapping[str, Sequence[Command]]


def menu_bar(root: tk.Tk, menus: Menus) -> list[tk.Menu]:
    """The bar with its menus, put on the window: the bar first, then a menu for each name."""
    bar = tk.Menu(root, tearoff=False)
    found = [bar]
    for name, commands in menus.items():
        menu = tk.Menu(bar, tearoff=False)
        for one in commands:
            menu.add_command(label=one.label, accelerator=one.key, command=one.call, underline=0)
        bar.add_cascade(label=name, menu=menu, underline=0)
        found.append(menu)
    root.configure(menu=bar)
    return found


def bind(root: tk.Tk, menus: Menus) -> None:
    """Let the keys do what the menus say."""
    for commands in menus.values():
        for one in commands:
            for event in one.events:
                root.bind(event, partial(pressed, one.call))


def pressed(call: Callable[[], object], _: tk.Event) -> None:
    """A command as what a key calls."""
    call()
