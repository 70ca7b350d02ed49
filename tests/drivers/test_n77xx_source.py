"""What a Keysight N7711A/N7714A is told, and what is made of its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from drivers.capability import TunableSource
from drivers.errors import NotTakenError, PortReplyError, SettingError, WrongInstrumentError
from drivers.keysight_n77xx_source import KeysightN77xxSource
from drivers.quantity import C_M_PER_S, DBm, Metre
from drivers.session import Replay
from drivers.simulated.virtual import VirtualClock

Talk = Callable[..., Replay]

WHO = "Agilent Technologies,N7714A,DE00000004,1.16"
FINE = ("SYST:ERR?", '+0,"No error"')
SETTLED = ("SLOT2:OPC?", "+1")
OPENED = (
    FINE,
    "SOUR2:POW:UNIT 0",
    FINE,
    ("SOUR2:POW:UNIT?", "+0"),
    ("SOUR2:FREQ? MAX", "+1.96600000E+014"),
    ("SOUR2:FREQ? MIN", "+1.91500000E+014"),
)
OFF = ("SOUR2:POW:STAT 0", FINE, SETTLED, ("SOUR2:POW:STAT?", "0"))
ON = ("SOUR2:POW:STAT 1", FINE, SETTLED, ("SOUR2:POW:STAT?", "1"))
AUTOMATIC = ("SOUR2:FREQ:AUTO 1", FINE, ("SOUR2:FREQ:AUTO?", "1"))
AT_193_1 = Metre(C_M_PER_S / 193.1e12)


def opened(talk: Talk, *lines: Any) -> KeysightN77xxSource:
    return KeysightN77xxSource(talk(WHO, *OPENED, *lines), clock=VirtualClock(), channel=2)


def test_it_is_what_a_plan_may_ask_for(talk: Talk) -> None:
    source = opened(talk)
    assert isinstance(source, TunableSource)
    assert list(source.range) == pytest.approx([1524.9e-9, 1565.5e-9], abs=1e-10)


def test_another_instrument_or_laser_is_refused(talk: Talk) -> None:
    with pytest.raises(WrongInstrumentError):
        KeysightN77xxSource(talk("Agilent Technologies,N7745A,DE1,1"))
    with pytest.raises(SettingError, match="1 to 1"):
        KeysightN77xxSource(talk("Agilent Technologies,N7711A,DE1,1"), channel=2)


def test_a_dark_laser_is_tuned(talk: Talk) -> None:
    source = opened(
        talk,
        ("SOUR2:POW:STAT?", "0"),
        *AUTOMATIC,
        *("SOUR2:FREQ 193.100000THZ", FINE, ("SLOT2:OPC?", "+0"), SETTLED, ("SOUR2:FREQ?", "+1.93100000E+014")),
        ("SOUR2:FREQ?", "+1.93100000E+014"),
    )
    source.set_wavelength(AT_193_1)
    assert source.wavelength() == pytest.approx(AT_193_1)


def test_a_laser_that_emits_goes_dark_for_it(talk: Talk) -> None:
    tuned = ("SOUR2:FREQ 193.100000THZ", FINE, SETTLED, ("SOUR2:FREQ?", "+1.93100000E+014"))
    opened(talk, ("SOUR2:POW:STAT?", "1"), *OFF, *AUTOMATIC, *tuned, *ON).set_wavelength(AT_193_1)


def test_a_laser_that_went_elsewhere_is_an_error(talk: Talk) -> None:
    tuned = ("SOUR2:FREQ 193.100000THZ", FINE, SETTLED, ("SOUR2:FREQ?", "+1.93200000E+014"))
    with pytest.raises(NotTakenError):
        opened(talk, ("SOUR2:POW:STAT?", "0"), *AUTOMATIC, *tuned).set_wavelength(AT_193_1)


@pytest.mark.parametrize("nm", [1524.0, 1566.0, float("nan"), 0.0])
def test_a_wavelength_beyond_the_laser_is_not_sent(talk: Talk, nm: float) -> None:
    with pytest.raises(SettingError):
        opened(talk).set_wavelength(Metre(nm * 1e-9))


def test_the_power_is_set_within_what_there_is(talk: Talk) -> None:
    ends = (("SOUR2:POW? MIN", "+6.0E+000"), ("SOUR2:POW? MAX", "+1.35E+001"))
    source = opened(talk, *ends, "SOUR2:POW 10.0DBM", FINE, SETTLED, *ends)
    source.set_power(DBm(10))
    with pytest.raises(SettingError, match=r"13\.5"):
        source.set_power(DBm(14))


def test_light_is_asked_for_after_it_was_switched(talk: Talk) -> None:
    source = opened(talk, *ON, ("SOUR2:POW:STAT?", "1"), "SOUR2:POW:STAT 0", FINE, SETTLED, ("SOUR2:POW:STAT?", "1"))
    source.set_output(True)
    assert source.output() is True
    with pytest.raises(NotTakenError):
        source.set_output(False)


@pytest.mark.parametrize("answer", ["", "193.1 THz", "+9.91E+037", "+1.9E+014;+1.9E+014"])
def test_garbage_is_no_frequency(talk: Talk, answer: str) -> None:
    with pytest.raises(PortReplyError):
        opened(talk, ("SOUR2:FREQ?", answer)).wavelength()


@pytest.mark.parametrize("last", ["0", "1"])
def test_the_safe_state_is_every_laser_of_the_box_off(talk: Talk, last: str) -> None:
    asked = [line for slot in (1, 2, 3) for line in ((f"SLOT{slot}:OPC?", "1"), (f"SOUR{slot}:POW:STAT?", "0"))]
    lines = (*(f"SOUR{slot}:POW:STAT 0" for slot in (1, 2, 3, 4)), *asked, ("SLOT4:OPC?", "1"))
    safe = opened(talk, *lines, ("SOUR4:POW:STAT?", last)).safe_state()
    assert safe.confirmed is (last == "0")
    assert safe.said.endswith(f"laser 4 {'off' if last == '0' else 'ON'}")
