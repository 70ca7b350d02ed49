"""What a Keysight N775x/N776x is told, and what is made of its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from drivers.capability import Attenuator
from drivers.errors import (
    InstrumentFaultError,
    NotTakenError,
    PortReplyError,
    PortTimeoutError,
    SettingError,
    WrongInstrumentError,
)
from drivers.keysight_n77xx_attenuator import KeysightN77xxAttenuator
from drivers.quantity import DB, Metre
from drivers.session import Replay
from drivers.simulated.virtual import VirtualClock

Talk = Callable[..., Replay]

WHO = "Agilent Technologies,N7762A,DE00000002,1.16"
FINE = ("SYST:ERR?", '+0,"No error"')
OPENED = (
    FINE,
    "OUTP1:POW:CONTR 0",
    "INP1:OFFS 0.0DB",
    "OUTP3:POW:CONTR 0",
    "INP3:OFFS 0.0DB",
    FINE,
    ("INP1:ATT? MIN", "+0.00000000E+000"),
    ("INP1:ATT? MAX", "+4.50000000E+001"),
    ("INP3:ATT? MIN", "+0.00000000E+000"),
    ("INP3:ATT? MAX", "+4.00000000E+001"),
)


def opened(talk: Talk, *lines: Any, clock: VirtualClock | None = None) -> KeysightN77xxAttenuator:
    return KeysightN77xxAttenuator(talk(WHO, *OPENED, *lines), clock=clock or VirtualClock())


def test_it_is_what_a_plan_may_ask_for(talk: Talk) -> None:
    box = opened(talk)
    assert isinstance(box, Attenuator)
    assert box.channels == 2
    assert box.unconfirmed


def test_another_instrument_is_refused(talk: Talk) -> None:
    with pytest.raises(WrongInstrumentError):
        KeysightN77xxAttenuator(talk("Agilent Technologies,N7745A,DE1,1"))


def test_it_attenuates_and_waits_for_its_own_slot(talk: Talk) -> None:
    clock = VirtualClock()
    box = opened(
        talk,
        "INP3:ATT 14.5DB",
        FINE,
        ("SLOT3:OPC?", "+0"),
        ("SLOT3:OPC?", "+0"),
        ("SLOT3:OPC?", "+1"),
        ("INP3:ATT?", "+1.45000000E+001"),
        clock=clock,
    )
    box.set_attenuation(2, DB(14.5))
    assert clock.now_ns() == 2_000_000
    assert box.attenuation(2) == 14.5


@pytest.mark.parametrize(
    ("channel", "db"), [(1, 45.1), (2, 40.1), (1, -0.1), (1, float("nan")), (1, float("inf")), (3, 1.0)]
)
def test_what_the_box_cannot_is_not_sent(talk: Talk, channel: int, db: float) -> None:
    with pytest.raises(SettingError):
        opened(talk).set_attenuation(channel, DB(db))


def test_the_data_sheet_goes_before_a_box_that_says_more(talk: Talk) -> None:
    lines = [*OPENED[:-1], ("INP3:ATT? MAX", "+6.00000000E+001")]
    with pytest.raises(SettingError, match="45 dB"):
        KeysightN77xxAttenuator(talk(WHO, *lines)).set_attenuation(2, DB(50))


def test_what_it_objects_to_is_an_error(talk: Talk) -> None:
    box = opened(talk, "INP1:ATT 3.0DB", ("SYST:ERR?", '-200,"Execution error;zeroing"'), FINE)
    with pytest.raises(InstrumentFaultError, match="zeroing"):
        box.set_attenuation(1, DB(3))


def test_a_filter_that_never_settles_is_an_error(talk: Talk) -> None:
    session = talk(WHO, *OPENED, "INP1:ATT 3.0DB", FINE, *[("SLOT1:OPC?", "+0")] * 2000)
    box = KeysightN77xxAttenuator(session, clock=VirtualClock())
    with pytest.raises(PortTimeoutError, match="30 s"):
        box.set_attenuation(1, DB(3))
    session.finish = lambda: None  # type: ignore[method-assign]  # how often it looked is its own affair


def test_a_shutter_is_asked_whether_it_obeyed(talk: Talk) -> None:
    settled = ("SLOT1:OPC?", "+1")
    box = opened(
        talk,
        *("OUTP1 1", FINE, settled, ("OUTP1?", "+1")),
        ("OUTP1?", "+1"),
        *("OUTP1 0", FINE, settled, ("OUTP1?", "+1")),
    )
    box.set_shutter(1, True)
    assert box.shutter(1) is True
    with pytest.raises(NotTakenError, match="OUTP1"):
        box.set_shutter(1, False)


def test_the_wavelength_is_that_of_all_channels(talk: Talk) -> None:
    box = opened(
        talk, *("INP1:WAV 1.31E-06", FINE, ("SLOT1:OPC?", "1")), *("INP3:WAV 1.31E-06", FINE, ("SLOT3:OPC?", "1"))
    )
    box.set_wavelength(Metre(1310e-9))
    with pytest.raises(SettingError):
        box.set_wavelength(Metre(1200e-9))


@pytest.mark.parametrize("answer", ["", "14 DB", "+9.91E+037", "14,15", "shut"])
def test_garbage_is_no_attenuation(talk: Talk, answer: str) -> None:
    with pytest.raises(PortReplyError):
        opened(talk, ("INP1:ATT?", answer)).attenuation(1)


@pytest.mark.parametrize("answer", ["", "2", "open", "+1.5"])
def test_garbage_is_no_shutter(talk: Talk, answer: str) -> None:
    with pytest.raises(PortReplyError):
        opened(talk, ("OUTP1?", answer)).shutter(1)


def test_the_safe_state_is_all_shutters_closed(talk: Talk) -> None:
    both = ("OUTP1 0", "OUTP3 0", ("SLOT1:OPC?", "1"), ("OUTP1?", "0"), ("SLOT3:OPC?", "1"))
    safe = opened(talk, *both, ("OUTP3?", "0")).safe_state()
    assert safe.confirmed
    assert safe.said == "shutter 1 closed, shutter 2 closed"
    stuck = opened(talk, *both, ("OUTP3?", "1")).safe_state()
    assert not stuck.confirmed
    assert stuck.said == "shutter 1 closed, shutter 2 OPEN"
