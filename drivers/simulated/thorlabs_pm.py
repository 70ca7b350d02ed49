"""Simulated optical power meters Thorlabs PM100D, PM101 and PM400 with one sensor."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.chance import chance
from drivers.simulated.plant import Places, Plant
from drivers.simulated.scpi import ScpiDevice, ScpiError, boolean, choice, count, integer, number

UNCONFIRMED: Final = (
    "PM100: that a sample takes 0.3 ms, and MEAS:POW? as many of them as SENS:AVER:COUN says",
    "PM100: that MEAS leaves settings as they are",
    "PM100: what is answered over range; here 9.9E37",
    "PM100: noise; here 50 pW in 0.1 s, and 1e-5 of the range",
    "PM100: energy and temperature sensors are not simulated: -113",
)

SAMPLE_S: Final = 0.3e-3
LOW_NM, HIGH_NM = 800.0, 1700.0
RANGES_W: Final = tuple(10.0**exponent for exponent in range(-8, -1))
FLAGS: Final = 1 + 32
"""Power, wavelength can be set."""
ZERO_S: Final = 1.0
WITHIN: Final = (0.25, 0.75)


@dataclass(slots=True)
class Settings:
    """What is set."""

    wavelength_nm: float = 1550.0
    dbm: bool = False
    samples: int = 100
    auto: bool = True
    range_w: float = 1e-3


class ThorlabsPm(ScpiDevice):
    """Looks at the plant's "<name>:1"."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        super().__init__(identity, clock)
        self.options = dict(options or {})
        self.plant = plant
        self.places = places
        self.gain = 10 ** (places.gain_db.get(1, 0.0) / 10)
        self.response, self.axis = 0.0, (1.0, 0.0, 0.0)
        if 1 in places.polarisation:
            self.response = math.tanh(places.polarisation[1][0] * math.log(10) / 20)
            self.axis = places.polarisation[1][1]
        self._noise = chance(places.seed, "meter", places.name, 1)
        self.dark_w = float(self._noise.normal(0, 1e-10))
        self.settings = Settings()
        self._speak()

    def reset(self) -> None:
        """`*RST`."""
        self.settings = Settings()

    def power_cycled(self) -> None:
        """Its feeds were away."""
        self.reset()

    def _sensed(self, at_ns: int) -> float:
        light = self.plant.light(self.places.channel(1), at_ns)
        along = float(light.power_w @ (light.stokes @ list(self.axis))) if self.response else 0.0
        return (light.total_w + self.response * along) * self.gain

    def _measured(self) -> float:
        """One reading, W; it takes its time."""
        seconds = self.settings.samples * SAMPLE_S
        self.wait(seconds)
        now_ns = self.clock.now_ns()
        watts = sum(self._sensed(now_ns - round(share * seconds * 1e9)) for share in WITHIN) / len(WITHIN)
        top = self.settings.range_w
        if self.settings.auto:
            top = next((each for each in RANGES_W if each >= watts), RANGES_W[-1])
        if watts > top * 1.1:
            self.error(-231)
            return math.inf
        sigma = math.hypot(5e-11, 1e-5 * top) * math.sqrt(0.1 / seconds)
        return watts + self.dark_w + float(self._noise.normal(0, sigma))

    def _speak(self) -> None:
        self.on("SYSTem:SENSor:IDN?", lambda suffixes, args: self._sensor())
        self.on("SENSe:CORRection:WAVelength", self._set_wavelength)
        self.on("SENSe:CORRection:WAVelength?", self._wavelength)
        self.on("SENSe:POWer[:DC]:UNIT", self._set_unit)
        self.on("SENSe:POWer[:DC]:UNIT?", lambda suffixes, args: "DBM" if self.settings.dbm else "W")
        self.on("SENSe:AVERage[:COUNt]", self._set_samples)
        self.on("SENSe:AVERage[:COUNt]?", lambda suffixes, args: str(self.settings.samples))
        self.on("SENSe:POWer[:DC]:RANGe:AUTO", self._set_auto)
        self.on("SENSe:POWer[:DC]:RANGe:AUTO?", lambda suffixes, args: str(int(self.settings.auto)))
        self.on("SENSe:POWer[:DC]:RANGe[:UPPer]", self._set_range)
        self.on("SENSe:POWer[:DC]:RANGe[:UPPer]?", lambda suffixes, args: f"{self.settings.range_w:.6E}")
        self.on("SENSe:CORRection:COLLect:ZERO[:INITiate]", self._zero)
        self.on("SENSe:CORRection:COLLect:ZERO:STATe?", lambda suffixes, args: str(int(self.busy())))
        self.on("CONFigure[:SCALar]:POWer", self._plain(lambda: None))
        for pattern in ("MEASure[:SCALar]:POWer?", "MEASure[:SCALar]?", "READ?"):
            self.on(pattern, self._read)

    def _sensor(self) -> str:
        return f"S132C-SIM,{self.identity.serial},01-Jan-2026,1,18,{FLAGS}"

    def _set_wavelength(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        self.settings.wavelength_nm = number(args[0], "", LOW_NM, HIGH_NM, 1550.0)

    def _wavelength(self, suffixes: tuple[int, ...], args: list[str]) -> str:
        count(args, 0, 1)
        known = {"": self.settings.wavelength_nm, "MIN": LOW_NM, "MAX": HIGH_NM, "DEF": 1550.0}
        asked = args[0].strip().upper()[:3] if args else ""
        if asked not in known:
            raise ScpiError(-224, args[0][:40])
        return f"{known[asked]:.6E}"

    def _set_unit(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        self.settings.dbm = choice(args[0], "W", "DBM") == "DBM"

    def _set_samples(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        self.settings.samples = integer(args[0], 1, 10_000, 1)

    def _set_auto(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        self.settings.auto = boolean(args[0])

    def _set_range(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 1)
        asked = number(args[0], "W", 0.0, RANGES_W[-1], RANGES_W[-1])
        self.settings.auto = False
        self.settings.range_w = next(each for each in RANGES_W if each >= asked * (1 - 1e-9))

    def _zero(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 0)
        # whatever light there is counts as darkness from now on
        self.dark_w = -self._sensed(self.clock.now_ns()) + float(self._noise.normal(0, 1e-11))
        self.begin(ZERO_S)

    def _read(self, suffixes: tuple[int, ...], args: list[str]) -> str:
        count(args, 0)
        watts = self._measured()
        if math.isinf(watts):
            return "9.900000E+37"
        if not self.settings.dbm:
            return f"{watts:.6E}"
        if watts <= 0:
            self.error(-261)
            return "9.910000E+37"
        return f"{10 * math.log10(watts * 1000):.6E}"
