"""Poisson arrivals on a layout: its steps timed at every number running, and what the queue makes of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf

import numpy as np

from app.calculations import mix, open_loop
from app.calculations.lengths import longest_of
from app.calculations.memory import MemoryPlan
from app.calculations.open_loop import Arrivals, Curve, Own, State
from app.calculations.operators import Traffic
from app.calculations.queueing import Latency, Scheduler, Steps
from app.calculations.roofline import Machine
from app.calculations.serving import (
    LEAST_ADDED,
    Serving,
    Switches,
    Workload,
    median_step,
    most_running,
    saturate,
    simulate,
    step_plan,
    step_seconds,
    time_steps,
    traffic_of,
)


def curve_of(
    plan: MemoryPlan, machine: Machine, workload: Workload, switches: Switches, traffic: Traffic, slots: int
) -> Curve:
    """Seconds of a step and of what a prompt adds to it against the number running."""
    running = np.unique(np.geomspace(1, max(slots, 2), open_loop.POINTS).round())
    one = step_plan(plan, workload, switches, 1, 1.0)
    batch = np.maximum(1.0, running / plan.layout.pp) * workload.beam_width
    prompts = np.clip(running / max(workload.output_steps, 1.0), 1.0, one.burst_limit)
    work = replace(one.decode.work, sequences=batch)
    alone = step_seconds(plan, machine, one.alone, traffic).total
    decode = step_seconds(plan, machine, replace(one.decode, work=work, sequences=batch), traffic).total
    beside = (replace(one.alone.work, sequences=prompts),)
    mixed = replace(one.mixed, work=replace(work, beside=beside), sequences=batch + prompts)
    both = step_seconds(plan, machine, mixed, traffic).total
    added = np.maximum(both - decode, LEAST_ADDED * alone) / prompts / plan.layout.pp
    return Curve(running=running, decode=decode, added=added)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """What arrivals meet at one replica, whatever their rate."""

    scheduler: Scheduler
    workload: Workload
    places: int
    replicas: int
    #: The whole instance with all places taken.
    most: Serving
    #: Of the prompts of each class, and of the mean one.
    curves: tuple[Curve, ...]
    curve: Curve

    def arrivals(self, rate: float) -> Arrivals | None:
        """The stable state at so many requests per second of the whole instance, times in decode steps; None where that
        is more than can be served."""
        return open_loop.arrivals(
            self.curve,
            self.most.steps,
            self.scheduler,
            rate=rate / self.replicas,
            most=self.most.requests_per_second / self.replicas,
            places=self.places,
            tokens=self.workload.decode_steps,
            variation=mixed_variation(self.workload),
            prompts=prompt_variation(self.workload, self.curves),
        )

    def times(self, rate: float) -> Arrivals | None:
        """The same with times per token."""
        found = self.arrivals(rate)
        return found and found.times(self.workload.steps_per_token)


def replica_of(
    plan: MemoryPlan, machine: Machine, workload: Workload, switches: Switches, scheduler: Scheduler
) -> Replica | None:
    """None where not even one request fits."""
    slots, traffic = most_running(plan, plan.engine, workload, switches.max_sequences), traffic_of(workload, switches)
    replicas = plan.layout.dp
    most = saturate(plan, machine, workload, replace(switches, max_sequences=slots), scheduler) if slots else None
    if most is None:
        return None
    curves = tuple(curve_of(plan, machine, one, switches, traffic, slots) for one in workload.each)
    return Replica(
        scheduler=scheduler,
        workload=workload,
        places=slots,
        replicas=replicas,
        most=most,
        curves=curves,
        curve=mean_curve(workload, curves),
    )


def poisson(
    plan: MemoryPlan, machine: Machine, workload: Workload, switches: Switches, scheduler: Scheduler
) -> Serving | None:
    """Poisson arrivals; where more come than can be served the queue grows without end and latencies are infinite."""
    met = replica_of(plan, machine, workload, switches, scheduler)
    if met is None:
        return None
    slots, replicas, most, curve = met.places, met.replicas, met.most, met.curve
    found = met.arrivals(workload.request_rate or 0.0)
    if found is None:
        served = backlog_rate(plan, machine, workload, switches, scheduler, most)
        return replace(most, ttft_seconds=inf, steady_ttft_seconds=inf, e2e_seconds=inf, requests_per_second=served)
    traffic = traffic_of(workload, switches)
    state = found.found
    steps_of = step_plan(plan, workload, switches, min(slots, max(1, round(state.running))), 1.0)
    prefill, decode, steps = time_steps(plan, machine, steps_of, traffic)
    asked = replace(switches, max_sequences=slots)
    classes = of_classes(plan, machine, workload, asked, scheduler, traffic, met.curves, most.steps, state)
    found = replace(found, classes=classes)
    found = found.times(workload.steps_per_token)
    tpot = found.tpot.mean if found.tpot is not None else None
    cycle = found.ttft.mean + (workload.output_tokens - 1) * (tpot or 0.0)
    tail = tail_step(workload, curve, state.running)
    draining = found.ttft.mean + tail * tail_steps(workload, state.running)
    return Serving(
        running=int(steps_of.running * replicas),
        waiting=0,
        prefill=prefill,
        decode=decode,
        ttft_seconds=found.ttft.mean,
        steady_ttft_seconds=found.ttft.p50,
        tpot_seconds=tpot,
        e2e_seconds=cycle,
        requests_per_second=counted(workload.run_requests, state.rate * replicas, draining),
        median_step_seconds=float(median_step(steps, state.running, workload.output_steps)),
        prefill_share=state.share,
        steps=steps,
        planned=steps_of,
        latency=Latency(
            ttft=found.ttft.mean,
            steady=found.ttft.p50,
            tpot=tpot or 0.0,
            cycle=cycle,
            rate=state.rate,
            prefill_share=state.share,
        ),
        arrivals=found,
        tail_step_seconds=tail if workload.run_requests else 0.0,
    )


def mean_curve(workload: Workload, curves: Sequence[Curve]) -> Curve:
    """What the mean prompt adds."""
    if not workload.classes:
        return curves[0]
    added = sum(one.share * curve.added for one, curve in zip(workload.classes, curves, strict=True))
    return replace(curves[0], added=added)


def prompt_variation(workload: Workload, curves: Sequence[Curve]) -> float:
    """Squared coefficient of variation of what a prompt adds, with all places taken."""
    added = {one: float(curve.added[-1]) for one, curve in zip(workload.classes, curves, strict=False)}
    return mix.variation(workload.classes, lambda one: added[one])


def mixed_variation(workload: Workload) -> float:
    """That of the number of decode steps: within the classes and between them."""
    within = uniform_variation(workload.length_spread)
    between = mix.variation(workload.classes, lambda one: workload.speculation.decode_steps(one.output_tokens))
    return within + between * (1 + within)


def of_classes(
    plan: MemoryPlan,
    machine: Machine,
    workload: Workload,
    switches: Switches,
    scheduler: Scheduler,
    traffic: Traffic,
    curves: Sequence[Curve],
    steps: Steps,
    state: State,
) -> tuple[Arrivals, ...]:
    """How the times of each class of a mix spread."""
    curve, slots, found = mean_curve(workload, curves), switches.max_sequences, []
    for one, of_prompt, own in zip(workload.classes, workload.each, curves, strict=False):
        planned = step_plan(plan, of_prompt, switches, slots, float(slots))
        _, _, prompt = time_steps(plan, machine, planned, traffic)
        tokens = workload.speculation.decode_steps(one.output_tokens)
        times = open_loop.of_class(curve, steps, Own(curve=own, steps=prompt), scheduler, state, tokens)
        found.append(times.times(tokens / max(one.output_tokens - 1, 1)))
    return tuple(found)


def counted(requests: int | None, rate: float, draining_seconds: float) -> float:
    """Requests per second as a benchmark of so many counts them: until the last one has its last token."""
    return rate if requests is None else requests / (requests / rate + draining_seconds)


def backlog_rate(
    plan: MemoryPlan,
    machine: Machine,
    workload: Workload,
    switches: Switches,
    scheduler: Scheduler,
    most: Serving,
) -> float:
    """Requests per second where more come than can be served: of a finite run as if all had come at once."""
    if workload.run_requests is None:
        return most.requests_per_second
    crowd = replace(workload, mode="burst", concurrency=workload.run_requests, request_rate=None)
    found = simulate(plan, machine, crowd, switches, scheduler)
    return most.requests_per_second if found is None else found.requests_per_second


def tail_steps(workload: Workload, running: float) -> float:
    """Decode steps until the last of `running` requests ends, after whom none comes."""
    return longest_of(workload.decode_steps, workload.length_spread, max(running, 1.0))


def tail_running(workload: Workload, running: float) -> float:
    """Mean number that decode meanwhile: what is left of each is M (1 + cv^2) / 2 steps."""
    left = running * workload.decode_steps * (1 + variation(workload.length_spread)) / 2
    return max(1.0, left / max(tail_steps(workload, running), 1.0))


def tail_step(workload: Workload, curve: Curve, running: float) -> float:
    """Seconds of a decode step meanwhile."""
    decode, _ = curve.at(np.array([tail_running(workload, running)]))
    return float(decode[0])


def uniform_variation(length_spread: float) -> float:
    """Squared coefficient of variation of lengths uniform between (1 - r) and 1 of the longest."""
    return length_spread**2 / (3 * (2 - length_spread) ** 2)


def variation(length_spread: float) -> float:
    """The same, and 1 for the exponential lengths of a spread of 1 (`lengths.longest_of`)."""
    return 1.0 if length_spread >= 1 else uniform_variation(length_spread)
