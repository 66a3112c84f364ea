"""Collectives against counts that can be done by hand, and in the order of their links."""

import dataclasses

import pytest

from app.calculations.collectives import (
    HOP_SECONDS,
    Links,
    all_to_all_seconds,
    point_to_point_seconds,
    reduce_seconds,
)
from app.calculations.kernel_library import KernelLibrary
from app.calculations.layout_estimate import formats_of, links, machine
from tests.calculations.worlds import scenario

LINKS = Links(
    domain_gpus=8, fabric=True, in_network=False, link_bytes_per_second=450e9, pcie_bytes_per_second=50e9,
    node_gpus=8, network_bytes_per_second=100e9, network_latency_seconds=25e-6, network_efficiency=0.5,
)  # fmt: skip
PCIE = dataclasses.replace(LINKS, fabric=False)
#: Two-shot is 10 us and the wire at its full rate, everything else a thousand times slower.
CUSTOM = {"a": 10e-6, "b": 0.0, "a2": 0.0, "e1": 1e-3, "e2": 1.0, "g": 0.0}
RING = {"a": 10e-6, "b": 0.0, "a2": 0.0, "b2": 0.0, "e1": 1e-3, "e2": 1e-3, "g": 0.0}
SLOW = RING | {"e2": 1.0}
LIBRARY = KernelLibrary(
    generations=("one",),
    library="any",
    narrow_attention="bf16_fp8",
    curves={
        ("one", "all_reduce", "any", "bf16"): CUSTOM,
        ("one", "nccl", "any", "all_reduce"): RING,
        ("one", "all_to_all", "any", "bf16"): {"t0": 10e-6, "e": 1.0},
        ("rtx-blackwell", "nccl", "any", "all_reduce"): SLOW,
    },
)


def reduce(message_bytes, gpus, of=LINKS):
    return reduce_seconds(message_bytes, gpus, of, LIBRARY)


@pytest.mark.parametrize("of", [LINKS, PCIE], ids=["fabric", "PCIe"])
def test_one_gpu_sends_nothing(of):
    assert reduce(1e9, 1, of) == 0 and all_to_all_seconds(1e9, 1, of, LIBRARY) == 0


def test_an_all_reduce_of_two_moves_the_message_once():
    assert reduce(450e9, 2) == pytest.approx(1 + 10e-6)


def test_an_all_reduce_of_eight_moves_it_seven_fourths_times_and_less_through_a_switch_that_adds():
    assert reduce(450e9, 8) == pytest.approx(14 / 8 + 10e-6)
    assert reduce(450e9, 8, dataclasses.replace(LINKS, in_network=True)) == pytest.approx(9 / 8 + 10e-6)


def test_over_pcie_the_ring_takes_the_slots_rate():
    assert reduce(50e9, 2, PCIE) == pytest.approx(1 + 10e-6)


def test_beyond_the_node_the_network_carries_the_shard():
    inside, across = reduce(1e9, 8), reduce(1e9, 16)
    assert across - inside == pytest.approx(25e-6 + (1e9 / 8) / (100e9 * 0.5))
    assert reduce(1e9, 32) - inside == pytest.approx(25e-6 + 1.5 * (1e9 / 8) / (100e9 * 0.5))


def test_beyond_a_small_domain_pcie_and_beyond_the_node_the_network():
    pairs = dataclasses.replace(LINKS, domain_gpus=2)
    assert reduce(50e9, 2, pairs) == pytest.approx(50 / 450 + 10e-6)
    assert reduce(50e9, 4, pairs) == pytest.approx(1.5 + 10e-6)
    assert reduce(50e9, 16, pairs) > reduce(50e9, 8, pairs) + 25e-6


def test_a_domain_larger_than_a_node_needs_no_network():
    rack = dataclasses.replace(LINKS, domain_gpus=72)
    assert reduce(450e9, 64, rack) == pytest.approx(2 * 63 / 64 + 10e-6)


def test_an_all_to_all_keeps_its_own_share():
    assert all_to_all_seconds(8e9, 8, LINKS, LIBRARY) == pytest.approx(10e-6 + 7e9 / 450e9)


def test_an_all_to_all_beyond_the_domain_sends_the_rest_by_the_network():
    found = all_to_all_seconds(16e9, 16, LINKS, LIBRARY)
    assert found == pytest.approx(10e-6 + 25e-6 + 7e9 / 450e9 + 8e9 / (100e9 * 0.5))


def test_a_hop_takes_the_link_it_crosses():
    inside = point_to_point_seconds(45e9, inside_domain=True, links=LINKS)
    beside = point_to_point_seconds(45e9, inside_domain=True, links=PCIE)
    across = point_to_point_seconds(45e9, inside_domain=False, links=LINKS)
    assert inside == pytest.approx(0.2 + HOP_SECONDS)
    assert beside == pytest.approx(1.8 + HOP_SECONDS)
    assert across == pytest.approx(0.9 + 25e-6)


@pytest.mark.parametrize("message_bytes", [1e4, 1e6, 1e8, 1e10])
@pytest.mark.parametrize("gpus", [2, 4, 8])
def test_real_pcie_is_slower_than_real_nvlink(message_bytes, gpus):
    found = {}
    for slug in ("h100-sxm", "l40s"):
        asked = scenario(gpu=slug)
        one = machine(asked, formats_of(asked))
        found[slug] = reduce_seconds(message_bytes, gpus, one.links, one.library)
    assert found["l40s"] > found["h100-sxm"]


@pytest.mark.parametrize("slug", ["h100-sxm", "a100-sxm-80gb", "b200", "l40s", "mi300x"])
@pytest.mark.parametrize("function", [reduce_seconds, all_to_all_seconds], ids=["all-reduce", "all-to-all"])
def test_real_collectives_grow_with_the_message_and_across_the_node(slug, function):
    asked = scenario(gpu=slug)
    one = machine(asked, formats_of(asked))
    sizes = [function(size, 8, one.links, one.library) for size in (1e4, 1e5, 1e6, 1e7, 1e8, 1e9)]
    assert sizes == sorted(sizes) and sizes[0] > 0
    if one.links.fabric or function is reduce_seconds:  # a slot's all-to-all is no faster than the network's
        assert function(1e8, 16, one.links, one.library) > function(1e8, 8, one.links, one.library)


def test_cards_without_a_fabric_are_joined_by_their_slot_inside_a_node():
    asked = scenario(gpu="l40s")
    found = links(asked.gpu, asked.hardware)
    assert not found.fabric and not found.in_network and found.domain_gpus == asked.hardware.node_gpus
