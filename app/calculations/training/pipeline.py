"""Pipeline schedules: how many micro-batches a step has, and what filling and draining the stages costs."""

from __future__ import annotations

from math import ceil

from app.calculations.arrays import Numbers


def micro_batches(global_batch_size: int, micro_batch_size: int, dp: int) -> int:
    """Micro-batches that one replica runs per step, the last one perhaps smaller."""
    return ceil(global_batch_size / (micro_batch_size * dp))


def bubble_micro_batches(pp: Numbers, vpp: Numbers) -> Numbers:
    """Time that a stage stands still in a step, in micro-batches: (pp - 1) / vpp.

    1F1B with `vpp` model chunks per stage (Narayanan et al., arXiv:2104.04473, section 2.2).
    """
    return (pp - 1) / vpp


def stage_excesses(layers: int, pp: int) -> tuple[float, float]:
    """Layers of the fullest stage and of the last over those of the mean, less one.

    Where layers do not divide evenly, the last stage, which holds the head, has one less than the fullest.
    """
    fullest = ceil(layers / pp)
    spare = fullest * pp - layers
    return fullest * pp / layers - 1, (fullest - min(spare, 1)) * pp / layers - 1
