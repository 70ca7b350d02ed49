"""A length of fibre with what happened to it: splices, connectors, bends."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from drivers.quantity import C_M_PER_S
from drivers.simulated.history import History
from drivers.simulated.light import Array, Beam, dark, ratio
from drivers.simulated.plant import Element, Piece, View

BACKSCATTER_PER_M: Final = 10 ** (-8.2) / (1e-9 * C_M_PER_S / 1.4682 / 2)
"""Of standard single-mode fibre at 1550 nm: -82 dB for a pulse of 1 ns, so 6.2e-8 a metre."""
RAYLEIGH: Final = 0.85
"""Share of the attenuation at 1550 nm that is Rayleigh scattering; so 0.20 dB/km there is 0.36 dB/km at 1310 nm."""
GLASS_AIR_DB: Final = -14.7
"""Fresnel reflection of a straight break."""


@dataclass(frozen=True, slots=True)
class Event:
    """Something at a place of a fibre."""

    km: float
    """From end "a"."""
    loss_db: float
    reflectance_db: float | None = None
    """Negative; None: a splice, that reflects nothing."""


class Fibre(Element):
    """Ends "a" and "b"; light goes both ways. The light's time of flight is not in powers, only in `true_flight_s`."""

    def __init__(
        self,
        name: str,
        km: float,
        *,
        alpha_db_km: float = 0.2,
        group_index: float = 1.4682,
        events: Sequence[Event] = (),
        cut_km: float | None = None,
    ) -> None:
        """Raises ValueError for an event outside. ``cut_km``: where a cut cuts; None: in the middle."""
        super().__init__(name)
        # one group index for all wavelengths: 1310 nm and 1550 nm differ by 2e-9 s a km in glass, here they do not
        self.ends = ("a", "b")
        self.km, self.alpha_db_km, self.group_index = km, alpha_db_km, group_index
        self.events = tuple(sorted(events, key=lambda event: event.km))
        self.cut_km = km / 2 if cut_km is None else cut_km
        for event in self.events:
            if not 0 < event.km < km:
                raise ValueError(f"an event at {event.km} km of {km} km")
        self._cut = History(False)

    def true_alpha_db_km(self, wavelength_m: float = 1550e-9) -> float:
        """Attenuation of the glass: most of it is Rayleigh's, which goes with the fourth power of the frequency."""
        return float(self._alpha(np.array([C_M_PER_S / wavelength_m]))[0])

    def _alpha(self, frequency_hz: Array) -> Array:
        return self.alpha_db_km * (1 - RAYLEIGH + RAYLEIGH * (frequency_hz * 1550e-9 / C_M_PER_S) ** 4)

    def true_loss_db(self, wavelength_m: float = 1550e-9) -> float:
        """From end to end without its connectors."""
        return self.true_alpha_db_km(wavelength_m) * self.km + self._events_db

    @property
    def _events_db(self) -> float:
        return sum(event.loss_db for event in self.events)

    @property
    def true_flight_s(self) -> float:
        """One way."""
        return self.km * 1000 * self.group_index / C_M_PER_S

    def add_event(self, event: Event) -> None:
        """One more. Raises ValueError for one outside."""
        if not 0 < event.km < self.km:
            raise ValueError(f"an event at {event.km} km of {self.km} km")
        with self.lock:
            self.events = tuple(sorted((*self.events, event), key=lambda each: each.km))
            self.now(None)

    def set_cut(self, on: bool, at_ns: int | None = None) -> None:
        """Cut it, or make it whole."""
        with self.lock:
            self._cut.set(self.now(at_ns), on)

    def emit(self, port: str, view: View) -> Beam:
        """What enters at the other end."""
        if self._cut.at(view.first):
            return dark(view.count)
        beam = view.arriving(self.place("b" if port == "a" else "a"))
        return beam.through(1.0, self._left)

    def reflect(self, port: str, view: View, frequency_hz: Array) -> Array:
        """Backscatter of the whole length, the events, and what lies beyond."""
        neper = self.alpha_db_km / 1000 * np.log(10) / 10
        cut = self._cut.at(view.first)
        whole = self.km if not cut else self.cut_km if port == "a" else self.km - self.cut_km
        back = BACKSCATTER_PER_M * (1 - np.exp(-2 * neper * whole * 1000)) / (2 * neper)
        lost = 0.0
        for event in self.events if port == "a" else self.events[::-1]:
            at = event.km if port == "a" else self.km - event.km
            if at > whole:
                break
            if event.reflectance_db is not None:
                back += 10 ** (event.reflectance_db / 10) * ratio(lost + self.alpha_db_km * at) ** 2
            lost += event.loss_db
        found = np.full(frequency_hz.shape, back)
        if cut:
            return found + 10 ** (GLASS_AIR_DB / 10) * ratio(lost + self.alpha_db_km * whole) ** 2
        far = view.echo(self.place("b" if port == "a" else "a"), frequency_hz)
        return np.asarray(found + self._left(frequency_hz) ** 2 * far)

    def _left(self, frequency_hz: Array) -> Array:
        return np.asarray(10 ** (-(self._alpha(frequency_hz) * self.km + self._events_db) / 10), dtype=np.float64)

    def onward(self, port: str, at_ns: int, wavelength_m: float = 1550e-9) -> tuple[str, tuple[Piece, ...]] | None:
        """Stretches and events in the order that a pulse from this end meets them."""
        forward = port == "a"
        cut = self._cut.at(at_ns)
        whole = self.km if not cut else self.cut_km if forward else self.km - self.cut_km
        marks = [(e.km if forward else self.km - e.km, e) for e in (self.events if forward else self.events[::-1])]
        pieces, at = [], 0.0
        for km, event in [(km, event) for km, event in marks if km <= whole]:
            pieces.append(self._stretch(km - at, wavelength_m))
            pieces.append(Piece(f"{self.name} event", 0.0, loss_db=event.loss_db, reflectance_db=event.reflectance_db))
            at = km
        pieces.append(self._stretch(whole - at, wavelength_m))
        if cut:
            pieces.append(Piece(f"{self.name} broken", 0.0, reflectance_db=GLASS_AIR_DB))
            return "", tuple(pieces)
        return "b" if forward else "a", tuple(pieces)

    def _stretch(self, km: float, wavelength_m: float) -> Piece:
        flight = km * 1000 * self.group_index / C_M_PER_S
        return Piece(self.name, flight, km * 1000, self.true_alpha_db_km(wavelength_m), self.group_index)

    def steps(self, start_ns: int, end_ns: int) -> list[int]:
        """Whenever it was cut or made whole."""
        return self._cut.changes(start_ns, end_ns)
