"""The simulated lab's polarisation controller as an instrument."""

from __future__ import annotations

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.plant import Places, Plant
from drivers.simulated.polariser import Polariser
from drivers.simulated.scpi import ScpiDevice, ScpiError, count, integer


class PolariserDevice(ScpiDevice):
    """Speaks `POLarisation:STATe <index>,<of>`, index from 0, and the same with a question mark."""

    def __init__(self, identity: Identity, clock: Clock, plant: Plant, places: Places) -> None:
        """Raises PlaceError when the plant has no polariser of that name."""
        super().__init__(identity, clock)
        self.polariser = plant.get(places.name, Polariser)
        self.turn_s = 0.05
        """How long turning takes."""
        self.on("POLarisation:STATe", self._set)
        self.on("POLarisation:STATe?", self._state)

    def _set(self, _: tuple[int, ...], args: list[str]) -> None:
        count(args, 2)
        of = integer(args[1], 1, 10_000)
        index = integer(args[0], 0, of - 1)
        self.wait(self.turn_s)
        self.polariser.set_state(index, of)

    def _state(self, _: tuple[int, ...], args: list[str]) -> str:
        if args:
            raise ScpiError(-108)
        index, of = self.polariser.state
        return f"{index},{of}"
