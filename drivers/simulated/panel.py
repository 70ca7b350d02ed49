"""What a cross-connect between fibres keeps besides its mirrors, in any dialect: shutters, states, monitors."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from typing import Final

from drivers.simulated.chance import chance
from drivers.simulated.matrix import FibreMatrix
from drivers.simulated.plant import Places, Plant

FLOOR_DBM: Final = -60.0
"""No monitor shows less."""


class Panel:
    """A matrix as its controller knows it. Ports are ("in", 1) … or, counted through, 1 … N, N + 1 … N + M.

    A closed shutter keeps its connection in the controller's list, but no light comes through.
    """

    def __init__(self, plant: Plant, places: Places, failed: Collection[int] = ()) -> None:
        """``failed``: numbers, counted through, of ports that are out of order."""
        self.plant = plant
        self.places = places
        self.matrix = plant.get(places.name, FibreMatrix)
        self.disabled: set[int] = set()
        self.failed = set(failed)
        self.shut: set[int] = set()
        """Ports, counted through, whose shutter is closed."""
        self.labels: dict[int, str] = {}
        self.wavelength_nm: dict[int, float] = {}
        self.offset_db: dict[int, float] = {}
        self.averaging_ms: dict[int, int] = {}
        source = chance(places.seed, "panel", places.name)
        self.monitor_db = source.normal(0, 0.2, self.ports + 1)
        """True calibration error of each port's monitor, counted through; the first belongs to none."""
        self._behind_shutter: dict[int, int] = {}

    @property
    def inputs(self) -> int:
        """How many ingress ports."""
        return self.matrix.inputs

    @property
    def outputs(self) -> int:
        """How many egress ports."""
        return self.matrix.outputs

    @property
    def ports(self) -> int:
        """All of them."""
        return self.inputs + self.outputs

    def usable(self, port: int) -> bool:
        """Neither out of use nor out of order."""
        return port not in self.disabled and port not in self.failed

    def state(self, port: int) -> str:
        """E enabled, D disabled, F failed."""
        return "F" if port in self.failed else "D" if port in self.disabled else "E"

    def connections(self) -> dict[int, int]:
        """Ingress → egress, each counted from 1, as it says."""
        return dict(sorted((self.matrix.connections() | self._behind_shutter).items()))

    def _dark(self, ingress: int, egress: int) -> bool:
        return ingress in self.shut or self.inputs + egress in self.shut

    def connect(self, pairs: Mapping[int, int]) -> float:
        """Join these; what used their ports is taken apart. s until it is still."""
        for ingress, egress in list(self._behind_shutter.items()):
            if ingress in pairs or egress in pairs.values():
                del self._behind_shutter[ingress]
        hidden = {i: o for i, o in pairs.items() if self._dark(i, o)}
        if hidden:
            was = self.matrix.connections()
            taken = [i for i, o in was.items() if i in hidden or o in hidden.values()]
            self.matrix.disconnect(taken)
            self._behind_shutter |= hidden
        return self.matrix.connect({i: o for i, o in pairs.items() if i not in hidden})

    def disconnect(self, ingresses: Collection[int]) -> float:
        """Take these apart; s until it is dark."""
        for ingress in ingresses:
            self._behind_shutter.pop(ingress, None)
        return self.matrix.disconnect(ingresses)

    def only(self, pairs: Mapping[int, int]) -> float:
        """Join these and nothing else; s until it is still."""
        gone = self.disconnect([i for i, o in self.connections().items() if pairs.get(i) != o])
        return max(gone, self.connect(pairs))

    def set_shutter(self, port: int, *, closed: bool) -> float:
        """Close or open a port's shutter; s until it is so."""
        (self.shut.add if closed else self.shut.discard)(port)
        known = self.connections()
        mine = {i: o for i, o in known.items() if port in {i, self.inputs + o}}
        if closed:
            self._behind_shutter |= mine
            return self.matrix.disconnect(mine)
        lit = {i: o for i, o in mine.items() if i in self._behind_shutter and not self._dark(i, o)}
        for ingress in lit:
            del self._behind_shutter[ingress]
        return self.matrix.connect(lit)

    def power_dbm(self, port: int) -> float:
        """What a port's monitor shows."""
        inside = port <= self.inputs
        place = self.places.inlet(port) if inside else self.places.outlet(port - self.inputs)
        watts = self.plant.power(place)
        true_dbm = 10 * math.log10(watts * 1000) if watts > 0 else -math.inf
        return max(FLOOR_DBM, true_dbm + float(self.monitor_db[port]) + self.offset_db.get(port, 0.0))

    def power_cycled(self) -> None:
        """Its feeds were away: shutters open."""
        self.shut.clear()
        self._behind_shutter.clear()
