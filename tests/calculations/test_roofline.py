"""Operators to seconds: limits known by hand, and monotonic in every resource."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import catalog
from app.calculations.coefficients import NAMES, Coefficients
from app.calculations.kernel_library import KernelLibrary
from app.calculations.kernels import Chip
from app.calculations.layout_estimate import formats_of, links, machine
from app.calculations.operators import Operator
from app.calculations.roofline import SCALED_BY, Machine, Seconds, network_coefficient, pass_seconds, timed
from tests.calculations.worlds import scenario

H100 = catalog.gpu("h100-sxm")
#: A product that takes exactly its FLOPs or its bytes.
IDEAL = {"t0": 0.0, "ec": 1.0, "em": 1.0, "q": 0.0, "u": 0.0}
MACHINE = Machine(
    gpu=H100,
    chip=Chip(peaks={"bf16": 989.4e12}, bytes_per_second=3350e9, multiprocessors=132),
    links=links(H100, catalog.hardware()),
    library=KernelLibrary(
        generations=("ideal",),
        library="any",
        narrow_attention="bf16_fp8",
        curves={
            ("ideal", "gemm", "any", "bf16"): IDEAL,
            ("ideal", "elementwise", "any", "bf16"): {"t0": 1e-3, "em": 1.0},
        },
    ),
    coefficients=Coefficients(),
)
SIZE = 1024


def operator(flops=0.0, moved=0.0, **fields):
    """A product of 1024 rows and columns; its own output is 2 MiB."""
    shape = {"rows": SIZE, "columns": SIZE, "inner": flops / 2 / SIZE**2, "weight_bytes": moved}
    return Operator(
        name="product", component="feed_forward", kernel="matrix_product", peak="bf16", shape=shape, **fields
    )


def test_far_from_the_ridge_an_operator_takes_its_compute_or_its_memory_time():
    compute = pass_seconds([operator(flops=989.4e12)], MACHINE, 0.0)
    memory = pass_seconds([operator(moved=3350e9)], MACHINE, 0.0)
    assert compute.total == pytest.approx(1.0) and compute.bound_by == "compute"
    assert memory.total == pytest.approx(1.0) and memory.bound_by == "memory bandwidth"


def test_at_the_ridge_both_cost_a_little_more_than_one():
    both = pass_seconds([operator(flops=989.4e12, moved=3350e9)], MACHINE, 0.0)
    assert both.total == pytest.approx(2**0.5, rel=1e-5)


def test_host_time_is_added():
    assert pass_seconds([], MACHINE, 0.002) == Seconds(host=0.002)
    assert Seconds(host=1.0).bound_by == "host and launch overhead"


def test_launches_count_to_the_host():
    small = Operator(
        name="norm", component="elementwise", kernel="elementwise", count=3, shape={"kernels": 2.0, "moved": 3350e6}
    )
    found = pass_seconds([small], MACHINE, 0.0)
    assert found.host == pytest.approx(3 * 2 * 1e-3) and found.memory == pytest.approx(3 * 1e-3)


def test_what_is_set_by_hand_replaces_what_products_reach():
    half = dataclasses.replace(MACHINE, compute_efficiency=0.5, bandwidth_efficiency=0.25)
    assert timed(operator(flops=989.4e12), half).seconds == pytest.approx(2.0)
    assert timed(operator(moved=3350e9), half).seconds == pytest.approx(4.0)


def test_copies_of_an_operator_take_their_time_each():
    assert timed(operator(flops=989.4e12, count=5), MACHINE).seconds == pytest.approx(5.0)


@pytest.mark.parametrize(
    ("gpu", "group", "expected"),
    [("h100-sxm", 8, "network"), ("h100-sxm", 16, "slow_network"), ("l40s", 2, "slow_network")],
)
def test_a_fabric_and_slower_links_are_calibrated_apart(gpu, group, expected):
    asked = scenario(gpu=gpu)
    reduce = Operator(name="all-reduce", component="network", kernel="all_reduce", message_bytes=1e6, group=group)
    one = machine(asked, formats_of(asked))
    assert network_coefficient(reduce, one) == expected
    doubled = dataclasses.replace(one, coefficients=Coefficients(**{expected: 2 * getattr(one.coefficients, expected)}))
    plain = dataclasses.replace(one, coefficients=Coefficients(**{expected: getattr(one.coefficients, expected)}))
    assert timed(reduce, doubled).seconds == pytest.approx(2 * timed(reduce, plain).seconds)


@pytest.mark.parametrize("coefficient", ["matrix_compute", "matrix_memory"])
def test_a_coefficient_multiplies_its_part(coefficient):
    work = operator(flops=989.4e12) if coefficient == "matrix_compute" else operator(moved=3350e9)
    slower = dataclasses.replace(MACHINE, coefficients=Coefficients(**{coefficient: 3.0}))
    assert timed(work, slower).seconds == pytest.approx(3.0)


def test_every_kernel_is_scaled_by_coefficients_that_exist():
    assert {name for pair in SCALED_BY.values() for name in pair} <= set(NAMES)


POSITIVE = st.floats(1.0, 1e15)


@given(flops=POSITIVE, moved=POSITIVE, factor=st.floats(1.0, 100.0))
def test_more_bandwidth_or_compute_is_never_slower(flops, moved, factor):
    work = [operator(flops=flops, moved=moved)]
    base = pass_seconds(work, MACHINE, 0.0).total
    for name in ("compute_efficiency", "bandwidth_efficiency"):
        faster = dataclasses.replace(MACHINE, **{name: factor})
        assert pass_seconds(work, faster, 0.0).total <= base * (1 + 1e-12)
