"""A GNSS timing receiver's account of the pulse it gives, heard on its serial port."""

from __future__ import annotations

import errno
import re
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, Protocol

import serial
from pyubx2 import POLL, UBXMessage

from drivers.capability import Pulse
from drivers.sentences import Cutter, Sentence
from drivers.ubx import (
    ANTENNA,
    CONSTELLATIONS,
    FIXES,
    FRESH_S,
    INTERFERENCE,
    JAMMED,
    NO_FIX,
    SLOW_S,
    TIME_ONLY,
    Facts,
    facts,
    pulse,
)
from harness.clock import ClockState, Part
from harness.errors import BenchError

FORMAT: Final = "gnss/1"
RAW_OCTETS: Final = 4096
"""Most that one reading keeps."""
_FINDINGS_OCTETS: Final = 1200

PULSES_ENOUGH: Final = 60
"""Pulses whose qErr was heard before the largest of them counts as the sawtooth's half-width: one minute."""
APART_S: Final = 3.0
"""Receiver and host may seem this far apart: a sentence comes up to a second and more after what it names."""
LEAP_AHEAD_S: Final = 86_400
VERSION_WAIT_S: Final = 3.0
"""Time the receiver has to say what it is; until then it has no identity, so that none changes by itself."""
FIRST_S: Final = 1.2
"""A first poll waits this long for one whole second of sentences."""
RETRY_S: Final = 0.5
_SYSTEMS_KEPT: Final = 8
"""GSA sentences of different constellations kept; there are six."""

# the order in which sentences are kept where not all fit into one reading; TIM-TP first: its past counts too
_ORDER: Final = (
    "TIM-TP",
    "NAV-PVT",
    "NAV-STATUS",
    "NAV-TIMEGPS",
    "NAV-TIMEBDS",
    "NAV-TIMEGAL",
    "NAV-TIMEUTC",
    "NAV-CLOCK",
    "NAV-TIMELS",
    "MON-RF",
    "MON-HW",
    "TIM-SVIN",
    "NAV-SVIN",
    "MON-VER",
    "RMC",
    "GSA",
    "GGA",
    "ZDA",
)
_HEAD: Final = re.compile(
    r"gnss/1 open_ms=(\d{1,12}) octets=(\d{1,15}) used=(\d{1,15}) refused=(\d{1,12}) "
    r"qerr_ps=(\d{1,10}) pulses=(\d{1,9})"
)
_HEARD: Final = re.compile(r"(ubx|nmea) (\d{1,9}) (.+)")
_SCALES: Final = {
    18: "UTC and GPS time",
    19: "GPS time and TAI",
    37: "UTC and TAI",
    33: "BDT and TAI",
    4: "UTC and BDT",
}
"""Differences in s that name the two time scales that were mixed up (valid since 2017)."""


@dataclass(frozen=True, slots=True)
class Settings:
    """What the bench declares of a receiver. Raises BenchError where a figure has no origin or makes no sense."""

    port: str
    """Device path; one under /dev/serial/by-id stays the same when the receiver is plugged in again."""
    baud: int = 38_400
    """Bits a second of a UART; USB takes any."""
    class_ns: int | None = None
    """Largest time error of its pulse by the receiver's class, ns (PRTC-A: 100, ITU-T G.8272); None: no bound."""
    class_origin: str = ""
    cable_ns: int | None = None
    """Delay of antenna, cable and splitters, ns; None: unknown, no bound."""
    cable_u_ns: int | None = None
    """Half-width of that delay, ns."""
    cable_origin: str = ""
    cable_corrected: bool = False
    """Whether the receiver is set to take the delay off (CFG-TP-ANT_CABLEDELAY); if not, all of it is in the bound."""
    sawtooth_ns: int | None = None
    """Half-width of the pulse's quantisation by the data sheet, ns; None: what TIM-TP showed in a minute or more."""
    sawtooth_origin: str = ""
    constellations: tuple[str, ...] = ()
    """Those of which satellites must be in use ("GPS", "BDS", "Galileo" …), by NMEA GSA."""
    fixed_position: bool = True
    """Whether it must hold its surveyed position fixed: an error of 1 m is up to 3 ns otherwise."""

    def __post_init__(self) -> None:
        declared = [
            ("class_ns", self.class_ns, self.class_origin),
            ("cable_ns", self.cable_ns, self.cable_origin),
            ("cable_u_ns", self.cable_u_ns, self.cable_origin),
            ("sawtooth_ns", self.sawtooth_ns, self.sawtooth_origin),
        ]
        for name, value, origin in declared:
            if value is not None and (value < 0 or (name == "class_ns" and value == 0)):
                raise BenchError(f"{name} of a GNSS receiver above zero", f"{value}", "declare a half-width in ns")
            if value is not None and not origin.strip():
                raise BenchError(
                    f"the origin of {name} = {value}",
                    "none",
                    "say where the figure is from: data sheet, Recommendation and class, calibration with its date",
                )
        if not self.port or self.baud <= 0:
            raise BenchError(
                "a serial port and its rate",
                f"{self.port!r} at {self.baud}",
                "port = '/dev/serial/by-id/…', baud = 38400",
            )
        strange = sorted(set(self.constellations) - CONSTELLATIONS)
        if strange:
            raise BenchError(
                f"constellations among {', '.join(sorted(CONSTELLATIONS))}", ", ".join(strange), "spell them so"
            )


class Port(Protocol):
    """What is read of a serial port."""

    @property
    def in_waiting(self) -> int:
        """Octets that can be read without waiting."""

    def read(self, size: int = 1) -> bytes:
        """Up to ``size`` octets, none when the port's timeout passes first."""

    def write(self, data: bytes, /) -> int | None:
        """Send octets."""

    def close(self) -> None:
        """Give the port back."""


def open_serial(settings: Settings) -> Port:
    """The receiver's port, for us alone. Raises OSError (serial.SerialException is one) or ValueError."""
    port: Port = serial.Serial(settings.port, settings.baud, timeout=0.25, write_timeout=0.25, exclusive=True)
    return port


def state_of(site: str, at_ns: int, settings: Settings, raw: str) -> ClockState:
    """What a reading's raw text is worth; ``at_ns`` ns since 1970 UTC. Raises ValueError when it is no such text.

    Whoever has the bench file judges a reading again: `state_of` of a state's own raw is that state.

    Synchronised is True only when the receiver says within 2.5 s that its time is valid, its fix good and its pulse
    not unlocked, its antenna is not known to be open or short, and what the bench declares is so; False when the
    receiver itself denies one of the first; None when nothing fresh says so, or when something speaks against
    believing it: an own estimate (tAcc) above the declared class, jamming, spoofing, a date that is not the host's.

    The bound is that of the pulse, uncorrected, not of a clock that follows it: class + cable + sawtooth, each a named
    part, all linear. tAcc is never in it: whether it is a standard deviation or a limit is unconfirmed.
    """
    lines = [line for line in raw.split("\n") if line and not line.startswith("# ")]
    fault = next((line.removeprefix("fault ") for line in lines if line.startswith("fault ")), None)
    if fault is not None:
        return _state(site, at_ns, lines, [], synchronised=None)
    head = _HEAD.fullmatch(lines[0]) if lines else None
    if head is None:
        raise ValueError(f"a reading of a GNSS receiver begins with {FORMAT}: {raw[:80]!r}")
    open_ms, octets, used, refused, qerr_ps, pulses = (int(each) for each in head.groups())
    heard = [_sentence(line) for line in lines[1:]]
    said = facts(heard)

    quiet_s = min((age_s for age_s, _ in heard), default=None)
    lively = quiet_s is not None and quiet_s <= FRESH_S
    denied = list(_denials(said)) if lively else []  # who has fallen silent no longer denies
    doubts = list(_doubts(said, settings, at_ns))
    if quiet_s is None:
        doubts.append(_silence(settings, open_ms, octets, used))
    elif not lively:
        doubts.append(f"nothing heard for {quiet_s:.1f} s; check the receiver's power and its cable")
    elif not said.ubx:
        doubts.append("NMEA alone states no uncertainty; enable UBX NAV-PVT, NAV-TIMEGPS and TIM-TP on this port")
    parts, missing = _parts(said, settings, qerr_ps, pulses)
    synchronised = False if denied else None if doubts else True
    bounded = synchronised is True and not missing
    notes = list(_notes(said, qerr_ps, pulses))
    if refused:
        notes.append(f"{refused} sentences with impossible contents passed over")
    leaps = {value for value, _ in said.tai_utc}
    if len(leaps) > 1:
        notes.append("TAI - UTC unknown: " + ", ".join(f"{value} s by {who}" for value, who in said.tai_utc))
    known = synchronised is True and said.grid and (said.version or open_ms >= VERSION_WAIT_S * 1000)
    findings = [
        *(f"# no: {each}" for each in denied),
        *(f"# unknown: {each}" for each in doubts),
        *(f"# no bound: {each}" for each in missing if synchronised is True),
        *(f"# note: {each}" for each in notes),
    ]
    return _state(
        site,
        at_ns,
        lines,
        findings,
        synchronised=synchronised,
        tai_utc_s=leaps.pop() if len(leaps) == 1 else None,
        leap_pending=_leap_pending(said),
        # the prefix tells the judge that a simulator spoke
        identity=f"{'injected:' * said.version.startswith('SIM-')}{said.version or 'receiver unnamed'} on {said.grid}"
        if known
        else "",
        parts=parts if bounded else (),
    )


def _state(
    site: str,
    at_ns: int,
    lines: Sequence[str],
    findings: Sequence[str],
    *,
    synchronised: bool | None,
    tai_utc_s: int | None = None,
    leap_pending: bool | None = None,
    identity: str = "",
    parts: tuple[Part, ...] = (),
) -> ClockState:
    return ClockState(
        site=site,
        source=Gnss.name,
        at_ns=at_ns,
        synchronised=synchronised,
        bound_ns=sum(part.half_width_ns for part in parts) if parts else None,
        skew_ppb=None,  # clkD is the rate of the receiver's own oscillator, not of the pulse it steers
        tai_utc_s=tai_utc_s,
        leap_pending=leap_pending,
        identity=identity,
        raw="\n".join([*lines, *_fitting(findings, _FINDINGS_OCTETS)]),
        parts=parts,
    )


def _fitting(lines: Iterable[str], octets: int) -> list[str]:
    """The first lines that fit; what is left out is said."""
    kept: list[str] = []
    for line in lines:
        short = line if len(line.encode()) <= 400 else line.encode()[:380].decode(errors="ignore") + " …"
        octets -= len(short.encode()) + 1
        if octets < 40:
            return [*kept, "# note: more findings did not fit"]
        kept.append(short)
    return kept


def _sentence(line: str) -> tuple[float, Sentence]:
    """(age in s, sentence) of a line of raw text, its checksum checked again."""
    parsed = _HEARD.fullmatch(line)
    if parsed is None:
        raise ValueError(f"not a sentence with its age: {line[:80]!r}")
    octets = bytes.fromhex(parsed[3]) if parsed[1] == "ubx" else parsed[3].encode() + b"\r\n"
    found = Cutter().feed(octets, 0.0)
    if len(found) != 1 or len(found[0].octets) != len(octets) - 2 * (parsed[1] == "nmea"):
        raise ValueError(f"not one whole sentence: {line[:80]!r}")
    return int(parsed[2]) / 1000, found[0]


def _denials(said: Facts) -> Iterable[str]:
    """Where the receiver itself says that its pulse is not good."""
    if said.time_valid is False:
        yield f"the receiver says its time is not valid ({said.time_by}); wait, or look at the sky view of the antenna"
    if said.fix in NO_FIX:
        yield f"{FIXES[said.fix or 0]}; check the antenna, its cable and its view of the sky"
    elif said.fix_ok is False:
        yield f"a {FIXES.get(said.fix or 0, 'fix')} outside the receiver's own limits (fix-ok flag clear)"
    elif said.fix is None and said.nmea_fix is False:
        yield "NMEA says there is no fix; check the antenna, its cable and its view of the sky"
    for number, state in enumerate(said.antennas):
        if ANTENNA.get(state) in {"open", "short"}:
            yield f"antenna {number} is {ANTENNA[state]}; check the antenna, its connectors and its supply"
    if said.pulse is not None and not said.pulse.locked:
        yield "the pulse is not locked (TIM-TP)"


def _doubts(said: Facts, settings: Settings, at_ns: int) -> Iterable[str]:
    """Why a receiver that does not deny is not believed either."""
    if said.ubx and said.time_valid is None:
        yield "no fresh sentence says whether its time is valid; enable UBX NAV-PVT or NAV-TIMEGPS once a second"
    if said.ubx and said.fix is None:
        yield "no fresh sentence says whether there is a fix; enable UBX NAV-PVT or NAV-STATUS once a second"
    if said.fix is not None and said.fix not in NO_FIX and said.fix != TIME_ONLY:
        surveyed = "" if said.survey_s is None else f", its survey has run {said.survey_s} s"
        kind = FIXES.get(said.fix, f"fix of unknown type {said.fix}")
        if settings.fixed_position:
            yield f"{kind} where a fixed position is declared{surveyed}; finish the survey, or set the position"
        elif said.fix not in {3, 4}:
            yield f"{kind} does not carry time; check the view of the sky"
    if said.accuracy_ns is not None and settings.class_ns is not None and said.accuracy_ns > settings.class_ns:
        yield (
            f"its own estimate of its time (tAcc) is {said.accuracy_ns} ns, more than the declared class of "
            f"{settings.class_ns} ns; wait for it to settle, or find out what disturbs it"
        )
    if said.jamming == JAMMED:
        yield "jamming is critical (MON-RF); look for the transmitter, move the antenna"
    if said.spoofing is not None and said.spoofing >= 2:
        yield "signs of spoofing (NAV-STATUS); compare with another constellation, antenna or PTP"
    if settings.constellations:
        missing = [] if said.used is None else [each for each in settings.constellations if each not in said.used]
        if said.used is None:
            yield (
                f"{', '.join(settings.constellations)} declared, and nothing says whose satellites are used; "
                "enable NMEA GSA (4.11), or leave constellations out of the bench"
            )
        elif missing:
            yield f"no satellite of {', '.join(missing)} in use, where the bench declares it"
    if said.utc is not None:
        host = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=at_ns // 1000)
        ahead_s = (said.utc + timedelta(seconds=said.utc_age_s) - host).total_seconds()
        if abs(ahead_s) > APART_S:
            named = _SCALES.get(round(abs(ahead_s)), "")
            yield (
                f"the receiver's UTC is {abs(ahead_s):.1f} s {'ahead of' if ahead_s > 0 else 'behind'} this host's"
                + (f" ({named} mixed?)" if named else "")
                + "; set the host's clock, or find out whether the receiver plays a record or has rolled its weeks over"
            )


def _silence(settings: Settings, open_ms: int, octets: int, used: int) -> str:
    """Why no sentence is at hand from a port that is open."""
    after = f"{open_ms / 1000:.1f} s after opening {settings.port}"[:160]
    if octets == 0:
        return f"silent {after}; check the receiver's power and cable, and that it sends on this port"
    if used == 0:
        return (
            f"{octets} octets and no sentence in them {after} at {settings.baud} baud; set the receiver's own "
            "baud rate (9600, 38400, 115200 are usual), and UBX as its output protocol"
        )
    return f"no sentence for more than {SLOW_S:.0f} s {after}; check the receiver's power and cable"


def _parts(said: Facts, settings: Settings, qerr_ps: int, pulses: int) -> tuple[tuple[Part, ...], list[str]]:
    """(the parts of the bound, why there is none)."""
    parts, missing = [], []
    if settings.class_ns is None:
        missing.append("the receiver's class is not declared; declare class_ns with its origin (PRTC-A: 100, G.8272)")
    else:
        parts.append(Part("接收机等级", "receiver class", settings.class_ns, settings.class_origin))
    if settings.cable_ns is None or settings.cable_u_ns is None:
        missing.append("antenna and cable delay not declared; declare cable_ns, cable_u_ns and cable_origin")
    else:
        if not settings.cable_corrected and settings.cable_ns:
            parts.append(
                Part(
                    "天线与电缆时延（未补偿）",
                    "antenna and cable delay, not corrected",
                    settings.cable_ns,
                    settings.cable_origin,
                )
            )
        parts.append(
            Part(
                "天线与电缆时延的不确定",
                "half-width of antenna and cable delay",
                settings.cable_u_ns,
                settings.cable_origin,
            )
        )
    seen_ns = -(-qerr_ps // 1000)
    heard = f"largest |qErr| of {pulses} pulses by UBX-TIM-TP"
    if said.pulse is None:
        missing.append("nothing fresh says whether the pulse is locked; enable UBX TIM-TP once a second")
    elif settings.sawtooth_ns is not None and settings.sawtooth_ns >= seen_ns:
        parts.append(_sawtooth(settings.sawtooth_ns, settings.sawtooth_origin))
    elif settings.sawtooth_ns is not None or pulses >= PULSES_ENOUGH:
        parts.append(_sawtooth(seen_ns, heard))
    else:
        missing.append(f"{pulses} of {PULSES_ENOUGH} pulses heard for the sawtooth; wait, or declare sawtooth_ns")
    return tuple(parts), missing


def _sawtooth(half_width_ns: int, origin: str) -> Part:
    return Part("秒脉冲量化（未修正）", "pulse quantisation, not corrected", half_width_ns, origin)


def _notes(said: Facts, qerr_ps: int, pulses: int) -> Iterable[str]:
    """What an auditor would like to have read out."""
    if said.accuracy_ns is not None:
        yield f"tAcc {said.accuracy_ns} ns, its own estimate: whether 1σ or a limit is unconfirmed, so not in the bound"
    if pulses:
        yield f"largest |qErr| {qerr_ps} ps of {pulses} pulses since the port was opened"
    if said.pulse is not None and said.pulse.qerr_ps is None:
        yield "the next pulse's qErr is marked invalid"
    if said.jamming == INTERFERENCE:
        yield "interference seen, fix good (MON-RF)"
    if said.fix is not None and said.fix not in NO_FIX and said.nmea_fix is False:
        yield "NMEA says no fix where UBX has one"
    if said.antennas and not all(ANTENNA.get(each) == "good" for each in said.antennas):
        yield "antenna " + ", ".join(ANTENNA.get(each, f"state {each}") for each in said.antennas)
    if not said.antennas:
        yield "antenna not reported; enable UBX MON-RF (older receivers: MON-HW)"


def _leap_pending(said: Facts) -> bool | None:
    """Whether a leap second is announced within the next 24 h (a run's ±1 h is the judge's); None: not known."""
    if said.leap_in_s is None:
        return None
    return said.leap_change_s != 0 and 0 <= said.leap_in_s <= LEAP_AHEAD_S


def _explain(settings: Settings, why: Exception) -> str:
    """What happened to the port, and what to do; one line."""
    port = settings.port.replace("\n", " ")[:120]
    number = getattr(why, "errno", None)
    if number in {errno.ENOENT, errno.ENODEV, errno.ENXIO}:
        return f"no device {port}; plug the receiver in, look under /dev/serial/by-id, correct port in the bench file"
    if number in {errno.EACCES, errno.EPERM}:
        return f"no permission to open {port}; add this user to the port's group (dialout) and log in again"
    if number in {errno.EAGAIN, errno.EBUSY}:
        return f"another program holds {port}; stop it (gpsd, ModemManager), two readers take each other's octets"
    if number == errno.EIO or "disconnected" in str(why):
        return f"{port} was unplugged; plug it in again: it is taken up as soon as it is back"
    said = f"{type(why).__name__}: {why}".replace("\n", " ")[:300]
    return (
        f"{port} cannot be used ({said}); check that it is a serial port and that {settings.baud} baud is a rate it has"
    )


class Gnss:
    """A receiver heard by a thread of its own from the first poll until `close`; nothing in it is configured by us.

    The one thing ever sent is the question what it is (MON-VER). Only the last sentence of each kind is kept, with the
    last `PULSES_ENOUGH` announced pulses. A port that fails is opened again until it comes back; what was heard
    before is then forgotten, because another receiver may have been plugged in.
    """

    name = "gnss"

    def __init__(
        self,
        site: str,
        settings: Settings,
        open_port: Callable[[Settings], Port] = open_serial,
        *,
        now: Callable[[], float] = time.monotonic,
        first_s: float = FIRST_S,
    ) -> None:
        self.site = site
        self._settings = settings
        self._open_port = open_port
        self._now = now
        self._first_s = first_s
        self._changed = threading.Condition()
        self._closing = threading.Event()
        self._thread: threading.Thread | None = None
        self._fault = ""
        self._forget()

    def poll(self, at_ns: int) -> ClockState:
        """The state now, which is ``at_ns`` ns since 1970 UTC. Never raises; the first waits for a second of words."""
        with self._changed:
            if self._thread is None and not self._closing.is_set():
                self._thread = threading.Thread(target=self._listen, daemon=True, name=f"gnss {self.site}")
                self._thread.start()
                due = time.monotonic() + self._first_s
                while not (state := self._read(at_ns)).identity or state.bound_ns is None:
                    left_s = due - time.monotonic()
                    if left_s <= 0 or self._fault:
                        break
                    self._changed.wait(left_s)
            return self._read(at_ns)

    def close(self) -> None:
        """Give the port back; later polls know nothing. Safe to call twice."""
        self._closing.set()
        thread = self._thread
        if thread is not None:
            thread.join(2.0)
        with self._changed:
            self._forget()

    @property
    def pulses(self) -> tuple[Pulse, ...]:
        """The pulses last announced, oldest first: what a counter beside the receiver corrects its intervals with."""
        with self._changed:
            return tuple(self._pulses)

    # -- what was heard; all want the lock -----------------------------------------------------------------

    def _forget(self, fault: str = "") -> None:
        self._fault = fault
        self._cutter = Cutter()
        self._opened_s = self._now()
        self._latest: dict[str, Sentence] = {}
        self._announced: deque[Sentence] = deque(maxlen=3)
        self._pulses: deque[Pulse] = deque(maxlen=PULSES_ENOUGH)
        self._qerr_ps = 0
        self._qerrs = 0
        self._refused = 0

    def _take(self, sentence: Sentence) -> None:
        try:
            facts([(0.0, sentence)])
        except ValueError:  # framed and summed right, and still no such message
            self._refused += 1
            return
        if sentence.kind == "TIM-TP":
            announced = pulse(sentence)
            self._announced.append(sentence)
            self._pulses.append(announced)
            if announced.qerr_ps is not None:
                self._qerr_ps = max(self._qerr_ps, abs(announced.qerr_ps))
                self._qerrs += 1
            return
        key = sentence.kind
        if key == "GSA":  # one for each constellation, told apart by its last field or its talker
            words = sentence.octets.split(b"*")[0].split(b",")
            system = words[18] if len(words) > 18 else sentence.octets[1:3]
            key += " " + system[:2].decode("ascii")
            if key not in self._latest and sum(each.startswith("GSA") for each in self._latest) >= _SYSTEMS_KEPT:
                return
        self._latest[key] = sentence

    def _read(self, at_ns: int) -> ClockState:
        try:
            return state_of(self.site, at_ns, self._settings, self._raw())
        except (ValueError, OverflowError) as why:  # a time beyond the year 9999 among them
            return ClockState(
                self.site, self.name, at_ns, None, None, None, None, None, "", f"# unknown: {why}"[:_FINDINGS_OCTETS]
            )

    def _raw(self) -> str:
        if self._closing.is_set():
            return "fault closed"
        if self._fault:
            return f"fault {self._fault}"
        now_s = self._now()
        fresh = [
            (max(0, round((now_s - each.at_s) * 1000)), each)
            for each in (*self._announced, *self._latest.values())
            if now_s - each.at_s <= SLOW_S or each.kind == "MON-VER"
        ]
        lines = [
            f"{FORMAT} open_ms={max(0, round((now_s - self._opened_s) * 1000))} octets={self._cutter.octets} "
            f"used={self._cutter.used} refused={self._refused} qerr_ps={self._qerr_ps} pulses={self._qerrs}"
        ]
        left = RAW_OCTETS - _FINDINGS_OCTETS - len(lines[0]) - 1
        for age, each in sorted(fresh, key=lambda one: (_ORDER.index(one[1].kind), one[0])):
            line = f"ubx {age} {each.octets.hex()}" if each.ubx else f"nmea {age} {each.octets.decode('ascii')}"
            if len(line) + 1 <= left:  # what does not fit is not judged either
                lines.append(line)
                left -= len(line) + 1
        return "\n".join(lines)

    # -- the thread ----------------------------------------------------------------------------------------

    def _listen(self) -> None:
        while not self._closing.is_set():
            try:
                port = self._open_port(self._settings)
            except Exception as why:  # drivers of odd devices raise more than OSError
                self._fail(why)
                continue
            try:
                self._attend(port)
            except Exception as why:  # among them termios.error, which is no OSError
                self._fail(why)
            finally:
                try:
                    port.close()
                except Exception as why:
                    self._fail(why)

    def _fail(self, why: Exception) -> None:
        with self._changed:
            self._forget(_explain(self._settings, why))
            self._changed.notify_all()
        self._closing.wait(RETRY_S)

    def _attend(self, port: Port) -> None:
        with self._changed:
            self._forget()
        asked_s = float("-inf")
        while not self._closing.is_set():
            if "MON-VER" not in self._latest and self._now() - asked_s > 1.0:
                if self._now() - self._opened_s < VERSION_WAIT_S:
                    self._ask(port)
                asked_s = self._now()
            chunk = port.read(1)
            if chunk and (more := min(port.in_waiting, 4096)):
                chunk += port.read(more)
            self._hear(chunk)

    def _hear(self, chunk: bytes) -> None:
        with self._changed:
            for sentence in self._cutter.feed(chunk, self._now()):
                self._take(sentence)
                self._changed.notify_all()

    @staticmethod
    def _ask(port: Port) -> None:
        """What are you? A receiver that cannot hear us stays unnamed."""
        try:
            port.write(UBXMessage("MON", "MON-VER", POLL).serialize())
        except serial.SerialTimeoutException:
            return
