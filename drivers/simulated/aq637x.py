"""Simulated optical spectrum analysers Yokogawa AQ6370."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.chance import chance
from drivers.simulated.light import Array
from drivers.simulated.plant import Places, Plant
from drivers.simulated.scpi import ScpiDevice, ScpiError, StatusRegister, boolean, choice, count, integer, number

UNCONFIRMED: Final = (
    "AQ637x: what follows a wrong password (here AUTHENTICATE again) or a command before READY (here silence)",
    "AQ637x: that what is set while a sweep runs waits for its end",
    "AQ637x: how long sweeps take and where the noise lies at each sensitivity",
    "AQ637x: a resolution between two is rounded to the nearer",
    "AQ637x: which samples SENS:SWE:POIN:AUTO takes; here five to a resolution",
    "AQ637x: answers to CALC:MARK:X? and Y?; analyses (CALC:CAT, CALC:DATA?) are not simulated: -113",
)

OFFSET_EVERY_S: Final = 600.0
OFFSET_S: Final = 30.0
RESOLUTIONS_M: Final = tuple(nm * 1e-9 for nm in (0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0))
LOW_M, HIGH_M = 600e-9, 1700e-9
SENSITIVITIES: Final[Mapping[str, tuple[int, float, float]]] = {
    "NHLD": (0, 0.3, -60.0), "NAUT": (1, 0.6, -65.0), "MID": (2, 1.2, -72.0), "HIGH1": (3, 6.0, -80.0),
    "HIGH2": (4, 20.0, -85.0), "HIGH3": (5, 75.0, -90.0), "NORM": (6, 0.4, -62.0),
}  # fmt: skip
"""Name → (as it is answered, s of a sweep of 1001 samples, level of the noise, dBm)."""
ATTRIBUTES: Final = ("WRITe", "FIX", "MAX", "MIN", "RAVG", "CALC")
LEAST_POINTS, MOST_POINTS = 101, 50_001
DARK_DBM: Final = -210.0
_OPEN: Final = re.compile(r"\s*OPEN\s+\"([^\"]*)\"\s*", re.IGNORECASE)
_TRACE: Final = re.compile(r"TR([A-G])", re.IGNORECASE)
_WHOLE: Final = re.compile(r"\d{1,2}")

Suffixes = tuple[int, ...]


@dataclass(slots=True)
class Settings:
    """What is set."""

    centre_m: float = 1550e-9
    span_m: float = 20e-9
    resolution_m: float = 1e-10
    sensitivity: str = "NAUT"
    points: int = 1001
    points_auto: bool = True
    double_speed: bool = False
    averages: int = 1
    sweep_mode: int = 1
    active: str = "A"
    form: str = "ASC"
    reference_dbm: float = -10.0
    auto_offset: bool = True

    @property
    def start_m(self) -> float:
        """First wavelength."""
        return self.centre_m - self.span_m / 2

    @property
    def stop_m(self) -> float:
        """Last wavelength."""
        return self.centre_m + self.span_m / 2

    def samples(self) -> int:
        """Of a sweep."""
        if not self.points_auto:
            return self.points
        return min(MOST_POINTS, max(LEAST_POINTS, round(self.span_m / (self.resolution_m / 5)) + 1))


@dataclass(slots=True)
class Trace:
    """One of seven."""

    attribute: int = 0
    wavelengths_m: Array | None = None
    dbm: Array | None = None


@dataclass(frozen=True, slots=True)
class Sweep:
    """A sweep that was begun, with what it was set to."""

    began_ns: int
    seconds: float
    wavelengths_m: Array
    resolution_m: float
    floor_dbm: float
    traces: tuple[str, ...]


class Aq637x(ScpiDevice):
    """Looks at the plant's "<name>:in". ``login``: nothing is obeyed before OPEN and a password, as over the LAN."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        """``options``: login (false: as over GPIB or VXI-11), user, password."""
        super().__init__(identity, clock, newest_only=True)
        self.ends = b"\r\n"
        self.options = dict(options or {})
        self.login = bool(self.options.get("login", False))
        self.user = str(self.options.get("user", "anonymous"))
        self.password = str(self.options.get("password", ""))
        self.plant = plant
        self.places = places
        source = chance(places.seed, "analyser", places.name)
        self.offset_m = float(source.normal(0, 5e-12))
        """True wavelength error: shown less true."""
        self.gain_db = float(source.normal(0, 0.1))
        """True level error."""
        self.slit = float(1 + source.normal(0, 0.01))
        """True resolution over the set one."""
        self._noise = source
        self._asked_password = False
        self._opened = ""
        self._ready = False
        self._offset_from_ns = clock.now_ns()
        self._sweep: Sweep | None = None
        self.settings = Settings()
        self.traces = {name: Trace(0 if name == "A" else 1) for name in "ABCDEFG"}
        self.marker: tuple[float, float] | None = None
        self.operation = StatusRegister(lambda: 0 if self.busy() else 1)
        self._speak()

    def reset(self) -> None:
        """`*RST`."""
        self._abort()
        self.settings = Settings()
        self.traces = {name: Trace(0 if name == "A" else 1) for name in "ABCDEFG"}
        self.marker = None

    def power_cycled(self) -> None:
        """Its feeds were away."""
        self.reset()
        self._ready = False
        self._offset_from_ns = self.clock.now_ns()

    # -- for carriers ----------------------------------------------------------------------------------------

    def handle(self, message: bytes) -> bytes | None:
        """As any instrument, but it wants a login, and takes its offset in between."""
        with self.lock:
            said = message.decode("latin-1").strip()
            found = _OPEN.fullmatch(said)
            if found:
                self._asked_password, self._ready = True, False
                self._opened = found[1]
                return b"AUTHENTICATE CRAM-MD5."
            if self._asked_password:
                return self._authenticated(said)
            if said.upper() == "CLOSE":
                self._ready = False
                return None
            if self.login and not self._ready:
                return None
            self._take_offset()
            return super().handle(message)

    def _authenticated(self, said: str) -> bytes:
        digest = hashlib.md5(self.password.encode(), usedforsecurity=False).hexdigest()
        good = self._opened == "anonymous" == self.user or (
            self._opened == self.user and any(hmac.compare_digest(said, each) for each in (self.password, digest))
        )
        if good:
            self._asked_password, self._ready = False, True
            return b"READY"
        return b"AUTHENTICATE CRAM-MD5."

    def _take_offset(self) -> None:
        """Every ten minutes it takes its offset, in which it obeys nobody."""
        if not self.settings.auto_offset:
            return
        now_ns = self.clock.now_ns()
        since_s = (now_ns - self._offset_from_ns) / 1e9
        into_s = since_s % OFFSET_EVERY_S
        if since_s >= OFFSET_EVERY_S and into_s < OFFSET_S:
            self.wait(OFFSET_S - into_s)

    # -- sweeps ----------------------------------------------------------------------------------------------

    def _in_turn(self) -> None:
        """What is sequential waits for a single sweep's end."""
        if self.settings.sweep_mode == 1:
            self.wait(self.remaining_s())

    def _seconds(self) -> float:
        settings = self.settings
        _, long, _ = SENSITIVITIES[settings.sensitivity]
        return long * settings.samples() / 1001 * settings.averages / (2 if settings.double_speed else 1) + 0.1

    def _start(self) -> None:
        settings = self.settings
        self._in_turn()
        self._finish()
        wavelengths = np.linspace(settings.start_m, settings.stop_m, settings.samples())
        writing = tuple(name for name, trace in self.traces.items() if trace.attribute == 0)
        floor = SENSITIVITIES[settings.sensitivity][2]
        seconds = self._seconds()
        self._sweep = Sweep(self.clock.now_ns(), seconds, wavelengths, settings.resolution_m, floor, writing)
        self.begin(seconds if settings.sweep_mode == 1 else 1e9)

    def _abort(self) -> None:
        self.finish()
        self._sweep = None

    def _finish(self) -> None:
        """Write what a sweep saw into its traces, once it is over; a repeated one shows the last that is."""
        sweep = self._sweep
        if sweep is None:
            return
        passed_s = (self.clock.now_ns() - sweep.began_ns) / 1e9
        times = int(passed_s / sweep.seconds)
        if times < 1:
            return
        again = self.settings.sweep_mode != 1
        middle_ns = sweep.began_ns + round(((times - 1 if again else 0) + 0.5) * sweep.seconds * 1e9)
        dbm = self._seen(sweep, middle_ns)
        for name in sweep.traces:
            self.traces[name].wavelengths_m, self.traces[name].dbm = sweep.wavelengths_m, dbm
        if not again:
            self._sweep = None

    def _seen(self, sweep: Sweep, at_ns: int) -> Array:
        true = self.plant.spectrum(
            self.places.into, sweep.wavelengths_m - self.offset_m, sweep.resolution_m * self.slit, at_ns
        )
        watts = 10 ** ((true + self.gain_db) / 10)  # mW
        noise = 10 ** (sweep.floor_dbm / 10) * np.abs(self._noise.normal(0, 1, true.size)) / 3
        with np.errstate(divide="ignore"):
            return np.asarray(np.maximum(10 * np.log10(watts + noise), DARK_DBM), dtype=np.float64)

    # -- commands --------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        wavelength = "SENSe:WAVelength"
        self._number(f"{wavelength}:CENTer", lambda: self.settings.centre_m, self._set_centre, "M", LOW_M, HIGH_M)
        self._number(f"{wavelength}:SPAN", lambda: self.settings.span_m, self._set_span, "M", 0.0, HIGH_M - LOW_M)
        self._number(f"{wavelength}:STARt", lambda: self.settings.start_m, self._set_start, "M", LOW_M, HIGH_M)
        self._number(f"{wavelength}:STOP", lambda: self.settings.stop_m, self._set_stop, "M", LOW_M, HIGH_M)
        bandwidth = "SENSe:BWIDth[:RESolution]"
        for pattern in (bandwidth, "SENSe:BANDwidth[:RESolution]"):
            self._number(
                pattern,
                lambda: self.settings.resolution_m,
                self._set_resolution,
                "M",
                RESOLUTIONS_M[0] * 0.999,
                RESOLUTIONS_M[-1] * 1.001,
            )
        self.on("SENSe:SENSe", self._set_sensitivity)
        self.on("SENSe:SENSe?", lambda suffixes, args: str(SENSITIVITIES[self.settings.sensitivity][0]))
        self.on("SENSe:SWEep:POINts", self._set_points)
        self.on("SENSe:SWEep:POINts?", lambda suffixes, args: str(self.settings.samples()))
        self._switch("SENSe:SWEep:POINts:AUTO", "points_auto")
        self._switch("SENSe:SWEep:SPEed", "double_speed")
        self._whole("SENSe:AVERage:COUNt", "averages", 1, 999)
        self._whole("INITiate:SMODe", "sweep_mode", 1, 4)
        self.on("INITiate[:IMMediate]", self._plain(self._start))
        self.on("ABORt", self._plain(self._abort))
        self.on("TRACe:ACTive", self._set_active)
        self.on("TRACe:ACTive?", lambda suffixes, args: f"TR{self.settings.active}")
        for name in "ABCDEFG":
            self._trace_attribute(name)
        self.on("TRACe[:DATA]:SNUMber?", self._samples)
        self.on("TRACe[:DATA]:X?", self._trace("wavelengths_m"))
        self.on("TRACe[:DATA]:Y?", self._trace("dbm"))
        self.on("FORMat[:DATA]", self._set_form)
        self.on("FORMat[:DATA]?", lambda suffixes, args: {"ASC": "ASCII"}.get(self.settings.form, self.settings.form))
        self.on("DISPlay[:WINDow]:TRACe:Y1[:SCALe]:RLEVel", self._set_reference)
        self.on(
            "DISPlay[:WINDow]:TRACe:Y1[:SCALe]:RLEVel?",
            lambda suffixes, args: f"{self.settings.reference_dbm:+.8E}",
        )
        self.on("CALibration:ZERO[:AUTO]", self._set_offset)
        self.on("CALibration:ZERO[:AUTO]?", lambda suffixes, args: str(int(self.settings.auto_offset)))
        self.on("CALCulate:MARKer:MAXimum", self._plain(self._mark))
        self.on("CALCulate:MARKer:X?", lambda suffixes, args: f"{self._marked()[0]:+.8E}")
        self.on("CALCulate:MARKer:Y?", lambda suffixes, args: f"{self._marked()[1]:+.8E}")

    def _number(
        self,
        pattern: str,
        get: Callable[[], float],
        put: Callable[[float], None],
        unit: str,
        low: float,
        high: float,
    ) -> None:
        def write(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            self._in_turn()
            put(number(args[0], unit, low, high))

        self.on(pattern, write)
        self.on(f"{pattern}?", lambda suffixes, args: f"{get():+.8E}")

    def _switch(self, pattern: str, name: str) -> None:
        def write(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            self._in_turn()
            setattr(self.settings, name, boolean(args[0]))

        self.on(pattern, write)
        self.on(f"{pattern}?", lambda suffixes, args: str(int(getattr(self.settings, name))))

    def _whole(self, pattern: str, name: str, low: int, high: int) -> None:
        def write(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            self._in_turn()
            setattr(self.settings, name, integer(args[0], low, high))

        self.on(pattern, write)
        self.on(f"{pattern}?", lambda suffixes, args: str(getattr(self.settings, name)))

    def _set_centre(self, centre_m: float) -> None:
        self.settings.centre_m = centre_m

    def _set_span(self, span_m: float) -> None:
        self.settings.span_m = span_m

    def _set_start(self, start_m: float) -> None:
        self._set_ends(start_m, self.settings.stop_m)

    def _set_stop(self, stop_m: float) -> None:
        self._set_ends(self.settings.start_m, stop_m)

    def _set_ends(self, start_m: float, stop_m: float) -> None:
        if stop_m < start_m:
            raise ScpiError(-221, "start beyond stop")
        self.settings.centre_m, self.settings.span_m = (start_m + stop_m) / 2, stop_m - start_m

    def _set_resolution(self, resolution_m: float) -> None:
        self.settings.resolution_m = min(RESOLUTIONS_M, key=lambda each: abs(each - resolution_m))

    def _set_sensitivity(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self._in_turn()
        word = args[0].strip().upper()
        by_number = {str(code): name for name, (code, _, _) in SENSITIVITIES.items()}
        name = by_number.get(word, word)
        if name not in SENSITIVITIES:
            raise ScpiError(-224 if _WHOLE.fullmatch(word) else -141, word[:40])
        self.settings.sensitivity = name

    def _set_points(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self._in_turn()
        self.settings.points = integer(args[0], LEAST_POINTS, MOST_POINTS)
        self.settings.points_auto = False

    @staticmethod
    def _named(text: str) -> str:
        found = _TRACE.fullmatch(text.strip())
        if found is None:
            raise ScpiError(-141, text.strip()[:40])
        return found[1].upper()

    def _set_active(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.settings.active = self._named(args[0])

    def _trace_attribute(self, name: str) -> None:
        def write(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            self._in_turn()
            word = args[0].strip()
            if _WHOLE.fullmatch(word):
                self.traces[name].attribute = integer(word, 0, len(ATTRIBUTES) - 1)
            else:
                shorts = ["".join(each for each in option if not each.islower()) for option in ATTRIBUTES]
                self.traces[name].attribute = shorts.index(choice(word, *ATTRIBUTES))

        self.on(f"TRACe:ATTRibute:TR{name}", write)
        self.on(f"TRACe:ATTRibute:TR{name}?", lambda suffixes, args: str(self.traces[name].attribute))

    def _samples(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 1)
        trace = self.traces[self._named(args[0])]
        self._in_turn()
        self._finish()
        return str(0 if trace.dbm is None else trace.dbm.size)

    def _trace(self, what: str) -> Callable[[Suffixes, list[str]], str | bytes]:
        def read(suffixes: Suffixes, args: list[str]) -> str | bytes:
            count(args, 1, 3)
            trace = self.traces[self._named(args[0])]
            self._in_turn()
            self._finish()
            values = getattr(trace, what)
            if values is None:
                raise ScpiError(-230, "no data in the trace")
            if len(args) == 2:
                raise ScpiError(-109)
            if len(args) == 3:
                first, last = (integer(each, 1, values.size) for each in args[1:])
                values = values[first - 1 : last]
            if self.settings.form == "ASC":
                return ",".join(f"{each:+.8E}" for each in values.tolist())
            octets: bytes = values.astype("<f4" if self.settings.form == "REAL,32" else "<f8").tobytes()
            return octets

        return read

    def _set_form(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1, 2)
        if choice(args[0], "ASCii", "REAL") == "ASC":
            count(args, 1)
            self.settings.form = "ASC"
            return
        bits = integer(args[1]) if len(args) == 2 else 64
        if bits not in (32, 64):
            raise ScpiError(-224, str(bits))
        self.settings.form = f"REAL,{bits}"

    def _set_reference(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.settings.reference_dbm = number(args[0], "DBM", -90.0, 30.0)

    def _set_offset(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self._in_turn()
        if args[0].strip().upper() == "ONCE":
            self.wait(OFFSET_S)
            self._offset_from_ns = self.clock.now_ns()
            return
        on = boolean(args[0])
        if on and not self.settings.auto_offset:
            self._offset_from_ns = self.clock.now_ns()
        self.settings.auto_offset = on

    def _mark(self) -> None:
        self._in_turn()
        self._finish()
        trace = self.traces[self.settings.active]
        if trace.dbm is None or trace.wavelengths_m is None:
            raise ScpiError(-230, "no data in the trace")
        peak = int(trace.dbm.argmax())
        self.marker = (float(trace.wavelengths_m[peak]), float(trace.dbm[peak]))

    def _marked(self) -> tuple[float, float]:
        if self.marker is None:
            raise ScpiError(-230, "no marker")
        return self.marker
