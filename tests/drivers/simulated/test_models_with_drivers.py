"""Each driver works the simulated instrument of its family, and both agree about the plant."""

from __future__ import annotations

import math
import time
from typing import Any

import pytest

from drivers.catalogue import open_driver
from drivers.clock import WALL
from drivers.port import Port
from drivers.quantity import DB, DBm, Metre, Second
from drivers.session import Session
from drivers.simulated.lab import Lab
from drivers.simulated.matrix import FibreMatrix
from drivers.simulated.tcp import serve_tcp, serve_telnet
from drivers.viavi_mts import ViaviMts, walk

DRIVERS = {
    "8164B": "keysight-816x-laser", "N7776C": "keysight-816x-laser", "TSL-550": "santec-tsl", "TSL-570": "santec-tsl",
    "N7764A": "keysight-n77xx-attenuator", "N7745A": "keysight-n77xx-meter", "N7744A": "keysight-n77xx-meter",
    "POLARISER": "simulated-polarisation",
    "AQ6370D": "yokogawa-aq637x", "MTS-8000": "viavi-otu", "FTB": "exfo-ftb",
    "MTS-5800": "viavi-mts", "PM101": "thorlabs-pm", "N7714A": "keysight-n77xx-source",
    "N7734A": "keysight-n77xx-switch", "POLATIS": "polatis-scpi", "POLATIS-TL1": "polatis-tl1",
    "CALIENT": "calient-tl1", "HAND": "simulated-hand",
}  # fmt: skip
OPTIONS: dict[str, dict[str, Any]] = {
    "MTS-5800": {"application": "TermEth100GL2Traffic", "disruption": "DISRUPTION:LONGEST"},
    "POLATIS-TL1": {"user": "root", "password": "root"},
    "CALIENT": {"user": "admin", "password": "pxc***"},
}
INSTRUMENTS = {
    "laser": "8164B", "voa": "N7764A", "turn": "POLARISER", "osa": "AQ6370D", "otdr": "MTS-8000", "tester": "FTB",
    "hand": "HAND", "oxc": "POLATIS", "meter-1": "N7745A", "meter-2": "N7744A", "pm": "PM101", "mts": "MTS-5800",
    "switch": "N7734A", "dwdm": "N7714A",
}  # fmt: skip
PARTS = {
    "source": "laser", "attenuator": "voa", "polariser": "turn", "analyser": "osa", "otdr": "otdr", "tester": "tester",
    "hand": "hand", "dut": "oxc",
}  # fmt: skip


class Bench:
    """A lab in this process with a driver for everything in it."""

    def __init__(self, **models: str) -> None:
        instruments = {**INSTRUMENTS, **models}
        protocols = {"POLATIS": "polatis-scpi", "POLATIS-TL1": "polatis-tl1", "CALIENT": "calient-tl1"}
        self.lab = Lab.of(
            {
                "seed": 3,
                "parts": PARTS,
                "wiring": {"receive": ["meter-1:1-8"], "monitor": "meter-2:2", "source_monitor": "meter-2:3"},
                "oxc": {"kind": "fibre-matrix", "ports": 8, "protocol": protocols[instruments["oxc"]]},
                "fibres": {"line-1": {"km": 20.0}},
                "instruments": {name: {"model": model} for name, model in instruments.items()},
            }
        )
        self.models = instruments
        self.opened: dict[str, Any] = {}

    def __getattr__(self, name: str) -> Any:
        name = name.replace("_", "-")
        if name not in self.opened:
            model = self.models[name]
            self.opened[name] = open_driver(
                DRIVERS[model],
                self.lab.resources()[name],
                backend=self.lab.visa,
                clock=self.lab.clock,
                options=OPTIONS.get(model, {}),
            )
        return self.opened[name]

    def light_up(self) -> None:
        self.laser.set_wavelength(Metre(1550e-9))
        self.laser.set_power(DBm(5))
        self.laser.set_output(True)
        self.voa.set_shutter(1, True)
        self.voa.set_attenuation(1, DB(0.0))

    def power(self, place: str) -> float:
        return self.lab.plant.power(place)


@pytest.mark.parametrize("laser", ["8164B", "N7776C", "TSL-550", "TSL-570"])
@pytest.mark.parametrize("oxc", ["POLATIS", "POLATIS-TL1", "CALIENT"])
def test_laser_cross_connect_and_meter(laser: str, oxc: str) -> None:
    bench = Bench(laser=laser, oxc=oxc)
    bench.light_up()
    bench.oxc.connect({1: 2, 3: 4})
    bench.lab.clock.sleep(0.1)
    assert bench.oxc.connections() == {1: 2, 3: 4}
    found = bench.meter_1.read_all()
    gain = bench.lab.gain_db["meter-1:2"]
    assert 10 * math.log10(found[2] / bench.power("meter-1:2")) == pytest.approx(gain, abs=0.006)
    assert found[1] is None or found[1] < found[2] / 1e4
    bench.oxc.only({1: 3})
    bench.lab.clock.sleep(0.1)
    assert bench.meter_1.read(3) == pytest.approx(bench.power("meter-1:3"), rel=0.02)
    bench.oxc.clear()
    assert bench.oxc.connections() == {}
    if oxc != "POLATIS":
        assert bench.oxc.port_power()[0][1] == pytest.approx(10 * math.log10(bench.power("oxc:in-1") * 1000), abs=1)


def test_a_transient_is_recorded() -> None:
    bench = Bench()
    bench.light_up()
    bench.oxc.connect({1: 2})
    bench.lab.clock.sleep(1)
    bench.meter_1.start_log([2, 3], 2000, Second(1e-4))
    bench.oxc.connect({1: 3})
    away, come = bench.meter_1.log(2), bench.meter_1.log(3)
    assert away[0] > 100 * abs(away[-1])
    assert come[-1] == pytest.approx(bench.power("meter-1:3"), rel=0.02)
    assert come[0] < come[-1] / 100


def test_the_laser_triggers_the_meter() -> None:
    bench = Bench()
    bench.light_up()
    bench.oxc.connect({1: 2})
    sweep = bench.laser.prepare_scan(Metre(1540e-9), Metre(1545e-9), Metre(1e-11))
    bench.meter_1.start_log([2], sweep.triggers, sweep.step_time, triggered=True)
    wavelengths = bench.laser.run_scan(sweep)
    powers = bench.meter_1.log(2)
    assert len(wavelengths) == len(powers) == 501
    assert min(powers) > 0.9 * max(powers) > 1e-6


def test_polarisation_attenuation_and_safe_states() -> None:
    bench = Bench()
    bench.light_up()
    for state in range(6):
        bench.turn.set_state(state, 6)
    before = bench.power("launch-1")
    bench.voa.set_attenuation(1, DB(10.0))
    assert 10 * math.log10(before / bench.power("launch-1")) == pytest.approx(10, abs=0.1)
    for name in INSTRUMENTS:
        assert getattr(bench, name.replace("-", "_")).safe_state().confirmed, name
    assert bench.power("launch-1") == 0


def test_analyser_testers_meter_and_reflectometer() -> None:
    bench = Bench()
    bench.light_up()
    bench.oxc.connect({1: 2})
    bench.hand.patch("oxc:out-2", "osa:in")
    spectrum = bench.osa.sweep(Metre(1550e-9), Metre(2e-9), Metre(5e-11))
    assert max(spectrum.powers_dbm) == pytest.approx(10 * math.log10(bench.power("osa:in") * 1000), abs=0.5)
    found = []
    for tester in ("tester", "mts"):
        bench.hand.patch("oxc:out-2", f"{tester}:in")
        driver = getattr(bench, tester)
        driver.start_disruption()
        bench.oxc.connect({1: 3})
        bench.lab.clock.sleep(0.05)
        bench.oxc.connect({1: 2})
        bench.lab.clock.sleep(1)
        found.append(driver.longest_disruption())
    # the driver takes apart before it joins, and each waits for the light
    matrix = bench.lab.plant.get("oxc", FibreMatrix)
    assert 0.05 + matrix.true_switch_s(1, 2) < found[0] < 0.2
    assert found[1] == pytest.approx(found[0], abs=0.002)
    bench.hand.patch("oxc:out-2", "pm:1")
    assert bench.pm.read(1) == pytest.approx(bench.power("pm:1"), rel=0.02)
    bench.hand.patch("otdr:out", "line-1:a")
    assert len(bench.otdr.trace(Metre(1550e-9), Metre(40_000.0), Second(1e-7), Second(5.0))) > 1000


def test_source_by_frequency_and_bench_switch() -> None:
    bench = Bench()
    bench.dwdm.set_wavelength(Metre(1552e-9))
    bench.dwdm.set_power(DBm(10))
    bench.dwdm.set_output(True)
    assert bench.dwdm.wavelength() == pytest.approx(1552e-9, abs=1e-12)
    assert bench.power("dwdm:out-1") > 5e-3
    bench.switch.select(7)
    assert bench.switch.selected() == 7


def test_zero_fails_in_the_light_and_not_in_the_dark() -> None:
    bench = Bench()
    bench.light_up()
    bench.oxc.connect({1: 2})
    with pytest.raises(Exception, match="ports \\[2\\]"):
        bench.meter_1.zero()
    bench.voa.set_shutter(1, False)
    bench.meter_1.zero()


# -- over carriers of the network, in real time ------------------------------------------------------------


def real(model: str, **options: Any) -> Lab:
    rows = {"it": {"model": model, "options": options}}
    return Lab.of({"seed": 3, "clock": "real", "instruments": rows}, WALL)


def test_the_analysers_login_over_tcp() -> None:
    lab = real("AQ6370D", login=True, user="lab", password="secret")  # noqa: S106 - a password of nobody
    device: Any = lab.devices["it"]
    carrier = serve_tcp(device)
    try:
        osa = open_driver("yokogawa-aq637x", carrier.resource, options={"user": "lab", "password": "secret"})
        assert osa.identity.serial.startswith("SIM-")
        osa.close()
        start = time.monotonic()
        with pytest.raises(Exception, match="AUTHENTICATE"):
            open_driver("yokogawa-aq637x", carrier.resource, options={"user": "lab", "password": "wrong"})
        assert time.monotonic() - start < 30
    finally:
        carrier.close()


def test_the_walk_from_port_to_port_over_tcp() -> None:
    lab = real("MTS-5800")
    device: Any = lab.devices["it"]
    carrier = serve_tcp(device)
    device.port = carrier.port
    try:

        def opens(resource: str) -> Session:
            return Port(resource, timeout_s=5.0)

        host = "127.0.0.1"
        tester = ViaviMts(walk(opens(carrier.resource), host, opens))
        assert not tester.laser()
        tester.close()
    finally:
        carrier.close()


def test_the_tester_answers_over_telnet_with_a_prompt() -> None:
    lab = real("FTB")
    device: Any = lab.devices["it"]
    carrier = serve_telnet(device)
    try:
        from drivers.exfo_ftb import PROMPT, ExfoFtb  # noqa: PLC0415 - beside what it is for
        from drivers.opener import Opener  # noqa: PLC0415
        from drivers.prompt import EXECUTED, SLOW  # noqa: PLC0415

        session = Opener(carrier.resource).prompt(prompt=PROMPT, executed=EXECUTED, slow=SLOW)
        tester = ExfoFtb(session)
        tester.set_laser(True)
        assert device.laser
        assert tester.safe_state().confirmed
        assert not device.laser
        tester.close()
    finally:
        carrier.close()
