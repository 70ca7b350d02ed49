"""Thorlabs optical power meters PM100D, PM100USB, PM400, PM10x and PM5020 with one sensor: readings in W."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Final

from drivers.capability import MeterSpec, Safe
from drivers.clock import WALL, Clock
from drivers.codec import BARE, WHOLE, number, reading, split
from drivers.errors import NoReadingError, PortReplyError, SettingError
from drivers.quantity import DBm, Metre, Second, Watt, watt
from drivers.scpi import ErrorPolicy, Query, ScpiInstrument, Setting, fixed_settle
from drivers.session import Session

SAMPLE_S: Final = 0.3e-3
"""One of the samples that are averaged; unconfirmed, and not the same in all models."""
MOST_SAMPLES: Final = 10_000
"""Averaged to one reading; unconfirmed."""
MARGIN_S: Final = 2.0
"""Beyond its averaging time a reading is answered within so much."""
POWER, WAVELENGTH = 1, 32
"""Bits of a sensor's flags: it measures power; its wavelength can be set."""

SPEC: Final = MeterSpec(
    absolute_db=0.35,
    linearity_db=0.05,
    channel_db=0.2,
    polarisation_db=0.05,
    noise_w=1e-10,
    floor_dbm=-60.0,
    origin="unconfirmed: figures as makers give them for a hand-held meter with a germanium or InGaAs sensor",
)

UNCONFIRMED: Final = (
    "no command of the Thorlabs power meter driver has been tried on a real meter",
    "unit, range and averaging commands of a Thorlabs power meter, and that MEAS leaves averaging as it is",
    "errors of a Thorlabs power meter: they are those of its sensor, whose data sheet was not at hand",
)


@dataclass(frozen=True, slots=True)
class Sensor:
    """What is plugged into the meter, as it says itself."""

    name: str
    serial: str
    calibrated: str
    kind: int
    subtype: int
    flags: int

    @classmethod
    def parse(cls, reply: str) -> Sensor:
        """The answer to `SYST:SENS:IDN?`. Raises ValueError for anything else."""
        fields = [field.strip("\"' ") for field in split(reply)]
        if len(fields) != 6:
            raise ValueError(f"{reply[:60]!r} has no six fields")
        kind, subtype, flags = (WHOLE.parse(field) for field in fields[3:])
        name, serial, calibrated = fields[:3]
        return cls(name, serial, calibrated, kind, subtype, flags)


class ThorlabsPm(ScpiInstrument):
    """One meter with one sensor, its channel 1."""

    MODELS = ("PM100*", "PM10[0-9]*", "PM400*", "PM5020*")
    MAKERS = ("Thorlabs*",)
    WAIT = fixed_settle(0.0)
    ERRORS = ErrorPolicy.AFTER_GROUP
    unconfirmed = UNCONFIRMED

    shortest_nm = Query("SENS:CORR:WAV? MIN", number(float))
    longest_nm = Query("SENS:CORR:WAV? MAX", number(float))
    wavelength_nm = Setting("SENS:CORR:WAV", number(float), confirm=0.5)
    samples = Setting("SENS:AVER:COUN", WHOLE, low=1, high=MOST_SAMPLES, confirm=True)

    def __init__(self, session: Session, *, clock: Clock = WALL) -> None:
        """Raises WrongInstrumentError, NoReadingError without a power sensor, and what the session raises."""
        super().__init__(session, clock=clock)
        try:
            self.errors()  # what others left behind is no answer to us
            self._sensor = self._power_sensor()
            self.write("SENS:POW:UNIT W")
            self.write("SENS:POW:RANG:AUTO ON")
            self._range_nm = (self.shortest_nm, self.longest_nm)
            self._averaging_s = self.samples * SAMPLE_S
        except BaseException:
            self.close()
            raise

    def _power_sensor(self) -> Sensor:
        reply = self.ask("SYST:SENS:IDN?", BARE)
        try:
            found = Sensor.parse(reply)
        except ValueError as why:
            raise NoReadingError("a power sensor at the meter", reply[:60] or "none", "plug one in") from why
        if not found.flags & POWER:
            raise NoReadingError("a power sensor at the meter", f"{found.name}, which measures none", "plug one in")
        return found

    @property
    def sensor(self) -> Sensor:
        """What was plugged in when it was opened."""
        return self._sensor

    @property
    def channels(self) -> int:
        """One."""
        return 1

    @property
    def spec(self) -> MeterSpec:
        """Its errors; unconfirmed."""
        return SPEC

    def _only(self, channels: Collection[int]) -> None:
        if any(channel != 1 for channel in channels):
            raise SettingError("channel 1", str(sorted(channels)), "the meter has one")

    def set_wavelength(self, wavelength: Metre, channels: Collection[int] = ()) -> None:
        """What the sensor takes the light for, m in vacuum.

        Raises SettingError before anything is sent, InstrumentFaultError, NotTakenError.
        """
        self._only(channels)
        low, high = self._range_nm
        if not self._sensor.flags & WAVELENGTH:
            raise SettingError("a sensor whose wavelength can be set", self._sensor.name, "plug another one in")
        nanometres = round(wavelength * 1e9, 6) if math.isfinite(wavelength) else wavelength
        if not low <= nanometres <= high:
            raise SettingError(
                f"a wavelength within {low:g} … {high:g} nm", f"{wavelength!r} m", "see the sensor's data sheet"
            )
        self.wavelength_nm = nanometres

    def set_averaging(self, seconds: Second, channels: Collection[int] = ()) -> None:
        """How long a reading takes at least, s; the meter averages whole samples.

        Raises SettingError before anything is sent, InstrumentFaultError, NotTakenError.
        """
        self._only(channels)
        if not 0 < seconds <= MOST_SAMPLES * SAMPLE_S:
            raise SettingError(
                f"an averaging time of at most {MOST_SAMPLES * SAMPLE_S:g} s", f"{seconds!r} s", "average readings"
            )
        # a tolerance, so that 100 samples' time is 100 samples
        self.samples = math.ceil(seconds / SAMPLE_S - 1e-6)
        self._averaging_s = float(seconds)

    def read(self, channel: int) -> Watt | None:
        """A fresh reading, W; None: less than the meter's floor.

        Raises NoReadingError where it has none to give, as with more light than the sensor can measure: that is no
        darkness.
        """
        self._only((channel,))
        found = self.ask("MEAS:POW?", reading(Watt), self._averaging_s + self.session.timeout_s + MARGIN_S)
        if found is None:
            said = ", ".join(text for _, text in self.errors())  # the next command is not to blame
            raise NoReadingError("light within the sensor's range", said or "a reading that is none", "attenuate")
        if abs(found) > MOST_W:
            raise PortReplyError(f"at most {MOST_W:g} W", f"{found:g} W", "look which quantity the meter shows")
        return found if found >= watt(DBm(SPEC.floor_dbm)) else None

    def read_all(self) -> Mapping[int, Watt | None]:
        """A fresh reading of channel 1."""
        return {1: self.read(1)}

    def safe_state(self) -> Safe:
        """It emits nothing."""
        return Safe(confirmed=True, said=f"{self.identity.model}: a power meter, emits nothing")


MOST_W: Final = 1e4
"""More than any of its sensors bears."""
