"""Power: between idle and the limit, rising with load, one model for all GPUs, and the documented equation."""

import dataclasses
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import catalog
from app.calculations import estimate, results
from app.calculations.energy import Activity, PowerModel, power_watts
from tests.calculations.worlds import scenario

DOCUMENT = Path(__file__).parents[2] / "docs" / "metrics_calculation.md"
H100 = catalog.gpu("h100-sxm")
MODEL = catalog.hardware().power
#: 100 pJ per byte and 1 pJ per FLOP on a GPU of 1,000 W that idles at 200.
ROUND = PowerModel(idle=0.2, awake=0.1, joules_per_byte=100e-12, joules_per_flop=1e-12)
busy = st.floats(0.0, 1.0)


def active(awake=1.0, bytes_per_second=0.0, flops_per_second=0.0):
    return Activity(awake=awake, bytes_per_second=bytes_per_second, flops_per_second=flops_per_second)


def best(**changes):
    return estimate(scenario(**changes)).best


def test_a_gpu_with_nothing_to_do_draws_idle_power():
    assert power_watts(1000.0, ROUND, active(awake=0.0)) == 200.0


def test_bytes_and_flops_add_their_energy_while_the_limit_is_far():
    assert power_watts(1000.0, ROUND, active(bytes_per_second=1e12)) == pytest.approx(200 + 100 + 100, rel=1e-3)
    assert power_watts(1000.0, ROUND, active(flops_per_second=1e14)) == pytest.approx(200 + 100 + 100, rel=1e-3)


def test_more_than_the_limit_is_never_drawn():
    assert power_watts(1000.0, ROUND, active(bytes_per_second=1e14, flops_per_second=1e17)) == pytest.approx(1000.0)


def test_asked_for_just_the_limit_a_gpu_draws_less():
    """x = 1 lies where the bend is: 2^(-1/4) of the room above idle."""
    at = active(awake=0.0, bytes_per_second=8e12)
    assert power_watts(1000.0, ROUND, at) == pytest.approx(200 + 800 * 2**-0.25)


@given(busy, busy, busy, st.sampled_from(sorted(catalog.preset_gpus())))
def test_power_lies_between_idle_and_the_limit(awake, memory, compute, slug):
    gpu = catalog.gpu(slug)
    if gpu.tdp_watts is None:
        return
    peak = gpu.peak_flops_per_second[gpu.sixteen_bit]
    at = active(awake, memory * gpu.memory_bandwidth_bytes_per_second, compute * peak)
    drawn = power_watts(gpu.tdp_watts, MODEL, at, MODEL.factor(gpu.architecture, slug))
    assert MODEL.idle * gpu.tdp_watts <= drawn <= gpu.tdp_watts


@given(busy, busy, busy, st.sampled_from(["awake", "bytes_per_second", "flops_per_second"]), st.floats(1.0, 5.0))
def test_more_of_anything_never_draws_less(awake, memory, compute, what, times):
    at = active(awake, memory * 3e12, compute * 1e15)
    more = dataclasses.replace(at, **{what: times * getattr(at, what)})
    assert power_watts(700.0, MODEL, more) >= power_watts(700.0, MODEL, at) * (1 - 1e-12)


def test_an_unmeasured_gpu_takes_the_factor_of_its_generation_and_an_unknown_generation_none():
    model = dataclasses.replace(ROUND, factors={("generation", "hopper"): 0.9, ("gpu", "h100-sxm"): 1.1})
    assert model.factor("hopper", "h100-sxm") == pytest.approx(0.99)
    assert model.factor("hopper", "h20") == 0.9
    assert model.factor("rubin", "r100") == 1.0


def test_fp8_weights_halve_the_bytes_and_an_fp8_product_counts_half_its_flops():
    """A batch of one on fp8: nearly half the bytes per token, and half the 16-bit equivalent FLOPs."""
    wide, narrow = (
        best(num_gpus=1, input_tokens=32, output_tokens=256, concurrency=1, weight_precision=name)
        for name in ("bf16", "fp8")
    )

    def per_token(one):
        rate = one.speed.requests_per_second
        return one.activity.bytes_per_second / rate, one.activity.flops_per_second / rate

    ratios = [a / b for a, b in zip(per_token(narrow), per_token(wide), strict=True)]
    assert ratios == pytest.approx([0.53, 0.54], abs=0.04)


def test_decoding_at_batch_one_moves_the_weights_once_per_token():
    one = best(num_gpus=1, input_tokens=32, output_tokens=1024, concurrency=1)
    tokens = one.speed.requests_per_second * 1024
    weights = one.load.weights - 2 * 128256 * 4096  # the input embedding is read a row at a time
    assert one.activity.bytes_per_second / tokens == pytest.approx(weights, rel=0.03)
    assert one.activity.awake == pytest.approx(1.0, abs=0.02)


def test_a_closed_loop_of_many_does_two_flops_per_parameter_and_token():
    one = best(num_gpus=1, input_tokens=256, output_tokens=256, concurrency=64)
    tokens = one.speed.requests_per_second * 512
    assert one.activity.flops_per_second / tokens == pytest.approx(2 * 7.5e9, rel=0.1)


def test_pipeline_stages_share_the_bytes_and_flops():
    one, two = (best(num_gpus=n, tp=1, pp=n, dp=1, concurrency=32) for n in (1, 2))
    for name in ("bytes_per_second", "flops_per_second"):
        per_request = [getattr(e.activity, name) / e.speed.requests_per_second for e in (one, two)]
        assert per_request[1] < 1.05 * per_request[0]
    flops = [e.activity.flops_per_second / e.speed.requests_per_second for e in (one, two)]
    assert flops[1] == pytest.approx(flops[0] / 2, rel=0.05)


def test_hardly_any_load_draws_hardly_more_than_idle_and_more_load_more():
    drawn = [
        best(num_gpus=1, arrival="open", concurrency=None, request_rate=rate).power_watts_per_gpu
        for rate in (1e-3, 0.1, 1.0, 5.0)
    ]
    assert drawn[0] == pytest.approx(MODEL.idle * 700, rel=0.01)
    assert drawn == sorted(drawn)


@pytest.mark.parametrize("gpu", ["h100-sxm", "b200", "a100-sxm-80gb", "l40s", "mi300x"])
def test_a_larger_batch_never_draws_less_and_a_token_costs_less_until_saturated(gpu):
    found = [
        results(estimate(scenario(gpu=gpu, num_gpus=1, concurrency=n, input_tokens=256, output_tokens=256)))
        for n in (1, 4, 16, 64)
    ]
    watts = [one["power_w_per_gpu"]["value"] for one in found]
    joules = [one["energy_j_per_token"]["value"] for one in found]
    assert all(later >= earlier for earlier, later in pairwise(watts))
    assert joules == sorted(joules, reverse=True)


def test_joules_per_token_times_tokens_per_second_are_the_watts_of_all_gpus():
    found = results(estimate(scenario(num_gpus=4, tp=2, dp=2, pp=1)))
    drawn = found["energy_j_per_token"]["value"] * found["output_tokens_per_s"]["value"]
    assert drawn == pytest.approx(4 * found["power_w_per_gpu"]["value"])


def program(formula: str) -> str:
    """A typeset formula in words as Python: known["name"], operators and brackets. Anything else is not understood."""
    formula = re.sub(r"\\text\{([^{}]*)\}", lambda name: f"known[{name[1].replace(chr(92), '')!r}]", formula)
    formula = formula.replace(r"\left", "").replace(r"\right", "").replace(r"\cdot", "*").replace("^", "**")
    while (inner := re.sub(r"\{([^{}]*)\}", r"(\1)", formula)) != formula:
        formula = inner
    while r"\frac" in formula:
        start = formula.rindex(r"\frac")
        over = closing(formula, start + len(r"\frac"))
        formula = f"{formula[:start]}{formula[start + len(chr(92) + 'frac') : over]}/{formula[over:]}"
    assert "\\" not in formula
    return formula


def closing(formula: str, start: int) -> int:
    """The place after the bracket that closes the one at start."""
    depth = 0
    for place in range(start, len(formula)):
        depth += {"(": 1, ")": -1}.get(formula[place], 0)
        if depth == 0:
            return place + 1
    raise ValueError(formula)


def test_the_documented_equation_is_what_is_calculated():
    text = DOCUMENT.read_text(encoding="utf-8")
    at = active(0.9, 2e12, 2e14)
    known = {
        "factor": 1.1, "awake_share": MODEL.awake, "TDP": 700.0, "awake": 0.9, "J per byte": MODEL.joules_per_byte,
        "bytes/s": 2e12, "J per FLOP": MODEL.joules_per_flop, "FLOP/s": 2e14, "idle": MODEL.idle,
    }  # fmt: skip
    for name in ("dynamic", "load", "W"):
        (equation,) = re.findall(rf"^\\text\{{{name}\}} &= (.+?)(?: \\\\)?$", text, re.MULTILINE)
        known[name] = eval(program(equation), {"known": known})
    assert known["W"] == pytest.approx(power_watts(700.0, MODEL, at, 1.1))


def test_the_coefficients_lie_inside_their_bounds_and_are_fitted_to_the_rows_they_state():
    lines = catalog.rows(catalog.POWER, catalog.POWER_COLUMNS)
    assert {line["coefficient"] for line in lines} == {*catalog.POWER_COEFFICIENTS, *catalog.POWER_LEVELS}
    for line in lines:
        value, low, high = (float(line[name]) for name in ("value", "low", "high"))
        assert low < value < high and 0 < float(line["standard_error"]) < value
        assert int(line["rows"]) > 0


def test_more_beams_draw_no_less():
    one, four = (best(num_gpus=1, concurrency=16, beam_width=beams).power_watts_per_gpu for beams in (1, 4))
    assert four > one
