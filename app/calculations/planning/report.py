"""A search as the plain data that the log, the API and the command line show."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from app.calculations import cost
from app.calculations.energy import joules_per_token, kilowatt_hours_per_million
from app.calculations.explanation import strategy
from app.calculations.layout_estimate import LayoutEstimate, estimate
from app.calculations.planning import break_even
from app.calculations.planning.frontier import frontiers
from app.calculations.planning.plan import Demand, Goals, Plan, Search, binding, binding_class, probability
from app.calculations.report import quantity, spreads_of
from app.calculations.scenario import ServingScenario
from app.calculations.uncertainty import Spread

#: Plans that are shown, and hours of a month.
SHOWN, HOURS = 20, 730.0
MILLISECONDS = 1000.0
#: Goal -> what breaks it, in words.
REASONS = {
    "max_ttft_ms": "the time to first token is too long at any load",
    "max_tpot_ms": "the time per output token is too long at any load",
    "budget_usd_per_hour": "it costs too much, or its price is not known",
}


def results(
    found: Search,
    demand: Demand,
    goals: Goals,
    pue: float,
    api_prices: tuple[float | None, float | None] = (None, None),
) -> dict[str, Any]:
    """The ranked plans, and where there are none the nearest and what it would take."""
    best = found.plans[0] if found.plans else None
    return {
        "meets_goals": best is not None,
        "verdict": verdict(found),
        "searched": {
            "replicas": found.candidates,
            "points": found.points,
            "too_small": list(found.too_small),
            "too_long": list(found.too_long),
        },
        "models": [
            model_results(name, found, best_of(name, found), demand, goals, pue)
            for name in sorted(found.models, key=lambda name: rank(best_of(name, found)))
        ],
        "excluded": [
            {"goal": name, "replicas": count, "of": found.candidates, "reason": REASONS[name]}
            for name, count in found.excluded.items()
        ],
        "plans": [plan_results(one, demand, goals, pue) for one in found.plans[:SHOWN]],
        "closest": [plan_results(one, demand, goals, pue) for one in found.closest],
        "relaxations": [
            {"goal": name, "plan": plan_results(one, demand, goals, pue)} for name, one in found.relaxed.items()
        ],
        "pareto": pareto(found),
        "frontiers": frontiers(found.weighed, found.plans or found.closest),
        "break_even": None if best is None else against_api(best, demand, api_prices),
    }


def best_of(model: str, found: Search) -> Plan | None:
    return next((one for one in found.plans if one.candidate.model == model), None)


def rank(plan: Plan | None) -> tuple[Any, ...]:
    """Models whose plans meet the goals come first, the cheapest before the others."""
    return (plan is None, *(plan.key if plan else ()))


def model_results(
    name: str, found: Search, best: Plan | None, demand: Demand, goals: Goals, pue: float
) -> dict[str, Any]:
    """What a model costs at the goals, or why it does not meet them."""
    reason = ""
    if name in found.too_long:
        reason = "its context is shorter than the longest request"
    elif name not in found.held:
        reason = "it fits on none of the accelerators that were allowed"
    elif best is None:
        reason = "no plan with it meets all goals"
    return {
        "model": name,
        "plan": None if best is None else plan_results(best, demand, goals, pue),
        "reason": reason,
    }


def against_api(plan: Plan, demand: Demand, prices: tuple[float | None, float | None]) -> dict[str, Any] | None:
    """The best plan beside an API that is paid by the token; None where a price is not known."""
    hourly, scenario = plan.usd_per_hour, plan.candidate.best.scenario
    if hourly is None or prices == (None, None):
        return None
    per_request = break_even.api_usd_per_request(
        scenario.mean_input_tokens,
        scenario.mean_output_tokens,
        usd_per_million_input=prices[0] or 0.0,
        usd_per_million_output=prices[1] or 0.0,
    )
    offer = break_even.Offer(
        replica_requests_per_second=plan.requests_per_second / plan.needed,
        replica_usd_per_month=hourly * HOURS / plan.replicas,
        spare_replicas=plan.replicas - plan.needed,
        api_usd_per_request=per_request,
    )
    return break_even.results(offer, demand.request_rate or plan.requests_per_second, scenario.mean_output_tokens)


def verdict(found: Search) -> str:
    if found.plans:
        best = found.plans[0]
        price = best.usd_per_hour
        money = f"${price:,.2f} an hour" if price is not None else "at a price that is not known"
        served = f"{best.candidate.model}: " if len(found.models) > 1 else ""
        return f"{served}{decomposition(best)} of {best.candidate.gpu.name}, {money}."
    if found.too_long == found.models:
        return "The longest request has more tokens than the model's context."
    if not found.candidates:
        return "The model fits on none of the accelerators that were allowed."
    worst = max(found.excluded, key=lambda name: found.excluded[name], default="")
    reason = REASONS.get(worst, "one of them fails")
    return f"No plan meets all goals: of {found.candidates} replicas that fit, for most {reason}."


def decomposition(plan: Plan) -> str:
    """16 GPUs = 2 replicas x TP 8."""
    layout = plan.candidate.best.layout
    cut = str(layout)
    spare = plan.replicas - plan.needed
    replicas = f"{plan.replicas} replica{'s' if plan.replicas > 1 else ''}"
    beside = f" ({spare} spare)" if spare else ""
    return f"{plan.num_gpus} GPU{'s' if plan.num_gpus > 1 else ''} = {replicas}{beside} x {cut}"


def plan_results(plan: Plan, demand: Demand, goals: Goals, pue: float) -> dict[str, Any]:
    """One plan: what is bought, how fast it is, what it costs and draws."""
    candidate = plan.candidate
    best = candidate.best
    scenario, spreads = best.scenario, spreads_of(best)
    hourly, served = plan.usd_per_hour, min(plan.requests_per_second, demand.request_rate or plan.requests_per_second)
    watts = loaded(best, plan.users).power_watts_per_gpu
    joules = None if watts is None else joules_per_token(watts, plan.num_gpus, served * scenario.mean_output_tokens)
    inverse = spreads["tpot"].inverse() if spreads["tpot"] else None
    kwh = None if joules is None else kilowatt_hours_per_million(joules, pue)
    return {
        "summary": f"{decomposition(plan)}, {candidate.gpu.name}",
        "model": candidate.model,
        "gpu": candidate.gpu.slug,
        "engine": scenario.engine.name,
        "num_gpus": plan.num_gpus,
        "replicas": plan.replicas,
        "spare_replicas": plan.replicas - plan.needed,
        "gpus_per_replica": best.num_gpus,
        "layout": {"tp": best.layout.tp, "pp": best.layout.pp, "dp": best.layout.dp, "ep": best.layout.ep},
        "strategy": strategy(best),
        "weight_precision": best.formats.weights.name,
        "kv_precision": best.formats.kv_cache.name,
        "requests_in_flight_per_replica": plan.users,
        "max_concurrency": best.max_concurrency * plan.replicas,
        "statistic": goals.statistic,
        "ttft_ms": quantity(plan.ttft_ms, spreads["ttft"]),
        "tpot_ms": quantity(plan.tpot_ms or None, spreads["tpot"]),
        "output_tokens_per_s_per_user": quantity(MILLISECONDS / plan.tpot_ms if plan.tpot_ms else None, inverse),
        "classes": class_results(plan, goals, spreads),
        "max_requests_per_s": quantity(most_served(plan), spreads["throughput"]),
        "headroom": headroom(plan, demand),
        "probability": probability(plan, goals),
        "binding_goal": binding(plan, goals),
        "price_source": price_source(best),
        "price_region": scenario.gpu.price_region if scenario.price_usd_per_gpu_hour is None else "",
        **money(hourly, served, scenario, spreads["throughput"]),
        "power_w_per_gpu": quantity(watts, spreads["power"]),
        "energy_j_per_token": quantity(joules, spreads["energy"]),
        "gco2_per_million_output_tokens": quantity(
            None if kwh is None or scenario.region is None else kwh * scenario.region.grams_per_kilowatt_hour,
            spreads["energy"],
        ),
    }


def class_results(plan: Plan, goals: Goals, spreads: Mapping[str, Spread | None]) -> list[dict[str, Any]]:
    """What the requests of each class of a mix see, and which of them is nearest to break a goal."""
    nearest = binding_class(plan, goals)
    return [
        {
            "share": one.of.share,
            "input_tokens": one.of.input_tokens,
            "output_tokens": one.of.output_tokens,
            "ttft_ms": quantity(one.ttft_ms, spreads["ttft"]),
            "tpot_ms": quantity(one.tpot_ms or None, spreads["tpot"]),
            "binds": one.of == nearest,
        }
        for one in plan.classes
    ]


def price_source(best: LayoutEstimate) -> str:
    """Where the price of the accelerator comes from; empty where none is known."""
    return best.scenario.gpu.price_source if best.scenario.price_usd_per_gpu_hour is None else "set for this plan"


def money(hourly: float | None, served: float, scenario: ServingScenario, spread: Spread | None) -> dict[str, Any]:
    """Dollars; null where the price is not known. The load is given, so cost per token has its range from it alone."""
    inputs, outputs = served * scenario.mean_input_tokens, served * scenario.mean_output_tokens

    def per_million(tokens: float) -> float | None:
        return None if hourly is None else cost.usd_per_million(hourly, tokens)

    return {
        "usd_per_hour": quantity(hourly),
        "usd_per_month": quantity(None if hourly is None else hourly * HOURS),
        "usd_per_million_output_tokens": quantity(per_million(outputs)),
        "usd_per_million_input_tokens": quantity(per_million(inputs)),
        "usd_per_million_tokens": quantity(per_million(inputs + outputs)),
    }


def loaded(best: LayoutEstimate, users: float) -> LayoutEstimate:
    """The replica with so many requests in flight."""
    return estimate(replace(best.scenario, arrival="closed", request_rate=None, concurrency=max(1, round(users)))).best


def most_served(plan: Plan) -> float:
    """Requests per second that all replicas serve with all places taken."""
    return float(plan.candidate.speeds.rate.max()) * plan.replicas


def headroom(plan: Plan, demand: Demand) -> float:
    """By how much the load could still grow, as a share of it."""
    if demand.request_rate is not None:
        return most_served(plan) / demand.request_rate - 1
    return plan.candidate.best.max_concurrency * plan.replicas / (demand.concurrency or 1.0) - 1


def pareto(found: Search) -> list[dict[str, Any]]:
    """Plans that no other beats in both tokens per second of a user and dollars (GPUs where prices are unknown)."""
    points: list[dict[str, Any]] = []
    least = float("inf")
    fastest = sorted(found.plans, key=lambda one: (one.tpot_ms, one.key))
    for plan in fastest:
        price = plan.usd_per_hour
        if price is not None and price < least:
            least = price
            points.append({
                "gpu": plan.candidate.gpu.slug,
                "num_gpus": plan.num_gpus,
                "usd_per_hour": price,
                "output_tokens_per_s_per_user": MILLISECONDS / plan.tpot_ms if plan.tpot_ms else None,
                "output_tokens_per_s_per_gpu": (
                    plan.requests_per_second * plan.candidate.best.scenario.mean_output_tokens / plan.num_gpus
                ),
            })  # fmt: skip
    return points
