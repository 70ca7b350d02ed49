"""What a Yokogawa AQ637x is told, how it is logged in to, and what is made of its traces."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from drivers.capability import SpectrumAnalyzer
from drivers.catalogue import open_driver
from drivers.errors import (
    InstrumentFaultError,
    PortOpenError,
    PortReplyError,
    PortTimeoutError,
    SettingError,
    WrongInstrumentError,
)
from drivers.port import Wire
from drivers.quantity import Metre
from drivers.session import Replay
from drivers.simulated.virtual import VirtualClock
from drivers.yokogawa_aq637x import PATIENCE_S, AqPort, Sensitivity, YokogawaAq637x

Talk = Callable[..., Replay]

WHO = "YOKOGAWA,AQ6370D,91T000001,02.08"
FINE = ("SYST:ERR?", '0,"No error"')
SET_UP = ("INIT:SMOD 1", "TRAC:ACT TRA", "TRAC:ATTR:TRA 0", "SENS:SENS MID", "SENS:SWE:POIN:AUTO 1", FINE)
ASCII = (FINE, "ABOR", "FORM:DATA ASC", *SET_UP)
REAL = (FINE, "ABOR", "FORM:DATA REAL,64", *SET_UP)
BEGUN = (
    "SENS:WAV:CENT 1550.0000NM;:SENS:WAV:SPAN 2.0000NM;:SENS:BWID:RES 0.02NM",
    FINE,
    "*CLS;:INIT",
    FINE,
)
SWEPT = (*BEGUN, ("STAT:OPER:EVEN?", "0"), ("STAT:OPER:EVEN?", "1"))
X = "+1.54900000E-006,+1.55000000E-006,+1.55100000E-006"
Y = "-2.10000000E+002,-3.25000000E+000,-6.01000000E+001"
ASKED = (Metre(1550e-9), Metre(2e-9), Metre(0.02e-9))


def opened(talk: Talk, *lines: Any) -> YokogawaAq637x:
    return YokogawaAq637x(talk(WHO, *ASCII, *lines), clock=VirtualClock())


def test_it_is_what_a_plan_may_ask_for(talk: Talk) -> None:
    analyser = opened(talk, "ABOR", FINE)
    assert isinstance(analyser, SpectrumAnalyzer)
    safe = analyser.safe_state()
    assert safe.confirmed
    assert "emits nothing" in safe.said


def test_another_instrument_is_refused(talk: Talk) -> None:
    with pytest.raises(WrongInstrumentError):
        YokogawaAq637x(talk("YOKOGAWA,AQ7280,1,1"))


def test_a_sweep(talk: Talk) -> None:
    trace = (("TRAC:X? TRA", X), ("TRAC:Y? TRA", Y), ("SENS:BWID:RES?", "+2.00000000E-011"))
    spectrum = opened(talk, *SWEPT, *trace).sweep(*ASKED)
    assert spectrum.wavelengths_m == pytest.approx((1549e-9, 1550e-9, 1551e-9))
    assert spectrum.powers_dbm == (-210.0, -3.25, -60.1)
    assert spectrum.resolution_m == 20e-12


def test_traces_may_come_as_octets(talk: Talk) -> None:
    trace = (
        ("TRAC:X? TRA", struct.pack("<3d", 1549e-9, 1550e-9, 1551e-9)),
        ("TRAC:Y? TRA", struct.pack("<3d", -210, -3.25, -60.1)),
        ("SENS:BWID:RES?", "+2.00000000E-011"),
    )
    analyser = YokogawaAq637x(talk(WHO, *REAL, *SWEPT, *trace), clock=VirtualClock(), traces="real")
    assert analyser.sweep(*ASKED).powers_dbm == (-210.0, -3.25, -60.1)


@pytest.mark.parametrize(
    ("nm", "span", "resolution"),
    [
        (1550, 2, 0.03),
        (1550, 2, 0.0),
        (1550, 2, float("nan")),
        (1550, 0, 0.02),
        (1550, -1, 0.02),
        (600, 2, 0.02),
        (1700, 2, 0.02),
        (float("nan"), 2, 0.02),
        (1550, float("inf"), 0.02),
    ],
)
def test_what_the_analyser_cannot_is_not_sent(talk: Talk, nm: float, span: float, resolution: float) -> None:
    with pytest.raises(SettingError):
        opened(talk).sweep(Metre(nm * 1e-9), Metre(span * 1e-9), Metre(resolution * 1e-9))


@pytest.mark.parametrize(
    ("x", "y"),
    [
        (X, "-2.1E+002,-3.25E+000"),
        ("", ""),
        ("+1.549E-006", "-3.0E+000"),
        ("+1.551E-006,+1.550E-006,+1.549E-006", Y),
        ("+1.549E-006,+1.549E-006,+1.551E-006", Y),
        ("+1.529E-006,+1.530E-006,+1.531E-006", Y),
        (X, "+1.0E-009,+4.7E-004,+1.0E-009"),
        (X, "-2.1E+002,9.91E37,-6.0E+001"),
        (X, "-2.1E+002,-9.9E+005,-6.0E+001"),
        (X, "garbage"),
    ],
)
def test_a_trace_that_is_none_is_refused(talk: Talk, x: str, y: str) -> None:
    session = talk(WHO, *ASCII, *SWEPT, ("TRAC:X? TRA", x), ("TRAC:Y? TRA", y))
    with pytest.raises(PortReplyError):
        YokogawaAq637x(session, clock=VirtualClock()).sweep(*ASKED)


def test_what_it_objects_to_is_an_error(talk: Talk) -> None:
    with pytest.raises(InstrumentFaultError, match="222"):
        opened(talk, BEGUN[0], ("SYST:ERR?", '-222,"Data out of range"'), FINE).sweep(*ASKED)


def test_a_sweep_that_does_not_end_is_an_error(talk: Talk) -> None:
    session = talk(WHO, *ASCII, *BEGUN, *[("STAT:OPER:EVEN?", "0")] * 3000)
    analyser = YokogawaAq637x(session, clock=VirtualClock())
    with pytest.raises(PortTimeoutError, match="600 s"):
        analyser.sweep(*ASKED)
    session.finish = lambda: None  # type: ignore[method-assign]  # how often it looked is its own affair


class Patience(Replay):
    """Notes how long each exchange might have taken."""

    within: list[float | None]

    def query(self, message: str, timeout_s: float | None = None) -> str:
        self.within.append(timeout_s)
        return super().query(message, timeout_s)


def test_every_question_has_patience_for_its_offset(talk: Talk) -> None:
    played = talk(WHO, *ASCII, ("SENS:BWID:RES?", "+2.0E-011"))
    played.__class__ = Patience
    assert isinstance(played, Patience)
    played.within = []
    assert YokogawaAq637x(played, clock=VirtualClock()).resolution == 2e-11
    assert played.within[-1] == PATIENCE_S


# -- logging in --------------------------------------------------------------------------------------------------


class Analyser:
    """An analyser's TCP side: nothing but OPEN before READY."""

    def __init__(self, password: str = "", user: str = "anonymous") -> None:
        self.password, self.user = password, user
        self.heard: list[str] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.resource = f"TCPIP0::127.0.0.1::{self._listener.getsockname()[1]}::SOCKET"
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        peer = self._listener.accept()[0]
        with peer, peer.makefile("rb") as lines:
            state = ""
            for line in lines:
                text = line.decode().removesuffix("\r\n")
                self.heard.append(text)
                answer = ""
                if state == "asked":
                    state, answer = ("ready", "READY") if text == self.password else ("", "REFUSED")
                elif text == f'OPEN "{self.user}"':
                    state, answer = "asked", "AUTHENTICATE CRAM-MD5."
                elif text.startswith("OPEN"):
                    answer = "NO SUCH USER"
                elif state == "ready":
                    answer = {"*IDN?": WHO, "SYST:ERR?": '0,"No error"'}.get(text, "")
                if answer:
                    peer.sendall(answer.encode() + b"\r\n")

    def close(self) -> None:
        self._listener.close()
        self._thread.join(5)


@pytest.fixture
def analyser() -> Iterator[Callable[..., Analyser]]:
    made: list[Analyser] = []

    def make(**how: str) -> Analyser:
        made.append(Analyser(**how))
        return made[-1]

    yield make
    for each in made:
        each.close()


def test_it_is_logged_in_to_before_it_says_who_it_is(analyser: Callable[..., Analyser]) -> None:
    there = analyser()
    port = AqPort(there.resource)
    assert port.identity.model == "AQ6370D"
    assert port.timeout_s >= 30
    port.close()
    port.close()
    there.close()
    assert there.heard == ['OPEN "anonymous"', "", "*IDN?", "CLOSE"]


def test_the_password_is_in_no_log(analyser: Callable[..., Analyser]) -> None:
    lab = {"user": "lab", "password": "open sesame"}
    there = analyser(**lab)
    wires: list[Wire] = []
    AqPort(there.resource, log=wires.append, **lab).close()  # type: ignore[arg-type]  # of a dictionary mypy knows no keys
    assert there.heard[1] == "open sesame"
    assert not any(b"sesame" in wire.octets for wire in wires)
    assert any(b"*IDN?" in wire.octets for wire in wires)


@pytest.mark.parametrize("how", [{"password": "secret"}, {"user": "somebody"}])
def test_whoever_is_refused_is_told_so(analyser: Callable[..., Analyser], how: dict[str, str]) -> None:
    with pytest.raises(PortOpenError, match=r"REFUSED|NO SUCH USER"):
        AqPort(analyser(**how).resource)


def test_the_catalogue_opens_it_logged_in(analyser: Callable[..., Analyser], tmp_path: Path) -> None:
    lab = {"user": "lab", "password": "x"}
    there = analyser(**lab)
    record = tmp_path / "aq.jsonl"
    options = {**lab, "sensitivity": "HIGH1", "traces": "real", "record": str(record)}
    open_driver("yokogawa-aq637x", there.resource, options=options).close()
    there.close()
    assert f"SENS:SENS {Sensitivity.HIGH_1.value}" in there.heard
    assert "FORM:DATA REAL,64" in there.heard
    again = open_driver("yokogawa-aq637x", "", options={**options, "record": "", "replay": str(record)})
    assert again.identity.model == "AQ6370D"


@pytest.mark.parametrize("options", [{"trace": "real"}, {"traces": "binary"}, {"sensitivity": "BEST"}])
def test_options_that_it_does_not_have_are_refused(options: dict[str, str]) -> None:
    with pytest.raises(SettingError, match="sensitivity among"):
        open_driver("yokogawa-aq637x", "TCPIP0::192.0.2.7::10001::SOCKET", options=options)
