"""Protection: how long the service is gone when its working fibre is cut (as ITU-T G.873.1 counts it)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from harness.budget import Budget, Component
from harness.errors import ArchiveError
from harness.figure import Derived, Figure, Finding, Side
from harness.figures.persistence import longest
from harness.figures.row import ALTERED, rows
from harness.figures.setting import Count, MicroDB, Milliseconds, Picometres
from harness.figures.setting import Settings as _Settings
from harness.reading import Record, Unit
from harness.trace import femtowatts, thinned, udbm

ID: Final = "protection"
TITLE_ZH: Final = "保护倒换"
TITLE_EN: Final = "protection switching"
FIGURES: Final[Mapping[str, Unit]] = {"outage": "ns"}
POINTS: Final = 300

Place = Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._:-]{0,59})?$")]
Nanoseconds = Annotated[int, Field(ge=0, le=60_000_000_000)]


class Settings(_Settings):
    """What is cut, who watches."""

    wavelength_pm: Picometres = 1_550_000
    working: Count = 1
    """Ingress port of the working fibre, which is cut there."""
    egress: Count = 1
    """Egress port of the protected service."""
    place: Place = ""
    """Where it is cut; empty: the cord at the working ingress port."""
    repeats: Count = 5
    samples: Annotated[int, Field(ge=100, le=1_000_000)] = 20_000
    period_us: Annotated[int, Field(ge=10, le=1_000_000)] = 100
    lead_ms: Annotated[int, Field(ge=2, le=600_000)] = 100
    settle_ms: Milliseconds = 1_000
    wait_ms: Milliseconds = 2_000
    """From the cut until the tester is asked."""
    lost_udb: MicroDB = 3_000_000
    """Light that has fallen by more than that is gone."""
    tester_ns: Nanoseconds = 100_000
    """Half-width of the tester's service-disruption time; unconfirmed."""
    slow_ns: Nanoseconds = 50_000_000
    """A service certainly gone for longer is named."""


def derive(record: Record, settings: Settings) -> Derived:
    """How long the service was gone at each cut: by a tester's word, or by the light where there is no tester."""
    figures: list[Figure] = []
    tables: dict[str, Mapping[str, object]] = {}
    for row in rows(record, ID, "disruption", whole=("repeat",), maybe=("value",)):
        key = (("repeat", row["repeat"]), ("by", "tester"))
        if row["value"] is None:
            figures.append(Figure(key, None, Budget(()), why="the tester had no disruption to tell of"))
            continue
        part = Component("测试仪分辨", "the tester", settings.tester_ns, "rectangular", "profile, unconfirmed")
        figures.append(Figure(key, row["value"], Budget((part,))))
    for row in rows(record, ID, "log", whole=("repeat", "period_ns", "lead"), text=("trace",)):
        figure, table = _by_light(record, row, settings)
        figures.append(figure)
        tables[f"cut {row['repeat']}"] = table
    findings = []
    for figure in figures:
        if figure.value is None:
            continue
        where = f"out {settings.egress} {figure.label}"
        if figure.side:
            zh, en = "切断后业务未恢复", "the service did not come back after the cut"
            findings.append(Finding("not-protected", where, zh, en))
        elif figure.value - figure.budget.expanded > settings.slow_ns:
            gone = f"{figure.value / 1e6:.1f} ms"
            findings.append(Finding("slow-protection", where, f"业务中断 {gone}", f"the service was gone for {gone}"))
    return Derived(figures={"outage": tuple(figures)}, findings=tuple(findings), tables=tables)


def _by_light(record: Record, row: Mapping[str, Any], settings: Settings) -> tuple[Figure, Mapping[str, object]]:
    if row["trace"] not in record.traces:
        raise ArchiveError("the log of the light over a cut", f"no file {row['trace']!r}", ALTERED)
    period = row["period_ns"]
    if period < 1:
        raise ArchiveError("a sampling period", f"{period} ns", ALTERED)
    values = femtowatts(record.traces[row["trace"]])
    key = (("repeat", row["repeat"]), ("by", "light"))
    kept = thinned(values, 0, len(values), POINTS)
    table = {"columns": ["ns", "udBm"], "rows": [[at * period, udbm(value)] for at, value in kept], "unit": "udBm"}
    base = sorted(value for value in values[: max(0, row["lead"])] if value is not None)
    if not base or base[len(base) // 2] <= 0:
        return Figure(key, None, Budget(()), why="no light before the cut"), table
    count, first = longest(values, base[len(base) // 2], settings.lost_udb)
    if not count:
        why = "the light was never gone: the cut was not on its way, or too short to see"
        return Figure(key, None, Budget(()), why=why), table
    steps = [
        Component(zh, en, period, "rectangular", "the meter's own step")
        for zh, en in (("断光采样", "the sample in which it went"), ("复光采样", "the sample in which it came back"))
    ]
    side: Side = "at-least" if first + count == len(values) else ""
    return Figure(key, count * period, Budget(tuple(steps)), side), table
