"""Rows of serving tables as arrays: what their steps are made of, so that any coefficients predict all rows at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from multiprocessing import get_context
from typing import Any

import numpy as np

from app.calculations import estimate
from app.calculations.coefficients import NAMES, Efficiency, levels
from app.calculations.errors import InvalidInput
from app.calculations.layout_estimate import LayoutEstimate, scheduler, switches, workload
from app.calculations.operators import Traffic
from app.calculations.roofline import SCALED_BY, Machine, collective_seconds, network_coefficient
from app.calculations.scenario import ServingScenario
from app.calculations.serving import (
    Crowd,
    Step,
    crowd_of,
    most_running,
    step_operators,
    step_plan,
    traffic_of,
)
from app.measurements.prediction import Row
from app.measurements.serving import run_of

#: Position of each coefficient in the arrays; the last is a constant one.
INDEX = {name: position for position, name in enumerate(NAMES)}
ONE = len(NAMES)
STEPS = ("decode", "alone", "mixed", "burst", "drain")
#: What is known of a step besides its operators, and of a row besides its steps.
STEP_NUMBERS = ("repeats", "sequences", "eager_layers")
ROW_NUMBERS = (
    "mixed_prompts", "burst_prompts", "chunks", "fill", "stages", "wanted", "running", "asked", "replicas",
    "input_tokens", "output_tokens", "output_steps", "steps_per_token", "waves", "length_spread", "is_static",
    "is_burst", "prefill_first", "whole_prompts", "gang", "gang_tokens", "in_flight", "median_step", "drain_steps",
    "recomputed", "admitted", "kept",
)  # fmt: skip
TERMS = ("launch", "compute", "memory", "serial", "smoothness")
#: Shares of peak and bandwidth of the plain roofline that predictions are held against (llm-analysis' defaults).
ROOFLINE_COMPUTE, ROOFLINE_MEMORY = 0.7, 0.9
#: Rows that one task of a worker compiles.
CHUNK = 200
#: Fewer chunks are not worth starting processes for.
LEAST_CHUNKS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """One row: `terms` (operators x TERMS), `scaled` (operators x 3: launch, compute, memory coefficient), `step` of
    each operator, that of its drafts len(STEPS) further on; `steps` (5 x STEP_NUMBERS); `numbers` (ROW_NUMBERS)."""

    identifier: str
    source: str
    metric: str
    measured: float
    engine: str
    family: str
    gpu: str
    model: str
    levels: tuple[tuple[str, str], ...]
    #: The engine is not known; another stands in for it.
    stands_in: bool
    terms: Any
    scaled: Any
    step: Any
    steps: Any
    numbers: Any
    #: Seconds of the steps on a plain roofline: no launches, no messages, no host.
    roofline: Any

    @property
    def run(self) -> str:
        """What measurements of one run have in common."""
        return " ".join((self.source, self.engine, self.gpu, self.model, repr(self.numbers.tolist())))

    @property
    def pair(self) -> str:
        return f"{self.model} {self.gpu}"


def operator_lines(
    step: Step, best: LayoutEstimate, traffic: Traffic, machine: Machine
) -> list[tuple[list[float], list[int]]]:
    """Terms and coefficients of the operators of a step."""
    return list(work_lines(step, best, traffic, machine, 1.0))


def draft_lines(
    step: Step, best: LayoutEstimate, traffic: Traffic, machine: Machine
) -> list[tuple[list[float], list[int]]]:
    """Those of the drafts before a step."""
    if not step.draft_steps:
        return []
    return list(work_lines(replace(step, work=step.undrafted), best, traffic, machine, step.draft_steps))


def work_lines(
    step: Step, best: LayoutEstimate, traffic: Traffic, machine: Machine, times: float
) -> Iterator[tuple[list[float], list[int]]]:
    for operator in step_operators(best.plan, step, traffic):
        count = operator.count * times
        if operator.component == "network":
            seconds = count * float(collective_seconds(operator, machine))
            yield [0.0, 0.0, 0.0, seconds, 2.0], [ONE, ONE, INDEX[network_coefficient(operator, machine)]]
            continue
        terms = machine.terms(operator)
        compute, memory = SCALED_BY[operator.kernel]
        values = [count * float(value) for value in (terms.launch, terms.compute, terms.memory, terms.serial)]
        yield [*values, terms.smoothness], [INDEX["launch"], INDEX[compute], INDEX[memory]]


def roofline_seconds(step: Step, best: LayoutEstimate, traffic: Traffic) -> float:
    """The longer of arithmetic at peak and bytes at bandwidth, operator by operator, at flat efficiencies."""
    total = 0.0
    drafts = [(replace(step, work=step.undrafted), step.draft_steps)] if step.draft_steps else []
    for one, times in [(step, 1.0), *drafts]:
        total += times * roofline_pass(one, best, traffic)
    return total


def roofline_pass(step: Step, best: LayoutEstimate, traffic: Traffic) -> float:
    gpu, chip = best.scenario.gpu, best.machine.chip
    total = 0.0
    for operator in step_operators(best.plan, step, traffic):
        compute = operator.flops / (chip.peak(operator.peak) * ROOFLINE_COMPUTE) if operator.peak else 0.0
        memory = operator.bytes / (gpu.memory_bandwidth_bytes_per_second * ROOFLINE_MEMORY)
        total += operator.count * max(float(compute), float(memory))
    return total


def steps_of(scenario: ServingScenario) -> tuple[Any, Any, Any, Any, Any, dict[str, float], LayoutEstimate] | None:
    """Arrays of a scenario's best layout; None where nothing runs or arrivals are open."""
    best = estimate(scenario).best
    load, switched, queue = workload(scenario), switches(scenario), scheduler(scenario)
    slots = most_running(best.plan, best.plan.engine, load, switched.max_sequences)
    if slots < 1 or load.mode == "open":
        return None
    traffic = traffic_of(load, switched)
    crowd = crowd_of(best.plan, load, slots, switched.max_sequences)
    plan = step_plan(best.plan, load, switched, crowd.decoding, crowd.wanted, crowd.rundown)
    terms: list[list[float]] = []
    scaled: list[list[int]] = []
    belongs: list[int] = []
    steps, plain = [], []
    for position, name in enumerate(STEPS):
        step: Step = getattr(plan, name)
        if name == "drain" and crowd.rundown is None:
            steps.append([0.0, 0.0, 0.0])
            plain.append(0.0)
            continue
        for place, lines in ((position, operator_lines), (position + len(STEPS), draft_lines)):
            for values, which in lines(step, best, traffic, best.machine):
                terms.append(values)
                scaled.append(which)
                belongs.append(place)
        eager = 0.0 if step.graph else best.plan.model.num_layers * step.repeats
        steps.append([step.repeats, float(step.sequences), float(eager)])
        plain.append(roofline_seconds(step, best, traffic))
    numbers = {
        "mixed_prompts": plan.mixed_prompts,
        "burst_prompts": plan.burst_prompts,
        "chunks": plan.chunks,
        "fill": plan.fill,
        "stages": best.layout.pp,
        "wanted": crowd.wanted,
        "running": crowd.running,
        "asked": crowd.asked,
        "replicas": crowd.replicas,
        "input_tokens": load.input_tokens,
        "output_tokens": load.output_tokens,
        "output_steps": load.output_steps,
        "steps_per_token": load.steps_per_token if load.output_tokens > 1 else 1.0,
        "waves": load.waves,
        "length_spread": load.length_spread,
        "is_static": float(load.mode == "static"),
        "is_burst": float(load.mode == "burst"),
        "prefill_first": queue.prefill_first,
        "whole_prompts": queue.whole_prompts,
        "gang": queue.gang,
        "gang_tokens": queue.gang_tokens,
        "in_flight": min(int(crowd.running * crowd.replicas), int(crowd.asked)),
        **rundown_numbers(crowd),
    }
    arrays = np.array(terms), np.array(scaled, dtype=np.int16), np.array(belongs, dtype=np.int8), np.array(steps)
    return *arrays, np.array(plain), numbers, best


def rundown_numbers(crowd: Crowd) -> dict[str, float]:
    """What the queue needs of a batch that starts together; ones elsewhere, where nothing reads them."""
    down = crowd.rundown
    if down is None:
        return {"drain_steps": 1.0, "recomputed": 1.0, "admitted": 1.0, "kept": 1.0}
    return {
        "drain_steps": down.steps, "recomputed": down.recomputed, "admitted": down.admitted, "kept": down.kept
    }  # fmt: skip


def compiled(row: Row, kept: dict[str, Any]) -> Compiled | None:
    """A row as arrays; None where it is not predicted by the steady model.

    Layouts that the row does not state are chosen by what is expected before any calibration, so that a fit does not
    depend on the one before it. `kept` holds the run of the row before: tables list
    the metrics of a run one after the other.
    """
    try:
        run = run_of(row)
        key = repr((run.inputs, run.scenario.collapsed_routing))
        if key not in kept:
            kept.clear()
            kept[key] = steps_of(replace(run.scenario, efficiency=Efficiency()))
        found = kept[key]
    except InvalidInput:
        return None
    if found is None:
        return None
    terms, scaled, belongs, steps, plain, numbers, best = found
    scenario = run.scenario
    numbers = numbers | {"median_step": float(row["metric"] == "itl_ms" and run.protocol.median_step)}
    if row["metric"] == "prefill_tokens_per_s":
        numbers["in_flight"] = best.layout.dp * (run.protocol.concurrency or 1)
    return Compiled(
        identifier=row["id"],
        source=row["source"],
        metric=row["metric"],
        measured=float(row["value"]),
        engine=scenario.engine.name,
        family=scenario.engine.family,
        gpu=scenario.gpu.slug,
        model=scenario.model.name,
        stands_in=run.protocol.stands_in,
        levels=levels(scenario.engine, scenario.gpu, best.formats, scenario.model),
        terms=terms,
        scaled=scaled,
        step=belongs,
        steps=steps,
        numbers=np.array([float(numbers[name]) for name in ROW_NUMBERS]),
        roofline=plain,
    )


def compile_rows(rows: Sequence[Row]) -> list[Compiled]:
    kept: dict[str, Any] = {}
    return [found for row in rows if (found := compiled(row, kept)) is not None]


def compile_in_parallel(rows: Sequence[Row]) -> Iterator[list[Compiled]]:
    """All rows, a chunk at a time in their order, on as many processes as there are cores."""
    chunks = [rows[start : start + CHUNK] for start in range(0, len(rows), CHUNK)]
    if len(chunks) < LEAST_CHUNKS:
        yield from map(compile_rows, chunks)
        return
    with ProcessPoolExecutor(mp_context=get_context("spawn")) as workers:
        yield from workers.map(compile_rows, chunks)
