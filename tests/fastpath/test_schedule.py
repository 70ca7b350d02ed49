"""Schedules against the vectors of RFC 4656 appendix I and against a plain reading of its section 5."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given, settings
from hypothesis import strategies as st

from fastpath import schedule

SECOND = 1_000_000_000
SID = "2872979303ab47eeac028dab3829dab2"
LN2 = 0xB17217F8
Q = (LN2, 0xEEF193F7, 0xFD271862, 0xFF9D6DD0, 0xFFF4CFD0, 0xFFFEE819, 0xFFFFE7FF, 0xFFFFFE2B, 0xFFFFFFE0, 0xFFFFFFFE)


@pytest.mark.parametrize(
    ("sid", "total"),
    [
        (SID, 0x000F4479BD317381),
        ("0102030405060708090a0b0c0d0e0f00", 0x000F433686466A62),
        ("deadbeefdeadbeefdeadbeefdeadbeef", 0x000F416C8884D2D3),
        ("feed0feed1feed2feed3feed4feed5ab", 0x000F3F0B4B416EC8),
    ],
)
def test_sums_of_a_million_deviates(sid: str, total: int) -> None:
    assert int(schedule.deviates(1_000_000, sid).sum()) == total


def test_first_deviates() -> None:
    assert [int(x) for x in schedule.deviates(3, SID)] == [0x6D27E540, 0x34CBB103, 0x2729905A]


def uniforms(sid: str) -> Iterator[int]:
    """RFC 4656 5: the i-th word is quartet i mod 4 of AES(key, i - i mod 4)."""
    encrypt = Cipher(algorithms.AES(bytes.fromhex(sid)), modes.ECB()).encryptor().update  # noqa: S305
    counter = 0
    while True:
        block = encrypt(counter.to_bytes(16, "big"))
        for quartet in range(4):
            yield int.from_bytes(block[4 * quartet : 4 * quartet + 4], "big")
        counter += 4


def knuth(words: Iterator[int]) -> int:
    bits = f"{next(words):032b}"
    ones = bits.find("0")
    if ones < 0:
        return 32 * LN2
    u = int(bits[ones + 1 :].ljust(32, "0"), 2)
    if u < LN2:
        return ones * LN2 + u
    k = next((i for i, q in enumerate(Q, 1) if u < q), 11)
    return (ones << 32 | min(next(words) for _ in range(k))) * LN2 >> 32


@settings(max_examples=10)
@given(st.binary(min_size=16, max_size=16), st.integers(0, 15_000))
def test_deviates_are_a_plain_reading_of_the_rfc(sid: bytes, n: int) -> None:
    words = uniforms(sid.hex())
    assert schedule.deviates(n, sid.hex()).tolist() == [knuth(words) for _ in range(n)]


def test_a_shorter_schedule_is_the_start_of_a_longer_one() -> None:
    assert np.array_equal(schedule.exponential(50_000, 1000, SID)[:777], schedule.exponential(777, 1000, SID))


@settings(max_examples=20)
@given(st.integers(0, 2000), st.integers(1, 10_000_000))
def test_exponential_rounds_once(n: int, rate_pps: int) -> None:
    offsets = schedule.exponential(n, rate_pps, SID)
    assert offsets.dtype == np.int64
    total, wanted = 0, []
    for gap in schedule.deviates(n, SID).tolist():
        total += gap
        wanted.append(total * SECOND // (rate_pps << 32))
    assert offsets.tolist() == wanted


def test_exponential_keeps_its_rate() -> None:
    offsets = schedule.exponential(1_000_000, 100_000, SID)
    assert bool(np.all(np.diff(offsets) >= 0))
    assert int(offsets[-1]) == 0x000F4479BD317381 * SECOND // (100_000 << 32)


@given(st.integers(0, 300), st.integers(1, 10**9))
def test_periodic_never_drifts(n: int, rate_pps: int) -> None:
    offsets = schedule.periodic(n, rate_pps)
    assert offsets.dtype == np.int64
    assert offsets.tolist() == [i * SECOND // rate_pps for i in range(n)]


@pytest.mark.parametrize(
    "seed", ["", "00", "zz" * 16, "00 " * 16, "0 " * 16, "٠" * 32, SID[:-1], SID + "00", " " + SID]
)
def test_bad_seeds_are_named(seed: str) -> None:
    with pytest.raises(ValueError, match="32 hex digits"):
        schedule.exponential(1, 1, seed)


def test_bad_rates_and_counts_are_named() -> None:
    for rate in (0, -1):
        with pytest.raises(ValueError, match=f"rate of {rate}"):
            schedule.exponential(1, rate, SID)
        with pytest.raises(ValueError, match=f"rate of {rate}"):
            schedule.periodic(1, rate)
    with pytest.raises(ValueError, match="-1 packets"):
        schedule.exponential(-1, 1, SID)
    with pytest.raises(ValueError, match="-1 packets"):
        schedule.periodic(-1, 1)
