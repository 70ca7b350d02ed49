"""Integer time units with their conversions at the edges."""

from __future__ import annotations

from typing import NewType

Nanoseconds = NewType("Nanoseconds", int)
"""A duration or an instant (then TAI since 1970-01-01T00:00:00 TAI) in ns."""

Picoseconds = NewType("Picoseconds", int)
"""A duration in ps: uncertainties and floors, so that no rounding decides a verdict."""

C_M_PER_S = 299_792_458
"""Speed of light in vacuum, m/s, exact by definition of the metre (SI)."""


def seconds(value: int) -> Nanoseconds:
    """Whole seconds as ns."""
    return Nanoseconds(value * 1_000_000_000)


def minutes(value: int) -> Nanoseconds:
    """Whole minutes as ns."""
    return seconds(60 * value)


def flight_time(length_m: int, group_index_ppm: int = 1_000_000) -> Picoseconds:
    """Time of flight t = L n_g / c, rounded down to a ps.

    ``length_m`` in metres; ``group_index_ppm`` is n_g in millionths (1 468 200 for 1.4682).
    Rounding down keeps a floor a floor.
    """
    return Picoseconds(length_m * group_index_ppm * 1_000_000 // C_M_PER_S)
