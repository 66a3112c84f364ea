"""Makers of tensors: column-parallel, row-parallel and replicated linear layers, and norms."""

from __future__ import annotations

from app.calculations.architecture import Tensor

Tensors = tuple[Tensor, ...]


def column(
    name: str, group: str, outputs: int, inputs: int, units: int, *, bias: bool = False, copies: int = 1
) -> Tensors:
    """A linear layer whose outputs tensor parallelism divides; its bias is divided with it."""
    weight = Tensor(name, group, (outputs, inputs), "linear", copies, units, 0)
    if not bias:
        return (weight,)
    return (weight, Tensor(f"{name}_bias", group, (outputs,), "vector", copies, units, 0))


def row(
    name: str, group: str, outputs: int, inputs: int, units: int, *, bias: bool = False, copies: int = 1
) -> Tensors:
    """A linear layer whose inputs tensor parallelism divides; each rank keeps the bias whole."""
    weight = Tensor(name, group, (outputs, inputs), "linear", copies, units, 1)
    if not bias:
        return (weight,)
    return (weight, Tensor(f"{name}_bias", group, (outputs,), "vector", copies))


def replicated(name: str, group: str, outputs: int, inputs: int, *, bias: bool = False) -> Tensors:
    """A linear layer that each rank keeps whole."""
    return column(name, group, outputs, inputs, 1, bias=bias)


def vector(name: str, group: str, *shape: int, units: int = 1) -> Tensors:
    """Elements that no matrix product reads: sinks, decays, convolution taps."""
    return (Tensor(name, group, shape, "vector", 1, units, 0),)


def norm(name: str, kind: str, *shape: int) -> Tensors:
    """A norm's weights: "rms" and "layer_no_bias" one vector, "layer" a weight and a bias, "none" nothing."""
    if kind == "none":
        return ()
    weight = Tensor(name, "norm", shape)
    return (weight, Tensor(f"{name}_bias", "norm", shape)) if kind == "layer" else (weight,)
