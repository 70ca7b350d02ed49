"""Polarisation-dependent loss: how a path's loss depends on the light's polarisation (IEC 61300-3-2, all states)."""

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

ID: Final = "pdl"
TITLE_ZH: Final = "偏振相关损耗"
TITLE_EN: Final = "polarisation-dependent loss"
FIGURES: Final[Mapping[str, Unit]] = {"pdl": "udB"}
COVER_MILLI: Final = 3_300
"""Of n states spread evenly over the sphere, a direction and its opposite are missed by at most 3.3/n of the whole:
largest shortfall of 1 - (max - min)/2 over all directions, reckoned for 8 to 200 states of a spiral; the six poles and
other even spreads of that many fall short by less."""


class Settings(Watched):
    """Which paths, and how many states."""

    wavelength_pm: Picometres = 1_550_000
    states: Annotated[int, Field(ge=8, le=10_000)] = 48
    lots: Count = 1
    """How many rounds of the Latin square are looked at; one has every port in it."""
    seed: Count = 2
    """Which rounds."""
    averaging_ms: Milliseconds = 20
    settle_ms: Milliseconds = 100
    high_udb: MicroDB = 400_000
    """A path certainly worse than that is named."""


def derive(record: Record, settings: Settings) -> Derived:
    """Largest less smallest loss over all states, for each path; those that are high by name."""
    bench = Meters(record)
    found = sweep.sweeps(record, ID, "state", settings, settings.averaging_ms, bench)
    doubts = source.drift(sweep.drift(record, ID, "state", settings), settings)
    drifts = tuple(each.name for each in doubts if each.red)
    response = _response(record)
    figures = []
    for each in found:
        figure = sweep.width(each, response)
        figures.append(_completed(figure, len(each.points), drifts))
    findings = [
        Finding(
            "high-pdl",
            each.where,
            f"该路径偏振相关损耗 {figure.value / 1e6:.2f} dB：检查准直与镜面",
            f"this path's loss depends on polarisation by {figure.value / 1e6:.2f} dB: look at its alignment",
        )
        for each, figure in zip(found, figures, strict=True)
        if figure.value is not None and figure.value - figure.budget.expanded > settings.high_udb
    ]
    return Derived(
        figures={"pdl": tuple(figures)},
        doubts=(*doubts, *bench.doubts),
        findings=tuple(findings),
        notes=bench.notes,
        tables=sweep.curves(found, "states", "state"),
    )


def _response(record: Record) -> list[Component]:
    """Both channels' own response: each adds at most its own peak to peak, in whatever direction it lies."""
    full = max((each.spec.get("polarisation_udb", 0) for each in record.instruments.values()), default=0)
    return [
        Component(zh, en, full, "rectangular", "data sheet of the meter, peak to peak")
        for zh, en in (
            ("参考端功率计偏振响应", "response of the meter at the reference"),
            ("出端功率计偏振响应", "response of the meter at the egress"),
        )
    ]


def _completed(figure: Figure, states: int, drifts: tuple[str, ...]) -> Figure:
    """Half of what lies between the states is added, the other half left open."""
    doubts = tuple(sorted({*figure.doubts, *drifts}))
    if figure.value is None:
        return Figure(figure.key, None, figure.budget, why=figure.why, doubts=doubts)
    thousandths = states * 1000
    share = max(0, figure.value) * COVER_MILLI
    missed = -(-share // (thousandths - COVER_MILLI)) if thousandths > COVER_MILLI else figure.value
    half = -(-missed // 2)
    origin = f"{states} states of the sphere; half of it is added"
    between = Component("偏振态取样不足", "between the states", half, "rectangular", origin)
    budget = type(figure.budget)((*figure.budget.components, between))
    return Figure(figure.key, figure.value + half, budget, doubts=doubts)
