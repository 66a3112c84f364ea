"""The core: pure functions and values. No Flask, no files, no clock, no environment, no printing."""

from typing import TYPE_CHECKING, Any

from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.estimate import Estimate, estimate
from app.calculations.scenario import ServingScenario

if TYPE_CHECKING:
    from app.calculations.advanced import AdvancedCalculator
    from app.calculations.planning.plan import search as plan
    from app.calculations.report import results
    from app.calculations.training.search import search as train

__all__ = [
    "AdvancedCalculator", "Estimate", "InvalidInput", "Model", "ServingScenario",
    "estimate", "plan", "results", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What most who import the core do without is loaded when it is asked for."""
    match name:
        case "AdvancedCalculator":
            from app.calculations.advanced import AdvancedCalculator

            return AdvancedCalculator
        case "plan":
            from app.calculations.planning.plan import search as plan

            return plan
        case "results":
            from app.calculations.report import results

            return results
        case "train":
            from app.calculations.training.search import search as train

            return train
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
