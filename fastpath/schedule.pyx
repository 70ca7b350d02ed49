# When each packet is due: periodic, or the pseudorandom exponential schedule of RFC 4656 section 5.
#
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
#
# The deviates of mean 1 are those of RFC 4656 bit for bit (unsigned 32.32 fixed point, AES-128 keyed by the session
# identifier). Scaling by 1/rate is exact on their running sum with one rounding down to a ns: the RFC's own mean in
# 2^-32 s would run fast or slow by up to rate/2^32 (23 ppm at 100 000 packets a second).
"""Send schedules as offsets in ns from the start of a stream."""
from libc.stdint cimport int64_t, uint32_t, uint64_t

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

cdef int64_t SECOND = 1000000000
cdef int BLOCKS = 4096         # AES blocks encrypted at a time
cdef int ENOUGH = 12           # words that one deviate can use at most: U, then U1 to U11

# Q[k]: sum of (ln 2)^i / i! for i = 1..k, in 2^-32 (RFC 4656 5); Q[1] is ln 2.
cdef uint64_t[12] Q
Q = [0, 0xB17217F8, 0xEEF193F7, 0xFD271862, 0xFF9D6DD0, 0xFFF4CFD0, 0xFFFEE819, 0xFFFFE7FF, 0xFFFFFE2B, 0xFFFFFFE0,
     0xFFFFFFFE, 0xFFFFFFFF]


# One deviate of mean 1 by Knuth's algorithm 3.4.1.S; takes what it needs from `words` and moves `at` on.
cdef inline uint64_t deviate(const uint32_t *words, int *at) noexcept nogil:
    cdef uint64_t u = words[at[0]], v, other
    cdef int ones = 0, k = 2
    at[0] += 1
    while ones < 32 and (u >> 31) & 1:
        u <<= 1
        ones += 1
    u = <uint32_t>(u << 1)
    if u < Q[1]:
        return ones * Q[1] + u
    while u >= Q[k]:               # ends at 11: the shifted u is even, below Q[11]
        k += 1
    v = words[at[0]]
    for other in words[at[0] + 1:at[0] + k]:
        if other < v:
            v = other
    at[0] += k
    return ones * Q[1] + (v * Q[1] >> 32)


def deviates(int64_t n, str seed_hex not None):
    """The first ``n`` exponential deviates of mean 1 (RFC 4656 5), uint64 in 2^-32.

    ``seed_hex`` is the session identifier, 32 hex digits; ValueError when it is not, or ``n`` is negative.
    """
    cdef int64_t i
    cdef int at = 0, left = 0
    cdef uint64_t counter = 0
    cdef const uint32_t[::1] words
    cdef uint64_t[::1] out
    if n < 0:
        raise ValueError(f"cannot schedule {n} packets")
    if len(seed_hex) != 32 or set(seed_hex) - set("0123456789abcdefABCDEF"):
        raise ValueError(f"an exponential schedule needs a seed of 32 hex digits, not {seed_hex!r}")
    seed = bytes.fromhex(seed_hex)
    encrypt = Cipher(algorithms.AES(seed), modes.ECB()).encryptor().update  # noqa: S305: RFC 4656 5 prescribes it
    result = np.empty(n, np.uint64)
    out = result
    rest = np.empty(0, np.uint32)
    words = rest
    for i in range(n):
        if left - at < ENOUGH:
            # A word's counter is its index; one block serves four, so the block's input is the first one's counter.
            blocks = np.zeros((BLOCKS, 2), ">u8")
            blocks[:, 1] = np.arange(counter, counter + 4 * BLOCKS, 4, dtype=np.uint64)
            counter += 4 * BLOCKS
            rest = np.concatenate((rest[at:], np.frombuffer(encrypt(blocks.tobytes()), ">u4").astype(np.uint32)))
            words = rest
            left = <int>words.shape[0]
            at = 0
        out[i] = deviate(&words[0], &at)
    return result


def exponential(int64_t n, int64_t rate_pps, str seed_hex not None):
    """Offsets in ns, int64[n], of packets that come with exponential gaps of mean 1/``rate_pps`` s.

    The first packet comes after the first gap, as RFC 4656 5 has it; ``seed_hex`` is the session identifier, 32 hex
    digits, and the same seed gives the same schedule. ValueError for a bad seed, rate or count.
    """
    cdef int64_t i
    cdef uint64_t total = 0
    cdef const uint64_t[::1] gaps
    cdef int64_t[::1] out
    check_rate(rate_pps)
    gaps = deviates(n, seed_hex)
    result = np.empty(n, np.int64)
    out = result
    with nogil:
        for i in range(n):
            total += gaps[i]
            # floor(floor(a)/b) = floor(a/b): one rounding in all, and 2^63 ns at 1 packet a second is 292 years
            out[i] = <int64_t>((total >> 32) * SECOND + (<uint64_t><uint32_t>total * SECOND >> 32)) // rate_pps
    return result


def periodic(int64_t n, int64_t rate_pps):
    """Offsets in ns, int64[n], of packets 1/``rate_pps`` s apart from 0 on, each rounded down: no drift.

    ValueError for a bad rate or count.
    """
    cdef int64_t i
    cdef int64_t[::1] out
    check_rate(rate_pps)
    if n < 0:
        raise ValueError(f"cannot schedule {n} packets")
    result = np.empty(n, np.int64)
    out = result
    with nogil:
        for i in range(n):
            out[i] = i * SECOND // rate_pps
    return result


cdef int check_rate(int64_t rate_pps) except -1:
    if rate_pps <= 0:
        raise ValueError(f"a rate of {rate_pps} packets a second sends nothing")
    return 0
