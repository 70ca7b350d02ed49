"""Drivers and simulated instruments of the other families on one plant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from drivers.capability import Device
from drivers.catalogue import open_driver
from drivers.clock import WALL, Clock
from drivers.errors import InstrumentFaultError, NoReadingError, PortOpenError
from drivers.keysight_n77xx_source import KeysightN77xxSource
from drivers.port import Identity
from drivers.quantity import DBm, Metre, Second, Watt, dbm
from drivers.santec_tsl import SantecTsl
from drivers.simulated.aq637x import Aq637x
from drivers.simulated.coupler import Coupler
from drivers.simulated.laser import Laser
from drivers.simulated.n77xx_source import N77xxSource
from drivers.simulated.n77xx_switch import N77xxSwitch
from drivers.simulated.plant import Places, Plant, Sink
from drivers.simulated.santec import SantecTsl as SimulatedTsl
from drivers.simulated.switch1xn import Switch
from drivers.simulated.tcp import serve_tcp
from drivers.simulated.thorlabs_pm import ThorlabsPm as SimulatedPm
from drivers.simulated.virtual import VirtualClock
from drivers.simulated.visa import SimulatedVisa
from drivers.thorlabs_pm import ThorlabsPm
from drivers.yokogawa_aq637x import YokogawaAq637x


def plant(clock: Clock) -> Plant:
    """laser → coupler 1×2 → meter and analyser."""
    made = Plant(clock, 7)
    made.add(Laser("laser", 7))
    made.add(Coupler("coupler", 2, 7))
    made.add(Sink("meter", ["1"]))
    made.add(Sink("osa", ["in"]))
    made.patch("laser:out", "coupler:in")
    made.patch("coupler:out-1", "meter:1")
    made.patch("coupler:out-2", "osa:in")
    return made


class Lab:
    """In this process, on a clock of its own."""

    def __init__(self) -> None:
        self.clock = VirtualClock()
        self.plant = plant(self.clock)
        self.library = SimulatedVisa()

    def laser(self, units: str = "scpi") -> SantecTsl:
        device = SimulatedTsl(
            Identity("SANTEC", "TSL-570", "SIM-1", "1"), self.clock, self.plant, Places("laser"), {"units": units}
        )
        found = self._opened("santec-tsl", device)
        assert isinstance(found, SantecTsl)
        return found

    def meter(self) -> ThorlabsPm:
        device = SimulatedPm(Identity("Thorlabs", "PM101", "SIM-2", "1"), self.clock, self.plant, Places("meter"))
        found = self._opened("thorlabs-pm", device)
        assert isinstance(found, ThorlabsPm)
        return found

    def analyser(self, resource: str = "", how: Mapping[str, Any] | None = None, **options: str) -> YokogawaAq637x:
        who = Identity("YOKOGAWA", "AQ6370D", "SIM-3", "1")
        device = Aq637x(who, self.clock, self.plant, Places("osa"), how)
        found = self._opened("yokogawa-aq637x", device, resource, **options)
        assert isinstance(found, YokogawaAq637x)
        return found

    def _opened(self, driver: str, device: Any, resource: str = "", **options: str) -> Device:
        where = self.library.serve(device, resource).resource
        return open_driver(driver, where, backend=self.library, clock=self.clock, options=options)


@pytest.fixture
def lab() -> Lab:
    return Lab()


@pytest.mark.parametrize("units", ["legacy", "scpi"])
def test_a_santec_laser_is_where_it_was_sent(lab: Lab, units: str) -> None:
    laser = lab.laser(units)
    assert laser.in_metres is (units == "scpi")
    laser.set_power(DBm(7))
    laser.set_wavelength(Metre(1552.5244e-9))
    laser.set_output(True)
    assert laser.wavelength() == pytest.approx(1552.5244e-9, abs=1e-13)
    light = lab.plant.light("meter:1")
    assert 299_792_458 / light.frequency_hz[0] == pytest.approx(1552.5244e-9, abs=10e-12)
    assert laser.actual == pytest.approx(7, abs=0.4)
    before = lab.clock.now_ns()
    laser.sweep(Metre(1540e-9), Metre(1560e-9), 40e-9)
    assert lab.clock.now_ns() - before >= 500_000_000
    laser.write(":WAV:SWE 1")
    with pytest.raises(InstrumentFaultError, match="sweeping"):
        laser.set_wavelength(Metre(1550e-9))
    assert laser.safe_state().confirmed
    assert lab.plant.power("meter:1") < 1e-15


def test_a_thorlabs_meter_reads_what_is_there(lab: Lab) -> None:
    laser, meter = lab.laser(), lab.meter()
    laser.set_output(True)
    meter.set_wavelength(Metre(1550e-9))
    meter.set_averaging(Second(0.1))
    before = lab.clock.now_ns()
    power = meter.read(1)
    assert lab.clock.now_ns() - before >= 100_000_000
    assert power is not None
    assert dbm(power) == pytest.approx(dbm(Watt(lab.plant.power("meter:1"))), abs=0.01)
    laser.set_output(False)
    assert meter.read_all() == {1: None}
    lab.plant.get("laser", Laser).offset_db = 30
    laser.set_output(True)
    with pytest.raises(NoReadingError, match="attenuate"):
        meter.read(1)
    meter.set_averaging(Second(0.01))


@pytest.mark.parametrize("traces", ["ascii", "real"])
@pytest.mark.parametrize("resource", ["", "TCPIP0::osa::10001::SOCKET"])
def test_an_analyser_sees_the_laser(lab: Lab, traces: str, resource: str) -> None:
    laser = lab.laser()
    laser.set_wavelength(Metre(1550e-9))
    laser.set_output(True)
    how = {"login": True} if resource else None
    analyser = lab.analyser(resource, how, traces=traces)
    spectrum = analyser.sweep(Metre(1550e-9), Metre(2e-9), Metre(0.02e-9))
    peak = max(spectrum.powers_dbm)
    assert spectrum.wavelengths_m[spectrum.powers_dbm.index(peak)] == pytest.approx(1550e-9, abs=30e-12)
    assert peak == pytest.approx(dbm(Watt(lab.plant.power("osa:in"))), abs=0.5)
    assert min(spectrum.powers_dbm) < -60
    assert spectrum.resolution_m == pytest.approx(0.02e-9)
    analyser.close()


def test_its_offset_is_waited_for(lab: Lab) -> None:
    lab.laser().set_output(True)
    analyser = lab.analyser()
    lab.clock.sleep(601)
    spectrum = analyser.sweep(Metre(1550e-9), Metre(2e-9), Metre(0.1e-9))
    assert lab.clock.now_ns() > 629e9
    assert max(spectrum.powers_dbm) > -30


def test_a_password_is_wanted(lab: Lab) -> None:
    word = "x"
    how = {"login": True, "user": "lab", "password": word}
    with pytest.raises(PortOpenError, match="AUTHENTICATE"):
        lab.analyser("TCPIP0::osa::10001::SOCKET", how)
    lab.analyser("TCPIP0::osa-2::10001::SOCKET", how, user="lab", password=word)


def test_an_analyser_is_logged_in_to_over_tcp() -> None:
    device = Aq637x(Identity("YOKOGAWA", "AQ6370D", "SIM-3", "1"), WALL, plant(WALL), Places("osa"), {"login": True})
    carrier = serve_tcp(device)
    try:
        analyser = open_driver("yokogawa-aq637x", carrier.resource)
        assert analyser.safe_state().confirmed
        analyser.close()
    finally:
        carrier.close()


def test_a_laser_tuned_by_frequency_is_where_it_was_sent() -> None:
    clock = VirtualClock()
    here = Plant(clock, 7)
    here.add(Laser("laser", 7, channels=4))
    device = N77xxSource(Identity("Keysight Technologies", "N7714A", "SIM-5", "1"), clock, here, Places("laser"))
    library = SimulatedVisa()
    found = open_driver(
        "keysight-n77xx-source", library.serve(device).resource, backend=library, clock=clock, options={"channel": 3}
    )
    assert isinstance(found, KeysightN77xxSource)
    found.set_power(DBm(10))
    found.set_output(True)
    for nm in (1550.12, 1535.0):  # while it emits, too
        found.set_wavelength(Metre(nm * 1e-9))
        assert found.output()
        assert 299_792_458 / here.light("laser:out-3").frequency_hz[0] == pytest.approx(nm * 1e-9, abs=20e-12)
        assert here.power("laser:out-3") == pytest.approx(0.01, rel=0.1)
        assert found.wavelength() == pytest.approx(nm * 1e-9, abs=1e-13)
    assert found.safe_state().said == "laser 1 off, laser 2 off, laser 3 off, laser 4 off"
    assert here.power("laser:out-3") == 0


def test_a_switch_selects() -> None:
    clock = VirtualClock()
    here = Plant(clock, 7)
    here.add(Switch("switch", 13, 7))
    device = N77xxSwitch(Identity("Keysight Technologies", "N7734A", "SIM-4", "1"), clock, here, Places("switch"))
    library = SimulatedVisa()
    switch = open_driver("keysight-n77xx-switch", library.serve(device).resource, backend=library, clock=clock)
    for output in (13, 1, 7):
        switch.select(output)  # type: ignore[attr-defined]  # it is an OpticalSwitch
        assert device.routes[1] == output
    assert clock.now_ns() >= 60_000_000
