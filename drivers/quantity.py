"""Units as types: what an instrument says in dBm can never be taken for W, nor either for dB."""

from __future__ import annotations

import math
from typing import Final, NewType

DBm = NewType("DBm", float)
"""Optical power over 1 mW, dBm."""
DB = NewType("DB", float)
"""A ratio of powers, dB; a loss is positive."""
Watt = NewType("Watt", float)
Metre = NewType("Metre", float)
"""A vacuum wavelength or a length, m."""
Hertz = NewType("Hertz", float)
Second = NewType("Second", float)

C_M_PER_S: Final = 299_792_458
"""Speed of light in vacuum, m/s, exact by definition of the metre (SI)."""


def dbm(power: Watt) -> DBm:
    """W as dBm. Raises ValueError for zero and below, which no dBm can say: the caller decides what darkness means."""
    if not power > 0:
        raise ValueError(f"{power} W has no dBm")
    return DBm(10 * math.log10(power * 1000))


def watt(power: DBm) -> Watt:
    """The dBm as W."""
    return Watt(10 ** (power / 10) / 1000)


def frequency(wavelength: Metre) -> Hertz:
    """Optical frequency of a vacuum wavelength."""
    return Hertz(C_M_PER_S / wavelength)


def wavelength(optical_frequency: Hertz) -> Metre:
    """Vacuum wavelength of an optical frequency."""
    return Metre(C_M_PER_S / optical_frequency)
