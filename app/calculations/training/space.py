"""What a search for a layout may choose: every combination that uses all GPUs and keeps what was fixed by hand."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from itertools import product
from math import prod
from typing import Any

from app.calculations.architecture import Model
from app.calculations.parallelism import divisors, legal_tensor_parallel

#: What a search may choose; everything else is given.
CHOICES = (
    "framework", "tp", "pp", "vpp", "cp", "ep", "dp", "sharding", "micro_batch_size", "activation_recompute",
)  # fmt: skip
Choice = Mapping[str, Any]
#: Their product is the number of GPUs.
DEGREES = ("tp", "pp", "cp", "dp")
MICRO_BATCHES = (1, 2, 4, 8, 16)
RECOMPUTE = ("none", "selective", "full")
#: What needs least memory of the choices that cost only time, unless they were given.
LEAN = {"micro_batch_size": 1, "activation_recompute": "full"}
#: Frameworks that cut the layers into stages, and those that cut matrices.
STAGING = ("megatron", "megatron-2021", "megatron-2022", "llama-3", "megatron-deepspeed", "oneflow")
CUTTING = (*STAGING, "torchtitan")
#: Frameworks that cut sequences over GPUs, and the fewest tokens of a sequence that are left to each: from the first on
#: it may pay, down to the second where nothing else fits.
CONTEXT = ("megatron", "llama-3", "torchtitan")
TOKENS_THAT_PAY, FEWEST_TOKENS = 8192, 2048
#: Most GPUs that a search cuts a sequence over.
MOST_CONTEXT = 64
#: Frameworks that train adapters, on 4-bit weights too, and those that can keep states or activations in host memory.
ADAPTING = ("torchtune", "litgpt", "huggingface", "megatron")
QUANTIZING = ("torchtune", "litgpt", "huggingface")
OFFLOADING = (*ADAPTING, "torchtitan", "deepspeed", "llm-foundry", "maxtext")
#: Frameworks whose selective recomputation repeats attention, of which fused kernels keep nothing: it saves nothing.
NOTHING_SELECTIVE = ("megatron", "llama-3")
#: Most chunks of an interleaved schedule that are tried.
MOST_CHUNKS = 8
#: Experts per GPU group that are tried, largest first.
EXPERT_GROUPS = 3


def tensor_choices(model: Model, gpus: int, domain: int) -> list[int]:
    """Tensor parallelism inside a fast domain, in powers of two."""
    return [tp for tp in legal_tensor_parallel(model, min(gpus, max(domain, 1), 64)) if tp & (tp - 1) == 0]


def stage_choices(model: Model, gpus: int) -> list[int]:
    """Pipeline stages: what divides the GPUs, at most one per layer."""
    return [n for n in range(1, model.num_layers + 1) if max(gpus, 1) % n == 0]


def expert_choices(model: Model, group: int) -> list[int]:
    """Expert parallelism: the largest groups that the experts and the GPUs of a stage allow."""
    if not model.num_experts:
        return [1]
    legal = [n for n in divisors(model.num_experts) if group % n == 0 and n <= 64]
    return sorted({*legal[-EXPERT_GROUPS:], 1})


def chunk_choices(layers: int, pp: int) -> list[int]:
    """Model chunks per stage: none, and as many as divide the layers of a stage."""
    if pp == 1 or layers % pp:
        return [1]
    return sorted({1, max(n for n in divisors(layers // pp) if n <= MOST_CHUNKS)})


def context_choices(seq_len: int, gpus: int, fewest_tokens: int) -> list[int]:
    """Context parallelism in powers of two that leave each GPU so many tokens of a sequence."""
    most = min(seq_len // fewest_tokens, gpus, MOST_CONTEXT)
    found = (1 << n for n in range(MOST_CONTEXT.bit_length()))
    return [cp for cp in found if cp == 1 or (cp <= most and seq_len % cp == 0)]


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


@dataclass(frozen=True, slots=True, kw_only=True)
class Space:
    """Combinations of CHOICES on `num_gpus` GPUs, of which `domain_gpus` share a fast fabric.

    `fixed`: name -> value of what was given; what is missing or None is free.
    """

    model: Model
    num_gpus: int
    seq_len: int
    domain_gpus: int = 1
    method: str = "full"
    fixed: Choice = field(default_factory=dict, hash=False)
    #: Whether sequences are cut only as far as it would not pay if the rest fitted.
    short_of_memory: bool = False

    @property
    def given(self) -> dict[str, Any]:
        """What of CHOICES was given."""
        return {name: self.fixed[name] for name in CHOICES if self.fixed.get(name) is not None}

    def of(self, name: str, free: Iterable[Any]) -> list[Any]:
        """What was given, else the free choices."""
        return [self.fixed[name]] if self.fixed.get(name) is not None else list(free)

    def combinations(self) -> Iterator[dict[str, Any]]:
        """Small tensor and pipeline parallelism first."""
        for framework in self.of("framework", frameworks(self.method)):
            tensors = tensor_choices(self.model, self.num_gpus, self.domain_gpus) if framework in CUTTING else [1]
            for tp, cp in product(self.of("tp", tensors), self.of("cp", self.contexts(framework))):
                for pp in self.stages(framework, self.num_gpus // (tp * cp)):
                    dp = self.fixed.get("dp") or self.num_gpus // (tp * cp * pp)
                    if prod((tp, cp, pp, dp)) == self.num_gpus:
                        yield from self.rest(framework, tp=tp, pp=pp, cp=cp, dp=dp)

    def contexts(self, framework: str) -> list[int]:
        """Context parallelism that may pay; where memory is short, what is beyond it."""
        paying, able = [1], [1]
        if framework in CONTEXT:
            paying = context_choices(self.seq_len, self.num_gpus, TOKENS_THAT_PAY)
            able = context_choices(self.seq_len, self.num_gpus, FEWEST_TOKENS)
        return [cp for cp in able if cp not in paying] if self.short_of_memory else paying

    def last_resort(self) -> Iterator[dict[str, Any]]:
        """What is left to try where nothing fits: sequences cut further."""
        if self.fixed.get("cp") is None:
            yield from replace(self, short_of_memory=True).combinations()

    def stages(self, framework: str, gpus: int) -> list[int]:
        """Pipeline stages; chunks that were given need more than one where there may be."""
        found = self.of("pp", stage_choices(self.model, gpus) if framework in STAGING else [1])
        piped = [pp for pp in found if pp > 1] if (self.fixed.get("vpp") or 1) > 1 else found
        return piped or found

    def rest(self, framework: str, *, tp: int, pp: int, cp: int, dp: int) -> Iterator[dict[str, Any]]:
        """The choices of one way to deal out the GPUs."""
        sharded = shardings(framework, self.method == "full") if dp * cp > 1 else ["none"]
        for ep, vpp, sharding, micro, recompute in product(
            self.of("ep", expert_choices(self.model, tp * cp * dp)),
            self.of("vpp", chunk_choices(self.model.num_layers, pp)),
            self.of("sharding", sharded),
            self.of("micro_batch_size", MICRO_BATCHES),
            self.of("activation_recompute", recomputes(framework)),
        ):
            values = (framework, tp, pp, vpp, cp, ep, dp, sharding, micro, recompute)
            yield dict(zip(CHOICES, values, strict=True))
