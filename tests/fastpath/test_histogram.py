"""The histogram against order statistics of the values themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath.histogram import Histogram

MISSING = -(2**63)
VALUE = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-3, 2000),
    st.integers(0, 62).flatmap(lambda bit: st.integers(2**bit - 1, 2**bit + 1)),
    st.just(MISSING),
)
FRACTION = st.integers(1, 2**31 - 1).flatmap(lambda den: st.tuples(st.integers(0, den), st.just(den)))


def recorded(values: list[int]) -> Histogram:
    histogram = Histogram()
    histogram.record(np.array(values, np.int64))
    return histogram


@given(st.lists(VALUE, min_size=1, max_size=60), FRACTION)
def test_percentile_is_an_upper_edge(values: list[int], fraction: tuple[int, int]) -> None:
    histogram = recorded(values)
    known = sorted(value for value in values if value != MISSING)
    assert histogram.count == len(known)
    assert histogram.missing == len(values) - len(known)
    assert histogram.negative == sum(value < 0 for value in known)
    edge = histogram.percentile(*fraction)
    if not known:
        assert (edge, histogram.minimum, histogram.maximum) == (None, None, None)
        return
    assert (histogram.minimum, histogram.maximum) == (known[0], known[-1])
    rank = max(1, -(-len(known) * fraction[0] // fraction[1]))
    exact = known[rank - 1]
    assert edge is not None
    assert exact <= edge <= known[-1]
    if exact < 0:
        assert edge == min(-1, known[-1])
    else:
        assert edge - exact <= exact >> 8


def test_exact_below_512_ns() -> None:
    histogram = recorded(list(range(512)))
    assert [histogram.percentile(i + 1, 512) for i in range(512)] == list(range(512))


def test_the_largest_values_have_a_bucket() -> None:
    assert recorded([2**63 - 1]).percentile(1, 1) == 2**63 - 1
    assert recorded([0, 2**63 - 1]).percentile(1, 2) == 0


@given(st.lists(VALUE, max_size=30), st.lists(VALUE, max_size=30), FRACTION)
def test_merged_is_recorded_together(one: list[int], two: list[int], fraction: tuple[int, int]) -> None:
    merged, together = recorded(one), recorded(one + two)
    merged.merge(recorded(two))
    for name in ("count", "negative", "missing", "minimum", "maximum"):
        assert getattr(merged, name) == getattr(together, name)
    assert merged.percentile(*fraction) == together.percentile(*fraction)


def test_cleared_is_new() -> None:
    histogram = recorded([-5, MISSING, 700])
    histogram.clear()
    assert (histogram.count, histogram.negative, histogram.missing) == (0, 0, 0)
    assert histogram.percentile(1, 2) is None
    histogram.record(np.array([3], np.int64))
    assert histogram.percentile(1, 2) == 3


@pytest.mark.parametrize(("num", "den"), [(1, 0), (0, 0), (2, 1), (-1, 2), (1, -1), (1, 2**31)])
def test_percentile_refuses_what_is_no_fraction(num: int, den: int) -> None:
    with pytest.raises(ValueError, match="not a fraction"):
        recorded([1]).percentile(num, den)
