"""What of a model Megatron-LM's arguments cannot say.

Tensors that none of them makes, layers that differ where they know one kind, numbers that the configuration lacks.
"""

from __future__ import annotations

from collections.abc import Iterator

from app.calculations.architecture import Attention, FeedForward, LatentAttention, Model
from app.deploy.megatron_model import LINEAR_BIASES, QKV_BIASES, Reading, activation, rotary, window_of

#: Tensors that the arguments make; a bias beside each is another question.
MADE = {
    "embed_tokens", "embed_positions", "final_norm", "lm_head", "input_layernorm", "post_attention_layernorm",
    "q_proj", "k_proj", "v_proj", "o_proj", "q_norm", "k_norm", "sinks", "q_a_proj", "q_a_layernorm", "q_b_proj",
    "kv_a_proj", "kv_a_layernorm", "kv_b_proj", "up_proj", "gate_proj", "down_proj", "router", "shared_up_proj",
    "shared_gate_proj", "shared_down_proj",
}  # fmt: skip
#: Activations that the arguments have, of gated and of plain MLPs.
GATED = ("silu", "swish", "")
PLAIN = ("gelu", "gelu_new", "gelu_pytorch_tanh", "relu2")
#: Keys of a configuration that change what is computed, not its size.
UNSAID = (
    "attention_chunk_size", "no_rope_layers", "use_qk_norm", "attn_logit_softcapping", "final_logit_softcapping",
    "logit_scale", "logits_scaling", "embedding_multiplier", "attention_multiplier", "residual_multiplier",
)  # fmt: skip
NORMS = ("input_layernorm", "post_attention_layernorm", "final_norm")


def model_notes(model: Model, tp: int) -> Iterator[str]:
    """What of the model the arguments cannot say."""
    read = Reading(model)
    say = f"model {model.name}:"
    biases = QKV_BIASES | LINEAR_BIASES | {f"{norm}_bias" for norm in NORMS} | {"gate_proj_bias"}
    missing = sorted(name for name in read.tensors if name not in MADE | biases)
    if missing:
        yield f"{say} no argument makes its {', '.join(missing)}."
    if read.has(*LINEAR_BIASES) and not all(read.has(name) for name in (*LINEAR_BIASES, *QKV_BIASES)):
        yield f"{say} all linear layers get biases, of which it has some."
    if not read.has("post_attention_layernorm"):
        yield f"{say} one norm for attention and MLP side by side is not among the arguments; they run in turn."
    yield from layer_notes(read, say)
    yield from number_notes(read, say, tp)
    if model.tower_params != 0:
        yield f"{say} the language model only, without its vision or audio tower."


def layer_notes(read: Reading, say: str) -> Iterator[str]:
    """Layers that differ where the arguments know one kind."""
    for kind, name in ((Attention, "attention"), (LatentAttention, "attention"), (FeedForward, "MLP")):
        shapes = {
            tuple(sorted((t.name, t.shape) for t in block.tensors))
            for layer, _ in read.model.layer_counts
            for block in layer.blocks
            if isinstance(block, kind)
        }
        if len(shapes) > 1:
            yield f"{say} its layers have {len(shapes)} kinds of {name}; the most frequent is given to all."
    if any(len(layer.blocks) > 2 for layer, _ in read.model.layer_counts):
        yield f"{say} some layers have more than attention and one MLP; the others are not among the arguments."
    sizes = {window_of(layer) for layer in read.model.layers} - {None}
    if len(sizes) > 1:
        yield f"{say} windows of {', '.join(map(str, sorted(filter(None, sizes))))} tokens; no window is given."
    one = read.attention
    if one and one.value_dim != one.head_dim:
        yield f"{say} values are {one.value_dim} wide and keys {one.head_dim}; both get the keys' width."
    if one and read.has("q_norm") and read.tensors["q_norm"].shape[0] != one.head_dim:
        yield f"{say} its norm of queries and keys spans all heads; --qk-layernorm is one for each."


def number_notes(read: Reading, say: str, tp: int) -> Iterator[str]:
    """Values that the configuration lacks, or gives in a way that no argument has."""
    if not read.has("embed_positions"):
        base, scaling = rotary(read.config)
        kind = scaling.get("rope_type", scaling.get("type"))
        if base is None:
            yield f"{say} its rotary base, or that it has other positions, is not known; --rotary-base is 10000."
        if kind not in (None, "default", "llama3") and not (kind == "yarn" and read.latent):
            yield f"{say} no argument has {kind} scaling of rotary positions."
    yield from activation_notes(read, say)
    unsaid = [key for key in UNSAID if read.config.get(key)]
    if unsaid:
        yield f"{say} no argument has its configuration's {', '.join(unsaid)}."
    if read.model.vocab_size % tp:
        yield f"{say} {read.model.vocab_size} rows of the vocabulary are padded to divide by tp {tp}."


def activation_notes(read: Reading, say: str) -> Iterator[str]:
    """Activations other than SiLU of gated MLPs and GELU or squared ReLU of plain ones; a gated one is usually SiLU."""
    mlp, act = read.dense or read.experts, activation(read)
    if mlp is None or act in (GATED if mlp.gated else PLAIN):
        return
    known = f"is {act}" if act else "is not known"
    yield f"{say} its activation {known}, and {'SiLU' if mlp.gated else 'GELU'} is given."
