"""Santec TSL tunable lasers, in whichever unit mode they are.

Such a laser takes and gives wavelengths in nm or in m, as `:SYST:COMM:COD` says; which one is asked when it is opened,
and every message converts by it.
"""

from __future__ import annotations

from typing import Final

from drivers.capability import Safe
from drivers.clock import WALL, Clock
from drivers.codec import TRUTH, WHOLE, number
from drivers.errors import NotTakenError, PortReplyError, SettingError
from drivers.quantity import DBm, Metre
from drivers.scpi import POLL_OPC, ErrorPolicy, Query, ScpiInstrument, Setting, poll_state
from drivers.session import Session
from drivers.wavelength import light

POWERS: Final = (DBm(-15), DBm(13))
"""Output powers that can be set; what is reached depends on the wavelength; unconfirmed."""
TUNED_S: Final = 30.0
"""A wavelength, a laser just switched on is there within so much; unconfirmed."""
TUNED_M: Final = 5e-12
"""The laser must say that it is no further from where it was sent, m."""
SPEEDS_M_S: Final = (0.5e-9, 200e-9)
"""Slowest and fastest sweep, m/s; unconfirmed, and 550 and 570 differ."""
SWEEP_S: Final = 60.0
"""Beyond its own time a sweep is over within so much: the laser runs up to it and back."""

UNCONFIRMED: Final = (
    "no command of the Santec TSL driver has been tried on a real laser",
    "that a Santec TSL answers *OPC? with 0 while it tunes, or not before it is there",
    "the powers and sweep speeds that a Santec TSL allows",
    "the inner shutter of a Santec TSL is left as it is found",
)


class SantecTsl(ScpiInstrument):
    """One laser; the light stays as it is when it is opened."""

    MODELS = ("TSL-5[57]0*", "TSL5[57]0*", "TSL-7[17]0*", "TSL7[17]0*")
    MAKERS = ("SANTEC*",)
    WAIT = POLL_OPC
    ERRORS = ErrorPolicy.AFTER_GROUP
    ERROR_QUERY = ":SYST:ERR?"
    ENDS_OUT = "\r\n"
    unconfirmed = UNCONFIRMED

    unit = Setting(":POW:UNIT", WHOLE, confirm=True)
    _power = Setting(":POW", number(DBm), low=POWERS[0], high=POWERS[1], wait_s=TUNED_S)
    _output = Setting(":POW:STAT", TRUTH, wait_s=TUNED_S, confirm=True)
    actual = Query(":POW:ACT?", number(DBm))

    def __init__(self, session: Session, *, clock: Clock = WALL) -> None:
        """Raises WrongInstrumentError, InstrumentFaultError, and what the session raises."""
        super().__init__(session, clock=clock)
        try:
            self.errors()  # what others left behind is no answer to us
            self._in_metres = self.ask(":SYST:COMM:COD?", TRUTH)
            self.unit = 0
            self._range = (self._wavelength(":WAV:SWE:RANG:MIN?"), self._wavelength(":WAV:SWE:RANG:MAX?"))
        except BaseException:
            self.close()
            raise

    # -- units -----------------------------------------------------------------------------------------------

    @property
    def in_metres(self) -> bool:
        """Whether it talks in m (its SCPI mode), not in nm (its legacy mode)."""
        return self._in_metres

    def _said(self, wavelength: Metre) -> str:
        return f"{wavelength:.7E}" if self._in_metres else f"{wavelength * 1e9:.4f}"

    def _wavelength(self, message: str) -> Metre:
        found = self.ask(message, number(float))
        try:
            return light(Metre(found if self._in_metres else found * 1e-9))
        except ValueError as why:
            raise PortReplyError(
                f"a wavelength in {'m' if self._in_metres else 'nm'} to {message}",
                f"{found!r}: {why}",
                "its units may have been changed meanwhile: open it again",
            ) from why

    # -- a laser ---------------------------------------------------------------------------------------------

    @property
    def range(self) -> tuple[Metre, Metre]:
        """Shortest and longest wavelength at its present sweep speed, m in vacuum, as it says itself."""
        return self._range

    def _within(self, wavelength: Metre) -> None:
        low, high = self._range
        if not low - 1e-15 <= wavelength <= high + 1e-15:
            raise SettingError(
                f"a wavelength within {low * 1e9:.3f} … {high * 1e9:.3f} nm", f"{wavelength!r} m", "see the data sheet"
            )

    def set_wavelength(self, wavelength: Metre) -> None:
        """Tune, m in vacuum, sent to 0.1 pm, and wait until it says that it is there.

        Raises SettingError before anything is sent, InstrumentFaultError, NotTakenError, PortTimeoutError.
        """
        self._within(wavelength)
        self.write(f":WAV {self._said(wavelength)}")
        self.wait(TUNED_S)
        found = self.wavelength()
        if abs(found - wavelength) > TUNED_M:
            raise NotTakenError(
                f"{wavelength * 1e9:.4f} nm",
                f"{found * 1e9:.4f} nm, as it says itself",
                "look at the laser: another program may tune it too",
            )

    def wavelength(self) -> Metre:
        """What it says it emits, m in vacuum."""
        return self._wavelength(":WAV?")

    def set_power(self, power: DBm) -> None:
        """Output power. Raises SettingError before anything is sent, InstrumentFaultError, PortTimeoutError."""
        self._power = power

    def power(self) -> DBm:
        """What it is set to."""
        return self._power

    def set_output(self, on: bool) -> None:
        """Switch the light, and wait until it says that it is so.

        Raises InstrumentFaultError (interlock open), NotTakenError, PortTimeoutError.
        """
        self._output = on

    def output(self) -> bool:
        """Whether it emits, as it says."""
        return self._output

    def safe_state(self) -> Safe:
        """Light off, and asked."""
        self._output = False
        return Safe(confirmed=not self._output, said="laser off")

    # -- sweeps ----------------------------------------------------------------------------------------------

    def sweep(self, start: Metre, stop: Metre, speed_m_s: float) -> None:
        """One continuous sweep upwards, m in vacuum, m/s; returns when it has ended.

        Raises SettingError before anything is sent, InstrumentFaultError, PortTimeoutError.
        """
        self._within(start)
        self._within(stop)
        if not start < stop:
            raise SettingError("a sweep upwards", f"{start!r} … {stop!r} m", "exchange its ends")
        if not SPEEDS_M_S[0] - 1e-15 <= speed_m_s <= SPEEDS_M_S[1] + 1e-15:
            raise SettingError(
                f"a speed within {SPEEDS_M_S[0] * 1e9:g} … {SPEEDS_M_S[1] * 1e9:g} nm/s",
                f"{speed_m_s!r} m/s",
                "see the data sheet",
            )
        with self.group("the set-up of a sweep"):
            for words in (
                ":WAV:SWE:MOD 1",
                f":WAV:SWE:STAR {self._said(start)}",
                f":WAV:SWE:STOP {self._said(stop)}",
                # nm/s in both modes: the mode tells of wavelengths and frequencies alone
                f":WAV:SWE:SPE {speed_m_s * 1e9:g}",
                ":WAV:SWE:CYCL 1",
            ):
                self.write(words)
        self.write(":WAV:SWE 1")
        self.clock.sleep((stop - start) / speed_m_s)
        self.wait(SWEEP_S, poll_state(":WAV:SWE?", lambda reply: WHOLE.parse(reply) == 0))
