"""The best layout: every legal one that keeps what was fixed by hand, those that fit ranked by tokens per second.

Each other one has the reason it loses: the term of the step that costs most more, or the memory that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from app.calculations.errors import InvalidInput
from app.calculations.training.memory import Memory, peak_memory
from app.calculations.training.refusals import nearness
from app.calculations.training.scenario import TrainingScenario
from app.calculations.training.space import CHOICES, Choice
from app.calculations.training.speed import time_of
from app.calculations.training.step import StepTime

#: Most layouts that are looked at; small tensor and pipeline parallelism first.
MOST = 3000
GIB = 1024.0**3
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


def search(make: Callable[[Choice], TrainingScenario], combinations: Iterable[Choice]) -> list[Candidate]:
    """Candidates, best first: those that fit by speed, then the others by how much is missing.

    Where none is legal, the InvalidInput of the one that is nearest to it says what to change.
    """
    found: list[Candidate] = []
    refused: list[tuple[InvalidInput, Choice]] = []
    fitting: set[tuple[Any, ...]] = set()
    for number, choice in enumerate(combinations):
        if number == MOST:
            break
        # Recomputing more only costs time where less of it fits.
        same = tuple(value for name, value in choice.items() if name != "activation_recompute")
        if same in fitting:
            continue
        try:
            one = Candidate(make(choice))
        except InvalidInput as error:
            refused.append((error, choice))
            continue
        if one.fits:
            fitting.add(same)
        found.append(one)
    if not found and refused:
        raise max(refused, key=lambda one: nearness(*one))[0]
    return sorted(found, key=lambda one: (not one.fits, -one.tokens_per_second if one.fits else one.excess_bytes))


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
