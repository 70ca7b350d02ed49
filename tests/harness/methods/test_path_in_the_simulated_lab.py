"""The fibre of a link through real drivers on the simulated lab: what the plant hides against what is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest

from drivers.capability import PowerMeter
from drivers.catalogue import open_driver
from drivers.simulated.fibre import Fibre
from drivers.simulated.lab import Lab
from harness.archive.optical import readings
from harness.figure import Derived
from harness.figures import path
from harness.journal import Entry
from harness.methods import path as method
from harness.profile import parse
from harness.reading import Instrument, Record
from harness.rig import Rig, Tap, spec_of

PROFILE = parse((Path(__file__).parents[3] / "harness" / "profiles" / "link-optical.toml").read_text())
DRIVERS = {
    "laser": "keysight-816x-laser",
    "meter-1": "keysight-n77xx-meter",
    "otdr": "viavi-otu",
    "hand": "simulated-hand",
}


class Memory:
    """A journal that is not kept."""

    def __init__(self) -> None:
        self.entries: list[Entry] = []

    def append(self, kind: str, /, **data: Any) -> None:
        self.entries.append(Entry(len(self.entries), kind, 0, 0, data, ""))


def measured(km: float, settings: path.Settings, **more: Any) -> tuple[Derived, Record, Fibre]:
    lab = Lab.of(
        {
            "seed": int(km * 1000),
            "parts": {"source": "laser", "otdr": "otdr", "hand": "hand"},
            "wiring": {"reference": "meter-1:1"},
            "fibres": {
                "line-1": {
                    "km": km,
                    "alpha_db_km": 0.2,
                    "events": [
                        {"km": km / 3, "loss_db": 0.1},
                        {"km": km / 2, "loss_db": 0.3, "reflectance_db": -47.0},
                    ],
                },
                "reel-1": {"km": 1.0},
            },
            "instruments": {
                "laser": {"model": "8164B", "serial": "SIM-LASER-1"},
                "meter-1": {"model": "N7745A", "serial": "SIM-PM-1"},
                "otdr": {"model": "MTS-8000", "serial": "SIM-OTDR-1", "options": {"wavelengths_nm": [1310, 1550]}},
                "hand": {"model": "HAND", "serial": "SIM-HAND-1"},
            },
            **more,
        }
    )
    devices: dict[str, Any] = {
        name: open_driver(driver, lab.resources()[name], backend=lab.visa, clock=lab.clock, timeout_s=5.0)
        for name, driver in DRIVERS.items()
    }
    try:
        meter = cast(PowerMeter, devices["meter-1"])
        memory, kept = Memory(), dict[str, bytes]()
        rig = Rig(
            dut="otdr",
            kind="link",
            clock=lab.clock,
            journal=cast(Any, memory),
            keep=lambda name, octets: kept.update({name: octets}),
            devices=devices,
            receive={1: Tap("meter-1", meter, 2)},
            launches=(1,),
            together=True,
            reference=Tap("meter-1", meter, 1),
            roles={"source": "laser", "otdr": "otdr", "hand": "hand"},
            link="a-b",
        )
        method.run(rig, settings)
        spec = Instrument(
            "meter-1", DRIVERS["meter-1"], "", "", spec=spec_of(meter.spec), spec_origin=meter.spec.origin
        )
        record = Record(tuple(readings(memory.entries)[0]), {"meter-1": spec}, kept)
        return path.derive(record, settings), record, cast(Fibre, lab.plant.elements["line-1"])
    finally:
        for device in devices.values():
            device.close()


@pytest.mark.parametrize("km", [11.7, 42.5, 63.2])
def test_time_of_flight_is_the_fibres_own(km: float) -> None:
    settings = PROFILE.settings_of("path")
    found, record, fibre = measured(km, settings)
    truth = fibre.true_flight_s * 1e12
    for figure in found.figures["flight"]:
        assert figure.value is not None
        assert abs(figure.value - truth) <= figure.budget.expanded
    floor = path.route(record, settings)
    assert floor is not None
    assert -5_000 - 2 * floor.u_ps < floor.flight - truth <= 2 * floor.u_ps
    (identity,) = found.figures["identity"]
    assert identity.value is not None
    assert identity.value <= identity.budget.expanded
    (loss,) = found.figures["loss"]
    assert loss.value is not None
    # two plugged connectors come with the fibre, 0.1 dB each and what they spread
    assert abs(loss.value - 1e6 * (0.2 * km + 0.4 + 0.1)) < loss.budget.expanded + 150_000
    assert found.findings == ()
    assert np.all([not doubt.red for doubt in found.doubts])


def test_a_bad_splice_is_named() -> None:
    settings = PROFILE.settings_of("path").model_copy(update={"reel": ""})
    defects = [{"kind": "bad-splice", "where": "line-1@9.5", "size": 1.2}]
    found, _, _ = measured(30.0, settings, defects=defects)
    assert {f.id for f in found.findings} == {"bad-splice"}
    # 9.5 km, to within the reflectometer's pulse
    assert all(abs(int(f.where.split()[0]) - 46_525) < 50 for f in found.findings)
