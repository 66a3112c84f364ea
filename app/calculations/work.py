"""The work behind a serving estimate: operators of its steps, and the chain of lines that makes latencies of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from app.calculations import serving
from app.calculations.chain import chain
from app.calculations.layout_estimate import LayoutEstimate, switches, workload
from app.calculations.memory import MemoryPlan
from app.calculations.roofline import Machine, Timed, timed
from app.calculations.serving import Step

#: Host term of a step -> what it is.
HOST_TERMS = {
    "between steps": "Scheduling, sampling and output between two steps",
    "sequences": "Host work per sequence",
    "launches": "Kernel launches that take longer than the GPU",
    "overlapped": "Host work that takes longer than the GPU",
}
#: Of `Seconds`: what a row is bound by.
BOUND = {"compute": "compute", "memory": "memory", "network": "network", "host": "launch"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """Equal operators of a step, or what the host (component "host") and guessing drafts ("draft") add; per GPU, all
    pipeline stages."""

    name: str
    component: str
    count: int
    flops: float
    bytes: float
    seconds: float
    bound_by: str
    #: The format multiplied in and its peak in FLOP/s; "" and None where nothing is multiplied.
    peak: str = ""
    peak_flops_per_second: float | None = None
    #: Bytes per second of the memory; None for what does not move through it.
    bytes_per_second: float | None = None

    @property
    def intensity(self) -> float | None:
        """Arithmetic intensity: FLOP per byte."""
        return self.flops / self.bytes if self.flops and self.bytes else None

    @property
    def compute_share(self) -> float | None:
        """Share of the peak that its bare FLOPs reach in its time."""
        whole = self.seconds * (self.peak_flops_per_second or 0.0)
        return self.flops / whole if whole and self.flops else None

    @property
    def bandwidth_share(self) -> float | None:
        """Share of the memory's bandwidth that its bare bytes reach in its time."""
        whole = self.seconds * (self.bytes_per_second or 0.0)
        return self.bytes / whole if whole and self.bytes else None


def rows(best: LayoutEstimate, step: Step, plan: MemoryPlan) -> list[Row]:
    """What a step on GPUs of `plan` is made of, in order of execution, the host last. Seconds add up to the step's."""
    scenario, machine = best.scenario, best.machine
    traffic = serving.traffic_of(workload(scenario), switches(scenario))
    ones = [timed(operator, machine) for operator in serving.step_operators(plan, step, traffic)]
    groups: dict[tuple[str, str, str], list[Timed]] = {}
    for one in ones:
        groups.setdefault((one.operator.name, one.operator.component, one.operator.peak), []).append(one)
    found = [grouped(members, machine) for members in groups.values()]
    gpu_seconds = sum(one.seconds for one in ones)
    host = serving.host_terms(plan, machine, step, gpu_seconds)
    if step.draft_steps:
        found.append(draft_row(best, step))
    return found + [
        Row(name=HOST_TERMS[name], component="host", count=1, flops=0.0, bytes=0.0, seconds=float(s), bound_by="host")
        for name, s in host.items()
    ]


def draft_row(best: LayoutEstimate, step: Step) -> Row:
    """Guessing the drafts, in shares of a decode step without them."""
    traffic = serving.traffic_of(workload(best.scenario), switches(best.scenario))
    drafts = serving.undrafted_seconds(best.plan, best.machine, step, traffic)
    parts = drafts.as_dict()
    return Row(
        name="Drafts",
        component="draft",
        count=best.scenario.draft_tokens,
        flops=0.0,
        bytes=0.0,
        seconds=float(step.draft_steps * drafts.total),
        bound_by=BOUND[max(parts, key=lambda name: parts[name])],
    )


def grouped(members: list[Timed], machine: Machine) -> Row:
    """Operators of one name as one row."""
    first = members[0].operator
    network = first.component == "network"
    parts = {
        "network": sum(one.seconds for one in members) if network else 0.0,
        "compute": sum(one.compute for one in members),
        "memory": sum(one.memory for one in members),
        "launch": sum(one.launch + one.serial for one in members),
    }
    moved = sum(one.operator.count * (one.operator.message_bytes or one.operator.bytes) for one in members)
    return Row(
        name=first.name,
        component=first.component,
        count=sum(one.operator.count for one in members),
        flops=float(sum(one.operator.count * one.operator.flops for one in members)),
        bytes=float(moved),
        seconds=float(sum(one.seconds for one in members)),
        bound_by=max(parts, key=lambda name: parts[name]),
        peak=first.peak,
        peak_flops_per_second=machine.chip.peak(first.peak) if first.peak else None,
        bytes_per_second=None if network else machine.chip.bytes_per_second,
    )


def operator_tables(best: LayoutEstimate) -> dict[str, dict[str, Any]]:
    """The rows of one prompt's prefill and of one decode step as plain data; empty where nothing runs."""
    if best.speed is None:
        return {}
    planned = best.speed.planned
    prefill_plan = best.prefill.plan if best.prefill else best.plan
    made = {
        "prefill": (planned.alone, best.speed.prefill, prefill_plan),
        "decode": (planned.decode, best.speed.decode, best.plan),
    }
    return {
        name: {
            "seconds": float(seconds.total),
            "sequences": float(step.work.sequences),
            "new_tokens": float(step.work.new_tokens),
            "cached_tokens": float(step.work.cached_tokens),
            "rows": [row_document(row, float(seconds.total)) for row in rows(best, step, plan)],
        }
        for name, (step, seconds, plan) in made.items()
    }


def row_document(row: Row, whole: float) -> dict[str, Any]:
    return {
        "name": row.name,
        "component": row.component,
        "count": row.count,
        "flops": row.flops,
        "bytes": row.bytes,
        "flops_per_byte": row.intensity,
        "seconds": row.seconds,
        "share": row.seconds / whole if whole else 0.0,
        "bound_by": row.bound_by,
        "peak": row.peak,
        "share_of_peak": row.compute_share,
        "share_of_bandwidth": row.bandwidth_share,
    }


def used_peaks(best: LayoutEstimate, tables: Iterable[dict[str, Any]]) -> dict[str, float]:
    """Peaks in FLOP/s of the formats that the rows multiply in."""
    names = {row["peak"] for table in tables for row in table["rows"] if row["peak"]}
    return {name: best.machine.chip.peak(name) for name in sorted(names)}


def work(best: LayoutEstimate) -> dict[str, Any]:
    """All of it as plain data for the page, the command line and the API."""
    tables = operator_tables(best)
    return {
        "mode": workload(best.scenario).mode,
        "peak_flops_per_s": used_peaks(best, tables.values()),
        "memory_bandwidth_bytes_per_s": best.machine.chip.bytes_per_second,
        "steps": tables,
        "chain": [line.document() for line in chain(best)],
    }
