"""Polatis switches over TL1: exact octets both ways, what is read back, what a hostile answer leads to."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.capability import CrossConnect
from drivers.errors import (
    DeniedError,
    InstrumentError,
    NotTakenError,
    PortReplyError,
    PortTimeoutError,
    SettingError,
    WrongInstrumentError,
)
from drivers.polatis_tl1 import PolatisTl1
from drivers.tl1 import Tl1Session

HELLO = (
    ("RTRV-NETYPE:::{}:;", '"Polatis,OST-8x8,OCS,6.6.1.7"'),
    ("RTRV-INV::OCS:{}:;", '"OCS:SN=002414,PN=N-OST-8x8"'),
    ("RTRV-EQPT::SYSTEM:{}:::PARAMETER=SIZE;", '"SYSTEM:SIZE=8,8"'),
)
Line = tuple[str, str]


class Wire:
    """A stream whose other end expects exact commands; `{}` in them is the tag. "DENY …" denies, None stays silent."""

    resource = "TCPIP0::192.0.2.7::3082::SOCKET"

    def __init__(self, *lines: tuple[str, str | None]) -> None:
        self.lines = list(lines)
        self.sent: list[str] = []
        self.ns = 0
        self.ready = b""
        self.closed = 0

    def now_ns(self) -> int:
        return self.ns

    def send(self, octets: bytes, deadline_ns: int) -> bool:
        said = octets.decode().strip()
        self.sent.append(said)
        wanted, rows = self.lines.pop(0)
        tag = said.split(":")[3]
        assert said == wanted.format(tag)
        if rows is None:
            return True
        code, body = ("DENY", rows[5:]) if rows.startswith("DENY ") else ("COMPLD", rows)
        text = "".join(f"   {row}\r\n" for row in body.split("\n") if row)
        self.ready += f"\r\n\n   OCS 26-11-22 19:00:00\r\nM  {tag} {code}\r\n{text};".encode()
        return True

    def receive(self, deadline_ns: int) -> bytes:
        found, self.ready = self.ready[:7], self.ready[7:]
        if not found:
            self.ns = max(self.ns, deadline_ns)
        return found

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)

    def close(self) -> None:
        self.closed += 1


def opened(*lines: tuple[str, str | None]) -> tuple[PolatisTl1, Wire]:
    wire = Wire(*HELLO, *lines)
    return PolatisTl1(Tl1Session(wire, timeout_s=1.0), clock=wire), wire


def test_it_says_who_it_is_and_how_large() -> None:
    oxc, wire = opened()
    assert str(oxc.identity) == "Polatis,OST-8x8,002414,6.6.1.7"
    assert oxc.size == (8, 8)
    assert isinstance(oxc, CrossConnect)
    assert oxc.safe_state().confirmed
    assert not wire.lines


def test_it_logs_in_and_out_where_a_user_is_named() -> None:
    wire = Wire(("ACT-USER::root:{}::root;", ""), *HELLO, ("CANC-USER::root:{}:;", ""))
    oxc = PolatisTl1(Tl1Session(wire, user="root", password="root", timeout_s=1.0), clock=wire)  # noqa: S106 - the maker's own default
    oxc.close()
    oxc.close()
    assert not wire.lines


def test_patches_are_entered_one_by_one_after_what_is_in_the_way_is_gone() -> None:
    oxc, wire = opened(
        ("RTRV-PATCH:::{}:;", '"1,9"\n"2,10"\n"5,13"'),
        ("DLT-PATCH::1&2:{}:;", ""),
        ("ENT-PATCH::1,10:{}:;", ""),
        ("ENT-PATCH::3,9:{}:;", ""),
        ("RTRV-PATCH:::{}:;", '"5,13"\n"1,10"\n"3,9"'),
    )
    oxc.connect({3: 1, 1: 2})
    assert not wire.lines


def test_lists_of_ports_join_all_pairs_at_once_where_the_bench_says_so() -> None:
    wire = Wire(
        *HELLO, ("RTRV-PATCH:::{}:;", ""), ("ENT-PATCH::1&3,10&9:{}:;", ""), ("RTRV-PATCH:::{}:;", '"1,10"\n"3,9"')
    )
    PolatisTl1(Tl1Session(wire, timeout_s=1.0), clock=wire, lists=True).connect({3: 1, 1: 2})
    assert not wire.lines
    with pytest.raises(SettingError):
        PolatisTl1(Tl1Session(Wire(), timeout_s=1.0), lists="yes")  # type: ignore[arg-type]  # what a bench may hold


def test_only_parts_what_is_not_wanted_and_joins_what_is_missing() -> None:
    oxc, wire = opened(
        ("RTRV-PATCH:::{}:;", '"1,9"\n"2,10"'),
        ("DLT-PATCH::2:{}:;", ""),
        ("ENT-PATCH::3,11:{}:;", ""),
        ("RTRV-PATCH:::{}:;", '"1,9"\n"3,11"'),
    )
    oxc.only({1: 1, 3: 3})
    assert not wire.lines


def test_everything_is_taken_apart_at_once() -> None:
    oxc, wire = opened(("DLT-PATCH::ALL:{}:;", ""), ("RTRV-PATCH:::{}:;", ""), ("RTRV-PATCH:::{}:;", ""))
    oxc.clear()
    assert dict(oxc.connections()) == {}
    assert not wire.lines


def test_a_denial_carries_its_reason() -> None:
    oxc, _ = opened(("RTRV-PATCH:::{}:;", ""), ("ENT-PATCH::1,9:{}:;", "DENY SNVS\n/* port disabled */"))
    with pytest.raises(DeniedError) as why:
        oxc.connect({1: 1})
    assert why.value.reason == "SNVS"


def test_a_patch_that_is_taken_and_does_not_come_is_an_error() -> None:
    class Hasty(PolatisTl1):
        SETTLE_S = 0.0

    wire = Wire(*HELLO, ("RTRV-PATCH:::{}:;", ""), ("ENT-PATCH::1,9:{}:;", ""), ("RTRV-PATCH:::{}:;", '"1,10"'))
    oxc = Hasty(Tl1Session(wire, timeout_s=1.0), clock=wire)
    with pytest.raises(NotTakenError, match="not connected: 1 → 1; connected besides: 1 → 2"):
        oxc.connect({1: 1})


def test_a_silent_switch_is_an_error_in_time() -> None:
    oxc, _ = opened(("RTRV-PATCH:::{}:;", None))
    with pytest.raises(PortTimeoutError):
        oxc.connections()


def test_power_at_each_port() -> None:
    oxc, _ = opened(("RTRV-PORT-POWER::1&&16:{}:;", '"1:-13.45"\n"2:"\n"9:-3.00"\n"10:9.91E37"'))
    ingress, egress = oxc.port_power()
    assert ingress == {1: -13.45, 2: None}
    assert egress == {1: -3.0, 2: None}


def test_shutters_are_read_back() -> None:
    oxc, wire = opened(
        ("OPR-PORT-SHUTTER::1&9:{}:;", ""),
        ("RTRV-PORT-SHUTTER::1&9:{}:;", '"1:CLOSED"\n"9:CLOSED"'),
        ("RLS-PORT-SHUTTER::1:{}:;", ""),
        ("RTRV-PORT-SHUTTER::1:{}:;", '"1:CLOSED"'),
    )
    oxc.set_shutters(closed=True, ingresses=[1], egresses=[1])
    oxc.set_shutters(closed=True)
    with pytest.raises(NotTakenError, match="port 1: CLOSED"):
        oxc.set_shutters(closed=False, ingresses=[1])
    assert not wire.lines
    with pytest.raises(SettingError):
        oxc.set_shutters(closed=True, egresses=[9])


@pytest.mark.parametrize(
    "rows", ['"1"', '"0,9"', '"1,2"', '"9,10"', '"1,17"', '"1,9"\n"1,10"', '"1,9"\n"2,9"', '"a,b"']
)
def test_an_absurd_patch_is_an_error(rows: str) -> None:
    oxc, _ = opened(("RTRV-PATCH:::{}:;", rows))
    with pytest.raises(PortReplyError):
        oxc.connections()


@pytest.mark.parametrize("rows", ['"1"', '"17:1.0"', '"0:1.0"', '"1:abc"', '"x:1"'])
def test_an_absurd_power_is_an_error(rows: str) -> None:
    oxc, _ = opened(("RTRV-PORT-POWER::1&&16:{}:;", rows))
    with pytest.raises(PortReplyError):
        oxc.port_power()


def test_another_device_is_refused() -> None:
    with pytest.raises(WrongInstrumentError):
        PolatisTl1(Tl1Session(Wire(("RTRV-NETYPE:::{}:;", '"Other,X,Y,Z"')), timeout_s=1.0))


@pytest.mark.parametrize(("size", "good"), [("SIZE=8x8", True), ("8,8", True), ("SIZE=0,8", False), ("SIZE=8", False)])
def test_the_size_in_either_way_of_writing(size: str, good: bool) -> None:
    wire = Wire(*HELLO[:2], (HELLO[2][0], f'"{size}"'))
    if good:
        assert PolatisTl1(Tl1Session(wire, timeout_s=1.0)).size == (8, 8)
    else:
        with pytest.raises(PortReplyError):
            PolatisTl1(Tl1Session(wire, timeout_s=1.0))


@settings(max_examples=100, deadline=None)
@given(st.text(alphabet='"1290,:; \r\n>MCOPLDENY-xyz', max_size=80))
def test_whatever_is_answered_ends_in_a_result_or_an_error_of_ours(body: str) -> None:
    oxc, _ = opened(("RTRV-PATCH:::{}:;", body))
    with contextlib.suppress(InstrumentError):
        oxc.connections()
