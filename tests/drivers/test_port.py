"""What a naive VISA session gets wrong, over real sockets, and that a Port does not."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest
import pyvisa
from pyvisa.resources import MessageBasedResource

from drivers.errors import (
    PortClosedError,
    PortLostError,
    PortOpenError,
    PortReplyError,
    PortTimeoutError,
)
from drivers.port import Port, Wire, identity

SHORT_S = 0.15


@contextlib.contextmanager
def naive(resource: str) -> Iterator[MessageBasedResource]:
    """A session as a tutorial opens it."""
    session = pyvisa.ResourceManager("@py").open_resource(resource, read_termination="\n", write_termination="\n")
    assert isinstance(session, MessageBasedResource)
    session.timeout = 150
    try:
        yield session
    finally:
        session.close()


def socket_of(session: Any) -> socket.socket:
    found = session.visalib.sessions[session.session].interface
    assert isinstance(found, socket.socket)
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as gone:
        return int(gone.getsockname()[1])


# -- the traps -------------------------------------------------------------------------------------------------


def test_after_a_time_out_a_naive_session_returns_the_last_answer_to_the_next_query(
    counter: Any, fake: ModuleType
) -> None:
    late = fake.Late()
    counter.faults.append(late)
    with naive(counter.resource) as session:
        with pytest.raises(pyvisa.VisaIOError):
            session.query("READ?")
        late.go.set()
        session.timeout = 5000
        assert session.query("*IDN?").strip() == counter.reading  # wrong, and nobody is told


def test_after_a_time_out_a_port_answers_what_was_asked(counter: Any, fake: ModuleType) -> None:
    late = fake.Late()
    counter.faults.append(late)
    with Port(counter.resource, timeout_s=10) as port:
        with pytest.raises(PortTimeoutError, match="READ"):
            port.query("READ?", SHORT_S)
        late.go.set()
        assert port.query("ECHO? 1") == "1"
        assert port.query("READ?") == counter.reading


def test_an_answer_that_comes_while_bringing_into_step_is_thrown_away(counter: Any, fake: ModuleType) -> None:
    late = fake.Late()
    counter.faults.append(late)
    seen: list[Wire] = []
    with Port(counter.resource, timeout_s=10, log=seen.append) as port:
        with pytest.raises(PortTimeoutError):
            port.query("READ?", SHORT_S)
        threading.Timer(0.2, late.go.set).start()  # after the drain saw quiet: before the marker's own answer
        assert port.query("ECHO? 2") == "2"
    thrown = b"".join(wire.octets for wire in seen if wire.remark)
    assert counter.reading.encode() in thrown


def test_a_naive_session_leaves_nagle_on_and_a_port_does_not(counter: Any) -> None:
    with naive(counter.resource) as session:
        assert socket_of(session).getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 0
    with Port(counter.resource, timeout_s=10) as port:
        assert port.undelayed is True


def test_a_naive_session_opens_a_closed_port_and_a_port_says_refused() -> None:
    resource = f"TCPIP::127.0.0.1::{free_port()}::SOCKET"
    with naive(resource):
        pass
    with pytest.raises(PortOpenError, match="refused"):
        Port(resource)


def test_two_threads_on_a_naive_session_get_each_others_answers(counter: Any) -> None:
    with naive(counter.resource) as session:
        session.timeout = 5000
        session.write("ECHO? mine")  # one thread gets so far, then the other comes
        other: list[str] = []
        thread = threading.Thread(target=lambda: other.append(session.query("ECHO? other")))
        thread.start()
        thread.join(10)
        assert other == ["mine\r"] or other == ["mine"]
        assert session.read().strip() == "other"


def test_threads_on_one_port_get_their_own_answers(counter: Any) -> None:
    wrong: list[str] = []
    with Port(counter.resource, timeout_s=20) as port:

        def ask(who: int) -> None:
            wrong.extend(got for n in range(100) if (got := port.query(f"ECHO? {who}.{n}")) != f"{who}.{n}")

        threads = [threading.Thread(target=ask, args=(who,)) for who in range(3)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(30)
    assert wrong == []
    assert sum(message.startswith("ECHO?") for message in counter.heard) == 300


def test_a_turn_keeps_several_exchanges_together(counter: Any) -> None:
    with Port(counter.resource, timeout_s=10) as port:
        waiting = threading.Thread(target=lambda: port.query("ECHO? other"))
        with port.turn():
            port.query("ECHO? 1")
            waiting.start()
            port.query("ECHO? 2")
        waiting.join(5)
    assert counter.heard[-3:] == ["ECHO? 1", "ECHO? 2", "ECHO? other"]


def test_a_turn_is_not_waited_for_longer_than_allowed(counter: Any) -> None:
    refused: list[BaseException] = []
    with Port(counter.resource, timeout_s=10) as port:

        def ask() -> None:
            try:
                port.query("ECHO? x", 0.05)
            except PortTimeoutError as why:
                refused.append(why)

        with port.turn():
            thread = threading.Thread(target=ask)
            thread.start()
            thread.join(10)
        assert len(refused) == 1
        assert port.query("ECHO? y") == "y"  # nothing was sent, so nothing is owed
    assert "ECHO? x" not in counter.heard


# -- answers that are none -------------------------------------------------------------------------------------


def test_an_answer_to_nobody_is_not_the_next_ones(counter: Any, fake: ModuleType) -> None:
    counter.faults.append(fake.doubled)
    with Port(counter.resource, timeout_s=10) as port:
        assert port.query("READ?") == counter.reading
        assert port.query("ECHO? 3") == "3"


def test_a_doubled_answer_that_came_with_the_first_is_not_the_next_ones(counter: Any) -> None:
    with Port(counter.resource, timeout_s=10) as port:
        assert port.query("ECHO? a b") == "a b"
        counter.faults_of["READ?"] = lambda peer, answer: peer.sendall(b"1\n2\n3\n")
        assert port.query("READ?") == "1"
        assert port.query("ECHO? 4") == "4"


def test_half_an_answer_is_none(counter: Any, fake: ModuleType) -> None:
    counter.faults.append(fake.partial)
    with Port(counter.resource, timeout_s=10) as port:
        with pytest.raises(PortTimeoutError, match=r"no more than b'\+1.23"):
            port.query("READ?", 1)
        assert port.query("READ?") == counter.reading


def test_an_answer_in_pieces_is_whole(counter: Any) -> None:
    gate = threading.Event()

    def pieces(peer: socket.socket, answer: bytes) -> None:
        for octet in answer:
            peer.sendall(bytes([octet]))
            gate.wait(0.002)

    counter.faults.append(pieces)
    with Port(counter.resource, timeout_s=10) as port:
        assert port.query("READ?") == counter.reading


def test_garbage_is_said_and_survived(counter: Any, fake: ModuleType) -> None:
    counter.faults.append(fake.garbage)
    with Port(counter.resource, timeout_s=10) as port:
        with pytest.raises(PortReplyError, match="no text"):
            port.query("READ?")
        assert port.query("READ?") == counter.reading


def test_garbage_that_comes_late_is_drained(counter: Any) -> None:
    go, gone = threading.Event(), threading.Event()

    def late(peer: socket.socket, _: bytes) -> None:
        go.wait(20)
        peer.sendall(b"\xff\xfe")
        gone.set()

    counter.faults.append(late)
    with Port(counter.resource, timeout_s=10) as port:
        with pytest.raises(PortTimeoutError):
            port.query("READ?", SHORT_S)
        go.set()
        assert gone.wait(20)
        assert port.query("READ?") == counter.reading


def test_an_answer_without_end_is_refused(counter: Any) -> None:
    counter.faults.append(lambda peer, answer: peer.sendall(b"7" * 1_100_000))
    with Port(counter.resource, timeout_s=10) as port, pytest.raises(PortReplyError, match="without an end"):
        port.query("READ?")


def test_a_connection_cut_in_an_answer_is_lost_at_once_and_stays_lost(counter: Any, fake: ModuleType) -> None:
    counter.faults.append(fake.cut)
    port = Port(counter.resource, timeout_s=60)
    with pytest.raises(PortLostError, match=r"closed by the instrument|reset"):
        port.query("READ?")  # not after 60 s
    with pytest.raises(PortClosedError):
        port.query("READ?")
    port.close()


def test_a_connection_cut_between_two_exchanges_is_seen_before_anything_is_sent(counter: Any) -> None:
    port = Port(counter.resource, timeout_s=10)
    said = len(counter.heard)
    counter.hang_up()
    with pytest.raises(PortLostError):
        port.write("*RST")
    assert len(counter.heard) == said


def test_an_instrument_that_does_not_come_back_into_step_is_lost(counter: Any, fake: ModuleType) -> None:
    port = Port(counter.resource, timeout_s=10)
    port.timeout_s = SHORT_S
    counter.faults_of = {"READ?": fake.silent, "*IDN?": fake.silent}
    with pytest.raises(PortTimeoutError, match="silence"):
        port.query("READ?")
    with pytest.raises(PortLostError, match="READ"):
        port.query("READ?")


def test_another_instrument_behind_the_same_connection_is_never_taken_for_the_first(
    counter: Any, fake: ModuleType
) -> None:
    port = Port(counter.resource, timeout_s=10)
    port.timeout_s = SHORT_S
    counter.faults.append(fake.silent)
    with pytest.raises(PortTimeoutError):
        port.query("READ?")
    counter.idn = counter.idn.replace("SIM-53230A-1", "SIM-53230A-2")
    with pytest.raises(PortLostError, match="SIM-53230A-2"):
        port.query("READ?")


def test_an_identity_that_is_still_owed_cannot_prove_the_step(counter: Any, fake: ModuleType) -> None:
    port = Port(counter.resource, timeout_s=10)
    port.timeout_s = SHORT_S
    counter.faults_of["*IDN?"] = fake.silent
    with pytest.raises(PortTimeoutError):
        port.query("*IDN?", SHORT_S)
    del counter.faults_of["*IDN?"]
    with pytest.raises(PortLostError, match="last one"):
        port.query("READ?")


# -- opening, closing, talking ---------------------------------------------------------------------------------


@pytest.mark.parametrize("said", ["", "hello", "a,b,c", ",53230A,1,2"])
def test_opening_proves_nothing_until_it_says_who_it_is(counter: Any, said: str) -> None:
    counter.idn = said
    with pytest.raises(PortOpenError, match="IDN"):
        Port(counter.resource)


def test_a_host_that_says_nothing_is_not_open(counter: Any, fake: ModuleType) -> None:
    counter.faults_of["*IDN?"] = fake.silent
    with pytest.raises(PortOpenError, match="silence"):
        Port(counter.resource, timeout_s=SHORT_S)


@pytest.mark.parametrize("resource", ["", "nonsense", "TCPIP::127.0.0.1::x::SOCKET"])
def test_no_resource_at_all(resource: str) -> None:
    with pytest.raises(PortOpenError):
        Port(resource, timeout_s=SHORT_S)


def test_the_identity_has_four_fields_and_tells_a_simulation() -> None:
    real = identity("Keysight Technologies,53230A,MY50000001,02.05,x")
    assert (real.maker, real.model, real.serial, real.firmware, real.simulated) == (
        "Keysight Technologies",
        "53230A",
        "MY50000001",
        "02.05,x",
        False,
    )
    assert identity("a,b,sim-7,1").simulated


def test_closing_ends_an_exchange_under_way(counter: Any, fake: ModuleType) -> None:
    counter.faults.append(fake.silent)
    port = Port(counter.resource, timeout_s=10)
    found: list[BaseException] = []

    def ask() -> None:
        try:
            port.query("READ?", 60)
        except (PortLostError, PortClosedError) as why:
            found.append(why)

    thread = threading.Thread(target=ask)
    thread.start()
    while "READ?" not in counter.heard:
        threading.Event().wait(0.005)
    port.close()
    port.close()
    thread.join(20)
    assert len(found) == 1


def test_what_would_bring_a_session_out_of_step_is_not_sent(counter: Any) -> None:
    with Port(counter.resource, timeout_s=10) as port:
        said = len(counter.heard)
        for message in ("READ?", "*CLS\nREAD?", "", "INP1:LEV 1,0 µs"):
            with pytest.raises(ValueError, match=r"query|ASCII"):
                port.write(message)
        for message in ("*RST", "DISP:TEXT 'ok?'", "READ?\n"):
            with pytest.raises(ValueError, match=r"query|ASCII"):
                port.query(message)
        assert len(counter.heard) == said
        port.write("DISP:TEXT 'ok?'")


def test_the_wire_log_holds_every_octet_in_order(counter: Any) -> None:
    seen: list[Wire] = []
    with Port(counter.resource, timeout_s=10, log=seen.append) as port:
        port.query("ECHO? 5")
    assert [(wire.direction, wire.octets) for wire in seen] == [
        ("out", b"*IDN?\n"),
        ("in", counter.idn.encode() + b"\r\n"),
        ("out", b"ECHO? 5\n"),
        ("in", b"5\r\n"),
    ]
    stamps = [wire.monotonic_ns for wire in seen]
    assert stamps == sorted(stamps)
    assert all(wire.utc_ns > 1_700_000_000 * 10**9 for wire in seen)


def test_a_log_that_breaks_does_not_break_the_step(counter: Any) -> None:
    broken = False

    def log(wire: Wire) -> None:
        if broken and wire.direction == "out":
            raise OSError("disk full")

    with Port(counter.resource, timeout_s=10, log=log) as port:
        broken = True
        with pytest.raises(OSError, match="disk full"):
            port.query("ECHO? 6")
        broken = False
        assert port.query("ECHO? 7") == "7"
