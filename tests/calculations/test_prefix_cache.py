"""Tokens that the prefix cache knows already are attended to and not computed."""

import itertools

import pytest

from app.calculations import InvalidInput, estimate
from app.scenarios import serving_scenario
from tests.calculations.worlds import scenario


def best(**changes):
    """Llama 3.1 8B on one H100, prompts of 4,096 tokens."""
    return estimate(scenario(num_gpus=1, input_tokens=4096, **changes)).best


def prefilled(**changes):
    """New and cached tokens of a prompt's prefill."""
    work = best(**changes).speed.planned.alone.work
    return work.new_tokens, work.cached_tokens


@pytest.mark.parametrize(
    ("rate", "shared", "new"),
    [(0.0, 0, 4096), (0.75, 0, 1024), (0.5, 1024, 2048), (0.125, 1024, 3072), (1.0, 0, 1)],
    ids=["no hits", "hits", "more hits than prefix", "more prefix than hits", "all but the last token"],
)
def test_what_is_found_is_not_computed(rate, shared, new):
    assert prefilled(prefix_hit_rate=rate, shared_prefix_tokens=shared) == (new, 4096 - new)


def test_hits_cost_what_a_shared_prefix_of_their_length_costs():
    hits, shared = best(prefix_hit_rate=0.5).speed, best(shared_prefix_tokens=2048).speed
    assert (hits.prefill, hits.decode, hits.ttft_seconds) == (shared.prefill, shared.decode, shared.ttft_seconds)


def test_each_request_still_holds_its_whole_cache():
    without, hits = best(), best(prefix_hit_rate=0.9)
    assert (hits.load, hits.max_concurrency) == (without.load, without.max_concurrency)


def test_more_hits_are_a_sooner_first_token_and_more_requests():
    found = [best(prefix_hit_rate=rate).speed for rate in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert all(a.ttft_seconds > b.ttft_seconds for a, b in itertools.pairwise(found))
    assert all(a.requests_per_second < b.requests_per_second for a, b in itertools.pairwise(found))


def test_a_long_prefix_is_still_attended_to():
    def prefill(cached):
        asked = {"concurrency": 1, "input_tokens": cached + 1024, "prefix_hit_rate": cached / (cached + 1024)}
        return estimate(scenario(num_gpus=1, **asked)).best.speed.prefill.total

    assert prefill(99_000) > 1.5 * prefill(1000)


def test_a_chunk_is_of_tokens_that_are_computed():
    asked = {"input_tokens": 16_384, "max_batched_tokens": 4096}
    assert estimate(scenario(num_gpus=1, **asked)).best.speed.planned.chunks == 4
    assert estimate(scenario(num_gpus=1, prefix_hit_rate=0.75, **asked)).best.speed.planned.chunks == 1


def test_a_rate_is_a_share():
    with pytest.raises(InvalidInput) as refused:
        serving_scenario({"prefix_hit_rate": 1.1})
    assert refused.value.field == "prefix_hit_rate"
