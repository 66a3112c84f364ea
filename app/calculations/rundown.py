"""A batch that starts together, run down to its last token: its decode steps, and how many requests are in them.

Symbols: C requests, I prompt tokens, M decode steps of a request, r spread of lengths, n places in the cache.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import ceil, log

from app.calculations.lengths import longest_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Rundown:
    """`steps` until the last token. `mean` requests decode in them on average, `seen` beside each token.

    Of the requests, `admitted` start at once and `kept` of these stay until their end; others are put back when the
    cache is full, and `recomputed` prompts' worth of their tokens is computed again.
    """

    steps: float
    mean: float
    seen: float
    admitted: float
    kept: float
    recomputed: float = 0.0


def rundown(
    requests: float, places: Callable[[float], float], *, prompt: float, steps: float, spread: float, reserves: bool
) -> Rundown:
    """What becomes of a batch of `requests` where `places(tokens)` of that length have room at once.

    Equal lengths (spread 0) grow together. An engine that `reserves` a request's whole length starts those that fit
    and then the next. One that takes room as it is needed starts all and puts the last ones back once the cache is
    full: from then on K / (I + s) are left at step s, K being the tokens that the cache holds. Those go on when the
    others have ended. Lengths that differ (spread 1) end one by one, and the longest run on alone:
    (C / n - 1) M + longest of n. In between, the mean of both, weighted with the spread.
    """
    whole = prompt + steps * (1 - spread / 2)
    kept = places(whole)
    admitted = min(requests, kept if reserves else places(prompt + 1))
    kept = min(kept, admitted)
    if steps <= 0:
        return Rundown(steps=0.0, mean=admitted, seen=admitted, admitted=admitted, kept=kept)
    room = kept * whole
    until, made, recomputed = steps, admitted * steps, 0.0
    if admitted > kept:
        until = min(max(room / admitted - prompt, 0.0), steps)
        made = min(admitted * until + room * log((prompt + steps) / (prompt + until)), requests * steps)
        recomputed = room * log(admitted / kept) / prompt
    rest = requests * steps - made
    longest_wait = steps - until if admitted == requests else steps
    more = longest_wait * ceil(rest / (kept * longest_wait) - 1e-9) if rest > 0 and longest_wait > 0 else 0.0
    together = steps + more
    seen_together = (made * made / steps + (rest * rest / more if more else 0.0)) / (requests * steps)
    apart = (requests / kept - 1) * steps + longest_of(steps, spread, kept)
    seen_apart = kept * (1 - spread / 2 * kept / requests)
    count = together + spread * (apart - together)
    mean = requests * steps / count
    return Rundown(
        steps=count,
        mean=mean,
        seen=max(mean, seen_together + spread * (seen_apart - seen_together)),
        admitted=admitted,
        kept=kept,
        recomputed=recomputed,
    )
