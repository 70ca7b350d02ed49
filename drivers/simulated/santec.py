"""Simulated tunable lasers Santec TSL-550 and TSL-570."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from drivers.clock import Clock
from drivers.port import Identity
from drivers.quantity import C_M_PER_S
from drivers.simulated.chance import chance
from drivers.simulated.laser import Laser
from drivers.simulated.plant import Places, Plant
from drivers.simulated.scpi import ScpiDevice, ScpiError, boolean, count, integer, number

UNCONFIRMED: Final = (
    "TSL: that *OPC? answers 0 at once while it tunes",
    "TSL: how long tuning (here 0.3 s and 100 nm/s) and switching on (0.5 s) take",
    "TSL: unit mode after power-on: here legacy for the TSL-550, SCPI for the TSL-570",
    "TSL: that sweep speeds are in nm/s in both unit modes, and how the range shrinks with speed (here 5 nm above 100)",
    "TSL: powers; here -15 … 13 dBm",
    "TSL: triggers and the inner shutter are not simulated: -113",
)

LOW_M, HIGH_M = 1480e-9, 1640e-9
LOW_DBM, HIGH_DBM = -15.0, 13.0
SPEEDS_NM_S: Final[Mapping[str, tuple[float, float]]] = {"TSL-550": (0.5, 100.0), "TSL-570": (0.5, 200.0)}
ON_S: Final = 0.5
TUNE_S: Final = 0.3
TUNE_M_S: Final = 100e-9
RUN_UP_S: Final = 0.5
TICK_S: Final = 0.01
"""During a sweep the light moves in steps of so much."""
FAST_NM_S, LOSES_M = 100.0, 5e-9

Suffixes = tuple[int, ...]


@dataclass(slots=True)
class Settings:
    """What is set."""

    on: bool = False
    milliwatts: bool = False
    dbm: float = 0.0
    wavelength_m: float = 1550e-9
    start_m: float = 1530e-9
    stop_m: float = 1560e-9
    step_m: float = 1e-10
    speed_nm_s: float = 10.0
    dwell_s: float = 0.1
    delay_s: float = 0.0
    cycles: int = 1
    mode: int = 1
    """0 steps one way, 1 continuous one way, 2 steps both ways, 3 continuous both ways."""


class SantecTsl(ScpiDevice):
    """The plant's Laser of its name. ``metres``: its SCPI unit mode; else nm and THz."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        """``options``: ``units`` "legacy" or "scpi". Raises ValueError for others."""
        super().__init__(identity, clock)
        self.opc_blocks = False
        self.options = dict(options or {})
        self.model = identity.model.upper()
        units = self.options.get("units", "legacy" if self.model == "TSL-550" else "scpi")
        if units not in {"legacy", "scpi"}:
            raise ValueError(f"units of a TSL: legacy | scpi, not {units!r}")
        self.metres = units == "scpi"
        self.plant = plant
        self.places = places
        self.element = plant.get(places.name, Laser)
        self.monitor_db = float(chance(places.seed, "laser", places.name, "monitor").normal(0, 0.05))
        """True calibration error of its power monitor."""
        self.settings = Settings()
        self.sweep: tuple[int, int, int] = (0, 0, 0)
        """Start of the light's movement, end, length of one cycle of the sweep under way, ns."""
        self.reset()
        self._speak()

    def reset(self) -> None:
        """`*RST`: dark; the unit mode stays."""
        self.settings = Settings()
        self.sweep = (0, 0, 0)
        self.element.set_output(False)
        self.element.set_power(self.settings.dbm)
        self.element.set_wavelength(self.settings.wavelength_m)

    def power_cycled(self) -> None:
        """Its feeds were away."""
        self.reset()

    # -- what it does ----------------------------------------------------------------------------------------

    def sweeping(self) -> bool:
        """Whether a sweep is under way."""
        return self.clock.now_ns() < self.sweep[1]

    def _end(self) -> None:
        """Let a sweep under way come to its end."""
        self.wait(max(0.0, (self.sweep[1] - self.clock.now_ns()) / 1e9))

    def _still(self) -> None:
        if self.sweeping():
            raise ScpiError(-221, "sweeping")

    def set_output(self, *, on: bool) -> None:
        """Light on or off; a sweep comes to its end first."""
        self._end()
        if on and not self.settings.on:
            self.begin(ON_S)
        self.settings.on = on
        self.element.set_output(on)

    def tune(self, wavelength_m: float) -> None:
        """Another wavelength."""
        self._still()
        self.begin(TUNE_S + abs(wavelength_m - self.settings.wavelength_m) / TUNE_M_S)
        self.settings.wavelength_m = wavelength_m
        self.element.set_wavelength(wavelength_m)

    def range_m(self) -> tuple[float, float]:
        """Of a sweep at the present speed."""
        lost = LOSES_M if self.settings.speed_nm_s > FAST_NM_S else 0.0
        return LOW_M + lost, HIGH_M - lost

    def _start(self) -> None:
        self._still()
        settings = self.settings
        low, high = self.range_m()
        if not settings.on:
            raise ScpiError(-221, "laser is off")
        if not low - 1e-15 <= settings.start_m < settings.stop_m <= high + 1e-15:
            raise ScpiError(-221, "range of the sweep")
        span = settings.stop_m - settings.start_m
        if settings.mode in (1, 3):
            seconds = span / (settings.speed_nm_s * 1e-9)
            steps = max(2, int(seconds / TICK_S) + 1)
        else:
            steps = int(span / settings.step_m + 1e-6) + 1
            seconds = steps * (settings.dwell_s + 0.02)
        up = np.linspace(settings.start_m, settings.stop_m, steps).tolist()
        began_ns = at_ns = self.clock.now_ns() + round(RUN_UP_S * 1e9)
        length_ns = round((seconds + settings.delay_s) * 1e9)
        wavelength_m = up[-1]
        for _ in range(settings.cycles):
            for way in (up, up[::-1]) if settings.mode >= 2 else (up,):
                for number_, wavelength_m in enumerate(way):
                    self.element.set_wavelength(wavelength_m, at_ns=at_ns + round(number_ * seconds / steps * 1e9))
                at_ns += length_ns
        settings.wavelength_m = wavelength_m
        self.sweep = (began_ns, at_ns, length_ns)

    # -- units -----------------------------------------------------------------------------------------------

    def _metres(self, text: str, low_m: float, high_m: float) -> float:
        if self.metres:
            return number(text, "M", low_m - 1e-15, high_m + 1e-15, low_m)
        return number(text, "", low_m * 1e9 - 1e-6, high_m * 1e9 + 1e-6, low_m * 1e9) * 1e-9

    def _said_m(self, metres: float) -> str:
        return f"{metres:+.8E}" if self.metres else f"{metres * 1e9:+.4f}"

    def _said_hz(self, hertz: float) -> str:
        return f"{hertz:+.8E}" if self.metres else f"{hertz * 1e-12:+.6f}"

    # -- commands --------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        self.on("SYSTem:COMMunicate:CODe", self._set_units)
        self.on("SYSTem:COMMunicate:CODe?", lambda suffixes, args: str(int(self.metres)))
        self.on("POWer:STATe", self._set_output)
        self.on("POWer:STATe?", lambda suffixes, args: str(int(self.settings.on)))
        self.on("POWer:UNIT", self._set_unit)
        self.on("POWer:UNIT?", lambda suffixes, args: str(int(self.settings.milliwatts)))
        self.on("POWer[:LEVel]", self._set_power)
        self.on("POWer[:LEVel]?", lambda suffixes, args: self._power(self.settings.dbm))
        self.on("POWer:ACTual[:LEVel]?", self._actual)
        self.on("WAVelength", self._set_wavelength)
        self.on("WAVelength?", lambda suffixes, args: self._said_m(self.settings.wavelength_m))
        self.on("WAVelength:MINimum?", lambda suffixes, args: self._said_m(LOW_M))
        self.on("WAVelength:MAXimum?", lambda suffixes, args: self._said_m(HIGH_M))
        self.on("FREQuency", self._set_frequency)
        self.on("FREQuency?", lambda suffixes, args: self._said_hz(C_M_PER_S / self.settings.wavelength_m))
        sweep = "WAVelength:SWEep"
        self._wavelength(f"{sweep}:STARt", "start_m")
        self._wavelength(f"{sweep}:STOP", "stop_m")
        self.on(f"{sweep}:STEP[:WIDTh]", self._set_step)
        self.on(f"{sweep}:STEP[:WIDTh]?", lambda suffixes, args: self._said_m(self.settings.step_m))
        low, high = SPEEDS_NM_S[self.model]
        self._number(f"{sweep}:SPEed", "speed_nm_s", low, high)
        self._number(f"{sweep}:DWELl", "dwell_s", 0.0, 999.9)
        self._number(f"{sweep}:DELay", "delay_s", 0.0, 999.9)
        self._whole(f"{sweep}:CYCLes", "cycles", 1, 999)
        self._whole(f"{sweep}:MODe", "mode", 0, 3)
        self.on(f"{sweep}:COUNt?", self._done_cycles)
        self.on(f"{sweep}:RANGe:MINimum?", lambda suffixes, args: self._said_m(self.range_m()[0]))
        self.on(f"{sweep}:RANGe:MAXimum?", lambda suffixes, args: self._said_m(self.range_m()[1]))
        self.on(f"{sweep}[:STATe]", self._set_sweeping)
        self.on(f"{sweep}[:STATe]?", self._state)

    def _set_units(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.metres = boolean(args[0])

    def _set_output(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.set_output(on=boolean(args[0]))

    def _set_unit(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.settings.milliwatts = boolean(args[0])

    def _power(self, dbm: float) -> str:
        return f"{10 ** (dbm / 10):+.6f}" if self.settings.milliwatts else f"{dbm:+.3f}"

    def _set_power(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        if self.settings.milliwatts:
            milliwatts = number(args[0], "", 10 ** (LOW_DBM / 10), 10 ** (HIGH_DBM / 10))
            self.settings.dbm = float(10 * np.log10(milliwatts))
        else:
            self.settings.dbm = number(args[0], "DBM", LOW_DBM, HIGH_DBM, 0.0)
        self._end()
        self.element.set_power(self.settings.dbm)
        self.begin(0.1)

    def _actual(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        watts = self.plant.power(self.places.out)
        dbm = 10 * float(np.log10(watts * 1000)) + self.monitor_db if watts > 0 else -99.0
        return self._power(dbm)

    def _set_wavelength(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.tune(self._metres(args[0], LOW_M, HIGH_M))

    def _set_frequency(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        low, high = C_M_PER_S / HIGH_M, C_M_PER_S / LOW_M
        if self.metres:
            hertz = number(args[0], "HZ", low, high)
        else:
            hertz = number(args[0], "", low * 1e-12, high * 1e-12) * 1e12
        self.tune(C_M_PER_S / hertz)

    def _wavelength(self, pattern: str, name: str) -> None:
        def put(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            self._still()
            setattr(self.settings, name, self._metres(args[0], LOW_M, HIGH_M))

        self.on(pattern, put)
        self.on(f"{pattern}?", lambda suffixes, args: self._said_m(getattr(self.settings, name)))

    def _set_step(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self._still()
        self.settings.step_m = self._metres(args[0], 1e-13, HIGH_M - LOW_M)

    def _number(self, pattern: str, name: str, low: float, high: float) -> None:
        def put(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            self._still()
            setattr(self.settings, name, number(args[0], "", low, high))

        self.on(pattern, put)
        self.on(f"{pattern}?", lambda suffixes, args: f"{getattr(self.settings, name):+.1f}")

    def _whole(self, pattern: str, name: str, low: int, high: int) -> None:
        self.on(pattern, self._whole_setter(name, low, high))
        self.on(f"{pattern}?", lambda suffixes, args: f"{getattr(self.settings, name):+d}")

    def _whole_setter(self, name: str, low: int, high: int) -> Callable[[Suffixes, list[str]], None]:
        def put(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            self._still()
            setattr(self.settings, name, integer(args[0], low, high))

        return put

    def _done_cycles(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        began_ns, _, length_ns = self.sweep
        gone_ns = self.clock.now_ns() - began_ns
        ways = 2 if self.settings.mode >= 2 else 1
        return f"{min(self.settings.cycles, max(0, gone_ns // (length_ns * ways))) if length_ns else 0:+d}"

    def _set_sweeping(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        if boolean(args[0]):
            self._start()
        else:
            self._end()

    def _state(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        now_ns, (began_ns, until_ns, _) = self.clock.now_ns(), self.sweep
        return "+4" if now_ns < began_ns else "+1" if now_ns < until_ns else "+0"
