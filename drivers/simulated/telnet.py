"""The octets of a telnet client without what they negotiate (RFC 854)."""

from __future__ import annotations

from typing import Final

_IAC: Final = 255
_SB: Final = 250
_SE: Final = 240


class Telnet:
    """A filter; what is refused is not answered, which RFC 854 allows a server that wants nothing."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, octets: bytes) -> bytes:
        """What the client means by them; half a command waits for its other half."""
        octets, self._rest = self._rest + octets, b""
        if _IAC not in octets:
            return octets
        out = bytearray()
        at = 0
        while at < len(octets):
            if octets[at] != _IAC:
                out.append(octets[at])
                at += 1
                continue
            length = self._length(octets, at)
            if not length:
                self._rest = octets[at : at + 1024]  # no negotiation is longer
                break
            if octets[at + 1] == _IAC:
                out.append(_IAC)
            at += length
        return bytes(out)

    @staticmethod
    def _length(octets: bytes, at: int) -> int:
        """How long the command at that place is; 0: not all of it is there."""
        if len(octets) < at + 2:
            return 0
        verb = octets[at + 1]
        if verb == _SB:
            end = octets.find(bytes((_IAC, _SE)), at + 2)
            if end < 0:
                return 0 if len(octets) - at < 1024 else len(octets) - at
            return end + 2 - at
        if 251 <= verb <= 254:  # WILL, WONT, DO, DONT and an option
            return 3 if len(octets) >= at + 3 else 0
        return 2
