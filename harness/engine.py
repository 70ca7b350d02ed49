"""The Engine: a Stream run on a Link becomes columns of timestamps."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import socket
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from fastpath import clock as core_clock
from fastpath import schedule, wire
from fastpath.histogram import Histogram
from fastpath.sender import Sender
from harness.errors import EngineError
from harness.link import Link
from harness.samples import MISSING, Column
from harness.stream import Stream

SO_BINDTODEVICE: Final = 25
PROBE_S: Final = 0.2
"""How long the probe awaits the answer to each of its packets."""
LOOP_S: Final = 0.1
"""How often settled rows are taken off the core; far below t_max, so its ring stays small."""

Columns = Mapping[str, Column]


@dataclass
class Stop:
    """A wish to end early; the first reason stays."""

    reason: str = ""

    def ask(self, reason: str) -> None:
        """Note why the stream shall end at the next opportunity."""
        self.reason = self.reason or reason


@dataclass(frozen=True)
class Progress:
    """What a running stream looks like now.

    The delays, ns, are the worse direction of each packet as the clocks have it, uncalibrated; None before the first
    settled reply. They are a picture for the engineer: nothing is judged by them.
    """

    name: str
    elapsed_ns: int
    duration_ns: int
    sent: int
    received: int
    lost: int
    p50_ns: int | None
    p99_ns: int | None
    max_ns: int | None


@dataclass(frozen=True)
class Outcome:
    """What a finished stream says of itself, beside its rows."""

    counters: dict[str, int]
    started_ns: int
    """ns since 1970 UTC, CLOCK_REALTIME of this host."""
    ended_ns: int
    clock_steps_ns: tuple[int, ...]
    interrupted: str
    far_clock_id: int | None
    """What the reflector's Facts said of its clock; equal ids are one clock."""
    planes: str
    """Stamp sources seen for T1..T4, most frequent first per stamp: "kernel/kernel/kernel/kernel"."""


@dataclass(frozen=True)
class Near:
    """This end of the link, as the engine needs it."""

    tai_utc_s: int
    pace: str = "spin"
    """"spin" on a real link; "sleep" where the simulated fibre owns the only spinning thread."""
    cpus: tuple[int, int] | None = None
    """Processors for sending and collecting, or None for the scheduler's choice."""
    clock: core_clock.ClockModel | None = None
    """An injected clock error: simulation only."""
    error_estimate: Callable[[], int] = field(default=lambda: wire.encode_error_estimate(None, False, True))
    """The 16-bit Error Estimate of the near clock now, from evidence."""


def is_ipv6(link: Link) -> bool:
    """Whether the link's addresses are IPv6."""
    return ipaddress.ip_address(link.endpoint.far_address).version == 6


def open_sockets(link: Link, stream: Stream) -> list[socket.socket]:
    """One connected UDP socket for each Flow, bound to its source port.

    Raises EngineError when a port is taken, an address is not ours, or the interface does not exist.
    """
    family = socket.AF_INET6 if is_ipv6(link) else socket.AF_INET
    with contextlib.ExitStack() as undo:
        opened = [undo.enter_context(_open_socket(link, family, port)) for port in link.flow_ports[: stream.flows]]
        for each in opened:
            dress(each, stream)
        undo.pop_all()
    return opened


def _open_socket(link: Link, family: int, port: int) -> socket.socket:
    end = link.endpoint
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if end.interface:
            made.setsockopt(socket.SOL_SOCKET, SO_BINDTODEVICE, end.interface.encode() + b"\0")
        made.bind((end.near_address, port))
        made.connect((end.far_address, end.far_port))
    except OSError as why:
        made.close()
        raise EngineError(
            f"UDP {end.near_address} port {port} on {end.interface or 'any interface'} to {end.far_address} port "
            f"{end.far_port}",
            f"{why.strerror} ({errno.errorcode.get(why.errno or 0, why.errno)})",
            {
                errno.EADDRINUSE: "another program holds the port: `ss -ulpn` names it; stop it or choose other "
                "flow_ports in the bench file",
                errno.EADDRNOTAVAIL: "the near_address in the bench file is not an address of this host: `ip addr`",
                errno.ENODEV: "the interface in the bench file does not exist here: `ip link`",
                errno.ENETUNREACH: "there is no route to the far end: `ip route get` shows what the kernel knows",
                errno.EPERM: "binding to an interface wants CAP_NET_RAW: leave `interface` out or run privileged",
            }.get(why.errno or 0, "correct the link's addresses in the bench file"),
        ) from why
    return made


def dress(near: socket.socket, stream: Stream) -> None:
    """Set DSCP and TTL 255 (RFC 5357 4.1.2) on a flow's socket."""
    if near.family == socket.AF_INET6:
        near.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_TCLASS, stream.dscp << 2)
        near.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_UNICAST_HOPS, 255)
    else:
        near.setsockopt(socket.IPPROTO_IP, socket.IP_TOS, stream.dscp << 2)
        near.setsockopt(socket.IPPROTO_IP, socket.IP_TTL, 255)


def offsets(stream: Stream) -> Column:
    """When each packet is due, ns from the stream's start: periodic or RFC 4656 section 5 exponential."""
    if stream.schedule == "exponential":
        return schedule.exponential(stream.packets, stream.rate_pps, stream.seed)
    return schedule.periodic(stream.packets, stream.rate_pps)


def sessions(link: Link, stream: Stream, key: bytes | None, tai_utc_s: int) -> list[wire.Session]:
    """One STAMP session for each Flow. Raises EngineError when the frame is too small for it."""
    ipv6 = is_ipv6(link)
    try:
        return [
            wire.Session(stream.payload(ipv6), ssid=link.ssid, key=key, tai_utc=tai_utc_s, dscp=stream.dscp, seed=port)
            for port in link.flow_ports[: stream.flows]
        ]
    except ValueError as why:
        raise EngineError(
            f"a STAMP packet in a frame of {stream.size} octets", str(why), "raise the stream's size in the bench file"
        ) from why


def ring_rows(stream: Stream) -> int:
    """Rows the core keeps: twice what can be unsettled at once, as a power of two."""
    unsettled = stream.rate_pps * (stream.t_max_ns + 1_000_000_000) // 1_000_000_000
    return 1 << max(10, (2 * unsettled).bit_length(), (4 * stream.flows).bit_length())


def run(
    link: Link,
    stream: Stream,
    near_sockets: Sequence[socket.socket],
    near: Near,
    *,
    key: bytes | None,
    sink: Callable[[Columns], None],
    observe: Callable[[Progress], None],
    stop: Stop,
) -> Outcome:
    """Run the stream to its end, or until ``stop`` is asked; rows go to ``sink`` in schedule order.

    The rows of a stopped stream are those whose fate is settled; none is dropped.
    Raises what ``sink`` raises, after the sender has been stopped.
    """
    try:
        sender = _sender(link, stream, near_sockets, near, key)
    except (ValueError, OSError, MemoryError) as why:
        raise EngineError(
            f"a stream of {stream.rate_pps} packets/s over {stream.flows} flows, t_max {stream.t_max_ns} ns",
            str(why),
            "lower the rate or t_max_ms in the bench file",
        ) from why
    steps = core_clock.StepDetector()
    stepped: list[int] = []
    worse = Histogram()
    started = core_clock.now_realtime()
    origin = time.monotonic_ns()
    sender.start()
    try:
        while not sender.done:
            time.sleep(LOOP_S)
            sender.error_estimate = near.error_estimate()
            stepped.extend(steps.poll())
            if stop.reason:
                sender.stop()
            rows = sender.take()
            worse.record(_worse(rows))
            sink(rows)
            observe(_progress(stream, sender, worse, time.monotonic_ns() - origin))
    except BaseException:
        sender.stop(abandon=True)
        raise
    finally:
        sender.join(stream.t_max_ns / 1e9 + 5.0)
    sink(sender.take())
    stepped.extend(steps.poll())
    return Outcome(
        counters={**sender.counters(), "near_rate_ppb": steps.rate_ppb},
        started_ns=started,
        ended_ns=core_clock.now_realtime(),
        clock_steps_ns=tuple(stepped),
        interrupted=stop.reason,
        far_clock_id=next((said["clock_id"] for said in sender.far() if said), None),
        planes=_planes(sender.planes()),
    )


def _sender(link: Link, stream: Stream, near_sockets: Sequence[socket.socket], near: Near, key: bytes | None) -> Sender:
    return Sender(
        [each.fileno() for each in near_sockets],
        sessions(link, stream, key, near.tai_utc_s),
        offsets(stream),
        capacity=ring_rows(stream),
        t_max_ns=stream.t_max_ns,
        pace=near.pace,
        tai_utc=near.tai_utc_s,
        error_estimate=near.error_estimate(),
        clock=near.clock,
        cpus=near.cpus,
        hardware=link.stamps == "nic",
        interface=link.endpoint.interface,
        # the PHC's time less what it is ahead of UTC is UTC; the core's is TAI
        nic_offset_ns=(near.tai_utc_s - link.phc_ahead_s) * 1_000_000_000 if link.stamps == "nic" else 0,
    )


def _worse(rows: Columns) -> Column:
    """The worse one-way delay of each row that has all four stamps, ns."""
    t1, t2, t3, t4 = (rows[name] for name in ("t1", "t2", "t3", "t4"))
    whole = (t1 != MISSING) & (t2 != MISSING) & (t3 != MISSING) & (t4 != MISSING)
    worse: Column = np.maximum(t2[whole] - t1[whole], t4[whole] - t3[whole])
    return worse


def _progress(stream: Stream, sender: Sender, worse: Histogram, elapsed_ns: int) -> Progress:
    sent, received, lost = sender.live()[:3]
    p50, p99, largest = (worse.percentile(*p) if worse.count else None for p in ((50, 100), (99, 100), (1, 1)))
    return Progress(stream.name, elapsed_ns, stream.duration_ns, sent, received, lost, p50, p99, largest)


def _planes(counts: Mapping[str, Mapping[str, int]]) -> str:
    return "/".join(
        "+".join(name for name, count in sorted(each.items(), key=lambda item: -item[1]) if count) or "none"
        for each in (counts[stamp] for stamp in ("t1", "t2", "t3", "t4"))
    )


@dataclass(frozen=True)
class Answer:
    """What the far end said to a few test packets sent before anything is measured."""

    sent: int
    received: int
    round_trip_ns: int | None
    """Smallest round trip in user space, ns: a sign of life, never a measurement."""
    stateful: bool | None
    facts: int | None
    """Reflector Facts bits, None from a foreign reflector."""
    clock_id: int | None
    """The reflector's clock, None from a foreign one."""
    estimates: tuple[int, ...]
    """Its Error Estimates, 16 bits each, one a reply."""
    causes: dict[str, int]
    """Why packets that came were not used. "late": the answer to a packet whose time was over."""


def probe(link: Link, stream: Stream, near_sockets: Sequence[socket.socket], near: Near, key: bytes | None) -> Answer:
    """Ask the far end for a sign of life: up to five packets on the first flow, 200 ms each.

    Only the reply that names a packet's number and T1 answers it; one that comes after its 200 ms does not count.
    """
    session = sessions(link, stream, key, near.tai_utc_s)[0]
    near_socket = near_sockets[0]
    sent = received = 0
    best: int | None = None
    far: list[int] = []
    facts: int | None = None
    clock_id: int | None = None
    estimates: list[int] = []
    causes: dict[str, int] = {}
    asked: list[int] = []
    answered: set[int] = set()
    try:
        for seq in range(5):
            begun = core_clock.now_realtime()
            over = time.monotonic() + PROBE_S
            asked.append(begun + near.tai_utc_s * 1_000_000_000)
            try:
                near_socket.settimeout(PROBE_S)
                near_socket.send(session.build(seq, asked[seq], near.error_estimate()))
                sent += 1
                while (left := over - time.monotonic()) > 0:
                    near_socket.settimeout(left)
                    answer = near_socket.recv(65535)
                    took = core_clock.now_realtime() - begun
                    try:
                        reply = session.parse(answer, asked[seq])
                    except wire.WireError as why_not:
                        cause = why_not.cause
                    else:
                        cause = _why_no_answer(reply["sender_seq"], reply["t1"], asked, answered)
                    if cause:
                        causes[cause] = causes.get(cause, 0) + 1
                        continue
                    received += 1
                    best = took if best is None else min(best, took)
                    far.append(reply["seq"])
                    estimates.append(reply["error_estimate"])
                    clock_id = reply["clock_id"]
                    facts = reply["facts"] if reply["facts"] is not None else facts
                    break
            except TimeoutError:
                continue
            except OSError as why:
                name = errno.errorcode.get(why.errno or 0, "error")
                causes[name] = causes.get(name, 0) + 1
                time.sleep(PROBE_S)
    finally:
        near_socket.setblocking(False)
    stateful = None if len(far) < 2 else bool(np.all(np.diff(far) == 1))
    return Answer(sent, received, best, stateful, facts, clock_id, tuple(estimates), causes)


def _why_no_answer(seq: int, t1: int | None, asked: Sequence[int], answered: set[int]) -> str:
    """Why a reply is not the answer to the newest packet ``asked``, each known by its T1; empty when it is."""
    if seq >= len(asked) or t1 != asked[seq]:
        return "not_sent"
    if seq in answered:
        return "replay"
    answered.add(seq)
    return "" if seq == len(asked) - 1 else "late"
