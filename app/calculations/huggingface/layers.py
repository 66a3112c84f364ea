"""A layer from its plan: its blocks, its norms and what else stands around them."""

from __future__ import annotations

from dataclasses import replace

from app.calculations.architecture import Block, Layer
from app.calculations.huggingface.attention import attention
from app.calculations.huggingface.block_configs import linear_layer
from app.calculations.huggingface.config import Config
from app.calculations.huggingface.family import Family
from app.calculations.huggingface.feed_forward import dense, experts
from app.calculations.huggingface.layer_extras import layer_extras
from app.calculations.huggingface.mixture_of_attention import mixture_of_attention
from app.calculations.huggingface.recurrent import recurrent
from app.calculations.huggingface.schedule_plan import LayerPlan
from app.calculations.huggingface.tensors import Tensors, norm


def layer(config: Config, family: Family, norms: str, plan: LayerPlan) -> Layer:
    """The layer that a plan asks for."""
    hidden = config.size("hidden_size")
    blocks: list[Block] = []
    if family.special == "longcat":
        blocks += [attention(config, family, plan), dense(config, family, plan)]
    if family.special == "jetmoe":
        blocks += mixture_of_attention(config)
        plan = replace(plan, mixer="none")
    if plan.mixer == "linear_layer":
        blocks.append(linear_layer(config, "attention"))
    if plan.mixer in ("full", "sliding", "cross", "both"):
        blocks.append(attention(config, family, plan))
    if plan.mixer in ("linear", "both"):
        blocks.append(recurrent(config, family))
    if plan.feed_forward in ("dense", "both") or family.special == "longcat":
        blocks.append(dense(config, family, plan))
    if plan.feed_forward in ("experts", "both"):
        blocks.append(experts(config, family))
    if plan.feed_forward == "linear_layer":
        blocks.append(linear_layer(config, "mlp"))
    tensors: Tensors = ()
    for norm_name in layer_norm_names(config, family, plan):
        tensors += norm(norm_name, norms, hidden)
    return Layer(tuple(blocks), tensors + layer_extras(config, family, plan, hidden))


def layer_norm_names(config: Config, family: Family, plan: LayerPlan) -> tuple[str, ...]:
    """Norms of a layer; keys decide for Falcon and StableLM whether a parallel block has one or two."""
    names = family.layer_norms
    if family.special == "block_configs":
        present = (plan.mixer != "none", plan.feed_forward != "none")
        return tuple(name for name, there in zip(names, present, strict=True) if there)
    if config.flag("use_post_norm"):
        # HyperCLOVA X SEED.
        return (*names, "post_norm1", "post_norm2")
    if family.special == "falcon":
        count = config.integer("num_ln_in_parallel_attn") or (2 if config.flag("new_decoder_architecture") else 1)
        parallel = config.flag("parallel_attn") or config.flag("new_decoder_architecture")
        return names[:count] if parallel else names
    if family.special == "parallel" and config.flag("use_parallel_residual"):
        return names[:1]
    if family.special == "arctic":
        return (*names, "residual_layernorm") if plan.feed_forward == "both" else names
    if plan.feed_forward == "both":
        # Gemma 4: experts beside a dense MLP, each with norms of its own.
        return (
            *names,
            "post_feedforward_layernorm_1",
            "post_feedforward_layernorm_2",
            "pre_feedforward_layernorm_2",
        )
    return names
