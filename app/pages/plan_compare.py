"""Up to six plans of a run side by side: what differs, and numbers as ratios to a chosen baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from app import formatting

MOST = 6
#: What a plan is: key, what it is called. Lines that are alike in all plans are left out.
CHOICES = (
    ("model", "Model"),
    ("gpu", "Accelerator"),
    ("engine", "Engine"),
    ("num_gpus", "GPUs"),
    ("replicas", "Replicas"),
    ("gpus_per_replica", "GPUs of a replica"),
    ("strategy", "Layout"),
    ("weight_precision", "Weights"),
    ("kv_precision", "KV cache"),
)
#: What it gives: key, what it is called, how it is written, whether more is better (None: neither).
NUMBERS = (
    ("ttft_ms", "Time to first token", formatting.milliseconds, False),
    ("tpot_ms", "Time per output token", formatting.milliseconds, False),
    ("output_tokens_per_s_per_user", "Tokens/s of a user", formatting.rate, True),
    ("max_requests_per_s", "Most requests per second", formatting.rate, True),
    ("usd_per_hour", "Cost per hour", formatting.usd, False),
    ("usd_per_million_output_tokens", "Cost per 1M output tokens", formatting.usd, False),
    ("power_w_per_gpu", "Power per GPU", formatting.watts, False),
    ("gco2_per_million_output_tokens", "CO2 per 1M output tokens", formatting.grams, False),
)


@dataclass(frozen=True, slots=True)
class Cell:
    """A number and its ratio to the baseline's ("" for the baseline itself); `better`: None where neither."""

    text: str
    ratio: str = ""
    better: bool | None = None


@dataclass(frozen=True, slots=True)
class Table:
    """`heads` are the plans in words; `choices` what they are, where that differs; `numbers` what they give."""

    heads: tuple[str, ...]
    baseline: int
    choices: tuple[tuple[str, tuple[str, ...]], ...]
    numbers: tuple[tuple[str, tuple[Cell, ...]], ...]


def compared(plans: Sequence[Mapping[str, Any]], baseline: int = 0) -> Table:
    """The plans beside each other; `baseline` is a place among them."""
    choices = [(label, tuple(str(one[key]) for one in plans)) for key, label in CHOICES]
    return Table(
        heads=tuple(one["summary"] for one in plans),
        baseline=baseline,
        choices=tuple((label, cells) for label, cells in choices if len(set(cells)) > 1),
        numbers=tuple(
            (label, tuple(cell(one[key], plans[baseline][key], write, more) for one in plans))
            for key, label, write, more in NUMBERS
        ),
    )


def cell(quantity: Mapping[str, Any], of: Mapping[str, Any], write: Any, more_is_better: bool) -> Cell:
    value, base = quantity["value"], of["value"]
    if value is None or not base or quantity is of:
        return Cell(write(value))
    ratio = value / base
    better = None if abs(ratio - 1) < 0.005 else (ratio > 1) == more_is_better
    return Cell(write(value), f"{ratio:.2f} \N{MULTIPLICATION SIGN}", better)
