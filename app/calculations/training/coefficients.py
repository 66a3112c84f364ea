"""Calibrated coefficients of training: efficiencies, exposed shares, bytes and host times, and what moves them.

A coefficient is its expected value times a factor for each level (format, generation, framework, ...) that the run
belongs to. What was never measured keeps what is expected. See data/training_coefficients.toml for their meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import exp

from app.calculations.arrays import Numbers
from app.calculations.training.setting import Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Numbers or arrays of them; units and meanings stand in data/training_coefficients.toml."""

    products: Numbers
    narrow: Numbers
    short: Numbers
    ragged: Numbers
    head: Numbers
    attention: Numbers
    foreign: Numbers
    expert_products: Numbers
    expert_narrow: Numbers
    expert_short: Numbers
    expert_ragged: Numbers
    recurrent: Numbers
    element_bytes: Numbers
    expert_element_bytes: Numbers
    score_bytes: Numbers
    tensor: Numbers
    expert: Numbers
    context: Numbers
    hop: Numbers
    shard: Numbers
    reduce: Numbers
    host_seconds: Numbers
    accumulate_bytes: Numbers
    optimizer: Numbers
    fixed_seconds: Numbers
    straggler: Numbers
    age: Numbers
    expert_age: Numbers
    imbalance: Numbers


NAMES = tuple(one.name for one in fields(Coefficients))
Level = tuple[str, str]
#: Of a framework on a generation of GPUs: measured there, its range is that of what is known.
FRAMEWORK_ON_GENERATION = "framework on generation"


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """What is expected of a coefficient: its value, its bounds, and the spread (in ln) that each level may add."""

    expected: float
    bounds: tuple[float, float]
    spread: Mapping[str, float] = field(hash=False)
    unit: str = ""
    meaning: str = ""
    source: str = ""

    def bounded(self, value: float) -> float:
        return min(max(value, self.bounds[0]), self.bounds[1])


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEfficiency:
    """Priors by coefficient, and logarithms of what each level multiplies one by: level -> coefficient -> deviation."""

    priors: Mapping[str, Prior] = field(hash=False)
    deviations: Mapping[Level, Mapping[str, float]] = field(default_factory=dict, hash=False)

    def coefficients(self, belongs: tuple[Level, ...]) -> Coefficients:
        """What is expected, times the factor of every level that was measured, within bounds."""
        sums = dict.fromkeys(NAMES, 0.0)
        for level in belongs:
            for name, deviation in self.deviations.get(level, {}).items():
                sums[name] += deviation
        return Coefficients(
            **{name: self.priors[name].bounded(self.priors[name].expected * exp(sums[name])) for name in NAMES}
        )

    def knows(self, setting: Setting) -> bool:
        """Whether the framework was measured on this generation of GPUs."""
        return framework_on_generation(setting) in self.deviations


def framework_on_generation(setting: Setting) -> Level:
    return FRAMEWORK_ON_GENERATION, f"{setting.stack.family} {setting.gpu.architecture}"


def levels(setting: Setting) -> tuple[Level, ...]:
    """The levels that a run belongs to, general first; each may move some coefficients."""
    gpu, stack = setting.gpu, setting.stack
    number = setting.precision if setting.narrow_products else "16-bit"
    found = [
        ("all", ""),
        ("format", number),
        ("generation", gpu.architecture),
        ("generation and format", f"{gpu.architecture} {number}"),
        ("gpu and format", f"{gpu.slug} {number}"),
        ("kernel", stack.attention),
        ("kernel on generation", f"{stack.attention} {gpu.architecture}"),
        ("framework", stack.family),
        framework_on_generation(setting),
    ]
    if gpu.domain_gpus == 1:
        found.append(("card", "no fabric"))
    if setting.model.is_mixture_of_experts:
        found.append(("mixture of experts", f"{gpu.architecture} {number}"))
        found.append(("host", "grace" if gpu.slug.startswith(("gb", "gh")) else "x86"))
    if setting.method != "full":
        found.append(("method", setting.method))
    if not setting.compiled:
        found.append(("compiler", "none"))
    if setting.asynchronous_tp:
        found.append(("tensor parallel", "asynchronous"))
    if setting.rowwise:
        found.append(("recipe", "rowwise"))
    if setting.cluster:
        found.append(("cluster", setting.cluster))
    return tuple(found)
