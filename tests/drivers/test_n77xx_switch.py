"""What a Keysight N773x is told, and what is made of its answers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from drivers.capability import OpticalSwitch
from drivers.errors import InstrumentFaultError, NotTakenError, PortReplyError, SettingError, WrongInstrumentError
from drivers.keysight_n77xx_switch import KeysightN77xxSwitch
from drivers.session import Replay
from drivers.simulated.virtual import VirtualClock

Talk = Callable[..., Replay]

WHO = "Agilent Technologies,N7731A,DE00000005,1.16"
FINE = ("SYST:ERR?", '+0,"No error"')


def opened(talk: Talk, *lines: Any) -> KeysightN77xxSwitch:
    return KeysightN77xxSwitch(talk(WHO, FINE, *lines), clock=VirtualClock(), switch=2)


def test_it_is_what_a_plan_may_ask_for(talk: Talk) -> None:
    switch = opened(talk)
    assert isinstance(switch, OpticalSwitch)
    assert switch.routes == 4
    assert switch.safe_state().confirmed


def test_another_instrument_or_switch_is_refused(talk: Talk) -> None:
    with pytest.raises(WrongInstrumentError):
        KeysightN77xxSwitch(talk("Agilent Technologies,N7745A,DE1,1"))
    with pytest.raises(SettingError, match="1 to 1"):
        KeysightN77xxSwitch(talk("Agilent Technologies,N7734A,DE1,1"), switch=2)


def test_it_selects_waits_and_asks(talk: Talk) -> None:
    switch = opened(
        talk,
        *("ROUT2:CHAN1 A,3", FINE, ("*OPC?", "0"), ("*OPC?", "1"), ("ROUT2:CHAN1?", "A,3")),
        *("ROUT2:CHAN1 A,4", FINE, ("*OPC?", "1"), ("ROUT2:CHAN1?", "A,3")),
    )
    switch.select(3)
    with pytest.raises(NotTakenError, match="output 3"):
        switch.select(4)


@pytest.mark.parametrize("output", [0, 5, -1, True])
def test_an_output_that_it_does_not_have_is_not_sent(talk: Talk, output: int) -> None:
    with pytest.raises(SettingError):
        opened(talk).select(output)


def test_a_bad_route_is_an_error(talk: Talk) -> None:
    with pytest.raises(InstrumentFaultError, match="StatParamError"):
        opened(talk, "ROUT2:CHAN1 A,4", ("SYST:ERR?", '-220,"Parameter error;StatParamError"'), FINE).select(4)


@pytest.mark.parametrize(("answer", "output"), [("A,1", 1), ("A,4;B,1", 4), ('"A,2"', 2), (" a , 2 ", 2)])
def test_answers(talk: Talk, answer: str, output: int) -> None:
    assert opened(talk, ("ROUT2:CHAN1?", answer)).selected() == output


@pytest.mark.parametrize("answer", ["", "1", "B,1", "A,5", "A,0", "A,1;A,2", "A,1;rubbish", "A1"])
def test_garbage_is_no_route(talk: Talk, answer: str) -> None:
    with pytest.raises(PortReplyError):
        opened(talk, ("ROUT2:CHAN1?", answer)).selected()
