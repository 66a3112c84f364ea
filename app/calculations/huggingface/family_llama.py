"""Llama and its relatives: RMS norms, gated MLPs, rotary positions."""

from __future__ import annotations

from app.calculations.huggingface.family import TIED, UNTIED, Family, relative

LLAMA = Family(defaults=UNTIED)
#: MistralConfig: 8 key/value heads and a window of 4,096 where the keys are absent (null: no window).
MISTRAL = Family(
    qkv_bias=False,
    output_bias=False,
    mlp_bias=False,
    defaults={**UNTIED, "num_key_value_heads": 8, "sliding_window": 4096},
)
MINISTRAL3 = relative(MISTRAL, defaults={"sliding_window": None, "head_dim": 128})
MIXTRAL = relative(MISTRAL, defaults={"sliding_window": None, "num_experts": 8, "num_experts_per_tok": 2})
#: Qwen2: biases on q, k, v and none on o; windows only with use_sliding_window.
QWEN2 = Family(qkv_bias=True, output_bias=False, mlp_bias=False, defaults={**UNTIED, "use_sliding_window": False})
QWEN2_MOE = relative(
    QWEN2,
    shared_gate=True,
    qkv_bias="qkv_bias",
    defaults={
        "qkv_bias": True,
        "num_experts_per_tok": 4,
        "decoder_sparse_step": 1,
        "shared_expert_intermediate_size": 5632,
    },
)
QWEN3 = Family(qk_norm="head", mlp_bias=False, defaults={**UNTIED, "head_dim": 128, "use_sliding_window": False})
QWEN3_MOE = relative(
    QWEN3,
    defaults={"head_dim": None, "num_key_value_heads": 4, "num_experts_per_tok": 8, "decoder_sparse_step": 1},
)
QWEN3_VL_MOE = relative(QWEN3_MOE, defaults={"num_key_value_heads": 16})
#: Qwen3-Next, Qwen3.5: each 4th layer full attention with an output gate, the others gated delta nets.
QWEN3_NEXT = Family(
    qk_norm="head",
    mlp_bias=False,
    output_gate="attn_output_gate",
    shared_gate=True,
    recurrent="delta",
    defaults={
        **UNTIED,
        "attn_output_gate": True,
        "head_dim": 256,
        "full_attention_interval": 4,
        "decoder_sparse_step": 1,
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_value_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
    },
)
QWEN3_5_MOE = relative(
    QWEN3_NEXT,
    defaults={"num_experts_per_tok": 8, "shared_expert_intermediate_size": 512, "num_key_value_heads": 2},
)

GEMMA = Family(mlp_bias=False, defaults={**TIED, "head_dim": 256})
FOUR_NORMS = (
    "input_layernorm",
    "post_attention_layernorm",
    "pre_feedforward_layernorm",
    "post_feedforward_layernorm",
)
#: Gemma 2: four norms a layer, window on every other layer from the first.
GEMMA2 = relative(
    GEMMA,
    layer_norms=FOUR_NORMS,
    full_every=2,
    defaults={"sliding_window": 4096, "num_key_value_heads": 4, "num_attention_heads": 8},
)
#: Gemma 3: also query/key norms, each 6th layer global. Its multimodal configs omit the head counts.
GEMMA3 = relative(GEMMA2, qk_norm="head", full_every=6, defaults={"vocab_size": 262_208})
GEMMA4 = relative(
    GEMMA3,
    special="gemma4",
    defaults={
        "sliding_window": 512,
        "vocab_size": 262_144,
        "global_head_dim": 512,
        "vocab_size_per_layer_input": 262_144,
        "hidden_size_per_layer_input": 256,
    },
)

#: GLM-4: biases on q, k, v only.
GLM = Family(
    output_bias=False,
    mlp_bias=False,
    defaults={**UNTIED, "attention_bias": True, "head_dim": 128, "num_key_value_heads": 2},
)
GLM4 = relative(
    GLM,
    layer_norms=(
        "input_layernorm",
        "post_attention_layernorm",
        "post_self_attn_layernorm",
        "post_mlp_layernorm",
    ),
)
GLM4_MOE = Family(
    output_bias=False,
    mlp_bias=False,
    qk_norm="head",
    qk_norm_when="use_qk_norm",
    defaults={
        **UNTIED,
        "num_key_value_heads": 8,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
        "num_experts_per_tok": 8,
    },
)
CHATGLM = Family(
    qkv_bias="add_qkv_bias",
    output_bias="add_bias_linear",
    mlp_bias="add_bias_linear",
    special="multi_query",
    defaults={**UNTIED, "add_qkv_bias": False, "multi_query_attention": False},
)

NO_BIAS = Family(qkv_bias=False, output_bias=False, mlp_bias=False, defaults=UNTIED)
BIAS_KEY = Family(qkv_bias="bias", output_bias="bias", mlp_bias=False, defaults=UNTIED)
ERNIE = Family(
    qkv_bias="use_bias",
    output_bias="use_bias",
    mlp_bias="use_bias",
    defaults={**TIED, "num_key_value_heads": 4},
)
#: ERNIE 4.5 MoE: the correction that balances its experts is a parameter.
ERNIE_MOE = relative(
    ERNIE,
    head_bias="use_bias",
    router_bias=True,
    defaults={"moe_layer_start_index": 1, "moe_layer_interval": 1, "num_experts_per_tok": 6},
)
HUNYUAN = Family(qk_norm="head", mlp_bias=False, defaults=UNTIED)
EXAONE4 = Family(
    layer_norms=("post_attention_layernorm", "post_feedforward_layernorm"),
    qk_norm="head",
    qkv_bias=False,
    output_bias=False,
    mlp_bias=False,
    full_every=4,
    defaults={**UNTIED, "sliding_window": 4096},
)
#: Mixtures with Qwen3's query/key norm: EXAONE-MoE, HunYuan 3, Mellum.
NORMED = Family(qk_norm="head", qkv_bias=False, output_bias=False, mlp_bias=False, defaults=UNTIED)
#: BitNet: norms before o_proj and down_proj too.
BITNET = relative(LLAMA, mlp_bias=False, special="bitnet")
#: HyperCLOVA X SEED: use_post_norm adds a norm behind each block.
HYPERCLOVAX = relative(LLAMA, mlp_bias="mlp_bias")
#: Gemma 3n: AltUp (four streams), LAuReL, per-layer embeddings, the last layers share a cache.
GEMMA3N = relative(
    GEMMA3,
    special="gemma3n",
    full_every=5,
    defaults={
        "vocab_size": 262_400,
        "vocab_size_per_layer_input": 262_144,
        "hidden_size_per_layer_input": 256,
        "sliding_window": 512,
        "num_kv_shared_layers": 15,
        "altup_num_inputs": 4,
        "laurel_rank": 64,
        "num_key_value_heads": 2,
    },
)
#: DeciLM's search (Llama-Nemotron Super and Ultra): each layer has blocks of its own sizes, or none.
NEMOTRON_NAS = relative(LLAMA, special="block_configs", ignored=("num_key_value_heads", "intermediate_size"))
