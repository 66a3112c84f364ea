"""The best layout: every legal one that keeps what was fixed by hand, those that fit ranked by tokens per second.

Each other one has the reason it loses: the term of the step that costs most more, or the memory that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any

from app.calculations.errors import InvalidInput
from app.calculations.training.memory import Memory, peak_memory
from app.calculations.training.refusals import nearness
from app.calculations.training.scenario import TrainingScenario
from app.calculations.training.space import CHOICES, LEAN, RECOMPUTE, Choice
from app.calculations.training.speed import time_of
from app.calculations.training.step import StepTime

#: Most combinations that are tried; of more, those of the layouts that promise most.
MOST = 5000
GIB = 1024.0**3
Make = Callable[[Choice], TrainingScenario]
#: Slower by less than this is as fast.
SAME = 5e-4


@dataclass(frozen=True)
class Candidate:
    """One layout with its memory and its step."""

    scenario: TrainingScenario

    @cached_property
    def memory(self) -> Memory:
        return peak_memory(self.scenario.setting, self.scenario.memory)

    @cached_property
    def time(self) -> StepTime:
        return time_of(self.scenario.setting, self.scenario.efficiency)

    @cached_property
    def seconds(self) -> float:
        return float(self.time.total)

    @property
    def excess_bytes(self) -> float:
        """Bytes that it needs beyond what the GPU has; negative where it fits."""
        return self.memory.process - self.scenario.capacity_bytes

    @property
    def fits(self) -> bool:
        return self.excess_bytes <= 0

    @property
    def tokens_per_second(self) -> float:
        return self.scenario.setting.tokens_per_step / self.seconds

    @property
    def layout(self) -> dict[str, Any]:
        s = self.scenario.setting
        found = {name: getattr(s, name) for name in CHOICES if name != "framework"}
        return {"framework": self.scenario.memory.recipe.name} | found


class Found(list[Candidate]):
    """Candidates, best first: those that fit by speed, then the others by how much is missing.

    `tried` of `possible` combinations were looked at.
    """

    def __init__(self, candidates: Iterable[Candidate], *, tried: int, possible: int) -> None:
        super().__init__(sorted(candidates, key=rank))
        self.tried = tried
        self.possible = possible


def rank(one: Candidate) -> tuple[bool, float]:
    return not one.fits, -one.tokens_per_second if one.fits else one.excess_bytes


def search(make: Make, combinations: Iterable[Choice], otherwise: Iterable[Choice] = (), *, most: int = MOST) -> Found:
    """Candidates among at most so many combinations, or where none fits those among `otherwise` if one of them does.

    Where none is legal, the InvalidInput of the one that is nearest to it says what to change.
    """
    nearest: InvalidInput | None = None
    found = Found([], tried=0, possible=0)
    for choices in map(list, (combinations, otherwise)):
        refused: list[tuple[InvalidInput, Choice]] = []
        few = choices if len(choices) <= most else promising(make, choices)[:most]
        legal = list(weighed(make, few, refused))
        if not found or any(one.fits for one in legal):
            tried, possible = found.tried + len(few), found.possible + len(choices)
            found = Found([*found, *legal], tried=tried, possible=possible)
        if any(one.fits for one in found):
            break
        if refused and not nearest:
            nearest = max(refused, key=lambda one: nearness(*one))[0]
    if not found and nearest:
        raise nearest
    return found


def weighed(make: Make, choices: Iterable[Choice], refused: list[tuple[InvalidInput, Choice]]) -> Iterator[Candidate]:
    """A candidate for each legal choice that may be better than those before it; `refused` gets the others' reasons.

    Recomputing more only costs time where less of it fits, and a larger micro-batch does not fit where a smaller one
    does not.
    """
    fitting: set[tuple[Any, ...]] = set()
    too_large: set[tuple[Any, ...]] = set()
    for choice in choices:
        recompute, micro = choice["activation_recompute"], choice["micro_batch_size"]
        if (*layout_of(choice), micro) in fitting or (*layout_of(choice), recompute) in too_large:
            continue
        try:
            one = Candidate(make(choice))
        except InvalidInput as error:
            refused.append((error, choice))
            continue
        if one.fits:
            fitting.add((*layout_of(choice), micro))
        else:
            too_large.add((*layout_of(choice), recompute))
        yield one


def layout_of(choice: Choice) -> tuple[Any, ...]:
    """How the GPUs are used, whatever a GPU does at once."""
    return tuple(value for name, value in choice.items() if name not in LEAN)


def promising(make: Make, choices: Iterable[Choice]) -> list[Choice]:
    """Choices in the order of what their layout is worth with the smallest micro-batch and most recomputation."""
    layouts: dict[tuple[Any, ...], list[Choice]] = {}
    for choice in choices:
        layouts.setdefault(layout_of(choice), []).append(choice)

    def worth(same: list[Choice]) -> tuple[bool, float]:
        leanest = min(same, key=lambda one: (one["micro_batch_size"], -RECOMPUTE.index(one["activation_recompute"])))
        try:
            return rank(Candidate(make(leanest)))
        except InvalidInput:
            return True, inf

    return [choice for same in sorted(layouts.values(), key=worth) for choice in same]


#: Term of a step -> what it is called in a reason.
TERMS = {
    "linear": "matrix products", "experts": "expert products", "head": "lm_head", "attention": "attention",
    "recurrent": "recurrent layers", "elementwise": "norms and activations",
    "tensor_parallel": "tensor-parallel sums", "expert_parallel": "expert-parallel sends",
    "context_parallel": "context-parallel sends", "pipeline_hops": "pipeline sends",
    "sharding": "gathering sharded weights", "host": "the host", "accumulation": "adding up gradients",
    "bubble": "the pipeline bubble", "imbalance": "uneven stages", "optimizer": "the optimizer",
    "gradient_reduction": "reducing gradients", "offload": "offload", "fixed": "host work per step",
    "stragglers": "stragglers",
}  # fmt: skip


def reason(one: Candidate, best: Candidate) -> str:
    """Why a candidate is not the best."""
    if one is best:
        return "the fastest that fits" if one.fits else "the nearest to fitting"
    if not one.fits:
        return f"needs {one.excess_bytes / GIB:.1f} GiB more than the GPU has"
    slower = best.tokens_per_second / one.tokens_per_second - 1
    if slower < SAME:
        return "as fast"
    times = one.scenario.setting.tokens_per_step / best.scenario.setting.tokens_per_step
    mine, its = one.time.terms(), {name: float(value) * times for name, value in best.time.terms().items()}
    term = max(mine, key=lambda name: float(mine[name]) - its[name])
    return f"{slower:.1%} slower, most of it {TERMS[term]}: {float(mine[term]):.3g} s instead of {its[term]:.3g} s"
