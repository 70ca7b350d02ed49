"""A Trace: a power log as octets, float32 in W as a meter gives them, least significant octet first."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Sequence
from sys import byteorder
from typing import Final

from harness.errors import ArchiveError

SIZE: Final = 4
"""Octets of one sample."""
MOST_FW: Final = 1 << 53
"""9 W: no meter of a bench sees that."""


def octets(powers: Iterable[float]) -> bytes:
    """A log of powers, W, as it is kept: rounded to float32, in which meters give them. NaN: no reading."""
    found = array("f", powers)
    if byteorder == "big":
        found.byteswap()
    return found.tobytes()


def femtowatts(kept: bytes) -> list[int | None]:
    """The log as whole fW, to the nearest; None where there was no reading. Noise may be negative.

    Raises ArchiveError for octets that are no log of powers.
    """
    if len(kept) % SIZE:
        raise ArchiveError(
            f"a log of powers in whole samples of {SIZE} octets",
            f"{len(kept)} octets",
            "use the folder as it was sealed",
        )
    found = array("f")
    found.frombytes(kept)
    if byteorder == "big":
        found.byteswap()
    return [round(value * 1e15) if math.isfinite(value) and abs(value) * 1e15 < MOST_FW else None for value in found]


def udbm(power_fw: int) -> int | None:
    """A power in fW as µdBm, to the nearest; None for darkness, which no dBm can say."""
    return round(10 * math.log10(power_fw / 1e12) * 1e6) if power_fw > 0 else None


def change_udb(power_fw: int, base_fw: int) -> int:
    """What was lost from one power to another, µdB, to the nearest; positive when the light grew weaker.

    Darkness counts as 1 fW. Raises ValueError when there was no light to lose.
    """
    if base_fw <= 0:
        raise ValueError("no light to compare with")
    return round(10 * math.log10(base_fw / max(1, power_fw)) * 1e6)


def thinned(values: Sequence[int | None], first: int, last: int, most: int) -> list[tuple[int, int]]:
    """(index, value) of at most about ``most`` samples of a stretch, with the extremes of every step among them."""
    low, high = max(0, first), min(len(values), last)
    step = max(1, -(-2 * (high - low) // max(1, most)))
    found: dict[int, int] = {}
    for at in range(low, high, step):
        here = [(value, index) for index in range(at, min(high, at + step)) if (value := values[index]) is not None]
        found |= {index: value for value, index in ((min(here), max(here)) if here else ())}
    return sorted(found.items())
