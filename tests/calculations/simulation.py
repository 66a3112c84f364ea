"""An independent simulation of continuous batching, step by step, that the formulas are held against.

One replica. Each step carries one token of every decoding request and as many prompt tokens as its budget allows,
first come first served; a prompt that is through gives its first token. A request takes a place from the start of its
prefill.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass
class Request:
    arrived: float
    outputs: int
    left: float
    first: float = 0.0
    made: int = 0


def served(
    *,
    decode: Callable[[int], float],
    added: Callable[[int], float],
    alone: float,
    budget_prompts: float,
    places: int,
    rate: float,
    outputs: Callable[[np.random.Generator], int],
    requests: int,
    seed: int = 7,
    prompt: Callable[[int], float] = lambda outputs: 1.0,
) -> list[tuple[Request, float]]:
    """Requests with their end, in the order in which they end.

    `budget_prompts`: prompts that one step takes at most; less than 1: a prompt is cut into several steps. `prompt`:
    that of a request with so many output tokens, as a multiple of the one that `added` and `alone` are of.
    """
    random = np.random.default_rng(seed)
    times = np.cumsum(random.exponential(1 / rate, requests))
    made = [(float(t), outputs(random)) for t in times]
    coming = deque(Request(arrived=t, outputs=tokens, left=prompt(tokens)) for t, tokens in made)
    waiting: deque[Request] = deque()
    prefilling: deque[Request] = deque()
    decoding: list[Request] = []
    done: list[tuple[Request, float]] = []
    now = 0.0
    while coming or waiting or prefilling or decoding:
        if not (waiting or prefilling or decoding):
            now = max(now, coming[0].arrived)
        while coming and coming[0].arrived <= now:
            waiting.append(coming.popleft())
        while waiting and len(prefilling) + len(decoding) < places:
            prefilling.append(waiting.popleft())
        budget, through, took = budget_prompts, [], 0.0
        while prefilling and budget > 1e-9:
            part = min(prefilling[0].left, budget)
            prefilling[0].left -= part
            budget -= part
            took += part
            if prefilling[0].left > 1e-9:
                break
            through.append(prefilling.popleft())
        running = len(decoding)
        now += (
            decode(running) + took * added(running)
            if running
            else alone * min(took, 1.0) + max(took - 1.0, 0.0) * added(1)
        )
        for one in decoding:
            one.made += 1
        ended = [one for one in decoding if one.made >= one.outputs - 1]
        decoding = [one for one in decoding if one.made < one.outputs - 1]
        for one in through:
            one.first = now
            (decoding if one.outputs > 1 else ended).append(one)
        done += [(one, now) for one in ended]
    return done


def simulate(*, warm: float = 0.2, requests: int, **world: Any) -> tuple[np.ndarray, np.ndarray, float]:
    """Seconds to the first token, seconds per later token, and requests finished per second."""
    done = served(requests=requests, **world)
    kept = [(one, end) for one, end in sorted(done, key=lambda pair: pair[0].arrived)][int(warm * requests) :]
    first = np.array([one.first - one.arrived for one, _ in kept])
    later = np.array([(end - one.first) / (one.outputs - 1) for one, end in kept if one.outputs > 1])
    ends = np.sort([end for _, end in done])
    half = len(ends) // 4
    return first, later, (len(ends) - 2 * half) / (ends[-half - 1] - ends[half])
