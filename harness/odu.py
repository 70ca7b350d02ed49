"""ODUk delay readings from a CSV file, as a tester or a management system exports them."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Final

from harness.errors import BenchError

FRAME_BITS: Final = 4 * 3824 * 8
RATES: Final[Mapping[str, Fraction]] = {
    "ODU0": Fraction(1_244_160_000),
    "ODU1": Fraction(239 * 2_488_320_000, 238),
    "ODU2": Fraction(239 * 9_953_280_000, 237),
    "ODU2E": Fraction(239 * 10_312_500_000, 237),
    "ODU3": Fraction(239 * 39_813_120_000, 236),
    "ODU4": Fraction(239 * 99_532_800_000, 227),
    "ODUCN": Fraction(239 * 99_532_800_000, 226),
}
"""Bit rates, 1/s (ITU-T G.709); that of ODUCn was not confirmed."""
NAMES: Final = {"ODU2E": "ODU2e", "ODUCN": "ODUCn"}
UNITS: Final = {"ps": 1, "ns": 10**3, "us": 10**6, "µs": 10**6, "μs": 10**6, "ms": 10**9}
COLUMNS: Final = "link, oduk, frames or delay (or delay_us, delay_ns), time, and way where it is not round-trip"
MOST_PS: Final = 10**12
"""A path delay of a second is no path of this world."""
_NUMBER: Final = re.compile(r"^([0-9]{1,13}(?:\.[0-9]{1,9})?)\s*([a-zµμ]{0,2})$")


@dataclass(frozen=True, slots=True)
class Reading:
    """One delay as it was told: n frames of a round trip are n T/2 one way, half a frame more or less."""

    line: int
    link: str
    oduk: str
    time: str
    frames: int | None
    """Whole frames counted, where the file gives them."""
    value_ps: int
    """One way."""
    half_ps: int
    """Half-width of the rectangle, T/2."""


def period_ps(oduk: str) -> Fraction:
    """Duration of one frame. Raises KeyError for an ODU that is not known."""
    return Fraction(FRAME_BITS * 10**12) / RATES[oduk.upper()]


def parse(text: str) -> tuple[Reading, ...]:
    """The readings in a CSV text. Raises BenchError that names every fault at once, by its line."""
    faults: list[str] = []
    found: list[Reading] = []
    reader = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    header: list[str] | None = None
    try:
        for cells in reader:
            row = [cell.strip() for cell in cells]
            if not any(row):
                continue
            if header is None:
                header = [cell.lower() for cell in row]
                faults += _header(header, reader.line_num)
                if faults:
                    break
                continue
            if len(row) != len(header):
                faults.append(f"line {reader.line_num}: {len(row)} cells under {len(header)} columns")
                continue
            wrong, made = _reading(dict(zip(header, row, strict=True)), reader.line_num)
            faults += wrong
            found += [] if made is None else [made]
    except csv.Error as error:
        faults.append(f"line {reader.line_num}: {error}")
    if header is None and not faults:
        faults.append("line 1: an empty file")
    elif not found and not faults:
        faults.append("no reading under the header")
    if faults:
        raise BenchError(f"ODUk delay readings in CSV: {COLUMNS}", "; ".join(faults), "correct the file")
    return tuple(found)


def _header(header: list[str], line: int) -> list[str]:
    faults = [f"line {line}: no column {name}" for name in ("link", "oduk", "time") if name not in header]
    kinds = [name for name in header if name in {"frames", "delay", "delay_us", "delay_ns"}]
    if len(kinds) != 1:
        faults.append(
            f"line {line}: one of the columns frames, delay, delay_us, delay_ns is wanted, found {len(kinds)}"
        )
    faults += [f"line {line}: column {name!r} twice" for name in sorted(set(header)) if header.count(name) > 1]
    return faults


def _reading(row: dict[str, str], line: int) -> tuple[list[str], Reading | None]:
    faults = []
    if not row["link"]:
        faults.append(f"line {line}: no link")
    oduk = row["oduk"].upper()
    if oduk not in RATES:
        names = ", ".join(NAMES.get(each, each) for each in RATES)
        faults.append(f"line {line}: oduk {row['oduk']!r} is none of {names}")
    try:
        datetime.fromisoformat(row["time"])
    except ValueError:
        faults.append(f"line {line}: time {row['time']!r} is not ISO 8601, as 2027-03-01T08:00:00+08:00")
    way = row.get("way", "") or "round-trip"
    if way not in {"round-trip", "one-way"}:
        faults.append(f"line {line}: way {way!r} is neither round-trip nor one-way")
    frames, told, wrong = _told(row, line)
    faults += wrong
    if frames is not None and way == "one-way":
        faults.append(f"line {line}: frames are counted over the round trip, not one way")
    if faults:
        return faults, None
    period = period_ps(oduk)
    whole = frames * period if frames is not None else told
    value = whole if way == "one-way" else whole / 2
    if value > MOST_PS:
        return [f"line {line}: more than a second one way"], None
    name = NAMES.get(oduk, oduk)
    return [], Reading(
        line, row["link"], name, row["time"], frames, round(value), -(-period.numerator // (2 * period.denominator))
    )


def _told(row: dict[str, str], line: int) -> tuple[int | None, Fraction, list[str]]:
    """(frames, or the delay in ps as the file states it, faults)."""
    if "frames" in row:
        cell = row["frames"]
        if not (cell.isascii() and cell.isdecimal() and len(cell) <= 12):
            return None, Fraction(0), [f"line {line}: frames {cell!r} is no whole number"]
        return int(cell), Fraction(0), []
    name = next(each for each in ("delay", "delay_us", "delay_ns") if each in row)
    cell = row[name]
    match = _NUMBER.match(cell)
    unit = name.partition("_")[2]
    if match is None or bool(match[2]) == bool(unit) or (match[2] and match[2] not in UNITS):
        wanted = f"a number of {unit}" if unit else 'a number with its unit, as "97.3 us"'
        return None, Fraction(0), [f"line {line}: {name} {cell!r} is not {wanted}"]
    return None, Fraction(match[1]) * UNITS[unit or match[2]], []
