"""Latency: how long light takes through the device, between its ingress connector and the end of its egress cord."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field

from harness.budget import Budget, Component
from harness.figure import Derived, Figure, Finding
from harness.figures.row import rows
from harness.figures.setting import Count, Milliseconds, Picometres
from harness.figures.setting import Settings as _Settings
from harness.reading import Record, Unit

ID: Final = "latency"
TITLE_ZH: Final = "时延"
TITLE_EN: Final = "latency"
FIGURES: Final[Mapping[str, Unit]] = {"latency": "ps"}

Ps = Annotated[int, Field(ge=0, le=1_000_000_000_000)]


class Settings(_Settings):
    """Which paths, and what is known of the reflectometer."""

    wavelength_pm: Picometres = 1_550_000
    paths: Count = 2
    """How many paths: each needs a hand at the reflectometer's cord."""
    seed: Count = 8
    """Which ones."""
    reel: Annotated[str, Field(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,39})?$")] = ""
    """A reel between the reflectometer and the device: both ends of the device then stand in one trace, far from the
    reflectometer's own connector. Empty: the reflectometer's zero is the ingress connector."""
    reel_ps: Ps = 0
    """Its time of flight, one way."""
    match_ps: Ps = 20_000
    """The ingress connector is the event nearest to the reel's end, not farther from it than this."""
    cord_ps: Ps = 0
    """Time of flight of the egress cord up to its far end, where the trace ends; taken off."""
    cord_half_ps: Ps = 1_000
    span_m: Count = 5_000
    pulse_ns: Count = 5
    averaging_ms: Milliseconds = 10_000
    settle_ms: Milliseconds = 100
    event_ps: Ps = 2_000
    """Half-width of an event's place by the reflectometer's fit: 0.4 m there and back."""
    offset_ps: Ps = 5_000
    """Half-width of its zero, where no reel is used: 1 m."""
    timebase_ppm: Annotated[int, Field(ge=0, le=10_000)] = 50
    long_ps: Ps = 100_000
    """A path that certainly takes longer is named."""


def derive(record: Record, settings: Settings) -> Derived:
    """Time of flight from the ingress connector to the end of each trace."""
    events: dict[tuple[int, int], list[dict[str, Any]]] = {}
    for row in rows(record, ID, "event", whole=("in", "out", "number", "value"), text=("code",)):
        events.setdefault((row["in"], row["out"]), []).append(row)
    figures, findings = [], []
    for row in rows(record, ID, "trace", whole=("in", "out", "sampling_ps")):
        ingress, egress = row["in"], row["out"]
        figure = _one(events.get((ingress, egress), []), max(0, row["sampling_ps"]), settings, ingress, egress)
        figures.append(figure)
        if figure.value is not None and figure.value - figure.budget.expanded > settings.long_ps:
            zh, en = (
                f"穿过设备用时 {figure.value / 1000:.1f} ns",
                f"light takes {figure.value / 1000:.1f} ns through it",
            )
            findings.append(Finding("long-path", f"in {ingress} out {egress}", zh, en))
    return Derived(figures={"latency": tuple(figures)}, findings=tuple(findings))


def _one(events: Sequence[Mapping[str, Any]], sampling: int, settings: Settings, ingress: int, egress: int) -> Figure:
    key = (("in", ingress), ("out", egress))
    ends = [event["value"] for event in events if event["code"][1:2] == "E"]
    if not ends:
        return Figure(key, None, Budget(()), why="the trace has no end")
    near = 0
    if settings.reel:
        close = [event["value"] for event in events if abs(event["value"] - settings.reel_ps) <= settings.match_ps]
        if not close:
            return Figure(key, None, Budget(()), why="no event where the reel ends")
        near = min(close, key=lambda at: abs(at - settings.reel_ps))
    end = max(ends)
    if end <= near:
        return Figure(key, None, Budget(()), why="the trace ends at the ingress connector: no light through the device")
    value = end - near - settings.cord_ps
    unconfirmed = "profile, unconfirmed"
    clock = -(-(end - near) * settings.timebase_ppm // 1_000_000)
    zero = (
        Component("进端事件定位", "place of the ingress event", settings.event_ps, "rectangular", unconfirmed)
        if settings.reel
        else Component("反射仪零点", "the reflectometer's zero", settings.offset_ps, "rectangular", unconfirmed)
    )
    parts = (
        zero,
        Component("末端事件定位", "place of the end", settings.event_ps, "rectangular", unconfirmed),
        Component("采样间隔", "the trace's own steps, both ends", sampling, "rectangular", "the trace"),
        Component("时基", "the reflectometer's time base", clock, "rectangular", unconfirmed),
        Component("出端跳纤", "the egress cord", settings.cord_half_ps, "rectangular", unconfirmed),
    )
    return Figure(key, value, Budget(parts))
