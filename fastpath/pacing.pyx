# When overdue packets may leave, so that a stalled host is not followed by a burst.
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""When overdue packets may leave, so that a stalled host is not followed by a burst."""

cimport cython
from libc.stdint cimport int64_t

cdef enum:
    MS = 1000000
    CREDIT_NS = 100000          # what a wait that ended late may make good at once
    MARGIN_NS = 1000000         # how long before t_max a packet no longer waits for its turn


@cython.final
cdef class Pacer:
    """Lets packets leave when they are due, and after a stall what is overdue at no more than twice the mean rate.

    ``spacing_ns``: mean spacing of the schedule, 1/R. ``t_max_ns``: what is later than that is given up. Instants are
    ns on any one scale; the schedule ascends.

    It falls behind with the first packet that is late (``late_after_ns``: more than one mean spacing or 1 ms,
    whichever is larger, as `harness.samples` has it) and has caught up with the first that is not overdue at all.
    In between any window w holds at most 2 R (w + 100 us) + 2 packets, with two exceptions: what would come within
    1 ms of t_max by waiting leaves at once; and where waits end late by more than 100 us and half a spacing twice in
    a row, so much (1 ms at most) is made good at once: a host that sleeps so coarsely would never catch up otherwise.
    """

    def __cinit__(self, int64_t spacing_ns, int64_t t_max_ns):
        self.late_after_ns = max(MS, spacing_ns)
        self.catch_up = max(1, spacing_ns // 2)
        self.least_credit = max(CREDIT_NS, self.catch_up)
        self.t_max = t_max_ns

    cdef int64_t allow(self, const int64_t *due, int64_t count, int64_t now) noexcept nogil:
        cdef int64_t lateness = now - due[0], most = count, k = 1, tardy
        if lateness > self.t_max:
            while k < count and now - due[k] > self.t_max:
                k += 1
            return k                                    # given up, not sent: that takes nobody's turn
        if lateness <= 0:
            self.behind = False
        elif lateness > self.late_after_ns and not self.behind:
            self.behind = True
            self.earliest_ns = now
            self.credit = self.least_credit
            self.waited = False
            self.tardy = 0
        if lateness < 0:
            self.earliest_ns = due[0]
            return 0
        if self.behind:
            tardy = now - self.earliest_ns
            if tardy >= 0:
                if self.waited:
                    self.waited = False
                    self.credit = max(self.least_credit, min(<int64_t>MS, min(tardy, self.tardy)))
                    self.tardy = tardy
                self.earliest_ns = max(self.earliest_ns, now - self.credit)
                most = min(count, 1 + (now - self.earliest_ns) // self.catch_up)
            elif self.earliest_ns + MARGIN_NS <= due[0] + self.t_max:
                self.waited = True
                return 0
            else:
                most = 1
        while k < most and due[k] <= now:
            k += 1
        if self.behind:
            self.earliest_ns += k * self.catch_up
        return k

    def release(self, const int64_t[::1] due_ns not None, int64_t now_ns):
        """How many of the packets not sent yet leave, or are given up where later than t_max, at ``now_ns``.

        0: none; ask again at ``earliest_ns``. Raises ValueError when there are none.
        """
        if due_ns.shape[0] == 0:
            raise ValueError("no packet is left")
        return self.allow(&due_ns[0], due_ns.shape[0], now_ns)
