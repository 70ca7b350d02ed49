"""VIAVI and EXFO testers: the words that are confirmed, what is none, and what says that it is not known."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drivers.capability import DisruptionTester
from drivers.errors import (
    InstrumentFaultError,
    NoReadingError,
    PortReplyError,
    PortTimeoutError,
    SettingError,
)
from drivers.exfo_ftb import ExfoFtb, parse_duration
from drivers.opener import Opener
from drivers.session import Replay
from drivers.viavi_mts import ViaviMts, walk

FTB = "EXFO,FTB-2Pro,1234567,1.0"
MTS = "VIAVI,MTS-5800,WMNK001,30.1"
OK = ("SYST:ERR?", '0, "No error"')
GOOD = (":SYST:ERR?", '0, "No error"')
REM = ("*REM VISIBLE FULL", GOOD)
Talk = Callable[..., Replay]


class Ticks:
    """A clock that goes on by what is slept."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


# -- EXFO ------------------------------------------------------------------------------------------------------------


def exfo(talk: Talk, *lines: object) -> ExfoFtb:
    return ExfoFtb(talk(FTB, *lines), clock=Ticks(), slot=5)


def test_a_test_is_started_anew_and_the_longest_gap_is_read(talk: Talk) -> None:
    ftb = exfo(
        talk,
        ("LINS5:SOUR:DATA:TEL:TEST?", "1"),
        "LINS5:SOUR:DATA:TEL:TEST OFF",
        ("LINS5:SOUR:DATA:TEL:TEST?", "1"),
        ("LINS5:SOUR:DATA:TEL:TEST?", "0"),
        "LINS5:SOUR:DATA:TEL:TEST ON",
        ("LINS5:SOUR:DATA:TEL:TEST?", "ON"),
        OK,
        ("LINS5:SOUR:DATA:TEL:TEST?", "1"),
        ("LINS5:FETC:DATA:TEL:SDT:COUN?", "2"),
        ("LINS5:FETC:DATA:TEL:SDT:LONG?", '"50.3 ms"'),
        ("LINS5:FETC:DATA:TEL:SDT:LAST?", "12.5"),
        ("LINS5:FETC:DATA:TEL:SDT:TOT?", "9.91e+37"),
    )
    assert isinstance(ftb, DisruptionTester)
    ftb.start_disruption()
    assert ftb.longest_disruption() == pytest.approx(0.0503)
    assert ftb.last_disruption() == pytest.approx(0.0125)
    assert ftb.total_disruption() is None


def test_no_gap_is_none_at_all_only_while_the_test_runs(talk: Talk) -> None:
    ftb = exfo(
        talk,
        ("LINS5:SOUR:DATA:TEL:TEST?", "1"),
        ("LINS5:FETC:DATA:TEL:SDT:COUN?", "0"),
        ("LINS5:SOUR:DATA:TEL:TEST?", "0"),
    )
    assert ftb.longest_disruption() == 0.0
    assert ftb.longest_disruption() is None


def test_the_laser_is_off_when_it_says_so(talk: Talk) -> None:
    off = ("LINS5:OUTP:TEL:LAS OFF", OK)
    assert exfo(talk, *off, ("LINS5:OUTP:TEL:LAS?", "0")).safe_state().confirmed
    assert not exfo(talk, *off, ("LINS5:OUTP:TEL:LAS?", "1")).safe_state().confirmed


def test_what_the_tester_objects_to_is_an_error(talk: Talk) -> None:
    ftb = exfo(talk, "LINS5:OUTP:TEL:LAS ON", ("SYST:ERR?", '-221,"Settings conflict"'), OK)
    with pytest.raises(InstrumentFaultError):
        ftb.set_laser(True)


@pytest.mark.parametrize("options", [{"slot": -1}, {"slot": True}, {"slot": "1"}, {"unit": "min"}])
def test_options_that_make_no_sense_are_refused(talk: Talk, options: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        ExfoFtb(talk(FTB), **options)  # type: ignore[arg-type]  # what a bench file may hold


def test_an_option_that_there_is_not_is_refused() -> None:
    for kind in (ExfoFtb, ViaviMts):
        with pytest.raises(SettingError):
            kind.opened(Opener("TCPIP0::192.0.2.7::5025::SOCKET", options={"colour": "red"}))
    with pytest.raises(SettingError):
        ExfoFtb.opened(Opener("TCPIP0::192.0.2.7::5024::SOCKET", options={"telnet": "yes"}))
    with pytest.raises(SettingError):
        ViaviMts.opened(Opener("TCPIP0::192.0.2.7::8000::SOCKET", options={"walk": "yes"}))


@pytest.mark.parametrize("reply", ["", "ms", "12 13", "-1 ms", "1 min", '"', "1e5000x"])
def test_no_duration_is_an_error(talk: Talk, reply: str) -> None:
    with pytest.raises(PortReplyError):
        exfo(talk, ("LINS5:FETC:DATA:TEL:SDT:LAST?", reply)).last_disruption()


@given(st.floats(0, 1e6, allow_nan=False), st.sampled_from(["s", "ms", "us"]))
def test_a_unit_that_is_named_counts_whatever_was_declared(value: float, unit: str) -> None:
    scale = {"s": 1.0, "ms": 1e-3, "us": 1e-6}[unit]
    assert parse_duration(f"{value!r} {unit}", "s") == pytest.approx(value * scale)
    assert parse_duration(f'"{value!r}"', "ms") == pytest.approx(value * 1e-3)


# -- VIAVI -----------------------------------------------------------------------------------------------------------

MIDDLE = (
    "*REM",
    (':SYST:FUNC:READY? BOTH,BASE,"BERT"', "1"),
    (':SYST:FUNC:PORT? BOTH,BASE,"BERT"', "8006"),
)


def first(talk: Talk, selected: str = "ON", port: str = "8002") -> Replay:
    lines: list[object] = ["*REM", ("MOD:FUNC:LIST? BOTH,BASE", '"BERT","OTDR"')]
    lines.append(('MOD:FUNC:SEL? BOTH,BASE,"BERT"', selected))
    if selected == "OFF":
        lines.append('MOD:FUNC:SEL BOTH,BASE,"BERT",ON')
    return talk(MTS, *lines, ('MOD:FUNC:PORT? BOTH,BASE,"BERT"', port))


@pytest.mark.parametrize("selected", ["ON", "OFF"])
def test_the_walk_goes_by_two_ports_to_the_third(talk: Talk, selected: str) -> None:
    asked: list[str] = []
    sessions = {"8002": talk(MTS, *MIDDLE), "8006": talk(MTS)}

    def opens(resource: str) -> Replay:
        asked.append(resource)
        return sessions[resource.split("::")[2]]

    assert walk(first(talk, selected), "192.0.2.7", opens) is sessions["8006"]
    assert asked == ["TCPIP0::192.0.2.7::8002::SOCKET", "TCPIP0::192.0.2.7::8006::SOCKET"]


@pytest.mark.parametrize("port", ["-1", "0", "70000"])
def test_a_tester_that_has_no_port_says_so(talk: Talk, port: str) -> None:
    with pytest.raises(NoReadingError):
        walk(first(talk, port=port), "192.0.2.7", lambda resource: talk(MTS))


def test_a_tester_without_the_module_says_so(talk: Talk) -> None:
    with pytest.raises(NoReadingError):
        walk(talk(MTS, "*REM", ("MOD:FUNC:LIST? BOTH,BASE", '"OTDR"')), "h", lambda resource: talk(MTS))


def test_garbage_on_the_walk_is_an_error(talk: Talk) -> None:
    with pytest.raises(PortReplyError):
        walk(first(talk, port="eight"), "h", lambda resource: talk(MTS))
    with pytest.raises(SettingError):
        walk(talk(MTS), "h", lambda resource: talk(MTS), sides='BOTH,"')


def test_an_application_is_started_and_taken_under_control(talk: Talk) -> None:
    lines = (
        *REM,
        (":SYST:APPL:CAPP?", "TermEth10GL2Traffic_102"),
        ":SYST:APPL:LAUN TermEth100GL2Traffic 1",
        GOOD,
        (":SYST:APPL:LAUN?", ""),
        (":SYST:APPL:LAUN?", "TermEth100GL2Traffic_101"),
        ":SYST:APPL:SEL TermEth100GL2Traffic_101",
        GOOD,
        ":SESS:CRE",
        GOOD,
        ":SESS:STAR",
        GOOD,
    )
    ViaviMts(talk(MTS, *lines), clock=Ticks(), application="TermEth100GL2Traffic")


def test_an_application_that_runs_is_only_taken(talk: Talk) -> None:
    lines = (
        "*REM HIDDEN",
        GOOD,
        (":SYST:APPL:CAPP?", '"TermEth100GL2Traffic_101","X_102"'),
        ":SYST:APPL:SEL TermEth100GL2Traffic_101",
        GOOD,
        ":SESS:CRE",
        GOOD,
        ":SESS:STAR",
        GOOD,
        ":SESS:END",
        GOOD,
        ":EXIT",
        GOOD,
    )
    ViaviMts(talk(MTS, *lines), clock=Ticks(), application="TermEth100GL2Traffic", hidden=True).leave()


def test_an_application_that_never_starts_is_an_error(talk: Talk) -> None:
    silence = [(":SYST:APPL:LAUN?", "")] * 122
    lines = (*REM, (":SYST:APPL:CAPP?", ""), ":SYST:APPL:LAUN TermEth1GL2Traffic 2", GOOD, *silence)
    with pytest.raises(PortTimeoutError):
        ViaviMts(talk(MTS, *lines), clock=Ticks(), application="TermEth1GL2Traffic", port=2)


def test_results_are_numbers_or_none(talk: Talk) -> None:
    mts = ViaviMts(
        talk(
            MTS,
            *REM,
            (":SENS:DATA? COUNT:MAC:ETH:FRAME", "123456"),
            (":SENS:DATA? CSTATUS:PCS:PHY:LINK:ACTIVE", "9.91e+37"),
            (":SENS:DATA? STRING:TEST:EVENT:LOG", "two words"),
            (":SENS:DATA? STRING:TEST:EVENT:LOG", "two words"),
        )
    )
    assert mts.result("COUNT:MAC:ETH:FRAME") == 123456
    assert mts.result("CSTATUS:PCS:PHY:LINK:ACTIVE") is None
    assert mts.text_result("STRING:TEST:EVENT:LOG") == "two words"
    with pytest.raises(PortReplyError):
        mts.result("STRING:TEST:EVENT:LOG")
    with pytest.raises(SettingError):
        mts.result("COUNT; :OUTP:OPT ON")


def test_without_the_name_of_its_result_a_disruption_is_not_known(talk: Talk) -> None:
    mts = ViaviMts(talk(MTS, *REM))
    assert isinstance(mts, DisruptionTester)
    for ask in (mts.start_disruption, mts.longest_disruption):
        with pytest.raises(NoReadingError, match="no public text"):
            ask()


def test_a_disruption_by_the_name_that_the_bench_states(talk: Talk) -> None:
    name = "MSECOND:LINK:SDT:LONGEST"
    lines = (*REM, ":ABOR", GOOD, ":SENS:TEST:ENAB OFF", GOOD, ":INIT", GOOD, (f":SENS:DATA? {name}", "49.5"))
    mts = ViaviMts(
        talk(MTS, *lines, (f":SENS:DATA? {name}", "9.91e+37"), (f":SENS:DATA? {name}", "-1")), disruption=name
    )
    mts.start_disruption()
    assert mts.longest_disruption() == pytest.approx(0.0495)
    assert mts.longest_disruption() is None
    with pytest.raises(PortReplyError):
        mts.longest_disruption()


def test_an_objection_comes_after_each_command(talk: Talk) -> None:
    with pytest.raises(InstrumentFaultError):
        ViaviMts(talk(MTS, "*REM VISIBLE FULL", (":SYST:ERR?", '-113, "Undefined header"'), GOOD))


def test_the_laser_of_a_tester_is_off_when_it_says_so(talk: Talk) -> None:
    lines = (":SOUR:MAC:TRAFFIC OFF", GOOD, ":OUTP:OPT OFF", GOOD)
    assert ViaviMts(talk(MTS, *REM, *lines, (":OUTP:OPT?", "OFF"))).safe_state().confirmed
    refused = (":SOUR:MAC:TRAFFIC OFF", (":SYST:ERR?", '-113, "Undefined header"'), GOOD, ":OUTP:OPT OFF", GOOD)
    assert not ViaviMts(talk(MTS, *REM, *refused, (":OUTP:OPT?", "ON"))).safe_state().confirmed


@pytest.mark.parametrize(
    "options",
    [{"application": "a b"}, {"disruption": "x"}, {"unit": "h"}, {"port": 0}, {"application": 'X";:OUTP:OPT ON'}],
)
def test_options_of_a_tester_that_make_no_sense_are_refused(talk: Talk, options: dict[str, object]) -> None:
    with pytest.raises(SettingError):
        ViaviMts(talk(MTS), **options)  # type: ignore[arg-type]  # what a bench file may hold
