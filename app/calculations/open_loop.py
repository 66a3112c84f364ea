"""Poisson arrivals at one replica: how many requests run, how long one waits, how fast its tokens come.

Requests that decode share the steps evenly, so their number is that of a symmetric queue (Kelly, Reversibility and
Stochastic Networks, 1979, 3.3): whatever the lengths, at rate r, with L output tokens and s(n) seconds a token,

    P(n) ~ product over k <= n of r (L - 1) s(k) / k,    s(n) = d(n) / (1 - r p)

up to the S places, and as a queue with the rate of all places beyond. A request arrives within a step, waits for its
end and shares the next with the prompts that came meanwhile (gated service); prompts that fill a step alone queue for
it (M/D/1). Mean values are formulas; percentiles are those of a fixed lattice of points over these distributions.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from statistics import NormalDist
from typing import Any

import numpy as np

from app.calculations.queueing import Scheduler, Steps

#: Points of the lattice and its generator (Korobov).
LATTICE, GENERATOR = 2048, 1487
SHARES = (0.5, 0.9, 0.99)
#: Share of the variance of the number running that is left in its mean over a request's own time (M/D/infinity).
LASTING = 2 / 3
#: Places beyond the last that the queue is followed to, in multiples of them.
QUEUE = 20
#: Points of the curve of a step's time.
POINTS = 12
#: Rounds of the mean wait behind prompts, which makes more requests run at once.
ROUNDS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Times:
    """Mean and percentiles of a time in seconds."""

    mean: float
    p50: float
    p90: float
    p99: float

    def times(self, factor: float) -> Times:
        return Times(mean=self.mean * factor, p50=self.p50 * factor, p90=self.p90 * factor, p99=self.p99 * factor)


@dataclass(frozen=True, slots=True, kw_only=True)
class Curve:
    """Seconds of a decode step d and of what a prompt adds to it p, at 1, 2, ... so many running."""

    running: Any
    decode: Any
    added: Any

    def at(self, running: Any) -> tuple[Any, Any]:
        """d and p at any number running."""
        return np.interp(running, self.running, self.decode), np.interp(running, self.running, self.added)


@dataclass(frozen=True, slots=True, kw_only=True)
class Own:
    """What a request's own prompt adds, and its steps; those of the mean request where requests are alike."""

    curve: Curve
    steps: Steps


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """Mean values of a replica at a rate that it serves; seconds, and requests per second."""

    rate: float
    #: Most requests per second that it serves.
    most: float
    places: int
    #: Decode steps of a request, and the squared coefficient of variation of their number.
    tokens: float
    variation: float
    #: The same of what a prompt adds; the longest that a token takes, with all places taken.
    prompts: float
    slowest_token: float
    #: Numbers decoding, and the chance of each; those beyond `places` wait.
    numbers: Any
    chances: Any
    #: Mean number decoding; a decode step and what a prompt adds at it; share of the time in prefill.
    running: float
    decode: float
    added: float
    share: float
    #: The step that an arrival falls into; chances that others are served and that all places are taken; wait for one.
    step: float
    busy: float
    full: float
    wait: float
    #: A prompt in a queue of prompts, the load of that queue and its mean wait (M/D/1).
    service: float
    load: float
    queue: float
    #: A prompt's own steps among others; its wait where steps hold many prompts, and where few fill them; the weight of
    #: the latter.
    own: float
    gated: float
    lone: float
    lone_weight: float
    #: Prefill with its waits.
    served: float
    #: Prefills of prompts that were waiting at a request's first token, and what follows them.
    behind: float
    ttft_seconds: float
    token_seconds: float

    @property
    def p99_running(self) -> int:
        """So many decode at once or fewer, 99 % of the time; at least one, at most all places."""
        found = int(self.numbers[np.searchsorted(np.cumsum(self.chances), SHARES[-1])])
        return min(max(found, 1), self.places)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrivals:
    """The state, and how the times of requests spread."""

    found: State
    ttft: Times
    tpot: Times | None
    #: The same of each class of a mix.
    classes: tuple[Arrivals, ...] = ()

    @property
    def each(self) -> tuple[Arrivals, ...]:
        """By class; these themselves where requests are alike."""
        return self.classes or (self,)

    def times(self, factor: float) -> Arrivals:
        """With times per token in place of those per decode step."""
        return replace(self, tpot=self.tpot and self.tpot.times(factor))


def arrivals(
    curve: Curve,
    steps: Steps,
    scheduler: Scheduler,
    *,
    rate: float,
    most: float,
    places: int,
    tokens: float,
    variation: float,
    prompts: float = 0.0,
) -> Arrivals | None:
    """The stable state; None where more arrive than the `most` that can be served. `tokens`: decode steps of a request;
    `variation`, `prompts`: squared coefficients of variation of their number, and of what a prompt adds."""
    if rate >= most:
        return None
    paused = float(scheduler.prefill_first) > 0
    given = (curve, steps, paused, cuts_prompts(scheduler), rate, most, places, tokens, variation, prompts)
    found = state(*given, behind=0.0)
    for _ in range(ROUNDS):
        found = state(*given, behind=found.behind)
    return spread(curve, steps, Own(curve=curve, steps=steps), paused, found)


def cuts_prompts(scheduler: Scheduler) -> bool:
    """Whether decoding goes on beside prompts that are cut to a step's tokens."""
    return not (float(scheduler.prefill_first) > 0 or float(scheduler.whole_prompts) > 0)


def spread(curve: Curve, steps: Steps, own: Own, paused: bool, found: State) -> Arrivals:
    """How the times of requests with this prompt of their own spread."""
    first = first_tokens(curve, steps, own, paused, found)
    later = later_tokens(curve, found, first - float(steps.request)) if found.tokens else None
    return Arrivals(
        found=found,
        ttft=times_of(first, found.ttft_seconds),
        tpot=None if later is None else times_of(later, found.token_seconds),
    )


def of_class(curve: Curve, steps: Steps, own: Own, scheduler: Scheduler, all_of: State, tokens: float) -> Arrivals:
    """A class among all requests, whose state is `all_of`: it waits as they do, with its own prompt and tokens."""
    paused = float(scheduler.prefill_first) > 0
    among, alone = all_of.own, float(own.steps.alone) - float(steps.alone)
    if all_of.tokens:
        _, added = own.curve.at(min(max(all_of.running, 1.0), all_of.places))
        among = float(added) + (0.0 if paused else all_of.decode * float(own.steps.chunks))
        alone = (1 - all_of.busy) * alone + all_of.busy * (among - all_of.own)
    served, paces = all_of.served + alone, 1 - all_of.share
    later = all_of.decode / paces + all_of.rate * served * all_of.added / paces / tokens if tokens else 0.0
    found = replace(
        all_of,
        tokens=tokens,
        own=among,
        served=served,
        ttft_seconds=all_of.ttft_seconds + alone,
        token_seconds=min(later, all_of.slowest_token) if all_of.tokens else 0.0,
    )
    return spread(curve, steps, own, paused, found)


def state(
    curve: Curve,
    steps: Steps,
    paused: bool,
    cut_prompts: bool,
    rate: float,
    most: float,
    places: int,
    tokens: float,
    variation: float,
    prompts: float,
    behind: float,
) -> State:
    """Mean values, where a request waits `behind` seconds of prefills that had been waiting at its first token."""
    numbers, chances = running_chances(curve, rate, places, tokens, behind)
    running = float(numbers @ chances)
    decode, added = map(float, curve.at(min(max(running, 1.0), places)))
    alone, chunks, fill = float(steps.alone), float(steps.chunks), float(steps.fill)
    if not tokens:
        decode, added = 0.0, min(float(steps.burst), added)
    share = min(rate * added, 0.999)
    service = added + decode * chunks * fill
    load = min(rate * service, 0.999)
    queue = load * service * (1 + prompts) / (2 * (1 - load))
    # The step that an arrival falls into (the longer, the likelier) holds the prompts that came during the one before.
    step = decode / (1 - share) + rate * added**2 * (1 + prompts) / (1 - share**2)
    busy = 1 - float(chances[0]) * (1 - share)
    own = added + (0.0 if paused else decode * chunks)
    gated = step / 2 + rate * step * added
    lone = (1 - load) * decode / 2 + queue + min(rate * step, 1 / fill - 1) * added
    lone_weight = min(1.0, 2 * fill)
    # Without decoding a prompt waits for those before it, and those behind it in its step make it wait as long again.
    among_others = own + (1 - lone_weight) * gated + lone_weight * lone
    served = (1 - busy) * alone + busy * among_others if tokens else alone + 2 * queue
    full = float(chances[places:].sum()) if tokens else 0.0
    wait = full * (1 + variation) / 2 / (most - rate)
    # No token waits longer than at all places taken, nor than for a full step where decoding goes on beside prompts.
    most_token = places / most / tokens if tokens else 0.0
    if cut_prompts:
        most_token = min(most_token, decode + added / fill / chunks)
    return State(
        rate=rate,
        most=most,
        places=places,
        tokens=tokens,
        variation=variation,
        prompts=prompts,
        slowest_token=most_token,
        numbers=numbers,
        chances=chances,
        running=running,
        decode=decode,
        added=added,
        share=share,
        step=step,
        busy=busy,
        full=full,
        wait=wait,
        service=service,
        load=load,
        own=own,
        queue=queue,
        lone_weight=lone_weight,
        gated=gated,
        lone=lone,
        served=served,
        behind=min(rate * served * added / (1 - share), tokens * most_token),
        ttft_seconds=float(steps.request) + served + wait,
        token_seconds=(
            min(decode / (1 - share) + rate * served * added / (1 - share) / tokens, most_token) if tokens else 0.0
        ),
    )


def running_chances(curve: Curve, rate: float, places: int, tokens: float, behind: float) -> tuple[Any, Any]:
    """Numbers in the decoding part, 0 and up, and the chance of each; those beyond `places` wait."""
    if not tokens:
        return np.arange(1), np.ones(1)
    numbers = np.arange(1, places + 1)
    decode, added = curve.at(numbers)
    stay = tokens * decode / np.maximum(1 - rate * added, 1e-9)
    served = np.cumsum(np.log(rate * (stay + behind) / numbers))
    waiting = np.arange(1, places * (QUEUE - 1) + 1)
    logs = np.concatenate([[0.0], served, served[-1] + waiting * np.log(rate * stay[-1] / places)])
    chances = np.exp(logs - logs.max())
    return np.arange(len(chances)), chances / chances.sum()


def first_tokens(curve: Curve, steps: Steps, mine: Own, paused: bool, at: State) -> Any:
    """Times to the first token at the points of the lattice."""
    which, before, within, together, waiting, turn = lattice(6)
    request, queue = float(steps.request), at.service * (1 + at.prompts) / (2 * (1 - at.load))
    queued = np.where(turn > at.load, 0.0, exponential(queue, waiting))
    if not at.tokens:
        return (
            request + float(mine.steps.alone) + queued + np.where(before > at.load, 0.0, exponential(queue, together))
        )
    found = running_at(at, which)
    decode, added = curve.at(np.clip(found, 1, at.places))
    length = decode + added * poisson(at.rate * at.step, before)
    shared = poisson(at.rate * length, together)
    gated = within * length + added * shared
    lone = np.where(turn > at.load, within * decode, queued) + added * np.minimum(shared, 1 / float(steps.fill) - 1)
    _, mine_added = mine.curve.at(np.clip(found, 1, at.places))
    own = mine_added + (0.0 if paused else decode * float(mine.steps.chunks))
    idle = (found == 0) & (turn < 1 - at.share)
    times = np.where(idle, float(mine.steps.alone), own + (1 - at.lone_weight) * gated + at.lone_weight * lone)
    place = exponential((1 + at.variation) / 2 / (at.most - at.rate), waiting)
    return request + times + np.where(found >= at.places, place, 0.0)


def later_tokens(curve: Curve, at: State, first: Any) -> Any:
    """Mean seconds per later token of a request, at the points of the lattice; `first`: its seconds to the first."""
    *_, which, chance = lattice(8)
    beside = at.running + np.sqrt(LASTING) * (running_at(at, which) - at.running)
    decode, added = curve.at(np.clip(1 + beside, 1.0, at.places))
    # Each prompt that comes meanwhile, or waited already, starts a busy period of prefill (M/D/1: mean p / (1 - r p),
    # mean square p^2 / (1 - r p)^3); their sum is taken as log-normal.
    pauses = at.rate * (at.tokens * decode + np.minimum(first, 10 * at.ttft_seconds))
    mean, square = added / (1 - at.share), added**2 * (1 + at.prompts) / (1 - at.share) ** 3
    sigma = np.sqrt(np.log1p(square / (pauses * mean**2)))
    paused = pauses * mean * np.exp(sigma * normal(chance) - sigma**2 / 2)
    return np.minimum(decode + paused / at.tokens, at.slowest_token)


def running_at(at: State, chance: Any) -> Any:
    """Numbers decoding by inversion."""
    return at.numbers[np.minimum(np.searchsorted(np.cumsum(at.chances), chance), len(at.numbers) - 1)]


@cache
def lattice(dimensions: int) -> Any:
    """LATTICE points of the unit cube, dimension by dimension."""
    index = np.arange(LATTICE)
    return [(index * pow(GENERATOR, d, LATTICE) / LATTICE + 0.5 / LATTICE) % 1.0 for d in range(dimensions)]


@cache
def _normal_quantiles() -> Any:
    """Quantiles of the normal distribution at the coordinates of the lattice, in ascending order."""
    return np.array([NormalDist().inv_cdf((index + 0.5) / LATTICE) for index in range(LATTICE)])


def normal(chance: Any) -> Any:
    return _normal_quantiles()[(chance * LATTICE).astype(int)]


def exponential(mean: Any, chance: Any) -> Any:
    return -mean * np.log1p(-chance)


def poisson(mean: Any, chance: Any) -> Any:
    """Poisson numbers by inversion; a normal distribution stands in for large means."""
    mean = np.broadcast_to(np.asarray(mean, dtype=float), np.shape(chance))
    term = np.exp(-np.minimum(mean, 30.0))
    total, found = term.copy(), np.zeros(np.shape(chance))
    for number in range(1, 80):
        above = chance > total
        if not above.any():
            break
        found += above
        term = term * np.minimum(mean, 30.0) / number
        total = total + term
    return found * np.where(mean > 30.0, mean / 30.0, 1.0)


def times_of(times: Any, mean: float) -> Times:
    """Mean and percentiles; the lattice's own mean is brought to the formula's."""
    scaled = np.sort(times) * (mean / times.mean())
    at = (scaled[min(len(scaled) - 1, int(share * len(scaled)))] for share in SHARES)
    p50, p90, p99 = map(float, at)
    return Times(mean=mean, p50=p50, p90=p90, p99=p99)
