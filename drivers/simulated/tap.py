"""A tap: a little of the forward light, with all that comes back."""

from __future__ import annotations

from typing import Final

import numpy as np

from drivers.quantity import C_M_PER_S
from drivers.simulated.light import Array, Beam, dark, ratio
from drivers.simulated.plant import Element, View

MIDDLE_HZ: Final = C_M_PER_S / 1550e-9


class Tap(Element):
    """From "in" to "out"; "forward" sees a share of it, "back" (through a circulator) what returns to "out"."""

    def __init__(self, name: str, *, share: float = 0.01, loss_db: float = 0.8, back_loss_db: float = 0.8) -> None:
        super().__init__(name)
        self.ins, self.outs = ("in",), ("out", "forward", "back")
        self.through = (1 - share) * ratio(loss_db)
        """True share of what comes in that leaves by "out"."""
        self.forward = share * ratio(loss_db)
        self.back = ratio(back_loss_db)
        """True share of what returns to "out" that leaves by "back"."""
        self.directivity_db = 85.0
        """What reaches "back" without any echo, less than what leaves by "out"."""

    def emit(self, port: str, view: View) -> Beam:
        """By port."""
        if port not in self.outs:
            return dark(view.count)
        beam = view.arriving(self.place("in"))
        if port == "out":
            return beam.scaled(self.through)
        if port == "forward":
            return beam.scaled(self.forward)
        leak, out = ratio(self.directivity_db), self.place("out")
        # echoes hardly differ from line to line: that at the first line, or at 1550 nm, serves for all
        first = beam.frequency_hz[:, :1] if beam.frequency_hz.shape[1] else np.full((view.count, 1), MIDDLE_HZ)
        return beam.through(self.through * self.back * (leak + view.echo(out, first)[:, 0]))

    def reflect(self, port: str, view: View, frequency_hz: Array) -> Array:
        """The circulator lets nothing back but its own 55 dB."""
        return np.full(frequency_hz.shape, ratio(55.0))
