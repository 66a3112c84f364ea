"""Attention blocks: grouped queries, latents (MLA), compressed (DeepSeek-V4) and cross-attention."""

from __future__ import annotations

from collections.abc import Mapping

from app.calculations.architecture import Attention, LatentAttention
from app.calculations.errors import InvalidInput
from app.calculations.huggingface.config import Config
from app.calculations.huggingface.family import Family
from app.calculations.huggingface.mixers import window_size
from app.calculations.huggingface.schedule_plan import LayerPlan
from app.calculations.huggingface.tensors import Tensors, column, norm, replicated, row, vector


def head_counts(config: Config, family: Family, plan: LayerPlan) -> tuple[int, int, int]:
    """(query heads, key/value heads, head size) of a layer.

    head_dim is its own key; hidden_size / num_attention_heads only where it is absent or null.
    """
    heads = config.size("num_attention_heads")
    kv_heads = kv_head_count(config, family, heads)
    head_dim = config.integer("head_dim")
    if head_dim is None:
        hidden = config.size("hidden_size")
        if hidden % heads:
            raise InvalidInput(
                config.field("num_attention_heads"),
                f"{config.spelled('num_attention_heads')} is {heads}, no divisor of hidden_size {hidden}",
                f"a divisor of {hidden}, or state head_dim",
            )
        head_dim = hidden // heads
    if family.special == "gemma4" and plan.mixer == "full":
        # Gemma 4: global layers have their own head size, and their own key/value heads where K equals V.
        head_dim = config.integer("global_head_dim") or head_dim
        if config.flag("attention_k_eq_v"):
            kv_heads = config.integer("num_global_key_value_heads") or kv_heads
    if plan.mixer == "sliding":
        heads, kv_heads, head_dim = sliding_head_counts(config, heads, kv_heads, head_dim)
    if plan.kv_heads is not None:
        kv_heads = plan.kv_heads
    if heads % kv_heads:
        raise InvalidInput(
            config.field("num_key_value_heads"),
            f"{config.spelled('num_key_value_heads')} is {kv_heads}, no divisor of {heads} attention heads",
            f"a divisor of {heads}",
        )
    return heads, kv_heads, head_dim


def sliding_head_counts(config: Config, heads: int, kv_heads: int, head_dim: int) -> tuple[int, int, int]:
    """Head counts of windowed layers where they have their own: MiMo-V2 (swa_*), Step-3.5."""
    other = config.get("attention_other_setting")
    if isinstance(other, Mapping):
        field = "config.attention_other_setting"
        heads = config.checked(f"{field}.num_attention_heads", other.get("num_attention_heads", heads), 1, 100_000)
        groups = other.get("num_attention_groups", kv_heads)
        kv_heads = config.checked(f"{field}.num_attention_groups", groups, 1, 100_000)
    heads = config.integer("sliding_attention_heads") or heads
    return heads, config.integer("swa_num_key_value_heads") or kv_heads, config.integer("swa_head_dim") or head_dim


def has_sinks(config: Config, family: Family, plan: LayerPlan) -> bool:
    """Attention sinks: on all layers (gpt-oss), or by kind of layer (MiMo-V2)."""
    if family.special == "mimo_v2":
        return config.flag(f"add_{'swa' if plan.mixer == 'sliding' else 'full'}_attention_sink_bias")
    return family.sinks


def kv_head_count(config: Config, family: Family, heads: int) -> int:
    """Key/value heads; as many as query heads where nothing says otherwise."""
    stated = config.integer("num_key_value_heads")
    if family.special == "falcon":
        # Falcon counts groups only in its new architecture; before, one shared head or all of them.
        if config.flag("new_decoder_architecture"):
            return stated or heads
        return 1 if config.flag("multi_query") else heads
    if family.special == "multi_query":
        if config.flag("multi_query"):
            return 1
        return (stated or heads) if config.flag("multi_query_attention") else heads
    return stated or heads


def attention(config: Config, family: Family, plan: LayerPlan) -> Attention | LatentAttention:
    """The attention block that a layer's plan asks for."""
    if family.special == "deepseek_v4":
        return compressed_attention(config, plan)
    if plan.mixer != "cross" and config.integer("kv_lora_rank") is not None:
        return latent_attention(config, family, plan)
    return grouped_attention(config, family, plan)


def grouped_attention(config: Config, family: Family, plan: LayerPlan) -> Attention:
    """Multi-head, grouped-query or multi-query attention, with whatever the family adds to it."""
    hidden = config.size("hidden_size")
    heads, kv_heads, head_dim = head_counts(config, family, plan)
    value_dim = config.integer("v_head_dim") or head_dim
    if plan.mixer == "sliding":
        value_dim = config.integer("swa_v_head_dim") or value_dim
    cross = plan.mixer == "cross"
    biased = config.rule(family.qkv_bias)
    gate = 2 if config.rule(family.output_gate) else 1
    # Gemma 4: global layers take the values from the key projection.
    keys_are_values = family.special == "gemma4" and plan.mixer == "full" and config.flag("attention_k_eq_v")
    shared_queries = config.integer("share_q_dim")
    tensors: Tensors = ()
    if shared_queries:
        # Step-3 (arXiv:2507.19427, MFA): queries by way of a narrower vector.
        tensors = replicated("q_a_proj", "attention", shared_queries, hidden)
        tensors += norm("q_a_norm", "rms", shared_queries)
    query_inputs = shared_queries or hidden
    tensors += column("q_proj", "attention", gate * heads * head_dim, query_inputs, heads, bias=biased)
    if plan.owns_cache:
        tensors += column("k_proj", "attention", kv_heads * head_dim, hidden, kv_heads, bias=biased)
        if not keys_are_values:
            tensors += column("v_proj", "attention", kv_heads * value_dim, hidden, kv_heads, bias=biased)
    output_bias = config.rule(family.output_bias)
    tensors += row("o_proj", "attention", hidden, heads * value_dim, heads, bias=output_bias)
    tensors += query_key_norms(config, family, heads, kv_heads, head_dim, plan)
    if config.rule(family.head_gate):
        tensors += column("g_proj", "attention", heads, hidden, heads)
    if has_sinks(config, family, plan):
        tensors += vector("sinks", "attention", heads, units=heads)
    index_heads, index_dim, index_topk = 0, 0, None
    if family.special == "block_sparse" and plan.own_index:
        index_heads, index_dim, index_topk = block_index_sizes(config)
        tensors += replicated("index_q_proj", "attention", index_heads * index_dim, hidden)
        tensors += replicated("index_k_proj", "attention", index_dim, hidden)
        tensors += norm("index_q_norm", "rms", index_dim) + norm("index_k_norm", "rms", index_dim)
    return Attention(
        tensors=tensors,
        num_heads=heads,
        num_kv_heads=kv_heads,
        head_dim=head_dim,
        value_dim=value_dim,
        window=window_size(config) if plan.mixer == "sliding" else None,
        owns_cache=plan.owns_cache,
        cross=cross,
        index_heads=index_heads,
        index_dim=index_dim,
        index_topk=index_topk,
    )


def query_key_norms(
    config: Config, family: Family, heads: int, kv_heads: int, head_dim: int, plan: LayerPlan
) -> Tensors:
    """Norms on queries and keys: per head size (Qwen3), per head (Command R+) or over all heads (OLMo 2)."""
    # Llama 3.2 Vision norms the queries and keys of cross-attention only.
    style = "head" if plan.mixer == "cross" else family.qk_norm
    if not style or not (plan.mixer == "cross" or config.rule(family.qk_norm_when)):
        return ()
    kind = family.norm if family.norm in ("layer", "layer_no_bias") else "rms"
    if style == "heads":
        return norm("q_norm", "rms", heads, head_dim) + norm("k_norm", "rms", kv_heads, head_dim)
    query, key = (heads * head_dim, kv_heads * head_dim) if style == "width" else (head_dim, head_dim)
    return norm("q_norm", kind, query) + (norm("k_norm", kind, key) if plan.owns_cache else ())


def block_index_sizes(config: Config) -> tuple[int, int, int]:
    """(heads, size, tokens attended) of MiniMax-M3's block indexer."""
    blocks, size = config.integer("block_index_topk") or 16, config.integer("block_index_size") or 128
    config.ignore("use_sparse_attention", "index_local_blocks")
    return config.integer("block_index_heads") or 4, config.integer("block_index_dim") or 128, blocks * size


def latent_attention(config: Config, family: Family, plan: LayerPlan) -> LatentAttention:
    """MLA (arXiv:2405.04434): down to a latent and a shared rotary key, up again by head.

    q_lora_rank null means that the queries are not compressed. attention_bias adds biases to the down
    projections and to o_proj.
    """
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    rank, rope = config.size("kv_lora_rank"), config.size("qk_rope_head_dim", minimum=0)
    nope, value = config.size("qk_nope_head_dim"), config.size("v_head_dim")
    query_rank = config.integer("q_lora_rank")
    config.ignore("num_key_value_heads", "head_dim")
    biased = config.rule(family.output_bias)
    if query_rank is None:
        tensors = column("q_proj", "attention", heads * (nope + rope), hidden, heads)
    else:
        tensors = replicated("q_a_proj", "attention", query_rank, hidden, bias=biased)
        tensors += norm("q_a_layernorm", "rms", query_rank)
        tensors += column("q_b_proj", "attention", heads * (nope + rope), query_rank, heads)
    tensors += replicated("kv_a_proj", "attention", rank + rope, hidden, bias=biased)
    tensors += norm("kv_a_layernorm", "rms", rank)
    tensors += column("kv_b_proj", "attention", heads * (nope + value), rank, heads)
    tensors += row("o_proj", "attention", hidden, heads * value, heads, bias=biased)
    if config.flag("mla_use_output_gate"):
        # Kimi K3.
        tensors += column("g_proj", "attention", heads * value, hidden, heads)
    index_heads, index_dim, index_topk = 0, 0, None
    if family.special == "indexer" or config.states("index_topk"):
        index_topk = config.size("index_topk")
        heads_stated, dim_stated = config.size("index_n_heads"), config.size("index_head_dim")
        if plan.own_index:
            index_heads, index_dim = heads_stated, dim_stated
            tensors += indexer(hidden, query_rank or hidden, index_heads, index_dim)
    return LatentAttention(
        tensors=tensors,
        num_heads=heads,
        kv_lora_rank=rank,
        rope_dim=rope,
        nope_dim=nope,
        value_dim=value,
        index_heads=index_heads,
        index_dim=index_dim,
        index_topk=index_topk,
    )


def indexer(hidden: int, query_rank: int, heads: int, head_dim: int) -> Tensors:
    """The lightning indexer of DeepSeek-V3.2 (DSA): scores every cached token to choose the attended ones."""
    return (
        replicated("index_q_b", "attention", heads * head_dim, query_rank)
        + replicated("index_k", "attention", head_dim, hidden)
        + norm("index_k_norm", "layer", head_dim)
        + replicated("index_weights", "attention", heads, hidden)
    )


def compressed_attention(config: Config, plan: LayerPlan) -> Attention:
    """DeepSeek-V4: one key that is also the value, a window of raw rows and compressed rows beyond it.

    Compression 4 (compressed sparse attention, with an indexer) overlaps two blocks, so its projections are
    twice as wide; compression 128 (heavily compressed) has no indexer. The output goes through `o_groups`
    block-diagonal projections to o_lora_rank each. Sinks as in gpt-oss.
    """
    hidden, heads = config.size("hidden_size"), config.size("num_attention_heads")
    head_dim, query_rank = config.size("head_dim"), config.size("q_lora_rank")
    groups, output_rank = config.size("o_groups"), config.size("o_lora_rank")
    config.ignore("num_key_value_heads", "qk_rope_head_dim", "attention_bias")
    if heads * head_dim % groups:
        raise InvalidInput("config.o_groups", f"o_groups is {groups}", f"a divisor of {heads * head_dim}")
    tensors = (
        vector("sinks", "attention", heads, units=heads)
        + replicated("q_a_proj", "attention", query_rank, hidden)
        + norm("q_a_norm", "rms", query_rank)
        + column("q_b_proj", "attention", heads * head_dim, query_rank, heads)
        + replicated("kv_proj", "attention", head_dim, hidden)
        + norm("kv_norm", "rms", head_dim)
        + column("o_a_proj", "attention", groups * output_rank, heads * head_dim // groups, groups)
        + row("o_b_proj", "attention", hidden, groups * output_rank, groups)
    )
    index_heads, index_dim, index_topk = 0, 0, None
    sparse = 0 < plan.compression < 128
    if plan.compression:
        tensors += compressor("compressor", hidden, head_dim, plan.compression, overlapping=sparse)
    if sparse:
        index_heads, index_dim = config.size("index_n_heads"), config.size("index_head_dim")
        index_topk = config.size("index_topk")
        tensors += compressor("indexer", hidden, index_dim, plan.compression, overlapping=True)
        tensors += replicated("indexer_q_b_proj", "attention", index_heads * index_dim, query_rank)
        tensors += replicated("indexer_weights_proj", "attention", index_heads, hidden)
    return Attention(
        tensors=tensors,
        num_heads=heads,
        num_kv_heads=1,
        head_dim=head_dim,
        value_dim=head_dim,
        window=window_size(config),
        shares_key_value=True,
        compression=plan.compression,
        index_heads=index_heads,
        index_dim=index_dim,
        index_topk=index_topk,
    )


def compressor(name: str, hidden: int, head_dim: int, rate: int, *, overlapping: bool) -> Tensors:
    """Gated pooling of `rate` tokens into one row; overlapping blocks double its width."""
    width = 2 * head_dim if overlapping else head_dim
    return (
        vector(f"{name}_position_bias", "attention", rate, width)
        + replicated(f"{name}_kv_proj", "attention", width, hidden)
        + replicated(f"{name}_gate_proj", "attention", width, hidden)
        + norm(f"{name}_kv_norm", "rms", head_dim)
    )
