"""The best layout: every legal one that keeps what was fixed by hand, those that fit ranked by tokens per second.

Each other one has the reason it loses: the term of the step that costs most more, or the memory that is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import product
from typing import Any

from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.parallelism import divisors, legal_tensor_parallel
from app.calculations.training.memory import Memory, peak_memory
from app.calculations.training.scenario import TrainingScenario
from app.calculations.training.speed import time_of
from app.calculations.training.step import StepTime

#: What a search may choose; everything else is given.
CHOICES = (
    "framework", "tp", "pp", "vpp", "cp", "ep", "dp", "sharding", "micro_batch_size", "activation_recompute",
)  # fmt: skip
Choice = Mapping[str, Any]
#: Most layouts that are looked at; small tensor and pipeline parallelism first.
MOST = 3000
MICRO_BATCHES = (1, 2, 4, 8, 16)
RECOMPUTE = ("none", "selective", "full")
#: Frameworks whose selective recomputation repeats attention, of which fused kernels keep nothing: it saves nothing.
NOTHING_SELECTIVE = ("megatron", "llama-3")
#: Most chunks of an interleaved schedule that are tried.
MOST_CHUNKS = 8
#: Experts per GPU group that are tried, largest first.
EXPERT_GROUPS = 3
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


def tensor_choices(model: Model, gpus: int, domain: int) -> list[int]:
    """Tensor parallelism inside a fast domain, in powers of two."""
    return [tp for tp in legal_tensor_parallel(model, min(gpus, max(domain, 1), 64)) if tp & (tp - 1) == 0]


def expert_choices(model: Model, group: int) -> list[int]:
    """Expert parallelism: the largest groups that the experts and the GPUs of a stage allow."""
    if not model.num_experts:
        return [1]
    legal = [n for n in divisors(model.num_experts) if group % n == 0 and n <= 64]
    return sorted({*legal[-EXPERT_GROUPS:], 1})


#: Frameworks that cut the layers into stages, and those that cut matrices.
STAGING = ("megatron", "megatron-2021", "megatron-2022", "llama-3", "megatron-deepspeed", "oneflow")
CUTTING = (*STAGING, "torchtitan")


def shardings(framework: str, trains_weights: bool) -> list[str]:
    """What the framework shards by."""
    if framework == "llama-3":
        return ["fsdp-grad-op"]
    if framework in STAGING:
        return ["zero1"]
    if framework == "deepspeed":
        return ["zero1", "zero2", "zero3"]
    return ["none", "fsdp-full"] if not trains_weights else ["fsdp-full"]


def frameworks(method: str) -> list[str]:
    return ["megatron", "torchtitan"] if method == "full" else ["torchtune"]


def recomputes(framework: str) -> list[str]:
    return [one for one in RECOMPUTE if one != "selective" or framework not in NOTHING_SELECTIVE]


def choices(model: Model, num_gpus: int, domain: int, fixed: Choice, *, method: str) -> Iterator[dict[str, Any]]:
    """Combinations of CHOICES that keep `fixed` (name -> value; what is missing or None is free)."""

    def of(name: str, free: Iterable[Any]) -> list[Any]:
        return [fixed[name]] if fixed.get(name) is not None else list(free)

    for framework in of("framework", frameworks(method)):
        tensors = tensor_choices(model, num_gpus, domain) if framework in CUTTING else [1]
        for tp, cp in product(of("tp", tensors), of("cp", [1])):
            for pp in of("pp", stage_choices(model, num_gpus // (tp * cp)) if framework in STAGING else [1]):
                dp = fixed.get("dp") or max(num_gpus // (tp * cp * pp), 1)
                rest = product(
                    of("ep", expert_choices(model, tp * cp * dp)),
                    of("vpp", chunk_choices(model.num_layers, pp)),
                    of("sharding", shardings(framework, method == "full") if dp * cp > 1 else ["none"]),
                    of("micro_batch_size", MICRO_BATCHES),
                    of("activation_recompute", recomputes(framework)),
                )
                for ep, vpp, sharding, micro, recompute in rest:
                    values = (framework, tp, pp, vpp, cp, ep, dp, sharding, micro, recompute)
                    yield dict(zip(CHOICES, values, strict=True))


def stage_choices(model: Model, gpus: int) -> list[int]:
    """Pipeline stages: what divides the GPUs, at most one per layer."""
    return [n for n in divisors(max(gpus, 1)) if n <= model.num_layers]


def chunk_choices(layers: int, pp: int) -> list[int]:
    """Model chunks per stage: none, and as many as divide the layers of a stage."""
    if pp == 1 or layers % pp:
        return [1]
    return sorted({1, max(n for n in divisors(layers // pp) if n <= MOST_CHUNKS)})


def search(make: Callable[[Choice], TrainingScenario], combinations: Iterable[Choice]) -> list[Candidate]:
    """Candidates, best first: those that fit by speed, then the others by how much is missing.

    Where none is legal, the first one's InvalidInput says what to change.
    """
    found: list[Candidate] = []
    refused: InvalidInput | None = None
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
            refused = refused or error
            continue
        if one.fits:
            fitting.add(same)
        found.append(one)
    if not found and refused:
        raise refused
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


def changes(one: Candidate) -> Iterator[tuple[str, dict[str, Any]]]:
    """Single changes that may make a layout fit, the mildest first: what to say, what to replace."""
    s, m = one.scenario.setting, one.scenario.memory
    replicas = s.dp * s.cp
    if s.activation_recompute == "none":
        yield "selective recompute", {"activation_recompute": "selective"}
    if s.activation_recompute != "full":
        yield "full recompute", {"activation_recompute": "full"}
    for micro in (n for n in (8, 4, 2, 1) if n < s.micro_batch_size):
        yield f"micro-batch {micro}", {"micro_batch_size": micro}
    if m.loss == "full":
        yield "a loss over chunks of logits", {"loss": "chunked"}
    if s.sharding == "none" and replicas > 1:
        yield "ZeRO-1 sharding", {"sharding": "zero1"}
    if s.sharding in ("none", "zero1", "zero2", "fsdp-grad-op") and replicas > 1:
        yield "full sharding (FSDP)", {"sharding": "fsdp-full"}
    if m.optimizer.moment_bytes is None and s.trains_weights:
        yield "an 8-bit optimizer", {"optimizer": "adamw-8bit"}
    for name, label in (("tp", "tensor"), ("pp", "pipeline"), ("cp", "context")):
        degree = getattr(s, name)
        if s.dp % 2 == 0:
            yield f"{label} parallel {2 * degree}", {name: 2 * degree, "dp": s.dp // 2}
    if not s.offload:
        yield "optimizer states in host memory", {"offload": "optimizer"}
        yield "activations in host memory", {"offload": "activations"}
    if s.trains_weights:
        yield "LoRA", {"method": "lora"}
        yield "QLoRA", {"method": "qlora"}
    elif s.method == "lora":
        yield "QLoRA", {"method": "qlora"}
    for times in (2, 4, 8):
        yield (
            f"{times * s.num_gpus} GPUs",
            {
                "num_gpus": times * s.num_gpus,
                "dp": times * s.dp,
                "global_batch_size": times * s.global_batch_size,
            },
        )


def remedies(one: Candidate, make: Callable[[Choice], TrainingScenario], most: int = 4) -> list[tuple[str, Candidate]]:
    """The first single changes with which a layout that does not fit would fit."""
    found: list[tuple[str, Candidate]] = []
    for label, change in changes(one):
        try:
            tried = Candidate(make(one.layout | change))
        except InvalidInput:
            continue
        if tried.fits:
            found.append((label, tried))
        if len(found) == most:
            break
    return found
