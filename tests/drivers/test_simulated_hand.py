"""The simulated lab's own hand and polarisation controller: words, read-back, and never on a real bench."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from drivers.capability import Channel, ChannelConnect, CrossConnect, Hand, PolarisationController
from drivers.errors import InstrumentFaultError, NotTakenError, PortReplyError, SettingError, WrongInstrumentError
from drivers.quantity import Hertz, Second
from drivers.session import Replay
from drivers.simulated_hand import SimulatedHand
from drivers.simulated_polarisation import SimulatedPolarisation

WHO = "millicert,HAND,SIM-1,1"
TURNER = "millicert,POLARISER,SIM-2,1"
OK = (("*OPC?", "1"), ("SYST:ERR?", '0,"No error"'))
Talk = Callable[..., Replay]


def test_they_are_what_a_plan_asks_for(talk: Talk) -> None:
    hand = SimulatedHand(talk(WHO, ("HAND:CHAN:PORT?", '"deg-1","add-1"'), ("HAND:CONN:SIZE?", "0,0")))
    assert isinstance(hand, Hand)
    assert isinstance(hand, ChannelConnect)
    assert isinstance(hand, CrossConnect)
    assert hand.size == (0, 0)
    assert isinstance(SimulatedPolarisation(talk(TURNER)), PolarisationController)
    assert hand.ports == ("deg-1", "add-1")
    assert hand.safe_state().confirmed


@pytest.mark.parametrize("who", ["millicert,HAND,0815,1", "Keysight,HAND,SIM-1,1"])
def test_nothing_real_is_worked_so(talk: Talk, who: str) -> None:
    with pytest.raises(WrongInstrumentError):
        SimulatedHand(talk(who))
    with pytest.raises(WrongInstrumentError):
        SimulatedPolarisation(talk(who.replace("HAND", "POLARISER")))


def test_plugging_is_read_back(talk: Talk) -> None:
    hand = SimulatedHand(talk(WHO, 'HAND:PATC "launch-3","meter-3:8"', *OK, ('HAND:PATC? "meter-3:8"', '"launch-3"')))
    hand.patch("launch-3", "meter-3:8")
    hand = SimulatedHand(talk(WHO, 'HAND:PATC "launch-3","meter-3:8"', *OK, ('HAND:PATC? "meter-3:8"', '""')))
    with pytest.raises(NotTakenError):
        hand.patch("launch-3", "meter-3:8")


def test_what_the_lab_objects_to_is_an_error(talk: Talk) -> None:
    lines = (
        'HAND:CUT "line-9",1',
        ("*OPC?", "1"),
        ("SYST:ERR?", '-224,"Illegal value"'),
        ("SYST:ERR?", '0,"No error"'),
    )
    with pytest.raises(InstrumentFaultError):
        SimulatedHand(talk(WHO, *lines)).cut("line-9", True)


def test_the_other_handles(talk: Talk) -> None:
    hand = SimulatedHand(
        talk(
            WHO,
            ('HAND:CLE? "oxc:in-3"', '"clean"'),
            OK[1],
            'HAND:POW "oxc",30.0',
            *OK,
            'HAND:SWAP "oxc","card-2"',
            *OK,
            'HAND:CUT "line-1",0',
            *OK,
        )
    )
    assert hand.clean("oxc:in-3") == "clean"
    hand.power_cycle("oxc", Second(30))
    hand.swap_card("oxc", "card-2")
    hand.cut("line-1", False)
    with pytest.raises(SettingError):
        hand.power_cycle("oxc", Second(float("nan")))
    with pytest.raises(SettingError):
        hand.patch("launch\n3", "meter-1:1")


def test_channels_are_set_in_whole_hertz_and_read_back(talk: Talk) -> None:
    channel = Channel("deg-1", "deg-2", Hertz(193.1e12), Hertz(50e9))
    one = '"deg-1","deg-2",193100000000000,50000000000'
    hand = SimulatedHand(
        talk(
            WHO,
            f"HAND:CHAN:ADD {one}",
            *OK,
            ("HAND:CHAN:LIST?", f'{one},"add-1","deg-2",1.932E14,75E9'),
            f"HAND:CHAN:REM {one}",
            *OK,
            ("HAND:CHAN:LIST?", '""'),
            ("HAND:CHAN:LIST?", ""),
        )
    )
    hand.add(channel)
    hand.remove(channel)
    assert hand.present() == ()
    with pytest.raises(SettingError):
        hand.add(Channel("deg-1", "deg-2", Hertz(193.1e12 + 0.5), Hertz(50e9)))
    with pytest.raises(SettingError):
        hand.add(Channel("deg-1", "deg-2", Hertz(float("inf")), Hertz(50e9)))


@pytest.mark.parametrize("reply", ['"deg-1"', '"a","b",1', '"a","b",9.9E37,1', "a,b,1,1", '"a","b",x,1', '"a'])
def test_an_absurd_list_of_channels_is_an_error(talk: Talk, reply: str) -> None:
    with pytest.raises(PortReplyError):
        SimulatedHand(talk(WHO, ("HAND:CHAN:LIST?", reply))).present()


def test_a_cross_connect_between_fibres_is_worked_pair_by_pair(talk: Talk) -> None:
    hand = SimulatedHand(
        talk(
            WHO,
            ("HAND:CONN:SIZE?", "4,4"),
            ("HAND:CONN?", '"3>2"'),
            "HAND:DISC 3",
            *OK,
            "HAND:CONN 1,2",
            *OK,
            "HAND:CONN 2,1",
            *OK,
            ("HAND:CONN?", '"1>2","2>1"'),
            ("HAND:CONN?", '"1>2","2>1"'),
            "HAND:DISC 1",
            *OK,
            "HAND:DISC 2",
            *OK,
            ("HAND:CONN?", '""'),
            ("HAND:CONN?", '"1-2"'),
        )
    )
    hand.connect({1: 2, 2: 1})
    hand.clear()
    with pytest.raises(PortReplyError):
        hand.connections()


def test_a_polarisation_is_set_and_read_back(talk: Talk) -> None:
    SimulatedPolarisation(talk(TURNER, "POL:STAT 2,6", *OK, ("POL:STAT?", "2,6"))).set_state(2, 6)
    with pytest.raises(NotTakenError):
        SimulatedPolarisation(talk(TURNER, "POL:STAT 2,6", *OK, ("POL:STAT?", "1,6"))).set_state(2, 6)
    with pytest.raises(SettingError):
        SimulatedPolarisation(talk(TURNER)).set_state(6, 6)
