"""A Policy: requirements and limits as versioned data with their sources."""

from __future__ import annotations

from fractions import Fraction
from typing import Annotated, Literal

from pydantic import Field, model_validator

from harness.versioned import Frozen, read

Positive = Annotated[int, Field(gt=0)]
NotNegative = Annotated[int, Field(ge=0)]
Ratio = tuple[Positive, Positive]
"""Numerator and denominator: no float decides."""


class Rules(Frozen):
    """Decision rules by name and version, see `harness.verdict`."""

    clock: str = "owd-g1/1"
    clock_free: str = "owd-g0/1"


class Requirement(Frozen):
    """One limit on one measurand with the rule that decides it."""

    id: str
    title_zh: str
    title_en: str
    measurand: Literal["optical-floor", "service"]
    statistic: Literal["worst-window-median", "quantile"]
    p: Ratio
    """Quantile as a fraction below one; 1/2 for a median."""
    window_s: Positive
    """Length of a window, s: judged for a median, information for a quantile."""
    limit_ns: Positive
    layer: str
    """Which layer the limit speaks of, in words for the report."""
    direction: Literal["each"] = "each"
    min_seconds: Positive
    min_windows: Positive = 1
    min_n_eff: Positive
    """Effective samples each flow needs (each window of it, for a median)."""
    vif_plan: Ratio
    """Declared variance inflation by autocorrelation, never below one (rules 3.3)."""
    vif_origin: str
    alpha: Ratio = (25, 1000)
    """Statistical risk on each side."""
    u_gate_refuse_ns: Positive
    """A clock-based statement with a larger expanded uncertainty is refused."""
    u_gate_warn_ns: Positive
    max_unstamped_ppm: NotNegative
    """Largest share of received packets without a stamp, per flow."""
    rules: Rules = Rules()
    year: int
    source: str
    origin: str
    """Whose requirement it is: "MIIT" or "millicert"."""
    confirmed: bool
    """The source text itself was seen."""
    confirmation: str
    """What was seen and what was not."""
    definition_zh: str
    definition_en: str

    @model_validator(mode="after")
    def _consistent(self) -> Requirement:
        if not 0 < self.quantile < 1:
            raise ValueError(f"p of {self.id} must lie between 0 and 1")
        if Fraction(*self.vif_plan) < 1:
            raise ValueError(f"vif_plan of {self.id} must be at least 1")
        if not 0 < Fraction(*self.alpha) < Fraction(1, 2):
            raise ValueError(f"alpha of {self.id} must lie between 0 and 1/2")
        if self.statistic == "worst-window-median" and self.quantile != Fraction(1, 2):
            raise ValueError(f"p of {self.id} must be 1/2: its statistic is a median")
        if (self.measurand == "optical-floor") != (self.statistic == "worst-window-median"):
            raise ValueError(f"{self.id}: optical-floor goes with worst-window-median, service with quantile")
        return self

    @property
    def quantile(self) -> Fraction:
        """The quantile as a fraction."""
        return Fraction(*self.p)


class GateLimits(Frozen):
    """Where the gates of `harness.gates` turn red."""

    evidence_gap_ns: Positive = 2_000_000_000
    """Longest time between two polls of a clock, and from the run's ends to the nearest poll outside it."""
    step_cap_ns: Positive = 50_000
    """A step of the relative clock above this is always red, however noisy the path."""
    min_sent_ppm: NotNegative = 990_000
    max_late_ppm: NotNegative = 50_000
    """Share of packets sent later than SENT_LATE allows."""
    flow_group_ns: Positive = 5_000
    """Flows whose minima differ by less are taken to share a route."""
    minority_user_ppm: NotNegative = 10_000
    """Up to this share, rows with a user-space stamp among better ones are one-sided (see `harness.certificate`)."""


class Informative(Frozen):
    """An indicator of the same plan that is carried, not judged here."""

    id: str
    title_zh: str
    title_en: str
    value: str
    year: int
    source: str
    confirmed: bool
    note: str = ""


class Policy(Frozen):
    """Requirements of one plan and year; `parse` makes it from TOML text."""

    id: str
    version: str
    year: int
    title_zh: str
    title_en: str
    rehearsal: bool
    """Accepted for simulated runs only."""
    uncalibrated_nic_plane_ns: NotNegative
    uncalibrated_kernel_plane_ns: NotNegative
    uncalibrated_user_plane_ns: NotNegative
    """Bound per timestamp, ns, that enters the budget in full without a calibration."""
    plane_origin: str
    resolution_ps: NotNegative = 1_000
    """Largest rounding of one timestamp, ps: stamps and wire formats carry whole ns."""
    unknown_skew_ppb: NotNegative = 15_000
    unknown_skew_origin: str = "RFC 5905 PHI, 15 ppm"
    near_rate_ppb: NotNegative = 500_000
    near_rate_origin: str = "largest frequency correction of the Linux kernel, 500 ppm"
    gates: GateLimits = GateLimits()
    requirements: Annotated[tuple[Requirement, ...], Field(min_length=1)]
    informative: tuple[Informative, ...] = ()
    sha256: str = ""
    """Of the text it was made from."""

    @model_validator(mode="after")
    def _unique(self) -> Policy:
        ids = [r.id for r in self.requirements]
        if len(set(ids)) != len(ids):
            raise ValueError("requirement ids must differ")
        return self


def parse(text: str, name: str = "") -> Policy:
    """The policy in a TOML text, of the file ``name``; BenchError names every fault at once."""
    return read(Policy, text, "policy", name)
