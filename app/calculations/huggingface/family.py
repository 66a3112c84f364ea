"""The traits of a model family: what config.json leaves unsaid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Family:
    """Traits of one model_type."""

    #: "rms" (a weight), "layer" (weight and bias), "layer_no_bias", "none" (neither) or "key" (config.norm).
    norm: str = "rms"
    #: Norms of one layer; a parallel block has one.
    layer_norms: tuple[str, ...] = ("input_layernorm", "post_attention_layernorm")
    embedding_norm: bool = False
    #: Query and key norm: "" none, "head" one vector per head size, "heads" one vector per head,
    #: "width" over all heads at once.
    qk_norm: str = ""
    qk_norm_when: str | bool = True
    qkv_bias: str | bool = "attention_bias"
    output_bias: str | bool = "attention_bias"
    mlp_bias: str | bool = "mlp_bias"
    head_bias: str | bool = False
    gated: str | bool = True
    #: Whether lm_head is the embedding table.
    ties: str | bool = "tie_word_embeddings"
    #: Learned position table of max_position + offset rows; None where positions are rotary or ALiBi.
    position_offset: int | None = None
    #: A window applies to all layers but each n-th; 0: to all layers.
    full_every: int = 0
    #: A learned attention sink per head.
    sinks: bool = False
    #: A gate per query head (Step-3.5).
    head_gate: str | bool = False
    #: Attention's query projection also makes an output gate (Qwen3-Next).
    output_gate: str | bool = False
    expert_bias: bool = False
    router_bias: bool = False
    #: The shared expert has a gate of one output.
    shared_gate: bool = False
    #: "mamba", "mamba2", "delta" (gated delta net), "kda", "short_conv", "lightning".
    recurrent: str = ""
    #: Shape quirks that need a branch of their own: "gemma4", "deepseek_v4", "falcon", "mllama" ...
    special: str = ""
    #: Keys that this class has and that change no count of it.
    ignored: tuple[str, ...] = ()
    defaults: Mapping[str, object] = field(default_factory=dict)


def relative(base: Family, *, defaults: Mapping[str, object] | None = None, **changes: object) -> Family:
    """A relative: `base` with `changes`, its defaults extended."""
    merged = {**base.defaults, **(defaults or {})}
    return replace(base, defaults=merged, **changes)  # type: ignore[arg-type]


UNTIED = {"tie_word_embeddings": False}
TIED = {"tie_word_embeddings": True}
