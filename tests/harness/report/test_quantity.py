"""Quantities as text: digits from integers, U rounded up, the unit always there."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.report import quantity as q

SCALE = {"ps": Decimal(1), "ns": Decimal(10**3), "µs": Decimal(10**6), "ms": Decimal(10**9), "s": Decimal(10**12)}


def picoseconds(text: str) -> Decimal:
    """The value that a reader takes from a printed quantity, ps."""
    digits, unit = text.split(q.NBSP)
    return Decimal(digits) * SCALE[unit]


@pytest.mark.parametrize(
    ("estimate", "uncertainty", "shown"),
    [
        (412_634_000, 566_001, ("412.63 µs", "0.57 µs")),
        (412_634_000, 11_000_001, ("413 µs", "12 µs")),
        (412_635_000, 560_000, ("412.64 µs", "0.56 µs")),
        (412_634_000, 996_000, ("412.6 µs", "1.0 µs")),
        (412_634_000, 995_001_000, ("400 µs", "1000 µs")),
        (412_634_000, 5_920, ("412.634 µs", "0.006 µs")),
        (-1_582_314_000, 480_184, ("-1582.31 µs", "0.49 µs")),
        (12_345_678_000, 480_184, ("12.34568 ms", "0.00049 ms")),
        (900_000, 120_000, ("900 ns", "120 ns")),
    ],
)
def test_estimate_and_uncertainty_share_unit_and_decimals(
    estimate: int, uncertainty: int, shown: tuple[str, str]
) -> None:
    assert tuple(text.replace(q.NBSP, " ") for text in q.measured(estimate, uncertainty)) == shown


@given(st.integers(-(10**13), 10**13), st.integers(1, 10**12))
def test_printed_uncertainty_is_never_too_small(estimate: int, uncertainty: int) -> None:
    value, u = q.measured(estimate, uncertainty)
    assert picoseconds(u) >= uncertainty
    # rounded up by less than a tenth of itself, or by less than the ns below which nothing is printed
    assert picoseconds(u) - uncertainty < max(Decimal(uncertainty) / 10, Decimal(1000))
    assert value.split(q.NBSP)[1] == u.split(q.NBSP)[1]
    assert len(value.split(q.NBSP)[0].partition(".")[2]) == len(u.split(q.NBSP)[0].partition(".")[2])


@given(st.integers(1, 10**15))
def test_uncertainty_alone_has_two_digits_rounded_up(uncertainty: int) -> None:
    shown = picoseconds(q.expanded(uncertainty))
    assert uncertainty <= shown
    assert shown - uncertainty <= Decimal(uncertainty) / 10 + (1 if uncertainty < 10 else 0)


@given(st.integers(-(10**12), 10**12))
def test_delay_loses_no_nanosecond_below_a_second(ns: int) -> None:
    assert picoseconds(q.delay(ns)) == ns * 1000


def test_words_for_what_is_no_number() -> None:
    assert q.delay(None) == "—"
    assert q.bound(None, infinite=True) == "+∞"
    assert q.bound(None) == "—"
    assert q.expanded(None) == "—"
    assert q.instant(None) == q.instant(0) == q.instant(10**30) == "—"


def test_floats_and_booleans_are_refused() -> None:
    values: list[object] = [1.5, True, [], "1.5"]
    for value in values:
        with pytest.raises(ValueError):
            q.integer(value)
    assert q.integer("123456789012345678901") == 123456789012345678901


@pytest.mark.parametrize(
    ("made", "shown"),
    [
        (q.limit(1_000_000), "1 ms"),
        (q.limit(1_500), "1.5 µs"),
        (q.limit(999), "999 ns"),
        (q.limit(10_000_000_000), "10 s"),
        (q.count(7_200_000), "7 200 000"),
        (q.percent(999, 1000), "99.9 %"),
        (q.percent(1, 4), "25 %"),
        (q.percent(1, 3), "33.333333 %"),
        (q.milli(2_001), "2.001"),
        (q.ratio([144_000, 1]), "144 000"),
        (q.ratio([7, 2]), "3.50"),
        (q.ratio(None), "—"),
        (q.freedom(None), "∞"),
        (q.freedom(241_187_474), "> 9999"),
        (q.instant(1_795_345_514_000_000_000), "2026-11-22 11:05:14 UTC"),
        (q.period(1_795_345_514 * 10**9, 1_795_351_026 * 10**9), "2026-11-22 11:05:14 – 12:37:06 UTC"),
        (q.span(7_200 * 10**9), "2 h 00 min 00 s"),
        (q.span(90 * 10**9), "1 min 30 s"),
        (q.span(2_500_000_000), "2.5 s"),
        (q.clock_time(850 * 10**9), "00:14:10"),
    ],
)
def test_reads_as_printed(made: str, shown: str) -> None:
    assert made.replace(q.NBSP, " ") == shown
