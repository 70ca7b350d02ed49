"""Insertion loss: what each path through a cross-connect takes from the light (IEC 61300-3-4)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import isqrt
from typing import Any, Final

from harness.budget import Budget, Component, coverage_factor, root_up
from harness.figure import Derived, Doubt, Figure, Finding
from harness.figures import meter as meters
from harness.figures import reference, source
from harness.figures.extreme import spread
from harness.figures.row import rows
from harness.figures.setting import MicroDB, Milliseconds, Picometres
from harness.figures.source import Watched
from harness.reading import Record, Unit

ID: Final = "insertion-loss"
TITLE_ZH: Final = "插入损耗"
TITLE_EN: Final = "insertion loss"
FIGURES: Final[Mapping[str, Unit]] = {"loss": "udB", "uniformity": "udB"}


REFERENCE: Final = ("参考端", "at the reference")
EGRESS: Final = ("出端", "at the egress")
FEW: Final = 8
"""Fewer paths than that do not tell what paths differ by anyhow."""


class Settings(Watched):
    """How the matrix is read."""

    wavelengths_pm: tuple[Picometres, ...] = (1_550_000,)
    averaging_ms: Milliseconds = 50
    settle_ms: Milliseconds = 100
    """Between the cross-connect's word that it is done and the reading."""
    pdl_udb: MicroDB = 300_000
    """Polarisation dependence that a path may have: its loss is taken at one state, by definition it is the mean."""
    plug_udb: MicroDB = 200_000
    """Half-width of one plugging, where no cord was plugged twice."""
    dirty_udb: MicroDB = 500_000
    """A port whose paths all lose more than that beyond the rest is called dirty: a sound connector takes no more."""
    lossy_udb: MicroDB = 1_000_000
    """A path that loses more than that beyond the rest by itself is named."""
    dark_udb: MicroDB = 20_000_000
    """A path that loses more than that beyond the rest carries no light: what is seen is stray."""


@dataclass(frozen=True, slots=True)
class Path:
    """One reading of one path."""

    ingress: int
    egress: int
    figure: Figure

    def port(self, side: str) -> int:
        """Its port on a side, "in" or "out"."""
        return self.ingress if side == "in" else self.egress


def derive(record: Record, settings: Settings) -> Derived:
    """Loss of every path and their spread; which port or path stands out."""
    took = reference.Settings(drift_udb=settings.drift_udb)
    cords = reference.readings(record)
    read = list(
        rows(
            record,
            ID,
            "power",
            whole=("in", "out", "cord", "pm", "below"),
            maybe=("value", "source"),
            text=("tap",),
        )
    )
    told = [row for found in cords.values() for row in found]
    doubts: dict[str, Doubt] = {each.name: each for each in reference.disagreeing(record)}
    seen = [(row["pm"], row["source"]) for row in (*told, *read)]
    closing = (*_closing(record, settings, read), *_closing_cord(record, settings, cords))
    for each in (*source.drift(seen, settings), *closing):
        if each.red or each.name not in doubts:
            doubts[each.name] = each
    last = {(row["cord"], row["pm"]): row["at_ns"] for row in sorted(read, key=lambda row: row["at_ns"])}
    taken = settings_of(record, took)
    for key, at_ns in last.items():
        age = reference.old(taken, key[0], cords.get(key, []), at_ns)
        if age.red or age.name not in doubts:
            doubts[age.name] = age
    bench = meters.Meters(record)
    # the mean of n at the reference, one at the ingress, one at the egress
    plugs = {
        n: reference.plugs(record, root_up(2_000_000 + 1_000_000 // n), settings.plug_udb)
        for n in {len(found) for found in cords.values()}
    }
    paths = [_path(settings, cords.get((row["cord"], row["pm"]), []), row, doubts, bench, plugs) for row in read]
    losses = [each.figure for each in paths]
    return Derived(
        figures={"loss": tuple(losses), "uniformity": tuple(_uniformity(losses))},
        doubts=(*doubts.values(), *bench.doubts),
        findings=tuple(_findings(paths, settings)),
        notes=bench.notes,
    )


def settings_of(record: Record, otherwise: reference.Settings) -> reference.Settings:
    """The reference's settings as the run took it with, where it says them."""
    for row in rows(record, reference.ID, "taken", whole=("hours",)):
        if row["hours"] >= 1:
            return otherwise.model_copy(update={"hours": row["hours"]})
    return otherwise


def _closing(record: Record, settings: Settings, read: Sequence[dict[str, Any]]) -> list[Doubt]:
    """The first round read again at the end: what all its paths changed by, the source did, seen by no tap."""
    first: dict[tuple[int, int, int], int] = {}
    for row in read:
        value = source.level(row)
        if value is not None:
            first.setdefault((row["in"], row["out"], row["pm"]), value)
    changes = []
    for row in rows(record, ID, "closing", whole=("in", "out", "pm"), maybe=("value", "source")):
        value, was = source.level(row), first.get((row["in"], row["out"], row["pm"]))
        if value is not None and was is not None:
            changes.append(value - was)
    n = len(changes)
    if n < 2:
        return []
    squares = n * sum(change * change for change in changes) - sum(changes) ** 2
    # re-connecting moves each path by itself: what their mean certainly changed by is left
    chance = coverage_factor(n - 1) * root_up(-(-squares // (n * n * (n - 1)))) // 1000
    return [source.moved(max(0, abs(sum(changes)) // n - chance), settings)]


def _closing_cord(
    record: Record, settings: Settings, cords: Mapping[tuple[int, int], Sequence[dict[str, Any]]]
) -> list[Doubt]:
    """A cord read at the reference again at the end, where no tap watches; less what plugging explains."""
    changes = []
    for row in rows(record, ID, "closing-cord", whole=("cord", "pm"), maybe=("value", "source")):
        was = [row["value"] for row in cords.get((row["cord"], row["pm"]), [])]
        if was and row["value"] is not None:
            n = len(was)
            plug = Budget((reference.plugs(record, root_up(1_000_000 + 1_000_000 // n), settings.plug_udb),))
            changes.append(max(0, abs(row["value"] - sum(was) // n) - plug.expanded))
    return [source.moved(max(changes), settings)] if changes else []


def _path(
    settings: Settings,
    cords: Sequence[dict[str, Any]],
    row: dict[str, Any],
    doubts: Mapping[str, Doubt],
    bench: meters.Meters,
    plugs: Mapping[int, Component],
) -> Path:
    """Loss = mean of the cord's own readings - the reading behind the path, each less what the source's tap saw."""
    key = (("in", row["in"]), ("out", row["out"]), ("pm", row["pm"]))
    meter, red = bench.of(row)
    watched = source.watched((row, *cords))
    wanted = {"source-drift", f"meter-disagrees:{row['tap']}", f"reference-old:launch-{row['cord']}"}
    wanted |= {f"meter-disagrees:{each['tap']}" for each in cords}
    on = {name for name in wanted if name in doubts and doubts[name].red} | set(red)
    if not cords:
        return Path(
            row["in"],
            row["out"],
            Figure(key, None, Budget(()), why="no reference of its launch cord", doubts=tuple(on)),
        )
    at_reference, red = bench.of(cords[0])
    on |= set(red)
    own = [each["value"] - (each["source"] or 0 if watched else 0) for each in cords]
    taken = row["source"] or 0 if watched else 0
    seen = (row["below"] if row["value"] is None else row["value"]) - taken
    n = len(own)
    noise = meters.noise_udb(
        meter, row["below"] if row["value"] is None else row["value"], settings.averaging_ms * 1000
    )
    parts = (
        meters.at(REFERENCE, meters.linearity(at_reference)),
        meters.at(EGRESS, meters.linearity(meter)),
        meters.at(REFERENCE, meters.polarisation(at_reference)),
        meters.at(EGRESS, meters.polarisation(meter)),
        meters.channel(at_reference, meter),
        plugs[n],
        meters.noise(noise, 1415, meter),
        source.component(settings, watched=watched),
        Component(
            "路径偏振相关损耗",
            "polarisation dependence of the path",
            -(-settings.pdl_udb // 2),
            "rectangular",
            "profile: read at one state of polarisation",
        ),
    )
    value = (2 * sum(own) + n) // (2 * n) - seen
    side = "at-least" if row["value"] is None else ""
    return Path(
        row["in"], row["out"], Figure(key, value, Budget(parts), "at-least" if side else "", doubts=tuple(sorted(on)))
    )


def _uniformity(losses: Sequence[Figure]) -> list[Figure]:
    """Largest less smallest loss at each wavelength; what both share would cancel, and is given no credit."""
    found = []
    for pm in dict.fromkeys(dict(each.key)["pm"] for each in losses):
        here = [each for each in losses if dict(each.key)["pm"] == pm and each.value is not None]
        if len(here) < 2:
            continue
        values = [each.value or 0 for each in here]
        value, chosen, high, low = spread(values, [_chance(each) for each in here])
        found.append(
            Figure(
                (("pm", pm),),
                value,
                Budget((*here[high].budget.components, *here[low].budget.components, chosen)),
                # where the darkest is only a bound, so is the spread
                here[high].side,
                doubts=tuple(sorted({*here[high].doubts, *here[low].doubts})),
            )
        )
    return found


def _chance(figure: Figure) -> int:
    """What may differ from path to path by chance: plugging and noise. Half-widths of data sheets are no chance."""
    return root_up(sum(each.u**2 for each in figure.budget.components if each.distribution == "normal"))


def _median(values: Sequence[int]) -> int:
    return sorted(values)[len(values) // 2]


def _deviation(values: Sequence[int]) -> int:
    """Standard deviation, by the median of deviations from the median, which a few bad paths do not move."""
    if not values:
        return 0
    middle = _median(values)
    return 1483 * _median([abs(value - middle) for value in values]) // 1000


def _findings(paths: Sequence[Path], settings: Settings) -> list[Finding]:
    """Ports and paths that stand out from the typical loss by more than their uncertainties."""
    known = [path for path in paths if path.figure.value is not None]
    lit = [path.figure.value or 0 for path in known if not path.figure.side]
    if not lit:
        return []
    # what the better paths lose is what the device does when nothing is wrong, also where most of it is
    typical = sorted(lit)[len(lit) // 4] if len(lit) > 3 else min(lit)
    dark = {(p.ingress, p.egress) for p in known if (p.figure.value or 0) - typical > settings.dark_udb}
    dark |= {(p.ingress, p.egress) for p in known if p.figure.side}
    found, named = [], set()
    for side in ("in", "out"):
        for port in sorted({path.port(side) for path in known}):
            own = [path for path in known if path.port(side) == port]
            across = {(path.ingress, path.egress) for path in own}
            if len(across) < 2:
                continue
            if across <= dark:
                named.add((side, port))
                found.append(
                    Finding(
                        "stuck-port",
                        f"{side} {port}",
                        "该端口所有连接均无光：微镜卡滞、端口断开或跳纤未接",
                        "no path of this port carries light: a stuck mirror, a broken port, or its cord is not plugged",
                    )
                )
                continue
            excess = _median([(path.figure.value or 0) - typical for path in own])
            least = min((path.figure.value or 0) - typical for path in own)
            # what paths differ by anyhow does not make a port dirty: four standard deviations of a mean of so many
            others = [p.figure.value or 0 for p in known if p.port(side) != port and (p.ingress, p.egress) not in dark]
            usual = 4 * _deviation(others) // isqrt(len(across))
            certain = max(settings.dirty_udb, usual, 3 * max(path.figure.budget.u_c for path in own))
            if len(others) < FEW:
                certain = max(certain, settings.lossy_udb)
            if excess > certain and least + settings.dirty_udb > certain:
                named.add((side, port))
                found.append(
                    Finding(
                        "dirty-port",
                        f"{side} {port}",
                        f"该端口所有路径都比典型值多损耗约 {excess / 1e6:.2f} dB：清洁并检查端面",
                        f"every path of this port loses about {excess / 1e6:.2f} dB more than is typical: "
                        "clean and inspect it",
                    )
                )
    for path in known:
        if ("in", path.ingress) in named or ("out", path.egress) in named:
            continue
        where = f"in {path.ingress} out {path.egress}"
        excess = (path.figure.value or 0) - typical
        if (path.ingress, path.egress) in dark:
            found.append(Finding("dark-path", where, "该路径无光", "this path carries no light"))
        elif excess > max(settings.lossy_udb, 3 * path.figure.budget.u_c):
            found.append(
                Finding(
                    "lossy-path",
                    where,
                    f"该路径单独比典型值多损耗 {excess / 1e6:.2f} dB",
                    f"this path alone loses {excess / 1e6:.2f} dB more than is typical",
                )
            )
    return list(dict.fromkeys(found))
