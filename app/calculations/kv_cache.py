"""Cache and state of a sequence, layer by layer: a curve of its length, bent by windows, flat for states."""

from __future__ import annotations

from collections.abc import Iterator

from app.calculations.architecture import Attention, Block, LatentAttention, Layer, Recurrent
from app.calculations.arrays import Numbers, smaller
from app.calculations.formats import Formats
from app.calculations.parallelism import Layout

#: The indexer's key cache of sparse attention is FP8 (DeepSeek-V3.2 release).
INDEX_BYTES_PER_ELEMENT = 1.0
#: An FP8 latent of sparse attention keeps its rotary part in 16 bits and one fp32 scale per 128 elements: 656 bytes a
#: token and layer for DeepSeek-V3.2 (vLLM, cache type fp8_ds_mla).
SCALED_LATENT_BLOCK = 128


def cached_tokens(block: Attention, tokens: Numbers, frees_windows: bool = True) -> Numbers:
    """Rows of the cache that a sequence of `tokens` holds in one layer: windows saturate, compressed rows grow."""
    if block.window is None or not (frees_windows or block.compression):
        return tokens
    rows = smaller(tokens, block.window)
    if block.compression:
        rows = rows + tokens / block.compression
    return rows


def attention_cache_bytes(
    block: Attention, tokens: Numbers, layout: Layout, formats: Formats, frees_windows: bool = True
) -> Numbers:
    """Keys and values of one layer on one rank; heads are cut over tp and replicated beyond their number."""
    if not block.cache_elements_per_token:
        return 0.0 * tokens
    heads = -(-block.num_kv_heads // layout.tp)
    row = block.head_dim * formats.kv_cache.bytes_per_element
    if not block.shares_key_value:
        row += block.value_dim * formats.values.bytes_per_element
    return (
        heads * row * cached_tokens(block, tokens, frees_windows) + block.index_dim * INDEX_BYTES_PER_ELEMENT * tokens
    )


def latent_cache_bytes(block: LatentAttention, tokens: Numbers, formats: Formats) -> Numbers:
    """The latent and its rotary key, whole on every rank, and the indexer's keys."""
    size = formats.kv_cache.bytes_per_element
    row = block.cache_elements_per_token * size
    if block.index_topk and formats.kv_cache.name == "fp8":
        row = block.kv_lora_rank * (1 + 4 / SCALED_LATENT_BLOCK) + block.rope_dim * 2
    return (row + block.index_dim * INDEX_BYTES_PER_ELEMENT) * tokens


def state_bytes(block: Recurrent, layout: Layout, formats: Formats) -> float:
    """Recurrent state and convolution columns of one sequence, cut over tp by heads."""
    share = -(-block.heads // layout.tp) / block.heads
    return (block.state_elements + block.conv_elements) * share * formats.wide.bytes_per_element


def layer_cache_bytes(
    layer: Layer, tokens: Numbers, layout: Layout, formats: Formats, frees_windows: bool = True
) -> Numbers:
    """Cache and state bytes of one layer for one sequence of `tokens` on one tensor-parallel rank."""
    total: Numbers = 0.0 * tokens
    for _, part in layer_cache_terms(layer, tokens, layout, formats, frees_windows):
        total = total + part
    return total


def layer_cache_terms(
    layer: Layer, tokens: Numbers, layout: Layout, formats: Formats, frees_windows: bool = True
) -> Iterator[tuple[str, Numbers]]:
    """(kind of cache, bytes) of the layer's blocks."""
    for block in layer.blocks:
        kind = cache_kind(block)
        if isinstance(block, Attention) and kind:
            yield kind, attention_cache_bytes(block, tokens, layout, formats, frees_windows)
        elif isinstance(block, LatentAttention):
            yield kind, latent_cache_bytes(block, tokens, formats)
        elif isinstance(block, Recurrent):
            yield kind, state_bytes(block, layout, formats) + 0.0 * tokens


def cache_kind(block: Block) -> str:
    """What a block keeps for a sequence, in words; "" for nothing."""
    if isinstance(block, Attention):
        if not block.cache_elements_per_token:
            return ""
        return "full attention" if block.window is None else f"window of {block.window:,} tokens"
    if isinstance(block, LatentAttention):
        return "latent"
    return "recurrent state" if isinstance(block, Recurrent) else ""
