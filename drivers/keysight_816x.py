"""Keysight and Agilent tunable lasers: modules 816xxA/B in a mainframe 8163, 8164 or 8166, and the boxes N777xC.

Commands are those of the maker's programming guides for both, as far as public text and working programs show them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from drivers.capability import Safe
from drivers.clock import WALL, Clock
from drivers.codec import BARE, TRUTH, WHOLE, number
from drivers.errors import InstrumentFaultError, NotTakenError, PortReplyError, SettingError
from drivers.quantity import DBm, Metre, Second
from drivers.scpi import POLL_OPC, ErrorPolicy, Query, ScpiChannel, ScpiInstrument, Setting, poll_state
from drivers.session import Session
from drivers.wavelength import WAVELENGTH, nanometres

MODELS: Final = ("8163[AB]", "8164[AB]", "8166[AB]", "N7776C", "N7777C", "N7778C", "N7779C")
BOXES: Final = frozenset({"N7776C", "N7777C", "N7778C", "N7779C"})
"""They have one laser, at slot 0."""
SLOTS: Final = range(18)
"""Of a mainframe 8166; 0 is the large one of a mainframe 8164."""
PIN: Final = "1234"
"""Unlocks the laser as it comes from the factory."""
TUNED_S: Final = 30.0
"""A wavelength, a power, a laser just switched on is there within so much; unconfirmed."""
TUNED_M: Final = 5e-12
"""The laser must say that it is no further from where it was sent, m."""
SPEED_M_S: Final = 40e-9
"""Of a sweep where nobody asks for another, m/s: all models have it; unconfirmed."""
SPEEDS_M_S: Final = (0.5e-9, 1e-9, 5e-9, 10e-9, 20e-9, 40e-9, 50e-9, 80e-9, 100e-9, 150e-9, 160e-9, 200e-9)
"""Speeds that some model has; which of them this one has it says when it checks the sweep."""
MOST_POINTS: Final = 1_000_000
SWEEP_S: Final = 60.0
"""Beyond its own time a sweep is over within so much: the laser runs up to it and back."""

WRONG: Final = {
    368: "it stops no higher than it starts",
    369: "it is too short",
    370: "it is too long",
    371: "its triggers come too fast",
    372: "its step is too small",
    373: "it has too many triggers",
    374: "only coherence control may be on while wavelengths are logged",
    375: "wavelengths are logged with the trigger of a finished step alone",
    376: "wavelengths are logged in a continuous sweep alone",
    377: "its step is no multiple of the smallest",
    378: "it has too many triggers",
    379: "modulation is on",
    380: "it starts below the laser's range",
    381: "it stops above the laser's range",
}
"""What the laser says of a sweep that it will not run."""

UNCONFIRMED: Final = (
    "no command of the Keysight 816x/N777xC driver has been tried on a real laser",
    "that a Keysight 816x answers *OPC? at once, with 0 while it tunes",
    "which sweep speeds each Keysight 816x/N777xC has",
)

_CHECKED: Final = re.compile(r'\+?(\d{1,5})\s*,\s*"?(.*?)"?')


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep of wavelength that was set up and checked."""

    start: Metre
    stop: Metre
    step: Metre
    speed_m_s: float
    triggers: int
    """How many times the laser will say that a step is finished: as many samples a meter has to take."""

    @property
    def step_time(self) -> Second:
        """Time between two triggers: no sample may take longer."""
        return Second(self.step / self.speed_m_s)

    @property
    def seconds(self) -> float:
        """How long it takes."""
        return (self.stop - self.start) / self.speed_m_s


class LaserModule(ScpiChannel):
    """The laser in a slot."""

    shortest = Query("SOUR{slot}:WAV? MIN", WAVELENGTH)
    longest = Query("SOUR{slot}:WAV? MAX", WAVELENGTH)
    least = Query("SOUR{slot}:POW? MIN", number(DBm))
    most = Query("SOUR{slot}:POW? MAX", number(DBm))
    unit = Setting("SOUR{slot}:POW:UNIT", WHOLE, confirm=True)
    wavelength = Setting("SOUR{slot}:WAV", WAVELENGTH, wait_s=TUNED_S, confirm=TUNED_M)
    power = Setting("SOUR{slot}:POW", number(DBm, "DBM"), wait_s=TUNED_S)
    output = Setting("SOUR{slot}:POW:STAT", TRUTH, wait_s=TUNED_S, confirm=True)
    sweeping = Setting("SOUR{slot}:WAV:SWE", WHOLE)
    expected = Query("SOUR{slot}:WAV:SWE:EXP?", WHOLE)
    checked = Query("SOUR{slot}:WAV:SWE:CHEC?", BARE)
    points = Query("SOUR{slot}:READ:POIN? LLOG", WHOLE)


class Keysight816x(ScpiInstrument):
    """One tunable laser; the light stays as it is when it is opened."""

    MODELS = MODELS
    WAIT = POLL_OPC
    ERRORS = ErrorPolicy.AFTER_GROUP
    unconfirmed = UNCONFIRMED

    def __init__(self, session: Session, *, clock: Clock = WALL, slot: int = 0, pin: str = PIN) -> None:
        """``slot`` of the mainframe; ``pin`` unlocks the laser when light is switched on.

        Raises SettingError, WrongInstrumentError, InstrumentFaultError (-301, -303: no laser there), and what the
        session raises.
        """
        super().__init__(session, clock=clock)
        try:
            self._pin = _pin(pin)
            self._laser = LaserModule(self, slot=_slot(slot, self.identity.model.upper()))
            self.errors()  # what others left behind is no answer to us
            self._laser.unit = 0
            self._range = (self._laser.shortest, self._laser.longest)
        except BaseException:
            self.close()
            raise

    @property
    def range(self) -> tuple[Metre, Metre]:
        """Shortest and longest wavelength, as it says itself."""
        return self._range

    def set_wavelength(self, wavelength: Metre) -> None:
        """Tune, m in vacuum, sent to 1 fm, and wait until it says that it is there.

        Raises SettingError before anything is sent, InstrumentFaultError, NotTakenError, PortTimeoutError.
        """
        self._within(wavelength)
        self._laser.wavelength = wavelength

    def _within(self, wavelength: Metre) -> None:
        low, high = self._range
        # a limit that is asked for in float32 may lie 1 fm beside the round number
        if not low - 1e-15 <= wavelength <= high + 1e-15:
            raise SettingError(
                f"a wavelength within {low * 1e9:.3f} … {high * 1e9:.3f} nm", f"{wavelength!r} m", "see the data sheet"
            )

    def wavelength(self) -> Metre:
        """What it says it emits, m in vacuum."""
        return self._laser.wavelength

    def set_power(self, power: DBm) -> None:
        """Output power. What is most depends on the wavelength and is asked first.

        Raises SettingError before anything is set, InstrumentFaultError, PortTimeoutError.
        """
        low, high = self._laser.least, self._laser.most
        if not low <= power <= high:
            raise SettingError(
                f"a power within {low:g} … {high:g} dBm at this wavelength", f"{power!r} dBm", "attenuate behind it"
            )
        self._laser.power = power

    def power(self) -> DBm:
        """What it is set to."""
        return self._laser.power

    def set_output(self, on: bool) -> None:
        """Switch the light, and wait until it says that it is so; it is unlocked if need be.

        Raises InstrumentFaultError (wrong PIN, interlock open), NotTakenError, PortTimeoutError.
        """
        if on and self.locked():
            with self.group("unlocking the laser"):  # an error tells this, not the PIN
                self.write(f"LOCK 0,{self._pin}")
        self._laser.output = on

    def output(self) -> bool:
        """Whether it emits, as it says."""
        return self._laser.output

    def locked(self) -> bool:
        """Whether it refuses to emit until its PIN is told."""
        return self.ask("LOCK?", TRUTH)

    def safe_state(self) -> Safe:
        """Light off, and asked; a sweep that does not let it is stopped first."""
        try:
            self._laser.output = False
        except (InstrumentFaultError, NotTakenError):
            self._laser.sweeping = 0
            self._laser.output = False
        return Safe(confirmed=not self._laser.output, said=f"laser {self._laser.suffixes['slot']} off")

    # -- sweeps ----------------------------------------------------------------------------------------------

    def prepare_scan(self, start: Metre, stop: Metre, step: Metre, speed_m_s: float = SPEED_M_S) -> Sweep:
        """Set up a continuous sweep in which each step is triggered and its wavelength logged.

        The meter then records ``triggers`` samples of no more than ``step_time``, triggered, and `run_scan` starts the
        light moving. Raises SettingError when the laser or the data sheet does not allow it, InstrumentFaultError.
        """
        self._within(start)
        self._within(stop)
        if not (0 < step <= stop - start and (stop - start) / step < MOST_POINTS):
            raise SettingError(
                f"a sweep upwards in steps, at most {MOST_POINTS} of them",
                f"{start * 1e9:.6f} … {stop * 1e9:.6f} nm in steps of {step * 1e12:g} pm",
                "choose a larger step",
            )
        if not any(abs(speed_m_s - each) < 1e-15 for each in SPEEDS_M_S):
            raise SettingError(
                f"a speed of {', '.join(f'{each * 1e9:g}' for each in SPEEDS_M_S)} nm/s",
                f"{speed_m_s!r} m/s",
                "see the laser's menu",
            )
        laser = self._laser
        with self.group("the set-up of a sweep"):
            for words in (
                "SOUR{slot}:AM:STAT 0",
                "SOUR{slot}:WAV:SWE:MODE CONT",
                f"SOUR{{slot}}:WAV:SWE:STAR {nanometres(start)}",
                f"SOUR{{slot}}:WAV:SWE:STOP {nanometres(stop)}",
                f"SOUR{{slot}}:WAV:SWE:STEP {nanometres(step)}",
                f"SOUR{{slot}}:WAV:SWE:SPE {speed_m_s * 1e9:g}NM/S",
                "SOUR{slot}:WAV:SWE:REP ONEW",
                "SOUR{slot}:WAV:SWE:CYCL 1",
                "TRIG{slot}:OUTP STF",
                "SOUR{slot}:WAV:SWE:LLOG 1",
            ):
                laser.write(words)
        said = laser.checked
        found = _CHECKED.fullmatch(said)
        if found is None:
            raise PortReplyError("0,OK or what is wrong with the sweep", repr(said), "check model and firmware")
        if int(found[1]):
            raise SettingError(
                "a sweep that the laser can run",
                f"{found[1]}: {WRONG.get(int(found[1]), found[2])}",
                "change start, stop, step or speed",
            )
        triggers = laser.expected
        if not 1 <= triggers <= MOST_POINTS:
            raise PortReplyError(f"1 to {MOST_POINTS} triggers", str(triggers), "check model and firmware")
        return Sweep(start, stop, step, speed_m_s, triggers)

    def run_scan(self, sweep: Sweep) -> Sequence[float]:
        """Sweep, wait for its end, and return the wavelength at each trigger, m in vacuum.

        Raises PortReplyError for wavelengths that do not rise from start to stop, PortTimeoutError.
        """
        laser = self._laser
        laser.sweeping = 1
        self.clock.sleep(sweep.seconds)
        laser.wait(SWEEP_S, poll_state("SOUR{slot}:WAV:SWE?", lambda reply: WHOLE.parse(reply) == 0))
        points = laser.points
        message = "SOUR{slot}:READ:DATA? LLOG"
        octets = laser.block(message, self.session.timeout_s + sweep.triggers / 1e5)
        if points != sweep.triggers or len(octets) != 8 * points:
            raise PortReplyError(
                f"{sweep.triggers} wavelengths of 8 octets", f"{points} in {len(octets)} octets", "sweep again"
            )
        for order in ("<f8", ">f8"):  # the guide says Intel's
            found = _plausible(np.frombuffer(octets, dtype=order).astype(np.float64), sweep)
            if found is not None:
                return tuple(found.tolist())
        raise PortReplyError(
            f"wavelengths that rise from {sweep.start:g} to {sweep.stop:g} m", repr(octets[:24]), "sweep again"
        )

    def scan(self, start: Metre, stop: Metre, step: Metre, speed_m_s: float = SPEED_M_S) -> Sequence[float]:
        """`prepare_scan` and `run_scan`: the wavelength at each trigger, m in vacuum."""
        return self.run_scan(self.prepare_scan(start, stop, step, speed_m_s))


def _pin(pin: str) -> str:
    if not isinstance(pin, str) or not re.fullmatch(r"[0-9]{4}", pin):
        raise SettingError("a PIN of four digits", "another one", 'see the laser\'s menu; pin = "1234" in a bench file')
    return pin


def _slot(slot: int, model: str) -> int:
    if slot not in SLOTS or (model in BOXES and slot != 0):
        raise SettingError("the slot of a tunable laser", repr(slot), "a box, or a mainframe 8164, has it at 0")
    return slot


def _plausible(found: npt.NDArray[np.float64], sweep: Sweep) -> npt.NDArray[np.float64] | None:
    """The wavelengths if they are those of the sweep, to two steps or 0.1 nm at its ends."""
    slack = max(2 * sweep.step, 0.1e-9)
    if not np.isfinite(found).all() or (np.diff(found) <= 0).any():
        return None
    return found if sweep.start - slack <= found[0] and found[-1] <= sweep.stop + slack else None
