"""Swapping a card for its spare: every channel read before, when the spare is up, and when what it forgot was made."""

from __future__ import annotations

from harness.figures.slot import KEYS, Slot, Way
from harness.figures.wss_card import ID, Settings
from harness.methods.slot import PLUG_S, Cords, cells, make, named, passing, read, unmake, witnesses
from harness.rig import Rig, Tap

POWER = ("card", *KEYS, "stage", "tap", "value", "below", "source")


def _plan(settings: Settings) -> list[tuple[Way, Slot]]:
    return [(way, slot) for slot in settings.slots for way in settings.ways]


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s."""
    read = len(_plan(settings)) * (settings.settle_ms + settings.averaging_ms) / 1000
    return len(settings.cards) * (3 * read + settings.start_ms / 1000 + PLUG_S)


def run(rig: Rig, settings: Settings) -> None:
    """Swap one card after the other. Raises BenchError without a hand, and what the instruments raise."""
    rig.average(settings.averaging_ms)
    cords = Cords(rig, settings.ingress, settings.egress)
    plan = _plan(settings)
    for name in rig.parts(ID, [f"card {card}" for card in settings.cards]):
        card = name.removeprefix("card ")
        with passing(rig, ID, settings, [([at], _lit(cords, at[0])) for at in plan]):
            _swap(rig, settings, cords, card)
    cords.home()


def _lit(cords: Cords, way: Way) -> Tap:
    """Where a way is read, with a cord at its other end."""
    cords.launch(way.ingress)
    return cords.tap(way.egress)


def _swap(rig: Rig, settings: Settings, cords: Cords, card: str) -> None:
    plan = _plan(settings)
    before = _read_all(rig, settings, cords, card, "before")
    rig.hand.swap_card(rig.dut, card)
    rig.step("swap", f"{rig.dut} {card}", "the spare is in")
    rig.clock.sleep(settings.start_ms / 1000)
    _read_all(rig, settings, cords, card, "itself")
    for way, slot in plan:
        make(rig, way, slot)
    after = _read_all(rig, settings, cords, card, "after")
    for _ in range(settings.tries - 1):
        dark = [at for at in plan if fell(settings, before[named(*at)], after[named(*at)])]
        if not dark:
            break
        for way, slot in dark:
            rig.step("not-confirmed", named(way, slot), f"dark after the swap of {card}")
            unmake(rig, way, slot)
            make(rig, way, slot)
        after = _read_all(rig, settings, cords, card, "after")


def fell(settings: Settings, before: int | None, after: int | None) -> bool:
    """Whether a channel that had light has none any more."""
    return before is not None and (after is None or after < before - settings.lost_udb)


def _read_all(rig: Rig, settings: Settings, cords: Cords, card: str, stage: str) -> dict[str, int | None]:
    """Read every channel; its power by its name."""
    found = {}
    for way, slot in _plan(settings):
        tap = _lit(cords, way)
        rig.light(slot.pm)
        rig.clock.sleep(settings.settle_ms / 1000)
        value, source = read(rig, tap)
        row = (card, *cells(way, slot), stage, tap.label, value, rig.below(tap), source)
        rig.record(ID, "power", "udBm", POWER, [row], witnesses(rig, tap))
        found[named(way, slot)] = value
    return found
