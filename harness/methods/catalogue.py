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
    module.ID: Method(module.run, module.seconds)
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
"""By id of the procedure, see `harness.figures.catalogue`."""
