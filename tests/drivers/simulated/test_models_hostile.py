"""No simulated instrument stumbles, whatever its commands are given."""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Any

import pytest

from drivers.simulated.attenuator import Attenuator
from drivers.simulated.instrument import SimulatedInstrument
from drivers.simulated.laser import Laser
from drivers.simulated.matrix import FibreMatrix
from drivers.simulated.models import MODELS, connect_triggers
from drivers.simulated.plant import Element, Places, Plant, Sink
from drivers.simulated.polariser import Polariser
from drivers.simulated.scpi import ScpiDevice
from drivers.simulated.switch1xn import Switch
from drivers.simulated.tl1 import Tl1Device
from drivers.simulated.virtual import VirtualClock

ARGUMENTS = (
    "", "0", "1", "2", "-1", "1.5", "1e300", "-1e-300", "MIN", "MAX", "DEF", "NAN", "INF", "ON", "OFF", "1550NM",
    "0DBM", "-60DBM", "1W", "0W", "20MS", "100,100US", "1,1", "2,1", "TOREF,0", "TOREF,1W", "LOGG,STAR", "LOGG,STOP",
    "STAB,STAR", "MINM,STAR", "MINM,STOP", "10S,1S,100MS", "WIND,5", "A,1", "B,2", "LLOG", "TRA", "TRA,1,3",
    "TRA,3,1", "SME", "CME", "STF", "CONT", "STEP", "TWOW", '"x"', "(@1)", "(@1,2),(@9,10)", "(@1:4),(@)", "(@),(@)",
    "(@)", "#13abc", "ASC", "REAL,32", "1540NM,1550NM", "0,1234", "1,1234", "WORD 1", "BOTH,BASE",
    'BOTH,BASE,"BERT"', "COUNT:MAC:ETH:FRAME",
    'MOD2,1,#170001004,MAN,1000,80,15,1.465,1550,64,"SM-OTDR"', 'MOD2,"SM-OTDR"', "\x00", "é", "1" * 300,
)  # fmt: skip
AIDS = (
    "", "ALL", "0", "1", "16", "17", "1,9", "1&2,9&10", "1&&16", "9,1", "1.1.1", "1.1.1,1.1.2", "9.9.9", "1.1.1>1.1.2",
    "SYSTEM", "OCS", "TIMEOUT", "&", "&&", "1&&", "x", "1.1.1,1.1.2,1.1.3", "-1", "1" * 30,
)  # fmt: skip
BLOCKS = (
    "", "SYSTEM,1WAY", "SYSTEM,2WAY,name", "1.1.1>1.1.2,SYSTEM", "1.1.1-1.1.2", "WAVE=1310", "WAVE=x", "OFFSET=1e999",
    "PARAMETER=SIZE", "PARAMETER=", "ADMIN=5", "ADMIN=-1", "LABEL=\"a b\"", "=", ",,", "BOGUS=1",
)  # fmt: skip


def element(name: str, kind: str, ports: tuple[str, ...], channels: int) -> Element:
    if kind == "Sink":
        return Sink(name, ports, two_way="out" in ports)
    made: dict[str, Any] = {
        "Laser": lambda: Laser(name, 7, channels=channels),
        "Attenuator": lambda: Attenuator(name, 7, channels=channels),
        "FibreMatrix": lambda: FibreMatrix(name, 8, 8, 7),
        "Polariser": lambda: Polariser(name),
        "Switch": lambda: Switch(name, channels, 7),
    }
    found: Element = made[kind]()
    return found


def instrument(model: str) -> SimulatedInstrument:
    """On a plant of its own, with light at its first input."""
    clock = VirtualClock()
    plant = Plant(clock, 7)
    known = MODELS[model]
    mine = plant.add(element("it", known.element, known.ports, known.channels))
    if known.element != "Laser" and mine.ins:
        lamp = plant.add(Laser("lamp", 7))
        lamp.set_output(True)
        plant.patch("lamp:out", f"it:{mine.ins[0]}")
    made = known.factory(known.identity(model, "SIM-1"), clock, plant, Places("it", 7), {})
    connect_triggers([made])
    return made


def headers(device: ScpiDevice) -> Iterator[str]:
    """Everything it knows, short."""

    def below(node: Any, name: str) -> Iterator[str]:
        if node.command is not None:
            yield name
        if node.query is not None:
            yield f"{name}?"
        seen = set()
        for word, child in sorted(node.children.items(), key=lambda each: len(each[0])):
            if id(child) not in seen:
                seen.add(id(child))
                yield from below(child, f"{name}:{word}")

    yield from below(device._headers._root, "")


def with_suffix(draw: random.Random, header: str) -> str:
    first, *rest = header.lstrip(":").rstrip("?").split(":")
    number = draw.choice(("", "", "0", "1", "2", "5", "9", "99999"))
    return ":".join((first + number, *rest)) + ("?" if header.endswith("?") else "")


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_command_with_every_argument_ends_without_an_internal_error(model: str) -> None:
    device = instrument(model)
    draw = random.Random(model)
    if isinstance(device, Tl1Device):
        users = device.users or {}
        device.handle("".join(f"ACT-USER::{user}:1::{word};" for user, word in users.items()))
        for verb in list(device._handlers) * 60:
            said = device.handle(f"{verb}::{draw.choice(AIDS)}:1::{draw.choice(BLOCKS)};")
            assert "SROF\r\n   /*" not in said or "port in use" in said, said
            assert said.rstrip().endswith(";")
        return
    assert isinstance(device, ScpiDevice)
    known = list(headers(device))
    assert len(known) > 20
    for header in known * 4:
        message = f"{with_suffix(draw, header)} {draw.choice(ARGUMENTS)}"
        device.handle(message.encode("latin-1"))
        while device._errors:
            code, text = device._next()
            assert code != -300, f"{message!r}: {text}"
        if draw.random() < 0.02:
            device.clock.sleep(draw.choice((0.01, 1.0, 20.0)))


@pytest.mark.parametrize("model", sorted(MODELS))
def test_every_model_says_who_it_is_and_what_of_it_is_unconfirmed(model: str) -> None:
    device = instrument(model)
    assert device.identity.simulated
    assert device.identity.model == model
    assert MODELS[model].unconfirmed
    if isinstance(device, ScpiDevice):
        assert device.handle(b"*IDN?") == str(device.identity).encode()
        assert device.handle(b"BOGUS:NODE 1") is None
        assert (device.handle(b"SYST:ERR?") or b"").lstrip(b"+").startswith(b"-113")


@pytest.mark.parametrize("model", sorted(MODELS))
def test_no_model_takes_a_serial_number_of_a_real_instrument(model: str) -> None:
    made = instrument(model)
    known = MODELS[model]
    clock = VirtualClock()
    plant = Plant(clock, 7)
    plant.add(element("it", known.element, known.ports, known.channels))
    with pytest.raises(ValueError, match="SIM-"):
        known.factory(known.identity(model, "DE12345678"), clock, plant, Places("it", 7), {})
    assert made.identity.serial.startswith("SIM-")


@pytest.mark.parametrize("model", sorted(MODELS))
def test_power_may_be_taken_from_every_model(model: str) -> None:
    device = instrument(model)
    cycled = getattr(device, "power_cycled", None)
    if cycled is not None:
        cycled()
    if isinstance(device, ScpiDevice):
        assert device.handle(b"*IDN?")
