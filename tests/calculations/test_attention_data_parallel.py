"""Attention in replicas with the experts dealt out over all of them (DP attention + EP) against tensor parallelism."""

import pytest

from app.calculations import estimate
from app.calculations.operators import forward_operators
from tests.calculations.worlds import scenario

DEEPSEEK, QWEN = "deepseek-ai/DeepSeek-V3", "Qwen/Qwen3-235B-A22B"
TENSOR = {"tp": 8, "pp": 1, "dp": 1, "ep": 1}
REPLICAS = {"tp": 1, "pp": 1, "dp": 8, "ep": 8}
PAIRS = {"tp": 2, "pp": 1, "dp": 4, "ep": 8}


def best(model, layout, **changes):
    """On eight H200."""
    return estimate(scenario(model, "h200-sxm", **layout, **changes)).best


def decode_operators(model, layout, **changes):
    found = best(model, layout, **changes)
    step = found.speed.planned.decode.work
    return step, list(forward_operators(found.plan.model, found.layout, found.formats, step))


def count(operators, kernel):
    return sum(o.count for o in operators if o.kernel == kernel)


@pytest.mark.parametrize(
    ("model", "times"),
    [(DEEPSEEK, 8), (QWEN, 2)],
    ids=["a latent is whole on every rank of TP", "each of 4 key/value heads is on 2 ranks of TP 8"],
)
def test_replicas_do_not_keep_the_cache_of_each_other(model, times):
    tensor, replicas = (best(model, layout, concurrency=64) for layout in (TENSOR, REPLICAS))
    assert tensor.load.kv_cache == pytest.approx(times * replicas.load.kv_cache)


def test_a_gpu_holds_its_experts_whole_and_all_of_attention():
    tensor, replicas = (best(DEEPSEEK, layout).plan for layout in (TENSOR, REPLICAS))

    def held(plan, group):
        return sum(size for (name, _), size in plan.weight_terms(plan.stages[0]).items() if name == group)

    assert held(replicas, "expert") == pytest.approx(held(tensor, "expert"))
    assert held(replicas, "attention") > 4 * held(tensor, "attention")


@pytest.mark.parametrize(("model", "mixtures", "hidden"), [(DEEPSEEK, 58, 7168), (QWEN, 94, 4096)])
def test_tokens_travel_to_their_experts_and_back_and_nothing_is_reduced(model, mixtures, hidden):
    step, operators = decode_operators(model, REPLICAS, concurrency=512)
    assert count(operators, "all_to_all") == 2 * mixtures
    assert count(operators, "all_reduce") == 0
    message = next(o for o in operators if o.kernel == "all_to_all")
    assert message.group == 8
    assert step.sequences == 64 and message.message_bytes == 64 * 8 * hidden * 2  # 8 experts a token, 16 bits


def test_replicas_of_two_gpus_still_reduce_attention_and_dense_layers():
    _, operators = decode_operators(DEEPSEEK, PAIRS)
    assert count(operators, "all_reduce") == 61 + 3
    assert {o.group for o in operators if o.kernel == "all_reduce"} == {2}
    assert count(operators, "all_to_all") == 2 * 58


def test_the_experts_serve_the_tokens_of_all_replicas():
    _, tensor = decode_operators(DEEPSEEK, TENSOR, concurrency=256)
    _, replicas = decode_operators(DEEPSEEK, REPLICAS, concurrency=256)
    one, other = (next(o for o in operators if o.kernel == "experts") for operators in (tensor, replicas))
    assert other.flops == pytest.approx(one.flops)  # 1/8 of the pairs on whole experts, all pairs on 1/8 of each
    assert other.shape["touched"] == pytest.approx(one.shape["touched"] / 8)
    assert (one.shape["busiest"] / one.shape["pairs"], other.shape["busiest"] / other.shape["pairs"]) == (1, 1.2)


@pytest.mark.parametrize("model", [DEEPSEEK, QWEN])
def test_few_requests_are_faster_with_tensor_parallelism_and_many_with_replicas(model):
    def throughput(layout, concurrency):
        asked = {"concurrency": concurrency, "input_tokens": 1024, "output_tokens": 1024}
        return best(model, layout, **asked).speed.requests_per_second

    assert throughput(TENSOR, 8) > throughput(REPLICAS, 8)
    assert throughput(REPLICAS, 512) > throughput(TENSOR, 512)
    assert throughput(REPLICAS, None) > 1.4 * throughput(TENSOR, None)
