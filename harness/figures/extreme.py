"""An Extreme: the largest or smallest of noisy values, which chance alone drives outwards."""

from __future__ import annotations

from collections.abc import Sequence
from math import isqrt
from typing import Final

from harness.budget import Component

NEAR: Final = 4
"""Values within so many standard uncertainties of the extreme one could have been it."""


def reach(count: int) -> int:
    """By how many standard deviations, in thousandths, the largest of ``count`` normal errors lies out; rounded up.

    sqrt(2 ln n), which the expected maximum of n independent errors never exceeds; ln 2 is taken as 0.6932.
    """
    if count < 2:
        return 0
    return isqrt(1_386_400 * (count - 1).bit_length()) + 1


def _bias(values: Sequence[int], us: Sequence[int], at: int) -> int:
    """Largest outward bias of the extreme value at an index, one side."""
    near = sum(abs(value - values[at]) <= NEAR * u for value, u in zip(values, us, strict=True))
    return -(-us[at] * reach(near) // 1000)


def _corrected(raw: int, bias: int, unit_of: str) -> tuple[int, Component]:
    half = bias // 2
    origin = f"extreme of {unit_of}: sqrt(2 ln n) of the values that could have been it; half of it taken off"
    return raw - half, Component("取极值的选择偏差", "choosing the extreme", bias - half, "rectangular", origin)


def spread(values: Sequence[int], us: Sequence[int]) -> tuple[int, Component, int, int]:
    """(largest less smallest, half of what chance may have added taken off; the rest of that; index of both).

    ``us``: standard uncertainty by which each value may differ from the others by chance. Raises ValueError for none.
    """
    high = max(range(len(values)), key=values.__getitem__)
    low = min(range(len(values)), key=values.__getitem__)
    bias = _bias(values, us, high) + _bias(values, us, low)
    value, part = _corrected(values[high] - values[low], bias, f"{len(values)} values")
    return value, part, high, low


def largest(values: Sequence[int], us: Sequence[int]) -> tuple[int, Component, int]:
    """(largest magnitude, half of what chance may have added taken off; the rest of that; its index).

    Raises ValueError for no values.
    """
    sizes = [abs(value) for value in values]
    at = max(range(len(sizes)), key=sizes.__getitem__)
    # either sign could have been the largest
    near = 2 * sum(sizes[at] - size <= NEAR * u for size, u in zip(sizes, us, strict=True))
    bias = -(-us[at] * reach(near) // 1000)
    value, part = _corrected(sizes[at], bias, f"{len(values)} values of either sign")
    return value, part, at
