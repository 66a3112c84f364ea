"""Quantities as text, above all where rounding reaches the next unit."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import formatting
from app.formatting import FILTERS, UNKNOWN

GIB = 2**30


@pytest.mark.parametrize(
    ("write", "value", "text"),
    [
        (formatting.number, 0, "0"),
        (formatting.number, 0.001234, "0.00123"),
        (formatting.number, 0.9994, "0.999"),
        (formatting.number, 0.9996, "1.00"),
        (formatting.number, 9.994, "9.99"),
        (formatting.number, 9.996, "10.0"),
        (formatting.number, 99.94, "99.9"),
        (formatting.number, 99.96, "100"),
        (formatting.number, 999.6, "1,000"),
        (formatting.number, 1234.4, "1,234"),
        (formatting.number, -12.34, "-12.3"),
        (formatting.binary_bytes, 0, "0 B"),
        (formatting.binary_bytes, 1023, "1,023 B"),
        (formatting.binary_bytes, 1023.6, "1.00 KiB"),
        (formatting.binary_bytes, 1023.4 * 2**20, "1,023 MiB"),
        (formatting.binary_bytes, 1023.99 * 2**20, "1.00 GiB"),
        (formatting.binary_bytes, 17.64 * GIB, "17.6 GiB"),
        (formatting.decimal_bytes, 999.4e6, "999 MB"),
        (formatting.decimal_bytes, 999.6e6, "1.00 GB"),
        (formatting.decimal_bytes, 85_523_595_264, "85.5 GB"),
        (formatting.gib, 0, "0"),
        (formatting.gib, 0.034 * GIB, "0.03"),
        (formatting.gib, 9.994 * GIB, "9.99"),
        (formatting.gib, 9.996 * GIB, "10.0"),
        (formatting.gib, 999.94 * GIB, "999.9"),
        (formatting.gib, 999.96 * GIB, "1,000"),
        (formatting.gb, 0.72e9, "0.72"),
        (formatting.gb, 85.52e9, "85.5"),
        (formatting.bandwidth, 3.35e12, "3.35 TB/s"),
        (formatting.duration, 0, "0 s"),
        (formatting.duration, 0.0312, "31.2 ms"),
        (formatting.duration, 0.9994, "999 ms"),
        (formatting.duration, 0.9996, "1.00 s"),
        (formatting.duration, 99.94, "99.9 s"),
        (formatting.duration, 99.96, "1 min 40 s"),
        (formatting.duration, 119.6, "2 min"),
        (formatting.duration, 3599.4, "59 min 59 s"),
        (formatting.duration, 3599.6, "1 h"),
        (formatting.duration, 86_369, "23 h 59 min"),
        (formatting.duration, 86_371, "1 d"),
        (formatting.duration, 273_600, "3 d 4 h"),
        (formatting.milliseconds, 1890, "1.89 s"),
        (formatting.flops, 0, "0 FLOP"),
        (formatting.flops, 16.06e12, "16.1 TFLOP"),
        (formatting.flops, 999.6e9, "1.00 TFLOP"),
        (formatting.flops_per_second, 989.4e12, "989 TFLOP/s"),
        (formatting.count, 9999, "9,999"),
        (formatting.count, 8_030_261_248, "8.03 billion"),
        (formatting.count, 999.6e9, "1.00 trillion"),
        (formatting.integer, 8_030_261_248, "8,030,261,248"),
        (formatting.usd, 0, "$0"),
        (formatting.usd, 0.00321, "$0.00321"),
        (formatting.usd, 0.994, "$0.994"),
        (formatting.usd, 0.9996, "$1.00"),
        (formatting.usd, 2.494, "$2.49"),
        (formatting.usd, 999.99, "$999.99"),
        (formatting.usd, 999.999, "$1,000"),
        (formatting.usd, -2.5, "-$2.50"),
        (formatting.percent, 0, "0 %"),
        (formatting.percent, 0.0001, "< 0.1 %"),
        (formatting.percent, 0.0996, "10 %"),
        (formatting.percent, 0.254, "25 %"),
        (formatting.percent, 0.9996, "99.9 %"),
        (formatting.percent, 1, "100 %"),
        (formatting.percent, 1.99, "199 %"),
        (formatting.watts, 581, "581 W"),
        (formatting.watts, 999.6, "1.00 kW"),
        (formatting.watt_hours, 0.02314, "0.0231 Wh"),
        (formatting.kilowatt_hours, 0.1093, "0.109 kWh"),
        (formatting.grams, 42.71, "42.7 g"),
        (formatting.grams, 999.6, "1.00 kg"),
        (formatting.grams, 2.5e6, "2.50 t"),
        (formatting.grams, None, "unknown"),
        (formatting.joules, 0.27, "0.270 J"),
    ],
)
def test_text(write: Callable[[float], str], value: float, text: str) -> None:
    assert write(value) == text


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("value", [None, math.nan, math.inf, -math.inf])
def test_what_is_not_known_says_so(name: str, value: float | None) -> None:
    assert FILTERS[name](value) == UNKNOWN


@pytest.mark.parametrize("name", FILTERS)
@given(value=st.floats(min_value=0, max_value=1e24))
def test_every_size_has_a_text_without_an_exponent(name: str, value: float) -> None:
    assert "e" not in FILTERS[name](value).split()[0]


@given(value=st.floats(min_value=1e-6, max_value=1e15))
def test_three_digits_are_within_half_a_percent(value: float) -> None:
    assert float(formatting.number(value).replace(",", "")) == pytest.approx(value, rel=0.0051)
