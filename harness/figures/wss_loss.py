"""Loss through a WSS-based cross-connect by express, add, drop and backplane ways, and how well it blocks a slot."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

from pydantic import Field

from harness.budget import Budget, Component, root_up
from harness.figure import Derived, Doubt, Figure, Finding
from harness.figures import meter as meters
from harness.figures import reference, source
from harness.figures.extreme import spread
from harness.figures.insertion_loss import settings_of
from harness.figures.row import rows
from harness.figures.setting import Count, MicroDB, Milliseconds
from harness.figures.slot import (
    CONVENTIONAL,
    KEYS,
    NAMES,
    PLACES,
    Port,
    Slot,
    Way,
    key_of,
    kind_of,
    label,
    unmade,
)
from harness.figures.source import Watched
from harness.reading import Record, Unit

ID: Final = "wss-loss"
TITLE_ZH: Final = "波长选择交叉损耗"
TITLE_EN: Final = "loss through a WSS-based cross-connect"
LOSSES: Final = ("express", "add", "drop", "backplane")
FIGURES: Final[Mapping[str, Unit]] = {**dict.fromkeys(LOSSES, "udB"), "uniformity": "udB", "extinction": "udB"}


class Settings(Watched):
    """Which ways are read, in which slots."""

    slots: tuple[Slot, ...] = (CONVENTIONAL,)
    ways: tuple[Way, ...] = ()
    """Empty: every degree to every other, every add port to every degree, every degree to every drop port."""
    backplane: tuple[Way, ...] = ()
    """Places of test cards between which the backplane alone lies; a person plugs them."""
    test_cards_udb: MicroDB = 0
    """What the two test cards take by themselves."""
    test_cards_half_udb: MicroDB = 0
    """Half-width of what is not known of that."""
    ingress: tuple[Port, ...] = ()
    """Into which port launch cord 1, 2 … is plugged; empty: degrees and add ports in the gear's order."""
    egress: tuple[Port, ...] = ()
    """From which port receiving channel 1, 2 … is fed; empty: degrees and drop ports in the gear's order."""
    averaging_ms: Milliseconds = 100
    settle_ms: Milliseconds = 2_000
    """After the gear's word that a channel is there: power equalisation takes seconds."""
    tries: Count = 2
    """How often a channel is made anew when no light is seen, before darkness is believed."""
    rise_udb: MicroDB = 3_000_000
    """By how much the light must rise when a channel is made, to count as confirmed."""
    polarisations: Annotated[int, Field(ge=4, le=100)] = 6
    """States that are averaged over where the bench has a polarisation controller: loss is the mean by definition."""
    pdl_udb: MicroDB = 1_500_000
    """Polarisation dependence that a way may have: half of it is open when its loss is taken at one state."""
    lossy_udb: MicroDB = 500_000
    """A port whose ways all lose more than that beyond their kind is named; a single way, beyond twice that."""
    dark_udb: MicroDB = 20_000_000
    """A way that loses more than that beyond its kind carries no light: what is seen is stray."""
    plug_udb: MicroDB = 200_000
    """Half-width of one plugging, where no cord was plugged twice."""


AVERAGED: Final = 10
"""An even spread of states leaves at most that part of half the polarisation dependence."""


def _tried(record: Record, state: str) -> dict[tuple[Any, ...], list[dict[str, Any]]]:
    """Way and slot → the rows of the last try read in a state, one for each polarisation; earlier tries are history."""
    found: dict[tuple[Any, ...], dict[int, list[dict[str, Any]]]] = defaultdict(lambda: defaultdict(list))
    whole = (*PLACES, "launch", "lit", "pm", "try", "turn", "below")
    for row in rows(record, ID, "power", whole=whole, maybe=("value", "source"), text=(*NAMES, "state", "tap")):
        if row["state"] == state:
            found[tuple(row[k] for k in KEYS)][row["try"]].append(row)
    return {at: numbered[max(numbered)] for at, numbered in found.items()}


def derive(record: Record, settings: Settings) -> Derived:
    """Loss of every way, its spread, its extinction when blocked; which port or card stands out."""
    took = reference.Settings(drift_udb=settings.drift_udb)
    cords = reference.readings(record)
    open_rows, blocked = _tried(record, "open"), _tried(record, "blocked")
    doubts = _doubts(record, settings, took, cords, open_rows.values())
    bench = meters.Meters(record)
    losses: dict[str, list[Figure]] = {name: [] for name in LOSSES}
    extinctions: list[Figure] = []
    for at, read in open_rows.items():
        kind = kind_of(read[0]["ingress"], read[0]["egress"])
        own = cords.get((read[0]["launch"], read[0]["pm"]), [])
        wanted = {"source-drift", f"not-connected:{label(read[0])}", f"reference-old:launch-{read[0]['launch']}"}
        wanted |= {f"meter-disagrees:{row['tap']}" for row in (*own, *read)}
        on = {name for name in wanted if name in doubts and doubts[name].red}
        losses[kind].append(_loss(record, settings, kind, own, read, on, bench))
        if at in blocked and read[-1]["value"] is not None:
            extinctions.append(_extinction(settings, read[-1], blocked[at][-1], bench))
    uniform = [each for kind in LOSSES[:3] for each in _uniformity(kind, losses[kind])]
    return Derived(
        figures={
            **{kind: tuple(found) for kind, found in losses.items()},
            "uniformity": tuple(uniform),
            "extinction": tuple(extinctions),
        },
        doubts=(*doubts.values(), *bench.doubts),
        findings=tuple(_findings(settings, [each for kind in LOSSES for each in losses[kind]])),
        notes=bench.notes,
    )


def _doubts(
    record: Record,
    settings: Settings,
    took: reference.Settings,
    cords: Mapping[tuple[int, int], Sequence[dict[str, Any]]],
    read: Iterable[Sequence[dict[str, Any]]],
) -> dict[str, Doubt]:
    """All doubts by name; a red one is never covered by a green one of the same name."""
    flat = [row for found in read for row in found]
    told = [(row["pm"], row["source"]) for row in (*(r for found in cords.values() for r in found), *flat)]
    found = [*reference.disagreeing(record), *source.drift(told, settings), *unmade(record, ID)]
    kept = settings_of(record, took)
    for cord, pm in dict.fromkeys((row["launch"], row["pm"]) for row in flat):
        last = max(row["at_ns"] for row in flat if (row["launch"], row["pm"]) == (cord, pm))
        found.append(reference.old(kept, cord, cords.get((cord, pm), ()), last))
    doubts: dict[str, Doubt] = {}
    for each in found:
        if each.red or each.name not in doubts:
            doubts[each.name] = each
    return doubts


def _loss(
    record: Record,
    settings: Settings,
    kind: str,
    own: Sequence[dict[str, Any]],
    read: Sequence[dict[str, Any]],
    on: set[str],
    bench: meters.Meters,
) -> Figure:
    """Loss = mean of the cord's own readings less the mean over all polarisations behind the way.

    Where a polarisation was too dark to read, what it is below stands for it, and the loss is a bound.
    """
    key = key_of(read[0])
    if not own:
        why = f"no reference of launch cord {read[0]['launch']} at {read[0]['pm']} pm"
        return Figure(key, None, Budget(()), why=why, doubts=tuple(sorted(on)))
    meter, red = bench.of(read[-1])
    at_reference, more = bench.of(own[0])
    watched = source.watched((*own, *read))
    seen = [row["below"] if row["value"] is None else row["value"] for row in read]
    noise = meters.noise_udb(meter, min(seen), settings.averaging_ms * 1000)
    changes = [(row["source"] or 0) if watched else 0 for row in read]
    before = [row["value"] - ((row["source"] or 0) if watched else 0) for row in own]
    m, n = len(seen), len(own)
    behind = (2 * (sum(seen) - sum(changes)) + m) // (2 * m)
    pdl = 0 if kind == "backplane" else settings.pdl_udb
    parts = [
        meters.linearity(at_reference),
        meters.linearity(meter),
        meters.polarisation(at_reference),
        meters.polarisation(meter),
        meters.channel(at_reference, meter),
        # the mean of n at the reference, one at the ingress, one at the egress
        reference.plugs(record, root_up(2_000_000 + 1_000_000 // n), settings.plug_udb),
        meters.noise(noise, 1415, meter),
        source.component(settings, watched=watched),
        Component(
            "路径偏振相关损耗",
            "polarisation dependence of the way",
            -(-pdl // 2) if m == 1 else -(-pdl // (2 * AVERAGED)),
            "rectangular",
            f"profile: read at {m} states of polarisation",
        ),
    ]
    value = (2 * sum(before) + n) // (2 * n) - behind
    if kind == "backplane":
        zh, en = "测试卡损耗", "loss of the test cards"
        parts.append(Component(zh, en, settings.test_cards_half_udb, "rectangular", "profile"))
        value -= settings.test_cards_udb
    side = "at-least" if any(row["value"] is None for row in read) else ""
    doubts = tuple(sorted({*on, *red, *more}))
    return Figure(key, value, Budget(tuple(parts)), "at-least" if side else "", doubts=doubts)


def _extinction(settings: Settings, lit: dict[str, Any], dark: dict[str, Any], bench: meters.Meters) -> Figure:
    """Power with the slot open less power with it blocked, on one channel.

    A meter that saw nothing gives a bound; so do other lit ports, whose light leaks there too.
    """
    meter, red = bench.of(lit)
    watched = source.watched((lit, dark))
    seen = dark["below"] if dark["value"] is None else dark["value"]
    change = (lit["source"] or 0) - (dark["source"] or 0) if watched else 0
    noise = meters.noise_udb(meter, seen, settings.averaging_ms * 1000)
    parts = (
        meters.linearity(meter),
        meters.polarisation(meter, whole=True),
        meters.noise(noise, 1415, meter),
        source.component(settings, watched=watched),
        Component(
            "路径偏振相关损耗",
            "polarisation dependence, open and blocked",
            settings.pdl_udb,
            "rectangular",
            "profile: read at one state of polarisation",
        ),
    )
    side = "at-least" if dark["value"] is None or dark["lit"] > 1 else ""
    value = lit["value"] - seen - change
    return Figure(key_of(lit), value, Budget(parts), "at-least" if side else "", doubts=red)


def _chance(each: Figure) -> int:
    """By how much a loss would differ when read again, µdB: its type A part."""
    return root_up(sum(c.u**2 for c in each.budget.components if c.nu is not None))


def _uniformity(kind: str, losses: Sequence[Figure]) -> list[Figure]:
    """Largest less smallest loss of one kind of way in one slot; what both share would cancel, and gets no credit."""
    groups: dict[tuple[Any, Any], list[Figure]] = defaultdict(list)
    for each in losses:
        if each.value is not None:
            key = dict(each.key)
            groups[key["centre_mhz"], key["width_mhz"]].append(each)
    found = []
    for (centre, width), here in groups.items():
        if len(here) < 2:
            continue
        value, chosen, high, low = spread([each.value or 0 for each in here], [_chance(each) for each in here])
        found.append(
            Figure(
                (("kind", kind), ("centre_mhz", centre), ("width_mhz", width)),
                value,
                Budget((*here[high].budget.components, *here[low].budget.components, chosen)),
                here[high].side,
                doubts=tuple(sorted({*here[high].doubts, *here[low].doubts})),
            )
        )
    return found


@dataclass(frozen=True, slots=True)
class _Seen:
    """One way against the better ones of its kind in the same slot."""

    ingress: str
    egress: str
    figure: Figure
    excess: int
    """By how much it loses more than those, µdB."""
    dark: bool

    def port(self, side: str) -> str:
        return self.ingress if side == "ingress" else self.egress


def _against_kind(settings: Settings, losses: Sequence[Figure]) -> list[_Seen]:
    known = [f for f in losses if f.value is not None and not any(n.startswith("not-connected") for n in f.doubts)]
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for each in known:
        if not each.side:
            groups[_sort(each)].append(each.value or 0)
    found = []
    for each in known:
        lit, key = sorted(groups[_sort(each)]), dict(each.key)
        # what the better quarter loses is what the node does when nothing is wrong, also where most of it is
        excess = (each.value or 0) - lit[len(lit) // 4] if lit else 0
        dark = each.side == "at-least" or excess > settings.dark_udb
        found.append(_Seen(str(key["ingress"]), str(key["egress"]), each, excess, dark))
    return found


def _sort(each: Figure) -> tuple[Any, ...]:
    key = dict(each.key)
    return kind_of(str(key["ingress"]), str(key["egress"])), key["centre_mhz"], key["width_mhz"]


def _findings(settings: Settings, losses: Sequence[Figure]) -> list[Finding]:
    """A port, so its card, that never carries light, or always less than the rest; then single ways."""
    seen = _against_kind(settings, losses)
    found: list[Finding] = []
    for side in ("ingress", "egress"):
        for port in sorted({way.port(side) for way in seen}):
            own = [way for way in seen if way.port(side) == port]
            lit = [way for way in own if not way.dark]
            if len({(way.ingress, way.egress) for way in own}) < 2:
                continue
            if not lit:
                zh = f"经 {port} 的所有波道均无光：检查该端口的单板、尾纤和波道配置"
                en = f"no way by {port} carries light: look at its card, its cord and the channel's configuration"
                found.append(Finding("dead-card", f"{side} {port}", zh, en))
            elif len(lit) > 1 and all(way.excess > max(settings.lossy_udb, 3 * way.figure.budget.u_c) for way in lit):
                least = min(way.excess for way in lit)
                zh = f"经 {port} 的所有波道都比同类好端口至少多损耗 {least / 1e6:.2f} dB：清洁端面，检查单板"
                en = f"every way by {port} loses {least / 1e6:.2f} dB or more beyond its kind: clean it, see its card"
                found.append(Finding("lossy-port", f"{side} {port}", zh, en))
    named = {each.where for each in found}
    for way in seen:
        if {f"ingress {way.ingress}", f"egress {way.egress}"} & named:
            continue
        where = f"{way.ingress} to {way.egress}"
        if way.dark:
            found.append(Finding("dark-way", where, "该波道无光", "this way carries no light"))
        elif way.excess > max(2 * settings.lossy_udb, 3 * way.figure.budget.u_c):
            zh = f"仅该波道比同类多损耗 {way.excess / 1e6:.2f} dB"
            en = f"this way alone loses {way.excess / 1e6:.2f} dB more than its kind"
            found.append(Finding("lossy-way", where, zh, en))
    return list(dict.fromkeys(found))
