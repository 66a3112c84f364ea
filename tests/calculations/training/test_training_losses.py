"""Where the peak goes: nothing is lost or made up, and each cause takes what its seconds are."""

from __future__ import annotations

from dataclasses import fields

import pytest

from app import training_catalog
from app.calculations.training.flops import CONVENTIONS
from app.calculations.training.losses import CAUSES, peak_shares, seconds_by_cause
from app.calculations.training.speed import speed
from app.calculations.training.step import StepTime
from tests.calculations.training.settings import setting


def shares(**changes):
    s = setting(**changes)
    efficiency = training_catalog.efficiency()
    own, executed = speed(s, efficiency, {}), speed(s, efficiency, {}, CONVENTIONS["causal"])
    found = peak_shares(own.time, mfu=own.mfu.value, hfu=own.hfu.value, executed=executed.hfu.value)
    return found, own


def test_every_term_of_a_step_has_one_cause():
    terms = [name for names in CAUSES.values() for name in names]
    assert sorted(terms) == sorted(field.name for field in fields(StepTime))


def test_seconds_by_cause_are_the_step():
    _, own = shares(pp=4, tp=2)
    assert sum(seconds_by_cause(own.time).values()) == pytest.approx(own.step_seconds.value)


@pytest.mark.parametrize("changes", [{}, {"pp": 4, "tp": 2}, {"activation_recompute": "full"}, {"precision": "fp8"}])
def test_the_shares_are_the_whole_peak(changes):
    found, own = shares(**changes)
    assert sum(found.values()) == pytest.approx(1)
    assert found["useful"] == own.mfu.value


def test_each_cause_takes_its_seconds():
    found, own = shares(pp=4, tp=2)
    assert found["bubble"] == pytest.approx(own.time.bubble / own.step_seconds.value)
    assert shares()[0]["bubble"] == 0


def test_recomputation_takes_something_only_where_there_is_some():
    assert shares()[0]["recomputation"] == 0
    assert shares(activation_recompute="full")[0]["recomputation"] > 0.05


def test_counting_the_masked_half_of_attention_looks_better_the_longer_the_sequence():
    short, long = (shares(seq_len=length)[0]["counting"] for length in (2048, 32_768))
    assert long < short < 0


def test_kernels_are_not_faster_than_the_peak():
    for length in (2048, 32_768):
        assert shares(seq_len=length)[0]["kernels"] > 0
