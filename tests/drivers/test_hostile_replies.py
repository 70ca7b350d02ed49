"""Cross-connects, hands, testers and reflectometers that answer anything: an error of ours, and in time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.capability import Channel
from drivers.errors import InstrumentError
from drivers.exfo_ftb import ExfoFtb
from drivers.polatis_scpi import PolatisScpi
from drivers.port import Identity
from drivers.quantity import Hertz, Metre, Second
from drivers.simulated_hand import SimulatedHand
from drivers.simulated_polarisation import SimulatedPolarisation
from drivers.viavi_mts import ViaviMts
from drivers.viavi_otu import ViaviOtu


class Hostile:
    """A session that answers whatever it is told to, one after the other, then always the last."""

    resource = "TCPIP0::192.0.2.7::5025::SOCKET"
    timeout_s = 2.0

    def __init__(self, who: str, replies: list[str]) -> None:
        self.identity = Identity(*who.split(","))
        self.replies = replies
        self.asked = 0

    def write(self, message: str, timeout_s: float | None = None) -> None:
        assert "?" not in message

    def query(self, message: str, timeout_s: float | None = None) -> str:
        assert "?" in message
        self.asked += 1
        assert self.asked < 20_000, "it would never end"
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]

    def query_block(self, message: str, timeout_s: float | None = None) -> bytes:
        return self.query(message).encode()

    @contextlib.contextmanager
    def turn(self, timeout_s: float | None = None) -> Iterator[None]:
        yield

    def close(self) -> None:
        pass


class Ticks:
    """A clock that goes on by what is slept, and a little whenever it is asked."""

    def __init__(self) -> None:
        self.ns = 0

    def now_ns(self) -> int:
        self.ns += 1_000_000
        return self.ns

    def sleep(self, seconds: float) -> None:
        self.ns += round(seconds * 1e9)


CHANNEL = Channel("deg-1", "deg-2", Hertz(193.1e12), Hertz(50e9))
MAKERS: dict[str, tuple[str, Callable[[Any, Any], Any], list[Callable[[Any], object]]]] = {
    "polatis": (
        "Polatis,X,1,1",
        lambda session, clock: PolatisScpi(session, clock=clock),
        [
            lambda each: each.connect({1: 1}),
            lambda each: each.only({1: 1}),
            lambda each: each.clear(),
            lambda each: each.port_states(),
        ],
    ),
    "hand": (
        "millicert,HAND,SIM-1,1",
        lambda session, clock: SimulatedHand(session, clock=clock),
        [
            lambda each: each.patch("launch-1", "meter:1"),
            lambda each: each.clean("launch-1"),
            lambda each: each.add(CHANNEL),
            lambda each: each.ports,
            lambda each: each.connect({1: 1}),
        ],
    ),
    "turner": (
        "millicert,POLARISER,SIM-1,1",
        lambda session, clock: SimulatedPolarisation(session, clock=clock),
        [lambda each: each.set_state(1, 6)],
    ),
    "exfo": (
        "EXFO,FTB,1,1",
        lambda session, clock: ExfoFtb(session, clock=clock),
        [lambda each: each.start_disruption(), lambda each: each.longest_disruption(), lambda each: each.safe_state()],
    ),
    "mts": (
        "VIAVI,MTS,1,1",
        lambda session, clock: ViaviMts(session, clock=clock, disruption="A:B"),
        [
            lambda each: each.select("TermEth100GL2Traffic"),
            lambda each: each.longest_disruption(),
            lambda each: each.safe_state(),
        ],
    ),
    "otu": (
        "VIAVI,OTU,1,1",
        lambda session, clock: ViaviOtu(session, clock=clock),
        [
            lambda each: each.trace(Metre(1550e-9), Metre(1e4), Second(1e-7), Second(10.0)),
            lambda each: each.safe_state(),
        ],
    ),
}
PLAUSIBLE = st.sampled_from(
    [
        "1",
        "0",
        "4,4",
        "(@),(@)",
        "(@1),(@5)",
        "(E,E)",
        '0,"No error"',
        '-200,"x"',
        '""',
        '"1>1"',
        '"deg-1","deg-2",193100000000000,50000000000',
        "9.91e+37",
        'MOD1: X,"SM-OTDR" : L1550',
        '"100 ns"',
        '"40 km"',
        '"/a","b.sor"',
        "TermEth100GL2Traffic_101",
    ]
)


@pytest.mark.parametrize("name", sorted(MAKERS))
@settings(max_examples=150, deadline=None)
@given(replies=st.lists(PLAUSIBLE | st.text(max_size=40), min_size=1, max_size=20))
def test_whatever_is_answered_it_ends_and_says_so(name: str, replies: list[str]) -> None:
    who, make, acts = MAKERS[name]
    try:
        made = make(Hostile(who, list(replies)), Ticks())
    except InstrumentError:
        return
    for act in acts:
        with contextlib.suppress(InstrumentError):
            act(made)
