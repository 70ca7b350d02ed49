"""What a Thorlabs power meter is told, and what is made of its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from drivers.capability import PowerMeter
from drivers.errors import NoReadingError, NotTakenError, PortReplyError, SettingError, WrongInstrumentError
from drivers.quantity import Metre, Second
from drivers.session import Replay
from drivers.simulated.virtual import VirtualClock
from drivers.thorlabs_pm import ThorlabsPm

Talk = Callable[..., Replay]

WHO = "Thorlabs,PM101,M00000001,1.2.0"
FINE = ("SYST:ERR?", '+0,"No error"')
SENSOR = "S154C,180000001,20-Mar-2026,1,18,289"
OPENED = (
    FINE,
    ("SYST:SENS:IDN?", SENSOR),
    "SENS:POW:UNIT W",
    FINE,
    "SENS:POW:RANG:AUTO ON",
    FINE,
    ("SENS:CORR:WAV? MIN", "8.000000E+02"),
    ("SENS:CORR:WAV? MAX", "1.700000E+03"),
    ("SENS:AVER:COUN?", "10"),
)


def opened(talk: Talk, *lines: Any, sensor: str = SENSOR) -> ThorlabsPm:
    start = [("SYST:SENS:IDN?", sensor) if line[0] == "SYST:SENS:IDN?" else line for line in OPENED]
    return ThorlabsPm(talk(WHO, *start, *lines), clock=VirtualClock())


def test_it_is_what_a_plan_may_ask_for(talk: Talk) -> None:
    meter = opened(talk)
    assert isinstance(meter, PowerMeter)
    assert meter.channels == 1
    assert meter.sensor.name == "S154C"
    assert meter.spec.origin.startswith("unconfirmed")
    assert meter.safe_state().confirmed


def test_another_instrument_is_refused(talk: Talk) -> None:
    with pytest.raises(WrongInstrumentError):
        ThorlabsPm(talk("Thorlabs,TLX1,1,1"))


@pytest.mark.parametrize(
    "answer", ["no sensor", "", "ES111C,1,1,2,1,2", "S154C,1,1,1,18", "S154C,1,1,1,18,x", "S154C,1,1,1,18,289,1"]
)
def test_without_a_power_sensor_there_is_no_meter(talk: Talk, answer: str) -> None:
    with pytest.raises(NoReadingError, match="power sensor"):
        ThorlabsPm(talk(WHO, FINE, ("SYST:SENS:IDN?", answer)))


def test_the_wavelength_goes_in_nm(talk: Talk) -> None:
    meter = opened(
        talk,
        *("SENS:CORR:WAV 1550.125", FINE, ("SENS:CORR:WAV?", "1.550125E+03")),
        *("SENS:CORR:WAV 1310.0", FINE, ("SENS:CORR:WAV?", "1.550125E+03")),
    )
    meter.set_wavelength(Metre(1550.125e-9))
    with pytest.raises(NotTakenError):
        meter.set_wavelength(Metre(1310e-9), [1])


@pytest.mark.parametrize("nm", [799.0, 1701.0, float("nan"), float("inf")])
def test_a_wavelength_beyond_the_sensor_is_not_sent(talk: Talk, nm: float) -> None:
    with pytest.raises(SettingError):
        opened(talk).set_wavelength(Metre(nm * 1e-9))


def test_a_sensor_without_wavelengths_says_so(talk: Talk) -> None:
    with pytest.raises(SettingError, match="S302C"):
        opened(talk, sensor="S302C,1,1,1,18,1").set_wavelength(Metre(1550e-9))


def test_averaging_is_whole_samples(talk: Talk) -> None:
    meter = opened(
        talk,
        *("SENS:AVER:COUN 10", FINE, ("SENS:AVER:COUN?", "10")),
        *("SENS:AVER:COUN 334", FINE, ("SENS:AVER:COUN?", "334")),
    )
    meter.set_averaging(Second(0.003))  # / 0.0003 is a little more than 10 in floating point
    meter.set_averaging(Second(0.1))
    for wrong in (0.0, -1.0, 4.0, float("nan")):
        with pytest.raises(SettingError):
            meter.set_averaging(Second(wrong))


def test_channels_that_it_does_not_have_are_refused(talk: Talk) -> None:
    meter = opened(talk)
    asks: list[Callable[[], object]] = [lambda: meter.read(2), lambda: meter.set_averaging(Second(0.1), [0])]
    for ask in asks:
        with pytest.raises(SettingError, match="channel 1"):
            ask()


@pytest.mark.parametrize(
    ("answer", "power"),
    [("1.234567E-03", 1.234567e-3), ("-1.2E-10", None), ("0.0", None), ("1E-12", None)],
)
def test_readings(talk: Talk, answer: str, power: float | None) -> None:
    meter = opened(talk, ("MEAS:POW?", answer), ("MEAS:POW?", answer))
    assert meter.read(1) == power
    assert meter.read_all() == {1: power}


@pytest.mark.parametrize("answer", ["9.9E+37", "9.91E37"])
def test_more_light_than_it_can_measure_is_no_darkness(talk: Talk, answer: str) -> None:
    meter = opened(talk, ("MEAS:POW?", answer), ("SYST:ERR?", '-231,"Data questionable"'), FINE)
    with pytest.raises(NoReadingError, match="questionable"):
        meter.read(1)


@pytest.mark.parametrize("answer", ["", "dark", "1E-3 W", "1E-3,1E-3", "1.5E+05"])
def test_garbage_is_no_reading(talk: Talk, answer: str) -> None:
    with pytest.raises(PortReplyError):
        opened(talk, ("MEAS:POW?", answer)).read(1)
