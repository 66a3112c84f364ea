"""Training software: which kernels a framework runs and what it recomputes and reduces."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Stack:
    """A training framework as far as it changes a step. See data/training_stacks.toml.

    `attention` is the kernel of attention in training: "unfused", "triton" (2023), "flash" (FlashAttention-2), "cudnn",
    "masked" (between documents) or "splash" (TPU). Shares of the forward pass that "selective" recomputation repeats:
    of products and of attention.
    """

    name: str
    label: str
    attention: str
    selective_products: float
    selective_attention: float
    #: Bytes of a gradient as it is reduced over data-parallel ranks.
    gradient_bytes: float
    #: Bytes per parameter that a step of the optimizer moves beside its moments: gradients zeroed, copied, unscaled,
    #: their norm, clipping, the update of the weight and its 16-bit copy.
    step_bytes: float
    #: Whether gradients of all micro-batches are added up before they are reduced.
    reduces_once: bool
    #: Whether 8-bit training gathers 8-bit weights.
    gathers_narrow: bool = False
    #: Whether the backward pass sums up gradients of inputs over tensor-parallel ranks while it multiplies those of
    #: weights.
    hides_backward_sums: bool = False
    #: Whether the products of weights' gradients add to the sum of earlier micro-batches themselves.
    fuses_accumulation: bool = False
    #: Whether torch.compile fuses its kernels; others have fused ones of their own.
    compiles: bool = False
    #: Whether its recipes cut a pipeline stage into as many chunks of layers as they can.
    interleaves: bool = False
    #: Whether context parallelism gathers all keys and values before attention, not passing them round beside it.
    gathers_keys: bool = False
    #: The framework whose measurements stand for it: "" itself.
    like: str = ""
    source: str = ""

    @property
    def family(self) -> str:
        """Name under which it is measured."""
        return self.like or self.name

    @property
    def fused_attention(self) -> bool:
        return self.attention != "unfused"
