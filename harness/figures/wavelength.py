"""Wavelength-dependent loss: how a path's loss depends on the wavelength (IEC 61300-3-7)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import Field

from harness.budget import Component
from harness.figure import Derived, Figure, Finding
from harness.figures import source, sweep
from harness.figures.meter import Meters
from harness.figures.setting import Count, MicroDB, Milliseconds, Picometres
from harness.figures.source import Watched
from harness.reading import Record, Unit

ID: Final = "wavelength"
TITLE_ZH: Final = "波长相关损耗"
TITLE_EN: Final = "wavelength-dependent loss"
FIGURES: Final[Mapping[str, Unit]] = {"wdl": "udB"}


class Settings(Watched):
    """Which paths, over which band."""

    first_pm: Picometres = 1_530_000
    last_pm: Picometres = 1_565_000
    step_pm: Annotated[int, Field(ge=1, le=500_000)] = 2_500
    lots: Count = 1
    """How many rounds of the Latin square are looked at; one has every port in it."""
    seed: Count = 3
    """Which rounds."""
    averaging_ms: Milliseconds = 20
    settle_ms: Milliseconds = 100
    response_udb: MicroDB = 10_000
    """Half-width by which two channels' dependence on wavelength may differ over the band; no data sheet tells."""
    pdl_udb: MicroDB = 50_000
    """Half-width of what the fibres' turning of the polarisation with wavelength adds, by the path's own dependence on
    it."""
    high_udb: MicroDB = 500_000
    """A path certainly worse than that is named."""

    @property
    def wavelengths_pm(self) -> list[int]:
        """Rising; the band's last one is always among them."""
        return sorted({*range(self.first_pm, self.last_pm, self.step_pm), self.last_pm})


def derive(record: Record, settings: Settings) -> Derived:
    """Largest less smallest loss over the band, for each path; those that are high by name."""
    bench = Meters(record)
    found = sweep.sweeps(record, ID, "pm", settings, settings.averaging_ms, bench)
    doubts = source.drift(sweep.drift(record, ID, "pm", settings), settings)
    drifts = {each.name for each in doubts if each.red}
    unconfirmed = "profile, unconfirmed"
    more = [
        Component(
            "通道波长响应", "channels' response to wavelength", settings.response_udb, "rectangular", unconfirmed
        ),
        Component(
            "偏振随波长变化", "polarisation turning with wavelength", settings.pdl_udb, "rectangular", unconfirmed
        ),
    ]
    figures = []
    for each in found:
        figure = sweep.width(each, more)
        doubted = tuple(sorted({*figure.doubts, *drifts}))
        figures.append(Figure(figure.key, figure.value, figure.budget, figure.side, figure.why, doubted))
    findings = [
        Finding(
            "high-wdl",
            each.where,
            f"该路径在波段内损耗变化 {figure.value / 1e6:.2f} dB",
            f"this path's loss changes by {figure.value / 1e6:.2f} dB over the band",
        )
        for each, figure in zip(found, figures, strict=True)
        if figure.value is not None and figure.value - figure.budget.expanded > settings.high_udb
    ]
    step = f"read every {settings.step_pm / 1000:g} nm: what changes between two steps is not seen"
    return Derived(
        figures={"wdl": tuple(figures)},
        doubts=(*doubts, *bench.doubts),
        findings=tuple(findings),
        notes=(*bench.notes, step) if found else bench.notes,
        tables=sweep.curves(found, "band", "pm"),
    )
