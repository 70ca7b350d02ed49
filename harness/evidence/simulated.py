"""What the clock of a simulated site claims of itself, true or not."""

from __future__ import annotations

import json
from typing import Protocol

from harness.clock import ClockState


class Claims(Protocol):
    """The claims of a simulated clock; its true error is none of our business here."""

    @property
    def claimed_bound_ns(self) -> int | None:
        """Half-width within which the clock says it is; None: it does not say."""

    @property
    def claimed_synchronised(self) -> bool | None:
        """Whether it says it is synchronised."""

    @property
    def claimed_skew_ppb(self) -> int | None:
        """Largest rate error it admits."""


class Simulated:
    """A clock of the simulated metro; whatever it says is marked injected."""

    name = "simulated"

    def __init__(self, site: str, claims: Claims, tai_utc_s: int | None = None) -> None:
        self.site = site
        self._claims = claims
        self._tai_utc_s = tai_utc_s

    def poll(self, at_ns: int) -> ClockState:
        """The claim, dated ``at_ns`` ns since 1970 UTC."""
        claims = self._claims
        raw = {
            "injected": True,
            "bound_ns": claims.claimed_bound_ns,
            "synchronised": claims.claimed_synchronised,
            "skew_ppb": claims.claimed_skew_ppb,
        }
        return ClockState(
            site=self.site,
            source=self.name,
            at_ns=at_ns,
            synchronised=claims.claimed_synchronised,
            bound_ns=claims.claimed_bound_ns,
            skew_ppb=claims.claimed_skew_ppb,
            tai_utc_s=self._tai_utc_s,
            leap_pending=False,
            identity=f"injected:{self.site}",
            raw=json.dumps(raw),
        )
