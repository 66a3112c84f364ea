"""What the page of an accelerator says: facts with what confirms them, and the models that it holds."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from typing import Any, NamedTuple

from app import catalog, formatting
from app.calculations.accelerator import Gpu
from app.own import user_data
from app.own.user_data import price_name
from app.pages.forms import regions, spelled
from app.pages.model import ROOM, Fact, weight_bytes

#: Precisions in which models are tried.
PRECISIONS = ("bf16", "fp8", "int4")
#: What the columns about confirmation call a fact.
MEMORY, BANDWIDTH, LINK, POWER = "memory", "bandwidth", "interconnect", "TDP"
SIXTEEN = "fp16/bf16"
#: Names of tables that the columns abbreviate.
TABLES = {"stored text": "a published text"}
TERA = 1e12
GIGA = 1e9


class Fit(NamedTuple):
    """A model, and in which precisions one GPU holds its weights."""

    name: str
    own: bool
    total_params: int
    holds: tuple[bool, ...]


def confirmations(row: Mapping[str, str]) -> dict[str, str]:
    """Fact -> what confirms it, from the columns that record that."""
    found = {}
    for part in row["fields_confirmed_by_stored_file"].split(";"):
        fact, _, files = part.partition(":")
        if files.strip():
            tables = [TABLES.get(name, name) for name in files.strip().split("+")]
            found[fact.strip()] = f"the same in {', '.join(tables)}"
    for fact in row["fields_from_recalled_datasheet_only"].split():
        found[fact] = "recalled from the datasheet, not confirmed"
    return found


def fact_rows(gpu: Gpu) -> list[Fact]:
    """Everything known, each with its source."""
    row = catalog.gpu_rows().get(gpu.slug)
    if row is None:
        return own_rows(gpu)
    confirmed = confirmations(row)
    sheet = "the source above"

    def fact(label: str, value: str, about: str = "") -> Fact:
        return Fact(label, value, confirmed.get(about, sheet))

    def tera(column: str, unit: str = "TFLOP/s") -> str:
        return f"{formatting.number(float(row[column]))} {unit}" if row[column] else "none listed"

    rows = [
        fact("Maker", spelled(row["vendor"])),
        fact("Generation", f"{spelled(row['architecture'])}, {row['year']}"),
        fact("Memory", f"{formatting.binary_bytes(gpu.memory_bytes)}, sold as {gpu.marketing_memory_gb:g} GB", MEMORY),
        Fact("Memory as counted", row["memory_gib_basis"] or formatting.UNKNOWN, sheet),
        fact("Memory bandwidth", formatting.bandwidth(gpu.memory_bandwidth_bytes_per_second), BANDWIDTH),
        fact("FP32", tera("fp32_tflops"), "fp32"),
        fact("TF32, dense", tera("tf32_tensor_tflops")),
        fact("FP16, dense", tera("fp16_tensor_tflops"), SIXTEEN),
        fact("BF16, dense", tera("bf16_tensor_tflops"), SIXTEEN),
        fact("FP8, dense", tera("fp8_tensor_tflops"), "fp8"),
        fact("INT8, dense", tera("int8_tensor_tops", "TOP/s"), "int8"),
        fact("FP4, dense", tera("fp4_tensor_tflops"), "fp4"),
        fact("Link to other GPUs", f"{row['interconnect']}, {_rate(gpu.link_bytes_per_second)}", LINK),
        fact("GPUs that the link joins", formatting.integer(gpu.domain_gpus)),
        Fact("PCIe", f"{row['pcie']}, {row['pcie_unidir_gb_s'] or '?'} GB/s one way", sheet),
        fact("Board power", formatting.watts(gpu.tdp_watts), POWER),
        fact("L2 cache", f"{row['l2_cache_mb']} MB" if row["l2_cache_mb"] else formatting.UNKNOWN, "L2"),
        fact("Multiprocessors", row["sm_count"] or formatting.UNKNOWN, "SMs"),
        Fact("Price of one GPU", price(gpu), gpu.price_source or "no list price found: unknown, not zero"),
    ]
    missing = (formatting.UNKNOWN, "none listed")
    return [one._replace(source="") if one.value in missing else one for one in rows]


def own_rows(gpu: Gpu) -> list[Fact]:
    """The facts of an accelerator that was described by hand."""
    peaks = [
        Fact(f"{name.upper()}, dense", formatting.flops_per_second(rate), "typed")
        for name, rate in gpu.peak_flops_per_second.items()
        if name not in ("fp16", "tf32")
    ]
    return [
        Fact("Memory", formatting.binary_bytes(gpu.memory_bytes), "typed"),
        Fact("Memory bandwidth", formatting.bandwidth(gpu.memory_bandwidth_bytes_per_second), "typed"),
        *peaks,
        Fact("FP16 and TF32, dense", "as BF16, and half of it", "assumed"),
        Fact("Link to other GPUs", _rate(gpu.link_bytes_per_second), "typed"),
        Fact("GPUs that the link joins", formatting.integer(gpu.domain_gpus), "typed"),
        Fact("Board power", formatting.watts(gpu.tdp_watts), "typed"),
        Fact("Price of one GPU", price(gpu), ""),
    ]


def _rate(rate: float) -> str:
    return f"{formatting.bandwidth(rate)} per GPU, one way"


def price(gpu: Gpu) -> str:
    known = gpu.price_usd_per_hour
    return formatting.UNKNOWN if known is None else f"{formatting.usd(known)} an hour"


def fits(gpu: Gpu) -> list[Fit]:
    """The models whose weights one GPU holds in one of PRECISIONS, with ROOM beside, the largest first."""
    found = []
    for name, entry in catalog.models().items():
        model = catalog.model(name)
        sizes = preset_sizes(name) if not entry.own else tuple(weight_bytes(model, one) for one in PRECISIONS)
        holds = tuple(size * (1 + ROOM) <= gpu.memory_bytes for size in sizes)
        if any(holds):
            found.append(Fit(name, entry.own, model.total_params, holds))
    return sorted(found, key=lambda one: (-one.total_params, one.name))


@cache
def preset_sizes(name: str) -> tuple[float, ...]:
    """The weights of a preset in each of PRECISIONS."""
    return tuple(weight_bytes(catalog.read_model(name), precision) for precision in PRECISIONS)


def page(gpu: Gpu) -> dict[str, Any]:
    """All of it, as the template takes it."""
    found, own = fits(gpu), user_data.current().prices.entries()
    return {
        "gpu": gpu,
        "facts": fact_rows(gpu),
        "precisions": PRECISIONS,
        "fits": found,
        "totals": tuple(sum(one.holds[place] for one in found) for place in range(len(PRECISIONS))),
        "count": len(catalog.models()),
        "room": ROOM,
        "own_price": user_data.current().prices.get(gpu.slug),
        "regions": regions(),
        "regional_prices": [
            (catalog.grid(one.price_region), one, price_name(gpu.slug, one.price_region) in own)
            for one in catalog.regional_prices(gpu)
        ],
    }
