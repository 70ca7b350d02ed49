from dataclasses import replace
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.bracket import Bracket, bracket, clock_offset, upper
from harness.link import Link
from harness.statistics import LOST, UNKNOWN


@pytest.fixture
def link(synthetic: ModuleType) -> Link:
    found: Link = synthetic.tell(synthetic.Story(seconds=1)).link
    return found


def test_tiers_need_their_evidence(link: Link) -> None:
    assert bracket(link).tier == "0"
    assert bracket(link).subtracted == []
    qualified = replace(link, key_file="k", far_turnaround_qualified="Q-1", turnaround_cap_ns=50_000)
    assert (bracket(qualified).tier, bracket(qualified).subtracted) == ("0t", ["turnaround"])
    surveyed = replace(qualified, geodesic_m=30_000)
    assert bracket(surveyed).tier == "1"
    assert bracket(surveyed).reverse_floor_ns == 100_069  # 30 km over c, rounded down
    assert "positions: survey of 2026" in bracket(surveyed).reason_en
    assert "坐标来源：survey of 2026" in bracket(surveyed).reason_zh
    assert "tier 2 not used" in bracket(surveyed).reason_en


@pytest.mark.parametrize("end", ["near", "far"])
def test_positions_that_nobody_answers_for_subtract_nothing(link: Link, end: str) -> None:
    typed = replace(getattr(link, end), position_origin="")
    found = bracket(replace(link, geodesic_m=30_000, **{end: typed}))
    assert (found.tier, found.subtracted, found.floor_ps) == ("0", [], 0)
    assert "nobody answers for the positions" in found.reason_en
    assert "坐标无来源" in found.reason_zh


def test_each_origin_of_positions_is_named_once(link: Link) -> None:
    assert link.positions_origin == "survey of 2026"
    other = replace(link, far=replace(link.far, position_origin="land register"))
    assert other.positions_origin == "survey of 2026; land register"


@pytest.mark.parametrize("lacking", ["key_file", "far_turnaround_qualified", "turnaround_cap_ns"])
def test_no_turnaround_without_key_qualification_and_cap(link: Link, lacking: str) -> None:
    full = {"key_file": "k", "far_turnaround_qualified": "Q-1", "turnaround_cap_ns": 50_000}
    empty = {"key_file": None, "far_turnaround_qualified": "", "turnaround_cap_ns": 0}
    found = bracket(replace(link, **{**full, lacking: empty[lacking]}))  # type: ignore[arg-type]
    assert (found.tier, found.turnaround, found.cap_ns) == ("0", False, 0)


def test_a_lying_turnaround_is_capped() -> None:
    found = Bracket("0t", "", "", turnaround=True, cap_ns=50_000, floor_ps=0)
    got = upper(found, np.array([1_500_000] * 4), np.array([900_000, 20_000, -5, UNKNOWN]))
    assert got.tolist() == [1_450_000, 1_480_000, 1_500_000, 1_500_000]


def test_lost_and_unknown_stay_what_they_are() -> None:
    found = Bracket("1", "", "", turnaround=True, cap_ns=50_000, floor_ps=10_000_999)
    got = upper(found, np.array([LOST, UNKNOWN, 100_000]), np.array([LOST, UNKNOWN, 0]))
    assert got.tolist() == [LOST, UNKNOWN, 90_000]


@given(
    there=st.integers(0, 10**6),
    back=st.integers(0, 10**6),
    turnaround=st.integers(0, 10**5),
    offset=st.integers(-(10**9), 10**9),
    floor=st.integers(0, 10**6),
)
def test_the_clock_offset_lies_in_its_interval(there: int, back: int, turnaround: int, offset: int, floor: int) -> None:
    floor = min(floor, there, back)
    found = Bracket("1", "", "", turnaround=False, cap_ns=0, floor_ps=floor * 1000)
    low, high = clock_offset(found, there + offset, there + turnaround + back)
    assert low <= offset <= high
