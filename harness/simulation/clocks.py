"""The clock of a simulated site: how far it is from the truth, which a plan must not know."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SiteClock:
    """Host time altered on purpose; all zero is the host's own clock.

    ``at_ns`` counts from the instant the metro was opened; the step happens then, once.
    """

    offset_ns: int = 0
    """Constant error against the host clock, ns; positive is ahead."""
    skew_ppb: int = 0
    """Rate error, parts per billion; positive gains."""
    step_ns: int = 0
    at_ns: int = 0

    @property
    def injected(self) -> bool:
        """Whether this clock differs from the host's in any way: what makes FACT_INJECTED_CLOCK true."""
        return (self.offset_ns, self.skew_ppb, self.step_ns) != (0, 0, 0)

    def model(self, origin_ns: int) -> dict[str, int]:
        """Keyword arguments of `fastpath.clock.ClockModel` for a metro opened at ``origin_ns``, ns TAI."""
        return {
            "offset_ns": self.offset_ns,
            "skew_ppb": self.skew_ppb,
            "origin_ns": origin_ns,
            "step_ns": self.step_ns,
            "step_at_ns": origin_ns + self.at_ns,
        }
