"""A PTP hardware clock against the system clock, with its distance from a pulse a second where one is wired to it."""

from __future__ import annotations

import errno
import fcntl
import itertools
import json
import os
import select
import struct
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final, Literal, Protocol

from fastpath import clock as core_clock
from harness.clock import ClockState, Part
from harness.errors import BenchError

SECOND: Final = 10**9
MAX_SAMPLES: Final = 25
"""PTP_MAX_SAMPLES of <linux/ptp_clock.h>."""
PULSE_WAIT_S: Final = 1.2
"""Longest wait for a first pulse; afterwards pulses are found waiting, one a poll."""
PULSE_AGE_NS: Final = 2_500_000_000
"""A pulse older than this by the PHC's own time: the next two did not come."""
MOST_EDGES: Final = 300
"""More than the kernel's queue of 128 and a poll's own: edges come faster than they can be read."""
HISTORY_NS: Final = 4 * SECOND
"""How long pulses are remembered, to tell rising from falling edges."""
FOLLOWED_AGE_NS: Final = 5 * SECOND
"""Older words about what the PHC follows are silence: two timeouts and a period of the gatherer."""
SAME_SECOND_NS: Final = 400_000_000
"""A pulse has no number: PHC and system clock must agree at least so well on which second it begins."""

# <linux/ptp_clock.h>, packed here: the structures are in every kernel, the newer numbers not in every header
CLOCK_TIME: Final = struct.Struct("=qII")
"""struct ptp_clock_time: s, ns, reserved."""
OFFSET_HEAD: Final = struct.Struct("=IIII")
"""Before the readings of struct ptp_sys_offset and ptp_sys_offset_extended: n_samples, rsv[3]."""
PRECISE_SIZE: Final = 3 * CLOCK_TIME.size + 16
"""struct ptp_sys_offset_precise: device, sys_realtime, sys_monoraw, rsv[4]."""
EXTENDED_SIZE: Final = OFFSET_HEAD.size + MAX_SAMPLES * 3 * CLOCK_TIME.size
BASIC_SIZE: Final = OFFSET_HEAD.size + (2 * MAX_SAMPLES + 1) * CLOCK_TIME.size
EXTTS_REQUEST: Final = struct.Struct("=IIII")
"""struct ptp_extts_request: index, flags, rsv[2]."""
EXTTS_EVENT: Final = struct.Struct("=qIIIIII")
"""struct ptp_extts_event: t, index, flags, rsv[2]."""
PIN_DESC: Final = struct.Struct("=64sIII20x")
"""struct ptp_pin_desc: name, index, func, chan, rsv[5]."""
PTP_EXTTS_REQUEST: Final = 1 << 30 | EXTTS_REQUEST.size << 16 | ord("=") << 8 | 2
PTP_EXTTS_REQUEST2: Final = 1 << 30 | EXTTS_REQUEST.size << 16 | ord("=") << 8 | 11
PTP_PIN_SETFUNC2: Final = 1 << 30 | PIN_DESC.size << 16 | ord("=") << 8 | 16
PTP_PF_EXTTS: Final = 1
PTP_ENABLE_FEATURE: Final = 1 << 0
PTP_RISING_EDGE: Final = 1 << 1

# ETIMEDOUT: a cross-timestamp over PCIe that the root port does not answer (igc without PTM)
_REFUSALS: Final = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.ENOSYS, errno.ETIMEDOUT)

Method = Literal["precise", "extended", "basic"]


class Device(Protocol):
    """The system calls on a PHC's character device."""

    def open(self, path: str, write: bool) -> int:
        """A file descriptor of the device. Raises OSError."""

    def ioctl(self, fd: int, request: int, buffer: bytearray) -> None:
        """One request on the buffer, in place. Raises OSError."""

    def read(self, fd: int, wait_s: float) -> bytes:
        """What events wait, or come first within ``wait_s``; empty: none. Raises OSError."""

    def close(self, fd: int) -> None:
        """Done with it."""


class CharacterDevice:
    """The device of this host's kernel."""

    def open(self, path: str, write: bool) -> int:
        """A file descriptor; pulses are asked for with a writable one (wanted since Linux 6.16). Raises OSError."""
        return os.open(path, (os.O_RDWR if write else os.O_RDONLY) | os.O_CLOEXEC)

    def ioctl(self, fd: int, request: int, buffer: bytearray) -> None:
        """One request on the buffer, in place. Raises OSError."""
        fcntl.ioctl(fd, request, buffer, True)

    def read(self, fd: int, wait_s: float) -> bytes:
        """Events, 30 at most; a bare read would wait for one without end, O_NONBLOCK or not. Raises OSError."""
        ready, _, _ = select.select([fd], [], [], wait_s)
        return os.read(fd, 30 * EXTTS_EVENT.size) if ready else b""

    def close(self, fd: int) -> None:
        """Done with it."""
        os.close(fd)


@dataclass(frozen=True, slots=True)
class Settings:
    """Which PHC, whose clock it speaks for, and what no reading can show and a bench declares.

    Half-widths in ns, each with the record it is from. Raises BenchError when a declaration is incomplete or
    impossible.
    """

    device: str
    """"/dev/ptpN", or the interface whose PHC it is."""
    ahead_s: int
    """Seconds by which the PHC is ahead of UTC: TAI - UTC where it keeps TAI (ptp4l, ts2phc), 0 where it keeps UTC."""
    clock: Literal["system", "phc"] = "system"
    """Whose error is stated: the system clock's (kernel timestamps) or the PHC's own (NIC timestamps)."""
    samples: int = 10
    """Readings a poll, 1 to 25; the narrowest counts."""
    read_ns: int | None = None
    """Of reading the PHC by hardware cross-timestamp, which reports no window."""
    read_origin: str = ""
    reference_ns: int | None = None
    """Of the PHC against UTC by what disciplines it, where no pulse is measured and no source watches it."""
    reference_origin: str = ""
    pps_channel: int | None = None
    """External timestamp channel with a pulse a second on it."""
    pps_pin: int | None = None
    """Pin to connect to that channel, on a PHC with programmable pins."""
    pulse_ns: int | None = None
    """Length of the pulse, where the PHC stamps both edges (Intel i210)."""
    receiver_ns: int | None = None
    """Of the pulse against UTC at the receiver's connector."""
    receiver_origin: str = ""
    cable_delay_ns: int = 0
    """From the receiver's connector to the PHC's stamp; taken off."""
    cable_ns: int | None = None
    """Of that delay, with the resolution of the PHC's stamp."""
    cable_origin: str = ""
    drift_ppb: int | None = None
    """Largest rate error of the PHC from the pulse to the poll."""
    drift_origin: str = ""

    def __post_init__(self) -> None:
        if not self.device or not 1 <= self.samples <= MAX_SAMPLES or abs(self.ahead_s) > 1000:
            raise BenchError(
                f"a PHC's device, 1..{MAX_SAMPLES} samples and its seconds ahead of UTC",
                f'device "{self.device}", samples {self.samples}, ahead_s {self.ahead_s}',
                "name /dev/ptpN or the interface; ahead_s is 37 where the PHC keeps TAI",
            )
        declared = {
            "read": (self.read_ns, self.read_origin),
            "reference": (self.reference_ns, self.reference_origin),
            "receiver": (self.receiver_ns, self.receiver_origin),
            "cable": (self.cable_ns, self.cable_origin),
            "drift": (self.drift_ppb, self.drift_origin),
        }
        for name, (value, origin) in declared.items():
            if (value is not None and value < 0) or (value is None) != (not origin):
                raise BenchError(
                    f"{name} of a PHC: a half-width that is not negative, with its origin",
                    f'{value}, origin "{origin}"',
                    "declare the figure and the record it is from, or neither",
                )
        wired = (
            self.pps_pin,
            self.pulse_ns,
            self.receiver_ns,
            self.cable_ns,
            self.drift_ppb,
            self.cable_delay_ns or None,
        )
        if self.pps_channel is None and any(each is not None for each in wired):
            raise BenchError(
                "pps_channel",
                "declarations about a pulse and no channel on which it arrives",
                "declare pps_channel, or nothing about the pulse",
            )
        if self.pps_channel is not None and self.reference_ns is not None:
            raise BenchError(
                "reference_ns or pps_channel",
                "both",
                "where a pulse is measured, declare what the receiver and cable leave open instead of the PHC's error",
            )
        if any((each or 0) < 0 for each in (self.pps_channel, self.pps_pin, self.cable_delay_ns)):
            raise BenchError("a channel, pin and cable delay >= 0", "one below", "count them from 0")
        if self.pulse_ns is not None and not 0 < self.pulse_ns < SECOND // 2:
            raise BenchError(
                "a pulse shorter than half a second",
                f"pulse_ns {self.pulse_ns}",
                "set the receiver to a shorter pulse (0.1 s), or which edge begins the second cannot be told",
            )


@dataclass(frozen=True, slots=True)
class Reading:
    """The PHC beside the system clock, all readings of one poll: (system before, PHC, system after), ns."""

    method: Method
    triples: tuple[tuple[int, int, int], ...]
    """Of "precise" one, with one system time: before and after are the same and say nothing of a window."""

    @property
    def narrowest(self) -> tuple[int, int, int]:
        """The triple with the smallest window. Raises ValueError when the system clock ran backwards in one."""
        if any(after < before for before, _, after in self.triples):
            raise ValueError("the system clock went back while the PHC was read")
        return min(self.triples, key=lambda triple: triple[2] - triple[0])

    @property
    def window_ns(self) -> int | None:
        """Of the narrowest; None: not measured, which is not zero."""
        before, _, after = self.narrowest
        return None if self.method == "precise" else after - before

    @property
    def system_less_phc_ns(self) -> int:
        """The system clock, at the middle of the narrowest window, less the PHC."""
        before, phc, after = self.narrowest
        return before + (after - before) // 2 - phc


def clock_time(buffer: bytes | bytearray, offset: int) -> int:
    """A struct ptp_clock_time in ns. Raises ValueError when it holds no time."""
    seconds, nanoseconds, _reserved = CLOCK_TIME.unpack_from(buffer, offset)
    if nanoseconds >= SECOND or abs(seconds) >= 1 << 40:
        raise ValueError(f"{seconds} s and {nanoseconds} ns are no time")
    return int(seconds) * SECOND + int(nanoseconds)


def read_phc(device: Device, fd: int, samples: int) -> Reading:
    """The PHC beside the system clock, by the best method that the driver has.

    In order: PTP_SYS_OFFSET_PRECISE2 (cross-timestamped by hardware), _EXTENDED2 (system times next to the register
    read), PTP_SYS_OFFSET2. Raises OSError when none works, ValueError when the answer is no time.
    """
    buffer = bytearray(PRECISE_SIZE)
    if _asked(device, fd, core_clock.PTP_SYS_OFFSET_PRECISE2, buffer):
        phc, system = clock_time(buffer, 0), clock_time(buffer, CLOCK_TIME.size)
        return Reading("precise", ((system, phc, system),))
    method: Method = "extended"
    buffer = bytearray(EXTENDED_SIZE)
    OFFSET_HEAD.pack_into(buffer, 0, samples, 0, 0, 0)
    if _asked(device, fd, core_clock.PTP_SYS_OFFSET_EXTENDED2, buffer):
        times = [clock_time(buffer, OFFSET_HEAD.size + i * CLOCK_TIME.size) for i in range(3 * samples)]
        step = 3
    else:
        buffer = bytearray(BASIC_SIZE)
        OFFSET_HEAD.pack_into(buffer, 0, samples, 0, 0, 0)
        device.ioctl(fd, core_clock.PTP_SYS_OFFSET2, buffer)
        times = [clock_time(buffer, OFFSET_HEAD.size + i * CLOCK_TIME.size) for i in range(2 * samples + 1)]
        step, method = 2, "basic"  # system, PHC, system, PHC … system
    triples = tuple((times[i], times[i + 1], times[i + 2]) for i in range(0, step * samples, step))
    return Reading(method, triples)


def _asked(device: Device, fd: int, request: int, buffer: bytearray) -> bool:
    try:
        device.ioctl(fd, request, buffer)
    except OSError as why:
        if why.errno in _REFUSALS:
            return False
        raise
    return True


def events_of(octets: bytes, channel: int) -> list[int]:
    """PHC times in ns of the struct ptp_extts_event of a channel. Raises ValueError when they are cut or no times."""
    if len(octets) % EXTTS_EVENT.size:
        raise ValueError(f"{len(octets)} octets are no whole events of {EXTTS_EVENT.size}")
    starts = range(0, len(octets), EXTTS_EVENT.size)
    return [clock_time(octets, at) for at in starts if EXTTS_EVENT.unpack_from(octets, at)[3] == channel]


def folded(ns: int) -> int:
    """Into half a second around zero: a pulse a second says nothing of the second's number."""
    return (ns + SECOND // 2) % SECOND - SECOND // 2


def rising_edges(edges: list[int], pulse_ns: int | None) -> list[int]:
    """Of the stamped edges, those that begin a second; with ``pulse_ns`` both edges of each pulse are expected.

    Raises ValueError when both come and the length of the pulse is not known, or is another.
    """
    edges = sorted(edges)
    if pulse_ns is None:
        close = [b - a for a, b in itertools.pairwise(edges) if b - a < SECOND * 9 // 10]
        if close:
            raise ValueError(f"edges {close[0]} ns apart: both edges are stamped, declare pulse_ns, or it is no 1PPS")
        return edges
    slack = min(pulse_ns, SECOND - 2 * pulse_ns) // 4
    rising = [a for a in edges if any(abs(b - a - pulse_ns) <= slack for b in edges)]
    falling = [b for b in edges if any(abs(b - a - pulse_ns) <= slack for a in edges)]
    strays = len(edges) - len({*rising, *falling})
    # the oldest and newest edge may lack their partner
    if strays > 2 or set(rising) & set(falling):
        raise ValueError(f"edges are not {pulse_ns} ns apart, as the pulse was declared to be")
    return rising


class Phc:
    """One PTP hardware clock of this host; what it can say depends on what is wired to it.

    ``follows`` gives the latest words of a source that watches what disciplines the PHC (linuxptp, a GNSS receiver).
    Without it and without a pulse the offset and its parts are stated, but nobody has seen the PHC follow anything:
    synchronised is unknown.
    """

    name = "phc"

    def __init__(
        self,
        site: str,
        settings: Settings,
        *,
        follows: Callable[[], ClockState | None] | None = None,
        device: Device | None = None,
    ) -> None:
        self.site = site
        self._settings = settings
        self._follows = follows
        self._device: Device = device or CharacterDevice()
        self._fd = -1
        self._edges: list[int] = []

    def poll(self, at_ns: int) -> ClockState:
        """The state now; ``at_ns`` ns since 1970 UTC. An absent or absurd device is "unknown", no error."""
        raw: dict[str, object] = {"device": self._settings.device}
        try:
            if self._fd < 0:
                self._fd = self._open()
            edges = self._pulses()
            reading = read_phc(self._device, self._fd, self._settings.samples)
            raw |= {"method": reading.method, "triples": reading.triples}
            raw["window_ns"] = "not measured" if reading.window_ns is None else reading.window_ns
            return self._state(at_ns, reading, edges, raw)
        except OSError as why:
            self.close()  # a device that was unplugged comes back as another
            return self._unknown(at_ns, {**raw, "why": f"{type(why).__name__}: {why}"})
        except ValueError as why:
            return self._unknown(at_ns, {**raw, "edges": self._edges, "why": str(why)})

    def close(self) -> None:
        """Give the device back. The channel stays enabled: another program may listen to it (ts2phc)."""
        if self._fd >= 0:
            self._device.close(self._fd)
            self._fd = -1

    # -- the device ----------------------------------------------------------------------------------------

    def _open(self) -> int:
        wanted = self._settings.device
        path = wanted
        if not wanted.startswith("/"):
            index = core_clock.phc_index(wanted)
            if index < 0:
                raise ValueError(f"interface {wanted} has no PTP hardware clock")
            path = f"/dev/ptp{index}"
        channel = self._settings.pps_channel
        fd = self._device.open(path, channel is not None)
        try:
            if channel is not None:
                self._listen(fd, channel)
        except OSError:
            self._device.close(fd)
            raise
        self._edges = []
        return fd

    def _listen(self, fd: int, channel: int) -> None:
        if self._settings.pps_pin is not None:
            pin = bytearray(PIN_DESC.pack(b"", self._settings.pps_pin, PTP_PF_EXTTS, channel))
            self._device.ioctl(fd, PTP_PIN_SETFUNC2, pin)
        request = bytearray(EXTTS_REQUEST.pack(channel, PTP_ENABLE_FEATURE | PTP_RISING_EDGE, 0, 0))
        # the first form leaves the edges to a driver that cannot choose them
        if not _asked(self._device, fd, PTP_EXTTS_REQUEST2, bytearray(request)):
            self._device.ioctl(fd, PTP_EXTTS_REQUEST, request)

    def _pulses(self) -> list[int]:
        """Rising edges of the last seconds, PHC time in ns, the oldest first."""
        channel = self._settings.pps_channel
        if channel is None:
            return []
        fresh: list[int] = []
        # before Linux 6.7 all readers share one queue: what another program took is not here
        while octets := self._device.read(self._fd, 0.0):
            fresh += events_of(octets, channel)
            if len(fresh) > MOST_EDGES:
                raise ValueError(f"more than {MOST_EDGES} edges since the last poll: no pulse a second")
        deadline = time.monotonic() + PULSE_WAIT_S
        while not (fresh and self._rising(fresh)):
            octets = self._device.read(self._fd, max(0.0, deadline - time.monotonic()))
            if not octets:
                break
            fresh += events_of(octets, channel)
        return self._rising(fresh)

    def _rising(self, fresh: list[int]) -> list[int]:
        """Remember the fresh edges; the rising ones of the last seconds."""
        edges = sorted({*self._edges, *fresh})
        self._edges = [each for each in edges if edges[-1] - each <= HISTORY_NS]
        return rising_edges(self._edges, self._settings.pulse_ns)

    # -- what it is worth ----------------------------------------------------------------------------------

    def _state(self, at_ns: int, reading: Reading, edges: list[int], raw: dict[str, object]) -> ClockState:
        settings = self._settings
        system_ns = reading.system_less_phc_ns + settings.ahead_s * SECOND
        raw |= {"system_less_phc_ns": system_ns, "edges": edges}
        followed = self._follows() if self._follows is not None else None
        if followed is not None and not 0 <= at_ns - followed.at_ns <= FOLLOWED_AGE_NS:
            followed = None
        parts: list[Part | None] = []
        synchronised: bool | None
        if settings.pps_channel is not None:
            age_ns = reading.narrowest[1] - edges[-1] if edges else None
            if age_ns is None:
                return self._unknown(at_ns, {**raw, "why": "no pulse"})
            why = ""
            if not 0 <= age_ns <= PULSE_AGE_NS:
                self._edges = []  # of a PHC that was set back they would be the newest for long
                why = f"the last pulse is {age_ns} ns old by the PHC"
            elif abs(system_ns) > SAME_SECOND_NS:
                why = f"system clock and PHC are {system_ns} ns apart: which second the pulse began is not known"
            if why:
                return self._unknown(at_ns, {**raw, "why": why})
            phc_ns: int | None = folded(edges[-1] - settings.cable_delay_ns)
            raw["phc_less_pulse_ns"] = phc_ns
            synchronised = True if self._follows is None else (followed.synchronised if followed is not None else None)
            drift_ns = None if settings.drift_ppb is None else -(-settings.drift_ppb * age_ns // SECOND)
            parts += [
                _part("PHC 与秒脉冲之差", "PHC less pulse", abs(phc_ns or 0), "EXTTS"),
                _part("接收机秒脉冲误差", "receiver's pulse", settings.receiver_ns, settings.receiver_origin),
                _part("秒脉冲电缆时延", "pulse cable delay", settings.cable_ns, settings.cable_origin),
                _part("秒脉冲后的漂移", "drift since the pulse", drift_ns, settings.drift_origin),
            ]
        else:
            phc_ns = None
            synchronised = followed.synchronised if followed is not None else None
            bound_ns, origin = settings.reference_ns, settings.reference_origin
            if bound_ns is None and followed is not None:
                bound_ns, origin = followed.bound_ns, f"{followed.source}, bound of its last poll"
            parts.append(_part("PHC 所跟随时间的误差", "what the PHC follows", bound_ns, origin))
        if synchronised is None:
            raw["why"] = (
                "nobody has seen the PHC follow anything" if self._follows is None else "its watcher does not know"
            )
        offset_ns: int | None = phc_ns
        if settings.clock == "system":
            offset_ns = system_ns + (phc_ns or 0)
            window_ns = reading.window_ns
            half_ns = settings.read_ns if window_ns is None else -(-window_ns // 2)
            many = f"{reading.method}, narrowest of {len(reading.triples)}"
            parts += [
                _part("系统时间与 PHC 之差", "system clock less PHC", abs(system_ns), reading.method),
                _part(
                    "读取 PHC 的窗口的一半" if window_ns is not None else "读取 PHC（窗口未测量）",
                    "half the window of reading the PHC"
                    if window_ns is not None
                    else "reading the PHC (window not measured)",
                    half_ns,
                    many if window_ns is not None else settings.read_origin,
                ),
            ]
        known = tuple(part for part in parts if part is not None)
        whole = len(known) == len(parts) and synchronised is not False
        return ClockState(
            site=self.site,
            source=self.name,
            at_ns=at_ns,
            synchronised=synchronised,
            bound_ns=sum(part.half_width_ns for part in known) if whole else None,
            skew_ppb=settings.drift_ppb if settings.clock == "phc" else None,
            tai_utc_s=None,  # how far the PHC is ahead is declared, not measured
            leap_pending=followed.leap_pending if followed is not None else None,
            identity=self._identity(followed),
            raw=json.dumps(raw),
            offset_ns=offset_ns,
            parts=known,  # without a bound: what is known of it
        )

    def _identity(self, followed: ClockState | None) -> str:
        """What the time is from; a pulse has no name but its channel."""
        if self._settings.pps_channel is not None:
            return f"{self._settings.device} pps {self._settings.pps_channel}"
        if self._follows is None:
            return self._settings.device
        # a poll without the watcher's word is not another reference
        return f"{self._settings.device} {followed.identity}" if followed is not None and followed.identity else ""

    def _unknown(self, at_ns: int, raw: dict[str, object]) -> ClockState:
        return ClockState(self.site, self.name, at_ns, None, None, None, None, None, "", json.dumps(raw))


def _part(name_zh: str, name_en: str, half_width_ns: int | None, origin: str) -> Part | None:
    return None if half_width_ns is None else Part(name_zh, name_en, half_width_ns, origin)
