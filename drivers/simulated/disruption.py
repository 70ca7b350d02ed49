"""How long a service was gone: when the light at a place was below what its receiver needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from drivers.simulated.plant import Plant

STEP_NS: Final = 100_000
"""How finely the light is looked at."""
FINE_NS: Final = 1_000
"""How finely where it went or came."""
MOST: Final = 200_000
"""Instants that are reckoned with at once."""
KNOWN_NS: Final = 590_000_000_000
"""How far back the plant knows its past."""


@dataclass(frozen=True, slots=True)
class Gap:
    """One disruption, ns of the plant's clock."""

    start_ns: int
    end_ns: int

    @property
    def seconds(self) -> float:
        """How long."""
        return (self.end_ns - self.start_ns) / 1e9


class DisruptionWatch:
    """Watches one place from ``start`` on. A gap counts when it is over, and only after there was light once.

    Whoever does not ask for ten minutes misses what was before: the plant forgets.
    """

    def __init__(self, plant: Plant, place: str, threshold_w: float) -> None:
        self.plant = plant
        self.place = place
        self.threshold_w = threshold_w
        self.gaps: list[Gap] = []
        self._seen_ns: int | None = None
        self._dark_ns: int | None = None
        self._lit = False

    def start(self) -> None:
        """Forget what was, and watch from now on."""
        self.gaps = []
        self._seen_ns = self.plant.clock.now_ns()
        self._dark_ns, self._lit = None, False

    def stop(self) -> None:
        """Watch no longer; what was seen stays."""
        self.look()
        self._seen_ns = None

    @property
    def watching(self) -> bool:
        """Whether it does."""
        return self._seen_ns is not None

    def light(self) -> bool:
        """Whether there is enough of it now."""
        return self.plant.power(self.place) >= self.threshold_w

    def look(self) -> None:
        """Take in what went on until now."""
        if self._seen_ns is None:
            return
        now_ns = self.plant.clock.now_ns()
        at_ns = max(self._seen_ns, now_ns - KNOWN_NS)
        while at_ns < now_ns:
            many = min(MOST, (now_ns - at_ns) // STEP_NS + 1)
            self._take(at_ns, self._enough(at_ns, STEP_NS, int(many)))
            at_ns += many * STEP_NS
        self._seen_ns = max(now_ns, self._seen_ns, at_ns)

    def _enough(self, start_ns: int, period_ns: int, many: int) -> np.ndarray[tuple[int, ...], np.dtype[np.bool_]]:
        return np.asarray(self.plant.power_series(self.place, start_ns, period_ns, many) >= self.threshold_w)

    def _take(self, start_ns: int, enough: np.ndarray[tuple[int, ...], np.dtype[np.bool_]]) -> None:
        before = np.concatenate(([self._now_lit()], enough[:-1]))
        for index in np.flatnonzero(enough != before).tolist():
            self._change(self._edge(start_ns + index * STEP_NS, lit=bool(enough[index])), lit=bool(enough[index]))

    def _now_lit(self) -> bool:
        return self._lit and self._dark_ns is None

    def _edge(self, by_ns: int, *, lit: bool) -> int:
        """When exactly it changed, up to an instant at which it had."""
        fine = self._enough(by_ns - STEP_NS, FINE_NS, STEP_NS // FINE_NS + 1)
        other = np.flatnonzero(fine != lit)
        return by_ns - STEP_NS + (int(other[-1]) + 1 if other.size else 0) * FINE_NS

    def _change(self, at_ns: int, *, lit: bool) -> None:
        if not lit:
            self._dark_ns = at_ns
            return
        if self._dark_ns is not None:
            self.gaps.append(Gap(self._dark_ns, at_ns))
        self._dark_ns, self._lit = None, True
