"""adjtimex readings and what they are worth."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import clock as core_clock
from harness.evidence.kernel import STA_DEL, STA_INS, STA_UNSYNC, Kernel, describe, state_of

GOOD = {
    "offset_ns": -250,
    "freq_ppb": 10,
    "maxerror_us": 1234,
    "esterror_us": 5,
    "status": 0x2001,
    "tai": 37,
    "state": 0,
}


def test_a_bound_that_somebody_wrote() -> None:
    state = state_of("a", 5, GOOD)
    assert (state.site, state.source, state.at_ns) == ("a", "kernel", 5)
    assert state.synchronised is True
    assert [part.half_width_ns for part in state.parts] == [1_235_000, 250]  # cut to whole us: up to the next
    assert state.bound_ns == 1_235_000 + 250
    assert state.offset_ns == 250  # the kernel still takes 250 ns away: the clock is ahead
    assert state.skew_ppb is None
    assert state.tai_utc_s == 37
    assert state.leap_pending is False
    assert state.identity == f"clock:{core_clock.clock_id():08x}"
    assert "maxerror_us=1234" in state.raw


@pytest.mark.parametrize(
    ("change", "synchronised"),
    [
        ({"maxerror_us": 16_000_000, "status": STA_UNSYNC, "state": 5}, False),  # never set: a fresh virtual machine
        ({"maxerror_us": 16_000_000}, False),  # everybody fell silent hours ago
        ({"maxerror_us": 1234, "status": STA_UNSYNC, "state": 5}, None),  # chronyd without rtcsync
        ({"maxerror_us": 1234, "state": 5}, None),
        ({"maxerror_us": 0}, True),  # linuxptp, just now: a servo ran, no more
        ({"maxerror_us": 500}, True),  # the same half a second later, by the kernel's own count
        ({"maxerror_us": 2000}, True),
        ({"maxerror_us": 2500}, None),  # its servo has fallen silent
        ({"status": 0x2000, "offset_ns": 0}, True),  # chronyd with rtcsync: what it slews away itself is not in there
        ({"maxerror_us": 1000, "status": 0x2000, "offset_ns": 0}, True),
        ({"maxerror_us": -1}, None),
    ],
)
def test_no_bound_from_what_nobody_measured(change: dict[str, int], synchronised: bool | None) -> None:
    state = state_of("a", 5, GOOD | change)
    assert (state.bound_ns, state.offset_ns, state.parts) == (None, None, ())
    assert state.synchronised is synchronised


@pytest.mark.parametrize(
    ("status", "kernel_state", "pending"),
    [(0, 0, False), (STA_INS, 1, True), (STA_DEL, 2, True), (STA_INS, 3, True), (STA_INS, 4, False)],
)
def test_a_leap_second_is_pending_until_it_has_passed(status: int, kernel_state: int, pending: bool) -> None:
    assert state_of("a", 5, GOOD | {"status": status, "state": kernel_state}).leap_pending is pending


def test_an_unset_tai_offset_is_unknown_not_zero() -> None:
    assert state_of("a", 5, GOOD | {"tai": 0}).tai_utc_s is None


def test_the_kernel_of_this_host_answers() -> None:
    state = Kernel("here").poll(7)
    assert state.at_ns == 7
    assert "status=" in state.raw
    assert state.bound_ns is None or state.synchronised


def test_a_kernel_that_refuses_is_unknown() -> None:
    def refuse() -> dict[str, int]:
        raise PermissionError(1, "adjtimex refused")

    state = Kernel("here", refuse).poll(7)
    assert (state.synchronised, state.bound_ns) == (None, None)
    assert state.raw == "PermissionError: [Errno 1] adjtimex refused"


@given(
    st.fixed_dictionaries(
        {
            "offset_ns": st.integers(-(2**63), 2**63 - 1),
            "maxerror_us": st.integers(-(2**63), 2**63 - 1) | st.integers(0, 40_000),
            "status": st.integers(0, 2**16 - 1),
            "tai": st.integers(-(2**31), 2**31 - 1),
            "state": st.integers(0, 5),
        }
    )
)
def test_a_bound_is_the_sum_of_its_parts_and_only_of_a_clock_that_is_synchronised(reading: dict[str, int]) -> None:
    state = state_of("a", 5, reading)
    if state.bound_ns is None:
        assert (state.parts, state.offset_ns) == ((), None)
        return
    assert state.synchronised is True
    assert state.offset_ns == -reading["offset_ns"]
    assert state.bound_ns == sum(part.half_width_ns for part in state.parts)
    assert state.bound_ns > abs(state.offset_ns)


def test_the_host_clock_in_a_few_words() -> None:
    assert describe(lambda: GOOD) == "kernel: synchronised, bound ±1235250 ns, TAI − UTC 37 s"
    fresh = GOOD | {"maxerror_us": 16_000_000, "tai": 0}
    assert describe(lambda: fresh) == "kernel: not synchronised, bound unknown, TAI offset not set"
    assert describe().startswith("kernel: ")
