"""What stands around a layer's blocks beside norms: hyper-connections, AltUp, residuals, per-layer embeddings."""

from __future__ import annotations

from app.calculations.huggingface.config import Config
from app.calculations.huggingface.family import Family
from app.calculations.huggingface.schedule_plan import LayerPlan
from app.calculations.huggingface.tensors import Tensors, norm, replicated, vector


def layer_extras(config: Config, family: Family, plan: LayerPlan, hidden: int) -> Tensors:
    """What stands around a layer's blocks beside norms."""
    if family.special == "deepseek_v4":
        streams = config.size("hc_mult")
        return hyper_connection("attn_hc", "attention", streams, hidden) + hyper_connection(
            "ffn_hc", "mlp", streams, hidden
        )
    if mixes_residuals(config):
        return attention_residual("self_attention_res", hidden) + attention_residual("mlp_res", hidden)
    if plan.mixer == "cross":
        return vector("cross_attn_attn_gate", "attention", 1) + vector("cross_attn_mlp_gate", "attention", 1)
    if family.special == "xielu":
        # Apertus: the activation has two parameters.
        return vector("xielu_alpha", "mlp", 2)
    if family.special == "bitnet":
        width = config.size("intermediate_size")
        return norm("attn_sub_norm", "rms", hidden) + norm("ffn_sub_norm", "rms", width)
    extras: Tensors = alternating_updates(config, hidden) if family.special == "gemma3n" else ()
    per_layer = config.integer("hidden_size_per_layer_input", minimum=0) if embeds_by_layer(family) else None
    if per_layer:
        # Gemma 3n, Gemma 4 E2B and E4B: each layer mixes in an embedding of its own.
        extras += (
            replicated("per_layer_input_gate", "other", per_layer, hidden)
            + replicated("per_layer_projection", "other", hidden, per_layer)
            + norm("post_per_layer_input_norm", "rms", hidden)
        )
    return extras


def mixes_residuals(config: Config) -> bool:
    return config.integer("attn_res_block_size") is not None


def attention_residual(name: str, hidden: int) -> Tensors:
    """Kimi K3: a block's input is a mean of earlier blocks' outputs, weighted by a score of each."""
    return norm(f"{name}_norm", "rms", hidden) + replicated(f"{name}_proj", "other", 1, hidden)


def embeds_by_layer(family: Family) -> bool:
    return family.special in ("gemma3n", "gemma4")


def alternating_updates(config: Config, hidden: int) -> Tensors:
    """Gemma 3n: AltUp (arXiv:2301.13310) predicts and corrects parallel streams; LAuReL (arXiv:2411.07501) is a
    low-rank residual."""
    streams, rank = config.size("altup_num_inputs"), config.size("laurel_rank")
    config.ignore("altup_active_idx", "altup_coef_clip", "altup_correct_scale", "activation_sparsity_pattern")
    return (
        vector("altup_correct_output_scale", "other", hidden)
        + replicated("altup_correction_coefs", "other", streams, streams)
        + replicated("altup_prediction_coefs", "other", streams * streams, streams)
        + replicated("altup_modality_router", "other", streams, hidden)
        + norm("altup_router_norm", "rms", hidden)
        + replicated("laurel_left", "other", rank, hidden)
        + replicated("laurel_right", "other", hidden, rank)
        + norm("post_laurel_norm", "rms", hidden)
    )


def hyper_connection(name: str, group: str, streams: int, hidden: int) -> Tensors:
    """DeepSeek-V4's hyper-connection: mixes `streams` residual streams before and after a block."""
    outputs = (2 + streams) * streams
    return (
        replicated(f"{name}_fn", group, outputs, streams * hidden)
        + vector(f"{name}_base", group, outputs)
        + vector(f"{name}_scale", group, 3)
    )
