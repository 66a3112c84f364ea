"""What stands before the first layer and after the last: embeddings, final norm, lm_head."""

from __future__ import annotations

from app.calculations.architecture import Tensor
from app.calculations.huggingface.config import Config
from app.calculations.huggingface.family import Family
from app.calculations.huggingface.layer_extras import attention_residual, embeds_by_layer, mixes_residuals
from app.calculations.huggingface.tensors import Tensors, column, norm, replicated, vector


def embedding_tensors(config: Config, family: Family, norms: str, hidden: int, vocab: int, layers: int) -> Tensors:
    """Token table, learned positions and what else comes before the first layer."""
    rows = vocab + (8 if family.special == "mllama" else 0)
    width = (config.integer("word_embed_proj_dim") or hidden) if family.special == "opt" else hidden
    tensors: Tensors = (Tensor("embed_tokens", "embedding", (rows, width), "table", 1, rows, 0),)
    offset = family.position_offset
    if family.special == "custom" and config.flag("learned_positions"):
        offset = config.integer("position_offset", minimum=0) or 0
    if offset is not None:
        positions = config.size("max_position_embeddings") + offset
        tensors += (Tensor("embed_positions", "embedding", (positions, hidden), "table"),)
    if width != hidden:
        # OPT-350m embeds at 512 and works at 1,024.
        tensors += replicated("project_in", "other", hidden, width) + replicated("project_out", "other", width, hidden)
    if family.embedding_norm:
        tensors += norm("embedding_norm", norms, hidden)
    per_layer = config.integer("hidden_size_per_layer_input", minimum=0) if embeds_by_layer(family) else None
    if per_layer:
        rows = config.size("vocab_size_per_layer_input")
        tensors += (Tensor("embed_tokens_per_layer", "embedding", (rows, layers * per_layer), "table", 1, rows, 0),)
        tensors += replicated("per_layer_model_projection", "other", layers * per_layer, hidden)
        tensors += norm("per_layer_projection_norm", "rms", per_layer)
    if family.special == "gemma3n":
        # AltUp: into the other streams, and back out of them.
        streams = config.size("altup_num_inputs") - 1
        tensors += replicated("altup_projections", "other", streams * hidden, hidden)
        tensors += replicated("altup_unembed_projections", "other", streams * hidden, hidden)
    return tensors


def head_tensors(config: Config, family: Family, norms: str, hidden: int, vocab: int, tied: bool) -> Tensors:
    """Final norm and lm_head (no matrix where it is tied)."""
    tensors: Tensors = ()
    # OPT-350m norms after its blocks and has no final norm.
    if family.special != "opt" or config.flag("do_layer_norm_before"):
        tensors += norm("final_norm", norms, hidden)
    if family.special == "deepseek_v4":
        streams = config.size("hc_mult")
        tensors += replicated("hc_head_fn", "other", streams, streams * hidden)
        tensors += vector("hc_head_base", "other", streams) + vector("hc_head_scale", "other", 1)
    if mixes_residuals(config):
        tensors += attention_residual("output_attn_res", hidden)
    biased = config.rule(family.head_bias)
    matrix, *bias = column("lm_head", "lm_head", vocab, hidden, vocab, bias=biased)
    return tensors + (() if tied else (matrix,)) + tuple(bias)
