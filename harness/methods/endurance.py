"""Cycling connections: made, taken apart, made again, with all their paths read from time to time."""

from __future__ import annotations

from harness.figures.endurance import ID, Settings
from harness.methods.launch import PATH, PLUG_S, Launch
from harness.methods.lot import elsewhere, lots
from harness.rig import Rig


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s, without the cross-connect's own switching."""
    count = len(lots(rig, 1, settings.seed))
    checks = len(settings.checks) * (settings.settle_ms + settings.averaging_ms) / 1000
    moved = 0.0 if rig.together else PLUG_S * len(settings.checks)
    return count * (checks + moved + 2 * settings.cycles * settings.pause_ms / 1000)


def run(rig: Rig, settings: Settings) -> None:
    """Cycle from one check to the next; each check is a part, so that an interrupted run goes on from the last.

    Raises what the instruments raise.
    """
    rig.average(settings.averaging_ms)
    launch, device = Launch(rig), rig.crossconnect
    plan = [
        (number, pairs, before, check)
        for number, pairs in enumerate(lots(rig, 1, settings.seed))
        for before, check in zip([0, *settings.checks], settings.checks, strict=False)
    ]
    parts = {f"lot {number} check {check}": (pairs, check - before) for number, pairs, before, check in plan}
    for part in rig.parts(ID, list(parts)):
        pairs, cycles = parts[part]
        for ingress in pairs:
            launch.to(ingress)
        launch.light(settings.wavelength_pm)
        other = elsewhere(rig, pairs)
        for _ in range(cycles):
            device.only(other)
            rig.clock.sleep(settings.pause_ms / 1000)
            device.only(pairs)
            rig.clock.sleep(settings.pause_ms / 1000)
        device.only(pairs)
        rig.clock.sleep(settings.settle_ms / 1000)
        check = int(part.split()[-1])
        found = [(*row, check) for row in launch.paths(pairs)]
        rig.record(ID, "check", "udBm", (*PATH, "cycles"), found, [rig.receive[o] for o in pairs.values()])
