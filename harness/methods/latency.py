"""Measuring latency: a reflectometer at an ingress port sees the device from its connector to the end behind it."""

from __future__ import annotations

from drivers.quantity import Metre, Second
from harness.figures.latency import ID, Settings
from harness.methods.launch import PLUG_S, Launch
from harness.methods.lot import lots, shuffled
from harness.methods.path import parsed
from harness.rig import Rig

TRACE = ("in", "out", "sampling_ps", "index_ppm", "serial", "value")
EVENT = ("in", "out", "number", "code", "loss", "reflectance", "slope", "value")


def _paths(rig: Rig, settings: Settings) -> list[tuple[int, int]]:
    every = [pair for pairs in lots(rig, 1, settings.seed) for pair in pairs.items()]
    return sorted(every[at] for at in shuffled(len(every), settings.seed)[: settings.paths])


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s."""
    each = 3 * PLUG_S + (settings.settle_ms + settings.averaging_ms) / 1000
    return len(_paths(rig, settings)) * each


def run(rig: Rig, settings: Settings) -> None:
    """The laser off, the reflectometer in the launch cord's place. Raises BenchError without a reflectometer."""
    otdr = rig.otdr
    port = f"{rig.roles['otdr']}:out"
    launch = Launch(rig)
    for part in rig.parts(ID, [f"path {i}-{o}" for i, o in _paths(rig, settings)]):
        ingress, egress = (int(each) for each in part.split()[1].split("-"))
        if rig.has("source"):
            rig.dark()
        rig.crossconnect.only({ingress: egress})
        place = f"{rig.dut}:in-{ingress}"
        if settings.reel:
            rig.patch(port, f"{settings.reel}:a")
            rig.patch(f"{settings.reel}:b", place)
        else:
            rig.patch(port, place)
        rig.clock.sleep(settings.settle_ms / 1000)
        found = otdr.trace(
            Metre(settings.wavelength_pm * 1e-12),
            Metre(float(settings.span_m)),
            Second(settings.pulse_ns * 1e-9),
            Second(settings.averaging_ms / 1000),
        )
        name = f"{ID}-{ingress}-{egress}-{rig.utc_ns()}.sor"
        rig.keep(name, found)
        head, events = parsed(found)
        index, sampling, serial = head[2], head[3], head[5]
        by = [rig.roles["otdr"]]
        rig.record(
            ID, "trace", "count", TRACE, [(ingress, egress, sampling, index, serial, len(events))], by, trace=name
        )
        rig.record(ID, "event", "ps", EVENT, [(ingress, egress, *each) for each in events], by, trace=name)
        launch.home(ingress)
