"""Parameters of vision towers with their projector, by the model_type that owns them; working memory where it counts.

Counts follow the modeling code of transformers 5.23; None where a tower is unknown or its config incomplete.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from app.calculations.huggingface.keys import TOWER_CONFIGS
from app.calculations.image_encoder import ImageEncoder


class _Unknown(Exception):
    """A size that the tower's config does not state."""


class _Sizes:
    """Whole numbers of a vision_config."""

    def __init__(self, values: Mapping[str, object]) -> None:
        self.values = values

    def __call__(self, *keys: str, default: int | None = None) -> int:
        for key in keys:
            value = self.values.get(key)
            if isinstance(value, int) and not isinstance(value, bool) and 0 < value <= 10_000_000:
                return value
        if default is None:
            raise _Unknown(keys[0])
        return default

    def length(self, key: str, default: int) -> int:
        value = self.values.get(key)
        return len(value) if isinstance(value, list | tuple) else default


def linear(inputs: int, outputs: int, *, bias: bool = True) -> int:
    return inputs * outputs + (outputs if bias else 0)


def tower_params(outer: Mapping[str, object], model_type: str, hidden: int) -> int | None:
    """Parameters beside the language model: 0 without a tower, None where they cannot be counted."""
    towers = [key for key in TOWER_CONFIGS if isinstance(outer.get(key), Mapping)]
    vision = outer.get("vision_config")
    if not towers and model_type == "llama4" and "text_config" in outer:
        # The class has defaults for a vision_config that is left out.
        towers, vision = ["vision_config"], LLAMA4_VISION
    if model_type == "fuyu":
        # Patches go through one matrix into the language model.
        size = _Sizes(outer)
        return linear(size("num_channels", default=3) * size("patch_size", default=30) ** 2, hidden)
    if not towers:
        return 0
    if towers != ["vision_config"] or not isinstance(vision, Mapping) or model_type not in TOWERS:
        return None
    try:
        return TOWERS[model_type](_Sizes(vision), hidden)
    except _Unknown:
        return None


def qwen3_vl(size: _Sizes, hidden: int) -> int:
    """Qwen3-VL and Qwen3.5: LayerNorms, biases, learned positions; one merger more per deepstack level."""
    width, inner = size("hidden_size"), size("intermediate_size")
    merged = width * size("spatial_merge_size") ** 2
    patch = size("in_channels", "in_chans", default=3) * size("temporal_patch_size") * size("patch_size") ** 2
    block = 4 * width + linear(width, 3 * width) + linear(width, width) + linear(width, inner) + linear(inner, width)
    merger = linear(merged, merged) + linear(merged, size("out_hidden_size", default=hidden))
    deepstack = size.length("deepstack_visual_indexes", 3) * (2 * merged + merger)
    positions = size("num_position_embeddings", default=2304) * width
    return linear(patch, width) + positions + size("depth") * block + 2 * width + merger + deepstack


def qwen2_vl(size: _Sizes, hidden: int) -> int:
    """Qwen2-VL: LayerNorms with bias, MLP of mlp_ratio."""
    width = size("embed_dim")
    inner, merged = width * size("mlp_ratio", default=4), width * size("spatial_merge_size", default=2) ** 2
    block = 4 * width + linear(width, 3 * width) + linear(width, width) + linear(width, inner) + linear(inner, width)
    merger = 2 * width + linear(merged, merged) + linear(merged, size("hidden_size", default=hidden))
    return patch_params(size, width) + size("depth", default=32) * block + merger


def qwen2_5_vl(size: _Sizes, hidden: int) -> int:
    """Qwen2.5-VL: RMS norms and a gated MLP with biases."""
    width, inner = size("hidden_size"), size("intermediate_size")
    merged = width * size("spatial_merge_size", default=2) ** 2
    mlp = 2 * linear(width, inner) + linear(inner, width)
    block = 2 * width + linear(width, 3 * width) + linear(width, width) + mlp
    merger = width + linear(merged, merged) + linear(merged, size("out_hidden_size", default=hidden))
    return patch_params(size, width) + size("depth", default=32) * block + merger


def patch_params(size: _Sizes, width: int) -> int:
    """Patch projection of Qwen2-VL: two frames, no bias."""
    channels = size("in_channels", "in_chans", default=3)
    return channels * size("temporal_patch_size", default=2) * size("patch_size", default=14) ** 2 * width


def siglip_block(width: int, inner: int) -> int:
    return 4 * width + 4 * linear(width, width) + linear(width, inner) + linear(inner, width)


def gemma3(size: _Sizes, hidden: int) -> int:
    """Gemma 3: SigLIP without its pooling head, an RMS norm and a projection without bias."""
    width, inner = size("hidden_size"), size("intermediate_size")
    patch = linear(size("num_channels", default=3) * size("patch_size") ** 2, width)
    positions = (size("image_size") // size("patch_size")) ** 2 * width
    blocks = size("num_hidden_layers") * siglip_block(width, inner)
    return patch + positions + blocks + 2 * width + width + width * hidden


def gemma4(size: _Sizes, hidden: int) -> int:
    """Gemma 4: four norms, query/key norms and a gated MLP; a table of positions for each axis."""
    width, inner, head = size("hidden_size"), size("intermediate_size"), size("head_dim")
    queries = size("num_attention_heads") * head
    keys = size("num_key_value_heads", "num_attention_heads") * head
    attention = 2 * width * queries + 2 * width * keys + 2 * head
    block = 4 * width + attention + 3 * width * inner
    positions = 2 * size("position_embedding_size") * width
    patch = 3 * size("patch_size") ** 2 * width
    return patch + positions + size("num_hidden_layers") * block + width * hidden


LLAMA4_VISION = {
    "hidden_size": 768,
    "intermediate_size": 5632,
    "num_hidden_layers": 34,
    "image_size": 448,
    "patch_size": 14,
    "vision_output_dim": 7680,
}


def llama4(size: _Sizes, hidden: int) -> int:
    """Llama 4: biased ViT, class token, pixel-shuffle adapter of two matrices, projection."""
    width, inner = size("hidden_size"), size("intermediate_size")
    patches = (size("image_size") // size("patch_size")) ** 2
    patch = 3 * size("patch_size") ** 2 * width
    adapter_in, adapter_out = (
        size("projector_input_dim", default=4096),
        size("projector_output_dim", default=4096),
    )
    adapter = inner * adapter_in + adapter_in * adapter_out
    blocks = size("num_hidden_layers") * siglip_block(width, inner)
    return patch + width + (patches + 1) * width + 4 * width + blocks + adapter + size("vision_output_dim") * hidden


def mllama(size: _Sizes, hidden: int) -> int:
    """Llama 3.2 Vision: local and gated global layers, tile embeddings for each aspect ratio."""
    width, inner = size("hidden_size"), size("intermediate_size")
    tiles, ratios = size("max_num_tiles"), size.length("supported_aspect_ratios", 8) + 1
    positions = (size("image_size") // size("patch_size")) ** 2 + 1
    block = 4 * width + 4 * width * width + linear(width, inner) + linear(inner, width)
    local, gated = size("num_hidden_layers") * block, size("num_global_layers") * (block + 2)
    embeddings = 3 * size("patch_size") ** 2 * width + width + positions * width + 1
    tile_embeddings = ratios * tiles * positions * width + 2 * (ratios * tiles * width + 1)
    return embeddings + tile_embeddings + 4 * width + local + gated + linear(size("vision_output_dim"), hidden)


#: The attention of Llama 3.2 Vision pads the patches of a tile to a multiple of this: Transformers, modeling_mllama.py,
#: MllamaVisionModel.forward ("num_padding_patches = (8 - (hidden_state.shape[-2] % 8)) % 8").
MLLAMA_PADDING = 8


def image_encoder(outer: Mapping[str, object], model_type: str) -> ImageEncoder | None:
    """What is known of a tower's working memory: that of Llama 3.2 Vision."""
    vision = outer.get("vision_config")
    if model_type != "mllama" or not isinstance(vision, Mapping):
        return None
    size = _Sizes(vision)
    try:
        patches = (size("image_size") // size("patch_size")) ** 2 + 1
        return ImageEncoder(
            patches=size("max_num_tiles") * -(-patches // MLLAMA_PADDING) * MLLAMA_PADDING,
            width=size("hidden_size"),
            inner=size("intermediate_size"),
            kept_layers=size.length("intermediate_layers_indices", 5),
        )
    except _Unknown:
        return None


def mistral3(size: _Sizes, hidden: int) -> int:
    """Mistral Small 3.1 and later: Pixtral without biases, a norm, a patch merger and two matrices."""
    width, inner = size("hidden_size"), size("intermediate_size")
    patch = size("num_channels", default=3) * size("patch_size") ** 2 * width
    block = 2 * width + 4 * width * width + 3 * width * inner
    projector = width + 4 * width * width + width * hidden + hidden * hidden
    return patch + width + size("num_hidden_layers") * block + projector


def kimi_k25(size: _Sizes, hidden: int) -> int:
    """Kimi K2.5: MoonViT with a learned position grid, and a patch merger."""
    width, inner = size("vt_hidden_size"), size("vt_intermediate_size")
    merge = size.values.get("merge_kernel_size")
    merged = 4 * width if merge in ([2, 2], (2, 2), None) else 0
    if not merged:
        raise _Unknown("merge_kernel_size")
    patch = linear(3 * size("patch_size") ** 2, width)
    positions = size("init_pos_emb_height") * size("init_pos_emb_width") * width
    block = 4 * width + linear(width, 3 * width) + linear(width, width) + linear(width, inner) + linear(inner, width)
    projector = 2 * width + linear(merged, merged) + linear(merged, hidden)
    return patch + positions + size("vt_num_hidden_layers") * block + 2 * width + projector


TOWERS: dict[str, Callable[[_Sizes, int], int]] = {
    "qwen3_vl": qwen3_vl,
    "qwen3_vl_moe": qwen3_vl,
    "qwen3_5": qwen3_vl,
    "qwen3_5_moe": qwen3_vl,
    "qwen2_vl": qwen2_vl,
    "qwen2_5_vl": qwen2_5_vl,
    "gemma3": gemma3,
    "gemma4": gemma4,
    "llama4": llama4,
    "mistral3": mistral3,
    "mllama": mllama,
    "kimi_k25": kimi_k25,
}
