"""An estimate as the plain data that the log, the API and the pages hold: names and units of the contract."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from app.calculations import cost
from app.calculations.energy import joules_per_token, kilowatt_hours_per_million, site_watts, watt_hours_per_request
from app.calculations.explanation import layout_reason, strategy, verdict, warnings
from app.calculations.goodput import Limits, at_goodput
from app.calculations.layout_estimate import Estimate, LayoutEstimate
from app.calculations.memory import UNLIMITED, runtime_terms
from app.calculations.offload import offload
from app.calculations.operators import Pass, flops_by_component
from app.calculations.remedies import remedies
from app.calculations.roofline import Seconds
from app.calculations.uncertainty import METRIC_CLASS, Spread, spread

MILLISECONDS = 1000.0
KILO = 1000.0
GIGA = 1e9

#: A value with its range: "value", "low", "high", each a number or null.
Quantity = dict[str, float | None]


def each(found: Quantity, convert: Callable[[float], float]) -> Quantity:
    """The quantity with its value and its range converted alike."""
    return {name: None if value is None else convert(value) for name, value in found.items()}


def quantity(value: float | None, spread: Spread | None = None) -> Quantity:
    """A value with its range; the range is null for what is exact or was never measured."""
    if value is None or not math.isfinite(value):
        return {"value": None, "low": None, "high": None}
    low, high = spread.around(value) if spread else (None, None)
    return {"value": value, "low": low, "high": high}


def results(found: Estimate) -> dict[str, Any]:
    """All that is known about the best layout, JSON-able."""
    best = found.best
    scenario = best.scenario
    model, gpu = scenario.model, scenario.gpu
    speed = speed_results(best)
    return {
        "fits": best.fits,
        "verdict": verdict(found),
        "model": {
            "name": model.name,
            "total_params": model.total_params,
            "active_params": model.active_params,
            "kv_bytes_per_token": round(model.cache_elements_per_token * best.formats.kv_cache.bytes_per_element),
            "weight_bytes": round(weight_bytes(best)),
        },
        "gpu": {
            "slug": gpu.slug,
            "name": gpu.name,
            "memory_bytes": round(gpu.memory_bytes),
            "memory_bandwidth_bytes_per_s": gpu.memory_bandwidth_bytes_per_second,
        },
        "engine": {"name": scenario.engine.name, "label": scenario.engine.label},
        "layout": layout_results(found),
        "disaggregation": disaggregation_results(best),
        "precision": {
            "weights": best.formats.weights.name,
            "activations": best.formats.activations.name,
            "kv_cache": best.formats.kv_cache.name,
        },
        "memory_bytes_per_gpu": memory_results(best),
        "memory_terms": memory_terms(best),
        "max_concurrency": best.max_concurrency,
        "max_context_tokens": best.max_context_tokens,
        "kv_cache_tokens": kv_cache_tokens(best),
        "batch": {
            "requested": requested(best),
            "running": best.speed.running if best.speed else 0,
        },
        "calibration": scenario.efficiency.name,
        "nearness": scenario.nearness,
        **speed,
        **load_results(best),
        **energy_results(best, power=speed["power_w_per_gpu"], energy=speed["energy_j_per_token"]),
        **cost_results(best),
        "flops": flops_results(best),
        "bound": bound_results(best),
        "offload": offload_results(best),
        "remedies": [] if best.fits else list(remedies(best)),
        "warnings": list(warnings(found)),
    }


def requested(best: LayoutEstimate) -> int | str:
    """Requests in flight that were asked for; under arrivals those that run 99 % of the time."""
    if best.scenario.arrival == "open":
        return best.resident
    return "saturated" if best.scenario.concurrency is None else best.scenario.concurrency


def weight_bytes(best: LayoutEstimate) -> float:
    """All weights of one copy of the model, in the formats they are stored in."""
    formats = best.formats
    return sum(tensor.params * formats.stored(tensor).bytes_per_element for tensor in best.scenario.model.tensors())


def kv_cache_tokens(best: LayoutEstimate) -> int:
    """Tokens that the cache holds, whole instance: the longest that one sequence per replica could be."""
    return best.plan.longest_context(1, UNLIMITED) * best.layout.dp


def offload_results(best: LayoutEstimate) -> dict[str, Any] | None:
    """The split between GPU and main memory, where the engine can and the GPU alone is too small."""
    if not best.scenario.engine.offloads:
        return None
    split = offload(best, best.scenario.cpu_bandwidth_gb_s * GIGA)
    if split is None:
        return None
    return {
        "gpu_layers": split.gpu_layers,
        "layers": split.layers,
        "gpu_bytes": round(split.gpu_bytes),
        "cpu_bytes": round(split.cpu_bytes),
        "tpot_ms": split.tpot_seconds * MILLISECONDS,
        "output_tokens_per_s_per_user": 1 / split.tpot_seconds,
    }


def layout_results(found: Estimate) -> dict[str, Any]:
    best = found.best
    layout = best.layout
    return {
        "num_gpus": best.num_gpus,
        "tp": layout.tp,
        "pp": layout.pp,
        "ep": layout.ep,
        "dp": layout.dp,
        "automatic": not found.by_hand,
        "strategy": strategy(best),
        "reason": layout_reason(found),
        "alternatives": [alternative(other) for other in found.others[:5]],
    }


def disaggregation_results(best: LayoutEstimate) -> dict[str, Any] | None:
    """The GPUs that only prefill and what passes between them and the others; None where all do both."""
    if best.prefill is None:
        return None
    layout, speed = best.prefill.plan.layout, best.speed
    return {
        "prefill_gpus": layout.num_gpus,
        "prefill_tp": layout.tp,
        "prefill_ep": layout.ep,
        "prefill_dp": layout.dp,
        "prefill_busy": float(speed.latency.prefill_share) if speed else None,
        "kv_transfer_ms": float(speed.latency.terms["transfer"]) * MILLISECONDS if speed else None,
        "decoding": speed.planned.running * best.layout.dp if speed else None,
    }


def alternative(other: LayoutEstimate) -> dict[str, Any]:
    """A layout that was weighed and not chosen."""
    speed = other.speed
    return {
        "strategy": strategy(other),
        "fits": other.fits,
        "total_bytes_per_gpu": round(other.total_bytes),
        "output_tokens_per_s": (
            speed.requests_per_second * other.scenario.output_tokens if speed and other.fits else None
        ),
        "tpot_ms": speed.tpot_seconds * MILLISECONDS if speed and speed.tpot_seconds and other.fits else None,
    }


def memory_results(best: LayoutEstimate) -> dict[str, int]:
    plan, load = best.fullest.plan, best.fullest.load
    parts = {
        "weights": round(load.weights),
        "kv_cache": round(load.kv_cache),
        "activations": round(plan.activations),
        "runtime": round(plan.runtime),
    }
    return {
        **parts,
        "total": sum(parts.values()),
        "capacity": round(best.capacity),
        "device": round(best.scenario.gpu.memory_bytes),
    }


def memory_terms(best: LayoutEstimate) -> list[dict[str, Any]]:
    """What each part of the memory is made of, on the most loaded GPU."""
    scenario, fullest = best.scenario, best.fullest
    plan, stage, layout = fullest.plan, fullest.load.stage, fullest.plan.layout
    terms: list[tuple[str, str, float]] = [
        ("weights", f"{group.replace('_', ' ')}, {name}", size)
        for (group, name), size in plan.weight_terms(stage).items()
    ]
    terms += [("kv_cache", *term) for term in plan.cache_terms(stage, fullest.sequences, fullest.tokens).items()]
    terms.append(("activations", plan.widest, plan.activations))
    if scenario.runtime_gib is None:
        terms += [("runtime", *term) for term in runtime_terms(scenario.engine, scenario.gpu, layout.num_gpus).items()]
    else:
        terms.append(("runtime", "set by hand", plan.runtime))
    return [{"part": part, "detail": detail, "bytes": round(size)} for part, detail, size in terms if size]


def speed_results(best: LayoutEstimate) -> dict[str, Any]:
    """Latency, throughput, power. Null where not one request fits."""
    speed, scenario = best.speed, best.scenario
    outputs = requests = ttft = tpot = e2e = watts = joules = per_user = None
    if speed is not None:
        requests = speed.requests_per_second
        outputs = requests * scenario.output_tokens
        ttft, e2e = speed.ttft_seconds * MILLISECONDS, speed.e2e_seconds * MILLISECONDS
        if speed.tpot_seconds:
            tpot = speed.tpot_seconds * MILLISECONDS
            per_user = 1.0 / speed.tpot_seconds
        watts = best.power_watts_per_gpu
        if watts is not None:
            joules = joules_per_token(watts, best.num_gpus, outputs)
    inputs = None if requests is None else requests * scenario.input_tokens
    spreads = spreads_of(best)
    throughput, tpot_spread = served_spread(best, spreads["throughput"]), spreads["tpot"]
    return {
        "ttft_ms": quantity(ttft, spreads["ttft"]),
        "tpot_ms": quantity(tpot, tpot_spread),
        "e2e_latency_ms": quantity(e2e, spreads["e2e"]),
        "output_tokens_per_s": quantity(outputs, throughput),
        "total_tokens_per_s": quantity(None if outputs is None or inputs is None else outputs + inputs, throughput),
        "requests_per_s": quantity(requests, throughput),
        "output_tokens_per_s_per_user": quantity(per_user, tpot_spread.inverse() if tpot_spread else None),
        "energy_j_per_token": quantity(joules, spreads["energy"]),
        "power_w_per_gpu": quantity(watts, spreads["power"]),
    }


#: Share by which the requests that a run of some minutes counts differ from its rate: arrivals are random.
CHANCE = 0.03


def served_spread(best: LayoutEstimate, found: Spread | None) -> Spread | None:
    """The spread of throughput; arrivals bound it: not more is served than comes, and less only where less can be."""
    rate, most = best.scenario.request_rate, best.max_requests_per_second
    if found is None or best.scenario.arrival != "open" or not rate or not most:
        return found
    served = min(rate, most)
    low, high = (min(rate, most * share) / served for share in (found.low, found.high))
    return replace(found, low=low * (1 - CHANCE), high=high * (1 + CHANCE))


PERCENTILES = ("p50", "p90", "p99")


def within_goals(best: LayoutEstimate) -> float | None:
    """The highest rate at which the mean request meets the goals, 0 where it never does; None without goals."""
    ttft, tpot = best.scenario.max_ttft_ms, best.scenario.max_tpot_ms
    if ttft is None and tpot is None:
        return None
    limits = Limits(ttft_seconds=(ttft or math.inf) / MILLISECONDS, tpot_seconds=(tpot or math.inf) / MILLISECONDS)
    found = at_goodput(best, limits)
    return found.scenario.request_rate if found else 0.0


def load_results(best: LayoutEstimate) -> dict[str, Any]:
    """The most requests that are served at this length, and under Poisson arrivals the share of it that is asked for
    and how TTFT and TPOT spread over requests. Null where they are not known."""
    spreads, speed = spreads_of(best), best.speed
    most = best.max_requests_per_second
    arrivals = speed.arrivals if speed else None
    rate = best.scenario.request_rate if best.scenario.arrival == "open" else None
    found: dict[str, Any] = {
        "max_requests_per_s": quantity(most, spreads["throughput"]),
        "goodput_requests_per_s": quantity(within_goals(best) if rate else None, spreads["throughput"]),
        "utilization": rate / most if rate and most else None,
    }
    for name in ("ttft", "tpot"):
        times = getattr(arrivals, name, None)
        for share in PERCENTILES:
            seconds = getattr(times, share, None)
            found[f"{name}_ms_{share}"] = quantity(None if seconds is None else seconds * MILLISECONDS, spreads[name])
    return found


def energy_results(best: LayoutEstimate, *, power: Quantity, energy: Quantity) -> dict[str, Any]:
    """What the site draws, emits and pays for electricity, with the ranges of power and energy. Null where the power
    is not known; carbon and price also where the region or the price of electricity is not."""
    scenario = best.scenario
    pue, grid, usd = scenario.pue, scenario.region, scenario.electricity_usd_per_kwh
    watts = each(power, lambda value: site_watts(value, best.num_gpus, pue))
    kwh = each(energy, lambda value: kilowatt_hours_per_million(value, pue))
    return {
        "power_w_total": watts,
        "energy_wh_per_request": each(energy, lambda value: watt_hours_per_request(value, scenario.output_tokens, pue)),
        "kwh_per_million_output_tokens": kwh,
        "gco2_per_million_output_tokens": (
            quantity(None) if grid is None else each(kwh, lambda value: value * grid.grams_per_kilowatt_hour)
        ),
        "electricity_usd_per_hour": quantity(None) if usd is None else each(watts, lambda value: value / KILO * usd),
        "electricity_usd_per_million_output_tokens": (
            quantity(None) if usd is None else each(kwh, lambda value: value * usd)
        ),
        "grid": grid
        and {
            "slug": grid.slug,
            "name": grid.name,
            "gco2_per_kwh": grid.grams_per_kilowatt_hour,
            "year": grid.year,
            "basis": grid.basis,
            "source": grid.source,
        },
    }


def spreads_of(best: LayoutEstimate) -> dict[str, Spread | None]:
    """The spread of each class of metric for the engine of the estimate and how far it is from what was measured."""
    scenario = best.scenario
    return {
        name: spread(scenario.spreads, name, scenario.engine.name, scenario.nearness)
        for name in set(METRIC_CLASS.values())
    }


def cost_results(best: LayoutEstimate) -> dict[str, Any]:
    """Dollars; null where no price is known. Each basis charges all cost to that kind of token."""
    price, speed, scenario = best.price_usd_per_gpu_hour, best.speed, best.scenario
    hourly = None if price is None else cost.usd_per_hour(price, best.num_gpus)
    throughput = served_spread(best, spreads_of(best)["throughput"])
    per_token = throughput.inverse() if throughput else None

    def per_million(tokens_per_request: int) -> float | None:
        if hourly is None or speed is None:
            return None
        return cost.usd_per_million(hourly, speed.requests_per_second * tokens_per_request)

    return {
        "usd_per_hour": quantity(hourly),
        "usd_per_million_output_tokens": quantity(per_million(scenario.output_tokens), per_token),
        "usd_per_million_input_tokens": quantity(per_million(scenario.input_tokens), per_token),
        "usd_per_million_tokens": quantity(per_million(scenario.input_tokens + scenario.output_tokens), per_token),
    }


def flops_results(best: LayoutEstimate) -> dict[str, dict[str, float]]:
    """FLOPs of the whole model: one prompt's prefill, and one generated token at the mean context."""
    scenario = best.scenario
    context = scenario.input_tokens + scenario.output_tokens // 2
    prompt = Pass(sequences=1, new_tokens=scenario.input_tokens, cached_tokens=0)
    token = Pass(sequences=1, new_tokens=1, cached_tokens=context)
    return {
        "prefill": flops_by_component(scenario.model, best.formats, prompt),
        "decode_per_token": flops_by_component(scenario.model, best.formats, token),
    }


def bound_results(best: LayoutEstimate) -> dict[str, Any]:
    """Where the time of one prompt's prefill and of one decode step goes."""
    if best.speed is None:
        return {}

    def one(seconds: Seconds) -> dict[str, Any]:
        return {"by": seconds.bound_by, "seconds": seconds.as_dict()}

    return {"prefill": one(best.speed.prefill), "decode": one(best.speed.decode)}
