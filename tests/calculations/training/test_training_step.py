"""A step: bubbles, slowest stages and hidden communication by hand, then what must hold of any step."""

import dataclasses

import pytest

from app import training_catalog
from app.calculations.training.coefficients import NAMES, TrainingEfficiency, levels
from app.calculations.training.pipeline import bubble_micro_batches, micro_batches, stage_excesses
from app.calculations.training.speed import kind, spread_of, time_of
from app.calculations.training.speed import speed as speed_of
from app.calculations.training.step import doublings, exposed, step_time
from app.calculations.training.work import held_params, sharding_seconds, work
from app.calculations.uncertainty import Spread
from tests.calculations.training.settings import seconds, setting

EXPECTED = TrainingEfficiency(priors=training_catalog.priors())


def test_micro_batches_of_a_replica():
    assert micro_batches(128, 2, 8) == 8


def test_a_pipeline_idles_for_its_other_stages_and_less_where_stages_interleave():
    assert bubble_micro_batches(1, 1) == 0
    assert bubble_micro_batches(8, 1) == 7
    assert bubble_micro_batches(8, 4) == 7 / 4


@pytest.mark.parametrize(
    ("layers", "pp", "expected"),
    [
        (80, 4, (0.0, 0.0)),  # even: the last stage has the head on top
        (126, 16, (8 / (126 / 16) - 1, 7 / (126 / 16) - 1)),  # 8 layers, the last 7 (Llama 3 405B)
    ],
)
def test_spare_places_of_uneven_stages_go_to_the_stage_with_the_head(layers, pp, expected):
    assert stage_excesses(layers, pp) == pytest.approx(expected)


def test_communication_hides_behind_compute_but_for_a_share():
    assert exposed(2.0, 10.0, 0.25) == 0.5
    assert exposed(12.0, 10.0, 0.25) == 2 + 2.5


def test_stragglers_count_from_the_second_node():
    assert doublings(4) == doublings(8) == 0
    assert doublings(64) == 3


def test_products_take_their_flops_over_the_peak_by_hand():
    """Forward 2 N, backward 4 N per token over 0.75 of 989 TFLOPS, slowed by width and length."""
    one = setting(num_gpus=1, global_batch_size=1)
    done = work(one)
    time = step_time(done, EXPECTED.coefficients(levels(one)))
    flops = 3 * done.linear_flops
    slow = 1 + 240 * done.linear_narrowness + 420 / 4096
    assert time.linear == pytest.approx(flops / (0.75 * 989.4e12) * slow)
    assert flops == pytest.approx(6 * 6_979_321_856 * 4096, rel=1e-6)


@pytest.mark.parametrize(
    ("sharding", "per_micro_batch", "per_step"),
    [("none", 0, 8), ("zero1", 0, 6), ("zero2", 0, 6), ("zero3", 8, 0), ("fsdp-full", 8, 0)],
)
def test_bytes_that_sharding_moves_per_parameter(sharding, per_micro_batch, per_step):
    """Megatron reduces gradients in FP32 (4 bytes) and gathers 16-bit weights, twice where they are resharded."""
    one = setting(sharding=sharding)
    dense, experts = held_params(one)
    ring = one.links.ring_seconds(dense, 8)
    assert sharding_seconds(one, dense, experts) == pytest.approx((per_micro_batch * ring, per_step * ring))


def test_hybrid_sharding_gathers_in_a_node_and_sums_gradients_across():
    one = setting(num_gpus=64, sharding="hsdp")
    dense, _ = held_params(one)
    inside, across = sharding_seconds(one, dense, 0.0)
    assert inside == pytest.approx(one.links.ring_seconds(8 * dense, 8))
    assert across == pytest.approx(2 * one.links.ring_seconds(4 * dense / 8, 8, stride=8))
    flat, _ = sharding_seconds(setting(num_gpus=64, sharding="fsdp-full"), dense, 0.0)
    assert inside < flat


def test_terms_add_up_and_every_one_is_a_duration():
    time = time_of(setting(num_gpus=64, tp=4, pp=4, vpp=2, cp=2, dp=2), training_catalog.efficiency())
    assert float(time.total) == pytest.approx(sum(time.terms().values()))
    assert min(time.terms().values()) >= 0


@pytest.mark.parametrize(
    ("slower", "faster"),
    [
        ({"activation_recompute": "full"}, {}),
        ({"gpu": "a100-sxm-80gb"}, {}),
        ({}, {"precision": "fp8"}),
        ({"num_gpus": 64, "pp": 8, "vpp": 1}, {"num_gpus": 64, "pp": 8, "vpp": 4}),
        ({"seq_len": 16384, "global_batch_size": 32}, {}),
        ({}, {"seq_len": 16384, "global_batch_size": 32, "document_tokens": 256}),
        ({}, {"method": "lora"}),
        ({"num_gpus": 8, "tp": 8}, {"num_gpus": 8, "tp": 8, "asynchronous_tp": True}),
        ({"global_batch_size": 256}, {}),
        ({"offload": "all"}, {}),
    ],
    ids=str,
)
def test_what_makes_a_step_longer(slower, faster):
    assert seconds(**slower) > seconds(**faster)


def test_context_parallelism_divides_the_tokens_of_a_sequence():
    long = {"seq_len": 131_072, "global_batch_size": 8, "num_gpus": 8}
    one, eight = work(setting(**long)), work(setting(**long, cp=8))
    assert eight.tokens == one.tokens / 8
    assert eight.attention_flops == pytest.approx(one.attention_flops / 8)
    assert eight.context_seconds > one.context_seconds == 0


def test_gathering_keys_before_attention_hides_nothing_of_it():
    long = {"seq_len": 131_072, "global_batch_size": 64, "num_gpus": 64, "cp": 8, "tp": 8}
    passed, gathered = setting(**long), setting(**long, stack="llama-3")
    whole = work(gathered).context_seconds
    assert time_of(gathered, EXPECTED).context_parallel == pytest.approx(64 * whole)
    assert time_of(passed, EXPECTED).context_parallel == pytest.approx(64 * 0.3 * whole)


@pytest.mark.parametrize(
    ("stack", "sequence_parallel", "recompute", "seen", "hidden"),
    [
        ("megatron-2021", False, "none", 2.0, 0.0),  # one forward, one backward
        ("megatron-2021", False, "full", 3.0, 0.0),
        ("megatron-2022", False, "full", 2.0, 1.0),  # that of the backward pass overlaps the weights' gradients
        ("megatron-2022", True, "selective", 1.5, 1.0),  # but for the gathering of the output's gradient
    ],
)
def test_sums_of_a_block_over_tensor_parallel_ranks(stack, sequence_parallel, recompute, seen, hidden):
    one = setting(tp=8, stack=stack, sequence_parallel=sequence_parallel, activation_recompute=recompute)
    blocks, stream = 2 * 32, 4096 * 4096 * 2
    sums = blocks * 2 * one.links.ring_seconds(stream, 8)
    assert work(one).tensor_seconds == pytest.approx(seen * sums)
    assert work(one).hidden_tensor_seconds == pytest.approx(hidden * sums)


@pytest.mark.parametrize(
    ("stack", "state_bytes", "bytes_per_parameter"),
    [
        # fp16: 2 zeroed, 6 copied, 8 unscaled, 4 norm, 8 clipped, 28 AdamW, 6 copied back.
        ("megatron-2021", 8.0, 62),
        # Gradients in fp32: 4 zeroed, 4 norm, 8 clipped, 28 AdamW, 6 copied back.
        ("megatron", 8.0, 50),
        ("megatron", 2.0, 38),  # 8-bit moments
        ("megatron", 0.0, 34),  # SGD
    ],
)
def test_bytes_between_the_last_gradient_and_the_next_step(stack, state_bytes, bytes_per_parameter):
    one = setting(stack=stack, sharding="none", state_bytes=state_bytes)
    assert work(one).optimizer_bytes == pytest.approx(bytes_per_parameter * sum(held_params(one)))


def test_a_product_that_adds_up_gradients_itself_leaves_nothing_to_add():
    assert work(setting(stack="megatron-2022")).accumulated_params == 0
    assert work(setting(stack="megatron-2021")).accumulated_params == sum(held_params(setting()))


def test_selective_recomputation_repeats_the_unfused_softmax():
    plain, selective = (work(setting(stack="megatron-2021", activation_recompute=one)) for one in ("none", "selective"))
    assert (plain.score_passes, selective.score_passes) == (2, 3)
    assert plain.element_passes == selective.element_passes == 2


def test_without_sequence_parallelism_a_stage_puts_what_it_receives_together():
    cut = {"num_gpus": 16, "tp": 8, "pp": 2}
    parts, whole = work(setting(**cut)), work(setting(**cut, sequence_parallel=False))
    gathered = setting(**cut).links.ring_seconds(4096 * 4096 * 2, 8)
    assert whole.hop_seconds - parts.hop_seconds == pytest.approx(2 * gathered)


def test_experts_without_fixed_shapes_wait_for_the_host():
    moe = {"model": "Qwen/Qwen3-30B-A3B", "ep": 8, "global_batch_size": 512}
    waiting = time_of(setting(**moe, dropless=True), training_catalog.efficiency())
    fixed = time_of(setting(**moe), training_catalog.efficiency())
    assert waiting.host > fixed.host == 0


def test_expert_parallelism_fills_the_experts_products():
    moe = {"model": "Qwen/Qwen3-30B-A3B", "num_gpus": 8}
    assert work(setting(**moe, ep=8)).expert_tokens == 4096 * 8 * 8 / 128
    assert work(setting(**moe)).expert_tokens == 4096 * 8 / 128


def test_a_level_multiplies_the_coefficients_of_the_runs_that_belong_to_it():
    one = setting()
    moved = TrainingEfficiency(
        priors=training_catalog.priors(), deviations={("generation", "hopper"): {"narrow": 0.5}, ("gpu", "x"): {}}
    )
    before, after = EXPECTED.coefficients(levels(one)), moved.coefficients(levels(one))
    assert after.narrow == pytest.approx(before.narrow * 2.718281828**0.5)
    assert all(getattr(before, name) == getattr(after, name) for name in NAMES if name != "narrow")


def test_a_coefficient_stays_in_its_bounds():
    wild = TrainingEfficiency(priors=training_catalog.priors(), deviations={("all", ""): {"products": 9.0}})
    assert wild.coefficients(levels(setting())).products == 1.0


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, "dense-16-bit"),
        ({"precision": "fp8"}, "dense-8-bit"),
        ({"model": "Qwen/Qwen3-30B-A3B", "precision": "mxfp8"}, "moe"),
        ({"method": "qlora"}, "fine-tuning"),
        ({"document_tokens": 256}, "fine-tuning"),
    ],
)
def test_kinds_of_runs(changes, expected):
    assert kind(setting(**changes)) == expected


def test_a_framework_never_measured_on_such_a_gpu_has_the_range_of_new_ones():
    spreads = {
        ("dense-16-bit", "megatron", "interpolated"): Spread(low=0.9, high=1.1, rows=9, groups=9),
        ("dense-16-bit", "any", "extrapolated"): Spread(low=0.5, high=2.0, rows=9, groups=9),
    }
    efficiency = training_catalog.efficiency()
    assert spread_of(setting(), efficiency, spreads).high == 1.1
    assert spread_of(setting(gpu="mi300x"), efficiency, spreads).high == 2.0
    assert spread_of(setting(), efficiency, spreads, known=False).high == 2.0
    assert spread_of(setting(), efficiency, {}) is None


def test_quantities_of_a_step_agree():
    found = speed_of(setting(), training_catalog.efficiency(), training_catalog.spreads())
    tokens = 128 * 4096 / 8 / found.step_seconds.value
    assert found.tokens_per_second_per_gpu.value == pytest.approx(tokens)
    assert found.mfu.value == pytest.approx(tokens * found.flops.model / 989.4e12)
    assert found.hfu.value == found.mfu.value
    for one in (found.step_seconds, found.mfu, found.tokens_per_second_per_gpu):
        assert one.low < one.value < one.high
    again = speed_of(
        dataclasses.replace(setting(), activation_recompute="full"),
        training_catalog.efficiency(),
        training_catalog.spreads(),
    )
    assert again.hfu.value > again.mfu.value
