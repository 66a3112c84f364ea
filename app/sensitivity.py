"""Which inputs move an answer most: each is changed by itself, and the estimate made anew.

A number is lowered and raised by SHARE; GPUs are halved and doubled; a format gives way to the others. Properties
of the accelerator are changed in its datasheet, with the calibration of the real one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.calculations import estimate, results
from app.calculations.accelerator import Gpu
from app.calculations.errors import InvalidInput
from app.calculations.scenario import ServingScenario
from app.history.rows import number, part
from app.scenarios import SERVING_INPUTS, serving_scenario

SHARE = 0.2
#: Numbers of a question that are moved, in the order of the form.
MOVED = (
    "input_tokens", "output_tokens", "concurrency", "request_rate", "prefix_hit_rate", "draft_tokens",
    "memory_utilization", "max_batched_tokens", "price_usd_per_gpu_hour", "pue",
)  # fmt: skip
#: Formats that are tried in place of the one that is used.
FORMATS = {"weight_precision": ("bf16", "fp8", "int4"), "kv_precision": ("bf16", "fp8")}
#: What an answer is judged by: key of the results, name, unit, whether more is better.
METRICS: dict[str, tuple[str, str, bool]] = {
    "output_tokens_per_s": ("Output, all users", "tokens/s", True),
    "ttft_ms": ("Time to first token", "ms", False),
    "tpot_ms": ("Time per output token", "ms", False),
    "usd_per_million_output_tokens": ("Cost of output", "$ per million tokens", False),
    "max_concurrency": ("Most requests at once", "requests", True),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """An input at another value and what comes of it: metric -> value. Empty where it cannot be: `problem` says why."""

    value: str
    fits: bool = False
    metrics: Mapping[str, float]
    problem: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lever:
    """One input: its name, what it is called, its present value, and other values with what comes of them."""

    name: str
    label: str
    unit: str
    value: str
    outcomes: tuple[Outcome, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """`base`: metric -> value of the question itself."""

    base: Mapping[str, float]
    levers: tuple[Lever, ...]

    def effect(self, lever: Lever, metric: str) -> tuple[float, float] | None:
        """Least and most change of a metric, as ratios to the base minus one; None where nothing comes of it."""
        before = self.base.get(metric)
        found = [one.metrics[metric] / before - 1 for one in lever.outcomes if before and metric in one.metrics]
        return (min(found), max(found)) if found else None

    def ranked(self, metric: str) -> list[Lever]:
        """The levers that move the metric, the strongest first; halving it is as much as doubling it."""

        def strength(lever: Lever) -> float:
            ends = self.effect(lever, metric)
            return max(abs(math.log(1 + one)) if one > -1 else math.inf for one in ends) if ends else 0.0

        return sorted((one for one in self.levers if strength(one) > 5e-4), key=lambda one: -strength(one))

    def document(self) -> dict[str, Any]:
        """Plain data for the API and the command line."""
        return {
            "base": dict(self.base),
            "levers": [
                {
                    "name": one.name, "label": one.label, "unit": one.unit, "value": one.value,
                    "outcomes": [
                        {"value": o.value, "fits": o.fits, "metrics": dict(o.metrics), "problem": o.problem}
                        for o in one.outcomes
                    ],
                }
                for one in self.levers
            ],
            "strongest": {metric: [lever.name for lever in self.ranked(metric)] for metric in METRICS},
        }  # fmt: skip


def sensitivity(raw: Mapping[str, object]) -> Sensitivity:
    """What moves the answer to a question of the serving form. Raises InvalidInput for the question itself."""
    scenario, inputs = serving_scenario(raw)
    found = results(estimate(scenario))
    # With the GPUs that were chosen: another number of them is a lever of its own.
    inputs = inputs | {"num_gpus": int(found["layout"]["num_gpus"])}
    scenario = replace(scenario, num_gpus=inputs["num_gpus"])
    levers = [
        *moved_numbers(scenario, inputs),
        *gpu_counts(inputs, found),
        *formats(inputs, found),
        *datasheet(scenario),
    ]
    return Sensitivity(base=metrics_of(found), levers=tuple(levers))


def metrics_of(found: Mapping[str, Any]) -> dict[str, float]:
    values = {
        name: number(dict(found), name) if name == "max_concurrency" else number(part(dict(found), name), "value")
        for name in METRICS
    }
    return {name: value for name, value in values.items() if value is not None and value > 0}


def outcome(text: str, make: Callable[[], ServingScenario]) -> Outcome:
    try:
        found = results(estimate(make()))
    except InvalidInput as error:
        return Outcome(value=text, metrics={}, problem=str(error))
    if not found["fits"]:
        return Outcome(value=text, metrics={}, problem="does not fit")
    return Outcome(value=text, fits=True, metrics=metrics_of(found))


def asked(inputs: Mapping[str, Any], **changes: object) -> Callable[[], ServingScenario]:
    return lambda: serving_scenario({**inputs, **changes})[0]


def moved_numbers(scenario: ServingScenario, inputs: Mapping[str, Any]) -> Iterator[Lever]:
    """Numbers that were asked or are the default, a fifth lower and higher within what is allowed."""
    for name in MOVED:
        declared, value = SERVING_INPUTS[name], inputs.get(name)
        if name == "price_usd_per_gpu_hour" and value is None:
            value = scenario.gpu.price_usd_per_hour
        if isinstance(value, bool) or not isinstance(value, int | float) or value <= 0:
            continue
        whole = declared.kind == "integer"
        tried = [value * (1 - SHARE), value * (1 + SHARE)]
        if whole:
            tried = [math.floor(tried[0]), math.ceil(tried[1])]
        tried = [min(max(one, declared.minimum), declared.maximum) for one in tried]
        outcomes = [outcome(shown(one), asked(inputs, **{name: one})) for one in tried if one != value]
        yield Lever(name=name, label=declared.label, unit=declared.unit, value=shown(value), outcomes=tuple(outcomes))


def shown(value: float) -> str:
    return f"{value:,.0f}" if float(value).is_integer() else f"{value:,.4g}"


def gpu_counts(inputs: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Lever]:
    """Half and twice the GPUs, cut as is best for so many."""
    count = int(number(part(dict(found), "layout"), "num_gpus") or 1)
    free = dict.fromkeys(("tp", "pp", "ep", "dp"))
    tried = [one for one in (count // 2, count * 2) if one >= 1]
    outcomes = [outcome(shown(one), asked(inputs, num_gpus=one, **free)) for one in tried]
    label = SERVING_INPUTS["num_gpus"].label
    yield Lever(name="num_gpus", label=label, unit="cut anew", value=shown(count), outcomes=tuple(outcomes))


def formats(inputs: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[Lever]:
    used = part(dict(found), "precision")
    for name, others in FORMATS.items():
        own = str(used.get({"weight_precision": "weights", "kv_precision": "kv_cache"}[name], ""))
        outcomes = [outcome(one, asked(inputs, **{name: one})) for one in others if one != own]
        yield Lever(name=name, label=SERVING_INPUTS[name].label, unit="", value=own, outcomes=tuple(outcomes))


#: Property of an accelerator -> what it is called, and the accelerator with so many times it.
PROPERTIES: dict[str, tuple[str, Callable[[Gpu, float], Gpu]]] = {
    "gpu_bandwidth": (
        "Memory bandwidth",
        lambda gpu, factor: replace(
            gpu, memory_bandwidth_bytes_per_second=gpu.memory_bandwidth_bytes_per_second * factor
        ),
    ),
    "gpu_peak": (
        "Peak arithmetic",
        lambda gpu, factor: replace(
            gpu, peak_flops_per_second={name: peak * factor for name, peak in gpu.peak_flops_per_second.items()}
        ),
    ),
    "gpu_memory": ("Memory size", lambda gpu, factor: replace(gpu, memory_bytes=int(gpu.memory_bytes * factor))),
}


def datasheet(scenario: ServingScenario) -> Iterator[Lever]:
    """The accelerator with other figures."""
    for name, (label, changed) in PROPERTIES.items():
        outcomes = [
            outcome(f"{factor:.0%}", lambda factor=factor, changed=changed: replace(  # type: ignore[misc]
                scenario, gpu=changed(scenario.gpu, factor)
            ))
            for factor in (1 - SHARE, 1 + SHARE)
        ]  # fmt: skip
        yield Lever(name=name, label=label, unit="of the GPU", value="100%", outcomes=tuple(outcomes))
