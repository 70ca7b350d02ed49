"""adjtimex readings and what they are worth."""

from __future__ import annotations

import pytest

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
    assert state.bound_ns == 1_234_000 + 250
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
    ],
)
def test_no_bound_from_what_nobody_measured(change: dict[str, int], synchronised: bool | None) -> None:
    state = state_of("a", 5, GOOD | change)
    assert state.bound_ns is None
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


def test_the_host_clock_in_a_few_words() -> None:
    assert describe(lambda: GOOD) == "kernel: synchronised, bound ±1234250 ns, TAI − UTC 37 s"
    fresh = GOOD | {"maxerror_us": 16_000_000, "tai": 0}
    assert describe(lambda: fresh) == "kernel: not synchronised, bound unknown, TAI offset not set"
    assert describe().startswith("kernel: ")
