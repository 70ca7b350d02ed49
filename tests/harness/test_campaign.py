from importlib import import_module
from types import ModuleType
from typing import Any

import numpy as np
import pytest

scipy_stats: Any = import_module("scipy.stats")  # ships no types
binom = scipy_stats.binom
TRIALS = 400


@pytest.mark.parametrize(
    ("n", "burst", "bound_ns"),
    [(36_880, 1, 0), (36_880, 5, 0), (100_000, 5, 0), (100_000, 5, 1_000), (36_880, 1, 20_000)],
)
def test_false_pass_stays_within_five_per_cent(campaign: ModuleType, n: int, burst: int, bound_ns: int) -> None:
    tally = campaign.run_point(campaign.Point(n, burst, bound_ns), TRIALS, 3)
    # no more than chance would give of a rule that is wrong 5 % of the time, at one in a thousand
    assert tally.ours <= binom.ppf(0.999, TRIALS, 0.05)
    assert tally.ours <= TRIALS // 20
    assert tally.simple > TRIALS // 4  # the same samples fool simple acceptance
    assert tally.fails <= TRIALS // 20


def test_the_iid_bound_is_fooled_by_bursts(campaign: ModuleType) -> None:
    tally = campaign.run_point(campaign.Point(200_000, 20, 0, vif_plan=50), 200, 3)
    assert tally.ours <= 10
    assert tally.iid > 40


def test_bursts_have_the_share_and_the_length_they_should(campaign: ModuleType) -> None:
    rng = np.random.default_rng(5)
    for burst in (1, 10):
        at = [campaign.burst_positions(rng, 100_000, burst) for _ in range(100)]
        assert all((np.diff(a) > 0).all() and (a.size == 0 or a[-1] < 100_000) for a in at)
        assert 0.0008 < sum(a.size for a in at) / 1e7 < 0.0012
        runs = sum(1 + int((np.diff(a) > 1).sum()) for a in at if a.size)
        assert 0.8 * burst < sum(a.size for a in at) / runs < 1.2 * burst


def test_the_whole_judge_decides_what_is_clear(campaign: ModuleType) -> None:
    assert campaign.judged(4, 1, excess_ns=-60_000, bound_ns=1_000)["PASS"] == 4
    assert campaign.judged(4, 1, excess_ns=0, bound_ns=1_000)["PASS"] == 0
    assert campaign.judged(4, 1, excess_ns=200_000, bound_ns=1_000)["FAIL"] == 4


@pytest.mark.parametrize("kind", ["offset, claimed", "offset, unsynchronised", "step in mid-run, not claimed"])
def test_no_clock_fault_makes_a_false_pass(campaign: ModuleType, kind: str) -> None:
    _, bad, false, _ = campaign.faults(40, 11, kind)
    assert bad > 20
    assert false == 0


def test_coverage_of_u(campaign: ModuleType) -> None:
    for name, share, ratio in campaign.coverage(50_000, 9):
        assert share >= 0.94, name
        assert share <= 0.98 or ratio > 0.75, name
