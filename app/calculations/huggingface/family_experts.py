"""Latent attention, sparse attention and mixtures of experts with traits of their own."""

from __future__ import annotations

from app.calculations.huggingface.family import TIED, UNTIED, Family, relative

MLA = {"kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
#: DeepSeek-V2/V3 (arXiv:2405.04434, 2412.19437): latent attention, first layers dense, shared experts.
DEEPSEEK = Family(
    defaults={**UNTIED, **MLA, "q_lora_rank": 1536, "first_k_dense_replace": 0, "num_experts_per_tok": 8},
)
DEEPSEEK_V3 = relative(DEEPSEEK, defaults={"first_k_dense_replace": 3, "n_shared_experts": 1})
DEEPSEEK_V32 = relative(
    DEEPSEEK_V3,
    mlp_bias=False,
    special="indexer",
    defaults={"index_n_heads": 64, "index_head_dim": 128, "index_topk": 2048},
)
GLM_MOE_DSA = relative(
    DEEPSEEK_V32,
    defaults={"q_lora_rank": 2048, "qk_nope_head_dim": 192, "v_head_dim": 256, "index_n_heads": 32},
)
GLM4_MOE_LITE = relative(
    DEEPSEEK_V3,
    defaults={"q_lora_rank": 768, "qk_nope_head_dim": 192, "v_head_dim": 256, "first_k_dense_replace": 1},
)
DEEPSEEK_V4 = Family(
    sinks=True,
    special="deepseek_v4",
    # Hash layers choose experts by token and keep the router's matrix.
    ignored=("num_hash_layers",),
    defaults={
        **UNTIED,
        "head_dim": 512,
        "num_key_value_heads": 1,
        "q_lora_rank": 1024,
        "qk_rope_head_dim": 64,
        "o_groups": 8,
        "o_lora_rank": 1024,
        "sliding_window": 128,
        "hc_mult": 4,
        "index_n_heads": 64,
        "index_head_dim": 128,
        "index_topk": 512,
        "n_shared_experts": 1,
        "num_experts_per_tok": 6,
    },
)
#: Kimi-Linear (arXiv:2510.26692): Kimi delta attention; each 4th layer latent attention with plain queries.
KIMI_LINEAR = relative(
    DEEPSEEK,
    recurrent="kda",
    ties=False,
    defaults={
        "q_lora_rank": None,
        "n_shared_experts": 1,
        "first_k_dense_replace": 1,
        "full_attention_interval": 4,
    },
)

MINIMAX_M2 = Family(
    qk_norm="width",
    qk_norm_when="use_qk_norm",
    qkv_bias=False,
    output_bias=False,
    mlp_bias=False,
    defaults={
        **UNTIED,
        "head_dim": 128,
        "num_key_value_heads": 8,
        "use_qk_norm": True,
        "num_experts_per_tok": 8,
    },
)
#: MiniMax-M3: block-sparse attention with an indexer on the sparse layers.
MINIMAX_M3 = relative(
    MINIMAX_M2,
    qk_norm="head",
    special="block_sparse",
    defaults={"num_key_value_heads": 4, "num_experts_per_tok": 4, "n_shared_experts": 1},
)

#: gpt-oss model card (OpenAI, 2025): window 128 on every other layer, sinks, biases everywhere.
GPT_OSS = Family(
    sinks=True,
    expert_bias=True,
    router_bias=True,
    full_every=2,
    defaults={
        **UNTIED,
        "attention_bias": True,
        "head_dim": 64,
        "num_key_value_heads": 8,
        "sliding_window": 128,
        "num_experts_per_tok": 4,
    },
)
#: Llama 4: chunked attention except each 4th layer (no rotary); the query/key norm has no parameters.
LLAMA4 = Family(
    mlp_bias=False,
    full_every=4,
    ignored=("use_qk_norm",),
    defaults={
        **UNTIED,
        "head_dim": 128,
        "num_key_value_heads": 8,
        "sliding_window": 8192,
        "interleave_moe_layer_step": 1,
        "n_shared_experts": 1,
        "num_experts_per_tok": 1,
    },
)
#: Llama 3.2 Vision: cross-attention layers among the others; eight more embedding rows for image tokens.
MLLAMA = Family(
    qkv_bias=False,
    output_bias=False,
    mlp_bias=False,
    special="mllama",
    ties=False,
    defaults={**UNTIED, "num_key_value_heads": 8},
)

#: MiMo-V2: windowed layers with more key/value heads than global ones and with sinks; keys wider than values.
MIMO_V2 = Family(
    mlp_bias=False,
    output_bias=False,
    full_every=6,
    special="mimo_v2",
    defaults={
        **UNTIED,
        "num_key_value_heads": 4,
        "swa_num_key_value_heads": 8,
        "head_dim": 192,
        "v_head_dim": 128,
        "sliding_window": 128,
        "add_swa_attention_sink_bias": True,
        "add_full_attention_sink_bias": False,
        "num_experts_per_tok": 8,
        "first_k_dense_replace": 1,
    },
)
#: Step-3.5: windowed layers with more query heads, a gate per head, the first three layers dense.
STEP3 = Family(
    qk_norm="head",
    head_gate="use_head_wise_attn_gate",
    defaults={
        **UNTIED,
        "head_dim": 128,
        "num_key_value_heads": 8,
        "use_head_wise_attn_gate": True,
        "first_k_dense_replace": 3,
        "shared_expert_intermediate_size": 1280,
        "num_experts_per_tok": 8,
    },
)
#: DBRX: LayerNorms without bias, gated experts in every layer.
DBRX = Family(norm="layer_no_bias", qkv_bias=False, output_bias=False, mlp_bias=False, defaults=UNTIED)
#: LongCat-Flash: two attentions and two dense MLPs a layer beside one mixture; some experts do nothing.
LONGCAT = Family(
    layer_norms=("input_layernorm_0", "input_layernorm_1", "post_attention_layernorm_0", "post_attention_layernorm_1"),
    qkv_bias=False,
    output_bias="attention_bias",
    mlp_bias=False,
    special="longcat",
    ignored=("attention_method",),
    defaults={**UNTIED, **MLA, "q_lora_rank": 1536, "zero_expert_num": 256, "num_experts_per_tok": 12},
)
#: MiniMax-Text-01 and M1: lightning attention, softmax attention on each 8th layer.
MINIMAX = Family(
    qkv_bias=False,
    output_bias=False,
    mlp_bias=False,
    recurrent="lightning",
    ignored=("postnorm", "shared_moe_mode"),
    defaults={**UNTIED, "num_key_value_heads": 8, "num_experts_per_tok": 2},
)
#: JetMoE: experts for queries and outputs of attention too.
JETMOE = Family(
    qkv_bias=False,
    output_bias=False,
    mlp_bias=False,
    special="jetmoe",
    defaults={**TIED, "num_experts": 8, "num_experts_per_tok": 2},
)
#: Ling and Ring (Bailing): biases by key, first layers dense, shared experts.
BAILING_MOE = Family(
    qkv_bias="use_qkv_bias",
    output_bias="use_bias",
    mlp_bias="use_bias",
    qk_norm="head",
    qk_norm_when="use_qk_norm",
    ignored=("norm_head", "multi_gate", "moe_router_enable_expert_bias", "norm_softmax"),
    defaults={**UNTIED, "use_qkv_bias": False, "use_bias": False, "use_qk_norm": False},
)
#: Arctic (Snowflake, 2024): a dense residual MLP beside 128 experts.
ARCTIC = Family(
    qkv_bias=False,
    output_bias=False,
    mlp_bias=False,
    special="arctic",
    ignored=("moe_eval_capacity_factor", "moe_train_capacity_factor", "moe_min_capacity", "moe_token_dropping"),
    defaults={**UNTIED, "decoder_sparse_step": 2, "parallel_attn_mlp_res": False, "num_experts_per_tok": 1},
)
#: Step-3: one key/value head, queries by way of share_q_dim, experts by moe_layers_enum.
STEP3_MFA = Family(
    qkv_bias=False,
    output_bias=False,
    mlp_bias=False,
    defaults={**UNTIED, "num_key_value_heads": 1, "num_experts_per_tok": 3},
)
