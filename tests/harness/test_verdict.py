from dataclasses import replace
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.statistics import LOST, UNKNOWN
from harness.verdict import RULES, Claim, Verdict, decide, roll_up, same_claim, severity

PASS, INDETERMINATE, INVALID, FAIL = (Verdict(v) for v in ("PASS", "INDETERMINATE", "INVALID", "FAIL"))
L = 1_000_000


def claim(**changes: object) -> Claim:
    given_ = {"estimate_ns": 900_000, "upper_ns": 950_000, "lower_ns": 850_000, "u_c_ps": 1_000_000, "k_milli": 2000}
    return Claim(limit_ns=L, **{**given_, **changes})  # type: ignore[arg-type]


def test_order_of_verdicts() -> None:
    assert sorted(Verdict, key=severity) == [PASS, INDETERMINATE, INVALID, FAIL]
    assert roll_up([PASS, INDETERMINATE]) is INDETERMINATE
    assert roll_up([INVALID, INDETERMINATE]) is INVALID
    assert roll_up([PASS, INVALID, FAIL]) is FAIL
    assert roll_up([]) is INVALID


def test_statements_about_one_direction() -> None:
    assert same_claim([INVALID, PASS]) is PASS
    assert same_claim([INDETERMINATE, INVALID]) is INDETERMINATE
    assert same_claim([PASS, FAIL]) is FAIL
    assert same_claim([INVALID]) is INVALID
    assert same_claim([]) is INVALID


def test_owd_g1() -> None:
    rule = "owd-g1/1"
    assert decide(rule, claim()).verdict is PASS
    assert decide(rule, claim(upper_ns=998_000)).verdict is PASS  # 998 + 2 us is the limit itself
    assert decide(rule, claim(upper_ns=998_001)).verdict is INDETERMINATE
    assert decide(rule, claim(estimate_ns=999_000, upper_ns=998_000)).verdict is INDETERMINATE
    assert decide(rule, claim(lower_ns=1_002_001)).verdict is FAIL
    at_guard = claim(lower_ns=1_002_000, estimate_ns=1_003_000, upper_ns=1_004_000)
    assert decide(rule, at_guard).verdict is INDETERMINATE
    assert decide(rule, claim(upper_ns=LOST)).verdict is INDETERMINATE
    assert decide(rule, claim(lower_ns=LOST, upper_ns=LOST, estimate_ns=LOST)).verdict is FAIL
    assert decide(rule, claim(lower_ns=UNKNOWN, upper_ns=LOST)).sublabel == "conditional-pass"
    assert decide(rule, claim(estimate_ns=L + 1, upper_ns=LOST)).sublabel == "conditional-fail"


def test_owd_g0_is_one_sided() -> None:
    rule = "owd-g0/1"
    assert decide(rule, claim()).verdict is PASS
    assert decide(rule, claim(lower_ns=5 * L, estimate_ns=5 * L, upper_ns=5 * L)).verdict is INDETERMINATE
    assert decide(rule, claim(route_floor_ps=L * 1000 + 300, route_u_ps=100)).verdict is FAIL
    assert decide(rule, claim(route_floor_ps=L * 1000 + 200, route_u_ps=100)).verdict is PASS


def test_the_pair_rule() -> None:
    rule = "owd-pair/1"
    assert decide(rule, claim(lower_ns=L + 2_001)).verdict is FAIL
    assert decide(rule, claim(lower_ns=L + 2_000)).verdict is INDETERMINATE
    assert decide(rule, claim(lower_ns=L + 2_001, gates_red=("x",))).verdict is INDETERMINATE


@pytest.mark.parametrize("rule", ["owd-g1/1", "owd-g0/1"])
def test_a_red_gate_voids_all_but_the_fibre_record(rule: str) -> None:
    for estimate, red in product((claim(), claim(lower_ns=2 * L)), ("gates_red", "coverage_red")):
        asked = replace(estimate, **{red: ("x",)})  # type: ignore[arg-type]
        expected = FAIL if rule == "owd-g1/1" and red == "coverage_red" and estimate.lower_ns > L else INVALID
        assert decide(rule, asked).verdict is expected
    floor = claim(route_floor_ps=2 * L * 1000, gates_red=("x",), coverage_red=("y",))
    assert decide(rule, floor).verdict is FAIL


delays = st.integers(0, 2 * L)


@given(delays, delays, delays, st.integers(0, 10**8), st.integers(0, 10**8), st.sampled_from(sorted(RULES)))
def test_more_uncertainty_never_decides_more(a: int, b: int, c: int, u: int, more: int, rule: str) -> None:
    lower, estimate, upper = sorted((a, b, c))
    small = decide(rule, Claim(L, estimate, upper, lower, u, 2000)).verdict
    large = decide(rule, Claim(L, estimate, upper, lower, u + more, 2000)).verdict
    assert large in {small, INDETERMINATE}


@given(delays, delays, delays, st.integers(0, L), st.integers(0, 10**8), st.sampled_from(sorted(RULES)))
def test_longer_delays_never_fare_better(a: int, b: int, c: int, more: int, u: int, rule: str) -> None:
    lower, estimate, upper = sorted((a, b, c))
    short = decide(rule, Claim(L, estimate, upper, lower, u, 2000)).verdict
    long = decide(rule, Claim(L, estimate + more, upper + more, lower + more, u, 2000)).verdict
    assert severity(long) >= severity(short)


def test_an_unknown_rule_is_an_error() -> None:
    with pytest.raises(KeyError):
        decide("owd-g9/1", claim())
