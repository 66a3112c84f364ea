"""A step's seconds as the quantities that people compare: tokens per second, MFU, HFU, TFLOPS, with ranges."""

from __future__ import annotations

from dataclasses import dataclass

from app.calculations.training.coefficients import TrainingEfficiency, levels
from app.calculations.training.flops import DEFAULT, Convention, TokenFlops, flops_per_token, utilization
from app.calculations.training.setting import Setting
from app.calculations.training.step import StepTime, step_time
from app.calculations.training.work import peak, work
from app.calculations.uncertainty import ANY, EXTRAPOLATED, INTERPOLATED, Spread, Spreads, spread

TERA = 1e12


def kind(setting: Setting) -> str:
    """Runs whose errors are alike: fine-tuning, moe, dense-16-bit or dense-8-bit."""
    if setting.method != "full" or setting.document_tokens is not None:
        return "fine-tuning"
    if setting.model.is_mixture_of_experts:
        return "moe"
    return "dense-8-bit" if setting.narrow_products else "dense-16-bit"


def time_of(setting: Setting, efficiency: TrainingEfficiency) -> StepTime:
    """The step's seconds by term."""
    return step_time(work(setting), efficiency.coefficients(levels(setting)))


def spread_of(
    setting: Setting, efficiency: TrainingEfficiency, spreads: Spreads, *, known: bool = True
) -> Spread | None:
    """How far step times of such runs lay from predictions; None where nothing was measured.

    `known`: it is the framework that runs, not one taken for another.
    """
    nearness = INTERPOLATED if known and efficiency.knows(setting) else EXTRAPOLATED
    family = setting.stack.family
    return spread(spreads, kind(setting), family, nearness) or spread(spreads, ANY, ANY, INTERPOLATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Quantity:
    value: float
    low: float | None
    high: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Speed:
    """Of one step; FLOPs under one convention."""

    time: StepTime
    convention: Convention
    flops: TokenFlops
    step_seconds: Quantity
    tokens_per_second_per_gpu: Quantity
    flops_per_second_per_gpu: Quantity
    mfu: Quantity
    hfu: Quantity


def speed(
    setting: Setting, efficiency: TrainingEfficiency, spreads: Spreads, convention: Convention = DEFAULT
) -> Speed:
    """Time of a step with its range, and what follows from it."""
    time = time_of(setting, efficiency)
    seconds = float(time.total)
    found = spread_of(setting, efficiency, spreads)
    flops = flops_per_token(
        setting.model,
        setting.seq_len,
        convention,
        trains_weights=setting.trains_weights,
        recomputed=setting.recomputed_shares,
        attended_tokens=setting.document_tokens,
        multi_token=setting.multi_token,
        adapter=setting.adapter,
    )
    top = peak(setting, setting.precision)
    rate = setting.tokens_per_step / setting.num_gpus / seconds

    def around(value: float, spread: Spread | None) -> Quantity:
        low, high = spread.around(value) if spread else (None, None)
        return Quantity(value=value, low=low, high=high)

    inverse = found.inverse() if found else None
    return Speed(
        time=time,
        convention=convention,
        flops=flops,
        step_seconds=around(seconds, found),
        tokens_per_second_per_gpu=around(rate, inverse),
        flops_per_second_per_gpu=around(rate * flops.model, inverse),
        mfu=around(utilization(flops.model, rate, top), inverse),
        hfu=around(utilization(flops.hardware, rate, top), inverse),
    )
