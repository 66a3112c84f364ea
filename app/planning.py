"""The door to planning: names and text as people give them -> a search of the core, and the inputs to log."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import inf
from typing import Any

from app import catalog
from app.calculations.accelerator import Gpu
from app.calculations.errors import InvalidInput
from app.calculations.inputs import inputs_of
from app.calculations.mix import RequestClass, read_mix
from app.calculations.planning import report
from app.calculations.planning.inputs import PlanningInputs
from app.calculations.planning.outline import ModelOutline, outlines
from app.calculations.planning.plan import Demand, Goals, search
from app.calculations.precision import ALIASES, PRECISIONS
from app.calculations.scenario import ServingScenario
from app.calculations.watch import Watch, nobody
from app.scenarios import SERVING_INPUTS, serving_scenario

PLANNING_INPUTS = inputs_of(PlanningInputs)
MILLISECONDS = 1000.0
AUTO = "auto"
#: Accelerators x models x engines x formats of one search: a few models on all accelerators.
MOST_COMBINATIONS = 800


@dataclass(frozen=True, kw_only=True)
class Question:
    """What is searched, checked: typed inputs, accelerators, and scenarios of every model, engine and format."""

    values: Mapping[str, Any]
    gpus: list[Gpu]
    options: list[ServingScenario]
    demand: Demand
    goals: Goals

    @property
    def combinations(self) -> int:
        return len(self.gpus) * len(self.options)


@dataclass(frozen=True, kw_only=True)
class Outline:
    """What can be said of a search before it is made. `question.demand` counts only where a load was given."""

    question: Question
    load_given: bool
    models: list[ModelOutline]


def outline(raw: Mapping[str, object]) -> Outline:
    """What memory alone says of a search; one without a load is answered as far as it goes. Raises InvalidInput."""
    given = any(str(raw.get(name) or "").strip() for name in ("request_rate", "concurrency"))
    asked = question(raw if given else {**raw, "request_rate": "1"})
    found = list(outlines(asked.gpus, asked.options, asked.values["max_gpus_per_replica"]))
    return Outline(question=asked, load_given=given, models=found)


def plan(raw: Mapping[str, object], watch: Watch = nobody) -> tuple[dict[str, Any], dict[str, Any]]:
    """The results of a search and the inputs to log; `watch` is told how far it is. Raises InvalidInput."""
    asked = question(raw)
    found = search(
        asked.gpus,
        asked.options,
        demand=asked.demand,
        goals=asked.goals,
        most_gpus=asked.values["max_gpus_per_replica"],
        watch=watch,
    )
    values, scenario = asked.values, asked.options[0]
    logged = {name: value for name, value in values.items() if value is not None}
    logged |= {"model": scenario.model.name, "engine": scenario.engine.name}
    logged |= {"input_tokens": scenario.input_tokens, "output_tokens": scenario.output_tokens}
    prices = (values["api_usd_per_million_input_tokens"], values["api_usd_per_million_output_tokens"])
    return report.results(found, asked.demand, asked.goals, values["pue"], prices), logged


def question(raw: Mapping[str, object]) -> Question:
    """What raw names and values ask. Raises InvalidInput."""
    check_names(raw)
    values = {name: one.parse(raw.get(name)) for name, one in PLANNING_INPUTS.items()}
    demand, goals = demand_of(values), goals_of(values)
    scenario = scenario_of(values)
    gpus, formats_to_try = gpus_of(values["gpu"], catalog.grid(values["region"]).slug), options(scenario, values)
    check_work(len(gpus), len(formats_to_try))
    return Question(values=values, gpus=gpus, options=formats_to_try, demand=demand, goals=goals)


def asked_of(inputs: Mapping[str, Any], plan: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a run as they are for one of its plans: of several models the plan's."""
    return {**inputs, "model": plan["model"]}


def requests_of(inputs: Mapping[str, Any]) -> tuple[RequestClass, ...]:
    """The requests of a run by class; one class where they are alike. Raises InvalidInput."""
    if inputs.get("request_mix"):
        return read_mix(inputs["request_mix"], "request_mix")
    lengths = {name: PLANNING_INPUTS[name].parse(inputs.get(name)) for name in ("input_tokens", "output_tokens")}
    return (RequestClass(share=1.0, **lengths),)


def check_names(raw: Mapping[str, object]) -> None:
    """InvalidInput for a key that is no input, with the nearest that is."""
    for key in raw:
        if key not in PLANNING_INPUTS:
            near = difflib.get_close_matches(str(key)[:100], PLANNING_INPUTS, n=3, cutoff=0.5)
            hint = f" Did you mean {', '.join(near)}?" if near else ""
            shown = str(key)[:100]
            raise InvalidInput(shown, f"{shown!r} is not an input of a plan.{hint}", ", ".join(PLANNING_INPUTS))


def check_work(gpus: int, formats_to_try: int) -> None:
    """InvalidInput for a search that would keep the server busy for too long."""
    if gpus * formats_to_try > MOST_COMBINATIONS:
        raise InvalidInput(
            "weight_precision",
            f"{gpus} accelerators with {formats_to_try} models, engines and formats are "
            f"{gpus * formats_to_try} combinations; name fewer of them.",
            f"up to {MOST_COMBINATIONS} combinations",
        )


def demand_of(values: Mapping[str, Any]) -> Demand:
    """The load at its peak, after growth."""
    rate, users = values["request_rate"], values["concurrency"]
    if (rate is None) == (users is None):
        problem = "are both given" if rate is not None else "are both missing"
        raise InvalidInput(
            "request_rate", f"Request rate and concurrency {problem}: the load is one of them.", "one of the two"
        )
    factor = values["peak_factor"] * (1 + values["growth"])
    return Demand(
        request_rate=None if rate is None else rate * factor,
        concurrency=None if users is None else users * factor,
        spare_replicas=values["spare_replicas"],
    )


def goals_of(values: Mapping[str, Any]) -> Goals:
    """The goals; the speed of a user is a time per token."""
    speed = values["min_tokens_per_s_per_user"]
    if values["statistic"] != "mean" and values["request_rate"] is None:
        raise InvalidInput(
            "statistic", f"Goals hold for: {values['statistic']} needs arrivals, so a request rate.", "mean"
        )
    return Goals(
        max_ttft_ms=values["max_ttft_ms"] or inf,
        max_tpot_ms=min(values["max_tpot_ms"] or inf, MILLISECONDS / speed if speed else inf),
        budget_usd_per_hour=values["budget_usd_per_hour"] or inf,
        statistic=values["statistic"],
    )


def scenario_of(values: Mapping[str, Any]) -> ServingScenario:
    """What all replicas have in common."""
    shared = ("model", "engine", "input_tokens", "output_tokens", "price_usd_per_gpu_hour", "region", "pue")
    scenario, _ = serving_scenario({name: values[name] for name in shared if name in SERVING_INPUTS})
    return scenario.of_mix(read_mix(values["request_mix"], "request_mix")) if values["request_mix"] else scenario


def gpus_of(text: str | None, region: str) -> list[Gpu]:
    """The accelerators that are named, or all, at their prices in a region. Raises InvalidInput."""
    found = [catalog.gpu(name, region=region) for name in names_in(text)] or list(catalog.gpus(region).values())
    return list({one.slug: one for one in found}.values())


def names_in(text: str | None) -> list[str]:
    """Names separated by commas."""
    return [name.strip() for name in (text or "").split(",") if name.strip()]


def options(scenario: ServingScenario, values: Mapping[str, Any]) -> list[ServingScenario]:
    """The scenario with every model and engine and in every format of weights and cache that may be used."""
    weights, caches = (formats(values[name], name) for name in ("weight_precision", "kv_precision"))
    models = [scenario.model, *(catalog.model(name, "other_models") for name in names_in(values["other_models"]))]
    engines = [scenario.engine, *(catalog.engine(name, "other_engines") for name in names_in(values["other_engines"]))]
    return [
        replace(scenario, model=model, engine=engine, weight_precision=weight, kv_precision=cache)
        for model in {one.name: one for one in models}.values()
        for engine in dict.fromkeys(engines)
        for weight in weights
        for cache in caches
    ]


def formats(text: str | None, field: str) -> list[str]:
    """Formats separated by commas. Raises InvalidInput for one that is not known."""
    allowed = SERVING_INPUTS[field].choices
    known = {value for value, _ in allowed}
    found = []
    for name in (one.strip().lower() for one in (text or AUTO).split(",") if one.strip()):
        meant = name if name in known else ALIASES.get(name, name)
        if meant not in known or (meant != AUTO and meant not in PRECISIONS):
            raise InvalidInput(
                field, f"{PLANNING_INPUTS[field].label}: {name[:40]!r} is not a format.", ", ".join(sorted(known))
            )
        found.append(meant)
    return list(dict.fromkeys(found)) or [AUTO]
