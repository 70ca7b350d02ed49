"""Plots: exact order statistics first, then the same SVG every time."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from harness.link import Direction
from harness.measurement import Measurement
from harness.report import plots as module
from harness.report.plots import INFINITE, ccdf_data, delays_of, plots, round_trips, strip_data
from harness.samples import MISSING

Ints = npt.NDArray[np.int64]
DELAYS = hnp.arrays(np.int64, st.integers(1, 300), elements=st.integers(-1000, 1000) | st.just(INFINITE))


@given(DELAYS)
def test_every_point_of_the_distribution_is_true(delays: Ints) -> None:
    data = ccdf_data(delays, points=40)
    assert data.n == delays.size
    assert data.lost == int((delays == INFINITE).sum())
    for at, beyond in zip(data.delay_ns, data.beyond, strict=True):
        # ties: of equal delays some stand before the rank, some behind
        assert int((delays > at).sum()) <= beyond <= int((delays >= at).sum())
    assert (np.diff(data.delay_ns) >= 0).all()
    assert (np.diff(data.beyond) < 0).all()
    finite = delays[delays != INFINITE]
    if finite.size:
        assert (data.delay_ns[0], data.delay_ns[-1]) == (finite.min(), finite.max())


@given(DELAYS)
def test_counting_finds_what_sorting_finds(delays: Ints) -> None:
    with pytest.MonkeyPatch.context() as patch:
        sorted_ = ccdf_data(delays)
        patch.setattr(module, "_COUNTED_FROM", 0)
        patch.setattr(module, "_BULK_NS", 700)
        counted = ccdf_data(delays)
    assert (counted.delay_ns == sorted_.delay_ns).all()


def test_the_distribution_is_reduced() -> None:
    data = ccdf_data(np.arange(1_000_000, dtype=np.int64), points=400)
    assert 200 < data.delay_ns.size <= 401
    assert data.beyond[-1] == 0
    assert list(data.beyond[-5:]) == [4, 3, 2, 1, 0]


@given(DELAYS)
def test_windows_hold_every_packet_once(delays: Ints) -> None:
    scheduled = np.arange(delays.size, dtype=np.int64) * 700_000_000
    data = strip_data(scheduled, delays, windows=10)
    assert data.n.sum() == delays.size
    assert data.n.size <= 10
    assert data.lost.sum() == (delays == INFINITE).sum()
    assert (data.min_ns <= data.median_ns).all()
    assert (data.median_ns <= data.p999_ns).all()
    for start, n, median, p999 in zip(data.start_ns, data.n, data.median_ns, data.p999_ns, strict=True):
        part = np.sort(delays[(scheduled >= start) & (scheduled < start + data.width_ns)])
        assert part.size == n
        # inverse ECDF: the smallest delay that at least that share of packets does not exceed
        assert (part <= median).mean() >= 0.5 > (part < median).mean()
        assert (part <= p999).mean() >= 0.999 > (part < p999).mean()


def test_no_packets_no_windows() -> None:
    none = np.empty(0, np.int64)
    assert strip_data(none, none).n.size == 0
    assert ccdf_data(none).delay_ns.size == 0


def test_delays_subtract_the_calibration_and_count_the_lost(make: Any) -> None:
    measurement: Measurement = make("optical", n=2_000, lost=3)
    scheduled, delays = delays_of(measurement, Direction.FORWARD, calibrated=True)
    s = measurement.samples
    there = s.t2 != MISSING
    assert delays.size == scheduled.size == 2_000
    assert int((delays == INFINITE).sum()) == 6
    assert (delays[there] == (s.t2 - s.t1)[there] - 1_200).all()
    raw = delays_of(measurement, Direction.FORWARD, calibrated=False)[1]
    assert (raw[there] == (s.t2 - s.t1)[there]).all()
    assert int((round_trips(measurement) == INFINITE).sum()) == 6


def test_equal_data_gives_equal_bytes(make: Any, example: dict[str, Any]) -> None:
    measurement = make("optical", n=3_000, lost=2)
    once, again = plots([measurement], example), plots([measurement], example)
    assert once == again
    assert sorted(once) == ["zj-lg-optical-ccdf", "zj-lg-optical-strip"]
    assert all(svg.startswith(b"<?xml") and b"<dc:date>" not in svg and b"<text" not in svg for svg in once.values())


@pytest.mark.parametrize(
    "story",
    [
        {"n": 1},
        {"n": 50, "lost": 1000},
        {"n": 2_000, "offset_ns": 37_000_000_000},
        {"n": 2_000, "offset_ns": -3_000_000},
        {"n": 2_000, "base_ns": 500_000_000},
    ],
    ids=["one packet", "all lost", "time scale", "negative", "far away"],
)
def test_odd_measurements_can_be_drawn(make: Any, story: dict[str, int]) -> None:
    measurement = make("optical", **story)
    row = {
        "measurement": measurement.id,
        "direction": "forward",
        "statements": [{"basis": "clock", "verdict": "INVALID", "upper_ns": None}],
        "bracket": {"lower_ps": None},
    }
    judged = {"requirements": [{"limit_ns": 1_000_000, "statistic": "quantile", "p": [999, 1000], "directions": [row]}]}
    assert len(plots([measurement], judged)) == 2


def test_a_calibration_is_drawn_only_where_the_judge_applied_it(make: Any, example: dict[str, Any]) -> None:
    measurement = make("optical", n=500)
    drawn = {}
    for applied in (True, False, None):
        row = {"id": "patch-1", "measurement": measurement.id, "applied": applied}
        example["calibrations"] = [] if applied is None else [row]
        drawn[applied] = plots([measurement], example)["zj-lg-optical-strip"]
    assert drawn[True] != drawn[False]
    assert drawn[None] == drawn[False]


def test_nothing_measured_nothing_drawn(example: dict[str, Any]) -> None:
    assert plots([], example) == {}
