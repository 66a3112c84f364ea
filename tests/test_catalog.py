"""The data files: every row loads, is physical, and has a source; names are found as people write them."""

import csv
import re
from pathlib import Path

import pytest

from app import catalog
from app.calculations.errors import InvalidInput
from app.calculations.kernel_library import LIBRARIES
from app.measurements.benchmarks import release

REQUIRED_MODELS = {
    "meta-llama/Llama-2-7b-hf",
    "meta-llama/Llama-2-13b-hf",
    "meta-llama/Llama-2-70b-hf",
    "meta-llama/Meta-Llama-3-8B",
    "meta-llama/Meta-Llama-3-70B",
    "mistralai/Mistral-7B-v0.1",
    "mistralai/Mixtral-8x7B-v0.1",
    "microsoft/phi-2",
    "microsoft/Phi-3-mini-4k-instruct",
    "generic/small",
    "generic/medium",
    "generic/large",
    "generic/xl",
}
REQUIRED_GPUS = ("A100", "H100", "H200", "B200", "L40S", "RTX 4090", "RTX 6000 Ada", "MI300X")


def test_there_are_presets_enough():
    assert len(catalog.models()) >= 120 and set(catalog.models()) >= REQUIRED_MODELS
    assert len(catalog.gpus()) >= 55


@pytest.mark.parametrize("name", REQUIRED_GPUS)
def test_common_accelerators_are_found_by_their_common_name(name):
    assert name.split()[0].lower() in catalog.gpu(name).slug


@pytest.mark.parametrize("gpu", catalog.gpus().values(), ids=lambda gpu: gpu.slug)
def test_every_accelerator_is_physical_and_has_a_source(gpu):
    assert 8e9 <= gpu.memory_bytes <= 1e12 and 5e10 <= gpu.memory_bandwidth_bytes_per_second <= 1e13
    assert gpu.memory_bytes <= 1.001 * gpu.marketing_memory_gb * 2**30, "no driver shows more than is sold"
    assert gpu.source and gpu.domain_gpus >= 1 and 2014 <= gpu.year <= 2026
    peaks = gpu.peak_flops_per_second
    sixteen = peaks.get("bf16") or peaks["fp16"]
    assert 2e12 <= sixteen <= 3e15
    assert peaks.get("fp8", 2 * sixteen) <= 4.1 * sixteen, "dense peaks, not sparse ones"
    if gpu.price_usd_per_hour is not None:
        assert gpu.price_source and 0 < gpu.price_usd_per_hour < 100


@pytest.mark.parametrize("entry", catalog.models().values(), ids=lambda entry: entry.id)
def test_every_model_has_a_family_and_a_source(entry):
    assert entry.family and entry.source and (catalog.DATA / "models" / entry.config_file).exists()


@pytest.mark.parametrize("engine", catalog.engines().values(), ids=lambda engine: engine.name)
def test_every_engine_is_physical_and_has_a_source(engine):
    assert engine.source and 0 < engine.memory_utilization <= 1
    assert engine.kernels in LIBRARIES and engine.family in catalog.engines()
    assert engine.narrow_attention in {form for _, kernel, _, form in catalog.kernel_curves() if "prefill" in kernel}
    assert 1 <= engine.gang_prompts < 10 and engine.whole_prompt_tokens >= 0
    assert release(engine.since_version) is not None and re.fullmatch(r"20\d\d-[01]\d", engine.since_date)


#: Attention whose scores are multiplied in fp8 is held against the 16-bit peak, of which it may reach the double.
MOST_OF_PEAK = 2.2


@pytest.mark.parametrize("key", catalog.kernel_curves(), ids=" ".join)
def test_every_kernel_curve_is_physical(key):
    constants = catalog.kernel_curves()[key]
    assert all(value >= 0 for name, value in constants.items() if name != "g")
    assert all(0 < constants[name] < MOST_OF_PEAK for name in ("ec", "em", "e1", "e2") if name in constants)
    assert all(constants[name] < 0.1 for name in catalog.MICROSECONDS & set(constants)), "seconds"


@pytest.mark.parametrize("family", sorted({engine.family for engine in catalog.engines().values()}))
def test_the_eras_of_a_family_start_apart_and_in_the_same_order_by_version_and_date(family):
    eras = [engine for engine in catalog.engines().values() if engine.family == family]
    by_version = sorted(eras, key=lambda engine: release(engine.since_version))
    assert [era.since_date for era in by_version] == sorted({era.since_date for era in eras})


@pytest.mark.parametrize("grid", catalog.grids().values(), ids=lambda grid: grid.slug)
def test_every_grid_is_physical_and_has_a_year_and_a_source(grid):
    assert 10 <= grid.grams_per_kilowatt_hour <= 1000, "between hydropower and lignite"
    assert 2022 <= grid.year <= 2026 and grid.name and grid.group
    assert grid.source.startswith("Ember ") if grid.basis == "life cycle" else "eGRID" in grid.source
    assert catalog.grid(grid.name) == catalog.grid(grid.slug.upper()) == grid


@pytest.mark.parametrize(
    "grid", [one for one in catalog.grids().values() if one.basis == "power plants"], ids=lambda grid: grid.slug
)
def test_a_grid_of_the_united_states_is_the_sum_of_the_rates_that_its_source_names(grid):
    rates = re.search(r"CO2 ([\d.]+) \+ 28 x CH4 ([\d.]+) \+ 265 x N2O ([\d.]+) lb/MWh", grid.source)
    co2, methane, nitrous_oxide = map(float, rates.groups())
    pounds = co2 + 28 * methane + 265 * nitrous_oxide
    assert grid.grams_per_kilowatt_hour == pytest.approx(pounds * 0.45359237, abs=0.05)


def test_a_region_that_is_not_known_is_refused_with_the_nearest():
    with pytest.raises(InvalidInput, match="us-california") as refused:
        catalog.grid("california")
    assert refused.value.field == "region"


@pytest.mark.parametrize(
    ("typed", "found"),
    [
        ("meta-llama/llama-3.1-8b-instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-8B-Instruct"),
        ("mixtral 8x7b v0.1", "mistralai/Mixtral-8x7B-v0.1"),
        ("nvidia/DeepSeek-R1-NVFP4", "deepseek-ai/DeepSeek-R1"),
    ],
)
def test_a_model_is_found_as_people_write_it(typed, found):
    assert catalog.model(typed).name == found


@pytest.mark.parametrize(
    ("typed", "slug"),
    [
        ("4090", "rtx-4090"),
        ("rtx 3090 ti", "rtx-3090-ti"),
        ("RTX Pro 6000", "rtx-pro-6000-blackwell"),
        ("6000 Ada", "rtx-6000-ada"),
        ("A100 40GB", "a100-sxm-40gb"),
        ("H100 PCIe", "h100-pcie"),
        ("Gaudi 2", "gaudi2"),
        ("M1", "apple-m1"),
        ("NVIDIA GeForce RTX 4080 SUPER", "rtx-4080-super"),
        ("NVIDIA H100 80GB HBM3", "h100-sxm"),
        ("arc-pro-b60", "b60"),
        ("tpu-v7x-ironwood", "tpu-v7"),
        ("rtx-4080-16gb", "rtx-4080"),
        ("apple-m2-ultra-76c-192gb", "apple-m2-ultra"),
        ("apple-m3-max-40c-64gb", "apple-m3-max-64gb"),
    ],
)
def test_an_accelerator_is_found_as_people_and_drivers_write_it(typed, slug):
    assert catalog.gpu(typed).slug == slug


def test_every_alias_says_something_new():
    """Names, slugs and the common parts of families are found without a row of gpu_aliases.csv."""
    found = {catalog.same(name) for name in (*catalog.preset_gpus(), *catalog.COMMON_PARTS)}
    found |= {catalog.same(gpu.name) for gpu in catalog.preset_gpus().values()}
    written = [catalog.same(row["name"]) for row in catalog.rows(catalog.DATA / "gpu_aliases.csv", ("name", "slug"))]
    assert "" not in written and len(written) == len(set(written)) and not found & set(written)


@pytest.mark.parametrize(
    ("text", "wrong"),
    [
        ("name,slug\n4090,rtx-9999\n", "'4090' means 'rtx-9999', which gpus.csv does not have"),
        ("name,slug\nRTX 4090,rtx-3090\n", "'RTX 4090' means 'rtx-4090' already"),
        ("name,slug\nbig,b200\nBig,b300\n", "'Big' means 'b200' already"),
        ("name,gpu\n4090,rtx-4090\n", "columns differ"),
    ],
)
def test_aliases_are_read_strictly(tmp_path, monkeypatch, text, wrong):
    catalog.preset_gpus()
    (tmp_path / "gpu_aliases.csv").write_text(text, encoding="utf-8")
    monkeypatch.setattr(catalog, "DATA", tmp_path)
    with pytest.raises(catalog.DataError, match=wrong):
        catalog.gpu_aliases.__wrapped__()


@pytest.mark.parametrize(
    ("lookup", "typed", "near"),
    [
        (catalog.model, "Llama-3.1-8B-Instrct", "meta-llama/Llama-3.1-8B-Instruct"),
        (catalog.gpu, "h100-sx", "h100-sxm"),
        (catalog.gpu, "RTX 4900", "rtx-4090"),
        (catalog.engine, "vlm", "vllm"),
    ],
)
def test_an_unknown_name_suggests_the_nearest(lookup, typed, near):
    with pytest.raises(InvalidInput) as refused:
        lookup(typed)
    assert near in refused.value.message and typed in refused.value.message


@pytest.mark.parametrize("typed", ["", "x" * 10_000, "../../etc/passwd", "\x00", "<script>", "🦙"])
def test_nonsense_names_are_refused_shortly(typed):
    for lookup in (catalog.model, catalog.gpu, catalog.engine):
        with pytest.raises(InvalidInput) as refused:
            lookup(typed)
        assert len(str(refused.value)) < 500


def test_loading_is_strict(tmp_path):
    path = tmp_path / "gpus.csv"
    path.write_text("slug,surprise\na,b\n")
    with pytest.raises(catalog.DataError, match="surprise"):
        catalog.rows(path, catalog.GPU_COLUMNS)


def test_slugs_are_unique():
    with (Path(catalog.DATA) / "gpus.csv").open(encoding="utf-8", newline="") as file:
        slugs = [row["slug"] for row in csv.DictReader(file)]
    assert len(slugs) == len(set(slugs)) == len(catalog.gpus())


@pytest.mark.parametrize(
    ("size", "billions"), [("small", 1.236), ("medium", 8.030), ("large", 70.554), ("xl", 405.853)]
)
def test_the_generic_examples_are_the_size_they_say(size, billions):
    assert catalog.model(f"generic/{size}").total_params / 1e9 == pytest.approx(billions, abs=1e-3)
