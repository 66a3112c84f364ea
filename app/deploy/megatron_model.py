"""A model as Megatron-LM's arguments: what the tensors of its layers say, and what its configuration adds.

Arguments: NVIDIA/Megatron-LM, megatron/training/arguments.py. What they cannot say is in `megatron_gaps`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from itertools import groupby
from math import gcd
from typing import Any, TypeVar

from app import catalog
from app.calculations.architecture import (
    Attention,
    Block,
    Experts,
    FeedForward,
    LatentAttention,
    Layer,
    Model,
    Recurrent,
)
from app.own import user_data

QKV_BIASES = {"q_proj_bias", "k_proj_bias", "v_proj_bias"}
LINEAR_BIASES = {"o_proj_bias", "up_proj_bias", "down_proj_bias"}
#: Megatron-LM pads the vocabulary to a multiple of this, times tensor-parallel GPUs.
VOCABULARY_UNIT = 128
B = TypeVar("B", bound=Block)


class Reading:
    """What of a model the arguments are made from."""

    def __init__(self, model: Model) -> None:
        self.model = model
        self.config = configuration(model)
        self.tensors = {t.name: t for t in model.tensors()}
        self.attention = most(model, Attention)
        self.latent = most(model, LatentAttention)
        self.dense = most(model, FeedForward)
        self.experts = most(model, Experts)

    def has(self, *names: str) -> bool:
        return any(name in self.tensors for name in names)


def most(model: Model, kind: type[B]) -> B | None:
    """The most frequent block of a kind."""
    counts: Counter[B] = Counter()
    for layer, often in model.layer_counts:
        for block in layer.blocks:
            if isinstance(block, kind):
                counts[block] += often
    return counts.most_common(1)[0][0] if counts else None


def configuration(model: Model) -> Mapping[str, Any]:
    """The preset's or saved model's config.json, of its language model; empty where there is none."""
    own = user_data.current().models.get(model.name)
    entry = catalog.preset_models().get(model.name)
    config: Mapping[str, Any] = catalog.config_of(entry) if entry else own.config if own else {}
    text: Mapping[str, Any] = config.get("text_config", config)
    return text


def architecture(model: Model, tp: int) -> dict[str, Any]:
    """All arguments that describe the model."""
    read = Reading(model)
    return {
        "num-layers": model.num_layers,
        "hidden-size": model.hidden_size,
        "num-attention-heads": model.num_heads,
        **attention(read),
        **feed_forward(read),
        **experts(read),
        **norms(read),
        **positions(read),
        **vocabulary(model, tp),
        "disable-bias-linear": not read.has(*LINEAR_BIASES),
        "add-qkv-bias": read.has(*QKV_BIASES) and not read.has(*LINEAR_BIASES),
        "attention-dropout": 0,
        "hidden-dropout": 0,
    }


def attention(read: Reading) -> dict[str, Any]:
    """Heads, latents and windows."""
    if read.latent is not None:
        q_rank = read.tensors["q_a_proj"].shape[0] if read.has("q_a_proj") else None
        return {
            "multi-latent-attention": True,
            "q-lora-rank": q_rank,
            "kv-lora-rank": read.latent.kv_lora_rank,
            "qk-head-dim": read.latent.nope_dim,
            "qk-pos-emb-head-dim": read.latent.rope_dim,
            "v-head-dim": read.latent.value_dim,
            "qk-layernorm": read.has("q_a_layernorm", "kv_a_layernorm"),
        }
    one = read.attention
    if one is None:
        return {}
    grouped = one.num_kv_heads != one.num_heads
    return {
        "kv-channels": one.head_dim,
        "group-query-attention": grouped,
        "num-query-groups": one.num_kv_heads if grouped else None,
        "qk-layernorm": read.has("q_norm"),
        "softmax-type": "learnable" if read.has("sinks") else None,
        **windows(read.model),
    }


def windows(model: Model) -> dict[str, Any]:
    """Sliding windows, and which layers have them. A window of n tokens is n - 1 before a token's own."""
    found = [window_of(layer) for layer in model.layers]
    sizes = {size for size in found if size}
    if len(sizes) != 1:
        return {}
    return {
        "window-size": f"{sizes.pop() - 1},0",
        "window-attn-skip-freq": None if all(found) else pattern([bool(size) for size in found]),
    }


def window_of(layer: Layer) -> int | None:
    return next((block.window for block in layer.blocks if isinstance(block, Attention)), None)


def pattern(flags: list[bool]) -> str:
    """A list of ones and zeros as the expression that Megatron-LM evaluates; a short period is repeated."""
    for period in range(1, 9):
        if len(flags) % period == 0 and flags == flags[:period] * (len(flags) // period):
            return f"'[{','.join(str(int(flag)) for flag in flags[:period])}]*{len(flags) // period}'"
    return "'" + "+".join(f"[{int(flag)}]*{len(list(run))}" for flag, run in groupby(flags)) + "'"


def feed_forward(read: Reading) -> dict[str, Any]:
    """Width and activation of the dense layers; those of the experts where all layers have them."""
    mlp = read.dense or read.experts
    clamp = read.config.get("swiglu_limit")
    return {
        "ffn-hidden-size": mlp.width if mlp else None,
        "swiglu": bool(mlp and mlp.gated and not clamp),
        # The activation of gpt-oss: clamped, and the linear half plus one.
        "quick-geglu": bool(mlp and mlp.gated and clamp),
        "activation-func-clamp-value": clamp,
        "glu-linear-offset": 1.0 if clamp else None,
        "squared-relu": activation(read) == "relu2",
    }


def activation(read: Reading) -> str:
    names = ("hidden_act", "hidden_activation", "activation_function", "mlp_hidden_act")
    return str(next((read.config[name] for name in names if read.config.get(name)), ""))


def experts(read: Reading) -> dict[str, Any]:
    """The mixture: experts, shared ones, which layers have them, and how tokens are routed."""
    one = read.experts
    if one is None:
        return {}
    has = [any(isinstance(block, Experts) for block in layer.blocks) for layer in read.model.layers]
    shared = read.tensors.get("shared_up_proj")
    sigmoid = read.config.get("scoring_func") == "sigmoid"
    return {
        "num-experts": one.num_experts,
        "moe-ffn-hidden-size": one.width,
        "moe-router-topk": one.experts_per_token,
        "moe-shared-expert-intermediate-size": shared.shape[0] * shared.copies if shared else None,
        "moe-layer-freq": None if all(has) else pattern(has),
        "moe-router-score-function": "sigmoid" if sigmoid else None,
        "moe-router-enable-expert-bias": read.config.get("topk_method") == "noaux_tc",
        "moe-router-num-groups": read.config.get("n_group"),
        "moe-router-group-topk": read.config.get("topk_group"),
        "moe-router-topk-scaling-factor": read.config.get("routed_scaling_factor"),
    }


def norms(read: Reading) -> dict[str, Any]:
    """LayerNorm has biases, RMSNorm none."""
    keys = ("rms_norm_eps", "layer_norm_epsilon", "layer_norm_eps", "norm_eps")
    return {
        "normalization": "LayerNorm" if read.has("final_norm_bias") else "RMSNorm",
        "norm-epsilon": next((read.config[key] for key in keys if key in read.config), None),
    }


def positions(read: Reading) -> dict[str, Any]:
    """Learned positions where there is a table of them, else rotary ones with the configuration's base and scaling."""
    if read.has("embed_positions"):
        return {"position-embedding-type": "learned_absolute"}
    base, scaling = rotary(read.config)
    kind = scaling.get("rope_type", scaling.get("type"))
    yarn = read.latent is not None and kind == "yarn"
    found = {
        "position-embedding-type": "rope",
        "rotary-base": None if base is None else int(base),
        "rotary-percent": read.config.get("partial_rotary_factor", read.config.get("rotary_pct")),
        "use-rope-scaling": kind == "llama3",
        "rope-scaling-factor": scaling["factor"] if kind == "llama3" else None,
        "rope-type": ("yarn" if yarn else "rope") if read.latent is not None else None,
    }
    if yarn:
        found |= {
            "rotary-scaling-factor": scaling["factor"],
            "mscale": scaling.get("mscale"),
            "mscale-all-dim": scaling.get("mscale_all_dim"),
        }
    return found


def rotary(config: Mapping[str, Any]) -> tuple[float | None, Mapping[str, Any]]:
    """Base of rotary positions, and how they are scaled, of older and newer configurations."""
    scaling = config.get("rope_parameters") or config.get("rope_scaling") or {}
    return config.get("rope_theta", scaling.get("rope_theta")), scaling


def vocabulary(model: Model, tp: int) -> dict[str, Any]:
    """The tokenizer of the hub, and padding that adds no row where the rows divide."""
    unit = gcd(model.vocab_size // tp, VOCABULARY_UNIT) if model.vocab_size % tp == 0 else VOCABULARY_UNIT
    from_hub = "/" in model.name
    return {
        "tokenizer-type": "HuggingFaceTokenizer" if from_hub else "NullTokenizer",
        "tokenizer-model": model.name if from_hub else None,
        "vocab-size": model.vocab_size,
        "make-vocab-size-divisible-by": unit,
        "untie-embeddings-and-output-weights": not model.tied_embeddings,
    }


def is_transformer(model: Model) -> bool:
    """Whether pretrain_gpt.py has its layers: attention and an MLP in each, nothing recurrent."""
    return all(
        len(layer.blocks) > 1 and not any(isinstance(block, Recurrent) for block in layer.blocks)
        for layer, _ in model.layer_counts
    )


def has_expert_biases(model: Model) -> bool:
    """Whether routed experts have biases, which Megatron-LM has for whole experts only."""
    return any(t.group == "expert" and t.name.endswith("_bias") for t in model.tensors())
