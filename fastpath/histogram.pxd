# A histogram of int64 ns in fixed memory; add() is for loops without the GIL, one writer at a time.
from libc.stdint cimport int64_t

cdef enum:
    BITS = 8                   # a bucket is at most 2^-BITS of its values wide: 0.4 %
    BUCKETS = (63 - BITS + 1) << BITS

cdef class Histogram:
    cdef int64_t[BUCKETS] counts
    cdef readonly int64_t negative
    cdef readonly int64_t missing
    cdef int64_t recorded      # all, the negative and the missing ones too
    cdef int64_t lowest
    cdef int64_t highest
    cdef void add(self, int64_t value) noexcept nogil
    cdef int64_t upper_edge(self, int64_t num, int64_t den) noexcept nogil   # as percentile(); INT64_MIN when empty
