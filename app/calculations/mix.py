"""A mix of request classes: what is meant by its text, and what of each class counts in which mean.

Symbols as in `queueing.py`, with a subscript c for a class of share w. Of the requests in flight a class has the share
of its time there, which is as its output steps. All requests share the steps, so each waits as the mean request does;
its prompt and the number of its tokens are its own.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from typing import TypeVar

from app.calculations.arrays import Numbers, larger, smaller
from app.calculations.errors import InvalidInput
from app.calculations.queueing import Latency, Steps

#: Classes of a mix, and tokens of a prompt or an output.
MOST, MOST_TOKENS = 8, 100_000_000
#: Percent by which the shares may miss 100, so that thirds can be written as 33.3.
ROUNDING = 0.2
CLASS = re.compile(r"(?P<percent>\d{1,3}(?:\.\d{1,6})?) ?% ?(?P<prompt>\d{1,9}) ?/ ?(?P<output>\d{1,9})")
ALLOWED = f"up to {MOST} classes as share% prompt/output, as in 70% 1024/256, 30% 8192/512; the shares are 100 % in all"

Of = TypeVar("Of")


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestClass:
    """Requests of one length: their share of all, tokens of the prompt and of the output."""

    input_tokens: int
    output_tokens: int
    share: float

    @property
    def tokens(self) -> int:
        """At its end."""
        return self.input_tokens + self.output_tokens

    def __str__(self) -> str:
        return f"{100 * self.share:.4g}% {self.input_tokens}/{self.output_tokens}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassTimes:
    """Mean seconds of a class, at one load or at many. `tpot` is 0 for one output token."""

    of: RequestClass
    ttft: Numbers
    tpot: Numbers


def read_mix(text: str, field: str) -> tuple[RequestClass, ...]:
    """The classes of a text, shortest first, equal ones as one. Raises InvalidInput."""
    parts = [part.strip() for part in text.split(",") if part.strip()]
    if len(parts) > MOST:
        raise InvalidInput(field, f"Mix: {len(parts)} classes.", ALLOWED)
    shares: dict[tuple[int, int], float] = {}
    for number, part in enumerate(parts, 1):
        found = CLASS.fullmatch(part)
        if found is None:
            raise InvalidInput(field, f"Mix: class {number}, {part[:40]!r}, is not share% prompt/output.", ALLOWED)
        percent, lengths = float(found["percent"]), (int(found["prompt"]), int(found["output"]))
        if not 0 < percent <= 100 or not all(1 <= length <= MOST_TOKENS for length in lengths):
            raise InvalidInput(
                field,
                f"Mix: class {number}, {part[:40]!r}, is out of range.",
                f"a share above 0 and up to 100 %, lengths from 1 to {MOST_TOKENS:,} tokens",
            )
        shares[lengths] = shares.get(lengths, 0.0) + percent
    whole = sum(shares.values())
    if abs(whole - 100) > ROUNDING:
        raise InvalidInput(field, f"Mix: the shares are {whole:.4g} % in all.", ALLOWED)
    return tuple(
        RequestClass(input_tokens=lengths[0], output_tokens=lengths[1], share=percent / whole)
        for lengths, percent in sorted(shares.items())
    )


def mean(classes: Sequence[RequestClass], value: Callable[[RequestClass], Numbers]) -> Numbers:
    """Over requests."""
    return sum(one.share * value(one) for one in classes)


def mean_in_flight(
    classes: Sequence[RequestClass], steps: Callable[[float], float], value: Callable[[RequestClass], float]
) -> float:
    """Over the requests in flight at a moment, where a class is as its share times its `steps` of so many tokens."""
    weights = [one.share * steps(one.output_tokens) for one in classes]
    return sum(weight * value(one) for weight, one in zip(weights, classes, strict=True)) / sum(weights)


def variation(classes: Sequence[RequestClass], value: Callable[[RequestClass], float]) -> float:
    """Squared coefficient of variation over requests."""
    middle = mean(classes, value)
    return float(mean(classes, lambda one: (value(one) / middle - 1) ** 2)) if middle else 0.0


def mean_steps(classes: Sequence[RequestClass], each: Sequence[Steps]) -> Steps:
    """The steps of the mean request: a class's prompt counts as often as it comes."""
    return Steps(
        **{
            field.name: sum(one.share * getattr(steps, field.name) for one, steps in zip(classes, each, strict=True))
            for field in fields(Steps)
        }
    )


def closed_times(
    found: Latency,
    mean: Steps,
    each: Sequence[Steps],
    classes: Sequence[RequestClass],
    *,
    running: Numbers,
    queue: Numbers,
    decode_steps: Callable[[float], float],
) -> tuple[ClassTimes, ...]:
    """TTFT and TPOT of each class in a closed loop whose mean is `found`.

        T_c = T + own_c - own,    own = p1 + min(n - 1, 1) d chunks
        cycle_c = (h + p1_c + M_c d) / (1 - (n - 1) p / cycle),    TPOT_c = (cycle_c - T_c + queue) / (L_c - 1)

    with M decode steps of a request: while a class is in flight, others bring their prompts at the rate that they bring
    them to all. The shares' mean of cycle_c is the cycle.
    """
    others = larger(running - 1.0, 0.0)
    joins = smaller(others, 1.0)
    left = larger(1.0 - others * mean.added / found.cycle, 1e-9)

    def own(steps: Steps) -> Numbers:
        return steps.alone + joins * mean.decode * steps.chunks

    times = []
    for one, steps in zip(classes, each, strict=True):
        decoding = decode_steps(one.output_tokens) * mean.decode
        served = larger(found.ttft - queue + own(steps) - own(mean), steps.request + steps.alone)
        later = larger((steps.request + steps.alone + decoding) / left - served, decoding)
        tpot = later / (one.output_tokens - 1) if one.output_tokens > 1 else 0.0 * later
        times.append(ClassTimes(of=one, ttft=served + queue, tpot=tpot))
    return tuple(times)
