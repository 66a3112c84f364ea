"""How a calculation that takes long tells how far it is."""

from __future__ import annotations

from collections.abc import Callable

#: Told how many parts of how many are done.
Watch = Callable[[int, int], None]


def nobody(done: int, of: int) -> None:
    """Watches."""
