"""Simulated optical attenuators Keysight N7751A, N7752A, N7761A, N7762A, N7764A, N7766A and N7768A."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated import n77xx
from drivers.simulated.attenuator import Attenuator
from drivers.simulated.chance import chance
from drivers.simulated.n77xx import Limits, N77xx, Suffixes, in_dbm, in_watts, nr1, nr3
from drivers.simulated.plant import Places, Plant
from drivers.simulated.scpi import ScpiError, boolean, count, number

UNCONFIRMED: Final = (
    *n77xx.UNCONFIRMED,
    "N775x/6x: transition speed after *RST; here the fastest, 1000 dB/s, also for single-mode models",
    "N775x/6x: how long a shutter takes; here 20 ms",
    "N775x/6x: where STATn:OPER:COND tells that a power cannot be reached (ExP); here bit 9",
    "N775x/6x: ranges of models other than the N7764A; here its own, 35 dB for multimode",
    "N775x/6x: INP:ATT:ALL and its like set whatever they can before -224",
    "N7751A/52A: the power meters in slots 5 and 6 are not simulated: -301",
    "N775x/6x: built-in monitors are calibrated to 0.1 dB (standard deviation) and have no noise",
)

ATTENUATORS: Final[Mapping[str, int]] = {
    "N7751A": 1, "N7752A": 2, "N7761A": 1, "N7762A": 2, "N7764A": 4, "N7766A": 2, "N7768A": 4,
}  # fmt: skip
METERS: Final = frozenset({"N7751A", "N7752A"})
"""These have power meters in slots 5 and 6."""
MULTIMODE: Final = frozenset({"N7766A", "N7768A"})
FAST_DB_S: Final = 1000.0
SHUTTER_S: Final = 0.02
CONTROL_S: Final = 0.002
ZERO_S: Final = 3.0
UNREACHED: Final = 512
SETTLED: Final = 0.001
"""A filter is there when it is no further off, dB."""


@dataclass(slots=True)
class Filter:
    """One attenuator's settings."""

    filter_db: float = 0.0
    offset_db: float = 0.0
    speed_db_s: float = FAST_DB_S
    wavelength_m: float = 1550e-9
    open: bool = False
    open_at_power_on: bool = False
    watts: bool = False
    power_offset_db: float = 0.0
    reference_dbm: float = 0.0
    control: bool = False
    wanted_dbm: float | None = None
    averaging_s: float = 0.01
    unreached: bool = False


class N77xxAttenuator(N77xx):
    """Attenuator k sits in slots 2k-1 and 2k, and is channel k of the plant's Attenuator of its name."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        model = identity.model.upper()
        channels = ATTENUATORS[model]
        slots = [*range(1, 2 * channels + 1), *((5, 6) if model in METERS else ())]
        super().__init__(identity, clock, dict.fromkeys(slots, identity.model), range(1, 9))
        self.options = dict(options or {})
        self.plant = plant
        self.places = places
        self.element = plant.get(places.name, Attenuator)
        self.channels = channels
        self.range = Limits("DB", 0.0, 35.0 if model in MULTIMODE else 45.0, 0.0)
        self.wavelengths = (
            Limits("M", 800e-9, 1350e-9, 1075e-9) if model in MULTIMODE else Limits("M", 1260e-9, 1640e-9, 1450e-9)
        )
        self.speeds = Limits("DB/S", 0.1, FAST_DB_S, FAST_DB_S)
        source = chance(places.seed, "attenuator", places.name, "monitors")
        self.monitor_db = {each: float(source.normal(0, 0.1)) for each in range(1, channels + 1)}
        """True calibration error of each built-in monitor."""
        self.filters: dict[int, Filter] = {}
        self.reset()
        self._speak()

    def reset(self) -> None:
        """`*RST`: no attenuation, shutters closed."""
        self.filters = {channel: Filter() for channel in range(1, self.channels + 1)}
        for channel in self.filters:
            self._drive(channel)
            self.element.set_shutter(channel, False)

    def power_cycled(self) -> None:
        """Its feeds were away: as after `*RST`, but with the shutters as they are wanted at power-on."""
        wanted = {channel: settings.open_at_power_on for channel, settings in self.filters.items()}
        self.reset()
        for channel, opened in wanted.items():
            self.filters[channel].open_at_power_on = opened
            self.set_shutter(channel, open=opened)

    def condition(self, slot: int) -> int:
        """A power that is out of reach."""
        channel = (slot + 1) // 2
        return UNREACHED if channel in self.filters and self.filters[channel].unreached else 0

    # -- what it does ----------------------------------------------------------------------------------------

    def channel(self, suffixes: Suffixes) -> int:
        """The attenuator that a header means. Raises ScpiError -114, -301 (a power meter's slot), -303."""
        channel = (self.slot(suffixes) + 1) // 2
        if channel not in self.filters:
            raise ScpiError(-301)
        return channel

    def _drive(self, channel: int) -> None:
        """Bring the filter where it is told."""
        settings = self.filters[channel]
        was = self.element.held(channel).attenuation_db
        change = abs(settings.filter_db - was)
        if settings.speed_db_s >= 80:
            self.element.settle_s = 0.001
        else:
            self.element.settle_s = max(0.001, change / settings.speed_db_s / 8)
        self.element.set_attenuation(channel, settings.filter_db)
        if change:
            settle = self.element.settle_s * math.log(max(change / SETTLED, 1.0)) + change / settings.speed_db_s
            self._take(channel, settle)

    def _take(self, channel: int, seconds: float) -> None:
        for slot in (2 * channel - 1, 2 * channel):
            self.begin(seconds, slot)

    def set_attenuation(self, channel: int, attenuation_db: float) -> None:
        """Filter and offset together. Raises ScpiError -222."""
        settings = self.filters[channel]
        wanted = attenuation_db - settings.offset_db
        if not self.range.low - 1e-9 <= wanted <= self.range.high + 1e-9:
            raise ScpiError(-222, "StatParmTooLarge" if wanted > self.range.high else "StatParmTooSmall")
        settings.filter_db = wanted
        settings.control, settings.unreached, settings.wanted_dbm = False, False, None
        self._drive(channel)

    def set_shutter(self, channel: int, *, open: bool) -> None:  # noqa: A002 - a shutter is open or not
        """It closes at full speed, and opens no faster than the filter moves."""
        settings = self.filters[channel]
        moved = settings.open != open
        settings.open = open
        self.element.set_shutter(channel, open)
        if moved:
            self._take(channel, SHUTTER_S + (self.range.high - settings.filter_db) / settings.speed_db_s * open)

    def _monitor_dbm(self, channel: int) -> float:
        """What the built-in monitor shows of the output, dBm. Raises ScpiError -261 in the dark."""
        watts = self.plant.power(self.places.outlet(channel))
        return in_dbm(watts) + self.monitor_db[channel] + self.filters[channel].power_offset_db

    def set_power(self, channel: int, dbm: float) -> None:
        """Choose the attenuation that gives this output power. Raises ScpiError -222 for one out of reach."""
        settings = self.filters[channel]
        into = self.plant.power(self.places.inlet(channel))
        if into <= 0:
            raise ScpiError(-200, "no light")
        most = (
            in_dbm(into) + self.monitor_db[channel] + settings.power_offset_db - self.element.true_loss_db(channel, 0.0)
        )
        wanted = most - dbm
        settings.wanted_dbm = dbm
        settings.unreached = not self.range.low <= wanted <= self.range.high
        if settings.unreached and not settings.control:
            raise ScpiError(-222, "StatParmTooLarge" if wanted < 0 else "StatParmTooSmall")
        settings.filter_db = min(max(wanted, self.range.low), self.range.high)
        self._drive(channel)
        if settings.control:
            self._take(channel, CONTROL_S)

    # -- commands --------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        self.on(
            "INPut#[:CHANnel#]:ATTenuation",
            self._each(self.set_attenuation, "DB", self._reach),
        )
        self.on("INPut#[:CHANnel#]:ATTenuation?", self._attenuation)
        self.on("INPut[:CHANnel#]:ATTenuation:ALL", self._together(self.set_attenuation, "DB"))
        self._number("INPut#[:CHANnel#]:OFFSet", "offset_db", Limits("DB", -200.0, 200.0, 0.0))
        self.on("INPut#[:CHANnel#]:OFFSet:DISPlay", self._offset_from_display)
        self.on("INPut#[:CHANnel#]:OFFSet:POWermeter", self._offset_from_power)
        self._number("INPut#[:CHANnel#]:ATTenuation:SPEed", "speed_db_s", self.speeds)
        self._number("INPut#[:CHANnel#]:WAVelength", "wavelength_m", self.wavelengths)
        self.on("INPut[:CHANnel#]:WAVelength:ALL", self._together(self._set_wavelength, "M"))
        self.on("OUTPut#[:CHANnel#][:STATe]", self._set_output)
        self.on("OUTPut#[:CHANnel#][:STATe]?", lambda suffixes, args: nr1(int(self._filter(suffixes).open)))
        self.on("OUTPut[:CHANnel#]:STATe:ALL", self._set_outputs)
        self._flag("OUTPut#[:CHANnel#][:STATe]:APOWeron", "open_at_power_on")
        self.on("OUTPut#[:CHANnel#]:POWer", self._set_power)
        self.on("OUTPut#[:CHANnel#]:POWer?", self._power)
        self.on("OUTPut[:CHANnel#]:POWer:ALL", self._together(self.set_power, "DBM"))
        self._flag("OUTPut#[:CHANnel#]:POWer:UNit", "watts")
        self._number("OUTPut#[:CHANnel#]:POWer:OFFSet", "power_offset_db", Limits("DB", -200.0, 200.0, 0.0))
        self._number("OUTPut#[:CHANnel#]:POWer:REFerence", "reference_dbm", Limits("DBM", -400.0, 400.0, 0.0))
        self.on("OUTPut#[:CHANnel#]:POWer:CONTRol", self._set_control)
        self.on("OUTPut#[:CHANnel#]:POWer:CONTRol?", lambda suffixes, args: nr1(int(self._filter(suffixes).control)))
        self._number("OUTPut#[:CHANnel#]:ATIMe", "averaging_s", Limits("S", 0.002, 1.0, 0.01))
        self.on("OUTPut#[:CHANnel#]:CORRection:COLLection:ZERO", self._zero)
        self.on(
            "OUTPut#[:CHANnel#]:CORRection:COLLection:ZERO?", lambda suffixes, args: nr1(self.channel(suffixes) * 0)
        )
        self.on("OUTPut[:CHANnel#]:CORRection:COLLection:ZERO:ALL", self._zero)
        for verb in ("READ", "FETCh"):
            self.on(f"{verb}#[:CHANnel#][:SCALar]:POWer[:DC]?", self._monitor(waits=verb == "READ"))

    def _filter(self, suffixes: Suffixes) -> Filter:
        return self.filters[self.channel(suffixes)]

    def _reach(self, channel: int) -> Limits:
        offset = self.filters[channel].offset_db
        return Limits("DB", self.range.low + offset, self.range.high + offset, offset)

    def _each(
        self, put: Callable[[int, float], None], unit: str, limits: Callable[[int], Limits]
    ) -> Callable[[Suffixes, list[str]], None]:
        def write(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            channel = self.channel(suffixes)
            reach = limits(channel)
            put(channel, number(args[0], unit, reach.low, reach.high, reach.default))

        return write

    def _together(self, put: Callable[[int, float], None], unit: str) -> Callable[[Suffixes, list[str]], None]:
        def write(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            value = number(args[0], unit)
            failed = False
            for channel in self.filters:
                try:
                    put(channel, value)
                except ScpiError:
                    failed = True
            if failed:
                raise ScpiError(-224)

        return write

    def _number(self, pattern: str, name: str, limits: Limits) -> None:
        def put(suffixes: Suffixes, args: list[str]) -> None:
            settings = self._filter(suffixes)
            setattr(settings, name, limits.read(args))

        self.on(pattern, put)
        self.on(f"{pattern}?", lambda suffixes, args: limits.said(args, getattr(self._filter(suffixes), name)))

    def _flag(self, pattern: str, name: str) -> None:
        def put(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            setattr(self._filter(suffixes), name, boolean(args[0]))

        self.on(pattern, put)
        self.on(f"{pattern}?", lambda suffixes, args: nr1(int(getattr(self._filter(suffixes), name))))

    def _attenuation(self, suffixes: Suffixes, args: list[str]) -> str:
        channel = self.channel(suffixes)
        settings = self.filters[channel]
        return self._reach(channel).said(args, settings.filter_db + settings.offset_db)

    def _offset_from_display(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 0)
        settings = self._filter(suffixes)
        settings.offset_db = -settings.filter_db

    def _offset_from_power(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 2)
        channel = self.channel(suffixes)
        other = self.channel((int(number(args[0], "", 1, 8)), int(number(args[1], "", 1, 1))))
        settings = self.filters[channel]
        settings.offset_db = self._monitor_dbm(other) - self._monitor_dbm(channel) - settings.filter_db

    def _set_wavelength(self, channel: int, wavelength_m: float) -> None:
        if not self.wavelengths.low <= wavelength_m <= self.wavelengths.high:
            raise ScpiError(-222)
        self.filters[channel].wavelength_m = wavelength_m

    def _set_output(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.set_shutter(self.channel(suffixes), open=boolean(args[0]))

    def _set_outputs(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        wanted = boolean(args[0])
        for channel in self.filters:
            self.set_shutter(channel, open=wanted)

    def _set_power(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        settings = self._filter(suffixes)
        dbm = in_dbm(number(args[0], "W", 1e-15, 10.0)) if settings.watts else number(args[0], "DBM", -120.0, 40.0)
        self.set_power(self.channel(suffixes), dbm)

    def _power(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        channel = self.channel(suffixes)
        settings = self.filters[channel]
        dbm = self._monitor_dbm(channel) if settings.wanted_dbm is None else settings.wanted_dbm
        return nr3(in_watts(dbm) if settings.watts else dbm)

    def _set_control(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        channel = self.channel(suffixes)
        settings = self.filters[channel]
        settings.control = boolean(args[0])
        if not settings.control:
            settings.unreached = False
        elif settings.wanted_dbm is not None:
            self.set_power(channel, settings.wanted_dbm)

    def _monitor(self, *, waits: bool) -> Callable[[Suffixes, list[str]], str]:
        def read(suffixes: Suffixes, args: list[str]) -> str:
            count(args, 0)
            channel = self.channel(suffixes)
            settings = self.filters[channel]
            if waits:
                self.wait(settings.averaging_s)
            dbm = self._monitor_dbm(channel)
            return nr3(in_watts(dbm) if settings.watts else dbm)

        return read

    def _zero(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 0)
        for channel in self.filters:
            self.set_shutter(channel, open=False)
        self.zero(ZERO_S)
