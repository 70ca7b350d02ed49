"""One client's side of a simulated instrument: octets in, whole answers out, as a stream or message by message."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Final

from drivers.simulated.faults import NONE, Delivery, Faults, Kind
from drivers.simulated.scpi import ScpiDevice
from drivers.simulated.telnet import Telnet
from drivers.simulated.tl1 import Tl1Device

Simulated = ScpiDevice | Tl1Device

MOST_OCTETS: Final = 1 << 20
"""Longest message that is listened to."""

_MARK: Final = re.compile(rb"[\n\"'#]")
_TL1_MARK: Final = re.compile(rb"[;\"]")


class Conversation:
    """Cuts octets into messages, has the instrument obey them, and spoils the answers as the faults say.

    ``send`` tells the client what it has not asked for. ``plain``: neither echo nor prompt, for carriers with frames of
    their own; ``telnet``: what a telnet client negotiates is left out.
    """

    def __init__(
        self,
        device: Simulated,
        faults: Faults = NONE,
        send: Callable[[bytes], None] | None = None,
        *,
        plain: bool = False,
        telnet: bool = False,
    ) -> None:
        self.device = device
        self.prompt = b"" if plain else device.prompt
        self.done = b"" if plain else device.done
        self.echoes = device.echoes and not plain
        self._faults = faults
        self._plain = plain
        self._telnet = Telnet() if telnet else None
        self._buffer = bytearray()
        self._previous = b""
        self._session = None
        if isinstance(device, Tl1Device):
            tell = send or (lambda said: None)
            self._session = device.attach(lambda said: tell(said.encode("latin-1", "replace")))

    def feed(self, octets: bytes, *, end: bool = False) -> Iterator[Delivery]:
        """Answers to the messages that these octets complete; ``end``: the carrier says that a message ends here."""
        if self._telnet is not None:
            octets = self._telnet.feed(octets)
        self._buffer += octets
        while True:
            cut = self._cut()
            if cut < 0:
                break
            message = bytes(self._buffer[:cut])
            del self._buffer[: cut + 1]
            yield from self._serve(message.rstrip(b"\r"))
        if end and self._buffer:
            message = bytes(self._buffer)
            self._buffer.clear()
            yield from self._serve(message)
        elif len(self._buffer) > MOST_OCTETS:
            self._buffer.clear()
            if isinstance(self.device, ScpiDevice):
                self.device.error(-363)

    def reset(self) -> None:
        """Forget half a message."""
        self._buffer.clear()

    def close(self) -> None:
        """The client is gone."""
        self._buffer.clear()
        if self._session is not None and isinstance(self.device, Tl1Device):
            self.device.detach(self._session)

    def _serve(self, message: bytes) -> Iterator[Delivery]:
        device = self.device
        refused = self._refused(message) if self._faults else False
        answer: bytes | None
        with device.lock:  # so that what it spends on others does not count
            spent_ns = device.spent_ns
            if isinstance(device, Tl1Device):
                answer = device.handle(message.decode("latin-1"), self._session).encode("latin-1", "replace") or None
            else:
                answer = None if refused else device.handle(message)
            spent_ns = device.spent_ns - spent_ns
        if answer is None and self.done and message.strip():
            answer = self.done
        said = b"" if answer is None else answer + device.ends
        if self.echoes:
            said = message + device.ends + said
        said += self.prompt
        if not self._faults:
            if said:
                yield Delivery(said, spent_ns=spent_ns)
            return
        ended = len(device.ends) + len(self.prompt)
        for delivery in self._faults.after(message, said, self._previous, ended):
            yield replace(delivery, spent_ns=spent_ns)
        self._previous = said or self._previous

    def _refused(self, message: bytes) -> bool:
        struck = self._faults.before(message)
        device = self.device
        if isinstance(device, Tl1Device):
            if Kind.REFUSED in struck:
                device.deny_next()
            return False
        if Kind.OVERFLOW in struck:
            for _ in range(device.depth + 1):
                device.error(-310)
        if Kind.REFUSED in struck:
            device.error(-200)
            return True
        return False

    def _cut(self) -> int:
        """Where the first message ends; negative: not yet."""
        buffer = self._buffer
        if isinstance(self.device, Tl1Device):
            return _tl1_end(buffer)
        if b"#" not in buffer and b'"' not in buffer and b"'" not in buffer:
            return buffer.find(b"\n")
        return _scpi_end(buffer)


def _scpi_end(buffer: bytearray) -> int:
    """The first LF that is not inside a block; one inside a string ends the message, and the string is an error."""
    at = 0
    while found := _MARK.search(buffer, at):
        at = found.start()
        mark = buffer[at]
        if mark == 0x0A:
            return at
        if mark != 0x23:
            quote, line = buffer.find(mark, at + 1), buffer.find(b"\n", at + 1)
            if line >= 0 and (quote < 0 or line < quote):
                return line
            if quote < 0:
                return -1
            at = quote + 1
            continue
        digits = buffer[at + 1] - 0x30 if len(buffer) > at + 1 else 0
        if not 1 <= digits <= 9 or (at and buffer[at - 1] not in b", " and buffer[at - 1] >= 0x20):
            at += 1
            continue
        length = bytes(buffer[at + 2 : at + 2 + digits])
        if len(length) < digits and b"\n" not in length:
            return -1
        if len(length) < digits or not length.isdigit() or int(length) > MOST_OCTETS:
            at += 1
            continue
        at += 2 + digits + int(length)
        if at > len(buffer):
            return -1
    return -1


def _tl1_end(buffer: bytearray) -> int:
    """The first ';' outside a string, which does not go on in another line."""
    at = 0
    while found := _TL1_MARK.search(buffer, at):
        at = found.start()
        if buffer[at] == 0x3B:
            return at
        quote, line = buffer.find(b'"', at + 1), buffer.find(b"\n", at + 1)
        if quote < 0 and line < 0:
            return -1
        at = 1 + (min(quote, line) if quote >= 0 and line >= 0 else max(quote, line))
    return -1
