"""Faults on demand: each does what its name says, when it was ordered."""

from __future__ import annotations

import pytest

from drivers.simulated.conversation import Conversation
from drivers.simulated.faults import NONE, Delivery, Fault, Faults, Kind
from drivers.simulated.virtual import VirtualClock
from tests.drivers.simulated.lamp_model import Crossbar, Lamp


def talk(faults: Faults, *messages: bytes) -> list[list[Delivery]]:
    conversation = Conversation(Lamp(VirtualClock()), faults)
    return [list(conversation.feed(message + b"\n")) for message in messages]


IDN = b"millicert,LAMP,SIM-1,1.0\r\n"


def test_a_late_answer_is_whole() -> None:
    (late,), (other,) = talk(Faults(Fault(Kind.LATE, frozenset({1}), seconds=2.5)), b"*IDN?", b"*IDN?")
    assert (late.octets, late.after_s, other.after_s) == (IDN, 2.5, 0.0)


def test_half_an_answer_has_no_end() -> None:
    ((half,),) = talk(Faults(Fault(Kind.PARTIAL, frozenset({1}))), b"*IDN?")
    assert half.octets == IDN[:12]
    assert not half.whole


def test_a_garbled_answer_is_no_text_but_ends() -> None:
    ((garbled,),) = talk(Faults(Fault(Kind.GARBLED, frozenset({1}))), b"*IDN?")
    assert len(garbled.octets) == len(IDN)
    assert not garbled.octets.isascii()
    assert garbled.octets.endswith(b"\r\n")


def test_a_doubled_answer_comes_twice() -> None:
    ((one, two),) = talk(Faults(Fault(Kind.DUPLICATED, frozenset({1}))), b"*IDN?")
    assert one.octets == two.octets == IDN


def test_a_stale_answer_is_the_one_before() -> None:
    _, (stale,), (fresh,) = talk(Faults(Fault(Kind.STALE, frozenset({2}))), b"*IDN?", b"*OPC?", b"*ESE?")
    assert stale.octets == IDN
    assert fresh.octets == b"0\r\n"


def test_a_lost_answer_was_obeyed() -> None:
    lost, (answer,) = talk(Faults(Fault(Kind.LOST, frozenset({1}))), b"SOUR:POW 2MW;POW?", b"SOUR:POW?")
    assert lost == []
    assert answer.octets == b"2.00000000E-03\r\n"


def test_a_dropped_connection_obeyed_first() -> None:
    (dropped,), (answer,) = talk(Faults(Fault(Kind.DROPPED, frozenset({1}))), b"SOUR:POW 2MW", b"SOUR:POW?")
    assert dropped.hang_up
    assert answer.octets == b"2.00000000E-03\r\n"


def test_an_overflown_queue_says_so() -> None:
    _, *errors = talk(Faults(Fault(Kind.OVERFLOW, frozenset({1}))), b"*IDN?", *[b"SYST:ERR?"] * 31)
    assert errors[28][0].octets.startswith(b"-310")
    assert errors[29][0].octets.startswith(b"-350")
    assert errors[30][0].octets.startswith(b"0")


def test_a_refused_message_is_not_obeyed() -> None:
    refused, (error,), (answer,) = talk(
        Faults(Fault(Kind.REFUSED, frozenset({1}))), b"SOUR:POW 2MW", b"SYST:ERR?", b"SOUR:POW?"
    )
    assert refused == []
    assert error.octets.startswith(b"-200")
    assert answer.octets == b"1.00000000E-03\r\n"


def test_a_refused_request_is_denied() -> None:
    conversation = Conversation(Crossbar(VirtualClock(), login=False), Faults(Fault(Kind.REFUSED, frozenset({1}))))
    assert [b"DENY" in each.octets for each in conversation.feed(b"RTRV-HDR:::1:;RTRV-HDR:::2:;")] == [True, False]


def test_only_matching_messages_with_answers_are_counted() -> None:
    faults = Faults(Fault(Kind.LOST, frozenset({2}), match="sour2"))
    found = talk(faults, b"*IDN?", b"SOUR2:POW 1MW", b"SOUR2:POW?", b"*IDN?", b"SOUR2:POW?", b"SOUR2:POW?")
    assert [len(each) for each in found] == [1, 0, 1, 1, 0, 1]


def test_chance_is_the_same_for_the_same_seed() -> None:
    def lost(seed: int) -> list[int]:
        return [len(each) for each in talk(Faults(Fault(Kind.LOST, probability=0.3), seed=seed), *[b"*IDN?"] * 200)]

    assert lost(1) == lost(1) != lost(2)
    assert 20 < lost(1).count(0) < 110


def test_a_plan_is_read_from_a_table() -> None:
    faults = Faults.of([{"kind": "late", "at": [2], "seconds": 3}, {"kind": "lost", "at": 1}], seed=5)
    lost, (late,) = talk(faults, b"*IDN?", b"*IDN?")
    assert lost == []
    assert late.after_s == 3.0


@pytest.mark.parametrize(
    "row",
    [
        {"kind": "slow"},
        {},
        {"kind": "late", "when": 3},
        {"kind": "lost", "at": ["x"]},
        {"kind": "lost", "probability": 2},
    ],
)
def test_a_table_that_is_no_plan_is_refused(row: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="fault"):
        Faults.of([row])


def test_without_faults_an_answer_is_untouched() -> None:
    assert not NONE
    assert [each.octets for each in talk(NONE, b"*IDN?;*OPC?")[0]] == [IDN[:-2] + b";1\r\n"]
