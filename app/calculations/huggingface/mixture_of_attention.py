"""JetMoE's attention (arXiv:2404.07413): experts for the queries and the output, one key and value for all."""

from __future__ import annotations

from app.calculations.architecture import Attention, Block, Experts
from app.calculations.huggingface.config import Config
from app.calculations.huggingface.tensors import column, replicated, row, vector


def mixture_of_attention(config: Config) -> list[Block]:
    """The key/value projection with its cache, and the experts that make queries and mix the output."""
    hidden, kv_heads = config.size("hidden_size"), config.size("num_key_value_heads")
    size, used = config.size("head_dim"), config.size("num_experts_per_tok")
    count, width = config.size("num_experts"), kv_heads * size
    keys = column("kv_proj", "attention", 2 * width, hidden, kv_heads)
    config.ignore("num_attention_heads", "aux_loss_coef")
    queries = (
        replicated("attention_router", "router", count, hidden)
        + column("attention_input", "expert", width, hidden, width, copies=count)
        + row("attention_output", "expert", hidden, width, width, copies=count)
        + vector("attention_bias", "attention", hidden)
        + vector("mlp_output_bias", "mlp", hidden)
    )
    return [
        Attention(tensors=keys, num_heads=kv_heads * used, num_kv_heads=kv_heads, head_dim=size, value_dim=size),
        Experts(tensors=queries, num_experts=count, experts_per_token=used, width=width, gated=False),
    ]
