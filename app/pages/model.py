"""What the page of a model says, in order: facts with where they come from, layers, parameters, cache, weights."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any, NamedTuple

from app import catalog, facts, formatting
from app.calculations.accelerator import Gpu
from app.calculations.architecture import (
    Attention,
    Block,
    Experts,
    FeedForward,
    LatentAttention,
    Layer,
    Model,
    Recurrent,
)
from app.calculations.formats import Formats
from app.calculations.kv_cache import layer_cache_terms
from app.calculations.parallelism import Layout
from app.calculations.precision import PRECISIONS
from app.calculations.weights import stage_weight_bytes, stages, tower_bytes
from app.charts.model import cache_figure, params_figure

#: Tensor group -> its name, in the order of the chart.
GROUPS = {
    "embedding": "Embedding",
    "attention": "Attention",
    "mlp": "Dense feed-forward",
    "expert": "Routed experts",
    "shared_expert": "Shared experts",
    "router": "Routers",
    "state_space": "Recurrent layers",
    "norm": "Norms",
    "lm_head": "Output head",
    "other": "Other",
}
#: Precisions that the weights are shown in, and the one that stands for the checkpoint as it is.
PUBLISHED = "published"
WEIGHT_PRECISIONS = (PUBLISHED, "bf16", "fp8", "int8", "int4", "mxfp4", "nvfp4")
COMMON_GPUS = ("rtx-4090", "l40s", "a100-sxm-80gb", "h100-sxm", "h200-sxm", "b200", "mi300x")
#: Room beside the weights that the counts of GPUs leave for cache, activations and runtime.
ROOM = 0.10

LENGTHS = (1024, 8192, 32_768, 131_072)
FIRST_LENGTH = 256
POINTS_PER_DOUBLING = 4


class Fact(NamedTuple):
    """A line of a table of facts."""

    label: str
    value: str
    source: str


class LayerKind(NamedTuple):
    """Equal layers: how many, what is in them, and what each costs."""

    layers: int
    blocks: tuple[str, ...]
    params: int
    cache: str


class Weights(NamedTuple):
    """The weights in one precision, and how many of each common GPU hold them."""

    label: str
    size_bytes: float
    gpus: tuple[int, ...]


class Cache(NamedTuple):
    """Cache and state of one sequence at a length."""

    tokens: int
    is_longest: bool
    wide_bytes: float
    narrow_bytes: float


def fact_rows(model: Model) -> list[Fact]:
    """Everything countable, each with where it comes from."""
    known = facts.model_facts(model)
    config, counted = "the configuration", "counted over all tensors"
    cached = "counted over all layers, 16-bit"
    tower = known["tower_params"]
    rows = [
        Fact("Parameters", formatting.integer(known["total_params"]), counted),
        Fact("Active for a token", formatting.integer(known["active_params"]), f"{counted} but idle experts"),
        Fact("Layers", formatting.integer(known["num_layers"]), config),
        Fact("Hidden size", formatting.integer(known["hidden_size"]), config),
        Fact("Attention", known["attention"], config),
        Fact("Query heads", formatting.integer(known["num_heads"]), config),
        Fact("Key/value heads", formatting.integer(known["num_kv_heads"]), config),
        Fact("Routed experts of a layer", formatting.integer(known["num_experts"]), config),
        Fact("Vocabulary", formatting.integer(known["vocab_size"]), config),
        Fact("Tied embeddings", "yes" if known["tied_embeddings"] else "no", config),
        Fact("Longest context", formatting.integer(known["max_position"]), config),
        Fact("KV cache of a token", formatting.binary_bytes(known["kv_bytes_per_token_bf16"]), cached),
        Fact(
            "The same past all windows",
            formatting.binary_bytes(known["kv_bytes_per_token_past_windows_bf16"]),
            cached,
        ),
        Fact("Recurrent state of a sequence", formatting.binary_bytes(known["state_bytes_per_sequence_bf16"]), cached),
        Fact("Checkpoint precision", known["checkpoint_precision"], config),
        Fact("Checkpoint", formatting.binary_bytes(known["checkpoint_bytes"]), "counted tensor by tensor, with scales"),
        Fact(
            "Vision or audio tower, not counted",
            "size not known" if tower is None else f"{formatting.integer(tower)} parameters",
            config,
        ),
        Fact("Multi-token-prediction layers, not counted", formatting.integer(known["mtp_layers"]), config),
    ]
    dull = {"Routed experts of a layer", "Recurrent state of a sequence", rows[-1].label, rows[-2].label}
    same = known["kv_bytes_per_token_past_windows_bf16"] == known["kv_bytes_per_token_bf16"]
    skipped = {row.label for row in rows if row.label in dull and row.value in ("0", "0 B", "0 parameters")}
    return [row for row in rows if row.label not in skipped | ({"The same past all windows"} if same else set())]


def layer_kinds(model: Model) -> list[LayerKind]:
    """Layers that differ, in order of first appearance."""
    return [
        LayerKind(
            count,
            tuple(block_words(block) for block in layer.blocks),
            sum(tensor.params for tensor in layer.all_tensors()),
            ", ".join(_cache_words(layer)) or "nothing",
        )
        for layer, count in model.layer_counts
    ]


def block_words(block: Block) -> str:
    """A block in words."""
    if isinstance(block, LatentAttention):
        text = f"MLA: {block.num_heads} heads, latent {block.kv_lora_rank} + {block.rope_dim}"
        return text + (f", sparse (top {block.index_topk:,})" if block.index_topk else "")
    if isinstance(block, Attention):
        if block.cross:
            return f"cross-attention: {block.num_heads} heads"
        text = f"{facts.heads_kind(block)}: {block.num_heads} query, {block.num_kv_heads} key/value heads"
        text += f" of {block.head_dim}"
        text += f", window of {block.window:,} tokens" if block.window else ""
        text += f", sparse (top {block.index_topk:,})" if block.index_topk else ""
        return text + ("" if block.owns_cache else ", reads another layer's cache")
    if isinstance(block, Recurrent):
        return f"recurrent: {block.heads} heads, state of {block.state_elements:,} elements"
    if isinstance(block, Experts):
        return f"experts: {block.experts_per_token} of {block.num_experts}, width {block.width:,}"
    gated = "gated " if isinstance(block, FeedForward) and block.gated else ""
    return f"{gated}feed-forward, width {block.width:,}"


def _cache_words(layer: Layer) -> Iterator[str]:
    for block in layer.blocks:
        if isinstance(block, Attention | LatentAttention) and block.cache_elements_per_token:
            each = block.cache_elements_per_token * facts.BF16_BYTES
            limit = f" up to {block.window:,} tokens" if isinstance(block, Attention) and block.window else ""
            yield f"{formatting.binary_bytes(each)} a token{limit}"
        elif isinstance(block, Recurrent):
            size = (block.state_elements + block.conv_elements) * facts.BF16_BYTES
            yield f"{formatting.binary_bytes(size)} a sequence"


def param_rows(model: Model) -> list[tuple[str, int, float]]:
    """(group, parameters, share of all), those that are there, in the order of GROUPS."""
    counts = model.params_by_group
    total = model.total_params
    return [(name, counts[key], counts[key] / total) for key, name in GROUPS.items() if counts.get(key)]


def formats(precision: str, cache: str = "bf16") -> Formats:
    """Weights in one precision by the calculator's own rule; what is never quantised stays in 16 bits."""
    published = precision == PUBLISHED
    return Formats(
        weights=PRECISIONS["bf16" if published else precision],
        activations=PRECISIONS["bf16"],
        kv_cache=PRECISIONS[cache],
        wide=PRECISIONS["bf16"],
        published=published,
    )


def weight_bytes(model: Model, precision: str) -> float:
    """All weights of one copy in a precision, a tower of known size in 16 bits."""
    (stage,) = stages(model, 1)
    if precision == PUBLISHED:
        return facts.checkpoint_bytes(model) + tower_bytes(model, stage, formats("bf16"))
    return stage_weight_bytes(model, stage, Layout(), formats(precision))


def gpus_needed(size_bytes: float, gpu: Gpu) -> int:
    """The least number of GPUs whose memory holds the weights and ROOM of them beside."""
    return math.ceil(size_bytes * (1 + ROOM) / gpu.memory_bytes)


def weight_rows(model: Model) -> list[Weights]:
    """The weights in each precision."""
    gpus = common_gpus()
    rows = []
    for name in WEIGHT_PRECISIONS:
        size = weight_bytes(model, name)
        label = f"As published ({model.checkpoint_precision})" if name == PUBLISHED else PRECISIONS[name].label
        rows.append(Weights(label, size, tuple(gpus_needed(size, gpu) for gpu in gpus)))
    return rows


@cache
def common_gpus() -> tuple[Gpu, ...]:
    return tuple(catalog.preset_gpus()[slug] for slug in COMMON_GPUS)


def cache_terms(model: Model, tokens: int, precision: str) -> dict[str, float]:
    """Bytes of one sequence of `tokens` by kind of cache, whole model."""
    terms: dict[str, float] = {}
    chosen = formats("bf16", precision)
    for layer, count in model.layer_counts:
        for kind, size in layer_cache_terms(layer, tokens, Layout(), chosen):
            terms[kind] = terms.get(kind, 0.0) + count * float(size)
    return terms


def cache_rows(model: Model) -> list[Cache]:
    """Cache and state of one sequence at common lengths, up to the longest that the model was made for."""
    longest = model.max_position
    lengths = [tokens for tokens in LENGTHS if longest is None or tokens < longest]
    return [
        Cache(
            tokens,
            tokens == longest,
            sum(cache_terms(model, tokens, "bf16").values()),
            sum(cache_terms(model, tokens, "fp8").values()),
        )
        for tokens in (*lengths, *([longest] if longest else []))
    ]


def cache_curve(model: Model) -> tuple[list[int], Mapping[str, list[float]]]:
    """Lengths, evenly spaced on a logarithmic axis, and the bytes of each kind of cache at them."""
    last = model.max_position or LENGTHS[-1]
    first = FIRST_LENGTH if last >= 2 * FIRST_LENGTH else 1
    steps = max(1, round(POINTS_PER_DOUBLING * math.log2(last / first)))
    lengths = [round(first * (last / first) ** (step / steps)) for step in range(steps + 1)]
    curves: dict[str, list[float]] = {}
    for place, tokens in enumerate(lengths):
        for kind, size in cache_terms(model, tokens, "bf16").items():
            curves.setdefault(kind, [0.0] * len(lengths))[place] = size
    return lengths, curves


def page(model: Model) -> dict[str, Any]:
    """All of it, as the template takes it."""
    params = param_rows(model)
    return {
        "model": model,
        "facts": fact_rows(model),
        "layers": layer_kinds(model),
        "params": params,
        "weights": weight_rows(model),
        "common_gpus": common_gpus(),
        "room": ROOM,
        "cache": cache_rows(model),
        "figures": {"params": params_figure(params), "cache": cache_figure(*cache_curve(model))},
    }
