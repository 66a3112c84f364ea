"""One layout at every number of requests in flight, in one call: TTFT, TPOT and throughput as arrays."""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import inf
from typing import Any

import numpy as np

from app.calculations import queueing
from app.calculations.estimate import LayoutEstimate, scheduler, switches, workload
from app.calculations.mix import ClassTimes, mean_steps
from app.calculations.queueing import Steps
from app.calculations.serving import (
    LEAST_ADDED,
    Step,
    StepPlan,
    closed_class_times,
    most_running,
    step_plan,
    step_seconds,
    traffic_of,
)

#: Numbers in flight that are tried, from one to what fits, evenly on a logarithmic scale.
POINTS = 128


@dataclass(frozen=True, slots=True, kw_only=True)
class Sweep:
    """A closed loop of `users` requests in flight on one replica (all GPUs of its layout); seconds, requests/s.

    Of a mix `ttft` and `tpot` are those of the class for which they are longest.
    """

    users: Any
    ttft: Any
    tpot: Any
    rate: Any
    classes: tuple[ClassTimes, ...] = ()


def sweep(best: LayoutEstimate) -> Sweep | None:
    """The speeds of a layout; None where not even one request fits."""
    asked = replace(workload(best.scenario), mode="closed", concurrency=None, waves=inf)
    turned = switches(best.scenario)
    plan, machine = best.plan, best.machine
    slots = most_running(plan, plan.engine, asked, turned.max_sequences)
    if slots < 1:
        return None
    traffic = traffic_of(asked, turned)
    running = np.unique(np.geomspace(1, slots, POINTS).round())
    planned = [step_plan(plan, one, turned, 1, 1.0) for one in asked.each]
    batch = np.maximum(1.0, running / plan.layout.pp) * asked.beam_width
    work = replace(planned[0].decode.work, sequences=batch)

    def seconds(step: Step) -> Any:
        return step_seconds(plan, machine, step, traffic).total

    decode = seconds(replace(planned[0].decode, work=work, sequences=batch))

    def steps_of(one: StepPlan) -> Steps:
        """The steps with prompts of one class beside the decoding of all."""
        prompts = np.clip(running / max(asked.output_steps, 1.0), 1.0, one.burst_limit)
        burst = np.maximum(1.0, np.minimum(float(int(one.burst_limit)), running))
        beside = replace(work, beside=(replace(one.alone.work, sequences=prompts),))
        alone = seconds(one.alone)
        mixed = seconds(replace(one.mixed, work=beside, sequences=batch + prompts))
        full = seconds(replace(one.burst, work=replace(one.alone.work, sequences=burst), sequences=burst))
        return Steps(
            decode=decode,
            alone=alone,
            added=np.maximum(mixed - decode, LEAST_ADDED * alone) / prompts / plan.layout.pp,
            burst=full / burst / plan.layout.pp,
            request=machine.coefficients.request_seconds,
            chunks=one.chunks,
            fill=one.fill,
        )

    each = [steps_of(one) for one in planned]
    steps = mean_steps(asked.classes, each) if asked.classes else each[0]
    found = queueing.closed_loop(
        steps,
        scheduler(best.scenario),
        concurrency=running,
        running=running,
        input_tokens=asked.input_tokens,
        output_tokens=asked.output_steps,
        waves=inf,
        length_spread=asked.length_spread,
    )
    classes = closed_class_times(found, steps, each, asked, running) if asked.classes else ()
    replicas = plan.layout.dp
    tpot = found.tpot * asked.steps_per_token if asked.output_tokens > 1 else np.zeros(len(running))
    return Sweep(
        users=running * replicas,
        ttft=np.max([one.ttft for one in classes], axis=0) if classes else found.ttft,
        tpot=np.max([one.tpot for one in classes], axis=0) if classes else tpot,
        rate=found.rate * replicas,
        classes=classes,
    )
