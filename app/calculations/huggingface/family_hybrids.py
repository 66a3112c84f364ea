"""State-space models and hybrids of them with attention."""

from __future__ import annotations

from app.calculations.huggingface.family import TIED, UNTIED, Family, relative

ONE_NORM = ("norm",)
MAMBA = Family(
    layer_norms=ONE_NORM,
    recurrent="mamba",
    special="no_attention",
    defaults={**TIED, "ssm_state_size": 16, "ssm_expand": 2, "conv_kernel": 4, "use_conv_bias": True},
)
MAMBA2 = relative(
    MAMBA,
    recurrent="mamba2",
    ignored=("norm_before_gate",),
    defaults={
        **UNTIED,
        "ssm_state_size": 128,
        "mamba_num_heads": 128,
        "mamba_head_dim": 64,
        "mamba_groups": 8,
    },
)
JAMBA = Family(
    qkv_bias=False,
    output_bias=False,
    mlp_bias=False,
    recurrent="mamba",
    special="jamba",
    defaults={
        **UNTIED,
        "num_key_value_heads": 8,
        "ssm_state_size": 16,
        "ssm_expand": 2,
        "conv_kernel": 4,
        "use_conv_bias": True,
        "attn_layer_period": 8,
        "attn_layer_offset": 4,
        "expert_layer_period": 2,
        "expert_layer_offset": 1,
        "num_experts": 16,
        "num_experts_per_tok": 2,
    },
)
#: Nemotron-4: squared-ReLU MLP of two matrices, LayerNorm with bias.
NEMOTRON = Family(norm="layer", gated=False, defaults=UNTIED)
#: Nemotron-H: one block (Mamba-2, attention, MLP or experts) and one norm a layer; MLPs are not gated.
NEMOTRON_H = Family(
    layer_norms=ONE_NORM,
    gated=False,
    qkv_bias=False,
    output_bias=False,
    recurrent="mamba2",
    special="one_block",
    ties=False,
    defaults={
        **UNTIED,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "ssm_state_size": 128,
        "conv_kernel": 4,
        "use_conv_bias": True,
        "mamba_num_heads": 128,
        "mamba_head_dim": 64,
        "mamba_groups": 8,
        "n_shared_experts": 1,
        "num_experts_per_tok": 2,
    },
)
BAMBA = Family(
    recurrent="mamba2",
    defaults={
        **UNTIED,
        "num_key_value_heads": 8,
        "ssm_state_size": 256,
        "conv_kernel": 4,
        "use_conv_bias": True,
        "mamba_num_heads": 128,
        "mamba_groups": 1,
    },
)
GRANITE_HYBRID = relative(BAMBA, mlp_bias=False, special="granite_hybrid", defaults={"num_key_value_heads": None})
LFM2 = Family(
    qk_norm="head",
    qkv_bias=False,
    output_bias=False,
    mlp_bias=False,
    recurrent="short_conv",
    special="lfm2",
    defaults={**TIED, "num_key_value_heads": 8, "conv_cache_length": 3, "num_experts_per_tok": 4},
)

#: Falcon-H1: attention and Mamba-2 side by side in each layer.
FALCON_H1 = relative(BAMBA, special="parallel_mamba", defaults={"mamba_rms_norm": False, "mamba_head_dim": None})

#: RecurrentGemma (Griffin, arXiv:2402.19427): real-gated linear recurrences, local attention on each 3rd layer.
RECURRENT_GEMMA = Family(
    output_bias=True,
    mlp_bias=True,
    recurrent="rglru",
    special="recurrent_gemma",
    ignored=("w_init_variance_scale", "final_w_init_variance_scale", "logits_soft_cap"),
    defaults={**TIED, "num_key_value_heads": 1, "sliding_window": 2048, "conv1d_width": 4},
)
