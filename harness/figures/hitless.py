"""Hitless: what switching one path does to the light of its neighbours (dynamic crosstalk, after IEC 62343-5-2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isqrt
from typing import Annotated, Any, Final

from pydantic import Field

from harness.budget import Budget, Component
from harness.errors import ArchiveError
from harness.figure import Derived, Figure, Finding, Side
from harness.figures.extreme import reach
from harness.figures.meter import LN10_TENTHS, Meters
from harness.figures.row import ALTERED, rows
from harness.figures.setting import Count, MicroDB, Milliseconds, Picometres
from harness.figures.setting import Settings as _Settings
from harness.reading import Record, Unit
from harness.trace import change_udb, femtowatts, thinned

ID: Final = "hitless"
TITLE_ZH: Final = "邻路不受影响"
TITLE_EN: Final = "neighbours left alone"
FIGURES: Final[Mapping[str, Unit]] = {"excursion": "udB"}
SHOWN: Final = 6
POINTS: Final = 300


class Settings(_Settings):
    """Which paths are switched, how finely their neighbours are recorded."""

    wavelength_pm: Picometres = 1_550_000
    lots: Count = 1
    """How many rounds of the Latin square are looked at; one has every port in it."""
    seed: Count = 7
    """Which rounds."""
    samples: Annotated[int, Field(ge=100, le=1_000_000)] = 4_000
    period_us: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    lead_ms: Annotated[int, Field(ge=2, le=600_000)] = 20
    """Recorded before the first command leaves: the base that excursions are counted from."""
    settle_ms: Milliseconds = 100
    hold_ms: Milliseconds = 100
    """Between taking the path apart and making it again, so that what both do is seen apart."""
    linearity_udb: MicroDB = 5_000
    """Half-width of what the meter makes of a change of less than 1 dB; its data sheet speaks of larger ones."""
    source_udb: MicroDB = 10_000
    """Half-width of what the source does within one record, unconfirmed."""
    lost_udb: MicroDB = 3_000_000
    """A neighbour that falls by more than that is lost, however short."""
    disturbed_udb: MicroDB = 500_000
    """A neighbour certainly disturbed by more than that is named, with the path that was switched."""


def derive(record: Record, settings: Settings) -> Derived:
    """Deepest excursion, up or down, of each neighbour while a path was taken apart and made again."""
    bench = Meters(record)
    figures: list[Figure] = []
    findings: list[Finding] = []
    tables: list[tuple[int, str, Mapping[str, object]]] = []
    columns = ("in", "out", "neighbour_in", "neighbour_out", "period_ns", "lead", "acted_ns")
    for row in rows(record, ID, "log", whole=columns, text=("trace", "tap")):
        if row["trace"] not in record.traces:
            raise ArchiveError("the log of a neighbour", f"no file {row['trace']!r}", ALTERED)
        if row["period_ns"] < 1:
            raise ArchiveError("a sampling period", f"{row['period_ns']} ns", ALTERED)
        values = femtowatts(record.traces[row["trace"]])
        _, red = bench.of(row)
        figure, offs = _one(row, values, settings, red)
        figures.append(figure)
        if figure.value is None:
            continue
        where = f"in {row['in']} out {row['out']}"
        beside = f"in {row['neighbour_in']} out {row['neighbour_out']}"
        kept = thinned(offs, 0, len(offs), POINTS)
        curve = {"columns": ["ns", "udB"], "rows": [[at * row["period_ns"], v] for at, v in kept], "unit": "udB"}
        tables.append((figure.value, f"neighbour {beside} of {where}", curve))
        if figure.value - figure.budget.expanded > settings.disturbed_udb:
            size = f"{figure.value / 1e6:.2f} dB"
            lost = figure.value > settings.lost_udb
            findings.append(
                Finding(
                    "disturbs-neighbours",
                    where,
                    f"切换该路径时，邻路 {beside} 变化 {size}" + ("，光中断" if lost else ""),
                    f"switching this path changes its neighbour {beside} by {size}"
                    + (": it lost its light" if lost else ""),
                )
            )
    tables.sort(key=lambda each: each[0], reverse=True)
    return Derived(
        figures={"excursion": tuple(figures)},
        doubts=bench.doubts,
        findings=tuple(findings),
        notes=bench.notes,
        tables={name: table for _, name, table in tables[:SHOWN]},
    )


def _one(
    row: Mapping[str, Any], values: Sequence[int | None], settings: Settings, red: tuple[str, ...]
) -> tuple[Figure, list[int | None]]:
    """The figure, with every sample's loss against the base, µdB."""
    key = tuple((name, row[name]) for name in ("in", "out", "neighbour_in", "neighbour_out"))
    lead = row["lead"]
    base = [value for value in values[: max(0, lead)] if value is not None]
    if len(base) < 2 or sum(base) <= 0 or lead >= len(values):
        return Figure(key, None, Budget(()), why="no light before the switching to compare with", doubts=red), []
    n = len(base)
    mean = (2 * sum(base) + n) // (2 * n)
    sigma_fw = isqrt(-(-(n * sum(v * v for v in base) - sum(base) ** 2) // (n * (n - 1)))) + 1
    sigma = -(-sigma_fw * LN10_TENTHS // mean)
    offs: list[int | None] = [None if value is None else change_udb(value, mean) for value in values]
    after = [off for off in offs[lead:] if off is not None]
    if len(after) < len(offs) - lead:
        return Figure(key, None, Budget(()), why="samples without a reading while switching", doubts=red), offs
    raw = max(abs(off) for off in after)
    # how many samples lie so near the extreme that noise may have chosen among them, of either sign
    near = sum(raw - abs(off) <= 4 * sigma for off in after)
    bias = -(-sigma * reach(2 * near) // 1000)
    origin = "profile, unconfirmed"
    parts = (
        Component(
            "基线与读数噪声", "noise of base and sample", sigma, "normal", "spread of the samples before", nu=n - 1
        ),
        Component(
            "取极值的选择偏差", "choosing the extreme", -(-bias // 2), "rectangular", f"{near} samples; half taken off"
        ),
        Component("功率计线性", "linearity over a small change", settings.linearity_udb, "rectangular", origin),
        Component("记录期间光源变化", "source within one record", settings.source_udb, "rectangular", origin),
    )
    # what was still to be told to the device when the record ended was not seen
    side: Side = "at-least" if row["acted_ns"] > len(values) * row["period_ns"] else ""
    return Figure(key, raw - bias // 2, Budget(parts), side, doubts=red), offs
