"""The Launch: how light gets into ingress ports, and what its source was seen to do meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from drivers.capability import TunableSource
from drivers.quantity import Metre
from harness.errors import BenchError
from harness.reading import Cell
from harness.rig import Rig, Tap

PLUG_S = 0.5
"""Time that one plugging is reckoned with when nobody has measured it: a simulated hand's; a person takes a minute."""
STATES = 6
"""The polarisation stands at the first of so many states wherever it is not what is measured."""


class Launch:
    """The launch cords of a bench. With a coupler each has its port; else one cord goes from port to port by hand."""

    def __init__(self, rig: Rig) -> None:
        """Raises BenchError when there is no cord."""
        if not rig.launches:
            raise BenchError("launch cords", "none", "name the ingress ports that have one under [dut] ingress")
        self.rig = rig
        self._at: int | None = None
        self._pm: int | None = None
        self._source: TunableSource | None = None

    def cord(self, port: int) -> int:
        """The cord that lights an ingress port by plan, whether or not it is plugged there now."""
        return port if self.rig.together else self.rig.launches[0]

    def to(self, port: int) -> int:
        """Plug the one cord into an ingress port, unless it is there or has its own; the cord's number."""
        if not self.rig.together and self._at != port:
            self.rig.patch(f"launch-{self.cord(port)}", f"{self.rig.dut}:in-{port}")
            self._at = port
        return self.cord(port)

    def home(self, port: int) -> None:
        """A port's cord back into it after it was plugged elsewhere."""
        self._at = None
        if self.rig.together:
            self.rig.patch(f"launch-{port}", f"{self.rig.dut}:in-{port}")
        else:
            self.to(port)

    def light(self, pm: int) -> None:
        """Laser on, at a wavelength and a polarisation that is always the same; every meter set for it."""
        if self._pm is None and self.rig.has("polariser"):
            self.rig.polariser.set_state(0, STATES)
        if self._pm != pm:
            self.rig.light(pm)
            self._pm = pm

    def nudge(self, pm: int) -> None:
        """The laser a little aside; meters stay set as they are."""
        if self._source is None:
            self._source = self.rig.source
        self._source.set_wavelength(Metre(pm * 1e-12))
        self._pm = pm

    def read(self, taps: Iterable[Tap]) -> tuple[Mapping[str, int | None], int | None]:
        """(reading at each tap by its label, µdBm; what the source's tap saw together with them)."""
        wanted = list(taps)
        watch = self.rig.source_monitor
        read = self.rig.read([*wanted, *([] if watch is None else [watch])])
        return read, None if watch is None else read[watch.label]

    def paths(self, pairs: Mapping[int, int]) -> list[tuple[Cell, ...]]:
        """A reading behind each path: (in, out, cord, tap, value, below, source)."""
        taps = {ingress: self.rig.receive[egress] for ingress, egress in pairs.items()}
        read, source = self.read(taps.values())
        return [
            (ingress, pairs[ingress], self.cord(ingress), tap.label, read[tap.label], self.rig.below(tap), source)
            for ingress, tap in taps.items()
        ]


PATH = ("in", "out", "cord", "tap", "value", "below", "source")
"""Columns of `Launch.paths`."""


def wavelengths(centre_pm: int, count: int, step_pm: int) -> list[int]:
    """So many wavelengths around one, a step apart."""
    first = centre_pm - step_pm * (count // 2)
    return [first + step_pm * at for at in range(count)]
