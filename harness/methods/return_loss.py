"""Measuring return loss: each launch cord at a known reflection, at none, and at its ingress port."""

from __future__ import annotations

from harness.errors import BenchError
from harness.figures.return_loss import ID, Settings
from harness.methods.launch import PLUG_S, Launch, wavelengths
from harness.methods.lot import shuffled
from harness.reading import Cell
from harness.rig import Rig, Tap

COLUMNS = ("in", "state", "tap", "value", "below", "source")


def _ports(rig: Rig, settings: Settings) -> list[int]:
    """All ingress ports, or as many as the settings allow, chosen by the seed."""
    chosen = shuffled(len(rig.launches), settings.seed)[: settings.ports]
    return [rig.launches[at] for at in sorted(chosen)]


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s."""
    each = PLUG_S + (settings.settle_ms + settings.samples * settings.averaging_ms) / 1000
    return len(_ports(rig, settings)) * 3 * each


def run(rig: Rig, settings: Settings) -> None:
    """Everything disconnected; three states for every port, all other cords standing as they are.

    With a coupler the other cords reflect as well, the same in all three states: the differences speak of one alone.
    Raises BenchError when nothing sees the light that comes back, and what the instruments raise.
    """
    tap = rig.monitor
    if tap is None:
        raise BenchError(
            "a channel that sees light come back", "none", "wire the launch tap's other arm and name it monitor"
        )
    rig.average(settings.averaging_ms)
    launch = Launch(rig)
    for part in rig.parts(ID, [f"port {port}" for port in _ports(rig, settings)]):
        port = int(part.split()[1])
        cord = f"launch-{launch.cord(port)}"
        rig.crossconnect.clear()
        launch.light(settings.wavelength_pm)
        for state, place in (("reflector", settings.reflector), ("terminator", settings.terminator)):
            rig.patch(cord, place)
            _back(rig, settings, launch, port, state, tap)
        launch.home(port)
        _back(rig, settings, launch, port, "port", tap)


def _back(rig: Rig, settings: Settings, launch: Launch, port: int, state: str, tap: Tap) -> None:
    rig.clock.sleep(settings.settle_ms / 1000)
    found: list[tuple[Cell, ...]] = []
    for pm in wavelengths(settings.wavelength_pm, settings.samples, settings.dither_pm):
        launch.nudge(pm)
        read, source = launch.read([tap])
        found.append((port, state, tap.label, read[tap.label], rig.below(tap), source))
    rig.record(ID, "back", "udBm", COLUMNS, found, [tap])
