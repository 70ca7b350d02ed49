"""Switching time: from the command until the light stays within 1 dB of its final power (IEC 61300-3-21)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field

from harness.budget import Budget, Component
from harness.errors import ArchiveError
from harness.figure import Derived, Figure, Finding, Side
from harness.figures.row import ALTERED, rows
from harness.figures.setting import Count, MicroDB, Milliseconds, Picometres
from harness.figures.setting import Settings as _Settings
from harness.reading import Record, Unit
from harness.trace import change_udb, femtowatts, thinned, udbm

ID: Final = "switching"
TITLE_ZH: Final = "切换时间"
TITLE_EN: Final = "switching time"
FIGURES: Final[Mapping[str, Unit]] = {"time": "ns", "bounce": "ns"}
SHOWN: Final = 6
POINTS: Final = 300
"""How many transients are kept for plots, the slowest, and with how many points."""
TAIL: Final = 20
"""The final power is the median of the record's last twentieth."""

Nanoseconds = Annotated[int, Field(ge=0, le=60_000_000_000)]


class Settings(_Settings):
    """Which paths, how often, how finely recorded."""

    wavelength_pm: Picometres = 1_550_000
    lots: Count = 1
    """How many rounds of the Latin square are looked at; one has every port in it."""
    seed: Count = 6
    """Which rounds."""
    repeats: Count = 1
    samples: Annotated[int, Field(ge=100, le=1_000_000)] = 3_000
    period_us: Annotated[int, Field(ge=1, le=1_000_000)] = 100
    lead_ms: Milliseconds = 10
    """Recorded before the command leaves."""
    settle_ms: Milliseconds = 100
    within_udb: MicroDB = 1_000_000
    """Light within that of its final power has arrived."""
    steady_udb: MicroDB = 500_000
    """A record's end that differs by more from a reading afterwards is not final."""
    rise_udb: MicroDB = 10_000_000
    """Light that is not stronger by that than before the command did not come."""
    timebase_ppm: Annotated[int, Field(ge=0, le=10_000)] = 100
    """Half-width of the error of the meter's sampling clock; unconfirmed."""
    averaging_ms: Milliseconds = 20
    slow_ns: Nanoseconds = 50_000_000
    """A path certainly slower than that is named."""
    bounce_ns: Nanoseconds = 10_000_000
    """A path whose light goes again for certainly longer than that after it came is named."""


@dataclass(frozen=True, slots=True)
class Swing:
    """What a record shows: numbers of samples counted from its first."""

    first: int
    """The first within the limit of the final power, after the command."""
    settled: int
    """The first of those that stay within it until the end."""
    dip: int
    """How many samples after ``first`` were outside, from the first of them to the last."""


def final_fw(values: Sequence[int | None]) -> int | None:
    """Median of the record's end; None when it has no readings or is dark."""
    tail = sorted(value for value in values[-max(1, len(values) // TAIL) :] if value is not None)
    return tail[len(tail) // 2] if tail and tail[len(tail) // 2] > 0 else None


def swing(values: Sequence[int | None], after: int, final: int, within_udb: int) -> Swing | None:
    """How the light came, from sample ``after`` on; None when it never was within the limit there."""
    outside = [
        at
        for at in range(max(0, after), len(values))
        if (value := values[at]) is None or abs(change_udb(value, final)) > within_udb
    ]
    out = set(outside)
    first = next((at for at in range(max(0, after), len(values)) if at not in out), None)
    if first is None:
        return None
    again = [at for at in outside if at > first]
    settled = outside[-1] + 1 if outside else first
    return Swing(first, settled, again[-1] + 1 - again[0] if again else 0)


def derive(record: Record, settings: Settings) -> Derived:
    """Time of every switching recorded, with the bounce in it; slow, bouncing and failing paths by name."""
    figures: list[Figure] = []
    bounces: list[Figure] = []
    findings: list[Finding] = []
    tables: list[tuple[int, str, Mapping[str, object]]] = []
    columns = ("in", "out", "repeat", "period_ns", "sent_ns", "exchange_ns", "begun_ns", "running_ns")
    for row in rows(record, ID, "log", whole=columns, maybe=("value",), text=("trace",)):
        key = (("in", row["in"]), ("out", row["out"]), ("repeat", row["repeat"]))
        where = f"in {row['in']} out {row['out']}"
        values = _log(record, row)
        figure, bounce, found = _one(row, values, settings, key)
        figures.append(figure)
        if bounce is not None:
            bounces.append(bounce)
        for zh, en, name in found:
            findings.append(Finding(name, where, zh, en))
        tables.append((figure.value or 0, f"transient {where} repeat {row['repeat']}", _table(row, values, figure)))
    tables.sort(key=lambda each: each[0], reverse=True)
    step = f"what is shorter than {settings.period_us} us is not seen"
    return Derived(
        figures={"time": tuple(figures), "bounce": tuple(bounces)},
        findings=tuple(dict.fromkeys(findings)),
        notes=(step,) if figures else (),
        tables={name: table for _, name, table in tables[:SHOWN]},
    )


def _log(record: Record, row: Mapping[str, Any]) -> list[int | None]:
    if row["trace"] not in record.traces:
        raise ArchiveError("the log that a switching was timed by", f"no file {row['trace']!r}", ALTERED)
    if row["period_ns"] < 1:
        raise ArchiveError("a sampling period", f"{row['period_ns']} ns", ALTERED)
    return femtowatts(record.traces[row["trace"]])


def origin_ns(row: Mapping[str, Any]) -> tuple[int, int]:
    """(first sample's start less the command's instant, its half-width), ns.

    The record began between its own command and the word that it runs; the command to switch left within one
    exchange of being given.
    """
    begun = row["begun_ns"] + row["running_ns"]
    sent = 2 * row["sent_ns"] + row["exchange_ns"]
    return (begun - sent) // 2, -(-(abs(row["running_ns"] - row["begun_ns"]) + abs(row["exchange_ns"])) // 2)


def _brackets(row: Mapping[str, Any], time_ns: int, settings: Settings) -> tuple[Component, ...]:
    log = -(-abs(row["running_ns"] - row["begun_ns"]) // 2)
    sent = -(-abs(row["exchange_ns"]) // 2)
    clock = -(-abs(time_ns) * settings.timebase_ppm // 1_000_000)
    return (
        Component("命令发出时刻", "when the command left", sent, "rectangular", "exchanges timed just before"),
        Component(
            "记录开始时刻", "when the record began", log, "rectangular", "from being told to saying that it runs"
        ),
        Component("采样间隔", "the step of the record", row["period_ns"], "rectangular", "the meter's own step"),
        Component("采样时基", "the meter's sampling clock", clock, "rectangular", "profile, unconfirmed"),
    )


def _rose(values: Sequence[int | None], after: int, steady_udbm: int, settings: Settings) -> bool:
    """Whether the light afterwards is more than was there before the command."""
    before = sorted(value for value in values[: max(0, after)] if value is not None)
    base = udbm(before[len(before) // 2]) if before else None
    return base is None or steady_udbm - base > settings.rise_udb


def _one(
    row: Mapping[str, Any],
    values: Sequence[int | None],
    settings: Settings,
    key: tuple[tuple[str, int | str], ...],
) -> tuple[Figure, Figure | None, list[tuple[str, str, str]]]:
    period = row["period_ns"]
    origin, half = origin_ns(row)
    whole = origin + len(values) * period
    final = final_fw(values)
    steady = row["value"]
    after = (-origin - half) // period
    if steady is None or not _rose(values, after, steady, settings):
        zh, en = "切换后无光：检查该连接", "no light after switching: look at this connection"
        return Figure(key, None, Budget(()), why="the light did not come"), None, [(zh, en, "no-light")]
    seen = None if final is None else udbm(final)
    moved = None if final is None else swing(values, after, final, settings.within_udb)
    # dark to the end though there is light now: it came later
    moving = seen is None or abs(seen - steady) > settings.steady_udb
    if moved is None or moving or moved.settled >= len(values):
        budget = Budget(_brackets(row, whole, settings))
        side: Side = "at-least"
        zh, en = "记录结束时光功率仍在变化", "the light was still changing when the record ended"
        return Figure(key, whole, budget, side), None, [(zh, en, "slow-switch")]
    if moved.settled <= max(0, after) and moved.settled * period + origin < -half:
        return Figure(key, None, Budget(()), why="the light had come before the command left"), None, []
    # the crossing lies between the last sample outside and the first inside; both are means over a step
    time = origin + moved.settled * period
    figure = Figure(key, time, Budget(_brackets(row, time, settings)))
    step = Component("采样间隔", "the step of the record", period, "rectangular", "the meter's own step")
    bounce = Figure(key, moved.dip * period, Budget((step, step) if moved.dip else (step,)))
    found = []
    if time - figure.budget.expanded > settings.slow_ns:
        zh = f"切换用时 {time / 1e6:.1f} ms"
        found.append((zh, f"it took {time / 1e6:.1f} ms to switch", "slow-switch"))
    if moved.dip * period - bounce.budget.expanded > settings.bounce_ns:
        zh = f"光到达后又偏离 1 dB 以上，历时 {moved.dip * period / 1e6:.1f} ms"
        en = f"after it had come the light was off by more than 1 dB again, for {moved.dip * period / 1e6:.1f} ms"
        found.append((zh, en, "bouncing-switch"))
    return figure, bounce, found


def _table(row: Mapping[str, Any], values: Sequence[int | None], figure: Figure) -> Mapping[str, object]:
    """The transient in µdBm over ns since the command, from a little before it until well after."""
    period = row["period_ns"]
    origin, _ = origin_ns(row)
    start = -origin // period
    end = (figure.value or len(values) * period) // period * 2 + start
    kept = thinned(values, start - 20, end + 20, POINTS)
    return {
        "columns": ["ns", "udBm"],
        "rows": [[origin + at * period, udbm(value)] for at, value in kept],
        "unit": "udBm",
    }
