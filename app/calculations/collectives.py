"""Seconds of all-reduce, all-to-all and point-to-point over a GPU fabric, PCIe and the network between nodes."""

from __future__ import annotations

from dataclasses import dataclass

from app.calculations.arrays import Numbers
from app.calculations.kernel_library import KernelLibrary
from app.calculations.kernels import custom_all_reduce, reduce_wire, ring_collective, soft_minimum


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What a GPU reaches its peers with; rates per GPU and direction as the datasheet has them.

    `fabric`: the fast domain is NVLink, xGMI or alike; else it is the node's PCIe. `in_network`: its switch adds
    (NVLink SHARP). Groups beyond the domain take PCIe inside a node of `node_gpus` and the network beyond.
    """

    domain_gpus: int
    fabric: bool
    in_network: bool
    link_bytes_per_second: float
    pcie_bytes_per_second: float
    node_gpus: int
    network_bytes_per_second: float
    network_latency_seconds: float
    #: Share of the network's rate that collectives reach.
    network_efficiency: float


def reduce_seconds(message_bytes: Numbers, gpus: int, links: Links, library: KernelLibrary) -> Numbers:
    """All-reduce of `message_bytes` on each of `gpus`.

    On a fabric the engine's own kernel or NCCL, whichever is faster; over PCIe NCCL's ring. Beyond a node in two
    levels: reduce-scatter inside, all-reduce of the shard between nodes, all-gather inside.
    """
    if gpus == 1:
        return 0.0 * message_bytes
    if gpus <= links.domain_gpus and links.fabric:
        return fabric_reduce(message_bytes, gpus, links, library)
    node = max(links.domain_gpus if links.fabric else 1, links.node_gpus)
    inside = min(gpus, node)
    if inside == 1:
        seconds: Numbers = 0.0 * message_bytes
    elif inside <= links.domain_gpus and links.fabric:
        seconds = fabric_reduce(message_bytes, inside, links, library)
    else:
        constants = library.slow_ring
        wire = reduce_wire(message_bytes, inside, in_network=False)
        seconds = ring_collective(wire, inside, links.pcie_bytes_per_second, constants)
    if gpus > inside:
        nodes = gpus / inside
        wire = 2 * (nodes - 1) / nodes * message_bytes / inside
        rate = links.network_bytes_per_second * links.network_efficiency
        seconds = seconds + links.network_latency_seconds + wire / rate
    return seconds


def fabric_reduce(message_bytes: Numbers, gpus: int, links: Links, library: KernelLibrary) -> Numbers:
    """The faster of the engine's kernel and NCCL."""
    rate = links.link_bytes_per_second
    own, _ = library.constants("all_reduce", "bf16")
    ring, _ = library.constants("nccl", "all_reduce")
    wire = reduce_wire(message_bytes, gpus, links.in_network)
    custom = custom_all_reduce(message_bytes, gpus, rate, links.in_network, own)
    return soft_minimum(custom, ring_collective(wire, gpus, rate, ring))


def all_to_all_seconds(message_bytes: Numbers, gpus: int, links: Links, library: KernelLibrary) -> Numbers:
    """Each GPU keeps 1/n of its `message_bytes` and sends the rest, by domain and network at once."""
    if gpus == 1:
        return 0.0 * message_bytes
    constants, _ = library.constants("all_to_all", "bf16")
    inside = min(gpus, links.domain_gpus if links.fabric else links.node_gpus)
    rate = links.link_bytes_per_second if links.fabric else links.pcie_bytes_per_second
    near = message_bytes * (inside - 1) / gpus / (rate * constants["e"])
    far = message_bytes * (gpus - inside) / gpus / (links.network_bytes_per_second * links.network_efficiency)
    latency = constants["t0"] if gpus <= inside else constants["t0"] + links.network_latency_seconds
    return latency + near + far


def point_to_point_seconds(message_bytes: Numbers, *, inside_domain: bool, links: Links) -> Numbers:
    """One hop between pipeline stages."""
    if inside_domain:
        rate = links.link_bytes_per_second if links.fabric else links.pcie_bytes_per_second
        return HOP_SECONDS + message_bytes / (rate * links.network_efficiency)
    rate = links.network_bytes_per_second * links.network_efficiency
    return links.network_latency_seconds + message_bytes / rate


#: Latency of a send and receive inside a node (NCCL, small messages).
HOP_SECONDS = 10e-6
