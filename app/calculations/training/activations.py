"""Activations: the tensors that the backward pass of a layer needs, summed up; what recomputation leaves of them.

Counted for one token of one layer on one GPU, in bytes. Without dropout and with fused attention a plain layer keeps
34 h bytes per token less the masks; without fusion 5 a s more (Korthikanti et al., arXiv:2205.05198, section 4.1).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from app.calculations.architecture import Attention, Block, Experts, FeedForward, LatentAttention, Layer, Recurrent
from app.calculations.tensor import Tensor
from app.calculations.training.recipe import Adapter, Recipe
from app.calculations.training.setting import Setting

#: Bytes of the log-sum-exp of a head, of a router's score.
LOGSUMEXP, SCORE = 4.0, 4.0
#: Bytes that an unfused softmax keeps per score: its output, the dropout mask and the dropped-out weights
#: (Korthikanti et al., section 4.1); without dropout its output alone.
SCORES_WITH_DROPOUT, SCORES = 5.0, 2.0


@dataclass(frozen=True, slots=True)
class Kept:
    """One kind of tensor that is kept: bytes per token of a GPU. `kind` says what recomputation may drop.

    Kinds: norm, product (output of a matrix product), attention (output of fused attention), scores, elementwise, mask.
    """

    term: str
    kind: str
    bytes: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Autograd:
    """What decides which tensors are kept: the run, the framework, and what of the model is trained."""

    setting: Setting
    recipe: Recipe
    hidden_size: int
    fused_attention: bool = True

    @property
    def adapter(self) -> Adapter | None:
        return self.setting.adapter

    @property
    def wide(self) -> float:
        """Bytes of an activation."""
        return self.setting.wide_bytes

    @property
    def stream(self) -> int:
        """GPUs that the residual stream is cut over."""
        return self.setting.tp if self.setting.sequence_parallel else 1

    @property
    def trains_weights(self) -> bool:
        return self.setting.trains_weights

    def keeps_input(self, tensor: Tensor) -> bool:
        """Whether a linear layer keeps its input: its own weights are trained, or an adapter beside them."""
        if tensor.kind != "linear":
            return False
        return self.trains_weights or (self.adapter is not None and self.adapter.adapts(tensor.name, tensor.group))


def linear(block: Block) -> list[Tensor]:
    return [tensor for tensor in block.tensors if tensor.kind == "linear"]


def is_input_side(tensor: Tensor) -> bool:
    """Whether it reads the block's (normalised) input, not what the block made of it."""
    return not any(word in tensor.name for word in ("o_proj", "down_proj", "out_proj", "_b_proj"))


def attention(block: Attention | LatentAttention, a: Autograd) -> Iterator[Kept]:
    s, tp = a.setting, a.setting.tp
    if isinstance(block, LatentAttention):
        keys = block.nope_dim + block.rope_dim
        query, key, value = block.num_heads * keys, block.num_heads * keys, block.num_heads * block.value_dim
        latents = sum(t.shape[0] for t in linear(block) if "_a_proj" in t.name)
        yield Kept("attention", "elementwise", 2 * a.wide * latents / a.stream)
    else:
        heads = block.num_heads if a.recipe.repeats_kv and block.num_kv_heads > 1 else block.num_kv_heads
        query, key, value = block.num_heads * block.head_dim, heads * block.head_dim, heads * block.value_dim
    yield Kept("attention", "product", a.wide * (query + key + value) / tp)
    out = a.wide * block.num_heads * block.value_dim / tp
    if a.fused_attention:
        yield Kept("attention", "attention", out + LOGSUMEXP * block.num_heads / tp)
    else:
        yield Kept("attention", "elementwise", out)
        size = SCORES_WITH_DROPOUT if a.recipe.dropout else SCORES
        yield Kept("attention scores", "scores", size * block.num_heads * s.seq_len / tp)


def mlp(width: float, gated: bool, a: Autograd, keeps_product: bool) -> Iterator[Kept]:
    """Outputs of the first products, of the activation, and the input of the last product."""
    copies = a.recipe.gated_copies if gated else a.recipe.plain_copies
    products = 2.0 if gated else 1.0
    yield Kept("feed-forward", "product", a.wide * products * width)
    yield Kept("feed-forward", "elementwise", a.wide * ((copies - products) + (1.0 if keeps_product else 0.0)) * width)


def feed_forward(block: FeedForward, a: Autograd) -> Iterator[Kept]:
    down = any(a.keeps_input(t) for t in linear(block) if not is_input_side(t))
    yield from mlp(block.width / a.setting.tp, block.gated, a, down)


def experts(block: Experts, a: Autograd) -> Iterator[Kept]:
    """Routed copies of a token: permuted input, what an expert's MLP keeps, its output; scores of the router."""
    s = a.setting
    routed = block.experts_per_token * s.imbalance / (s.tp if s.ep > 1 else 1)
    yield Kept("router", "elementwise", SCORE * block.num_experts / a.stream)
    yield Kept("routed copies", "elementwise", 2 * a.wide * routed * a.hidden_size)
    keeps = any(a.keeps_input(t) for t in block.tensors if t.group == "expert")
    for one in mlp(routed * block.width / s.expert_tp, block.gated, a, keeps):
        yield Kept("experts", one.kind, one.bytes)
    shared = sum(t.shape[0] * t.copies for t in linear(block) if t.group == "shared_expert" and is_input_side(t))
    if shared:
        yield from mlp(shared / (2 if block.gated else 1) / s.tp, block.gated, a, a.trains_weights)


def recurrent(block: Recurrent, a: Autograd) -> Iterator[Kept]:
    """Output of the projection into the block, the same after the convolution, and the block's output."""
    projected = sum(t.shape[0] * t.copies for t in linear(block) if is_input_side(t))
    yield Kept("state space", "product", a.wide * projected / a.setting.tp)
    yield Kept("state space", "elementwise", a.wide * 1.5 * projected / a.setting.tp)


KEEPERS: dict[type, Callable[..., Iterator[Kept]]] = {
    Attention: attention, LatentAttention: attention, FeedForward: feed_forward, Experts: experts, Recurrent: recurrent,
}  # fmt: skip


def norms(layer: Layer, hidden_size: int) -> int:
    """Norms of the residual stream in a layer."""
    tensors = [tensor for tensor in layer.all_tensors() if tensor.group == "norm"]
    return sum(1 for t in tensors if t.shape == (hidden_size,) and not t.name.endswith("bias"))


def adapters(block: Block, a: Autograd) -> Iterator[Kept]:
    """Beside each adapted matrix: its dropped-out input, the narrow product; DoRA keeps the wide one, too."""
    if a.adapter is None:
        return
    tp = a.setting.tp
    if a.adapter.kind == "adapter":
        yield Kept("adapters", "product", a.wide * (a.hidden_size + 2 * a.adapter.rank))
        return
    for tensor in linear(block):
        if not a.adapter.adapts(tensor.name, tensor.group):
            continue
        often = getattr(block, "experts_per_token", 1) if tensor.group == "expert" else 1
        outputs, inputs = tensor.shape
        size = a.wide * 2 * a.adapter.rank + (a.wide * outputs / tp if a.adapter.kind == "dora" else 0.0)
        if a.adapter.dropout:
            size += a.recipe.adapter_dropout_bytes * inputs / (tp if tensor.split_axis == 1 else 1)
        yield Kept("adapters", "product", often * size)


def quantized(block: Block, a: Autograd) -> Iterator[Kept]:
    """What 4-bit layers keep of their inputs and outputs (see quantized_bytes in data/training_memory.toml)."""
    if a.setting.method != "qlora" or not a.recipe.quantized_bytes:
        return
    elements = 0.0
    for tensor in linear(block):
        often = getattr(block, "experts_per_token", 1) if tensor.group == "expert" else 1
        elements += often * sum(tensor.shape) / a.setting.tp
    yield Kept("4-bit layers", "product", a.recipe.quantized_bytes * elements)


def kept(layer: Layer, a: Autograd) -> list[Kept]:
    """Everything that one token keeps of a layer without recomputation."""
    found: list[Kept] = []
    h = a.hidden_size / a.stream
    count = norms(layer, a.hidden_size)
    size = a.recipe.trained_norm_bytes if a.trains_weights else a.recipe.norm_bytes
    found.append(Kept("norms", "norm", size * h * count))
    read = [any(a.keeps_input(t) for t in linear(block) if is_input_side(t)) for block in layer.blocks]
    # Blocks that run in parallel read one normalised input.
    inputs = min(sum(read), max(count, 1)) if count < len(layer.blocks) else sum(read)
    found.append(Kept("norms", "elementwise", a.wide * h * inputs))
    if a.recipe.dropout:
        found.append(Kept("dropout masks", "mask", h * len(layer.blocks)))
    for block in layer.blocks:
        found += KEEPERS[type(block)](block, a)
        found += adapters(block, a)
        found += quantized(block, a)
    return found


def sums(found: list[Kept]) -> dict[str, float]:
    """Bytes by term."""
    terms: dict[str, float] = {}
    for one in found:
        terms[one.term] = terms.get(one.term, 0.0) + one.bytes
    return terms


def checkpoint_bytes(a: Autograd) -> float:
    """The input of a layer, all that full recomputation keeps."""
    return a.wide * a.hidden_size / a.stream


def selected(layer: Layer, a: Autograd) -> dict[str, float]:
    """What selective recomputation keeps of a layer, by what the framework understands by it.

    Of attention alone: all but the scores. Of every other product (torchtitan): the layer's input, those products and
    the attention's output. Of whole layers: the rest of them as they are, these as their inputs.
    """
    products, scores = a.setting.recomputed_shares
    found = kept(layer, a)
    if products == 0.0:
        return sums([one for one in found if one.kind != "scores"] if scores else found)
    if products == scores:
        terms = {term: (1 - products) * size for term, size in sums(found).items()}
        return terms | {"layer inputs": products * checkpoint_bytes(a)}
    written = len(layer.blocks) * checkpoint_bytes(a)
    outputs = sum(one.bytes for one in found if one.kind == "product") + written
    return {
        "layer inputs": checkpoint_bytes(a),
        "kept products": (1 - products) * outputs,
        "attention": (1 - scores) * sum(one.bytes for one in found if one.kind == "attention"),
    }
