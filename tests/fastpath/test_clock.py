"""Clock models, step detection and the PTP ioctls at their edge."""

from __future__ import annotations

import errno
import struct
import time
from collections.abc import Callable
from fractions import Fraction
from math import floor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import clock

MISSING = -(1 << 63)
SECOND = 1_000_000_000
times = st.integers(0, 1 << 61)
offsets = st.integers(-(10**12), 10**12)


@given(times, offsets, st.integers(-500_000, 500_000), times, offsets, times)
def test_model_is_the_formula_in_whole_ns(t: int, offset: int, skew: int, origin: int, step: int, at: int) -> None:
    model = clock.ClockModel(offset, skew, origin, step, at)
    wanted = t + offset + floor(Fraction((t - origin) * skew, SECOND)) + (step if at and t >= at else 0)
    assert model.apply(t) == wanted


def test_model_leaves_a_missing_stamp_missing() -> None:
    assert clock.ClockModel(offset_ns=5, skew_ppb=7, step_ns=9, step_at_ns=1).apply(MISSING) == MISSING


@pytest.mark.parametrize(
    ("model", "injected"),
    [
        (clock.ClockModel(), False),
        (clock.ClockModel(origin_ns=5), False),
        (clock.ClockModel(step_ns=5), False),
        (clock.ClockModel(offset_ns=1), True),
        (clock.ClockModel(skew_ppb=-1), True),
        (clock.ClockModel(step_ns=5, step_at_ns=1), True),
    ],
)
def test_model_knows_whether_it_alters(model: clock.ClockModel, injected: bool) -> None:
    assert model.injected is injected


def test_realtime_is_this_systems() -> None:
    before = time.time_ns()
    now = clock.now_realtime()
    assert before <= now <= time.time_ns()
    assert clock.now_monotonic_raw() <= time.clock_gettime_ns(time.CLOCK_MONOTONIC_RAW)


def test_adjtimex_agrees_with_itself() -> None:
    said = clock.adjtimex()
    assert set(said) == {
        "offset_ns", "freq_ppb", "maxerror_us", "esterror_us", "status", "tai", "state", "tick_us", "synchronised",
    }  # fmt: skip
    assert said["synchronised"] == int(not said["status"] & 0x40)  # STA_UNSYNC
    assert 9_000 <= said["tick_us"] <= 11_000


class Bench:
    """A REALTIME that can be stepped and slewed beside a RAW that cannot."""

    def __init__(self) -> None:
        self.raw, self.real = 10**12, 10**18
        self.rate_ppb = self.freq_ppb = self.offset_ns = 0
        self.tick_us = 10_000

    def run(self, elapsed: int, step: int = 0) -> None:
        self.raw += elapsed
        self.real += elapsed + elapsed * self.rate_ppb // SECOND + step

    def read(self) -> tuple[int, int, int]:
        return self.raw, self.real, 100

    def kernel(self) -> dict[str, int]:
        return {"freq_ppb": self.freq_ppb, "tick_us": self.tick_us, "offset_ns": self.offset_ns}

    def detector(self) -> clock.StepDetector:
        return clock.StepDetector(read=self.read, kernel=self.kernel)


@pytest.mark.parametrize("step", [100_000, -100_000, 37 * SECOND, -SECOND])
@pytest.mark.parametrize("freq", [0, 500_000, -32_000])
def test_a_step_is_seen_and_told_in_ns(step: int, freq: int) -> None:
    bench = Bench()
    bench.rate_ppb = bench.freq_ppb = freq
    detector = bench.detector()
    bench.run(SECOND)
    assert detector.poll() == []
    assert detector.rate_ppb == abs(freq)
    bench.run(SECOND, step)
    (seen,) = detector.poll()
    assert abs(seen - step) <= 5_000
    bench.run(SECOND)
    assert detector.poll() == []
    assert detector.steps == (seen,)


def test_a_change_of_frequency_is_no_step() -> None:
    bench = Bench()
    detector = bench.detector()
    bench.rate_ppb = bench.freq_ppb = 400_000
    bench.run(SECOND)
    assert detector.poll() == []
    bench.tick_us, bench.rate_ppb = 10_050, 5_400_000  # a slew by the tick, as chrony does
    bench.run(SECOND)
    assert detector.poll() == []
    bench.offset_ns = 10**6  # the kernel's own slew of at most 500 ppm
    bench.rate_ppb += 500_000
    bench.run(SECOND)
    assert detector.poll() == []


def test_a_rate_that_nobody_declared_is_a_step() -> None:
    bench = Bench()
    detector = bench.detector()
    bench.rate_ppb = 100_000
    bench.run(SECOND)
    assert detector.poll() == [100_000]


def test_the_real_clock_has_not_stepped() -> None:
    raw, real, width = clock.read_pair()
    assert width >= 0
    assert real > raw
    assert clock.StepDetector().poll() == []


def test_clock_ids_tell_clocks_apart() -> None:
    assert clock.clock_id() == clock.clock_id("CLOCK_REALTIME")
    assert clock.clock_id(boot_id="a") != clock.clock_id(boot_id="b")
    assert clock.clock_id("CLOCK_REALTIME", "a") != clock.clock_id("CLOCK_REALTIME offset", "a")
    assert 0 <= clock.clock_id() < 1 << 32
    assert clock.clock_id("CLOCK_REALTIME", "0") == int.from_bytes(bytes.fromhex("5ee716e7"), "big")


def put_time(buffer: bytearray, at: int, ns: int) -> None:
    struct.pack_into("=qII", buffer, at, ns // SECOND, ns % SECOND, 0)


Ioctl = Callable[[int, int, bytearray, bool], int]


def phc_mock(supported: int, fill: Callable[[bytearray], None]) -> Ioctl:
    """Mock of a hardware clock, which cannot exist here: answers one ioctl, refuses the others."""

    def ioctl(fd: int, request: int, buffer: bytearray, mutate: bool) -> int:
        assert fd == 7
        assert mutate
        if request != supported:
            raise OSError(errno.EOPNOTSUPP, "mock")
        assert len(buffer) == request >> 16 & 0x3FFF
        fill(buffer)
        return 0

    return ioctl


def test_ptp_ioctl_numbers_are_those_of_the_kernel_header() -> None:
    # _IOWR('=', 17, 64), _IOWR('=', 18, 1216), _IOW('=', 14, 832): linux/ptp_clock.h
    assert clock.PTP_SYS_OFFSET_PRECISE2 == 0xC0403D11
    assert clock.PTP_SYS_OFFSET_EXTENDED2 == 0xC4C03D12
    assert clock.PTP_SYS_OFFSET2 == 0x43403D0E


def test_precise_cross_stamp_with_mock_of_a_phc() -> None:
    def fill(buffer: bytearray) -> None:
        put_time(buffer, 0, 37 * SECOND + 5)
        put_time(buffer, 16, 9)

    assert clock.sys_offset(7, ioctl=phc_mock(clock.PTP_SYS_OFFSET_PRECISE2, fill)) == (
        37 * SECOND + 5, 9, 0, "precise",
    )  # fmt: skip


def test_extended_takes_the_narrowest_bracket_with_mock_of_a_phc() -> None:
    def fill(buffer: bytearray) -> None:
        assert struct.unpack_from("=I", buffer)[0] == 3
        for i, (before, phc, after) in enumerate([(100, 5, 900), (1000, 6, 1041), (2000, 7, 2100)]):
            for k, value in enumerate((before, phc, after)):
                put_time(buffer, 16 + 48 * i + 16 * k, value)

    assert clock.sys_offset(7, samples=3, ioctl=phc_mock(clock.PTP_SYS_OFFSET_EXTENDED2, fill)) == (
        6, 1020, 41, "extended",
    )  # fmt: skip


def test_basic_takes_neighbouring_system_times_with_mock_of_a_phc() -> None:
    def fill(buffer: bytearray) -> None:
        for i, value in enumerate([0, 11, 50, 12, 70, 13, 170]):
            put_time(buffer, 16 + 16 * i, value)

    assert clock.sys_offset(7, samples=3, ioctl=phc_mock(clock.PTP_SYS_OFFSET2, fill)) == (12, 60, 20, "basic")


def test_a_phc_error_that_is_no_refusal_is_raised() -> None:
    def ioctl(fd: int, request: int, buffer: bytearray, mutate: bool) -> int:
        raise OSError(errno.ENODEV, "gone")

    with pytest.raises(OSError, match="gone"):
        clock.sys_offset(7, ioctl=ioctl)
    with pytest.raises(ValueError, match="26"):
        clock.sys_offset(7, samples=26)


def test_interfaces_without_a_phc_say_so() -> None:
    assert clock.phc_index("lo") == -1
    with pytest.raises(OSError, match="no-such-if"):
        clock.phc_index("no-such-if")
