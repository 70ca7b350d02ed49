"""Crosstalk: light at an egress that is connected to nothing while ingress ports are lit, against its own signal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from harness.budget import Budget, Component
from harness.figure import Derived, Figure, Finding
from harness.figures import meter as meters
from harness.figures import source
from harness.figures.meter import Meters
from harness.figures.power import Level, added, femtowatts, less, level, relative_udb, udb
from harness.figures.row import rows
from harness.figures.setting import Count, MicroDB, Milliseconds, Picometres
from harness.figures.source import Watched
from harness.reading import Instrument, Record, Unit

ID: Final = "crosstalk"
TITLE_ZH: Final = "串扰"
TITLE_EN: Final = "crosstalk"
FIGURES: Final[Mapping[str, Unit]] = {"crosstalk": "udB", "pair": "udB"}
ALL: Final = 0
"""In the column "lit": every ingress; else the only one."""


class Settings(Watched):
    """Which paths are taken apart, with all others standing."""

    wavelength_pm: Picometres = 1_550_000
    lots: Count = 1
    """How many rounds of the Latin square are looked at; one has every port in it."""
    seed: Count = 4
    """Which rounds."""
    samples: Annotated[int, Field(ge=2, le=1000)] = 5
    """Readings at wavelengths a little apart: leaks of one laser's light interfere, and only their mean says how strong
    they are."""
    dither_pm: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Between two of them. Ways that differ by 1 m go through a fringe in 1.6 pm."""
    averaging_ms: Milliseconds = 100
    settle_ms: Milliseconds = 100
    pdl_udb: MicroDB = 300_000
    """Half-width of what the polarisation, which is one of many, does to signal and leak."""
    zero_milli: Annotated[int, Field(ge=0, le=100_000)] = 2_000
    """Half-width of the meter's zero, in thousandths of its noise; light that weak is not far above it."""
    terminator: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,59}$")] = "terminator"
    """Where a pulled launch cord is plugged meanwhile."""
    search: bool = True
    """Pull one launch cord after the other at an egress with too much light, to find where it comes from."""
    high_udb: Annotated[int, Field(ge=-200_000_000, le=0)] = -50_000_000
    """An egress with certainly more than that is named; one with more is searched."""


def derive(record: Record, settings: Settings) -> Derived:
    """Light at each egress taken apart, all ingress ports lit, against its signal; single ingress ports where known."""
    bench = Meters(record)
    signals: dict[tuple[int, int], dict[str, Any]] = {}
    dark: dict[tuple[int, int, int], list[dict[str, Any]]] = {}
    pulled: dict[tuple[int, int, int], list[dict[str, Any]]] = {}
    columns = ("in", "out", "below")
    for row in rows(record, ID, "signal", whole=columns, maybe=("value", "source"), text=("tap",)):
        signals[row["in"], row["out"]] = row
    for row in rows(record, ID, "dark", whole=(*columns, "lit"), maybe=("value", "source"), text=("tap",)):
        dark.setdefault((row["in"], row["out"], row["lit"]), []).append(row)
    for row in rows(record, ID, "pulled", whole=(*columns, "cord"), maybe=("value", "source"), text=("tap",)):
        pulled.setdefault((row["in"], row["out"], row["cord"]), []).append(row)
    every = [*signals.values(), *(row for found in (*dark.values(), *pulled.values()) for row in found)]
    doubts = source.drift(((settings.wavelength_pm, row["source"]) for row in every), settings)
    drifts = tuple(each.name for each in doubts if each.red)
    totals: list[Figure] = []
    pairs: list[Figure] = []
    findings: list[Finding] = []
    for ingress, egress in dict.fromkeys((i, o) for i, o, _ in dark):
        signal = signals.get((ingress, egress))
        key: tuple[tuple[str, int | str], ...] = (("in", ingress), ("out", egress))
        if signal is None or signal["value"] is None:
            totals.append(Figure(key, None, Budget(()), why="no light on the path itself to compare with"))
            continue
        meter, red = bench.of(signal)
        doubted = tuple(sorted({*red, *drifts}))
        here = {lit: found for (i, o, lit), found in dark.items() if (i, o) == (ingress, egress)}
        levels = {lit: level(found, meter, settings.averaging_ms) for lit, found in here.items()}
        total = levels[ALL] if ALL in levels else added(list(levels.values()))
        own = femtowatts(signal["value"])
        watched = source.watched((signal, *(row for found in here.values() for row in found)))
        figure = _figure(key, total, own, meter, settings, watched=watched, doubts=doubted)
        totals.append(figure)
        singles = {lit: each for lit, each in levels.items() if lit != ALL}
        for (i, o, cord), found in pulled.items():
            if (i, o) == (ingress, egress) and ALL in levels:
                singles[cord] = less(levels[ALL], level(found, meter, settings.averaging_ms))
        for lit, each in sorted(singles.items()):
            paired = (("in", lit), ("out", egress), ("instead_of", ingress))
            pairs.append(_figure(paired, each, own, meter, settings, watched=watched, doubts=doubted))
        if figure.value is not None and figure.value - figure.budget.expanded > settings.high_udb and not figure.side:
            findings.append(_finding(ingress, egress, figure, singles, total))
    notes = _notes(dark)
    return Derived(
        figures={"crosstalk": tuple(totals), "pair": tuple(pairs)},
        doubts=(*doubts, *bench.doubts),
        findings=tuple(dict.fromkeys(findings)),
        notes=(*bench.notes, *notes),
    )


def _notes(dark: Mapping[tuple[int, int, int], object]) -> tuple[str, ...]:
    if not dark:
        return ()
    if any(lit == ALL for _, _, lit in dark):
        lit = "every ingress lit by one laser, that of the path itself included"
    else:
        lit = "one ingress lit after the other, and added up"
    return (f"light at an egress connected to nothing, all other connections standing, {lit}; against its own signal",)


def _figure(
    key: tuple[tuple[str, int | str], ...],
    leak: Level,
    own_fw: int,
    meter: Instrument,
    settings: Settings,
    *,
    watched: bool,
    doubts: tuple[str, ...],
) -> Figure:
    value = udb(leak.fw, own_fw)
    scatter = Component(
        "读数分散与噪声",
        "scatter over wavelengths, noise",
        relative_udb(leak),
        "normal",
        f"{leak.nu + 1} readings; {meters.origin(meter)}",
        nu=leak.nu,
    )
    parts = (
        scatter,
        _zero(meter, leak, settings),
        *_unseen(leak),
        meters.linearity(meter),
        meters.polarisation(meter, whole=True),
        Component("偏振", "one state of polarisation", settings.pdl_udb, "rectangular", "profile, unconfirmed"),
        source.component(settings, watched=watched),
    )
    return Figure(key, value, Budget(parts), "at-most" if leak.bounded else "", doubts=doubts)


def _zero(meter: Instrument, leak: Level, settings: Settings) -> Component:
    """What the meter shows in darkness, of which no data sheet in a driver tells: set against its noise."""
    fw = meter.spec.get("noise_fw", 0) * settings.zero_milli // 1000 * leak.readings
    half = -(-fw * meters.LN10_TENTHS // max(1, leak.fw))
    return Component("功率计零点", "zero of the meter", half, "rectangular", "profile, unconfirmed: in noise of 100 ms")


def _unseen(leak: Level) -> list[Component]:
    """What ingress ports whose light was not seen may add to a sum."""
    if not leak.unseen_fw:
        return []
    half = -(-leak.unseen_fw * meters.LN10_TENTHS // max(1, leak.fw))
    origin = "the meter's floor for each; half of it is added"
    return [Component("未见光的入端口", "ingress ports whose light was not seen", half, "rectangular", origin)]


def _finding(ingress: int, egress: int, figure: Figure, singles: Mapping[int, Level], total: Level) -> Finding:
    said = "" if figure.value is None else f"{figure.value / 1e6:.1f} dB"
    most = max(singles, key=lambda lit: singles[lit].fw, default=None)
    if most is not None and not singles[most].bounded and 2 * singles[most].fw > total.fw:
        return Finding(
            "crosstalk",
            f"in {most} out {egress}",
            f"断开的出端口 {egress} 上的光主要来自入端口 {most}，合计 {said}",
            f"most of the light at egress {egress}, connected to nothing, comes from ingress {most}: {said} in all",
        )
    return Finding(
        "crosstalk",
        f"out {egress}",
        f"断开入端口 {ingress} 后，出端口 {egress} 仍有光 {said}",
        f"with ingress {ingress} taken away egress {egress} still has {said} of light",
    )
