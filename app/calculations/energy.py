"""Watts and joules. Power follows what the GPU is busy with."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerModel:
    """Shares of board power: drawn idle, and added while compute, memory traffic or neither binds."""

    idle: float
    compute: float
    memory: float
    other: float


def power_watts(
    tdp_watts: float, model: PowerModel, *, compute_share: float, memory_share: float, other_share: float
) -> float:
    """P = TDP (idle + sum of shares of time x what each adds), at most TDP."""
    busy = model.compute * compute_share + model.memory * memory_share + model.other * other_share
    return tdp_watts * min(model.idle + busy, 1.0)


def joules_per_token(power_watts_per_gpu: float, gpus: int, tokens_per_second: float) -> float:
    """Energy of all GPUs per generated token (GPU boards only: no host, no cooling)."""
    return power_watts_per_gpu * gpus / tokens_per_second
