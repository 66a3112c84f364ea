"""A training scenario as the plain data that the log, the API and the pages hold: names and units of the contract."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from app.calculations.report import Quantity, quantity
from app.calculations.training import run as totals
from app.calculations.training.adapters import adapter_params
from app.calculations.training.remedies import MOST_TIMES, Remedy, remedies
from app.calculations.training.scenario import TrainingScenario
from app.calculations.training.search import GIB, Candidate, Found, Make, reason
from app.calculations.training.space import Space
from app.calculations.training.speed import Quantity as Ranged
from app.calculations.training.speed import Speed, speed
from app.calculations.uncertainty import EXTRAPOLATED, INTERPOLATED, Spread, spread

TERA = 1e12
#: Tokens of a run that trains adapters, where they are not given.
ADAPTER_TOKENS = 1e8
#: Share of the memory beyond which an answer warns.
TIGHT = 0.95
#: Layouts that an answer lists.
LISTED = 12


def results(candidates: Found, make: Make, space: Space) -> dict[str, Any]:
    """All that is known about the best layout of a space, JSON-able, and why the others lose."""
    best = candidates[0]
    scenario = best.scenario
    s, found = scenario.setting, speed_of(scenario)
    changes = [] if best.fits else remedies(best, make, space)
    run = run_results(best, found)
    return {
        "fits": best.fits,
        "verdict": verdict(best, found, changes),
        "model": {
            "name": s.model.name,
            "total_params": s.model.total_params,
            "active_params": s.model.active_params,
            "trained_params": round(trained_params(scenario)),
        },
        "gpu": {"slug": s.gpu.slug, "name": s.gpu.name, "memory_bytes": round(s.gpu.memory_bytes)},
        "framework": {"name": scenario.memory.recipe.name, "label": scenario.memory.recipe.label},
        "layout": best.layout | {"num_gpus": s.num_gpus, "global_batch_size": s.global_batch_size},
        **memory_results(best),
        "step_time_s": ranged(found.step_seconds),
        "tokens_per_s_per_gpu": ranged(found.tokens_per_second_per_gpu),
        "tokens_per_s": ranged(found.tokens_per_second_per_gpu, s.num_gpus),
        "mfu": ranged(found.mfu),
        "hfu": ranged(found.hfu),
        "tflops_per_gpu": ranged(found.flops_per_second_per_gpu, 1 / TERA),
        "flops_convention": {"name": found.convention.name, "label": found.convention.label},
        "flops_per_token": found.flops.model,
        "step_terms_s": {name: float(value) for name, value in found.time.terms().items()},
        "run": run,
        "layouts_tried": candidates.tried,
        "layouts_possible": candidates.possible,
        "layouts": [row(one, best) for one in candidates[:LISTED]],
        "remedies": [remedy(label, one) for label, one in changes],
        "warnings": [*filter(None, (run["problem"], untried(candidates))), *warnings(best)],
    }


def untried(found: Found) -> str:
    """That some layouts were not tried; empty where all were."""
    if found.tried == found.possible:
        return ""
    return (
        f"{found.tried:,} of {found.possible:,} possible layouts were tried, those that promise most; a faster one may "
        "be among the others. Fewer are possible with tp, pp, cp or ep given."
    )


def ranged(found: Ranged, factor: float = 1.0) -> Quantity:
    """A quantity of the core with its unit changed."""
    parts = {"value": found.value, "low": found.low, "high": found.high}
    return {name: None if value is None else value * factor for name, value in parts.items()}


def speed_of(scenario: TrainingScenario) -> Speed:
    return speed(scenario.setting, scenario.efficiency, scenario.spreads, scenario.convention)


def memory_spread(scenario: TrainingScenario) -> Spread | None:
    """How far measured peaks of such runs lay from predictions."""
    kind = "full" if scenario.setting.trains_weights else "adapters"
    nearness = INTERPOLATED if scenario.measured_memory else EXTRAPOLATED
    return spread(scenario.memory_spreads, kind, scenario.memory.recipe.name, nearness)


def memory_results(one: Candidate) -> dict[str, Any]:
    """The peak of the fullest GPU, as a process, and what it is made of."""
    memory, scenario = one.memory, one.scenario
    terms = {name: round(size) for name, size in memory.terms().items()}
    gibs = {name: memory.reported(name) / GIB for name in ("allocated", "reserved", "process")}
    return {
        "peak_memory_gb": quantity(memory.process / GIB, memory_spread(scenario)),
        "peak_memory_quantity": "process, GiB",
        "peak_memory_gib": gibs,
        "memory_bytes_per_gpu": terms | {"total": round(memory.process), "capacity": round(scenario.capacity_bytes)},
        "activation_terms": {name: round(size) for name, size in memory.activations.items()},
        "fullest_stage": {"stage": memory.stage, "micro_batches_in_flight": memory.in_flight},
    }


def trained_params(scenario: TrainingScenario) -> float:
    """Parameters with gradients, whole model."""
    model, adapter = scenario.setting.model, scenario.setting.adapter
    if adapter is None:
        return float(model.total_params)
    if adapter.kind == "adapter":
        return float(sum(2 * adapter.rank * model.hidden_size * len(layer.blocks) for layer in model.layers))
    tensors = [(t, count) for layer, count in model.layer_counts for t in layer.all_tensors()]
    return sum(count * adapter_params(tensor, adapter, 1) for tensor, count in tensors)


def verdict(best: Candidate, found: Speed, changes: Sequence[Remedy]) -> str:
    """The answer in one sentence."""
    s = best.scenario.setting
    capacity = best.scenario.capacity_bytes / GIB
    if best.fits:
        rate = found.tokens_per_second_per_gpu.value
        return (
            f"Fits: {best.memory.process / GIB:.1f} of {capacity:.1f} GiB on each of {s.num_gpus:,} {s.gpu.name}, "
            f"{rate:,.0f} tokens/s per GPU, MFU {found.mfu.value:.0%}."
        )
    return (
        f"Does not fit: the fullest of {s.num_gpus:,} {s.gpu.name} needs {best.memory.process / GIB:.1f} GiB, "
        f"{best.excess_bytes / GIB:.1f} GiB more than it has. {fix(best, changes)}"
    )


def fix(best: Candidate, changes: Sequence[Remedy]) -> str:
    """What would make it fit, in a sentence."""
    if not changes:
        return f"No single change would make it fit, and no number of GPUs up to {MOST_TIMES} times as many."
    label, one = changes[0]
    if one.scenario.setting.num_gpus > best.scenario.setting.num_gpus:
        return f"No single change on these GPUs would make it fit; {label} would."
    return f"{label[0].upper()}{label[1:]} would fit."


def row(one: Candidate, best: Candidate) -> dict[str, Any]:
    """One layout of the list."""
    return {
        "layout": one.layout,
        "fits": one.fits,
        "peak_memory_gb": one.memory.process / GIB,
        "step_time_s": one.seconds,
        "tokens_per_s_per_gpu": one.tokens_per_second / one.scenario.setting.num_gpus,
        "reason": reason(one, best),
    }


def remedy(label: str, one: Candidate) -> dict[str, Any]:
    return {
        "change": label,
        "peak_memory_gb": one.memory.process / GIB,
        "tokens_per_s_per_gpu": one.tokens_per_second / one.scenario.setting.num_gpus,
    }


def run_results(best: Candidate, found: Speed) -> dict[str, Any]:
    """Totals of the run with the ends of the step's range, and what theory says of its size."""
    scenario = best.scenario
    s, run = scenario.setting, scenario.run
    params = s.model.active_params
    optimal = totals.optimal_tokens(params)
    tokens = run.tokens or (optimal if s.trains_weights else ADAPTER_TOKENS)
    watts = totals.step_watts(found.time, found.hfu.value, s.gpu, scenario.hardware.power)

    def of(seconds: float) -> totals.RunTotals:
        return totals.run_totals(
            tokens=tokens,
            tokens_per_step=s.tokens_per_step,
            step_seconds=seconds,
            num_gpus=s.num_gpus,
            interruptions=run.interruptions,
            price_usd_per_gpu_hour=run.price_usd_per_gpu_hour,
            watts_per_gpu=watts,
            pue=run.pue,
            grams_per_kilowatt_hour=run.region.grams_per_kilowatt_hour if run.region else None,
        )

    middle = of(found.step_seconds.value)
    ends = [of(end) for end in (found.step_seconds.low, found.step_seconds.high) if end is not None]

    def total(name: str) -> Quantity:
        value = getattr(middle, name)
        low, high = [getattr(end, name) for end in ends] if len(ends) == 2 else (None, None)
        return {"value": value, "low": low, "high": high}

    return {
        "tokens": tokens,
        "tokens_assumed": run.tokens is None,
        "steps": math.ceil(middle.steps),
        "days": total("days"),
        "gpu_hours": total("gpu_hours"),
        "usd": total("usd"),
        "mwh": total("megawatt_hours"),
        "tco2": total("tonnes_co2"),
        "goodput": middle.goodput,
        "failures": middle.failures,
        "checkpoint_interval_s": middle.checkpoint_interval_seconds,
        "power_w_per_gpu": watts,
        "chinchilla_tokens": optimal,
        "budget": budget_results(scenario, middle, params),
        "problem": stalled(scenario, middle),
    }


def stalled(scenario: TrainingScenario, run: totals.RunTotals) -> str | None:
    """Why a run never ends, and what to change; None where it does."""
    if run.days is not None:
        return None
    s, interruptions = scenario.setting, scenario.run.interruptions
    between = totals.failure_seconds(interruptions.gpu_mtbf_hours, s.num_gpus)
    return (
        f"The run makes no progress: a failure every {spoken(between)}, a restart takes "
        f"{spoken(interruptions.restart_seconds)}, and a checkpoint is saved every "
        f"{spoken(run.checkpoint_interval_seconds)}. Its time, cost and energy have no value: see gpu_mtbf_hours, "
        "restart_minutes and checkpoint_interval_minutes."
    )


def spoken(seconds: float) -> str:
    """0.88 s, 60 minutes, 16,667 hours."""
    for unit, size in (("hours", 3600.0), ("minutes", 60.0)):
        if seconds >= 2 * size:
            return f"{round(seconds / size, 1):,g} {unit}"
    return f"{seconds:.3g} s"


def budget_results(scenario: TrainingScenario, run: totals.RunTotals, params: int) -> dict[str, float] | None:
    """What a budget buys at this run's price per token: tokens, days, and the size of model that uses them best."""
    budget = scenario.run.budget_usd
    if budget is None or run.days is None or not run.usd:
        return None
    tokens = run.tokens * budget / run.usd
    return {
        "usd": budget,
        "tokens": tokens,
        "days": run.days * budget / run.usd,
        "optimal_params": totals.optimal_params(totals.FLOPS_PER_PARAM * params * tokens),
    }


def unpriced(scenario: TrainingScenario) -> str:
    """Why a budget says nothing."""
    price = scenario.run.price_usd_per_gpu_hour
    known = "is not known" if price is None else "is 0"
    return (
        f"The price of a GPU hour of {scenario.setting.gpu.name} {known}, so nothing can be said of the budget; give "
        "price_usd_per_gpu_hour."
    )


def warnings(best: Candidate) -> list[str]:
    """What an expert would ask about."""
    scenario = best.scenario
    s, m = scenario.setting, scenario.memory
    found = [*s.model.warnings]
    if scenario.run.budget_usd is not None and not scenario.run.price_usd_per_gpu_hour:
        found.append(unpriced(scenario))
    if best.fits and best.memory.process > TIGHT * scenario.capacity_bytes:
        found.append("It fits by less than 5 % of the memory, which is less than the prediction may err.")
    if s.sharding not in ("none",) and s.dp * s.cp == 1:
        found.append(f"{s.sharding} shards over data-parallel GPUs, and there is one: nothing is sharded.")
    if s.tp > s.links.domain_gpus:
        found.append(
            f"Tensor parallel {s.tp} leaves the fast domain of {s.links.domain_gpus} GPUs: its sums cross the network."
        )
    node = scenario.hardware.node_gpus
    if s.num_gpus > node and s.num_gpus % node:
        found.append(f"{s.num_gpus} GPUs do not fill nodes of {node}.")
    if not scenario.measured_memory:
        found.append(f"Memory under {m.recipe.label} was not measured: the range is that of unknown frameworks.")
    if s.seq_len > (s.model.max_position or s.seq_len):
        found.append(f"{s.seq_len:,} tokens are more than the {s.model.max_position:,} positions of {s.model.name}.")
    return found
