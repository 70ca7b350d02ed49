"""Whether packets, reflectometer and ODUk frames tell the same delay of a link, within what each knows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Annotated, Any, Final

from pydantic import Field, ValidationError

from harness.budget import Budget, root_up
from harness.errors import ArchiveError
from harness.figure import Derived, Figure, Finding
from harness.figures import path
from harness.figures.row import ALTERED, rows
from harness.figures.setting import Settings as _Settings
from harness.reading import Delay, Record, Unit

ID: Final = "reconcile"
TITLE_ZH: Final = "时延互证"
TITLE_EN: Final = "delays reconciled"
FIGURES: Final[Mapping[str, Unit]] = {"en": "count"}
AGREE: Final = 1_000
"""E_n of one, in thousandths (ISO/IEC 17043, ISO 13528): within it two values agree."""
_Ps = Annotated[int, Field(ge=0, le=1_000_000_000_000)]


class Settings(_Settings):
    """What equipment is declared to add to the fibre, one way, ps."""

    equipment_ps: _Ps = 0
    """Largest delay of all equipment between the planes of the packets' stamps, beyond the fibre."""
    odu_equipment_ps: _Ps = 0
    """The same between the planes of the ODUk path."""


def delays_of(result: Mapping[str, Any]) -> tuple[Delay, ...]:
    """What packets said of every link and direction: their least one-way delay with its standard uncertainty.

    ``result`` is the content of result.json. A direction without a bound of both clocks has no uncertainty, so it is
    left out. Where several requirements speak of a direction, the unloaded stream's comes first.
    """
    streams = {each["measurement"]: each for each in result.get("streams") or ()}
    calibrated = {each["measurement"] for each in result.get("calibrations") or () if each.get("applied")}
    rows = [
        (requirement.get("measurand") != "optical-floor", row)
        for requirement in result.get("requirements") or ()
        for row in requirement.get("directions") or ()
        if row["direction"] in {"forward", "backward"}
    ]
    found: dict[tuple[str, str], Delay] = {}
    for _, row in sorted(rows, key=lambda pair: pair[0]):
        at = (str(row["link"]), str(row["direction"]))
        clocked = next((s for s in row["statements"] if s["basis"] == "clock" and s["u_c_ps"] is not None), None)
        least = [int(flow["min"]) for flow in row["flows"] if flow["min"] is not None]
        if at in found or clocked is None or not least:
            continue
        planes = streams.get(row["measurement"], {}).get("planes_judged") or ["?"] * 4
        used = planes[:2] if at[1] == "forward" else planes[2:]
        told = "calibrated back to back" if row["measurement"] in calibrated else "not calibrated"
        red = ", ".join(clocked["gates_red"])
        found[at] = Delay(
            *at,
            plane=f"packets, {' to '.join(str(each) for each in used)}, {told}",
            value_ps=min(least) * 1000,
            u_ps=int(clocked["u_c_ps"]),
            side="at-least",
            origin=f"{row['measurement']}, least of all packets" + (f"; red: {red}" if red else ""),
        )
    return tuple(found.values())


def _mean(forward: Delay, backward: Delay) -> Delay:
    """Both directions together, as gear sees them that only knows the round trip; correlation gets no credit."""
    return Delay(
        forward.link,
        "mean",
        forward.plane,
        (forward.value_ps + backward.value_ps) // 2,
        -(-(forward.u_ps + backward.u_ps) // 2),
        forward.side,
        forward.origin,
    )


def odu(record: Record) -> tuple[Delay, ...]:
    """One delay for every link and ODUk: the middle one of its readings, half a frame either way."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = defaultdict(list)
    for row in rows(record, ID, "odu", whole=("half", "value"), text=("link", "oduk")):
        groups[row["link"], row["oduk"]].append(row)
    found = []
    for (link, oduk), read in groups.items():
        values = sorted(row["value"] for row in read)
        half = max(row["half"] for row in read)
        found.append(
            Delay(
                link,
                "mean",
                oduk,
                values[len(values) // 2],
                root_up(-(-half * half // 3)),
                "at-least",
                f"{len(read)} readings in {read[0]['trace'] or 'a file'}, whole frames counted over the round trip",
            )
        )
    return tuple(found)


def _optical(record: Record) -> tuple[Delay, ...]:
    """What the reflectometer saw, under the settings it was used with. Raises ArchiveError."""
    found: tuple[Delay, ...] = ()
    for row in rows(record, path.ID, "setup", text=("link", "value")):
        try:
            settings = path.Settings.model_validate_json(row["value"])
        except ValidationError as why:
            raise ArchiveError("the settings of path", str(why), ALTERED) from why
        told = path.delay(record, settings, row["link"])
        found = () if told is None else (told,)
    return found


def apart(a: Delay, b: Delay, settings: Settings) -> int:
    """By how much two delays contradict each other, ps: equipment explains what it was declared to add, no more."""
    more = max((_extra(each, settings) for each in (a, b) if each.side == "at-least"), default=0)
    if a.side == b.side == "at-least":
        return max(0, abs(a.value_ps - b.value_ps) - more)
    if a.side == "at-least":
        a, b = b, a
    # b may include what a does not
    over = b.value_ps - a.value_ps
    return -over if over < 0 else max(0, over - (more if b.side else 0))


def _extra(each: Delay, settings: Settings) -> int:
    return settings.odu_equipment_ps if each.plane.startswith("ODU") else settings.equipment_ps


def en_milli(difference_ps: int, ua_ps: int, ub_ps: int) -> int | None:
    """E_n in thousandths, rounded up: 1000 d / (2 sqrt(ua² + ub²)); None: neither has an uncertainty."""
    squares = 4 * (ua_ps * ua_ps + ub_ps * ub_ps)
    return root_up(-(-((1000 * difference_ps) ** 2) // squares)) if squares else None


def compared(delays: Sequence[Delay]) -> dict[tuple[str, str], list[Delay]]:
    """(link, direction) → the delays that speak of it: a fibre serves both, and gear that loops sees their mean."""
    links: dict[str, list[Delay]] = defaultdict(list)
    for each in delays:
        links[each.link].append(each)
    found: dict[tuple[str, str], list[Delay]] = {}
    for link, here in links.items():
        fibre = [each for each in here if each.plane == path.PLANE]
        ways = {name: [e for e in here if e.direction == name] for name in ("forward", "backward")}
        both = [_mean(f, b) for f, b in zip(ways["forward"], ways["backward"], strict=False)]
        for name, own in ways.items():
            found[link, name] = [*own, *fibre]
        found[link, "mean"] = [*both, *(e for e in here if e.direction == "mean")]
    return found


def derive(record: Record, settings: Settings) -> Derived:
    """E_n of every pair of methods, naming both planes; the odd one out where the others agree."""
    delays = (*record.delays, *_optical(record), *odu(record))
    figures: dict[tuple[Any, ...], Figure] = {}
    findings: list[Finding] = []
    for (link, direction), here in compared(delays).items():
        against: dict[str, list[bool]] = defaultdict(list)
        for a, b in combinations(here, 2):
            value = en_milli(apart(a, b, settings), a.u_ps, b.u_ps)
            key = (("link", link), ("direction", direction), ("a", a.plane), ("b", b.plane))
            why = "" if value is not None else "neither states an uncertainty"
            figures[key] = Figure(key, value, Budget(()), why=why)
            for each in (a, b):
                against[each.plane].append(value is not None and value > AGREE)
        findings += _odd(link, direction, here, against, figures)
    rows = [[d.link, d.direction, d.plane, d.value_ps, d.u_ps, d.side, d.origin] for d in delays]
    columns = ["link", "direction", "plane", "value", "u", "side", "origin"]
    return Derived(
        figures={"en": tuple(figures.values())},
        findings=tuple(findings),
        tables={"delays": {"columns": columns, "rows": rows, "unit": "ps"}} if rows else {},
    )


def _odd(
    link: str,
    direction: str,
    here: Sequence[Delay],
    against: Mapping[str, Sequence[bool]],
    figures: Mapping[tuple[Any, ...], Figure],
) -> list[Finding]:
    """The one that contradicts all others while these agree; of two that contradict each other, neither is named."""
    where = f"{link} {direction}"
    planes = [each.plane for each in here]
    broken = [f for f in figures.values() if dict(f.key)["link"] == link and dict(f.key)["direction"] == direction]
    wrong = [f for f in broken if f.value is not None and f.value > AGREE]
    if not wrong:
        return []
    alone = [p for p in planes if all(against[p]) and len(wrong) == len(planes) - 1]
    if len(planes) > 2 and len(alone) == 1:
        zh = f"其余方法互相一致，唯独“{alone[0]}”不符：先查它"
        en = f"the others agree and {alone[0]} does not: look at that one first"
        return [Finding("odd-one-out", where, zh, en)]
    pairs = "; ".join(f"{dict(f.key)['a']} and {dict(f.key)['b']}" for f in wrong)
    return [Finding("irreconcilable", where, f"互不相符：{pairs}", f"these contradict each other: {pairs}")]
