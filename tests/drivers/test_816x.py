"""What a Keysight 816x or N777xC laser is told, and what is made of its answers."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest

from drivers.capability import TunableSource
from drivers.errors import (
    InstrumentFaultError,
    NotTakenError,
    PortReplyError,
    PortTimeoutError,
    SettingError,
    WrongInstrumentError,
)
from drivers.keysight_816x import WRONG, Keysight816x
from drivers.quantity import DBm, Metre
from drivers.session import Replay
from drivers.simulated.virtual import VirtualClock

Talk = Callable[..., Replay]

WHO = "Agilent Technologies,8164B,DE00000003,5.21"
FINE = ("SYST:ERR?", '+0,"No error"')
TUNED = ("*OPC?", "1")
OPENED = (
    FINE,
    "SOUR0:POW:UNIT 0",
    FINE,
    ("SOUR0:POW:UNIT?", "+0"),
    ("SOUR0:WAV? MIN", "+1.46000000E-006"),
    ("SOUR0:WAV? MAX", "+1.64000000E-006"),
)


def opened(talk: Talk, *lines: Any, clock: VirtualClock | None = None) -> Keysight816x:
    return Keysight816x(talk(WHO, *OPENED, *lines), clock=clock or VirtualClock())


def test_it_is_what_a_plan_may_ask_for(talk: Talk) -> None:
    laser = opened(talk)
    assert isinstance(laser, TunableSource)
    assert laser.range == (1460e-9, 1640e-9)


def test_another_instrument_is_refused(talk: Talk) -> None:
    with pytest.raises(WrongInstrumentError):
        Keysight816x(talk("Agilent Technologies,8156A,DE1,1"))


@pytest.mark.parametrize(("who", "slot"), [(WHO, 18), (WHO, -1), ("Keysight Technologies,N7776C,DE1,1", 1)])
def test_a_slot_that_is_none_is_refused(talk: Talk, who: str, slot: int) -> None:
    with pytest.raises(SettingError, match="slot"):
        Keysight816x(talk(who), slot=slot)


@pytest.mark.parametrize("pin", ["", "12345", "12a4", "１２３４"])
def test_a_pin_that_is_none_is_refused_and_not_shown(talk: Talk, pin: str) -> None:
    with pytest.raises(SettingError, match="PIN") as caught:
        Keysight816x(talk(WHO), pin=pin)
    assert not pin or pin not in str(caught.value)


def test_another_slot_is_spoken_to_by_its_number(talk: Talk) -> None:
    lines = [line if isinstance(line, str) else (line[0].replace("SOUR0", "SOUR2"), line[1]) for line in OPENED]
    lines[1] = "SOUR2:POW:UNIT 0"
    session = talk("Agilent Technologies,8163B,DE1,1", *lines, ("SOUR2:POW:STAT?", "1"))
    assert Keysight816x(session, clock=VirtualClock(), slot=2).output() is True


def test_an_empty_slot_says_so(talk: Talk) -> None:
    with pytest.raises(InstrumentFaultError, match="303"):
        Keysight816x(talk(WHO, FINE, "SOUR0:POW:UNIT 0", ("SYST:ERR?", '-303,"Slot empty"'), FINE))


def test_it_tunes_waits_and_asks_where_it_is(talk: Talk) -> None:
    laser = opened(
        talk,
        *("SOUR0:WAV 1550.125000NM", FINE, ("*OPC?", "0"), ("*OPC?", "1"), ("SOUR0:WAV?", "+1.55012510E-006")),
        *("SOUR0:WAV 1551.000000NM", FINE, TUNED, ("SOUR0:WAV?", "+1.55000000E-006")),
    )
    laser.set_wavelength(Metre(1550.125e-9))
    with pytest.raises(NotTakenError):
        laser.set_wavelength(Metre(1551e-9))


@pytest.mark.parametrize("nm", [1459.9, 1640.1, 0.0, -1550.0, float("nan"), float("inf")])
def test_a_wavelength_beyond_the_module_is_not_sent(talk: Talk, nm: float) -> None:
    with pytest.raises(SettingError):
        opened(talk).set_wavelength(Metre(nm * 1e-9))


def test_the_power_is_set_within_what_there_is_at_this_wavelength(talk: Talk) -> None:
    ends = (("SOUR0:POW? MIN", "-1.00000000E+001"), ("SOUR0:POW? MAX", "+8.00000000E+000"))
    laser = opened(talk, *ends, "SOUR0:POW 3.0DBM", FINE, TUNED, *ends, ("SOUR0:POW?", "+3.00000000E+000"))
    laser.set_power(DBm(3))
    with pytest.raises(SettingError, match="8 dBm"):
        laser.set_power(DBm(8.1))
    assert laser.power() == DBm(3)


def test_a_locked_laser_is_unlocked(talk: Talk) -> None:
    laser = opened(
        talk,
        ("LOCK?", "1"),
        *("LOCK 0,1234", FINE),
        *("SOUR0:POW:STAT 1", FINE, TUNED, ("SOUR0:POW:STAT?", "+1")),
    )
    laser.set_output(True)


def test_a_wrong_pin_is_an_error_that_does_not_show_it(talk: Talk) -> None:
    laser = opened(talk, ("LOCK?", "1"), "LOCK 0,1234", ("SYST:ERR?", '-224,"Illegal parameter value"'), FINE)
    with pytest.raises(InstrumentFaultError, match="unlocking") as caught:
        laser.set_output(True)
    assert "1234" not in str(caught.value)


def test_a_laser_that_stays_dark_is_an_error(talk: Talk) -> None:
    laser = opened(talk, ("LOCK?", "0"), *("SOUR0:POW:STAT 1", FINE, TUNED, ("SOUR0:POW:STAT?", "+0")))
    with pytest.raises(NotTakenError, match="interlocked"):
        laser.set_output(True)


def test_the_safe_state_is_off_and_asked(talk: Talk) -> None:
    off = ("SOUR0:POW:STAT 0", FINE, TUNED, ("SOUR0:POW:STAT?", "0"))
    assert opened(talk, *off, ("SOUR0:POW:STAT?", "0")).safe_state().confirmed
    refused = ("SOUR0:POW:STAT 0", ("SYST:ERR?", '-221,"Settings conflict;sweeping"'), FINE)
    safe = opened(talk, *refused, "SOUR0:WAV:SWE 0", FINE, *off, ("SOUR0:POW:STAT?", "0")).safe_state()
    assert safe.confirmed
    assert safe.said == "laser 0 off"
    assert not opened(talk, *off, ("SOUR0:POW:STAT?", "1")).safe_state().confirmed


@pytest.mark.parametrize("answer", ["", "1550 nm", "+9.91E+037", "+1.5E-006,+1.5E-006", "tuning"])
def test_garbage_is_no_wavelength(talk: Talk, answer: str) -> None:
    with pytest.raises(PortReplyError):
        opened(talk, ("SOUR0:WAV?", answer)).wavelength()


PREPARED = (
    "SOUR0:AM:STAT 0",
    "SOUR0:WAV:SWE:MODE CONT",
    "SOUR0:WAV:SWE:STAR 1550.000000NM",
    "SOUR0:WAV:SWE:STOP 1550.400000NM",
    "SOUR0:WAV:SWE:STEP 0.100000NM",
    "SOUR0:WAV:SWE:SPE 40NM/S",
    "SOUR0:WAV:SWE:REP ONEW",
    "SOUR0:WAV:SWE:CYCL 1",
    "TRIG0:OUTP STF",
    "SOUR0:WAV:SWE:LLOG 1",
    FINE,
)
POINTS = (1550.0e-9, 1550.1e-9, 1550.2e-9, 1550.3e-9, 1550.4e-9)
SCAN = (Metre(1550e-9), Metre(1550.4e-9), Metre(0.1e-9))


@pytest.mark.parametrize("order", ["<", ">"])
def test_a_sweep_gives_the_wavelength_of_each_trigger(talk: Talk, order: str) -> None:
    clock = VirtualClock()
    laser = opened(
        talk,
        *PREPARED,
        ("SOUR0:WAV:SWE:CHEC?", "0,OK"),
        ("SOUR0:WAV:SWE:EXP?", "5"),
        "SOUR0:WAV:SWE 1",
        FINE,
        ("SOUR0:WAV:SWE?", "+1"),
        ("SOUR0:WAV:SWE?", "+0"),
        ("SOUR0:READ:POIN? LLOG", "+5"),
        ("SOUR0:READ:DATA? LLOG", struct.pack(f"{order}5d", *POINTS)),
        clock=clock,
    )
    sweep = laser.prepare_scan(*SCAN)
    assert sweep.triggers == 5
    assert sweep.step_time == pytest.approx(2.5e-3)
    assert laser.run_scan(sweep) == POINTS
    assert clock.now_ns() >= 10_000_000


@pytest.mark.parametrize("code", WRONG)
def test_a_sweep_that_the_laser_will_not_run_says_why(talk: Talk, code: int) -> None:
    laser = opened(talk, *PREPARED, ("SOUR0:WAV:SWE:CHEC?", f'{code},"whatever"'))
    with pytest.raises(SettingError, match=WRONG[code]):
        laser.scan(*SCAN)


@pytest.mark.parametrize("answer", ["", "OK", "0;OK", "-1,no"])
def test_garbage_is_no_check(talk: Talk, answer: str) -> None:
    with pytest.raises(PortReplyError):
        opened(talk, *PREPARED, ("SOUR0:WAV:SWE:CHEC?", answer)).scan(*SCAN)


@pytest.mark.parametrize(
    ("start", "stop", "step", "speed"),
    [
        (1400, 1500, 1, 40),
        (1500, 1700, 1, 40),
        (1500, 1500, 1, 40),
        (1510, 1500, 1, 40),
        (1500, 1510, 0, 40),
        (1500, 1510, -1, 40),
        (1500, 1510, 11, 40),
        (1500, 1510, 1e-6, 40),
        (1500, 1510, 1, 33),
        (1500, 1510, float("nan"), 40),
    ],
)
def test_a_sweep_beyond_the_data_sheet_is_not_sent(
    talk: Talk, start: float, stop: float, step: float, speed: float
) -> None:
    laser = opened(talk)
    with pytest.raises(SettingError):
        laser.prepare_scan(Metre(start * 1e-9), Metre(stop * 1e-9), Metre(step * 1e-9), speed * 1e-9)


@pytest.mark.parametrize(
    "points",
    [
        POINTS[:4],
        (*POINTS[:4], float("nan")),
        POINTS[::-1],
        tuple(each * 1e9 for each in POINTS),
        tuple(each - 5e-9 for each in POINTS),
    ],
)
def test_wavelengths_of_another_sweep_are_refused(talk: Talk, points: tuple[float, ...]) -> None:
    laser = opened(
        talk,
        *PREPARED,
        ("SOUR0:WAV:SWE:CHEC?", "0,OK"),
        ("SOUR0:WAV:SWE:EXP?", "5"),
        "SOUR0:WAV:SWE 1",
        FINE,
        ("SOUR0:WAV:SWE?", "+0"),
        ("SOUR0:READ:POIN? LLOG", f"{len(points)}"),
        ("SOUR0:READ:DATA? LLOG", struct.pack(f"<{len(points)}d", *points)),
    )
    with pytest.raises(PortReplyError):
        laser.scan(*SCAN)


def test_a_sweep_that_does_not_end_is_an_error(talk: Talk) -> None:
    asked = [("SOUR0:WAV:SWE?", "+1")] * 1000
    checked = (("SOUR0:WAV:SWE:CHEC?", "0,OK"), ("SOUR0:WAV:SWE:EXP?", "5"))
    session = talk(WHO, *OPENED, *PREPARED, *checked, "SOUR0:WAV:SWE 1", FINE, *asked)
    laser = Keysight816x(session, clock=VirtualClock())
    with pytest.raises(PortTimeoutError):
        laser.scan(*SCAN)
    session.finish = lambda: None  # type: ignore[method-assign]  # how often it looked is its own affair
