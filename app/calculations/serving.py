"""Steps to latency and throughput: a closed loop of C requests in flight on a continuously batching engine.

Symbols: C requests in flight per replica, I prompt and L output tokens, p seconds of GPU time that one prompt's
prefill takes inside a busy server, d seconds of a decode step at batch C without prefill.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.calculations.engine import Engine
from app.calculations.memory import MemoryPlan
from app.calculations.operators import Pass, forward_operators
from app.calculations.roofline import Machine, Seconds, pass_seconds


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Speed of the whole instance; None where nothing runs. `waiting` requests queue for memory or a slot."""

    running: int
    waiting: int
    prefill: Seconds
    decode: Seconds
    ttft_seconds: float
    #: None for one output token: there is no second one to wait for.
    tpot_seconds: float | None
    e2e_seconds: float
    requests_per_second: float
    #: Share of wall time that GPUs spend in prefill.
    prefill_share: float


def step_host_seconds(engine: Engine, sequences: float, num_layers: int, step_seconds: float) -> float:
    """Scheduler and sampler of one step: fixed, per sequence, and launch latency per layer."""
    return step_seconds + engine.sequence_seconds * sequences + engine.layer_seconds * num_layers


def decode_seconds(
    plan: MemoryPlan, machine: Machine, sequences: float, context_tokens: float, step_seconds: float
) -> Seconds:
    """One token for each of `sequences`, through all stages one after the other."""
    work = Pass(sequences=sequences, new_tokens=1, cached_tokens=context_tokens)
    host = step_host_seconds(plan.engine, sequences, plan.model.num_layers, step_seconds)
    return pass_seconds(forward_operators(plan.model, plan.layout, plan.formats, work), machine, host)


def prefill_seconds(
    plan: MemoryPlan, machine: Machine, prompts: float, input_tokens: float, step_tokens: int, step_seconds: float
) -> Seconds:
    """`prompts` whole prompts at once, a shared prefix already cached.

    Each chunk of `step_tokens` beyond the first pays the step's overhead.
    """
    shared = plan.shared_prefix_tokens
    work = Pass(sequences=prompts, new_tokens=input_tokens - shared, cached_tokens=shared)
    chunks = max(1.0, prompts * (input_tokens - shared) / step_tokens)
    host = step_host_seconds(plan.engine, prompts, plan.model.num_layers, step_seconds) * chunks
    return pass_seconds(forward_operators(plan.model, plan.layout, plan.formats, work), machine, host)


def closed_loop(
    plan: MemoryPlan,
    machine: Machine,
    *,
    input_tokens: int,
    output_tokens: int,
    concurrency: int | None,
    step_tokens: int,
    max_sequences: int,
    step_seconds: float,
) -> Serving | None:
    """Mean latency and throughput with `concurrency` requests always in flight (None: as many as run at once).

    Work conservation: between two of its starts a slot sees L - 1 decode steps and C prefills,
    cycle = h + (L - 1) d + C p. A request's first token waits for the step in progress, its own prefill and the
    decodes that share its steps, T = h + p1 + (C-1)/C (d chunks + (1/2 + r)(s + p r)) with r = C p / cycle; what is
    left of the cycle is the other tokens' time, s = (cycle - T) / (L - 1); inside the wait s is taken as
    d + C p / (L - 1). Requests beyond what memory holds wait:
    T grows by (C - N) / X (Little's law). Pipeline stages work on different micro-batches at once.
    """
    replicas, stages = plan.layout.dp, plan.layout.pp
    slots = min(plan.most_sequences(input_tokens + output_tokens), max_sequences)
    if slots < 1:
        return None
    wanted = slots if concurrency is None else -(-concurrency // replicas)
    running = min(wanted, slots)
    steps = output_tokens - 1
    context = input_tokens + output_tokens / 2
    decode = decode_seconds(plan, machine, max(1.0, running / stages), context, step_seconds)
    alone = prefill_seconds(plan, machine, 1, input_tokens, step_tokens, step_seconds)
    fresh = input_tokens - plan.shared_prefix_tokens
    together = max(1, min(running, step_tokens // fresh))
    busy = prefill_seconds(plan, machine, together, input_tokens, step_tokens, step_seconds).total / together / stages
    first = plan.engine.request_seconds
    cycle = first + steps * decode.total + alone.total + (running - 1) * busy
    share = min(running * busy / cycle, 1.0)
    others = (running - 1) / running
    chunks = -(-fresh // step_tokens)
    if steps:
        step = decode.total + running * busy / steps
        ttft = first + alone.total + others * (decode.total * chunks + (0.5 + share) * (step + busy * share))
        tpot = max((cycle - ttft) / steps, decode.total)
    else:
        ttft, tpot = cycle, None
    cycle = ttft + steps * (tpot or 0.0)
    rate = running * replicas / cycle
    waiting = max(0, (0 if concurrency is None else concurrency) - running * replicas)
    ttft += waiting / rate
    return Serving(
        running=running * replicas if concurrency is None else min(running * replicas, concurrency),
        waiting=waiting,
        prefill=alone,
        decode=decode,
        ttft_seconds=ttft,
        tpot_seconds=tpot,
        e2e_seconds=ttft + steps * (tpot or 0.0),
        requests_per_second=rate if concurrency is None else min(rate, rate * concurrency / (wanted * replicas)),
        prefill_share=share,
    )
