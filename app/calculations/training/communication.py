"""Seconds of the collectives of a training step at the links' nominal rates: nothing hidden, nothing queued.

A ring moves (n - 1) / n of its bytes per reduce-scatter or all-gather; an all-reduce is both. The rate of a group is
that of its slowest part: the fabric inside a domain, or between nodes the adapters of all its ranks in a node.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingLinks:
    """Rates in bytes per second that large transfers reach, per GPU and direction.

    `domain_gpus` reach each other over the fabric, others over the network. `through_host_bytes_per_second`: cards
    without peer-to-peer transfers share it; None where there is a fabric.
    """

    domain_gpus: int
    fabric_bytes_per_second: float
    network_bytes_per_second: float
    host_link_bytes_per_second: float
    through_host_bytes_per_second: float | None = None
    #: Share of the memory beyond which paged optimizer states leave it; bytes per parameter of an offloaded step.
    paged_above: float = 0.95
    offloaded_step_bytes: float = 30.0

    def ring_rate(self, ranks: int, stride: int = 1) -> float:
        """Bus bandwidth of a ring over `ranks` GPUs that lie `stride` apart.

        Inside a domain it is the fabric's. Beyond, a ring with g ranks per domain uses the g adapters of each.
        """
        if self.through_host_bytes_per_second:
            together = min(ranks, self.domain_gpus)
            return min(self.through_host_bytes_per_second / together, self.fabric_bytes_per_second)
        if ranks * stride <= self.domain_gpus:
            return self.fabric_bytes_per_second
        adapters = max(self.domain_gpus // stride, 1)
        network = adapters * self.network_bytes_per_second
        return min(self.fabric_bytes_per_second, network) if adapters > 1 else network

    def ring_seconds(self, whole_bytes: float, ranks: int, stride: int = 1) -> float:
        """A reduce-scatter or an all-gather of `whole_bytes` (unsharded)."""
        if ranks <= 1:
            return 0.0
        return whole_bytes * (ranks - 1) / ranks / self.ring_rate(ranks, stride)

    def all_to_all_seconds(self, token_bytes: float, copies: int, ranks: int) -> float:
        """Each token goes to `copies` random ranks. Between domains it is sent once per domain and spread inside.

        What leaves the domain takes the rank's own adapter (DeepSeek-V3, arXiv:2412.19437, section 3.2.2).
        """
        if ranks <= 1:
            return 0.0
        near = min(ranks, self.domain_gpus)
        domains = ranks / near
        inside = token_bytes * copies * (near - 1) / near / self.fabric_bytes_per_second
        visited = (domains - 1) * (1 - (1 - 1 / domains) ** copies)
        return max(inside, token_bytes * visited / self.network_bytes_per_second)

    def hop_seconds(self, message_bytes: float, stride: int) -> float:
        """A message to the GPU `stride` places on."""
        near = 2 * stride <= self.domain_gpus
        return message_bytes / (self.fabric_bytes_per_second if near else self.network_bytes_per_second)
