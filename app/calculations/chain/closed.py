"""Lines of a fixed number of requests in flight, of a batch that stays together, and of all that come at once."""

from __future__ import annotations

import math
from collections.abc import Iterator

from app.calculations import serving
from app.calculations.chain.lines import Line, decode_steps, ends, per_token
from app.calculations.layout_estimate import LayoutEstimate, scheduler, switches, workload
from app.calculations.queueing import DESYNCHRONISED, SYNCHRONISED
from app.calculations.serving import Crowd, Serving


def crowd_of(best: LayoutEstimate) -> Crowd:
    asked, limits = workload(best.scenario), switches(best.scenario)
    slots = serving.most_running(best.plan, best.plan.engine, asked, limits.max_sequences)
    return serving.crowd_of(best.plan, asked, slots, limits.max_sequences)


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
    down = crowd.rundown
    yield Line(
        symbol="cycle",
        meaning="The whole batch",
        value=float(speed.latency.cycle),
        expression="h + p1 + (C - 1 + again) * pb + S * d_S",
    )
    prefill = "h + p1 + (C - 1) * pb"
    if down is not None and down.admitted < crowd.wanted:
        yield Line(symbol="start", meaning="Requests that start at once", value=down.admitted, unit="")
        prefill = "h + p1 + (start - 1) * pb + (1 - start / C) * cycle / 2"
    yield Line(
        symbol="TTFT",
        meaning="Prefill of all that start at once; the others follow in rounds",
        value=speed.ttft_seconds,
        expression=prefill,
    )
    if speed.tpot_seconds is not None:
        yield Line(
            symbol="TPOT", meaning="Time per output token", value=speed.tpot_seconds, expression=per_token(best, "d")
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
        value=float(term["cycle"]),
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
        yield fill_line(speed)
        yield Line(symbol="W", meaning="Requests that each place serves in the run", value=waves, unit="")
        yield Line(
            symbol="burst",
            meaning="Time to first token of those that start together",
            value=float(term["burst"]),
            expression="h + p1 + (n - 1) / 2 * pb + (n - 1) / 2 * fill * d / 2",
        )
        first = "max(burst, settled)" if engine.prefill_first else "burst"
        ttft = f"min((1 - 1 / W) * settled + {first} / W, 0.98 * cycle + 0.02 * p1)"
    asked = float(term["served"])
    yield Line(symbol="t", meaning="Time to first token that the queue asks for", value=asked, expression=ttft)
    started = "cycle"
    if speed.tpot_seconds is not None:
        step = f"max((cycle - t) / {decode_steps(best)}, d)"
        if not engine.prefill_first:
            step = f"min({step}, full)"
            yield from full_step_lines(best, speed)
        yield Line(
            symbol="TPOT",
            meaning="Time per output token: the rest of the cycle, a step without prompts at least",
            value=speed.tpot_seconds,
            expression=per_token(best, step),
        )
        started = "cycle - (L - 1) * TPOT"
    yield Line(
        symbol="first",
        meaning="Time to first token once started: whatever else the cycle takes",
        value=float(found.cycle - workload(scenario).decode_steps * found.tpot),
        expression=f"max(t, {started})",
    )
    whole = "(first + (L - 1) * TPOT)" if speed.tpot_seconds is not None else "first"
    rate = float(found.rate)
    yield Line(symbol="rate", meaning="Requests of a replica", value=rate, unit="per s", expression=f"n / {whole}")
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
        expression="first + queue" if waits else "first",
    )


def fill_line(speed: Serving) -> Line:
    return Line(symbol="fill", meaning="Share of a step that a prompt fills", value=float(speed.steps.fill), unit="")


def full_step_lines(best: LayoutEstimate, speed: Serving) -> Iterator[Line]:
    """The longest that a token can take where decoding goes on beside prompts."""
    engine = scheduler(best.scenario)
    room = f"max({engine.gang_tokens:g} / I, 1)" if engine.whole_prompts else "1 / fill"
    if not engine.whole_prompts and not math.isfinite(workload(best.scenario).waves):
        yield fill_line(speed)
    yield Line(
        symbol="full",
        meaning="A step with as many prompts as it has room for",
        value=float(speed.latency.terms["full"]),
        expression=f"d + p * min({room}, n - 1) / chunks",
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


def throughput(best: LayoutEstimate, speed: Serving, crowd: Crowd) -> Iterator[Line]:
    occupied = float(crowd.occupied)
    expression = "rate * replicas" if best.layout.dp > 1 else "rate"
    if occupied < 1:
        yield Line(symbol="taken", meaning="Share of the replicas' places that are taken", value=occupied, unit="")
        expression += " * taken"
    yield from ends(best, speed, expression)
