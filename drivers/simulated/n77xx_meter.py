"""Simulated multiport optical power meters Keysight N7744A, N7745A, N7747A and N7748A."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated import n77xx
from drivers.simulated.chance import chance
from drivers.simulated.light import Array
from drivers.simulated.n77xx import MEASURING, NOTHING, Limits, N77xx, Suffixes, in_dbm, in_watts, nr1, nr3
from drivers.simulated.plant import Places, Plant
from drivers.simulated.scpi import ScpiError, boolean, choice, count, integer, number

UNCONFIRMED: Final = (
    *n77xx.UNCONFIRMED,
    "N774x: how far above its name a fixed range reaches; here 3 dB",
    "N774x: how long zeroing takes (here 3 s), from which light on it fails (here -40 dBm), with which code (here 1)",
    "N774x: that FUNC:STAT? says NONE,PROGRESS where no function was started, that results are in the port's unit",
    "N774x: sign of the calibration offset; here it is added to the level",
    "N774x: which of -200 and -284 follows which mistake around a record; here -284 while it runs, -200 when complete",
    "N774x: noise; here 2 pW (N7747A, N7748A: 20 fW) and 1e-7 of the range, at 100 ms",
    "N774x: streaming (FUNC:LOOP, MME, RES:IND?, RES:BUFA?) is not simulated: -113",
)

SLOTS: Final = range(1, 9)
MOST_SAMPLES: Final = 1_000_000
HEADROOM_DB: Final = 3.0
ZERO_S: Final = 3.0
DARK_W: Final = 1e-7
"""More light than that, and the darkness cannot be measured."""
WITHIN: Final = (1 / 6, 1 / 2, 5 / 6)
"""Where in its averaging time a reading looks at the plant."""
CHUNK: Final = 100_000


@dataclass(frozen=True, slots=True)
class Kind:
    """What models differ by."""

    ports: int
    wavelength: Limits
    averaging: Limits
    low_dbm: int
    """Its lowest range."""
    noise_w: float
    """Standard deviation at 100 ms."""
    drift_w: float
    """How far its darkness is off before it is zeroed."""


_SHORT: Final = Limits("S", 1e-6, 10.0, 0.1)
_LONG: Final = Limits("S", 1e-4, 10.0, 0.1)
_INGAAS: Final = Limits("M", 1250e-9, 1650e-9, 1450e-9)
_WIDE: Final = Limits("M", 800e-9, 1700e-9, 1250e-9)
KINDS: Final[Mapping[str, Kind]] = {
    "N7744A": Kind(4, _INGAAS, _SHORT, -30, 2e-12, 1e-12),
    "N7745A": Kind(8, _INGAAS, _SHORT, -30, 2e-12, 1e-12),
    "N7747A": Kind(2, _WIDE, _LONG, -70, 2e-14, 1e-14),
    "N7748A": Kind(4, _WIDE, _LONG, -70, 2e-14, 1e-14),
}
HIGHEST_DBM: Final = 10


@dataclass(slots=True)
class Record:
    """Logging, stability or minima and maxima, on one port."""

    kind: str
    """LOGG, STAB, MINM."""
    samples: int
    period_s: float
    averaging_s: float
    start_ns: int | None = None
    """None: waits for its trigger."""
    each: bool = False
    """One sample a trigger."""
    times_ns: Sequence[int] = ()
    """Of the samples that triggers began."""
    values_w: Array | None = None
    """Once somebody asked for it."""

    def end_ns(self) -> int | None:
        """When the last sample is in; None: nobody knows yet."""
        if self.each:
            if len(self.times_ns) < self.samples:
                return None
            return self.times_ns[self.samples - 1] + round(self.averaging_s * 1e9)
        if self.start_ns is None:
            return None
        return self.start_ns + round(((self.samples - 1) * self.period_s + self.averaging_s) * 1e9)


@dataclass(slots=True)
class Port:
    """One port's settings and readings."""

    wavelength_m: float = 1550e-9
    averaging_s: float = 0.1
    watts: bool = False
    auto: bool = True
    range_dbm: int = 0
    gain_auto: bool = True
    correction_db: float = 0.0
    relative: bool = False
    ratio_port: int | None = None
    """Relative to this port instead of the reference."""
    reference_dbm: float = 0.0
    reference_db: float = 0.0
    """Of a comparison with another port."""
    continuous: bool = True
    began_ns: int = 0
    """When averaging began: the first of an endless row, or the one that was triggered."""
    triggered: bool = False
    fetched_ns: int | None = None
    """When the averaging ended that ``last_w`` is of."""
    last_w: float | None = None
    trigger: str = "IGN"
    trigger_out: str = "DIS"
    parameters: tuple[str, int, float, float] | None = None
    record: Record | None = None


@dataclass(slots=True)
class Truth:
    """What a port really is like."""

    gain: float
    response: float
    """Half its response to polarisation, over 1."""
    axis: tuple[float, float, float]
    dark_w: float
    zero_code: int = 0
    noise: np.random.Generator = field(default_factory=np.random.default_rng)


class N77xxMeter(N77xx):
    """Power meters. Port k looks at the plant's "<name>:k"; its calibration error is ``truth[k].gain``."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        kind = KINDS[identity.model.upper()]
        super().__init__(identity, clock, dict.fromkeys(range(1, kind.ports + 1), identity.model), SLOTS)
        self.kind = kind
        self.plant = plant
        self.places = places
        self.options = dict(options or {})
        self.truth = {port: self._truth(port) for port in self.modules}
        self.ports: dict[int, Port] = {}
        self.trigger_mode = "DEF"
        self.reset()
        self._speak()

    def _truth(self, port: int) -> Truth:
        source = chance(self.places.seed, "meter", self.places.name, port)
        pdr_db, axis = self.places.polarisation.get(port, (0.0, (1.0, 0.0, 0.0)))
        return Truth(
            gain=10 ** (self.places.gain_db.get(port, 0.0) / 10),
            response=math.tanh(pdr_db * math.log(10) / 20),
            axis=axis,
            dark_w=float(source.normal(0, self.kind.drift_w)),
            noise=source,
        )

    def reset(self) -> None:
        """`*RST`, SYSTem:PRESet."""
        self.ports = {port: Port(began_ns=self.clock.now_ns()) for port in self.modules}
        self.trigger_mode = "DEF"

    def power_cycled(self) -> None:
        """Its feeds were away."""
        self.reset()

    def condition(self, slot: int) -> int:
        """A record that runs."""
        record = self.ports[slot].record
        return MEASURING if record is not None and not self._over(record) else 0

    # -- what it sees ----------------------------------------------------------------------------------------

    def _sensed(self, port: int, at_ns: int) -> float:
        """What the detector makes of the light at an instant, W."""
        truth, place = self.truth[port], self.places.channel(port)
        if not truth.response:
            return self.plant.power(place, at_ns) * truth.gain
        light = self.plant.light(place, at_ns)
        along = float(light.power_w @ (light.stokes @ np.asarray(truth.axis)))
        return (light.total_w + truth.response * along) * truth.gain

    def _range_dbm(self, port: int, watts: float) -> int:
        settings = self.ports[port]
        if not settings.auto:
            return settings.range_dbm
        level = 10 * math.log10(max(watts, 1e-20) * 1000) - HEADROOM_DB
        return min(HIGHEST_DBM, max(self.kind.low_dbm, math.ceil(level / 10) * 10))

    def _noise_w(self, range_dbm: int, averaging_s: float) -> float:
        return (self.kind.noise_w + 1e-7 * in_watts(range_dbm)) * math.sqrt(0.1 / averaging_s)

    def _averaged(self, ports: Collection[int], ends_ns: Mapping[int, int]) -> dict[int, float | None]:
        """Readings whose averaging ended at these instants, W before correction; None: too much for the range."""
        sums = dict.fromkeys(ports, 0.0)
        asked = {port: (self.ports[port].averaging_s, ends_ns[port]) for port in ports}
        found = {each: self.plant.calm(each[1] - round(each[0] * 1e9), each[1]) for each in set(asked.values())}
        calm = {port: found[each] for port, each in asked.items()}
        for port, at in calm.items():
            if at is not None:
                sums[port] = len(WITHIN) * self._sensed(port, at)
        for share in WITHIN:  # instant by instant, as the plant keeps what it reckoned for one
            for port in ports:
                if calm[port] is not None:
                    continue
                back = (1 - share) * self.ports[port].averaging_s
                sums[port] += self._sensed(port, ends_ns[port] - round(back * 1e9))
        return {port: self._shown(port, total / len(WITHIN)) for port, total in sums.items()}

    def _shown(self, port: int, watts: float) -> float | None:
        truth, settings = self.truth[port], self.ports[port]
        range_dbm = self._range_dbm(port, watts)
        if watts > in_watts(range_dbm + HEADROOM_DB):
            return None
        sigma = self._noise_w(range_dbm, settings.averaging_s)
        return watts + truth.dark_w + float(truth.noise.normal(0, sigma))

    def _corrected(self, port: int, watts: float) -> float:
        return float(watts * 10 ** (self.ports[port].correction_db / 10))

    # -- readings --------------------------------------------------------------------------------------------

    def _begin(self, port: int) -> None:
        settings = self.ports[port]
        settings.began_ns = self.clock.now_ns()
        settings.triggered, settings.fetched_ns, settings.last_w = True, None, None

    def _idle(self, port: int) -> None:
        """Raises ScpiError -284 while a record runs, which has the detector for itself."""
        record = self.ports[port].record
        if record is not None and not self._over(record):
            raise ScpiError(-284)

    def _ended_ns(self, port: int) -> int:
        """When the averaging ended that a fetch gives. Raises ScpiError -231 before the first is over."""
        settings, now_ns = self.ports[port], self.clock.now_ns()
        long_ns = round(settings.averaging_s * 1e9)
        passed_ns = now_ns - settings.began_ns
        if passed_ns < long_ns or not (settings.continuous or settings.triggered):
            raise ScpiError(-231)
        return settings.began_ns + (passed_ns // long_ns * long_ns if settings.continuous else long_ns)

    def _fetch(self, ports: Sequence[int]) -> dict[int, float | None]:
        """The last readings, W, corrected; None: over range. Raises ScpiError -231, -284."""
        ends_ns = {}
        for port in ports:
            self._idle(port)
            ends_ns[port] = self._ended_ns(port)
        fresh = [port for port in ports if self.ports[port].fetched_ns != ends_ns[port]]
        for port, watts in self._averaged(fresh, ends_ns).items():
            self.ports[port].last_w = watts
            self.ports[port].fetched_ns = ends_ns[port]
        found = {port: self.ports[port].last_w for port in ports}
        return {port: None if watts is None else self._corrected(port, watts) for port, watts in found.items()}

    def _read(self, ports: Sequence[int]) -> dict[int, float | None]:
        """Fresh readings, W."""
        for port in ports:
            self._idle(port)
            self._begin(port)
        self.wait(max(self.ports[port].averaging_s for port in ports))
        return self._fetch(ports)

    def _said(self, port: int, watts: float | None) -> str:
        """A reading in the unit that is set."""
        if watts is None:
            self.error(-231)
            return nr3(NOTHING)
        settings = self.ports[port]
        try:
            if not settings.relative:
                return nr3(watts if settings.watts else in_dbm(watts))
            if settings.ratio_port is None:
                return nr3(in_dbm(watts) - settings.reference_dbm)
            other = self._fetch([settings.ratio_port])[settings.ratio_port]
            return nr3(in_dbm(watts) - in_dbm(other or 0.0) - settings.reference_db)
        except ScpiError as why:
            if why.code != -261:
                raise
            self.error(-261)
            return nr3(NOTHING)

    # -- records ---------------------------------------------------------------------------------------------

    def take_triggers(self, times_ns: Sequence[int]) -> None:
        """Triggers that come, or will come, at these instants at the box's trigger input."""
        with self.lock:
            if self.trigger_mode == "DIS" or not times_ns:
                return
            for port, settings in self.ports.items():
                record = settings.record
                if settings.trigger == "IGN":
                    continue
                if record is None:
                    if not settings.continuous:
                        self._begin(port)
                elif record.each:
                    record.times_ns = [*record.times_ns, *times_ns][: record.samples]
                elif record.start_ns is None:
                    record.start_ns = times_ns[0]

    def _over(self, record: Record) -> bool:
        end_ns = record.end_ns()
        return end_ns is not None and self.clock.now_ns() >= end_ns

    def _recorded(self, port: int, record: Record) -> Array:
        """Samples of a complete record, W before correction; not a number where too much for the range."""
        if record.values_w is None:
            half_ns = round(record.averaging_s * 5e8)
            if record.each:
                sensed = self._at(port, np.asarray(record.times_ns, dtype=np.int64) + half_ns)
            else:
                start_ns = (record.start_ns or 0) + half_ns
                sensed = self._series(port, start_ns, round(record.period_s * 1e9), record.samples)
            truth = self.truth[port]
            top = self._range_dbm(port, float(sensed.max()))
            noise = truth.noise.normal(0, self._noise_w(top, record.averaging_s), record.samples)
            record.values_w = np.where(sensed > in_watts(top + HEADROOM_DB), np.nan, sensed + truth.dark_w + noise)
        return record.values_w

    def _at(self, port: int, times_ns: Any) -> Array:
        """What the detector makes of the light at triggered instants."""
        if times_ns.size > 2 and np.ptp(np.diff(times_ns)) <= 1:
            return self._series(port, int(times_ns[0]), int(times_ns[1] - times_ns[0]), int(times_ns.size))
        return np.array([self._sensed(port, int(each)) for each in times_ns])

    def _series(self, port: int, start_ns: int, period_ns: int, samples: int) -> Array:
        truth, place = self.truth[port], self.places.channel(port)
        pieces = []
        for first in range(0, samples, CHUNK):
            many = min(CHUNK, samples - first)
            at_ns = start_ns + first * period_ns
            if truth.response:
                light = self.plant.light_series(place, at_ns, period_ns, many)
                pieces.append((light[:, 0] + truth.response * (light[:, 1:] @ np.asarray(truth.axis))) * truth.gain)
            else:
                pieces.append(self.plant.power_series(place, at_ns, period_ns, many) * truth.gain)
        return np.concatenate(pieces)

    # -- commands --------------------------------------------------------------------------------------------

    def _speak(self) -> None:
        sense = "SENSe#[:CHANnel#]"
        self._numbers(sense)
        self.on(f"{sense}:POWer:UNIT", self._set_unit)
        self.on(f"{sense}:POWer:UNIT?", lambda suffixes, args: nr1(int(self._port(suffixes).watts)))
        self.on("SENSe:POWer:UNIT:ALL:CSV?", self._units)
        self._switch(f"{sense}:POWer:RANGe:AUTO", "auto")
        self._switch(f"{sense}:POWer:GAIN:AUTO", "gain_auto")
        self._switch(f"{sense}:POWer:REFerence:STATe", "relative")
        self.on(f"{sense}:POWer:RANGe[:UPPer]", self._set_range)
        self.on(f"{sense}:POWer:RANGe[:UPPer]?", lambda suffixes, args: nr3(self._port(suffixes).range_dbm))
        self.on(f"{sense}:POWer:REFerence", self._set_reference)
        self.on(f"{sense}:POWer:REFerence?", self._reference)
        self.on(f"{sense}:POWer:REFerence:DISPlay", self._reference_from_display)
        self.on(f"{sense}:POWer:REFerence:STATe:RATio", self._set_ratio)
        self.on(f"{sense}:POWer:REFerence:STATe:RATio?", self._ratio)
        self.on(f"{sense}:CORRection:COLLect:ZERO", self._zero)
        self.on(
            f"{sense}:CORRection:COLLect:ZERO?", lambda suffixes, args: nr1(self.truth[self.slot(suffixes)].zero_code)
        )
        self.on("SENSe#[:CHANnel#]:CORRection:COLLect:ZERO:ALL", self._zero_all)
        self.on("SENSe#[:CHANnel#]:CORRection:COLLect:ZERO:ALL?", self._zeroed)
        for verb, take in (("READ", self._read), ("FETCh", self._fetch)):
            self._readings(verb, take)
        self.on("INITiate#[:CHANnel#][:IMMediate]", self._initiate)
        self.on("INITiate#[:CHANnel#]:CONTinuous", self._set_continuous)
        self.on("INITiate#[:CHANnel#]:CONTinuous?", lambda suffixes, args: nr1(int(self._port(suffixes).continuous)))
        self.on(f"{sense}:FUNCtion:PARameter:LOGGing", lambda suffixes, args: self._prepare(suffixes, "LOGG", args))
        self.on(f"{sense}:FUNCtion:PARameter:STABility", lambda suffixes, args: self._prepare(suffixes, "STAB", args))
        self.on(f"{sense}:FUNCtion:PARameter:MINMax", lambda suffixes, args: self._prepare(suffixes, "MINM", args))
        self.on(f"{sense}:FUNCtion:PARameter:LOGGing?", self._prepared)
        self.on(f"{sense}:FUNCtion:STATe", self._function)
        self.on(f"{sense}:FUNCtion:STATe?", self._state)
        self.on(f"{sense}:FUNCtion:RESult?", self._result)
        self.on("TRIGger#[:CHANnel#]:INPut", self._set_trigger)
        self.on("TRIGger#[:CHANnel#]:INPut?", lambda suffixes, args: self._port(suffixes).trigger)
        self.on("TRIGger#[:CHANnel#]:OUTPut", self._set_trigger_out)
        self.on("TRIGger#[:CHANnel#]:OUTPut?", lambda suffixes, args: self._port(suffixes).trigger_out)
        self.on("TRIGger:CONFiguration", self._set_trigger_mode)
        self.on("TRIGger:CONFiguration?", lambda suffixes, args: self.trigger_mode)
        self.on("*TRG", self._plain(lambda: self.take_triggers([self.clock.now_ns()])))

    def _port(self, suffixes: Suffixes) -> Port:
        return self.ports[self.slot(suffixes)]

    def _settable(self, suffixes: Suffixes) -> Port:
        """The port, for whoever changes it. Raises ScpiError -284 while a record runs on it."""
        port = self.slot(suffixes)
        self._idle(port)
        return self.ports[port]

    def _numbers(self, sense: str) -> None:
        def put_wavelength(port: int, value: float) -> None:
            self._idle(port)
            self.ports[port].wavelength_m = value

        def put_averaging(port: int, value: float) -> None:
            self._idle(port)
            self.ports[port].averaging_s = value
            self._again(port)

        def put_correction(port: int, value: float) -> None:
            self._idle(port)
            self.ports[port].correction_db = value

        self.setting(
            f"{sense}:POWer:WAVelength",
            self.kind.wavelength,
            lambda port: self.ports[port].wavelength_m,
            put_wavelength,
        )
        self.setting(
            f"{sense}:POWer:ATIMe", self.kind.averaging, lambda port: self.ports[port].averaging_s, put_averaging
        )
        self.setting(
            f"{sense}:CORRection[:LOSS][:INPut][:MAGNitude]",
            Limits("DB", -200.0, 200.0, 0.0),
            lambda port: self.ports[port].correction_db,
            put_correction,
        )

    def _again(self, port: int) -> None:
        """What is averaged from now on has new settings."""
        settings = self.ports[port]
        settings.began_ns, settings.fetched_ns, settings.triggered = self.clock.now_ns(), None, False

    def _switch(self, pattern: str, name: str) -> None:
        def put(suffixes: Suffixes, args: list[str]) -> None:
            count(args, 1)
            setattr(self._settable(suffixes), name, boolean(args[0]))

        self.on(pattern, put)
        self.on(f"{pattern}?", lambda suffixes, args: nr1(int(getattr(self._port(suffixes), name))))

    def _set_unit(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        word = args[0].strip().upper()
        units = {"0": False, "DBM": False, "1": True, "W": True, "WATT": True}
        if word not in units:
            raise ScpiError(-224, word[:40])
        self._settable(suffixes).watts = units[word]

    def _units(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        return '"' + ",".join(nr1(int(port.watts)) for port in self.ports.values()) + '"'

    def _set_range(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        settings = self._settable(suffixes)
        asked = number(args[0], "DBM", self.kind.low_dbm, HIGHEST_DBM, 0.0)
        settings.auto, settings.range_dbm = False, math.floor(asked / 10 + 0.5) * 10

    def _set_reference(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 2)
        settings = self._settable(suffixes)
        if choice(args[0], "TOREF", "TOMODule") == "TOREF":
            settings.reference_dbm = number(args[1], "DBM", -400.0, 400.0)
        else:
            settings.reference_db = number(args[1], "DB", -200.0, 200.0)

    def _reference(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 1)
        settings = self._port(suffixes)
        to_reference = choice(args[0], "TOREF", "TOMODule") == "TOREF"
        return nr3(settings.reference_dbm if to_reference else settings.reference_db)

    def _reference_from_display(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 0)
        settings, port = self._settable(suffixes), self.slot(suffixes)
        watts = self._fetch([port])[port]
        if watts is None:
            raise ScpiError(-231)
        settings.reference_dbm = in_dbm(watts)

    def _set_ratio(self, suffixes: Suffixes, args: list[str]) -> None:
        settings = self._settable(suffixes)
        if len(args) == 1 and args[0].strip().upper() in {"TOREF", "0"}:
            settings.ratio_port = None
            return
        count(args, 1, 2)
        other = integer(args[0], 1, 8)
        if other not in self.ports or (len(args) == 2 and integer(args[1], 1, 2) != 1):
            raise ScpiError(-224, args[0][:40])
        settings.ratio_port = other

    def _ratio(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        other = self._port(suffixes).ratio_port
        return "TOREF,+0" if other is None else f"{nr1(other)},+1"

    # -- zero ------------------------------------------------------------------------------------------------

    def _zero(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 0)
        self._zero_these([self.slot(suffixes)])

    def _zero_all(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 0)
        self.slot(suffixes)
        self._zero_these(list(self.ports))

    def _zero_these(self, ports: Sequence[int]) -> None:
        for port in ports:
            self._idle(port)
        for port in ports:
            truth = self.truth[port]
            truth.zero_code = int(self._sensed(port, self.clock.now_ns()) > DARK_W)
            if not truth.zero_code:
                truth.dark_w = float(truth.noise.normal(0, self.kind.noise_w / 10))
            self._again(port)
        self.zero(ZERO_S)

    def _zeroed(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        self.slot(suffixes)
        return nr1(sum(truth.zero_code << 4 * (port - 1) for port, truth in self.truth.items()))

    # -- readings, as commands -------------------------------------------------------------------------------

    def _readings(self, verb: str, take: Any) -> None:
        def one(suffixes: Suffixes, args: list[str]) -> str:
            count(args, 0)
            port = self.slot(suffixes)
            return self._said(port, take([port])[port])

        def block(suffixes: Suffixes, args: list[str]) -> bytes:
            count(args, 0)
            found = take(list(self.ports)).values()
            return np.array([NOTHING if each is None else each for each in found], dtype="<f4").tobytes()

        def listed(suffixes: Suffixes, args: list[str]) -> str:
            count(args, 0)
            found = take(list(self.ports)).values()
            return '"' + ",".join(nr3(NOTHING if each is None else each) for each in found) + '"'

        def where(suffixes: Suffixes, args: list[str]) -> bytes:
            count(args, 0)
            return np.array([(port, 1) for port in self.ports], dtype="<u2").tobytes()

        self.on(f"{verb}#[:CHANnel#][:SCALar]:POWer[:DC]?", one)
        self.on(f"{verb}:POWer[:DC]:ALL?", block)
        self.on(f"{verb}:POWer[:DC]:ALL:CSV?", listed)
        self.on(f"{verb}:POWer[:DC]:ALL:CONFig?", where)

    def _initiate(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 0)
        settings, port = self._settable(suffixes), self.slot(suffixes)
        if settings.continuous:
            raise ScpiError(-213)
        if settings.trigger != "IGN":
            settings.triggered = False
            return
        self._begin(port)
        self.begin(settings.averaging_s, port, MEASURING)

    def _set_continuous(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        settings = self._settable(suffixes)
        settings.continuous = boolean(args[0])
        self._again(self.slot(suffixes))

    # -- records, as commands --------------------------------------------------------------------------------

    def _prepare(self, suffixes: Suffixes, kind: str, args: list[str]) -> None:
        settings = self.ports[self.slot(suffixes)]
        if settings.record is not None:
            raise ScpiError(-200 if self._over(settings.record) else -284)
        low, high = self.kind.averaging.low, self.kind.averaging.high
        if kind == "LOGG":
            count(args, 2)
            samples, period = integer(args[0], 1, MOST_SAMPLES), number(args[1], "S", low, high)
            settings.parameters = (kind, samples, period, period)
        elif kind == "STAB":
            count(args, 2, 3)
            total = number(args[0], "S", low, 1e6)
            period = number(args[1], "S", low, 1e6)
            averaging = number(args[2], "S", low, high) if len(args) == 3 else settings.averaging_s
            if not averaging <= period <= total:
                raise ScpiError(-221)
            samples = int(total / period + 1e-9) + 1
            if samples > MOST_SAMPLES:
                raise ScpiError(-222)
            settings.parameters = (kind, samples, period, averaging)
        else:
            count(args, 2)
            choice(args[0], "CONTinous", "WINDow", "REFResh")
            samples = integer(args[1], 1, MOST_SAMPLES)
            settings.parameters = (kind, samples, settings.averaging_s, settings.averaging_s)

    def _prepared(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        parameters = self._port(suffixes).parameters
        if parameters is None or parameters[0] != "LOGG":
            return f"{nr1(1)},{nr3(self._port(suffixes).averaging_s)}"
        return f"{nr1(parameters[1])},{nr3(parameters[2])}"

    def _function(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 2)
        port = self.slot(suffixes)
        settings = self.ports[port]
        kind = choice(args[0], "LOGGing", "STABility", "MINMax")
        if choice(args[1], "STARt", "STOP") == "STOP":
            settings.record = None
            self._again(port)
            self.finish(port)
            return
        if settings.record is not None:
            raise ScpiError(-200 if self._over(settings.record) else -284)
        if settings.parameters is None or settings.parameters[0] != kind:
            raise ScpiError(-221)
        _, samples, period, averaging = settings.parameters
        each = settings.trigger == "SME" and kind == "LOGG"
        start_ns = self.clock.now_ns() if settings.trigger == "IGN" else None
        settings.record = Record(kind, samples, period, averaging, start_ns, each)

    def _state(self, suffixes: Suffixes, args: list[str]) -> str:
        count(args, 0)
        record = self._port(suffixes).record
        if record is None:
            return "NONE,PROGRESS"
        name = "MINMAX" if record.kind == "MINM" else "LOGGING_STABILITY"
        return f"{name},{'COMPLETE' if self._over(record) else 'PROGRESS'}"

    def _result(self, suffixes: Suffixes, args: list[str]) -> bytes:
        count(args, 0)
        port = self.slot(suffixes)
        settings = self.ports[port]
        record = settings.record
        if record is None:
            raise ScpiError(-286)
        if not self._over(record):
            raise ScpiError(-284)
        watts = self._recorded(port, record) * 10 ** (settings.correction_db / 10)
        if settings.watts:
            values = watts
        else:
            with np.errstate(invalid="ignore", divide="ignore"):
                values = np.where(watts > 0, 10 * np.log10(np.where(watts > 0, watts, 1.0) * 1000), np.nan)
        values = np.where(np.isfinite(values), values, NOTHING)
        if record.kind == "MINM":
            shown = [nr3(float(each)) for each in (values.min(), values.max(), values[-1])]
            return "Min: {}, Max: {}, Act: {}".format(*shown).encode()
        return values.astype("<f4").tobytes()

    # -- triggers --------------------------------------------------------------------------------------------

    def _set_trigger(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self._settable(suffixes).trigger = choice(args[0], "IGNore", "SMEasure", "CMEasure", "MMEasure")

    def _set_trigger_out(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self._settable(suffixes).trigger_out = choice(args[0], "DISabled", "AVGover", "MEASure")

    def _set_trigger_mode(self, suffixes: Suffixes, args: list[str]) -> None:
        count(args, 1)
        self.trigger_mode = choice(args[0], "DISabled", "DEFault", "PASSthrough", "LOOPback")
