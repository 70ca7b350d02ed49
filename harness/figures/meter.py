"""A Meter as figures see it: what its data sheet leaves open, with what speaks against believing it."""

from __future__ import annotations

from dataclasses import replace
from datetime import date
from math import isqrt
from typing import Any, Final

from harness.budget import Component
from harness.figure import Doubt
from harness.figures.source import level
from harness.reading import Instrument, Record

DAY_NS: Final = 86_400_000_000_000
EPOCH: Final = date(1970, 1, 1).toordinal()
NEEDED: Final = ("linearity_udb", "channel_udb", "absolute_udb", "polarisation_udb", "noise_fw")
"""What a data sheet must say for a budget to be made from it."""
SPECIFIED_MS: Final = 100
"""Averaging time that a data sheet's noise is given for, see `drivers.capability.MeterSpec`."""
LN10_TENTHS: Final = 4_342_945
"""10 / ln 10, in millionths: a relative error times this is µdB for an error in millionths."""


def name_of(tap: str) -> str:
    """The meter of "meter-1:3"."""
    return tap.rpartition(":")[0] or tap


class Meters:
    """The meters of a record; asking for one keeps the doubts about it."""

    def __init__(self, record: Record) -> None:
        self._record = record
        self._doubts: dict[str, Doubt] = {}
        self._unsaid: dict[str, None] = {}

    @property
    def doubts(self) -> tuple[Doubt, ...]:
        """About those that were asked for."""
        return tuple(self._doubts.values())

    @property
    def notes(self) -> tuple[str, ...]:
        """About those that were asked for."""
        return tuple(f"the bench does not say until when {name} is calibrated" for name in self._unsaid)

    def of(self, row: dict[str, Any]) -> tuple[Instrument, tuple[str, ...]]:
        """The meter behind a row's "tap", with the red doubts about it at the row's time, by name."""
        name = name_of(row["tap"])
        found = self._record.instruments.get(name)
        meter = Instrument(name, "", "", "", spec_origin="no data sheet") if found is None else found
        lacking = [key.rpartition("_")[0] for key in NEEDED if key not in meter.spec]
        told = [
            Doubt(
                "no-data-sheet",
                name,
                bool(lacking),
                f"nothing known of its {', '.join(lacking)}" if lacking else "known",
                "a meter whose errors are known",
                "换用已知误差指标的功率计，或为其驱动补充数据手册",
                "use a meter whose errors are known, or give its driver a data sheet",
            ),
            *self._calibration(meter, row["at_ns"]),
        ]
        for each in told:
            if each.red or each.name not in self._doubts:
                self._doubts[each.name] = each
        return meter, tuple(each.name for each in told if each.red)

    def _calibration(self, meter: Instrument, at_ns: int) -> list[Doubt]:
        if not meter.calibrated_until:
            self._unsaid[meter.name] = None
            return []
        try:
            late = at_ns // DAY_NS + EPOCH - date.fromisoformat(meter.calibrated_until).toordinal()
            found = f"read {late} days after {meter.calibrated_until}" if late > 0 else "read before that day"
        except ValueError:
            late, found = 1, f"{meter.calibrated_until} is no day"
        return [
            Doubt(
                "calibration-expired",
                meter.name,
                late > 0,
                found,
                f"calibrated until {meter.calibrated_until}",
                "送校准，或换用在有效期内的功率计后重测",
                "have it calibrated, or use one that is, and measure again",
            )
        ]


def noise_udb(meter: Instrument, power_udbm: int, averaging_us: int = SPECIFIED_MS * 1000) -> int:
    """Standard deviation of a reading by the meter's noise, µdB, rounded up.

    White noise: it falls with the square root of the averaging time from what the data sheet says for 100 ms.
    """
    femtowatts = max(1, round(10 ** (min(power_udbm, 600_000_000) / 1e7) * 1e12))
    # thousandths of the factor by which it is noisier than for 100 ms
    factor = isqrt(SPECIFIED_MS * 1000 * 1_000_000 // max(1, averaging_us)) + 1
    return -(-max(0, meter.spec.get("noise_fw", 0)) * LN10_TENTHS * factor // (femtowatts * 1000))


def linearity(meter: Instrument) -> Component:
    """Between two powers on one channel."""
    half = meter.spec.get("linearity_udb", 0)
    return Component("功率计线性", "linearity of the meter", half, "rectangular", origin(meter))


def polarisation(meter: Instrument, *, whole: bool = False) -> Component:
    """Response of one channel to a polarisation that is not known; ``whole``: that may turn all the way round."""
    full = meter.spec.get("polarisation_udb", 0)
    half = full if whole else -(-full // 2)
    return Component("功率计偏振响应", "meter's response to polarisation", half, "rectangular", origin(meter))


def channel(one: Instrument, other: Instrument) -> Component:
    """Between two channels: of one calibration where the meters are of one kind, else both absolute."""
    if one.driver == other.driver:
        half = max(one.spec.get("channel_udb", 0), other.spec.get("channel_udb", 0))
        return Component("通道间差异", "between two channels", half, "rectangular", origin(one))
    half = one.spec.get("absolute_udb", 0) + other.spec.get("absolute_udb", 0)
    both = f"{origin(one)}; {origin(other)}"
    return Component("两种功率计的绝对误差", "absolute errors of two kinds of meter", half, "rectangular", both)


def at(place: tuple[str, str], part: Component) -> Component:
    """The same, with its place in its name: ("参考端", "at the reference")."""
    return replace(part, name_zh=f"{place[0]}{part.name_zh}", name_en=f"{part.name_en}, {place[1]}")


def noise(udb: int, readings_milli: int, meter: Instrument) -> Component:
    """Noise of one reading, times the square root of how many enter, in thousandths."""
    value = -(-udb * readings_milli // 1000)
    return Component("读数噪声", "noise of the readings", value, "normal", origin(meter))


def origin(meter: Instrument) -> str:
    """Where a meter's figures come from."""
    return meter.spec_origin or f"{meter.name}: data sheet"


def known(row: dict[str, Any]) -> bool:
    """Whether a row has a reading."""
    return level(row) is not None
