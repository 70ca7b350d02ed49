"""Octets to and from an instrument that is no VISA session: a TCP socket with a deadline on everything."""

from __future__ import annotations

import contextlib
import os
import re
import select
import socket
import time
from typing import Final, Protocol

from drivers.errors import PortLostError, PortOpenError

CHUNK: Final = 65536
_RESOURCE: Final = re.compile(r"TCPIP\d*::([^:]+|\[[0-9A-Fa-f:.]+\])::(\d{1,5})::SOCKET", re.IGNORECASE)
_PLAIN: Final = re.compile(r"([^:\[\]]+|\[[0-9A-Fa-f:.]+\]):(\d{1,5})")


class Stream(Protocol):
    """Octets both ways."""

    @property
    def resource(self) -> str:
        """Where: a VISA resource name."""

    def now_ns(self) -> int:
        """The time that deadlines are counted in, ns."""

    def send(self, octets: bytes, deadline_ns: int) -> bool:
        """Send them all; False: the peer took not all of them in time. Raises PortLostError."""

    def receive(self, deadline_ns: int) -> bytes:
        """Some octets, as soon as there are any; none when the time is over. Raises PortLostError."""

    def close(self) -> None:
        """End it, and what waits in it; safe to call twice, from any thread."""


def host_and_port(resource: str) -> tuple[str, int]:
    """Of "TCPIP0::192.0.2.7::3082::SOCKET" or "192.0.2.7:3082". Raises ValueError."""
    found = _RESOURCE.fullmatch(resource) or _PLAIN.fullmatch(resource)
    if found is None or not 0 < int(found[2]) < 65536:
        raise ValueError(f"{resource!r} is no TCPIP0::host::port::SOCKET")
    return found[1].strip("[]"), int(found[2])


class SocketStream:
    """A TCP connection, small messages at once (TCP_NODELAY)."""

    def __init__(self, resource: str, *, timeout_s: float = 2.0) -> None:
        """``resource`` as `host_and_port` reads it. Raises PortOpenError."""
        self.resource = resource
        try:
            where = host_and_port(resource)
            self._socket = socket.create_connection(where, timeout=timeout_s)
        except (ValueError, OSError) as why:
            raise PortOpenError(
                f"a connection to {resource}",
                str(why) or type(why).__name__,
                "check that it is on, its address, and that no other program holds its only connection",
            ) from why
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._socket.setblocking(False)
        self._closed = False

    def now_ns(self) -> int:
        """Ns of CLOCK_MONOTONIC: a socket knows no other time."""
        return time.monotonic_ns()

    def send(self, octets: bytes, deadline_ns: int) -> bool:
        """As `Stream`."""
        left = memoryview(octets)
        try:
            while left:
                if not select.select([], [self._socket], [], self._left(deadline_ns))[1]:
                    return False
                with contextlib.suppress(BlockingIOError):
                    left = left[self._socket.send(left) :]
        except (OSError, ValueError) as why:  # ValueError: closed by another thread
            raise self._lost(why) from why
        return True

    def receive(self, deadline_ns: int) -> bytes:
        """As `Stream`."""
        try:
            if not select.select([self._socket], [], [], self._left(deadline_ns))[0]:
                return b""
            found = self._socket.recv(CHUNK)
        except BlockingIOError:
            return b""
        except (OSError, ValueError) as why:
            raise self._lost(why) from why
        if not found:
            raise self._lost(ConnectionResetError("the connection closed by the instrument"))
        return found

    def close(self) -> None:
        """As `Stream`."""
        self._closed = True
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()

    def _left(self, deadline_ns: int) -> float:
        return max(0.0, (deadline_ns - time.monotonic_ns()) / 1e9)

    def _lost(self, why: Exception) -> PortLostError:
        found = "the connection closed meanwhile" if self._closed else (str(why) or os.strerror(0))
        self.close()
        return PortLostError(
            f"a connection to {self.resource}", found, "check cable and power; open it again and set it up anew"
        )
