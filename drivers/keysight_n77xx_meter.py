"""Keysight N774x multiport optical power meters: fresh readings in W, all ports together, or recorded in even steps.

Commands are those of the maker's N77xx Programming Guide, edition 7. Ports are slots; the channel within one is always
1. The box answers `*OPC?` at once with 0 or 1, and takes no command from the LAN while it zeroes.
"""

from __future__ import annotations

import array
import math
import sys
from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal

from drivers.capability import MeterSpec, Safe
from drivers.clock import WALL, Clock
from drivers.codec import NONE_FROM, WHOLE, reading
from drivers.errors import InstrumentFaultError, NoReadingError, PortReplyError, PortTimeoutError, SettingError
from drivers.quantity import DBm, Metre, Second, Watt, dbm, watt
from drivers.scpi import POLL_OPC, ErrorPolicy, ScpiInstrument, poll_state
from drivers.session import Session
from drivers.wavelength import nanometres

PORTS: Final = {"N7744A": 4, "N7745A": 8, "N7747A": 2, "N7748A": 4}
WAVELENGTHS: Final[dict[str, tuple[Metre, Metre]]] = {
    "N7744A": (Metre(1250e-9), Metre(1650e-9)),
    "N7745A": (Metre(1250e-9), Metre(1650e-9)),
    "N7747A": (Metre(800e-9), Metre(1700e-9)),
    "N7748A": (Metre(800e-9), Metre(1700e-9)),
}
"""What the data sheets allow; unconfirmed."""
AVERAGING_NS: Final[dict[str, tuple[int, int]]] = {
    "N7744A": (1_000, 10_000_000_000),
    "N7745A": (1_000, 10_000_000_000),
    "N7747A": (100_000, 10_000_000_000),
    "N7748A": (100_000, 10_000_000_000),
}
"""Shortest and longest averaging time, ns; unconfirmed."""
RANGES: Final[dict[str, tuple[DBm, DBm]]] = {
    "N7744A": (DBm(-30), DBm(10)),
    "N7745A": (DBm(-30), DBm(10)),
    "N7747A": (DBm(-70), DBm(10)),
    "N7748A": (DBm(-70), DBm(10)),
}
"""Lowest and highest measuring range; they lie 10 dB apart."""
HEADROOM_DB: Final = 10.0
"""A record's range reaches so far above the most light that was read."""
MOST_SAMPLES: Final = 1_000_000
"""Of a port in one record."""
OVER: Final = 2.0
"""More than so many times the highest range is no reading: the port is driven too hard, or the octets are wrong."""
SAME: Final = 1e-5
"""A number in text and the same one as float32 lie closer than that, relative."""
MARGIN_S: Final = 2.0
"""Beyond its averaging time a reading is done within so much."""
QUESTIONABLE: Final = -231
"""Error of a reading that is none: over range, or fetched before its averaging was over."""
ZERO_S: Final = 60.0
"""Zeroing all ports is over within so much; unconfirmed."""

_ORIGIN: Final = "unconfirmed: figures as makers give them for this class of meter"
_FAST: Final = MeterSpec(
    absolute_db=0.2,
    linearity_db=0.02,
    channel_db=0.05,
    polarisation_db=0.015,
    noise_w=4e-12,
    floor_dbm=-75.0,
    origin=_ORIGIN,
)
_SENSITIVE: Final = MeterSpec(
    absolute_db=0.2,
    linearity_db=0.02,
    channel_db=0.05,
    polarisation_db=0.01,
    noise_w=4e-14,
    floor_dbm=-95.0,
    origin=_ORIGIN,
)
SPECS: Final = {"N7744A": _FAST, "N7745A": _FAST, "N7747A": _SENSITIVE, "N7748A": _SENSITIVE}

UNCONFIRMED: Final = (
    "no command of the Keysight N774x driver has been tried on a real meter",
    "that *OPC? of a Keysight N774x says 0 until the readings that INIT began are done",
    "errors, wavelengths and averaging times of a Keysight N774x: no data sheet was at hand",
)

_POWER: Final = reading(Watt)
_FLOAT: Final = 4
_ORDERS: Final[tuple[Literal["little", "big"], ...]] = ("little", "big")


def duration(seconds: Second) -> str:
    """A time as the meter is told it, in the largest unit in which it is whole: "100MS", "100US", "1500NS".

    Raises SettingError for one that is no whole number of ns.
    """
    nanoseconds = _nanoseconds(seconds)
    for size, unit in ((1_000_000, "MS"), (1_000, "US")):
        if nanoseconds % size == 0:
            return f"{nanoseconds // size}{unit}"
    return f"{nanoseconds}NS"


def _nanoseconds(seconds: Second) -> int:
    if not math.isfinite(seconds) or abs(seconds * 1e9 - round(seconds * 1e9)) > 1e-3:
        raise SettingError("a time in whole ns", f"{seconds!r} s", "choose another one")
    return round(seconds * 1e9)


class KeysightN77xxMeter(ScpiInstrument):
    """A box of power meters, set up so that a reading is begun by us, is in W, and is of the light after that.

    Opening it ends records under way and takes calibration offsets and references away. Readings of several boxes are
    taken at one time by `start_read` of all, then `finish_read` of each.
    """

    MODELS = tuple(PORTS)
    WAIT = POLL_OPC
    ERRORS = ErrorPolicy.AFTER_GROUP
    unconfirmed = UNCONFIRMED

    def __init__(self, session: Session, *, clock: Clock = WALL, log_range: DBm | None = None) -> None:
        """``log_range``: the measuring range of records, dBm, which must not change while they run.

        None: one that reaches 10 dB above the most light that any port was read with; the highest while none was.
        Raises WrongInstrumentError, SettingError, InstrumentFaultError, and what the session raises.
        """
        super().__init__(session, clock=clock)
        model = self.identity.model.upper()
        self._ports = tuple(range(1, PORTS[model] + 1))
        self._wavelengths = WAVELENGTHS[model]
        self._shortest_ns, self._longest_ns = AVERAGING_NS[model]
        self._spec = SPECS[model]
        self._floor_w = watt(DBm(self._spec.floor_dbm))
        self._ranges = RANGES[model]
        self._most_w = OVER * watt(self._ranges[1])
        if log_range is not None and log_range not in self._allowed_ranges():
            self.close()
            raise SettingError(
                f"a range of {' or '.join(f'{each:g}' for each in self._allowed_ranges())} dBm",
                f"{log_range!r} dBm",
                "see the data sheet",
            )
        self._log_range = log_range
        self._brightest_w = 0.0
        """The most light that any port was read with."""
        self._averaging_s: dict[int, float] = dict.fromkeys(self._ports, 0.0)
        self._order: Literal["little", "big"] | None = None
        """Byte order of blocks, once one was compared with a number in text."""
        self._due_ns: int | None = None
        """When the readings that were begun are done; None: none were."""
        self._logs: dict[int, tuple[int, int]] = {}
        """Port → (samples, when its record is complete in ns of the clock)."""
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _allowed_ranges(self) -> tuple[DBm, ...]:
        low, high = self._ranges
        return tuple(DBm(each) for each in range(round(low), round(high) + 1, 10))

    def _set_up(self) -> None:
        self.errors()  # what others left behind is no answer to us
        for port in self._ports:
            running = self.query(f"SENS{port}:FUNC:STAT?").strip().upper()
            if not running.startswith("NONE"):
                self.write(f"SENS{port}:FUNC:STAT {'MINM' if running.startswith('MINM') else 'LOGG'},STOP")
        # one after the other, as gain must be the same on all ports before times are set
        for words in (
            "SENS{0}:POW:UNIT 1",
            "SENS{0}:POW:REF:STAT 0",
            "SENS{0}:CORR 0DB",
            "SENS{0}:POW:GAIN:AUTO 1",
            "SENS{0}:POW:RANG:AUTO 1",
            "TRIG{0}:INP IGN",
            "INIT{0}:CONT 0",
        ):
            self._each(words, self._ports)
        for port in self._ports:
            self._averaging_s[port] = self._asked(f"SENS{port}:POW:ATIM?")

    def _asked(self, message: str) -> float:
        found = self.ask(message, _POWER)
        if found is None or not 0 < found <= self._longest_ns / 1e9:
            raise PortReplyError(f"an averaging time in s to {message}", str(found), "check model and firmware")
        return float(found)

    def _each(self, words: str, ports: Collection[int]) -> None:
        """One message for several ports, and one look at the error queue."""
        self.write(";:".join(words.format(port) for port in ports))

    def _named(self, channels: Collection[int]) -> tuple[int, ...]:
        wrong = [channel for channel in channels if channel not in self._averaging_s]
        if wrong:
            raise SettingError(f"channels of 1 to {len(self._ports)}", str(wrong), "see the meter's front")
        return tuple(sorted(set(channels))) or self._ports

    # -- what it is ------------------------------------------------------------------------------------------

    @property
    def channels(self) -> int:
        """How many ports."""
        return len(self._ports)

    @property
    def spec(self) -> MeterSpec:
        """Its errors; unconfirmed."""
        return self._spec

    def safe_state(self) -> Safe:
        """It emits nothing; records under way are ended. Raises what the session raises."""
        running = tuple(self._logs)
        if running:
            self._end_logs()
        return Safe(confirmed=True, said=f"{self.identity.model}: a power meter, emits nothing")

    # -- settings --------------------------------------------------------------------------------------------

    def set_wavelength(self, wavelength: Metre, channels: Collection[int] = ()) -> None:
        """What the channels (all when none is named) take the light for, m in vacuum, sent to 1 fm.

        Raises SettingError before anything is sent, InstrumentFaultError.
        """
        low, high = self._wavelengths
        ports = self._named(channels)
        if not low <= wavelength <= high:
            raise SettingError(
                f"a wavelength within {low * 1e9:g} … {high * 1e9:g} nm", f"{wavelength!r} m", "see the data sheet"
            )
        self._each(f"SENS{{0}}:POW:WAV {nanometres(wavelength)}", ports)

    def set_averaging(self, seconds: Second, channels: Collection[int] = ()) -> None:
        """How long a reading takes, s, in whole ns.

        Raises SettingError before anything is sent, InstrumentFaultError.
        """
        ports = self._named(channels)
        self._within(seconds)
        self._each(f"SENS{{0}}:POW:ATIM {duration(seconds)}", ports)
        self._averaging_s.update(dict.fromkeys(ports, float(seconds)))

    def _within(self, seconds: Second) -> None:
        if not self._shortest_ns <= _nanoseconds(seconds) <= self._longest_ns:
            raise SettingError(
                f"an averaging time within {self._shortest_ns / 1000:g} us … {self._longest_ns / 1e9:g} s",
                f"{seconds!r} s",
                "see the data sheet",
            )

    # -- readings --------------------------------------------------------------------------------------------

    def read(self, channel: int) -> Watt | None:
        """A fresh reading, W; None: less than the meter's floor.

        Raises NoReadingError where it is questionable, as with more light than the port can measure: that is no
        darkness. Raises SettingError for a channel that is none.
        """
        (port,) = self._named((channel,))
        try:
            found = self.ask(f"READ{port}:POW?", _POWER, self._averaging_s[port] + self.session.timeout_s + MARGIN_S)
        except InstrumentFaultError as why:
            if why.code != QUESTIONABLE:
                raise
            found = None
        if found is None:
            self._forgive()
        return self._believed(port, math.nan if found is None else found)

    def read_all(self) -> Mapping[int, Watt | None]:
        """A fresh reading of every port, begun together, W; as `read`."""
        self.start_read()
        return self.finish_read(self._ports)

    def start_read(self) -> None:
        """Begin a reading on every port and come back at once; `finish_read` fetches them."""
        self.session.write(";:".join(f"INIT{port}" for port in self._ports))
        self._due_ns = self.clock.now_ns() + round(max(self._averaging_s.values()) * 1e9)

    def finish_read(self, channels: Collection[int] = ()) -> Mapping[int, Watt | None]:
        """Wait for the readings that `start_read` began and fetch them in one block, W of each channel; as `read`.

        All channels when none is named; what others see is no matter then. Raises NoReadingError also when nothing was
        begun.
        """
        ports = self._named(channels)
        if self._due_ns is None:
            raise NoReadingError("readings that were begun", "none", "start_read before finish_read")
        left_s, self._due_ns = (self._due_ns - self.clock.now_ns()) / 1e9, None
        if left_s > 0:
            self.clock.sleep(left_s)
        self.wait(MARGIN_S)
        message = "FETC:POW:ALL?"
        try:
            payload = self.block(message)
        except InstrumentFaultError as why:
            if why.code != QUESTIONABLE:
                raise
            self.clock.sleep(max(self._averaging_s.values()))  # it took longer than was reckoned: once more, then it is
            payload = self.block(message)
        found = dict(zip(self._ports, self._floats(payload, message, len(self._ports)), strict=True))
        return {port: self._believed(port, found[port]) for port in ports}

    def _believed(self, port: int, power: float) -> Watt | None:
        """A reading that is one, or None below the floor. In W darkness is a small number, never none."""
        if not abs(power) <= self._most_w:
            raise NoReadingError(
                f"at most {self._ranges[1]:g} dBm at port {port}",
                "a questionable reading" if not abs(power) < NONE_FROM * (1 - SAME) else f"{power:.4g} W",
                "attenuate; if there was less light, look at the port",
            )
        self._brightest_w = max(self._brightest_w, power)
        return Watt(power) if power >= self._floor_w else None

    def _forgive(self) -> None:
        """Take what the box says of a questionable reading out of its queue: the next command is not to blame."""
        for code, text in self.errors():
            if code != QUESTIONABLE:
                raise InstrumentFaultError(code, text, "a reading")

    # -- blocks ----------------------------------------------------------------------------------------------

    def _floats(self, payload: bytes, message: str, count: int) -> array.array[float]:
        """The float32 of a block, whose order of octets firmware and guide may not agree about."""
        if len(payload) != count * _FLOAT:
            raise PortReplyError(
                f"{count} values of {_FLOAT} octets to {message}", f"{len(payload)} octets", "check model and firmware"
            )
        if self._order is None and message.startswith("FETC"):
            self._compare(payload)
        return _unpacked(payload, self._order or "little")

    def _compare(self, payload: bytes) -> None:
        """Find the order by the last reading of one port in text. Ports that read 0 or nothing tell nothing."""
        both = {order: _unpacked(payload, order) for order in _ORDERS}
        for at, port in enumerate(self._ports):
            if not any(payload[at * _FLOAT : (at + 1) * _FLOAT]):
                continue
            told = self.ask(f"FETC{port}:POW?", _POWER)
            if told is None:
                self._forgive()
            if not told:
                continue
            fits = [order for order in _ORDERS if abs(both[order][at] - told) <= SAME * abs(told)]
            if not fits:
                raise PortReplyError(
                    f"the same reading of port {port} in FETC:POW:ALL? as in FETC{port}:POW?, {told:.8g} W",
                    " or ".join(f"{both[order][at]:.8g}" for order in _ORDERS),
                    "look which unit the port shows, and at the firmware",
                )
            if len(fits) == 1:
                self._order = fits[0]
                return

    # -- records ---------------------------------------------------------------------------------------------

    def start_log(self, channels: Collection[int], samples: int, period: Second, *, triggered: bool = False) -> None:
        """Begin a record of so many samples on the channels, each the mean over ``period`` s; returns when they run.

        The range is fixed and gain control off, so that nothing but the light changes. ``triggered``: each sample waits
        for the box's trigger input, as in a wavelength sweep. Records under way are ended. Raises SettingError before
        anything is sent, InstrumentFaultError.
        """
        ports = self._named(channels)
        if isinstance(samples, bool) or not isinstance(samples, int) or not 1 <= samples <= MOST_SAMPLES:
            raise SettingError(f"1 to {MOST_SAMPLES} samples", repr(samples), "record in several pieces")
        self._within(period)
        if self._logs:
            self._end_logs()
        if self._order is None:
            self.read_all()  # so that the record's octets can be understood
        log_range = self._record_range()
        with self.group("the set-up of a record"):
            # gain must be the same on all ports before times are set
            self._each("SENS{0}:POW:GAIN:AUTO 0", self._ports)
            self._each("SENS{0}:POW:RANG:AUTO 0", ports)
            self._each(f"SENS{{0}}:POW:RANG {log_range:g}DBM", ports)
            self._each(f"TRIG{{0}}:INP {'SME' if triggered else 'IGN'}", ports)
            self._each(f"SENS{{0}}:FUNC:PAR:LOGG {samples},{duration(period)}", ports)
        self._logs = dict.fromkeys(ports, (samples, 0))
        self._each("SENS{0}:FUNC:STAT LOGG,STAR", ports)
        due_ns = self.clock.now_ns() + samples * _nanoseconds(period)
        self._logs = dict.fromkeys(ports, (samples, due_ns))

    def _record_range(self) -> DBm:
        if self._log_range is not None:
            return self._log_range
        low, high = self._ranges
        if self._brightest_w < self._floor_w:
            return high
        return DBm(min(high, max(low, math.ceil((dbm(Watt(self._brightest_w)) + HEADROOM_DB) / 10) * 10)))

    def log(self, channel: int, within_s: float = MARGIN_S) -> Sequence[float]:
        """Wait for the end of a channel's record and return it, W, one value a period; it can be had once.

        When the last one was fetched the meter is as before. ``within_s``: how much longer than reckoned it may take;
        a triggered record takes as long as its triggers. Raises NoReadingError when there is no record or a sample of
        it is none (over range), PortTimeoutError.
        """
        (port,) = self._named((channel,))
        if port not in self._logs:
            raise NoReadingError(f"a record of port {port}", "none was begun", "start_log before log")
        samples, due_ns = self._logs[port]
        left_s = (due_ns - self.clock.now_ns()) / 1e9
        if left_s > 0:
            self.clock.sleep(left_s)
        self.wait(within_s, poll_state(f"SENS{port}:FUNC:STAT?", _complete))
        message = f"SENS{port}:FUNC:RES?"
        found = self._floats(self.block(message, self.session.timeout_s + samples / 1e5), message, samples)
        del self._logs[port]
        self.write(f"SENS{port}:FUNC:STAT LOGG,STOP")
        if not self._logs:
            self._back_to_readings()
        wrong = sum(not -self._most_w <= value <= self._most_w for value in found)
        if wrong:
            raise NoReadingError(
                f"{samples} samples within the record's range at port {port}",
                f"{wrong} that are none",
                "attenuate, or record in a higher range: log_range = 10 in the bench file",
            )
        return found

    def _end_logs(self) -> None:
        ports, self._logs = tuple(self._logs), {}
        self._each("SENS{0}:FUNC:STAT LOGG,STOP", ports)
        self._back_to_readings()

    def _back_to_readings(self) -> None:
        with self.group("the way back from a record"):
            self._each("TRIG{0}:INP IGN", self._ports)
            self._each("SENS{0}:POW:GAIN:AUTO 1", self._ports)
            self._each("SENS{0}:POW:RANG:AUTO 1", self._ports)

    # -- zero ------------------------------------------------------------------------------------------------

    def zero(self) -> None:
        """Take every port's dark current away; all must be dark. Raises NoReadingError with the ports that failed."""
        self.session.write("SENS1:CORR:COLL:ZERO:ALL")
        self.clock.sleep(1.0)
        code = self._zeroed()
        wrong = [port for port in self._ports if code >> 4 * (port - 1) & 0xF]
        if wrong or code:
            raise NoReadingError(
                "zero of every port",
                f"code {code:#x}: ports {wrong} failed",
                "close every port with its cap; what still fails needs service",
            )

    def _zeroed(self) -> int:
        start = self.clock.now_ns()
        while True:
            try:
                return self.ask("SENS1:CORR:COLL:ZERO:ALL?", WHOLE)
            except (PortTimeoutError, InstrumentFaultError):
                # no command is taken meanwhile: silence, or -616 and -201
                if self.clock.now_ns() - start > ZERO_S * 1e9:
                    raise
                self.clock.sleep(1.0)


def _complete(reply: str) -> bool:
    """Whether the answer to FUNC:STAT? says that a record is complete. Raises ValueError for any other state."""
    what, _, state = reply.strip().upper().partition(",")
    if what != "LOGGING_STABILITY" or state not in {"PROGRESS", "COMPLETE"}:
        raise ValueError(f"{reply!r} is no state of a record")
    return state == "COMPLETE"


def _unpacked(payload: bytes, order: Literal["little", "big"]) -> array.array[float]:
    found = array.array("f", payload)
    if order != sys.byteorder:
        found.byteswap()
    return found
