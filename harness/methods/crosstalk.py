"""Measuring crosstalk: one path of a full set taken apart, and the light that is left at its egress."""

from __future__ import annotations

from collections.abc import Sequence

from harness.figures.crosstalk import ALL, ID, Settings
from harness.figures.power import femtowatts, udb
from harness.methods.launch import PATH, PLUG_S, Launch, wavelengths
from harness.methods.lot import lots
from harness.reading import Cell
from harness.rig import Rig, Tap

DARK = ("in", "out", "lit", "tap", "value", "below", "source")
PULLED = ("in", "out", "cord", "tap", "value", "below", "source")


def _plan(rig: Rig, settings: Settings) -> list[dict[int, int]]:
    """Full sets of connections; which cord is lit does not matter to what stands connected."""
    if rig.together:
        return lots(rig, settings.lots, settings.seed)
    # lots are single paths there; the sets that they come from are wanted
    singles = lots(rig, settings.lots, settings.seed)
    sets: list[dict[int, int]] = []
    for pair in singles:
        ((ingress, egress),) = pair.items()
        free = (s for s in sets if ingress not in s and egress not in s.values())
        home = next(free, None)
        if home is None:
            sets.append({ingress: egress})
        else:
            home[ingress] = egress
    return sets


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s, without the cross-connect's own switching and without a search."""
    paths = sum(len(pairs) for pairs in _plan(rig, settings))
    lit = 1 if rig.together else len(rig.launches)
    moved = 0.0 if rig.together else PLUG_S * lit
    return moved + paths * lit * (settings.settle_ms + (settings.samples + 1) * settings.averaging_ms) / 1000


def run(rig: Rig, settings: Settings) -> None:
    """Connect a set, then take one path after the other apart and read its egress, all other connections standing.

    With a coupler every ingress is lit. Lit by hand, one ingress at a time is, and all of them come after each other.
    Raises what the instruments raise.
    """
    rig.average(settings.averaging_ms)
    launch = Launch(rig)
    sets = _plan(rig, settings)
    plan: dict[str, tuple[dict[int, int], int, int]] = {}
    for number, pairs in enumerate(sets):
        for lit in [ALL] if rig.together else list(rig.launches):
            for ingress in pairs:
                plan[f"set {number} {ingress}-{pairs[ingress]}" + (f" lit {lit}" if lit else "")] = (
                    pairs,
                    ingress,
                    lit,
                )
    for part in rig.parts(ID, list(plan)):
        pairs, ingress, lit = plan[part]
        if lit:
            launch.to(lit)
        _victim(rig, settings, launch, pairs, ingress, lit)


def _victim(rig: Rig, settings: Settings, launch: Launch, pairs: dict[int, int], ingress: int, lit: int) -> None:
    egress = pairs[ingress]
    tap = rig.receive[egress]
    launch.light(settings.wavelength_pm)
    own: int | None = None
    if lit in {ALL, ingress}:
        rig.crossconnect.only(pairs)
        rig.clock.sleep(settings.settle_ms / 1000)
        rows = launch.paths({ingress: egress})
        rig.record(ID, "signal", "udBm", PATH, rows, [tap])
        own = _number(rows[0][PATH.index("value")])
    rig.crossconnect.only({i: o for i, o in pairs.items() if i != ingress})
    rig.clock.sleep(settings.settle_ms / 1000)
    seen = _dark(rig, settings, launch, tap)
    rig.record(ID, "dark", "udBm", DARK, [(ingress, egress, lit, tap.label, *row) for row in seen], [tap])
    if lit == ALL and settings.search and own is not None and rig.has("hand"):
        values = [value for row in seen if (value := _number(row[0])) is not None]
        most = udb(sum(map(femtowatts, values)) // len(values), femtowatts(own)) if values else settings.high_udb
        if most > settings.high_udb:
            _search(rig, settings, launch, ingress, egress, tap)
    launch.light(settings.wavelength_pm)


def _number(cell: Cell) -> int | None:
    return cell if isinstance(cell, int) else None


def _dark(rig: Rig, settings: Settings, launch: Launch, tap: Tap) -> list[tuple[Cell, ...]]:
    """(value, below, source) at wavelengths a little apart."""
    found: list[tuple[Cell, ...]] = []
    for pm in wavelengths(settings.wavelength_pm, settings.samples, settings.dither_pm):
        launch.nudge(pm)
        read, source = launch.read([tap])
        found.append((read[tap.label], rig.below(tap), source))
    return found


def _search(rig: Rig, settings: Settings, launch: Launch, ingress: int, egress: int, tap: Tap) -> None:
    """Pull one cord after the other: the one whose light is missing then is where it came from."""
    for cord in _order(rig.launches, ingress):
        rig.patch(f"launch-{cord}", settings.terminator)
        try:
            rows = [(ingress, egress, cord, tap.label, *row) for row in _dark(rig, settings, launch, tap)]
            rig.record(ID, "pulled", "udBm", PULLED, rows, [tap])
        finally:
            # whatever happens, no later reading may miss this cord's light
            launch.home(cord)


def _order(cords: Sequence[int], last: int) -> list[int]:
    """All cords; the one that lights the path itself comes last."""
    return sorted(cords, key=lambda cord: (cord == last, cord))
