"""Drivers by name: each loads or says why not, is opened with its own options, recorded, played back."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from drivers import capability, catalogue
from drivers.catalogue import CATALOGUE, Entry, drivers_table, open_driver
from drivers.clock import WALL, Clock
from drivers.errors import PortOpenError, SettingError, TranscriptError, WrongInstrumentError
from drivers.opener import Opener
from drivers.port import Identity, Wire
from drivers.scpi import ScpiInstrument, Setting, number
from drivers.session import Session
from drivers.simulated.scpi import ScpiDevice
from drivers.simulated.tcp import serve_tcp
from drivers.simulated.tl1 import Tl1Device
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.visa import SimulatedVisa
from drivers.tl1 import Talk


class Lamp(ScpiInstrument):
    """A driver with an option."""

    MODELS = ("L1",)
    unconfirmed = ("all of it",)
    power = Setting("POW", number(float))

    def __init__(self, session: Session, *, clock: Clock = WALL, gain: int = 1) -> None:
        super().__init__(session, clock=clock)
        self.gain = gain


class Panel:
    """A TL1 driver."""

    def __init__(self, talk: Talk, *, clock: Clock = WALL) -> None:
        self.talk = talk
        self.rows = talk.do("RTRV-HDR").rows

    def close(self) -> None:
        self.talk.close()


class TwoPorts(ScpiInstrument):
    """One that opens its sessions itself."""

    @classmethod
    def opened(cls, how: Opener) -> TwoPorts:
        first = how.session()
        first.query("POW?")
        first.close()
        return cls(how.session())


class Plain:
    """One that has no clock and no options."""

    def __init__(self, port: Session) -> None:
        self.port = port


def person(options: dict[str, Any], *, clock: Clock, log: object) -> tuple[dict[str, Any], Clock]:
    return options, clock


class SimulatedLamp(ScpiDevice):
    def __init__(self, model: str = "L1", clock: Clock = WALL) -> None:
        super().__init__(Identity("Acme", model, "SIM-L1-1", "1"), clock)
        self.on("POWer", lambda suffixes, args: None)
        self.on("POWer?", lambda suffixes, args: "1.5")


@pytest.fixture
def entries(monkeypatch: pytest.MonkeyPatch) -> None:
    """The catalogue with drivers of this file in it."""
    monkeypatch.setitem(sys.modules, "_catalogue_test", sys.modules[__name__])
    more = {
        "lamp": Entry("_catalogue_test:Lamp", (), "lamp"),
        "panel": Entry("_catalogue_test:Panel", (), "panel", "tl1"),
        "two": Entry("_catalogue_test:TwoPorts", (), "two ports"),
        "plain": Entry("_catalogue_test:Plain", (), "plain"),
        "person": Entry("_catalogue_test:person", (), "person", "person"),
        "gone": Entry("_no_such_module:X", (), "needs what is not there"),
        "wrong": Entry("_catalogue_test:Nobody", (), "no such class"),
    }
    monkeypatch.setattr(catalogue, "CATALOGUE", MappingProxyType({**CATALOGUE, **more}))


def lab(device: ScpiDevice | Tl1Device | None = None) -> tuple[SimulatedVisa, str]:
    visa = SimulatedVisa()
    return visa, visa.serve(device or SimulatedLamp()).resource


# -- the real one ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("driver", CATALOGUE)
def test_every_driver_loads_and_says_what_is_unconfirmed(driver: str) -> None:
    entry = CATALOGUE[driver]
    assert callable(entry.load())
    assert all(isinstance(each, str) and each for each in entry.unconfirmed)
    assert entry.title
    for name in entry.capability:
        assert hasattr(capability, name)
    if entry.experimental:
        assert entry.unconfirmed


@pytest.mark.parametrize("driver", [name for name, entry in CATALOGUE.items() if entry.by != "person"])
def test_a_driver_has_the_methods_of_what_it_promises(driver: str) -> None:
    entry = CATALOGUE[driver]
    made = entry.load()
    for name in entry.capability:
        wanted = {each for each in vars(getattr(capability, name)) if not each.startswith("_")}
        assert {each for each in wanted if not hasattr(made, each)} == set(), name


def test_nothing_is_loaded_before_it_is_needed() -> None:
    loaded = {entry.opens.partition(":")[0] for entry in CATALOGUE.values()} - {__name__}
    source = Path(catalogue.__file__).read_text(encoding="utf-8")
    assert all(f"import {module}" not in source and f"from {module}" not in source for module in loaded)


def test_the_table_has_a_row_for_each() -> None:
    rows = drivers_table()
    assert [row.driver for row in rows] == list(CATALOGUE)
    assert all(row.title for row in rows)


# -- opening -----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("entries")
def test_a_driver_that_cannot_be_loaded_hurts_only_itself() -> None:
    rows = {row.driver: row for row in drivers_table()}
    assert "_no_such_module" in rows["gone"].missing
    assert "Nobody" in rows["wrong"].missing
    assert rows["lamp"].unconfirmed == ("all of it",)
    visa, where = lab()
    with pytest.raises(SettingError, match="_no_such_module"):
        open_driver("gone", where, backend=visa)
    open_driver("lamp", where, backend=visa).close()


@pytest.mark.usefixtures("entries")
def test_options_go_to_the_driver_and_one_that_it_has_not_is_said() -> None:
    visa, where = lab()
    lamp = open_driver("lamp", where, backend=visa, options={"gain": 3})
    assert isinstance(lamp, Lamp)
    assert lamp.gain == 3
    with pytest.raises(SettingError, match="among gain; found volume"):
        open_driver("lamp", where, backend=visa, options={"volume": 11})
    with pytest.raises(SettingError, match="a driver among"):
        open_driver("lampe", where, backend=visa)
    plain: object = open_driver("plain", where, backend=visa)
    assert isinstance(plain, Plain)


@pytest.mark.usefixtures("entries")
def test_another_instrument_is_refused_and_nobody_there_said() -> None:
    visa, where = lab(SimulatedLamp("L2"))
    with pytest.raises(WrongInstrumentError, match="L1"):
        open_driver("lamp", where, backend=visa)
    with pytest.raises(PortOpenError):
        open_driver("lamp", "TCPIP0::nobody::hislip0::INSTR", backend=visa)


@pytest.mark.usefixtures("entries")
def test_a_tl1_driver_talks_through_a_socket_and_in_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OXC_PASSWORD", "s3cret")
    who = Identity("Acme", "OXC", "SIM-OXC-1", "1")
    device = Tl1Device(who, WALL, users={"root": "s3cret"})
    visa, where = lab(device)
    carrier = serve_tcp(device)
    options = {"user": "root", "password_env": "OXC_PASSWORD"}
    try:
        for resource, backend in ((where, visa), (carrier.resource, "@py")):
            panel: object = open_driver("panel", resource, backend=backend, options=options)
            assert isinstance(panel, Panel)
            panel.close()
    finally:
        carrier.close()
    monkeypatch.delenv("OXC_PASSWORD")
    with pytest.raises(SettingError, match="OXC_PASSWORD"):
        open_driver("panel", where, backend=visa, options=options)


@pytest.mark.usefixtures("entries")
def test_in_this_process_deadlines_are_counted_by_the_labs_clock() -> None:
    clock = VirtualClock()
    visa = SimulatedVisa()
    where = visa.serve(SimulatedLamp(clock=clock)).resource
    log: list[Wire] = []
    open_driver("lamp", where, backend=visa, clock=clock, log=log.append).close()
    assert 0 < log[-1].monotonic_ns <= clock.now_ns()


@pytest.mark.usefixtures("entries")
def test_a_person_gets_the_options() -> None:
    made: Any = open_driver("person", "", options={"what": "oxc", "answers": "a.txt"})
    assert made == ({"what": "oxc", "answers": "a.txt"}, WALL)


# -- recorded ----------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("entries")
def test_an_option_records_and_another_plays_back(tmp_path: Path) -> None:
    visa, where = lab()
    path = str(tmp_path / "lamp.jsonl")
    lamp: Any = open_driver("lamp", where, backend=visa, options={"record": path})
    lamp.power = 3.0
    assert lamp.power == 1.5
    lamp.close()
    again: Any = open_driver("lamp", "nowhere", options={"replay": path, "gain": 2})
    again.power = 3.0
    assert (again.power, again.gain, again.identity.serial) == (1.5, 2, "SIM-L1-1")
    with pytest.raises(TranscriptError, match="a new file") as held:
        open_driver("lamp", where, backend=visa, options={"record": path})
    assert visa._lines == {}  # closed, though what went wrong still holds on to it
    del held


@pytest.mark.usefixtures("entries")
def test_several_sessions_are_recorded_into_several_files(tmp_path: Path) -> None:
    visa, where = lab()
    path = tmp_path / "two.jsonl"
    open_driver("two", where, backend=visa, options={"record": str(path)}).close()
    assert [each.name for each in sorted(tmp_path.iterdir())] == ["two-2.jsonl", "two.jsonl"]
    assert [json.loads(line)["message"] for line in path.read_text().splitlines()[1:]] == ["POW?"]
    open_driver("two", "nowhere", options={"replay": str(path)}).close()


@pytest.mark.usefixtures("entries")
def test_tl1_is_recorded_too(tmp_path: Path) -> None:
    visa, where = lab(Tl1Device(Identity("Acme", "OXC", "SIM-OXC-1", "1"), WALL))
    path = str(tmp_path / "oxc.jsonl")
    open_driver("panel", where, backend=visa, options={"record": path}).close()
    open_driver("panel", "nowhere", options={"replay": path}).close()


def test_an_option_of_the_session_is_text() -> None:
    for key in ("record", "replay"):
        with pytest.raises(SettingError, match=key):
            Opener("nowhere", options={key: 7}).session()
