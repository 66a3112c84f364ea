"""Units that data files and inputs are written in, in SI."""

from __future__ import annotations

MIB = 1024.0**2
GIB = 1024.0**3
GB_PER_SECOND = 1e9
TERA = 1e12
MICRO = 1e-6
MILLI = 1e-3
PICO = 1e-12
