"""From seconds of a step to TTFT and TPOT under load: work conservation plus a queue, for one replica.

Symbols: C requests in flight, n of them running, I prompt and L output tokens, d seconds of a decode step at n, p
seconds that one prompt adds to a busy server, p1 seconds of a prompt alone, pb per prompt in a full prefill step,
h seconds of a request outside the steps, B token budget of a step, W waves of a finite run. Between two starts of a
slot the GPUs do L - 1 decode steps and C prefills, whatever the scheduler:

    cycle = h + (L - 1) d + p1 + (n - 1) p,    T + (L - 1) s = cycle

so the queue only decides how the cycle is split into TTFT T and (L - 1) TPOT s. All quantities may be arrays.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.calculations.arrays import Numbers, larger, smaller, where


@dataclass(frozen=True, slots=True, kw_only=True)
class Steps:
    """Seconds of the steps of one replica at its load; see the module's symbols."""

    decode: Numbers
    alone: Numbers
    added: Numbers
    burst: Numbers
    request: Numbers
    #: Steps that one prompt is cut into, I / B rounded up, and the share of a step that it fills, I / B.
    chunks: Numbers
    fill: Numbers
    #: Of a batch that runs down: a decode step at the mean number that decode.
    drain: Numbers = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Scheduler:
    """How an engine mixes prefill and decode. `gang`: prompts that still arrive together once a closed loop of equal
    requests has settled (3 vLLM, 3.5 TensorRT-LLM 1.x). `whole_prompts`: a step takes up to `gang_tokens` tokens of
    uncut prompts (TensorRT-LLM before 0.12). `prefill_first`: waiting prompts stop the decoding."""

    prefill_first: Numbers
    whole_prompts: Numbers
    gang: Numbers
    gang_tokens: Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Of one replica. `steady` is the TTFT once the first wave is over, also the median; requests/s of the replica."""

    ttft: Numbers
    steady: Numbers
    tpot: Numbers
    cycle: Numbers
    rate: Numbers
    #: Share of wall time in prefill.
    prefill_share: Numbers
    #: What it is made of, by the names that `chain` shows.
    terms: Mapping[str, Numbers] = field(default_factory=dict, hash=False)


#: Lengths count as desynchronised above the larger x, as synchronised below the smaller, x = r L d / (C p).
SYNCHRONISED, DESYNCHRONISED = 0.02, 0.2


def logarithm(x: Numbers) -> Numbers:
    if isinstance(x, int | float):
        from math import log

        return log(x)
    import numpy

    return numpy.log(x)


def closed_loop(
    steps: Steps,
    scheduler: Scheduler,
    *,
    concurrency: Numbers,
    running: Numbers,
    input_tokens: Numbers,
    output_tokens: Numbers,
    waves: Numbers,
    length_spread: Numbers,
) -> Latency:
    """C requests always in flight; each that ends is followed by the next. `waves` may be infinite (a steady server).

    `length_spread` r = (longest - shortest) / longest output decides whether requests stay in step. Beyond what runs
    at once, requests wait by Little's law. Checked in closed form against discrete-event simulation and published
    closed-loop runs: 3 to 10 % of TTFT, 0.5 % of TPOT.
    """
    n, h, d, p = running, steps.request, steps.decode, steps.added
    tokens = larger(output_tokens - 1.0, 0.0)
    others = larger(n - 1.0, 0.0)
    cycle = h + tokens * d + steps.alone + others * p
    share = smaller(n * p / cycle, 1.0)
    # The step in progress when a request arrives: a decode step, or one shared with prompts.
    step = d + where(tokens > 0, others * p / larger(tokens, 1.0), 0.0 * p)
    joins = smaller(others, 1.0)
    mixed = h + steps.alone + joins * (d * steps.chunks + (0.5 + share) * (step + p * share))
    burst = h + steps.alone + others / 2 * steps.burst + others / 2 * steps.fill * d / 2
    # Prompts that wait for each other: all of a wave where prefill goes first, else a gang.
    together = where(scheduler.prefill_first > 0, others / 2, smaller(scheduler.gang - 1.0, others / 2))
    gang_prompts = larger(0.8 * scheduler.gang_tokens / input_tokens, 1.0)
    whole = smaller(1.2 * others / 2, gang_prompts + 0.1 * others / 2)
    together = where(scheduler.whole_prompts > 0, whole, together)
    synchronised = h + steps.alone + joins * d + together * p
    x = length_spread * tokens * d / larger(n * p, 1e-9)
    weight = smaller(
        larger(logarithm(larger(x, 1e-9) / SYNCHRONISED) / logarithm(DESYNCHRONISED / SYNCHRONISED), 0.0), 1.0
    )
    steady = synchronised ** (1 - weight) * mixed**weight
    cycle_limit = cycle * 0.98 + 0.02 * steps.alone
    steady = smaller(steady, cycle_limit)
    first_wave = where(scheduler.prefill_first > 0, larger(burst, steady), burst)
    ttft = (1 - 1 / waves) * steady + larger(first_wave, steady * 0.0) / waves
    served = smaller(ttft, cycle_limit)
    # A token waits for a step at least, and for a full one at most, unless prompts stop the decoding. Whatever else a
    # cycle takes is before the first token; a place that waits for a step to end makes it longer.
    room = where(scheduler.whole_prompts > 0, larger(scheduler.gang_tokens / input_tokens, 1.0), 1 / steps.fill)
    full = d + p * smaller(room, others) / steps.chunks
    tpot = larger((cycle - served) / larger(tokens, 1.0), d)
    tpot = where(scheduler.prefill_first > 0, tpot, smaller(tpot, full))
    ttft = larger(served, cycle - tokens * tpot)
    whole = ttft + tokens * tpot
    rate = n / whole
    waiting = larger(concurrency - n, 0.0)
    # A finite run of W waves never fills the queue of the requests that started first.
    seen = 1 - (1 - waiting / (2 * concurrency)) / waves
    queue = waiting / rate * seen
    return Latency(
        ttft=ttft + queue,
        steady=steady + queue,
        tpot=tpot,
        cycle=whole,
        rate=rate,
        prefill_share=share,
        terms={
            "cycle": cycle,
            "s": step,
            "mixed": mixed,
            "burst": burst,
            "together": together,
            "joint": synchronised,
            "x": x,
            "w": weight,
            "settled": steady,
            "first": first_wave,
            "served": served,
            "full": full,
            "seen": seen,
            "queue": queue,
        },
    )


def static_batch(
    steps: Steps,
    *,
    concurrency: Numbers,
    admitted: Numbers,
    output_tokens: Numbers,
    decode_steps: Numbers,
    recomputed: Numbers,
) -> Latency:
    """A batch starts together and ends together: prefill of all, then `decode_steps` (L - 1, or more where not all
    fit at once; see rundown.py). `recomputed` prompts are prefilled once more. Where only `admitted` start at once, the
    others follow round by round, and wait for half of the whole on average."""
    tokens = larger(output_tokens - 1.0, 0.0)
    own = steps.request + steps.alone
    first = own + larger(admitted - 1.0, 0.0) * steps.burst
    total = own + larger(concurrency - 1.0, 0.0) * steps.burst + decode_steps * steps.drain + recomputed * steps.burst
    later = 1 - admitted / concurrency
    ttft = first + later * total / 2
    return Latency(
        ttft=ttft,
        steady=ttft,
        tpot=where(tokens > 0, steps.decode, 0.0 * steps.decode),
        cycle=total,
        rate=concurrency / total,
        prefill_share=smaller((total - decode_steps * steps.drain) / total, 1.0),
    )


def together(
    steps: Steps,
    *,
    concurrency: Numbers,
    admitted: Numbers,
    kept: Numbers,
    output_tokens: Numbers,
    decode_steps: Numbers,
    recomputed: Numbers,
) -> Latency:
    """C requests arrive at once at an engine that batches continuously, and nothing follows.

    The whole takes h + p1 + (C - 1 + recomputed) pb + decode_steps d. Of those `admitted` at once, a prompt waits for
    half of the others, and its decoding for the other half; those put back (all but `kept`) wait until the rest of the
    batch has run, the later ones for half of the whole.
    """
    tokens = larger(output_tokens - 1.0, 0.0)
    ahead = larger(admitted - 1.0, 0.0) / 2 * steps.burst
    own = steps.request + steps.alone
    total = own + (larger(concurrency - 1.0, 0.0) + recomputed) * steps.burst + decode_steps * steps.drain
    later = 1 - admitted / concurrency
    ttft = own + (1 - later) * ahead + later * total / 2
    put_back = (admitted - kept) / concurrency
    stalled = (1 - later) * ahead + put_back * larger(total - own - 2 * ahead - tokens * steps.decode, 0.0) / 2
    tpot = where(tokens > 0, steps.decode + stalled / larger(tokens, 1.0), 0.0 * steps.decode)
    return Latency(
        ttft=ttft,
        steady=ttft,
        tpot=tpot,
        cycle=total,
        rate=concurrency / total,
        prefill_share=smaller((total - decode_steps * steps.drain) / total, 1.0),
        terms={"ahead": ahead, "later": later, "put_back": put_back, "stalled": stalled},
    )
