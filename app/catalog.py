"""Data files to core nouns. Loading is strict: an unknown or missing key is an error that names file and key.

Models and accelerators that users have saved stand beside the presets; where a name is both, the preset is meant.
"""

from __future__ import annotations

import csv
import dataclasses
import difflib
import json
import re
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import MappingProxyType

from app.calculations.accelerator import Gpu, Hardware
from app.calculations.architecture import Model
from app.calculations.coefficients import Efficiency
from app.calculations.energy import Grid, PowerModel
from app.calculations.engine import Engine, release
from app.calculations.errors import InvalidInput
from app.calculations.huggingface import read_config
from app.calculations.kernel_library import Curves
from app.calculations.uncertainty import Measured, Spread, Spreads
from app.own import user_data
from app.units import GB_PER_SECOND, GIB, MIB, MICRO, MILLI, PICO, TERA

DATA = Path(__file__).parent / "data"

#: Column of gpus.csv -> name of the peak (see calculations/precision.py).
PEAK_COLUMNS = {
    "fp16_tensor_tflops": "fp16",
    "bf16_tensor_tflops": "bf16",
    "fp8_tensor_tflops": "fp8",
    "int8_tensor_tops": "int8",
    "fp4_tensor_tflops": "fp4",
}


#: ranges.csv, written by `python -m app calibrate`.
RANGE_COLUMNS = ("metric", "engine", "nearness", "low", "high", "rows", "groups", "coverage", "sources")


class DataError(ValueError):
    """A data file that does not hold what it must."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelEntry:
    """A preset's line in the index: enough to list it without reading its configuration; `own` is no preset."""

    id: str
    family: str
    config_file: str
    source: str
    notes: str
    own: bool = False


def rows(path: Path, columns: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a CSV file that has exactly these columns."""
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file)
        if set(reader.fieldnames or ()) != set(columns):
            raise DataError(f"{path.name}: columns differ: {set(reader.fieldnames or ()) ^ set(columns)}")
        return list(reader)


def same(name: str) -> str:
    """A name without what people vary when they type it: case, spaces, dashes."""
    return re.sub(r"[^a-z0-9.]", "", name.lower())


def nearest(name: str, known: Iterable[str], count: int = 3) -> list[str]:
    """The known names that resemble `name` most."""
    by_key: dict[str, str] = {}
    for candidate in known:
        by_key.setdefault(same(candidate.rsplit("/", 1)[-1]), candidate)
        by_key.setdefault(same(candidate), candidate)
    key = same(name.rsplit("/", 1)[-1])[:100]
    found = sorted((k for k in by_key if len(key) > 3 and key in k), key=len)
    found += difflib.get_close_matches(key, by_key, n=count * 2, cutoff=0.4)
    return list(dict.fromkeys(by_key[k] for k in found))[:count]


def unknown(field: str, what: str, name: str, known: Iterable[str]) -> InvalidInput:
    """The exception for a name that no list has, with the nearest ones."""
    names = list(known)
    near = nearest(name, names)
    hint = f" Did you mean {', '.join(near)}?" if near else ""
    shown = name if len(name) <= 60 else name[:57] + "..."
    return InvalidInput(field, f"{what} {shown!r} is not known.{hint}", ", ".join(near) or f"one of {len(names)} names")


# --- models -----------------------------------------------------------------------------------------------------


@cache
def preset_models() -> Mapping[str, ModelEntry]:
    """Presets by id, in the order of the index."""
    path = DATA / "models" / "index.csv"
    columns = [field.name for field in dataclasses.fields(ModelEntry) if field.name != "own"]
    entries = {row["id"]: ModelEntry(**row) for row in rows(path, columns)}  # type: ignore[arg-type]
    return MappingProxyType(entries)


def own_models() -> Mapping[str, user_data.OwnModel]:
    """Models that users have saved, by name, without those whose name is a preset's."""
    own = user_data.current().models.entries()
    return {name: one for name, one in own.items() if not means_a_preset(name)}


def means_a_preset(name: str) -> bool:
    """Whether a model's name is a preset or an alias."""
    return same(name) in model_aliases()


def models() -> Mapping[str, ModelEntry]:
    """Saved models first, then the presets, by id."""
    own = {
        name: ModelEntry(id=name, family=one.model.family, config_file="", source=one.source, notes="", own=True)
        for name, one in own_models().items()
    }
    return own | dict(preset_models()) if own else preset_models()


#: Ends of a name that say how a model was tuned, not what shape it has: the base model has the same.
#: A name with a version behind it: "vllm 0.6.3", "sglang-v0.4.1".
VERSIONED = re.compile(r"(?P<name>.*?[A-Za-z])[\s@=:_-]*v?(?P<version>\d+\.\d+\S*)")
TUNED = re.compile(r"(instruct|chat|it|hf|base)$")


def model_names() -> list[str]:
    """Every name that a model may be asked for by, presets first: for suggestions."""
    others = (row["model"] for row in rows(DATA / "models" / "aliases.csv", ("model", "same_shape_as")))
    return [*models(), *others]


@cache
def model_aliases() -> Mapping[str, str]:
    """Other ids of the same shape (instruct, quantised, repackaged) -> preset id; keys made by `same`."""
    aliases: dict[str, str] = {}
    for name in preset_models():
        aliases.setdefault(same(name.rsplit("/", 1)[-1]), name)
    aliases |= {same(name): name for name in preset_models()}
    for row in rows(DATA / "models" / "aliases.csv", ("model", "same_shape_as")):
        if row["same_shape_as"] in preset_models():
            aliases.setdefault(same(row["model"]), row["same_shape_as"])
            aliases.setdefault(same(row["model"].rsplit("/", 1)[-1]), row["same_shape_as"])
    for name, preset in list(aliases.items()):
        base = TUNED.sub("", name)
        if base:
            aliases.setdefault(base, preset)
    return MappingProxyType(aliases)


@cache
def read_model(model_id: str) -> Model:
    """A preset read from its config.json."""
    entry = preset_models()[model_id]
    return read_config(config_of(entry), name=entry.id, source=entry.source)


def config_of(entry: ModelEntry) -> dict[str, object]:
    with (DATA / "models" / entry.config_file).open(encoding="utf-8") as file:
        config: dict[str, object] = json.load(file)
    return config


@cache
def revision(model_id: str, month: str) -> Model:
    """The preset as its publisher offered it in a month (YYYY-MM; "" today): what was corrected later, before that.

    Raises KeyError for what is no preset.
    """
    for row in rows(DATA / "models" / "revisions.csv", ("model", "until", "changes", "source")):
        if row["model"] == model_id and month and month < row["until"]:
            entry = preset_models()[model_id]
            return read_config(config_of(entry) | json.loads(row["changes"]), name=entry.id, source=row["source"])
    return read_model(model_id)


def model(name: str, field: str = "model") -> Model:
    """The preset of this name or alias, or the saved model; InvalidInput with the nearest names where there is none."""
    found = name if name in preset_models() else model_aliases().get(same(name))
    if found is not None:
        return read_model(found)
    own = user_data.current().models.get(name)
    if own is None:
        raise unknown(field, "Model", name, model_names())
    return own.model


# --- accelerators -----------------------------------------------------------------------------------------------

GPU_COLUMNS = (
    "slug", "name", "vendor", "architecture", "year", "memory_gib", "memory_gib_basis", "marketing_memory_gb",
    "memory_bandwidth_gb_s", "fp32_tflops", "tf32_tensor_tflops", *PEAK_COLUMNS, "l2_cache_mb", "sm_count",
    "interconnect", "interconnect_unidir_gb_s_per_gpu", "pcie", "pcie_unidir_gb_s", "scale_up_domain", "tdp_w",
    "source", "notes", "fields_confirmed_by_stored_file", "fields_from_recalled_datasheet_only",
)  # fmt: skip


#: What the bare name of a family means.
COMMON_PARTS = {"A100": "a100-sxm-80gb", "H100": "h100-sxm", "H200": "h200-sxm", "V100": "v100-sxm-32gb"}


def number(row: Mapping[str, str], column: str) -> float | None:
    return float(row[column]) if row[column] else None


#: Of an accelerator whose units are not like NVIDIA's multiprocessors or are not published: as many as a GPU has.
MULTIPROCESSORS = 132


PRICE_COLUMNS = ("gpu", "region", "usd_per_gpu_hour", "date", "source")


@cache
def prices() -> Mapping[tuple[str, str], Mapping[str, str]]:
    """(Accelerator, region, or "" for any) -> list price: USD per hour, date and source. What is not listed is not
    known. DataError for what stands twice."""
    found: dict[tuple[str, str], Mapping[str, str]] = {}
    for row in rows(DATA / "prices.csv", PRICE_COLUMNS):
        key = (row["gpu"], row["region"])
        if key in found or (row["region"] and row["region"] not in grids()):
            raise DataError(f"prices.csv: {key} stands twice, or its region is not in grids.csv")
        found[key] = MappingProxyType(row)
    return MappingProxyType(found)


def priced(gpu: Gpu, region: str, own: Mapping[str, user_data.OwnPrice]) -> Gpu:
    """The accelerator at its price in a region: the user's own there, the user's own, the listed one there, or that of
    any region."""
    saved = own.get(user_data.price_name(gpu.slug, region)) or own.get(gpu.slug)
    if saved is not None:
        said = f"{saved.source or 'own price'}, saved {saved.saved[:10]}"
        return dataclasses.replace(
            gpu, price_usd_per_hour=saved.usd_per_gpu_hour, price_source=said, price_region=saved.region
        )
    listed = prices().get((gpu.slug, region)) if region else None
    if listed is None:
        return gpu
    return dataclasses.replace(
        gpu,
        price_usd_per_hour=number(listed, "usd_per_gpu_hour"),
        price_source=price_source(listed),
        price_region=region,
    )


def regional_prices(gpu: Gpu) -> list[Gpu]:
    """The accelerator in each region that has a price of its own, listed or the user's."""
    own = user_data.current().prices.entries()
    return [found for region in grids() if (found := priced(gpu, region, own)).price_region == region]


def price_source(listed: Mapping[str, str]) -> str:
    return f"{listed['source']}; {listed['date']}"


def read_gpu(row: Mapping[str, str]) -> Gpu:
    """A row of gpus.csv in SI units."""
    listed = prices().get((row["slug"], ""))
    peaks = {peak: float(row[column]) * TERA for column, peak in PEAK_COLUMNS.items() if row[column]}
    wide = number(row, "tf32_tensor_tflops") or number(row, "fp32_tflops")
    if wide:
        peaks["tf32"] = wide * TERA
    link = number(row, "interconnect_unidir_gb_s_per_gpu") or number(row, "pcie_unidir_gb_s") or 0.0
    return Gpu(
        slug=row["slug"],
        name=row["name"],
        vendor=row["vendor"],
        architecture=row["architecture"],
        year=int(row["year"]),
        memory_bytes=float(row["memory_gib"]) * GIB,
        marketing_memory_gb=float(row["marketing_memory_gb"]),
        memory_bandwidth_bytes_per_second=float(row["memory_bandwidth_gb_s"]) * GB_PER_SECOND,
        peak_flops_per_second=MappingProxyType(peaks),
        link=row["interconnect"],
        link_bytes_per_second=(link or 10.0) * GB_PER_SECOND,
        domain_gpus=int(row["scale_up_domain"] or 1),
        multiprocessors=MULTIPROCESSORS if row["vendor"] != "nvidia" else int(row["sm_count"] or MULTIPROCESSORS),
        pcie_bytes_per_second=(number(row, "pcie_unidir_gb_s") or 32.0) * GB_PER_SECOND,
        tdp_watts=number(row, "tdp_w"),
        price_usd_per_hour=number(listed, "usd_per_gpu_hour") if listed else None,
        price_source=price_source(listed) if listed else "",
        source=row["source"],
        notes=row["notes"],
    )


@cache
def gpu_rows() -> Mapping[str, Mapping[str, str]]:
    """The rows of gpus.csv as they are written, by slug."""
    return MappingProxyType({row["slug"]: MappingProxyType(row) for row in rows(DATA / "gpus.csv", GPU_COLUMNS)})


@cache
def preset_gpus() -> Mapping[str, Gpu]:
    """Accelerators by slug, in the order of the file."""
    return MappingProxyType({slug: read_gpu(row) for slug, row in gpu_rows().items()})


def own_gpus() -> Mapping[str, user_data.OwnGpu]:
    """Accelerators that users have saved, by slug, without those whose name is a preset's."""
    own = user_data.current().gpus.entries().values()
    return {one.gpu.slug: one for one in own if not means_a_preset_gpu(one.name)}


def means_a_preset_gpu(name: str) -> bool:
    """Whether an accelerator's name is a preset's or what people call one."""
    return same(name) in gpu_aliases()


def gpus(region: str = "") -> Mapping[str, Gpu]:
    """Saved accelerators first, then the presets, by slug, at their prices in a region."""
    saved = {slug: one.gpu for slug, one in own_gpus().items()}
    found = saved | dict(preset_gpus()) if saved else preset_gpus()
    own = user_data.current().prices.entries()
    return {slug: priced(one, region, own) for slug, one in found.items()} if own or region else found


@cache
def gpu_aliases() -> Mapping[str, str]:
    """Names as people and drivers say them -> slug; keys made by `same`. A family's bare name means its common part.

    DataError for a row of gpu_aliases.csv whose accelerator does not exist, or whose name means another one already.
    """
    aliases: dict[str, str] = {}
    named = {gpu.name: slug for slug, gpu in preset_gpus().items()}
    for name, slug in {**COMMON_PARTS, **named, **{slug: slug for slug in preset_gpus()}}.items():
        aliases.setdefault(same(name), slug)
    for row in rows(DATA / "gpu_aliases.csv", ("name", "slug")):
        if row["slug"] not in preset_gpus():
            raise DataError(f"gpu_aliases.csv: {row['name']!r} means {row['slug']!r}, which gpus.csv does not have")
        if aliases.setdefault(same(row["name"]), row["slug"]) != row["slug"]:
            raise DataError(f"gpu_aliases.csv: {row['name']!r} means {aliases[same(row['name'])]!r} already")
    for slug in preset_gpus():
        aliases.setdefault(same(slug.split("-")[0]), slug)
    return MappingProxyType(aliases)


def gpu(name: str, field: str = "gpu", region: str = "") -> Gpu:
    """The accelerator of this slug or name, preset or saved, at its price in a region; InvalidInput with the nearest
    names where none is."""
    own_prices = user_data.current().prices.entries()
    found = name if name in preset_gpus() else gpu_aliases().get(same(name))
    if found is not None:
        return priced(preset_gpus()[found], region, own_prices)
    own = user_data.current().gpus.get(name)
    if own is None:
        known = gpus()
        raise unknown(field, "Accelerator", name, [*known, *(one.name for one in known.values())])
    return priced(own.gpu, region, own_prices)


# --- engines and surroundings -----------------------------------------------------------------------------------

#: Suffix of a key in engines.toml -> suffix and factor of the field it becomes.
UNITS = {"_gib": ("_bytes", GIB), "_mib": ("_bytes", MIB), "_ms": ("_seconds", MILLI), "_us": ("_seconds", MICRO)}


def to_si(table: Mapping[str, object]) -> dict[str, object]:
    """Keys that carry a unit become the core's names in SI; others stay."""
    converted: dict[str, object] = {}
    for key, value in table.items():
        suffix = next((unit for unit in UNITS if key.endswith(unit)), None)
        if suffix and isinstance(value, int | float):
            name, factor = UNITS[suffix]
            converted[key.removesuffix(suffix) + name] = value * factor
        else:
            converted[key] = value
    return converted


@cache
def engines() -> Mapping[str, Engine]:
    """Engines by name."""
    tables = tomllib.loads((DATA / "engines.toml").read_text(encoding="utf-8"))
    fields = {field.name for field in dataclasses.fields(Engine)} - {"name"}
    found = {}
    for name, table in tables.items():
        values = {key: tuple(value) if isinstance(value, list) else value for key, value in to_si(table).items()}
        if set(values) != fields:
            raise DataError(f"engines.toml [{name}]: keys differ: {set(values) ^ fields}")
        found[name] = Engine(name=name, **values)  # type: ignore[arg-type]
    return MappingProxyType(found)


def engine(name: str, field: str = "engine") -> Engine:
    """The engine of this name, or the era of a name with a version such as "vllm 0.6.3"; InvalidInput with the nearest
    names where there is none."""
    keys = {same(n): n for n in engines()} | {same(e.label): n for n, e in engines().items()}
    if same(name) in keys:
        return engines()[keys[same(name)]]
    versioned = VERSIONED.fullmatch(name.strip())
    if versioned and same(versioned["name"]) in keys:
        number = release(versioned["version"])
        return era(engines()[keys[same(versioned["name"])]].family, number or (0, 0))
    wrong = unknown(field, "Engine", name, engines())
    raise InvalidInput(field, f"{wrong.message} For one that is not listed: other.", wrong.allowed)


def eras(family: str) -> list[Engine]:
    """The engines of a family, oldest first."""
    found = (one for one in engines().values() if one.family == family)
    return sorted(found, key=lambda one: release(one.since_version) or (0, 0))


def era(family: str, number: tuple[int, int]) -> Engine:
    """The engine that a version (major, minor) belongs to: the newest for what is newer than all, and the oldest."""
    known = eras(family)
    return ([one for one in known if (release(one.since_version) or (0, 0)) <= number] or known[:1])[-1]


@cache
def spreads() -> Spreads:
    """How far measurements lay from predictions, by class of metric, engine and nearness."""
    return read_spreads(DATA / "ranges.csv")


def read_spreads(path: Path) -> Spreads:
    """The ranges of a file with RANGE_COLUMNS; none where there is no file."""
    if not path.exists():
        return MappingProxyType({})
    return MappingProxyType(
        {
            (row["metric"], row["engine"], row["nearness"]): Spread(
                low=float(row["low"]),
                high=float(row["high"]),
                rows=int(row["rows"]),
                groups=int(row["groups"]),
                coverage=float(row["coverage"]),
            )
            for row in rows(path, RANGE_COLUMNS)
        }
    )


@cache
def hardware() -> Hardware:
    """What surrounds the accelerators."""
    tables = tomllib.loads((DATA / "hardware.toml").read_text(encoding="utf-8"))
    node, links = tables["node"], tables["links"]
    generations = {name: tuple(found) for name, found in tables["kernels"].items() if name != "source"}
    return Hardware(
        node_gpus=node["node_gpus"],
        driver_bytes=node["driver_gib"] * GIB,
        pcie_bytes_per_second=node["pcie_gb_s"] * GB_PER_SECOND,
        network_bytes_per_second=node["network_gb_s"] * GB_PER_SECOND,
        network_latency_seconds=node["network_latency_us"] * MICRO,
        network_efficiency=links["network_efficiency"],
        in_network=tuple(links["in_network"]),
        generations=MappingProxyType(generations),
        expert_imbalance=tables["experts"]["imbalance"],
        power=power_model(tables["power"]["idle"]),
    )


#: power.csv, written by `python -m app calibrate --power`.
POWER = DATA / "power.csv"
POWER_COLUMNS = ("coefficient", "key", "value", "unit", "low", "high", "rows", "standard_error")
#: What GPUs draw as files name it -> the part of PowerModel and the size of the file's unit.
POWER_COEFFICIENTS = {"awake": ("awake", 1.0), "byte": ("joules_per_byte", PICO), "flop": ("joules_per_flop", PICO)}
POWER_LEVELS = ("generation", "gpu")


def power_model(idle: float) -> PowerModel:
    """The fitted coefficients of power; `idle` is no fit."""
    shared, factors = {}, {}
    for row in rows(POWER, POWER_COLUMNS):
        name, value = row["coefficient"], float(row["value"])
        if not float(row["low"]) <= value <= float(row["high"]):
            raise DataError(f"power.csv: {name} {row['key']} lies outside its bounds")
        if name in POWER_COEFFICIENTS:
            part, unit = POWER_COEFFICIENTS[name]
            shared[part] = value * unit
        elif name in POWER_LEVELS:
            factors[name, row["key"]] = value
        else:
            raise DataError(f"power.csv: {name!r} is no coefficient")
    return PowerModel(idle=idle, factors=MappingProxyType(factors), **shared)


GRID_COLUMNS = ("slug", "name", "group", "gco2_per_kwh", "year", "basis", "source")
GRID_BASES = ("life cycle", "power plants")


@cache
def grids() -> Mapping[str, Grid]:
    """Regions with the carbon intensity of their electricity, by slug, in the order of the file."""
    found: dict[str, Grid] = {}
    for row in rows(DATA / "grids.csv", GRID_COLUMNS):
        if row["slug"] in found or row["basis"] not in GRID_BASES or not row["source"]:
            raise DataError(f"grids.csv: {row['slug']!r} comes twice, or its basis or source is not known")
        found[row["slug"]] = Grid(
            slug=row["slug"],
            name=row["name"],
            group=row["group"],
            grams_per_kilowatt_hour=float(row["gco2_per_kwh"]),
            year=int(row["year"]),
            basis=row["basis"],
            source=row["source"],
        )
    return MappingProxyType(found)


def grid(name: str, field: str = "region") -> Grid:
    """The region of this slug or name; InvalidInput with the nearest names where there is none."""
    keys = {same(one.name): slug for slug, one in grids().items()} | {same(slug): slug for slug in grids()}
    if same(name) not in keys:
        raise unknown(field, "Region", name, [*grids(), *(one.name for one in grids().values())])
    return grids()[keys[same(name)]]


# --- calibration ------------------------------------------------------------------------------------------------

KERNEL_COLUMNS = ("generation", "kernel", "library", "format", "constant", "value", "error_median_p90_pct")
#: Constants of kernels.csv that are microseconds.
MICROSECONDS = frozenset({"t0", "t1", "tb", "tau", "te", "tr", "ts", "a", "b", "a2", "b2"})
EFFICIENCY = DATA / "efficiency.csv"
MEASURED = DATA / "measured.csv"
#: Name of the calibration that ships.
PUBLISHED = "published"
MEASURED_COLUMNS = ("engine", "gpu", "model", "rows")
EFFICIENCY_COLUMNS = ("level", "key", "coefficient", "deviation", "factor", "unit", "low", "high", "rows")


@cache
def kernel_curves() -> Curves:
    """Constants of the kernel curves in SI units."""
    found: dict[tuple[str, str, str, str], dict[str, float]] = {}
    for row in rows(DATA / "kernels.csv", KERNEL_COLUMNS):
        key = (row["generation"], row["kernel"], row["library"], row["format"])
        scale = MICRO if row["constant"] in MICROSECONDS else 1.0
        found.setdefault(key, {})[row["constant"]] = float(row["value"]) * scale
    return MappingProxyType(found)


@cache
def measured() -> Measured:
    """Which engines were measured on which accelerators with which models."""
    return Measured(
        triples=frozenset((row["engine"], row["gpu"], row["model"]) for row in rows(MEASURED, MEASURED_COLUMNS))
    )


@cache
def efficiency() -> Efficiency:
    """The calibrated coefficients."""
    found: dict[tuple[str, str], dict[str, float]] = {}
    for row in rows(EFFICIENCY, EFFICIENCY_COLUMNS):
        found.setdefault((row["level"], row["key"]), {})[row["coefficient"]] = float(row["deviation"])
    return Efficiency(deviations=MappingProxyType(found), name=PUBLISHED)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Calibration:
    """Coefficients by name, and what was measured with what."""

    efficiency: Efficiency
    measured: Measured


def calibrations() -> Mapping[str, Calibration]:
    """The published calibration and those that users have saved; these know what was published too."""
    published = Calibration(efficiency=efficiency(), measured=measured())
    own = user_data.current().calibrations.entries()
    return {PUBLISHED: published} | {
        name: Calibration(efficiency=one.efficiency, measured=published.measured | one.measured)
        for name, one in own.items()
    }


def calibration(name: str, field: str = "calibration") -> Calibration:
    """The calibration of this name; InvalidInput with the nearest names where there is none."""
    found = calibrations()
    keys = {same(one): one for one in found}
    if same(name) not in keys:
        raise unknown(field, "Calibration", name, found)
    return found[keys[same(name)]]
