import os
import pickle
import subprocess
import sys
from dataclasses import replace
from importlib import import_module
from math import inf, sqrt
from pathlib import Path
from types import ModuleType
from typing import Any

import GTC
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.budget import K_TABLE, Budget, Component, coverage_factor, root_up
from harness.clock import Clock, ClockState, Part
from harness.link import Direction, Endpoint, Link, Site
from harness.measurement import Calibration
from harness.policy import Policy
from harness.samples import KERNEL, NIC, USER
from harness.uncertainty import ClockClaim, bracket_budget, claim, clock_budget, pair_budget

gtc: Any = GTC
scipy_stats: Any = import_module("scipy.stats")  # ships no types
norm = scipy_stats.norm
t = scipy_stats.t
ROOT = Path(__file__).parents[2]
A = ClockClaim("a", ("simulated",), 100, 50, 1_000_000_000, "")


def rectangle(ns: float) -> Component:
    return Component("", "", round(ns * 1000), "rectangular", "")


def normal(u_ns: float, nu: int | None = None) -> Component:
    return Component("", "", round(u_ns * 1000), "normal", "", 1000, nu)


def test_k_is_students_t_rounded_up() -> None:
    for nu, k in K_TABLE:
        exact = float(t.ppf(norm.cdf(2.0), nu)) * 1000
        assert exact - 1e-6 <= k < exact + 1
    assert coverage_factor(None) == 2000
    assert [round(coverage_factor(n) / 1000, 2) for n in (5, 10, 20, 50)] == [2.65, 2.28, 2.13, 2.05]
    assert coverage_factor(52) == coverage_factor(50)
    assert coverage_factor(0) == coverage_factor(1)


@given(st.integers(0, 10**30))
def test_roots_round_up(value: int) -> None:
    root = root_up(value)
    assert root * root >= value
    assert root == 0 or (root - 1) ** 2 < value


WORKED: dict[str, tuple[list[int], list[tuple[int, int | None]], int, int, int]] = {
    "a": ([100, 100, 4, 4, 100, 100, 50], [(5, None), (5, None), (20, 300), (20, 300)], 123, 245, 558),
    "b": ([1100, 1100, 250, 250, 100, 100], [(50, None), (50, None)], 927, 1854, 3100),
    "c1": ([500_000, 500_000, 30_000, 30_000], [(50_000, None), (50_000, None)], 415_000, 830_000, 1_260_000),
    "c2": ([25_000, 25_000, 5_000, 5_000], [(1_000, None), (1_000, None)], 20_900, 41_800, 64_000),
}
"""Worked budgets of rules 2.8: half-widths, (s, nu), u_c, U, worst case; ns."""


@pytest.mark.parametrize("case", WORKED)
def test_worked_budgets_against_the_reference_and_gtc(case: str) -> None:
    halves, spreads, u_c, expanded, worst = WORKED[case]
    budget = Budget((*(rectangle(a) for a in halves), *(normal(u, nu) for u, nu in spreads)))
    assert budget.u_c / 1000 == pytest.approx(u_c, rel=0.006)
    assert budget.expanded / 1000 == pytest.approx(expanded, rel=0.006)
    assert budget.worst_case / 1000 == pytest.approx(worst, rel=0.003)
    inputs = [gtc.ureal(0, gtc.type_b.uniform(a)) for a in halves]
    inputs += [gtc.ureal(0, u, df=inf if nu is None else nu) for u, nu in spreads]
    total = sum(inputs)
    assert 0 <= budget.u_c / 1000 - total.u < 0.01
    if total.df == inf:
        assert budget.nu_eff is None
    else:
        assert budget.nu_eff == pytest.approx(total.df, rel=1e-3)


@given(
    st.lists(st.integers(1, 10**6), min_size=1, max_size=6),
    st.lists(st.tuples(st.integers(1, 10**5), st.integers(1, 400)), min_size=1, max_size=4),
)
def test_combination_against_gtc(halves: list[int], spreads: list[tuple[int, int]]) -> None:
    budget = Budget((*(rectangle(a) for a in halves), *(normal(u, nu) for u, nu in spreads)))
    total = sum(gtc.ureal(0, gtc.type_b.uniform(a)) for a in halves)
    total += sum(gtc.ureal(0, u, df=nu) for u, nu in spreads)
    assert total.u <= budget.u_c / 1000 <= total.u + 0.01
    assert budget.nu_eff is not None
    assert budget.nu_eff <= total.df * (1 + 1e-3)
    assert budget.nu_eff >= int(total.df * (1 - 1e-3)) - 1
    assert budget.expanded >= 2 * budget.u_c


def link(**changes: object) -> Link:
    clock = Clock(("simulated",))
    sites = [Site(n, n, "computing-centre", "large", clock) for n in "ab"]
    return replace(Link("l", sites[0], sites[1], Endpoint("1", "2", 862)), **changes)  # type: ignore[arg-type]


def poll(site: str, at: int, **changes: object) -> ClockState:
    return replace(ClockState(site, "kernel", at, True, 500, 10, 37, False, "", ""), **changes)  # type: ignore[arg-type]


def test_the_largest_bound_of_all_polls_counts() -> None:
    polls = [poll("a", s * 10**9, bound_ns=b) for s, b in ((-1, 900), (0, 100), (1, 400), (2, 100), (3, 100))]
    got = claim(link().near, link(), polls, 0, 2 * 10**9)
    assert (got.bound_ns, got.skew_ppb, got.gap_ns, got.usable) == (900, 10, 10**9, True)


@pytest.mark.parametrize(
    ("changes", "refusal"),
    [
        ({"synchronised": False}, "not synchronised"),
        ({"synchronised": None}, "unknown"),
        ({"bound_ns": None}, "unknown"),
        ({"source": "in-band"}, "no admissible"),
        ({"source": "rumour"}, "no admissible"),
    ],
)
def test_what_is_not_known_carries_nothing(changes: dict[str, object], refusal: str) -> None:
    polls = [poll("a", s * 10**9, **changes) for s in range(-1, 3)]
    got = claim(link().near, link(), polls, 0, 10**9)
    assert not got.usable
    assert refusal in got.refusal


def test_one_denial_among_good_polls_vetoes() -> None:
    polls = [poll("a", s * 10**9, synchronised=s != 1) for s in range(-1, 3)]
    assert claim(link().near, link(), polls, 0, 10**9).refusal == "kernel says: not synchronised"


@pytest.mark.parametrize("unknown", [{"synchronised": None}, {"bound_ns": None}])
@pytest.mark.parametrize(("silent", "gap_s"), [([2], 2), ([2, 3, 4], 4), ([-1, 0], None), ([6], None)])
def test_an_unknown_poll_is_a_silence(unknown: dict[str, object], silent: list[int], gap_s: int | None) -> None:
    polls = [poll("a", s * 10**9, **(unknown if s in silent else {})) for s in range(-1, 7)]
    got = claim(link().near, link(), polls, 0, 6 * 10**9 - 1)
    assert got.usable
    assert got.bound_ns == 500
    assert got.gap_ns >= 1 << 62 if gap_s is None else got.gap_ns == gap_s * 10**9


@pytest.mark.parametrize("better", ["chrony", "simulated"])
def test_the_kernels_growing_error_does_not_count_beside_a_better_informed_source(better: str) -> None:
    # chronyd with rtcsync: between its updates the kernel adds 500 us a second to its maximum error
    polls = [poll("a", s * 10**9, bound_ns=40_000 + 500_000 * (s % 16)) for s in range(-1, 20)]
    polls += [poll("a", s * 10**9, source=better, bound_ns=30_000 + s, skew_ppb=7) for s in range(-1, 20)]
    got = claim(link().near, link(), polls, 0, 18 * 10**9)
    assert (got.bound_ns, got.skew_ppb, got.gap_ns, got.usable) == (30_019, 7, 10**9, True)
    assert got.sources == (better,)
    assert claim(link().near, link(), polls[:21], 0, 18 * 10**9).bound_ns == 40_000 + 15 * 500_000
    silent = [replace(p, bound_ns=None) if p.source == better else p for p in polls]
    assert claim(link().near, link(), silent, 0, 18 * 10**9).bound_ns == 40_000 + 15 * 500_000
    denied = [*polls, poll("a", 5 * 10**9, synchronised=False)]
    assert claim(link().near, link(), denied, 0, 18 * 10**9).refusal == "kernel says: not synchronised"


def test_the_kernel_does_not_hide_the_silence_of_the_source_that_gives_the_bound() -> None:
    polls = [poll("a", s * 10**9) for s in range(-1, 10)]
    polls += [poll("a", s * 10**9, source="chrony") for s in (-1, 0, 7, 8, 9)]
    assert claim(link().near, link(), polls, 0, 8 * 10**9).gap_ns == 7 * 10**9


def test_in_band_words_count_only_of_a_trusted_far_end() -> None:
    polls = [poll("b", s * 10**9, source="in-band") for s in range(-1, 3)]
    assert "not trusted" in claim(link().far, link(), polls, 0, 10**9).refusal
    trusted = link(far_clock_trusted=True)
    assert claim(trusted.far, trusted, polls, 0, 10**9).usable
    near = [replace(p, site="a") for p in polls]
    assert not claim(trusted.near, trusted, near, 0, 10**9).usable


def named(*widths: int) -> tuple[Part, ...]:
    return tuple(Part(f"部分{i}", f"part {i}", width, f"origin {i}") for i, width in enumerate(widths))


def test_named_parts_enter_the_budget_by_name_each_at_its_largest(metro: Policy) -> None:
    polls = [
        poll("a", s * 10**9, source="linuxptp", bound_ns=a + b, parts=named(a, b))
        for s, (a, b) in enumerate(((10, 200), (90, 100), (20, 20)), -1)
    ]
    got = claim(link().near, link(), polls, 0, 10**9)
    assert [part.half_width_ns for part in got.parts] == [90, 200]
    assert got.bound_ns == 290
    found = [c for c in budget(metro, near=got).components if c.name_en.startswith("part")]
    assert [(c.name_en, c.value, c.origin) for c in found] == [
        ("part 0, near end", 90_000, "origin 0"),
        ("part 1, near end", 200_000, "origin 1"),
    ]


@pytest.mark.parametrize("parts", [(), named(1, 2)])
def test_parts_that_do_not_add_up_to_every_bound_are_not_believed(parts: tuple[Part, ...]) -> None:
    polls = [poll("a", s * 10**9, source="linuxptp", bound_ns=100, parts=named(60, 40)) for s in range(-1, 3)]
    polls[1] = replace(polls[1], bound_ns=700, parts=parts)
    got = claim(link().near, link(), polls, 0, 10**9)
    assert (got.bound_ns, got.parts) == (700, ())


def test_of_two_equal_bounds_the_parts_do_not_hang_on_the_hash_seed() -> None:
    """Sources of one bound and other parts: the first by name speaks, in every process."""
    polls = [
        poll("a", 0, source=s, bound_ns=100, parts=named(*w)) for s, w in (("phc", (90, 10)), ("counter", (50, 50)))
    ]
    code = (
        "import sys, pickle; from harness.uncertainty import claim; print(claim(*pickle.load(sys.stdin.buffer)).parts)"
    )
    given_ = pickle.dumps((link().near, link(), polls, 0, 0))
    told = {
        subprocess.run(
            [sys.executable, "-c", code],
            input=given_,
            capture_output=True,
            check=True,
            cwd=ROOT,
            env={**os.environ, "PYTHONHASHSEED": str(seed)},
        ).stdout
        for seed in range(1, 7)
    }
    assert told == {f"{named(50, 50)}\n".encode()}


def test_a_receiver_alone_says_nothing_of_the_clock_that_stamps() -> None:
    receiver = [poll("a", s * 10**9, source="gnss", bound_ns=100) for s in range(-1, 3)]
    got = claim(link().near, link(), receiver, 0, 10**9)
    assert not got.usable
    assert "follows" in got.refusal


def test_a_watched_reference_adds_its_bound_and_its_doubts() -> None:
    receiver = [poll("a", s * 10**9, source="gnss", bound_ns=100, parts=named(60, 40)) for s in range(-1, 3)]
    clock = [poll("a", s * 10**9, source="phc", bound_ns=50, parts=(named(0, 50)[1],)) for s in range(-1, 3)]
    undivided = [replace(p, parts=()) for p in clock]
    good = claim(link().near, link(), receiver + clock, 0, 10**9)
    assert (good.bound_ns, len(good.parts), good.sources, good.usable) == (150, 3, ("phc", "gnss"), True)
    whole = claim(link().near, link(), receiver + undivided, 0, 10**9)
    assert (whole.bound_ns, whole.parts) == (150, ())
    deaf = [replace(p, synchronised=None, bound_ns=None) for p in receiver]
    assert "gnss" in claim(link().near, link(), deaf + clock, 0, 10**9).refusal
    unplugged = [p if p.at_ns < 10**9 else replace(p, synchronised=None, bound_ns=None) for p in receiver]
    assert claim(link().near, link(), unplugged + clock, 0, 10**9).gap_ns >= 1 << 62
    denied = [replace(receiver[0], synchronised=False), *receiver[1:], *clock]
    assert claim(link().near, link(), denied, 0, 10**9).refusal == "gnss says: not synchronised"


def test_a_run_without_a_poll_at_an_end_is_not_covered() -> None:
    polls = [poll("a", s * 10**9) for s in range(3)]
    assert claim(link().near, link(), polls, 0, 2 * 10**9).gap_ns == 10**9
    assert claim(link().near, link(), polls, -1, 2 * 10**9).gap_ns >= 1 << 62
    assert claim(link().near, link(), polls, 0, 2 * 10**9 + 1).gap_ns >= 1 << 62


def budget(metro: Policy, **changes: object) -> Budget:
    given_ = {"planes": (KERNEL, KERNEL), "near": A, "far": A, "shared": "", "calibration": None}
    return clock_budget(metro, Direction.FORWARD, **{**given_, **changes})  # type: ignore[arg-type]


def test_uncalibrated_planes_enter_in_full(metro: Policy) -> None:
    for planes, ns in (((KERNEL, KERNEL), 50_000), ((NIC, NIC), 100), ((USER, USER), 1_000_000)):
        got = [c.value for c in budget(metro, planes=planes).components if "plane" in c.name_en]
        assert got == [ns * 1000, ns * 1000]


def test_a_calibration_replaces_the_planes_by_its_spread_and_counts_the_clocks_twice(metro: Policy) -> None:
    zero = dict.fromkeys(Direction, 0)
    made = Calibration("c", zero, dict.fromkeys(Direction, 1_960), 60_000, 1000, 128, "")
    got = budget(metro, calibration=made)
    spread = next(c for c in got.components if "spread" in c.name_en)
    assert (spread.u, spread.nu) == (1_000_000, 1199)
    assert sum("clock" in c.name_en for c in got.components) == 4
    alone = budget(metro, calibration=made, shared="lab")
    assert [c.value for c in alone.components if "clock" in c.name_en] == [0]
    assert alone.u_c < got.u_c


def test_drift_between_polls(metro: Policy) -> None:
    known = [c.value for c in budget(metro).components if "drift" in c.name_en]
    assert known == [50_000, 50_000]  # 50 ppb over 1 s
    unknown = budget(metro, near=replace(A, skew_ppb=None)).components
    assert max(c.value for c in unknown if "drift" in c.name_en) == 15_000_000


def test_one_source_that_knows_the_rate_error_is_enough() -> None:
    polls = [poll("a", s * 10**9, source="simulated") for s in range(-1, 3)]
    polls += [poll("a", s * 10**9, source="chrony", skew_ppb=None) for s in range(-1, 3)]
    assert claim(link().near, link(), polls, 0, 10**9).skew_ppb == 10
    mute = [replace(p, skew_ppb=None) for p in polls]
    assert claim(link().near, link(), mute, 0, 10**9).skew_ppb is None


def test_two_gnss_clocks_as_in_the_reference(metro: Policy) -> None:
    got = budget(metro, planes=(NIC, NIC))
    # 100 ns x2, PHY 100 ns x2, drift 50 ns x2, resolution 1 ns x2, all rectangles
    assert got.u_c / 1000 == pytest.approx(sqrt((4 * 100**2 + 2 * 50**2 + 2) / 3), abs=0.01)
    assert got.nu_eff is None
    assert got.worst_case == 502_000


def test_clock_free_budgets_know_no_clock_offset(metro: Policy) -> None:
    free = bracket_budget(metro, 1_000_000)
    assert free.worst_case == 500_000 + 2_000
    pair = pair_budget(metro, 1_000_000, (KERNEL,) * 4)
    assert pair.worst_case == 1_000_000 + 4_000 + 4 * 50_000_000


@given(st.integers(0, 10**6), st.integers(0, 10**6))
def test_u_grows_with_every_component(a: int, b: int) -> None:
    low, high = sorted((a, b))
    base = (normal(10, 5), rectangle(100))
    assert Budget((*base, rectangle(low))).u_c <= Budget((*base, rectangle(high))).u_c


def test_the_synthetic_evidence_is_admissible(synthetic: ModuleType) -> None:
    m = synthetic.tell(synthetic.Story())
    got = claim(m.link.far, m.link, m.evidence, m.health.started_ns, m.health.ended_ns)
    assert got.usable
    assert got.gap_ns == 10**9
