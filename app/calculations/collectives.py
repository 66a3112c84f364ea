"""Seconds of all-reduce, all-to-all and point-to-point over a fast domain and the network between nodes."""

from __future__ import annotations

from dataclasses import dataclass

from app.calculations.arrays import Numbers


@dataclass(frozen=True, slots=True, kw_only=True)
class Links:
    """What a GPU reaches its peers with; rates per GPU and direction, already times their efficiency."""

    domain_gpus: int
    domain_bytes_per_second: float
    domain_latency_seconds: float
    network_bytes_per_second: float
    network_latency_seconds: float


def all_reduce_seconds(message_bytes: Numbers, gpus: int, links: Links) -> Numbers:
    """Ring: 2 (n-1)/n bytes over the slowest link, plus latency; across nodes in two levels.

    Equation: t = a + 2 (n-1)/n x B / bandwidth (Thakur et al. 2005). Beyond one domain: reduce-scatter inside,
    all-reduce of the shard between domains, all-gather inside.
    """
    if gpus == 1:
        return 0.0 * message_bytes
    inside = min(gpus, links.domain_gpus)
    seconds = 0.0 * message_bytes
    if inside > 1:
        seconds = links.domain_latency_seconds + (
            2 * (inside - 1) / inside * message_bytes / links.domain_bytes_per_second
        )
    if gpus > inside:
        nodes = gpus / inside
        seconds = (
            seconds
            + links.network_latency_seconds
            + (2 * (nodes - 1) / nodes * (message_bytes / inside) / links.network_bytes_per_second)
        )
    return seconds


def all_to_all_seconds(message_bytes: Numbers, gpus: int, links: Links) -> Numbers:
    """Each GPU keeps 1/n of its `message_bytes` and sends the rest, by domain and network at once."""
    if gpus == 1:
        return 0.0 * message_bytes
    inside = min(gpus, links.domain_gpus)
    near = message_bytes * (inside - 1) / gpus / links.domain_bytes_per_second
    far = message_bytes * (gpus - inside) / gpus / links.network_bytes_per_second
    latency = links.domain_latency_seconds if gpus <= inside else links.network_latency_seconds
    return latency + near + far


def point_to_point_seconds(message_bytes: Numbers, *, inside_domain: bool, links: Links) -> Numbers:
    """One hop between pipeline stages."""
    if inside_domain:
        return links.domain_latency_seconds + message_bytes / links.domain_bytes_per_second
    return links.network_latency_seconds + message_bytes / links.network_bytes_per_second
