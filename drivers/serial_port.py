"""Octets to and from a serial port, with a deadline on everything."""

from __future__ import annotations

import contextlib
import re
import time
from typing import Final, Protocol

import serial

from drivers.errors import PortLostError, PortOpenError

CHUNK: Final = 4096
SLICE_S: Final = 0.25
"""The longest one look takes; the deadline is kept outside it."""

_RESOURCE: Final = re.compile(r"ASRL(/dev/.+|COM\d+)::INSTR", re.IGNORECASE)


class Serial(Protocol):
    """What is used of a pyserial port."""

    timeout: float | None

    @property
    def in_waiting(self) -> int:
        """Octets that can be read without waiting."""

    def read(self, size: int = 1) -> bytes:
        """Up to ``size`` octets, none when the port's timeout passes first."""

    def write(self, data: bytes, /) -> int | None:
        """Send octets."""

    def close(self) -> None:
        """Give the port back."""


def device(resource: str) -> str:
    """The device of "ASRL/dev/ttyACM0::INSTR", or a path as it is. Raises ValueError for anything else."""
    found = _RESOURCE.fullmatch(resource)
    if found is not None:
        return found[1]
    if resource.startswith("/dev/"):
        return resource
    raise ValueError(f"{resource!r} is no serial port")


class SerialStream:
    """A serial port of our own, for nobody else; a `drivers.stream.Stream`."""

    def __init__(self, resource: str, *, baud: int = 38_400) -> None:
        """Raises PortOpenError."""
        self.resource = resource
        self._closed = False
        try:
            # exclusive: two readers would take each other's octets
            self._port: Serial = serial.Serial(
                device(resource), baud, timeout=SLICE_S, write_timeout=SLICE_S, exclusive=True
            )
        except Exception as why:  # drivers of odd devices raise more than OSError
            raise PortOpenError(
                f"a serial port at {resource}, {baud} baud",
                f"{type(why).__name__}: {why}",
                "look under /dev/serial/by-id; stop gpsd or ModemManager; join the group dialout",
            ) from why

    def now_ns(self) -> int:
        """Ns of CLOCK_MONOTONIC: a serial port knows no other time."""
        return time.monotonic_ns()

    def send(self, octets: bytes, deadline_ns: int) -> bool:
        """As `drivers.stream.Stream`."""
        left = octets
        while left:
            if time.monotonic_ns() >= deadline_ns:
                return False
            try:
                left = left[self._port.write(left) or 0 :]
            except serial.SerialTimeoutException:
                return False
            except Exception as why:  # among them termios.error, which is no OSError
                raise self._lost(why) from why
        return True

    def receive(self, deadline_ns: int) -> bytes:
        """As `drivers.stream.Stream`."""
        try:
            while True:
                left_s = (deadline_ns - time.monotonic_ns()) / 1e9
                if waiting := self._port.in_waiting:
                    return self._port.read(min(waiting, CHUNK))
                if left_s <= 0:
                    return b""
                self._port.timeout = min(left_s, SLICE_S)
                if found := self._port.read(1):
                    return found
        except Exception as why:  # as in send
            raise self._lost(why) from why

    def close(self) -> None:
        """As `drivers.stream.Stream`."""
        self._closed = True
        with contextlib.suppress(Exception):  # whatever a dying port says of its own end is of no use to anyone
            self._port.close()

    def _lost(self, why: Exception) -> PortLostError:
        found = "the port closed meanwhile" if self._closed else f"{type(why).__name__}: {why}"
        self.close()
        return PortLostError(f"the serial port {self.resource}", found, "plug it in again, then open it anew")
