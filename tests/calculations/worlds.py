"""Small scenarios that the tests of the core share: real presets, few knobs."""

from typing import Any

from app import catalog
from app.calculations import ServingScenario


def scenario(model: str = "meta-llama/Llama-3.1-8B-Instruct", gpu: str = "h100-sxm", **changes: Any) -> ServingScenario:
    """A serving scenario of presets, everything else automatic or changed by name."""
    return ServingScenario(
        model=catalog.model(model),
        gpu=catalog.gpu(gpu),
        engine=catalog.engine(changes.pop("engine", "vllm")),
        hardware=catalog.hardware(),
        curves=catalog.kernel_curves(),
        efficiency=catalog.efficiency(),
        **changes,
    )
