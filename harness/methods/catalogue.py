"""The methods there are: how each procedure's readings are taken, with how long that takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.methods import (
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
from harness.rig import Rig


@dataclass(frozen=True, slots=True)
class Method:
    """One procedure as it is carried out."""

    run: Callable[[Rig, Any], None]
    """(rig, settings): takes the readings into the journal."""
    seconds: Callable[[Rig, Any], float]
    """(rig, settings) → how long that takes, s, as far as the settings say."""


METHODS: Final[Mapping[str, Method]] = {
    figures_id: Method(module.run, module.seconds)
    for figures_id, module in (
        ("reference", reference),
        ("insertion-loss", insertion_loss),
        ("repeatability", repeatability),
        ("pdl", pdl),
        ("wavelength", wavelength),
        ("crosstalk", crosstalk),
        ("return-loss", return_loss),
        ("switching", switching),
        ("hitless", hitless),
        ("latency", latency),
        ("persistence", persistence),
        ("endurance", endurance),
        ("protection", protection),
        ("wss-loss", wss_loss),
        ("wss-passband", wss_passband),
        ("wss-osnr", wss_osnr),
        ("wss-card", wss_card),
        ("wss-restoration", wss_restoration),
        ("path", path),
        ("reconcile", reconcile),
    )
}
"""By id of the procedure, see `harness.figures.catalogue`."""
