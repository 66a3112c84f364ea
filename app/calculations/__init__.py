"""The core: pure functions and values. No Flask, no files, no clock, no environment, no printing."""

from typing import TYPE_CHECKING, Any

from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.estimate import Estimate, estimate
from app.calculations.report import results
from app.calculations.scenario import ServingScenario

if TYPE_CHECKING:
    from app.calculations.advanced import AdvancedCalculator

__all__ = ["AdvancedCalculator", "Estimate", "InvalidInput", "Model", "ServingScenario", "estimate", "results"]


def __getattr__(name: str) -> Any:
    """AdvancedCalculator is loaded when it is asked for: most who import the core do without."""
    if name == "AdvancedCalculator":
        from app.calculations.advanced import AdvancedCalculator

        return AdvancedCalculator
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
