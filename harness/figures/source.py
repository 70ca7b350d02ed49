"""The Source: what its tap saw of its power while a path was read, to be taken off."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from harness.budget import Component
from harness.figure import Doubt
from harness.figures.setting import MicroDB
from harness.figures.setting import Settings as _Settings


class Watched(_Settings):
    """What is known of the source."""

    drift_udb: MicroDB = 30_000
    """Largest change of the source that is believed to be corrected by its tap."""
    tap_udb: MicroDB = 5_000
    """Half-width of what the tap tells wrong of a change: its share, its polarisation, its meter."""
    unwatched_udb: MicroDB = 50_000
    """Half-width of the source's change between two readings where no tap watches it; its data sheet was not seen."""


def level(row: Mapping[str, Any]) -> int | None:
    """A reading less what the source's tap saw at the same time; as read where none watches; None: no reading."""
    value: int | None = row["value"]
    return None if value is None else value - (row["source"] or 0)


def bound(row: Mapping[str, Any]) -> int:
    """What a reading that is None is certainly below, less what the source's tap saw."""
    below: int = row["below"]
    return below - (row["source"] or 0)


def component(settings: Watched, *, watched: bool) -> Component:
    """What the source may have done between two readings."""
    if watched:
        origin = "profile, unconfirmed: the source's tap corrects for its changes"
        return Component("光源监测分路", "tap that watches the source", settings.tap_udb, "rectangular", origin)
    origin = "profile, unconfirmed: no tap watches the source"
    return Component("光源漂移", "change of the source", settings.unwatched_udb, "rectangular", origin)


def drift(readings: Iterable[tuple[int, int | None]], settings: Watched) -> list[Doubt]:
    """The doubt about a source that changed, of (wavelength in pm, what its tap saw); none where no tap watches."""
    seen: dict[int, list[int]] = {}
    for pm, value in readings:
        if value is not None:
            seen.setdefault(pm, []).append(value)
    if not seen:
        return []
    worst = max(max(values) - min(values) for values in seen.values())
    return [moved(worst, settings)]


def moved(worst: int, settings: Watched) -> Doubt:
    """The doubt about a source whose power changed by so many µdB."""
    return Doubt(
        "source-drift",
        "",
        worst > settings.drift_udb,
        f"the source changed by {worst / 1e6:.3f} dB",
        f"within {settings.drift_udb / 1e6:.3f} dB",
        "让光源预热稳定，重新做参考后再测",
        "let the source settle, take the reference again, then measure",
    )


def watched(rows: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a tap told of the source in every one of the rows."""
    return all(row["source"] is not None for row in rows)
