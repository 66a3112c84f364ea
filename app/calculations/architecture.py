"""A model as the tensors it is made of: layers -> blocks -> tensors -> parameters, cache and state.

Counts are sums over real tensors, never a closed formula, so every family counts the same way.
Sizes are elements; bytes come in with a precision (see `precision.py`, `memory.py`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property

from app.calculations.image_encoder import ImageEncoder
from app.calculations.precision import Precision
from app.calculations.tensor import GROUPS as GROUPS
from app.calculations.tensor import Tensor as Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Attention:
    """Softmax attention with a key/value cache (MHA, GQA, MQA; full, sliding or chunked).

    `window` limits the positions attended and cached; `owns_cache` is False where the layer reads
    another layer's cache; `cross` attends to an encoder's output and caches nothing per token;
    `compression` tokens share one cached row once they have left the window. `index_*` describe the indexer
    of sparse attention where there is one: `index_topk` tokens (or compressed rows) are attended.
    """

    tensors: tuple[Tensor, ...]
    num_heads: int
    num_kv_heads: int
    head_dim: int
    value_dim: int
    window: int | None = None
    owns_cache: bool = True
    cross: bool = False
    shares_key_value: bool = False
    compression: int = 0
    index_heads: int = 0
    index_dim: int = 0
    index_topk: int | None = None

    @property
    def cache_elements_per_token(self) -> int:
        """Key and value elements that one token adds (whole model, this layer)."""
        if not self.owns_cache or self.cross:
            return 0
        width = self.head_dim if self.shares_key_value else self.head_dim + self.value_dim
        return self.num_kv_heads * width

    @property
    def cache_elements_per_token_past_window(self) -> int:
        """What a token still adds once the window is full: nothing, or its share of a compressed row."""
        if not self.window:
            return self.cache_elements_per_token
        return self.cache_elements_per_token // self.compression if self.compression else 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LatentAttention:
    """Multi-head latent attention (MLA, DeepSeek-V2, arXiv:2405.04434): caches one latent per token.

    `index_*` describe the sparse-attention indexer (DSA) where there is one: `index_topk` tokens are attended.
    """

    tensors: tuple[Tensor, ...]
    num_heads: int
    kv_lora_rank: int
    rope_dim: int
    nope_dim: int
    value_dim: int
    index_heads: int = 0
    index_dim: int = 0
    index_topk: int | None = None

    @property
    def cache_elements_per_token(self) -> int:
        """Latent plus rotary key; one copy, whatever the number of heads."""
        return self.kv_lora_rank + self.rope_dim

    @property
    def cache_elements_per_token_past_window(self) -> int:
        """The same: a latent has no window."""
        return self.cache_elements_per_token


@dataclass(frozen=True, slots=True, kw_only=True)
class Recurrent:
    """Mamba, Mamba-2 or linear attention: a state of constant size per sequence instead of a cache.

    `state_elements` is the recurrent state, `conv_elements` the convolution's last columns, `heads` what
    tensor parallelism can divide.
    """

    tensors: tuple[Tensor, ...]
    state_elements: int
    conv_elements: int
    heads: int


@dataclass(frozen=True, slots=True, kw_only=True)
class FeedForward:
    """A dense MLP, gated (three matrices) or plain (two)."""

    tensors: tuple[Tensor, ...]
    width: int
    gated: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Experts:
    """A mixture of experts: router, `num_experts` routed of which `experts_per_token` run, shared ones always."""

    tensors: tuple[Tensor, ...]
    num_experts: int
    experts_per_token: int
    width: int
    gated: bool


Block = Attention | LatentAttention | Recurrent | FeedForward | Experts


@dataclass(frozen=True, slots=True)
class Layer:
    """One entry of the residual stream: its blocks in order and what surrounds them (norms, gates)."""

    blocks: tuple[Block, ...]
    tensors: tuple[Tensor, ...] = ()

    def all_tensors(self) -> Iterator[Tensor]:
        for block in self.blocks:
            yield from block.tensors
        yield from self.tensors


@dataclass(frozen=True, kw_only=True)
class Model:
    """A causal language model. `embedding` comes before the layers, `head` after them (final norm, lm_head)."""

    name: str
    family: str
    hidden_size: int
    vocab_size: int
    layers: tuple[Layer, ...]
    embedding: tuple[Tensor, ...]
    head: tuple[Tensor, ...]
    tied_embeddings: bool
    max_position: int | None = None
    #: Precision that the published checkpoint stores its linear layers in (a name of precision.py).
    checkpoint_precision: str = "bf16"
    #: Parameters of a vision or audio tower, None where its size is not known; not part of `total_params`.
    tower_params: int | None = 0
    #: The tower's working memory, where it is known and counts.
    image_encoder: ImageEncoder | None = None
    #: Multi-token-prediction layers that the checkpoint has beside the counted ones.
    mtp_layers: int = 0
    source: str = ""
    #: What the reader assumed or did not understand.
    warnings: tuple[str, ...] = ()

    def __hash__(self) -> int:
        return hash((self.name, self.hidden_size, self.vocab_size, len(self.layers)))  # Not all of its tensors.

    @classmethod
    def from_config(cls, config: Mapping[str, object], *, name: str, source: str = "") -> Model:
        """The model that a Hugging Face config.json describes. Raises InvalidInput where it describes none."""
        from app.calculations.huggingface import read_config

        return read_config(config, name=name, source=source)

    def tensors(self) -> Iterator[Tensor]:
        yield from self.embedding
        for layer in self.layers:
            yield from layer.all_tensors()
        yield from self.head

    @cached_property
    def layer_counts(self) -> tuple[tuple[Layer, int], ...]:
        """Different layers with how often each occurs, in order of first appearance."""
        # Equal layers are usually one object: counting those first hashes each of them once.
        repeats = Counter(map(id, self.layers))
        counts: dict[Layer, int] = {}
        for layer in {id(layer): layer for layer in self.layers}.values():
            counts[layer] = counts.get(layer, 0) + repeats[id(layer)]
        return tuple(counts.items())

    @cached_property
    def layer_kinds(self) -> tuple[int, ...]:
        """For each layer, in order, its place in `layer_counts`."""
        place = {layer: index for index, (layer, _) in enumerate(self.layer_counts)}
        by_object = {id(layer): place[layer] for layer in {id(layer): layer for layer in self.layers}.values()}
        return tuple(by_object[id(layer)] for layer in self.layers)

    @cached_property
    def params_by_group(self) -> dict[str, int]:
        counts = dict.fromkeys(GROUPS, 0)
        for layer, count in self.layer_counts:
            for tensor in layer.all_tensors():
                counts[tensor.group] += tensor.params * count
        for tensor in (*self.embedding, *self.head):
            counts[tensor.group] += tensor.params
        return counts

    @cached_property
    def params_by_format(self) -> dict[Precision | None, int]:
        """Parameters by the format that the checkpoint stores them in; None is its 16 or 32 bits."""
        counts: Counter[Precision | None] = Counter()
        for layer, count in self.layer_counts:
            for tensor in layer.all_tensors():
                counts[tensor.stored] += tensor.params * count
        for tensor in (*self.embedding, *self.head):
            counts[tensor.stored] += tensor.params
        return dict(counts)

    @property
    def total_params(self) -> int:
        """Unique parameters: tied weights once, no multi-token-prediction layers, no vision tower."""
        return sum(self.params_by_group.values())

    @cached_property
    def active_params(self) -> int:
        """Total minus the routed experts that a token does not use."""
        idle = 0
        for layer, count in self.layer_counts:
            for block in layer.blocks:
                if isinstance(block, Experts):
                    routed = sum(t.params for t in block.tensors if t.group == "expert")
                    idle += count * (routed - routed * block.experts_per_token // block.num_experts)
        return self.total_params - idle

    def attentions(self) -> Iterator[tuple[Attention | LatentAttention, int]]:
        """Attention blocks that differ, with their number."""
        for layer, count in self.layer_counts:
            for block in layer.blocks:
                if isinstance(block, Attention | LatentAttention):
                    yield block, count

    @cached_property
    def num_layers(self) -> int:
        return len(self.layers)

    @cached_property
    def is_mixture_of_experts(self) -> bool:
        return any(isinstance(b, Experts) for layer, _ in self.layer_counts for b in layer.blocks)

    @cached_property
    def num_experts(self) -> int:
        """Largest number of routed experts of a layer; 0 for a dense model."""
        return max(
            (b.num_experts for layer, _ in self.layer_counts for b in layer.blocks if isinstance(b, Experts)),
            default=0,
        )

    @cached_property
    def num_heads(self) -> int:
        """Query heads of the first attention layer; 0 without attention."""
        return next((block.num_heads for block, _ in self.attentions()), 0)

    @cached_property
    def num_kv_heads(self) -> int:
        """Key/value heads of the first attention layer (1 for MLA's latent); 0 without attention."""
        for block, _ in self.attentions():
            return block.num_kv_heads if isinstance(block, Attention) else 1
        return 0

    @cached_property
    def cache_elements_per_token(self) -> int:
        """Elements that a token adds to the KV cache while the sequence is shorter than any window."""
        return sum(block.cache_elements_per_token * count for block, count in self.attentions())

    @cached_property
    def cache_elements_per_token_past_windows(self) -> int:
        """The same once every window is full: what grows without limit (compressed rows count by their share)."""
        return sum(block.cache_elements_per_token_past_window * count for block, count in self.attentions())

    @cached_property
    def window_cache_elements_per_sequence(self) -> int:
        """Elements that full windows hold per sequence."""
        return sum(
            block.cache_elements_per_token * block.window * count
            for block, count in self.attentions()
            if isinstance(block, Attention) and block.window
        )

    @cached_property
    def state_elements_per_sequence(self) -> int:
        """Recurrent and convolution state elements of one sequence."""
        return sum(
            (block.state_elements + block.conv_elements) * count
            for layer, count in self.layer_counts
            for block in layer.blocks
            if isinstance(block, Recurrent)
        )
