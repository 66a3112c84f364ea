"""One forward pass as a list of operators: FLOPs, bytes moved, collectives. FLOPs tables and latency read this list.

A multiplication of m x k by k x n counts 2 m k n FLOPs. Everything is per GPU of one replica; counts of tokens,
sequences and contexts may be arrays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

from app.calculations.architecture import (
    Attention,
    Block,
    Experts,
    FeedForward,
    LatentAttention,
    Layer,
    Model,
    Recurrent,
    Tensor,
)
from app.calculations.arrays import Numbers, larger, smaller
from app.calculations.formats import Formats
from app.calculations.kv_cache import layer_cache_bytes
from app.calculations.parallelism import Layout
from app.calculations.precision import Precision
from app.calculations.weights import tensor_bytes

#: FLOPs per state element and token of a recurrent layer: decay, outer-product update and read-out, two each
#: (Mamba-2, arXiv:2405.21060, section 6).
RECURRENT_FLOPS_PER_STATE_ELEMENT = 6

#: Norm with residual reads the stream and the residual and writes both.
SMALL_STREAMS = 4
#: Kernels that pass over the logits: scale or penalise, softmax or arg-max, draw.
SAMPLING_PASSES = 3
FP32_BYTES = 4
#: Passes over the score matrix where attention is not fused: write, mask, softmax (read, write), read.
SCORE_PASSES = 5
#: fp8 with one fp32 scale per block of 128 x 128 (DeepSeek-V3, arXiv:2412.19437, section 3.3).
BLOCK_SCALE_BITS, BLOCK_ELEMENTS = 32, 128 * 128

COMPONENT = {
    "attention": "attention_projections",
    "mlp": "feed_forward",
    "expert": "experts",
    "shared_expert": "experts",
    "router": "router",
    "state_space": "state_space",
    "lm_head": "lm_head",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Operator:
    """`count` equal operators of one pass on one GPU.

    `flops` and `bytes` are what the arithmetic needs; `peak` names the format multiplied in. `kernel` and `format`
    choose the curve of `kernels.py` that times it from `shape`. A collective has `message_bytes` over `group` GPUs.
    """

    name: str
    component: str
    kernel: str
    format: str = "bf16"
    count: int = 1
    flops: Numbers = 0.0
    bytes: Numbers = 0.0
    peak: str = ""
    shape: Mapping[str, Numbers] = field(default_factory=dict, hash=False)
    message_bytes: Numbers = 0.0
    group: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one step computes on one replica: `new_tokens` per sequence after `cached_tokens`, `sequences` of them.

    `beside` are other sequences of the same step: prompts that are prefilled while others decode. One row per
    sequence goes through lm_head: serving needs the logits of the last position only. `verifies`: the new tokens are
    drafts (speculative decoding), few against a long cache, and the logits of all of them are needed.
    """

    sequences: Numbers
    new_tokens: Numbers
    cached_tokens: Numbers
    beside: tuple[Pass, ...] = ()
    verifies: bool = False

    @property
    def parts(self) -> tuple[Pass, ...]:
        """The groups of equal sequences."""
        return (self, *self.beside)

    @property
    def tokens(self) -> Numbers:
        return sum(part.sequences * part.new_tokens for part in self.parts)

    @property
    def rows(self) -> Numbers:
        """Rows of the logits: one per sequence of all groups, one per token where drafts are verified."""
        return sum(part.sequences * part.new_tokens if part.verifies else part.sequences for part in self.parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """What of the requests and switches changes operators.

    `collapsed_routing`: dummy weights send every token to the same experts. `expert_imbalance`: pairs on the fullest
    rank over the mean, where experts are dealt over ranks.
    """

    collapsed_routing: bool = False
    expert_imbalance: float = 1.2
    fused_attention: bool = True


DEFAULT_TRAFFIC = Traffic()


def attended_pairs(new_tokens: Numbers, cached_tokens: Numbers, window: int | None) -> Numbers:
    """Query-key pairs of one sequence under a causal mask: sum over new positions of min(position, window).

    Full attention: n c + n (n + 1) / 2. A window w leaves out (p - w) for each position p beyond it.
    """
    last = cached_tokens + new_tokens
    pairs = new_tokens * cached_tokens + new_tokens * (new_tokens + 1) / 2
    if window is None:
        return pairs
    beyond_last = larger(last - window, 0 * last)
    beyond_first = larger(cached_tokens - window, 0 * cached_tokens)
    return pairs - (beyond_last * (beyond_last + 1) - beyond_first * (beyond_first + 1)) / 2


def experts_touched(num_experts: int, experts_per_token: int, tokens: Numbers) -> Numbers:
    """Expected number of different experts that `tokens` tokens use: E (1 - (1 - k/E)^n), routing uniform."""
    return num_experts * (1 - (1 - experts_per_token / num_experts) ** tokens)


def forward_operators(
    model: Model, layout: Layout, formats: Formats, work: Pass, traffic: Traffic = DEFAULT_TRAFFIC
) -> Iterator[Operator]:
    """The operators of one pass over the whole model, all pipeline stages one after the other."""
    for layer, count in model.layer_counts:
        yield from _layer_operators(layer, count, model, layout, formats, work, traffic)
    yield from _head_operators(model, layout, formats, work)
    if layout.pp > 1:
        yield Operator(
            name="pipeline hop",
            component="network",
            kernel="point_to_point",
            count=layout.pp - 1,
            message_bytes=work.tokens * model.hidden_size * formats.wide.bytes_per_element,
            group=layout.tp * layout.pp,
        )


def _layer_operators(
    layer: Layer, count: int, model: Model, layout: Layout, formats: Formats, work: Pass, traffic: Traffic
) -> Iterator[Operator]:
    activation = formats.wide.bytes_per_element
    stream = work.tokens * model.hidden_size * activation
    for block in layer.blocks:
        if isinstance(block, Experts):
            yield from _experts_operators(block, count, model, layout, formats, work, traffic)
        else:
            yield from linear_operators(block.tensors, count, layout, formats, work.tokens)
        if isinstance(block, Attention | LatentAttention):
            for part in work.parts:
                yield _scores_operator(block, count, layout, formats, part, traffic)
        elif isinstance(block, Recurrent):
            for part in work.parts:
                yield _recurrent_operator(block, count, layout, formats, part)
        yield _small_operator(block, count, stream, layout, work.tokens * activation)
        if layout.tp > 1 and not (isinstance(block, Experts) and layout.ep > layout.tp):
            yield Operator(
                name="all-reduce",
                component="network",
                kernel="all_reduce",
                count=count,
                message_bytes=stream,
                group=layout.tp,
            )


def _small_operator(block: Block, count: int, stream: Numbers, layout: Layout, token_bytes: Numbers) -> Operator:
    """Norm with residual (reads two, writes two), and the activation between the matrices of an MLP."""
    inner = block.width * (3 if block.gated else 2) / layout.tp if isinstance(block, FeedForward) else 0
    moved = SMALL_STREAMS * stream + inner * token_bytes
    return Operator(
        name="norms and activations",
        component="elementwise",
        kernel="elementwise",
        count=count,
        bytes=moved,
        shape={"kernels": 2.0 if inner else 1.0, "moved": moved},
    )


def product_format(stored: Precision, peak: str, *, blocks: bool) -> str:
    """The curve of a matrix product: by what is multiplied, and for 16-bit products by how weights are stored.

    `blocks`: the checkpoint's own fp8, which may have a scale per block.
    """
    if peak == "fp8":
        return (
            "fp8_block"
            if blocks and stored.scale_bits == BLOCK_SCALE_BITS and stored.block == BLOCK_ELEMENTS
            else "fp8"
        )
    if peak == "int8":
        return "int8"
    if peak == "fp4":
        return "nvfp4"
    if stored.bits < 6:
        return "int4"
    return "int8_wo" if stored.bits < 16 else "bf16"


def linear_operators(
    tensors: tuple[Tensor, ...], count: int, layout: Layout, formats: Formats, tokens: Numbers
) -> Iterator[Operator]:
    """The matrix products of a block."""
    for one in products(tensors, layout, formats):
        yield Operator(
            name=one.name,
            component=one.component,
            kernel="matrix_product",
            format=one.format,
            count=count,
            flops=2 * one.columns * one.inner * tokens,
            bytes=one.weight_bytes + (one.columns + one.inner) * tokens * formats.wide.bytes_per_element,
            peak=one.peak,
            shape={"rows": tokens, "columns": one.columns, "inner": one.inner, "weight_bytes": one.weight_bytes},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Product:
    """A matrix product on the most loaded rank, whatever the number of tokens."""

    name: str
    component: str
    format: str
    peak: str
    columns: float
    inner: float
    weight_bytes: float


@lru_cache(maxsize=4096)  # Every pass of a layout multiplies by the same matrices.
def products(tensors: tuple[Tensor, ...], layout: Layout, formats: Formats) -> tuple[Product, ...]:
    """The matrix products of a block; those with the same input (Q, K, V; gate and up) run as one."""
    together: dict[tuple[str, str, str, float], list[Tensor]] = {}
    for tensor in tensors:
        if tensor.kind == "linear" and tensor.group != "expert":
            peak = formats.multiplied(tensor)
            form = product_format(formats.stored(tensor), peak, blocks=formats.published)
            key = (COMPONENT[tensor.group], form, peak, local_shape(tensor, layout)[1])
            together.setdefault(key, []).append(tensor)
    return tuple(
        Product(
            name=" + ".join(short_name(tensor.name) for tensor in members),
            component=component,
            format=form,
            peak=peak,
            columns=sum(local_shape(tensor, layout)[0] * tensor.copies for tensor in members),
            inner=inner,
            weight_bytes=sum(tensor_bytes(tensor, layout, formats) for tensor in members),
        )
        for (component, form, peak, inner), members in together.items()
    )


def local_shape(tensor: Tensor, layout: Layout) -> tuple[float, float]:
    """(outputs, inputs) of a linear tensor on the most loaded tensor-parallel rank."""
    share = -(-tensor.split_units // layout.tp) / tensor.split_units
    outputs, inputs = tensor.shape
    return (outputs * share, inputs) if tensor.split_axis == 0 else (outputs, inputs * share)


def short_name(name: str) -> str:
    """A tensor's name without its module path and "_proj"."""
    return name.removesuffix(".weight").rsplit(".", 1)[-1].removesuffix("_proj")


def _experts_operators(
    block: Experts, count: int, model: Model, layout: Layout, formats: Formats, work: Pass, traffic: Traffic
) -> Iterator[Operator]:
    """Router and shared experts like any product; of the routed experts only those touched are read.

    With ep > tp the experts serve the tokens of all replicas that share them.
    """
    yield from linear_operators(block.tensors, count, layout, formats, work.tokens)
    routed = [t for t in block.tensors if t.group == "expert" and t.kind == "linear"]
    replicas = max(layout.ep // layout.tp, 1)
    tokens = work.tokens * replicas
    local = block.num_experts / layout.ep
    if traffic.collapsed_routing:
        touched = smaller(block.experts_per_token / layout.ep + 0.0 * tokens, local)
    else:
        touched = experts_touched(block.num_experts, block.experts_per_token, tokens) / layout.ep
    pairs = tokens * block.experts_per_token / layout.ep
    one = sum(t.params / t.copies for t in routed) / layout.expert_tensor_parallel
    one_bytes = sum(tensor_bytes(t, layout, formats) for t in routed) / local
    width = block.width / layout.expert_tensor_parallel
    peak = formats.multiplied(routed[0])
    stored = formats.stored(routed[0])
    busiest = pairs * (traffic.expert_imbalance if layout.ep > 1 else 1.0)
    activation = formats.wide.bytes_per_element
    yield Operator(
        name="experts",
        component="experts",
        kernel="experts",
        format="mxfp4" if stored.name == "mxfp4" else product_format(stored, peak, blocks=formats.published),
        count=count,
        flops=2 * one * pairs,
        bytes=touched * one_bytes + 2 * pairs * (model.hidden_size + width) * activation,
        peak=peak,
        shape={
            "pairs": pairs,
            "busiest": busiest,
            "touched": touched,
            "elements": one,
            "weight_bytes": one_bytes,
            "hidden": model.hidden_size,
            "width": width,
            "all_pairs": tokens * block.experts_per_token,
        },
    )
    if layout.ep > layout.tp:
        yield Operator(
            name="expert dispatch and combine",
            component="network",
            kernel="all_to_all",
            count=2 * count,
            message_bytes=work.tokens / layout.tp * block.experts_per_token * model.hidden_size * activation,
            group=layout.ep,
        )


def _scores_operator(
    block: Attention | LatentAttention, count: int, layout: Layout, formats: Formats, work: Pass, traffic: Traffic
) -> Operator:
    """Scores and weighted values: 2 pairs heads (key width + value width) FLOPs; the cache is read once.

    MLA decodes on the latent itself (absorbed projections, DeepSeek-V2 section 2.1.2) and prefills on expanded
    heads. A sparse indexer attends to its top-k only.
    """
    latent = isinstance(block, LatentAttention)
    heads = -(-block.num_heads // layout.tp)
    kv_heads = 1 if isinstance(block, LatentAttention) else -(-block.num_kv_heads // layout.tp)
    limit = (None if isinstance(block, LatentAttention) else block.window) or block.index_topk
    pairs = attended_pairs(work.new_tokens, work.cached_tokens, limit)
    decode = work.verifies or work.new_tokens <= 1
    if isinstance(block, LatentAttention):
        absorbed = 2 * block.kv_lora_rank + block.rope_dim
        expanded = block.nope_dim + block.rope_dim + block.value_dim
        width: float = absorbed if decode else expanded
        flops = 2 * pairs * heads * width
    else:
        width = (block.head_dim + block.value_dim) / 2
        flops = 4 * pairs * heads * width * (not block.cross)
    if block.index_topk:
        searched = attended_pairs(work.new_tokens, work.cached_tokens, None)
        flops = flops + 2 * searched * block.index_heads * block.index_dim
    context = work.cached_tokens + work.new_tokens
    attended = context if limit is None else smaller(context, limit)
    cached = layer_cache_bytes(Layer((block,)), context, layout, formats)
    passing = work.new_tokens * heads * block.value_dim * 2 * formats.wide.bytes_per_element
    # The queries of all drafts of a sequence share the rows of one multiplication by its cache.
    queries = heads * work.new_tokens if work.verifies else heads
    shape = {"sequences": work.sequences, "heads": queries, "width": width}
    if decode:
        shape |= {"context": attended, "cache_bytes": cached * work.sequences}
    else:
        shape |= {"new_tokens": work.new_tokens, "pairs": pairs}
    if not latent:
        shape["kv_heads"] = kv_heads
    narrow = formats.kv_cache.bits <= 8
    attention_format = ("fp8" if narrow else "bf16") if decode or latent else ("narrow" if narrow else "bf16_bf16")
    yields_fused = traffic.fused_attention or decode
    return Operator(
        name="attention",
        component="attention_scores",
        kernel=("latent_" if latent else "") + ("decode" if decode else "prefill") + ("" if latent else "_attention"),
        format=attention_format,
        count=count,
        flops=flops * work.sequences,
        bytes=(cached + passing) * work.sequences
        + (0.0 if yields_fused else SCORE_PASSES * pairs * heads * work.sequences * formats.wide.bytes_per_element),
        peak=formats.wide.peak,
        shape=shape | ({} if yields_fused else {"score_bytes": SCORE_PASSES * pairs * heads * work.sequences * 2}),
    )


def _recurrent_operator(block: Recurrent, count: int, layout: Layout, formats: Formats, work: Pass) -> Operator:
    """State update: the state of each sequence is read and written once per pass, and where drafts are verified
    written after each of them, to go back to the last that is accepted."""
    share = -(-block.heads // layout.tp) / block.heads
    flops = RECURRENT_FLOPS_PER_STATE_ELEMENT * block.state_elements * share * work.sequences * work.new_tokens
    transfers = 1 + work.new_tokens if work.verifies else 2
    moved = transfers * layer_cache_bytes(Layer((block,)), 0.0, layout, formats) * work.sequences
    return Operator(
        name="state update",
        component="state_space",
        kernel="recurrent_decode" if work.new_tokens <= 1 else "recurrent_prefill",
        count=count,
        flops=flops,
        bytes=moved,
        peak=formats.wide.peak,
        shape={"flops": flops, "moved": moved, "longest": work.new_tokens},
    )


def _head_operators(model: Model, layout: Layout, formats: Formats, work: Pass) -> Iterator[Operator]:
    """lm_head for the last position of each sequence (a tied head multiplies by the embedding table), and sampling."""
    tables = [t for t in model.head if t.group == "lm_head" and t.kind == "linear"]
    if not tables:
        tables = [t for t in model.embedding if t.kind == "table" and t.shape[0] == model.vocab_size]
    for table in tables:
        elements = table.params_per_rank(layout.tp)
        weight_bytes = elements * formats.stored(table).bytes_per_element
        inner = min(table.shape)
        peak = formats.multiplied(table)
        yield Operator(
            name="lm_head",
            component="lm_head",
            kernel="matrix_product",
            format=product_format(formats.stored(table), peak, blocks=False),
            flops=2 * elements * work.rows,
            bytes=weight_bytes + work.rows * (sum(table.shape) / layout.tp) * formats.wide.bytes_per_element,
            peak=peak,
            shape={"rows": work.rows, "columns": elements / inner, "inner": inner, "weight_bytes": weight_bytes},
        )
    moved = SAMPLING_PASSES * work.rows * model.vocab_size * FP32_BYTES
    yield Operator(
        name="sampling",
        component="elementwise",
        kernel="elementwise",
        bytes=moved,
        shape={"kernels": float(SAMPLING_PASSES), "moved": moved},
    )


def flops_by_component(model: Model, formats: Formats, work: Pass) -> dict[str, Numbers]:
    """FLOPs of a pass over the whole model, by component (no layout: what the arithmetic needs)."""
    totals: dict[str, Numbers] = {}
    for operator in forward_operators(model, Layout(), formats, work):
        if operator.component == "elementwise":
            continue
        totals[operator.component] = totals.get(operator.component, 0.0) + operator.count * operator.flops
    return totals
