"""The work behind a serving estimate: what its steps are made of, and how the queue makes latencies of them.

Expressions are Python: they give `value` from the symbols and lines above them, which a test holds them to.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from app.calculations import serving
from app.calculations.estimate import LayoutEstimate, Pool, scheduler, switches, workload
from app.calculations.memory import MemoryPlan
from app.calculations.poisson import tail_steps
from app.calculations.queueing import DESYNCHRONISED, SYNCHRONISED
from app.calculations.roofline import Machine, Timed, timed
from app.calculations.serving import Crowd, Serving, Step

if TYPE_CHECKING:
    from app.calculations.open_loop import State

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A symbol with its value; `expression` says how it follows from those before it ("" for what is given)."""

    symbol: str
    meaning: str
    value: float
    unit: str = "s"
    expression: str = ""

    def document(self) -> dict[str, Any]:
        return {
            "symbol": self.symbol,
            "meaning": self.meaning,
            "expression": self.expression,
            "value": self.value if math.isfinite(self.value) else None,
            "unit": self.unit,
        }


def chain(best: LayoutEstimate) -> list[Line]:
    """From the steps to TTFT, TPOT and throughput, line by line; empty where nothing runs."""
    speed = best.speed
    if speed is None:
        return []
    asked = workload(best.scenario)
    if best.prefill:
        return [*given(best, speed), *pool_lines(best, speed, best.prefill)]
    lines = [*given(best, speed), *step_lines(best, speed)]
    if asked.mode == "open":
        return [*lines, *(open_lines(best, speed) if math.isfinite(speed.ttft_seconds) else overload(best, speed))]
    crowd = crowd_of(best)
    add = {"static": static_lines, "burst": burst_lines}.get(asked.mode, closed_lines)
    return [*lines, *add(best, speed, crowd), *throughput(best, speed, crowd)]


def crowd_of(best: LayoutEstimate) -> Crowd:
    asked, limits = workload(best.scenario), switches(best.scenario)
    slots = serving.most_running(best.plan, best.plan.engine, asked, limits.max_sequences)
    return serving.crowd_of(best.plan, asked, slots, limits.max_sequences)


def given(best: LayoutEstimate, speed: Serving) -> Iterator[Line]:
    scenario, layout = best.scenario, best.layout
    yield Line(symbol="I", meaning="Prompt", value=float(scenario.input_tokens), unit="tokens")
    yield Line(symbol="L", meaning="Output", value=float(scenario.output_tokens), unit="tokens")
    yield Line(symbol="replicas", meaning="Copies that share the requests", value=float(layout.dp), unit="")
    if layout.pp > 1:
        yield Line(symbol="pp", meaning="Pipeline stages, which work on different requests", value=layout.pp, unit="")
    steps = speed.steps
    yield Line(symbol="h", meaning="Host time of a request outside the steps", value=float(steps.request))
    yield from draft_lines(best)


def draft_lines(best: LayoutEstimate) -> Iterator[Line]:
    """With speculative decoding: how many tokens a step gives, and how many steps that leaves."""
    asked = workload(best.scenario)
    drafts = asked.speculation
    if not drafts.draft_tokens:
        return
    yield Line(symbol="a", meaning="Chance that a draft is accepted", value=drafts.acceptance_rate, unit="")
    yield Line(
        symbol="g",
        meaning=f"Tokens that a step gives with {drafts.draft_tokens} drafts",
        value=drafts.tokens_per_step,
        unit="tokens",
        expression=" + ".join(["1", *(f"a ** {n}" for n in range(1, drafts.draft_tokens + 1))]),
    )
    if drafted(best):
        yield Line(
            symbol="M",
            meaning="Decode steps of a request",
            value=asked.decode_steps,
            unit="",
            expression="max((L - 1) / g, 1)",
        )


def drafted(best: LayoutEstimate) -> bool:
    """Whether a request has decode steps that give more than a token."""
    return best.scenario.draft_tokens > 0 and best.scenario.output_tokens > 1


def decode_steps(best: LayoutEstimate) -> str:
    """Decode steps of a request in symbols."""
    return "M" if drafted(best) else "(L - 1)"


def per_token(best: LayoutEstimate, step: str) -> str:
    """TPOT of steps that take so long on average."""
    return f"{step} * M / (L - 1)" if drafted(best) else step


def step_lines(best: LayoutEstimate, speed: Serving) -> Iterator[Line]:
    """The steps: those of the tables, and two that hold several prompts."""
    planned, steps, plan = speed.planned, speed.steps, best.plan
    traffic = serving.traffic_of(workload(best.scenario), switches(best.scenario))
    mixed = serving.step_seconds(plan, best.machine, planned.mixed, traffic).total
    burst = serving.step_seconds(plan, best.machine, planned.burst, traffic).total
    staged = " / pp" if best.layout.pp > 1 else ""
    yield Line(symbol="d", meaning="A decode step, as in its table", value=float(steps.decode))
    yield Line(symbol="p1", meaning="Prefill of a prompt alone, as in its table", value=float(steps.alone))
    yield Line(symbol="m", meaning="A decode step with prompts in it", value=float(mixed))
    yield Line(symbol="k", meaning="Prompts in that step", value=float(planned.mixed_prompts), unit="")
    yield Line(
        symbol="p",
        meaning="What one prompt adds to a busy server",
        value=float(steps.added),
        expression=f"max(m - d, 0.02 * p1) / k{staged}",
    )
    if workload(best.scenario).mode != "open":
        yield Line(symbol="b", meaning="A full prefill step", value=float(burst))
        yield Line(symbol="kb", meaning="Prompts in that step", value=float(planned.burst_prompts), unit="")
        yield Line(symbol="pb", meaning="Of it, per prompt", value=float(steps.burst), expression=f"b / kb{staged}")
    yield Line(symbol="chunks", meaning="Steps that a prompt is cut into", value=float(steps.chunks), unit="")


def rundown_lines(best: LayoutEstimate, speed: Serving, crowd: Crowd) -> Iterator[Line]:
    """How a batch that starts together runs down; see `rundown.py`."""
    down = crowd.rundown
    if down is None:
        return
    yield Line(symbol="C", meaning="Requests of the batch, per replica", value=float(crowd.wanted), unit="")
    yield Line(symbol="n", meaning="Of them running beside each other", value=down.seen, unit="")
    yield Line(symbol="S", meaning="Decode steps until the last token", value=down.steps, unit="")
    yield Line(symbol="n_S", meaning="Requests in them on average", value=down.mean, unit="")
    yield Line(symbol="d_S", meaning="A decode step with so many", value=float(speed.steps.drain))
    again = "Prompts' worth of tokens computed again for requests put back"
    yield Line(symbol="again", meaning=again, value=down.recomputed, unit="")


def static_lines(best: LayoutEstimate, speed: Serving, crowd: Crowd) -> Iterator[Line]:
    yield from rundown_lines(best, speed, crowd)
    yield Line(
        symbol="TTFT",
        meaning="Prefill of the whole batch",
        value=speed.ttft_seconds,
        expression="h + p1 + (C - 1) * pb",
    )
    if speed.tpot_seconds is not None:
        yield Line(
            symbol="TPOT", meaning="Time per output token", value=speed.tpot_seconds, expression=per_token(best, "d")
        )
    yield Line(
        symbol="cycle",
        meaning="The whole batch",
        value=float(speed.latency.cycle),
        expression="TTFT + again * pb + S * d_S",
    )
    rate = float(speed.latency.rate)
    yield Line(symbol="rate", meaning="Requests of a replica", value=rate, unit="per s", expression="C / cycle")


def burst_lines(best: LayoutEstimate, speed: Serving, crowd: Crowd) -> Iterator[Line]:
    yield from rundown_lines(best, speed, crowd)
    down, steps = crowd.rundown, decode_steps(best)
    if down is None:
        return
    yield Line(symbol="start", meaning="Requests that start at once", value=down.admitted, unit="")
    yield Line(symbol="stay", meaning="Of them never put back", value=down.kept, unit="")
    yield Line(
        symbol="cycle",
        meaning="The whole batch",
        value=float(speed.latency.cycle),
        expression="h + p1 + (C - 1 + again) * pb + S * d_S",
    )
    ahead = "Wait for half of the prompts that start together"
    yield Line(symbol="w", meaning=ahead, value=float(speed.latency.terms["ahead"]), expression="(start - 1) / 2 * pb")
    yield Line(
        symbol="TTFT",
        meaning="Time to first token: of those at once, and of those that follow",
        value=speed.ttft_seconds,
        expression="h + p1 + start / C * w + (1 - start / C) * cycle / 2",
    )
    if speed.tpot_seconds is not None:
        yield Line(
            symbol="stalled",
            meaning="Time in which a request's decoding waits for other prompts, or for a place again",
            value=float(speed.latency.terms["stalled"]),
            expression=f"start / C * w + (start - stay) / C * max(cycle - h - p1 - 2 * w - {steps} * d, 0) / 2",
        )
        yield Line(
            symbol="TPOT",
            meaning="Time per output token",
            value=speed.tpot_seconds,
            expression=per_token(best, f"(d + stalled / {steps})"),
        )
    rate = float(speed.latency.rate)
    yield Line(symbol="rate", meaning="Requests of a replica", value=rate, unit="per s", expression="C / cycle")


def closed_lines(best: LayoutEstimate, speed: Serving, crowd: Crowd) -> Iterator[Line]:
    scenario, found = best.scenario, speed.latency
    engine, term = scheduler(scenario), found.terms
    waits = crowd.wanted > crowd.running
    several, waves = crowd.running > 1, workload(scenario).waves
    finite = math.isfinite(waves)
    yield Line(symbol="n", meaning="Requests of a replica that run at once", value=float(crowd.running), unit="")
    yield Line(
        symbol="cycle",
        meaning="From the start of a request to the start of the next in its place",
        value=float(found.cycle),
        expression=f"h + {decode_steps(best)} * d + p1 + (n - 1) * p",
    )
    yield Line(
        symbol="r",
        meaning="Share of the time in prefill",
        value=float(found.prefill_share),
        unit="",
        expression="min(n * p / cycle, 1)",
    )
    ttft = "settled"
    if several:
        yield from queue_lines(best, speed)
    else:
        yield Line(
            symbol="settled",
            meaning="Time to first token, nobody else being there",
            value=float(term["settled"]),
            expression="min(h + p1, 0.98 * cycle + 0.02 * p1)",
        )
    if finite:
        yield Line(symbol="fill", meaning="Share of a step that a prompt fills", value=float(speed.steps.fill), unit="")
        yield Line(symbol="W", meaning="Requests that each place serves in the run", value=waves, unit="")
        yield Line(
            symbol="burst",
            meaning="Time to first token of those that start together",
            value=float(term["burst"]),
            expression="h + p1 + (n - 1) / 2 * pb + (n - 1) / 2 * fill * d / 2",
        )
        first = "max(burst, settled)" if engine.prefill_first else "burst"
        ttft = f"min((1 - 1 / W) * settled + {first} / W, 0.98 * cycle + 0.02 * p1)"
    yield Line(symbol="t", meaning="Time to first token once started", value=float(term["served"]), expression=ttft)
    if speed.tpot_seconds is not None:
        yield Line(
            symbol="TPOT",
            meaning="Time per output token: the rest of the cycle",
            value=speed.tpot_seconds,
            expression=per_token(best, f"max((cycle - t) / {decode_steps(best)}, d)"),
        )
    rate = float(found.rate)
    yield Line(symbol="rate", meaning="Requests of a replica", value=rate, unit="per s", expression="n / cycle")
    if waits:
        yield Line(symbol="C", meaning="Requests of a replica in flight", value=float(crowd.wanted), unit="")
        seen = " * (1 - (1 - (C - n) / (2 * C)) / W)" if finite else ""
        yield Line(
            symbol="queue",
            meaning="Wait for a place (Little's law)",
            value=float(term["queue"]),
            expression=f"(C - n) / rate{seen}",
        )
    yield Line(
        symbol="TTFT",
        meaning="Time to first token",
        value=speed.ttft_seconds,
        expression="t + queue" if waits else "t",
    )


def queue_lines(best: LayoutEstimate, speed: Serving) -> Iterator[Line]:
    """How prompts of several running requests get in each other's way: between requests in step and out of step."""
    scenario, term = best.scenario, speed.latency.terms
    engine = scheduler(scenario)
    tokens = scenario.output_tokens > 1
    yield Line(
        symbol="s",
        meaning="The step in progress when a request arrives",
        value=float(term["s"]),
        expression=f"d + (n - 1) * p / {decode_steps(best)}" if tokens else "d",
    )
    yield Line(
        symbol="mixed",
        meaning="Time to first token where requests arrive at any time",
        value=float(term["mixed"]),
        expression="h + p1 + d * chunks + (0.5 + r) * (s + p * r)",
    )
    together = "(n - 1) / 2"
    if engine.whole_prompts:
        together = f"min(1.2 * (n - 1) / 2, max(0.8 * {engine.gang_tokens:g} / I, 1) + 0.1 * (n - 1) / 2)"
    elif not engine.prefill_first:
        together = f"min({engine.gang:g} - 1, (n - 1) / 2)"
    yield Line(
        symbol="together",
        meaning="Prompts ahead of one where requests stay in step",
        value=float(term["together"]),
        unit="",
        expression=together,
    )
    yield Line(
        symbol="joint",
        meaning="Time to first token where they do",
        value=float(term["joint"]),
        expression="h + p1 + d + together * p",
    )
    spread = scenario.length_spread
    yield Line(
        symbol="x",
        meaning="How far lengths that differ drive requests apart",
        value=float(term["x"]),
        unit="",
        expression=f"{spread:g} * {decode_steps(best)} * d / (n * p)",
    )
    yield Line(
        symbol="w",
        meaning="Weight of requests out of step: 0 none, 1 all",
        value=float(term["w"]),
        unit="",
        expression=f"min(max(log(max(x, 1e-9) / {SYNCHRONISED}) / log({DESYNCHRONISED} / {SYNCHRONISED}), 0), 1)",
    )
    yield Line(
        symbol="settled",
        meaning="Time to first token of a settled server",
        value=float(term["settled"]),
        expression="min(joint ** (1 - w) * mixed ** w, 0.98 * cycle + 0.02 * p1)",
    )


def pool_lines(best: LayoutEstimate, speed: Serving, prefill: Pool) -> Iterator[Line]:
    """Prefill and decode on GPUs of their own: a network of queues, solved for n so that c requests have a place."""
    found, planned, steps = speed.latency, speed.planned, speed.steps
    term, step = found.terms, decode_steps(best)
    traffic = serving.traffic_of(workload(best.scenario), switches(best.scenario))
    burst = serving.step_seconds(prefill.plan, best.machine, planned.burst, traffic).total
    yield Line(symbol="P", meaning="Prefill replicas", value=float(prefill.plan.layout.dp), unit="")
    yield Line(symbol="p1", meaning="Prefill of a prompt alone, as in its table", value=float(steps.alone))
    yield Line(symbol="b", meaning="A full prefill step", value=float(burst))
    yield Line(symbol="kb", meaning="Prompts in that step", value=float(planned.burst_prompts), unit="")
    yield Line(symbol="pb", meaning="Of it, per prompt", value=float(steps.burst), expression="b / kb")
    yield Line(symbol="sent", meaning="Sending the cache of a prompt", value=float(term["sent"]))
    yield Line(symbol="c", meaning="Requests that have a place", value=float(term["placed"]), unit="")
    yield Line(symbol="n", meaning="Of them decoding, per replica", value=planned.running, unit="")
    yield Line(symbol="d", meaning="A decode step, as in its table", value=float(steps.decode))
    yield Line(
        symbol="rate",
        meaning="Requests, all replicas",
        value=float(found.rate),
        unit="per s",
        expression=f"n * replicas / ({step} * d)",
    )
    yield Line(
        symbol="rho",
        meaning="Share of the time that prefill GPUs compute",
        value=float(found.prefill_share),
        unit="",
        expression="rate * pb / P",
    )
    yield Line(
        symbol="wait",
        meaning="Wait for prefill",
        value=float(term["wait"]),
        expression="(c - 1) / c * rho * pb / (2 * (1 - rho))",
    )
    yield Line(
        symbol="transfer",
        meaning="Sending the cache, with its wait",
        value=float(term["transfer"]),
        expression="sent + (c - 1) / c * (rate * sent / P) * sent / (2 * (1 - rate * sent / P))",
    )
    yield Line(
        symbol="t",
        meaning="Time to first token once placed",
        value=float(term["served"]),
        expression="h + p1 + wait",
    )
    waits = speed.waiting > 0
    if waits:
        yield Line(symbol="C", meaning="Requests in flight", value=float(term["asked"]), unit="")
        yield Line(
            symbol="queue",
            meaning="Wait for a place (Little's law)",
            value=float(term["queue"]),
            expression="(C - c) / rate",
        )
    yield Line(
        symbol="TTFT",
        meaning="Time to first token",
        value=speed.ttft_seconds,
        expression="t + queue" if waits else "t",
    )
    yield Line(
        symbol="TPOT",
        meaning="Time per output token",
        value=speed.tpot_seconds or 0.0,
        expression=per_token(best, "d"),
    )
    yield from ends(best, speed, "rate", "TTFT + transfer + (L - 1) * TPOT")


def open_lines(best: LayoutEstimate, speed: Serving) -> Iterator[Line]:
    """From the state of the queue to the means of its times; see `open_loop.py`."""
    arrivals, layout = speed.arrivals, best.layout
    if arrivals is None:
        return
    at, paused = arrivals.found, bool(scheduler(best.scenario).prefill_first)
    yield Line(symbol="rate", meaning="Arrivals at a replica", value=at.rate, unit="per s")
    yield Line(symbol="most", meaning="Most requests that it serves", value=at.most, unit="per s")
    yield Line(symbol="S", meaning="Requests that run at once, at most", value=at.places, unit="")
    if at.tokens:
        yield Line(symbol="n", meaning="Requests that decode at once, on average", value=at.running, unit="")
        yield Line(symbol="d_n", meaning="A decode step at so many", value=at.decode)
    yield Line(symbol="p_n", meaning="What a prompt adds to a busy step", value=at.added)
    share = "Share of the time in prefill"
    yield Line(symbol="rho", meaning=share, value=at.share, unit="", expression="min(rate * p_n, 0.999)")
    yield Line(symbol="fill", meaning="Share of a step that a prompt fills", value=float(speed.steps.fill), unit="")
    yield Line(
        symbol="c",
        meaning="A prompt where prompts queue",
        value=at.service,
        expression="p_n + d_n * chunks * fill" if at.tokens else "p_n",
    )
    yield Line(symbol="load", meaning="Load of that queue", value=at.load, unit="", expression="min(rate * c, 0.999)")
    yield Line(symbol="queue", meaning="Its wait", value=at.queue, expression="load * c / (2 * (1 - load))")
    if at.tokens:
        yield from waits_beside_decoding(at, paused)
    else:
        meaning = "Prefill after those before it, and with those behind it"
        yield Line(symbol="served", meaning=meaning, value=at.served, expression="p1 + 2 * queue")
    yield Line(symbol="full", meaning="Chance that all places are taken", value=at.full, unit="")
    yield Line(
        symbol="wait",
        meaning="Wait for a place",
        value=at.wait,
        expression=f"full * (1 + {at.variation!r}) / 2 / (most - rate)",
    )
    yield Line(symbol="TTFT", meaning="Time to first token", value=speed.ttft_seconds, expression="h + served + wait")
    if speed.tpot_seconds is not None:
        later = decode_steps(best)
        yield Line(
            symbol="TPOT",
            meaning="Time per output token, behind the prompts that come and those that waited",
            value=speed.tpot_seconds,
            expression=per_token(
                best, f"min(d_n / (1 - rho) + rate * served * p_n / (1 - rho) / {later}, S / most / {later})"
            ),
        )
    rate = "rate * replicas" if layout.dp > 1 else "rate"
    if best.scenario.run_requests is not None:
        tail = tail_steps(workload(best.scenario), at.running)
        yield Line(symbol="tail", meaning="Steps until the last answers of the run have ended", value=tail, unit="")
        yield Line(symbol="d_tail", meaning="One of them", value=speed.tail_step_seconds)
    yield from ends(best, speed, finite(best, rate, "TTFT + tail * d_tail"))


def finite(best: LayoutEstimate, rate: str, draining: str) -> str:
    """The requests per second that a run counts: of a finite one until its last token."""
    count = best.scenario.run_requests
    return rate if count is None else f"{count} / ({count} / ({rate}) + {draining})"


def waits_beside_decoding(at: State, paused: bool) -> Iterator[Line]:
    yield Line(
        symbol="step",
        meaning="The step that an arrival falls into: longer ones are likelier",
        value=at.step,
        expression="d_n / (1 - rho) + rate * p_n ** 2 / (1 - rho ** 2)",
    )
    yield Line(symbol="none", meaning="Chance that nothing decodes", value=float(at.chances[0]), unit="")
    busy = "Chance that others are being served"
    yield Line(symbol="busy", meaning=busy, value=at.busy, unit="", expression="1 - none * (1 - rho)")
    own = "A prompt's own steps, with the decoding in them"
    yield Line(symbol="own", meaning=own, value=at.own, expression="p_n" if paused else "p_n + d_n * chunks")
    yield Line(
        symbol="gated",
        meaning="Rest of the step, and prompts that share the next",
        value=at.gated,
        expression="step / 2 + rate * step * p_n",
    )
    yield Line(
        symbol="lone",
        meaning="The same where few prompts fill a step",
        value=at.lone,
        expression="(1 - load) * d_n / 2 + queue + min(rate * step, 1 / fill - 1) * p_n",
    )
    weight = "Weight of that"
    yield Line(symbol="w", meaning=weight, value=at.lone_weight, unit="", expression="min(1, 2 * fill)")
    yield Line(
        symbol="served",
        meaning="Prefill with its waits",
        value=at.served,
        expression="(1 - busy) * p1 + busy * (own + (1 - w) * gated + w * lone)",
    )


def overload(best: LayoutEstimate, speed: Serving) -> Iterator[Line]:
    """More arrives than can be served: the queue, and with it the time to first token, grows without end."""
    found, n = speed.latency, speed.planned.running
    arrivals = (best.scenario.request_rate or 0.0) / best.layout.dp
    yield Line(symbol="n", meaning="Requests of a replica that run at once, at most", value=n, unit="")
    yield Line(
        symbol="cycle",
        meaning="From the start of a request to the start of the next in its place",
        value=float(found.cycle),
        expression=f"h + {decode_steps(best)} * d + p1 + (n - 1) * p",
    )
    yield Line(
        symbol="rate",
        meaning="Most requests that a replica serves",
        value=float(found.rate),
        unit="per s",
        expression="n / cycle",
    )
    yield Line(symbol="arrivals", meaning="Arrivals at a replica: more, so they queue up", value=arrivals, unit="per s")
    if speed.tpot_seconds is not None:
        yield Line(symbol="TPOT", meaning="Time per output token", value=speed.tpot_seconds)
    if best.scenario.run_requests is None:
        yield from outputs(best, speed, "rate * replicas")
        return
    crowd = "Requests per second of a run of so many, as if all came at once"
    yield Line(symbol="crowd", meaning=crowd, value=speed.requests_per_second, unit="per s")
    yield from outputs(best, speed, "crowd")


def throughput(best: LayoutEstimate, speed: Serving, crowd: Crowd) -> Iterator[Line]:
    occupied = float(crowd.occupied)
    expression = "rate * replicas" if best.layout.dp > 1 else "rate"
    if occupied < 1:
        yield Line(symbol="taken", meaning="Share of the replicas' places that are taken", value=occupied, unit="")
        expression += " * taken"
    yield from ends(best, speed, expression)


def ends(best: LayoutEstimate, speed: Serving, requests: str, whole: str = "TTFT + (L - 1) * TPOT") -> Iterator[Line]:
    tokens = speed.tpot_seconds is not None
    yield Line(
        symbol="e2e",
        meaning="From request to last token",
        value=speed.e2e_seconds,
        expression=whole if tokens else "TTFT",
    )
    yield from outputs(best, speed, requests)


def outputs(best: LayoutEstimate, speed: Serving, requests: str) -> Iterator[Line]:
    rate, tokens = speed.requests_per_second, best.scenario.output_tokens
    yield Line(symbol="requests", meaning="Requests, whole instance", value=rate, unit="per s", expression=requests)
    yield Line(
        symbol="output",
        meaning="Generated tokens, whole instance",
        value=rate * tokens,
        unit="tokens/s",
        expression="requests * L",
    )


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
