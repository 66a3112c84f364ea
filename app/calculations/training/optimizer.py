"""Optimizers: bytes of state that they keep for a tensor."""

from __future__ import annotations

from dataclasses import dataclass

from app.calculations.tensor import Tensor


@dataclass(frozen=True, slots=True, kw_only=True)
class Optimizer:
    """Moments kept per parameter, of matrices in layers and of everything else. See data/optimizers.toml."""

    name: str
    label: str
    matrices: int
    others: int
    #: Bytes of one moment where the optimizer fixes it; None: those of the framework.
    moment_bytes: float | None = None
    #: The one moment of a matrix is kept as its row and column sums.
    factored: bool = False
    #: States leave the GPU where it is full.
    paged: bool = False
    source: str = ""

    def bytes_per_parameter(self, tensor: Tensor, moment_bytes: float) -> float:
        """Bytes of state per element of a tensor, `moment_bytes` per moment unless the optimizer fixes it."""
        is_matrix = tensor.kind == "linear"
        if self.factored and len(tensor.shape) == 2:
            rows, columns = tensor.shape
            return 4.0 * (rows + columns) / (rows * columns)
        moments = self.matrices if is_matrix and tensor.group != "lm_head" else self.others
        size = moment_bytes if self.moment_bytes is None else self.moment_bytes
        return moments * size
