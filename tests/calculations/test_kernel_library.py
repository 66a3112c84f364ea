"""Which measured curve stands in where a kernel, format or generation was not measured."""

import dataclasses

import pytest

from app import catalog
from app.calculations.kernel_library import KernelLibrary, library
from app.calculations.layout_estimate import formats_of, machine
from tests.calculations.worlds import scenario


def curve(name):
    return {"t0": name}


def of(*keys, generations=("new", "old"), own="vllm", narrow="bf16_fp8"):
    """A library of curves, each with its own key as its constant."""
    curves = {key: curve(key) for key in keys}
    return KernelLibrary(generations=generations, library=own, narrow_attention=narrow, curves=curves)


OWN = ("new", "gemm", "vllm", "fp8")
ANY = ("new", "gemm", "any", "fp8")
OTHER = ("new", "gemm", "trtllm", "fp8")
BLOCKS = ("new", "gemm", "vllm", "fp8_block")
WIDE = ("new", "gemm", "vllm", "bf16")
OLD = ("old", "gemm", "vllm", "fp8")
NEAREST_FIRST = (OWN, ANY, OTHER, BLOCKS, WIDE, OLD)


@pytest.mark.parametrize("missing", range(len(NEAREST_FIRST)))
def test_library_then_other_libraries_then_formats_then_generations(missing):
    found = of(*reversed(NEAREST_FIRST[missing:])).constants("gemm", "fp8")
    assert found == (curve(NEAREST_FIRST[missing]), NEAREST_FIRST[missing][3])


def test_the_format_that_the_curve_holds_for_is_told():
    assert of(("new", "gemm", "any", "int4")).constants("gemm", "mxfp4")[1] == "int4"


def test_a_narrow_cache_is_prefilled_as_the_engine_does():
    keys = [("new", "prefill_attention", "any", form) for form in ("bf16_bf16", "bf16_fp8", "fp8_fp8")]
    assert of(*keys).constants("prefill_attention", "narrow")[1] == "bf16_fp8"
    assert of(*keys, narrow="fp8_fp8").constants("prefill_attention", "narrow")[1] == "fp8_fp8"
    assert of(*keys[:1], narrow="fp8_fp8").constants("prefill_attention", "narrow")[1] == "bf16_bf16"


def test_operators_and_the_file_may_name_a_kernel_apart():
    assert of(("new", "gemm", "any", "bf16")).constants("matrix_product", "bf16")[1] == "bf16"
    assert of(("new", "decode_mla", "any", "bf16")).constants("latent_decode", "bf16")[1] == "bf16"


def test_a_kernel_without_any_curve_is_an_error_that_names_it():
    with pytest.raises(KeyError, match="no curve for teleport in bf16"):
        of(OWN).constants("teleport", "bf16")


def test_pcie_takes_the_ring_that_was_measured_over_pcie():
    assert of(("rtx-blackwell", "nccl", "any", "all_reduce")).slow_ring == curve(
        ("rtx-blackwell", "nccl", "any", "all_reduce")
    )


def test_a_library_is_made_once_for_the_same_curves_and_engine():
    curves, vllm = {OWN: curve(OWN)}, catalog.engine("vllm")
    assert library(curves, ("new",), vllm) is library(curves, ("new",), vllm)
    assert library(curves, ("new",), dataclasses.replace(vllm, kernels="any")) is not library(curves, ("new",), vllm)
    assert library({OWN: curve(OWN)}, ("new",), vllm) is not library(curves, ("new",), vllm)


@pytest.mark.parametrize("gpu", sorted({gpu.architecture for gpu in catalog.gpus().values()}))
def test_every_architecture_finds_every_kernel(gpu):
    slug = next(one.slug for one in catalog.gpus().values() if one.architecture == gpu)
    asked = scenario(gpu=slug)
    found = machine(asked, formats_of(asked)).library
    for kernel in ("matrix_product", "experts", "decode_attention", "latent_prefill", "latent_decode", "elementwise"):
        assert found.constants(kernel, "bf16")[0]
    others = (
        ("prefill_attention", "narrow"),
        ("all_reduce", "bf16"),
        ("nccl", "all_reduce"),
        ("all_to_all", "bf16"),
        ("recurrent_prefill", "bf16"),
        ("recurrent_decode", "bf16"),
    )
    for kernel, form in others:
        assert found.constants(kernel, form)[0]
