"""Curves of kernels against limits that are known by hand."""

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calculations import kernels
from app.calculations.kernels import Chip, Terms

PEAK = 1e15
CHIP = Chip(peaks={"bf16": PEAK}, bytes_per_second=1e12, multiprocessors=100)
PRODUCT = {"t0": 5e-6, "ec": 0.8, "em": 0.9, "q": 0.5, "u": 2.0}
PREFILL = {"t0": 5e-6, "ec": 0.6, "h0": 20.0, "q": 0.5, "tau": 1e-6, "u": 1.0}
DECODE = {"t0": 5e-6, "ec": 0.5, "em": 0.8, "tb": 1e-6, "t1": 5e-6, "c0": 1000.0, "u": 1.0}
EXPERTS = {"t0": 1e-5, "ec": 0.7, "em": 0.8, "q": 0.5, "u": 2.0, "te": 1e-7, "tr": 1e-7, "im": 1.0}


def product(rows, columns=4096, inner=4096, chip=CHIP, peak=PEAK):
    return kernels.matrix_product(rows, columns, inner, 2 * columns * inner, peak, chip, PRODUCT)


def prefill(new_tokens):
    pairs = new_tokens * (new_tokens + 1) / 2
    return kernels.prefill_attention(1, 32, 8, new_tokens, pairs, 128, PEAK, CHIP, PREFILL)


def decode(sequences, context):
    cache_bytes = 4 * 8 * 128 * sequences * context
    return kernels.decode_attention(sequences, 32, 8, context, cache_bytes, 128, PEAK, CHIP, DECODE)


def experts(busiest):
    shape = {"pairs": 4096, "touched": 8, "elements": 3 * 4096 * 1024, "weight_bytes": 6 * 4096 * 1024}
    return kernels.expert_products(
        **shape, busiest=busiest, hidden=4096, width=1024, all_pairs=4096, peak=PEAK, chip=CHIP, c=EXPERTS
    )


def test_the_smooth_maximum_is_the_larger_far_apart_and_more_where_equal():
    assert kernels.smooth_maximum(1.0, 100.0, 2) == pytest.approx(100, rel=1e-4)
    assert kernels.smooth_maximum(3.0, 4.0, 2) == pytest.approx(5)
    assert kernels.smooth_maximum(3.0, 4.0, 1) == pytest.approx(7)


def test_terms_add_what_does_not_overlap():
    terms = Terms(launch=1.0, compute=3.0, memory=4.0, serial=10.0)
    assert terms.seconds == pytest.approx(1 + 5 + 10)


def test_a_large_product_reaches_the_efficient_share_of_the_peak():
    size = 65_536
    assert product(size, size, size).seconds == pytest.approx(2 * size**3 / (0.8 * PEAK), rel=0.01)


def test_a_tiny_product_is_its_launch():
    assert product(1, 128, 16).seconds == pytest.approx(5e-6, rel=0.01)


def test_a_skinny_product_reads_its_weights_once():
    size = 16_384
    found = product(1, size, size)
    assert found.memory > 10 * found.compute
    assert found.seconds == pytest.approx(2 * size**2 / (0.9 * 1e12), rel=0.02)


def test_fewer_rows_than_a_tensor_core_multiplies_save_no_arithmetic():
    assert product(1).compute == product(16).compute < product(17).compute


SIZE = st.integers(1, 100_000)


@given(rows=SIZE, columns=SIZE, inner=SIZE, more=st.integers(1, 1000))
def test_a_larger_product_never_takes_less(rows, columns, inner, more):
    base = product(rows, columns, inner).seconds * (1 - 1e-12)
    assert product(rows + more, columns, inner).seconds >= base
    assert product(rows, columns + more, inner).seconds >= base
    assert product(rows, columns, inner + more).seconds >= base


@given(rows=SIZE, columns=SIZE, inner=SIZE, factor=st.floats(1, 100))
def test_a_faster_chip_never_takes_more(rows, columns, inner, factor):
    base = product(rows, columns, inner).seconds * (1 + 1e-12)
    wide = Chip(peaks=CHIP.peaks, bytes_per_second=factor * 1e12, multiprocessors=100)
    assert product(rows, columns, inner, chip=wide).seconds <= base
    assert product(rows, columns, inner, peak=factor * PEAK).seconds <= base


def test_prefill_attention_of_a_long_prompt_grows_with_its_square():
    long, twice = prefill(1_000_000).seconds, prefill(2_000_000).seconds
    assert twice / long == pytest.approx(4, rel=0.02)
    flops = 4 * 32 * (1e12 / 2) * (128 + 20)
    assert long == pytest.approx(flops / (0.6 * PEAK), rel=0.05)


@pytest.mark.parametrize(("new", "cached", "last"), [(8, 0, 9), (1, 100, 102), (100, 50, 151), (1000, 9000, 10_001)])
def test_the_last_query_attends_to_the_cache_and_what_is_new(new, cached, last):
    pairs = new * cached + new * (new + 1) / 2
    assert kernels.last_context(pairs, new) == last


def test_prefill_attention_of_one_block_is_its_launch():
    assert prefill(2).seconds == pytest.approx(5e-6, rel=0.3)


def test_decode_attention_over_long_contexts_reads_the_cache_once():
    found = decode(64, 32_768)
    assert found.seconds == pytest.approx(4 * 8 * 128 * 64 * 32_768 / (0.8 * 1e12), rel=0.02)


def test_the_serial_part_of_split_decoding_saturates():
    assert decode(1, 1000).serial == pytest.approx(2.5e-6)
    assert decode(1, 10**9).serial == pytest.approx(5e-6, rel=1e-5)


@given(sequences=st.integers(1, 1000), context=st.integers(1, 10**6), more=st.integers(1, 1000))
def test_more_sequences_or_context_are_never_faster(sequences, context, more):
    base = decode(sequences, context).seconds * (1 - 1e-12)
    assert decode(sequences + more, context).seconds >= base
    assert decode(sequences, context + more).seconds >= base
    assert prefill(context + more).seconds >= prefill(context).seconds * (1 - 1e-12)


def test_unfused_attention_writes_its_scores_and_launches_four_kernels():
    fused = prefill(4096)
    found = kernels.unfused(fused, 5e9, CHIP)
    assert found.seconds - fused.seconds == pytest.approx(5e9 / 1e12 + 3 * fused.launch)


def test_the_fullest_rank_sets_the_time_of_the_experts():
    even, skewed = experts(4096), experts(8192)
    assert skewed.compute > even.compute and skewed.memory == even.memory
    assert even.memory == pytest.approx(8 * 6 * 4096 * 1024 / (0.8 * 1e12))
    assert even.serial == pytest.approx(2 * 2 * 4096 * 5120 / 1e12 + 8e-7 + 4.096e-7)


def test_a_scan_runs_the_tokens_of_a_prompt_in_order_and_one_token_at_once():
    constants = {"t0": 1e-6, "ec": 0.5, "us": 1.5, "ts": 2e-6}
    long = kernels.recurrent_scan(0.0, 1e6, 5000, PEAK, CHIP, constants)
    one = kernels.recurrent_scan(0.0, 1e6, 1, PEAK, CHIP, constants)
    assert long.serial == pytest.approx(1e-5) and one.serial == 0
    assert one.seconds == pytest.approx(1e-6 + 1.5e-6)


def test_small_kernels_launch_each_and_move_their_bytes():
    assert kernels.elementwise(3.0, 8e5, CHIP, {"t0": 2e-6, "em": 0.8}).seconds == pytest.approx(6e-6 + 1e-6)


@given(a=st.floats(1e-6, 1.0), b=st.floats(1e-6, 1.0))
def test_the_soft_minimum_lies_just_below_the_smaller(a, b):
    found = kernels.soft_minimum(a, b)
    assert min(a, b) * 2 ** (-1 / 6) * (1 - 1e-9) <= found <= min(a, b) * (1 + 1e-9)


@pytest.mark.parametrize(
    ("gpus", "in_network", "share"),
    [(2, False, 1.0), (8, False, 14 / 8), (8, True, 9 / 8), (2, True, 1.0)],
    ids=["two send it once", "ring of eight", "a switch adds", "a switch is no help to two"],
)
def test_bytes_on_the_wire_of_an_all_reduce(gpus, in_network, share):
    assert kernels.reduce_wire(1e6, gpus, in_network) == pytest.approx(share * 1e6)


@pytest.mark.parametrize("curve", [product, prefill, lambda n: decode(n, 1000), lambda n: decode(4.0, n), experts])
def test_an_array_gives_the_numbers_one_by_one(curve):
    sizes = numpy.array([1.0, 100.0, 5000.0])
    assert curve(sizes).seconds == pytest.approx([curve(float(size)).seconds for size in sizes])
