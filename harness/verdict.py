"""Decision rules by name and version, each frozen once released."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Literal


class Verdict(StrEnum):
    """The verdict of one statement; never a bool."""

    PASS = "PASS"  # noqa: S105 (a verdict, not a password)
    INDETERMINATE = "INDETERMINATE"
    INVALID = "INVALID"
    FAIL = "FAIL"


_ORDER: Final = (Verdict.PASS, Verdict.INDETERMINATE, Verdict.INVALID, Verdict.FAIL)


def severity(verdict: Verdict) -> int:
    """Place in PASS < INDETERMINATE < INVALID < FAIL."""
    return _ORDER.index(verdict)


def roll_up(verdicts: Iterable[Verdict]) -> Verdict:
    """The worst of statements about different things; INVALID when there are none: at least one PASS is needed."""
    return max(verdicts, key=severity, default=Verdict.INVALID)


def same_claim(verdicts: Iterable[Verdict]) -> Verdict:
    """Several statements about one thing: a FAIL stands, else a PASS, else INDETERMINATE, else INVALID."""
    found = set(verdicts)
    for verdict in (Verdict.FAIL, Verdict.PASS, Verdict.INDETERMINATE):
        if verdict in found:
            return verdict
    return Verdict.INVALID


@dataclass(frozen=True, slots=True)
class Claim:
    """What a rule decides on. Delays in ns (int64 extremes are minus and plus infinity), uncertainties in ps."""

    limit_ns: int
    estimate_ns: int
    upper_ns: int
    """Upper confidence bound of the estimate."""
    lower_ns: int
    """Lower confidence bound."""
    u_c_ps: int
    k_milli: int
    route_floor_ps: int | None = None
    """Time of flight by the fibre record, or None."""
    route_u_ps: int = 0
    """Its standard uncertainty."""
    gates_red: tuple[str, ...] = ()
    """Red gates on which any verdict of this statement rests."""
    coverage_red: tuple[str, ...] = ()
    """Red gates on which only its PASS rests: what they doubt is already counted against a FAIL."""

    @property
    def guard_ps(self) -> int:
        """The guard band k u_c, rounded up."""
        return -(-self.k_milli * self.u_c_ps // 1000)

    @property
    def limit_ps(self) -> int:
        """The limit in ps."""
        return self.limit_ns * 1000

    @property
    def route_exceeds(self) -> bool:
        """Light alone needs longer than the limit: floor - 2 u > L."""
        return self.route_floor_ps is not None and self.route_floor_ps - 2 * self.route_u_ps > self.limit_ps


@dataclass(frozen=True, slots=True)
class Finding:
    """A verdict with the key of its reason and, when INDETERMINATE, the side it lies on."""

    verdict: Verdict
    reason: str
    sublabel: str = ""


def _undecided(claim: Claim) -> Finding:
    side = "conditional-pass" if claim.estimate_ns <= claim.limit_ns else "conditional-fail"
    return Finding(Verdict.INDETERMINATE, "guard-band", side)


def _conforms(claim: Claim) -> bool:
    return (
        claim.upper_ns * 1000 + claim.guard_ps <= claim.limit_ps
        and claim.estimate_ns * 1000 + claim.guard_ps <= claim.limit_ps
    )


def owd_g1_1(claim: Claim) -> Finding:
    """OWD-G1 version 1, clock-based (rules 4.1).

    PASS: gates green, upper bound + k u_c <= L and estimate + k u_c <= L. FAIL: gates green and
    lower bound - k u_c > L, or the fibre record alone exceeds L. INVALID: a gate is red.
    INDETERMINATE otherwise. Risk of false acceptance at most alpha + 2.28 %.
    """
    if claim.route_exceeds:
        return Finding(Verdict.FAIL, "route-floor")
    if claim.gates_red:
        return Finding(Verdict.INVALID, "gate")
    if claim.lower_ns * 1000 - claim.guard_ps > claim.limit_ps:
        return Finding(Verdict.FAIL, "above")
    if claim.coverage_red:
        return Finding(Verdict.INVALID, "gate")
    if _conforms(claim):
        return Finding(Verdict.PASS, "below")
    return _undecided(claim)


def owd_g0_1(claim: Claim) -> Finding:
    """OWD-G0 version 1, clock-free and one-sided (rules 4.2, 5.2).

    The estimate is an upper bound of the delay, so it yields PASS or INDETERMINATE; FAIL only where the fibre record
    alone exceeds L. INVALID: a gate it rests on is red.
    """
    if claim.route_exceeds:
        return Finding(Verdict.FAIL, "route-floor")
    if claim.gates_red or claim.coverage_red:
        return Finding(Verdict.INVALID, "gate")
    if _conforms(claim):
        return Finding(Verdict.PASS, "bracket-below")
    return Finding(Verdict.INDETERMINATE, "bracket-open", _undecided(claim).sublabel)


def owd_pair_1(claim: Claim) -> Finding:
    """The pair rule of OWD-G0, version 1: both directions of a link together (rules 4.3).

    The claim is about the round trip without turnaround, its limit 2 L, its quantile 1 - 2 (1 - p): where its lower
    bound - k u_c > 2 L, at least one direction exceeds L more often than 1 - p. Which one stays open.
    """
    if not claim.gates_red and claim.lower_ns * 1000 - claim.guard_ps > claim.limit_ps:
        return Finding(Verdict.FAIL, "pair")
    return Finding(Verdict.INDETERMINATE, "pair-open")


RULES: Final[dict[str, Callable[[Claim], Finding]]] = {
    "owd-g1/1": owd_g1_1,
    "owd-g0/1": owd_g0_1,
    "owd-pair/1": owd_pair_1,
}


def decide(rule: str, claim: Claim) -> Finding:
    """The finding of a rule by its id; KeyError names an unknown one."""
    return RULES[rule](claim)


@dataclass(frozen=True, slots=True)
class FigureClaim:
    """What the rule of an acceptance decides on; all numbers in the requirement's unit."""

    limit: int
    sense: Literal["max", "min"]
    value: int | None
    expanded: int
    """U = k u_c."""
    side: Literal["", "at-most", "at-least"] = ""
    """What is known of the truth beside the value: only that it is the value or less, or more."""
    doubted: bool = False
    """A check on which any verdict rests is red."""


def oxc_g1_1(claim: FigureClaim) -> tuple[Verdict, str]:
    """OXC-G1 version 1: guard band w = U on both sides of a limit (ILAC-G8:09/2019, JCGM 106), as OWD-G1 for delays.

    PASS: value + U <= L. FAIL: value - U > L. INVALID: a check is red, or there is no value. INDETERMINATE otherwise,
    and where a bound alone cannot decide. For a least value, mirrored. Risk of false acceptance at most
    2.28 % a figure.
    """
    if claim.doubted:
        return Verdict.INVALID, "doubt"
    if claim.value is None:
        return Verdict.INVALID, "no-value"
    beyond = claim.value - claim.limit if claim.sense == "max" else claim.limit - claim.value
    worse = {"max": "at-least", "min": "at-most"}[claim.sense]
    if beyond + claim.expanded <= 0:
        return (Verdict.INDETERMINATE, "one-sided") if claim.side == worse else (Verdict.PASS, "within")
    if beyond - claim.expanded > 0:
        return (Verdict.FAIL, "beyond") if claim.side in {"", worse} else (Verdict.INDETERMINATE, "one-sided")
    return Verdict.INDETERMINATE, "guard-band"


FIGURE_RULES: Final[dict[str, Callable[[FigureClaim], tuple[Verdict, str]]]] = {"oxc-g1/1": oxc_g1_1}


def decide_figure(rule: str, claim: FigureClaim) -> tuple[Verdict, str]:
    """The verdict of a rule by its id, with the key of its reason; KeyError names an unknown one."""
    return FIGURE_RULES[rule](claim)
