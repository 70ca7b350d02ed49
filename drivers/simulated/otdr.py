"""Simulated reflectometer of VIAVI: an OTU-8000 or MTS-8000 with an SM-OTDR module."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from drivers.clock import Clock
from drivers.port import Identity
from drivers.quantity import C_M_PER_S
from drivers.simulated import sor
from drivers.simulated.chance import chance
from drivers.simulated.plant import Places, Plant
from drivers.simulated.scpi import ScpiDevice, ScpiError, block, choice, count, integer, number, text

UNCONFIRMED: Final = (
    "OTU-8000: how a .SOR file is fetched; here by MMEM:DATA? with its whole name, which is ours (a definite block)",
    "OTU-8000: control and reflectometer are ports 8000 and 8002 of the maker's, here one port understands both",
    "OTU-8000: unit and order of numbers in otu:mealink:SI:webconfig?; here ns, km, s, index, nm, cm",
    "OTU-8000: pulses, ranges, wavelengths and resolutions of a module, unless the lab table names wavelengths",
    "OTU-8000: which numbers the optical path, its second and third parameter, may hold; here any",
    "OTU-8000: fields of TAB:LIN? beyond number, kind and distance; here loss, reflectance, slope, loss so far",
    "OTU-8000: what wrong settings do; here -222, -224, and a pulse or range between two is the next longer",
)

FUNCTION: Final = "SM-OTDR"
DIRECTORY: Final = "/acterna/user/harddisk/otu/result/measure_on_demand"
FILE: Final = "measure.sor"
WAVELENGTHS_NM: Final = (1310, 1550, 1625)
PULSES_NS: Final = (3, 5, 10, 30, 100, 300, 1000, 3000, 10_000, 20_000)
RANGES_KM: Final = (5, 10, 20, 40, 80, 140, 260)
RESOLUTIONS_CM: Final = (4, 8, 16, 32, 64, 128)
SHORTEST_S, LONGEST_S = 1.0, 3600.0
BIRTH_UTC_S: Final = 1_800_000_000
"""What it takes for the time at the start of its clock."""
CURVE_POINTS: Final = 4000
CURVE_SCALE_DB: Final = 0.002
_QUANTITY: Final = re.compile(r"\s*([0-9.]+)\s*(ns|us|km|nm|cm)?\s*", re.IGNORECASE)
_UNITS: Final[Mapping[str, float]] = {"ns": 1.0, "us": 1000.0, "km": 1.0, "nm": 1.0, "cm": 1.0}

Suffixes = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Measured:
    """One measurement, for the answers about it."""

    file: bytes
    found: tuple[sor.Found, ...]
    curve_db: tuple[float, ...]
    step_km: float
    group_index: float


class OtuOtdr(ScpiDevice):
    """Looks along the way that begins at the plant's "<name>:out"."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        """``options``: module ("MOD2"), wavelengths_nm, timebase_ppm (true error of its clock; else drawn)."""
        super().__init__(identity, clock)
        self.error_format = '{code}, "{text}"'
        self.options = dict(options or {})
        self.plant = plant
        self.places = places
        self.module = str(self.options.get("module", "MOD2"))
        self.wavelengths_nm = [int(each) for each in self.options.get("wavelengths_nm", WAVELENGTHS_NM)]
        drawn = float(chance(places.seed, "otdr", places.name, "timebase").normal(0, 3))
        self.timebase_ppm = float(self.options.get("timebase_ppm", drawn))
        """True error of its clock: it says all times too long by so much."""
        self.measured: Measured | None = None
        self._speak()

    def power_cycled(self) -> None:
        """Its feeds were away: what was measured is lost."""
        self.measured = None

    # -- commands --------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        self.on("*REM", self._plain(lambda: None))
        module = "OTU:MODUle"
        self.on(f"{module}:DETect?", self._modules)
        self.on(f"{module}:CALFUNC:LIST?", self._listed(1, [FUNCTION]))
        self.on(f"{module}:CALLaser:LIST?", self._listed(2, [f"{each} nm" for each in self.wavelengths_nm]))
        self.on(f"{module}:CALOT:LPULSE?", self._listed(2, [_pulse(each) for each in PULSES_NS]))
        self.on(f"{module}:CALOT:LRANGE?", self._listed(3, [f"{each} km" for each in RANGES_KM]))
        self.on(f"{module}:CALOT:LRES?", self._listed(4, ["Auto", *(f"{each} cm" for each in RESOLUTIONS_CM)]))
        self.on("OTU:SWITCH:DETect:LIST?", lambda suffixes, args: "0")
        self.on("OTU:MEALink:WEBConfig?", self._measure)
        self.on("OTU:MEALink:SI:WEBConfig?", self._measure)
        self.on("MMEMory:DATA?", self._file)
        self.on("CURVe:BUFfer?", self._curve)
        self.on("CURVe:XSCale?", lambda suffixes, args: f"{self._last().step_km:.8E}")
        self.on("CURVe:XOFFset?", lambda suffixes, args: "0.0")
        self.on("CURVe:XUNit?", lambda suffixes, args: '"km"')
        self.on("CURVe:YSCale?", lambda suffixes, args: f"{CURVE_SCALE_DB:.8E}")
        self.on("CURVe:YOFFset?", lambda suffixes, args: "0.0")
        self.on("CURVe:YUNit?", lambda suffixes, args: '"dB"')
        self.on("TABle:SIZe?", lambda suffixes, args: str(len(self._last().found)))
        self.on("TABle:LINe?", self._line)

    def _here(self, args: list[str], many: int) -> None:
        """Whether module and function are ours. Raises ScpiError -108, -109, -224."""
        count(args, many)
        if args[0].strip().upper() != self.module or (many > 1 and text(args[1]).replace(" ", "") != FUNCTION):
            raise ScpiError(-224, args[0][:40])

    def _modules(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        return f'{self.module}: 5027HD,"{FUNCTION}" : ' + ",".join(f"L{each}" for each in self.wavelengths_nm)

    def _listed(self, many: int, entries: list[str]) -> Callable[[Suffixes, list[str]], str]:
        def say(suffixes: Suffixes, args: list[str]) -> str:
            self._here(args, many)
            return ",".join(f'"{each}"' for each in entries)

        return say

    def _measure(self, suffixes: Suffixes, args: list[str]) -> str:
        """Module, switch, optical path, MAN, pulse, range, seconds, index, wavelength, resolution, function."""
        count(args, 11)
        if args[0].strip().upper() != self.module or text(args[10]).replace(" ", "") != FUNCTION:
            raise ScpiError(-224, args[0][:40])
        integer(args[1], 0, 99)
        block(args[2])
        if choice(args[3], "MANual", "AUTO") != "MAN":
            raise ScpiError(-221, "only manual settings are simulated")
        pulse_ns, range_km = _next(args[4], PULSES_NS), _next(args[5], RANGES_KM)
        seconds = number(args[6], "S", SHORTEST_S, LONGEST_S)
        group_index = number(args[7], "", 1.3, 1.7)
        nm = _quantity(args[8])
        if nm not in self.wavelengths_nm:
            raise ScpiError(-222, args[8][:40])
        if args[9].strip().strip('"').upper() != "AUTO":
            _next(args[9], RESOLUTIONS_CM)
        self.wait(seconds)
        self._keep(pulse_ns * 1e-9, range_km * 1000.0, seconds, group_index, nm * 1e-9)
        return f'"{DIRECTORY}";"{FILE}"'

    def _keep(self, pulse_s: float, span_m: float, seconds: float, group_index: float, wavelength_m: float) -> None:
        at_ns = self.clock.now_ns()
        octets = sor.trace(
            self.plant,
            self.places.out,
            self.identity,
            wavelength_m=wavelength_m,
            span_m=span_m,
            pulse_s=pulse_s,
            averaging_s=seconds,
            group_index=group_index,
            timebase_ppm=self.timebase_ppm,
            utc_s=BIRTH_UTC_S + at_ns // 1_000_000_000 % 300_000_000,
            at_ns=at_ns,
        )
        way = self.plant.way(self.places.out, at_ns, wavelength_m)
        span_s = span_m * group_index / C_M_PER_S
        noise = chance(self.plant.seed, "otdr", self.identity.serial, "curve", at_ns)
        times = np.linspace(0, span_s, CURVE_POINTS, endpoint=False)
        curve = sor.backscatter(way, np.asarray(times, dtype=np.float64), pulse_s, seconds, noise)
        found = tuple(sor.events(way, pulse_s, span_s))
        step_km = span_m / CURVE_POINTS / 1000
        self.measured = Measured(octets, found, tuple(curve.tolist()), step_km, group_index)

    # -- what was measured -----------------------------------------------------------------------------------

    def _last(self) -> Measured:
        if self.measured is None:
            raise ScpiError(-230, "nothing was measured")
        return self.measured

    def _file(self, suffixes: Suffixes, args: list[str]) -> bytes:
        count(args, 1)
        if text(args[0]) not in {f"{DIRECTORY}/{FILE}", FILE}:
            raise ScpiError(-256, text(args[0])[:40])
        return self._last().file

    def _curve(self, suffixes: Suffixes, args: list[str]) -> str:
        """Samples as hexadecimal digits, not as octets, of 16 bits with sign."""
        count(args, 0)
        values = np.clip(np.round(np.array(self._last().curve_db) / CURVE_SCALE_DB), -32768, 32767).astype(">i2")
        digits = values.tobytes().hex().upper()
        return f"#7{len(digits):07d}{digits}"

    def _line(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 1)
        measured = self._last()
        row = integer(args[0], 1, len(measured.found))
        each = measured.found[row - 1]
        reflects = each.reflectance_db is not None and each.reflectance_db > -65
        kind = "End" if each.end else "Reflection" if reflects else "Splice"
        km = each.time_s * C_M_PER_S / measured.group_index / 1000
        loss = "" if each.end else f"{each.loss_db:.3f}"
        reflectance = f"{each.reflectance_db:.2f}" if reflects else ""
        so_far = sum(event.loss_db for event in measured.found[: row - 1])
        return f"{row},{kind}, {km:.4f},{loss},{reflectance},{each.slope_db_km:.3f}, {so_far:.3f},"


def _pulse(ns: int) -> str:
    return f"{ns // 1000} us" if ns % 1000 == 0 else f"{ns} ns"


def _quantity(said: str) -> float:
    """A number, or a text with its unit: ns, km, nm, cm. Raises ScpiError -104, -121."""
    found = _QUANTITY.fullmatch(said.strip().strip('"'))
    if found is None:
        raise ScpiError(-104, said[:40])
    try:
        return float(found[1]) * _UNITS.get((found[2] or "ns").lower(), 1.0)
    except ValueError:
        raise ScpiError(-121, said[:40]) from None


def _next(said: str, known: Sequence[int]) -> int:
    """The first of those that there are which is not below. Raises ScpiError -104, -121, -222."""
    value = _quantity(said)
    longer = [each for each in known if each >= value > 0]
    if not longer:
        raise ScpiError(-222, said[:40])
    return longer[0]
