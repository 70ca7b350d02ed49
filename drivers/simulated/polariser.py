"""A polarisation controller."""

from __future__ import annotations

import numpy as np

from drivers.simulated.history import History
from drivers.simulated.light import Array, Beam, dark, polarising, ratio, sphere, turn, turning
from drivers.simulated.plant import Element, View


class Polariser(Element):
    """From "in" to "out": turns the laser's polarisation to one of the states spread over the sphere."""

    def __init__(self, name: str, *, loss_db: float = 1.0, pdl_db: float = 0.01) -> None:
        super().__init__(name)
        self.ins, self.outs = ("in",), ("out",)
        self.loss_db = loss_db
        self.pdl_db = pdl_db
        """True loss that the controller itself has depending on the state."""
        self._state: History[tuple[int, int]] = History((0, 6))
        self._matrices: dict[tuple[int, int], Array] = {}

    def set_state(self, index: int, of: int, at_ns: int | None = None) -> None:
        """Take one of ``of`` states, counted from 0. Raises ValueError."""
        if not 0 <= index < of:
            raise ValueError(f"state {index} of {of}")
        with self.lock:
            self._state.set(self.now(at_ns), (index, of))

    @property
    def state(self) -> tuple[int, int]:
        """(index, of how many)."""
        return self._state.last

    def emit(self, port: str, view: View) -> Beam:
        """What comes in, turned; horizontal light comes out in the state."""
        if port != "out":
            return dark(view.count)
        state = self._state.at(view.first)
        mueller = self._matrices.get(state)
        if mueller is None:
            level = np.array([1.0, 0.0, 0.0])
            mueller = polarising(self.pdl_db, np.array([0.0, 0.6, 0.8])) @ turning(
                turn(level, sphere(state[1])[state[0]])
            )
            self._matrices[state] = mueller = mueller * ratio(self.loss_db)
        return view.arriving(self.place("in")).through(mueller=mueller)

    def reflect(self, port: str, view: View, frequency_hz: Array) -> Array:
        """Its own 55 dB."""
        return np.full(frequency_hz.shape, ratio(55.0))

    def steps(self, start_ns: int, end_ns: int) -> list[int]:
        """Whenever it was turned."""
        return self._state.changes(start_ns, end_ns)
