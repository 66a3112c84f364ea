"""Calibrated coefficients of training: efficiencies, exposed shares, bytes and host times, and what moves them.

A coefficient is its expected value times a factor for each level (format, generation, framework, ...) that the run
belongs to. What was never measured keeps what is expected.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from math import exp

from app.calculations.arrays import Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """Shares are of the dense peak (efficiencies) or of the time that communication takes (exposed)."""

    #: Large dense products, head (16-bit), attention scores, expert products, recurrences.
    products: Numbers = 0.75
    #: Slowdown: elements of width and tokens at which a product takes twice as long.
    narrow: Numbers = 240.0
    short: Numbers = 420.0
    #: Slowdown of products that do not fill tiles.
    ragged: Numbers = 0.15
    head: Numbers = 0.75
    attention: Numbers = 0.4
    #: Slowdown of scores against keys of other ranks (ring attention).
    foreign: Numbers = 0.1
    expert_products: Numbers = 0.6
    expert_narrow: Numbers = 200.0
    expert_short: Numbers = 80.0
    expert_ragged: Numbers = 0.15
    recurrent: Numbers = 0.1
    #: Bytes per element that elementwise kernels move, forward and backward.
    element_bytes: Numbers = 16.0
    expert_element_bytes: Numbers = 12.0
    score_bytes: Numbers = 16.0
    #: Exposed shares.
    tensor: Numbers = 0.5
    expert: Numbers = 0.3
    context: Numbers = 0.3
    hop: Numbers = 0.5
    shard: Numbers = 0.3
    reduce: Numbers = 0.5
    #: Host time of a layer that routes without fixed shapes, per micro-batch.
    host_seconds: Numbers = 2e-3
    #: Bytes per parameter of adding up gradients (per micro-batch) and of clipping and the optimizer (per step).
    accumulate_bytes: Numbers = 5.0
    optimizer_bytes: Numbers = 24.0
    fixed_seconds: Numbers = 0.05
    #: Lost per doubling of GPUs beyond a node, per year of software age.
    straggler: Numbers = 0.006
    age: Numbers = 0.03
    expert_age: Numbers = 0.3
    #: Share of the slowest stage's excess that is seen.
    imbalance: Numbers = 0.7


NAMES = tuple(one.name for one in fields(Coefficients))
EXPECTED = Coefficients()
Level = tuple[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingEfficiency:
    """Logarithms of what each level multiplies a coefficient by: (level, key) -> coefficient -> deviation."""

    deviations: Mapping[Level, Mapping[str, float]] = field(default_factory=dict, hash=False)

    def coefficients(self, levels: tuple[Level, ...]) -> Coefficients:
        """What is expected, times the factor of every level that was measured."""
        sums = dict.fromkeys(NAMES, 0.0)
        for level in levels:
            for name, deviation in self.deviations.get(level, {}).items():
                sums[name] += deviation
        return Coefficients(**{name: getattr(EXPECTED, name) * exp(total) for name, total in sums.items()})


def levels(
    *,
    architecture: str,
    gpu: str,
    has_fabric: bool,
    precision: str,
    stack: str,
    attention: str,
    has_experts: bool,
    method: str,
    compiled: bool,
    asynchronous_tp: bool,
    rowwise: bool,
) -> tuple[Level, ...]:
    """The levels that a run belongs to; each may move some coefficients (see `SPREADS`)."""
    number = "16-bit" if precision in ("bf16", "fp16", "fp32") else precision
    found = [
        ("all", ""),
        ("format", number),
        ("generation", architecture),
        ("generation and format", f"{architecture} {number}"),
        ("gpu and format", f"{gpu} {number}"),
        ("kernel", attention),
        ("kernel on generation", f"{attention} {architecture}"),
        ("framework", stack),
        ("framework on generation", f"{stack} {architecture}"),
    ]
    if not has_fabric:
        found.append(("card", "no fabric"))
    if has_experts:
        found.append(("mixture of experts", f"{architecture} {number}"))
        found.append(("host", "grace" if gpu.startswith(("gb", "gh")) else "x86"))
    if method != "full":
        found.append(("method", method))
    if not compiled and stack in ("torchtitan", "torchtune"):
        found.append(("compiler", "none"))
    if asynchronous_tp:
        found.append(("tensor parallel", "asynchronous"))
    if rowwise:
        found.append(("recipe", "rowwise"))
    return tuple(found)


#: Level -> coefficient -> expected spread (in ln) of its deviation. What is not named is not moved.
SPREADS: Mapping[str, Mapping[str, float]] = {
    "all": {name: 0.3 for name in NAMES},
    "format": {"products": 0.2, "narrow": 0.5, "short": 0.3, "expert_products": 0.2, "expert_narrow": 0.3},
    "generation": {"tensor": 0.2, "shard": 0.2, "expert": 0.3, "context": 0.3, "recurrent": 0.3, "element_bytes": 0.2,
                   "head": 0.1},
    "generation and format": {"products": 0.15, "narrow": 0.3, "expert_products": 0.2},
    "gpu and format": {"products": 0.1, "expert_products": 0.1},
    "card": {"products": 0.3, "fixed_seconds": 0.5},
    "kernel": {"attention": 0.4},
    "kernel on generation": {"attention": 0.3},
    "framework": {"products": 0.1, "element_bytes": 0.3, "tensor": 0.7, "shard": 0.5, "reduce": 0.5, "context": 0.5, "foreign": 0.7, "imbalance": 0.3,
                  "optimizer_bytes": 0.3, "fixed_seconds": 0.7, "expert": 0.5, "hop": 0.5},
    "framework on generation": {"products": 0.07, "tensor": 0.2},
    "mixture of experts": {"products": 0.2, "expert_products": 0.2},
    "host": {"host_seconds": 0.5},
    "method": {"products": 0.15},
    "compiler": {"element_bytes": 0.4, "products": 0.2},
    "tensor parallel": {"tensor": 0.7},
    "recipe": {"products": 0.3},
}  # fmt: skip
