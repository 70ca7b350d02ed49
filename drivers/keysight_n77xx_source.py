"""Keysight N7711A and N7714A tunable laser sources: one of their lasers, tuned by optical frequency.

Commands are those of the maker's N77xx Programming Guide, edition 7. The lasers are telecom assemblies: they go dark
while they tune.
"""

from __future__ import annotations

from typing import Final

from drivers.capability import Safe
from drivers.clock import WALL, Clock
from drivers.codec import TRUTH, WHOLE, number
from drivers.errors import SettingError
from drivers.quantity import DBm, Metre, frequency, wavelength
from drivers.scpi import POLL_SLOT_OPC, ErrorPolicy, Query, ScpiChannel, ScpiInstrument, Setting
from drivers.session import Session
from drivers.wavelength import FREQUENCY

LASERS: Final = {"N7711A": 1, "N7714A": 4}
TUNED_S: Final = 60.0
"""A frequency, a laser just switched on is there within so much; unconfirmed."""
TUNED_HZ: Final = 3e9
"""The laser must say that it is no further from where it was sent, Hz."""

UNCONFIRMED: Final = (
    "no command of the Keysight N7711A/N7714A driver has been tried on a real source",
    "that a Keysight N7711A/N7714A answers the ends of its ranges to MIN and MAX",
)


class SourceLaser(ScpiChannel):
    """The laser in a slot."""

    lowest = Query("SOUR{slot}:FREQ? MIN", FREQUENCY)
    highest = Query("SOUR{slot}:FREQ? MAX", FREQUENCY)
    least = Query("SOUR{slot}:POW? MIN", number(DBm))
    most = Query("SOUR{slot}:POW? MAX", number(DBm))
    unit = Setting("SOUR{slot}:POW:UNIT", WHOLE, confirm=True)
    automatic = Setting("SOUR{slot}:FREQ:AUTO", TRUTH, confirm=True)
    frequency = Setting("SOUR{slot}:FREQ", FREQUENCY, wait_s=TUNED_S, wait=POLL_SLOT_OPC, confirm=TUNED_HZ)
    power = Setting("SOUR{slot}:POW", number(DBm, "DBM"), wait_s=TUNED_S, wait=POLL_SLOT_OPC)
    output = Setting("SOUR{slot}:POW:STAT", TRUTH, wait_s=TUNED_S, wait=POLL_SLOT_OPC, confirm=True)


class KeysightN77xxSource(ScpiInstrument):
    """One laser of the box; the light stays as it is when it is opened."""

    MODELS = tuple(LASERS)
    WAIT = POLL_SLOT_OPC
    ERRORS = ErrorPolicy.AFTER_GROUP
    unconfirmed = UNCONFIRMED

    def __init__(self, session: Session, *, clock: Clock = WALL, channel: int = 1) -> None:
        """``channel``: which laser is used; in the safe state all are off.

        Raises SettingError, WrongInstrumentError, InstrumentFaultError, and what the session raises.
        """
        super().__init__(session, clock=clock)
        self._lasers = {
            each: SourceLaser(self, slot=each) for each in range(1, LASERS[self.identity.model.upper()] + 1)
        }
        try:
            self._laser = self._at(channel)
            self.errors()  # what others left behind is no answer to us
            self._laser.unit = 0
            self._range = (wavelength(self._laser.highest), wavelength(self._laser.lowest))
        except BaseException:
            self.close()
            raise

    def _at(self, channel: int) -> SourceLaser:
        if channel not in self._lasers:
            raise SettingError(f"a laser of 1 to {len(self._lasers)}", repr(channel), "see the box's front")
        return self._lasers[channel]

    @property
    def range(self) -> tuple[Metre, Metre]:
        """Shortest and longest wavelength, m in vacuum, as it says itself."""
        return self._range

    def set_wavelength(self, wavelength: Metre) -> None:
        """Tune, m in vacuum, sent to 1 MHz, and wait until it says that it is there.

        A laser that emits is switched off and on again: its frequency mode may not be changed in between. Raises
        SettingError before anything is sent, InstrumentFaultError, NotTakenError, PortTimeoutError.
        """
        low, high = self._range
        if not low - 1e-15 <= wavelength <= high + 1e-15:
            raise SettingError(
                f"a wavelength within {low * 1e9:.3f} … {high * 1e9:.3f} nm", f"{wavelength!r} m", "see the data sheet"
            )
        emitting = self._laser.output
        if emitting:
            self._laser.output = False
        self._laser.automatic = True
        self._laser.frequency = frequency(wavelength)
        if emitting:
            self._laser.output = True

    def wavelength(self) -> Metre:
        """What it says it emits, m in vacuum."""
        return wavelength(self._laser.frequency)

    def set_power(self, power: DBm) -> None:
        """Output power. Raises SettingError before anything is set, InstrumentFaultError, PortTimeoutError."""
        low, high = self._laser.least, self._laser.most
        if not low <= power <= high:
            raise SettingError(f"a power within {low:g} … {high:g} dBm", f"{power!r} dBm", "attenuate behind it")
        self._laser.power = power

    def set_output(self, on: bool) -> None:
        """Switch the light, and wait until it says that it is so. Raises NotTakenError when it is not."""
        self._laser.output = on

    def output(self) -> bool:
        """Whether it emits, as it says."""
        return self._laser.output

    def safe_state(self) -> Safe:
        """Every laser of the box off, and each asked afterwards."""
        for laser in self._lasers.values():
            self.session.write(laser.say("SOUR{slot}:POW:STAT 0"))  # all of them first, whatever one may object
        states = {}
        for each, laser in self._lasers.items():
            laser.wait(TUNED_S, POLL_SLOT_OPC)
            states[each] = laser.output
        said = ", ".join(f"laser {each} {'ON' if state else 'off'}" for each, state in states.items())
        return Safe(confirmed=not any(states.values()), said=said)
