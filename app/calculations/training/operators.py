"""Forward work of one token on one GPU: FLOPs of products, attention and experts, and what moves through memory.

Counted over the real tensors of a model; 2 FLOPs per parameter and token, 2 per score and element of a head.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil

from app.calculations.architecture import (
    Attention,
    Block,
    Experts,
    FeedForward,
    LatentAttention,
    Model,
    Recurrent,
    Tensor,
)
from app.calculations.operators import RECURRENT_FLOPS_PER_STATE_ELEMENT, attended_pairs
from app.calculations.training.adapters import products
from app.calculations.training.recipe import Adapter

#: Passes of the residual stream around a block: norm and residual addition.
STREAMS_PER_BLOCK = 2
#: Elements that a side of a product should be a multiple of: 128 bytes of 16-bit numbers, and the tile of grouped and
#: 8-bit products.
WIDE_TILE, TILE = 64, 128


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenWork:
    """Forward pass of one token on the GPUs of a tensor-parallel rank, over all pipeline stages; head apart.

    FLOPs of dense products, of routed experts and of the scores (causal: half of the square); `*_narrowness` is the
    mean of 1 / columns + 1 / inner width of the products, weighted by FLOPs: narrow products reach less of the peak.
    """

    linear_flops: float
    linear_narrowness: float
    #: Share of the products that do not fill tiles.
    ragged_share: float
    expert_flops: float
    expert_narrowness: float
    ragged_experts: float
    head_flops: float
    attention_flops: float
    #: Scores that an unfused softmax writes and reads: heads x context.
    scores: float
    recurrent_flops: float
    #: Of adapters, all trained.
    adapter_flops: float
    adapter_narrowness: float
    #: Elements that norms, activations and residuals pass over; of them between routed experts' products.
    elements: float
    expert_elements: float
    #: Elements sent to the experts, and back.
    routed_elements: float
    #: Key and value elements that context parallelism passes round.
    kv_elements: float
    #: Blocks whose output tensor parallelism sums up, layers with experts.
    reduced_blocks: int
    expert_layers: int
    layers: int


def context_per_token(seq_len: int, window: int | None) -> float:
    """Mean number of positions that a token attends to under a causal mask."""
    return float(attended_pairs(seq_len, 0, window)) / seq_len


def product_flops(tensor: Tensor, tp: int) -> float:
    """Forward FLOPs of one token through all copies of a linear tensor."""
    return 2 * tensor.params_per_rank(tp)


def narrowness(tensor: Tensor, tp: int) -> float:
    """1 / columns + 1 / inner width of a product as a rank computes it."""
    outputs, inputs = tensor.shape[0], tensor.shape[1]
    cut = ceil(tensor.split_units / tp) / tensor.split_units
    sizes = (outputs * cut, inputs) if tensor.split_axis == 0 else (outputs, inputs * cut)
    return 1 / sizes[0] + 1 / sizes[1]


def attention_width(block: Attention | LatentAttention) -> float:
    """Multiply-adds per query-key pair and head: key width + value width."""
    if isinstance(block, LatentAttention):
        return block.nope_dim + block.rope_dim + block.value_dim
    return block.head_dim + block.value_dim


def attention_flops(block: Attention | LatentAttention, seq_len: int, tp: int) -> float:
    """Forward FLOPs of one token's scores and weighted values."""
    if isinstance(block, Attention) and block.cross:
        return 0.0
    window = None if isinstance(block, LatentAttention) else block.window
    attended = context_per_token(seq_len, window)
    if isinstance(block, Attention) and block.compression:
        attended += min(context_per_token(seq_len, None) / block.compression, block.index_topk or seq_len)
    elif block.index_topk:
        attended = min(attended, block.index_topk)
    flops = 2 * attended * ceil(block.num_heads / tp) * attention_width(block)
    if block.index_topk:
        rows = context_per_token(seq_len, None) / max(getattr(block, "compression", 0), 1)
        flops += 2 * rows * block.index_heads * block.index_dim
    return flops


def block_elements(block: Block, hidden_size: int, tp: int, stream_tp: int) -> float:
    """Elements that a token makes the block's elementwise kernels pass over, routed experts apart.

    Sequence parallelism divides the residual stream, too (`stream_tp` = tp).
    """
    stream = STREAMS_PER_BLOCK * hidden_size / stream_tp
    if isinstance(block, FeedForward):
        return stream + (3 if block.gated else 2) * block.width / tp
    if isinstance(block, Recurrent):
        return stream + 2 * sum(t.shape[0] for t in block.tensors if t.kind == "linear") / tp
    return float(stream)


def ragged(tensor: Tensor, tp: int, tile: int) -> bool:
    """Whether a rank's part of a product does not fill tensor-core tiles: a side that is no multiple of `tile`.

    Tile quantisation: NVIDIA, Matrix Multiplication Background User's Guide, section 2.2.
    """
    cut = ceil(tensor.split_units / tp) / tensor.split_units
    return any(round(size * (cut if axis == tensor.split_axis else 1)) % tile for axis, size in enumerate(tensor.shape))


@dataclass(slots=True)
class Products:
    """FLOPs of products as they are summed up, with what slows them."""

    flops: float = 0.0
    narrow: float = 0.0
    ragged: float = 0.0

    def add(self, flops: float, tensor: Tensor, tp: int, tile: int) -> None:
        self.flops += flops
        self.narrow += flops * narrowness(tensor, tp)
        self.ragged += flops * ragged(tensor, tp, tile)

    def share(self, part: float) -> float:
        return part / self.flops if self.flops else 0.0


def token_work(
    model: Model,
    seq_len: int,
    *,
    tp: int = 1,
    expert_tp: int = 1,
    sequence_parallel: bool = True,
    multi_token: int = 0,
    tile: int = WIDE_TILE,
    adapter: Adapter | None = None,
) -> TokenWork:
    """The forward work of one token; `multi_token` prediction modules add as many last layers and heads."""
    dense, routed = Products(), Products()
    counts = [
        (block, count + (multi_token if layer == model.layers[-1] else 0))
        for layer, count in model.layer_counts
        for block in layer.blocks
    ]
    for block, count in counts:
        for tensor in (one for one in block.tensors if one.kind == "linear"):
            if isinstance(block, Experts) and tensor.group == "expert":
                # Each tensor-parallel rank routes its share of the tokens to whole experts.
                share = block.experts_per_token / block.num_experts * expert_tp / tp
                routed.add(count * product_flops(tensor, expert_tp) * share, tensor, expert_tp, TILE)
            else:
                dense.add(count * product_flops(tensor, tp), tensor, tp, tile)
    beside = [
        (count * flops, narrow)
        for block, count in counts
        if adapter
        for flops, narrow in products(block, adapter, model.hidden_size, tp, expert_tp)
    ]
    adapters = sum(flops for flops, _ in beside)
    attentions = [(one, count) for one, count in counts if isinstance(one, Attention | LatentAttention)]
    experts = [(one, count) for one, count in counts if isinstance(one, Experts)]
    states = sum(count * one.state_elements for one, count in counts if isinstance(one, Recurrent))
    stream_tp = tp if sequence_parallel else 1
    return TokenWork(
        linear_flops=dense.flops,
        linear_narrowness=dense.share(dense.narrow),
        ragged_share=dense.share(dense.ragged),
        expert_flops=routed.flops,
        expert_narrowness=routed.share(routed.narrow),
        ragged_experts=routed.share(routed.ragged),
        head_flops=(1 + multi_token) * 2 * model.hidden_size * model.vocab_size / tp,
        attention_flops=sum(count * attention_flops(one, seq_len, tp) for one, count in attentions),
        scores=sum(count * ceil(one.num_heads / tp) * float(seq_len) for one, count in attentions),
        adapter_flops=adapters,
        adapter_narrowness=sum(flops * narrow for flops, narrow in beside) / adapters if adapters else 0.0,
        recurrent_flops=RECURRENT_FLOPS_PER_STATE_ELEMENT * states / tp,
        elements=sum(count * block_elements(one, model.hidden_size, tp, stream_tp) for one, count in counts),
        expert_elements=sum(count * expert_elements(one, model.hidden_size) / tp for one, count in experts),
        routed_elements=sum(count * one.experts_per_token * model.hidden_size / tp for one, count in experts),
        kv_elements=sum(count * kv_width(one) / tp for one, count in attentions),
        reduced_blocks=sum(count for _, count in counts),
        expert_layers=sum(count for _, count in experts),
        layers=model.num_layers + multi_token,
    )


def expert_elements(block: Experts, hidden_size: int) -> float:
    """Elements of a token between routed experts' products, and of its permutation."""
    return block.experts_per_token * (hidden_size + (3 if block.gated else 2) * block.width)


def kv_width(block: Attention | LatentAttention) -> float:
    """Key and value elements of one token, expanded to heads where they are latent."""
    if isinstance(block, LatentAttention):
        return block.num_heads * attention_width(block)
    return block.num_kv_heads * (block.head_dim + block.value_dim)


def experts_per_token(model: Model) -> int:
    """Routed experts that a token runs through; 0 for a dense model."""
    blocks = (block for layer, _ in model.layer_counts for block in layer.blocks)
    return max((block.experts_per_token for block in blocks if isinstance(block, Experts)), default=0)
