"""Polatis switches over SCPI: exact words, what is read back, what is named when it goes wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.capability import CrossConnect
from drivers.errors import (
    InstrumentError,
    InstrumentFaultError,
    NotTakenError,
    PortReplyError,
    SettingError,
    WrongInstrumentError,
)
from drivers.polatis_scpi import PolatisScpi, PortState, parse_pairs, parse_states
from drivers.session import Replay

WHO = "Polatis,I-OST-16x16-LU1-DMHNS,002414,6.5.2.18"
SIZE = (":OXC:SWIT:SIZE?", "16,16")
OK = (("*OPC?", "1"), (":SYST:ERR?", '0,"No error"'))
Talk = Callable[..., Replay]


def state(reply: str) -> tuple[str, str]:
    return (":OXC:SWIT:CONN:STAT?", reply)


class Ticks:
    """A clock that goes on by what is slept."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


def opened(talk: Talk, *lines: object) -> PolatisScpi:
    return PolatisScpi(talk(WHO, SIZE, *lines), clock=Ticks())


def test_it_is_a_cross_connect_that_says_what_is_unconfirmed(talk: Talk) -> None:
    oxc = opened(talk)
    assert isinstance(oxc, CrossConnect)
    assert oxc.size == (16, 16)
    assert oxc.unconfirmed
    assert oxc.safe_state().confirmed


def test_connecting_adds_and_reads_back(talk: Talk) -> None:
    oxc = opened(
        talk,
        state("(@4),(@20)"),
        ":OXC:SWIT:CONN:ADD (@1,2,3),(@17,18,19)",
        *OK,
        state("(@1,2,3,4),(@17,18,19,20)"),
    )
    oxc.connect({3: 3, 1: 1, 2: 2})


def test_what_is_in_the_way_is_taken_apart_first(talk: Talk) -> None:
    oxc = opened(
        talk,
        state("(@1,2,5),(@17,18,21)"),
        ":OXC:SWIT:CONN:SUB (@1,2),(@17,18)",
        *OK,
        ":OXC:SWIT:CONN:ADD (@1),(@18)",
        *OK,
        state("(@5,1),(@21,18)"),
    )
    oxc.connect({1: 2})


def test_what_is_connected_already_is_not_sent_again(talk: Talk) -> None:
    opened(talk, state("(@1),(@18)")).connect({1: 2})


def test_only_is_sent_by_only_alone(talk: Talk) -> None:
    oxc = opened(talk, ":OXC:SWIT:CONN:ONLY (@1,2),(@18,17)", *OK, state("(@1,2),(@18,17)"))
    oxc.only({2: 1, 1: 2})


def test_nothing_but_nothing_is_all_disconnected(talk: Talk) -> None:
    oxc = opened(talk, ":OXC:SWIT:DISC:ALL", *OK, state("(@),(@)"), ":OXC:SWIT:DISC:ALL", *OK, state("(@),(@)"))
    oxc.only({})
    oxc.clear()


def test_disconnecting_names_both_ends_and_leaves_the_others(talk: Talk) -> None:
    oxc = opened(
        talk,
        state("(@1,2,3),(@19,18,22)"),
        ":OXC:SWIT:CONN:SUB (@1,3),(@19,22)",
        *OK,
        state("(@2),(@18)"),
        state("(@2),(@18)"),
    )
    oxc.disconnect([3, 1, 9])
    assert dict(oxc.connections()) == {2: 2}


def test_a_slow_switch_is_waited_for(talk: Talk) -> None:
    oxc = opened(
        talk,
        state("(@),(@)"),
        ":OXC:SWIT:CONN:ADD (@1),(@17)",
        *OK,
        state("(@),(@)"),
        state("(@),(@)"),
        state("(@1),(@17)"),
    )
    oxc.connect({1: 1})


def test_a_connection_that_does_not_come_names_the_bad_port(talk: Talk) -> None:
    class Hasty(PolatisScpi):
        SETTLE_S = 0.0

    oxc = Hasty(
        talk(
            WHO,
            SIZE,
            state("(@),(@)"),
            ":OXC:SWIT:CONN:ADD (@3,4),(@23,24)",
            *OK,
            state("(@4),(@24)"),
            (":OXC:SWIT:PORT:STAT? (@3,23)", "(E,F)"),
        ),
        clock=Ticks(),
    )
    with pytest.raises(NotTakenError, match=r"not connected: 3 → 7; egress 7 is failed"):
        oxc.connect({3: 7, 4: 8})


def test_a_refusal_because_of_a_disabled_port_names_it(talk: Talk) -> None:
    oxc = opened(
        talk,
        state("(@),(@)"),
        ":OXC:SWIT:CONN:ADD (@3),(@23)",
        ("*OPC?", "1"),
        (":SYST:ERR?", '-200,"Execution error;port 3"'),
        (":SYST:ERR?", '0,"No error"'),
        (":OXC:SWIT:PORT:STAT? (@3,23)", "(D,E)"),
    )
    with pytest.raises(NotTakenError, match="ingress 3 is disabled"):
        oxc.connect({3: 7})


def test_a_refusal_that_no_port_explains_stays_what_it_was(talk: Talk) -> None:
    oxc = opened(
        talk,
        state("(@),(@)"),
        ":OXC:SWIT:CONN:ADD (@3),(@23)",
        ("*OPC?", "1"),
        (":SYST:ERR?", '-221,"Settings conflict"'),
        (":SYST:ERR?", '+0, "No error"'),
        (":OXC:SWIT:PORT:STAT? (@3,23)", "(E,E)"),
    )
    with pytest.raises(InstrumentFaultError) as why:
        oxc.connect({3: 7})
    assert why.value.code == -221


@pytest.mark.parametrize("pairs", [{0: 1}, {1: 17}, {17: 1}, {1: 2, 2: 2}, {True: 1}, {1: True}])
def test_ports_that_do_not_exist_are_refused_before_anything_is_sent(talk: Talk, pairs: dict[int, int]) -> None:
    oxc = opened(talk)
    for each in (oxc.connect, oxc.only):
        with pytest.raises(SettingError):
            each(pairs)


def test_ports_are_listed_enabled_and_disabled(talk: Talk) -> None:
    letters = ",".join(["E"] * 15 + ["D"] + ["F"] + ["E"] * 15)
    oxc = opened(
        talk,
        (":OXC:SWIT:PORT:STAT?", f"({letters})"),
        ":OXC:SWIT:PORT:DIS (@2,20)",
        *OK,
        ":OXC:SWIT:PORT:ENAB (@2,20)",
        *OK,
    )
    ingress, egress = oxc.port_states()
    assert ingress[15] is PortState.DISABLED
    assert egress[0] is PortState.FAILED
    oxc.disable([2], [4])
    oxc.enable([2], [4])


@pytest.mark.parametrize(
    "reply",
    ["", "(@1),(@17", "(@1),(@17,18)", "(@1),(@2)", "(@17),(@1)", "(@1,1),(@17,18)", "(@1,2),(@17,17)", "(@1)", "1,17"],
)
def test_an_absurd_list_of_connections_is_an_error(talk: Talk, reply: str) -> None:
    with pytest.raises(PortReplyError):
        opened(talk, state(reply)).connections()


@pytest.mark.parametrize("size", ["16", "16,16,16", "0,16", "-1,4", "a,b", "16,9.9E37", "99999,1"])
def test_an_absurd_size_is_an_error_at_once(talk: Talk, size: str) -> None:
    with pytest.raises(PortReplyError):
        PolatisScpi(talk(WHO, (":OXC:SWIT:SIZE?", size)))


def test_another_maker_is_refused(talk: Talk) -> None:
    with pytest.raises(WrongInstrumentError):
        PolatisScpi(talk("Keysight Technologies,N7744A,DE1,1.0"))


def test_sides_of_different_size_are_counted_through(talk: Talk) -> None:
    oxc = PolatisScpi(
        talk(
            WHO,
            (":OXC:SWIT:SIZE?", "4,8"),
            state("(@4),(@12)"),
            ":OXC:SWIT:CONN:ADD (@1),(@5)",
            *OK,
            state("(@4,1),(@12,5)"),
        ),
        clock=Ticks(),
    )
    oxc.connect({1: 1})


@given(st.text(alphabet="(@),:0123456789 DEF\n\t", max_size=60))
def test_whatever_is_answered_is_understood_or_refused(reply: str) -> None:
    for parse in (parse_pairs, parse_states):
        try:
            parse(reply)
        except ValueError:
            continue
        except InstrumentError as why:  # pragma: no cover
            raise AssertionError from why
