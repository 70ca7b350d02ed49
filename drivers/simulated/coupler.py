"""A coupler that spreads light over many cords."""

from __future__ import annotations

import numpy as np

from drivers.simulated.chance import axis, chance
from drivers.simulated.light import Array, Beam, Noise, dark, polarising, ratio
from drivers.simulated.plant import Element, View


class Coupler(Element):
    """From "in" to "out-1" … "out-N"; all outputs together have what came in less the excess loss."""

    def __init__(
        self,
        name: str,
        ways: int,
        seed: int = 0,
        *,
        excess_db: float = 0.5,
        spread_db: float = 0.2,
        pdl_db: float = 0.05,
    ) -> None:
        super().__init__(name)
        source = chance(seed, "coupler", name)
        self.ins = ("in",)
        self.outs = tuple(f"out-{k + 1}" for k in range(ways))
        self._which = {port: at for at, port in enumerate(self.outs)}
        shares = 10 ** (source.normal(0, spread_db, ways) / 10)
        self.loss_db: Array = excess_db - 10 * np.log10(shares / shares.sum())
        """(ways,) true loss to each output, averaged over polarisation."""
        self.pdl_db: Array = np.abs(source.normal(0, pdl_db / 2, ways)) if ways > 1 else np.zeros(1)
        self.return_db = 70.0
        """True return loss of the stem by itself."""
        self._mueller: Array = np.stack(
            [
                polarising(float(pdl), axis(source)) * ratio(float(loss))
                for pdl, loss in zip(self.pdl_db, self.loss_db, strict=True)
            ]
        )

    def emit(self, port: str, view: View) -> Beam:
        """Its share of what comes in; all shares are reckoned at once."""
        which = self._which.get(port)
        if which is None:
            return dark(view.count)
        kept = view.kept.get(self)
        if kept is None:
            beam = view.arriving(self.place("in"))
            kept = view.kept[self] = (beam, np.einsum("tkj,nij->ntki", beam.stokes_w, self._mueller))
        beam, shares = kept
        mean = self._mueller[which, 0, 0]
        noise = beam.noise and tuple(Noise(each.level * mean, each.shape_w_hz) for each in beam.noise)
        return Beam(beam.frequency_hz, shares[which], noise)

    def reflect(self, port: str, view: View, frequency_hz: Array) -> Array:
        """Its own, and for light from its stem what every output sends back."""
        own = np.full(frequency_hz.shape, ratio(self.return_db))
        if port != "in":
            return own
        for which, out in enumerate(self.outs):
            own = own + self._mueller[which, 0, 0] ** 2 * view.echo(self.place(out), frequency_hz)
        return own
