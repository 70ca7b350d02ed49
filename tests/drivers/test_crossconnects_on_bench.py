"""Every way to work a cross-connect between fibres, against simulated gear: what is joined is what was asked for."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from drivers.calient_tl1 import CalientTl1
from drivers.capability import Channel, ChannelConnect, CrossConnect, Hand, PolarisationController
from drivers.catalogue import open_driver
from drivers.clock import WALL
from drivers.errors import DeniedError, InstrumentError, InstrumentFaultError, NotTakenError, PortLostError
from drivers.polatis_scpi import PolatisScpi, PortState
from drivers.polatis_tl1 import PolatisTl1
from drivers.quantity import Hertz, Second
from drivers.simulated.lab import Lab
from drivers.simulated.matrix import FibreMatrix
from drivers.simulated.polariser import Polariser
from drivers.simulated_hand import SimulatedHand

PORTS = 8
WAYS: dict[str, tuple[str, str, dict[str, str]]] = {
    "polatis-scpi": ("POLATIS", "polatis-scpi", {}),
    "polatis-tl1": ("POLATIS-TL1", "polatis-tl1", {"user": "root", "password": "root"}),
    "calient-tl1": ("CALIENT", "calient-tl1", {"user": "admin", "password": "pxc***"}),
    "prompted": ("HAND", "simulated-hand", {}),
}


def table_of(way: str, *, clock: str = "virtual", **options: object) -> dict[str, Any]:
    carrier = "tl1" if way.endswith("tl1") else "tcp"
    table: dict[str, Any] = {
        "seed": 5,
        "clock": clock,
        "hand_s": 0.01,
        "parts": {"dut": "oxc"},
        "oxc": {"kind": "fibre-matrix", "ports": PORTS, "protocol": way},
        "instruments": {"oxc": {"model": WAYS[way][0], "serial": "SIM-OXC-1", "carrier": carrier}},
    }
    if options:
        table["instruments"]["oxc"]["options"] = options
    return table


def lab(way: str, *, clock: str = "virtual", **options: object) -> Lab:
    return Lab.of(table_of(way, clock=clock, **options))


def joined(made: Lab) -> Mapping[int, int]:
    """The truth."""
    return made.plant.get("oxc", FibreMatrix).connections()


@contextlib.contextmanager
def opened(way: str, made: Lab) -> Iterator[Any]:
    device = open_driver(
        WAYS[way][1], made.resources()["oxc"], backend=made.visa, clock=made.clock, options=WAYS[way][2]
    )
    assert isinstance(device, CrossConnect)
    try:
        yield device
    finally:
        device.close()


@pytest.fixture(params=sorted(WAYS))
def way(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_nothing_simulated_passes_for_real(way: str) -> None:
    with opened(way, lab(way)) as oxc:
        assert oxc.identity.simulated
        assert oxc.size == (PORTS, PORTS)


pairs = st.permutations(range(1, PORTS + 1)).flatmap(
    lambda order: st.lists(st.integers(1, PORTS), unique=True, max_size=PORTS).map(
        lambda chosen: {i: order[i - 1] for i in chosen}
    )
)
steps = st.lists(
    st.tuples(st.just("connect"), pairs)
    | st.tuples(st.just("only"), pairs)
    | st.tuples(st.just("disconnect"), st.sets(st.integers(1, PORTS)))
    | st.tuples(st.just("clear"), st.none()),
    max_size=5,
)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(sorted(WAYS)), steps)
def test_whatever_is_done_the_gear_is_as_it_should_be(way: str, done: list[tuple[str, Any]]) -> None:
    made = lab(way)
    model: dict[int, int] = {}
    with opened(way, made) as oxc:
        for act, what in done:
            if act == "connect":
                oxc.connect(what)
                model = {i: e for i, e in model.items() if i not in what and e not in what.values()} | what
            elif act == "only":
                oxc.only(what)
                model = dict(what)
            elif act == "disconnect":
                oxc.disconnect(what)
                model = {i: e for i, e in model.items() if i not in what}
            else:
                oxc.clear()
                model = {}
            assert dict(oxc.connections()) == model
            assert dict(joined(made)) == model


@settings(max_examples=80, deadline=None)
@given(
    st.sampled_from(sorted(WAYS)),
    st.sampled_from(["late", "partial", "duplicated", "stale", "lost", "refused", "overflow", "dropped"]),
    st.integers(0, 1000),
    st.lists(pairs, min_size=1, max_size=6),
)
def test_whatever_goes_wrong_on_the_wire_what_returns_is_so(
    way: str, kind: str, seed: int, wanted: list[dict[int, int]]
) -> None:
    table = table_of(way)
    table["seed"] = seed
    table["instruments"]["oxc"]["faults"] = [{"kind": kind, "probability": 0.1, "seconds": 30.0}]
    made = Lab.of(table)
    try:
        with opened(way, made) as oxc:
            for each in wanted:
                oxc.only(each)
                assert dict(joined(made)) == each
                assert dict(oxc.connections()) == each
    except InstrumentError:
        return  # said, not passed over


def test_over_real_sockets_and_in_real_time(way: str) -> None:
    made = lab(way, clock="real")
    with made.serve() as served:
        resource = served.resources()["oxc"]
        device = open_driver(WAYS[way][1], resource, clock=WALL, options=WAYS[way][2])
        assert isinstance(device, CrossConnect)
        device.connect({1: 2, 3: 4})
        device.connect({1: 4})
        assert dict(device.connections()) == {1: 4} == dict(joined(made))
        device.clear()
        device.close()
        device.close()
        assert not joined(made)


def test_gear_that_vanishes_is_an_error_of_ours(way: str) -> None:
    made = lab(way, clock="real")
    served = made.serve()
    device = open_driver(WAYS[way][1], served.resources()["oxc"], clock=WALL, options=WAYS[way][2])
    assert isinstance(device, CrossConnect)
    served.close()
    with pytest.raises(PortLostError):
        device.connect({1: 1})
    with pytest.raises(InstrumentError):
        device.connections()
    device.close()


def test_a_failed_port_is_named_by_polatis() -> None:
    made = lab("polatis-scpi", failed_ports=[PORTS + 3])
    with opened("polatis-scpi", made) as oxc:
        assert isinstance(oxc, PolatisScpi)
        with pytest.raises(NotTakenError, match="egress 3 is failed"):
            oxc.connect({1: 3})
        oxc.disable(ingresses=[2])
        assert oxc.port_states()[0][1] is PortState.DISABLED
        with pytest.raises(NotTakenError, match="ingress 2 is disabled"):
            oxc.only({2: 2})
        oxc.enable(ingresses=[2])
        oxc.only({2: 2})
        assert dict(joined(made)) == {2: 2}


@pytest.mark.parametrize("way", ["polatis-tl1", "calient-tl1"])
def test_a_failed_port_is_denied_over_tl1(way: str) -> None:
    made = lab(way, failed_ports=[PORTS + 3])
    with opened(way, made) as oxc, pytest.raises(DeniedError) as why:
        oxc.connect({1: 3})
    assert why.value.reason == "SNVS"


def test_a_wrong_password_is_denied() -> None:
    made = lab("polatis-tl1")
    with pytest.raises(DeniedError):
        open_driver(
            "polatis-tl1",
            made.resources()["oxc"],
            backend=made.visa,
            clock=made.clock,
            options={"user": "root", "password": "toor"},
        )


def test_polatis_joins_lists_of_ports_at_once() -> None:
    made = lab("polatis-tl1")
    options = {"user": "root", "password": "root", "lists": True}
    oxc = open_driver("polatis-tl1", made.resources()["oxc"], backend=made.visa, clock=made.clock, options=options)
    assert isinstance(oxc, PolatisTl1)
    wanted = {i: PORTS + 1 - i for i in range(1, PORTS + 1)}
    oxc.only(wanted)
    assert dict(joined(made)) == wanted


def test_polatis_tells_power_and_closes_shutters() -> None:
    made = lab("polatis-tl1")
    with opened("polatis-tl1", made) as oxc:
        assert isinstance(oxc, PolatisTl1)
        ingress, egress = oxc.port_power()
        assert set(ingress) == set(egress) == set(range(1, PORTS + 1))
        oxc.set_shutters(closed=True, ingresses=[1], egresses=[2])
        oxc.set_shutters(closed=False, ingresses=[1], egresses=[2])


def test_calient_tells_power_and_what_is_dark_in_answers_of_several_blocks() -> None:
    made = lab("calient-tl1")
    with opened("calient-tl1", made) as oxc:
        assert isinstance(oxc, CalientTl1)
        oxc.connect({1: 2})
        assert dict(oxc.dark()) == {1: 2}
        into, out = oxc.port_power()
        assert into[1] is None
        assert set(out) == set(range(1, PORTS + 1))


def test_a_hand_that_cannot_says_why() -> None:
    made = lab("prompted")
    with opened("prompted", made) as hand:
        assert isinstance(hand, SimulatedHand)
        with pytest.raises(InstrumentFaultError):
            hand.patch("launch-99", "oxc:in-1")
        with pytest.raises(InstrumentFaultError):
            hand.swap_card("oxc", "card-1")
        assert hand.ports == ()


def wss() -> Lab:
    return Lab.of(
        {
            "seed": 5,
            "hand_s": 0.25,
            "parts": {"source": "laser", "polariser": "turner", "hand": "hand", "dut": "oxc"},
            "wiring": {"receive": ["meter:1-4"], "reference": "meter:8"},
            "oxc": {"kind": "wss", "degrees": 3, "adds": 2, "drops": 2, "protocol": "prompted"},
            "fibres": {"line-1": {"km": 10.0}},
            "instruments": {
                "laser": {"model": "8164B", "serial": "SIM-1"},
                "turner": {"model": "POLARISER", "serial": "SIM-2"},
                "meter": {"model": "N7745A", "serial": "SIM-3"},
                "hand": {"model": "HAND", "serial": "SIM-4"},
                "oxc": {"model": "HAND", "serial": "SIM-5"},
            },
        }
    )


def test_the_hand_plugs_cleans_cuts_and_sets_channels_of_a_wss() -> None:
    made = wss()
    here = made.resources()
    hand = open_driver("simulated-hand", here["hand"], backend=made.visa, clock=made.clock)
    assert isinstance(hand, Hand)
    assert isinstance(hand, ChannelConnect)
    began = made.clock.now_ns()
    hand.patch("launch-1", "meter:8")
    assert 0.25 <= (made.clock.now_ns() - began) / 1e9 < 0.5
    assert made.plant.peer("meter:8") is not None
    assert "clean" in hand.clean("launch-1")
    hand.patch("launch-1", "oxc:deg-1")
    hand.cut("line-1", True)
    hand.cut("line-1", False)
    began = made.clock.now_ns()
    hand.power_cycle("oxc", Second(30.0))
    assert (made.clock.now_ns() - began) / 1e9 >= 30.25
    assert {"deg-1", "add-1", "drop-2"} <= set(hand.ports)
    channel = Channel("deg-1", "deg-2", Hertz(193.1e12), Hertz(50e9))
    hand.add(channel)
    assert list(hand.present()) == [channel]
    hand.remove(channel)
    assert list(hand.present()) == []
    with pytest.raises(InstrumentFaultError):
        hand.add(Channel("deg-9", "deg-2", Hertz(193.1e12), Hertz(50e9)))


def test_the_polarisation_is_turned() -> None:
    made = wss()
    turner = open_driver("simulated-polarisation", made.resources()["turner"], backend=made.visa, clock=made.clock)
    assert isinstance(turner, PolarisationController)
    turner.set_state(3, 6)
    assert made.plant.get("turner", Polariser).state == (3, 6)
    assert turner.safe_state().confirmed
