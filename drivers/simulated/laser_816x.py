"""Simulated tunable lasers: modules in a mainframe 8163, 8164 or 8166 of Keysight or Agilent, boxes N7776C, N7777C."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated import n77xx
from drivers.simulated.chance import chance
from drivers.simulated.laser import Laser
from drivers.simulated.n77xx import SWEEPING, Limits, N77xx, Suffixes, in_dbm, in_watts, nr1, nr3
from drivers.simulated.plant import Places, Plant
from drivers.simulated.scpi import ScpiError, boolean, choice, count, integer, number

UNCONFIRMED: Final = (
    *n77xx.UNCONFIRMED,
    "816x: that *OPC? answers at once; how long tuning (here 0.3 s and 100 nm/s) and switching on (0.5 s) take",
    "816x: ranges, powers and sweep speeds of the modules",
    "816x: which error follows light switched on while locked (here -221), or a wrong PIN (here -220)",
    "816x: limits behind CHEC? 369 … 373 and 378",
    "816x: a sweep that is stopped runs to its end first, pausing is not simulated: -224",
)

PIN: Final = "1234"
ON_S: Final = 0.5
TUNE_S: Final = 0.3
TUNE_M_S: Final = 100e-9
RUN_UP_S: Final = 0.2
FINEST_M: Final = 1e-13
"""Smallest step of a sweep."""
MOST_TRIGGERS: Final = 100_000
FASTEST_HZ: Final = 1_000_000
SHORTEST_S, LONGEST_S = 0.005, 100_000.0
LOGGED_M: Final = 5e-14
"""Standard deviation of a logged wavelength."""

WRONG: Final[Mapping[int, str]] = {
    368: "LambdaStop <=LambdaStart", 369: "sweepTime too small", 370: "sweepTime too big", 371: "trigFreq > max",
    372: "stepsize too small", 373: "triggerNum > max", 374: "LambdaLogging only with coherence control modulation",
    375: "LambdaLogging only with StepFinished output trigger", 376: "LambdaLogging in stepped mode",
    377: "stepsize not multiple of 0.1 pm", 378: "triggerNum > max", 379: "modulation on", 380: "LambdaStart < min",
    381: "LambdaStop > max",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Kind:
    """What lasers differ by."""

    wavelength: Limits
    power: Limits
    speeds_nm_s: tuple[float, ...]


KINDS: Final[Mapping[str, Kind]] = {
    "81600B": Kind(Limits("M", 1440e-9, 1640e-9, 1550e-9), Limits("DBM", -10.0, 10.0, 0.0), (0.5, 5, 20, 40, 80)),
    "81940A": Kind(Limits("M", 1520e-9, 1630e-9, 1550e-9), Limits("DBM", -3.0, 13.0, 6.0), (0.5, 5, 20, 40)),
    "81960A": Kind(Limits("M", 1505e-9, 1630e-9, 1550e-9), Limits("DBM", -3.0, 14.0, 6.0), (0.5, 5, 40, 80, 200)),
    "N7776C": Kind(
        Limits("M", 1480e-9, 1640e-9, 1550e-9), Limits("DBM", -5.0, 13.0, 0.0), (0.5, 1, 10, 40, 50, 80, 200)
    ),
    "N7777C": Kind(Limits("M", 1490e-9, 1640e-9, 1550e-9), Limits("DBM", -5.0, 13.0, 0.0), (0.5, 1, 10, 40, 50, 80)),
}
FRAMES: Final[Mapping[str, tuple[range, int, str]]] = {
    "8163A": (range(1, 3), 1, "81940A"), "8163B": (range(1, 3), 1, "81940A"),
    "8164A": (range(5), 0, "81600B"), "8164B": (range(5), 0, "81600B"),
    "8166A": (range(1, 18), 1, "81940A"), "8166B": (range(1, 18), 1, "81940A"),
    "N7776C": (range(2), 0, "N7776C"), "N7777C": (range(2), 0, "N7777C"),
}  # fmt: skip
"""Model → (slots, the laser's slot, its module) unless the lab table names others."""


@dataclass(slots=True)
class Sweep:
    """How a wavelength sweep is set up."""

    mode: str = "STEP"
    start_m: float = 1540e-9
    stop_m: float = 1560e-9
    step_m: float = 1e-9
    speed_m_s: float = 5e-10
    dwell_s: float = 0.1
    repeat: str = "ONEW"
    cycles: int = 1
    logging: bool = False


@dataclass(slots=True)
class Settings:
    """One laser's."""

    dbm: float = 0.0
    wavelength_m: float = 1550e-9
    on: bool = False
    watts: bool = False
    modulated: bool = False
    path: str = "HIGH"
    trigger_out: str = "DIS"
    trigger_in: str = "IGN"
    sweep: Sweep = field(default_factory=Sweep)
    until_ns: int = 0
    """End of the sweep under way."""
    logged: bool = False
    """The sweep under way, or the last one, logs its wavelengths."""
    wavelengths_m: tuple[float, ...] = ()
    """What it logs."""


class Laser816x(N77xx):
    """The laser of a mainframe: the plant's Laser of its name. ``trigger_sinks`` are told when its triggers come."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        self.options = dict(options or {})
        slots, slot, module = FRAMES[identity.model.upper()]
        modules = {int(key): str(name) for key, name in dict(self.options.get("modules", {slot: module})).items()}
        self.laser_slot = min((each for each, name in modules.items() if name in KINDS), default=slot)
        super().__init__(identity, clock, modules, slots)
        self.kind = KINDS[modules[self.laser_slot]]
        self.plant = plant
        self.places = places
        self.element = plant.get(places.name, Laser)
        self.locked = bool(self.options.get("locked", False))
        self.pin = PIN
        self.trigger_sinks: list[Callable[[Sequence[int]], None]] = []
        self.trigger_mode = "DEF"
        self._noise = chance(places.seed, "laser", places.name, "logged")
        self.settings = Settings()
        self.reset()
        self._speak()

    def reset(self) -> None:
        """`*RST`: dark."""
        self.settings = Settings(
            dbm=self.kind.power.default,
            wavelength_m=self.kind.wavelength.default,
            sweep=Sweep(speed_m_s=min(self.kind.speeds_nm_s) * 1e-9),
        )
        self.trigger_mode = "DEF"
        self.element.set_output(False)
        self.element.set_power(self.settings.dbm)
        self.element.set_wavelength(self.settings.wavelength_m)

    def power_cycled(self) -> None:
        """Its feeds were away."""
        self.reset()

    def condition(self, slot: int) -> int:
        """A sweep under way."""
        return SWEEPING if slot == self.laser_slot and self.sweeping() else 0

    def sweeping(self) -> bool:
        """Whether one is under way."""
        return self.clock.now_ns() < self.settings.until_ns

    # -- what it does ----------------------------------------------------------------------------------------

    def laser(self, suffixes: Suffixes) -> Settings:
        """The laser that a header means. Raises ScpiError -114, -301 (another module), -303."""
        if self.slot(suffixes) != self.laser_slot:
            raise ScpiError(-301)
        return self.settings

    def _still(self) -> None:
        """Raises ScpiError -221 during a sweep."""
        if self.sweeping():
            raise ScpiError(-221, "sweeping")

    def set_output(self, *, on: bool) -> None:
        """Light on or off. Raises ScpiError -221 while locked."""
        if on and self.locked:
            raise ScpiError(-221, "laser is locked")
        self._end()
        if on != self.settings.on:
            self.begin(ON_S if on else 0.0, self.laser_slot)
        self.settings.on = on
        self.element.set_output(on)

    def tune(self, wavelength_m: float) -> None:
        """Another wavelength."""
        self._still()
        self.begin(TUNE_S + abs(wavelength_m - self.settings.wavelength_m) / TUNE_M_S, self.laser_slot)
        self.settings.wavelength_m = wavelength_m
        self.element.set_wavelength(wavelength_m)

    def _end(self) -> None:
        """Let a sweep under way come to its end."""
        self.wait(max(0.0, (self.settings.until_ns - self.clock.now_ns()) / 1e9))

    # -- sweeps ----------------------------------------------------------------------------------------------

    def triggers(self) -> int:
        """Steps of a sweep, its start included."""
        sweep = self.settings.sweep
        return int((sweep.stop_m - sweep.start_m) / sweep.step_m + 1e-6) + 1

    def _period_s(self) -> float:
        sweep = self.settings.sweep
        return sweep.step_m / sweep.speed_m_s if sweep.mode == "CONT" else sweep.dwell_s + 0.05

    def wrong(self) -> int:
        """What is wrong with the sweep as it is set up; 0: nothing."""
        settings, limits = self.settings, self.kind.wavelength
        sweep = settings.sweep
        steps = sweep.step_m / FINEST_M
        if sweep.stop_m <= sweep.start_m:
            return 368
        if sweep.start_m < limits.low - 1e-15:
            return 380
        if sweep.stop_m > limits.high + 1e-15:
            return 381
        if sweep.logging and sweep.mode != "CONT":
            return 376
        if sweep.logging and settings.trigger_out != "STF":
            return 375
        if settings.modulated:
            return 374 if sweep.logging else 379
        if steps < 1 - 1e-6:
            return 372
        if abs(steps - round(steps)) > 1e-3:
            return 377
        if sweep.mode == "CONT" and settings.trigger_out == "STF" and sweep.speed_m_s / sweep.step_m > FASTEST_HZ:
            return 371
        if self.triggers() > MOST_TRIGGERS:
            return 373
        seconds = self.triggers() * self._period_s()
        return 369 if seconds < SHORTEST_S else 370 if seconds > LONGEST_S else 0

    def _start(self) -> None:
        self._still()
        if not self.settings.on:
            raise ScpiError(-221, "laser is off")
        code = self.wrong()
        if code:
            raise ScpiError(-221, WRONG[code])
        settings, sweep = self.settings, self.settings.sweep
        many, period_s = self.triggers(), self._period_s()
        up = sweep.start_m + sweep.step_m * np.arange(many)
        at_ns = self.clock.now_ns() + round(RUN_UP_S * 1e9)
        for cycle in range(sweep.cycles * (2 if sweep.repeat == "TWOW" else 1)):
            way = up if sweep.repeat == "ONEW" or cycle % 2 == 0 else up[::-1]
            times_ns = [at_ns + round(k * period_s * 1e9) for k in range(many)]
            for each_ns, wavelength_m in zip(times_ns, way.tolist(), strict=True):
                self.element.set_wavelength(wavelength_m, at_ns=each_ns)
            if settings.trigger_out == "STF":
                self._tell(times_ns)
            elif settings.trigger_out == "SWST":
                self._tell(times_ns[:1])
            elif settings.trigger_out == "SWF":
                self._tell(times_ns[-1:])
            at_ns += round((many * period_s + RUN_UP_S) * 1e9)
        settings.wavelength_m = float(way[-1])
        settings.until_ns = at_ns
        settings.logged = sweep.logging
        # sorted, as a wavemeter in a laser that runs upwards
        settings.wavelengths_m = (
            tuple(np.sort(up + self._noise.normal(0, LOGGED_M, many)).tolist()) if sweep.logging else ()
        )

    def _tell(self, times_ns: Sequence[int]) -> None:
        if self.trigger_mode != "DIS":
            for sink in self.trigger_sinks:
                sink(times_ns)

    # -- commands --------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        source = "SOURce#[:CHANnel#]"
        self.on("LOCK", self._lock)
        self.on("LOCK?", lambda suffixes, args: nr1(int(self.locked)))
        for pattern in (f"{source}:POWer:STATe", "OUTPut#[:CHANnel#][:STATe]"):
            self.on(pattern, self._set_output)
            self.on(f"{pattern}?", lambda suffixes, args: nr1(int(self.laser(suffixes).on)))
        self.on("OUTPut#[:CHANnel#]:PATH", self._set_path)
        self.on("OUTPut#[:CHANnel#]:PATH?", lambda suffixes, args: self.laser(suffixes).path)
        self.on(f"{source}:POWer:UNIT", self._set_unit)
        self.on(f"{source}:POWer:UNIT?", lambda suffixes, args: nr1(int(self.laser(suffixes).watts)))
        self.on(f"{source}:POWer[:LEVel][:IMMediate][:AMPLitude]", self._set_power)
        self.on(f"{source}:POWer[:LEVel][:IMMediate][:AMPLitude]?", self._power)
        self.on(f"{source}:WAVelength[:CW]", self._set_wavelength)
        self.on(
            f"{source}:WAVelength[:CW]?",
            lambda suffixes, args: self.kind.wavelength.said(args, self.laser(suffixes).wavelength_m),
        )
        self.on(f"{source}:AM:STATe", self._set_modulation)
        self.on(f"{source}:AM:STATe?", lambda suffixes, args: nr1(int(self.laser(suffixes).modulated)))
        self._sweeps(f"{source}:WAVelength:SWEep")
        self.on(f"{source}:READout:POINts?", self._points)
        self.on(f"{source}:READout:DATA?", self._data)
        self.on("TRIGger#[:CHANnel#]:OUTPut", self._set_trigger_out)
        self.on("TRIGger#[:CHANnel#]:OUTPut?", lambda suffixes, args: self.laser(suffixes).trigger_out)
        self.on("TRIGger#[:CHANnel#]:INPut", self._set_trigger_in)
        self.on("TRIGger#[:CHANnel#]:INPut?", lambda suffixes, args: self.laser(suffixes).trigger_in)
        self.on("TRIGger:CONFiguration", self._set_trigger_mode)
        self.on("TRIGger:CONFiguration?", lambda suffixes, args: self.trigger_mode)

    def _lock(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 2)
        locked = boolean(args[0])
        if args[1].strip() != self.pin:
            raise ScpiError(-220, "wrong PIN")
        self.locked = locked
        if locked and self.settings.on:
            self.set_output(on=False)

    def _set_output(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.laser(suffixes)
        self.set_output(on=boolean(args[0]))

    def _set_path(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.laser(suffixes).path = choice(args[0], "HIGHpower", "LOWSse", "BHRegulated", "BLRegulated")

    def _set_unit(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        word = args[0].strip().upper()
        units = {"0": False, "DBM": False, "1": True, "W": True, "WATT": True}
        if word not in units:
            raise ScpiError(-224, word[:40])
        self.laser(suffixes).watts = units[word]

    def _limits(self, *, watts: bool) -> Limits:
        dbm = self.kind.power
        return Limits("W", in_watts(dbm.low), in_watts(dbm.high), in_watts(dbm.default)) if watts else dbm

    def _set_power(self, suffixes: Suffixes, args: list[str]) -> None:
        settings = self.laser(suffixes)
        value = self._limits(watts=settings.watts).read(args)
        settings.dbm = in_dbm(value) if settings.watts else value
        self._end()
        self.element.set_power(settings.dbm)
        self.begin(0.1, self.laser_slot)

    def _power(self, suffixes: Suffixes, args: list[str]) -> str:
        settings = self.laser(suffixes)
        now = in_watts(settings.dbm) if settings.watts else settings.dbm
        return self._limits(watts=settings.watts).said(args, now)

    def _set_wavelength(self, suffixes: Suffixes, args: list[str]) -> None:
        self.laser(suffixes)
        self.tune(self.kind.wavelength.read(args))

    def _set_modulation(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.laser(suffixes).modulated = boolean(args[0])

    def _sweeps(self, sweep: str) -> None:
        limits = self.kind.wavelength
        self._number(f"{sweep}:STARt", "start_m", limits)
        self._number(f"{sweep}:STOP", "stop_m", limits)
        self._number(f"{sweep}:STEP[:WIDTh]", "step_m", Limits("M", FINEST_M / 10, limits.high - limits.low, 1e-9))
        self._number(f"{sweep}:DWELl", "dwell_s", Limits("S", 0.0, 10.0, 0.1))
        self.on(f"{sweep}:SPEed", self._set_speed)
        speeds = [each * 1e-9 for each in self.kind.speeds_nm_s]
        allowed = Limits("M/S", min(speeds), max(speeds), min(speeds))
        self.on(f"{sweep}:SPEed?", lambda suffixes, args: allowed.said(args, self.laser(suffixes).sweep.speed_m_s))
        self._word(f"{sweep}:MODE", "mode", ("STEPped", "MANual", "CONTinuous"))
        self._word(f"{sweep}:REPeat", "repeat", ("ONEWay", "TWOWay"))
        self.on(f"{sweep}:CYCLes", self._set_cycles)
        self.on(f"{sweep}:CYCLes?", lambda suffixes, args: nr1(self.laser(suffixes).sweep.cycles))
        self.on(f"{sweep}:LLOGging", self._set_logging)
        self.on(f"{sweep}:LLOGging?", lambda suffixes, args: nr1(int(self.laser(suffixes).sweep.logging)))
        self.on(f"{sweep}:CHECkparams?", self._check)
        self.on(f"{sweep}:EXPectedtriggernum?", self._expected)
        self.on(f"{sweep}:PMAX?", self._most_power)
        self.on(f"{sweep}[:STATe]", self._set_sweeping)
        self.on(f"{sweep}[:STATe]?", lambda suffixes, args: nr1(int(bool(self.laser(suffixes)) and self.sweeping())))
        self.on(f"{sweep}:STEP:NEXT", self._step(+1))
        self.on(f"{sweep}:STEP:PREVious", self._step(-1))

    def _number(self, pattern: str, name: str, limits: Limits) -> None:
        def put(suffixes: Suffixes, args: list[str]) -> None:
            settings = self.laser(suffixes)
            self._still()
            setattr(settings.sweep, name, limits.read(args))

        self.on(pattern, put)
        self.on(f"{pattern}?", lambda suffixes, args: limits.said(args, getattr(self.laser(suffixes).sweep, name)))

    def _word(self, pattern: str, name: str, options: tuple[str, ...]) -> None:
        def put(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            settings = self.laser(suffixes)
            self._still()
            setattr(settings.sweep, name, choice(args[0], *options))

        self.on(pattern, put)
        self.on(f"{pattern}?", lambda suffixes, args: str(getattr(self.laser(suffixes).sweep, name)))

    def _set_speed(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        settings = self.laser(suffixes)
        self._still()
        speeds = [each * 1e-9 for each in self.kind.speeds_nm_s]
        asked = number(args[0], "M/S", min(speeds) - 1e-15, max(speeds) + 1e-15, min(speeds))
        near = min(speeds, key=lambda each: abs(each - asked))
        if settings.sweep.mode == "CONT" and abs(near - asked) > 1e-3 * asked:
            raise ScpiError(-224, "StatParmInconsistent")
        settings.sweep.speed_m_s = near if abs(near - asked) <= 1e-3 * asked else asked

    def _set_cycles(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        settings = self.laser(suffixes)
        self._still()
        settings.sweep.cycles = integer(args[0], 1, 999, 1)

    def _set_logging(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        settings = self.laser(suffixes)
        self._still()
        settings.sweep.logging = boolean(args[0])

    def _check(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        self.laser(suffixes)
        code = self.wrong()
        return f"{code},{WRONG[code]}" if code else "0,OK"

    def _expected(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        self.laser(suffixes)
        return nr1(self.triggers())

    def _most_power(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 2)
        settings, limits = self.laser(suffixes), self.kind.wavelength
        for each in args:
            number(each, "M", limits.low, limits.high, limits.default)
        return nr3(self._limits(watts=settings.watts).high)

    def _set_sweeping(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.laser(suffixes)
        word = args[0].strip().upper()
        if re.fullmatch(r"[+]?1|START?", word):
            self._start()
        elif re.fullmatch(r"[+]?0|STOP", word):
            self._end()
        else:
            raise ScpiError(-224, word[:40])

    def _step(self, way: int) -> Callable[[Suffixes, list[str]], None]:
        def step(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 0)
            settings = self.laser(suffixes)
            if settings.sweep.mode != "MAN":
                raise ScpiError(-221, "not in manual mode")
            wanted = settings.wavelength_m + way * settings.sweep.step_m
            if not settings.sweep.start_m - 1e-15 <= wanted <= settings.sweep.stop_m + 1e-15:
                raise ScpiError(-222)
            self.tune(wanted)

        return step

    def _logged(self, suffixes: Suffixes, args: list[str]) -> tuple[float, ...]:
        count(args, 1)
        settings = self.laser(suffixes)
        choice(args[0], "LLOGging")
        return () if self.sweeping() else settings.wavelengths_m

    def _points(self, suffixes: Suffixes, args: list[str]) -> str:
        return nr1(len(self._logged(suffixes, args)))

    def _data(self, suffixes: Suffixes, args: list[str]) -> bytes:
        found = self._logged(suffixes, args)
        if not found:
            raise ScpiError(-284 if self.sweeping() else -286)
        return np.array(found, dtype="<f8").tobytes()

    def _set_trigger_out(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        options = ("DISabled", "STFinished", "SWSTarted", "SWFinished", "AVGover", "MEASure", "MODulation")
        self.laser(suffixes).trigger_out = choice(args[0], *options)

    def _set_trigger_in(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.laser(suffixes).trigger_in = choice(args[0], "IGNore", "NEXTstep", "SWStart", "SMEasure", "CMEasure")

    def _set_trigger_mode(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.trigger_mode = choice(args[0], "DISabled", "DEFault", "PASSthrough", "LOOPback")
