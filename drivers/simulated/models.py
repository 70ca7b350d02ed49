"""The models of instruments that a simulated lab may have, by the name that a lab table gives them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated import (
    aq637x,
    calient,
    exfo,
    laser_816x,
    n77xx_attenuator,
    n77xx_meter,
    n77xx_source,
    n77xx_switch,
    otdr,
    polarisation,
    polatis,
    santec,
    thorlabs_pm,
    viavi,
)
from drivers.simulated.instrument import SimulatedInstrument
from drivers.simulated.laser_816x import Laser816x
from drivers.simulated.n77xx_meter import N77xxMeter
from drivers.simulated.plant import Places, Plant


class Factory(Protocol):
    """Makes an instrument that looks at the plant through its places. Raises PlaceError where the plant lacks it."""

    def __call__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> SimulatedInstrument:
        """``options``: what the lab table says besides; each model's class says which it knows."""


@dataclass(frozen=True, slots=True)
class Model:
    """One name of a lab table."""

    factory: Factory
    maker: str
    """As it says in `*IDN?`."""
    firmware: str
    element: str
    """What the plant must have under the instrument's name: a class of drivers.simulated, or "Sink" with its ports."""
    ports: tuple[str, ...] = ()
    """Of that sink."""
    channels: int = 1
    """Of a laser, an attenuator or a meter."""
    unconfirmed: tuple[str, ...] = ()

    def identity(self, name: str, serial: str) -> Identity:
        """Who it says it is. ``serial`` must begin with SIM-, which the instrument checks."""
        return Identity(self.maker, name, serial, self.firmware)


KEYSIGHT: Final = "Keysight Technologies"


def _meter(ports: int) -> Model:
    names = tuple(map(str, range(1, ports + 1)))
    return Model(N77xxMeter, KEYSIGHT, "1.24", "Sink", names, ports, n77xx_meter.UNCONFIRMED)


def _attenuator(channels: int) -> Model:
    made = n77xx_attenuator.N77xxAttenuator
    return Model(made, KEYSIGHT, "1.24", "Attenuator", (), channels, n77xx_attenuator.UNCONFIRMED)


MODELS: Final[Mapping[str, Model]] = {
    **{name: _meter(kind.ports) for name, kind in n77xx_meter.KINDS.items()},
    **{name: _attenuator(channels) for name, channels in n77xx_attenuator.ATTENUATORS.items()},
    **{
        name: Model(Laser816x, KEYSIGHT, "5.25", "Laser", unconfirmed=laser_816x.UNCONFIRMED)
        for name in laser_816x.FRAMES
    },
    "POLATIS": Model(polatis.PolatisScpi, "Polatis", polatis.FIRMWARE, "FibreMatrix", unconfirmed=polatis.UNCONFIRMED),
    "POLATIS-TL1": Model(
        polatis.PolatisTl1, "Polatis", polatis.FIRMWARE, "FibreMatrix", unconfirmed=polatis.UNCONFIRMED
    ),
    "CALIENT": Model(calient.CalientTl1, "Calient", "6.2", "FibreMatrix", unconfirmed=calient.UNCONFIRMED),
    **{
        name: Model(n77xx_source.N77xxSource, KEYSIGHT, "1.24", "Laser", (), lasers, n77xx_source.UNCONFIRMED)
        for name, lasers in n77xx_source.LASERS.items()
    },
    **{
        name: Model(n77xx_switch.N77xxSwitch, KEYSIGHT, "1.24", "Switch", (), outputs, n77xx_switch.UNCONFIRMED)
        for name, (_, outputs) in n77xx_switch.ROUTES.items()
    },
    **{
        name: Model(santec.SantecTsl, "SANTEC", "0010.0012", "Laser", unconfirmed=santec.UNCONFIRMED)
        for name in santec.SPEEDS_NM_S
    },
    **{
        name: Model(aq637x.Aq637x, "YOKOGAWA", "03.04", "Sink", ("in",), unconfirmed=aq637x.UNCONFIRMED)
        for name in ("AQ6370C", "AQ6370D", "AQ6370E")
    },
    **{
        name: Model(thorlabs_pm.ThorlabsPm, "Thorlabs", "1.4.0", "Sink", ("1",), unconfirmed=thorlabs_pm.UNCONFIRMED)
        for name in ("PM100D", "PM101", "PM400")
    },
    **{
        name: Model(otdr.OtuOtdr, "VIAVI", "21.30", "Sink", ("out",), unconfirmed=otdr.UNCONFIRMED)
        for name in ("MTS-8000", "OTU-8000")
    },
    "MTS-5800": Model(viavi.ViaviMts, "VIAVI", "30.1", "Sink", ("in",), unconfirmed=viavi.UNCONFIRMED),
    "FTB": Model(exfo.ExfoFtb, "EXFO", "2.11", "Sink", ("in",), unconfirmed=exfo.UNCONFIRMED),
    "POLARISER": Model(
        polarisation.PolarisationDevice, "millicert", "1", "Polariser", unconfirmed=polarisation.UNCONFIRMED
    ),
}


def connect_triggers(instruments: Iterable[SimulatedInstrument]) -> None:
    """Lay trigger cables from every laser that sweeps to every power meter; a meter heeds them when it is told to."""
    known = list(instruments)
    meters = [each for each in known if isinstance(each, N77xxMeter)]
    for each in known:
        if isinstance(each, Laser816x):
            each.trigger_sinks.extend(meter.take_triggers for meter in meters)
