"""What mypy sees of a driver: a float of its unit, never Any. Checked with the rest; at run time it asks."""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import assert_type

import numpy as np
import numpy.typing as npt
import pytest

from drivers.clock import WALL
from drivers.errors import PortReplyError, SettingError
from drivers.port import Identity, Port
from drivers.prompt import PromptSession
from drivers.quantity import DB, DBm, Metre, Second, Watt
from drivers.scpi import (
    CHANNELS,
    QUOTED,
    TRUTH,
    WHOLE,
    Action,
    Query,
    ScpiChannel,
    ScpiInstrument,
    Setting,
    choice,
    csv,
    number,
    reading,
)
from drivers.session import Recording, Replay, Session
from drivers.simulated.scpi import ScpiDevice
from drivers.simulated.visa import SimulatedVisa


class Mode(Enum):
    SINGLE = "SINGle"
    CONTINUOUS = "CONTinuous"


class Slot(ScpiChannel):
    loss = Setting("INP{slot}:ATT", number(DB), low=DB(0), high=lambda node: node.instrument.most())


class Box(ScpiInstrument):
    power = Setting("POW", number(DBm), low=DBm(-10), high=DBm(10))
    wavelength = Query("WAV?", number(Metre))
    light = Query("READ?", reading(Watt))
    on = Setting("OUTP", TRUTH)
    points = Setting("POIN", WHOLE, among=(11, 101))
    name = Query("NAME?", QUOTED)
    mode = Setting("MODE", choice(Mode))
    rows = Query("ROWS?", csv(WHOLE))
    taken = Query("LIST?", CHANNELS)
    zero = Action("ZERO", wait_s=1.0)

    def most(self) -> DB:
        return DB(45)

    def slot(self) -> Slot:
        return Slot(self, slot=2)


ANSWERS = {
    "POW": "-1.5",
    "WAV": "+1.55000000E-006",
    "READ": "9.91E37",
    "OUTP": "1",
    "POIN": "+101",
    "NAME": '"a ""b"""',
    "MODE": "SING",
    "ROWS": "1,2,3",
    "LIST": "(@1,3:5)",
    "INPut#:ATT": "3",
}


def box() -> Box:
    device = ScpiDevice(Identity("millicert", "BOX", "SIM-1", "1"), WALL)
    for header, answer in ANSWERS.items():
        device.on(f"{header}?", lambda suffixes, args, answer=answer: answer)  # type: ignore[misc]  # mypy infers no lambda with a default
        device.on(header, lambda suffixes, args: None)
    device.on("ZERO", lambda suffixes, args: None)
    device.on("BLOCk?", lambda suffixes, args: np.array([1.5, 9.91e37], ">f8").tobytes())
    visa = SimulatedVisa()
    return Box(Port(visa.serve(device).resource, backend=visa))


def test_mypy_sees_the_units() -> None:
    with box() as it:
        assert_type(it.power, DBm)
        assert_type(it.wavelength, Metre)
        assert_type(it.light, Watt | None)
        assert_type(it.on, bool)
        assert_type(it.points, int)
        assert_type(it.name, str)
        assert_type(it.mode, Mode)
        assert_type(it.rows, tuple[int, ...])
        assert_type(it.taken, tuple[int, ...])
        assert_type(it.slot().loss, DB)
        assert_type(it.zero, Callable[[], Second])
        assert_type(it.zero(), Second)
        assert_type(Box.power, Setting[DBm])
        assert_type(Box.light, Query[Watt | None])
        assert_type(it.array("BLOC?", "float64-big"), npt.NDArray[np.float64])
        assert (it.power, it.wavelength, it.light, it.on, it.points) == (-1.5, 1.55e-6, None, True, 101)
        assert (it.name, it.mode, it.rows, it.taken) == ('a "b"', Mode.SINGLE, (1, 2, 3), (1, 3, 4, 5))
        assert it.slot().loss == DB(3)
        assert np.array_equal(it.array("BLOC?", "float64-big"), [1.5, np.nan], equal_nan=True)


def test_mypy_refuses_another_unit() -> None:
    """Were one of these no error to mypy, its ignore would be one."""
    with box() as it:
        it.power = DBm(1)
        it.power = Watt(0.001)  # type: ignore[assignment]  # W is not dBm
        it.power = 1.0  # type: ignore[assignment]  # a bare number has no unit
        it.slot().loss = DBm(1)  # type: ignore[assignment]  # dBm is not dB
        it.points = 101
        it.mode = Mode.CONTINUOUS
        with pytest.raises(SettingError):
            it.on = 1  # type: ignore[assignment]  # a number is no truth


def test_every_session_is_one_to_mypy() -> None:
    """A Port, a Recording and a Replay go where a Session is wanted."""

    def check(port: Port, recording: Recording, replay: Replay, prompt: PromptSession) -> tuple[Session, ...]:
        return (port, recording, replay, prompt)

    assert callable(check)


def test_an_answer_that_is_no_such_thing_is_said() -> None:
    with box() as it:
        with pytest.raises(PortReplyError, match="a number to NAME"):
            it.ask("NAME?", Box.wavelength.codec)
        with pytest.raises(PortReplyError, match="a whole number to NAME"):
            it.ask("NAME?", WHOLE)
