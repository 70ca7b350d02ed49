"""Over every carrier the same instrument, as pyvisa and a plain socket see it."""

from __future__ import annotations

import contextlib
import os
import random
import re
import select
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Protocol

import pytest

from drivers.clock import WALL, Clock, WallClock
from drivers.errors import PortLostError, PortOpenError, PortReplyError, PortTimeoutError
from drivers.port import Port
from drivers.simulated.carrier import Carrier
from drivers.simulated.faults import NONE, Fault, Faults, Kind
from drivers.simulated.hislip import HislipCarrier, serve_hislip
from drivers.simulated.serial import serve_serial
from drivers.simulated.tcp import TcpCarrier, serve_tcp, serve_telnet
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.visa import SimulatedVisa
from tests.drivers.simulated.lamp_model import LAMP, Crossbar, Lamp


class Client(Protocol):
    def query(self, message: str) -> str: ...
    def query_block(self, message: str) -> bytes: ...
    def write(self, message: str) -> None: ...
    def close(self) -> None: ...


class Netcat:
    """What somebody at `nc` sees."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self._file = self._socket.makefile("rb")

    def query(self, message: str) -> str:
        self.write(message)
        return self._file.readline().decode("latin-1").rstrip("\r\n")

    def query_block(self, message: str) -> bytes:
        self.write(message)
        digits = int(self._file.read(2)[1:])
        payload = self._file.read(int(self._file.read(digits)))
        assert self._file.readline() == b"\r\n"
        return payload

    def write(self, message: str) -> None:
        self._socket.sendall(message.encode() + b"\n")

    def read(self, until: bytes) -> bytes:
        got = b""
        while not got.endswith(until):
            octet = self._file.read(1)
            if not octet:
                break
            got += octet
        return got

    def close(self) -> None:
        self._file.close()
        self._socket.close()


@dataclass
class Served:
    carrier: Carrier
    connect: Callable[[], Client]


SERVE: dict[str, Callable[[Lamp, Faults], Carrier]] = {
    "tcp": serve_tcp,
    "hislip": serve_hislip,
    "serial": serve_serial,
}


@contextlib.contextmanager
def served(how: str, lamp: Lamp, faults: Faults = NONE) -> Iterator[Served]:
    carrier: Carrier
    connect: Callable[[], Client]
    if how.startswith("visa"):
        library = SimulatedVisa()
        name = "TCPIP0::lamp::5025::SOCKET" if how == "visa-stream" else ""
        carrier = library.serve(lamp, name, faults)

        def connect() -> Client:
            return Port(carrier.resource, backend=library, timeout_s=10)
    elif how == "nc":
        carrier = tcp = serve_tcp(lamp, faults)

        def connect() -> Client:
            return Netcat(tcp.port)
    else:
        carrier = SERVE[how](lamp, faults)

        def connect() -> Client:
            return Port(carrier.resource, timeout_s=10)

    try:
        yield Served(carrier, connect)
    finally:
        carrier.close()


CARRIERS = ["visa", "visa-stream", "tcp", "nc", "hislip", "serial"]


@pytest.fixture(params=CARRIERS)
def how(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(params=[VirtualClock, lambda: WALL], ids=["virtual", "real"])
def clock(request: pytest.FixtureRequest) -> Clock:
    made: Clock = request.param()
    return made


@pytest.fixture
def lamp(clock: Clock) -> Lamp:
    return Lamp(clock)


@pytest.fixture
def client(how: str, lamp: Lamp) -> Iterator[Client]:
    with served(how, lamp) as at:
        made = at.connect()
        yield made
        made.close()


# -- the contract ------------------------------------------------------------------------------------------


def test_it_says_who_it_is_and_that_it_is_simulated(client: Client) -> None:
    assert client.query("*IDN?") == str(LAMP)
    assert LAMP.simulated


def test_what_is_set_is_told_in_any_form(client: Client) -> None:
    client.write("SOUR2:POW 2MW")
    for query in ("SOUR2:POW?", ":source2:power:level?", "SOUR2:POW 2MW;POW?"):
        assert client.query(query) == "2.00000000E-03"


def test_several_queries_have_one_answer(client: Client) -> None:
    assert client.query("*OPC?;:TRIG:MODE SME;MODE?;*ESE?") == "1;SME;0"


def test_an_error_is_no_answer_and_waits_in_the_queue(client: Client) -> None:
    client.write("SOUR7:POW 1MW")
    client.write("SOUR:POW 1 XM")
    assert client.query("TRIG:MODE?") == "IGN"
    assert client.query("SYST:ERR?").startswith("-114,")
    assert client.query("SYST:ERR?") == '-131,"Invalid suffix;XM"'
    assert client.query("SYST:ERR?") == '0,"No error"'
    assert int(client.query("*ESR?")) & 32


def test_a_block_full_of_ends_comes_whole(client: Client) -> None:
    assert client.query_block("TRAC?") == struct.pack("<4f", 1.0, 2.0, 3.0, 4.0) + b"\n\r\n;"
    assert client.query("*IDN?") == str(LAMP)


def test_a_large_block_comes_whole(client: Client, lamp: Lamp, how: str) -> None:
    lamp.stored = bytes(range(256)) * (16 if how == "serial" else 400)
    assert client.query_block("MEM:DATA?") == lamp.stored
    assert client.query("*IDN?") == str(LAMP)


def test_a_blocking_operation_is_waited_for(client: Client, clock: Clock) -> None:
    began = clock.now_ns()
    assert client.query("MEAS? 50MS") == "+1.5E-006"
    assert clock.now_ns() - began >= 50_000_000


def test_an_overlapped_operation_is_waited_for(client: Client, clock: Clock) -> None:
    began = clock.now_ns()
    client.write("OUTP2 1")
    assert client.query("*OPC?") == "1"
    assert clock.now_ns() - began >= 500_000_000
    assert client.query("OUTP2?") == "1"


def test_commands_in_a_row_are_obeyed_in_order(client: Client) -> None:
    for power in range(1, 8):
        client.write(f"SOUR1:POW {power}MW")
        client.write(f"SOUR2:POW {8 - power}MW")
    assert client.query("SOUR1:POW?;:SOUR2:POW?") == "7.00000000E-03;1.00000000E-03"


def test_two_clients_see_one_instrument(how: str, lamp: Lamp) -> None:
    if how == "serial":
        pytest.skip("a line has one end")
    with served(how, lamp) as at:
        one, other = at.connect(), at.connect()
        one.write("SOUR:POW 3MW")
        one.query("*OPC?")  # has been obeyed
        assert other.query("SOUR:POW?") == "3.00000000E-03"
        one.close()
        assert other.query("*IDN?") == str(LAMP)
        other.close()


def test_after_the_carrier_closed_nobody_is_there(how: str, lamp: Lamp) -> None:
    with served(how, lamp) as at:
        client = at.connect()
        at.carrier.close()
        at.carrier.close()
        with contextlib.suppress(Exception):
            client.close()
        with pytest.raises((PortOpenError, ConnectionRefusedError)):
            at.connect()


@pytest.mark.parametrize("how", [each for each in CARRIERS if each != "nc"])
@pytest.mark.parametrize("kind", [Kind.LATE, Kind.PARTIAL, Kind.GARBLED, Kind.LOST])
def test_a_port_is_in_step_again_after_each_fault(how: str, kind: Kind, lamp: Lamp) -> None:
    faults = Faults(Fault(kind, frozenset({1}), seconds=0.8, match="SOUR:POW?"))
    with served(how, lamp, faults) as at:
        port = at.connect()
        assert isinstance(port, Port)
        with pytest.raises((PortTimeoutError, PortReplyError), match="SOUR:POW"):
            port.query("SOUR:POW?", timeout_s=0.1)
        try:
            assert port.query("TRIG:MODE?") == "IGN"
            assert port.query("SOUR:POW?") == "1.00000000E-03"
        except PortLostError:
            assert (
                how == "serial"
            )  # pyvisa-py cannot clear a line: the port may give it up, but never mistake an answer
        port.close()


# -- what is particular to a carrier -----------------------------------------------------------------------


def test_one_that_waits_keeps_no_other_instrument_waiting() -> None:
    slow, quick = Lamp(WALL), Lamp(WALL)
    with served("nc", slow) as at_slow, served("nc", quick) as at_quick:
        one, other = at_slow.connect(), at_quick.connect()
        waiting = threading.Thread(target=one.query, args=("MEAS? 1S",))
        waiting.start()
        answers = 0
        while waiting.is_alive():
            assert other.query("*IDN?") == str(LAMP)
            answers += 1
        assert answers > 20
        one.close()
        other.close()


def test_after_a_time_out_a_plain_stream_gets_the_answer_before() -> None:
    """The trap itself: a client that does not bring its session back into step is told the wrong thing."""
    with served("nc", Lamp(WALL), Faults(Fault(Kind.LATE, frozenset({1}), seconds=0.3, match="*IDN?"))) as at:
        client = at.connect()
        assert isinstance(client, Netcat)
        client.write("*IDN?")  # and does not wait
        assert client.query("TRIG:MODE?") == str(LAMP)
        client.close()


def test_a_dropped_connection_is_seen_and_the_next_one_is_good() -> None:
    with served("nc", Lamp(WALL), Faults(Fault(Kind.DROPPED, frozenset({2})))) as at:
        client = at.connect()
        assert client.query("*IDN?") == str(LAMP)
        assert client.query("*IDN?") == ""
        again = at.connect()
        assert again.query("*IDN?") == str(LAMP)
        client.close()
        again.close()


def test_what_was_said_before_hanging_up_is_obeyed() -> None:
    lamp = Lamp(VirtualClock())
    carrier = serve_tcp(lamp)
    with socket.create_connection(("127.0.0.1", carrier.port), timeout=10) as client:
        client.sendall(b"SOUR:POW 5MW\n*IDN?\nSOUR:POW 9M")
        client.shutdown(socket.SHUT_WR)
        got = b""
        while octets := client.recv(1000):
            got += octets
    carrier.close()
    assert got == f"{LAMP}\r\n".encode()
    assert lamp.power_w[0] == 0.005


def test_a_line_is_as_it_is_without_anybody_setting_it_up() -> None:
    carrier = serve_serial(Lamp(VirtualClock()))
    line = os.open(carrier.path, os.O_RDWR | os.O_NOCTTY)
    try:
        os.write(line, b"*IDN?\n")
        got = b""
        while not got.endswith(b"\n") and select.select([line], [], [], 10)[0]:
            got += os.read(line, 1000)
        assert got == f"{LAMP}\r\n".encode()
    finally:
        os.close(line)
        carrier.close()


def test_a_terminal_has_a_prompt_after_everything() -> None:
    carrier = serve_telnet(Lamp(VirtualClock()))
    client = Netcat(carrier.port)
    assert client.read(b"READY> ") == b"READY> "
    client.write("SOUR:POW 2MW")
    assert client.read(b"READY> ") == b"Command executed successfully.\r\nREADY> "
    client.write("SOUR:POW?")
    assert client.read(b"READY> ") == b"2.00000000E-03\r\nREADY> "
    client.close()
    carrier.close()


def test_a_terminal_may_echo() -> None:
    carrier = serve_telnet(Lamp(VirtualClock()), echoes=True, prompt=b"\n>", done=b"")
    client = Netcat(carrier.port)
    client.read(b"\n>")
    client.write("*IDN?")
    assert client.read(b"\n>") == f"*IDN?\r\n{LAMP}\r\n\n>".encode()
    client.close()
    carrier.close()


def tl1(client: Netcat, request: str) -> str:
    client._socket.sendall(request.encode())
    return client.read(b";").decode()


@pytest.fixture
def crossbar() -> Iterator[tuple[Crossbar, TcpCarrier]]:
    device = Crossbar(WALL, rows_a_block=2)
    carrier = serve_tcp(device)
    yield device, carrier
    carrier.close()


def test_tl1_over_tcp(crossbar: tuple[Crossbar, TcpCarrier]) -> None:
    client = Netcat(crossbar[1].port)
    assert "PLNA" in tl1(client, "RTRV-PATCH:::1:;")
    assert "COMPLD" in tl1(client, "ACT-USER::root:2::root;\r\n")
    assert "M  3 COMPLD" in tl1(client, "ENT-PATCH::1&&3,9&&11:3:;")
    answer = tl1(client, "RTRV-PATCH:::4:;")
    assert re.findall(r'"([^"]*)"', answer) == ["1,9", "2,10", "3,11"]
    assert answer.count("COMPLD") == 2
    client.close()


def test_tl1_alarms_come_unasked(crossbar: tuple[Crossbar, TcpCarrier]) -> None:
    device, carrier = crossbar
    client = Netcat(carrier.port)
    tl1(client, "ACT-USER::root:2::root;")
    device.autonomous("REPT-ALM-EQPT", ["FAN-1:CR,FAIL"], "*C")
    assert "*C 1 REPT ALM EQPT" in client.read(b";").decode()
    client.close()


def test_tl1_acknowledges_at_once_what_takes_long(crossbar: tuple[Crossbar, TcpCarrier]) -> None:
    crossbar[0].acknowledge_s = 0.2
    client = Netcat(crossbar[1].port)
    tl1(client, "ACT-USER::root:2::root;")
    began = time.monotonic()
    client._socket.sendall(b"OPR-SLOW:::7:::SECONDS=0.5;")
    assert client.read(b"<") == b"\r\nIP 7\r\n<"
    assert "M  7 COMPLD" in client.read(b";").decode()
    assert time.monotonic() - began >= 0.5
    client.close()


def test_tl1_requests_may_come_in_pieces_with_strings_and_negotiation(crossbar: tuple[Crossbar, TcpCarrier]) -> None:
    client = Netcat(crossbar[1].port)
    client._socket.sendall(b"\xff\xfb\x1f\xff\xfa\x1f\x00\x50")
    client._socket.sendall(b"\xff\xf0ACT-USER::root:1::ro")
    assert "COMPLD" in tl1(client, "ot;")
    assert '"p;q"' in tl1(client, 'SET-ECHO:::1::"p;q";') + client.read(b";").decode()
    client.close()


# -- HiSLIP ------------------------------------------------------------------------------------------------

FRAME = struct.Struct("!2sBBIQ")


class Hislip:
    """The two channels, by hand."""

    def __init__(self, port: int) -> None:
        self.sync = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.send(self.sync, 0, 0, 0x0100_7878, b"hislip0")
        kind, control, parameter, _ = self.receive(self.sync)
        assert (kind, control, parameter >> 16) == (1, 0, 0x0100)
        self.channel = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.send(self.channel, 17, 0, parameter & 0xFFFF)
        assert self.receive(self.channel)[0] == 18

    @staticmethod
    def send(to: socket.socket, kind: int, control: int = 0, parameter: int = 0, payload: bytes = b"") -> None:
        to.sendall(FRAME.pack(b"HS", kind, control, parameter, len(payload)) + payload)

    @staticmethod
    def receive(of: socket.socket) -> tuple[int, int, int, bytes]:
        def exactly(size: int) -> bytes:
            got = b""
            while len(got) < size:
                more = of.recv(size - len(got))
                assert more, "hung up"
                got += more
            return got

        prologue, kind, control, parameter, length = FRAME.unpack(exactly(FRAME.size))
        assert prologue == b"HS"
        return kind, control, parameter, exactly(length)

    def query(self, number: int, message: bytes, read: int = 1) -> tuple[int, int, int, bytes]:
        self.send(self.sync, 7, read, number, message)
        return self.receive(self.sync)

    def status(self, read: int = 0) -> int:
        self.send(self.channel, 21, read)
        kind, control, _, _ = self.receive(self.channel)
        assert kind == 22
        return control

    def close(self) -> None:
        self.sync.close()
        self.channel.close()


@pytest.fixture
def hislip() -> Iterator[tuple[Lamp, Hislip, int]]:
    lamp = Lamp(WALL)
    carrier = serve_hislip(lamp)
    client = Hislip(carrier.port)
    yield lamp, client, carrier.port
    client.close()
    carrier.close()


def test_hislip_answers_carry_the_id_of_their_question(hislip: tuple[Lamp, Hislip, int]) -> None:
    _, client, _ = hislip
    for number in (0xFFFF_FF00, 0xFFFF_FF02, 4):
        assert client.query(number, b"*IDN?\n") == (7, 0, number, f"{LAMP}\r\n".encode())


def test_hislip_messages_may_come_in_parts_and_long_answers_go_in_parts(hislip: tuple[Lamp, Hislip, int]) -> None:
    lamp, client, _ = hislip
    client.send(client.channel, 15, 0, 0, (16 + 100).to_bytes(8))
    assert client.receive(client.channel)[0] == 16
    lamp.stored = bytes(250)
    client.send(client.sync, 6, 1, 2, b"MEM:")
    kind, _, number, first = client.query(2, b"DATA?")
    assert (kind, number, len(first)) == (6, 2, 100)
    parts = [client.receive(client.sync) for _ in range(2)]
    assert [part[0] for part in parts] == [6, 7]
    assert first + parts[0][3] + parts[1][3] == b"#3250" + bytes(250) + b"\r\n"


def test_hislip_status_byte_knows_of_an_unread_answer(hislip: tuple[Lamp, Hislip, int]) -> None:
    _, client, _ = hislip
    assert client.status() == 0
    client.query(2, b"*IDN?")
    assert client.status() == 16
    assert client.status(read=1) == 0


def test_hislip_a_question_before_the_answer_was_read_is_an_interruption(hislip: tuple[Lamp, Hislip, int]) -> None:
    _, client, _ = hislip
    client.query(2, b"*IDN?")
    client.query(4, b"*IDN?", read=0)
    assert client.query(6, b"SYST:ERR?")[3] == b'-410,"Query INTERRUPTED"\r\n'


def test_hislip_device_clear_ends_what_blocks(hislip: tuple[Lamp, Hislip, int]) -> None:
    _, client, _ = hislip
    began = time.monotonic()
    client.send(client.sync, 7, 1, 2, b"MEAS? 60")
    time.sleep(0.05)
    assert client.status() == 0  # is answered meanwhile
    client.send(client.channel, 19)
    assert client.receive(client.channel)[0] == 23
    client.send(client.sync, 8)
    assert client.receive(client.sync)[0] == 9
    assert client.query(0xFFFF_FF00, b"*IDN?")[3] == f"{LAMP}\r\n".encode()
    assert time.monotonic() - began < 30


def test_hislip_trigger_is_a_common_command(hislip: tuple[Lamp, Hislip, int]) -> None:
    lamp, client, _ = hislip
    lamp.on("*TRG", lambda suffixes, args: setattr(lamp, "label", "triggered"))
    client.send(client.sync, 12, 1, 2)
    assert client.query(4, b"DISP:LAB?")[3] == b'"triggered"\r\n'


def test_hislip_locks_keep_others_waiting(hislip: tuple[Lamp, Hislip, int]) -> None:
    _, client, port = hislip
    other = Hislip(port)
    client.send(client.channel, 4, 1, 100)
    assert client.receive(client.channel)[:2] == (5, 1)
    other.send(other.channel, 4, 1, 10)
    assert other.receive(other.channel)[:2] == (5, 0)
    other.send(other.channel, 24)
    assert other.receive(other.channel)[:3] == (25, 1, 1)
    other.send(other.sync, 7, 1, 2, b"*IDN?")
    assert client.query(2, b"*OPC?")[3] == b"1\r\n"
    assert not select.select([other.sync], [], [], 0.1)[0]
    client.send(client.channel, 4, 0, 2)
    assert client.receive(client.channel)[:2] == (5, 1)
    assert other.receive(other.sync)[3] == f"{LAMP}\r\n".encode()
    other.close()


@pytest.mark.parametrize(
    "octets",
    [
        b"GET / HTTP/1.1\r\n\r\n",
        FRAME.pack(b"XX", 0, 0, 0, 0),
        FRAME.pack(b"HS", 7, 0, 0, 0),
        FRAME.pack(b"HS", 17, 0, 999, 0),
        FRAME.pack(b"HS", 0, 0, 0, 1 << 60),
    ],
)
def test_hislip_what_is_none_is_refused_and_others_go_on(hislip: tuple[Lamp, Hislip, int], octets: bytes) -> None:
    _, client, port = hislip
    with socket.create_connection(("127.0.0.1", port), timeout=10) as stranger:
        stranger.sendall(octets)
        assert Hislip.receive(stranger)[0] == 2
    client.send(client.sync, 99)
    assert client.receive(client.sync)[0] == 3
    assert client.query(2, b"*IDN?")[3] == f"{LAMP}\r\n".encode()


@pytest.mark.parametrize("serve", [serve_tcp, serve_hislip])
def test_whatever_strangers_send_others_are_served(
    serve: Callable[[Lamp], TcpCarrier | HislipCarrier], monkeypatch: pytest.MonkeyPatch
) -> None:
    died: list[threading.ExceptHookArgs] = []
    monkeypatch.setattr(threading, "excepthook", died.append)
    carrier = serve(Lamp(VirtualClock()))
    chance = random.Random(7)
    for at in range(120):
        octets = chance.randbytes(chance.randrange(40))
        if at % 2:
            payload = chance.randbytes(chance.randrange(12))
            octets = FRAME.pack(b"HS", 0, 0, 0x0100_0000, 7) + b"hislip0"
            octets += (
                FRAME.pack(b"HS", chance.randrange(30), chance.randrange(3), chance.randrange(9), len(payload))
                + payload
            )
        # the carrier may hang up on a stranger before he is done
        with (
            socket.create_connection(("127.0.0.1", carrier.port), timeout=10) as stranger,
            contextlib.suppress(OSError),
        ):
            stranger.sendall(octets)
            if at % 3:
                stranger.shutdown(socket.SHUT_WR)
                while stranger.recv(1000):
                    pass
    port = Port(carrier.resource, timeout_s=10)
    assert port.query("*IDN?") == str(LAMP)
    port.close()
    carrier.close()
    assert not died


def test_port_over_hislip_reads_the_status_byte() -> None:
    import pyvisa  # noqa: PLC0415 - only here

    carrier = serve_hislip(Lamp(VirtualClock()))
    instrument = pyvisa.ResourceManager("@py").open_resource(carrier.resource)
    try:
        assert isinstance(instrument, pyvisa.resources.MessageBasedResource)
        instrument.write("NONSENSE")
        assert instrument.query("*ESE?").strip() == "0"
        assert instrument.read_stb() == 4
        instrument.clear()
        assert instrument.query("*IDN?").strip() == str(LAMP)
    finally:
        instrument.close()
        carrier.close()


def test_a_late_answer_times_out_on_each_clock(clock: Clock) -> None:
    for how in ("visa", "visa-stream"):
        with served(how, Lamp(clock), Faults(Fault(Kind.LATE, frozenset({1}), seconds=0.8, match="TRIG"))) as at:
            port = at.connect()
            assert isinstance(port, Port)
            began = clock.now_ns()
            with pytest.raises(PortTimeoutError):
                port.query("TRIG:MODE?", timeout_s=0.1)
            assert isinstance(clock, WallClock) or clock.now_ns() - began < 390_000_000
            assert port.query("SOUR:POW?") == "1.00000000E-03"
            port.close()
