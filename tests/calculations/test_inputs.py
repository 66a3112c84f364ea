"""An input is declared once and refuses what means nothing, naming field, value and what is allowed."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.calculations.errors import InvalidInput
from app.calculations.inputs import inputs_of
from app.calculations.scenario import GROUPS, CustomAccelerator, CustomArchitecture, ServingInputs

SERVING = inputs_of(ServingInputs)
ALL = {**SERVING, **inputs_of(CustomArchitecture), **inputs_of(CustomAccelerator)}


@pytest.mark.parametrize("one", ALL.values(), ids=lambda one: one.name)
def test_every_input_says_what_it_is(one):
    assert one.label and one.help.endswith(".") and one.group in GROUPS
    assert one.kind in ("integer", "number", "choice", "flag", "name")
    if one.kind in ("integer", "number"):
        assert one.unit and one.minimum is not None and one.maximum is not None


@pytest.mark.parametrize("one", ALL.values(), ids=lambda one: one.name)
def test_nothing_typed_is_the_default_and_the_default_is_allowed(one):
    assert one.parse("") == one.parse(None) == one.parse("  ") == one.default
    if one.default is not None:
        assert one.parse(one.default) == one.default


@pytest.mark.parametrize(
    ("typed", "value"),
    [("1024", 1024), (" 1024 ", 1024), ("1,024", 1024), ("1e3", 1000), (1024, 1024), (1024.0, 1024), ("1024.0", 1024)],
)
def test_a_whole_number_may_be_written_as_people_write_it(typed, value):
    assert SERVING["input_tokens"].parse(typed) == value


@pytest.mark.parametrize(
    ("typed", "why"),
    [
        ("0", "out of range"),
        ("-5", "out of range"),
        ("1.5", "not a whole number"),
        ("many", "not a number"),
        ("nan", "not a finite number"),
        ("inf", "not a finite number"),
        ("1e400", "not a finite number"),
        ("1" + "0" * 30, "out of range"),
        (10**30, "out of range"),
        (10**5000, "not a finite number"),
        (math.nan, "not a finite number"),
        (True, "not a number"),
        ([1], "not a number"),
        ({"a": 1}, "not a number"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, int) else str(value)[:20],
)
def test_a_value_that_means_nothing_is_refused_by_field_value_and_limits(typed, why):
    with pytest.raises(InvalidInput) as refused:
        SERVING["input_tokens"].parse(typed)
    assert refused.value.field == "input_tokens"
    assert why in refused.value.message
    assert "1 to" in refused.value.allowed
    assert len(str(refused.value)) < 400


def test_concurrency_takes_a_number_or_the_word_saturated():
    assert SERVING["concurrency"].parse("Saturated") == "saturated"
    assert SERVING["concurrency"].parse("64") == 64
    with pytest.raises(InvalidInput, match="saturated"):
        SERVING["concurrency"].parse("lots")


def test_a_choice_lists_what_there_is():
    assert SERVING["kv_precision"].parse("fp8") == "fp8"
    with pytest.raises(InvalidInput, match="auto, fp32, bf16"):
        SERVING["kv_precision"].parse("fp7")


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(), lambda inner: st.lists(inner), max_leaves=3
)


@given(raw=JSON)
def test_any_value_is_parsed_or_refused(raw):
    for one in ALL.values():
        try:
            value = one.parse(raw)
        except InvalidInput as refused:
            assert refused.field == one.name
        else:
            assert value is None or isinstance(value, bool | int | float | str)
