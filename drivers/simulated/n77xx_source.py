"""Simulated tunable laser sources Keysight N7711A and N7714A, which are set by optical frequency."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.quantity import C_M_PER_S
from drivers.simulated import n77xx
from drivers.simulated.laser import Laser
from drivers.simulated.n77xx import Limits, N77xx, Suffixes, in_dbm, in_watts, nr1, nr3
from drivers.simulated.plant import Places, Plant
from drivers.simulated.scpi import ScpiError, boolean, count, integer, number

UNCONFIRMED: Final = (
    *n77xx.UNCONFIRMED,
    "N771x: ranges (here 191.3 … 196.25 THz, 6 … 15 dBm) and how long tuning and switching on take (here 8 s)",
    "N771x: that a new frequency is taken while the laser is on, and that it is dark meanwhile",
    "N771x: units of GRID and OFFS (here Hz) and what TOGR does (here: to the nearest channel of the grid)",
)

LASERS: Final[Mapping[str, int]] = {"N7711A": 1, "N7714A": 4}
TUNE_S: Final = 8.0
FREQUENCY: Final = Limits("HZ", 191.3e12, 196.25e12, 193.4e12)
POWER: Final = Limits("DBM", 6.0, 15.0, 10.0)
GRID: Final = Limits("HZ", 1e8, 1e12, 5e10)
OFFSET: Final = Limits("HZ", -6e9, 6e9, 0.0)


@dataclass(slots=True)
class Settings:
    """One laser's."""

    on: bool = False
    watts: bool = False
    dbm: float = 10.0
    automatic: bool = True
    frequency_hz: float = 193.4e12
    reference_hz: float = 193.1e12
    grid_hz: float = 5e10
    channel: int = 6
    offset_hz: float = 0.0


class N77xxSource(N77xx):
    """Laser k, in slot k, is channel k of the plant's Laser of its name."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        self.options = dict(options or {})
        lasers = LASERS[identity.model.upper()]
        super().__init__(identity, clock, dict.fromkeys(range(1, lasers + 1), identity.model), range(1, 5))
        self.plant = plant
        self.places = places
        self.element = plant.get(places.name, Laser)
        self.lasers: dict[int, Settings] = {}
        self.reset()
        self._speak()

    def reset(self) -> None:
        """`*RST`: dark."""
        self.lasers = {slot: Settings() for slot in self.modules}
        for slot, settings in self.lasers.items():
            self.element.set_output(False, slot)
            self.element.set_power(settings.dbm, slot)
            self.element.set_wavelength(C_M_PER_S / settings.frequency_hz, slot)

    def power_cycled(self) -> None:
        """Its feeds were away."""
        self.reset()

    # -- what it does ----------------------------------------------------------------------------------------

    def _tune(self, slot: int) -> None:
        """To the frequency that is set; dark until it is there."""
        settings = self.lasers[slot]
        if not settings.automatic:
            wanted = settings.reference_hz + settings.channel * settings.grid_hz + settings.offset_hz
            if not FREQUENCY.low <= wanted <= FREQUENCY.high:
                raise ScpiError(-222)
            settings.frequency_hz = wanted
        self.element.set_output(False, slot)
        self.element.set_wavelength(C_M_PER_S / settings.frequency_hz, slot)
        self.begin(TUNE_S, slot)
        self._emit(slot)

    def _emit(self, slot: int) -> None:
        if self.lasers[slot].on:
            self.element.set_output(True, slot, self.clock.now_ns() + round(self.remaining_s(slot) * 1e9))

    def set_output(self, slot: int, *, on: bool) -> None:
        """Light on, which takes a while, or off, which does not."""
        settings = self.lasers[slot]
        if on == settings.on:
            return
        settings.on = on
        if on:
            self.begin(TUNE_S, slot)
            self._emit(slot)
        else:
            self.finish(slot)
            self.element.set_output(False, slot)

    # -- commands --------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        source = "SOURce#[:CHANnel#]"
        for pattern in (f"{source}:POWer:STATe", "OUTPut#[:CHANnel#][:STATe]"):
            self.on(pattern, self._set_output)
            self.on(f"{pattern}?", lambda suffixes, args: nr1(int(self._laser(suffixes).on)))
        self.on(f"{source}:POWer:UNIT", self._set_unit)
        self.on(f"{source}:POWer:UNIT?", lambda suffixes, args: nr1(int(self._laser(suffixes).watts)))
        self.on(f"{source}:POWer[:LEVel][:IMMediate][:AMPLitude]", self._set_power)
        self.on(f"{source}:POWer[:LEVel][:IMMediate][:AMPLitude]?", self._power)
        self.on(f"{source}:FREQuency:AUTO", self._set_automatic)
        self.on(f"{source}:FREQuency:AUTO?", lambda suffixes, args: nr1(int(self._laser(suffixes).automatic)))
        self.on(f"{source}:FREQuency[:CW]", self._tuned(FREQUENCY, "frequency_hz", automatic=True))
        self.on(f"{source}:WAVelength[:CW]", self._set_wavelength)
        self.on(f"{source}:WAVelength[:CW]?", self._wavelength)
        self.on(f"{source}:FREQuency:REFerence", self._tuned(FREQUENCY, "reference_hz", automatic=False))
        self.on(f"{source}:FREQuency:GRID", self._tuned(GRID, "grid_hz", automatic=False))
        self.on(f"{source}:FREQuency:OFFSet", self._tuned(OFFSET, "offset_hz", automatic=False))
        self._ask(f"{source}:FREQuency[:CW]?", FREQUENCY, "frequency_hz")
        self._ask(f"{source}:FREQuency:REFerence?", FREQUENCY, "reference_hz")
        self._ask(f"{source}:FREQuency:GRID?", GRID, "grid_hz")
        self._ask(f"{source}:FREQuency:OFFSet?", OFFSET, "offset_hz")
        self.on(f"{source}:FREQuency:CHANnel", self._set_channel)
        self.on(f"{source}:FREQuency:CHANnel?", lambda suffixes, args: nr1(self._laser(suffixes).channel))
        self.on(f"{source}:FREQuency:TOGRid", self._to_grid)

    def _laser(self, suffixes: Suffixes) -> Settings:
        return self.lasers[self.slot(suffixes)]

    def _ask(self, pattern: str, limits: Limits, name: str) -> None:
        self.on(pattern, lambda suffixes, args: limits.said(args, getattr(self._laser(suffixes), name)))

    def _in_mode(self, settings: Settings, *, automatic: bool) -> None:
        if settings.automatic != automatic:
            raise ScpiError(-221, f"not allowed while frequency auto mode is {'on' if settings.automatic else 'off'}")

    def _tuned(self, limits: Limits, name: str, *, automatic: bool) -> Callable[[Suffixes, list[str]], None]:
        def put(suffixes: Suffixes, args: list[str]) -> None:
            settings = self._laser(suffixes)
            self._in_mode(settings, automatic=automatic)
            if not automatic and settings.on:
                raise ScpiError(-221, "not allowed while laser is on")
            before = getattr(settings, name)
            setattr(settings, name, limits.read(args))
            try:
                self._tune(self.slot(suffixes))
            except ScpiError:
                setattr(settings, name, before)
                raise

        return put

    def _set_wavelength(self, suffixes: Suffixes, args: list[str]) -> None:
        settings = self._laser(suffixes)
        self._in_mode(settings, automatic=True)
        count(args, 1)
        metres = number(args[0], "M", C_M_PER_S / FREQUENCY.high, C_M_PER_S / FREQUENCY.low)
        settings.frequency_hz = min(max(C_M_PER_S / metres, FREQUENCY.low), FREQUENCY.high)
        self._tune(self.slot(suffixes))

    def _wavelength(self, suffixes: Suffixes, args: list[str]) -> str:
        limits = Limits("M", C_M_PER_S / FREQUENCY.high, C_M_PER_S / FREQUENCY.low, C_M_PER_S / FREQUENCY.default)
        return limits.said(args, C_M_PER_S / self._laser(suffixes).frequency_hz)

    def _set_automatic(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        settings = self._laser(suffixes)
        wanted = boolean(args[0])
        if settings.on and wanted != settings.automatic:
            raise ScpiError(-221, "not allowed while laser is on")
        settings.automatic = wanted

    def _set_channel(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        settings = self._laser(suffixes)
        self._in_mode(settings, automatic=False)
        if settings.on:
            raise ScpiError(-221, "not allowed while laser is on")
        before = settings.channel
        settings.channel = integer(args[0], -10_000, 10_000)
        try:
            self._tune(self.slot(suffixes))
        except ScpiError:
            settings.channel = before
            raise

    def _to_grid(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 0)
        settings = self._laser(suffixes)
        self._in_mode(settings, automatic=False)
        offset = settings.frequency_hz - settings.reference_hz
        settings.channel, settings.offset_hz = math.floor(offset / settings.grid_hz + 0.5), 0.0
        self._tune(self.slot(suffixes))

    def _set_output(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.set_output(self.slot(suffixes), on=boolean(args[0]))

    def _set_unit(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        word = args[0].strip().upper()
        units = {"0": False, "DBM": False, "1": True, "W": True, "WATT": True}
        if word not in units:
            raise ScpiError(-224, word[:40])
        self._laser(suffixes).watts = units[word]

    @staticmethod
    def _powers(*, watts: bool) -> Limits:
        return Limits("W", in_watts(POWER.low), in_watts(POWER.high), in_watts(POWER.default)) if watts else POWER

    def _set_power(self, suffixes: Suffixes, args: list[str]) -> None:
        settings, slot = self._laser(suffixes), self.slot(suffixes)
        value = self._powers(watts=settings.watts).read(args)
        settings.dbm = in_dbm(value) if settings.watts else value
        self.element.set_power(settings.dbm, slot)
        self.begin(0.2, slot)

    def _power(self, suffixes: Suffixes, args: list[str]) -> str:
        settings = self._laser(suffixes)
        if not args:
            return nr3(in_watts(settings.dbm) if settings.watts else settings.dbm)
        return self._powers(watts=settings.watts).said(args, settings.dbm)
