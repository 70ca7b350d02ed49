from fractions import Fraction
from importlib import import_module
from math import comb
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.statistics import (
    LOST,
    UNKNOWN,
    Order,
    Ordered,
    acceptance,
    block_vif,
    clopper_pearson,
    estimate,
    groups,
    ipdv,
    loss,
    lower_rank,
    n_needed,
    order,
    restarts,
    upper_rank,
)

scipy_stats: Any = import_module("scipy.stats")  # ships no types
beta = scipy_stats.beta
binom = scipy_stats.binom
P999 = Fraction(999, 1000)
A25 = Fraction(25, 1000)
HALF = Fraction(1, 2)


def column(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize(
    ("n", "accept", "refuse"),
    [
        (3_688, 0, 9),
        (10_000, 3, 18),
        (30_000, 19, 42),
        (100_000, 80, 121),
        (300_000, 266, 335),
        (1_000_000, 938, 1_063),
    ],
)
def test_acceptance_table_of_the_reference(n: int, accept: int, refuse: int) -> None:
    assert acceptance(n, P999, A25) == (accept, refuse)


@pytest.mark.parametrize(
    ("p", "alpha", "n"),
    [
        (Fraction(9, 10), Fraction(5, 100), 29),
        (Fraction(99, 100), Fraction(25, 1000), 368),
        (P999, Fraction(5, 100), 2_995),
        (P999, A25, 3_688),
        (P999, Fraction(1, 100), 4_603),
        (Fraction(9999, 10000), A25, 36_887),
    ],
)
def test_smallest_n_without_an_exceedance(p: Fraction, alpha: Fraction, n: int) -> None:
    assert acceptance(n, p, alpha)[0] == 0
    assert acceptance(n - 1, p, alpha)[0] == -1


def test_allowed_exceedances_of_the_reference() -> None:
    table = {0: 2995, 1: 4742, 2: 6294, 3: 7752, 5: 10511, 10: 16959, 20: 29058, 50: 63281, 100: 118071}
    for r, n in table.items():
        assert acceptance(n, P999, Fraction(1, 20))[0] == r
        assert acceptance(n - 1, P999, Fraction(1, 20))[0] == r - 1


@given(
    n=st.integers(1, 60),
    p=st.fractions(Fraction(1, 50), Fraction(49, 50), max_denominator=50),
    alpha=st.sampled_from([A25, Fraction(1, 20), Fraction(1, 1000), Fraction(1, 3)]),
)
def test_ranks_satisfy_their_defining_inequality_exactly(n: int, p: Fraction, alpha: Fraction) -> None:
    q = 1 - p
    cdf = [sum(comb(n, j) * q**j * p ** (n - j) for j in range(r + 1)) for r in range(n + 1)]
    accept, refuse = acceptance(n, p, alpha)
    assert accept == max((r for r in range(n + 1) if cdf[r] <= alpha), default=-1)
    assert refuse == min((r for r in range(1, n + 1) if 1 - cdf[r - 1] <= alpha), default=n + 1)


def test_a_tail_that_equals_alpha_is_settled() -> None:
    # P(Bin(5, 1/2) <= 0) is 1/32 exactly: the bound must be taken, not missed by rounding
    assert acceptance(5, HALF, Fraction(1, 32)) == (0, 5)


@pytest.mark.parametrize("n", [50_000, 720_000, 3_600_000])
def test_large_n_against_scipy(n: int) -> None:
    accept, refuse = acceptance(n, P999, A25)
    assert binom.cdf(accept, n, 0.001) <= 0.025 < binom.cdf(accept + 1, n, 0.001)
    assert binom.sf(refuse - 1, n, 0.001) <= 0.025 < binom.sf(refuse - 2, n, 0.001)


@given(n=st.integers(3_700, 400_000), vif=st.fractions(1, 60, max_denominator=7), r=st.integers(0, 500))
def test_rank_rule_and_exceedance_rule_agree(n: int, vif: Fraction, r: int) -> None:
    n_eff = int(n / vif)
    rank = upper_rank(n, n_eff, P999, A25)
    r_eff = -(-r * n_eff // n)
    by_count = r_eff <= acceptance(n_eff, P999, A25)[0]
    assert (rank is not None and r <= n - rank) == by_count
    below = lower_rank(n, n_eff, P999, A25)
    refused = r * n_eff // n >= acceptance(n_eff, P999, A25)[1]
    assert (below is not None and r > n - below) == refused


@pytest.mark.parametrize(
    ("lost", "n"), [(0, 1000), (1, 1000), (3, 10**6), (500, 1000), (999, 1000), (1000, 1000), (70_000, 10**6)]
)
def test_clopper_pearson_against_scipy(lost: int, n: int) -> None:
    low, high = clopper_pearson(lost, n, A25)
    true_low = beta.ppf(0.025, lost, n - lost + 1) * 1e9 if lost else 0.0
    true_high = beta.ppf(0.975, lost + 1, n - lost) * 1e9 if lost < n else 1e9
    assert true_low - 1.01 <= low <= true_low + 1e-3
    assert true_high - 1e-3 <= high <= true_high + 1.01


def test_clopper_pearson_with_many_events_is_wider_never_narrower() -> None:
    low, high = clopper_pearson(300_000, 36_000_000, A25)
    assert low <= beta.ppf(0.025, 300_000, 35_700_001) * 1e9
    assert high >= beta.ppf(0.975, 300_001, 35_700_000) * 1e9
    assert high - low < 200_000
    assert clopper_pearson(0, 0, A25) == (0, 10**9)
    with pytest.raises(ValueError, match="between"):
        clopper_pearson(2, 1, A25)


@given(st.lists(st.integers(-50, 50), min_size=1, max_size=60), st.integers(1, 99))
def test_quantile_is_the_inverted_cdf_of_numpy(values: list[int], percent: int) -> None:
    got = Ordered(np.sort(column(*values))).quantile(Fraction(percent, 100))
    assert got == np.quantile(values, percent / 100, method="inverted_cdf")


def test_a_lost_packet_is_infinite_and_an_unknown_one_proves_nothing() -> None:
    sample = Ordered(column(1, 2, 3), lost=1, unknown=1)
    assert [sample.at(r) for r in range(1, 6)] == [UNKNOWN, 1, 2, 3, LOST]
    assert sample.quantile(Fraction(99, 100)) == LOST
    assert sample.above(2) == 2
    with pytest.raises(IndexError):
        sample.at(6)


def test_median_of_rfc_2330() -> None:
    assert Ordered(column(1, 4)).median() == 3  # 2.5 rounded up
    assert Ordered(column(1, 3, 9)).median() == 3
    assert Ordered(column(1), lost=1).median() == LOST
    assert Ordered(column(-3, -2)).median() == -2


def test_vif_of_bursts_is_found_and_of_noise_is_not() -> None:
    rng = np.random.default_rng(7)
    n = 400_000
    noise = np.flatnonzero(rng.random(n) < 0.001)
    assert block_vif(noise, n) < 3
    starts = np.flatnonzero(rng.random(n) < 0.001 / 50)
    bursts = np.unique((starts[:, None] + np.arange(50)).ravel())
    assert 25 < block_vif(bursts[bursts < n], n) < 120
    assert block_vif(np.arange(0), n) == 1
    assert block_vif(np.arange(n), n) == 1
    assert block_vif(bursts[bursts < 2_000], 2_000) == 1  # 32 blocks of 100 do not fit


@pytest.mark.parametrize("n", [3_750, 7_500, 15_000, 30_000, 60_000, 3_000, 3_100, 3_200])
@pytest.mark.parametrize("share", [(1, 2), (1, 3), (9, 10)])
def test_the_number_of_blocks_alone_leaves_no_window_short(n: int, share: tuple[int, int]) -> None:
    # K blocks all above or all below have a variance of K / (K - 1) B^2 p (1 - p): no sample can look worse
    drift = np.arange(n * share[0] // share[1], n)
    assert n / block_vif(drift, n) >= 30


def test_estimate_without_enough_samples_has_no_bounds() -> None:
    few = Ordered(np.arange(100, dtype=np.int64))
    got = estimate(few, few, Fraction(10), p=P999, alpha=A25)
    assert (got.value, got.upper) == (99, LOST)
    assert got.lower == 90  # one effective sample stands for ten
    empty = Ordered(column())
    assert estimate(empty, empty, Fraction(1), p=P999, alpha=A25).upper == LOST


def test_estimate_uses_the_doubt_against_either_side() -> None:
    values = np.arange(10_000, dtype=np.int64)
    high, low = Ordered(values, lost=20), Ordered(values, unknown=20)
    got = estimate(high, low, Fraction(1), p=P999, alpha=A25)
    assert got.upper == LOST
    assert got.value == LOST
    assert got.lower < 10_000


@given(st.integers(0, 40), st.integers(20_000, 200_000))
def test_n_needed_is_enough(r: int, n: int) -> None:
    needed = n_needed(r, n, P999, A25)
    if needed is None:
        assert Fraction(r, n) > Fraction(8, 10_000)
    else:
        assert -(-r * needed // n) <= acceptance(needed, P999, A25)[0]


def test_loss_by_direction_from_the_reflectors_counter() -> None:
    # sent 0..9; 2 and 3 lost there, 6 lost back, 8 and 9 unknown (nothing after them)
    received = np.array([1, 1, 0, 0, 1, 1, 0, 1, 0, 0], bool)
    far = column(0, 1, -1, -1, 2, 3, -1, 5, -1, -1)
    got = loss(received, far)
    assert (got.forward, got.backward, got.unknown, got.events, got.total) == (2, 1, 2, 3, 5)
    stateless = loss(received, np.full(10, -1, np.int64))
    assert (stateless.forward, stateless.backward, stateless.unknown) == (0, 0, 5)
    assert loss(received, far, restarted=True).unknown == 5
    assert loss(np.ones(3, bool), column(0, 1, 2)).total == 0
    assert loss(np.zeros(3, bool), column(-1, -1, -1)).unknown == 3


def test_a_gap_the_counter_cannot_explain_is_unknown() -> None:
    received = np.array([1, 0, 1], bool)
    assert loss(received, column(0, -1, 9)).unknown == 1  # duplicates on the way there
    assert loss(received, column(5, -1, 6)).forward == 1  # a session that was running before
    assert loss(np.array([0, 1], bool), column(-1, 1)).unknown == 1  # nothing before it: numbers went to others too
    assert loss(received, column(4, -1, 4)).unknown == 1  # no reflector that counts says a number twice
    assert loss(received, column(0, -1, 2), doubled=True).unknown == 1  # the number may be a copy's


def displaced(arriving: list[int]) -> int:
    """How far, in packets sent, the farthest is from its place."""
    return max((abs(a - b) for a, b in zip(arriving, sorted(arriving), strict=True)), default=0)


@st.composite
def ways(draw: st.DrawFn) -> Any:
    """A flow whose packets are lost both ways, overtake and are copied: what came back, how many were lost where."""
    n = draw(st.integers(2, 60))
    chance = np.random.default_rng(draw(st.integers(0, 2**32)))
    there, back, copied = (chance.random(n) < draw(st.sampled_from([0.0, 0.1, 0.4])) for _ in range(3))
    overtaken = chance.random(n) < draw(st.sampled_from([0.0, 0.2]))
    late = draw(st.integers(1, 4))
    arriving = [i for _, i in sorted((i + (late + 0.5) * overtaken[i], i) for i in range(n) if not there[i])]
    far, number, doubled = np.full(n, -1, np.int64), draw(st.integers(0, 9)), False
    for i in arriving:
        for copy in range(1 + copied[i]):
            if not back[i] and far[i] < 0:
                far[i] = number
            elif not back[i] and copy:
                doubled = True
            number += 1
    answered = [i for i in arriving if not back[i]]
    # a packet displaced farther than any that came back is seen by nobody; neither is a copy that never came
    hidden = displaced(arriving) > displaced(answered)
    return far >= 0, far, doubled, int(there.sum()), int((back & ~there).sum()), hidden, bool(copied.any())


@given(ways())
@settings(max_examples=400)
def test_no_more_is_said_lost_in_a_direction_than_was(way: Any) -> None:
    received, far, doubled, there, back, hidden, copied = way
    got = loss(received, far, doubled=doubled)
    assert got.total == there + back
    assert got.forward <= there or hidden
    assert got.backward <= (0 if doubled else back) or (copied and not doubled)


def test_reordering_hides_few_losses() -> None:
    """20 % overtaken on the way there, 1 % lost on either way."""
    chance, n = np.random.default_rng(7), 48_000
    there = chance.random(n) < 0.01
    back = (chance.random(n) < 0.01) & ~there
    arrival = np.arange(n) + np.where(chance.random(n) < 0.2, 1.5, 0)
    order = np.argsort(arrival[~there], kind="stable")
    far = np.full(n, -1, np.int64)
    far[np.flatnonzero(~there)[order]] = np.arange(order.shape[0])
    far[back] = -1
    got = loss(far >= 0, far)
    assert 0 <= int(there.sum()) - got.forward <= 3
    assert 0 <= int(back.sum()) - got.backward <= 3


def test_reordering_of_rfc_4737() -> None:
    assert order(column(0, 1, 2, 3)) == Order(4, 0, 0)
    assert order(column(0, 3, 1, 2, 4)) == Order(5, 2, 2)
    assert order(column(0, 1, 4, 5, 6, 2, 3)) == Order(7, 2, 4)


@given(st.permutations(list(range(12))))
def test_reordering_against_the_definition(sequence: list[int]) -> None:
    late, extent, expected = 0, 0, 0
    for i, s in enumerate(sequence):
        if s < expected:
            late += 1
            extent = max(extent, i - next(j for j in range(i) if sequence[j] > s))
        else:
            expected = s + 1
    assert order(column(*sequence)) == Order(12, late, extent)


def test_restarts_of_the_reflector() -> None:
    assert restarts(np.arange(100, dtype=np.int64)) == 0
    assert restarts(np.concatenate([np.arange(50), np.arange(50)])) == 1
    assert restarts(np.concatenate([np.arange(50), np.arange(50), np.arange(50)])) == 2
    shuffled = np.arange(100)
    shuffled[[40, 44]] = shuffled[[44, 40]]
    assert restarts(shuffled) == 0
    assert restarts(np.full(10, -1)) == 0


def test_ipdv_is_signed_and_skips_gaps() -> None:
    got = ipdv(column(10, 30, LOST, 50, 40, UNKNOWN))
    assert got is not None
    assert (got["n"], got["mean_ns"], got["p999_abs_ns"]) == (2, 5, 20)
    assert ipdv(column(1, LOST, 2)) is None


def test_flows_group_by_their_minimum() -> None:
    assert groups([100, 9_000, 200, 9_100], 1_000) == [0, 1, 0, 1]
    assert groups([], 10) == []
