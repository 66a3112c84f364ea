"""Accelerators: memory, bandwidth, dense peaks per precision, links, power. SI units throughout."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from app.calculations.energy import PowerModel


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """One accelerator as its driver and datasheet describe it.

    `peak_flops_per_second` maps a peak's name (see `precision.py`) to the dense rate; a missing name means
    that the chip has no such unit. Link rates are per GPU and one direction. `domain_gpus` is how many GPUs
    the link joins (1: only PCIe).
    """

    slug: str
    name: str
    vendor: str
    architecture: str
    year: int
    memory_bytes: float
    marketing_memory_gb: float
    memory_bandwidth_bytes_per_second: float
    peak_flops_per_second: Mapping[str, float] = field(hash=False)
    link: str
    link_bytes_per_second: float
    domain_gpus: int
    #: Streaming multiprocessors or compute units.
    multiprocessors: int
    #: Peer links that are no GPU fabric: the slot's rate, one direction.
    pcie_bytes_per_second: float
    tdp_watts: float | None
    price_usd_per_hour: float | None
    price_source: str
    source: str
    notes: str = ""
    #: The region that the price is of; empty: it counts in any.
    price_region: str = ""

    def supports(self, peak: str) -> bool:
        """Whether the chip multiplies in this format."""
        return peak in self.peak_flops_per_second

    @property
    def sixteen_bit(self) -> str:
        """The 16-bit format it computes in: bf16 where it can, else fp16, else fp32."""
        return next((name for name in ("bf16", "fp16") if self.supports(name)), "fp32")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """What surrounds the GPUs, the same for all: node size, network, kernel curves, power. See data/hardware.toml."""

    node_gpus: int
    #: Memory that the driver keeps from programs, of what its tools show.
    driver_bytes: float
    pcie_bytes_per_second: float
    network_bytes_per_second: float
    network_latency_seconds: float
    #: Share of the network's rate that collectives reach.
    network_efficiency: float
    #: GPU architecture -> generations of kernel curves, nearest first; with " pcie" for cards without a fabric.
    generations: Mapping[str, tuple[str, ...]] = field(hash=False)
    #: Architectures whose switch adds in an all-reduce.
    in_network: tuple[str, ...]
    #: (token, expert) pairs on the fullest rank over the mean, where experts are dealt over ranks.
    expert_imbalance: float
    power: PowerModel
