"""Measuring polarisation-dependent loss: paths read at states spread over the sphere, as their launch cords were."""

from __future__ import annotations

from harness.figures.pdl import ID, Settings
from harness.methods import sweep
from harness.methods.launch import Launch
from harness.methods.lot import lots
from harness.rig import Rig


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s, without the polariser's own turning."""
    chosen = lots(rig, settings.lots, settings.seed)
    return sweep.seconds(rig, chosen, settings.states, settings.averaging_ms, settings.settle_ms)


def run(rig: Rig, settings: Settings) -> None:
    """Turn, read, turn. Raises BenchError without a polarisation controller, and what the instruments raise."""
    polariser = rig.polariser

    def turn(launch: Launch, state: int) -> None:
        launch.light(settings.wavelength_pm)
        polariser.set_state(state, settings.states)

    chosen = lots(rig, settings.lots, settings.seed)
    states = range(settings.states)
    sweep.run(rig, ID, "state", states, turn, chosen, settings.averaging_ms, settings.settle_ms)
