"""The fragment that stands beside the planning form: the load in tokens, and what memory alone allows."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf, isfinite
from typing import Any

from app import formatting
from app.calculations.accelerator import Gpu
from app.calculations.planning.break_even import SECONDS_PER_MONTH
from app.calculations.planning.outline import Holder, ModelOutline
from app.pages.result import Metric, per_second
from app.planning import Outline, Question

#: The verdict in a word.
WORDS = {"fits": "Possible", "tight": "No load yet", "no": "No plan"}
NO_LOAD = "Give a request rate or a concurrency: it decides how many replicas are bought."
#: Accelerators of a line that are named.
NAMED = 3


@dataclass(frozen=True, slots=True)
class Size:
    """Accelerators whose smallest replica has so many GPUs ("none": that hold the model in no layout)."""

    gpus: str
    count: int
    names: str
    more: int
    usd_per_hour: float | None


@dataclass(frozen=True, slots=True)
class ModelPart:
    """What is said of a model."""

    name: str
    facts: str
    problem: str
    sizes: list[Size]


@dataclass(frozen=True, slots=True)
class PlanPreview:
    """What the template needs of an outline."""

    state: str
    verdict: str
    metrics: list[Metric]
    models: list[ModelPart]

    @property
    def words(self) -> str:
        return WORDS[self.state]


def of_plan(found: Outline, long_search: int) -> PlanPreview:
    """`long_search`: combinations beyond which a search shows how far it is."""
    asked = found.question
    problem = unheld(found.models, len(asked.gpus), asked.values["max_gpus_per_replica"]) or too_dear(found)
    state = "no" if problem else "fits" if found.load_given else "tight"
    return PlanPreview(
        state=state,
        verdict=problem or (held(found.models, len(asked.gpus)) if found.load_given else NO_LOAD),
        metrics=[*(load(asked, found.models) if found.load_given else []), *buying(found, long_search)],
        models=[part(one, asked.gpus) for one in found.models],
    )


def holders(models: Sequence[ModelOutline]) -> list[Holder]:
    return [holder for one in models for holder in one.holders]


def cheapest(models: Sequence[ModelOutline]) -> Holder | None:
    """The replica that costs least of all that hold a model; None where no price is known."""
    priced = [one for one in holders(models) if one.usd_per_hour is not None]
    return min(priced, key=lambda one: one.usd_per_hour or 0.0, default=None)


def too_long(one: ModelOutline) -> str:
    if one.long_enough:
        return ""
    longest, context = formatting.integer(one.longest_tokens), formatting.integer(one.context_tokens)
    return f"The longest request has {longest} tokens, more than its context of {context}."


def unheld(models: Sequence[ModelOutline], gpus: int, most: int) -> str:
    """Why there can be no plan; empty where a model is held."""
    if holders(models):
        return ""
    if not any(one.long_enough for one in models):
        return too_long(models[0]) if len(models) == 1 else "The longest request is beyond the context of every model."
    what = "the model" if len(models) == 1 else "any of the models"
    if gpus == 1:
        return f"The accelerator does not hold {what} in up to {most} GPUs."
    return f"None of the {gpus} accelerators holds {what} in up to {most} GPUs."


def too_dear(found: Outline) -> str:
    """Why the budget allows no plan; empty where it may."""
    budget = found.question.goals.budget_usd_per_hour
    if not isfinite(budget):
        return ""
    least = cheapest(found.models)
    replicas = 1 + found.question.demand.spare_replicas
    price = inf if least is None or least.usd_per_hour is None else least.usd_per_hour * replicas
    if price <= budget:
        return ""
    if least is None:
        return "No accelerator that holds the model has a price, so none is known to keep to the budget."
    spare = f" with {replicas - 1} spare" if replicas > 1 else ""
    return (
        f"The cheapest replica that holds the model costs {formatting.usd(price)} an hour{spare}, "
        f"more than the budget of {formatting.usd(budget)}."
    )


def held(models: Sequence[ModelOutline], gpus: int) -> str:
    """How many accelerators hold what."""
    if len(models) > 1:
        count = sum(bool(one.holders) for one in models)
        return f"{count} of {len(models)} models are held by accelerators that may be bought."
    found = models[0].holders
    alone = sum(one.num_gpus == 1 for one in found)
    if gpus == 1:
        return f"{found[0].num_gpus} x {found[0].gpu.name} hold{'s' if found[0].num_gpus == 1 else ''} the model."
    whom = f"All {gpus} accelerators hold" if len(found) == gpus else f"{len(found)} of {gpus} accelerators hold"
    if alone == len(found):
        return f"{whom} the model on one GPU."
    return f"{whom} the model, {alone or 'none'} of them on one GPU."


def load(asked: Question, models: Sequence[ModelOutline]) -> list[Metric]:
    """The demand at its peak."""
    scenario, demand, rate = asked.options[0], asked.demand, asked.demand.request_rate
    if rate is None:
        users = demand.concurrency or 0.0
        cache = users * models[0].request_cache_bytes
        return [
            metric("In flight at the peak", users, lambda value: f"{formatting.integer(value)} requests"),
            metric("KV cache of them all", cache, formatting.binary_bytes),
        ]
    mean = (asked.values["request_rate"] or 0.0) * (1 + asked.values["growth"])
    return [
        metric("Requests at the peak", rate, per_second("req/s")),
        metric("Output a month", mean * SECONDS_PER_MONTH * scenario.mean_output_tokens, tokens),
        metric("Prompts at the peak", rate * scenario.mean_input_tokens, per_second("tok/s")),
        metric("Output at the peak", rate * scenario.mean_output_tokens, per_second("tok/s")),
    ]


def tokens(value: float | None) -> str:
    return f"{formatting.count(value)} tokens"


def buying(found: Outline, long_search: int) -> list[Metric]:
    """The least that can be bought, and how large the search is."""
    least, combinations = cheapest(found.models), found.question.combinations
    takes = "the answer's page shows how far it is" if combinations > long_search else "answered in a moment"
    search = Metric("To be weighed", formatting.integer(combinations), "combinations", takes, "")
    if least is None:
        return [search]
    what = f"{least.num_gpus} x {least.gpu.name}, {least.weights}"
    return [Metric("Cheapest that holds it", formatting.usd(least.usd_per_hour), "an hour", what, ""), search]


def metric(label: str, value: float, write: Callable[[float | None], str]) -> Metric:
    text, _, unit = write(value).partition(" ")
    return Metric(label, text, unit, "", "")


def part(one: ModelOutline, gpus: Sequence[Gpu]) -> ModelPart:
    weights = formatting.binary_bytes(one.most_weight_bytes)
    if one.least_weight_bytes < 0.999 * one.most_weight_bytes:
        weights = formatting.range_text(formatting.binary_bytes(one.least_weight_bytes), weights)
    context = "" if one.context_tokens is None else f" of {formatting.integer(one.context_tokens)}"
    cache = formatting.binary_bytes(one.request_cache_bytes)
    return ModelPart(
        name=one.model.split("/")[-1],
        facts=f"Weights {weights}; the longest request, {formatting.integer(one.longest_tokens)}{context} tokens, "
        f"caches {cache}.",
        problem=too_long(one),
        sizes=sizes(one, gpus) if one.long_enough else [],
    )


def sizes(one: ModelOutline, gpus: Sequence[Gpu]) -> list[Size]:
    """The accelerators by the GPUs of their smallest replica, the cheapest of each named."""
    found = [
        size(f"{count}", [holder for holder in one.holders if holder.num_gpus == count])
        for count in sorted({holder.num_gpus for holder in one.holders})
    ]
    holding = {holder.gpu.slug for holder in one.holders}
    small = sorted((gpu for gpu in gpus if gpu.slug not in holding), key=lambda gpu: -gpu.memory_bytes)
    return found + ([named("none", [gpu.name for gpu in small], None)] if small else [])


def size(text: str, ones: Sequence[Holder]) -> Size:
    return named(text, [one.gpu.name for one in ones], ones[0].usd_per_hour)


def named(text: str, names: Sequence[str], usd_per_hour: Any) -> Size:
    return Size(text, len(names), ", ".join(names[:NAMED]), max(0, len(names) - NAMED), usd_per_hour)
