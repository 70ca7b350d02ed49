"""The far end: a STAMP reflector in the foreground with its clock evidence and its stamps in a journal."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from fastpath import clock as core_clock
from fastpath import wire
from fastpath.reflector import Reflector
from harness import provenance
from harness.archive import farjournal
from harness.archive.keys import SigningKey
from harness.disk import make_directory
from harness.errors import HarnessError
from harness.evidence import chrony, kernel, leap
from harness.evidence.catalogue import Source
from harness.evidence.gatherer import EvidenceGatherer
from harness.journal import Journal
from harness.link import Link
from harness.order import Signed

STATUS_EVERY_S: Final = 1.0
JOURNAL_EVERY_S: Final = 10.0
REPLIES: Final = 1 << 18
"""Replies noted between two looks a second apart, 16 MB."""


def listen(address: str, port: int) -> socket.socket:
    """A UDP socket on the address. Raises HarnessError with what to type when the port is refused."""
    try:
        family = socket.AF_INET6 if ipaddress.ip_address(address).version == 6 else socket.AF_INET
    except ValueError as why:
        raise HarnessError("an address to listen on", f"{address} ({why})", "`ip addr` lists this host's") from why
    made = socket.socket(family, socket.SOCK_DGRAM)
    try:
        if family == socket.AF_INET6:
            made.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        made.bind((address, port))
    except OSError as why:
        made.close()
        python = os.path.realpath(sys.executable)
        raise HarnessError(
            f"UDP {address} port {port}",
            f"{why.strerror} ({errno.errorcode.get(why.errno or 0, '?')})",
            {
                errno.EACCES: f"ports below {_first_free_port()} want a privilege: "
                f"`sudo setcap cap_net_bind_service=+ep {python}`, or "
                f"`sudo sysctl net.ipv4.ip_unprivileged_port_start={port}`, or --port 8620 here and far_port = 8620 "
                "in the bench file",
                errno.EADDRINUSE: f"another program holds it: `ss -ulpn sport = :{port}` names it",
                errno.EADDRNOTAVAIL: "it is not an address of this host: `ip addr` lists them",
            }.get(why.errno or 0, "choose another --listen address or --port"),
        ) from why
    return made


def _first_free_port() -> int:
    try:
        return int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 1024


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network:
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError as why:
        raise HarnessError("a prefix to allow", f"{text} ({why})", "write it as 192.0.2.0/24 or 2001:db8::/32") from why


OWN_LOSSES: Final = ("receive_overflows", "table_full", "send_errors")
"""Counters of what this end lost itself, which the other end takes for losses of the link."""


class Status:
    """One line about a running reflector, for a person and for the journal."""

    def __init__(self, reflector: Reflector) -> None:
        self._reflector = reflector
        self._since = time.monotonic()
        self._before = (self._since, 0)

    def line(self, claim: tuple[int | None, bool]) -> str:
        """Packets, rate, sessions, refusals, own losses, clock, and which interface makes all of it a simulation."""
        counts = self._reflector.counters()
        now = time.monotonic()
        then, seen = self._before
        rate = (counts["received"] - seen) / max(now - then, 1e-9)
        self._before = (now, counts["received"])
        refused = {name: count for name, count in counts.items() if name in wire.CAUSES[1:] and count}
        dropped = {name: counts[name] for name in OWN_LOSSES if counts[name]}
        bound, synchronised = claim
        clock = f"clock within {bound} ns" if synchronised and bound is not None else "clock unknown: says so in-band"
        doubts = ", ".join(doubt.at("far") for doubt in self._reflector.look())
        return (
            f"{int(now - self._since)} s  answered {counts['sent']}  {rate:.0f}/s  sessions {counts['sessions']}  "
            f"refused {refused or 0}  {f'LOST BY THIS HOST {dropped}  ' if dropped else ''}{clock}"
            f"{'  SIMULATED: ' if doubts else ''}{doubts}"
        )


def serve(
    address: str,
    port: int,
    *,
    allow: Sequence[str],
    key: bytes | None,
    journal_path: Path,
    stateless: bool,
    say: Callable[[str], None],
    warn: Callable[[str], None],
    sign: SigningKey | None = None,
    order: Signed | None = None,
    clocks: Sequence[Source] = (),
    nic: Link | None = None,
) -> dict[str, int]:
    """Answer until SIGINT, SIGTERM or SIGHUP; return the final counters.

    The journal gets the software, every reading of this host's clock, and the counters every ten seconds and at the
    end; with ``sign`` also the stamps of every reply, in a file beside it, and at the end a signature over both.
    ``order`` is named in the journal; ``clocks`` are the sources that tell of this host's clock, the kernel and chrony
    when none is given; ``warn`` tells a person at once what ``say`` may pass over; ``nic`` is the link of this host's
    bench whose near interface stamps in hardware, where one does. Raises HarnessError when the port or the journal
    cannot be had, or when the order does not hold now.
    """
    if sign is not None:
        _check_signable(journal_path, stateless)
    if order is not None:
        order.check_window(time.time_ns(), time.time_ns())
    tai_utc_s = leap.tai_utc_now()
    networks = [_network(each) for each in allow]
    make_directory(journal_path.parent)
    sources = list(clocks) or [kernel.Kernel("far"), chrony.Chrony("far")]
    site, names = sources[0].site, {source.name for source in sources}
    with (
        listen(address, port) as far,
        Journal(journal_path) as journal,
        EvidenceGatherer(sources) as gatherer,
        contextlib.ExitStack() as handlers,
    ):
        ended = threading.Event()
        reasons: list[str] = []

        def end(number: int, _frame: object) -> None:
            reasons.append(signal.Signals(number).name)
            ended.set()

        # before the journal says that it started: who waits for that line may send a signal at once
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            handlers.callback(signal.signal, number, signal.signal(number, end))
        reflector = Reflector(
            [far.fileno()],
            key=key,
            stateful=not stateless,
            allow=[(str(each.network_address), each.prefixlen) for each in networks],
            tai_utc=tai_utc_s,
            error_estimate=_estimate(gatherer, site),
            sync_source=sync_source(gatherer.claim(site)[1], names),
            record=REPLIES if sign is not None else 0,
            hardware=nic is not None,
            interface=None if nic is None else nic.endpoint.interface,
            nic_offset_ns=0 if nic is None else (tai_utc_s - nic.phc_ahead_s) * 1_000_000_000,
        )
        journal.append(
            farjournal.START,
            address=address,
            port=port,
            authenticated=key is not None,
            stateful=not stateless,
            stamps="kernel" if nic is None else f"nic {nic.endpoint.interface}, ahead of UTC by {nic.phc_ahead_s} s",
            allow=list(allow),
            clock_id=reflector.clock_id,
            nonce=reflector.nonce,
            tai_utc_s=tai_utc_s,
            software=provenance.software(),
            machine=provenance.machine(),
            clocks=[source.name for source in sources],
            order=None if order is None else order.told,
            signer=None if sign is None else sign.verifier.line,
        )
        book = _Book(journal, gatherer, reflector, None if sign is None else farjournal.StampWriter(journal))
        worker = threading.Thread(target=reflector.run, name="reflector")
        worker.start()
        status = Status(reflector)
        say(f"reflecting on {address} port {port} {'with' if key else 'without'} a key; journal {journal_path}")
        journaled = time.monotonic()
        told = False  # that the journal cannot be written
        try:
            for able in reflector.capability:
                if able.remark:
                    warn(f"stamps and buffers here are less than wanted: {able.remark}")
            while not ended.wait(STATUS_EVERY_S) and worker.is_alive():
                reflector.error_estimate = _estimate(gatherer, site)
                reflector.sync_source = sync_source(gatherer.claim(site)[1], names)
                say(status.line(gatherer.claim(site)))
                book.keep()
                if time.monotonic() - journaled >= JOURNAL_EVERY_S:
                    journaled = time.monotonic()
                    try:
                        book.note()
                        told = False
                    except HarnessError as why:  # a full disk must not end the other end's measurement
                        if not told:
                            warn(f"the journal cannot be written: {why}")
                        told = True
        finally:
            reflector.stop()
            worker.join(5)
            gatherer.stop()
            handlers.close()
            book.keep()
            try:
                book.note()
                journal.append(farjournal.END, reason=reasons[0] if reasons else "the answering thread ended")
            finally:
                book.close()
        if not reasons:
            raise HarnessError(
                "an answering thread that runs until a signal",
                "it ended by itself",
                f"see the last lines of {journal_path}",
            )
        counters = reflector.counters()
    if sign is not None:
        farjournal.seal(journal_path, sign)
    return counters


def _check_signable(journal_path: Path, stateless: bool) -> None:
    """Raise HarnessError when what is about to be written could not be signed as one thing."""
    if stateless:
        found = "--stateless, which numbers none"
        raise HarnessError("replies with numbers of their own, to sign for", found, "leave one of the two out")
    for suffix in ("", farjournal.STAMPS_SUFFIX, farjournal.SIGNATURE_SUFFIX):
        if farjournal.beside(journal_path, suffix).exists():
            found = f"{farjournal.beside(journal_path, suffix)} is there"
            raise HarnessError("a new journal to sign", found, "give another --journal, or leave it out")


def _estimate(gatherer: EvidenceGatherer, site: str) -> int:
    bound, synchronised = gatherer.claim(site)
    return wire.encode_error_estimate(bound, synchronised, True)


_SYNC_SOURCES: Final = {"gnss": 4, "linuxptp": 2, "phc": 2, "chrony": 1}
"""What a source of evidence says the clock follows, as RFC 8972 4.3 numbers it; the nearest to UTC first."""
_FREE_RUNNING: Final = 5


def sync_source(synchronised: bool | None, names: Collection[str]) -> int:
    """Of the Timestamp Information TLV (RFC 8972 4.3), from the names of the far end's sources of evidence."""
    if not synchronised:
        return _FREE_RUNNING
    # the kernel alone says that it is disciplined, not by what: 0 is reserved, and claims nothing
    return next((number for name, number in _SYNC_SOURCES.items() if name in names), 0)


@dataclass(frozen=True)
class _Book:
    """What a running reflector's journal is written from."""

    journal: Journal
    gatherer: EvidenceGatherer
    reflector: Reflector
    stamps: farjournal.StampWriter | None

    def keep(self) -> None:
        """Take the replies noted so far off the core, whose memory holds a second of them at least."""
        if self.stamps is not None:
            self.stamps.add(self.reflector.take())

    def note(self) -> None:
        """Journal counters, evidence and stamps since the last time."""
        self.journal.append(
            farjournal.STATE,
            counters=self.reflector.counters(),
            evidence=[asdict(state) for state in self.gatherer.take()],
            realtime_ns=core_clock.now_realtime(),
            simulated=[doubt.at("far") for doubt in self.reflector.look()],
        )
        if self.stamps is not None:
            self.stamps.write()

    def close(self) -> None:
        """Give the files up."""
        if self.stamps is not None:
            self.stamps.close()
