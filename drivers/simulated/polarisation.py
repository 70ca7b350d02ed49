"""The simulated lab's own polarisation controller; no maker's, its dialect is ours."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from drivers.clock import Clock
from drivers.port import Identity
from drivers.simulated.plant import Places, Plant
from drivers.simulated.polariser import Polariser
from drivers.simulated.scpi import ScpiDevice, ScpiError, count, integer

UNCONFIRMED: Final = ("POLARISER: no instrument of a maker; its commands are the simulated lab's own",)

MOST: Final = 10_000
TURN_S: Final = 0.05


class PolarisationDevice(ScpiDevice):
    """``POLarisation:STATe <index from 0>,<of how many>`` turns the light; with a question mark it tells the state."""

    def __init__(
        self, identity: Identity, clock: Clock, plant: Plant, places: Places, options: Mapping[str, Any] | None = None
    ) -> None:
        """``options``: ``turn_s``, how long turning takes. Raises PlaceError when the plant has no such polariser."""
        super().__init__(identity, clock)
        self.options = dict(options or {})
        self.turn_s = float(self.options.get("turn_s", TURN_S))
        self.element = plant.get(places.name, Polariser)
        self.on("POLarisation:STATe", self._turn)
        self.on("POLarisation:STATe?", self._told)

    def reset(self) -> None:
        """`*RST`."""
        self.element.set_state(0, 6)

    def _turn(self, suffixes: tuple[int, ...], args: list[str]) -> None:
        count(args, 2)
        index, of = integer(args[0], 0, MOST - 1), integer(args[1], 1, MOST)
        if index >= of:
            raise ScpiError(-222, f"state {index} of {of}")
        self.element.set_state(index, of)
        self.begin(self.turn_s)

    def _told(self, suffixes: tuple[int, ...], args: list[str]) -> str:
        count(args, 0)
        index, of = self.element.state
        return f"{index},{of}"
