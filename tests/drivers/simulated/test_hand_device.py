"""The simulated lab's hand: what it is told it does, in the time that it takes, and what it cannot do it says."""

from __future__ import annotations

import pytest

from drivers.capability import Channel
from drivers.port import Identity
from drivers.quantity import Hertz
from drivers.simulated.fibre import Fibre
from drivers.simulated.hand import HandDevice
from drivers.simulated.plant import Plant, Sink
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.wss import Wss
from tests.drivers.simulated.plant_model import Bench, bench

WHO = Identity("millicert", "HAND", "SIM-HAND", "1")


def said(hand: HandDevice, message: str) -> str:
    return (hand.handle(message.encode()) or b"").decode()


def errors(hand: HandDevice) -> str:
    return said(hand, "SYST:ERR?")


@pytest.fixture
def b() -> Bench:
    made = bench()
    made.on()
    made.plant.add(Sink("terminator", ("1", "2")))
    made.plant.add(Fibre("line-1", 10.0))
    return made


@pytest.fixture
def hand(b: Bench) -> HandDevice:
    return HandDevice(WHO, b.clock, b.plant, dut="oxc", hand_s=2.0)


def test_it_plugs_takes_its_time_and_tells_what_is_plugged_in(b: Bench, hand: HandDevice) -> None:
    before = b.clock.now_ns()
    said(hand, 'HAND:PATCh "launch-3","reference:1"')
    assert b.clock.now_ns() - before == pytest.approx(2.0e9, rel=0.01)
    assert b.dbm("reference:1") == pytest.approx(b.dbm("launch-3"), abs=0.3)
    assert said(hand, 'hand:patc? "reference:1"') == '"launch-3"'
    assert said(hand, 'HAND:PATC? "oxc:in-3"') == '""'
    assert errors(hand).startswith("0,")


def test_while_it_plugs_the_cord_is_nowhere(b: Bench, hand: HandDevice) -> None:
    start = b.clock.now_ns()
    said(hand, 'HAND:PATC "launch-3","reference:1"')
    series = b.plant.power_series("reference:1", start, 10_000_000, 201)
    assert series[199] == 0.0
    assert series[0] == 0.0
    assert b.plant.power("reference:1") > 0


@pytest.mark.parametrize("target", ["open", "launch-3:open", "terminator"])
def test_it_leaves_a_cord_loose_or_in_a_terminator(b: Bench, hand: HandDevice, target: str) -> None:
    said(hand, f'HAND:PATC "launch-3","{target}"')
    assert said(hand, f'HAND:PATC? "{target}"') == '"launch-3"'
    assert b.plant.peer("oxc:in-3") is None
    said(hand, 'HAND:PATC "launch-3","oxc:in-3"')
    assert said(hand, f'HAND:PATC? "{target}"') == '""'
    assert errors(hand).startswith("0,")


def test_a_terminator_takes_several_cords(b: Bench, hand: HandDevice) -> None:
    said(hand, 'HAND:PATC "launch-1","terminator"')
    said(hand, 'HAND:PATC "launch-2","terminator"')
    assert b.plant.peer("launch-1") == "terminator:1"
    assert b.plant.peer("launch-2") == "terminator:2"


def test_it_cleans_and_says_what_it_saw(b: Bench, hand: HandDevice) -> None:
    b.plant.soil("oxc:in-1", 2.0)
    assert said(hand, 'HAND:INSP? "oxc:in-1"') == '"oxc:in-1: dirt on the core"'
    said(hand, 'HAND:CLE "oxc:in-1"')
    assert said(hand, 'HAND:INSP? "oxc:in-1"') == '"oxc:in-1: clean; cleaning took away: dirt on the core"'
    assert "nothing" in said(hand, 'HAND:CLEan? "oxc:in-1"')


@pytest.mark.parametrize(
    ("message", "code"),
    [
        ('HAND:PATC "launch-9","oxc:in-1"', -224),
        ('HAND:PATC "launch-1","oxc:in-9"', -224),
        ('HAND:PATC "meter:1","oxc:in-1"', -224),
        ('HAND:PATC "launch-1"', -109),
        ("HAND:PATC launch-1,meter:1", -104),
        ('HAND:PATC? "moon"', -224),
        ('HAND:CLE "moon"', -224),
        ('HAND:INSP? "moon"', -224),
        ('HAND:CUT "moon",1', -224),
        ('HAND:CUT "oxc:in-1",5', -224),
        ('HAND:POW "moon",1', -224),
        ('HAND:POW "oxc",-1', -222),
        ('HAND:SWAP "oxc","card-1"', -221),
        ('HAND:CHAN:ADD "deg-1","deg-2",193.1e12,75e9', -221),
        ("HAND:CHAN:LIST?", -221),
        ("HAND:CONN 9,1", -222),
        ("HAND:DISC 0", -222),
    ],
)
def test_what_cannot_be_done_is_said_and_nothing_changes(b: Bench, hand: HandDevice, message: str, code: int) -> None:
    before = {f"launch-{k}": b.plant.peer(f"launch-{k}") for k in range(1, 5)}
    said(hand, message)
    assert errors(hand).split(",")[0] == str(code)
    assert {f"launch-{k}": b.plant.peer(f"launch-{k}") for k in range(1, 5)} == before


def test_it_cuts_a_fibre_and_makes_it_whole(b: Bench, hand: HandDevice) -> None:
    b.plant.patch("launch-1", "line-1:a")
    b.plant.patch("line-1:b", "reference:1")
    said(hand, 'HAND:CUT "line-1",1')
    assert b.plant.power("reference:1") == 0.0
    said(hand, 'HAND:CUT "line-1",OFF')
    assert b.plant.power("reference:1") > 0.0


def test_it_takes_power_away_and_waits_until_the_gear_is_up(b: Bench) -> None:
    told: list[str] = []

    class Controller:
        def power_cycled(self) -> None:
            told.append("up")

    hand = HandDevice(WHO, b.clock, b.plant, dut="oxc", hand_s=1.0, devices={"oxc": Controller()})
    b.matrix.latching, b.matrix.boot_s = False, 30.0
    b.matrix.connect({1: 1})
    before = b.clock.now_ns()
    said(hand, 'HAND:POW "oxc",5')
    assert b.clock.now_ns() - before == pytest.approx(36e9, rel=0.01)
    assert b.matrix.connections() == {1: 1}
    assert told == ["up"]


def test_it_works_a_cross_connect_between_fibres_by_hand(b: Bench, hand: HandDevice) -> None:
    assert said(hand, "HAND:CONN:SIZE?") == "4,4"
    assert said(hand, "HAND:CONN?") == '""'
    said(hand, "HAND:CONN 3,1")
    said(hand, "HAND:CONN 2,4")
    assert said(hand, "HAND:CONN?") == '"2>4","3>1"'
    said(hand, "HAND:DISC 2")
    assert b.matrix.connections() == {3: 1}


def test_it_works_a_cross_connect_between_slices() -> None:
    clock = VirtualClock()
    plant = Plant(clock, 1)
    wss = plant.add(Wss("oxc", 3, 1, 1))
    hand = HandDevice(WHO, clock, plant, dut="oxc")
    assert said(hand, "HAND:CHAN:PORT?") == '"deg-1","deg-2","deg-3","add-1","drop-1"'
    assert said(hand, "HAND:CHAN:LIST?") == '""'
    said(hand, 'HAND:CHAN:ADD "deg-1","deg-2",193100000000000,75000000000')
    said(hand, 'HAND:CHAN:ADD "add-1","deg-3",193.1 THZ,75 GHZ')
    assert wss.present() == (
        Channel("deg-1", "deg-2", Hertz(193.1e12), Hertz(75e9)),
        Channel("add-1", "deg-3", Hertz(193.1e12), Hertz(75e9)),
    )
    assert said(hand, "HAND:CHAN:LIST?").startswith('"deg-1","deg-2",193100000000000,75000000000,"add-1"')
    said(hand, 'HAND:CHAN:ADD "deg-3","deg-2",193100000000000,75000000000')
    assert errors(hand).startswith("-221")
    said(hand, 'HAND:SWAP "oxc","card-1"')
    assert len(wss.present()) == 2
    said(hand, 'HAND:SWAP "oxc","card-7"')
    assert errors(hand).startswith("-224")
    said(hand, 'HAND:CHAN:REM "deg-1","deg-2",193100000000000,75000000000')
    said(hand, 'HAND:CHAN:REM "deg-1","deg-2",193100000000000,75000000000')
    assert errors(hand).startswith("-221")
    assert len(wss.present()) == 1
