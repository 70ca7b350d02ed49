"""A simulated instrument at a serial line of this host: a pseudo terminal."""

from __future__ import annotations

import contextlib
import os
import select
import threading
import tty
from typing import Final

from drivers.simulated.conversation import Conversation, Simulated
from drivers.simulated.faults import NONE, Faults

_JOIN_S: Final = 2.0


def serve_serial(device: Simulated, faults: Faults = NONE) -> SerialCarrier:
    """Serve an instrument at a new pseudo terminal. Raises OSError."""
    return SerialCarrier(device, faults)


class SerialCarrier:
    """A line with an instrument at its end; nobody can hang up on it, so a dropped connection is a line gone mute."""

    def __init__(self, device: Simulated, faults: Faults = NONE) -> None:
        """Open the line. Raises OSError."""
        self._line, self._far = os.openpty()  # the far end stays open, or the line would end with its first client
        tty.setraw(self._far)
        os.set_blocking(self._line, False)
        self.path = os.ttyname(self._far)
        self._wake, self._waker = os.pipe()
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._turn = threading.Lock()
        self._conversation = Conversation(device, faults, self._send)
        self._thread = threading.Thread(target=self._talk, name=f"simulated serial {self.path}", daemon=True)
        self._thread.start()

    @property
    def resource(self) -> str:
        """VISA resource name."""
        return f"ASRL{self.path}::INSTR"

    def close(self) -> None:
        """Take the line away; safe to call twice."""
        with self._lock:
            if self._closed.is_set():
                return
            self._closed.set()
        os.write(self._waker, b".")
        self._thread.join(_JOIN_S)
        self._conversation.close()
        for each in (self._line, self._far, self._wake, self._waker):
            os.close(each)

    def _talk(self) -> None:
        mute = False
        with contextlib.suppress(OSError):
            while not self._closed.is_set():
                ready = select.select([self._line, self._wake], [], [])[0]
                if self._wake in ready:
                    return
                octets = os.read(self._line, 65536)
                for delivery in self._conversation.feed(octets):
                    if delivery.after_s and self._closed.wait(delivery.after_s):
                        return
                    mute = mute or delivery.hang_up
                    if not mute:
                        self._send(delivery.octets)

    def _send(self, octets: bytes) -> None:
        with self._turn:
            while octets and not self._closed.is_set():
                room = select.select([], [self._line], [], 0.2)[1]
                if room:
                    with contextlib.suppress(BlockingIOError):
                        octets = octets[os.write(self._line, octets) :]
