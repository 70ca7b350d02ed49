"""Testers and a reflectometer against simulated ones: gaps as long as they were, traces of the fibre that is there."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import pytest

from drivers import sor
from drivers.capability import Device, DisruptionTester, Hand, Otdr
from drivers.catalogue import open_driver
from drivers.errors import InstrumentFaultError, NoReadingError, SettingError
from drivers.exfo_ftb import ExfoFtb
from drivers.quantity import C_M_PER_S, Metre, Second
from drivers.simulated.fibre import Fibre
from drivers.simulated.lab import Lab
from drivers.simulated.otdr import OtuOtdr
from drivers.simulated.viavi import ViaviMts as SimulatedMts
from drivers.stream import host_and_port
from drivers.viavi_mts import ViaviMts

EXPERIMENTAL = {
    "exfo-ftb": ("FTB", {}),
    "viavi-mts": ("MTS-5800", {"application": "TermEth100GL2Traffic", "disruption": "DISRUPTION:LONGEST"}),
}


def table_of(model: str) -> dict[str, Any]:
    return {
        "seed": 11,
        "hand_s": 0.5,
        "parts": {"source": "laser", "tester": "tester", "otdr": "otdr", "hand": "hand"},
        "wiring": {"launch": "hand", "patches": {"tap:out": "tester:in", "otdr:out": "line-1:a"}},
        "fibres": {
            "line-1": {"km": 20.0, "events": [{"km": 8.0, "loss_db": 0.4, "reflectance_db": -45.0}]},
            "reel-1": {"km": 1.0},
        },
        "instruments": {
            "laser": {"model": "8164B", "serial": "SIM-1"},
            "tester": {"model": model, "serial": "SIM-2"},
            "otdr": {
                "model": "OTU-8000",
                "serial": "SIM-3",
                "options": {"timebase_ppm": 0.0, "wavelengths_nm": [1550]},
            },
            "hand": {"model": "HAND", "serial": "SIM-4"},
        },
    }


def lab(model: str = "FTB") -> Lab:
    return Lab.of(table_of(model))


@contextlib.contextmanager
def opened(made: Lab, driver: str, name: str, options: dict[str, Any] | None = None) -> Iterator[Device]:
    where = made.resources()[name]
    device = open_driver(driver, where, backend=made.visa, clock=made.clock, options=options or {})
    try:
        yield device
    finally:
        device.close()


@pytest.mark.parametrize("driver", sorted(EXPERIMENTAL))
def test_the_longest_gap_is_as_long_as_it_was(driver: str) -> None:
    model, options = EXPERIMENTAL[driver]
    made = lab(model)
    with opened(made, "keysight-816x-laser", "laser") as laser, opened(made, driver, "tester", options) as tester:
        assert isinstance(tester, DisruptionTester)
        laser.set_output(True)  # type: ignore[attr-defined]  # a laser's, in the catalogue of drivers
        tester.start_disruption()
        made.clock.sleep(1.0)
        assert tester.longest_disruption() == 0.0
        with opened(made, "simulated-hand", "hand") as hand:
            assert isinstance(hand, Hand)
            began = made.clock.now_ns()
            hand.cut("tester:in", True)
            made.clock.sleep(0.4)
            hand.cut("tester:in", False)
            took_s = (made.clock.now_ns() - began) / 1e9
        made.clock.sleep(1.0)
        longest = tester.longest_disruption()
        assert longest is not None
        assert 0.4 < longest <= took_s
        tester.start_disruption()
        made.clock.sleep(1.0)
        assert tester.longest_disruption() == 0.0
        assert tester.safe_state().confirmed
        assert tester.identity.simulated


def served(model: str, carrier: str) -> Lab:
    table = table_of(model)
    table["clock"] = "real"
    table["instruments"]["tester"]["carrier"] = carrier
    return Lab.of(table)


def test_an_exfo_tester_answers_over_telnet_too() -> None:
    made = served("FTB", "telnet")
    with made.serve() as there:
        where = there.resources()["tester"]
        tester = open_driver("exfo-ftb", where, options={"telnet": True})
        assert isinstance(tester, ExfoFtb)
        tester.set_laser(True)
        assert tester.longest_disruption() is None
        assert tester.safe_state().confirmed
        assert tester.identity.serial == "SIM-2"
        tester.close()


def test_the_walk_of_a_viavi_tester_over_real_sockets() -> None:
    made = served("MTS-5800", "tcp")
    with made.serve() as there:
        where = there.resources()["tester"]
        device = made.devices["tester"]
        assert isinstance(device, SimulatedMts)
        device.port = host_and_port(where)[1]
        tester = open_driver("viavi-mts", where, options={"walk": True})
        assert isinstance(tester, ViaviMts)
        assert tester.applications() == ()
        assert tester.safe_state().confirmed
        tester.close()
        device.port = -1
        with pytest.raises(NoReadingError):
            open_driver("viavi-mts", where, options={"walk": True})


def test_a_tester_whose_test_never_ran_has_none_to_tell() -> None:
    with opened(lab(), "exfo-ftb", "tester") as tester:
        assert isinstance(tester, ExfoFtb)
        assert tester.longest_disruption() is None


def test_a_module_in_another_slot_is_an_error() -> None:
    with opened(lab(), "exfo-ftb", "tester", {"slot": 3}) as tester:
        assert isinstance(tester, DisruptionTester)
        with pytest.raises(InstrumentFaultError):
            tester.longest_disruption()


def test_results_of_a_viavi_tester_are_none_until_a_test_ran() -> None:
    with opened(lab("MTS-5800"), "viavi-mts", "tester", {"application": "TermEth10GL2Traffic"}) as tester:
        assert isinstance(tester, ViaviMts)
        assert tester.applications() == ("TermEth10GL2Traffic_101",)
        assert tester.result("COUNT:MAC:ETH:FRAME") is None
        tester.start()
        assert tester.result("SECOND:TEST:ELAPSED") is not None
        with pytest.raises(InstrumentFaultError):
            tester.result("NOBODY:KNOWS")
        with pytest.raises(NoReadingError):
            tester.start_disruption()
        tester.leave()
        assert tester.applications() == ()


def test_a_trace_tells_the_length_of_the_fibre_that_is_there() -> None:
    made = lab()
    fibre = made.plant.get("line-1", Fibre)
    with opened(made, "viavi-otu", "otdr") as otdr:
        assert isinstance(otdr, Otdr)
        octets = otdr.trace(Metre(1550e-9), Metre(40_000.0), Second(100e-9), Second(10.0))
        assert otdr.safe_state().confirmed
    found = sor.parse(octets)
    truth_ps = 20_000 * fibre.group_index / C_M_PER_S * 1e12
    (end,) = [each for each in found.events if each.end]
    assert end.time_ps == pytest.approx(truth_ps, abs=100_000)
    (joint,) = [each for each in found.events if 0 < each.time_ps < end.time_ps]
    assert joint.time_ps == pytest.approx(truth_ps * 0.4, abs=100_000)
    assert joint.loss == pytest.approx(0.4, abs=0.1)
    assert joint.reflectance == pytest.approx(-45.0, abs=0.5)
    assert found.simulated
    assert found.serial == "SIM-3"
    assert found.checksum is True
    assert found.distance(end.time_ps) == pytest.approx(20_000, abs=25)


@pytest.mark.parametrize(
    "wanted", [(1310e-9, 40e3, 100e-9, 10.0), (1550e-9, 40e3, 123e-9, 10.0), (1550e-9, 3e5, 1e-7, 10.0)]
)
def test_what_the_module_has_not_is_refused(wanted: tuple[float, float, float, float]) -> None:
    with opened(lab(), "viavi-otu", "otdr") as otdr:
        assert isinstance(otdr, Otdr)
        with pytest.raises(SettingError):
            otdr.trace(Metre(wanted[0]), Metre(wanted[1]), Second(wanted[2]), Second(wanted[3]))


def test_what_the_unit_refuses_is_its_own_error() -> None:
    made = lab()
    with opened(made, "viavi-otu", "otdr") as otdr:
        assert isinstance(otdr, Otdr)
        device = made.devices["otdr"]
        assert isinstance(device, OtuOtdr)
        device.wavelengths_nm = [1310]  # a card was changed meanwhile
        with pytest.raises(InstrumentFaultError):
            otdr.trace(Metre(1550e-9), Metre(40_000.0), Second(100e-9), Second(10.0))
        assert otdr.safe_state().confirmed  # it refused, so it measures nothing
