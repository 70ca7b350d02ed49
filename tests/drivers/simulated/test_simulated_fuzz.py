"""Whatever comes over the wire, the engines answer within bounds, raise nothing and go on."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.simulated.conversation import MOST_OCTETS, Conversation
from drivers.simulated.telnet import Telnet
from drivers.simulated.virtual import VirtualClock
from tests.drivers.simulated.lamp_model import LAMP, Crossbar, Lamp

SCPI = [
    b"*IDN?", b"*ESR?;*STB?", b":SOUR2:POW 2MW;POW?", b"OUTP1 ON", b'DISP:LAB "a;b"', b"ROUT:CLOS (@1,2,5:7)",
    b"MEM:DATA #15abcde", b"SYST:ERR:ALL?", b"STAT:OPER:ENAB 2;NTR?", b"TRIG:MODE IGN", b"MEAS? 1S", b"SWE 3;*OPC?",
    b"TRAC?", b"*CLS;*RST;*WAI;*OPC", b"SOUR1:CHAN3:WAV?",
]  # fmt: skip
TL1 = [
    "ACT-USER::root:1::root;", "ENT-PATCH::1&&4,9&&12:7:;", "DLT-PATCH::1&2:8:;", "RTRV-PATCH:::9:;",
    'SET-ECHO:OXC::1:gb:a,"b;c":WAVE=1310;', "OPR-SLOW:::5:::SECONDS=3;", "CANC-USER::root:2:;", "RTRV-HDR:::1:;",
]  # fmt: skip


@st.composite
def mutated(draw: st.DrawFn, valid: list[bytes]) -> bytes:
    """Valid commands with octets changed, taken out, put in and doubled."""
    octets = bytearray(b";".join(draw(st.lists(st.sampled_from(valid), min_size=1, max_size=3))))
    for _ in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(octets)))
        action = draw(st.sampled_from("creid"))
        if action == "c":
            octets[at : at + 1] = draw(st.binary(min_size=1, max_size=1))
        elif action == "r":
            del octets[at : at + draw(st.integers(1, 8))]
        elif action == "e":
            octets[at:at] = draw(
                st.sampled_from([b";", b":", b"?", b'"', b"#", b"(", b"@", b",", b"#9999999999", b"E+"])
            )
        elif action == "i":
            octets[at:at] = draw(st.binary(max_size=5))
        else:
            octets[at:at] = octets[max(0, at - 10) : at]
    return bytes(octets)


@pytest.fixture(scope="module")
def lamp() -> Lamp:
    return Lamp(VirtualClock())


@pytest.fixture(scope="module")
def crossbar() -> Crossbar:
    return Crossbar(VirtualClock(), rows_a_block=2)


@settings(max_examples=1500, deadline=None)
@given(message=st.one_of(st.binary(max_size=120), mutated(SCPI)))
def test_scpi_engine_takes_anything(lamp: Lamp, message: bytes) -> None:
    lamp.power_w = [0.001, 0.001]
    answer = lamp.handle(message)
    assert answer is None or 0 < len(answer) < 100_000 or not answer.strip(b";")
    assert 0 <= lamp.stb() <= 255
    assert lamp.handle(b"*CLS;*ESE 0;*SRE 0;:STAT:PRES;:SYST:ERR?;*IDN?") == f'0,"No error";{LAMP}'.encode()


@settings(max_examples=1500, deadline=None)
@given(
    message=st.one_of(
        st.text(max_size=120), mutated([each.encode() for each in TL1]).map(lambda b: b.decode("latin-1"))
    )
)
def test_tl1_engine_takes_anything(crossbar: Crossbar, message: str) -> None:
    crossbar.patches.clear()
    answer = crossbar.handle(message)
    assert answer == "" or (answer.endswith(";") and len(answer) < 5_000_000)
    assert "M  1 COMPLD" in crossbar.handle("ACT-USER::root:1::root;")


@settings(max_examples=600, deadline=None)
@given(chunks=st.lists(st.one_of(st.binary(max_size=40), mutated(SCPI).map(lambda m: m + b"\n")), max_size=8))
def test_a_scpi_stream_finds_its_way_back_after_anything(lamp: Lamp, chunks: list[bytes]) -> None:
    conversation = Conversation(lamp)
    for chunk in chunks:
        list(conversation.feed(chunk))
    conversation.reset()
    assert [each.octets for each in conversation.feed(b"*IDN?\r\n")] == [f"{LAMP}\r\n".encode()]


@settings(max_examples=600, deadline=None)
@given(chunks=st.lists(st.one_of(st.binary(max_size=40), st.sampled_from(TL1).map(str.encode)), max_size=8))
def test_a_tl1_stream_takes_anything(crossbar: Crossbar, chunks: list[bytes]) -> None:
    conversation = Conversation(crossbar, telnet=True)
    for chunk in chunks:
        list(conversation.feed(chunk))
    conversation.close()


@given(message=st.one_of(st.binary(max_size=60), mutated(SCPI)), cuts=st.lists(st.integers(0, 60), max_size=5))
@settings(max_examples=400, deadline=None)
def test_where_the_octets_are_torn_apart_makes_no_difference(message: bytes, cuts: list[int]) -> None:
    whole, torn = Conversation(Lamp(VirtualClock())), Conversation(Lamp(VirtualClock()))
    message += b"\n"
    at_once = [each.octets for each in whole.feed(message)]
    edges = sorted({0, len(message), *(cut for cut in cuts if cut < len(message))})
    in_parts = [each.octets for start, stop in itertools.pairwise(edges) for each in torn.feed(message[start:stop])]
    assert in_parts == at_once


def test_an_end_inside_a_block_or_a_string_with_separators_does_not_end_the_message(lamp: Lamp) -> None:
    conversation = Conversation(lamp)
    sent = b"MEM:DATA #15a\nb\r\n;:MEM:DATA?;*OPC?\r\n*ESE?\n"
    answers = [each.octets for at in range(len(sent)) for each in conversation.feed(sent[at : at + 1])]
    assert answers == [b"#15a\nb\r\n;1\r\n", b"0\r\n"]


def test_an_endless_message_is_thrown_away_with_an_error(lamp: Lamp) -> None:
    lamp.handle(b"*CLS")
    conversation = Conversation(lamp)
    assert not list(conversation.feed(b"A" * (MOST_OCTETS + 1)))
    assert [each.octets for each in conversation.feed(b"SYST:ERR?\n")] == [b'-363,"Input buffer overrun"\r\n']


@given(st.lists(st.binary(max_size=20), max_size=6))
def test_telnet_negotiation_never_holds_more_back_than_it_may(chunks: list[bytes]) -> None:
    telnet = Telnet()
    out = b"".join(telnet.feed(chunk) for chunk in chunks)
    assert len(out) <= sum(map(len, chunks))


def test_telnet_negotiation_is_left_out() -> None:
    telnet = Telnet()
    assert telnet.feed(b"\xff\xfd\x01*ID\xff\xfb") == b"*ID"
    assert telnet.feed(b"\x03N?\xff\xff\xff\xfa\x18\x00vt100") == b"N?\xff"
    assert telnet.feed(b"\xff\xf0\n") == b"\n"
