"""Lasers, with the drift that they have."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

import numpy as np

from drivers.quantity import C_M_PER_S
from drivers.simulated.chance import chance
from drivers.simulated.history import History
from drivers.simulated.light import GRID_HZ, Array, Beam, Noise, dark
from drivers.simulated.plant import Element, View

NM_HZ: Final = C_M_PER_S / 1550e-9**2 * 1e-9
"""1 nm at 1550 nm, Hz."""
FLAT: Final[Array] = np.ones(GRID_HZ.size)


@dataclass(frozen=True, slots=True)
class Set:
    """What a laser was told."""

    on: bool = False
    dbm: float = 0.0
    wavelength_m: float = 1550e-9


@dataclass(frozen=True, slots=True)
class Drift:
    """How a laser wanders."""

    db_h: float = 0.0
    """Power, dB per hour, straight."""
    wander_db: float = 0.0
    """Amplitude of a slow swing of the power."""
    pm_h: float = 0.0
    wander_pm: float = 0.0
    period_s: float = 1800.0
    """Of both swings."""


class Laser(Element):
    """One or several lasers in a box; ports "out", or "out-1" … when there are several."""

    def __init__(self, name: str, seed: int = 0, *, channels: int = 1, drift: Drift | None = None) -> None:
        super().__init__(name)
        source = chance(seed, "laser", name)
        self.channels = channels
        self.outs = ("out",) if channels == 1 else tuple(f"out-{k + 1}" for k in range(channels))
        self.drift = Drift() if drift is None else drift
        self.offset_db = float(source.normal(0, 0.05))
        """True power less the set one, at the start."""
        self.offset_pm = float(source.normal(0, 1.0))
        """True wavelength less the set one, at the start."""
        self.phase = float(source.uniform(0, 2 * np.pi))
        self.sse_db_nm: float | None = None
        """Signal over spontaneous emission in 1 nm; None: none at all."""
        self._set = [History(Set()) for _ in range(channels)]

    def facing(self, port: str, *, out: bool) -> str:
        """The first of several is "out"."""
        return "out-1" if port == "out" and self.channels > 1 else port

    def setting(self, channel: int = 1, at_ns: int | None = None) -> Set:
        """What it was told, newest or at an instant."""
        history = self._set[channel - 1]
        return history.last if at_ns is None else history.at(at_ns)

    def set_output(self, on: bool, channel: int = 1, at_ns: int | None = None) -> None:
        """Switch the light."""
        with self.lock:
            self._set[channel - 1].set(self.now(at_ns), replace(self.setting(channel), on=on))

    def set_power(self, dbm: float, channel: int = 1, at_ns: int | None = None) -> None:
        """Output power, dBm."""
        with self.lock:
            self._set[channel - 1].set(self.now(at_ns), replace(self.setting(channel), dbm=dbm))

    def set_wavelength(self, wavelength_m: float, channel: int = 1, at_ns: int | None = None) -> None:
        """Vacuum wavelength, m."""
        with self.lock:
            self._set[channel - 1].set(self.now(at_ns), replace(self.setting(channel), wavelength_m=wavelength_m))

    def _swing(self, seconds: Array) -> Array:
        """(T,) of the slow swing, 0 at the start."""
        angle = 2 * np.pi * seconds / self.drift.period_s + self.phase
        return np.asarray(np.sin(angle) - np.sin(self.phase), dtype=np.float64)

    def true_dbm(self, seconds: Array, dbm: float) -> Array:
        """(T,) what is emitted when so much is set, s after the plant was made."""
        drift = self.drift
        return dbm + self.offset_db + drift.db_h * seconds / 3600 + drift.wander_db * self._swing(seconds)

    def true_wavelength_m(self, seconds: Array, wavelength_m: float) -> Array:
        """(T,) vacuum wavelength that is emitted when so much is set."""
        drift = self.drift
        error = self.offset_pm + drift.pm_h * seconds / 3600 + drift.wander_pm * self._swing(seconds)
        return np.asarray(wavelength_m + error * 1e-12, dtype=np.float64)

    def emit(self, port: str, view: View) -> Beam:
        """One line, horizontally polarised, over its noise."""
        channel = self.outs.index(port)
        told = self._set[channel].at(view.first)
        if not told.on:
            return dark(view.count)
        seconds = view.seconds()
        watt = 10 ** (self.true_dbm(seconds, told.dbm) / 10) / 1000
        stokes = np.zeros((view.count, 1, 4))
        stokes[:, 0, 0] = stokes[:, 0, 1] = watt
        frequency = (C_M_PER_S / self.true_wavelength_m(seconds, told.wavelength_m))[:, np.newaxis]
        noise: tuple[Noise, ...] = ()
        if self.sse_db_nm is not None:
            noise = (Noise(watt * 10 ** (-self.sse_db_nm / 10) / NM_HZ, FLAT),)
        return Beam(frequency, stokes, noise)

    def steps(self, start_ns: int, end_ns: int) -> list[int]:
        """Whenever it was told something."""
        return [at for history in self._set for at in history.changes(start_ns, end_ns)]

    def power_off(self, at_ns: int) -> None:
        """It is dark, and stays so when the feeds are back."""
        for channel in range(1, self.channels + 1):
            self.set_output(False, channel, at_ns)
