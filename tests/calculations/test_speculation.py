"""Speculative decoding: fewer steps, each of which does more (Leviathan et al. 2023, arXiv:2211.17192)."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import catalog
from app.calculations import InvalidInput, estimate
from app.calculations.formats import resolve
from app.calculations.operators import Pass, forward_operators
from app.calculations.parallelism import Layout
from app.calculations.speculation import Speculation
from tests.calculations.worlds import scenario

LLAMA_70B = {"model": "meta-llama/Llama-3.1-70B-Instruct", "num_gpus": 8, "tp": 8, "pp": 1, "dp": 1}


def best(**changes):
    """Llama 3.1 8B on one H100."""
    return estimate(scenario(**{"num_gpus": 1, **changes})).best


def gain(**changes):
    """How many times as many tokens per second a user gets as without drafts."""
    off = best(**changes | {"draft_tokens": 0}).speed
    return off.tpot_seconds / best(**changes).speed.tpot_seconds


@pytest.mark.parametrize(
    ("drafts", "accepted", "tokens"),
    [(0, 0.7, 1), (1, 0.7, 1.7), (4, 0.8, 3.3616), (3, 0.5, 1.875), (5, 0.0, 1), (5, 1.0, 6)],
)
def test_tokens_of_a_step(drafts, accepted, tokens):
    found = Speculation(draft_tokens=drafts, acceptance_rate=accepted).tokens_per_step
    assert found == pytest.approx(tokens, rel=1e-12)


@given(drafts=st.integers(0, 64), accepted=st.floats(0, 1))
def test_tokens_of_a_step_are_the_chances_that_each_is_reached(drafts, accepted):
    found = Speculation(draft_tokens=drafts, acceptance_rate=accepted).tokens_per_step
    assert found == pytest.approx(sum(accepted**n for n in range(drafts + 1)), rel=1e-6)


@pytest.mark.parametrize(("tokens", "steps"), [(1, 0), (2, 1), (3, 1), (11, 4), (101, 40)])
def test_the_prefill_gives_the_first_token_and_a_second_takes_a_step(tokens, steps):
    found = Speculation(draft_tokens=2, acceptance_rate=(7**0.5 - 1) / 2)  # 1 + a + a^2 = 2.5
    assert found.tokens_per_step == pytest.approx(2.5)
    assert found.decode_steps(tokens) == pytest.approx(steps)


def verification(model, drafts, sequences=4.0):
    """Operators of a decode step with so many drafts."""
    found = catalog.model(model)
    formats = resolve(found, catalog.gpu("h100-sxm"), weights="auto", activations="auto", kv_cache="auto")
    work = Pass(sequences=sequences, new_tokens=1.0 + drafts, cached_tokens=8000.0, verifies=drafts > 0)
    return list(forward_operators(found, Layout(), formats, work))


def total(operators, what, *kernels):
    return sum(o.count * getattr(o, what) for o in operators if o.kernel in kernels)


@pytest.mark.parametrize("model", ["meta-llama/Llama-3.1-8B-Instruct", "deepseek-ai/DeepSeek-V3"])
def test_a_verification_multiplies_every_draft_and_reads_the_cache_once(model):
    one, five = verification(model, 0), verification(model, 4)
    assert total(five, "flops", "matrix_product") == pytest.approx(5 * total(one, "flops", "matrix_product"))
    decode = ("decode_attention", "latent_decode")
    assert total(five, "flops", *decode) == pytest.approx(5 * total(one, "flops", *decode), rel=1e-3)
    assert total(five, "bytes", *decode) < 1.1 * total(one, "bytes", *decode)
    head = next(o for o in five if o.component == "lm_head")
    assert head.shape["rows"] == 4 * 5


def test_drafts_of_a_mixture_go_to_more_experts():
    touched = [
        next(o.shape["touched"] for o in verification("deepseek-ai/DeepSeek-V3", drafts) if o.kernel == "experts")
        for drafts in (0, 1, 4)
    ]
    assert touched[0] < touched[1] < touched[2] < 256


def test_a_recurrent_layer_keeps_its_state_after_each_draft():
    one, five = (total(verification("Qwen/Qwen3.5-27B", k), "bytes", "recurrent_decode") for k in (0, 4))
    five += total(verification("Qwen/Qwen3.5-27B", 4), "bytes", "recurrent_prefill")
    assert five == pytest.approx(3 * one)  # read once and written five times, not read and written


def test_no_drafts_are_no_change():
    plain = best().speed
    assert best(draft_tokens=0, acceptance_rate=0.1, draft_cost=3.0).speed == plain


@pytest.mark.parametrize("concurrency", [1, 64, 1024])
def test_drafts_that_are_never_accepted_only_cost(concurrency):
    assert gain(draft_tokens=4, acceptance_rate=0.0, concurrency=concurrency) < 1


def test_one_user_gains_what_the_paper_says():
    # Theorem 3.8: (1 - a^(k+1)) / ((1 - a) (k c + 1)), where a verification takes as long as a step.
    expected = 3.3616 / (4 * 0.05 + 1)
    assert gain(draft_tokens=4, acceptance_rate=0.8, concurrency=1, **LLAMA_70B) == pytest.approx(expected, rel=0.05)


def test_the_gain_vanishes_where_arithmetic_binds():
    gains = [
        gain(draft_tokens=6, concurrency=concurrency, input_tokens=128, **LLAMA_70B) for concurrency in (1, 64, 1024)
    ]
    assert gains[0] > 1.8 and gains[2] < 1
    assert all(a > b for a, b in itertools.pairwise(gains))


def test_a_draft_takes_its_share_of_a_step_without_drafts():
    def step(cost):
        return best(draft_tokens=3, draft_cost=cost, concurrency=1).speed.decode.total

    plain = best(concurrency=1).speed.decode
    host = best(concurrency=1).machine.coefficients
    gpu_seconds = plain.total - host.step_seconds - host.sequence_seconds
    assert step(0.1) - step(0.0) == pytest.approx(3 * 0.1 * gpu_seconds)


@pytest.mark.parametrize("arrival", [{}, {"arrival": "static"}, {"arrival": "open", "request_rate": 1.0}], ids=str)
def test_accepted_drafts_help_however_requests_arrive(arrival):
    assert gain(draft_tokens=3, acceptance_rate=0.8, **arrival) > 1.5


def test_each_request_has_room_for_its_drafts():
    without, drafts = best(engine="sglang"), best(engine="sglang", draft_tokens=5)
    assert drafts.load.kv_cache - without.load.kv_cache == 16 * 5 * 131_072
    assert drafts.max_concurrency < without.max_concurrency


def test_beams_are_not_drafted_for():
    with pytest.raises(InvalidInput) as refused:
        scenario(draft_tokens=2, beam_width=4)
    assert refused.value.field == "draft_tokens"


def test_drafts_cost_energy_of_their_own_and_save_more():
    def joules(**changes):
        found = best(concurrency=1, **changes)
        return found.power_watts_per_gpu / found.speed.requests_per_second

    accepted = {"draft_tokens": 4, "acceptance_rate": 0.9}
    assert joules(**accepted, draft_cost=0.2) > joules(**accepted, draft_cost=0.0)
    assert joules(**accepted) < joules()


def test_requests_and_tokens_agree():
    found = best(draft_tokens=3, concurrency=32).speed
    assert found.e2e_seconds == pytest.approx(found.ttft_seconds + 255 * found.tpot_seconds)
    assert found.requests_per_second * found.e2e_seconds == pytest.approx(32, rel=0.01)
