"""Where the peak of a GPU goes in a training step: what is useful (MFU), and what each cause takes of the rest.

    1 = MFU + recomputation + counting + kernels + sum over other causes of seconds / step

recomputation = HFU - MFU; counting = executed - HFU, where `executed` is HFU with the causal half of attention, which
is what kernels compute; kernels = seconds of products and attention / step - executed.
"""

from __future__ import annotations

from collections.abc import Mapping

from app.calculations.training.step import StepTime

#: Cause -> terms of a step (`StepTime`) that belong to it, in the order of a step.
CAUSES: Mapping[str, tuple[str, ...]] = {
    "compute": ("linear", "experts", "head", "attention", "recurrent"),
    "elementwise": ("elementwise",),
    "communication": (
        "tensor_parallel", "expert_parallel", "context_parallel", "pipeline_hops", "sharding", "gradient_reduction",
    ),
    "bubble": ("bubble",),
    "imbalance": ("imbalance",),
    "optimizer": ("accumulation", "optimizer", "offload"),
    "host": ("host", "fixed"),
    "stragglers": ("stragglers",),
}  # fmt: skip


def seconds_by_cause(time: StepTime) -> dict[str, float]:
    """Seconds of a step by cause; their sum is the step."""
    terms = time.terms()
    return {cause: sum(float(terms[name]) for name in names) for cause, names in CAUSES.items()}


def peak_shares(time: StepTime, *, mfu: float, hfu: float, executed: float) -> dict[str, float]:
    """Shares of the peak by cause, `useful` first; their sum is 1.

    `counting` is below zero where the convention counts FLOPs that no kernel computes, such as the masked half of
    attention.
    """
    step = float(time.total)
    shares = {cause: seconds / step for cause, seconds in seconds_by_cause(time).items()}
    kernels = shares.pop("compute") - executed
    return {"useful": mfu, "recomputation": hfu - mfu, "counting": executed - hfu, "kernels": kernels, **shares}
