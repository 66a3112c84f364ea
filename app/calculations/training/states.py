"""Weights, gradients and optimizer states on a GPU: parameters it holds x bytes of each, over the shards.

    none       w + g + m + o           zero1  w + g + (m + o) / n        zero2  w + (g + m + o) / n
    zero3, fsdp-full, hsdp  (w + g + m + o) / n and what is gathered      n: data-parallel x context-parallel GPUs

(Rajbhandari et al., ZeRO, arXiv:1910.02054, figure 1; Zhao et al., FSDP, arXiv:2304.11277, section 3.)
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.calculations.tensor import Tensor
from app.calculations.training.adapters import adapter_params, bottleneck_params
from app.calculations.training.optimizer import Optimizer
from app.calculations.training.recipe import Recipe
from app.calculations.training.setting import FULLY_SHARDED, Setting
from app.calculations.training.work import expert_replicas
from app.calculations.weights import Stage

#: Bytes of a 16-bit weight or activation.
WIDE = 2.0
#: Bytes per parameter of NF4 with double quantisation: 4 bits, an 8-bit scale per 64, an FP32 one per 256 scales
#: (QLoRA, arXiv:2305.14314, section 3), and without: an FP32 scale per 64.
NF4_DOUBLE, NF4 = 0.5 + 1 / 64 + 4 / (64 * 256), 0.5 + 4 / 64
#: Layers gathered at once: the one that computes and the one fetched ahead.
GATHERED_LAYERS = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class States:
    """Bytes on a GPU of one stage."""

    weights: float
    master_weights: float
    gradients: float
    optimizer: float
    adapters: float
    gathered: float
    #: What the optimizer's step needs beside its states, when activations are gone.
    step: float

    @property
    def resident(self) -> float:
        """All that stays from step to step."""
        return self.weights + self.master_weights + self.gradients + self.optimizer + self.adapters


@dataclass(frozen=True, slots=True, kw_only=True)
class StateFormats:
    """Bytes per parameter, chosen for a run: the recipe's, or what the user asked for."""

    weight: float
    master: float
    gradient: float
    moment: float
    #: FP32 gradients of the optimizer's shard.
    shard_gradient: float = 0.0
    quantized: float | None = None
    #: Frozen weights and adapters' weights, and adapters' gradients.
    frozen: float = WIDE
    adapter_gradient: float = WIDE

    @classmethod
    def of(
        cls,
        recipe: Recipe,
        *,
        sharding: str,
        precision: str = "bf16",
        method: str = "full",
        master: str = "auto",
        gradient: str = "auto",
        state: str = "auto",
        double_quantized: bool = True,
    ) -> StateFormats:
        """The recipe's formats with the user's choices; FP32 training has no second copy."""
        sizes = {"fp32": 4.0, "bf16": 2.0, "fp8": 1.0}
        nf4 = (NF4_DOUBLE if double_quantized else NF4) if method == "qlora" else None
        if precision == "fp32":
            gradient_bytes = sizes.get(gradient, 4.0)
            return cls(weight=4.0, master=0.0, gradient=gradient_bytes, moment=sizes.get(state, 4.0), quantized=nf4,
                       frozen=4.0, adapter_gradient=gradient_bytes)  # fmt: skip
        fp32 = {"on": 4.0, "off": 0.0}.get(master, recipe.master_bytes)
        beside = fp32 > 0 and sharding in (*FULLY_SHARDED, "fsdp-grad-op")
        return cls(
            weight=recipe.sharded_weight_bytes if beside else recipe.weight_bytes,
            master=fp32,
            gradient=sizes.get(gradient, recipe.gradient_bytes),
            moment=sizes.get(state, recipe.moment_bytes if master == "auto" else (4.0 if fp32 else 2.0)),
            shard_gradient=recipe.shard_gradient_bytes if gradient == "auto" else 0.0,
            quantized=nf4,
            adapter_gradient=sizes.get(gradient, WIDE),
        )

    @property
    def update_bytes(self) -> float:
        """Bytes that updating a weight moves: its gradient read, it read and written, a 16-bit copy made of fp32."""
        if self.master:
            return 4.0 + 2 * self.master + self.master + WIDE
        return 12.0 if self.weight == 4.0 else 3 * WIDE


@dataclass(frozen=True, slots=True)
class Held:
    """A tensor of a stage with the elements of it on one GPU and the GPUs that could share them."""

    tensor: Tensor
    elements: float
    replicas: int


def held(s: Setting, stage: Stage, *, unties: bool = False) -> Iterator[Held]:
    """The tensors of a stage as a rank of tensor and expert parallelism holds them."""
    for tensor, count in stage.tensors(s.model):
        if tensor.group == "expert":
            yield Held(tensor, count * tensor.params_per_rank(s.expert_tp, s.ep), expert_replicas(s))
        else:
            yield Held(tensor, count * tensor.params_per_rank(s.tp), s.dp * s.cp)
    if unties and s.model.tied_embeddings and stage.first and stage.last:
        table = next(t for t in s.model.embedding if t.shape[0] == s.model.vocab_size)
        yield Held(Tensor("lm_head", "lm_head", table.shape, "linear"), table.params_per_rank(s.tp), s.dp * s.cp)


def shards(s: Setting, replicas: int) -> tuple[int, int, int]:
    """Over how many GPUs weights, gradients and optimizer states of a tensor with `replicas` copies are dealt."""
    group = max(min(s.hsdp_gpus, replicas), 1) if s.sharding == "hsdp" else replicas
    match s.sharding:
        case "zero1":
            return 1, 1, replicas
        case "zero2":
            return 1, replicas, replicas
        case "fsdp-grad-op":
            return 1, replicas, replicas
        case "zero3" | "fsdp-full" | "hsdp":
            return group, group, group
        case _:
            return 1, 1, 1


def states(
    s: Setting,
    stage: Stage,
    recipe: Recipe,
    formats: StateFormats,
    optimizer: Optimizer,
    *,
    in_backward: bool = False,
) -> States:
    """Bytes of states on a GPU of the stage. `in_backward`: the optimizer runs as soon as a gradient is there."""
    weights = master = gradients = moments = adapters = step = 0.0
    trained, adapter = s.method == "full", s.adapter
    weights_on_gpu, on_gpu = 0.0 if s.weights_in_host else 1.0, 0.0 if s.updates_in_host else 1.0
    weight_bytes, gradient_bytes, state_bytes = adapter_bytes(formats, optimizer)
    adapter_sizes = (weight_bytes, gradient_bytes, state_bytes * on_gpu)
    for one in held(s, stage, unties=recipe.unties):
        over_w, over_g, over_o = shards(s, one.replicas)
        if not trained:
            quantized = formats.quantized if one.tensor.kind == "linear" and one.tensor.group != "lm_head" else None
            weights += one.elements * (quantized or formats.frozen) / over_w * weights_on_gpu
            if adapter and one.elements:
                share = one.elements / one.tensor.params
                own = adapter_params(one.tensor, adapter, 1) * share if adapter.kind != "adapter" else 0.0
                adapters += own * dealt(adapter_sizes, (over_w, over_g, over_o))
            continue
        weights += one.elements * formats.weight / over_w * weights_on_gpu
        # FSDP's parameter is the FP32 shard: where it stays gathered only 16-bit copies do.
        master += one.elements * formats.master / over_o * on_gpu
        gradients += one.elements * formats.gradient / over_g * (0.0 if in_backward else weights_on_gpu)
        gradients += one.elements * formats.shard_gradient / over_o * on_gpu
        size = optimizer.bytes_per_parameter(one.tensor, formats.moment)
        moments += one.elements * size / over_o * on_gpu
        step += one.elements * recipe.step_bytes / over_o * on_gpu
    if adapter and adapter.kind == "adapter":
        blocks = sum(count * len(layer.blocks) for layer, count in stage.layers(s.model))
        adapters += (
            blocks * bottleneck_params(adapter, s.model.hidden_size) * dealt(adapter_sizes, shards(s, s.dp * s.cp))
        )
    if s.sharding == "fsdp-grad-op" and formats.weight == 0.0 and trained:
        weights += sum(one.elements for one in held(s, stage, unties=recipe.unties)) * s.wide_bytes
    return States(
        weights=weights,
        master_weights=master,
        gradients=gradients,
        optimizer=moments,
        adapters=adapters,
        gathered=gathered(s, stage, recipe, formats, trained),
        step=step,
    )


def adapter_bytes(formats: StateFormats, optimizer: Optimizer) -> tuple[float, float, float]:
    """Of an adapter's parameter: weight, gradient, and what the optimizer keeps, with the FP32 copy where it is."""
    matrix = Tensor("adapter", "other", (1024, 1024), "linear")
    return (
        formats.frozen,
        formats.adapter_gradient,
        formats.master + optimizer.bytes_per_parameter(matrix, formats.moment),
    )


def dealt(sizes: tuple[float, float, float], over: tuple[int, int, int]) -> float:
    """Bytes of weight, gradient and states, each over its shards."""
    return sum(size / count for size, count in zip(sizes, over, strict=True))


def gathered(s: Setting, stage: Stage, recipe: Recipe, formats: StateFormats, trained: bool) -> float:
    """Buffers of fully sharded training: layers and root unit gathered to compute, their gradients before scattering.

    The root unit (embedding, lm_head) stays gathered from forward to backward. With a pipeline, all layers of a stage
    stay gathered between micro-batches, and gradients are added up unscattered in FP32.
    """
    if not s.weights_in_host and (s.sharding not in FULLY_SHARDED or s.dp * s.cp == 1):
        return 0.0
    layers = [
        (sum(t.params_per_rank(s.expert_tp if t.group == "expert" else s.tp, s.ep if t.group == "expert" else 1)
             * (1.0 if trained or formats.quantized is None or t.kind != "linear" else formats.quantized / WIDE)
             for t in layer.all_tensors()), count)
        for layer, count in stage.layers(s.model)
    ]  # fmt: skip
    ends = [
        one.elements for one in held(s, stage, unties=recipe.unties) if one.tensor.group in ("embedding", "lm_head")
    ]
    root = (max if recipe.shards_ends and ends else sum)(ends)
    largest = max((size for size, _ in layers), default=0.0)
    if s.pp > 1 and not s.weights_in_host:
        of_stage = sum(size * count for size, count in layers) + root
        return of_stage * (s.wide_bytes + (formats.gradient if trained else 0.0))
    units = GATHERED_LAYERS * largest + root
    return units * s.wide_bytes * (2.0 if trained else 1.0)
