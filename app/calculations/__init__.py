"""The core: pure functions and values. No Flask, no files, no clock, no environment, no printing."""

from app.calculations.advanced import AdvancedCalculator
from app.calculations.architecture import Model
from app.calculations.errors import InvalidInput
from app.calculations.estimate import Estimate, estimate
from app.calculations.report import results
from app.calculations.scenario import ServingScenario

__all__ = ["AdvancedCalculator", "Estimate", "InvalidInput", "Model", "ServingScenario", "estimate", "results"]
