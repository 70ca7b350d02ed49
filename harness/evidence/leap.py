"""TAI - UTC by a dated table, which also knows until when it holds."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

NTP_EPOCH_S: Final = 2_208_988_800
"""Seconds from 1900, where leap-seconds.list counts from, to 1970."""
SYSTEM_LISTS: Final = (Path("/usr/share/zoneinfo/leap-seconds.list"), Path("/etc/leap-seconds.list"))


@dataclass(frozen=True, slots=True)
class LeapTable:
    """Leap seconds as one publication knew them; instants are s since 1970 UTC."""

    origin: str
    steps: tuple[tuple[int, int], ...]
    """(from when, TAI - UTC in s), in order of time."""
    expires_s: int
    """From then on a leap second may exist that is not in the table."""

    def tai_utc(self, at_ns: int) -> int | None:
        """TAI - UTC in s at an instant in ns since 1970 UTC; None before 1972 and from the expiry on."""
        return self.assumed(at_ns) if self.steps[0][0] * 10**9 <= at_ns < self.expires_s * 10**9 else None

    def assumed(self, at_ns: int) -> int:
        """The same, going on with the last known value beyond the expiry, and with the first before 1972."""
        return next((offset for since, offset in reversed(self.steps) if since * 10**9 <= at_ns), self.steps[0][1])

    def pending(self, from_ns: int, until_ns: int) -> bool | None:
        """Whether a leap second falls between two instants, ns since 1970 UTC; None: beyond what the table knows."""
        if any(from_ns <= since * 10**9 <= until_ns for since, _ in self.steps[1:]):
            return True
        return None if until_ns >= self.expires_s * 10**9 else False


# Since 1972-01-01; each later step is one second more, at the start of the month.
_MONTHS: Final = (
    "1972-01 1972-07 1973-01 1974-01 1975-01 1976-01 1977-01 1978-01 1979-01 1980-01 1981-07 1982-07 1983-07 1985-07 "
    "1988-01 1990-01 1991-01 1992-07 1993-07 1994-07 1996-01 1997-07 1999-01 2006-01 2009-01 2012-07 2015-07 2017-01"
)


def _month(text: str) -> int:
    """Start of a month, s since 1970 UTC."""
    year, month = (int(part) for part in text.split("-"))
    days = 365 * (year - 1970) + (year - 1969) // 4  # right from 1970 to 2099
    leap_year = year % 4 == 0 and month > 2
    return 86_400 * (days + (0, 31, 59, 90, 120, 151, 181, 212, 243, 273, 304, 334)[month - 1] + leap_year)


SHIPPED: Final = LeapTable(
    # as distributed with tzdata 2026, whose file was updated 2026-07-06: no leap second up to and with December 2026
    origin="IERS Bulletin C of July 2026",
    steps=tuple((_month(text), 10 + number) for number, text in enumerate(_MONTHS.split())),
    expires_s=1_814_140_800,  # 2027-06-28
)


def parse(text: str, origin: str) -> LeapTable:
    """A table from the text of leap-seconds.list. Raises ValueError when its hash or anything in it is wrong."""
    updated = expires = digest = ""
    steps: list[tuple[int, int]] = []
    hashed: list[str] = []
    for line in text.splitlines():
        if line.startswith("#$"):
            updated = line[2:].strip()
        elif line.startswith("#@"):
            expires = line[2:].strip()
        elif line.startswith("#h"):
            digest = "".join(part.rjust(8, "0") for part in line[2:].split())
        elif line.strip() and not line.startswith("#"):
            instant, offset = line.split("#")[0].split()
            hashed += [instant, offset]
            steps.append((int(instant) - NTP_EPOCH_S, int(offset)))
    # The hash guards against a damaged file, not against malice: SHA-1 is what the format has.
    whole = hashlib.sha1("".join([updated, expires, *hashed]).encode(), usedforsecurity=False).hexdigest()
    if not steps or whole != digest:
        raise ValueError(f"{origin}: not a whole leap-seconds.list (hash {digest or 'missing'}, counted {whole})")
    if steps != sorted(steps):
        raise ValueError(f"{origin}: leap seconds out of order")
    return LeapTable(origin, tuple(steps), int(expires) - NTP_EPOCH_S)


def system_tables(paths: Sequence[Path] = SYSTEM_LISTS) -> list[LeapTable]:
    """The host's own tables; a file that is missing or damaged is left out."""
    found = []
    for path in paths:
        try:
            found.append(parse(path.read_text(encoding="utf-8"), str(path)))
        except (OSError, ValueError):
            continue
    return found


def newest(paths: Sequence[Path] = SYSTEM_LISTS) -> LeapTable:
    """The shipped table or the host's, whichever holds longer."""
    return max([SHIPPED, *system_tables(paths)], key=lambda table: table.expires_s)


def conflicts(one: LeapTable, other: LeapTable) -> list[str]:
    """Where two tables disagree while both hold; empty when they agree."""
    until = min(one.expires_s, other.expires_s)
    instants = sorted({since for since, _ in one.steps + other.steps if since < until})
    return [
        f"at {since} s since 1970 {one.origin} says {one.assumed(since * 10**9)} s, "
        f"{other.origin} says {other.assumed(since * 10**9)} s"
        for since in instants
        if one.assumed(since * 10**9) != other.assumed(since * 10**9)
    ]


def kernel_fault(kernel_tai_s: int, at_ns: int, table: LeapTable = SHIPPED) -> str:
    """What is wrong with the kernel's TAI offset, empty when it agrees with the table or the table has expired.

    Zero means unset: CLOCK_TAI then silently equals CLOCK_REALTIME.
    """
    known = table.tai_utc(at_ns)
    if kernel_tai_s == 0:
        return "the kernel's TAI offset is not set: CLOCK_TAI equals CLOCK_REALTIME"
    if known is not None and kernel_tai_s != known:
        return f"the kernel says TAI - UTC = {kernel_tai_s} s, {table.origin} says {known} s"
    return ""


def tai_utc_now() -> int:
    """TAI - UTC in s for stamps taken now, by the table that holds longest, even when it has expired."""
    return newest().assumed(time.time_ns())
