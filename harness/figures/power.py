"""A Power: the mean of readings of little light, whole fW, with what is open about it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt, log10
from typing import Any

from harness.figures import meter as meters
from harness.reading import Instrument


@dataclass(frozen=True, slots=True)
class Level:
    """A mean power, fW, with what is open about it."""

    fw: int
    """Mean of the readings; where one saw nothing, of what it is certainly below."""
    u_fw: int
    """Standard uncertainty of the mean by scatter and by the meter's noise."""
    nu: int
    bounded: bool
    """A reading saw nothing: the truth is this or less."""
    readings: int = 1
    """How many mean powers were added up, each with the meter's zero in it."""
    unseen_fw: int = 0
    """Half of what parts of a sum that were not seen may add; the other half is in the mean."""


def femtowatts(udbm: int) -> int:
    """µdBm as fW, to the nearest."""
    return round(10 ** (min(max(udbm, -200_000_000), 600_000_000) / 1e7) * 1e12)


def udb(part_fw: int, whole_fw: int) -> int:
    """A ratio of powers in µdB, to the nearest; darkness counts as 1 fW."""
    return udbm(part_fw) - udbm(whole_fw)


def udbm(power_fw: int) -> int:
    """A power in fW as µdBm, to the nearest; darkness counts as 1 fW."""
    return round((10 * log10(max(1, power_fw)) - 120) * 1e6)


def level(read: Sequence[Mapping[str, Any]], meter: Instrument, averaging_ms: int) -> Level:
    """Mean of readings in power, each corrected by what the source's tap saw change between them."""
    base = next((row["source"] for row in read if row["source"] is not None), None)
    values, bounded = [], False
    for row in read:
        seen = row["below"] if row["value"] is None else row["value"]
        bounded = bounded or row["value"] is None
        change = 0 if base is None or row["source"] is None else row["source"] - base
        values.append(femtowatts(seen - change))
    n = len(values)
    mean = (2 * sum(values) + n) // (2 * n)
    scatter = sum((value - mean) ** 2 for value in values) // max(1, n * (n - 1)) if n > 1 else 0
    noise = meter.spec.get("noise_fw", 0)
    # white noise: less for a longer averaging time, less for more readings
    squared = noise * noise * meters.SPECIFIED_MS // max(1, averaging_ms) // n
    return Level(mean, isqrt(max(scatter, squared)) + 1, max(1, n - 1), bounded)


def relative_udb(each: Level) -> int:
    """Standard uncertainty of a level in µdB."""
    return -(-each.u_fw * meters.LN10_TENTHS // max(1, each.fw))


def added(levels: Sequence[Level]) -> Level:
    """Powers of ingress ports that were lit one after the other."""
    u = isqrt(sum(each.u_fw**2 for each in levels)) + 1
    nu = min(each.nu for each in levels)
    seen = sum(each.fw for each in levels if not each.bounded)
    unseen = sum(each.fw for each in levels if each.bounded)
    count = sum(each.readings for each in levels)
    if unseen >= seen:
        return Level(seen + unseen, u, nu, bounded=True, readings=count)
    return Level(seen + unseen // 2, u, nu, bounded=False, readings=count, unseen_fw=unseen - unseen // 2)


def less(all_lit: Level, one_dark: Level) -> Level:
    """What one ingress alone contributed: the light before its cord was pulled, less that after."""
    u = isqrt(all_lit.u_fw**2 + one_dark.u_fw**2) + 1
    left = all_lit.fw - one_dark.fw
    # less than what could be told apart: a bound
    return Level(max(left, 2 * u), u, min(all_lit.nu, one_dark.nu), left <= 2 * u, readings=0)
