"""How a calculation that takes long tells how far it is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

Item = TypeVar("Item")

#: Told how many parts of how many are done.
Watch = Callable[[int, int], None]


def nobody(done: int, of: int) -> None:
    """Watches."""


def part_of(watch: Watch, number: int, parts: int) -> Watch:
    """What to tell in the part `number` (from zero) of several that take about as long as each other."""
    return lambda done, of: watch(number * of + done, parts * of)


def passing(items: Sequence[Item], watch: Watch) -> Iterator[Item]:
    """The items, while `watch` is told how many have passed."""
    for number, item in enumerate(items):
        watch(number, len(items))
        yield item
