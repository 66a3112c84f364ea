"""What would make a run fit that does not: single changes that its framework can do, mildest first, then more GPUs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

from app.calculations.errors import InvalidInput
from app.calculations.training.scenario import TrainingScenario
from app.calculations.training.search import Candidate, Make, search
from app.calculations.training.space import (
    ADAPTING,
    CONTEXT,
    CUTTING,
    LEAN,
    OFFLOADING,
    QUANTIZING,
    STAGING,
    Choice,
    Space,
    recomputes,
    shardings,
)

Remedy = tuple[str, Candidate]
#: More GPUs are tried up to so many times as many.
MOST_TIMES = 64


def remedies(one: Candidate, make: Make, space: Space, most: int = 4) -> list[Remedy]:
    """The first single changes with which a layout that does not fit would fit; the fewest GPUs that do come last."""
    found = list(islice(changed(one, make, space), most))
    return found if len(found) == most else [*found, *islice(more_gpus(one, make, space), 1)]


def changed(one: Candidate, make: Make, space: Space) -> Iterator[Remedy]:
    """Single changes on the same GPUs with which it fits."""
    for label, change in changes(one, space):
        try:
            tried = Candidate(make(one.layout | change))
        except InvalidInput:
            continue
        if tried.fits:
            yield label, tried
    for method, label in (("lora", "LoRA"), ("qlora", "QLoRA")):
        adapted = fitting(make, space_of_method(space, method)) if can_adapt(space, method) else None
        if adapted:
            yield label, adapted


def changes(one: Candidate, space: Space) -> Iterator[tuple[str, dict[str, Any]]]:
    """Single changes that its framework can do, the mildest first: what to say, what to replace."""
    s, m = one.scenario.setting, one.scenario.memory
    framework, replicas = m.recipe.name, s.dp * s.cp
    weaker = [] if s.activation_recompute == "full" else ["full"]
    weaker = ["selective", *weaker] if s.activation_recompute == "none" else weaker
    yield from (
        (f"{kind} recompute", {"activation_recompute": kind}) for kind in weaker if kind in recomputes(framework)
    )
    for micro in (n for n in (8, 4, 2, 1) if n < s.micro_batch_size):
        yield f"micro-batch {micro}", {"micro_batch_size": micro}
    if m.loss == "full" and framework not in STAGING:
        yield "a loss over chunks of logits", {"loss": "chunked"}
    if replicas > 1:
        yield from more_sharding(s.sharding, framework, space)
    if m.optimizer.moment_bytes is None and s.trains_weights:
        if framework == "megatron":
            yield "8-bit optimizer states", {"state_precision": "fp8"}
        elif framework not in STAGING:
            yield "an 8-bit optimizer", {"optimizer": "adamw-8bit"}
    # What was not given has been searched already.
    for name, label, able in (("tp", "tensor", CUTTING), ("pp", "pipeline", STAGING), ("cp", "context", CONTEXT)):
        if name in space.given and framework in able and s.dp % 2 == 0 and "dp" not in space.given:
            degree = 2 * getattr(s, name)
            yield f"{label} parallel {degree}", {name: degree, "dp": s.dp // 2}
    if not s.offload and framework in OFFLOADING:
        yield "optimizer states in host memory", {"offload": "optimizer"}
        yield "activations in host memory", {"offload": "activations"}


def more_sharding(sharding: str, framework: str, space: Space) -> Iterator[tuple[str, dict[str, Any]]]:
    """Shardings of the framework beyond its own; torchtitan's where the layout asks for nothing that it lacks."""
    able = shardings(framework, space.method == "full")
    if sharding == "none" and "zero1" in able:
        yield "ZeRO-1 sharding", {"sharding": "zero1"}
    if sharding in ("none", "zero1", "zero2", "fsdp-grad-op"):
        if "zero3" in able:
            yield "full sharding (ZeRO-3)", {"sharding": "zero3"}
        elif "fsdp-full" in able:
            yield "full sharding (FSDP)", {"sharding": "fsdp-full"}
        elif (
            framework in STAGING
            and {"framework", "sharding"} & space.given.keys()
            and space.given.get("pp") in (None, 1)
        ):
            change = {"sharding": "fsdp-full", "framework": "torchtitan"}
            yield "full sharding (FSDP) with torchtitan", change


def can_adapt(space: Space, method: str) -> bool:
    """Whether adapters would train less than the method does, in a framework and a layout that has them."""
    if method == space.method or space.method not in ("full", "lora"):
        return False
    given = space.given
    able = QUANTIZING if method == "qlora" else ADAPTING
    cut = any(given.get(name, 1) > 1 for name in ("tp", "pp", "cp", "vpp", "ep"))
    return given.get("framework", able[0]) in able and (not cut or given.get("framework") in CUTTING)


def space_of_method(space: Space, method: str) -> Space:
    """The same GPUs with adapters; a sharding that only full training has is left."""
    fixed = dict(space.fixed)
    if fixed.get("sharding") not in (None, *shardings(fixed.get("framework") or ADAPTING[0], trains_weights=False)):
        fixed["sharding"] = None
    return replace(space, method=method, fixed=fixed)


def fitting(make: Make, space: Space, **change: Any) -> Candidate | None:
    """The fastest layout of a space that fits with the smallest micro-batch; `change`: inputs beside the layout."""

    def changed_(choice: Choice) -> TrainingScenario:
        return make({**choice, "method": space.method, "num_gpus": space.num_gpus, **change})

    # Where it does not fit with full recomputation it does not with less.
    for free in ((), ("activation_recompute",)):
        lean = {name: value for name, value in LEAN.items() if name not in free} | space.given
        try:
            leaner = replace(space, fixed=lean)
            found = search(changed_, leaner.combinations(), leaner.last_resort())
        except InvalidInput:
            return None
        if not found or not found[0].fits:
            return None
    return found[0]


def more_gpus(one: Candidate, make: Make, space: Space) -> Iterator[Remedy]:
    """Numbers of GPUs with which it fits, fewest first; the layout follows where it was not given.

    The global batch stays where a layout divides it, else it grows with the GPUs.
    """
    s = one.scenario.setting
    for number in gpu_numbers(s.num_gpus, one.scenario.hardware.node_gpus):
        more = replace(space, num_gpus=number)
        found = fitting(make, more)
        batch = s.global_batch_size * number // s.num_gpus
        label = f"{number:,} GPUs"
        if not found and number % s.num_gpus == 0:
            found = fitting(make, replace(more, fixed={**more.fixed, "dp": None}), global_batch_size=batch)
            label += f" and a global batch of {batch:,}"
        if found:
            sharding = found.scenario.setting.sharding
            follows = s.sharding == "none" and sharding != "none"
            yield label + (f" with {sharding} sharding" if follows else ""), found


def gpu_numbers(num_gpus: int, node_gpus: int) -> Iterator[int]:
    """More GPUs than these: one by one within a node, then nodes doubled, and half as many more."""
    yield from range(num_gpus + 1, node_gpus)
    nodes = 1
    while nodes * node_gpus <= MOST_TIMES * max(num_gpus, node_gpus):
        for number in (nodes * node_gpus, nodes * node_gpus * 3 // 2):
            if number > num_gpus and number % node_gpus == 0:
                yield number
        nodes *= 2
