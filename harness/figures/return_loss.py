"""Return loss: how much light each ingress port sends back, against a known reflection (IEC 61300-3-6, OCWR)."""

from __future__ import annotations

from collections.abc import Mapping
from math import log10
from typing import Annotated, Any, Final

from pydantic import Field

from harness.budget import Budget, Component
from harness.figure import Derived, Figure, Finding
from harness.figures import meter as meters
from harness.figures import reference, source
from harness.figures.meter import Meters
from harness.figures.power import Level, less, level, relative_udb, udb
from harness.figures.row import rows
from harness.figures.setting import Count, MicroDB, Milliseconds, Picometres
from harness.figures.source import Watched
from harness.reading import Record, Unit

ID: Final = "return-loss"
TITLE_ZH: Final = "回波损耗"
TITLE_EN: Final = "return loss"
FIGURES: Final[Mapping[str, Unit]] = {"return-loss": "udB"}
STATES: Final = ("reflector", "terminator", "port")
"""Where a launch cord is plugged, one after the other."""

Place = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:-]{0,59}$")]


class Settings(Watched):
    """The known reflection, the known absence of one, and how they are read."""

    wavelength_pm: Picometres = 1_550_000
    reflector: Place = "reflector"
    """Where a launch cord meets the known reflection."""
    reflector_udb: MicroDB = 14_600_000
    """Its return loss: a straight glass end in air, (n-1)²/(n+1)² with n = 1.46."""
    reflector_half_udb: MicroDB = 400_000
    """Half-width of what is not known of that."""
    terminator: Place = "terminator"
    """Where a launch cord meets no reflection."""
    terminator_udb: MicroDB = 58_000_000
    """Least return loss there, its connector included: as much may have been taken off from a port's light too much."""
    samples: Annotated[int, Field(ge=2, le=1000)] = 10
    """Readings at wavelengths a little apart: reflections of one laser interfere."""
    dither_pm: Annotated[int, Field(ge=1, le=10_000)] = 20
    averaging_ms: Milliseconds = 100
    settle_ms: Milliseconds = 100
    plug_udb: MicroDB = 200_000
    """Half-width of one plugging, where no cord was plugged twice."""
    ports: Count = 1_000
    """At most so many ingress ports, chosen by the seed; fewer than there are is a sample."""
    seed: Count = 5
    low_udb: MicroDB = 40_000_000
    """A port certainly below that is named."""


def derive(record: Record, settings: Settings) -> Derived:
    """Return loss of each ingress port = reflector's + ratio of what came back from both, the rest taken off."""
    bench = Meters(record)
    read: dict[int, dict[str, list[dict[str, Any]]]] = {}
    every = []
    for row in rows(record, ID, "back", whole=("in", "below"), maybe=("value", "source"), text=("tap", "state")):
        read.setdefault(row["in"], {}).setdefault(row["state"], []).append(row)
        every.append(row)
    doubts = source.drift(((settings.wavelength_pm, row["source"]) for row in every), settings)
    drifts = tuple(each.name for each in doubts if each.red)
    figures, findings = [], []
    for port, states in read.items():
        key = (("in", port),)
        if any(state not in states for state in STATES):
            figures.append(Figure(key, None, Budget(()), why="reflector, terminator and port were not all read"))
            continue
        meter, red = bench.of(states["port"][-1])
        doubted = tuple(sorted({*red, *drifts}))
        seen = {state: level(states[state], meter, settings.averaging_ms) for state in STATES}
        known, own = (less(seen[state], seen["terminator"]) for state in ("reflector", "port"))
        if known.bounded or any(row["value"] is None for row in states["reflector"]):
            why = "the known reflection could not be told from none: is it plugged, is the tap's meter wired?"
            figures.append(Figure(key, None, Budget(()), why=why, doubts=doubted))
            continue
        seen_udb = settings.reflector_udb + udb(known.fw, own.fw)
        most = _rest(settings, seen_udb)
        # half of what the terminator may have sent back is put to the port's account, the other half left open
        value = seen_udb - most // 2
        watched = source.watched([row for found in states.values() for row in found])
        budget = Budget((*_parts(record, settings, meter, known, own, watched=watched), _open(most)))
        figure = Figure(key, value, budget, "at-least" if own.bounded else "", doubts=doubted)
        figures.append(figure)
        if not own.bounded and value + budget.expanded < settings.low_udb:
            findings.append(
                Finding(
                    "low-return-loss",
                    f"in {port}",
                    f"该端口回波损耗仅 {value / 1e6:.1f} dB：清洁并检查端面与准直器",
                    f"this port's return loss is only {value / 1e6:.1f} dB: clean it, inspect its face and collimator",
                )
            )
    notes = ("an ingress port connected to nothing, with the connector that its launch cord is plugged into",)
    return Derived(
        figures={"return-loss": tuple(figures)},
        doubts=(*doubts, *bench.doubts),
        findings=tuple(findings),
        notes=(*bench.notes, *(notes if figures else ())),
    )


def _parts(
    record: Record, settings: Settings, meter: Any, known: Level, own: Level, *, watched: bool
) -> tuple[Component, ...]:
    origin = f"{own.nu + 1} readings each; {meters.origin(meter)}"
    return (
        Component(
            "已知反射", "the known reflection", settings.reflector_half_udb, "rectangular", "profile, unconfirmed"
        ),
        Component("反射读数分散", "scatter at the reflector", relative_udb(known), "normal", origin, nu=known.nu),
        Component(
            "端口读数分散",
            "scatter at the port, less the terminator",
            relative_udb(own),
            "normal",
            origin,
            nu=own.nu,
        ),
        # what comes back passes the cord's connector twice
        reference.plugs(record, 2000, settings.plug_udb),
        meters.linearity(meter),
        meters.polarisation(meter, whole=True),
        source.component(settings, watched=watched),
    )


def _rest(settings: Settings, seen_udb: int) -> int:
    """By how much a port's return loss was seen too large if the terminator sends back all that it may, µdB."""
    share = 10 ** (min(seen_udb - settings.terminator_udb, 200_000_000) / 1e7)
    return round(10 * log10(1 + share) * 1e6)


def _open(most: int) -> Component:
    half = most - most // 2
    return Component("终端残余反射", "what the terminator sends back", half, "rectangular", "profile; half taken off")
