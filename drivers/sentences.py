"""A timing receiver's sentences, cut whole from a serial stream of UBX frames, NMEA lines and whatever else comes."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from pyubx2 import calc_checksum

GAP_S: Final = 0.5
"""A frame that pauses this long will not be finished: at 9600 baud an octet takes 1 ms."""
LONGEST_NMEA: Final = 128
"""Octets of a line; NMEA 0183 allows 82, receivers with many digits write more."""

_NOT_TEXT: Final = re.compile(rb"[^\x20-\x7e]")
_START: Final = re.compile(rb"\xb5\x62|\$")
_NMEA: Final = re.compile(rb"\$([A-Z]{2})(RMC|GGA|GSA|ZDA),([\x20-\x7e]*)\*([0-9A-F]{2})\r?\n")


def _exactly(*octets: int) -> Callable[[int], bool]:
    return lambda found: found in octets


def _grouped(head: int, each: int, most: int) -> Callable[[int], bool]:
    return lambda found: found >= head and (found - head) % each == 0 and (found - head) // each <= most


Kinds = Mapping[bytes, tuple[str, Callable[[int], bool]]]

# class and id: name, which payload lengths it has. A frame of any other kind or length is passed over: a damaged
# length field then costs its own frame, not the minute that 65 535 octets take at 9600 baud.
KINDS: Final[Kinds] = {
    b"\x01\x03": ("NAV-STATUS", _exactly(16)),
    b"\x01\x07": ("NAV-PVT", _exactly(84, 92)),  # 84 up to protocol 14; what is read here lies before
    b"\x01\x20": ("NAV-TIMEGPS", _exactly(16)),
    b"\x01\x21": ("NAV-TIMEUTC", _exactly(20)),
    b"\x01\x22": ("NAV-CLOCK", _exactly(20)),
    b"\x01\x24": ("NAV-TIMEBDS", _exactly(20)),
    b"\x01\x25": ("NAV-TIMEGAL", _exactly(20)),
    b"\x01\x26": ("NAV-TIMELS", _exactly(24)),
    b"\x01\x3b": ("NAV-SVIN", _exactly(40)),
    b"\x0a\x04": ("MON-VER", _grouped(40, 30, 30)),
    b"\x0a\x09": ("MON-HW", _exactly(60)),
    b"\x0a\x38": ("MON-RF", _grouped(4, 24, 4)),
    b"\x0d\x01": ("TIM-TP", _exactly(16)),
    b"\x0d\x04": ("TIM-SVIN", _exactly(28)),
}
ANSWERS: Final[Kinds] = {
    b"\x05\x00": ("ACK-NAK", _exactly(2)),
    b"\x05\x01": ("ACK-ACK", _exactly(2)),
    b"\x06\x8b": ("CFG-VALGET", lambda found: 5 <= found <= 1024),
    b"\x27\x03": ("SEC-UNIQID", _exactly(9, 10)),
}
"""What is said to one who asks or sets; nobody who only listens needs it."""


@dataclass(frozen=True, slots=True)
class Sentence:
    """One whole sentence whose checksum is right."""

    kind: str
    """As u-blox names it ("NAV-PVT"), or the NMEA formatter ("RMC")."""
    octets: bytes
    """As they came, checksum included; of NMEA without the line's end."""
    at_s: float
    """When its last octet came, on the reader's monotonic clock."""

    @property
    def ubx(self) -> bool:
        """Whether it is a UBX frame; else an NMEA line."""
        return self.octets[:1] == b"\xb5"


class Cutter:
    """Cuts sentences from a stream given chunk by chunk; holds at most the longest sentence between chunks.

    ``kinds`` are the UBX frames that it knows.
    """

    def __init__(self, kinds: Kinds = KINDS) -> None:
        self._kinds = kinds
        self._held = bytearray()
        self._arrivals: deque[tuple[int, float]] = deque()
        """(octets up to and with a chunk, when it came) of the chunks still held."""
        self._last_s: float | None = None
        self.octets = 0
        """Given so far."""
        self.used = 0
        """Of these, octets of whole sentences of the kinds above."""

    def feed(self, chunk: bytes, at_s: float) -> list[Sentence]:
        """The sentences that ``chunk`` completes; ``at_s`` is when it came, monotonic s.

        An empty chunk lets a broken frame at the end go once the line has been quiet for `GAP_S`.
        """
        found = []
        if self._last_s is not None and at_s - self._last_s > GAP_S:
            found += self._cut(whole=True)
        if chunk:
            self._last_s = at_s
            self.octets += len(chunk)
            self._held += chunk
            self._arrivals.append((self.octets, at_s))
            found += self._cut(whole=False)
        return found

    def _cut(self, *, whole: bool) -> list[Sentence]:
        """Everything complete; with ``whole`` what is incomplete is passed over instead of awaited."""
        held, found, at = self._held, list[Sentence](), 0
        while start := _START.search(held, at):
            at = start.start()
            size = self._ubx(at) if held[at] == 0xB5 else self._nmea(at)
            if size is None:  # not yet to be known
                if not whole:
                    break
                size = 0
            if size == 0:
                at += 1
                continue
            octets = bytes(held[at : at + size])
            at += size
            kind = self._kinds[octets[2:4]][0] if octets[0] == 0xB5 else octets[3:6].decode("ascii")
            found.append(Sentence(kind, octets.rstrip(b"\r\n") if octets[0] != 0xB5 else octets, self._when(at)))
            self.used += size
        else:
            at = len(held) - (held[-1:] == b"\xb5" and not whole)
        del held[:at]
        while self._arrivals and self._arrivals[0][0] <= self.octets - len(held):
            self._arrivals.popleft()
        return found

    def _when(self, end: int) -> float:
        """When the octet before position ``end`` of what is held came."""
        count = self.octets - len(self._held) + end
        return next(at_s for upto, at_s in self._arrivals if upto >= count)

    def _ubx(self, at: int) -> int | None:
        """Octets of the frame that starts there; 0: none does, None: too early to say."""
        held = self._held
        if len(held) < at + 6:
            return None
        known = self._kinds.get(bytes(held[at + 2 : at + 4]))
        length = int.from_bytes(held[at + 4 : at + 6], "little")
        if known is None or not known[1](length):
            return 0
        end = at + 6 + length
        if len(held) < end + 2:
            return None
        return length + 8 if calc_checksum(bytes(held[at + 2 : end])) == bytes(held[end : end + 2]) else 0

    def _nmea(self, at: int) -> int | None:
        held = self._held
        end = held.find(b"\n", at, at + LONGEST_NMEA)
        if end < 0:
            hopeless = len(held) >= at + LONGEST_NMEA or _NOT_TEXT.search(held.removesuffix(b"\r"), at)
            return 0 if hopeless else None
        line = _NMEA.fullmatch(held, at, end + 1)
        if line is None:
            return 0
        total = 0
        for octet in held[at + 1 : line.start(4) - 1]:
            total ^= octet
        return end + 1 - at if total == int(line[4], 16) else 0
