"""config.json -> Model: finds the language model's part, its family, and puts the layers together."""

from __future__ import annotations

from collections.abc import Mapping

from app.calculations.architecture import Layer, Model
from app.calculations.huggingface.checkpoint import checkpoint_precision
from app.calculations.huggingface.config import Config
from app.calculations.huggingface.ends import embedding_tensors, head_tensors
from app.calculations.huggingface.families import CUSTOM, FAMILIES
from app.calculations.huggingface.family import Family
from app.calculations.huggingface.language import language_part, refuse_unknown_blocks, warn_of_assumptions
from app.calculations.huggingface.layers import layer
from app.calculations.huggingface.quantization import quantization
from app.calculations.huggingface.quantized import stored_ends, stored_layers
from app.calculations.huggingface.schedule import layer_plans
from app.calculations.huggingface.schedule_plan import LayerPlan
from app.calculations.huggingface.towers import image_encoder, tower_params

#: Keys that a model may state without using them (the dense width where all layers have experts ...).
RESTATED = (
    "tie_word_embeddings",
    "conv_cache_length",
    "full_attn_idxs",
    "mamba_d_ssm",
    "dense_intermediate_size",
    "expand",
    "first_k_dense_replace",
    "head_dim",
    "intermediate_size",
    "mamba_head_dim",
    "no_rope_layers",
    "num_attention_heads",
    "time_step_rank",
    "moe_intermediate_size",
    "mlp_only_layers",
    "multi_query",
    "n_shared_experts",
    "num_experts_per_tok",
    "num_key_value_heads",
    "shared_expert_intermediate_size",
    "ssm_expand",
    "vocab_size_per_layer_input",
    "use_post_norm",
)
NORMS = ("rms", "layer", "layer_no_bias", "none")


def read_config(config: Mapping[str, object], *, name: str, source: str = "") -> Model:
    """The model that a Hugging Face config.json (or a hand-made one, model_type "custom") describes.

    Raises InvalidInput where it describes none. What had to be assumed stands in `Model.warnings`.
    """
    outer_type, model_type, values = language_part(config)
    family = FAMILIES.get(model_type, CUSTOM)
    reader = Config(values, family.defaults)
    if family is CUSTOM:
        warn_of_assumptions(reader, model_type)
    norms = norm_kind(reader, family)
    plans = layer_plans(reader, family)
    made: dict[LayerPlan, Layer] = {}
    for plan in plans:
        if plan not in made:
            made[plan] = layer(reader, family, norms, plan)
    hidden, vocab = reader.size("hidden_size"), reader.size("vocab_size")
    tied = reader.rule(family.ties)
    embedding = embedding_tensors(reader, family, norms, hidden, vocab, len(plans))
    head = head_tensors(reader, family, norms, hidden, vocab, tied)
    layers = tuple(made[plan] for plan in plans)
    recipe = quantization(reader)
    if recipe is not None:
        layers = stored_layers(layers, recipe)
        embedding, head = stored_ends(embedding, recipe), stored_ends(head, recipe)
    mtp_layers = reader.integer("num_nextn_predict_layers", minimum=0) or 0
    longest = reader.integer("max_position_embeddings")
    reader.ignore(*RESTATED, *family.ignored, *fixed_traits(family))
    unread = reader.unread()
    if family is CUSTOM:
        refuse_unknown_blocks(model_type, unread)
    if unread:
        reader.warn("Keys not understood and left out: " + ", ".join(key[:60] for key in unread[:12]))
    return Model(
        name=name,
        family=model_type,
        hidden_size=hidden,
        vocab_size=vocab,
        layers=layers,
        embedding=embedding,
        head=head,
        tied_embeddings=tied,
        max_position=longest,
        checkpoint_precision=checkpoint_precision(reader, recipe),
        tower_params=tower_params(config, outer_type, hidden),
        image_encoder=image_encoder(config, outer_type),
        mtp_layers=mtp_layers,
        source=source,
        warnings=tuple(reader.warnings),
    )


def fixed_traits(family: Family) -> tuple[str, ...]:
    """Keys that may state again what the family's class does anyway."""
    traits = (
        ("use_qk_norm", bool(family.qk_norm)),
        ("attention_bias", family.qkv_bias is True),
        ("mlp_bias", family.mlp_bias is True),
    )
    return tuple(key for key, fixed in traits if fixed)


def norm_kind(config: Config, family: Family) -> str:
    if config.get("rmsnorm") is False:
        # ChatGLM.
        return "layer"
    if config.get("layer_norm_elementwise_affine") is False:
        # Galactica (OPT).
        return "none"
    if family.norm != "key":
        return family.norm
    return config.choice("norm", NORMS) or "rms"
