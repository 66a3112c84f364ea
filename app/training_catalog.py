"""Data files of training -> core nouns: frameworks, links, coefficients, ranges. Loading is strict."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from types import MappingProxyType
from typing import Any

from app import catalog
from app.calculations.accelerator import Gpu
from app.calculations.training.coefficients import NAMES, Level, Prior, TrainingEfficiency
from app.calculations.training.communication import TrainingLinks
from app.calculations.training.optimizer import Optimizer
from app.calculations.training.recipe import Recipe
from app.calculations.training.stack import Stack
from app.calculations.uncertainty import Spreads
from app.units import GB_PER_SECOND, GIB

EFFICIENCY = catalog.DATA / "training_efficiency.csv"
RANGES = catalog.DATA / "training_ranges.csv"
MEMORY = catalog.DATA / "training_memory.csv"
MEMORY_RANGES = catalog.DATA / "training_memory_ranges.csv"
#: Columns of training_efficiency.csv, written by `python -m app calibrate`.
EFFICIENCY_COLUMNS = (
    "level", "key", "coefficient", "deviation", "factor", "spread", "standard_error", "runs",
)  # fmt: skip

#: Columns of training_memory.csv, written by the same. spread: how far (in ln) a value may lie from what is expected;
#: standard_error in ln, too.
MEMORY_COLUMNS = (
    "recipe", "coefficient", "value", "unit", "expected", "spread", "standard_error", "rows",
)  # fmt: skip


def tables(name: str) -> dict[str, Any]:
    return tomllib.loads((catalog.DATA / name).read_text(encoding="utf-8"))


@cache
def stacks() -> Mapping[str, Stack]:
    """Training frameworks by name."""
    return MappingProxyType({name: Stack(name=name, **one) for name, one in tables("training_stacks.toml").items()})


@cache
def priors() -> Mapping[str, Prior]:
    """What is expected of each coefficient."""
    found = tables("training_coefficients.toml")
    if set(found) != set(NAMES):
        raise catalog.DataError(f"training_coefficients.toml: coefficients differ: {set(found) ^ set(NAMES)}")
    return MappingProxyType({name: Prior(**one | {"bounds": tuple(one["bounds"])}) for name, one in found.items()})


@cache
def efficiency() -> TrainingEfficiency:
    """The calibrated coefficients."""
    found: dict[Level, dict[str, float]] = {}
    if EFFICIENCY.exists():
        for row in catalog.rows(EFFICIENCY, EFFICIENCY_COLUMNS):
            found.setdefault((row["level"], row["key"]), {})[row["coefficient"]] = float(row["deviation"])
    return TrainingEfficiency(priors=priors(), deviations=MappingProxyType(found))


@cache
def spreads() -> Spreads:
    """How far measured step times lay from predictions, by kind of run and framework."""
    return catalog.read_spreads(RANGES)


def links(gpu: Gpu, *, network_gb_s: float | None = None, node_gpus: int | None = None) -> TrainingLinks:
    """The links of a GPU in a training cluster; `network_gb_s` per GPU and `node_gpus` where the cluster's are known.

    Without a fabric, GPUs of a node meet over PCIe, or where they have no peer-to-peer transfers through the host.
    """
    data = tables("training_links.toml")
    shares, networks = data["shares"], data["network_gb_s"]
    network = network_gb_s or networks.get(gpu.architecture, networks["other"])
    fabric = gpu.domain_gpus > 1
    rate = gpu.link_bytes_per_second if fabric else gpu.pcie_bytes_per_second
    return TrainingLinks(
        domain_gpus=node_gpus or (gpu.domain_gpus if fabric else catalog.hardware().node_gpus),
        fabric_bytes_per_second=rate * shares["fabric"],
        network_bytes_per_second=network * GB_PER_SECOND * shares["network"],
        host_link_bytes_per_second=gpu.pcie_bytes_per_second * shares["host_link"],
        through_host_bytes_per_second=data["host"]["gb_s"] * GB_PER_SECOND if "no nvlink" in gpu.link else None,
        paged_above=data["offload"]["paged_above"],
        offloaded_step_bytes=data["offload"]["step_bytes"],
    )


@cache
def optimizers() -> Mapping[str, Optimizer]:
    """Optimizers by name."""
    return MappingProxyType({name: Optimizer(name=name, **one) for name, one in tables("optimizers.toml").items()})


@cache
def expected_recipes() -> Mapping[str, Recipe]:
    """How frameworks are expected to use memory, by name; sizes in GiB become bytes.

    One that is `like` another differs from it in what its table says.
    """
    found = {}
    known = tables("training_memory.toml")
    for name, own in known.items():
        one = known[own["like"]] | own if "like" in own else own
        in_bytes = {key.replace("_gib", "_bytes"): value * GIB for key, value in one.items() if key.endswith("_gib")}
        plain = {key: value for key, value in one.items() if not key.endswith("_gib") and key != "like"}
        found[name] = Recipe(name=name, **plain, **in_bytes)
    return MappingProxyType(found)


@cache
def recipes() -> Mapping[str, Recipe]:
    """The same with the coefficients that were measured."""
    measured: dict[str, dict[str, Any]] = {}
    if MEMORY.exists():
        for row in catalog.rows(MEMORY, MEMORY_COLUMNS):
            measured.setdefault(row["recipe"], {})[row["coefficient"]] = float(row["value"])
    expected = expected_recipes()
    return MappingProxyType({name: replace(one, **measured.get(name, {})) for name, one in expected.items()})


@cache
def measured_recipes() -> frozenset[str]:
    """Recipes whose coefficients were measured."""
    return frozenset(row["recipe"] for row in catalog.rows(MEMORY, MEMORY_COLUMNS)) if MEMORY.exists() else frozenset()


@cache
def memory_spreads() -> Spreads:
    """How far measured peaks of memory lay from predictions, by kind of run and recipe."""
    return catalog.read_spreads(MEMORY_RANGES)
