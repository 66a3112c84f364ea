"""What one layer is made of, before any size is known."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """What one layer is made of, before any size is known."""

    #: "full", "sliding", "linear" (recurrent), "cross", "both" (attention beside a recurrent block),
    #: "linear_layer" (a matrix in its place) or "none".
    mixer: str = "full"
    #: "dense", "experts", "both", "linear_layer", "none".
    feed_forward: str = "dense"
    #: False where the layer reads the cache of an earlier one.
    owns_cache: bool = True
    #: False where the layer uses another layer's choice of tokens (sparse attention).
    own_index: bool = True
    #: Tokens per cached row beyond the window (DeepSeek-V4).
    compression: int = 0
    #: Key/value heads where they differ by layer.
    kv_heads: int | None = None
    #: Width of the MLP where it differs by layer; 0: the configuration's.
    width: int = 0
