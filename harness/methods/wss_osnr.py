"""Measuring an OSNR penalty: the analyser's spectrum of the carrier before the node, behind it, and without light."""

from __future__ import annotations

from drivers.capability import Spectrum
from drivers.quantity import Metre, frequency
from harness.figures.slot import KEYS, Slot, Way
from harness.figures.wss_osnr import ID, Settings
from harness.methods.slot import PLUG_S, Cords, cells, named, passing
from harness.rig import Rig

COLUMNS = (*KEYS, "place", "resolution", "mhz", "value")


def _plan(settings: Settings) -> dict[str, tuple[Way, Slot]]:
    return {named(way, slot): (way, slot) for slot in settings.slots for way in settings.ways}


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s, without the analyser's sweeps."""
    return len(_plan(settings)) * (settings.settle_ms / 1000 + 4 * PLUG_S)


def run(rig: Rig, settings: Settings) -> None:
    """Three spectra for every way. Raises BenchError without an analyser, and what the instruments raise."""
    cords = Cords(rig, settings.ingress, settings.egress)
    plan = _plan(settings)
    name = rig.roles.get("analyser", "")
    for part in rig.parts(ID, list(plan)):
        way, slot = plan[part]
        launch, tap = cords.launch(way.ingress), cords.tap(way.egress)
        rig.light(slot.pm)
        rig.patch(f"launch-{launch}", f"{name}:in")
        _keep(rig, settings, way, slot, "in")
        rig.patch(f"launch-{launch}", f"{rig.dut}:{way.ingress}")
        with passing(rig, ID, settings, [([(way, slot)], tap)]):
            rig.patch(f"{rig.dut}:{way.egress}", f"{name}:in")
            _keep(rig, settings, way, slot, "out")
        rig.dark()
        _keep(rig, settings, way, slot, "dark")
        rig.patch(f"{rig.dut}:{way.egress}", tap.label)
    cords.home()


def _keep(rig: Rig, settings: Settings, way: Way, slot: Slot, place: str) -> None:
    found: Spectrum = rig.analyser.sweep(
        Metre(slot.pm * 1e-12), Metre(settings.span_pm * 1e-12), Metre(settings.resolution_pm * 1e-12)
    )
    resolution = round(found.resolution_m * 1e12)
    rows = [
        (*cells(way, slot), place, resolution, round(frequency(Metre(at)) / 1e6), round(power * 1e6))
        for at, power in zip(found.wavelengths_m, found.powers_dbm, strict=True)
    ]
    rig.record(ID, "spectrum", "udBm", COLUMNS, rows, [rig.roles["analyser"]])
