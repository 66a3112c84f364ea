"""Rows of training tables -> what was run, and what had to be assumed.

What the source does not say takes the framework's default; a layout that it leaves open is the fastest that fits.
`Run.assumed` says so.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from math import ceil
from typing import Any

from app import catalog, training_catalog
from app.calculations.accelerator import Gpu
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config
from app.calculations.parallelism import divides_heads, divisors
from app.calculations.training.flops import flops_per_token
from app.calculations.training.memory import MemorySetting, peak_memory
from app.calculations.training.recipe import Adapter
from app.calculations.training.setting import Setting
from app.calculations.training.speed import time_of
from app.calculations.training.stack import Stack
from app.calculations.training.states import StateFormats
from app.calculations.training.work import peak
from app.measurements.training_notes import (
    Row,
    asynchronous_tp,
    cluster_of,
    compiled,
    convention_of,
    method_of,
    network_gb_s,
    notes_of,
    offload_of,
    packed_tokens,
    precision_of,
    recomputed,
    rowwise,
    sequence_parallel,
    stack_of,
    whole,
    year,
)
from app.own.by_hand import custom_config

#: Newest Megatron release measured, to which software age counts, and the most years that count.
NEWEST_RELEASE, OLDEST_YEARS = 2026.6, 3.0
#: Parameters of a layer over the square of its width, attention and plain MLP of 4 h.
PLAIN_LAYER = 12
#: Degrees of tensor parallelism and micro-batches that an open layout may take, and its most expert-parallel GPUs.
TENSOR_CHOICES, MICRO_BATCHES, MOST_EXPERT_PARALLEL = (1, 2, 4, 8), (1, 2, 4), 64
#: Adapter where a row does not describe it.
ADAPTER = Adapter(kind="lora", rank=16, targets="attention")
#: Metrics -> power of the step time that they follow.
SPEEDS = {"tokens_per_s_per_gpu": -1, "tflops_per_gpu": -1, "mfu": -1, "hfu": -1, "step_time_s": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a row ran. `open_layout`: the source leaves tp or pp open."""

    setting: Setting
    assumed: tuple[str, ...]
    open_layout: bool
    #: FLOPs per token as the source counts them; None where the row has no such metric.
    flops_per_token: float | None


# --- models -----------------------------------------------------------------------------------------------------


def model_of(row: Row) -> tuple[Model, tuple[str, ...]]:
    """The preset of the row's model, else the model that its columns describe. Raises InvalidInput."""
    try:
        return catalog.model(row["model"]), ()
    except InvalidInput:
        if not row.get("hidden_size") or not row.get("vocab_size"):
            raise
    values, assumed = described(row)
    return read_config(custom_config(values), name=row["model"], source=row.get("source", "")), assumed


def described(row: Row) -> tuple[dict[str, Any], tuple[str, ...]]:
    """The row's architecture columns as inputs of a model described by hand."""
    hidden, vocab = int(row["hidden_size"]), int(row["vocab_size"])
    layers, assumed = whole(row.get("num_layers")), []
    if layers is None:
        layers = round((float(row["n_params"]) - hidden * vocab) / (PLAIN_LAYER * hidden**2))
        assumed.append(f"{layers} layers from the number of parameters")
    heads = whole(row.get("num_heads")) or 0
    if heads == 0 or hidden % heads:
        heads = next(count for count in range(max(hidden // 128, 1), 0, -1) if hidden % count == 0)
        assumed.append(f"{heads} heads")
    kv_heads = whole(row.get("num_kv_heads"))
    ffn = int(row.get("ffn_size") or 4 * hidden)
    return {
        "num_layers": layers,
        "hidden_size": hidden,
        "num_heads": heads,
        "num_kv_heads": kv_heads if kv_heads and heads % kv_heads == 0 else None,
        "head_dim": None,
        "ffn_size": ffn,
        "gated_mlp": row.get("gated_mlp") == "1",
        "vocab_size": vocab,
        "tied_embeddings": row.get("tied_embeddings") == "1",
        "attention_bias": False,
        "mlp_bias": False,
        "num_experts": whole(row.get("num_experts")) or 0,
        "experts_per_token": whole(row.get("experts_per_token")) or 1,
        "expert_ffn_size": ffn,
        "shared_experts": 0,
        "dense_layers": 0,
        "kv_lora_rank": None,
        "sliding_window": None,
    }, tuple(assumed)


# --- what the row leaves open -----------------------------------------------------------------------------------


def default_chunks(stack: Stack, layers: int, interleaved: bool) -> int:
    """Model chunks per stage where the source does not say: Megatron recipes interleave as far as they can."""
    if stack.name == "torchtitan":
        return 2 if interleaved else 1
    if stack.interleaves:
        return next((count for count in (8, 7, 6, 5, 4, 3, 2) if layers % count == 0), 1)
    return 1


def default_micro_batch(stack: Stack, batch: int, dp: int, pp: int) -> int:
    """Sequences per micro-batch where the source does not say: torchtitan cuts a batch into as many as stages.

    MaxText does not accumulate gradients.
    """
    per_replica = max(batch // dp, 1)
    if stack.name == "maxtext":
        return per_replica
    if pp > 1:
        return max(per_replica // pp, 1) if stack.name == "torchtitan" else 1
    return next(count for count in (4, 3, 2, 1) if per_replica % count == 0)


def default_recompute(stack: Stack) -> str:
    """Megatron of 2021, the recipes of torchtune and of MaxText checkpoint every layer."""
    return "full" if stack.name in ("megatron-2021", "megatron-2022", "torchtune", "maxtext") else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cut:
    """Degrees of parallelism, sequences per micro-batch, and what of them was assumed."""

    tp: int
    pp: int
    vpp: int
    cp: int
    ep: int
    dp: int
    micro_batch: int
    assumed: tuple[str, ...] = ()


def open_cuts(model: Model, gpu: Gpu, stack: Stack, batch: int, row: Row) -> Iterator[Cut]:
    """Layouts that an operator would look at where the source leaves it open, least cutting first.

    Fully sharded states need no cutting; experts are dealt over as many GPUs as divide them.
    """
    gpus, said_pp = int(float(row["num_gpus"])), whole(row.get("pp"))
    sharded = stack.name == "maxtext" or (row.get("sharding") or "").startswith(("fsdp", "zero3", "hsdp"))
    tensors = [n for n in TENSOR_CHOICES if gpus % n == 0 and n <= gpu.domain_gpus and divides_heads(model, n)]
    for tp in [1] if sharded else tensors:
        stages = [n for n in divisors(gpus // tp) if model.num_layers % n == 0]
        for pp in [said_pp] if said_pp else [1] if sharded else stages:
            dp = gpus // (tp * pp)
            group = [n for n in divisors(dp * tp) if n <= MOST_EXPERT_PARALLEL]
            ep = max((n for n in group if model.num_experts and model.num_experts % n == 0), default=1)
            vpp = default_chunks(stack, model.num_layers // pp, interleaved=False) if pp > 1 else 1
            for micro in [batch // dp] if stack.name == "maxtext" else MICRO_BATCHES:
                if micro and batch % (micro * dp) == 0:
                    said = f"layout tp {tp}, pp {pp}, ep {ep}, dp {dp}, micro-batches of {micro}"
                    yield Cut(tp=tp, pp=pp, vpp=vpp, cp=1, ep=ep, dp=dp, micro_batch=micro, assumed=(said,))


def fits(setting: Setting) -> bool:
    """Whether the run fits into the GPU with the framework's usual formats."""
    recipe = training_catalog.recipes()[setting.stack.name]
    memory = MemorySetting(
        recipe=recipe,
        formats=StateFormats.of(recipe, sharding=setting.sharding, precision=setting.precision, method=setting.method),
        optimizer=training_catalog.optimizers()["adamw"],
        loss=recipe.default_loss,
    )
    return peak_memory(setting, memory).process <= setting.gpu.memory_bytes - catalog.hardware().driver_bytes


def best_cut(base: Setting, cuts: list[Cut]) -> Cut:
    """The fastest of the layouts that fit; where none does, the one that cuts most."""
    efficiency = training_catalog.efficiency()
    candidates = [(cut, with_cut(base, cut)) for cut in cuts]
    able = [(cut, setting) for cut, setting in candidates if base.stack.name == "maxtext" or fits(setting)]
    if not able:
        return max(cuts, key=lambda cut: (cut.tp * cut.pp, -cut.micro_batch))
    return min(able, key=lambda one: float(time_of(one[1], efficiency).total))[0]


def with_cut(base: Setting, cut: Cut) -> Setting:
    return replace(
        base, tp=cut.tp, pp=cut.pp, vpp=cut.vpp, cp=cut.cp, ep=cut.ep, dp=cut.dp, micro_batch_size=cut.micro_batch
    )


def said_cut(model: Model, stack: Stack, batch: int | None, row: Row) -> Cut:
    """The row's own degrees; data parallelism is what is left of the GPUs."""
    tp, pp, cp, ep = (whole(row.get(name)) or 1 for name in ("tp", "pp", "cp", "ep"))
    assumed = []
    dp = max(int(float(row["num_gpus"])) // (tp * pp * cp), 1)
    vpp = whole(row.get("vpp")) or 1
    if pp > 1 and not row.get("vpp"):
        vpp = default_chunks(stack, ceil(model.num_layers / pp), interleaved="interleaved" in notes_of(row))
        assumed.append(f"{vpp} model chunks per pipeline stage")
    micro = whole(row.get("micro_batch_size"))
    if micro is None:
        micro = default_micro_batch(stack, batch or dp, dp, pp)
        assumed.append(f"micro-batches of {micro}")
    return Cut(tp=tp, pp=pp, vpp=vpp, cp=cp, ep=ep, dp=dp, micro_batch=micro, assumed=tuple(assumed))


def run_of(row: Row) -> Run:
    """What the row ran. Raises InvalidInput where the model or the GPU is not known."""
    model, found = model_of(row)
    stack = stack_of(row)
    batch = whole(row.get("global_batch_size"))
    said = said_cut(model, stack, batch, row)
    batch = batch or said.micro_batch * said.dp * (whole(row.get("grad_accum")) or 1)
    base = uncut(row, model, stack, batch)
    open_layout = not row.get("tp") or not row.get("pp")
    cuts = list(open_cuts(model, base.gpu, stack, batch, row)) if open_layout else []
    cut = best_cut(base, cuts) if cuts else said
    if cut.micro_batch * cut.dp > batch:
        raise InvalidInput(
            "global_batch_size", f"{batch} sequences are fewer than one micro-batch on {cut.dp} replicas."
        )
    assumed = [*found, *cut.assumed]
    if not row.get("activation_recompute"):
        assumed.append(f"{base.activation_recompute} recomputation")
    setting = with_cut(base, cut)
    return Run(
        setting=setting,
        assumed=tuple(assumed),
        open_layout=open_layout,
        flops_per_token=counted_flops(row, setting),
    )


def uncut(row: Row, model: Model, stack: Stack, batch: int) -> Setting:
    """The row's setting but for its layout."""
    gpu, notes = catalog.gpu(row["gpu"]), notes_of(row)
    is_megatron = stack.family == "megatron"
    return Setting(
        model=model,
        gpu=gpu,
        links=training_catalog.links(
            gpu, network_gb_s=network_gb_s(row), node_gpus=4 if "nodes x 4 v100" in notes else None
        ),
        stack=stack,
        num_gpus=int(float(row["num_gpus"])),
        seq_len=int(row["seq_len"]),
        micro_batch_size=1,
        global_batch_size=batch,
        sharding=row.get("sharding") or ("fsdp-full" if stack.name == "maxtext" else "zero1"),
        precision=precision_of(row),
        activation_recompute=row.get("activation_recompute") or default_recompute(stack),
        recomputed=recomputed(row),
        method=method_of(row),
        adapter=None if method_of(row) == "full" else ADAPTER,
        sequence_parallel=sequence_parallel(row, stack),
        document_tokens=packed_tokens(row, stack),
        multi_token=model.mtp_layers if is_megatron and "w/o mtp" not in notes else 0,
        dropless=is_megatron and "tokendrop" not in notes and "cuda graphs" not in notes,
        offload=offload_of(row),
        state_bytes=2.0 if "8bit" in notes else 8.0,
        age_years=min(max(NEWEST_RELEASE - year(row), 0.0), OLDEST_YEARS) if is_megatron else 0.0,
        asynchronous_tp=asynchronous_tp(row),
        compiled=compiled(row, stack),
        rowwise=rowwise(row),
        cluster=cluster_of(row),
    )


# --- metrics ----------------------------------------------------------------------------------------------------


def counted_flops(row: Row, setting: Setting) -> float | None:
    """FLOPs per token as the row's source counts them."""
    if row.get("metric") not in ("mfu", "hfu", "tflops_per_gpu"):
        return None
    convention, hardware = convention_of(row)
    found = flops_per_token(
        setting.model,
        setting.seq_len,
        convention,
        trains_weights=setting.trains_weights,
        recomputed=setting.recomputed_shares if setting.activation_recompute != "none" else (0.0, 0.0),
        attended_tokens=setting.document_tokens,
        multi_token=setting.multi_token,
    )
    return found.hardware if hardware else found.model


def speed(metric: str, step_seconds: float, run: Run) -> float:
    """The metric that a row measured, from a step time."""
    if metric == "step_time_s":
        return step_seconds
    rate = run.setting.tokens_per_step / run.setting.num_gpus / step_seconds
    if metric == "tokens_per_s_per_gpu":
        return rate
    flops = rate * (run.flops_per_token or 0.0)
    return flops / 1e12 if metric == "tflops_per_gpu" else flops / peak(run.setting, run.setting.precision)


def step_seconds(metric: str, value: float, run: Run) -> float:
    """The step time that a measured metric means."""
    one_second = speed(metric, 1.0, run)
    return value if metric == "step_time_s" else one_second / value
