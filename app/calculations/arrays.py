"""Scalars or numpy arrays: the formulas take both, so that a sweep is one call."""

from __future__ import annotations

from typing import Any, TypeAlias

#: A float, or an array of floats of any shape.
Numbers: TypeAlias = Any

#: Asked of every operand: a tuple costs a third of a union that is made at each call.
PLAIN = (int, float)


def smaller(a: Numbers, b: Numbers) -> Numbers:
    """Element-wise minimum, without numpy where both are plain numbers."""
    if isinstance(a, PLAIN) and isinstance(b, PLAIN):
        return min(a, b)
    import numpy

    return numpy.minimum(a, b)


def larger(a: Numbers, b: Numbers) -> Numbers:
    """Element-wise maximum, without numpy where both are plain numbers."""
    if isinstance(a, PLAIN) and isinstance(b, PLAIN):
        return max(a, b)
    import numpy

    return numpy.maximum(a, b)


def is_zero(a: Numbers) -> bool:
    """Whether it is the plain number 0."""
    return isinstance(a, float) and a == 0.0


def where(condition: Any, yes: Numbers, no: Numbers) -> Numbers:
    """`yes` where the condition holds, else `no`."""
    if isinstance(condition, bool):
        return yes if condition else no
    import numpy

    return numpy.where(condition, yes, no)
