"""Lines of the chain, and those that every kind of arrival begins and ends with.

Expressions are Python: they give `value` from the symbols and lines above them, which a test holds them to.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.calculations.layout_estimate import LayoutEstimate, workload
from app.calculations.serving import Serving


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


def finite(best: LayoutEstimate, rate: str, draining: str) -> str:
    """The requests per second that a run counts: of a finite one until its last token."""
    count = best.scenario.run_requests
    return rate if count is None else f"{count} / ({count} / ({rate}) + {draining})"


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
