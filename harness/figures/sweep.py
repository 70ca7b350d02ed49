"""A Sweep: a path's loss while one property of the light changes, with nothing plugged between."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.budget import Budget, Component
from harness.figure import Figure
from harness.figures import meter as meters
from harness.figures import source
from harness.figures.extreme import spread
from harness.figures.row import rows
from harness.figures.source import Watched
from harness.reading import Record

SHOWN: Final = 12
"""How many sweeps are kept for plots: those that change most."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """Loss of one path, µdB, but for what does not change along it."""

    ingress: int
    egress: int
    points: Mapping[int, int]
    """State or wavelength → cord's own reading less the one behind the path, each less what the source's tap saw."""
    missing: int
    """Points without a reading, on either side."""
    noise: int
    """Standard deviation of one point by the noise of its readings, µdB."""
    parts: tuple[Component, ...]
    """What else a difference of two points leaves open."""
    doubts: tuple[str, ...]

    @property
    def key(self) -> tuple[tuple[str, int | str], ...]:
        """Of a figure."""
        return (("in", self.ingress), ("out", self.egress))

    @property
    def where(self) -> str:
        """Of a finding."""
        return f"in {self.ingress} out {self.egress}"


def sweeps(
    record: Record, procedure: str, along: str, settings: Watched, averaging_ms: int, bench: meters.Meters
) -> list[Sweep]:
    """Every sweep of a procedure along a column; what the cord does by itself is taken off point by point.

    Raises ArchiveError.
    """
    own: dict[tuple[int, int], dict[str, Any]] = {}
    for row in rows(record, procedure, "reference", whole=("cord", along), maybe=("value", "source"), text=("tap",)):
        own[row["cord"], row[along]] = row
    grouped: dict[tuple[int, int], list[dict[str, Any]]] = {}
    columns = ("in", "out", "cord", along, "below")
    for row in rows(record, procedure, "power", whole=columns, maybe=("value", "source"), text=("tap",)):
        grouped.setdefault((row["in"], row["out"]), []).append(row)
    return [
        _sweep(ingress, egress, along, found, own, settings, averaging_ms, bench)
        for (ingress, egress), found in grouped.items()
    ]


def _sweep(
    ingress: int,
    egress: int,
    along: str,
    found: Sequence[dict[str, Any]],
    own: Mapping[tuple[int, int], dict[str, Any]],
    settings: Watched,
    averaging_ms: int,
    bench: meters.Meters,
) -> Sweep:
    meter, red = bench.of(found[-1])
    on = set(red)
    points: dict[int, int] = {}
    cords = [own[row["cord"], row[along]] for row in found if (row["cord"], row[along]) in own]
    watched = source.watched((*found, *cords))
    lowest = None
    for row in found:
        cord = own.get((row["cord"], row[along]))
        if cord is None or cord["value"] is None or row["value"] is None:
            continue
        change = (cord["source"] - row["source"]) if watched else 0
        points[row[along]] = cord["value"] - row["value"] - change
        lowest = row["value"] if lowest is None else min(lowest, row["value"])
    noise = 0 if lowest is None else -(-meters.noise_udb(meter, lowest, averaging_ms * 1000) * 1415 // 1000)
    parts = [source.component(settings, watched=watched)]
    if cords:
        _, red = bench.of(cords[-1])
        on |= set(red)
    return Sweep(ingress, egress, points, len(found) - len(points), noise, tuple(parts), tuple(sorted(on)))


def width(sweep: Sweep, more: Sequence[Component]) -> Figure:
    """Largest less smallest loss along a sweep; no value where any point of it has no reading."""
    if sweep.missing or len(sweep.points) < 2:
        why = f"{sweep.missing} points without a reading" if sweep.missing else "fewer than two points"
        return Figure(sweep.key, None, Budget(()), why=why, doubts=sweep.doubts)
    values = list(sweep.points.values())
    value, chosen, _, _ = spread(values, [sweep.noise] * len(values))
    noise = Component(
        "读数噪声", "noise of two points", -(-sweep.noise * 1415 // 1000), "normal", "data sheet of the meter"
    )
    return Figure(sweep.key, value, Budget((noise, chosen, *sweep.parts, *more)), doubts=sweep.doubts)


def drift(record: Record, procedure: str, along: str, settings: Watched) -> list[tuple[int, int | None]]:
    """(point of the sweep, what the source's tap saw there): for `source.drift`, which compares like with like."""
    found = []
    for kind in ("reference", "power"):
        found += [
            (row[along], row["source"]) for row in rows(record, procedure, kind, whole=(along,), maybe=("source",))
        ]
    return found


def curves(found: Sequence[Sweep], name: str, column: str) -> dict[str, Mapping[str, object]]:
    """Those that change most, for plots; each less its smallest loss."""

    def change(sweep: Sweep) -> int:
        values = sweep.points.values()
        return max(values) - min(values) if values else 0

    return {
        f"{name} {sweep.where}": {
            "columns": [column, "udB"],
            "rows": [[at, value - min(sweep.points.values())] for at, value in sorted(sweep.points.items())],
            "unit": "udB",
        }
        for sweep in sorted(found, key=change, reverse=True)[:SHOWN]
        if sweep.points
    }
