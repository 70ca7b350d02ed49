"""Measuring wavelength-dependent loss: paths read at steps over the band, as their launch cords were."""

from __future__ import annotations

from harness.errors import BenchError
from harness.figures.wavelength import ID, Settings
from harness.methods import sweep
from harness.methods.launch import Launch
from harness.methods.lot import lots
from harness.rig import Rig


def seconds(rig: Rig, settings: Settings) -> float:
    """Time it will take, s, without the laser's tuning."""
    chosen = lots(rig, settings.lots, settings.seed)
    return sweep.seconds(rig, chosen, len(settings.wavelengths_pm), settings.averaging_ms, settings.settle_ms)


def run(rig: Rig, settings: Settings) -> None:
    """Tune, read, tune. Raises BenchError for a laser that cannot reach the band, and what the instruments raise."""
    low, high = (round(each * 1e12) for each in rig.source.range)
    if not low <= settings.first_pm <= settings.last_pm <= high:
        raise BenchError(
            f"a laser that tunes over {settings.first_pm / 1000:g} to {settings.last_pm / 1000:g} nm",
            f"{low / 1000:g} to {high / 1000:g} nm",
            "use another laser, or narrow the band in the profile's settings of wavelength",
        )
    chosen = lots(rig, settings.lots, settings.seed)
    points = settings.wavelengths_pm
    sweep.run(rig, ID, "pm", points, Launch.light, chosen, settings.averaging_ms, settings.settle_ms)
