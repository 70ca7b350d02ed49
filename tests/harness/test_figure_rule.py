"""OXC-G1: the guard band on both sides of a limit, and bounds that decide one way only."""

from math import erf, sqrt

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.verdict import FigureClaim, Verdict, decide_figure


def said(value: int | None, side: str = "", sense: str = "max", *, doubted: bool = False) -> tuple[str, str]:
    claim = FigureClaim(1000, sense, value, 100, side, doubted)  # type: ignore[arg-type]  # texts of the parameters
    verdict, reason = decide_figure("oxc-g1/1", claim)
    return str(verdict), reason


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(900, "PASS"), (901, "INDETERMINATE"), (1000, "INDETERMINATE"), (1100, "INDETERMINATE"), (1101, "FAIL")],
)
def test_the_guard_band_is_u_on_both_sides(value: int, verdict: str) -> None:
    assert said(value)[0] == verdict
    assert said(2000 - value, sense="min")[0] == verdict


def test_a_bound_decides_only_on_its_side() -> None:
    assert said(5000, "at-least") == ("FAIL", "beyond")
    assert said(500, "at-least") == ("INDETERMINATE", "one-sided")
    assert said(500, "at-most") == ("PASS", "within")
    assert said(5000, "at-most") == ("INDETERMINATE", "one-sided")
    assert said(5000, "at-least", "min") == ("PASS", "within")
    assert said(500, "at-most", "min") == ("FAIL", "beyond")
    assert said(500, "at-least", "min") == ("INDETERMINATE", "one-sided")


def test_doubt_and_silence_are_no_verdict() -> None:
    assert said(None) == ("INVALID", "no-value")
    assert said(500, doubted=True) == ("INVALID", "doubt")
    assert said(5000, doubted=True) == ("INVALID", "doubt")


@given(st.integers(-(10**9), 10**9), st.integers(0, 10**6), st.sampled_from(["", "at-least", "at-most"]))
def test_pass_and_fail_mirror_each_other(value: int, expanded: int, side: str) -> None:
    mirrored = {"": "", "at-least": "at-most", "at-most": "at-least"}[side]
    least = FigureClaim(0, "min", -value, expanded, mirrored)  # type: ignore[arg-type]
    most = FigureClaim(0, "max", value, expanded, side)  # type: ignore[arg-type]
    assert decide_figure("oxc-g1/1", most) == decide_figure("oxc-g1/1", least)


def test_false_acceptance_stays_within_what_is_stated() -> None:
    """True value just beyond the limit, a normal error of standard deviation U/2: at most 2.28 % pass."""
    rng = np.random.default_rng(7)
    truth, u, trials = 1_000_000, 10_000, 20_000
    read = truth + 1 + rng.normal(0, u, trials).round().astype(int)
    claims = (FigureClaim(truth, "max", int(value), 2 * u) for value in read)
    passed = sum(decide_figure("oxc-g1/1", claim)[0] is Verdict.PASS for claim in claims)
    expected = 0.5 * (1 - erf(2 / sqrt(2)))
    assert passed / trials < expected + 4 * sqrt(expected / trials)
