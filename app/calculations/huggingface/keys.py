"""How config.json spells things: one name per meaning, and the keys that no count depends on."""

from __future__ import annotations

#: Meaning -> the spellings in use, the one that wins first. A meaning not listed is spelled as it is named.
SPELLINGS: dict[str, tuple[str, ...]] = {
    "hidden_size": ("hidden_size", "n_embd", "n_embed", "d_model", "model_dim"),
    "num_hidden_layers": ("num_hidden_layers", "n_layer", "n_layers", "num_layers"),
    "num_attention_heads": ("num_attention_heads", "n_head", "n_heads", "num_heads", "attention_heads"),
    "num_key_value_heads": (
        "num_key_value_heads",
        "num_kv_heads",
        "n_head_kv",
        "n_kv_heads",
        "kv_n_heads",
        "multi_query_group_num",
        "num_query_groups",
        "num_attention_groups",
    ),
    "head_dim": ("head_dim", "kv_channels", "attention_head_dim"),
    "intermediate_size": ("intermediate_size", "n_inner", "ffn_dim", "ffn_hidden_size", "d_ff", "ff_intermediate_size"),
    "dense_intermediate_size": ("dense_intermediate_size", "intermediate_size_mlp"),
    # The table that is stored is the padded one (ChatGLM).
    "vocab_size": ("padded_vocab_size", "vocab_size"),
    "max_position_embeddings": (
        "max_position_embeddings",
        "n_positions",
        "max_seq_len",
        "max_sequence_length",
        "seq_length",
        "model_max_length",
        "n_ctx",
    ),
    "num_experts": (
        "num_experts",
        "num_local_experts",
        "n_routed_experts",
        "moe_num_experts",
        "num_routed_experts",
    ),
    "num_experts_per_tok": (
        "num_experts_per_tok",
        "num_experts_per_token",
        "experts_per_token",
        "top_k_experts",
        "moe_top_k",
        "moe_topk",
        "moe_k",
    ),
    "n_shared_experts": (
        "n_shared_experts",
        "num_shared_experts",
        "moe_num_shared_experts",
        "num_shared_expert",
    ),
    "moe_latent_size": ("moe_latent_size", "routed_expert_hidden_size"),
    "moe_intermediate_size": ("moe_intermediate_size", "moe_ffn_hidden_size", "expert_ffn_hidden_size"),
    "shared_expert_intermediate_size": (
        "shared_expert_intermediate_size",
        "moe_shared_expert_intermediate_size",
        "shared_intermediate_size",
        "share_expert_dim",
    ),
    "first_k_dense_replace": ("first_k_dense_replace", "num_dense_layers", "moe_layer_num_skipped"),
    "attention_bias": ("attention_bias", "attn_bias"),
    "decoder_sparse_step": ("decoder_sparse_step", "moe_layer_frequency"),
    "kinds_of_attention": ("attn_type_list", "attention_type_list"),
    "sliding_window": (
        "sliding_window",
        "attention_chunk_size",
        "sliding_window_size",
        "window_size",
        "attention_window_size",
    ),
    "sliding_window_pattern": ("sliding_window_pattern", "_sliding_window_pattern", "layer_switch"),
    "layer_types": ("layer_types", "layers_block_type", "attention_layers"),
    "block_types": ("block_types", "_block_types"),
    "num_nextn_predict_layers": ("num_nextn_predict_layers", "mtp_num_hidden_layers", "mtp_num_layers"),
    "sliding_attention_heads": ("swa_num_attention_heads", "num_sliding_attention_heads"),
    "use_qk_norm": ("use_qk_norm", "qk_layernorm", "add_qk_norm"),
    "layer_norm_bias": ("layer_norm_bias", "norm_bias"),
    "ssm_state_size": ("ssm_state_size", "state_size", "mamba_d_state", "mamba_state_dim"),
    "conv_kernel": ("conv_kernel", "mamba_d_conv", "d_conv"),
    "ssm_expand": ("expand", "mamba_expand"),
    "time_step_rank": ("time_step_rank", "mamba_dt_rank"),
    "mamba_num_heads": ("mamba_num_heads", "mamba_n_heads", "num_heads"),
    "mamba_head_dim": ("mamba_head_dim", "mamba_d_head", "head_dim"),
    "mamba_groups": ("n_groups", "mamba_n_groups", "mamba_num_groups"),
    "mamba_bias": ("use_bias", "mamba_proj_bias"),
    "use_conv_bias": ("use_conv_bias", "mamba_conv_bias"),
    "block_index_heads": ("sparse_num_index_heads", "index_n_heads"),
    "block_index_dim": ("sparse_index_dim", "index_head_dim"),
    "block_index_topk": ("sparse_topk_blocks", "index_topk_blocks"),
    "block_index_size": ("sparse_block_size", "index_block_size"),
    "conv_cache_length": ("conv_L_cache", "conv_cache_length"),
}

#: Objects inside a config whose entries count as if they stood beside it (MPT, DBRX, MiniMax-M3).
INLINED = ("attn_config", "ffn_config", "sparse_attention_config")

#: Where a multimodal config keeps its language model.
TEXT_CONFIGS = ("text_config", "llm_config", "language_config", "thinker_config")

#: Where a multimodal config keeps its other parts.
TOWER_CONFIGS = (
    "vision_config",
    "audio_config",
    "vision_tower_config",
    "vit_config",
    "visual",
    "talker_config",
)

#: Keys that change no count: text generation, numerics, routing rules, training, files.
IRRELEVANT = frozenset(
    """
    activation activation_function activation_situ_beta activation_situ_linear_beta activation_type
    add_cross_attention alibi alibi_bias_max
    apply_query_key_layer_scaling apply_residual_connection_post_layernorm architectures
    att_impl_type attention_in_multiplier attention_multiplier attention_out_multiplier
    attention_softmax_in_fp32 attention_softmax_scale attention_types attention_value_scale
    attn_impl attn_implementation attn_logit_softcapping attn_scale attn_temperature_tuning
    attn_type attn_uses_sequence_id audio_config auto_map aux_loss_alpha bad_words_ids
    begin_suppress_tokens bf16 bias_dropout_fusion block_size cache_dtype cache_implementation
    chunk_size chunk_size_feed_forward clip_qkv compress_rope_theta cross_attention_hidden_size
    dim_model_base diversity_penalty do_sample downsample_ratio dropout dtype early_stopping
    embedding_fraction embedding_initializer_range embedding_multiplier enable_lm_head_fp32
    enable_moe_fp32_combine encoder_no_repeat_ngram_size ep_group ep_size expert_dtype
    expert_selection_fn exponential_decay_length_penalty ff_factor ffn_act_fn
    final_logit_softcapping
    finetuning_task floor_scale fp16 fp32 fp32_residual_connection full_attn_mod
    gradient_checkpointing hc_sinkhorn_iters hidden_act hidden_activation hybrid_block_size id2label
    ignore_index image_seq_length index_share_for_mtp_iteration index_skip_topk_offset
    index_topk_pattern indexer_rope_interleave init_config init_device init_method init_std
    initial_context_length initializer_factor initializer_range input_jitter_noise
    interpolate_factor is_decoder is_encoder_decoder is_llama_config key_multiplier kv_cache_dtype
    label2id language_model_only layer_rope_theta layerdrop learned_pos_emb length_penalty
    llama_4_scaling lm_head_multiplier logit_scale logits_scaling mamba_chunk_size mamba_hidden_act
    mamba_inner_layernorms mamba_norm_before_gate mamba_rms_norm mamba_ssm_cache_dtype
    mamba_ssm_dtype max_length max_patches max_tokenizer_truncation max_window_size min_length
    min_patches mla_use_nope mlp_hidden_act mlp_multipliers mm_tokens_per_image model_type
    moe_capacity moe_gate
    moe_jitter_eps moe_loss_weight moe_normalize_expert_weights moe_renormalize
    moe_router_activation moe_router_activation_func moe_router_dtype moe_router_enable_expert_bias
    moe_router_scaling_factor moe_shared_expert_overlap moe_use_aux_free moe_use_expert_bias
    mtp_hybrid_override_pattern mtp_layer_types mtp_layers_block_type mtp_loss_scaling_factor
    mtp_mlp_layer_types mtp_transformer_layers mtp_use_dedicated_embeddings multi_query_attention
    multimodal_projector_bias mup_attn_multiplier mup_base_width n_group n_special name_or_path
    need_fp32_gate no_bias no_repeat_ngram_size no_rope_layer_interval nope_layer_interval
    norm_expert_weight norm_min norm_topk_prob norm_type num_beam_groups num_beams num_expert_group
    num_logits_to_keep num_mtp_modules num_return_sequences org_vocab_size
    original_max_position_embeddings
    original_rope original_vocab_size output_attentions output_gate_type output_hidden_states
    output_router_logits output_scores partial_rotary_factor partial_rotary_factors per_layer_config
    pool_type
    position_embedding position_embedding_type position_encoding post_layer_norm
    predict_special_tokens prefix prefix_lm pretraining_tp problem_type projector_hidden_act
    pruned_heads qk_head_dim qk_ln qk_norm_type quantization_config
    query_pre_attn_scalar remove_invalid_values reorder_and_upcast_attn repetition_penalty
    rescale_prenorm_residual residual_in_fp32 residual_multiplier return_dict
    return_dict_in_generate rms_norm rotary rotary_dim rotary_emb_base rotary_pct rotary_percentage
    routed_expert_groups routed_scaling_factor router_aux_loss_coef router_jitter_noise
    router_scaling_factor scale_attention_softmax_in_fp32 scale_attn_by_inverse_layer_idx
    scale_attn_weights scale_depth scale_emb scale_embedding scoring_func seq_aux sink softcap
    softmax_in_fp32 softmax_scale sparse_attention_freq sparse_disable_index_value sparse_init_block
    sparse_local_block sparse_score_type sparse_use_sparse_attention spatial_merge_size
    ssm_in_multiplier ssm_multipliers ssm_out_multiplier suppress_tokens swiglu_alpha swiglu_limit
    swiglu_limits swiglu_limits_shared task_specific_params temperature tensor_parallel_size
    text_config tf_legacy_loss tie_encoder_decoder time_step_floor time_step_init_scheme
    time_step_limit time_step_max time_step_min time_step_scale tokenizer_class tokenizer_name
    tokenizer_vocab_size top_k top_p topk_group topk_method torch_dtype torchscript
    transformers.js_config transformers_version typical_p use_alibi use_associative_scan
    use_bfloat16 use_bidirectional_attention use_cache use_cache_quantization use_dynamic_ntk
    use_expert_bias use_flash_attn use_gemma_norm use_grouped_topk use_logn_attn use_mamba_kernels
    use_mambapy use_moe_router_bias use_mrope use_mtp use_mup use_ntk use_return_dict use_rope
    use_rope_layers use_rotary_pos_emb use_routing_bias use_unified_vision_chunk verbose
    video_placeholder
    vision_config vision_feature_layer vision_feature_select_strategy vision_soft_tokens_per_image
    yarn_only_types z_loss_coefficient z_loss_weight zero_centered
    """.split()  # noqa: SIM905 (a name per line would hide them)
)

#: Endings and beginnings of irrelevant keys.
IRRELEVANT_ENDINGS = (
    "_token_id",
    "_token_ids",
    "_token_index",
    "_dropout",
    "_dropout_prob",
    "_eps",
    "_epsilon",
    "_pdrop",
    "_alpha_factor",
    "_beta_factor",
)
IRRELEVANT_BEGINNINGS = (
    "_",
    "summary_",
    "rope_",
    "router_aux",
    "generation_",
    "layernorm_",
    "linear_a_log_",
    "linear_allow_",
    "linear_dt_",
)
