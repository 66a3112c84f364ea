"""Values that take long to make are made once, however many ask at the same time."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from app.once import once


def test_threads_that_ask_at_once_wait_for_the_first() -> None:
    made = []

    @once
    def slow(name: str) -> object:
        made.append(name)
        time.sleep(0.05)
        return object()

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(slow, ["a"] * 8 + ["b"] * 8))
    assert sorted(made) == ["a", "b"]
    assert len(set(map(id, found[:8]))) == len(set(map(id, found[8:]))) == 1


def test_one_may_ask_for_another_and_a_failure_is_tried_again() -> None:
    tries = []

    @once
    def inner() -> int:
        tries.append(threading.get_ident())
        if len(tries) == 1:
            raise OSError("not yet")
        return 1

    @once
    def outer() -> int:
        return inner() + 1

    with pytest.raises(OSError, match="not yet"):
        outer()
    assert (outer(), outer()) == (2, 2)
    assert len(tries) == 2
