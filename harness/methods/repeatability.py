"""Measuring repeatability: paths read, taken apart, made elsewhere, and made again."""

from __future__ import annotations

from harness.figures.repeatability import ID, Settings
from harness.methods.launch import PATH, PLUG_S, Launch
from harness.methods.lot import elsewhere, lots, named
from harness.rig import Rig


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s, without the cross-connect's own switching."""
    count = len(lots(rig, settings.lots, settings.seed))
    return count * (
        (0.0 if rig.together else PLUG_S) + settings.repeats * (settings.settle_ms + settings.averaging_ms) / 1000
    )


def run(rig: Rig, settings: Settings) -> None:
    """Each lot ``repeats`` times made from elsewhere and read. Raises what the instruments raise."""
    rig.average(settings.averaging_ms)
    launch, device = Launch(rig), rig.crossconnect
    plan = {
        f"lot {number} {named(pairs)}": pairs for number, pairs in enumerate(lots(rig, settings.lots, settings.seed))
    }
    for part in rig.parts(ID, list(plan)):
        pairs = plan[part]
        for ingress in pairs:
            launch.to(ingress)
        launch.light(settings.wavelength_pm)
        for repeat in range(1, settings.repeats + 1):
            device.only(elsewhere(rig, pairs))
            device.only(pairs)
            rig.clock.sleep(settings.settle_ms / 1000)
            found = [(*row, repeat) for row in launch.paths(pairs)]
            taps = [rig.receive[egress] for egress in pairs.values()]
            rig.record(ID, "power", "udBm", (*PATH, "repeat"), found, taps)
