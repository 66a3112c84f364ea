"""A value that takes long to make, made once: threads that ask for it meanwhile wait instead of making it too."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache, wraps
from threading import RLock
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
T = TypeVar("T")


def once(make: Callable[P, T]) -> Callable[P, T]:
    """`functools.cache`, which lets several threads make the same at once, with a lock around it.

    Eight requests for a server that has just started would otherwise each read all measurements, at several times the
    memory.
    """
    made = cache(make)
    making = RLock()

    @wraps(make)
    def answer(*args: P.args, **kwargs: P.kwargs) -> T:
        with making:
            return made(*args, **kwargs)  # type: ignore[arg-type]

    return answer
