"""Memory of a GPU at its peak, by term: states, gathered buffers, activations in flight, logits, what lies beside.

peak = max over stages of max(states + gathered + activations + logits, states + optimizer's step)
reserved = (1 + slack) x peak            process = reserved + context and communicators
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from math import ceil

from app.calculations.training.activations import Autograd, checkpoint_bytes, kept, selected, sums
from app.calculations.training.optimizer import Optimizer
from app.calculations.training.pipeline import micro_batches
from app.calculations.training.recipe import Recipe
from app.calculations.training.setting import Setting
from app.calculations.training.states import StateFormats, States, states
from app.calculations.weights import Stage, stages

#: Share of the logits' bytes that is there at once where the loss goes over chunks (torchtune: eight), or is fused with
#: lm_head; compiled: kernels are fused, but all logits are there (torchtitan since 2025: 0.23 of before).
LOSS_SHARES = {"full": 1.0, "compiled": 0.23, "chunked": 1 / 8, "fused": 1 / 16}
#: Activations in host memory: of a stage's layers, those that are on the GPU (one computes, one is copied).
LAYERS_BESIDE_HOST = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorySetting:
    """What decides the memory of a run beside its `Setting`."""

    recipe: Recipe
    formats: StateFormats
    optimizer: Optimizer
    #: full, compiled, chunked or fused.
    loss: str = "full"
    optimizer_in_backward: bool = False
    #: Full recomputation: layers per kept input.
    recompute_group: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes on the fullest GPU when it is fullest."""

    stage: int
    in_flight: float
    states: States
    #: Activations of all micro-batches in flight, by what keeps them.
    activations: dict[str, float] = field(hash=False)
    logits: float
    workspace: float
    slack: float
    runtime: float
    #: Of the states: optimizer states that are in host memory because the GPU is full.
    paged_out: float = 0.0

    @property
    def activation_bytes(self) -> float:
        return sum(self.activations.values())

    @property
    def during_backward(self) -> float:
        return self.states.resident + self.states.gathered + self.activation_bytes + self.logits + self.workspace

    @property
    def allocated(self) -> float:
        """Peak of what tensors take: in the first backward pass, or in the optimizer's step."""
        return max(self.during_backward, self.states.resident + self.states.step + self.workspace) - self.paged_out

    @property
    def reserved(self) -> float:
        """What the caching allocator has taken from the device."""
        return self.allocated * (1 + self.slack)

    @property
    def process(self) -> float:
        """What the device's tools show: reserved memory, context and communicators."""
        return self.reserved + self.runtime

    def reported(self, quantity: str) -> float:
        """Bytes of "allocated", "reserved" or "process"."""
        return float(getattr(self, quantity))

    def terms(self) -> dict[str, float]:
        """What the process holds, by term; the sum is `process`."""
        s = self.states
        found = {
            "weights": s.weights,
            "master_weights": s.master_weights,
            "gradients": s.gradients,
            "optimizer_states": s.optimizer - self.paged_out,
            "adapters": s.adapters,
        }
        if self.during_backward - self.paged_out >= self.allocated:
            found |= {"gathered": s.gathered, "activations": self.activation_bytes, "logits": self.logits}
        else:
            found |= {"optimizer_step": s.step}
        found |= {"workspace": self.workspace, "allocator_slack": self.reserved - self.allocated}
        return found | {"runtime": self.runtime}


def in_flight(stage: int, pp: int, vpp: int, count: int) -> float:
    """Micro-batches whose activations a stage holds at once, in whole stages (1F1B: pp - stage).

    Interleaved: 2 (pp - stage - 1) + (vpp - 1) pp + 1 chunks of 1 / vpp stage each (Megatron-LM's schedule;
    Korthikanti et al., arXiv:2205.05198, section 4.2.3: 1 + (pp - 1) / (pp vpp) of all layers on the first stage).
    """
    if vpp == 1:
        return float(min(pp - stage, count))
    chunks = 2 * (pp - stage - 1) + (vpp - 1) * pp + 1
    return min(chunks, count * vpp) / vpp


def autograd(s: Setting, m: MemorySetting) -> Autograd:
    return Autograd(
        setting=s,
        recipe=m.recipe,
        hidden_size=s.model.hidden_size,
        fused_attention=s.stack.fused_attention,
    )


def stage_activations(s: Setting, m: MemorySetting, stage: Stage, copies: float) -> dict[str, float]:
    """Bytes that `copies` micro-batches keep of a stage's layers, by term."""
    a = autograd(s, m)
    tokens = s.micro_batch_size * s.seq_len / s.cp
    terms: dict[str, float] = {}

    def add(term: str, size: float) -> None:
        terms[term] = terms.get(term, 0.0) + size

    layers = list(stage.layers(s.model))
    count = sum(often for _, often in layers)
    covered = min(count if s.recompute_layers is None else s.recompute_layers, count)
    full = s.activation_recompute == "full"
    whole_share = 1 - covered / count if full and count else 1.0
    on_gpu = min(1.0, LAYERS_BESIDE_HOST / max(count, 1)) if s.offload == "activations" else 1.0
    for layer, often in layers:
        one = selected(layer, a) if s.activation_recompute == "selective" else sums(kept(layer, a))
        for term, size in one.items():
            add(term, tokens * often * copies * size * whole_share * on_gpu)
    if s.tp > 1 and s.sequence_parallel:
        gathered = m.recipe.asynchronous_copies if s.asynchronous_tp else m.recipe.gathered_copies
        add("gathered sequence", tokens * gathered * s.wide_bytes * s.model.hidden_size)
    if full and covered:
        inputs = ceil(covered / m.recompute_group)
        add("layer inputs", tokens * copies * inputs * checkpoint_bytes(a) * on_gpu)
        largest = max(sum(sums(kept(layer, a)).values()) for layer, _ in layers)
        add("recomputed layer", tokens * min(m.recompute_group, covered) * largest)
    if stage.first and s.model.embedding:
        add("embedding output", tokens * copies * checkpoint_bytes(a))
    return {term: size * m.recipe.activation_scale for term, size in terms.items()}


def logit_bytes(s: Setting, m: MemorySetting, stage: Stage) -> float:
    """Logits, their softmax and gradients of one micro-batch, where the stage has the head."""
    if not stage.last:
        return 0.0
    logits = s.micro_batch_size * s.seq_len / s.cp * s.model.vocab_size / s.tp
    return logits * m.recipe.logit_bytes * LOSS_SHARES[m.loss]


def runtime_bytes(s: Setting, recipe: Recipe) -> float:
    """Context and communicators: one kind of group for each kind of parallelism in use."""
    kinds = sum(1 for degree in (s.tp, s.pp, s.dp * s.cp, s.ep) if degree > 1)
    return recipe.runtime_bytes + kinds * recipe.communicator_bytes


def stage_memory(s: Setting, m: MemorySetting, index: int, stage: Stage) -> Memory:
    """The memory of a GPU of one stage."""
    copies = in_flight(index, s.pp, s.vpp, micro_batches(s.global_batch_size, s.micro_batch_size, s.dp))
    found = Memory(
        stage=index,
        in_flight=copies,
        states=states(s, stage, m.recipe, m.formats, m.optimizer, in_backward=m.optimizer_in_backward),
        activations=stage_activations(s, m, stage, copies),
        logits=logit_bytes(s, m, stage),
        workspace=m.recipe.workspace_bytes,
        slack=m.recipe.slack if s.compiled else m.recipe.eager_slack,
        runtime=runtime_bytes(s, m.recipe),
    )  # fmt: skip
    if not m.optimizer.paged:
        return found
    beyond = max(found.process - s.links.paged_above * s.gpu.memory_bytes, 0.0) / (1 + found.slack)
    return Memory(
        **{name: getattr(found, name) for name in Memory.__dataclass_fields__}
        | {"paged_out": min(beyond, found.states.optimizer)}
    )


def memory_by_stage(s: Setting, m: MemorySetting) -> list[Memory]:
    """The memory of a GPU of each pipeline stage, first to last."""
    return [stage_memory(s, m, index, stage) for index, stage in enumerate(stages(s.model, s.pp))]


def every_stage(s: Setting, m: MemorySetting) -> Iterator[Memory]:
    """The memory of the stages that differ: the first of each kind holds most micro-batches."""
    seen: set[Stage] = set()
    for index, stage in enumerate(stages(s.model, s.pp)):
        if stage not in seen:
            seen.add(stage)
            yield stage_memory(s, m, index, stage)


def peak_memory(s: Setting, m: MemorySetting) -> Memory:
    """The memory of the fullest GPU."""
    return max(every_stage(s, m), key=lambda one: one.process)
