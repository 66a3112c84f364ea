"""Quantities as text: used by the pages (as Jinja filters), the command line and the window.

Three significant digits unless it says otherwise, thousands separated by commas, a space before the unit.
The unit is chosen after rounding, so that 1,023.99 MiB is "1.00 GiB" and never "1,024 MiB".
What is not known is UNKNOWN, in words.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flask import Flask

UNKNOWN = "unknown"
#: Stands where there is nothing to be known, such as the time per token of a training run.
NOTHING = "\N{EN DASH}"

BINARY = (("B", 1.0), ("KiB", 2.0**10), ("MiB", 2.0**20), ("GiB", 2.0**30), ("TiB", 2.0**40))
DECIMAL = (("B", 1.0), ("kB", 1e3), ("MB", 1e6), ("GB", 1e9), ("TB", 1e12))
SI = (("", 1.0), ("k", 1e3), ("M", 1e6), ("G", 1e9), ("T", 1e12), ("P", 1e15), ("E", 1e18), ("Z", 1e21))
COUNTS = (("", 1.0), ("thousand", 1e3), ("million", 1e6), ("billion", 1e9), ("trillion", 1e12))
MASSES = (("g", 1.0), ("kg", 1e3), ("t", 1e6))
TIMES = (("ns", 1e-9), ("µs", 1e-6), ("ms", 1e-3), ("s", 1.0))


def known(value: float | None) -> bool:
    """Whether there is a number to show."""
    return value is not None and math.isfinite(value)


def number(value: float | None, digits: int = 3) -> str:
    """`digits` significant digits, without an exponent: 0.00123, 12.3, 1,234."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    value = _as_shown(value, digits)
    if value == 0:
        return "0"
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(value))))
    return f"{value:,.{decimals}f}"


def _as_shown(value: float, digits: int = 3) -> float:
    """The number that the text will say: significant digits, but never less than the whole part."""
    return float(f"{value:.{digits - 1}e}") if abs(value) < 10 ** (digits - 1) else float(round(value))


def _scaled(value: float | None, units: Sequence[tuple[str, float]], suffix: str = "") -> str:
    """The value in the largest unit that leaves at least one of it, after rounding."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    unit, size = units[0]
    for larger, larger_size in units[1:]:
        if _as_shown(abs(value) / size) * size < larger_size:
            break
        unit, size = larger, larger_size
    text = number(value / size)
    return f"{text} {unit}{suffix}".rstrip()


def binary_bytes(value: float | None) -> str:
    """Memory as an operating system counts it: 17.6 GiB."""
    return _scaled(value, BINARY)


def decimal_bytes(value: float | None) -> str:
    """Memory as a vendor counts it: 18.9 GB."""
    return _scaled(value, DECIMAL)


def gib(value: float | None) -> str:
    """Bytes as GiB without the unit, for columns: 17.6, and 0.03 for small terms."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    size = value / 2**30
    if size == 0:
        return "0"
    return (
        f"{size:,.0f}"
        if abs(round(size, 1)) >= 1000
        else f"{size:,.1f}"
        if abs(round(size, 2)) >= 10
        else f"{size:,.2f}"
    )


def gb(value: float | None) -> str:
    """Bytes as GB without the unit, for columns beside `gib`."""
    return gib(None if value is None else value / 1e9 * 2**30)


def bandwidth(value: float | None) -> str:
    """Bytes per second: 3.35 TB/s."""
    return _scaled(value, DECIMAL, "/s")


def duration(seconds: float | None) -> str:
    """31.2 ms, 1.89 s, 3 min 20 s, 2 h 5 min, 3 d 4 h."""
    if seconds is None or not math.isfinite(seconds):
        return UNKNOWN
    if seconds == 0:
        return "0 s"
    if _as_shown(seconds) < 100:
        return _scaled(seconds, TIMES)
    for large, small, size, part, below in (("min", "s", 60, 1, 3600), ("h", "min", 3600, 60, 86400)):
        whole = round(seconds / part) * part
        if whole < below:
            rest = (whole % size) // part
            return f"{whole // size} {large}" + (f" {rest} {small}" if rest else "")
    hours = round(seconds / 3600)
    rest = hours % 24
    return f"{hours // 24:,} d" + (f" {rest} h" if rest else "")


def milliseconds(value: float | None) -> str:
    """A time given in milliseconds."""
    return duration(None if value is None else value / 1e3)


def flops(value: float | None) -> str:
    """A count of floating-point operations: 16.1 TFLOP."""
    return _scaled(value, SI, "FLOP") if known(value) and abs(_as_shown(value or 0)) >= 1e3 else _plain(value, "FLOP")


def flops_per_second(value: float | None) -> str:
    """A rate of floating-point operations: 989 TFLOP/s."""
    return flops(value) + ("/s" if known(value) else "")


def _plain(value: float | None, unit: str) -> str:
    return f"{number(value)} {unit}" if known(value) else UNKNOWN


def count(value: float | None) -> str:
    """A large count in words: 8.03 billion. Below ten thousand it is written out."""
    if value is not None and math.isfinite(value) and abs(value) < 10_000:
        return number(value, 4)
    return _scaled(value, COUNTS)


def integer(value: float | None) -> str:
    """A whole number, every digit: 8,030,261,248."""
    return f"{round(value):,}" if value is not None and math.isfinite(value) else UNKNOWN


def rate(value: float | None) -> str:
    """Something per second or the like, without its unit: 8.41, 2,153."""
    return number(value)


def usd(value: float | None) -> str:
    """Money: $2.49, $1,234, and three digits below one cent: $0.00321."""
    if value is None or not math.isfinite(value):
        return UNKNOWN
    sign = "-" if value < 0 else ""
    value = abs(value)
    if value == 0:
        return "$0"
    if round(value, 2) >= 1000:
        return f"{sign}${value:,.0f}"
    if round(value, 2) >= 1:
        return f"{sign}${value:,.2f}"
    return f"{sign}${number(value)}"


def percent(share: float | None) -> str:
    """A share of one: 25 %, 0.4 %, and never 100 % or 0 % by rounding alone."""
    if share is None or not math.isfinite(share):
        return UNKNOWN
    if share == 0:
        return "0 %"
    value = share * 100
    if abs(value) < 0.05:
        return "< 0.1 %" if value > 0 else "> -0.1 %"
    if 99.5 <= value < 100:
        return f"{min(value, 99.9):.1f} %"
    return f"{value:,.0f} %" if abs(round(value, 1)) >= 10 else f"{value:,.1f} %"


def watts(value: float | None) -> str:
    """Electric power: 581 W, 2.32 kW."""
    return _scaled(value, SI, "W") if known(value) and _as_shown(value or 0) >= 1e3 else _plain(value, "W")


def joules(value: float | None) -> str:
    """Energy: 0.270 J."""
    return _plain(value, "J")


def watt_hours(value: float | None) -> str:
    """Energy at a meter: 0.0231 Wh."""
    return _plain(value, "Wh")


def kilowatt_hours(value: float | None) -> str:
    """Energy at a meter: 0.0902 kWh."""
    return _plain(value, "kWh")


def grams(value: float | None) -> str:
    """A mass: 42.7 g, 1.20 kg."""
    return _scaled(value, MASSES) if known(value) and _as_shown(value or 0) >= 1e3 else _plain(value, "g")


def range_text(low: str, high: str) -> str:
    """Both ends; a unit that they share stands once: "25.1 to 40.2 ms", but "980 ms to 1.20 s"."""
    value, _, unit = low.partition(" ")
    return f"{value} to {high}" if unit and high.partition(" ")[2] == unit else f"{low} to {high}"


def electricity(grid: Mapping[str, Any], pue: float | None) -> str:
    """What energy and carbon were counted with: the `grid` of an answer and the PUE."""
    mean = f"{grid['name']}, mean of {grid['year']}: {number(grid['gco2_per_kwh'])} gCO2e per kWh ({grid['basis']})"
    return mean if pue is None else f"{mean}, PUE {pue:g}"


#: The filters of the templates, by name.
FILTERS: dict[str, Callable[[float | None], str]] = {
    f.__name__: f
    for f in (
        bandwidth, binary_bytes, count, decimal_bytes, duration, flops, flops_per_second, gb, gib, integer, joules,
        milliseconds, number, percent, rate, usd, watts,
    )
}  # fmt: skip


def init_app(app: Flask) -> None:
    """Register the filters."""
    app.jinja_env.filters.update(FILTERS)
