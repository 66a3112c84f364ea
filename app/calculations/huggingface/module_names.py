"""What Hugging Face calls the modules that our tensors are: quantised checkpoints name them in their lists.

A tensor has several names, one for each class that has such a module (and for fused ones), all without the
wrapper in front: "layers.3.self_attn.q_proj", "layers.3.self_attn.qkv_proj".
"""

from __future__ import annotations

from collections.abc import Iterator

from app.calculations.architecture import Attention, Block, Experts, FeedForward, LatentAttention, Layer, Tensor

#: Our name -> the library's.
LEAVES: dict[str, tuple[str, ...]] = {
    "q_proj": ("q_proj", "qkv_proj", "query_key_value", "c_attn", "W_pack", "wqkv", "Wqkv"),
    "k_proj": ("k_proj", "qkv_proj", "query_key_value", "c_attn", "W_pack", "wqkv", "Wqkv"),
    "v_proj": ("v_proj", "qkv_proj", "query_key_value", "c_attn", "W_pack", "wqkv", "Wqkv"),
    "o_proj": ("o_proj", "out_proj", "dense", "c_proj", "wo"),
    "gate_proj": ("gate_proj", "gate_up_proj", "w1"),
    "up_proj": ("up_proj", "gate_up_proj", "w3", "fc1", "c_fc", "dense_h_to_4h"),
    "down_proj": ("down_proj", "w2", "fc2", "c_proj", "dense_4h_to_h"),
    "q_a_proj": ("q_a_proj", "wq_a"),
    "q_b_proj": ("q_b_proj", "wq_b"),
    "kv_a_proj": ("kv_a_proj_with_mqa", "kv_a_proj"),
    "kv_proj": ("kv_proj", "wkv"),
    "o_a_proj": ("o_a_proj", "wo_a"),
    "o_b_proj": ("o_b_proj", "wo_b"),
    "index_q_b": ("indexer.wq_b",),
    "index_k": ("indexer.wk",),
    "in_proj_qk": ("in_proj_qkv", "in_proj_qkvz"),
    "in_proj_v": ("in_proj_qkv", "in_proj_qkvz"),
    "in_proj_z": ("in_proj_z", "in_proj_qkvz"),
    "in_proj_b": ("in_proj_b", "in_proj_ba"),
    "in_proj_a": ("in_proj_a", "in_proj_ba"),
    "in_proj_bc": ("in_proj",),
    "latent_down": ("fc1_latent_proj", "routed_expert_down_proj"),
    "latent_up": ("fc2_latent_proj", "routed_expert_up_proj"),
    "lm_head": ("lm_head", "output_layer", "embed_out"),
}
#: Where a block's modules stand. "mixer" is Nemotron-H's name for whatever a layer is.
ATTENTION = ("self_attn", "attn", "attention", "self_attention", "mixer")
RECURRENT = ("linear_attn", "mamba", "conv", "mixer")
DENSE = ("mlp", "feed_forward", "mixer")
EXPERT = (
    "mlp.experts.0",
    "mlp.experts",
    "block_sparse_moe.experts.0",
    "feed_forward.experts.0",
    "feed_forward.experts",
    "mixer.experts.0",
)
SHARED = (
    "mlp.shared_experts",
    "mlp.shared_expert",
    "block_sparse_moe.shared_experts",
    "feed_forward.shared_expert",
    "mixer.shared_experts",
)
#: Linear for us but no linear module there: hyper-connections; and what checkpoints always keep wide: the
#: indexer's weights (transformers 5.23 DeepseekV32PreTrainedModel._keep_in_fp32_modules), DeepSeek-V4's
#: compressors and the weights of its indexer (DeepseekV4PreTrainedModel, same list).
ALWAYS_WIDE = frozenset(
    {
        "attn_hc_fn",
        "ffn_hc_fn",
        "hc_head_fn",
        "index_weights",
        "compressor_kv_proj",
        "compressor_gate_proj",
        "indexer_kv_proj",
        "indexer_gate_proj",
        "indexer_weights_proj",
    }
)


def is_quantisable(tensor: Tensor) -> bool:
    """Whether a quantised checkpoint may keep this tensor narrow; routers and gates of one output stay wide."""
    return (
        tensor.kind == "linear"
        and len(tensor.shape) == 2
        and min(tensor.shape) > 1
        and tensor.group != "router"
        and tensor.name not in ALWAYS_WIDE
    )


def layer_modules(layer: Layer, index: int) -> Iterator[tuple[Tensor, tuple[str, ...]]]:
    """The tensors of a layer that can be stored narrow, with their names."""
    for block in layer.blocks:
        for tensor in block.tensors:
            if is_quantisable(tensor):
                yield tensor, names(tensor, parents(block, tensor), f"layers.{index}.")
    for tensor in layer.tensors:
        if is_quantisable(tensor):
            yield tensor, names(tensor, ("",), f"layers.{index}.")


def parents(block: Block, tensor: Tensor) -> tuple[str, ...]:
    """The modules that hold a tensor of this block."""
    if isinstance(block, Attention | LatentAttention) or tensor.group == "attention":
        return ATTENTION
    if isinstance(block, Experts):
        return {"expert": EXPERT, "shared_expert": SHARED}.get(tensor.group, DENSE)
    return DENSE if isinstance(block, FeedForward) else RECURRENT


def names(tensor: Tensor, holders: tuple[str, ...], prefix: str = "") -> tuple[str, ...]:
    """All names of a tensor's module."""
    own = tensor.name.removeprefix("shared_")
    leaves = LEAVES.get(own, (own,))
    return tuple(f"{prefix}{holder}.{leaf}" if holder else prefix + leaf for holder in holders for leaf in leaves)
