"""Measuring insertion loss: every path once, as many at a time as there are meters (a Latin square)."""

from __future__ import annotations

from collections.abc import Mapping

from harness.figures.insertion_loss import ID, Settings
from harness.methods.launch import PATH, PLUG_S, Launch
from harness.methods.lot import everything
from harness.rig import Rig


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s, without the cross-connect's own switching."""
    each = (settings.settle_ms + settings.averaging_ms * len(settings.wavelengths_pm)) / 1000
    moved = 0.0 if rig.together else PLUG_S * len(rig.launches)
    return (len(everything(rig)) + 1) * each + moved


def run(rig: Rig, settings: Settings) -> None:
    """Connect round after round; read all its paths together at every wavelength.

    With a coupler the first round is read once more at the end; where nothing watches the source, a cord too.

    Raises what the instruments raise.
    """
    rig.average(settings.averaging_ms)
    plan = everything(rig)
    launch = Launch(rig)
    parts: dict[str, tuple[str, Mapping[int, int]]] = {f"round {at}": ("power", each) for at, each in enumerate(plan)}
    if rig.together:
        # what all paths of the first round changed by since they were read is the source's doing: nobody plugged
        parts["closing"] = ("closing", plan[0])
    names = list(parts)
    if rig.source_monitor is None and rig.reference is not None:
        # nothing watches the source: a cord at the reference again tells what it did since the reference was taken
        names.append("closing cord")
    for part in rig.parts(ID, names):
        if part == "closing cord":
            _closing(rig, settings, launch)
            continue
        kind, pairs = parts[part]
        for ingress in pairs:
            launch.to(ingress)
        rig.crossconnect.only(dict(pairs))
        rig.clock.sleep(settings.settle_ms / 1000)
        for pm in settings.wavelengths_pm:
            launch.light(pm)
            found = [(*row, pm, part) for row in launch.paths(pairs)]
            taps = [rig.receive[egress] for egress in pairs.values()]
            rig.record(ID, kind, "udBm", (*PATH, "pm", "round"), found, taps)


def _closing(rig: Rig, settings: Settings, launch: Launch) -> None:
    place = rig.reference
    if place is None:
        return
    port = rig.launches[0]
    cord = launch.cord(port)
    rig.patch(f"launch-{cord}", place.label)
    for pm in settings.wavelengths_pm:
        launch.light(pm)
        read, source = launch.read([place])
        row = (cord, pm, place.label, read[place.label], source)
        rig.record(ID, "closing-cord", "udBm", ("cord", "pm", "tap", "value", "source"), [row], [place])
    launch.home(port)
