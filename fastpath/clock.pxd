# Clock reads and the model of a clock with known error, for use without the GIL. All times are ns.
cimport cython
from libc.stdint cimport int64_t
from posix.time cimport CLOCK_MONOTONIC, CLOCK_REALTIME, clock_gettime, timespec


cdef inline int64_t realtime_ns() noexcept nogil:
    # CLOCK_REALTIME, ns since 1970 UTC: the time scale of the kernel's packet stamps.
    cdef timespec now
    clock_gettime(CLOCK_REALTIME, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


cdef inline int64_t monotonic_ns() noexcept nogil:
    # CLOCK_MONOTONIC: pacing, so that a step of REALTIME moves no packet.
    cdef timespec now
    clock_gettime(CLOCK_MONOTONIC, &now)
    return <int64_t>now.tv_sec * 1000000000 + now.tv_nsec


@cython.final
cdef class ClockModel:
    cdef readonly int64_t offset_ns, skew_ppb, origin_ns, step_ns, step_at_ns
    cdef int64_t shift(self, int64_t t) noexcept nogil
