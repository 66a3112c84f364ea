"""How accelerators are given to containers, and images of launchers for them: app/data/deployment.toml."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from app import catalog
from app.calculations.errors import InvalidInput


@dataclass(frozen=True, slots=True, kw_only=True)
class Platform:
    """Accelerators of a vendor, or those that are listed: the resource of their device plugin, launcher -> image."""

    name: str
    resource: str
    resource_source: str
    images: Mapping[str, str]
    vendor: str = ""
    gpus: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Deployment:
    """All of the data file. Launcher -> port; seconds to load a GB of weights, and at least; GiB of shared memory."""

    platforms: tuple[Platform, ...]
    ports: Mapping[str, int]
    loading_seconds_per_gb: float
    least_loading_seconds: int
    shared_memory_gib: int


@cache
def deployment() -> Deployment:
    """What the file says. Raises DataError."""
    tables = tomllib.loads((catalog.DATA / "deployment.toml").read_text(encoding="utf-8"))
    try:
        platforms = tuple(platform(name, table) for name, table in tables["platforms"].items())
        return Deployment(platforms=platforms, ports=tables["ports"], **tables["serving"])
    except (KeyError, TypeError) as error:
        raise catalog.DataError(f"deployment.toml: {error}") from None


def platform(name: str, table: Mapping[str, Any]) -> Platform:
    return Platform(**{"name": name, **table, "gpus": tuple(table.get("gpus", ()))})


def platform_of(gpu: str) -> Platform | None:
    """The platform that lists an accelerator, else that of its vendor; None for one that nothing is known of."""
    listed = next((one for one in deployment().platforms if gpu in one.gpus), None)
    vendor = catalog.gpus()[gpu].vendor if gpu in catalog.gpus() else ""
    return listed or next((one for one in deployment().platforms if vendor and one.vendor == vendor), None)


def image_of(launcher: str, gpu: str) -> tuple[Platform, str]:
    """The platform of an accelerator, and its image of a launcher. Raises InvalidInput where none is known."""
    found = platform_of(gpu)
    if found is None or launcher not in found.images:
        known = ", ".join(f"{one.name} ({', '.join(one.images)})" for one in deployment().platforms)
        raise InvalidInput("launch", f"No image of {launcher} for {gpu!r} is known.", known)
    return found, found.images[launcher]
