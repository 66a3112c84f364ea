"""What memory alone says of a plan, before any speed is known: which accelerators hold the model, in how few GPUs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from app.calculations.accelerator import Gpu
from app.calculations.layout_estimate import LayoutEstimate, of_layout
from app.calculations.parallelism import Layout
from app.calculations.planning.plan import holds_context, replicas_of, scenario_layout
from app.calculations.scenario import ServingScenario


@dataclass(frozen=True, slots=True, kw_only=True)
class Holder:
    """The smallest replica of an accelerator that holds a model and one request, in the smallest format allowed."""

    gpu: Gpu
    num_gpus: int
    #: The format of the weights.
    weights: str
    usd_per_hour: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelOutline:
    """A model of a plan: its weights in the smallest and the largest format allowed, and the cache of a longest
    request in the smallest, where neither is cut; and what holds it, fewest GPUs first, then the cheapest."""

    model: str
    least_weight_bytes: float
    most_weight_bytes: float
    request_cache_bytes: float
    longest_tokens: int
    #: None where it is not known.
    context_tokens: int | None
    long_enough: bool
    holders: tuple[Holder, ...]


def outlines(gpus: Sequence[Gpu], options: Sequence[ServingScenario], most_gpus: int) -> Iterator[ModelOutline]:
    """The outline of each model of `options` (models, engines and formats)."""
    for name in dict.fromkeys(one.model.name for one in options):
        yield outline(gpus, [replace(one, concurrency=1) for one in options if one.model.name == name], most_gpus)


def outline(gpus: Sequence[Gpu], options: Sequence[ServingScenario], most_gpus: int) -> ModelOutline:
    """The outline of one model in each of its options, which hold one request."""
    whole = [of_layout(replace(one, gpu=gpus[0], num_gpus=1), Layout()) for one in options]
    by_size = sorted(zip(whole, options, strict=True), key=lambda pair: pair[0].load.weights)
    first, long_enough = by_size[0][0], holds_context(options[0])
    found = (holder(gpu, [one for _, one in by_size], most_gpus) for gpu in gpus) if long_enough else ()
    return ModelOutline(
        model=options[0].model.name,
        least_weight_bytes=first.load.weights,
        most_weight_bytes=by_size[-1][0].load.weights,
        request_cache_bytes=min(one.load.kv_cache for one in whole),
        longest_tokens=options[0].longest_tokens,
        context_tokens=options[0].model.max_position,
        long_enough=long_enough,
        holders=tuple(sorted((one for one in found if one is not None), key=order)),
    )


def order(one: Holder) -> tuple[int, bool, float, str]:
    return one.num_gpus, one.usd_per_hour is None, one.usd_per_hour or 0.0, one.gpu.name


def holder(gpu: Gpu, options: Iterable[ServingScenario], most_gpus: int) -> Holder | None:
    """The smallest replica of one accelerator; None where none of up to `most_gpus` holds the model."""
    best: LayoutEstimate | None = None
    for option in options:
        most = most_gpus if best is None else best.num_gpus // 2
        if most and (found := smallest(option, gpu, most)) is not None:
            best = found
    if best is None:
        return None
    price = best.price_usd_per_gpu_hour
    return Holder(
        gpu=gpu,
        num_gpus=best.num_gpus,
        weights=best.formats.weights.name,
        usd_per_hour=None if price is None else price * best.num_gpus,
    )


def smallest(option: ServingScenario, gpu: Gpu, most_gpus: int) -> LayoutEstimate | None:
    """The smallest replica that holds one request. Sizes are passed over in which not even an even share of the weights
    finds room."""
    whole = of_layout(replace(option, gpu=gpu, num_gpus=1), Layout())
    if whole.fits:
        return whole
    size = 2
    while size <= most_gpus:
        if whole.load.weights <= size * whole.plan.device:
            for one in replicas_of(option, [gpu], size, least_gpus=size):
                if (found := of_layout(one, scenario_layout(one))).fits:
                    return found
        size *= 2
    return None
