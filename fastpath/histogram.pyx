# Live percentiles in fixed memory: exact below 2 * 2^BITS ns, then 2^BITS equal buckets to every power of two.
#
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
#
# For the eye while a run goes on; certificates use order statistics of the samples themselves.
"""Histogram: the distribution of delays in fixed memory, its percentiles rounded up."""
from libc.stdint cimport INT64_MAX, INT64_MIN, uint64_t
from libc.string cimport memset

cdef extern from *:
    int __builtin_clzll(unsigned long long) nogil


cdef inline int bucket_of(int64_t value) noexcept nogil:
    # values below 2^(BITS+1) have shift 0 and are their own bucket
    cdef int shift = 63 - __builtin_clzll(<uint64_t>value | (1 << BITS)) - BITS
    return (shift << BITS) + <int>(value >> shift)


cdef inline int64_t edge_of(int bucket) noexcept nogil:
    cdef int shift = (bucket >> BITS) - 1
    if shift <= 0:
        return bucket
    # unsigned: the last bucket's end is 2^63
    return <int64_t>((<uint64_t>(bucket - (shift << BITS) + 1) << shift) - 1)


# All but the total, whose memory would make each value wait for the one before it.
cdef inline void tally(Histogram self, int64_t value) noexcept nogil:
    if value >= 0:
        self.counts[bucket_of(value)] += 1
    elif value == INT64_MIN:
        self.missing += 1
        return
    else:
        self.negative += 1
    if value < self.lowest:
        self.lowest = value
    if value > self.highest:
        self.highest = value


cdef class Histogram:
    """Counts of int64 ns.

    A percentile is the upper edge of its bucket, at most 2^-8 too large and never too small. Negative values, which a
    delay shows only when a clock is wrong, are counted apart; INT64_MIN (no stamp) is counted as missing.
    """

    def __cinit__(self):
        self.clear()

    def clear(self):
        """Empty again."""
        memset(self.counts, 0, sizeof(self.counts))
        self.negative = self.missing = self.recorded = 0
        self.lowest = INT64_MAX
        self.highest = INT64_MIN

    cdef void add(self, int64_t value) noexcept nogil:
        tally(self, value)
        self.recorded += 1

    def record(self, const int64_t[::1] values not None):
        """Counts each of a contiguous int64 array, ns."""
        cdef Py_ssize_t i
        with nogil:
            for i in range(values.shape[0]):
                tally(self, values[i])
        self.recorded += values.shape[0]

    def merge(self, Histogram other not None):
        """Adds another histogram's counts to these."""
        cdef int i
        for i in range(BUCKETS):
            self.counts[i] += other.counts[i]
        self.negative += other.negative
        self.missing += other.missing
        self.recorded += other.recorded
        self.lowest = min(self.lowest, other.lowest)
        self.highest = max(self.highest, other.highest)

    @property
    def count(self):
        """Values recorded, the negative ones included, the missing ones not."""
        return self.recorded - self.missing

    @property
    def minimum(self):
        """Smallest value, exact, ns; None when empty."""
        return self.lowest if self.recorded - self.missing else None

    @property
    def maximum(self):
        """Largest value, exact, ns; None when empty."""
        return self.highest if self.recorded - self.missing else None

    cdef int64_t upper_edge(self, int64_t num, int64_t den) noexcept nogil:
        cdef int64_t total = self.recorded - self.missing
        cdef int64_t rank, seen = self.negative
        cdef int i = 0
        if total == 0:
            return INT64_MIN
        # ceil(total * num / den) without a product beyond 64 bits, as num <= den < 2^31
        rank = (total // den) * num + ((total % den) * num + den - 1) // den
        if rank < 1:
            rank = 1
        if rank <= seen:
            return min(-1, self.highest)
        for i in range(BUCKETS):
            seen += self.counts[i]
            if seen >= rank:
                break
        return min(edge_of(i), self.highest)

    def percentile(self, int64_t num, int64_t den):
        """Upper edge in ns of the bucket that holds order statistic ceil(count * num / den) (RFC 2330 11.3).

        None when empty; -1 when it falls among the negative values. ValueError unless 0 <= num <= den < 2^31.
        """
        if not 0 <= num <= den < 2**31 or den == 0:
            raise ValueError(f"{num}/{den} is not a fraction from 0 to 1 with a denominator below 2^31")
        cdef int64_t edge = self.upper_edge(num, den)
        return None if edge == INT64_MIN else edge
