"""Lines of prefill and decode on GPUs of their own."""

from __future__ import annotations

from collections.abc import Iterator

from app.calculations import serving
from app.calculations.chain.lines import Line, decode_steps, ends, per_token
from app.calculations.layout_estimate import LayoutEstimate, Pool, switches, workload
from app.calculations.serving import Serving


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
