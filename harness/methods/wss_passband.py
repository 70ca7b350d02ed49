"""Measuring a passband: a laser stepped over the slot and beyond it, or a broad source through an analyser."""

from __future__ import annotations

from collections.abc import Sequence

from drivers.quantity import Metre, frequency
from harness.figures.slot import Slot, Way, exchanged
from harness.figures.wss_passband import GROUP, ID, Settings
from harness.methods.slot import PLUG_S, Cords, passing, read, witnesses
from harness.reading import Cell
from harness.rig import Rig, Tap

SWEEP = (*GROUP, "mhz", "tap", "value", "below", "source")
DARK_UDBM = -100_000_000
"""No analyser tells light below that."""


def wavelengths(settings: Settings, slot: Slot) -> list[int]:
    """Wavelengths of a sweep, pm, rising."""
    half = slot.width_mhz // 2 + settings.beyond_ppm * slot.width_mhz // 1_000_000
    first, last = exchanged(slot.centre_mhz + half), exchanged(slot.centre_mhz - half)
    return [*range(first, last, settings.step_pm), last]


def _plan(settings: Settings) -> dict[str, tuple[tuple[Way, ...], Slot]]:
    """Part of the work → the ways that light takes one after the other, and the slot."""
    plan: dict[str, tuple[tuple[Way, ...], Slot]] = {}
    for slot in settings.slots:
        for way in settings.ways:
            plan[f"{way.ingress} {way.egress} {slot.centre_mhz} {slot.width_mhz}"] = ((way,), slot)
        for each in settings.cascades:
            ways = (each.first, each.second)
            plan[f"{_via(ways)} {each.second.egress} {slot.centre_mhz} {slot.width_mhz}"] = (ways, slot)
    return plan


def _via(ways: Sequence[Way]) -> str:
    """How the cord between two passes lies: "deg-1 deg-2=deg-3"; empty for one pass."""
    return "" if len(ways) < 2 else f"{ways[0].egress}={ways[1].ingress}"


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s, without the laser's tuning."""
    total = 0.0
    for ways, slot in _plan(settings).values():
        steps = len(wavelengths(settings, slot)) if settings.by == "laser" else 1
        total += (settings.settle_ms + steps * settings.averaging_ms) / 1000 + 2 * PLUG_S * (len(ways) - 1)
    return total


def run(rig: Rig, settings: Settings) -> None:
    """Sweep every way, then every cascade. Raises BenchError without cords, and what the instruments raise."""
    rig.average(settings.averaging_ms)
    cords = Cords(rig, settings.ingress, settings.egress)
    plan = _plan(settings)
    for name in rig.parts(ID, list(plan)):
        ways, slot = plan[name]
        launch = cords.launch(ways[0].ingress)
        if len(ways) > 1:
            rig.patch(f"{rig.dut}:{ways[0].egress}", f"{rig.dut}:{ways[1].ingress}")
        at = (ways[0].ingress, ways[-1].egress, _via(ways), slot.centre_mhz, slot.width_mhz)
        tap = cords.tap(ways[-1].egress)
        with passing(rig, ID, settings, [([(way, slot) for way in ways], tap)]):
            if settings.by == "laser":
                _by_laser(rig, settings, at, tap, slot)
            else:
                _by_analyser(rig, settings, at, launch, slot, tap)
        if len(ways) > 1:
            cords.rejoin(ways[0].egress, ways[1].ingress)
    cords.home()


def _by_laser(rig: Rig, settings: Settings, at: tuple[Cell, ...], tap: Tap, slot: Slot) -> None:
    rows = []
    rig.light(slot.pm)
    laser, below = rig.source, rig.below(tap)
    for pm in wavelengths(settings, slot):
        laser.set_wavelength(Metre(pm * 1e-12))
        mhz = round(frequency(laser.wavelength()) / 1e6)
        value, source = read(rig, tap)
        rows.append((*at, mhz, tap.label, value, below, source))
    rig.record(ID, "sweep", "udBm", SWEEP, rows, [*witnesses(rig, tap), rig.roles["source"]])


def _by_analyser(rig: Rig, settings: Settings, at: tuple[Cell, ...], launch: int, slot: Slot, home: Tap) -> None:
    """The broad source's own spectrum from the launch cord, then what comes through."""
    name = rig.roles["analyser"]
    ingress, egress = str(at[0]), str(at[1])
    span = wavelengths(settings, slot)
    centre, width = Metre(slot.pm * 1e-12), Metre((span[-1] - span[0]) * 1e-12)
    rig.patch(f"launch-{launch}", f"{name}:in")
    before = rig.analyser.sweep(centre, width, Metre(settings.resolution_pm * 1e-12))
    rig.patch(f"launch-{launch}", f"{rig.dut}:{ingress}")
    rig.patch(f"{rig.dut}:{egress}", f"{name}:in")
    behind = rig.analyser.sweep(centre, width, Metre(settings.resolution_pm * 1e-12))
    # what the broad source gives by itself is taken off point by point, as a tap's reading would be
    rows = [
        (*at, round(frequency(Metre(where)) / 1e6), name, round(level * 1e6), DARK_UDBM, round(own * 1e6))
        for where, level, own in zip(behind.wavelengths_m, behind.powers_dbm, before.powers_dbm, strict=True)
    ]
    rig.record(ID, "sweep", "udBm", SWEEP, rows, [name])
    rig.patch(f"{rig.dut}:{egress}", home.label)
