"""Families from before Llama and beside it: LayerNorms, plain MLPs, learned positions, parallel blocks."""

from __future__ import annotations

from app.calculations.huggingface.family import TIED, UNTIED, Family, relative

PLAIN_BIASED = {"gated": False, "qkv_bias": True, "output_bias": True, "mlp_bias": True, "norm": "layer"}

GPT2 = Family(**PLAIN_BIASED, position_offset=0, defaults={**TIED, "max_position_embeddings": 1024})  # type: ignore[arg-type]
#: GPT-J: no attention biases, one norm for the parallel block, a bias on the head.
GPTJ = Family(
    norm="layer",
    layer_norms=("ln_1",),
    gated=False,
    qkv_bias=False,
    output_bias=False,
    mlp_bias=True,
    head_bias=True,
    defaults=UNTIED,
)
GPT_NEO = relative(GPT2, qkv_bias=False, defaults={"max_position_embeddings": 2048})
GPT_BIGCODE = relative(GPT2, special="multi_query", defaults={"multi_query": True})
GPT_NEOX = relative(
    Family(**PLAIN_BIASED),  # type: ignore[arg-type]
    qkv_bias="attention_bias",
    output_bias="attention_bias",
    ignored=("use_parallel_residual",),
    defaults={**UNTIED, "attention_bias": True},
)
#: OPT: the position table has two rows before the first position.
OPT = Family(
    norm="layer",
    gated=False,
    qkv_bias="enable_bias",
    output_bias="enable_bias",
    mlp_bias="enable_bias",
    position_offset=2,
    special="opt",
    defaults={**TIED, "enable_bias": True, "max_position_embeddings": 2048, "do_layer_norm_before": True},
)
BLOOM = Family(**PLAIN_BIASED, embedding_norm=True, defaults=TIED)  # type: ignore[arg-type]
FALCON = Family(
    norm="layer",
    gated=False,
    qkv_bias="bias",
    output_bias="bias",
    mlp_bias="bias",
    special="falcon",
    defaults={**TIED, "multi_query": True, "parallel_attn": True, "new_decoder_architecture": False},
)
#: MPT: the library class has no biases anywhere and always ties, whatever no_bias says.
MPT = Family(norm="layer_no_bias", gated=False, qkv_bias=False, output_bias=False, mlp_bias=False, defaults=TIED)
STABLELM = Family(
    norm="layer",
    qk_norm="heads",
    qk_norm_when="use_qk_norm",
    qkv_bias="use_qkv_bias",
    output_bias=False,
    mlp_bias=False,
    special="parallel",
    defaults={**UNTIED, "use_parallel_residual": False},
)
#: Cohere Command R: one LayerNorm without bias for the parallel block, tied.
COHERE = Family(
    norm="layer_no_bias",
    layer_norms=("input_layernorm",),
    qk_norm="heads",
    qk_norm_when="use_qk_norm",
    mlp_bias=False,
    defaults=TIED,
)
COHERE2 = relative(
    COHERE,
    qk_norm="",
    full_every=4,
    # What the class does anyway, said again.
    ignored=("order_of_interleaved_layers", "use_embedding_sharing", "use_gated_activation", "use_parallel_block"),
    defaults={"sliding_window": 4096},
)

#: OLMo: LayerNorm without parameters.
OLMO = Family(norm="none", mlp_bias=False, defaults=UNTIED)
#: OLMo 2: norms after the blocks, query/key norm over all heads.
OLMO2 = Family(
    layer_norms=("post_attention_layernorm", "post_feedforward_layernorm"),
    qk_norm="width",
    mlp_bias=False,
    defaults=UNTIED,
)
OLMO3 = relative(OLMO2, full_every=4, defaults={"sliding_window": 4096})
OLMOE = Family(qk_norm="width", mlp_bias=False, defaults={**UNTIED, "num_experts": 64, "num_experts_per_tok": 8})

PHI = Family(
    **PLAIN_BIASED,  # type: ignore[arg-type]
    layer_norms=("input_layernorm",),
    head_bias=True,
    qk_norm="head",
    qk_norm_when="use_qk_norm",
    defaults=UNTIED,
)
PHI3 = Family(qkv_bias=False, output_bias=False, mlp_bias=False, defaults=UNTIED)
#: Phi-3 small: LayerNorms and biases throughout, whatever attention_bias says; every n-th layer attends to all tokens,
#: the others to blocks of them, and all keep the whole cache (vLLM phi3_small.py).
PHI3_SMALL = Family(
    norm="layer",
    qkv_bias=True,
    output_bias=True,
    mlp_bias=True,
    ignored=(
        "blocksparse_block_size",
        "blocksparse_homo_head_pattern",
        "blocksparse_num_local_blocks",
        "blocksparse_triton_kernel_block_size",
        "blocksparse_vert_stride",
        "dense_attention_every_n_layers",
        "ff_dim_multiplier",
        "gegelu_limit",
        "gegelu_pad_to_256",
        "mup_embedding_multiplier",
        "mup_use_scaling",
        "mup_width_multiplier",
        "pad_sequence_to_multiple_of_64",
    ),
    defaults=TIED,
)
PHIMOE = Family(
    norm="layer",
    mlp_bias=False,
    head_bias="lm_head_bias",
    defaults={**UNTIED, "num_key_value_heads": 8, "num_experts": 16, "num_experts_per_tok": 2},
)
STARCODER2 = Family(
    norm="layer",
    gated=False,
    qkv_bias="use_bias",
    output_bias="use_bias",
    mlp_bias="use_bias",
    defaults={**TIED, "use_bias": True, "num_key_value_heads": 2},
)
#: Persimmon (and Fuyu): biases everywhere, LayerNorms on queries and keys, squared ReLU.
PERSIMMON = Family(
    **PLAIN_BIASED,  # type: ignore[arg-type]
    qk_norm="head",
    qk_norm_when="use_qk_norm",
    defaults={**UNTIED, "use_qk_norm": True},
)
#: BioGPT: OPT's position table. XGLM: sinusoids, no table.
BIOGPT = Family(**PLAIN_BIASED, position_offset=2, defaults={**TIED, "max_position_embeddings": 1024})  # type: ignore[arg-type]
XGLM = Family(**PLAIN_BIASED, defaults=TIED)  # type: ignore[arg-type]
#: Jais 2: biases by key.
JAIS2 = Family(norm="layer", gated=False, defaults={**UNTIED, "attention_bias": True, "mlp_bias": True})
#: nanochat: norms without parameters, plain MLP.
NANOCHAT = Family(norm="none", gated=False, qkv_bias=False, output_bias=False, mlp_bias=False, defaults=UNTIED)
#: FlexOlmo: OLMo 2 with experts.
FLEX_OLMO = relative(OLMO2, defaults={"num_experts": 7, "num_experts_per_tok": 5})
#: OLMo hybrid: gated delta nets with OLMo 2's attention on each 4th layer.
OLMO_HYBRID = Family(
    qk_norm="width",
    mlp_bias=False,
    recurrent="delta",
    defaults={**UNTIED, "full_attention_interval": 4, "linear_conv_kernel_dim": 4},
)
#: StableLM alpha (GPT-NeoX's norms and parallel blocks, gated MLP, no biases but the norms').
STABLELM_ALPHA = Family(norm="layer", qkv_bias=False, output_bias=False, mlp_bias=False, defaults=UNTIED)
