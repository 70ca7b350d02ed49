"""Endurance: whether a path's loss drifts or its light fails over many switching cycles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from harness.budget import Budget, Component, root_up
from harness.figure import Derived, Figure, Finding
from harness.figures import meter as meters
from harness.figures import source
from harness.figures.row import rows
from harness.figures.setting import Count, MicroDB, Milliseconds, Picometres
from harness.figures.source import Watched
from harness.reading import Instrument, Record, Unit

ID: Final = "endurance"
TITLE_ZH: Final = "耐久性"
TITLE_EN: Final = "endurance"
FIGURES: Final[Mapping[str, Unit]] = {"drift": "udB", "failed": "count"}
SHOWN: Final = 12
LEAST: Final = 16
"""Fewer checks of a path tell too little of its scatter: four in each quarter leave six degrees of freedom."""


class Settings(Watched):
    """How many cycles, how often the loss is looked at."""

    wavelength_pm: Picometres = 1_550_000
    cycles: Count = 1_000
    """Each takes the connections of a round apart, makes those of another, and the first again."""
    every: Count = 50
    """After so many cycles all paths are read."""
    seed: Count = 10
    """Which round of the Latin square; it has every port in it."""
    pause_ms: Milliseconds = 0
    """Between two switchings, beyond what the device itself takes."""
    averaging_ms: Milliseconds = 50
    settle_ms: Milliseconds = 100
    failed_udb: MicroDB = 1_000_000
    """A path that was off by more than that at a check had failed."""
    drifted_udb: MicroDB = 200_000
    """A path that certainly drifted by more than that is named."""

    @property
    def checks(self) -> list[int]:
        """Numbers of cycles after which the paths are read, 0 first."""
        return sorted({*range(0, self.cycles, self.every), self.cycles})


@dataclass(frozen=True, slots=True)
class Trend:
    """One path over the cycles."""

    key: tuple[tuple[str, int | str], ...]
    where: str
    points: tuple[tuple[int, int | None], ...]
    """(cycles, reading less what the source's tap saw)."""
    noise: int
    meter: Instrument
    watched: bool
    doubts: tuple[str, ...]


def _trends(record: Record, settings: Settings, bench: meters.Meters) -> list[Trend]:
    grouped: dict[tuple[int, int], list[dict[str, Any]]] = {}
    columns = ("in", "out", "cycles", "below")
    for row in rows(record, ID, "check", whole=columns, maybe=("value", "source"), text=("tap",)):
        grouped.setdefault((row["in"], row["out"]), []).append(row)
    found = []
    for (ingress, egress), read in grouped.items():
        read.sort(key=lambda row: row["cycles"])
        meter, red = bench.of(read[-1])
        watched = source.watched(read)
        lit = [row["value"] for row in read if row["value"] is not None]
        noise = meters.noise_udb(meter, min(lit), settings.averaging_ms * 1000) if lit else 0
        points = tuple(
            (row["cycles"], None if row["value"] is None else row["value"] - (row["source"] if watched else 0))
            for row in read
        )
        key = (("in", ingress), ("out", egress))
        found.append(Trend(key, f"in {ingress} out {egress}", points, noise, meter, watched, red))
    return found


def _median(values: Sequence[int]) -> int:
    return sorted(values)[len(values) // 2]


def derive(record: Record, settings: Settings) -> Derived:
    """Mean of the last quarter of the checks against that of the first, and how often light failed."""
    bench = meters.Meters(record)
    trends = _trends(record, settings, bench)
    told = [(settings.wavelength_pm, row["source"]) for row in rows(record, ID, "check", maybe=("source",))]
    doubts = source.drift(told, settings)
    drifts = tuple(each.name for each in doubts if each.red)
    figures, failures, findings = [], [], []
    for trend in trends:
        doubted = tuple(sorted({*trend.doubts, *drifts}))
        lit = [value for _, value in trend.points if value is not None]
        if not lit:
            figures.append(Figure(trend.key, None, Budget(()), why="no light at any check", doubts=doubted))
            failures.append(Figure(trend.key, len(trend.points), Budget(())))
            continue
        usual = _median(lit)
        bad = [at for at, value in trend.points if value is None or abs(value - usual) > settings.failed_udb]
        failures.append(Figure(trend.key, len(bad), Budget(()), doubts=doubted))
        if bad:
            zh, en = f"第 {bad[0]} 次循环后光异常", f"its light was not as before after {bad[0]} cycles"
            findings.append(Finding("failed-path", trend.where, zh, en))
        figure = _drift(trend, settings, doubted)
        figures.append(figure)
        if figure.value is not None and figure.value - figure.budget.expanded > settings.drifted_udb:
            size = f"{figure.value / 1e6:.2f} dB"
            zh, en = f"损耗随循环漂移 {size}", f"its loss drifted by {size} over the cycles"
            findings.append(Finding("drifting-path", trend.where, zh, en))
    moved = sorted((t for t in trends if t.points), key=_span, reverse=True)[:SHOWN]
    return Derived(
        figures={"drift": tuple(figures), "failed": tuple(failures)},
        doubts=(*doubts, *bench.doubts),
        findings=tuple(findings),
        notes=bench.notes,
        tables={f"trend {trend.where}": _table(trend) for trend in moved},
    )


def _span(trend: Trend) -> int:
    values = [value for _, value in trend.points if value is not None]
    return max(values) - min(values) if values else 0


def _table(trend: Trend) -> Mapping[str, object]:
    first = next((value for _, value in trend.points if value is not None), 0)
    rows_ = [[at, first - value] for at, value in trend.points if value is not None]
    return {"columns": ["cycles", "udB"], "rows": rows_, "unit": "udB"}


def _drift(trend: Trend, settings: Settings, doubted: tuple[str, ...]) -> Figure:
    values = [value for _, value in trend.points if value is not None]
    if len(values) < LEAST or len(values) < len(trend.points):
        why = f"{len(values)} of {len(trend.points)} checks had light; {LEAST} are needed"
        return Figure(trend.key, None, Budget(()), why=why, doubts=doubted)
    quarter = len(values) // 4
    first, last = values[:quarter], values[-quarter:]
    squares = sum(-(-(quarter * sum(v * v for v in part) - sum(part) ** 2) // quarter) for part in (first, last))
    nu = 2 * (quarter - 1)
    # of a mean of each quarter; re-connecting is in it
    scatter = root_up(-(-2 * squares // (nu * quarter)))
    value = abs(2 * (sum(last) - sum(first)) + quarter) // (2 * quarter)
    parts = (
        Component(
            "重连分散", "scatter of re-connections", scatter, "normal", "checks of first and last quarter", nu=nu
        ),
        meters.noise(trend.noise, root_up(2_000_000 // quarter), trend.meter),
        source.component(settings, watched=trend.watched),
        Component("整数平均", "whole numbers", 1, "rectangular", "µdB"),
    )
    return Figure(trend.key, value, Budget(parts), doubts=doubted)
