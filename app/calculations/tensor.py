"""A model's smallest part: equal weight tensors, what they belong to and how they may be cut and stored."""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil, prod

from app.calculations.precision import Precision

#: What a tensor belongs to; parameter counts are reported by these groups.
GROUPS = (
    "embedding",
    "attention",
    "mlp",
    "expert",
    "shared_expert",
    "router",
    "norm",
    "state_space",
    "lm_head",
    "other",
)


@dataclass(frozen=True, slots=True)
class Tensor:
    """`copies` equal weight tensors of one `shape`; a linear layer's shape is (outputs, inputs).

    `kind` is "linear" (one multiplication per token), "table" (looked up) or "vector" (norms, biases,
    convolutions: read, but no matrix product). Tensor parallelism cuts axis `split_axis` into at most
    `split_units` parts (attention heads, key/value heads, columns); 1 means that each rank keeps it whole.
    Expert tensors have one copy per expert; expert parallelism deals out the copies. `stored` is the format that a
    quantised checkpoint keeps this tensor in; None is the model's 16 or 32 bits.
    """

    name: str
    group: str
    shape: tuple[int, ...]
    kind: str = "vector"
    copies: int = 1
    split_units: int = 1
    split_axis: int = 0
    stored: Precision | None = None

    def __hash__(self) -> int:
        return hash((self.name, self.shape, self.copies))  # Part of many keys: cheap, and enough to tell tensors apart.

    @property
    def params(self) -> int:
        """Elements over all copies."""
        return prod(self.shape) * self.copies

    def params_per_rank(self, tensor_parallel: int, expert_shards: int = 1) -> float:
        """Elements on the most loaded of `tensor_parallel` ranks, copies dealt over `expert_shards`."""
        share = ceil(self.split_units / tensor_parallel) / self.split_units
        return prod(self.shape) * share * ceil(self.copies / expert_shards)
