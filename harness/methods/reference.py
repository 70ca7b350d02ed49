"""Taking the reference: each launch cord read by itself, again and again plugged."""

from __future__ import annotations

from typing import Final

from harness.errors import BenchError
from harness.figures.reference import ID, Settings
from harness.methods.launch import PLUG_S, Launch
from harness.rig import Rig, Tap

COLUMNS: Final = ("in", "plug", "pm", "tap", "value", "source")


def _cords(rig: Rig) -> list[int]:
    """With a coupler every launch cord; else there is one, which goes from port to port."""
    return sorted({Launch(rig).cord(port) for port in rig.launches})


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s."""
    read = settings.averaging_ms / 1000 * len(settings.wavelengths_pm)
    plugged = len(_cords(rig)) * (settings.plugs * (2 * PLUG_S + read) + PLUG_S)
    compared = (len(rig.receive) + 1) * (2 * PLUG_S + read) if settings.compare else 0.0
    return plugged + compared


def run(rig: Rig, settings: Settings) -> None:
    """Plug each launch cord into the reference channel ``plugs`` times; one cord into every channel.

    Raises BenchError without a reference channel, and what the instruments raise.
    """
    if rig.reference is None:
        raise BenchError("a reference channel", "none", "name one under [fixture] reference in the bench file")
    rig.average(settings.averaging_ms)
    place, launch = rig.reference, Launch(rig)
    cords = {f"cord {cord}": cord for cord in _cords(rig)}
    compared = {f"compare {tap.label}": (egress, tap) for egress, tap in rig.receive.items()}
    compared[f"compare {place.label}"] = (0, place)
    for part in rig.parts(ID, ["taken", *cords, *(compared if settings.compare else ())]):
        if part == "taken":
            rig.record(ID, "taken", "count", ("hours", "value"), [(settings.hours, settings.plugs)])
        elif part in cords:
            _taken(rig, settings, launch, cords[part], place)
        else:
            egress, tap = compared[part]
            first = next(iter(cords.values()))
            rig.patch(f"launch-{first}", tap.label)
            _read(rig, settings, launch, "compare", first, 0, tap)
            if egress:
                rig.patch(f"{rig.dut}:out-{egress}", tap.label)
            launch.home(first)


def _taken(rig: Rig, settings: Settings, launch: Launch, cord: int, place: Tap) -> None:
    for plug in range(settings.plugs):
        rig.clean(f"launch-{cord}")
        rig.patch(f"launch-{cord}", place.label)
        _read(rig, settings, launch, "power", cord, plug, place)
    launch.home(cord)


def _read(rig: Rig, settings: Settings, launch: Launch, kind: str, cord: int, plug: int, tap: Tap) -> None:
    for pm in settings.wavelengths_pm:
        launch.light(pm)
        read, source = launch.read([tap])
        rig.record(ID, kind, "udBm", COLUMNS, [(cord, plug, pm, tap.label, read[tap.label], source)], [tap])
        if kind == "power" and rig.source_monitor is not None:
            watch = rig.source_monitor
            rig.record(ID, "monitor", "udBm", ("in", "plug", "pm", "value"), [(cord, plug, pm, source)], [watch])
