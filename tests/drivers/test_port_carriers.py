"""Traps of a naive VISA session beside those of test_port: ends, blocks, resets, shared managers, what is not done yet.

Each test shows the naive session fall into it first, over the simulated lab's own carriers.
"""

from __future__ import annotations

import contextlib
import os
import pty
import socket
import struct
import threading
import tty
from collections.abc import Iterator
from typing import Any

import pytest
import pyvisa
from hypothesis import given
from hypothesis import strategies as st
from pyvisa.constants import EventMechanism, EventType
from pyvisa.resources import MessageBasedResource

from drivers.clock import WALL
from drivers.errors import InstrumentError, PortClosedError, PortLostError, PortReplyError, PortTimeoutError
from drivers.port import Identity, Port, Wire
from drivers.scpi import POLL_OPC, ScpiInstrument
from drivers.simulated.faults import Fault, Faults, Kind
from drivers.simulated.hislip import serve_hislip
from drivers.simulated.scpi import ScpiDevice
from drivers.simulated.tcp import serve_tcp
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.visa import SimulatedVisa

WHO = Identity("millicert", "BOX", "SIM-BOX-1", "1.0")
LINES = b"\n" * 4_000_000
"""Four million octets, each of which looks like an end."""


class Box(ScpiDevice):
    """An instrument with blocks, and an operation that goes on after its command."""

    def __init__(self, clock: Any = WALL) -> None:
        super().__init__(WHO, clock)
        self.ends = b"\r\n"
        self.opc_blocks = False
        self.block = b"1\n2\n3"
        self.on("BLOCk?", lambda suffixes, args: self.block)
        self.on("VALue?", lambda suffixes, args: "-3.21")
        self.on("MOVE", lambda suffixes, args: self.begin(0.05))
        self.on("MOVing?", lambda suffixes, args: str(int(self.busy())))


@contextlib.contextmanager
def naive(resource: str, timeout_ms: int = 150, **ends: Any) -> Iterator[MessageBasedResource]:
    """A session as a tutorial opens it."""
    session = pyvisa.ResourceManager("@py").open_resource(resource, **ends)
    assert isinstance(session, MessageBasedResource)
    session.timeout = timeout_ms
    try:
        yield session
    finally:
        with contextlib.suppress(Exception):
            session.close()


@contextlib.contextmanager
def tcp(box: ScpiDevice, faults: Faults | None = None) -> Iterator[str]:
    carrier = serve_tcp(box, faults or Faults())
    try:
        yield carrier.resource
    finally:
        carrier.close()


@contextlib.contextmanager
def raw(serve: Any) -> Iterator[str]:
    """A server that answers every line with what ``serve(peer, line)`` does."""
    listener = socket.create_server(("127.0.0.1", 0))
    peers: list[socket.socket] = []

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                peers.append(peer)
                threading.Thread(target=talk, args=(peer,), daemon=True).start()

    def talk(peer: socket.socket) -> None:
        with contextlib.suppress(OSError, ValueError), peer.makefile("rb") as file:
            for line in file:
                serve(peer, line.strip())

    thread = threading.Thread(target=accept, daemon=True)
    thread.start()
    try:
        yield f"TCPIP::127.0.0.1::{listener.getsockname()[1]}::SOCKET"
    finally:
        for each in (listener, *peers):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        thread.join(5)


def reset(peer: socket.socket) -> None:
    """End the connection as an instrument does that was switched off and on."""
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    with contextlib.suppress(OSError):
        peer.shutdown(socket.SHUT_RD)
    peer.close()


# -- ends --------------------------------------------------------------------------------------------------------


def test_a_naive_session_without_ends_never_hears_the_first_answer_and_a_port_does() -> None:
    with tcp(Box()) as resource:
        with naive(resource) as session, pytest.raises(pyvisa.VisaIOError):
            session.query("VAL?")
        with Port(resource, timeout_s=10) as port:
            assert port.query("VAL?") == "-3.21"


def test_a_naive_session_leaves_the_carriage_return_on_a_string_and_a_port_does_not() -> None:
    with tcp(Box()) as resource:
        with naive(resource, 5000, read_termination="\n", write_termination="\n") as session:
            assert session.query("*IDN?").endswith("1.0\r")
        with Port(resource, timeout_s=10) as port:
            assert port.query("*IDN?").endswith("1.0")


# -- blocks ------------------------------------------------------------------------------------------------------


def test_a_naive_session_cuts_a_block_at_its_first_0a_and_gives_the_rest_to_the_next_query() -> None:
    with tcp(Box()) as resource:
        with naive(resource, 5000, read_termination="\n", write_termination="\n") as session:
            session.write("BLOC?")
            assert session.read_raw() == b"#151\n"
            assert session.query("VAL?") == "2"  # and nobody is told
        with Port(resource, timeout_s=10) as port:
            assert port.query_block("BLOC?") == b"1\n2\n3"
            assert port.query("VAL?") == "-3.21"


def test_four_megabytes_of_0a_are_whole_over_tcp_hislip_and_in_process() -> None:
    box = Box()
    box.block = LINES
    with tcp(box) as resource, Port(resource, timeout_s=60) as port:
        assert port.query_block("BLOC?") == LINES
        assert port.query("VAL?") == "-3.21"
    carrier = serve_hislip(box)
    try:
        with Port(carrier.resource, timeout_s=60) as port:
            assert port.query_block("BLOC?") == LINES
            assert port.query("VAL?") == "-3.21"
    finally:
        carrier.close()
    visa, virtual = SimulatedVisa(), Box(VirtualClock())
    virtual.block = LINES
    for name in ("TCPIP0::box::5025::SOCKET", "TCPIP0::box::inst0::INSTR"):
        visa.serve(virtual, name)
        with Port(name, timeout_s=10, backend=visa, clock=virtual.clock) as port:
            assert port.query_block("BLOC?") == LINES
            assert port.query("VAL?") == "-3.21"


@pytest.mark.parametrize("payload", [b"", b"#", b"#0", b"\n", b"\r\n", b"\x00\xff" * 50, b"x" * 4096, b"y" * 4091])
def test_a_block_of_any_octets_and_size(payload: bytes) -> None:
    box = Box()
    box.block = payload
    with tcp(box) as resource, Port(resource, timeout_s=10) as port:
        assert port.query_block("BLOC?") == payload
        assert port.query_block("BLOC?") == payload
        assert port.query("VAL?") == "-3.21"
    carrier = serve_hislip(box)
    try:
        with Port(carrier.resource, timeout_s=10) as port:
            assert port.query_block("BLOC?") == payload
            assert port.query("VAL?") == "-3.21"
    finally:
        carrier.close()


@pytest.mark.parametrize(
    ("answer", "found"),
    [
        (b"hello\n", "no block"),
        (b"#0abc\n", "no definite block"),
        (b"#x1\n", "no definite block"),
        (b"#2 1a\n", "no definite block"),
        (b"#9999999999", "1000000010"),
        (b"#13abcdef\n", "behind it"),
    ],
)
def test_an_answer_that_is_no_block_is_said_and_survived(answer: bytes, found: str) -> None:
    def serve(peer: socket.socket, line: bytes) -> None:
        peer.sendall({b"*IDN?": b"a,b,c,d\n", b"VAL?": b"7\n"}.get(line, answer))

    with raw(serve) as resource, Port(resource, timeout_s=10) as port:
        with pytest.raises(PortReplyError, match=found):
            port.query_block("BLOC?")
        assert port.query("VAL?") == "7"


def test_a_block_without_a_line_end_is_whole_all_the_same() -> None:
    def serve(peer: socket.socket, line: bytes) -> None:
        peer.sendall({b"*IDN?": b"a,b,c,d\n", b"VAL?": b"7\n"}.get(line, b"#13abc"))

    with raw(serve) as resource, Port(resource, timeout_s=10) as port:
        assert port.query_block("BLOC?") == b"abc"
        assert port.query("VAL?") == "7"


def test_half_a_block_is_none_and_its_other_half_is_nobodys_answer() -> None:
    go = threading.Event()

    def serve(peer: socket.socket, line: bytes) -> None:
        if line == b"BLOC?":
            peer.sendall(b"#520000" + b"\xfe" * 10_000)
            go.wait(20)
            peer.sendall(b"\xfe\n" * 5_000 + b"\n")
        else:
            peer.sendall({b"*IDN?": b"a,b,c,d\n", b"VAL?": b"7\n"}[line])

    with raw(serve) as resource, Port(resource, timeout_s=10) as port:
        with pytest.raises(PortTimeoutError, match="no more than"):
            port.query_block("BLOC?", 0.2)
        threading.Timer(0.2, go.set).start()  # while the port waits for its marker
        assert port.query("VAL?") == "7"


def test_a_block_is_asked_by_a_query_of_one_line() -> None:
    with tcp(Box()) as resource, Port(resource, timeout_s=10) as port:
        for message in ("BLOC", "", "BLOC?\nVAL?"):
            with pytest.raises(ValueError, match=r"query|ASCII"):
                port.query_block(message)


def test_a_block_over_a_serial_line() -> None:
    ours, theirs = pty.openpty()
    tty.setraw(ours)
    payload = bytes(range(256)) + b"\n" * 300

    def serve() -> None:
        heard = b""
        with contextlib.suppress(OSError):
            while octets := os.read(ours, 4096):
                heard += octets
                while b"\n" in heard:
                    line, heard = heard.split(b"\n", 1)
                    answer = {b"*IDN?": b"a,b,c,d\n", b"BLOC?": b"#3%d%s\n" % (len(payload), payload)}
                    os.write(ours, answer.get(line.strip(), b"7\n"))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        with Port(f"ASRL{os.ttyname(theirs)}::INSTR", timeout_s=10) as port:
            assert port.query_block("BLOC?") == payload
            assert port.query("VAL?") == "7"
    finally:
        os.close(theirs)
        os.close(ours)
        thread.join(5)


# -- the connection ----------------------------------------------------------------------------------------------


def test_a_reset_is_a_time_out_and_then_a_bare_broken_pipe_to_a_naive_session_and_a_loss_to_a_port() -> None:
    def serve(peer: socket.socket, line: bytes) -> None:
        if line == b"*IDN?":
            peer.sendall(b"a,b,c,d\n")
        else:
            peer.shutdown(socket.SHUT_RDWR)

    with raw(serve) as resource:
        with naive(resource, read_termination="\n", write_termination="\n") as session:
            session.query("*IDN?")
            with pytest.raises(pyvisa.VisaIOError, match="VI_ERROR_TMO"):
                session.query("VAL?")
            failed: list[Exception] = []
            for _ in range(3):
                try:
                    session.query("VAL?")
                except (pyvisa.VisaIOError, OSError) as why:
                    failed.append(why)
            assert any(isinstance(why, OSError) and not isinstance(why, pyvisa.VisaIOError) for why in failed)
        port = Port(resource, timeout_s=60)
        with pytest.raises(PortLostError):
            port.query("VAL?")  # not after 60 s


def test_a_hard_reset_is_lost_at_once() -> None:
    def serve(peer: socket.socket, line: bytes) -> None:
        if line == b"*IDN?":
            peer.sendall(b"a,b,c,d\n")
        else:
            reset(peer)

    with raw(serve) as resource:
        port = Port(resource, timeout_s=60)
        with pytest.raises(PortLostError):
            port.query("VAL?")


def test_closing_a_manager_ends_everybodys_sessions_and_closing_a_port_only_its_own() -> None:
    with tcp(Box()) as resource:
        library = SimulatedVisa()
        library.serve(Box(VirtualClock()), "TCPIP0::box::inst0::INSTR")
        mine, theirs = (pyvisa.ResourceManager(library) for _ in range(2))
        session = theirs.open_resource("TCPIP0::box::inst0::INSTR")
        mine.close()
        assert isinstance(session, MessageBasedResource)
        with pytest.raises(pyvisa.errors.InvalidSession):
            session.query("*IDN?")
        first, second = Port(resource, timeout_s=10), Port(resource, timeout_s=10)
        first.close()
        assert second.query("VAL?") == "-3.21"
        second.close()


# -- stale answers with message ids --------------------------------------------------------------------------------


def test_over_hislip_what_came_late_is_not_the_next_answer() -> None:
    late = Faults(Fault(Kind.LATE, at=frozenset({2}), seconds=0.4))
    carrier = serve_hislip(Box(), late)
    try:
        with Port(carrier.resource, timeout_s=10) as port:
            with pytest.raises(PortTimeoutError):
                port.query("VAL?", 0.1)
            assert port.query("*OPC?") == "1"
            assert port.query("VAL?") == "-3.21"
    finally:
        carrier.close()


def test_a_virtual_instrument_that_is_late_on_its_own_clock_is_late_to_the_port() -> None:
    clock = VirtualClock()
    visa = SimulatedVisa()
    visa.serve(Box(clock), "TCPIP0::box::5025::SOCKET", Faults(Fault(Kind.LATE, at=frozenset({2}), seconds=60)))
    seen: list[Wire] = []
    with Port("TCPIP0::box::5025::SOCKET", timeout_s=2, backend=visa, clock=clock, log=seen.append) as port:
        with pytest.raises(PortTimeoutError):
            port.query("VAL?")
        assert 1.99e9 <= clock.now_ns() < 3e9
        clock.sleep(60)
        assert port.query("*OPC?") == "1"
    assert seen[-1].monotonic_ns <= clock.now_ns()


# -- what is not done yet, and what cannot be waited for -----------------------------------------------------------


def test_a_naive_opc_returns_while_the_instrument_moves_and_ours_when_it_stands() -> None:
    clock = VirtualClock()
    visa = SimulatedVisa()
    visa.serve(Box(clock), "TCPIP0::box::inst0::INSTR")
    session = pyvisa.ResourceManager(visa).open_resource("TCPIP0::box::inst0::INSTR")
    assert isinstance(session, MessageBasedResource)
    session.write("MOVE")
    session.query("*OPC?")  # as for any other instrument, where it blocks
    assert session.query("MOV?").strip() == "1"
    session.close()
    clock.sleep(1)
    with Port("TCPIP0::box::inst0::INSTR", backend=visa, clock=clock) as port:
        box = ScpiInstrument(port, clock=clock)
        box.write("MOVE")
        took = box.wait(1.0, POLL_OPC)
        assert box.query("MOV?") == "0"
        assert 0.049 <= took < 0.06


def test_the_library_has_no_events_so_nothing_of_ours_waits_for_one() -> None:
    with tcp(Box()) as resource, naive(resource, 5000) as session:
        with pytest.raises((NotImplementedError, pyvisa.VisaIOError)):
            session.enable_event(EventType.service_request, EventMechanism.queue)
        with pytest.raises((NotImplementedError, pyvisa.VisaIOError)):
            session.read_stb()


# -- whatever comes ------------------------------------------------------------------------------------------------


class Babbler(Box):
    """Answers the next queries with what the test gives it, its own identity when that is over."""

    def __init__(self, said: list[bytes]) -> None:
        super().__init__(VirtualClock())
        self.said = said
        self.ends = b""

    def handle(self, message: bytes) -> bytes | None:
        super().handle(b"")
        if message.strip() == b"*IDN?":
            return str(WHO).encode() + b"\n"
        return self.said.pop(0) if self.said and message.strip().endswith(b"?") else None


PIECE = st.sampled_from([b"#", b"#0", b"#15", b"#14abcd", b"#9", b"\n", b"\r\n", b"1.0\n", b"\xff"]) | st.binary(
    max_size=12
)


@pytest.mark.parametrize("name", ["TCPIP0::box::5025::SOCKET", "TCPIP0::box::inst0::INSTR", "ASRL7::INSTR"])
@given(said=st.lists(st.lists(PIECE, max_size=4).map(b"".join), max_size=5))
def test_whatever_comes_an_exchange_ends_with_an_answer_or_an_error_of_ours(name: str, said: list[bytes]) -> None:
    visa, box = SimulatedVisa(), Babbler(said)
    visa.serve(box, name)
    with Port(name, timeout_s=1, backend=visa, clock=box.clock) as port:
        for act in (port.query, port.query_block, port.query, port.query_block):
            with contextlib.suppress(InstrumentError):
                assert isinstance(act("VAL?"), str | bytes)
        with contextlib.suppress(InstrumentError):
            port.write("VAL")
        box.said.clear()
        try:
            assert port.query("*IDN?") == str(WHO)  # never what was owed
        except InstrumentError as why:
            assert isinstance(why, PortLostError | PortClosedError)  # noqa: PT017 - an answer is as good
