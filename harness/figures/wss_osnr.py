"""What a pass through a node costs in optical signal-to-noise ratio (OSNR in 0.1 nm), from spectra around it."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.budget import Budget, Component
from harness.figure import Derived, Figure
from harness.figures.meter import LN10_TENTHS
from harness.figures.row import rows
from harness.figures.setting import Count, MicroDB
from harness.figures.slot import (
    CONVENTIONAL,
    KEYS,
    NAMES,
    PLACES,
    Confirmed,
    Megahertz,
    Port,
    Slot,
    Way,
    confirmed,
    key_of,
    label,
)
from harness.reading import Record, Unit

ID: Final = "wss-osnr"
TITLE_ZH: Final = "光信噪比代价"
TITLE_EN: Final = "OSNR penalty"
FIGURES: Final[Mapping[str, Unit]] = {"osnr": "udB", "node-osnr": "udB", "penalty": "udB"}
REFERENCE_PM: Final = 100
"""Bandwidth that noise is stated in, 0.1 nm."""
BOUND: Final = 2
"""Noise less than that many times the dark trace, or than its own uncertainty, is a bound and no value."""


class Settings(Confirmed):
    """Where noise is looked for, and what is known of the analyser."""

    slots: tuple[Slot, ...] = (CONVENTIONAL,)
    ways: tuple[Way, ...] = (Way(ingress="deg-1", egress="deg-2"),)
    ingress: tuple[Port, ...] = ()
    """As for wss-loss."""
    egress: tuple[Port, ...] = ()
    resolution_pm: Count = 20
    span_pm: Count = 1_000
    offset_mhz: Megahertz = 20_000
    """Noise is read that far from the carrier on both sides: within the slot, as a slot filters the noise beside it."""
    window_mhz: Megahertz = 4_000
    """Half-width of the piece of spectrum that it is averaged over."""
    search_mhz: Megahertz = 5_000
    """The carrier is the highest point that near to the slot's centre."""
    input_osnr_udb: MicroDB = 20_000_000
    """OSNR before the node at which the penalty is stated."""
    linearity_udb: MicroDB = 100_000
    """Half-width of the analyser's error between carrier and noise: a data sheet's value, not confirmed."""
    bandwidth_udb: MicroDB = 200_000
    """The same of its noise bandwidth."""


@dataclass(frozen=True, slots=True)
class Spectrum:
    """One carrier on its noise; powers relative, as all that counts is a ratio."""

    inverse: float
    """Noise in 0.1 nm over signal."""
    noise_mw: float
    """Mean noise in the analyser's resolution, mW."""
    scatter_udb: int
    """Standard deviation of that mean, µdB."""
    nu: int


def spectrum(points: Sequence[tuple[int, int]], centre: int, resolution_pm: int, settings: Settings) -> Spectrum | None:
    """A spectrum's carrier and in-band noise, from (MHz, µdBm); None: no carrier, or nothing beside it.

    Noise under the carrier is the mean of both sides at equal distance, which is the linear interpolation.
    """
    sides: list[list[float]] = [[], []]
    carrier = 0.0
    for mhz, value in points:
        off, power = mhz - centre, 10 ** (value / 1e7)
        if abs(off) <= settings.search_mhz:
            carrier = max(carrier, power)
        for sign, side in ((-1, sides[0]), (1, sides[1])):
            if abs(off - sign * settings.offset_mhz) <= settings.window_mhz:
                side.append(power)
    if min(len(side) for side in sides) < 2:
        return None
    means = [math.fsum(side) / len(side) for side in sides]
    noise = (means[0] + means[1]) / 2
    signal = carrier - noise
    if signal <= 0 or noise <= 0:
        return None
    squares = [math.fsum((p - mean) ** 2 for p in side) for side, mean in zip(sides, means, strict=True)]
    variance = sum(s / (len(side) - 1) / len(side) for s, side in zip(squares, sides, strict=True)) / 4
    scatter = math.ceil(math.sqrt(variance) / noise * LN10_TENTHS)
    nu = sum(len(side) - 1 for side in sides)
    return Spectrum(noise * REFERENCE_PM / resolution_pm / signal, noise, scatter, nu)


def _udb(ratio: float) -> int:
    """A ratio of powers in µdB, to the nearest."""
    return round(1e7 * math.log10(ratio))


def _parts(place: str, found: Spectrum, settings: Settings, share: float) -> list[Component]:
    """What is open of one spectrum's noise-to-signal ratio; ``share``: how much of it a figure feels."""

    def part(zh: str, en: str, value: int, nu: int | None = None) -> Component:
        scaled = math.ceil(value * share)
        if nu is None:
            return Component(zh, f"{en}, {place}", scaled, "rectangular", "profile, unconfirmed")
        return Component(zh, f"{en}, {place}", scaled, "normal", "scatter of the trace beside the carrier", nu=nu)

    return [
        part("分析仪线性", "analyser between carrier and noise", settings.linearity_udb),
        part("噪声带宽", "noise bandwidth", settings.bandwidth_udb),
        part("噪声起伏", "scatter of the noise", found.scatter_udb, found.nu),
    ]


def derive(record: Record, settings: Settings) -> Derived:
    """OSNR behind every way, that of the node alone, and the penalty at the stated OSNR before it.

    The node's own noise is what is left of noise over signal behind it when that before it is taken off:
    1/OSNR_node = 1/OSNR_out - 1/OSNR_in; penalty = 10 lg (1 + OSNR_ref/OSNR_node).
    """
    groups: dict[tuple[Any, ...], dict[str, list[tuple[int, int]]]] = defaultdict(lambda: defaultdict(list))
    resolutions: dict[tuple[Any, ...], int] = {}
    whole = (*PLACES, "resolution", "mhz", "value")
    for row in rows(record, ID, "spectrum", whole=whole, text=(*NAMES, "place")):
        at = tuple(row[k] for k in KEYS)
        # beyond a gigawatt is no spectrum, and no float either
        groups[at][row["place"]].append((row["mhz"], max(-200_000_000, min(120_000_000, row["value"]))))
        resolutions[at] = max(1, row["resolution"])
    figures: dict[str, list[Figure]] = {name: [] for name in FIGURES}
    tables: dict[str, Mapping[str, object]] = {}
    light = confirmed(record, ID)
    for at, places in groups.items():
        key = key_of(dict(zip(KEYS, at, strict=True)))
        found = {
            place: spectrum(points, at[2], resolutions[at], settings)
            for place, points in places.items()
            if place != "dark"
        }
        dark = _dark(places.get("dark", ()), at[2], settings)
        stray = light.get(label(dict(zip(KEYS, at, strict=True))))
        on = (stray.name,) if stray is not None and stray.red else ()
        _figures(key, found.get("in"), found.get("out"), dark, settings, on, figures)
        for place, points in places.items():
            name = f"{at[0]} {at[1]} {at[2]} {place}"
            tables[name] = {"columns": ["mhz", "value"], "rows": [list(p) for p in sorted(points)], "unit": "udBm"}
    notes = (
        "OSNR by interpolation beside an unmodulated carrier, within its slot; how that compares with a modulated "
        "channel's is not confirmed by any text that was seen",
    )
    return Derived(
        figures={k: tuple(v) for k, v in figures.items()},
        doubts=tuple(light.values()),
        notes=notes if groups else (),
        tables=tables,
    )


def _dark(points: Sequence[tuple[int, int]], centre: int, settings: Settings) -> float:
    """Mean of the analyser's trace without light where noise is read, mW; 0: not taken."""
    near = [
        10 ** (value / 1e7)
        for mhz, value in points
        if abs(abs(mhz - centre) - settings.offset_mhz) <= settings.window_mhz
    ]
    return math.fsum(near) / len(near) if near else 0.0


def _figures(
    key: tuple[tuple[str, int | str], ...],
    before: Spectrum | None,
    behind: Spectrum | None,
    dark_mw: float,
    settings: Settings,
    on: tuple[str, ...],
    into: dict[str, list[Figure]],
) -> None:
    if before is None or behind is None:
        why = "no carrier with noise on both sides " + ("before the node" if before is None else "behind the node")
        for name in FIGURES:
            into[name].append(Figure(key, None, Budget(()), why=why, doubts=on))
        return
    floor = behind.noise_mw < BOUND * dark_mw
    whole = Budget(tuple(_parts("behind", behind, settings, 1.0)))
    into["osnr"].append(Figure(key, -_udb(behind.inverse), whole, "at-least" if floor else "", doubts=on))
    first = Budget(tuple(_parts("before", before, settings, 1.0)))
    node = behind.inverse - before.inverse
    u = math.hypot(behind.inverse * whole.u_c, before.inverse * first.u_c) / LN10_TENTHS
    ratio = 10 ** (settings.input_osnr_udb / 1e7)
    if floor or node < BOUND * u:
        most = max(node, 0.0) + BOUND * u
        into["node-osnr"].append(Figure(key, -_udb(most), Budget(()), "at-least", doubts=on))
        into["penalty"].append(Figure(key, _udb(1 + ratio * most), Budget(()), "at-most", doubts=on))
        return

    def both(weight: float) -> Budget:
        parts = _parts("behind", behind, settings, behind.inverse * weight)
        return Budget((*parts, *_parts("before", before, settings, before.inverse * weight)))

    into["node-osnr"].append(Figure(key, -_udb(node), both(1 / node), doubts=on))
    into["penalty"].append(Figure(key, _udb(1 + ratio * node), both(ratio / (1 + ratio * node)), doubts=on))
