"""Operators to seconds: limits known by hand, and monotonic in every resource."""

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import catalog
from app.calculations.collectives import Links, all_reduce_seconds, all_to_all_seconds, point_to_point_seconds
from app.calculations.operators import Operator
from app.calculations.roofline import Machine, Seconds, pass_seconds

LINKS = Links(
    domain_gpus=8,
    domain_bytes_per_second=450e9,
    domain_latency_seconds=10e-6,
    network_bytes_per_second=50e9,
    network_latency_seconds=25e-6,
)
MACHINE = Machine(
    gpu=catalog.gpu("h100-sxm"),
    links=LINKS,
    compute_efficiency=1.0,
    narrow_compute_efficiency=1.0,
    attention_efficiency=1.0,
    bandwidth_efficiency=1.0,
    cache_bandwidth_efficiency=1.0,
)


def operator(**fields):
    return Operator(name="product", component="feed_forward", peak="bf16", **fields)


def test_far_from_the_ridge_an_operator_takes_its_compute_or_its_memory_time():
    compute = pass_seconds([operator(flops=989.4e12)], MACHINE, 0.0)
    memory = pass_seconds([operator(bytes=3350e9)], MACHINE, 0.0)
    assert compute.total == pytest.approx(1.0) and compute.bound_by == "compute"
    assert memory.total == pytest.approx(1.0) and memory.bound_by == "memory bandwidth"


def test_at_the_ridge_both_cost_a_little_more_than_one():
    both = pass_seconds([operator(flops=989.4e12, bytes=3350e9)], MACHINE, 0.0)
    assert both.total == pytest.approx(2**0.25)


def test_host_time_is_added():
    assert pass_seconds([], MACHINE, 0.002) == Seconds(host=0.002)
    assert Seconds(host=1.0).bound_by == "host and launch overhead"


def test_all_reduce_of_one_gpu_is_free_and_of_two_moves_the_message_once():
    assert all_reduce_seconds(1e9, 1, LINKS) == 0
    assert all_reduce_seconds(450e9, 2, LINKS) == pytest.approx(1 + 10e-6)


def test_all_reduce_beyond_the_domain_adds_the_network_for_its_shard():
    inside = all_reduce_seconds(1e9, 8, LINKS)
    across = all_reduce_seconds(1e9, 16, LINKS)
    assert across - inside == pytest.approx(25e-6 + (1e9 / 8) / 50e9)


def test_all_to_all_keeps_its_own_share():
    assert all_to_all_seconds(8e9, 8, LINKS) == pytest.approx(10e-6 + 7e9 / 450e9)


def test_a_hop_takes_the_link_it_crosses():
    assert point_to_point_seconds(45e9, inside_domain=True, links=LINKS) == pytest.approx(0.1 + 10e-6)
    assert point_to_point_seconds(5e9, inside_domain=False, links=LINKS) == pytest.approx(0.1 + 25e-6)


POSITIVE = st.floats(1.0, 1e15)


@given(flops=POSITIVE, moved=POSITIVE, factor=st.floats(1.0, 100.0))
def test_more_bandwidth_or_compute_is_never_slower(flops, moved, factor):
    work = [operator(flops=flops, bytes=moved)]
    base = pass_seconds(work, MACHINE, 0.0).total
    for name in ("compute_efficiency", "bandwidth_efficiency"):
        faster = dataclasses.replace(MACHINE, **{name: factor})
        assert pass_seconds(work, faster, 0.0).total <= base * (1 + 1e-12)
