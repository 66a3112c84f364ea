"""A whole training run: days, GPU-hours, dollars, energy, carbon, and what failures and checkpoints take of it."""

from __future__ import annotations

from dataclasses import dataclass
from math import exp, expm1, log, prod, sqrt

from app.calculations.accelerator import Gpu
from app.calculations.energy import Activity, PowerModel, power_watts
from app.calculations.training.step import StepTime

SECONDS_PER_HOUR = 3600.0
SECONDS_PER_DAY = 86_400.0
JOULES_PER_MWH = 3.6e9
GRAMS_PER_TONNE = 1e6
KWH_PER_MWH = 1000.0
#: Training tokens per parameter that make most of a budget of FLOPs (Hoffmann et al., arXiv:2203.15556, table 3).
TOKENS_PER_PARAM = 20.0
#: FLOPs of a parameter and token.
FLOPS_PER_PARAM = 6.0
#: Mean time between failures of one GPU with its share of the node: 419 unexpected interruptions in 54 days on 16,384
#: GPUs (Llama 3, arXiv:2407.21783, section 3.3.4).
GPU_MTBF_HOURS = 16_384 * 54 * 24 / 419
#: Goodput below which a run makes no progress that anyone would wait for: it takes a thousand times as long.
LEAST_GOODPUT = 1e-3
#: Exponents from which exp(x) - 1 is exp(x) to all digits of a float, long before either is too large for one.
LARGE_EXPONENT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interruptions:
    """What stops a run: failures at random, `restart_seconds` each, and checkpoints that stall it."""

    gpu_mtbf_hours: float = GPU_MTBF_HOURS
    checkpoint_seconds: float = 30.0
    restart_seconds: float = 600.0
    #: Seconds between checkpoints; None: the best interval.
    interval_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTotals:
    """`goodput` is the share of the time that makes progress; everything else counts all of the time.

    Below LEAST_GOODPUT the run never ends: days, failures and what follows from them are None.
    """

    tokens: float
    steps: float
    days: float | None
    gpu_hours: float | None
    goodput: float
    failures: float | None
    checkpoint_interval_seconds: float
    usd: float | None
    megawatt_hours: float | None
    tonnes_co2: float | None


def step_watts(time: StepTime, hfu: float, gpu: Gpu, model: PowerModel) -> float | None:
    """Mean power of a GPU's board over a step; None where its power limit is not known.

    FLOPs follow from the share `hfu` of the peak, counted as 16-bit ones; bytes are those of terms bound by memory;
    nothing runs in the bubble and while the slowest stage or rank is waited for.
    """
    if gpu.tdp_watts is None:
        return None
    total = float(time.total)
    memory = time.elementwise + time.recurrent + time.accumulation + time.optimizer
    waiting = time.bubble + time.imbalance + time.stragglers
    activity = Activity(
        awake=1 - float(waiting) / total,
        bytes_per_second=float(memory) / total * gpu.memory_bandwidth_bytes_per_second,
        flops_per_second=hfu * gpu.peak_flops_per_second[gpu.sixteen_bit],
    )
    return float(power_watts(gpu.tdp_watts, model, activity, model.factor(gpu.architecture, gpu.slug)))


def failure_seconds(gpu_mtbf_hours: float, num_gpus: int) -> float:
    """Mean time between failures of a job: any of its GPUs stops it."""
    return gpu_mtbf_hours * SECONDS_PER_HOUR / num_gpus


def best_interval(checkpoint_seconds: float, mtbf_seconds: float) -> float:
    """Seconds between checkpoints that lose least: sqrt(2 C M) - C (Young 1974), at least one checkpoint's time."""
    return max(sqrt(2 * checkpoint_seconds * mtbf_seconds) - checkpoint_seconds, checkpoint_seconds, 1.0)


def goodput(interval: float, checkpoint: float, restart: float, mtbf_seconds: float) -> float:
    """Share of the time that makes progress, failures being exponential (Daly, FGCS 22(3), 2006, equation 20).

    interval / (M exp(R / M) (exp((interval + C) / M) - 1)), by logarithms: with failures every few seconds the
    exponentials are larger than a float, and goodput is 0.
    """
    segment = (interval + checkpoint) / mtbf_seconds
    lost = segment if segment > LARGE_EXPONENT else log(expm1(segment))
    return exp(log(interval / mtbf_seconds) - restart / mtbf_seconds - lost)


def run_totals(
    *,
    tokens: float,
    tokens_per_step: float,
    step_seconds: float,
    num_gpus: int,
    interruptions: Interruptions,
    price_usd_per_gpu_hour: float | None = None,
    watts_per_gpu: float | None = None,
    pue: float = 1.0,
    grams_per_kilowatt_hour: float | None = None,
) -> RunTotals:
    """Totals of a run over `tokens` tokens; unknown prices and powers leave what follows from them unknown, and a run
    that makes no progress all but its steps."""
    mtbf = failure_seconds(interruptions.gpu_mtbf_hours, num_gpus)
    interval = interruptions.interval_seconds or best_interval(interruptions.checkpoint_seconds, mtbf)
    share = goodput(interval, interruptions.checkpoint_seconds, interruptions.restart_seconds, mtbf)
    steps = tokens / tokens_per_step
    seconds = steps * step_seconds / share if share >= LEAST_GOODPUT else None
    gpu_hours = product(seconds, num_gpus / SECONDS_PER_HOUR)
    energy = product(gpu_hours, watts_per_gpu, pue * SECONDS_PER_HOUR / JOULES_PER_MWH)
    return RunTotals(
        tokens=tokens,
        steps=steps,
        days=product(seconds, 1 / SECONDS_PER_DAY),
        gpu_hours=gpu_hours,
        goodput=share,
        failures=product(seconds, 1 / mtbf),
        checkpoint_interval_seconds=interval,
        usd=product(gpu_hours, price_usd_per_gpu_hour),
        megawatt_hours=energy,
        tonnes_co2=product(energy, grams_per_kilowatt_hour, KWH_PER_MWH / GRAMS_PER_TONNE),
    )


def product(*factors: float | None) -> float | None:
    """The product; None where a factor is not known."""
    known = [factor for factor in factors if factor is not None]
    return prod(known) if len(known) == len(factors) else None


def optimal_tokens(params: float) -> float:
    """Tokens at which a model of this size makes most of its FLOPs (Chinchilla)."""
    return TOKENS_PER_PARAM * params


def optimal_params(flops: float) -> float:
    """Parameters that make most of a budget of FLOPs: C = 6 N D with D = 20 N."""
    return sqrt(flops / (FLOPS_PER_PARAM * TOKENS_PER_PARAM))
