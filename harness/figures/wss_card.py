"""A card swapped for its spare: whether the same channels come back, with the same loss."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any, Final

from pydantic import Field

from harness.budget import Budget, Component
from harness.figure import Derived, Figure, Finding
from harness.figures import meter as meters
from harness.figures import source
from harness.figures.row import rows
from harness.figures.setting import Count, MicroDB, Milliseconds
from harness.figures.slot import CONVENTIONAL, KEYS, NAMES, PLACES, Confirmed, Port, Slot, Way, confirmed, key_of, label
from harness.reading import Record, Unit

ID: Final = "wss-card"
TITLE_ZH: Final = "单板更换"
TITLE_EN: Final = "card swap"
FIGURES: Final[Mapping[str, Unit]] = {"change": "udB", "missing": "count", "forgotten": "count"}


class Settings(Confirmed):
    """Which cards, and which channels pass them."""

    cards: tuple[Annotated[str, Field(min_length=1, max_length=40)], ...] = ("card-1",)
    slots: tuple[Slot, ...] = (CONVENTIONAL,)
    ways: tuple[Way, ...] = (Way(ingress="deg-1", egress="deg-2"),)
    ingress: tuple[Port, ...] = ()
    """As for wss-loss."""
    egress: tuple[Port, ...] = ()
    averaging_ms: Milliseconds = 100
    start_ms: Milliseconds = 120_000
    """What the spare may take until its channels are up again by themselves."""
    tries: Count = 2
    lost_udb: MicroDB = 10_000_000
    """A channel that fell by more than that is dark: what is left is stray."""
    pdl_udb: MicroDB = 500_000
    """By how much the polarisation dependence of card and spare may differ: both are read at one state."""


def derive(record: Record, settings: Settings) -> Derived:
    """Change of every channel's power over the swap; how many stayed dark; how many had to be made anew."""
    stages: dict[tuple[Any, ...], dict[str, dict[str, Any]]] = defaultdict(dict)
    whole, text = (*PLACES, "below"), ("card", "stage", "tap", *NAMES)
    for row in rows(record, ID, "power", whole=whole, maybe=("value", "source"), text=text):
        stages[(row["card"], *(row[k] for k in KEYS))][row["stage"]] = row
    bench = meters.Meters(record)
    light = confirmed(record, ID)
    changes: list[Figure] = []
    dark: dict[str, list[bool]] = defaultdict(list)
    forgotten: dict[str, int] = defaultdict(int)
    for at, found in stages.items():
        card = at[0]
        before, itself, after = (found.get(name) for name in ("before", "itself", "after"))
        if before is None or after is None:
            continue
        key = (("card", card), *key_of(before))
        if before["value"] is None:
            changes.append(Figure(key, None, Budget(()), why="no light before the swap: nothing to compare with"))
            continue
        stray = light.get(label(before))
        if stray is not None and stray.red:
            changes.append(Figure(key, None, Budget(()), why="its light was never seen to rise", doubts=(stray.name,)))
            continue
        dark[card].append(_gone(settings, before, after))
        forgotten[card] += itself is not None and _gone(settings, before, itself)
        changes.append(_change(settings, key, before, after, bench))
    findings = [
        Finding(
            "dead-card" if all(each) else "dark-channels",
            card,
            f"换板后 {sum(each)}/{len(each)} 个波道无光",
            f"{sum(each)} of {len(each)} channels stay dark with the spare",
        )
        for card, each in dark.items()
        if any(each)
    ]
    return Derived(
        figures={
            "change": tuple(changes),
            "missing": tuple(Figure((("card", c),), sum(each), Budget(())) for c, each in dark.items()),
            "forgotten": tuple(Figure((("card", c),), forgotten[c], Budget(())) for c in dark),
        },
        doubts=(*bench.doubts, *light.values()),
        findings=tuple(findings),
        notes=bench.notes,
    )


def _gone(settings: Settings, before: dict[str, Any], row: dict[str, Any]) -> bool:
    """Whether a channel that had light has none any more."""
    return row["value"] is None or row["value"] < before["value"] - settings.lost_udb


def _change(
    settings: Settings,
    key: tuple[tuple[str, int | str], ...],
    before: dict[str, Any],
    after: dict[str, Any],
    bench: meters.Meters,
) -> Figure:
    """How far a channel's power lies from where it was, with what the source's tap saw taken off."""
    meter, red = bench.of(after)
    watched = source.watched((before, after))
    seen = after["below"] if after["value"] is None else after["value"]
    change = (after["source"] or 0) - (before["source"] or 0) if watched else 0
    noise = meters.noise_udb(meter, min(seen, before["value"]), settings.averaging_ms * 1000)
    parts = (
        meters.linearity(meter),
        meters.polarisation(meter, whole=True),
        meters.noise(noise, 1415, meter),
        source.component(settings, watched=watched),
        Component(
            "偏振相关损耗之差",
            "difference in polarisation dependence",
            -(-settings.pdl_udb // 2),
            "rectangular",
            "profile: read at one state of polarisation",
        ),
    )
    value = abs(seen - change - before["value"])
    return Figure(key, value, Budget(parts), "at-least" if after["value"] is None else "", doubts=red)
