"""A small optical bench for tests of the plant, whose every loss the tests know."""

from __future__ import annotations

import math
from dataclasses import dataclass

from drivers.simulated.attenuator import Attenuator
from drivers.simulated.coupler import Coupler
from drivers.simulated.laser import Drift, Laser
from drivers.simulated.matrix import FibreMatrix, MatrixSpec
from drivers.simulated.plant import Plant, Plugs, Sink
from drivers.simulated.polariser import Polariser
from drivers.simulated.tap import Tap
from drivers.simulated.virtual import VirtualClock

SECOND = 1_000_000_000


@dataclass
class Bench:
    """laser → polariser → attenuator → tap → coupler → launches → matrix → meters."""

    clock: VirtualClock
    plant: Plant
    laser: Laser
    polariser: Polariser
    attenuator: Attenuator
    tap: Tap
    coupler: Coupler
    matrix: FibreMatrix

    def on(self, dbm: float = 10.0) -> None:
        """Light."""
        self.laser.set_power(dbm)
        self.laser.set_output(True)
        self.attenuator.set_shutter(1, True)

    def dbm(self, place: str, at_ns: int | None = None) -> float:
        """What is there, dBm."""
        return 10 * math.log10(self.plant.power(place, at_ns) * 1000)


def bench(
    ports: int = 4,
    seed: int = 1,
    spec: MatrixSpec | None = None,
    plugs: Plugs | None = None,
    drift: Drift | None = None,
) -> Bench:
    """A bench, dark, with nothing connected in the matrix."""
    clock = VirtualClock()
    plant = Plant(clock, seed, plugs)
    made = Bench(
        clock,
        plant,
        plant.add(Laser("laser", seed, drift=drift)),
        plant.add(Polariser("polariser")),
        plant.add(Attenuator("voa", seed)),
        plant.add(Tap("tap")),
        plant.add(Coupler("coupler", ports, seed)),
        plant.add(FibreMatrix("oxc", ports, ports, seed, spec, plug_db=plant.plugs.loss_db)),
    )
    plant.add(Sink("meter", [str(port + 1) for port in range(ports)]))
    plant.add(Sink("reference", ("1", "2")))
    plant.splice("laser:out", "polariser:in")
    plant.splice("polariser:out", "voa:in-1")
    plant.splice("voa:out-1", "tap:in")
    plant.splice("tap:out", "coupler:in")
    plant.patch("tap:back", "reference:2")
    for port in range(1, ports + 1):
        plant.alias(f"launch-{port}", f"coupler:out-{port}")
        plant.patch(f"launch-{port}", f"oxc:in-{port}")
        plant.patch(f"oxc:out-{port}", f"meter:{port}")
    return made
