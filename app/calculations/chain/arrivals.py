"""Lines of requests that arrive at any time: the state of the queue, and an overload."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from app.calculations.chain.lines import Line, decode_steps, ends, finite, outputs, per_token
from app.calculations.layout_estimate import LayoutEstimate, scheduler, workload
from app.calculations.open_loop import cuts_prompts
from app.calculations.poisson import tail_steps
from app.calculations.serving import Serving

if TYPE_CHECKING:
    from app.calculations.open_loop import State


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
        longest = f"S / most / {later}"
        if cuts_prompts(scheduler(best.scenario)):
            longest += ", d_n + p_n / fill / chunks"
        yield Line(
            symbol="TPOT",
            meaning="Time per output token, behind the prompts that come and those that waited",
            value=speed.tpot_seconds,
            expression=per_token(best, f"min(d_n / (1 - rho) + rate * served * p_n / (1 - rho) / {later}, {longest})"),
        )
    rate = "rate * replicas" if layout.dp > 1 else "rate"
    if best.scenario.run_requests is not None:
        tail = tail_steps(workload(best.scenario), at.running)
        yield Line(symbol="tail", meaning="Steps until the last answers of the run have ended", value=tail, unit="")
        yield Line(symbol="d_tail", meaning="One of them", value=speed.tail_step_seconds)
    yield from ends(best, speed, finite(best, rate, "TTFT + tail * d_tail"))


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
