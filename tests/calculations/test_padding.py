"""Ragged prompts: padded to the longest of their batch, or packed."""

import random
import statistics

import pytest

from app import catalog
from app.calculations import estimate, results
from app.calculations.lengths import expected_longest
from tests.calculations.worlds import scenario


def best(**changes):
    """Llama 3.1 8B on one H100, eager Transformers, eight prompts."""
    return estimate(scenario(**{"num_gpus": 1, "engine": "hf", "concurrency": 8, **changes})).best


@pytest.mark.parametrize(
    ("spread", "count", "longest"),
    [(0.0, 64, 1024), (1.0, 1, 1024), (0.5, 1, 1024), (1.0, 3, 1536), (1.0, 1e9, 2048), (0.5, 1e9, 1024 * 4 / 3)],
    ids=["equal lengths", "one", "one, less spread", "three quarters of the way", "all", "all, less spread"],
)
def test_the_longest_of_uniform_lengths(spread, count, longest):
    assert expected_longest(1024, spread, count) == pytest.approx(longest)


def test_the_longest_of_uniform_lengths_as_drawn():
    draw = random.Random(7).uniform
    drawn = statistics.fmean(max(draw(0.4 * 1250, 1250) for _ in range(5)) for _ in range(20_000))
    assert expected_longest(875, 0.6, 5) == pytest.approx(drawn, rel=2e-3)


def test_transformers_pad_and_serving_engines_do_not():
    assert [name for name, engine in catalog.engines().items() if not engine.padding_removal] == [
        "hf",
        "autoawq",
        "optimum-habana",
    ]


@pytest.mark.parametrize("engine", ["hf", "vllm", "trtllm-static"])
def test_equal_lengths_need_no_padding(engine):
    assert best(engine=engine, padding_removal="on").speed == best(engine=engine, padding_removal="off").speed


def test_without_padding_the_spread_does_not_matter():
    packed = best(padding_removal="on", prompt_spread=0.8)
    assert (packed.speed, packed.load) == (best().speed, best().load)


def test_a_padded_batch_computes_and_keeps_the_longest():
    padded = best(prompt_spread=1.0)
    longest = 1024 * 2 * 8 / 9
    assert padded.speed.planned.burst.work.new_tokens == pytest.approx(longest)
    assert padded.speed.planned.decode.work.cached_tokens == pytest.approx(longest + 128)
    assert padded.load.kv_cache == pytest.approx(8 * 131_072 * (longest + 256), rel=1e-3)
    assert padded.speed.ttft_seconds > 1.5 * best().speed.ttft_seconds
    assert padded.speed.tpot_seconds > best().speed.tpot_seconds
    assert padded.max_concurrency < best().max_concurrency


def test_prompts_that_come_one_by_one_are_padded_only_to_those_beside_them():
    ragged = {"engine": "vllm", "padding_removal": "off", "prompt_spread": 1.0, "max_batched_tokens": 8192}
    alone, full = best(concurrency=1, **ragged), best(concurrency=64, **ragged)
    packed = best(concurrency=1, engine="vllm", max_batched_tokens=8192).speed
    assert (alone.speed.ttft_seconds, alone.speed.tpot_seconds) == (packed.ttft_seconds, packed.tpot_seconds)
    burst = full.speed.planned.burst.work
    assert (burst.sequences, burst.new_tokens) == (4, 2048 * 4 / 5)  # packed, a step takes eight of them
    assert full.load == best(concurrency=64, engine="vllm", max_batched_tokens=8192).load


def test_more_spread_is_never_faster():
    found = [best(prompt_spread=spread).speed.requests_per_second for spread in (0.0, 0.25, 0.5, 0.75, 1.0)]
    assert found == sorted(found, reverse=True) and found[0] > found[-1]


def test_the_terms_of_padded_memory_add_up():
    found = results(estimate(scenario(num_gpus=1, engine="hf", concurrency=8, prompt_spread=0.7)))
    terms = sum(term["bytes"] for term in found["memory_terms"] if term["part"] == "kv_cache")
    assert terms == pytest.approx(found["memory_bytes_per_gpu"]["kv_cache"], abs=20)
