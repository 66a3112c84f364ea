"""The search: every accelerator, layout and format at every load, the cheapest that meets the goals of each, ranked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import inf, isfinite, log
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

from app.calculations.accelerator import Gpu
from app.calculations.layout_estimate import LayoutEstimate, estimate, of_layout
from app.calculations.mix import RequestClass
from app.calculations.parallelism import Layout, candidates
from app.calculations.report import spreads_of
from app.calculations.scenario import ServingScenario
from app.calculations.uncertainty import Spread
from app.calculations.watch import Watch, nobody

if TYPE_CHECKING:  # They load numpy, which only a search needs.
    from app.calculations.open_loop import Arrivals
    from app.calculations.planning.sweep import Sweep

MILLISECONDS = 1000.0
#: Plans that are verified under Poisson arrivals where the goals are percentiles, and the most replicas more for each.
VERIFIED, MORE_REPLICAS = 12, 12
#: Distance between the 10th and the 90th percentile of a normal distribution in standard deviations.
TENTH_TO_NINETIETH = 2.5631
GOALS = ("max_ttft_ms", "max_tpot_ms", "budget_usd_per_hour")


@dataclass(frozen=True, slots=True, kw_only=True)
class Goals:
    """What must hold; infinite where nothing is asked. `statistic`: mean, p90 or p99 of requests."""

    max_ttft_ms: float = inf
    max_tpot_ms: float = inf
    budget_usd_per_hour: float = inf
    statistic: str = "mean"

    def without(self, name: str) -> Goals:
        return replace(self, **{name: inf})  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Demand:
    """The load at its peak: requests per second, or requests always in flight. One of them is None."""

    request_rate: float | None
    concurrency: float | None
    spare_replicas: int = 0


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A replica: an accelerator, a layout and formats, with its speeds at every load."""

    best: LayoutEstimate
    speeds: Sweep
    price_usd_per_gpu_hour: float | None

    @property
    def gpu(self) -> Gpu:
        return self.best.scenario.gpu

    @property
    def model(self) -> str:
        return self.best.scenario.model.name


@dataclass(frozen=True, slots=True, kw_only=True)
class ClassLatency:
    """What a class of a mix sees in a plan: of the statistic that was asked. `tpot_ms` is 0 for one output token."""

    of: RequestClass
    ttft_ms: float
    tpot_ms: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """So many replicas at so many requests in flight each; `ttft` and `tpot` in ms, of the statistic that was asked and
    of a mix the longest of its classes."""

    candidate: Candidate
    replicas: int
    needed: int
    users: float
    ttft_ms: float
    tpot_ms: float
    requests_per_second: float
    #: Of the classes of a mix.
    classes: tuple[ClassLatency, ...] = ()

    @property
    def num_gpus(self) -> int:
        return self.replicas * self.candidate.best.num_gpus

    @property
    def usd_per_hour(self) -> float | None:
        price = self.candidate.price_usd_per_gpu_hour
        return None if price is None else price * self.num_gpus

    @property
    def key(self) -> tuple[Any, ...]:
        """Cheapest first, then fewest GPUs, then fastest; what has no price comes last."""
        cost = self.usd_per_hour
        gpu, layout = self.candidate.gpu, self.candidate.best.layout
        return (inf if cost is None else cost, self.num_gpus, self.tpot_ms, gpu.slug, str(layout), self.users)


@dataclass(frozen=True, kw_only=True)
class Search:
    """All that was weighed: plans that meet every goal, best first; and why the others do not."""

    plans: tuple[Plan, ...]
    #: Replicas weighed, points of load weighed, and accelerators on which no layout holds a model.
    candidates: int
    points: int
    too_small: tuple[str, ...]
    #: Models that were asked about, in that order; those whose context is shorter than the longest request; and those
    #: that some accelerator holds.
    models: tuple[str, ...]
    too_long: tuple[str, ...]
    held: tuple[str, ...]
    #: Every replica that holds a request, with its speeds at every load.
    weighed: tuple[Candidate, ...] = field(default=(), repr=False)
    #: Goal -> how many replicas cannot meet it at any load.
    excluded: Mapping[str, int]
    #: Where nothing meets all goals: the plans that come nearest.
    closest: tuple[Plan, ...] = ()
    #: Goal -> the cheapest plan without it.
    relaxed: Mapping[str, Plan] = field(default_factory=dict)


def replicas_of(
    scenario: ServingScenario, gpus: Sequence[Gpu], most_gpus: int, least_gpus: int = 1
) -> Iterator[ServingScenario]:
    """Scenarios of one replica each: every accelerator cut over 1, 2, 4 ... GPUs, within its fast domain."""
    for gpu in gpus:
        size = least_gpus
        while size <= most_gpus:
            for layout in layouts(scenario, gpu, size):
                yield replace(
                    scenario, gpu=gpu, num_gpus=size, tp=layout.tp, pp=layout.pp, dp=layout.dp,
                    ep=layout.ep if layout.ep > 1 else None,
                )  # fmt: skip
            size *= 2


def layouts(scenario: ServingScenario, gpu: Gpu, size: int) -> Iterator[Layout]:
    """Tensor parallel inside a domain, pipelines of such beyond; of mixtures also replicas that share the experts."""
    domain = max(gpu.domain_gpus, scenario.hardware.node_gpus)
    for layout in candidates(scenario.model, size, domain_gpus=domain):
        one = layout.dp == 1 and layout.ep == 1 and (layout.pp == 1 or layout.tp == min(size, domain))
        shared_experts = layout.dp > 1 and layout.tp == layout.pp == 1 and layout.ep == size
        if one or shared_experts:
            yield layout


def weigh(scenarios: Iterable[ServingScenario]) -> list[Candidate]:
    """Candidates that hold at least one request."""
    from app.calculations.planning.sweep import sweeps

    alone = (one if one.concurrency == 1 else replace(one, concurrency=1) for one in scenarios)
    layouts = (of_layout(one, scenario_layout(one)) for one in alone)
    fitting = [best for best in layouts if best.fits]
    return [
        Candidate(best=best, speeds=speeds, price_usd_per_gpu_hour=best.price_usd_per_gpu_hour)
        for best, speeds in zip(fitting, sweeps(fitting), strict=True)
        if speeds is not None
    ]


def holds_context(scenario: ServingScenario) -> bool:
    """Whether the model was made for requests as long as the longest; true where its context is not known."""
    return scenario.longest_tokens <= (scenario.model.max_position or scenario.longest_tokens)


def scenario_layout(scenario: ServingScenario) -> Layout:
    return Layout(tp=scenario.tp or 1, pp=scenario.pp or 1, dp=scenario.dp or 1, ep=scenario.ep or 1)


def needed(demand: Demand, speeds: Sweep) -> Any:
    """Replicas that carry the peak, at every load of the sweep."""
    import numpy as np

    if demand.request_rate is not None:
        return np.maximum(1, np.ceil(demand.request_rate / speeds.rate - 1e-9))
    return np.maximum(1, np.ceil((demand.concurrency or 1.0) / speeds.users - 1e-9))


def plan_at(candidate: Candidate, demand: Demand, place: int) -> Plan:
    speeds = candidate.speeds
    count = int(needed(demand, speeds)[place])
    return Plan(
        candidate=candidate,
        needed=count,
        replicas=count + demand.spare_replicas,
        users=float(speeds.users[place]),
        ttft_ms=float(speeds.ttft[place]) * MILLISECONDS,
        tpot_ms=float(speeds.tpot[place]) * MILLISECONDS,
        requests_per_second=float(speeds.rate[place]) * count,
        classes=tuple(latency(one.of, one.ttft[place], one.tpot[place]) for one in speeds.classes),
    )


def holds(candidate: Candidate, demand: Demand, goals: Goals) -> Any:
    """Whether every goal holds, at every load of the sweep."""
    speeds = candidate.speeds
    found = (speeds.ttft * MILLISECONDS <= goals.max_ttft_ms) & (speeds.tpot * MILLISECONDS <= goals.max_tpot_ms)
    if isfinite(goals.budget_usd_per_hour):
        price = inf if candidate.price_usd_per_gpu_hour is None else candidate.price_usd_per_gpu_hour
        count = needed(demand, speeds) + demand.spare_replicas
        found &= count * candidate.best.num_gpus * price <= goals.budget_usd_per_hour
    return found


def cheapest(candidate: Candidate, demand: Demand, goals: Goals) -> Plan | None:
    """The plan of a candidate with fewest replicas, and of those the fastest; None where no load meets the goals."""
    import numpy as np

    holding = np.flatnonzero(holds(candidate, demand, goals))
    if not holding.size:
        return None
    count = needed(demand, candidate.speeds)[holding]
    fewest = holding[count == count.min()]
    return plan_at(candidate, demand, int(fewest[candidate.speeds.tpot[fewest].argmin()]))


def search(gpus: Sequence[Gpu], options: Sequence[ServingScenario], *, demand: Demand, goals: Goals,
           most_gpus: int, watch: Watch = nobody) -> Search:  # fmt: skip
    """Every replica of `options` (models, engines and formats) on every accelerator, at every load. `watch` is told
    how far it is."""
    long_enough = [one for one in options if holds_context(one)]
    models = tuple(dict.fromkeys(one.model.name for one in options))
    verifies = goals.statistic != "mean" and demand.request_rate is not None
    parts = len(long_enough) + (VERIFIED * len(models) if verifies else 0)
    weighed: list[Candidate] = []
    for done, option in enumerate(long_enough):
        watch(done, parts)
        weighed += weigh(replicas_of(replace(option, concurrency=1), gpus, most_gpus))
    plans = ranked(cheapest(one, demand, goals) for one in weighed)
    if verifies:
        of_models = [[one for one in plans if one.candidate.model == model][:VERIFIED] for model in models]
        verified = []
        for done, one in enumerate(one for of_model in of_models for one in of_model):
            watch(len(long_enough) + done, parts)
            verified.append(under_arrivals(one, demand, goals))
        plans = ranked(verified)
    excluded = {
        name: sum(not holds(one, demand, only(goals, name)).any() for one in weighed)
        for name in GOALS
        if isfinite(getattr(goals, name))
    }
    closest: tuple[Plan, ...] = ()
    relaxed: dict[str, Plan] = {}
    if not plans:
        closest = tuple(nearest(weighed, demand, goals))
        for name in GOALS:
            first = next(iter(ranked(cheapest(one, demand, goals.without(name)) for one in weighed)), None)
            if first is not None and isfinite(getattr(goals, name)):
                relaxed[name] = first
    return Search(
        plans=tuple(plans),
        weighed=tuple(weighed),
        candidates=len(weighed),
        points=sum(len(one.speeds.users) for one in weighed),
        too_small=tuple(sorted({gpu.slug for gpu in gpus if long_enough} - {one.gpu.slug for one in weighed})),
        models=models,
        too_long=tuple(name for name in models if name not in {one.model.name for one in long_enough}),
        held=tuple(name for name in models if name in {one.model for one in weighed}),
        excluded=excluded,
        closest=closest,
        relaxed=relaxed,
    )


def only(goals: Goals, name: str) -> Goals:
    return Goals(statistic=goals.statistic, **{name: getattr(goals, name)})


def ranked(plans: Iterable[Plan | None]) -> list[Plan]:
    return sorted((one for one in plans if one is not None), key=lambda one: one.key)


def nearest(weighed: Sequence[Candidate], demand: Demand, goals: Goals) -> list[Plan]:
    """The plans that break their worst goal by the least factor, five at most."""

    def excess(plan: Plan) -> float:
        cost = plan.usd_per_hour
        return max(
            plan.ttft_ms / goals.max_ttft_ms,
            plan.tpot_ms / goals.max_tpot_ms,
            (inf if cost is None else cost / goals.budget_usd_per_hour) if isfinite(goals.budget_usd_per_hour) else 0.0,
        )

    found = [
        min((plan_at(one, demand, place) for place in range(len(one.speeds.users))), key=lambda p: (excess(p), p.key))
        for one in weighed
    ]
    return sorted(found, key=lambda one: (excess(one), one.key))[:5]


def under_arrivals(plan: Plan, demand: Demand, goals: Goals) -> Plan | None:
    """The plan with as many replicas as meet the goals at their percentile under Poisson arrivals; None if too many."""
    scenario = plan.candidate.best.scenario
    for more in range(MORE_REPLICAS):
        count = plan.needed + more
        rate = (demand.request_rate or 0.0) / count
        speed = estimate(replace(scenario, arrival="open", request_rate=rate, concurrency=1)).best.speed
        times = speed.arrivals if speed else None
        if times is None:
            continue
        classes = tuple(
            at_percentile(of, one, goals.statistic) for of, one in zip(scenario.classes, times.each, strict=True)
        )
        ttft, tpot = max(one.ttft_ms for one in classes), max(one.tpot_ms for one in classes)
        if ttft <= goals.max_ttft_ms and tpot <= goals.max_tpot_ms:
            found = replace(
                plan, needed=count, replicas=count + demand.spare_replicas, ttft_ms=ttft, tpot_ms=tpot,
                users=float(speed.running), requests_per_second=demand.request_rate or 0.0,
                classes=classes if scenario.mix else (),
            ) if speed else plan  # fmt: skip
            cost = found.usd_per_hour
            return found if (inf if cost is None else cost) <= goals.budget_usd_per_hour or cost is None else None
    return None


def at_percentile(of: RequestClass, times: Arrivals, statistic: str) -> ClassLatency:
    """Of a class under arrivals."""
    tpot = getattr(times.tpot, statistic) if times.tpot else 0.0
    return latency(of, getattr(times.ttft, statistic), tpot)


def latency(of: RequestClass, ttft_seconds: float, tpot_seconds: float) -> ClassLatency:
    return ClassLatency(of=of, ttft_ms=float(ttft_seconds) * MILLISECONDS, tpot_ms=float(tpot_seconds) * MILLISECONDS)


def probability(plan: Plan, goals: Goals) -> float | None:
    """Chance that the latency goals hold: log-normal between the ends of the ranges; the less likely one counts."""
    spreads = spreads_of(plan.candidate.best)
    found = [
        chance(value, spreads[name], goal)
        for value, name, goal in ((plan.ttft_ms, "ttft", goals.max_ttft_ms), (plan.tpot_ms, "tpot", goals.max_tpot_ms))
        if isfinite(goal)
    ]
    known = [one for one in found if one is not None]
    return min(known) if known and len(known) == len(found) else None


def chance(value: float, spread: Spread | None, goal: float) -> float | None:
    """That a value with this spread stays below a goal."""
    if spread is None or value <= 0:
        return None
    low, high = value * spread.low, value * spread.high
    middle, deviation = log(low * high) / 2, log(high / low) / TENTH_TO_NINETIETH
    return NormalDist(middle, max(deviation, 1e-9)).cdf(log(goal))


def binding(plan: Plan, goals: Goals) -> str | None:
    """The goal that is nearest to be broken."""
    shares = {
        "max_ttft_ms": plan.ttft_ms / goals.max_ttft_ms,
        "max_tpot_ms": plan.tpot_ms / goals.max_tpot_ms,
        "budget_usd_per_hour": (plan.usd_per_hour or 0.0) / goals.budget_usd_per_hour,
    }
    name = max(shares, key=lambda one: shares[one])
    return name if shares[name] > 0 else None


def binding_class(plan: Plan, goals: Goals) -> RequestClass | None:
    """The class of a mix that is nearest to break a latency goal."""
    shares = {one.of: max(one.ttft_ms / goals.max_ttft_ms, one.tpot_ms / goals.max_tpot_ms) for one in plan.classes}
    of = max(shares, key=lambda one: shares[one], default=None)
    return of if of and shares[of] > 0 else None
