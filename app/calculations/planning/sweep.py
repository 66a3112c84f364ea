"""Layouts at every number of requests in flight: TTFT, TPOT and throughput as arrays. Those that differ in the numbers
of their GPU alone are timed in one call."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from math import inf
from typing import Any

import numpy as np

from app.calculations import queueing
from app.calculations.alike import kind, together
from app.calculations.layout_estimate import LayoutEstimate, scheduler, switches, workload
from app.calculations.mix import ClassTimes, mean_steps
from app.calculations.queueing import Steps
from app.calculations.serving import (
    LEAST_ADDED,
    Step,
    StepPlan,
    Switches,
    Workload,
    closed_class_times,
    most_running,
    step_plan,
    step_seconds,
    traffic_of,
)

#: Numbers in flight that are tried, from one to what fits, evenly on a logarithmic scale.
POINTS = 320


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

    def row(self, row: int, length: int) -> Sweep:
        """That of one layout of several, without what fills its row up."""
        return Sweep(
            users=self.users[row, :length],
            ttft=self.ttft[row, :length],
            tpot=self.tpot[row, :length],
            rate=self.rate[row, :length],
            classes=tuple(
                ClassTimes(of=one.of, ttft=one.ttft[row, :length], tpot=one.tpot[row, :length]) for one in self.classes
            ),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Ready:
    """A layout with what its speeds are asked for."""

    best: LayoutEstimate
    asked: Workload
    turned: Switches
    slots: int

    @property
    def kind(self) -> Hashable:
        """All but the numbers of its GPU: layouts of one kind take the same steps."""
        plan = self.best.plan
        alike = (id(plan.model), plan.engine.name, plan.layout, self.best.formats, plan.shared_prefix_tokens)
        return (*alike, self.asked, self.turned, kind(self.best.machine, plan.layout.num_gpus))


def ready(best: LayoutEstimate) -> Ready | None:
    """None where not even one request fits."""
    asked = replace(workload(best.scenario), mode="closed", concurrency=None, waves=inf)
    turned = switches(best.scenario)
    slots = most_running(best.plan, best.plan.engine, asked, turned.max_sequences)
    return None if slots < 1 else Ready(best=best, asked=asked, turned=turned, slots=slots)


@lru_cache(maxsize=1024)
def grid(slots: int) -> Any:
    """Numbers of requests from one to `slots`."""
    return np.unique(np.geomspace(1, slots, POINTS).round())


def sweep(best: LayoutEstimate) -> Sweep | None:
    """The speeds of a layout; None where not even one request fits."""
    return sweeps([best])[0]


def sweeps(layouts: Sequence[LayoutEstimate]) -> list[Sweep | None]:
    """The speeds of each layout; None where not even one request fits. Those of one kind are timed in one call."""
    prepared = [ready(best) for best in layouts]
    groups: dict[Hashable, list[int]] = {}
    for place, one in enumerate(prepared):
        if one is not None:
            groups.setdefault(one.kind, []).append(place)
    found: list[Sweep | None] = [None] * len(layouts)
    for places in groups.values():
        for place, speeds in zip(places, timed([one for at in places if (one := prepared[at])]), strict=True):
            found[place] = speeds
    return found


def timed(group: Sequence[Ready]) -> Iterator[Sweep]:
    """The speeds of layouts of one kind: a row for each, as long as the longest."""
    first, asked, turned = group[0].best, group[0].asked, group[0].turned
    plan, machine = first.plan, together([one.best.machine for one in group])
    grids = [grid(one.slots) for one in group]
    longest = max(map(len, grids))
    running = np.stack([np.pad(one, (0, longest - len(one)), mode="edge") for one in grids])
    traffic = traffic_of(asked, turned)
    planned = [step_plan(plan, one, turned, 1, 1.0) for one in asked.each]
    batch = np.maximum(1.0, running / plan.layout.pp) * asked.beam_width
    work = replace(planned[0].decode.work, sequences=batch)

    def seconds(step: Step) -> Any:
        return step_seconds(plan, machine, step, traffic).total

    decode = seconds(replace(planned[0].decode, work=work, sequences=batch))

    def steps_of(one: StepPlan) -> Steps:
        """The steps with prompts of one class beside the decoding of all."""
        prompts = np.clip(running / max(asked.output_steps, 1.0), 1.0, one.burst_limit)
        # A burst holds as many as a step takes, so there are few different ones.
        largest = max(1.0, float(int(one.burst_limit)))
        burst, places = np.unique(np.minimum(largest, running), return_inverse=True)
        beside = replace(work, beside=(replace(one.alone.work, sequences=prompts),))
        alone = seconds(one.alone)
        mixed = seconds(replace(one.mixed, work=beside, sequences=batch + prompts))
        full = seconds(replace(one.burst, work=replace(one.alone.work, sequences=burst), sequences=burst))
        each_burst = np.atleast_2d(full / burst / plan.layout.pp)
        return Steps(
            decode=decode,
            alone=alone,
            added=np.maximum(mixed - decode, LEAST_ADDED * alone) / prompts / plan.layout.pp,
            burst=np.take_along_axis(each_burst, places.reshape(running.shape), axis=1),
            request=machine.coefficients.request_seconds,
            chunks=one.chunks,
            fill=one.fill,
        )

    each = [steps_of(one) for one in planned]
    steps = mean_steps(asked.classes, each) if asked.classes else each[0]
    found = queueing.closed_loop(
        steps,
        scheduler(first.scenario),
        concurrency=running,
        running=running,
        input_tokens=asked.input_tokens,
        output_tokens=asked.output_steps,
        waves=inf,
        length_spread=asked.length_spread,
    )
    classes = closed_class_times(found, steps, each, asked, running) if asked.classes else ()
    tpot = found.tpot * asked.steps_per_token if asked.output_tokens > 1 else np.zeros_like(running)
    speeds = Sweep(
        users=running * plan.layout.dp,
        ttft=np.max([one.ttft for one in classes], axis=0) if classes else found.ttft,
        tpot=np.max([one.tpot for one in classes], axis=0) if classes else tpot,
        rate=found.rate * plan.layout.dp,
        classes=classes,
    )
    return (speeds.row(row, len(one)) for row, one in enumerate(grids))
