"""What a Santec TSL is told in either unit mode, and what is made of its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from drivers.capability import TunableSource
from drivers.errors import InstrumentFaultError, NotTakenError, PortReplyError, SettingError, WrongInstrumentError
from drivers.quantity import DBm, Metre
from drivers.santec_tsl import SantecTsl
from drivers.session import Replay
from drivers.simulated.virtual import VirtualClock

Talk = Callable[..., Replay]

WHO = "SANTEC,TSL-570,20110001,0034.0025.0020"
FINE = (":SYST:ERR?", '0,"No error"')
TUNED = ("*OPC?", "1")
UNIT = (":POW:UNIT 0", FINE, (":POW:UNIT?", "0"))
IN_NM = (
    FINE,
    (":SYST:COMM:COD?", "0"),
    *UNIT,
    (":WAV:SWE:RANG:MIN?", "1480.0000"),
    (":WAV:SWE:RANG:MAX?", "1640.0000"),
)
IN_M = (
    FINE,
    (":SYST:COMM:COD?", "1"),
    *UNIT,
    (":WAV:SWE:RANG:MIN?", "+1.48000000E-006"),
    (":WAV:SWE:RANG:MAX?", "+1.64000000E-006"),
)


def legacy(talk: Talk, *lines: Any) -> SantecTsl:
    return SantecTsl(talk(WHO, *IN_NM, *lines), clock=VirtualClock())


def scpi(talk: Talk, *lines: Any) -> SantecTsl:
    return SantecTsl(talk(WHO, *IN_M, *lines), clock=VirtualClock())


@pytest.mark.parametrize("open_in", [legacy, scpi])
def test_it_is_what_a_plan_may_ask_for(talk: Talk, open_in: Callable[..., SantecTsl]) -> None:
    laser = open_in(talk)
    assert isinstance(laser, TunableSource)
    assert list(laser.range) == pytest.approx([1480e-9, 1640e-9])
    assert laser.in_metres is (open_in is scpi)


@pytest.mark.parametrize("who", ["SANTEC,MPM-210,1,1", "Agilent Technologies,TSL-570,1,1"])
def test_another_instrument_is_refused(talk: Talk, who: str) -> None:
    with pytest.raises(WrongInstrumentError):
        SantecTsl(talk(who))


@pytest.mark.parametrize("answer", ["2", "", "nm"])
def test_without_its_unit_mode_nothing_is_said(talk: Talk, answer: str) -> None:
    with pytest.raises(PortReplyError):
        SantecTsl(talk(WHO, FINE, (":SYST:COMM:COD?", answer)))


def test_it_tunes_in_nm(talk: Talk) -> None:
    laser = legacy(talk, ":WAV 1550.1234", FINE, ("*OPC?", "0"), TUNED, (":WAV?", "1550.1234"))
    laser.set_wavelength(Metre(1550.1234e-9))


def test_it_tunes_in_metres(talk: Talk) -> None:
    laser = scpi(talk, ":WAV 1.5501234E-06", FINE, TUNED, (":WAV?", "+1.55012340E-006"))
    laser.set_wavelength(Metre(1550.1234e-9))


def test_a_change_of_its_units_meanwhile_is_noticed(talk: Talk) -> None:
    with pytest.raises(PortReplyError, match="units"):
        legacy(talk, ":WAV 1550.0000", FINE, TUNED, (":WAV?", "+1.55000000E-006")).set_wavelength(Metre(1550e-9))
    with pytest.raises(NotTakenError):
        legacy(talk, ":WAV 1550.0000", FINE, TUNED, (":WAV?", "1551.0")).set_wavelength(Metre(1550e-9))


@pytest.mark.parametrize("nm", [1479.0, 1641.0, float("nan"), 1550e9])
def test_a_wavelength_beyond_the_laser_is_not_sent(talk: Talk, nm: float) -> None:
    with pytest.raises(SettingError):
        legacy(talk).set_wavelength(Metre(nm * 1e-9))


def test_power_and_light(talk: Talk) -> None:
    laser = legacy(
        talk,
        *(":POW 3.25", FINE, TUNED, (":POW?", "+3.25"), (":POW:ACT?", "+3.21")),
        *(":POW:STAT 1", FINE, TUNED, (":POW:STAT?", "1"), (":POW:STAT?", "1")),
    )
    laser.set_power(DBm(3.25))
    assert laser.power() == 3.25
    assert laser.actual == 3.21
    laser.set_output(True)
    assert laser.output() is True


@pytest.mark.parametrize("dbm", [-15.1, 13.1, float("nan")])
def test_a_power_beyond_the_data_sheet_is_not_sent(talk: Talk, dbm: float) -> None:
    with pytest.raises(SettingError):
        legacy(talk).set_power(DBm(dbm))


def test_what_it_objects_to_is_an_error(talk: Talk) -> None:
    laser = legacy(talk, ":POW:STAT 1", (":SYST:ERR?", '-203,"Interlock"'), FINE)
    with pytest.raises(InstrumentFaultError, match="Interlock"):
        laser.set_output(True)


@pytest.mark.parametrize("state", ["0", "1"])
def test_the_safe_state_is_off_and_asked(talk: Talk, state: str) -> None:
    safe = legacy(talk, ":POW:STAT 0", FINE, TUNED, (":POW:STAT?", "0"), (":POW:STAT?", state)).safe_state()
    assert safe.confirmed is (state == "0")


def test_a_sweep(talk: Talk) -> None:
    laser = legacy(
        talk,
        *(":WAV:SWE:MOD 1", ":WAV:SWE:STAR 1550.0000", ":WAV:SWE:STOP 1560.0000", ":WAV:SWE:SPE 20", ":WAV:SWE:CYCL 1"),
        *(FINE, ":WAV:SWE 1", FINE, (":WAV:SWE?", "4"), (":WAV:SWE?", "1"), (":WAV:SWE?", "0")),
    )
    laser.sweep(Metre(1550e-9), Metre(1560e-9), 20e-9)
    for wrong in ((1400, 1500, 20), (1560, 1550, 20), (1550, 1560, 0), (1550, 1560, 300)):
        with pytest.raises(SettingError):
            laser.sweep(Metre(wrong[0] * 1e-9), Metre(wrong[1] * 1e-9), wrong[2] * 1e-9)


@pytest.mark.parametrize("answer", ["", "1550 nm", "+9.91E+037", "1550,1551"])
def test_garbage_is_no_wavelength(talk: Talk, answer: str) -> None:
    with pytest.raises(PortReplyError):
        legacy(talk, (":WAV?", answer)).wavelength()
