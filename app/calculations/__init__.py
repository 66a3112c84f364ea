"""The core: pure functions and values. No Flask, no files, no clock, no environment, no printing."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from app.calculations.advanced import AdvancedCalculator
    from app.calculations.architecture import Model
    from app.calculations.errors import InvalidInput
    from app.calculations.layout_estimate import Estimate, estimate
    from app.calculations.planning.plan import search as plan
    from app.calculations.report import results
    from app.calculations.scenario import ServingScenario
    from app.calculations.training.search import search as train

__all__ = [
    "AdvancedCalculator", "Estimate", "InvalidInput", "Model", "ServingScenario",
    "estimate", "plan", "results", "train",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    """What it offers is loaded when it is asked for: who wants one thing does not wait for all."""
    found: Any
    match name:
        case "AdvancedCalculator":
            from app.calculations import advanced as found
        case "Estimate" | "estimate":
            from app.calculations import layout_estimate as found
        case "InvalidInput":
            from app.calculations import errors as found
        case "Model":
            from app.calculations import architecture as found
        case "ServingScenario":
            from app.calculations import scenario as found
        case "plan":
            from app.calculations.planning import plan as found
        case "results":
            from app.calculations import report as found
        case "train":
            from app.calculations.training import search as found
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(found, {"plan": "search", "train": "search"}.get(name, name))
