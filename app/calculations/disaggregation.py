"""Disaggregated serving: some GPUs only prefill, the others only decode (DistServe, arXiv:2401.09670).

A closed network of three stations. Symbols as in `queueing.py`, and: P prefill replicas, D decode replicas with n
sequences each, b seconds per prompt of a full prefill step, t seconds to send a prompt's cache, M decode steps of a
request, X requests/s, c requests that have a place on the decode side:

    X = n D / (M d(n)),    c = X (h + p1 + wait(b) + t + wait(t)) + n D

A place is reserved before the prefill starts, as engines do that send the cache from GPU to GPU.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf

from app.calculations.collectives import point_to_point_seconds
from app.calculations.memory import MemoryPlan
from app.calculations.parallelism import Layout
from app.calculations.queueing import Latency, Steps
from app.calculations.roofline import Machine, Seconds
from app.calculations.serving import (
    Serving,
    StepPlan,
    Switches,
    Workload,
    most_running,
    step_plan,
    step_seconds,
    traffic_of,
)

#: Halvings of the interval in which the number of decoding sequences lies.
HALVINGS = 52


def prefill_layout(decode: Layout, prefill_gpus: int, prefill_tp: int | None) -> Layout:
    """How the prefill GPUs are cut: replicas of `prefill_tp` GPUs, of as many as a decode replica has where that is
    None. Experts are spread over all of them where the decode side spreads them over replicas."""
    tp = prefill_tp or decode.tp
    ep = prefill_gpus if decode.ep > decode.tp else min(decode.ep, tp)
    return Layout(tp=tp, dp=prefill_gpus // tp, ep=ep)


def transfer_seconds(prefill: MemoryPlan, decode: MemoryPlan, machine: Machine, prompt_tokens: int) -> float:
    """Sending a prompt's cache: the larger of what a GPU sends and what one receives, over its link or the network."""
    moved = max(plan.sequence_bytes(stage, prompt_tokens) for plan in (prefill, decode) for stage in plan.stages)
    gpus = prefill.layout.num_gpus + decode.layout.num_gpus
    return float(point_to_point_seconds(moved, inside_domain=gpus <= machine.links.domain_gpus, links=machine.links))


def wait_seconds(rate: float, service: float, customers: float) -> float:
    """Mean wait of a queue with equal service times among so many customers.

    rho s / (2 (1 - rho)) of an M/D/1 queue (Pollaczek-Khinchine), seen by one of `customers` who finds the others there
    (arrival theorem of closed networks): times (c - 1) / c. Infinite from rho = 1.
    """
    busy = rate * service
    return (customers - 1) / customers * busy * service / (2 * (1 - busy)) if busy < 1 else inf


@dataclass(frozen=True, slots=True, kw_only=True)
class Flow:
    """The network at so many decoding sequences: their steps, requests/s, and the delays on the way to them."""

    planned: StepPlan
    decode: Seconds
    rate: float
    wait: float
    transfer: float
    #: Requests that such a flow needs.
    requests: float


def simulate(
    prefill: MemoryPlan, decode: MemoryPlan, machine: Machine, workload: Workload, switches: Switches
) -> Serving | None:
    """Mean latency and throughput in a closed loop; None where not even one request fits."""
    replicas, servers = decode.layout.dp, prefill.layout.dp
    slots = most_running(decode, decode.engine, workload, switches.max_sequences)
    if slots < 1 or not prefill.fits(1, int(workload.input_tokens)):
        return None
    traffic = traffic_of(workload, switches)
    asked = workload.concurrency or slots * replicas
    placed = min(asked, slots * replicas)
    prompts = step_plan(prefill, workload, switches, 1, max(1.0, placed / servers))
    alone = step_seconds(prefill, machine, prompts.alone, traffic)
    burst = step_seconds(prefill, machine, prompts.burst, traffic).total / prompts.burst_prompts
    sent = transfer_seconds(prefill, decode, machine, int(workload.input_tokens))
    first = machine.coefficients.request_seconds + alone.total

    def flow(decoding: float) -> Flow:
        planned = step_plan(decode, workload, switches, decoding, 1.0)
        step = step_seconds(decode, machine, planned.decode, traffic)
        rate = float(decoding * replicas / (workload.decode_steps * step.total))
        wait = wait_seconds(rate / servers, float(burst), placed)
        transfer = sent + wait_seconds(rate / servers, sent, placed)
        requests = rate * (first + wait + transfer) + decoding * replicas
        return Flow(planned=planned, decode=step, rate=rate, wait=wait, transfer=transfer, requests=float(requests))

    low, high = 0.0, float(slots)
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if flow(middle).requests > placed else (middle, high)
    found = flow(high if flow(high).requests < inf else low)
    step = float(found.decode.total)
    steps = Steps(
        decode=step,
        alone=alone.total,
        added=burst,
        burst=burst,
        request=machine.coefficients.request_seconds,
        chunks=prompts.chunks,
        fill=prompts.fill,
    )
    queue = (asked - placed) / found.rate
    served = first + found.wait
    ttft, tpot = float(served + queue), workload.token_seconds(step)
    busy = float(found.rate * burst / servers)
    prefill_gpus, gpus = prefill.layout.num_gpus, prefill.layout.num_gpus + decode.layout.num_gpus
    return Serving(
        running=placed,
        waiting=asked - placed,
        prefill=alone,
        decode=found.decode,
        ttft_seconds=ttft,
        steady_ttft_seconds=ttft,
        tpot_seconds=tpot,
        e2e_seconds=ttft + found.transfer + (workload.output_tokens - 1) * (tpot or 0.0),
        requests_per_second=found.rate,
        median_step_seconds=step,
        prefill_share=busy * prefill_gpus / gpus,
        steps=steps,
        planned=replace(found.planned, alone=prompts.alone, burst=prompts.burst, burst_prompts=prompts.burst_prompts),
        latency=Latency(
            ttft=ttft,
            steady=ttft,
            tpot=step,
            cycle=placed / found.rate,
            rate=found.rate,
            prefill_share=busy,
            terms={
                "wait": found.wait,
                "sent": sent,
                "transfer": found.transfer,
                "served": served,
                "queue": queue,
                "placed": placed,
                "asked": asked,
            },
        ),
    )
