"""Seconds of the collectives of a training step at the links' nominal rates: nothing hidden, nothing queued.

A ring moves (n - 1) / n of its bytes per reduce-scatter or all-gather; an all-reduce is both. The rate of a group is
that of its slowest part: the fabric inside a domain, or between nodes the adapters of all its ranks in a node.
"""

from __future__ import annotations

from dataclasses import dataclass

from app.calculations.accelerator import Gpu, Hardware

#: Share of NVLink's rate that large collectives reach (NCCL bus bandwidth on HGX: 360 of 450 GB/s less SM contention),
#: and of the adapters' rate.
FABRIC_SHARE = 0.7
NETWORK_SHARE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLinks:
    """Rates in bytes per second, per GPU and direction; `domain_gpus` reach each other over the fabric."""

    domain_gpus: int
    fabric_bytes_per_second: float
    network_bytes_per_second: float

    def group_rate(self, ranks: int, stride: int = 1) -> float:
        """Bus bandwidth of a ring over `ranks` GPUs that lie `stride` apart.

        Inside a domain it is the fabric's. Beyond, a ring of g ranks per domain uses the g adapters of each.
        """
        if ranks * stride <= self.domain_gpus:
            return self.fabric_bytes_per_second * FABRIC_SHARE
        together = max(self.domain_gpus // stride, 1)
        network = together * self.network_bytes_per_second * NETWORK_SHARE
        return min(self.fabric_bytes_per_second * FABRIC_SHARE, network) if together > 1 else network

    def all_to_all_seconds(self, sent_bytes: float, ranks: int, stride: int = 1) -> float:
        """Each rank keeps 1 / n of `sent_bytes`; what leaves the domain takes the rank's own adapter."""
        if ranks <= 1:
            return 0.0
        near = min(ranks, max(self.domain_gpus // stride, 1))
        inside = sent_bytes * (near - 1) / ranks / (self.fabric_bytes_per_second * FABRIC_SHARE)
        outside = sent_bytes * (ranks - near) / ranks / (self.network_bytes_per_second * NETWORK_SHARE)
        return max(inside, outside)

    def ring_seconds(self, moved_bytes: float, ranks: int, stride: int = 1) -> float:
        """A reduce-scatter or an all-gather of `moved_bytes` (the whole, unsharded)."""
        if ranks <= 1:
            return 0.0
        return moved_bytes * (ranks - 1) / ranks / self.group_rate(ranks, stride)


def training_links(gpu: Gpu, hardware: Hardware, network_bytes_per_second: float | None = None) -> TrainingLinks:
    """The links of a GPU; without a fabric its ranks in a node share the slots to the host."""
    network = network_bytes_per_second or hardware.network_bytes_per_second
    if gpu.domain_gpus > 1:
        return TrainingLinks(
            domain_gpus=gpu.domain_gpus,
            fabric_bytes_per_second=gpu.link_bytes_per_second,
            network_bytes_per_second=network,
        )
    return TrainingLinks(
        domain_gpus=hardware.node_gpus,
        fabric_bytes_per_second=gpu.pcie_bytes_per_second,
        network_bytes_per_second=network,
    )
