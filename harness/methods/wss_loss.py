"""Measuring the loss of a WSS-based cross-connect: each way blocked, made, and read."""

from __future__ import annotations

from harness.figures.slot import KEYS, Slot, Way
from harness.figures.wss_loss import ID, Settings
from harness.methods.slot import (
    Cords,
    cells,
    channel,
    listed,
    make,
    named,
    read,
    rose,
    standard_ways,
    unmake,
    witnesses,
)
from harness.rig import Rig

POWER = (*KEYS, "launch", "lit", "pm", "state", "try", "turn", "tap", "value", "below", "source")


def _plan(rig: Rig, settings: Settings) -> dict[str, tuple[Way, Slot, bool]]:
    """Part of the work → its way, its slot, and whether a channel is to be made for it."""
    ways = settings.ways or standard_ways(rig)
    plan = {named(way, slot): (way, slot, True) for slot in settings.slots for way in ways}
    return plan | {named(way, settings.slots[0]): (way, settings.slots[0], False) for way in settings.backplane}


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s, without what the gear or the person at it needs to make a channel."""
    return len(_plan(rig, settings)) * 2 * (settings.settle_ms + settings.averaging_ms) / 1000


def run(rig: Rig, settings: Settings) -> None:
    """Read every way blocked and open. Raises BenchError without cords, and what the instruments raise."""
    rig.average(settings.averaging_ms)
    cords = Cords(rig, settings.ingress, settings.egress)
    plan = _plan(rig, settings)
    for name in rig.parts(ID, list(plan)):
        way, slot, switched = plan[name]
        _one(rig, settings, cords, way, slot, switched=switched)
    cords.home()


def _one(rig: Rig, settings: Settings, cords: Cords, way: Way, slot: Slot, *, switched: bool) -> None:
    launch, tap = cords.launch(way.ingress), cords.tap(way.egress)
    rig.light(slot.pm)

    def look(state: str, number: int) -> int | None:
        rig.clock.sleep(settings.settle_ms / 1000)
        # darkness does not depend on polarisation as far as anybody asks
        turns = settings.polarisations if rig.has("polariser") and state == "open" else 1
        lit = len(rig.launches) if rig.together else 1
        seen = []
        for turn in range(turns):
            if turns > 1:
                rig.polariser.set_state(turn, turns)
            seen.append(read(rig, tap))
        rows = [
            (*cells(way, slot), launch, lit, slot.pm, state, number, turn, tap.label, value, rig.below(tap), source)
            for turn, (value, source) in enumerate(seen)
        ]
        rig.record(ID, "power", "udBm", POWER, rows, witnesses(rig, tap))
        return seen[0][0]

    if not switched:
        look("open", 1)
        return
    unmake(rig, way, slot)
    before = look("blocked", 1)
    for number in range(1, settings.tries + 1):
        make(rig, way, slot)
        said = listed(rig, channel(way, slot))
        value = look("open", number)
        if rose(before, rig.below(tap), value, settings.rise_udb):
            break
        rig.step("not-confirmed", named(way, slot), "the light did not rise when the channel was made")
        if number < settings.tries:
            unmake(rig, way, slot)
    rig.record(ID, "present", "count", (*KEYS, "value"), [(*cells(way, slot), int(said))], [rig.dut])
    unmake(rig, way, slot)
