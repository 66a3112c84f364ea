"""Who sends a request: its address, and whether it comes by the proxy that is trusted."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from flask import Request

#: What one household or company has of IPv6: counting single addresses there would count nothing.
IPV6_PREFIX = 64


def parsed(address: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """An address; an IPv4 one that a socket for both kinds tells as an IPv6 one is itself. ValueError for none."""
    found = ipaddress.ip_address(address)
    return getattr(found, "ipv4_mapped", None) or found


def is_trusted(address: str | None, networks: Iterable[str]) -> bool:
    """Whether the address lies in one of the networks. A socket of this machine, which has no address, does not."""
    try:
        found = parsed(address or "")
    except ValueError:
        return False
    return any(found in ipaddress.ip_network(network) for network in networks)


def client_address(request: Request, proxies: tuple[str, ...]) -> str:
    """The address that the request was sent from: the last of X-Forwarded-For that is no trusted proxy's.

    The header is believed only where a trusted proxy sent it; anybody can write one.
    """
    address = request.remote_addr or ""
    hops = ",".join(request.headers.getlist("X-Forwarded-For")).split(",")
    for hop in reversed(hops):
        if not is_trusted(address, proxies):
            break
        try:
            address = str(parsed(hop.strip()))
        except ValueError:
            break
    return address


def household(address: str) -> str:
    """What is counted as one client: an IPv4 address, or the network of an IPv6 one."""
    try:
        found = parsed(address)
    except ValueError:
        return address
    if found.version == 6:
        return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False))
    return str(found)
