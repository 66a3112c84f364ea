"""One forward pass as a list of operators: FLOPs, bytes moved, collectives. FLOPs tables and latency read this list.

A multiplication of m x k by k x n counts 2 m k n FLOPs. Everything is per GPU of one replica; counts of tokens,
sequences and contexts may be arrays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from app.calculations.architecture import Attention, Experts, LatentAttention, Layer, Model, Recurrent, Tensor
from app.calculations.arrays import Numbers, larger, where
from app.calculations.formats import Formats
from app.calculations.kv_cache import layer_cache_bytes
from app.calculations.parallelism import Layout
from app.calculations.weights import tensor_bytes

#: FLOPs per state element and token of a recurrent layer: decay, outer-product update and read-out, two each
#: (Mamba-2, arXiv:2405.21060, section 6).
RECURRENT_FLOPS_PER_STATE_ELEMENT = 6

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

    `peak` names the format multiplied in; `traffic` is "weights" or "cache", which reach different shares of the
    memory bandwidth. A collective has `message_bytes` over `group` GPUs instead.
    """

    name: str
    component: str
    count: int = 1
    flops: Numbers = 0.0
    bytes: Numbers = 0.0
    peak: str = ""
    traffic: str = "weights"
    collective: str = ""
    message_bytes: Numbers = 0.0
    group: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """What one step computes on one replica: `new_tokens` per sequence after `cached_tokens`, `sequences` of them.

    One row per sequence goes through lm_head: serving needs the logits of the last position only.
    """

    sequences: Numbers
    new_tokens: Numbers
    cached_tokens: Numbers

    @property
    def tokens(self) -> Numbers:
        return self.sequences * self.new_tokens


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


def forward_operators(model: Model, layout: Layout, formats: Formats, work: Pass) -> Iterator[Operator]:
    """The operators of one pass over the whole model, all pipeline stages one after the other."""
    for layer, count in model.layer_counts:
        yield from _layer_operators(layer, count, model, layout, formats, work)
    yield from _head_operators(model, layout, formats, work)
    if layout.pp > 1:
        yield Operator(
            name="pipeline hop",
            component="network",
            count=layout.pp - 1,
            collective="point_to_point",
            message_bytes=work.tokens * model.hidden_size * formats.wide.bytes_per_element,
            group=layout.tp * layout.pp,
        )


def _layer_operators(
    layer: Layer, count: int, model: Model, layout: Layout, formats: Formats, work: Pass
) -> Iterator[Operator]:
    activation = formats.wide.bytes_per_element
    for block in layer.blocks:
        if isinstance(block, Experts):
            yield from _experts_operators(block, count, model, layout, formats, work)
        else:
            yield from _linear_operators(block.tensors, count, layout, formats, work.tokens)
        if isinstance(block, Attention | LatentAttention):
            yield _scores_operator(block, Layer((block,)), count, layout, formats, work)
        elif isinstance(block, Recurrent):
            yield _recurrent_operator(block, Layer((block,)), count, layout, formats, work)
        if layout.tp > 1 and not (isinstance(block, Experts) and layout.ep > layout.tp):
            yield Operator(
                name="all-reduce",
                component="network",
                count=count,
                collective="all_reduce",
                message_bytes=work.tokens * model.hidden_size * activation,
                group=layout.tp,
            )


def _linear_operators(
    tensors: tuple[Tensor, ...], count: int, layout: Layout, formats: Formats, tokens: Numbers
) -> Iterator[Operator]:
    """The matrix products of a block, one operator per component and format."""
    products: dict[tuple[str, str], list[Tensor]] = {}
    for tensor in tensors:
        if tensor.kind == "linear" and tensor.group != "expert":
            products.setdefault((COMPONENT[tensor.group], formats.multiplied(tensor)), []).append(tensor)
    for (component, peak), members in products.items():
        elements = sum(tensor.params_per_rank(layout.tp) for tensor in members)
        moved = sum(tensor_bytes(tensor, layout, formats) for tensor in members)
        passing = sum(sum(tensor.shape) for tensor in members) / layout.tp * formats.wide.bytes_per_element
        yield Operator(
            name=component.replace("_", " "),
            component=component,
            count=count,
            flops=2 * elements * tokens,
            bytes=moved + passing * tokens,
            peak=peak,
        )


def _experts_operators(
    block: Experts, count: int, model: Model, layout: Layout, formats: Formats, work: Pass
) -> Iterator[Operator]:
    """Router and shared experts like any product; of the routed experts only those touched are read.

    With ep > tp the experts serve the tokens of all replicas that share them.
    """
    yield from _linear_operators(block.tensors, count, layout, formats, work.tokens)
    routed = [t for t in block.tensors if t.group == "expert" and t.kind == "linear"]
    replicas = max(layout.ep // layout.tp, 1)
    tokens = work.tokens * replicas
    touched = experts_touched(block.num_experts, block.experts_per_token, tokens) / block.num_experts
    elements = sum(t.params / t.copies for t in routed) * block.experts_per_token / layout.expert_shards
    passing = sum(sum(t.shape) for t in routed) * block.experts_per_token / layout.expert_shards
    activation = formats.wide.bytes_per_element
    yield Operator(
        name="experts",
        component="experts",
        count=count,
        flops=2 * elements * tokens,
        bytes=touched * sum(tensor_bytes(t, layout, formats) for t in routed) + passing * tokens * activation,
        peak=formats.multiplied(routed[0]),
    )
    if layout.ep > layout.tp:
        yield Operator(
            name="expert dispatch and combine",
            component="network",
            count=2 * count,
            collective="all_to_all",
            message_bytes=work.tokens / layout.tp * block.experts_per_token * model.hidden_size * activation,
            group=layout.ep,
        )


def _scores_operator(
    block: Attention | LatentAttention, alone: Layer, count: int, layout: Layout, formats: Formats, work: Pass
) -> Operator:
    """Scores and weighted values: 2 pairs heads (key width + value width) FLOPs; the cache is read once.

    MLA decodes on the latent itself (absorbed projections, DeepSeek-V2 section 2.1.2) and prefills on expanded
    heads. A sparse indexer attends to its top-k only.
    """
    heads = -(-block.num_heads // layout.tp)
    limit = block.window if isinstance(block, Attention) else None
    pairs = attended_pairs(work.new_tokens, work.cached_tokens, limit or block.index_topk)
    if isinstance(block, LatentAttention):
        absorbed = 2 * block.kv_lora_rank + block.rope_dim
        expanded = block.nope_dim + block.rope_dim + block.value_dim
        flops = 2 * pairs * heads * where(work.new_tokens <= 1, absorbed, expanded)
    else:
        flops = 2 * pairs * heads * (block.head_dim + block.value_dim) * (not block.cross)
    if block.index_topk:
        searched = attended_pairs(work.new_tokens, work.cached_tokens, None)
        flops = flops + 2 * searched * block.index_heads * block.index_dim
    context = work.cached_tokens + work.new_tokens
    read = layer_cache_bytes(alone, context, layout, formats)
    passing = work.new_tokens * heads * block.value_dim * 2 * formats.wide.bytes_per_element
    return Operator(
        name="attention scores",
        component="attention_scores",
        count=count,
        flops=flops * work.sequences,
        bytes=(read + passing) * work.sequences,
        peak=formats.wide.peak,
        traffic="cache",
    )


def _recurrent_operator(
    block: Recurrent, alone: Layer, count: int, layout: Layout, formats: Formats, work: Pass
) -> Operator:
    """State update: the state of each sequence is read and written once per pass."""
    share = -(-block.heads // layout.tp) / block.heads
    return Operator(
        name="state update",
        component="state_space",
        count=count,
        flops=RECURRENT_FLOPS_PER_STATE_ELEMENT * block.state_elements * share * work.tokens,
        bytes=2 * layer_cache_bytes(alone, 0.0, layout, formats) * work.sequences,
        peak=formats.wide.peak,
        traffic="cache",
    )


def _head_operators(model: Model, layout: Layout, formats: Formats, work: Pass) -> Iterator[Operator]:
    """lm_head for the last position of each sequence; a tied head multiplies by the embedding table."""
    tables = [t for t in model.head if t.group == "lm_head" and t.kind == "linear"]
    if not tables:
        tables = [t for t in model.embedding if t.kind == "table" and t.shape[0] == model.vocab_size]
    for table in tables:
        elements = table.params_per_rank(layout.tp)
        yield Operator(
            name="lm_head",
            component="lm_head",
            flops=2 * elements * work.sequences,
            bytes=elements * formats.stored(table).bytes_per_element
            + work.sequences * (sum(table.shape) / layout.tp) * formats.wide.bytes_per_element,
            peak=formats.multiplied(table),
        )


def flops_by_component(model: Model, formats: Formats, work: Pass) -> dict[str, Numbers]:
    """FLOPs of a pass over the whole model, by component (no layout: what the arithmetic needs)."""
    totals: dict[str, Numbers] = {}
    for operator in forward_operators(model, Layout(), formats, work):
        totals[operator.component] = totals.get(operator.component, 0.0) + operator.count * operator.flops
    return totals
