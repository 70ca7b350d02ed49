"""Keysight 53220A and 53230A universal counters: the time interval between two 1PPS signals.

Chapters are those of the maker's User's Guide 53220-90001. No real counter has been asked by this driver yet.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal
from typing import Final, Literal, Self

from drivers.capability import Safe
from drivers.errors import InstrumentFaultError, NoReadingError, PortReplyError, SettingError, WrongInstrumentError
from drivers.port import Identity, Port
from drivers.session import Session

MODELS: Final = ("53220A", "53230A")
TIMEOUT_MS: Final = (10, 2_000_000)
"""Range of SYSTem:TIMeout (User's Guide chapter 3, Setting the Measurement Time Out)."""
RANGES_V: Final = (5, 50)
"""Input ranges, V; the trigger level lies within them. The exact end of the level's range is unconfirmed."""
IMPEDANCES_OHM: Final = (50, 1_000_000)
INFINITE: Final = Decimal("9.9E37")
"""From here up a reading is none: 9.91E37 not a number, which is what a time-out gives, 9.9E37 infinity (SCPI-99)."""
QUEUE_DEPTH: Final = 100
"""Errors read before we stop asking; the depth of the counter's own queue is unconfirmed."""
SETUP_S: Final = 10.0
"""Time for a reset with its settings."""
MARGIN_S: Final = 2.0
"""Time for an answer beyond the measurement's own time-out."""
SECOND_PS: Final = 10**12
MISSED_PS: Final = SECOND_PS + SECOND_PS // 1000
"""Two 1PPS signals are never further apart than one period; 1000 ppm covers any clock's rate."""

UNCONFIRMED: Final = ("no command of the Keysight 53220A/53230A driver has been tried on a real counter",)

_NUMBER: Final = re.compile(r"[+-]?\d{1,25}(?:\.\d{0,25})?(?:[Ee][+-]?\d{1,3})?")
_ERROR: Final = re.compile(r'([+-]?\d{1,6})\s*,\s*"(.*)"', re.DOTALL)
_EXACT: Final = Context(prec=60)


@dataclass(frozen=True, slots=True)
class Input:
    """How one channel looks at its signal."""

    level_mv: int = 1000
    """Trigger level, mV. Never automatic: that fails at 1 Hz (User's Guide chapter 4)."""
    impedance_ohm: int = 50
    slope: Literal["POS", "NEG"] = "POS"
    coupling: Literal["AC", "DC"] = "DC"
    range_v: int = 5

    def commands(self, channel: int) -> tuple[str, ...]:
        """What sets channel 1 or 2 so. Raises SettingError."""
        _within("channel", channel, (1, 2))
        _within("input range in V", self.range_v, RANGES_V)
        _within("input impedance in ohm", self.impedance_ohm, IMPEDANCES_OHM)
        if abs(self.level_mv) > self.range_v * 1000:
            raise SettingError(
                f"a trigger level within ±{self.range_v} V", f"{self.level_mv} mV", "half the pulse's height is usual"
            )
        sign, volts = "-" if self.level_mv < 0 else "", abs(self.level_mv)
        return (
            f"INP{channel}:COUP {self.coupling}",
            f"INP{channel}:IMP {self.impedance_ohm}",
            f"INP{channel}:RANG {self.range_v}",
            f"INP{channel}:LEV:AUTO OFF",
            f"INP{channel}:LEV {sign}{volts // 1000}.{volts % 1000:03d}",
            f"INP{channel}:SLOP {self.slope}",
        )


PULSE: Final = Input()
"""A 1PPS of 2.5 V or more into 50 ohm."""


def _within(what: str, found: int, allowed: tuple[int, ...]) -> None:
    if found not in allowed:
        raise SettingError(f"{what} of {' or '.join(map(str, allowed))}", str(found), "see the data sheet")


def picoseconds(reply: str) -> int:
    """A reading in seconds as whole ps, rounded to the nearest.

    Raises ValueError when it is no single number, NoReadingError when it says that there is none.
    """
    text = reply.strip()
    if not _NUMBER.fullmatch(text):
        raise ValueError(f"{reply!r} is not one number")
    value = Decimal(text)
    if abs(value) >= INFINITE:
        raise NoReadingError(
            "a time interval",
            f"{text}: the measurement's time ran out",
            "check that a pulse arrives at both inputs, its height against the trigger level, and the impedance",
        )
    scaled = _EXACT.scaleb(value, 12)
    if abs(scaled) >= 10**24:
        raise ValueError(f"{reply!r} s is no interval a counter can measure")
    return int(scaled.quantize(Decimal(1), rounding=ROUND_HALF_EVEN, context=_EXACT))


def fold(interval_ps: int) -> int:
    """The same interval modulo 1 s, from -0.5 s up to but not 0.5 s, ps.

    The counter starts at whichever start pulse comes first and waits for the next stop pulse: a stop 1 ns before its
    start reads as 0.999999999 s.
    """
    half = SECOND_PS // 2
    return (interval_ps + half) % SECOND_PS - half


def pps(interval_ps: int) -> int:
    """An interval of two 1PPS signals, folded, ps.

    Raises NoReadingError for more than one period: a pulse was missed, which folding would hide.
    """
    if abs(interval_ps) > MISSED_PS:
        raise NoReadingError(
            "an interval of at most 1 s between two 1PPS signals",
            f"{interval_ps} ps",
            "check that each input sees one pulse a second and none is missed",
        )
    return fold(interval_ps)


class Keysight53230A:
    """A counter at an open session, which stays the caller's to close."""

    unconfirmed: Sequence[str] = UNCONFIRMED

    def __init__(self, port: Session) -> None:
        """Raises WrongInstrumentError when something else answers at the port."""
        self._port = port
        if port.identity.model.upper() not in MODELS:
            raise WrongInstrumentError(
                f"a Keysight {' or '.join(MODELS)} at {port.resource}", str(port.identity), "check the address"
            )
        self._timeout_ms = 1000

    @classmethod
    def at(cls, resource: str, *, timeout_s: float = 2.0) -> Self:
        """The counter at a VISA resource name, on a port of its own. Raises PortOpenError, WrongInstrumentError."""
        port = Port(resource, timeout_s=timeout_s)
        try:
            return cls(port)
        except WrongInstrumentError:
            port.close()
            raise

    @property
    def identity(self) -> Identity:
        """Who answered when the port was opened."""
        return self._port.identity

    def close(self) -> None:
        """Close the port."""
        self._port.close()

    def safe_state(self) -> Safe:
        """A counter only listens."""
        return Safe(confirmed=True, said=f"{self.identity.model} emits nothing")

    def time_interval(
        self,
        start: int = 1,
        stop: int = 2,
        *,
        start_input: Input = PULSE,
        stop_input: Input = PULSE,
        timeout_ms: int = 5000,
        timebase: Literal["external", "internal"] = "external",
    ) -> None:
        """Set up single readings of the interval from the start channel's edge to the next of the stop channel.

        Resets the counter. ``timeout_ms`` is the measurement's own time-out, which the counter keeps even when
        switched off; its factory setting of 1 s is too short for 1PPS. An external time base is 10 MHz at Ext Ref In
        and is checked (User's Guide chapter 3, External Time Base). Raises SettingError before anything is sent,
        InstrumentFaultError when the counter objects, and what `Port.query` raises.
        """
        if {start, stop} != {1, 2}:
            raise SettingError("one start and one stop channel, 1 and 2", f"{start} and {stop}", "use both channels")
        if not TIMEOUT_MS[0] <= timeout_ms <= TIMEOUT_MS[1]:
            raise SettingError("a time-out of 10 ms to 2000 s", f"{timeout_ms} ms", "two periods of the signal or more")
        # DEFault: an external reference is 10 MHz
        base = ("SENS:ROSC:SOUR EXT", "SENS:ROSC:EXT:CHEC ONCE") if timebase == "external" else ("SENS:ROSC:SOUR INT",)
        commands = (
            "*RST",
            "*CLS",
            *base,
            f"SYST:TIM {timeout_ms // 1000}.{timeout_ms % 1000:03d}",
            f"CONF:TINT (@{start}),(@{stop})",
            *start_input.commands(start),
            *stop_input.commands(stop),
        )
        with self._port.turn():
            for command in commands:
                self._port.write(command, SETUP_S)
            self.check("the set-up of a time interval")
        self._timeout_ms = timeout_ms

    def read_ps(self) -> int:
        """One interval from start to stop, ps; waits for the pulses.

        Raises NoReadingError when none came in time, PortReplyError when the answer is no number, and what `Port.query`
        raises.
        """
        reply = self._port.query("READ?", self._timeout_ms / 1000 + MARGIN_S)
        try:
            return picoseconds(reply)
        except ValueError as why:
            raise PortReplyError("a reading in seconds", str(why), "set the counter up again") from why

    def errors(self) -> tuple[tuple[int, str], ...]:
        """What the error queue holds, oldest first; reading empties it. Raises PortReplyError."""
        found: list[tuple[int, str]] = []
        with self._port.turn():
            while len(found) < QUEUE_DEPTH:
                reply = self._port.query("SYST:ERR?", SETUP_S)
                parsed = _ERROR.fullmatch(reply.strip())
                if parsed is None:
                    raise PortReplyError(
                        'an entry of the error queue, number,"text"', repr(reply), "switch it off and on"
                    )
                code = int(parsed[1])
                if code == 0:
                    break
                found.append((code, parsed[2]))
        return tuple(found)

    def check(self, after: str) -> None:
        """Empty the error queue. Raises InstrumentFaultError with the first error, the others as its notes."""
        found = self.errors()
        if found:
            fault = InstrumentFaultError(*found[0], after)
            for code, text in found[1:]:
                fault.add_note(f'then {code},"{text}"')
            raise fault
