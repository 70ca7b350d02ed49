"""A 53230A that is none: a TCP server with the words of the counter and the faults of its wire."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

IDN = "Keysight Technologies,53230A,SIM-53230A-1,02.05-1519"

Fault = Callable[[socket.socket, bytes], None]
"""What happens to an answer instead of being sent whole."""


def silent(_: socket.socket, __: bytes) -> None:
    """Never answered."""


def partial(peer: socket.socket, answer: bytes) -> None:
    """Half of it, then nothing."""
    peer.sendall(answer[: len(answer) // 2])


def cut(peer: socket.socket, answer: bytes) -> None:
    """Half of it, then the end of the connection."""
    partial(peer, answer)
    peer.shutdown(socket.SHUT_RDWR)


def doubled(peer: socket.socket, answer: bytes) -> None:
    """Twice."""
    peer.sendall(answer + answer)


def garbage(peer: socket.socket, _: bytes) -> None:
    """Octets that are no text."""
    peer.sendall(b"\xff\xfe\x80\x00\n")


class Late:
    """Held back until told."""

    def __init__(self) -> None:
        self.go = threading.Event()

    def __call__(self, peer: socket.socket, answer: bytes) -> None:
        self.go.wait(20)
        peer.sendall(answer)


class Fake53230A:
    """Serves any number of connections in order; ``reading`` answers READ?, ``faults`` befall the next READ?s."""

    def __init__(self, reading: str = "+1.23000000000000E-007", idn: str = IDN) -> None:
        self.reading = reading
        self.idn = idn
        self.faults: deque[Fault] = deque()
        self.faults_of: dict[str, Fault] = {}
        """By message, every time."""
        self.heard: list[str] = []
        self.queue: list[str] = []
        self.unlocked = False
        """No 10 MHz at Ext Ref In."""
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._peers: list[socket.socket] = []
        self._threads: list[threading.Thread] = []
        self._closing = False
        self._acceptor = threading.Thread(target=self._accept, daemon=True)
        self._acceptor.start()

    @property
    def resource(self) -> str:
        return f"TCPIP::127.0.0.1::{self.port}::SOCKET"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        self._closing = True
        for each in [self._listener, *self._peers]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in [self._acceptor, *self._threads]:
            thread.join(5)

    def hang_up(self) -> None:
        """End every connection; the server stays."""
        for peer in self._peers:
            with contextlib.suppress(OSError):
                peer.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        while not self._closing:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            self._peers.append(peer)
            thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
            self._threads.append(thread)
            thread.start()

    def _serve(self, peer: socket.socket) -> None:
        buffer = b""
        with contextlib.suppress(OSError):
            while octets := peer.recv(4096):
                buffer += octets
                while b"\n" in buffer:
                    line, buffer = buffer.split(b"\n", 1)
                    self._hear(peer, line.decode("latin-1").strip())
        peer.close()

    def _hear(self, peer: socket.socket, message: str) -> None:
        self.heard.append(message)
        answer = self._answer(message)
        if answer is None:
            return
        whole = answer.encode("latin-1") + b"\r\n"
        fault = self.faults_of.get(message)
        if fault is None and message == "READ?" and self.faults:
            fault = self.faults.popleft()
        if fault is None:
            peer.sendall(whole)
        else:
            fault(peer, whole)

    def _answer(self, message: str) -> str | None:
        if message == "*IDN?":
            return self.idn
        if message == "READ?":
            return self.reading
        if message == "SYST:ERR?":
            return self.queue.pop(0) if self.queue else '+0,"No error"'
        if message.startswith("ECHO? "):
            return message.removeprefix("ECHO? ")
        if message == "*CLS":
            self.queue.clear()
        elif message == "SENS:ROSC:EXT:CHEC ONCE" and self.unlocked:
            self.queue.append('+1001,"External reference not valid"')
        elif message.partition(" ")[0] not in KNOWN:
            self.queue.append(f'-113,"Undefined header;{message}"')
        return None


KNOWN = {
    "*RST",
    "*CLS",
    "SENS:ROSC:SOUR",
    "SENS:ROSC:EXT:CHEC",
    "SYST:TIM",
    "CONF:TINT",
    *(f"INP{channel}:{what}" for channel in (1, 2) for what in ("COUP", "IMP", "RANG", "LEV:AUTO", "LEV", "SLOP")),
}
