"""Persistence: whether connections and their loss are the same after both feeds were cut."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from harness.budget import Budget, Component
from harness.errors import ArchiveError
from harness.figure import Derived, Figure, Finding, Side
from harness.figures import meter as meters
from harness.figures import source
from harness.figures.row import ALTERED, rows
from harness.figures.setting import Count, MicroDB, Milliseconds, Picometres
from harness.figures.source import Watched
from harness.reading import Record, Unit
from harness.trace import change_udb, femtowatts, thinned, udbm

ID: Final = "persistence"
TITLE_ZH: Final = "掉电保持"
TITLE_EN: Final = "persistence over a power cut"
FIGURES: Final[Mapping[str, Unit]] = {"lost": "count", "change": "udB", "dark": "ns"}
POINTS: Final = 300


class Settings(Watched):
    """How long the feeds are cut, what is recorded."""

    wavelength_pm: Picometres = 1_550_000
    seed: Count = 9
    """Which round of the Latin square stands when the feeds are cut; it has every port in it."""
    off_ms: Milliseconds = 10_000
    """How long both feeds are cut."""
    samples: Annotated[int, Field(ge=100, le=1_000_000)] = 60_000
    period_us: Annotated[int, Field(ge=100, le=1_000_000)] = 1_000
    """The light is recorded for samples x period: that must be longer than the cut and the way back up."""
    lead_ms: Annotated[int, Field(ge=2, le=600_000)] = 1_000
    settle_ms: Milliseconds = 1_000
    averaging_ms: Milliseconds = 100
    lost_udb: MicroDB = 3_000_000
    """Light that has fallen by more than that is gone."""
    sop_udb: MicroDB = 20_000
    """Half-width of what fibres that were not touched do to the polarisation meanwhile, by the path's dependence on
    it; unconfirmed."""
    changed_udb: MicroDB = 200_000
    """A path certainly changed by more than that is named."""


def _paired(record: Record, kind: str) -> dict[tuple[int, int], dict[str, Any]]:
    columns = ("in", "out", "below")
    found = rows(record, ID, kind, whole=columns, maybe=("value", "source"), text=("tap",))
    return {(row["in"], row["out"]): row for row in found}


def derive(record: Record, settings: Settings) -> Derived:
    """For each path whether it was kept, by the device's word and by its light; how its loss changed."""
    bench = meters.Meters(record)
    before, after = _paired(record, "before"), _paired(record, "after")
    listed = {
        (r["in"], r["out"]): r["value"] for r in rows(record, ID, "listed", whole=("in", "out"), maybe=("value",))
    }
    seen = [(settings.wavelength_pm, row["source"]) for row in (*before.values(), *after.values())]
    doubts = source.drift(seen, settings)
    drifts = tuple(each.name for each in doubts if each.red)
    lost: list[Figure] = []
    changes: list[Figure] = []
    findings: list[Finding] = []
    for at, was in before.items():
        key = (("in", at[0]), ("out", at[1]))
        where = f"in {at[0]} out {at[1]}"
        meter, red = bench.of(was)
        now = after.get(at)
        doubted = tuple(sorted({*red, *drifts}))
        if was["value"] is None or now is None:
            why = "no light before the feeds were cut" if was["value"] is None else "not read after the feeds were back"
            lost.append(Figure(key, None, Budget(()), why=why))
            changes.append(Figure(key, None, Budget(()), why=why))
            continue
        watched = source.watched((was, now))
        base = source.level(was) if watched else was["value"]
        held = None if now["value"] is None else (source.level(now) if watched else now["value"])
        gone = held is None or base is None or abs(held - base) > settings.lost_udb
        word = listed.get(at)
        lost.append(Figure(key, 1 if gone or word == 0 else 0, Budget(()), doubts=drifts))
        if gone or word == 0:
            how = [("网元已不列出", "the device no longer lists it")] if word == 0 else []
            how += [("无光", "its light is gone")] if gone else []
            zh, en = "；".join(each for each, _ in how), ", ".join(each for _, each in how)
            findings.append(
                Finding("lost-connections", where, f"断电后连接丢失：{zh}", f"lost over the power cut: {en}")
            )
        if held is None or base is None:
            changes.append(Figure(key, None, Budget(()), why="no light after the feeds were back", doubts=doubted))
            continue
        noise = meters.noise_udb(meter, min(was["value"], now["value"]), settings.averaging_ms * 1000)
        parts = (
            meters.noise(noise, 1415, meter),
            meters.linearity(meter),
            meters.polarisation(meter),
            source.component(settings, watched=watched),
            Component("偏振变化", "polarisation meanwhile", settings.sop_udb, "rectangular", "profile, unconfirmed"),
        )
        change = Figure(key, abs(held - base), Budget(parts), doubts=doubted)
        changes.append(change)
        if not gone and (change.value or 0) - change.budget.expanded > settings.changed_udb:
            size = f"{(base - held) / 1e6:+.2f} dB"
            zh, en = f"断电后损耗变化 {size}", f"its loss changed by {size} over the power cut"
            findings.append(Finding("changed-path", where, zh, en))
    dark, tables, notes = _logs(record, settings)
    return Derived(
        figures={"lost": tuple(lost), "change": tuple(changes), "dark": tuple(dark)},
        doubts=(*doubts, *bench.doubts),
        findings=tuple(findings),
        notes=(*bench.notes, *notes),
        tables=tables,
    )


def longest(values: Sequence[int | None], base: int, lost_udb: int) -> tuple[int, int]:
    """(samples of the longest stretch without light, its first); a sample without a reading has none."""
    best, run = (0, 0), 0
    for at, value in enumerate(values):
        run = run + 1 if value is None or change_udb(value, base) > lost_udb else 0
        if run > best[0]:
            best = (run, at + 1 - run)
    return best


def _logs(record: Record, settings: Settings) -> tuple[list[Figure], dict[str, Mapping[str, object]], list[str]]:
    """How long the light was gone, from the record of it."""
    figures: list[Figure] = []
    tables: dict[str, Mapping[str, object]] = {}
    notes: list[str] = []
    for row in rows(record, ID, "log", whole=("in", "out", "period_ns", "lead"), text=("trace",)):
        if row["trace"] not in record.traces:
            raise ArchiveError("the log of the light over a power cut", f"no file {row['trace']!r}", ALTERED)
        period = row["period_ns"]
        if period < 1:
            raise ArchiveError("a sampling period", f"{period} ns", ALTERED)
        values = femtowatts(record.traces[row["trace"]])
        key = (("in", row["in"]), ("out", row["out"]))
        base = sorted(value for value in values[: max(0, row["lead"])] if value is not None)
        if not base or base[len(base) // 2] <= 0:
            figures.append(Figure(key, None, Budget(()), why="no light before the feeds were cut"))
            continue
        count, first = longest(values, base[len(base) // 2], settings.lost_udb)
        steps = Component("采样间隔", "steps of the record", period, "rectangular", "the meter's own step")
        side: Side = "at-least" if count and first + count == len(values) else ""
        figures.append(Figure(key, count * period, Budget((steps, steps)), side))
        where = f"in {row['in']} out {row['out']}"
        kept = thinned(values, 0, len(values), POINTS)
        tables[f"light {where}"] = {
            "columns": ["ns", "udBm"],
            "rows": [[at * period, udbm(value)] for at, value in kept],
            "unit": "udBm",
        }
        gone = f"{'at least ' if side else ''}{count * period / 1e9:.3f} s"
        notes.append(f"{where}: " + (f"light was gone for {gone}" if count else "light was never gone"))
    return figures, tables, notes
