"""Calient switches over TL1: names of ports, connections one way and both, answers in several blocks, darkness."""

from __future__ import annotations

import pytest

from drivers.calient_tl1 import CalientTl1
from drivers.capability import CrossConnect
from drivers.errors import NotTakenError, PortReplyError, SettingError
from drivers.tl1 import Tl1Session

NAMES = [f"1.{card}.{port}" for card in (1, 2) for port in range(1, 9)]


def port_row(name: str, into: str = "NONE", out: str = "NONE") -> str:
    return f'"{name}:ALIAS=NONE,INPWR={into},OUTPWR={out},CONNNAME1=NONE,CONNSTATE1=NONE"'


def circuit(a: str, b: str, way: str = "1WAY", oc: str = "OK") -> str:
    name = f"{a}{'>' if way == '1WAY' else '-'}{b}"
    ends = f"SRCPORT={a},DSTPORT={b},GRPNAME=SYSTEM,CONNNAME={name},CONNTYPE={way}"
    return f'"{name}:{ends},AS=UMA,OS=RDY,OC={oc},PS=UPR,AL=CL"'


# as the switch lists them: in no order of ours
PORTS = ("RTRV-PORT-SUM::0:{}:;", [port_row(name) for name in reversed(NAMES)])


class Wire:
    """A stream whose other end expects exact commands and answers in blocks of three rows, each with its COMPLD."""

    resource = "TCPIP0::192.0.2.7::3083::SOCKET"

    def __init__(self, *lines: tuple[str, list[str]]) -> None:
        self.lines = list(lines)
        self.ns = 0
        self.ready = b""

    def now_ns(self) -> int:
        return self.ns

    def send(self, octets: bytes, deadline_ns: int) -> bool:
        said = octets.decode().strip()
        wanted, rows = self.lines.pop(0)
        tag = said.split(":")[3]
        assert said == wanted.format(tag)
        head = "\r\n\n   SIM-CAL-1 26-11-22 19:00:00\r\n"
        self.ready += f"{head}A  17 REPT EVT SESSION\r\n;".encode()
        blocks = [rows[at : at + 3] for at in range(0, len(rows), 3)] or [[]]
        for at, block in enumerate(blocks):
            text = "".join(f"   {row}\r\n" for row in block)
            end = ";" if at == len(blocks) - 1 else ">"
            self.ready += f"{head}M  {tag} COMPLD\r\n{text}{end}".encode()
        return True

    def receive(self, deadline_ns: int) -> bytes:
        found, self.ready = self.ready[:11], self.ready[11:]
        if not found:
            self.ns = max(self.ns, deadline_ns)
        return found

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)

    def close(self) -> None:
        pass


def opened(*lines: tuple[str, list[str]], ports: list[str] | None = None) -> tuple[CalientTl1, Wire]:
    wire = Wire(PORTS, *lines)
    return CalientTl1(Tl1Session(wire, timeout_s=1.0), clock=wire, ports=ports or []), wire


def test_ports_are_counted_by_their_numbers_out_of_several_blocks() -> None:
    oxc, _ = opened()
    assert list(oxc.names) == NAMES
    assert oxc.size == (16, 16)
    assert isinstance(oxc, CrossConnect)
    assert oxc.identity.maker == "Calient"
    assert oxc.identity.simulated
    assert any("serial" in each for each in oxc.unconfirmed)


def test_the_tenth_port_comes_after_the_ninth() -> None:
    rows = [port_row(name) for name in ("1.1.10", "1.1.2", "1.1.9")]
    made = CalientTl1(Tl1Session(Wire(("RTRV-PORT-SUM::0:{}:;", rows)), timeout_s=1.0))
    assert list(made.names) == ["1.1.2", "1.1.9", "1.1.10"]


def test_ports_may_be_named_by_the_bench() -> None:
    oxc, _ = opened(ports=["1.2.8", "1.1.1"])
    assert oxc.size == (2, 2)
    with pytest.raises(SettingError, match=r"9\.9\.9"):
        opened(ports=["9.9.9"])
    with pytest.raises(SettingError):
        opened(ports=["1.1.1", "1.1.1"])


def test_a_connection_is_entered_then_activated() -> None:
    oxc, wire = opened(
        ("RTRV-CRS:::{}:;", []),
        ("ENT-CRS::1.1.1,1.2.1:{}::SYSTEM,1WAY;", []),
        ("ACT-CRS::1.1.1,1.2.1:{}::1.1.1>1.2.1,SYSTEM;", []),
        ("RTRV-CRS:::{}:;", [circuit("1.1.1", "1.2.1")]),
    )
    oxc.connect({1: 9})
    assert not wire.lines


def test_what_is_dark_is_connected_all_the_same_and_named() -> None:
    rows = [circuit("1.1.1", "1.2.1", oc="FAIL"), circuit("1.1.2", "1.2.2")]
    oxc, _ = opened(("RTRV-CRS:::{}:;", rows), ("RTRV-CRS:::{}:;", rows))
    assert dict(oxc.connections()) == {1: 9, 2: 10}
    assert dict(oxc.dark()) == {1: 9}


def test_a_connection_both_ways_is_two_and_parting_one_way_keeps_the_other() -> None:
    both = [circuit("1.1.1", "1.2.1", "2WAY")]
    oxc, wire = opened(
        ("RTRV-CRS:::{}:;", both),
        ("RTRV-CRS:::{}:;", both),
        ("RTRV-CRS:::{}:;", both),
        ("DLT-CRS:::{}::1.1.1-1.2.1;", []),
        ("ENT-CRS::1.2.1,1.1.1:{}::SYSTEM,1WAY;", []),
        ("ACT-CRS::1.2.1,1.1.1:{}::1.2.1>1.1.1,SYSTEM;", []),
        ("RTRV-CRS:::{}:;", [circuit("1.2.1", "1.1.1")]),
    )
    assert dict(oxc.connections()) == {1: 9, 9: 1}
    oxc.disconnect([1])
    assert not wire.lines


def test_everything_is_deleted_at_once() -> None:
    oxc, wire = opened(("DLT-CRS-ALL:::{}:;", []), ("RTRV-CRS:::{}:;", []))
    oxc.clear()
    assert not wire.lines


def test_a_connection_that_does_not_come_names_what_is_dark() -> None:
    class Hasty(CalientTl1):
        SETTLE_S = 0.0

    there = ("RTRV-CRS:::{}:;", [circuit("1.1.2", "1.2.1", oc="FAIL")])
    wire = Wire(
        PORTS,
        ("RTRV-CRS:::{}:;", []),
        ("ENT-CRS::1.1.1,1.2.1:{}::SYSTEM,1WAY;", []),
        ("ACT-CRS::1.1.1,1.2.1:{}::1.1.1>1.2.1,SYSTEM;", []),
        there,
        there,
    )
    oxc = Hasty(Tl1Session(wire, timeout_s=1.0), clock=wire)
    with pytest.raises(NotTakenError, match=r"not connected: 1 → 9.*2 → 9 carries no light"):
        oxc.connect({1: 9})


def test_power_at_each_port() -> None:
    oxc, _ = opened(("RTRV-PORT-SUM::0:{}:;", [port_row("1.1.1", "-5.87", "NONE"), port_row("1.1.2", "NONE", "-7.1")]))
    into, out = oxc.port_power()
    assert into == {1: -5.87, 2: None}
    assert out == {1: None, 2: -7.1}


@pytest.mark.parametrize(
    "row",
    [
        '"1.1.1>1.2.1:SRCPORT=1.1.1,CONNTYPE=1WAY"',
        '"1.1.1>1.2.1:SRCPORT=1.1.1,DSTPORT=8.8.8,CONNTYPE=1WAY"',
        '"1.1.1>1.2.1:SRCPORT=1.1.1,DSTPORT=1.2.1,CONNTYPE=3WAY"',
        '""',
        '":SRCPORT=1.1.1,DSTPORT=1.2.1,CONNTYPE=1WAY"',
    ],
)
def test_an_absurd_connection_is_an_error(row: str) -> None:
    oxc, _ = opened(("RTRV-CRS:::{}:;", [row]))
    with pytest.raises(PortReplyError):
        oxc.connections()


def test_a_port_in_two_connections_is_an_error() -> None:
    oxc, _ = opened(("RTRV-CRS:::{}:;", [circuit("1.1.1", "1.2.1"), circuit("1.1.2", "1.2.1")]))
    with pytest.raises(PortReplyError):
        oxc.connections()


@pytest.mark.parametrize("rows", [[], ['"abc:ALIAS=NONE"'], [port_row("1.1.1"), port_row("1.1.1")]])
def test_absurd_ports_are_an_error_at_once(rows: list[str]) -> None:
    with pytest.raises(PortReplyError):
        CalientTl1(Tl1Session(Wire(("RTRV-PORT-SUM::0:{}:;", rows)), timeout_s=1.0))
