"""The passband of a slot: how wide it is at -0.5, -1 and -3 dB, how flat, and how far off its centre."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final, Literal

from pydantic import Field

from harness.budget import Budget, Component
from harness.figure import Derived, Doubt, Figure, Finding
from harness.figures import meter as meters
from harness.figures import source
from harness.figures.extreme import spread
from harness.figures.row import rows
from harness.figures.setting import Count, MicroDB, Milliseconds
from harness.figures.setting import Settings as _Settings
from harness.figures.slot import CONVENTIONAL, NAMES, PLACES, Confirmed, Megahertz, Port, Slot, Way, confirmed, label
from harness.reading import Record, Unit

ID: Final = "wss-passband"
TITLE_ZH: Final = "通带"
TITLE_EN: Final = "passband"
LEVELS: Final[Mapping[str, int]] = {"half-db": 500_000, "1-db": 1_000_000, "3-db": 3_000_000}
"""By how much less light passes at the edges than at the best point, µdB."""
FIGURES: Final[Mapping[str, Unit]] = {
    **{f"width-{name}": "MHz" for name in LEVELS},
    "centre-error": "MHz",
    "ripple": "udB",
    **{f"cascade-{name}": "MHz" for name in LEVELS},
}
GROUP: Final = ("ingress", "egress", "via", "centre", "width")
PER_PM_MHZ: Final = 125
"""1 pm at 1550 nm is 124.8 MHz."""


class Cascade(_Settings):
    """Two passes one after the other: a person joins the first egress with the second ingress by a cord."""

    first: Way
    second: Way


class Settings(Confirmed):
    """What is swept, and how finely."""

    slots: tuple[Slot, ...] = (CONVENTIONAL,)
    ways: tuple[Way, ...] = (Way(ingress="deg-1", egress="deg-2"),)
    cascades: tuple[Cascade, ...] = ()
    ingress: tuple[Port, ...] = ()
    """As for wss-loss."""
    egress: tuple[Port, ...] = ()
    by: Literal["laser", "analyser"] = "laser"
    """A swept laser with a power meter; or a broad source, put in the laser's place, with a spectrum analyser."""
    step_pm: Count = 8
    """Between two readings; 8 pm are 1 GHz."""
    beyond_ppm: Annotated[int, Field(ge=0, le=2_000_000)] = 400_000
    """How far beyond each edge of the slot the sweep goes, in parts of the slot's width."""
    inner_ppm: Annotated[int, Field(ge=1, le=1_000_000)] = 500_000
    """The middle part of the slot in which ripple counts."""
    averaging_ms: Milliseconds = 20
    resolution_pm: Count = 20
    """Of the analyser."""
    laser_mhz: Megahertz = 190
    """Half-width of the laser's (or analyser's) absolute frequency error: 1.5 pm; its data sheet was not seen."""
    laser_relative_mhz: Megahertz = 60
    """The same between two frequencies of one sweep."""
    analyser_linearity_udb: MicroDB = 50_000
    """Half-width of the analyser's error between two powers: a data sheet's value, not confirmed."""
    narrow_ppm: Annotated[int, Field(ge=0, le=1_000_000)] = 750_000
    """A slot narrower at -3 dB than that part of its width is named."""
    shift_mhz: Megahertz = 1_500
    """A slot further off than that is named."""


@dataclass(frozen=True, slots=True)
class Point:
    """One reading of a sweep, the source's own changes taken off."""

    mhz: int
    value: int | None
    below: int

    @property
    def seen(self) -> int:
        """The reading, or what it is certainly below."""
        return self.below if self.value is None else self.value


@dataclass(frozen=True, slots=True)
class Edge:
    """Where a passband falls through a level."""

    mhz: int
    gap: int
    """Between the two readings around it, MHz."""
    drop: int
    """By how much they differ, µdB."""
    bounded: bool
    """The farther one was seen as a bound only."""


@dataclass(frozen=True, slots=True)
class Sweep:
    """All readings of one way, or of two joined, in one slot."""

    ingress: str
    egress: str
    via: str
    """How the cord between two passes lies; empty for one pass."""
    centre: int
    width: int
    points: tuple[Point, ...]
    """By rising frequency."""
    last: Mapping[str, Any]
    """The last row of it."""
    watched: bool
    """The source's own changes are taken off every point."""

    @property
    def label(self) -> str:
        """Of a doubt."""
        row = {"ingress": self.ingress, "egress": self.egress, "centre": self.centre, "width": self.width}
        return label(row)

    @property
    def key(self) -> tuple[tuple[str, int | str], ...]:
        """Of a figure."""
        via: tuple[tuple[str, int | str], ...] = (("via", self.via),) if self.via else ()
        ends: tuple[tuple[str, int | str], ...] = (("ingress", self.ingress), ("egress", self.egress))
        return (*ends, *via, ("centre_mhz", self.centre), ("width_mhz", self.width))


def sweeps(record: Record) -> list[Sweep]:
    """Every sweep. Raises ArchiveError for rows that are none."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = defaultdict(list)
    whole, text = (*PLACES, "mhz", "below"), (*NAMES, "via", "tap")
    for row in rows(record, ID, "sweep", whole=whole, maybe=("value", "source"), text=text):
        groups[tuple(row[k] for k in GROUP)].append(row)
    found = []
    for at, here in groups.items():
        watched = source.watched(here)
        base = here[0]["source"] if watched else 0
        points = []
        for row in here:
            change = row["source"] - base if watched else 0
            value = None if row["value"] is None else row["value"] - change
            points.append(Point(row["mhz"], value, row["below"] - change))
        points.sort(key=lambda p: p.mhz)
        ingress, egress, via, centre, width = at
        found.append(Sweep(ingress, egress, via, centre, width, tuple(points), here[-1], watched))
    return found


def edge(points: Sequence[Point], peak: int, way: Literal[-1, 1], level: int) -> Edge | None:
    """The first crossing of a level on the way out from the peak, linear between two readings; None: not reached."""
    at = peak
    while 0 <= at + way < len(points):
        here, there = points[at], points[at + way]
        if there.seen < level:
            gap, drop = there.mhz - here.mhz, here.seen - there.seen
            mhz = here.mhz + (2 * gap * (here.seen - level) + drop) // (2 * drop)
            return Edge(mhz, abs(gap), drop, there.value is None)
        at += way
    return None


def _edge_parts(each: Edge, doubt_udb: int, *, half: bool) -> list[Component]:
    """What is open about one edge, MHz; ``half``: for a centre, to which each edge gives half."""
    share = 2 if half else 1
    step = each.gap // (2 if each.bounded else 4) + 1
    level = -(-doubt_udb * each.gap // each.drop)
    return [
        Component(
            "步进插值", "interpolation between two steps", -(-step // share), "rectangular", "the sweep's own steps"
        ),
        Component(
            "电平误差折算",
            "error of the level, by the slope there",
            -(-level // share),
            "rectangular",
            "meter and noise",
        ),
    ]


def derive(record: Record, settings: Settings) -> Derived:
    """Widths, centre and ripple of every sweep; slots that are narrow, shifted or dark by name."""
    figures: dict[str, list[Figure]] = {name: [] for name in FIGURES}
    findings: list[Finding] = []
    tables: dict[str, Mapping[str, object]] = {}
    bench = meters.Meters(record)
    light = confirmed(record, ID)
    for sweep in sweeps(record):
        _one(settings, sweep, bench, light, figures, findings)
        name = f"passband {' '.join(str(value) for _, value in sweep.key)}"
        shown = [[p.mhz, p.value, p.below] for p in sweep.points]
        tables[name] = {"columns": ["mhz", "value", "below"], "rows": shown, "unit": "udBm"}
    return Derived(
        figures={name: tuple(found) for name, found in figures.items()},
        doubts=(*bench.doubts, *light.values()),
        findings=tuple(findings),
        notes=bench.notes,
        tables=tables,
    )


def _receiver(settings: Settings, sweep: Sweep, bench: meters.Meters, level: int) -> tuple[int, int, tuple[str, ...]]:
    """(half-width of its error between two powers, its noise at a level, both µdB; red doubts about it)."""
    if settings.by == "analyser":
        return settings.analyser_linearity_udb, 0, ()
    meter, red = bench.of(dict(sweep.last))
    linearity = meter.spec.get("linearity_udb", 0)
    return linearity, meters.noise_udb(meter, level, settings.averaging_ms * 1000), red


def _one(
    settings: Settings,
    sweep: Sweep,
    bench: meters.Meters,
    light: Mapping[str, Doubt],
    figures: dict[str, list[Figure]],
    findings: list[Finding],
) -> None:
    prefix = "cascade" if sweep.via else "width"
    points, key = sweep.points, sweep.key
    where = f"{sweep.ingress} to {sweep.egress}, {sweep.centre} MHz"
    within = [i for i, p in enumerate(points) if p.value is not None and 2 * abs(p.mhz - sweep.centre) <= sweep.width]
    if not within:
        for name in (*(f"{prefix}-{level}" for level in LEVELS), *(() if sweep.via else ("centre-error", "ripple"))):
            figures[name].append(Figure(key, None, Budget(()), why="no light within the slot"))
        zh, en = "时隙内无光：检查单板与波道配置", "no light within the slot: look at the card and the configuration"
        findings.append(Finding("dark-slot", where, zh, en))
        return
    peak = max(within, key=lambda i: points[i].seen)
    top = points[peak].seen
    linearity, noise, red = _receiver(settings, sweep, bench, top)
    stray = light.get(sweep.label)
    red = (*red, stray.name) if stray is not None and stray.red else red
    held = source.component(settings, watched=sweep.watched).value
    doubt = linearity + held + 3 * noise
    name_zh, name_en = "频率标尺", "frequencies within one sweep"
    spare = [Component(name_zh, name_en, settings.laser_relative_mhz, "rectangular", "profile, unconfirmed")]
    if settings.by == "analyser":
        half = settings.resolution_pm * PER_PM_MHZ // 2
        spare.append(Component("分析仪分辨率", "resolution of the analyser", half, "rectangular", "profile"))
    edges = {
        name: (edge(points, peak, -1, top - less), edge(points, peak, 1, top - less)) for name, less in LEVELS.items()
    }
    for name, (low, high) in edges.items():
        if low is None or high is None:
            why = f"the light does not fall by {LEVELS[name] / 1e6:g} dB within the sweep: no edge of a slot"
            figures[f"{prefix}-{name}"].append(Figure(key, None, Budget(()), why=why, doubts=red))
            continue
        parts = [*spare, *spare, *_edge_parts(low, doubt, half=False), *_edge_parts(high, doubt, half=False)]
        figures[f"{prefix}-{name}"].append(Figure(key, high.mhz - low.mhz, Budget(tuple(parts)), doubts=red))
    if sweep.via:
        return
    figures["ripple"].append(_ripple(settings, sweep, linearity + held, noise, red))
    widest = figures["width-3-db"][-1]
    at_most = None if widest.value is None else widest.value + widest.budget.expanded
    if at_most is not None and at_most * 1_000_000 < settings.narrow_ppm * sweep.width:
        zh = f"-3 dB 带宽只有 {widest.value} MHz，时隙宽 {sweep.width} MHz"
        en = f"{widest.value} MHz wide at -3 dB in a slot of {sweep.width} MHz"
        findings.append(Finding("narrow-passband", where, zh, en))
    low, high = edges["3-db"]
    if low is None or high is None:
        why = "the sweep ends before the passband does"
        figures["centre-error"].append(Figure(key, None, Budget(()), why=why, doubts=red))
        return
    off = (low.mhz + high.mhz) // 2 - sweep.centre
    centred = Figure(
        key,
        abs(off),
        Budget(
            (
                *_edge_parts(low, doubt, half=True),
                *_edge_parts(high, doubt, half=True),
                *spare,
                Component("激光器频率", "absolute frequency", settings.laser_mhz, "rectangular", spare[0].origin),
            )
        ),
        doubts=red,
    )
    figures["centre-error"].append(centred)
    if abs(off) - centred.budget.expanded > settings.shift_mhz:
        zh, en = f"通带中心偏移 {off} MHz", f"its passband lies {off} MHz off its centre"
        findings.append(Finding("shifted-passband", where, zh, en))


def _ripple(settings: Settings, sweep: Sweep, steady: int, noise: int, red: tuple[str, ...]) -> Figure:
    """Largest less smallest transmission in the middle part of the slot."""
    inner = [p for p in sweep.points if 2_000_000 * abs(p.mhz - sweep.centre) <= settings.inner_ppm * sweep.width]
    if len(inner) < 2:
        return Figure(sweep.key, None, Budget(()), why="fewer than two readings in the middle of the slot", doubts=red)
    if any(p.value is None for p in inner):
        why = "a reading in the middle of the slot saw no light"
        return Figure(sweep.key, None, Budget(()), why=why, doubts=red)
    value, chosen, _, _ = spread([p.seen for p in inner], [noise] * len(inner))
    parts = (
        Component("两点间线性与光源", "receiver and source between two points", steady, "rectangular", "data sheet"),
        Component("读数噪声", "noise of two points", -(-noise * 1415 // 1000), "normal", "data sheet of the meter"),
        chosen,
    )
    return Figure(sweep.key, value, Budget(parts), doubts=red)
