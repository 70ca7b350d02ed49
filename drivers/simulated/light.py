"""Light: lines with their polarisation, with the noise between them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import NDArray

from drivers.quantity import C_M_PER_S

Array: TypeAlias = NDArray[np.float64]
Times: TypeAlias = NDArray[np.int64]
Flags: TypeAlias = NDArray[np.bool_]

STEP_HZ: Final = 5e9
GRID_HZ: Final[Array] = np.arange(190e12, 197e12 + STEP_HZ / 2, STEP_HZ)
"""Frequencies at which amplified spontaneous emission is known: 1521.8 nm to 1577.9 nm."""
LINE: Final[Array] = GRID_HZ[np.newaxis, :]


@dataclass(frozen=True, slots=True, eq=False)
class Light:
    """What is at one place at one instant."""

    frequency_hz: Array
    """(k,) optical frequency of each line."""
    power_w: Array
    """(k,)"""
    stokes: Array
    """(k, 3) Stokes vector over the line's power: length 1 is fully polarised, 0 not at all."""
    ase_hz: Array
    """(m,) frequencies of the noise; none: no noise."""
    ase_w_hz: Array
    """(m,) spectral density of unpolarised noise, both polarisations together, W/Hz."""

    @property
    def total_w(self) -> float:
        """What a meter that sees every wavelength alike would see, W."""
        return float(self.power_w.sum() + self.ase_w_hz.sum() * STEP_HZ)


@dataclass(frozen=True, slots=True, eq=False)
class Noise:
    """Unpolarised noise whose spectrum keeps its shape while its level changes."""

    level: Array
    """(T,)"""
    shape_w_hz: Array
    """(len(GRID_HZ),) W/Hz at level 1."""


@dataclass(frozen=True, slots=True, eq=False)
class Beam:
    """Light at one place over T instants. Lines of one source share one frequency array: so they are known as one."""

    frequency_hz: Array
    """(T, k)"""
    stokes_w: Array
    """(T, k, 4) Stokes parameters, W; the first is the power."""
    noise: tuple[Noise, ...] = ()
    """What adds up to all its noise."""

    @property
    def lit(self) -> bool:
        """Whether there is any light at all."""
        return bool(self.stokes_w.shape[1] or self.noise)

    @property
    def power_w(self) -> Array:
        """(T,) all power, W."""
        power: Array = self.stokes_w[:, :, 0].sum(axis=1)
        for each in self.noise:
            power = power + each.level * (each.shape_w_hz.sum() * STEP_HZ)
        return power

    @property
    def whole_w(self) -> Array:
        """(T, 4) Stokes parameters of all of it, W."""
        whole: Array = self.stokes_w.sum(axis=1)
        whole[:, 0] = self.power_w
        return whole

    def scaled(self, ratio: float) -> Beam:
        """The same light, weaker, at all wavelengths alike."""
        noise = self.noise and tuple(Noise(each.level * ratio, each.shape_w_hz) for each in self.noise)
        return Beam(self.frequency_hz, self.stokes_w * ratio, noise)

    def through(
        self, level: Array | float = 1.0, spectral: Callable[[Array], Array] | None = None, mueller: Array | None = None
    ) -> Beam:
        """What gets through something.

        ``level``: transmission by time, (T,); ``spectral``: by frequency, (T, k) → the like; ``mueller``: by
        polarisation, (4, 4). Noise is unpolarised and stays so; of the matrix it feels the first element.
        """
        stokes = self.stokes_w if mueller is None else self.stokes_w @ mueller.T
        if stokes.shape[1]:
            by_line = level[:, np.newaxis] if isinstance(level, np.ndarray) else level
            factor = by_line if spectral is None else by_line * spectral(self.frequency_hz)
            stokes = stokes * (factor[:, :, np.newaxis] if isinstance(factor, np.ndarray) else factor)
        if not self.noise:
            return Beam(self.frequency_hz, stokes)
        mean = level if mueller is None else level * mueller[0, 0]
        shape = None if spectral is None else spectral(LINE)[0]
        return Beam(
            self.frequency_hz,
            stokes,
            tuple(
                Noise(each.level * mean, each.shape_w_hz if shape is None else each.shape_w_hz * shape)
                for each in self.noise
            ),
        )

    def at(self, index: int) -> Light:
        """One of its instants."""
        power = self.stokes_w[index, :, 0]
        with np.errstate(invalid="ignore", divide="ignore"):
            stokes = np.where(power[:, np.newaxis] > 0, self.stokes_w[index, :, 1:] / power[:, np.newaxis], 0.0)
        ase = np.zeros(GRID_HZ.size if self.noise else 0)
        for each in self.noise:
            ase = ase + each.level[index] * each.shape_w_hz
        return Light(self.frequency_hz[index], power, stokes, GRID_HZ[: ase.size], ase)


_NOTHING: Final = Beam(np.zeros((1, 0)), np.zeros((1, 0, 4)))


def dark(count: int) -> Beam:
    """No light, over so many instants."""
    return _NOTHING if count == 1 else Beam(np.zeros((count, 0)), np.zeros((count, 0, 4)))


def mixed(beams: Sequence[Beam], count: int) -> Beam:
    """Light of several ways in one place; powers add (coherent mixing is left out)."""
    lit = [beam for beam in beams if beam.lit]
    if not lit:
        return dark(count)
    if len(lit) == 1:
        return lit[0]
    lines: dict[int, tuple[Array, Array]] = {}
    noise: dict[int, Noise] = {}
    for beam in lit:
        if beam.stokes_w.shape[1]:
            had = lines.get(id(beam.frequency_hz))
            lines[id(beam.frequency_hz)] = (
                beam.frequency_hz,
                beam.stokes_w if had is None else had[1] + beam.stokes_w,
            )
        for each in beam.noise:
            known = noise.get(id(each.shape_w_hz))
            noise[id(each.shape_w_hz)] = each if known is None else Noise(known.level + each.level, each.shape_w_hz)
    every = tuple(noise.values())
    if len(lines) == 1:
        ((frequency, stokes),) = lines.values()
        return Beam(frequency, stokes, every)
    return Beam(
        np.concatenate([f for f, _ in lines.values()], axis=1) if lines else np.zeros((count, 0)),
        np.concatenate([s for _, s in lines.values()], axis=1) if lines else np.zeros((count, 0, 4)),
        every,
    )


def ratio(decibel: float) -> float:
    """What is left after a loss in dB."""
    return float(10 ** (-decibel / 10))


def contrast(pdl_db: float) -> float:
    """(Tmax − Tmin)/(Tmax + Tmin) of a polarisation-dependent loss 10·lg(Tmax/Tmin)."""
    return float(np.tanh(pdl_db * np.log(10) / 20))


def polarising(pdl_db: float, along: Array) -> Array:
    """Mueller matrix (4, 4) of a partial polariser whose transmission averaged over all polarisations is 1.

    ``along``: unit Stokes vector (3,) that gets through best. A loss of at least half the PDL must go with it, else
    light would be made.
    """
    gamma = contrast(pdl_db)
    root = np.sqrt(1 - gamma * gamma)
    found = np.zeros((4, 4))
    found[0, 0] = 1.0
    found[0, 1:] = found[1:, 0] = gamma * along
    found[1:, 1:] = root * np.eye(3) + (1 - root) * np.outer(along, along)
    return found


def turning(rotation: Array) -> Array:
    """Mueller matrix (4, 4) of a birefringence that rotates the sphere by a matrix (3, 3)."""
    found = np.eye(4)
    found[1:, 1:] = rotation
    return found


def turn(source: Array, target: Array) -> Array:
    """The shortest rotation (3, 3) of the sphere from one unit vector to another."""
    cosine = float(source @ target)
    if cosine < -1 + 1e-12:  # half a turn, about any axis across
        across = np.cross(source, [1.0, 0, 0] if abs(source[0]) < 0.9 else [0, 1.0, 0])
        across /= np.linalg.norm(across)
        return np.asarray(2 * np.outer(across, across) - np.eye(3), dtype=np.float64)
    x, y, z = np.cross(source, target)
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.asarray(np.eye(3) + cross + cross @ cross / (1 + cosine), dtype=np.float64)


def sphere(of: int) -> Array:
    """``of`` states (of, 3) spread evenly over the Poincaré sphere: for 6 its poles, else a spiral of equal areas."""
    if of == 6:
        return np.array([[1.0, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0], [0, 0, 1], [0, 0, -1]])
    index = np.arange(of) + 0.5
    z = 1 - 2 * index / of
    angle = np.pi * (1 + 5**0.5) * index
    flat = np.sqrt(1 - z * z)
    return np.column_stack((flat * np.cos(angle), flat * np.sin(angle), z))


def hertz(wavelength_m: float) -> float:
    """Frequency of a vacuum wavelength."""
    return C_M_PER_S / wavelength_m
