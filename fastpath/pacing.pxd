# When overdue packets may leave, for use without the GIL.
from libc.stdint cimport int64_t


cdef class Pacer:
    cdef readonly int64_t late_after_ns, earliest_ns
    cdef readonly bint behind
    cdef bint waited
    cdef int64_t catch_up, least_credit, credit, t_max, tardy

    # How many packets from the front may leave, or be given up, at `now`; 0: none before `earliest_ns`.
    cdef int64_t allow(self, const int64_t *due, int64_t count, int64_t now) noexcept nogil
