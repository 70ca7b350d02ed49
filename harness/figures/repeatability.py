"""Repeatability: how far a path's loss moves when it is taken apart and made again (by power, IEC 61300-3-4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field

from harness.budget import Budget, Component, coverage_factor, root_up
from harness.figure import Derived, Figure, Finding
from harness.figures import meter as meters
from harness.figures import source
from harness.figures.extreme import largest
from harness.figures.row import rows
from harness.figures.setting import Count, MicroDB, Milliseconds, Picometres
from harness.figures.source import Watched
from harness.reading import Record, Unit

ID: Final = "repeatability"
TITLE_ZH: Final = "重复性"
TITLE_EN: Final = "repeatability"
FIGURES: Final[Mapping[str, Unit]] = {"repeatability": "udB", "pooled": "udB"}
SHOWN: Final = 12
"""How many paths' trends are kept: those that move most."""
CHI_TABLE: Final = (
    (1, 35067),
    (2, 6592),
    (3, 3853),
    (4, 2948),
    (5, 2506),
    (6, 2244),
    (7, 2069),
    (8, 1945),
    (9, 1851),
    (10, 1778),
    (12, 1670),
    (15, 1563),
    (20, 1456),
    (25, 1391),
    (30, 1346),
    (40, 1287),
    (50, 1249),
    (70, 1203),
    (100, 1165),
    (150, 1131),
    (200, 1112),
    (300, 1089),
    (500, 1068),
    (1000, 1047),
    (2000, 1033),
    (5000, 1021),
)
"""(nu, sqrt(nu / chi-squared at 2.275 % of nu) in thousandths rounded up): by so much a standard deviation may be
larger than was found."""


class Settings(Watched):
    """Which paths, and how often."""

    wavelength_pm: Picometres = 1_550_000
    repeats: Annotated[int, Field(ge=10, le=100_000)] = 10
    lots: Count = 1
    """How many rounds of the Latin square are looked at; one has every port in it."""
    seed: Count = 1
    """Which rounds."""
    averaging_ms: Milliseconds = 50
    settle_ms: Milliseconds = 100
    loose_udb: MicroDB = 100_000
    """A path that certainly moves more than that is named."""


@dataclass(frozen=True, slots=True)
class Path:
    """One path, made again and again."""

    ingress: int
    egress: int
    values: tuple[int, ...]
    """Readings less what the source's tap saw."""
    noise: int
    meter: Any
    watched: bool
    doubts: tuple[str, ...]
    dark: int
    """Re-connections that brought no light."""

    @property
    def off(self) -> list[int]:
        """Each less the mean of all, to the nearest."""
        n, total = len(self.values), sum(self.values)
        return [(2 * (n * value - total) + n) // (2 * n) for value in self.values]


def chi(nu: int) -> int:
    """The table's factor, thousandths, for degrees of freedom rounded down."""
    return next(factor for least, factor in reversed(CHI_TABLE) if least <= max(1, nu))


def _paths(record: Record, settings: Settings, bench: meters.Meters) -> list[Path]:
    grouped: dict[tuple[int, int], list[dict[str, Any]]] = {}
    columns = ("in", "out", "repeat", "below")
    for row in rows(record, ID, "power", whole=columns, maybe=("value", "source"), text=("tap",)):
        grouped.setdefault((row["in"], row["out"]), []).append(row)
    found = []
    for (ingress, egress), read in grouped.items():
        meter, red = bench.of(read[-1])
        lit = [row for row in read if row["value"] is not None]
        watched = source.watched(lit)
        noise = max((meters.noise_udb(meter, row["value"], settings.averaging_ms * 1000) for row in lit), default=0)
        values = tuple(row["value"] - (row["source"] if watched else 0) for row in lit)
        found.append(Path(ingress, egress, values, noise, meter, watched, red, len(read) - len(lit)))
    return found


def derive(record: Record, settings: Settings) -> Derived:
    """Largest deviation from the mean for each path; two standard deviations of all re-connections together."""
    bench = meters.Meters(record)
    paths = _paths(record, settings, bench)
    told = [(settings.wavelength_pm, row["source"]) for row in rows(record, ID, "power", maybe=("source",))]
    doubts = source.drift(told, settings)
    drifts = tuple(each.name for each in doubts if each.red)
    figures, findings = [], []
    for path in paths:
        key = (("in", path.ingress), ("out", path.egress))
        where = f"in {path.ingress} out {path.egress}"
        doubted = tuple(sorted({*path.doubts, *drifts}))
        if path.dark or len(path.values) < 2:
            why = f"{path.dark} re-connections without light" if path.dark else "fewer than two re-connections"
            figures.append(Figure(key, None, Budget(()), why=why, doubts=doubted))
            if path.dark:
                zh, en = f"{path.dark} 次重连后无光", f"{path.dark} re-connections brought no light"
                findings.append(Finding("dark-path", where, zh, en))
            continue
        value, chosen, _ = largest(path.off, [path.noise] * len(path.values))
        parts = (
            meters.noise(path.noise, root_up(1_000_000 + 1_000_000 // len(path.values)), path.meter),
            meters.polarisation(path.meter),
            source.component(settings, watched=path.watched),
            chosen,
        )
        figure = Figure(key, value, Budget(parts), doubts=doubted)
        figures.append(figure)
        if value - figure.budget.expanded > settings.loose_udb:
            zh = f"重连后损耗偏离均值达 {value / 1e6:.3f} dB"
            en = f"its loss moves by {value / 1e6:.3f} dB from its mean when it is made again"
            findings.append(Finding("unrepeatable-path", where, zh, en))
    return Derived(
        figures={"repeatability": tuple(figures), "pooled": tuple(_pooled(paths, settings, drifts))},
        doubts=(*doubts, *bench.doubts),
        findings=tuple(findings),
        notes=bench.notes,
        tables=_tables(paths),
    )


def _pooled(paths: Sequence[Path], settings: Settings, drifts: tuple[str, ...]) -> list[Figure]:
    """Two standard deviations of one re-connection, pooled over the paths with their own degrees of freedom."""
    squares, nu = 0, 0
    used = [path for path in paths if len(path.values) > 1]
    for path in used:
        n, total = len(path.values), sum(path.values)
        squares += -(-(n * sum(v * v for v in path.values) - total * total) // n)
        nu += n - 1
    if not nu:
        return []
    value = 2 * root_up(-(-squares // nu))
    # U of this part alone is what chi-squared allows upwards, which is more than it allows downwards
    spread = -(-value * (chi(nu) - 1000) // coverage_factor(nu))
    origin = f"chi-squared of {nu} degrees of freedom"
    noise = 2 * max(path.noise for path in used)
    meter = max(used, key=lambda path: path.noise).meter
    parts = (
        Component("有限次重连", "finitely many re-connections", spread, "normal", origin, nu=nu),
        # noise adds to a spread and never takes off
        Component("读数噪声", "noise of the readings", noise, "rectangular", meters.origin(meter)),
        source.component(settings, watched=all(path.watched for path in used)),
    )
    doubts = {*drifts, *(name for path in used for name in path.doubts)}
    return [Figure((("paths", len(used)),), value, Budget(parts), doubts=tuple(sorted(doubts)))]


def _tables(paths: Sequence[Path]) -> dict[str, Mapping[str, object]]:
    moved = sorted((p for p in paths if p.values), key=lambda p: max(map(abs, p.off)), reverse=True)
    return {
        f"repeats in {path.ingress} out {path.egress}": {
            "columns": ["repeat", "udB"],
            "rows": [[number, value] for number, value in enumerate(path.off, 1)],
            "unit": "udB",
        }
        for path in moved[:SHOWN]
    }
