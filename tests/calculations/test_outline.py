"""What memory alone says of a plan: it must agree with the search, which weighs every replica and its speeds."""

from __future__ import annotations

import pytest

from app.calculations.planning.outline import outlines
from app.calculations.planning.plan import search
from app.planning import outline, question

LLAMA_8B, LLAMA_70B = "meta-llama/Llama-3.1-8B-Instruct", "meta-llama/Llama-3.1-70B-Instruct"
DEEPSEEK = "deepseek-ai/DeepSeek-V3"
CARDS = "l4, l40s, a100-sxm-80gb, h100-sxm, b200, mi300x, rtx-4090"


@pytest.mark.parametrize(
    "asked",
    [
        {"model": LLAMA_8B},
        {"model": LLAMA_70B, "weight_precision": "auto, fp8, int4"},
        {"model": DEEPSEEK, "max_gpus_per_replica": "16", "input_tokens": "100000"},
        {"model": LLAMA_70B, "other_engines": "sglang", "kv_precision": "auto, fp8"},
    ],
    ids=["one GPU", "formats", "experts over many GPUs", "engines and caches"],
)
def test_it_names_the_smallest_replica_that_the_search_weighs(asked: dict[str, str]) -> None:
    one = question({**asked, "gpu": CARDS, "request_rate": "1"})
    most = one.values["max_gpus_per_replica"]
    found = search(one.gpus, one.options, demand=one.demand, goals=one.goals, most_gpus=most)
    least: dict[str, int] = {}
    for weighed in found.weighed:
        slug, gpus = weighed.gpu.slug, weighed.best.num_gpus
        least[slug] = min(gpus, least.get(slug, gpus))
    (model,) = outlines(one.gpus, one.options, most)
    assert {holder.gpu.slug: holder.num_gpus for holder in model.holders} == least


def test_models_are_outlined_one_by_one_and_a_short_context_holds_nothing() -> None:
    asked = {"model": LLAMA_8B, "other_models": "openai-community/gpt2", "input_tokens": "4000", "gpu": CARDS}
    llama, gpt2 = outline(asked).models
    assert (llama.long_enough, gpt2.long_enough) == (True, False)
    assert llama.holders and not gpt2.holders
    assert (gpt2.longest_tokens, gpt2.context_tokens) == (4256, 1024)


def test_weights_and_cache_are_those_of_the_formats_allowed() -> None:
    (one,) = outline({"model": LLAMA_8B, "gpu": "h100-sxm", "weight_precision": "auto, fp8"}).models
    assert one.most_weight_bytes == 8_030_261_248 * 2
    assert 8_030_261_248 < one.least_weight_bytes < one.most_weight_bytes
    assert one.request_cache_bytes == 131_072 * 1280
