"""The reference: what comes out of each launch cord, read before anything is put between."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, Final

from harness.budget import Budget, Component, root_up
from harness.figure import Derived, Doubt
from harness.figures.meter import Meters
from harness.figures.row import rows
from harness.figures.setting import Count, Milliseconds, Picometres
from harness.figures.source import Watched, drift, level
from harness.reading import Record, Unit

ID: Final = "reference"
TITLE_ZH: Final = "参考功率"
TITLE_EN: Final = "reference power"
FIGURES: Final[Mapping[str, Unit]] = {}


AGREE_UDB: Final = 100_000
"""Two sound connectors may differ by that, whatever the spread of a few pluggings was."""


class Settings(Watched):
    """How launch cords are read."""

    wavelengths_pm: tuple[Picometres, ...] = (1_550_000,)
    averaging_ms: Milliseconds = 100
    plugs: Count = 3
    """How often each cord is plugged into the reference channel; their spread is the connectors' repeatability."""
    compare: bool = True
    """Read one cord on every channel, to see one that is out of calibration."""
    hours: Count = 12
    """A reference older than that is none."""


def readings(record: Record) -> dict[tuple[int, int], list[dict[str, Any]]]:
    """(launch, wavelength in pm) → rows of that cord that have a reading, in the order of plugging."""
    found: dict[tuple[int, int], list[dict[str, Any]]] = defaultdict(list)
    for row in rows(record, ID, "power", whole=("in", "pm"), maybe=("value", "source"), text=("tap",)):
        if row["value"] is not None:
            found[row["in"], row["pm"]].append(row)
    return found


def powers(record: Record) -> dict[tuple[int, int], list[int]]:
    """(launch, wavelength in pm) → readings of that cord, µdBm, in the order of plugging."""
    return {key: [row["value"] for row in found] for key, found in readings(record).items()}


def plugging(record: Record) -> tuple[int, int]:
    """(standard deviation of one plugging, µdB, rounded up; its degrees of freedom), pooled over all cords.

    The source's own changes are taken off where a tap watches it. Wavelengths read at one plugging tell of that
    plugging once: the first of them counts.
    """
    squares, nu, seen = 0, 0, set()
    for (cord, _), found in readings(record).items():
        values = [each for row in found if (each := level(row)) is not None]
        n = len(values)
        if n < 2 or cord in seen:
            continue
        seen.add(cord)
        total = sum(values)
        # n Σx² - (Σx)² over n is exact in integers
        squares += -(-(n * sum(v * v for v in values) - total * total) // n)
        nu += n - 1
    return (root_up(-(-squares // nu)), nu) if nu else (0, 0)


def plugs(record: Record, weight_milli: int, assumed_udb: int) -> Component:
    """Connectors plugged anew: one standard deviation times ``weight_milli`` thousandths.

    One component for all pluggings of a loss, as they rest on one estimate: its degrees of freedom count once.
    ``assumed_udb``: half-width for one, where cords were not plugged more than once.
    """
    spread, nu = plugging(record)
    zh, en = "连接器插拔", "plugging of connectors"
    if not nu:
        half = -(-assumed_udb * weight_milli // 1000)
        return Component(zh, en, half, "rectangular", "profile, unconfirmed: no cord was plugged twice")
    value = -(-spread * weight_milli // 1000)
    return Component(zh, en, value, "normal", "spread of launch cords plugged again at the reference", nu=nu)


def old(settings: Settings, cord: int, taken: Iterable[Mapping[str, Any]], at_ns: int) -> Doubt:
    """Whether a cord's reference, by its rows, was too old when it was needed."""
    taken_ns = max((row["at_ns"] for row in taken), default=at_ns)
    hours = (at_ns - taken_ns) // 3_600_000_000_000
    return Doubt(
        "reference-old",
        f"launch-{cord}",
        hours >= settings.hours,
        f"{hours} h old when it was used",
        f"less than {settings.hours} h",
        "重新做参考后再测",
        "take the reference again, then measure",
    )


def disagreeing(record: Record) -> list[Doubt]:
    """A doubt for every channel that read the same cord as the others; red: otherwise than they."""
    doubts: dict[str, Doubt] = {}
    groups: dict[int, dict[str, dict[str, Any]]] = defaultdict(dict)
    for row in rows(record, ID, "compare", whole=("pm",), maybe=("value", "source"), text=("tap",)):
        groups[row["pm"]][row["tap"]] = row
    meters = Meters(record)
    plug = plugs(record, 1415, 100_000)
    for pm, found in groups.items():
        known = {tap: value for tap, row in found.items() if (value := level(row)) is not None}
        if len(found) < 2:
            continue
        for tap, row in found.items():
            middle = _others(known, tap)
            meter, _ = meters.of(row)
            # two channels, each with its own response, each plugged once: everything at its worst together
            spec = meter.spec
            limit = Budget((plug,)).expanded + sum(spec.get(f"{name}_udb", 0) for name in ("channel", "polarisation"))
            limit = max(AGREE_UDB, limit)
            off = known[tap] - middle if tap in known and middle is not None else None
            red = off is None or abs(off) > limit
            each = Doubt(
                "meter-disagrees",
                tap,
                red,
                "reads nothing" if off is None else f"{off / 1e6:+.3f} dB from the other channels at {pm / 1000:g} nm",
                f"within {limit / 1e6:.3f} dB",
                "清洁并重插该通道；仍不一致则停用并重新校准功率计",
                "clean and re-plug that channel; if it still differs, take it out of use and have it calibrated",
            )
            if red or tap not in doubts:
                doubts[tap] = each
    return list(doubts.values())


def _others(known: Mapping[str, int], tap: str) -> int | None:
    """Median of what the other channels read; of an even number the middle of both."""
    values = sorted(value for name, value in known.items() if name != tap)
    if not values:
        return None
    return (values[(len(values) - 1) // 2] + values[len(values) // 2]) // 2


def derive(record: Record, settings: Settings) -> Derived:
    """Doubts about channels that do not read one cord alike, and about a source that changed meanwhile."""
    spread, nu = plugging(record)
    told = [row for found in readings(record).values() for row in found]
    notes = (
        [f"one plugging spreads by {spread / 1e6:.3f} dB (standard deviation, {nu} degrees of freedom)"] if nu else []
    )
    return Derived(
        doubts=(*disagreeing(record), *drift(((r["pm"], r["source"]) for r in told), settings)),
        notes=tuple(notes),
    )
