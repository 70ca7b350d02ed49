"""The procedures there are: what each is set by, what figures it gives, how they follow from its readings."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic import BaseModel

from harness.figure import Derived
from harness.figures import (
    crosstalk,
    endurance,
    hitless,
    insertion_loss,
    latency,
    path,
    pdl,
    persistence,
    protection,
    reconcile,
    reference,
    repeatability,
    return_loss,
    switching,
    wavelength,
    wss_card,
    wss_loss,
    wss_osnr,
    wss_passband,
    wss_restoration,
)
from harness.reading import Record, Unit


@dataclass(frozen=True, slots=True)
class Procedure:
    """One procedure of an acceptance."""

    settings: type[BaseModel]
    figures: Mapping[str, Unit]
    """Name of each figure it gives → its unit."""
    derive: Callable[[Record, Any], Derived]
    """(record, settings) → what the readings come to; pure."""
    title_zh: str
    title_en: str


PROCEDURES: Final[Mapping[str, Procedure]] = {
    module.ID: Procedure(module.Settings, module.FIGURES, module.derive, module.TITLE_ZH, module.TITLE_EN)
    for module in (
        reference,
        insertion_loss,
        repeatability,
        pdl,
        wavelength,
        crosstalk,
        return_loss,
        switching,
        hitless,
        latency,
        persistence,
        endurance,
        protection,
        wss_loss,
        wss_passband,
        wss_osnr,
        wss_card,
        wss_restoration,
        path,
        reconcile,
    )
}
"""In the order in which they are done."""
