"""Restoration: how long a channel is gone after its line is cut, until the network leads it another way."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Final

from pydantic import Field

from harness.budget import Budget, Component
from harness.errors import ArchiveError
from harness.figure import Derived, Figure, Finding
from harness.figures.row import ALTERED, rows
from harness.figures.setting import Count, MicroDB, Milliseconds
from harness.figures.slot import CONVENTIONAL, Confirmed, Port, Slot, Way, confirmed
from harness.reading import Record, Unit
from harness.trace import femtowatts, thinned, udbm

ID: Final = "wss-restoration"
TITLE_ZH: Final = "恢复时间"
TITLE_EN: Final = "restoration time"
FIGURES: Final[Mapping[str, Unit]] = {"restoration": "ns"}
SHOWN: Final = 2_000
"""How many samples of a log are kept for a plot."""


class Settings(Confirmed):
    """Which channel, which line, and how long is waited for it."""

    slot: Slot = CONVENTIONAL
    way: Way = Way(ingress="deg-1", egress="deg-2")
    ingress: tuple[Port, ...] = ()
    """As for wss-loss."""
    egress: tuple[Port, ...] = ()
    line: Annotated[str, Field(min_length=1, max_length=40)] = "line-1"
    """The fibre that is cut."""
    repeats: Count = 3
    period_us: Count = 1_000
    samples: Count = 60_000
    """So 60 s of record."""
    lead_ms: Milliseconds = 500
    """Record before the cut."""
    lost_udb: MicroDB = 10_000_000
    """Light that falls by more than that is gone."""
    back_udb: MicroDB = 1_000_000
    """It is back when it stays within that of its final power."""
    timebase_ppm: Count = 100
    """Half-width of the error of the meter's sampling clock; its data sheet was not seen."""


def outage(values: Sequence[int | None], lead: int, settings: Settings) -> tuple[int | None, str, str]:
    """(samples during which the light was gone, "" or "at-least", why there is no number) of a record of µdBm.

    ``lead``: samples certainly before the cut. None in the record: less light than the meter can tell.
    """
    before = sorted(v for v in values[:lead] if v is not None)
    if 2 * len(before) <= lead:
        return None, "", "there was no light before the cut"
    level = before[len(before) // 2]
    gone = next((i for i, v in enumerate(values) if v is None or v < level - settings.lost_udb), None)
    if gone is None:
        return None, "", "the light was never gone: the cut was not on its way, or too short to see"
    final = values[-1]
    if final is None or final < level - settings.lost_udb:
        return len(values) - gone, "at-least", ""
    last = max(i for i, v in enumerate(values) if v is None or abs(v - final) > settings.back_udb)
    return last + 1 - gone, "", ""


def derive(record: Record, settings: Settings) -> Derived:
    """The time of every repeat; a cut that was not followed by light on another way."""
    figures: list[Figure] = []
    findings: list[Finding] = []
    tables: dict[str, Mapping[str, object]] = {}
    light = confirmed(record, ID)
    on = tuple(each.name for each in light.values() if each.red)
    for row in rows(record, ID, "log", whole=("repeat", "period_ns", "lead", "below", "value")):
        repeat, period = row["repeat"], row["period_ns"]
        values = _levels(record, row["trace"], row["value"], row["below"])
        key = (("line", settings.line), ("repeat", repeat))
        count, side, why = outage(values, row["lead"], settings)
        shown = [[at * period, value] for at, value in thinned(values, 0, len(values), SHOWN)]
        tables[f"repeat {repeat}"] = {"columns": ["ns", "value"], "rows": shown, "unit": "udBm"}
        if count is None:
            figures.append(Figure(key, None, Budget(()), why=why, doubts=on))
            continue
        value = count * period
        parts = (
            Component("断光采样", "the sample in which it went", period, "rectangular", "the meter's own step"),
            Component("复光采样", "the sample in which it came back", period, "rectangular", "the meter's own step"),
            Component(
                "采样时基",
                "the meter's sampling clock",
                -(-value * settings.timebase_ppm // 1_000_000),
                "rectangular",
                "profile, unconfirmed",
            ),
        )
        figures.append(Figure(key, value, Budget(parts), "at-least" if side else "", doubts=on))
        if side:
            zh, en = "记录结束时仍无光：未恢复", "still dark when the record ended: not restored"
            findings.append(Finding("not-restored", f"{settings.line} repeat {repeat}", zh, en))
    return Derived(
        figures={"restoration": tuple(figures)},
        doubts=tuple(light.values()),
        findings=tuple(findings),
        tables=tables,
    )


def _levels(record: Record, name: str, samples: int, below: int) -> list[int | None]:
    """A log as µdBm; None: less light than the meter can tell. Raises ArchiveError for another one than was read."""
    kept = record.traces.get(name)
    found = [] if kept is None else femtowatts(kept)
    if len(found) != samples or not found:
        raise ArchiveError(f"a log of {samples} samples in {name or 'a trace'}", f"{len(found)}", ALTERED)
    levels = (None if power is None else udbm(power) for power in found)
    return [None if level is None or level < below else level for level in levels]
