"""Collectives at the links' rates: rings inside a domain and across, sends to experts, cards without a fabric."""

import pytest

from app import catalog, training_catalog
from app.calculations.training.communication import TrainingLinks

LINKS = TrainingLinks(
    domain_gpus=8,
    fabric_bytes_per_second=100.0,
    network_bytes_per_second=10.0,
    host_link_bytes_per_second=5.0,
)


def test_one_gpu_sends_nothing():
    assert LINKS.ring_seconds(1000.0, 1) == LINKS.all_to_all_seconds(1000.0, 8, 1) == 0.0


def test_a_ring_moves_all_but_its_own_share():
    assert LINKS.ring_seconds(800.0, 8) == 800 * 7 / 8 / 100


@pytest.mark.parametrize(
    ("ranks", "stride", "rate"),
    [
        (8, 1, 100.0),  # inside the domain
        (16, 1, 80.0),  # two domains, eight adapters each
        (4, 8, 10.0),  # one rank per domain: its own adapter
        (16, 4, 20.0),  # two ranks per domain
    ],
)
def test_between_domains_a_ring_has_the_adapters_of_its_ranks(ranks, stride, rate):
    assert LINKS.ring_rate(ranks, stride) == rate


def test_tokens_cross_to_a_domain_once_however_many_experts_they_have_there():
    one_domain = LINKS.all_to_all_seconds(8.0, 4, 8)
    assert one_domain == 8 * 4 * 7 / 8 / 100
    many_copies = LINKS.all_to_all_seconds(8.0, 1_000_000, 16)
    assert LINKS.all_to_all_seconds(8.0, 8, 16) == pytest.approx(8 * (1 - 0.5**8) / 10)
    assert many_copies == 8 * 1_000_000 * 7 / 8 / 100  # inside, they fan out


def test_cards_without_peer_to_peer_transfers_share_the_way_through_the_host():
    links = training_catalog.links(catalog.gpu("rtx-4090"))
    assert links.ring_rate(2) == pytest.approx(5.6e9 / 2)
    assert links.ring_rate(4) == pytest.approx(5.6e9 / 4)


def test_links_of_a_gpu_are_its_fabric_and_its_generations_adapters():
    links = training_catalog.links(catalog.gpu("h100-sxm"))
    assert links.domain_gpus == 8
    assert links.fabric_bytes_per_second == pytest.approx(0.7 * 450e9)
    assert links.network_bytes_per_second == pytest.approx(0.9 * 50e9)
    assert training_catalog.links(catalog.gpu("gb200")).domain_gpus == 72
    slow = training_catalog.links(catalog.gpu("h100-sxm"), network_gb_s=25, node_gpus=4)
    assert (slow.domain_gpus, slow.network_bytes_per_second) == (4, pytest.approx(0.9 * 25e9))
