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
#: What cards without peer-to-peer transfers reach together.
HOST_BYTES_PER_SECOND = 5.6e9


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLinks:
    """Rates in bytes per second, per GPU and direction; `domain_gpus` reach each other over the fabric."""

    domain_gpus: int
    fabric_bytes_per_second: float
    network_bytes_per_second: float
    #: No peer-to-peer transfers: the cards of a node share a way through the host's memory.
    through_host: bool = False

    def group_rate(self, ranks: int, stride: int = 1) -> float:
        """Bus bandwidth of a ring over `ranks` GPUs that lie `stride` apart.

        Inside a domain it is the fabric's. Beyond, a ring of g ranks per domain uses the g adapters of each.
        """
        if self.through_host:
            return min(HOST_BYTES_PER_SECOND / min(ranks, self.domain_gpus), self.fabric_bytes_per_second)
        if ranks * stride <= self.domain_gpus:
            return self.fabric_bytes_per_second * FABRIC_SHARE
        together = max(self.domain_gpus // stride, 1)
        network = together * self.network_bytes_per_second * NETWORK_SHARE
        return min(self.fabric_bytes_per_second * FABRIC_SHARE, network) if together > 1 else network

    def all_to_all_seconds(self, token_bytes: float, copies: int, ranks: int, stride: int = 1) -> float:
        """Each token goes to `copies` random ranks. Between domains it is sent once per domain and spread inside.

        What leaves the domain takes the rank's own adapter (DeepEP: DeepSeek-V3, arXiv:2412.19437, section 3.2.2).
        """
        if ranks <= 1:
            return 0.0
        near = min(ranks, max(self.domain_gpus // stride, 1))
        domains = ranks / near
        inside = token_bytes * copies * (near - 1) / near / (self.fabric_bytes_per_second * FABRIC_SHARE)
        visited = (domains - 1) * (1 - (1 - 1 / domains) ** copies)
        outside = token_bytes * visited / (self.network_bytes_per_second * NETWORK_SHARE)
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
        through_host="no nvlink" in gpu.link,
    )
