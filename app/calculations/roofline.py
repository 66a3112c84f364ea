"""Operators on a GPU: seconds, and what they are bound by (Williams et al., Roofline, CACM 2009)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from app.calculations.accelerator import Gpu
from app.calculations.arrays import Numbers, where
from app.calculations.collectives import Links, all_reduce_seconds, all_to_all_seconds, point_to_point_seconds
from app.calculations.operators import Operator

#: Exponent of the smooth maximum of compute and memory time: overlap is good but not perfect near the ridge.
SMOOTHNESS = 4


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """A GPU as an engine uses it: peaks times the shares of them that are reached, links, latency per layer."""

    gpu: Gpu
    links: Links
    compute_efficiency: float
    narrow_compute_efficiency: float
    attention_efficiency: float
    bandwidth_efficiency: float
    cache_bandwidth_efficiency: float

    def flops_per_second(self, operator: Operator) -> float:
        peak = self.gpu.peak_flops_per_second[operator.peak]
        if operator.component == "attention_scores":
            return peak * self.attention_efficiency
        wide = operator.peak in ("bf16", "fp16", "tf32")
        return peak * (self.compute_efficiency if wide else self.narrow_compute_efficiency)

    def bytes_per_second(self, operator: Operator) -> float:
        share = self.cache_bandwidth_efficiency if operator.traffic == "cache" else self.bandwidth_efficiency
        return self.gpu.memory_bandwidth_bytes_per_second * share


@dataclass(frozen=True, slots=True, kw_only=True)
class Seconds:
    """Where the time of a pass goes. `compute` and `memory` each hold the operators that they bind."""

    compute: Numbers = 0.0
    memory: Numbers = 0.0
    network: Numbers = 0.0
    host: Numbers = 0.0

    @property
    def total(self) -> Numbers:
        return self.compute + self.memory + self.network + self.host

    def as_dict(self) -> dict[str, float]:
        return {name: float(getattr(self, name)) for name in ("compute", "memory", "network", "host")}

    @property
    def bound_by(self) -> str:
        """The largest of the four, in words."""
        words = {
            "compute": "compute",
            "memory": "memory bandwidth",
            "network": "network between GPUs",
            "host": "host and launch overhead",
        }
        return words[max(self.as_dict(), key=lambda name: self.as_dict()[name])]


def collective_seconds(operator: Operator, links: Links) -> Numbers:
    if operator.collective == "all_reduce":
        return all_reduce_seconds(operator.message_bytes, operator.group, links)
    if operator.collective == "all_to_all":
        return all_to_all_seconds(operator.message_bytes, operator.group, links)
    return point_to_point_seconds(
        operator.message_bytes, inside_domain=operator.group <= links.domain_gpus, links=links
    )


def pass_seconds(operators: Iterable[Operator], machine: Machine, host_seconds: Numbers) -> Seconds:
    """Operators run one after the other; each takes the smooth maximum of its compute and its memory time."""
    compute: Numbers = 0.0
    memory: Numbers = 0.0
    network: Numbers = 0.0
    for operator in operators:
        if operator.collective:
            network = network + operator.count * collective_seconds(operator, machine.links)
            continue
        by_flops = operator.flops / machine.flops_per_second(operator)
        by_bytes = operator.bytes / machine.bytes_per_second(operator)
        both = operator.count * (by_flops**SMOOTHNESS + by_bytes**SMOOTHNESS) ** (1 / SMOOTHNESS)
        bound = by_flops > by_bytes
        compute = compute + where(bound, both, 0.0 * both)
        memory = memory + where(bound, 0.0 * both, both)
    return Seconds(compute=compute, memory=memory, network=network, host=host_seconds)
