"""A one-to-many switch of the bench."""

from __future__ import annotations

import numpy as np

from drivers.simulated.chance import chance
from drivers.simulated.history import History
from drivers.simulated.light import Array, Beam, dark, ratio
from drivers.simulated.plant import Element, View


class Switch(Element):
    """From "in" to one of "out-1" … "out-N"."""

    def __init__(
        self, name: str, routes: int, seed: int = 0, *, loss_db: float = 0.8, isolation_db: float = 60.0
    ) -> None:
        super().__init__(name)
        source = chance(seed, "switch", name)
        self.ins = ("in",)
        self.outs = tuple(f"out-{k + 1}" for k in range(routes))
        self.loss_db = [float(max(0.2, loss_db + source.normal(0, 0.1))) for _ in range(routes)]
        """True loss of each route."""
        self.isolation_db = isolation_db
        self._selected = History(1)

    @property
    def selected(self) -> int:
        """Which route, from 1."""
        return self._selected.last

    def select(self, route: int, at_ns: int | None = None) -> None:
        """Join the common port with an output. Raises ValueError."""
        if not 1 <= route <= len(self.outs):
            raise ValueError(f"route {route} of {len(self.outs)}")
        with self.lock:
            self._selected.set(self.now(at_ns), route)

    def emit(self, port: str, view: View) -> Beam:
        """What comes in, by the route that is selected; a trace of it by the others."""
        if port not in self.outs:
            return dark(view.count)
        route = int(port[4:])
        loss = self.loss_db[route - 1]
        if self._selected.at(view.first) != route:
            loss += self.isolation_db
        return view.arriving(self.place("in")).scaled(ratio(loss))

    def reflect(self, port: str, view: View, frequency_hz: Array) -> Array:
        """Its own 55 dB, and what the selected route sends back."""
        own = np.full(frequency_hz.shape, ratio(55.0))
        if port != "in":
            return own
        route = self._selected.at(view.first)
        back = view.echo(self.place(f"out-{route}"), frequency_hz)
        return np.asarray(own + ratio(self.loss_db[route - 1]) ** 2 * back)

    def steps(self, start_ns: int, end_ns: int) -> list[int]:
        """Whenever it was switched."""
        return self._selected.changes(start_ns, end_ns)
