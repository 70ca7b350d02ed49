"""A Port over VXI-11, where messages have an end of their own and a session can be cleared."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator

import pytest
import pyvisa
from pyvisa.resources import MessageBasedResource

from drivers.errors import PortLostError, PortOpenError, PortTimeoutError
from drivers.keysight_53230a import Keysight53230A
from drivers.port import Port

IDN = "Keysight Technologies,53230A,SIM-53230A-3,02.05"
CREATE_LINK, WRITE, READ, CLEAR, DESTROY_LINK = 10, 11, 12, 15, 23
IO_TIMEOUT, END = 15, 4
SHORT_S = 0.15


class Vxi11:
    """An instrument on the core channel (TCP/IP Instrument Protocol B.6) that keeps unread answers until cleared."""

    def __init__(self) -> None:
        self.reading = "+1.23000000000000E-007"
        self.late = False
        """The next answer is held back beyond the read's time-out, then lies there."""
        self.deaf = False
        self.cleared = 0
        self._out: list[bytes] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.resource = f"TCPIP::127.0.0.1,{self._listener.getsockname()[1]}::inst0::INSTR"
        self._peers: list[socket.socket] = []
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        for each in [self._listener, *self._peers]:
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        for thread in self._threads:
            thread.join(5)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = self._listener.accept()
                self._peers.append(peer)
                thread = threading.Thread(target=self._serve, args=(peer,), daemon=True)
                self._threads.append(thread)
                thread.start()

    def _serve(self, peer: socket.socket) -> None:
        with contextlib.suppress(OSError), peer, peer.makefile("rb") as file:
            while len(header := file.read(4)) == 4:
                call = file.read(struct.unpack("!I", header)[0] & 0x7FFFFFFF)
                xid, _, _, _, _, procedure = struct.unpack("!6I", call[:24])
                at = 24
                for _ in range(2):  # credential, verifier
                    at += 8 + struct.unpack("!I", call[at + 4 : at + 8])[0]
                reply = struct.pack("!6I", xid, 1, 0, 0, 0, 0) + self._do(procedure, call[at:])
                peer.sendall(struct.pack("!I", 0x80000000 | len(reply)) + reply)

    def _do(self, procedure: int, args: bytes) -> bytes:
        if procedure == CREATE_LINK:
            return struct.pack("!4I", 0, 1, 0, 1024)
        if procedure == WRITE:
            size = struct.unpack("!I", args[16:20])[0]
            self._hear(args[20 : 20 + size].decode().strip())
            return struct.pack("!2I", 0, size)
        if procedure == READ:
            if self.late or not self._out:
                self.late = False
                return struct.pack("!3I", IO_TIMEOUT, 0, 0)
            data = self._out.pop(0)
            return struct.pack("!3I", 0, END, len(data)) + data + b"\0" * (-len(data) % 4)
        if procedure == CLEAR:
            self.cleared += 1
            self._out.clear()
        return struct.pack("!I", 0)

    def _hear(self, message: str) -> None:
        answer = {"*IDN?": IDN, "READ?": self.reading, "SYST:ERR?": '+0,"No error"'}.get(message)
        if answer is not None and not self.deaf:
            self._out.append(answer.encode())  # its end is the protocol's, not a character


@pytest.fixture
def instrument() -> Iterator[Vxi11]:
    made = Vxi11()
    yield made
    made.close()


def test_the_driver_works_the_same(instrument: Vxi11) -> None:
    with Port(instrument.resource, timeout_s=10) as port:
        assert port.undelayed is None
        assert port.identity.simulated
        counter = Keysight53230A(port)
        counter.time_interval()
        assert counter.read_ps() == 123_000


def test_a_naive_session_is_one_answer_behind_after_a_time_out_and_a_port_is_not(instrument: Vxi11) -> None:
    naive = pyvisa.ResourceManager("@py").open_resource(instrument.resource)
    assert isinstance(naive, MessageBasedResource)
    instrument.late = True
    with pytest.raises(pyvisa.VisaIOError):
        naive.query("READ?")
    assert naive.query("*IDN?") == instrument.reading
    naive.clear()
    naive.close()
    with Port(instrument.resource, timeout_s=10) as port:
        instrument.late = True
        with pytest.raises(PortTimeoutError, match="silence"):
            port.query("READ?", SHORT_S)
        instrument.reading = "+4.00000000000000E-009"
        assert port.query("READ?") == instrument.reading
    assert instrument.cleared == 2


def test_an_instrument_that_is_still_silent_after_a_clear_is_lost(instrument: Vxi11) -> None:
    port = Port(instrument.resource, timeout_s=10)
    port.timeout_s = SHORT_S
    instrument.deaf = True
    with pytest.raises(PortTimeoutError):
        port.query("READ?")
    with pytest.raises(PortLostError):
        port.query("READ?")


def test_a_link_that_breaks_is_lost(instrument: Vxi11) -> None:
    port = Port(instrument.resource, timeout_s=10)
    port.timeout_s = SHORT_S
    instrument.close()
    with pytest.raises(PortLostError):
        port.query("READ?")


def test_nobody_there_is_not_open(instrument: Vxi11) -> None:
    instrument.close()
    with pytest.raises(PortOpenError):
        Port(instrument.resource, timeout_s=10)
