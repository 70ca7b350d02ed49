"""The far end's words in its replies, as evidence."""

from __future__ import annotations

import json

import numpy as np
import pytest

from fastpath import wire
from harness.evidence.in_band import bound_ns, reading, states
from harness.samples import COLUMNS, FAR_INJECTED, FAR_SYNCHRONISED, FAR_VIRTUAL, MISSING, Samples

S = 1_000_000_000
TAI = 37
START = 1_795_000_000 * S


def samples(n: int, spacing_ns: int, estimate: int, flags: int) -> Samples:
    columns = {name: np.zeros(n, np.int64) for name in COLUMNS}
    columns["t1"] = START + np.arange(n) * spacing_ns
    columns["t4"] = columns["t1"] + 400_000
    columns["error_estimate"][:] = estimate
    columns["flags"][:] = flags
    return Samples(**columns)


GOOD = wire.encode_error_estimate(1000, True, True)
WORSE = wire.encode_error_estimate(90_000, True, True)
UNKNOWN = wire.encode_error_estimate(None, False, True)


def test_one_state_a_second_of_sample_time() -> None:
    found = states(samples(2500, S // 1000, GOOD, FAR_SYNCHRONISED), site="b", tai_utc_s=TAI, clock_id=0xAB)
    assert len(found) == 3
    assert [s.at_ns for s in found] == [START + k * S // 1000 + 400_000 - TAI * S for k in (999, 1999, 2499)]
    for state in found:
        assert (state.site, state.source, state.identity) == ("b", "in-band", "clock:000000ab")
        assert state.synchronised is True
        assert state.bound_ns is not None
        assert 1000 <= state.bound_ns <= 1010  # the format rounds up, in steps of less than 1 %
        assert (state.tai_utc_s, state.leap_pending, state.skew_ppb) == (None, None, None)


def test_the_worst_word_of_a_second_counts() -> None:
    made = samples(2000, S // 1000, GOOD, FAR_SYNCHRONISED)
    made.error_estimate[1500] = WORSE
    first, second = states(made, site="b", tai_utc_s=TAI)
    assert first.bound_ns is not None
    assert first.bound_ns < 2000
    assert second.bound_ns is not None
    assert second.bound_ns >= 90_000
    made.flags[10] = 0
    first, second = states(made, site="b", tai_utc_s=TAI)
    assert (first.synchronised, second.synchronised) == (False, True)


def test_one_unknown_word_makes_the_bound_unknown() -> None:
    made = samples(1000, S // 1000, GOOD, FAR_SYNCHRONISED)
    made.error_estimate[3] = UNKNOWN
    made.flags[3] = 0
    (state,) = states(made, site="b", tai_utc_s=TAI)
    assert state.bound_ns is None
    assert state.synchronised is False


def test_an_end_that_knows_nothing_is_unknown_not_unsynchronised() -> None:
    (state,) = states(samples(10, S // 1000, UNKNOWN, 0), site="b", tai_utc_s=TAI)
    assert (state.synchronised, state.bound_ns) == (None, None)
    (state,) = states(samples(10, S // 1000, GOOD & 0x7FFF, 0), site="b", tai_utc_s=TAI)
    assert state.synchronised is False


def test_facts_are_in_the_raw_words() -> None:
    (state,) = states(samples(10, 1000, GOOD, FAR_SYNCHRONISED | FAR_INJECTED | FAR_VIRTUAL), site="b", tai_utc_s=TAI)
    raw = json.loads(state.raw)
    assert raw["injected"]
    assert raw["virtual"]
    assert raw["replies"] == 10
    assert raw["error_estimates"] == [f"{GOOD:04x}"]


def test_a_silent_second_is_a_gap() -> None:
    made = samples(3000, S // 1000, GOOD, FAR_SYNCHRONISED)
    made.t4[1000:2000] = MISSING
    made.error_estimate[1000:2000] = -1
    found = states(made, site="b", tai_utc_s=TAI)
    assert len(found) == 2
    assert found[1].at_ns - found[0].at_ns == 2 * S
    made.t4[:] = MISSING
    assert states(made, site="b", tai_utc_s=TAI) == ()


def test_rows_out_of_order_or_years_apart() -> None:
    made = samples(2000, S // 1000, GOOD, FAR_SYNCHRONISED)
    shuffled = made.where(np.ones(2000, np.bool_))
    for name in COLUMNS:
        getattr(shuffled, name)[:] = getattr(made, name)[::-1]
    assert states(shuffled, site="b", tai_utc_s=TAI) == states(made, site="b", tai_utc_s=TAI)
    made.t1[-1] += 10**9 * S
    made.t4[-1] += 10**9 * S
    assert len(states(made, site="b", tai_utc_s=TAI)) == 3


@pytest.mark.parametrize(
    ("estimates", "low", "high"),
    [([GOOD, WORSE], 90_000, 91_000), ([GOOD, UNKNOWN], None, None), ([0], None, None), ([], None, None)],
)
def test_bounds(estimates: list[int], low: int | None, high: int | None) -> None:
    found = bound_ns(estimates)
    if low is None or high is None:
        assert found is None
    else:
        assert found is not None
        assert low <= found <= high


def test_a_single_reply_before_a_run_is_a_reading_too() -> None:
    state = reading("b", 5, [GOOD], replies=1, synchronised=1)
    assert (state.at_ns, state.synchronised) == (5, True)
    assert reading("b", 5, [], replies=0, synchronised=0).synchronised is None
