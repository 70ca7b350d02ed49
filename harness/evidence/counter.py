"""A clock's 1PPS beside a reference's, as a time-interval counter sees them."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Final, Literal

from drivers.errors import InstrumentError, NoReadingError, PortReplyError, PortTimeoutError
from drivers.keysight_53230a import UNCONFIRMED, Input, Keysight53230A, pps
from drivers.port import Identity
from harness.clock import ClockState, Part
from harness.errors import BenchError

PERIOD_S: Final = 1.0
"""Readings are no closer than this: the signals have one pulse a second."""
RETRY_S: Final = 1.0
"""Wait after a lost connection, before the next is tried."""
FRESH_NS: Final = 3_000_000_000
"""An older reading says nothing: up to 2 s pass between asking and the stop pulse."""
FIRST_S: Final = 1.5
"""How long a first poll waits for a first reading; the gatherer gives a poll 2 s."""
KEPT: Final = 100

Role = Literal["reference", "clock"]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the bench declares of the counter and of what hangs on it; what is not declared leaves no bound.

    The clock's 1PPS must be that of the clock that stamps packets. Half-widths are of rectangles, in ns, each with its
    origin: a certificate, a data sheet, a measurement with its date.
    """

    resource: str
    """VISA resource name."""
    reference: str
    """What the other input sees, by name: "GNSS receiver 7, PRTC-B"."""
    serial: str = ""
    """Of the counter: calibration belongs to one instrument."""
    model: str = "53230A"
    start: Role = "reference"
    """Which of the two is at the start channel, 1; the other is at 2."""
    cable_ns: int | None = None
    """Delay of the clock's cable less that of the reference's."""
    cable_half_width_ns: int | None = None
    cable_origin: str = ""
    accuracy_ns: int | None = None
    """Of the counter on intervals: trigger level, channels against each other, resolution."""
    accuracy_origin: str = ""
    timebase_ppb: int | None = None
    """Largest rate error of the counter's time base."""
    timebase_origin: str = ""
    reference_ns: int | None = None
    """Half-width of the reference against UTC."""
    reference_origin: str = ""
    rate_ppb: int | None = None
    """Largest rate error of the clock under test: what it can drift between a reading and a poll."""
    rate_origin: str = ""
    calibration_due: date | None = None
    """Last day on which the counter's calibration holds, UTC."""
    timebase: Literal["external", "internal"] = "external"
    level_mv: int = 1000
    impedance_ohm: int = 50
    slope: Literal["POS", "NEG"] = "POS"

    def __post_init__(self) -> None:
        """Raises BenchError for a negative half-width."""
        for name in ("cable_half_width_ns", "accuracy_ns", "timebase_ppb", "reference_ns", "rate_ppb"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise BenchError(f"{name} of the counter from 0", str(value), "a half-width has no sign")

    def undeclared(self) -> tuple[str, ...]:
        """What a bound still wants; empty when nothing."""
        numbers = {
            "cable_ns": self.cable_ns,
            "cable_half_width_ns": self.cable_half_width_ns,
            "accuracy_ns": self.accuracy_ns,
            "timebase_ppb": self.timebase_ppb,
            "reference_ns": self.reference_ns,
            "rate_ppb": self.rate_ppb,
            "calibration_due": self.calibration_due,
        }
        texts = {
            "reference": self.reference,
            "serial": self.serial,
            "cable_origin": self.cable_origin,
            "accuracy_origin": self.accuracy_origin,
            "timebase_origin": self.timebase_origin,
            "reference_origin": self.reference_origin,
            "rate_origin": self.rate_origin,
        }
        return (*(n for n, v in numbers.items() if v is None), *(n for n, v in texts.items() if not v.strip()))


@dataclass(frozen=True, slots=True)
class Reading:
    """One interval from the start channel's edge to the next of the stop channel."""

    asked_ns: int
    """When it was asked for, on a monotonic clock; the edges are later."""
    interval_ps: int
    """As read, not folded."""


def offset_ps(settings: Settings, reading: Reading) -> int:
    """The clock under test less the reference, ps, modulo 1 s: positive is ahead.

    A clock that is ahead sends its pulse early, so with the reference at start its interval is negative; a longer cable
    of the clock makes its pulse late. Raises NoReadingError where a pulse was missed.
    """
    folded = pps(reading.interval_ps)
    late = folded if settings.start == "reference" else -folded
    return (settings.cable_ns or 0) * 1000 - late


def _up(ps: int) -> int:
    return -(-ps // 1000)


def _parts(settings: Settings, readings: Sequence[Reading], now_ns: int) -> tuple[Part, ...]:
    """Half-widths; everything is declared."""
    worst = max(abs(offset_ps(settings, each)) for each in readings)
    longest = max(abs(each.interval_ps) for each in readings)
    age_ns = now_ns - readings[-1].asked_ns
    timebase = -(-longest * (settings.timebase_ppb or 0) // 10**12)
    drift = -(-age_ns * (settings.rate_ppb or 0) // 10**9)
    return (
        Part("实测偏差", "measured offset", _up(worst), f"largest of {len(readings)} reading(s) against the reference"),
        Part("参考误差", "error of the reference", settings.reference_ns or 0, settings.reference_origin),
        Part("计数器准确度", "counter accuracy", settings.accuracy_ns or 0, settings.accuracy_origin),
        Part("计数器时基", "time base of the counter", timebase, settings.timebase_origin),
        Part("电缆时延差", "difference of cable delays", settings.cable_half_width_ns or 0, settings.cable_origin),
        Part("读数后的漂移", "drift since the reading", drift, settings.rate_origin),
    )


def state_of(
    site: str,
    at_ns: int,
    settings: Settings,
    found: Identity | None,
    readings: Sequence[Reading],
    now_ns: int,
    why: str = "",
) -> ClockState:
    """What the readings since the last poll say, the newest last; ``at_ns`` ns since 1970 UTC.

    ``found`` is who answered, ``now_ns`` is on the clock of `Reading.asked_ns`, ``why`` there is no newer reading.
    Synchronised means that the clock's error is known now. A 1PPS tells nothing of whole seconds. Readings of more
    than one period raise NoReadingError.
    """
    reasons = [why] if why else []
    if found is not None and found.model.upper() != settings.model.upper():
        reasons.append(f"a {found.model} answers where a {settings.model} is declared")
    if found is not None and settings.serial and found.serial != settings.serial:
        reasons.append(f"serial {found.serial} answers where {settings.serial} is declared")
    fresh = bool(readings) and now_ns - readings[-1].asked_ns <= FRESH_NS
    if not fresh:
        reasons.append("no fresh reading")
    known = not reasons and found is not None
    bounded = known
    if missing := settings.undeclared():
        bounded = False
        reasons.append(f"not declared: {', '.join(missing)}")
    elif settings.calibration_due is not None and datetime.fromtimestamp(at_ns // 10**9, UTC).date() > (
        settings.calibration_due
    ):
        bounded = False
        reasons.append(f"calibration of the counter expired after {settings.calibration_due.isoformat()}")
    parts = _parts(settings, readings, now_ns) if bounded else ()
    offset = offset_ps(settings, readings[-1]) if known and settings.cable_ns is not None else None
    simulated = found is not None and found.simulated
    raw: dict[str, object] = {
        **({"injected": True} if simulated else {}),
        "counter": str(found) if found is not None else None,
        "start": settings.start,
        "intervals_ps": [each.interval_ps for each in readings],
        "age_ns": now_ns - readings[-1].asked_ns if readings else None,
        "cable_ns": settings.cable_ns,
        "offset_ps": offset,
        "why": reasons,
        "whole_seconds": "not seen by a 1PPS",
        "unconfirmed": list(UNCONFIRMED),
    }
    named = f"{settings.reference} by {found.maker} {found.model} {found.serial}" if found is not None else ""
    return ClockState(
        site=site,
        source="counter",
        at_ns=at_ns,
        synchronised=True if known else None,
        bound_ns=sum(part.half_width_ns for part in parts) if bounded else None,
        skew_ppb=settings.rate_ppb if bounded else None,
        tai_utc_s=None,
        leap_pending=None,
        identity=f"injected:{named}" if simulated else named,
        raw=json.dumps(raw, ensure_ascii=False),
        offset_ns=None if offset is None else (offset + 500) // 1000,
        parts=parts,
    )


class Counter:
    """A counter read in the background from the first poll on; it must be closed, as it serves one reader at a time."""

    name = "counter"

    def __init__(
        self,
        site: str,
        settings: Settings,
        *,
        period_s: float = PERIOD_S,
        retry_s: float = RETRY_S,
        first_s: float = FIRST_S,
    ) -> None:
        self.site = site
        self._settings = settings
        self._period_s = period_s
        self._retry_s = retry_s
        self._first_s = first_s
        self._changed = threading.Condition()
        self._stop = threading.Event()
        self._driver: Keysight53230A | None = None
        self._identity: Identity | None = None
        self._untold: deque[Reading] = deque(maxlen=KEPT)
        self._last: Reading | None = None
        self._why = ""
        """Why the last attempt gave no reading; empty: it gave one, or none has ended yet."""
        self._thread: threading.Thread | None = None

    def poll(self, at_ns: int) -> ClockState:
        """The state now; ``at_ns`` ns since 1970 UTC is when that is. Never waits for a pulse but the first time."""
        with self._changed:
            if self._thread is None and not self._stop.is_set():
                self._thread = threading.Thread(target=self._work, daemon=True, name=f"counter {self.site}")
                self._thread.start()
                self._changed.wait_for(lambda: self._last is not None or self._why, self._first_s)
            # one that every later poll repeats until a newer comes, with its age
            readings = tuple(self._untold) or ((self._last,) if self._last is not None else ())
            self._untold.clear()
            why = "closed" if self._stop.is_set() else self._why
            found = self._identity
        return state_of(self.site, at_ns, self._settings, found, readings, time.monotonic_ns(), why)

    def close(self) -> None:
        """Stop reading and let the counter go. Safe to call twice."""
        with self._changed:
            self._stop.set()
            driver, thread = self._driver, self._thread
        if driver is not None:
            driver.close()
        if thread is not None:
            thread.join(5)

    # -- thread --------------------------------------------------------------------------------------------

    def _work(self) -> None:
        while not self._stop.is_set():
            try:
                self._read_on()
            except InstrumentError as why:
                self._nothing(str(why))
            except Exception as why:  # a reader that dies says so
                self._nothing(f"{type(why).__name__}: {why}")
            self._stop.wait(self._retry_s)

    def _read_on(self) -> None:
        """Read until stopped. Raises InstrumentError when the counter must be opened and set up again."""
        driver = Keysight53230A.at(self._settings.resource)
        with contextlib.closing(driver):
            with self._changed:
                self._driver, self._identity = driver, driver.identity
            if self._stop.is_set():
                return
            seen = Input(self._settings.level_mv, self._settings.impedance_ohm, self._settings.slope)
            driver.time_interval(start_input=seen, stop_input=seen, timebase=self._settings.timebase)
            while not self._stop.is_set():
                asked_ns = time.monotonic_ns()
                try:
                    interval_ps = driver.read_ps()
                    pps(interval_ps)
                except (NoReadingError, PortTimeoutError, PortReplyError) as why:
                    self._nothing(str(why))
                else:
                    self._something(Reading(asked_ns, interval_ps))
                self._stop.wait(self._period_s - (time.monotonic_ns() - asked_ns) / 10**9)

    def _something(self, reading: Reading) -> None:
        with self._changed:
            self._last, self._why = reading, ""
            self._untold.append(reading)
            self._changed.notify_all()

    def _nothing(self, why: str) -> None:
        with self._changed:
            self._why = why
            self._changed.notify_all()
