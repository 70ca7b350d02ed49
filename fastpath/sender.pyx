# The sending end: paces STAMP packets, joins their stamps with the replies into rows.
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""The sending end: paces STAMP packets, joins their stamps with the replies into rows."""

import os
import socket
import threading
import time

import numpy as np

cimport cython
from libc.errno cimport EAGAIN, ENOBUFS, errno as c_errno
from libc.stdint cimport INT64_MAX, INT64_MIN, int32_t, int64_t, uint8_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free
from libc.string cimport memcpy, memset

from fastpath.clock cimport ClockModel, monotonic_ns, realtime_ns
from fastpath.pacing cimport Pacer
from fastpath.timestamping cimport (
    MSG_DONTWAIT, MSG_ERRQUEUE, MSG_TRUNC, SCM_TS_OPT_ID, SOL_SOCKET, SOURCE_KERNEL, SOURCE_NIC, SOURCE_NONE,
    SOURCE_USER, Batch, Control, free_batch, iovec, mmsghdr, new_batch, parse_control, put_control, receive_batch,
    sendmmsg,
)
from fastpath.wire cimport (
    CAUSE_COUNT, CAUSE_NOT_SENT, CAUSE_OK, CAUSE_REPLAY, FACT_INJECTED_CLOCK, FACT_T2_KERNEL, FACT_T2_NIC,
    FACT_T3_KERNEL, FACT_T3_NIC, FACT_VIRTUAL, Layout, Reply, Session, parse_reply, patch_sender,
)

from fastpath import timestamping
from fastpath.wire import CAUSES as _CAUSES

cdef extern from *:
    """
    #include <errno.h>
    #include <sys/prctl.h>
    #include <time.h>
    #define MILLICERT_LOAD(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define MILLICERT_STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    static int millicert_top_bit(unsigned long long v) { return 63 - __builtin_clzll(v); }
    static void millicert_slack(void) { prctl(PR_SET_TIMERSLACK, 1UL, 0UL, 0UL, 0UL); }
    static long long millicert_cpu_time(void) {
        struct timespec now;
        clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
        return now.tv_sec * 1000000000LL + now.tv_nsec;
    }
    static void millicert_sleep_until(long long ns) {
        struct timespec at = { ns / 1000000000, ns % 1000000000 };
        clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &at, NULL);
    }
    """
    int64_t load "MILLICERT_LOAD" (int64_t *p) nogil
    void store "MILLICERT_STORE" (int64_t *p, int64_t v) nogil
    int millicert_top_bit(uint64_t v) nogil
    void millicert_slack() nogil
    int64_t millicert_cpu_time() nogil
    void millicert_sleep_until(int64_t ns) nogil

cdef enum:
    BATCH = 64                  # packets handed to the kernel, or read, with one system call
    SEND_ROOM = 32              # octets of control messages a sent packet carries
    WARM_UPS = 8                # most packets a flow sends before row 0
    EXTRAS = 16                 # warm-up and flush packets of a flow: sequence numbers after its last row
    SLOTS = 256                 # reflector sequence numbers a flow remembers to place Follow-Up stamps
    HALF = 0x80000000
    TELLINGS = 16               # errors in a row after which they are taken for the packet's own
    STALL_NS = 50000
    MARGIN_NS = 5000000         # how long after t_max a row still waits for what is under way inside this host
    MS = 1000000
    # flags of harness.samples
    SENT = 1 << 8
    SENT_LATE = 1 << 9
    RECEIVED = 1 << 10
    FAR_SYNCHRONISED = 1 << 11
    FAR_INJECTED = 1 << 12
    FAR_VIRTUAL = 1 << 13
    SKIPPED = 1 << 14
    BUCKETS = 64 * 32

# One scheduled packet in flight. The sending thread writes the first part before it publishes the row in `head`,
# `sent_ns`, `send_ns` and `sent_flags` after the send; the collector owns the rest until it passes it with `ready`.
cdef struct Row:
    int64_t t1_packet           # T1 as written in the packet
    int64_t sent_real           # the same instant on CLOCK_REALTIME, no model applied
    int64_t sent_ns             # CLOCK_MONOTONIC when the send returned; INT64_MAX before
    int64_t send_ns             # how long the send took
    int64_t t1, t2, t3, t4
    int64_t arrival
    int64_t far_seq
    uint32_t copies
    uint32_t sent_flags
    uint32_t reply_flags
    int32_t ttl
    int32_t error_estimate
    uint8_t sources[4]
    int awaits_follow_up

cdef struct Slot:
    uint32_t far_seq
    int64_t row                 # -1: empty

cdef struct Flow:
    int fd
    uint32_t count              # rows of this flow over the whole run
    uint32_t s_txc              # packets that left, for Direct Measurement
    int64_t extra_t1[EXTRAS]
    int64_t answered            # valid replies to warm-up packets
    int64_t arrivals            # valid replies to rows
    int stateful                # the reflector's numbers are its own
    int has_far
    int follows_up              # it has sent a Follow-Up stamp
    int has_nonce
    uint32_t nonce, clock_id
    uint32_t last_far_seq, last_sender_seq
    int64_t last_far_t2
    int64_t drops
    Reply last                  # what the last valid reply said
    Slot slots[SLOTS]

cdef struct SendCounts:
    int64_t sent, late, skipped, errors, last_errno, stalls, longest_stall, worst_lateness, ring_full
    int64_t warm_ups, flushes, cpu

cdef struct ReplyCounts:
    int64_t received, duplicated, duplicated_forward, duplicated_backward, late, truncated, unstamped, stray
    int64_t restarts, overflows, follow_ups, implausible, lost, refused, longest_pause, cpu
    int64_t causes[CAUSE_COUNT]
    int64_t planes[16]          # stamp * 4 + source


@cython.final
cdef class Sender:
    """Sends one packet per entry of ``offsets`` and joins each with its reply.

    ``fds``: connected, bound UDP sockets, one for each flow; the caller sets DSCP and keeps them open until the
    run is over. Each is prepared by `timestamping.enable` here. ``sessions``: one `wire.Session` for each.
    ``offsets``: ns from the start, ascending, int64; packet i goes to flow i % len(fds).
    ``capacity``: rows of the ring, a power of 2, more than 2 len(fds); when it is full because nobody calls
    `take`, sending waits, and what becomes later than ``t_max_ns`` is SKIPPED. Memory never grows.
    What is overdue after a stall leaves at no more than twice the mean rate: `pacing.Pacer` has the rule.
    ``pace``: "spin" reads the clock without pause before each packet, "sleep" sleeps to the instant.
    ``tai_utc``: TAI - UTC in s. ``error_estimate``: the 16 bits of our own clock, settable while running.
    ``clock``: a `ClockModel` applied to T1 and T4 (simulation only).
    ``collect_ns``: how often stamps and replies are read. ``warm_up``: packets (0..8) a flow sends before row 0;
    they resolve neighbours, show whether the reflector counts for itself, are no rows; sending begins when each
    flow has had an answer, or after 250 ms. ``hardware``, ``interface``: also ask the NIC for stamps.
    ``nic_offset_ns``: added to NIC stamps to bring the PHC to TAI; settable while running.
    ``cpus``: (sending, collecting) processors to run on, or None. ``caller_id`` False: do
    without SCM_TS_OPT_ID; packets come back whole with their stamps, sends cost a tenth less, reading more.

    Raises ValueError for arguments that do not fit, OSError for sockets that do not.
    """

    cdef Row *rows
    cdef Flow *flows
    cdef Layout *layouts
    cdef uint8_t *templates
    cdef uint8_t *packets
    cdef uint8_t *controls
    cdef mmsghdr *messages
    cdef iovec *vectors
    cdef Batch *replies
    cdef Batch *stamps
    cdef const int64_t *offsets
    cdef object _offsets, _sessions, _threads, _cpus, _capability
    cdef int64_t total, mask, t_max, tai, collect, start_mono, start_real
    cdef int flow_count, stride, spin, warm_up, caller_id
    cdef ClockModel model
    cdef Pacer pacer
    cdef int64_t head, ready, tail              # rows published, settled, taken
    cdef int64_t stopping, abandoned, sent_all, flushed_at, finished
    cdef int64_t error_bits, nic_offset
    cdef int64_t previous                       # the sending thread's last look at the clock
    cdef SendCounts out
    cdef ReplyCounts back
    cdef int64_t largest_delay
    cdef uint8_t *answered                      # a bit a row: a reply to it has been counted, in time or late
    cdef uint64_t histogram[BUCKETS]
    cdef object _take_lock

    def __cinit__(self, fds, sessions, offsets, *, int64_t capacity, int64_t t_max_ns, pace="spin", int tai_utc,
                  int error_estimate, ClockModel clock=None, int64_t collect_ns=1_000_000, int warm_up=2,
                  bint hardware=False, interface=None, int64_t nic_offset_ns=0, cpus=None, caller_id=None):
        cdef int i
        cdef int64_t k, spacing = 0
        cdef Session session
        cdef const int64_t[::1] view
        fds = list(fds)
        sessions = list(sessions)
        if not fds or len(fds) != len(sessions):
            raise ValueError(f"{len(fds)} sockets and {len(sessions)} sessions: one each for every flow, at least one")
        if capacity < 2 or capacity & (capacity - 1) or capacity > 1 << 30:
            raise ValueError(f"capacity {capacity} is not a power of 2 up to 2^30")
        if capacity <= 2 * len(fds):
            raise ValueError(f"capacity {capacity} is too small for {len(fds)} flows: more than {2 * len(fds)} rows")
        if pace not in ("spin", "sleep"):
            raise ValueError(f"pace {pace!r} is neither 'spin' nor 'sleep'")
        if t_max_ns <= 0 or collect_ns <= 0:
            raise ValueError("t_max_ns and collect_ns must be positive")
        if not 0 <= warm_up <= WARM_UPS:
            raise ValueError(f"warm_up {warm_up} is not in 0..{WARM_UPS}")
        if not 0 <= error_estimate <= 0xFFFF:
            raise ValueError(f"error_estimate {error_estimate} is not a 16-bit number")
        if cpus is not None and (len(cpus) != 2 or not set(cpus) <= os.sched_getaffinity(0)):
            raise ValueError(f"cpus {cpus} are not two of {sorted(os.sched_getaffinity(0))}")
        self._offsets = np.ascontiguousarray(offsets, dtype=np.int64)
        if self._offsets.ndim != 1 or (self._offsets.size and (self._offsets[0] < 0 or np.any(np.diff(self._offsets)
                                                                                              < 0))):
            raise ValueError("offsets must be one ascending row of ns from 0 on")
        self.total = self._offsets.shape[0]
        if self.total // len(fds) >= (1 << 32) - 2 * EXTRAS:
            raise ValueError(f"{self.total} packets: a flow's sequence number has 32 bits")
        if self.total:
            view = self._offsets
            self.offsets = &view[0]
            spacing = (view[self.total - 1] - view[0]) // max(1, self.total - 1)
        self.pacer = Pacer(spacing, t_max_ns)
        self.flow_count = len(fds)
        self.mask = capacity - 1
        self.t_max = t_max_ns
        self.tai = <int64_t>tai_utc * 1000000000
        self.error_bits = error_estimate
        self.nic_offset = nic_offset_ns
        self.collect = collect_ns
        self.spin = pace == "spin"
        self.warm_up = warm_up
        self.model = clock if clock is not None else ClockModel()
        self._cpus = cpus
        self._sessions = sessions
        self._threads = ()
        self._take_lock = threading.Lock()
        for session in sessions:
            self.stride = max(self.stride, session.layout.size)
        self._capability = [_prepare(fd, hardware, interface) for fd in fds]
        self.caller_id = all(c.caller_id for c in self._capability) if caller_id is None else bool(caller_id)
        if not self.caller_id:
            for fd in fds:
                timestamping.loop_packets_back(fd)
        self.rows = <Row *>calloc(capacity, sizeof(Row))
        self.flows = <Flow *>calloc(self.flow_count, sizeof(Flow))
        self.answered = <uint8_t *>calloc(self.total // 8 + 1, 1)
        self.layouts = <Layout *>calloc(self.flow_count, sizeof(Layout))
        self.templates = <uint8_t *>calloc(self.flow_count, self.stride)
        self.packets = <uint8_t *>calloc(BATCH, self.stride)
        self.controls = <uint8_t *>calloc(BATCH, SEND_ROOM)
        self.messages = <mmsghdr *>calloc(BATCH, sizeof(mmsghdr))
        self.vectors = <iovec *>calloc(BATCH, sizeof(iovec))
        self.replies = new_batch(BATCH, self.stride + 64)
        self.stamps = new_batch(BATCH, 16 if self.caller_id else self.stride + 128)
        if (not self.rows or not self.flows or not self.answered or not self.layouts or not self.templates
                or not self.packets or not self.controls or not self.messages or not self.vectors
                or not self.replies or not self.stamps):
            raise MemoryError
        for i in range(self.flow_count):
            session = sessions[i]
            self.layouts[i] = session.layout
            memcpy(self.templates + i * self.stride, <const uint8_t *>session.packet, session.layout.size)
            self.flows[i].fd = fds[i]
            self.flows[i].count = <uint32_t>((self.total - i + self.flow_count - 1) // self.flow_count
                                             if self.total > i else 0)
            for k in range(EXTRAS):
                self.flows[i].extra_t1[k] = INT64_MIN
            for k in range(SLOTS):
                self.flows[i].slots[k].row = -1
        for i in range(BATCH):
            self.vectors[i].iov_base = self.packets + i * self.stride
            self.messages[i].msg_hdr.msg_iov = &self.vectors[i]
            self.messages[i].msg_hdr.msg_iovlen = 1

    def __dealloc__(self):
        free(self.rows)
        free(self.flows)
        free(self.answered)
        free(self.layouts)
        free(self.templates)
        free(self.packets)
        free(self.controls)
        free(self.messages)
        free(self.vectors)
        free_batch(self.replies)
        free_batch(self.stamps)

    # Sending

    cdef void note_stall(self, int64_t gap) noexcept nogil:
        if gap > STALL_NS:
            self.out.stalls += 1
            if gap > self.out.longest_stall:
                self.out.longest_stall = gap

    cdef int64_t wait_until(self, int64_t due) noexcept nogil:
        # Returns the clock, at or after `due`, or earlier when the run is being stopped.
        cdef int64_t now = monotonic_ns()
        cdef int64_t target
        while now < due and not load(&self.stopping):
            if not self.spin or due - now > 4 * MS:
                # far from due even the spinning sender sleeps: the scheduler then owes it time, and stop() is seen
                target = due - (2 * MS if self.spin else 0)
                if target > now + 50 * MS:
                    target = now + 50 * MS
                millicert_sleep_until(target)
                now = monotonic_ns()
                self.note_stall(now - due)
                self.previous = now
                continue
            self.note_stall(now - self.previous)
            self.previous = now
            now = monotonic_ns()
        if self.spin:
            self.note_stall(now - self.previous)
        self.previous = now
        return now

    cdef void load_message(self, int slot, int flow, uint32_t seq, uint32_t stamp_id, int64_t t1) noexcept nogil:
        cdef Flow *f = &self.flows[flow]
        cdef int size = self.layouts[flow].size
        cdef uint8_t *packet = self.packets + slot * self.stride
        cdef uint8_t *control = self.controls + slot * SEND_ROOM
        memcpy(packet, self.templates + flow * self.stride, size)
        f.s_txc += 1
        patch_sender(packet, &self.layouts[flow], seq, t1, <int>load(&self.error_bits), f.s_txc)
        self.vectors[slot].iov_len = size
        if self.caller_id:
            self.messages[slot].msg_hdr.msg_control = control
            self.messages[slot].msg_hdr.msg_controllen = put_control(control, 0, SOL_SOCKET, SCM_TS_OPT_ID, &stamp_id,
                                                                     4)

    cdef int transmit(self, int flow, int count, int64_t *tried) noexcept nogil:
        # Hands `count` loaded messages to the socket; returns how many from the front left. `tried`, set by the caller,
        # is moved on for those that had to wait for room. What stayed here the next packet must not count as
        # transmitted (RFC 8972 4.5).
        cdef int done = 0, got, k, patience = 0
        cdef int64_t waited
        while done < count:
            got = sendmmsg(self.flows[flow].fd, self.messages + done, count - done, MSG_DONTWAIT)
            if got > 0:
                done += got
                patience = 0
                continue
            patience += 1
            if c_errno == EAGAIN or c_errno == ENOBUFS:
                # no room in this host: what has not left yet leaves later than its row was due
                if patience < 50 and not load(&self.stopping):
                    millicert_sleep_until(monotonic_ns() + 20000)
                    waited = monotonic_ns()
                    for k in range(done, count):
                        tried[k] = waited
                    continue
            elif patience < TELLINGS:
                # most often the ICMP answer to an earlier packet, told to us now: this one has not been tried
                continue
            self.out.last_errno = c_errno
            break
        self.flows[flow].s_txc -= <uint32_t>(count - done)
        return done

    cdef void send_due(self, int64_t first, int count, int64_t now) noexcept nogil:
        # Rows first .. first + count - 1 are due at `now`.
        cdef int64_t i, lateness, before, after, real
        cdef int j, flow, loaded, left, k
        cdef int64_t members[BATCH]
        cdef int64_t tried[BATCH]
        cdef Row *row
        for i in range(first, first + count):
            row = &self.rows[i & self.mask]
            memset(row, 0, sizeof(Row))
            row.t1_packet = row.t1 = row.t2 = row.t3 = row.t4 = INT64_MIN
            row.sent_ns = INT64_MAX
            row.arrival = row.far_seq = row.ttl = row.error_estimate = -1
            lateness = now - self.start_mono - self.offsets[i]
            if lateness > self.out.worst_lateness:
                self.out.worst_lateness = lateness
            if lateness > self.t_max:
                row.sent_flags = SKIPPED
                self.out.skipped += 1
        store(&self.head, first + count)
        for j in range(min(count, self.flow_count)):
            flow = <int>((first + j) % self.flow_count)
            loaded = 0
            i = first + j
            while i < first + count:
                row = &self.rows[i & self.mask]
                if not row.sent_flags & SKIPPED:
                    real = realtime_ns()
                    row.sent_real = real
                    row.t1_packet = self.model.shift(real + self.tai)
                    self.load_message(loaded, flow, <uint32_t>(i // self.flow_count), <uint32_t>i, row.t1_packet)
                    members[loaded] = i
                    tried[loaded] = now
                    loaded += 1
                i += self.flow_count
            if loaded == 0:
                continue
            before = monotonic_ns()
            left = self.transmit(flow, loaded, tried)
            after = monotonic_ns()
            self.note_stall(after - before)
            self.previous = after
            for k in range(loaded):
                row = &self.rows[members[k] & self.mask]
                row.send_ns = after - before
                if k < left:
                    self.out.sent += 1
                    row.sent_flags = SENT
                    lateness = tried[k] - self.start_mono - self.offsets[members[k]]
                    if lateness > self.out.worst_lateness:
                        self.out.worst_lateness = lateness
                    if lateness > self.pacer.late_after_ns:
                        self.out.late += 1
                        row.sent_flags |= SENT_LATE
                elif self.out.last_errno == EAGAIN or self.out.last_errno == ENOBUFS:
                    self.out.skipped += 1
                    row.sent_flags = SKIPPED
                else:
                    self.out.errors += 1
                    row.sent_flags = 0
                store(&row.sent_ns, after)

    cdef int send_extra(self, int flow, int number) noexcept nogil:
        # A packet that is no row: its sequence number follows the flow's last row. Returns 1 when it left, else 0.
        cdef Flow *f = &self.flows[flow]
        cdef int64_t t1 = self.model.shift(realtime_ns() + self.tai), tried
        store(&f.extra_t1[number], t1)
        # the id lies half the number space away from every row in flight, so its stamp is nobody's
        self.load_message(0, flow, f.count + <uint32_t>number, <uint32_t>self.head + HALF, t1)
        return self.transmit(flow, 1, &tried)

    cdef void send_all(self) noexcept nogil:
        cdef int64_t i = 0, k, now, limit, pause
        cdef int flow, answered, number
        millicert_slack()
        self.previous = monotonic_ns()
        for number in range(self.warm_up):
            for flow in range(self.flow_count):
                self.out.warm_ups += self.send_extra(flow, number)
            millicert_sleep_until(monotonic_ns() + MS)
        limit = monotonic_ns() + min(self.t_max, 250 * MS)
        while self.warm_up and monotonic_ns() < limit and not load(&self.stopping):
            answered = 0
            for flow in range(self.flow_count):
                answered += load(&self.flows[flow].answered) > 0
            if answered == self.flow_count:
                break
            millicert_sleep_until(monotonic_ns() + MS)
        self.start_mono = monotonic_ns() + 2 * MS
        store(&self.start_real, realtime_ns() + 2 * MS)
        self.previous = self.start_mono
        while i < self.total and not load(&self.stopping):
            now = monotonic_ns()
            limit = min(<int64_t>BATCH, self.total - i)
            if now >= self.start_mono + self.offsets[i]:
                self.note_stall(now - self.previous)
                self.previous = now
                limit = min(limit, self.mask + 1 - (i - load(&self.tail)))
                if limit <= 0:
                    self.out.ring_full += 1
                    millicert_sleep_until(now + 200000)
                    self.previous = monotonic_ns()
                    continue
            k = self.pacer.allow(self.offsets + i, limit, now - self.start_mono)
            if k == 0:
                self.wait_until(self.start_mono + self.pacer.earliest_ns)
                continue
            self.send_due(i, <int>k, now)
            i += k
        # the last replies' Follow-Up stamps come back in replies to these
        for number in range(WARM_UPS, WARM_UPS + 3):
            if load(&self.abandoned):
                break
            # at t_max / 50, / 10 and / 3 after the last row, 100 ms apart at most
            pause = self.t_max // (50 if number == WARM_UPS else 12 if number == WARM_UPS + 1 else 4)
            millicert_sleep_until(monotonic_ns() + min(100 * MS, pause))
            answered = 0
            for flow in range(self.flow_count):
                if self.awaits_follow_up(flow):
                    self.out.flushes += self.send_extra(flow, number)
                    answered += 1
            if answered == 0:
                break
        self.out.cpu = millicert_cpu_time()
        store(&self.flushed_at, monotonic_ns())
        store(&self.sent_all, 1)

    cdef int awaits_follow_up(self, int flow) noexcept nogil:
        # Whether the last row of the flow may still learn its T3 (a look without a lock: at worst one packet too many).
        cdef int64_t last = self.head - 1
        cdef Row *row
        if self.layouts[flow].off_follow_up == 0 or (self.flows[flow].arrivals > 2 and not self.flows[flow].follows_up):
            return 0
        while last >= 0 and last % self.flow_count != flow:
            last -= 1
        if last < 0:
            return 0
        row = &self.rows[last & self.mask]
        return not (row.reply_flags & RECEIVED) or row.awaits_follow_up

    # Collecting

    cdef void read_stamps(self, int flow) noexcept nogil:
        cdef Batch *batch = self.stamps
        cdef Flow *f = &self.flows[flow]
        cdef Control control
        cdef int got, i, size
        cdef int64_t index, head, diff
        cdef uint8_t *data
        cdef uint32_t number
        for _ in range(1 << 20):
            got = receive_batch(f.fd, batch, MSG_ERRQUEUE | MSG_DONTWAIT)
            if got <= 0:
                return
            head = load(&self.head)
            for i in range(got):
                parse_control(&batch.messages[i].msg_hdr, &control)
                if control.stamp_id < 0 or control.stamp_kind != 0:
                    self.back.refused += control.error != 0
                    continue
                if self.caller_id:
                    diff = <uint32_t>(<uint32_t>head - <uint32_t>control.stamp_id)
                    index = head - diff
                else:
                    # the packet came back whole: its payload ends it, the sequence number begins the payload
                    size = self.layouts[flow].size
                    if <int>batch.messages[i].msg_len < size:
                        self.back.stray += 1
                        continue
                    data = batch.data + i * batch.stride + batch.messages[i].msg_len - size
                    number = (<uint32_t>data[0] << 24) | (<uint32_t>data[1] << 16) | (<uint32_t>data[2] << 8) | data[3]
                    index = self.index_of(flow, number, head)
                    diff = 0 if index < 0 or index >= head else head - index
                if diff == 0 or index < self.ready:
                    continue                            # of a warm-up or flush packet, or too late
                self.place_t1(&self.rows[index & self.mask], &control)
            if got < batch.count:
                return

    cdef void place_t1(self, Row *row, Control *control) noexcept nogil:
        # The last stamp holds: an attempt that a queue behind the stamp dropped has left one too, and was repeated.
        if control.hardware != INT64_MIN:
            if row.sources[0] != SOURCE_NIC:
                self.back.planes[row.sources[0]] -= row.sources[0] != SOURCE_NONE
                self.back.planes[SOURCE_NIC] += 1
            row.t1 = self.model.shift(control.hardware + load(&self.nic_offset))
            row.sources[0] = SOURCE_NIC
        elif control.software != INT64_MIN and row.sources[0] != SOURCE_NIC:
            self.back.planes[SOURCE_KERNEL] += row.sources[0] == SOURCE_NONE
            row.t1 = self.model.shift(control.software + self.tai)
            row.sources[0] = SOURCE_KERNEL

    cdef int64_t index_of(self, int flow, uint32_t seq, int64_t head) noexcept nogil:
        # The latest row of the flow up to `head` that carries this 32-bit number; negative or >= head: none.
        cdef int64_t next_seq = (head - flow + self.flow_count - 1) // self.flow_count
        cdef uint32_t behind
        if head <= flow:
            next_seq = 0
        behind = <uint32_t>next_seq - seq
        if behind == 0:
            return head                                 # the next one, not sent yet
        return (next_seq - <int64_t>behind) * self.flow_count + flow

    cdef int read_replies(self, int flow) noexcept nogil:
        # Returns 1 when the socket was left with packets in it.
        cdef Batch *batch = self.replies
        cdef Flow *f = &self.flows[flow]
        cdef Control control
        cdef Reply reply
        cdef int got, i, cause
        cdef int64_t near
        for _ in range(64):
            got = receive_batch(f.fd, batch, MSG_DONTWAIT)
            if got < 0:
                continue                                # an ICMP error told again; the queue may still hold packets
            if got == 0:
                return 0
            near = realtime_ns()
            for i in range(got):
                parse_control(&batch.messages[i].msg_hdr, &control)
                if control.drops > f.drops:
                    self.back.overflows += control.drops - f.drops
                    f.drops = control.drops
                if batch.messages[i].msg_hdr.msg_flags & MSG_TRUNC:
                    self.back.truncated += 1
                    continue
                cause = parse_reply(batch.data + i * batch.stride, batch.messages[i].msg_len, &self.layouts[flow],
                                    near + self.tai, &reply)
                if cause == CAUSE_OK:
                    cause = self.accept(flow, &reply, &control, near)
                self.back.causes[cause] += 1
            if got < batch.count:
                return 0
        return 1

    cdef int accept(self, int flow, Reply *reply, Control *control, int64_t now) noexcept nogil:
        # Places one well-formed reply; returns its Cause.
        cdef Flow *f = &self.flows[flow]
        cdef int64_t head = load(&self.head)
        cdef int64_t index, t4_real
        cdef uint32_t extra = reply.sender_seq - f.count
        cdef Row *row
        if extra < EXTRAS:
            if load(&f.extra_t1[extra]) != reply.t1 or reply.t1 == INT64_MIN:
                return CAUSE_NOT_SENT
            self.note_far(f, reply)
            self.follow_up(f, reply)
            store(&f.answered, f.answered + 1)
            return CAUSE_OK
        index = self.index_of(flow, reply.sender_seq, head)
        if index < 0 or index >= head or reply.sender_seq >= f.count:
            return CAUSE_NOT_SENT
        if index < self.ready:
            # Its row is settled, so it is only looked at: late if its T1 is ours and no reply came before.
            if not self.sent_so(index, reply.t1, head) or not self.first_answer(index):
                return CAUSE_REPLAY
            self.back.late += 1
            return CAUSE_OK
        row = &self.rows[index & self.mask]
        if row.t1_packet != reply.t1 or row.sent_flags & SKIPPED or reply.t1 == INT64_MIN:
            return CAUSE_NOT_SENT
        self.note_far(f, reply)
        self.follow_up(f, reply)                        # a copy or a late reply brings its predecessor's T3 too
        t4_real = control.software if control.software != INT64_MIN else now
        if t4_real - row.sent_real > self.t_max and not row.reply_flags & RECEIVED:
            self.back.late += self.first_answer(index)
            return CAUSE_OK
        f.arrivals += 1
        row.copies += 1
        if row.copies > 1:
            self.back.duplicated += 1
            if f.stateful:
                if row.far_seq == reply.seq:
                    self.back.duplicated_backward += 1
                else:
                    self.back.duplicated_forward += 1
            return CAUSE_OK
        self.back.received += 1
        self.first_answer(index)
        row.arrival = f.arrivals - 1
        row.far_seq = reply.seq
        row.ttl = reply.ttl
        row.error_estimate = reply.error_estimate
        self.place_stamps(row, reply, control, now)
        f.slots[reply.seq & (SLOTS - 1)].far_seq = reply.seq
        f.slots[reply.seq & (SLOTS - 1)].row = index
        row.awaits_follow_up = self.layouts[flow].off_follow_up != 0
        row.reply_flags |= RECEIVED
        if reply.error_estimate & 0x8000:
            row.reply_flags |= FAR_SYNCHRONISED
        if reply.has_facts and reply.facts & FACT_INJECTED_CLOCK:
            row.reply_flags |= FAR_INJECTED
        if reply.has_facts and reply.facts & FACT_VIRTUAL:
            row.reply_flags |= FAR_VIRTUAL
        self.note_delay(row)
        return CAUSE_OK

    cdef int first_answer(self, int64_t index) noexcept nogil:
        # Whether no reply to the row has been counted before; from now on one has.
        cdef uint8_t bit = <uint8_t>(1 << (index & 7))
        if self.answered[index >> 3] & bit:
            return 0
        self.answered[index >> 3] |= bit
        return 1

    cdef int sent_so(self, int64_t index, int64_t t1, int64_t head) noexcept nogil:
        # Whether the packet of a settled row bore this T1. A far end that stood still answers rows whose memory others
        # have by now: of theirs the schedule says when they were due, and what was later than t_max was not sent.
        cdef int64_t due
        if t1 == INT64_MIN:
            return 0
        if head - index <= self.mask:
            return self.rows[index & self.mask].t1_packet == t1
        due = self.model.shift(load(&self.start_real) + self.offsets[index] + self.tai)
        return -1000 * MS <= t1 - due <= self.t_max + 1000 * MS

    cdef void place_stamps(self, Row *row, Reply *reply, Control *control, int64_t now) noexcept nogil:
        if reply.t2 != INT64_MIN:
            row.t2 = reply.t2
            row.sources[1] = SOURCE_USER
            if reply.has_facts and reply.facts & FACT_T2_NIC:
                row.sources[1] = SOURCE_NIC
            elif reply.has_facts and reply.facts & FACT_T2_KERNEL:
                row.sources[1] = SOURCE_KERNEL
        if reply.t3 != INT64_MIN:
            row.t3 = reply.t3
            row.sources[2] = SOURCE_USER
        if control.hardware != INT64_MIN:
            row.t4 = self.model.shift(control.hardware + load(&self.nic_offset))
            row.sources[3] = SOURCE_NIC
        elif control.software != INT64_MIN:
            row.t4 = self.model.shift(control.software + self.tai)
            row.sources[3] = SOURCE_KERNEL
        else:
            row.t4 = self.model.shift(now + self.tai)
            row.sources[3] = SOURCE_USER
        self.back.planes[4 + row.sources[1]] += 1
        self.back.planes[8 + row.sources[2]] += 1
        self.back.planes[12 + row.sources[3]] += 1

    cdef void note_far(self, Flow *f, Reply *reply) noexcept nogil:
        cdef int k, restarted = 0
        if f.has_far:
            if reply.has_facts and f.has_nonce:
                restarted = reply.nonce != f.nonce
            elif f.stateful and reply.seq != reply.sender_seq:
                # Its count went back although it took this packet later than that one: no reordering does that.
                restarted = (<int32_t>(reply.seq - f.last_far_seq) < 0 and reply.t2 > f.last_far_t2
                             and <int32_t>(reply.sender_seq - f.last_sender_seq) > 0)
        if restarted:
            self.back.restarts += 1
            for k in range(SLOTS):
                f.slots[k].row = -1
        if not f.has_far or restarted or <int32_t>(reply.seq - f.last_far_seq) > 0:
            f.last_far_seq = reply.seq
            f.last_sender_seq = reply.sender_seq
            f.last_far_t2 = reply.t2
        f.has_far = 1
        if reply.has_facts:
            f.has_nonce = 1
            f.nonce = reply.nonce
            f.clock_id = reply.clock_id
        if reply.seq != reply.sender_seq:
            f.stateful = 1
        f.last = reply[0]

    cdef void follow_up(self, Flow *f, Reply *reply) noexcept nogil:
        cdef Slot *slot
        cdef Row *row
        if not reply.has_follow_up or reply.follow_up_method == 0 or reply.follow_up_t3 == INT64_MIN:
            return
        f.follows_up = 1
        f.stateful = 1                                  # a stateless reflector sends zeros here (RFC 8972 4.7)
        slot = &f.slots[reply.follow_up_seq & (SLOTS - 1)]
        if slot.row < 0 or slot.far_seq != reply.follow_up_seq or slot.row < self.ready:
            return
        row = &self.rows[slot.row & self.mask]
        if not row.awaits_follow_up:
            return
        row.awaits_follow_up = 0
        if (reply.follow_up_t3 < row.t2 and row.t2 != INT64_MIN) or reply.follow_up_t3 - row.t3 > self.t_max:
            self.back.implausible += 1                  # not a stamp of that reply
            return
        self.back.follow_ups += 1
        self.back.planes[8 + row.sources[2]] -= 1
        row.t3 = reply.follow_up_t3
        if (reply.has_facts and reply.facts & FACT_T3_NIC) or (not reply.has_facts and reply.follow_up_method == 1):
            row.sources[2] = SOURCE_NIC
        elif reply.has_facts and reply.facts & FACT_T3_KERNEL:
            row.sources[2] = SOURCE_KERNEL
        self.back.planes[8 + row.sources[2]] += 1

    cdef void note_delay(self, Row *row) noexcept nogil:
        # Round trip less turnaround, for the progress line alone.
        cdef int64_t delay
        if row.t2 == INT64_MIN or row.t3 == INT64_MIN:
            return
        delay = row.t4 - (row.t1 if row.t1 != INT64_MIN else row.t1_packet) - (row.t3 - row.t2)
        if delay > self.largest_delay:
            self.largest_delay = delay
        self.histogram[bucket(delay)] += 1

    cdef int aged(self, Row *row, int64_t drained) noexcept nogil:
        cdef int64_t at
        if row.sent_flags & SKIPPED:
            return 1
        at = load(&row.sent_ns)
        return at != INT64_MAX and (not row.sent_flags & SENT or at + self.t_max + MARGIN_NS < drained)

    cdef void settle(self, int64_t drained) noexcept nogil:
        # Passes the rows to which nothing more can happen, in order.
        cdef int64_t head = load(&self.head)
        cdef int64_t i = self.ready
        cdef Row *row
        while i < head:
            row = &self.rows[i & self.mask]
            if not self.aged(row, drained):
                break
            if row.awaits_follow_up and self.flows[i % self.flow_count].follows_up:
                # the next reply of the flow may still bring its T3
                if i + self.flow_count < head:
                    if not self.aged(&self.rows[(i + self.flow_count) & self.mask], drained):
                        break
                elif not load(&self.sent_all) or drained < self.flushed_at + self.t_max + MARGIN_NS:
                    break
            if row.sent_flags & SENT:
                if row.sources[0] == SOURCE_NONE:
                    self.back.unstamped += 1
                    row.t1 = row.t1_packet
                    row.sources[0] = SOURCE_USER
                    self.back.planes[SOURCE_USER] += 1
                if not row.reply_flags & RECEIVED:
                    self.back.lost += 1
            elif row.sources[0] != SOURCE_NONE:         # a stamp of an attempt, and no packet came of it
                self.back.planes[row.sources[0]] -= 1
                row.t1 = INT64_MIN
                row.sources[0] = SOURCE_NONE
            i += 1
            store(&self.ready, i)

    cdef void collect_all(self) noexcept nogil:
        cdef int64_t begun, now
        cdef int flow, left, over
        while True:
            over = load(&self.sent_all) and (self.ready == load(&self.head) or load(&self.abandoned))
            begun = monotonic_ns()
            left = 0
            for flow in range(self.flow_count):
                self.read_stamps(flow)
                left |= self.read_replies(flow)
            if not left:
                self.settle(begun)
            if over:
                break
            now = monotonic_ns()
            if now - begun > self.back.longest_pause:
                self.back.longest_pause = now - begun
            if now < begun + self.collect:
                millicert_sleep_until(begun + self.collect)
        self.back.cpu = millicert_cpu_time()
        store(&self.finished, 1)

    # The Python face

    def _run(self, int which):
        if self._cpus is not None:
            os.sched_setaffinity(0, {self._cpus[which]})
        with nogil:
            if which == 0:
                self.send_all()
            else:
                self.collect_all()

    def start(self):
        """Starts sending and collecting in two threads. Raises RuntimeError when called twice."""
        cdef int flow
        if self._threads:
            raise RuntimeError("a Sender runs once")
        for flow in range(self.flow_count):
            self.read_stamps(flow)                      # of packets others sent: while no row exists they are nobody's
        self.back.refused = 0
        self._threads = tuple(
            threading.Thread(target=self._run, args=(which,), name=name, daemon=True)
            for which, name in ((1, "millicert-collector"), (0, "millicert-sender"))
        )
        for thread in self._threads:
            thread.start()

    def stop(self, abandon=False):
        """Sends no more rows; what is under way is still awaited, t_max at most. May be called again.

        ``abandon`` awaits nothing: rows not settled by now are never seen, so that none passes for lost.
        """
        if abandon:
            store(&self.abandoned, 1)
        store(&self.stopping, 1)

    def join(self, timeout=None):
        """Waits until `done`, at most ``timeout`` s; returns `done`."""
        limit = None if timeout is None else time.monotonic() + timeout
        for thread in self._threads:
            thread.join(None if limit is None else max(0.0, limit - time.monotonic()))
        return self.done

    @property
    def done(self):
        """Everything is sent (or stopped), every row is settled and can be taken."""
        return bool(load(&self.finished))

    @property
    def started_ns(self):
        """CLOCK_REALTIME of offset 0, ns since 1970 UTC; 0 before the warm-up is over."""
        return load(&self.start_real)

    @property
    def capability(self):
        """The `timestamping.Capability` of each flow's socket."""
        return tuple(self._capability)

    @property
    def error_estimate(self):
        """16-bit Error Estimate of our own clock (RFC 4656 4.1.2) written into packets from now on."""
        return load(&self.error_bits)

    @error_estimate.setter
    def error_estimate(self, int value):
        if not 0 <= value <= 0xFFFF:
            raise ValueError(f"error_estimate {value} is not a 16-bit number")
        store(&self.error_bits, value)

    @property
    def nic_offset_ns(self):
        """TAI minus the PHC, ns, added to NIC stamps from now on."""
        return load(&self.nic_offset)

    @nic_offset_ns.setter
    def nic_offset_ns(self, int64_t value):
        store(&self.nic_offset, value)

    def counters(self):
        """Counts by name, of packets unless the name ends in _ns or is ``last_errno``.

        Sending: scheduled (rows so far), sent, sent_late, skipped (also where our own host's queue had no room),
        send_errors (rows the socket refused), last_errno, refused (ICMP errors, each once), stalls (gaps over 50 us
        while the sender should have run), longest_stall_ns, worst_lateness_ns, ring_full (waits because rows were not
        taken), warm_ups, flushes, sending_cpu_ns (of its thread, at the end).
        Collecting: received, lost (settled without a reply), duplicated (forward: the reflector answered twice,
        backward: one reply came twice; neither with a stateless one), late_replies (after t_max), unstamped_tx,
        stray_stamps, truncated, receive_overflows (dropped by our own socket: our loss, not the path's),
        follow_ups, implausible_follow_ups, reflector_restarts, longest_collection_ns, collecting_cpu_ns,
        and each cause of `wire.CAUSES` but "ok": why a packet was not used.
        """
        cdef int i
        counts = {
            "scheduled": load(&self.head),
            "sent": self.out.sent,
            "sent_late": self.out.late,
            "skipped": self.out.skipped,
            "send_errors": self.out.errors,
            "last_errno": self.out.last_errno,
            "refused": self.back.refused,
            "stalls": self.out.stalls,
            "longest_stall_ns": self.out.longest_stall,
            "worst_lateness_ns": self.out.worst_lateness,
            "ring_full": self.out.ring_full,
            "warm_ups": self.out.warm_ups,
            "flushes": self.out.flushes,
            "sending_cpu_ns": self.out.cpu,
            "received": self.back.received,
            "lost": self.back.lost,
            "duplicated": self.back.duplicated,
            "duplicated_forward": self.back.duplicated_forward,
            "duplicated_backward": self.back.duplicated_backward,
            "late_replies": self.back.late,
            "unstamped_tx": self.back.unstamped,
            "stray_stamps": self.back.stray,
            "truncated": self.back.truncated,
            "receive_overflows": self.back.overflows,
            "follow_ups": self.back.follow_ups,
            "implausible_follow_ups": self.back.implausible,
            "reflector_restarts": self.back.restarts,
            "longest_collection_ns": self.back.longest_pause,
            "collecting_cpu_ns": self.back.cpu,
        }
        for i in range(1, CAUSE_COUNT):
            counts[_CAUSES[i]] = self.back.causes[i]
        return counts

    def planes(self):
        """How many stamps of T1..T4 came from where: {"t1": {"user": n, "kernel": n, "nic": n}, …}.

        This is the probe of what `capability` promises: a stamp counts when it has arrived.
        """
        return {
            f"t{stamp + 1}": {name: self.back.planes[4 * stamp + source]
                              for source, name in ((1, "user"), (2, "kernel"), (3, "nic"))}
            for stamp in range(4)
        }

    def far(self):
        """What the last valid reply of each flow said, as a dict, None before the first.

        Keys: seq, stateful (False: not shown to count for itself), error_estimate, ttl, and, None where its TLV
        was not answered, facts, clock_id, nonce, sync_in, method_in, sync_out, method_out, dscp, ecn (as the
        request arrived), reverse_refused, r_rxc, r_txc.
        """
        return tuple(self._far(i) for i in range(self.flow_count))

    def _far(self, int i):
        cdef Flow *f = &self.flows[i]
        cdef Reply r
        if not f.has_far:
            return None
        r = f.last
        facts = (r.facts, r.clock_id, r.nonce) if r.has_facts else (None,) * 3
        time_info = (r.sync_in, r.method_in, r.sync_out, r.method_out) if r.has_time_info else (None,) * 4
        cos = (r.dscp2, r.ecn, r.reverse_refused) if r.has_cos else (None,) * 3
        direct = (r.r_rxc, r.r_txc) if r.has_direct else (None,) * 2
        return {
            "seq": r.seq, "stateful": bool(f.stateful), "error_estimate": r.error_estimate, "ttl": r.ttl,
            **dict(zip(("facts", "clock_id", "nonce"), facts, strict=True)),
            **dict(zip(("sync_in", "method_in", "sync_out", "method_out"), time_info, strict=True)),
            **dict(zip(("dscp", "ecn", "reverse_refused"), cos, strict=True)),
            **dict(zip(("r_rxc", "r_txc"), direct, strict=True)),
        }

    def live(self):
        """(sent, received, lost, p50, p99, max) for a progress line; lost counts settled rows.

        The delays are the round trip less the turnaround with the stamps at hand, ns, rounded up by at most 3 %
        (max is exact); None before the first reply.
        """
        cdef uint64_t total = 0
        cdef int i
        for i in range(BUCKETS):
            total += self.histogram[i]
        if not total:
            return self.out.sent, self.back.received, self.back.lost, None, None, None
        return (self.out.sent, self.back.received, self.back.lost, self._percentile(total, 50),
                self._percentile(total, 99), self.largest_delay)

    def _percentile(self, uint64_t total, int percent):
        cdef uint64_t rank = (total * percent + 99) // 100, seen = 0
        cdef int i
        for i in range(BUCKETS):
            seen += self.histogram[i]
            if seen >= rank:
                return min(bucket_top(i), self.largest_delay)
        return self.largest_delay

    def take(self, limit=None, send_durations=False):
        """The settled rows not taken yet, at most ``limit``, as int64 columns of `harness.samples.Samples`.

        They come in schedule order without gaps and their memory is free again. A row is settled when t_max has
        passed since it was sent and its Follow-Up stamp has come or can come no more. A TX stamp that never
        came leaves T1 as the user stamp, marked so. A row neither SENT nor SKIPPED was refused by the socket.
        ``send_durations`` adds the column "send_ns", how long the system call took (shared by the packets of a
        batch): what stall censoring needs.
        """
        cdef int64_t first, last, i
        cdef int64_t[::1] flow, seq, scheduled, t1, t2, t3, t4, far_seq, arrival, copies, ttl, estimate, flags, duration
        cdef Row *row
        cdef Py_ssize_t n, j
        names = ("flow", "seq", "scheduled", "t1", "t2", "t3", "t4", "far_seq", "arrival", "copies", "ttl",
                 "error_estimate", "flags", "send_ns")
        with self._take_lock:
            first = self.tail
            last = load(&self.ready)
            if limit is not None:
                last = min(last, first + <int64_t>limit)
            n = last - first
            columns = {name: np.empty(n, np.int64) for name in names}
            flow, seq, scheduled, t1, t2, t3, t4, far_seq, arrival, copies, ttl, estimate, flags, duration = (
                columns.values())
            with nogil:
                for i in range(first, last):
                    j = i - first
                    row = &self.rows[i & self.mask]
                    flow[j] = i % self.flow_count
                    seq[j] = i // self.flow_count
                    scheduled[j] = self.offsets[i]
                    t1[j] = row.t1
                    t2[j] = row.t2
                    t3[j] = row.t3
                    t4[j] = row.t4
                    far_seq[j] = row.far_seq if self.flows[i % self.flow_count].stateful else -1
                    arrival[j] = row.arrival
                    copies[j] = row.copies if row.reply_flags & RECEIVED else 0
                    ttl[j] = row.ttl
                    estimate[j] = row.error_estimate
                    flags[j] = (row.sent_flags | row.reply_flags | row.sources[0] | row.sources[1] << 2
                                | row.sources[2] << 4 | row.sources[3] << 6)
                    duration[j] = row.send_ns
                store(&self.tail, last)
        if not send_durations:
            del columns["send_ns"]
        return columns


def _prepare(fd, hardware, interface):
    with socket.socket(fileno=os.dup(fd)) as each:
        try:
            each.getpeername()
        except OSError as why:
            raise OSError(why.errno, f"socket {fd} is not connected to the reflector") from why
    granted = timestamping.enable(fd, hardware, interface)
    timestamping.tell_drops(fd)
    return granted


cdef inline int bucket(int64_t value) noexcept nogil:
    # Log-linear: 32 buckets an octave, so an upper edge is at most 1/32 above its values.
    cdef int top
    if value < 32:
        return <int>value if value > 0 else 0
    top = millicert_top_bit(<uint64_t>value)
    return (top - 4) * 32 + <int>((value >> (top - 5)) & 31)


cdef inline int64_t bucket_top(int index) noexcept nogil:
    cdef int octave = index // 32
    if octave == 0:
        return index
    return ((<int64_t>(32 + index % 32) + 1) << (octave - 1)) - 1
