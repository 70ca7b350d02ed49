# A delay line in user space: holds packets between two network sides, impairs them by plan, logs the truth of each.
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""A delay line in user space: holds packets between two network sides, impairs them by plan, logs the truth of each."""

import os
import select
import threading
import time

import numpy as np

from cython cimport final
from libc.errno cimport errno
from libc.math cimport log
from libc.stdint cimport int32_t, int64_t, uint16_t, uint32_t, uint64_t, uint8_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcpy, memset

cdef extern from * nogil:
    """
    #include <arpa/inet.h>
    #include <linux/errqueue.h>
    #include <linux/if_packet.h>
    #include <linux/net_tstamp.h>
    #include <netinet/in.h>
    #include <sys/epoll.h>
    #include <sys/mman.h>
    #include <sys/prctl.h>
    #include <sys/socket.h>
    #include <sys/types.h>
    #include <time.h>
    #ifndef PACKET_IGNORE_OUTGOING
    #define PACKET_IGNORE_OUTGOING 23
    #endif

    static inline int64_t real_now(void) {
        struct timespec t;
        clock_gettime(CLOCK_REALTIME, &t);
        return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
    }
    static inline int lock_try(int *lock) { return __atomic_exchange_n(lock, 1, __ATOMIC_ACQUIRE) == 0; }
    static inline void lock_free(int *lock) { __atomic_store_n(lock, 0, __ATOMIC_RELEASE); }
    static inline int64_t peek(const int64_t *p) { return __atomic_load_n(p, __ATOMIC_RELAXED); }
    static inline void poke(int64_t *p, int64_t v) { __atomic_store_n(p, v, __ATOMIC_RELAXED); }
    static inline int peek_int(const int *p) { return __atomic_load_n(p, __ATOMIC_ACQUIRE); }
    static inline void poke_int(int *p, int v) { __atomic_store_n(p, v, __ATOMIC_RELEASE); }

    /* The frame now at `p` if user space owns it: 1 with its place, length, stamp and VLAN tag (-1: none). */
    static inline int ring_ready(const uint8_t *p) {
        return __atomic_load_n(&((const struct tpacket2_hdr *)p)->tp_status, __ATOMIC_ACQUIRE) & TP_STATUS_USER;
    }
    static inline int ring_frame(uint8_t *p, uint8_t **data, int *length, int64_t *stamp, int32_t *tag,
                                 int *unchecked) {
        struct tpacket2_hdr *h = (struct tpacket2_hdr *)p;
        *data = p + h->tp_mac;
        *length = (int)h->tp_snaplen;
        *stamp = (int64_t)h->tp_sec * 1000000000 + h->tp_nsec;
        *tag = h->tp_status & TP_STATUS_VLAN_VALID ? (int32_t)((uint32_t)h->tp_vlan_tpid << 16 | h->tp_vlan_tci) : 0;
        *unchecked = (h->tp_status & TP_STATUS_CSUMNOTREADY) != 0;
        return h->tp_len == h->tp_snaplen;
    }
    static inline void ring_return(uint8_t *p) {
        __atomic_store_n(&((struct tpacket2_hdr *)p)->tp_status, TP_STATUS_KERNEL, __ATOMIC_RELEASE);
    }
    static uint8_t *ring_open(int fd, int block, int blocks, int frame, int frames) {
        int version = TPACKET_V2;
        struct tpacket_req wish = {block, blocks, frame, frames};
        if (setsockopt(fd, SOL_PACKET, PACKET_VERSION, &version, sizeof version) ||
            setsockopt(fd, SOL_PACKET, PACKET_RX_RING, &wish, sizeof wish)) return MAP_FAILED;
        return mmap(0, (size_t)block * blocks, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    }
    static uint32_t ring_drops(int fd) {
        struct tpacket_stats stats = {0, 0};
        socklen_t size = sizeof stats;
        return getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, &stats, &size) ? 0 : stats.tp_drops;
    }

    static int64_t stamp_of(struct msghdr *message, uint32_t *id) {
        int64_t stamp = 0;
        for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
            if (c->cmsg_level == SOL_SOCKET && c->cmsg_type == SCM_TIMESTAMPING) {
                const struct timespec *t = (const struct timespec *)CMSG_DATA(c);
                stamp = (int64_t)t->tv_sec * 1000000000 + t->tv_nsec;
            } else if (id && c->cmsg_level == SOL_PACKET && c->cmsg_type == PACKET_TX_TIMESTAMP) {
                *id = ((const struct sock_extended_err *)CMSG_DATA(c))->ee_data;
            }
        }
        return stamp;
    }
    #define STAMPS 16
    /* Reads up to STAMPS transmit stamps; returns how many, 0 when the queue is empty. */
    static int stamps_read(int fd, int wanted, uint32_t *ids, int64_t *stamps) {
        struct mmsghdr m[STAMPS];
        char control[STAMPS][128] __attribute__((aligned(8)));
        if (wanted > STAMPS) wanted = STAMPS;
        for (int i = 0; i < wanted; i++) {
            m[i].msg_hdr = (struct msghdr){.msg_control = control[i], .msg_controllen = sizeof control[i]};
            m[i].msg_len = 0;
        }
        int n = recvmmsg(fd, m, wanted, MSG_ERRQUEUE | MSG_DONTWAIT, 0);
        for (int i = 0; i < n; i++) stamps[i] = stamp_of(&m[i].msg_hdr, &ids[i]);
        return n < 0 ? 0 : n;
    }
    static int stamping(int fd, int rx, int tx) {
        int flags = rx || tx ? SOF_TIMESTAMPING_SOFTWARE : 0;
        if (rx) flags |= SOF_TIMESTAMPING_RX_SOFTWARE;
        if (tx) flags |= SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_OPT_ID | SOF_TIMESTAMPING_OPT_TSONLY;
        return setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof flags);
    }
    static int option(int fd, int name, int value) {
        return setsockopt(fd, SOL_PACKET, name, &value, sizeof value);
    }

    /* One datagram with its sender and kernel stamp; -1: none. */
    static int datagram_read(int fd, uint8_t *data, int room, uint32_t *address, uint16_t *port, int64_t *stamp) {
        struct sockaddr_in from = {0};
        struct iovec part = {data, room};
        char control[128] __attribute__((aligned(8)));
        struct msghdr m = {.msg_name = &from, .msg_namelen = sizeof from, .msg_iov = &part, .msg_iovlen = 1,
                           .msg_control = control, .msg_controllen = sizeof control};
        ssize_t n = recvmsg(fd, &m, MSG_DONTWAIT);
        if (n < 0) return -1;
        *address = ntohl(from.sin_addr.s_addr);
        *port = ntohs(from.sin_port);
        *stamp = stamp_of(&m, 0);
        return (int)n;
    }
    static int datagram_send(int fd, const uint8_t *data, int length, uint32_t address, uint16_t port) {
        struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(address)}};
        return (int)sendto(fd, data, length, MSG_DONTWAIT, (struct sockaddr *)&to, sizeof to);
    }
    static int frame_send(int fd, const uint8_t *data, int length) {
        return (int)send(fd, data, length, MSG_DONTWAIT);
    }
    static int poll_add(int poll, int fd, uint32_t port) {
        struct epoll_event e = {.events = EPOLLIN, .data = {.u32 = port}};
        return epoll_ctl(poll, EPOLL_CTL_ADD, fd, &e);
    }
    #define READY 16
    static int poll_ready(int poll, uint32_t *ports) {
        struct epoll_event e[READY];
        int n = epoll_wait(poll, e, READY, 0);
        for (int i = 0; i < n; i++) ports[i] = e[i].data.u32;
        return n < 0 ? 0 : n;
    }
    static void sleep_ns(long ns) {
        struct timespec t = {0, ns};
        nanosleep(&t, 0);
    }
    static void sleep_sharply(void) { prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0); }
    """
    int64_t real_now()
    int lock_try(int *lock)
    void lock_free(int *lock)
    int64_t peek(const int64_t *p)
    void poke(int64_t *p, int64_t v)
    int peek_int(const int *p)
    void poke_int(int *p, int v)
    int ring_ready(const uint8_t *p)
    int ring_frame(uint8_t *p, uint8_t **data, int *length, int64_t *stamp, int32_t *tag, int *unchecked)
    void ring_return(uint8_t *p)
    uint8_t *ring_open(int fd, int block, int blocks, int frame, int frames)
    uint32_t ring_drops(int fd)
    int stamps_read(int fd, int wanted, uint32_t *ids, int64_t *stamps)
    int stamping(int fd, int rx, int tx)
    int option(int fd, int name, int value)
    int datagram_read(int fd, uint8_t *data, int room, uint32_t *address, uint16_t *port, int64_t *stamp)
    int datagram_send(int fd, const uint8_t *data, int length, uint32_t address, uint16_t port)
    int frame_send(int fd, const uint8_t *data, int length)
    int poll_add(int poll, int fd, uint32_t port)
    int poll_ready(int poll, uint32_t *ports)
    void sleep_ns(long ns)
    void sleep_sharply()
    int munmap(void *address, size_t length)
    void *MAP_FAILED
    int PACKET_QDISC_BYPASS, PACKET_IGNORE_OUTGOING, PACKET_TIMESTAMP, SOF_TIMESTAMPING_SOFTWARE
    ctypedef unsigned long long wide "unsigned __int128"

cdef enum:
    MAX_ROUTES = 16
    MAX_CHANGES = 16
    MAX_LINES = 256
    LATE_NS = 50000
    LATE_ROWS = 1 << 18    # late releases kept apart from the log, so that a long run loses none
    SLOTS = 16384          # packets held at once, each direction: 100 kpps for 160 ms
    KEYS = 65536           # transmit stamps awaited at once
    FRAMES = 2048          # receive ring: 20 ms at 100 kpps
    BLOCK = 65536
    BATCH = 8              # frames taken in before the heads are looked at again
    STAMPS = 16
    READY = 16

cdef enum:
    # A hold is this much shorter than the programmed delay, which is what the fibre adds to a patch of length zero:
    # two hops lie outside the hold, one of them the patch has too. A veth hop takes 80 to 230 ns, machine by machine.
    OUTSIDE_PACKET_NS = 160
    OUTSIDE_RELAY_NS = 1500    # and 1.3 us from the clock reading into the kernel, where there is no transmit stamp
    SPIN_NS = 400          # a head due so soon is waited for without looking at anything else
    DRAIN_NS = 2500        # reading transmit stamps needs this much spare time
    STALL_NS = 20000       # a release so late was held up by the host, not by the path
    STALLED_NS = 40000     # a heartbeat so old means that the spinning thread does not run
    # How often the rescuer looks. Measured here, share of releases late by more than 200 and 800 us, without and with
    # it: 2 kpps 0.81 and 0.52 % -> 0.06 and 0 %; 10 kpps 0.46 and 0.22 % -> 0 and 0 %; with other programs taking
    # half of the CPU 2 kpps 60 and 55 % -> 1.4 and 1.1 %. The price: 1 stamp in 300 is 16 us off, where it woke.
    RESCUE_NS = 100000

cdef enum Fate:
    FATE_LOST = 1
    FATE_CUT = 2
    FATE_COPY = 4
    FATE_HELD_BACK = 8
    FATE_OVERFLOW = 16
    FATE_SEND_ERROR = 32
    FATE_RESCUED = 64
    FATE_USER_STAMP = 128

LOST = FATE_LOST
CUT = FATE_CUT
COPY = FATE_COPY
HELD_BACK = FATE_HELD_BACK
OVERFLOW = FATE_OVERFLOW
SEND_ERROR = FATE_SEND_ERROR
RESCUED = FATE_RESCUED
USER_STAMP = FATE_USER_STAMP

cdef int64_t NEVER = 0x7fffffffffffffff
cdef int64_t MISSING = -NEVER - 1

cdef struct Row:
    int64_t arrival
    int64_t release
    uint32_t programmed
    uint32_t seq
    uint16_t port
    uint16_t fate
    uint8_t direction
    uint8_t final

ROW = np.dtype({"names": ["arrival", "release", "programmed", "seq", "port", "fate", "direction", "final"],
                "formats": ["<i8", "<i8", "<u4", "<u4", "<u2", "<u2", "u1", "u1"],
                "offsets": [0, 8, 16, 20, 24, 26, 28, 29], "itemsize": sizeof(Row)})
TRUTH = np.dtype([("direction", "u1"), ("fate", "<u2"), ("port", "<u2"), ("seq", "<u4"), ("arrival", "<i8"),
                  ("release", "<i8"), ("hold_ns", "<i8"), ("programmed_ns", "<i8"), ("late_ns", "<i8")])

cdef struct Route:
    int64_t delay
    int64_t jitter_ns
    int64_t reorder_ns
    int64_t last_due
    uint64_t lose, enter, leave, duplicate, reorder    # probabilities as shares of 2^64
    uint64_t state[4]
    int law, keep_order, burst, bad, cut
    int changes, changed
    int64_t change_at[MAX_CHANGES]
    int64_t change_delay[MAX_CHANGES]

cdef struct Slot:
    int64_t row            # -1: not a test packet
    int32_t length
    uint16_t port

cdef struct Entry:
    int64_t due
    uint64_t order         # equal instants leave in order of arrival
    uint32_t slot

cdef struct Way:
    int direction, relay, rx, tx, stamps
    int outside            # ns of the programmed delay that pass outside the hold
    uint8_t *ring
    int frame_size, per_block, frames, head
    int64_t next_at        # when the head is to be sent, or NEVER
    Entry *heap
    int count
    uint64_t order
    uint8_t *pool
    int stride
    uint32_t *spare
    int spares
    Slot *slots
    uint8_t *route_of
    Route routes[MAX_ROUTES]
    Route plan[MAX_ROUTES]     # as configured; a start copies it
    int64_t *keys
    uint32_t sent, read        # transmit stamp ids
    int64_t comp               # release path cost taken off the deadline, ns
    int64_t calibrated         # stamps that have tuned comp

cdef struct Counts:
    int64_t releases, late50, late200, late800, worst
    int64_t lost, cut, duplicated, held_back, overflow, send_errors, rescued, unstamped, unchecked, others
    int64_t log_overflow, ring_drops

cdef struct Line:
    int active             # 0 idle, 1 carrying, 2 letting go of what it holds
    int64_t start
    Row *log
    uint64_t mask, head, tail
    Row *late
    uint64_t lates
    int32_t *flow_fd       # relay: the socket behind, by near port
    uint32_t near_address
    Way ways[2]
    Counts counts

cdef struct Core:
    int lock, halt, lines
    int64_t heartbeat
    Line *line[MAX_LINES]


# xoshiro256++ 1.0 of Blackman and Vigna, seeded by splitmix64 as they advise.
cdef inline uint64_t _rotate(uint64_t x, int k) noexcept nogil:
    return (x << k) | (x >> (64 - k))


cdef inline uint64_t _draw(uint64_t *s) noexcept nogil:
    cdef uint64_t result = _rotate(s[0] + s[3], 23) + s[0]
    cdef uint64_t t = s[1] << 17
    s[2] ^= s[0]
    s[3] ^= s[1]
    s[1] ^= s[2]
    s[0] ^= s[3]
    s[2] ^= t
    s[3] = _rotate(s[3], 45)
    return result


cdef void _seed(uint64_t *state, uint64_t seed) noexcept nogil:
    cdef int i
    cdef uint64_t z
    for i in range(4):
        seed += <uint64_t>0x9e3779b97f4a7c15
        z = seed
        z = (z ^ (z >> 30)) * <uint64_t>0xbf58476d1ce4e5b9
        z = (z ^ (z >> 27)) * <uint64_t>0x94d049bb133111eb
        state[i] = z ^ (z >> 31)


cdef inline int _before(const Entry *a, const Entry *b) noexcept nogil:
    return a.due < b.due or (a.due == b.due and a.order < b.order)


cdef inline void _set_next(Way *way) noexcept nogil:
    poke(&way.next_at, way.heap[0].due - way.comp if way.count else NEVER)


cdef void _push(Way *way, int64_t due, uint32_t slot) noexcept nogil:
    cdef Entry entry
    cdef int i = way.count, parent
    entry.due = due
    entry.order = way.order
    entry.slot = slot
    way.order += 1
    way.count += 1
    while i > 0:
        parent = (i - 1) >> 1
        if not _before(&entry, &way.heap[parent]):
            break
        way.heap[i] = way.heap[parent]
        i = parent
    way.heap[i] = entry
    _set_next(way)


cdef uint32_t _pop(Way *way) noexcept nogil:
    cdef uint32_t slot = way.heap[0].slot
    cdef Entry last
    cdef int i = 0, child
    way.count -= 1
    last = way.heap[way.count]
    while True:
        child = 2 * i + 1
        if child >= way.count:
            break
        if child + 1 < way.count and _before(&way.heap[child + 1], &way.heap[child]):
            child += 1
        if not _before(&way.heap[child], &last):
            break
        way.heap[i] = way.heap[child]
        i = child
    way.heap[i] = last
    _set_next(way)
    return slot


cdef int64_t _log(Line *line, Way *way, uint16_t port, uint32_t seq, int64_t arrival, int64_t programmed,
                  int fate) noexcept nogil:
    cdef Row *row = &line.log[line.head & line.mask]
    cdef int64_t number = <int64_t>line.head
    if line.head - line.tail > line.mask:
        line.tail += 1
        line.counts.log_overflow += 1
    row.arrival = arrival
    row.release = MISSING
    row.programmed = <uint32_t>programmed
    row.seq = seq
    row.port = port
    row.fate = fate
    row.direction = way.direction
    row.final = (fate & (FATE_LOST | FATE_CUT | FATE_OVERFLOW)) != 0
    line.head += 1
    return number


cdef void _finish(Line *line, Way *way, int64_t number, int64_t release, int fate) noexcept nogil:
    # The row's last word, once: when it was released by the best clock there is.
    cdef Row *row
    cdef int64_t late, step
    if number < <int64_t>line.tail:
        return
    row = &line.log[number & <int64_t>line.mask]
    if row.final:
        return
    row.release = release
    row.fate |= fate
    row.final = 1
    late = release - row.arrival - row.programmed + way.outside
    line.counts.releases += 1
    if late > LATE_NS:
        line.counts.late50 += 1
        if line.lates < LATE_ROWS:
            line.late[line.lates] = row[0]
            line.lates += 1
        if late > 200000:
            line.counts.late200 += 1
            if late > 800000:
                line.counts.late800 += 1
    if late > line.counts.worst:
        line.counts.worst = late
    if late < STALL_NS and not (row.fate & (FATE_USER_STAMP | FATE_RESCUED)):
        # Follows the median of the release path's cost, which depends on how warm the caches are at this rate.
        # What a stalled host delays tells nothing of that cost; of the rest only the sign counts.
        step = 64 if way.calibrated < 64 else 16 if way.calibrated < 512 else 4
        way.calibrated += 1
        way.comp += step if late > 0 else -step
        way.comp = 0 if way.comp < 0 else 3000 if way.comp > 3000 else way.comp


cdef void _give_up_stamps(Line *line, Way *way) noexcept nogil:
    # veth stamps before send() returns: what is not in the queue now never comes. The user clock's reading stays.
    cdef int64_t number
    while way.read != way.sent:
        number = way.keys[way.read & (KEYS - 1)]
        way.read += 1
        if number >= <int64_t>line.tail:
            line.counts.unstamped += 1
            _finish(line, way, number, line.log[number & <int64_t>line.mask].release, FATE_USER_STAMP)


cdef void _collect(Line *line, Way *way, int wanted) noexcept nogil:
    cdef uint32_t ids[STAMPS]
    cdef int64_t stamps[STAMPS]
    cdef int i, n
    if wanted > STAMPS:
        wanted = STAMPS
    n = stamps_read(way.tx, wanted, ids, stamps)
    if n == 0:
        _give_up_stamps(line, way)
    for i in range(n):
        if way.keys[ids[i] & (KEYS - 1)] >= 0:
            _finish(line, way, way.keys[ids[i] & (KEYS - 1)], stamps[i], 0)
        way.read = ids[i] + 1


cdef void _release(Line *line, Way *way, int rescue) noexcept nogil:
    cdef uint32_t place = _pop(way)
    cdef Slot *slot = &way.slots[place]
    cdef uint8_t *data = way.pool + <size_t>place * way.stride
    cdef int sent, _attempt
    cdef int64_t before = real_now()
    if not way.relay:
        sent = frame_send(way.tx, data, slot.length)
    elif way.direction == 1:
        sent = datagram_send(way.tx, data, slot.length, line.near_address, slot.port)
    else:
        sent = -1
        for _attempt in range(2):       # the first may only report that nobody listened to an earlier one
            if line.flow_fd[slot.port] >= 0 and sent < 0:
                sent = frame_send(line.flow_fd[slot.port], data, slot.length)
    way.spare[way.spares] = place
    way.spares += 1
    if slot.row >= <int64_t>line.tail:
        line.log[slot.row & <int64_t>line.mask].release = before
    if rescue:
        line.counts.rescued += 1
        if slot.row >= <int64_t>line.tail:
            line.log[slot.row & <int64_t>line.mask].fate |= FATE_RESCUED
    if sent < 0:
        line.counts.send_errors += 1
        if slot.row >= <int64_t>line.tail:
            line.log[slot.row & <int64_t>line.mask].release = MISSING
            line.log[slot.row & <int64_t>line.mask].fate |= FATE_SEND_ERROR
            line.log[slot.row & <int64_t>line.mask].final = 1
        if way.stamps:
            # Whether a failed send used up a stamp id is not defined: start counting afresh.
            while way.read != way.sent:
                _collect(line, way, STAMPS)
            stamping(way.tx, 0, 0)
            stamping(way.tx, 0, 1)
            way.sent = way.read = 0
    elif way.stamps:
        way.keys[way.sent & (KEYS - 1)] = slot.row
        way.sent += 1
    elif slot.row >= 0:
        _finish(line, way, slot.row, before, FATE_USER_STAMP)


cdef int _hold(Way *way, const uint8_t *data, int length, int32_t tag, int64_t row, uint16_t port,
               int64_t due) noexcept nogil:
    # Keeps a copy until `due`; 0 when there is no room. `tag` is a VLAN tag that the kernel took off.
    cdef uint32_t place
    cdef uint8_t *room
    if way.spares == 0 or length + 4 > way.stride:
        return 0
    way.spares -= 1
    place = way.spare[way.spares]
    room = way.pool + <size_t>place * way.stride
    if tag:
        memcpy(room, data, 12)
        room[12] = <uint8_t>(<uint32_t>tag >> 24)
        room[13] = <uint8_t>(tag >> 16)
        room[14] = <uint8_t>(tag >> 8)
        room[15] = <uint8_t>tag
        memcpy(room + 16, data + 12, length - 12)
        length += 4
    else:
        memcpy(room, data, length)
    way.slots[place].row = row
    way.slots[place].length = length
    way.slots[place].port = port
    _push(way, due, place)
    return 1


cdef void _advance(Route *route, int64_t since) noexcept nogil:
    while route.changed < route.changes and since >= route.change_at[route.changed]:
        route.cut = route.change_delay[route.changed] < 0
        if not route.cut:
            route.delay = route.change_delay[route.changed]
        route.last_due = 0
        route.changed += 1


cdef void _admit(Line *line, Way *way, const uint8_t *data, int length, int32_t tag, int64_t arrival, int test,
                 uint16_t port, uint32_t seq) noexcept nogil:
    # Decides a packet's fate. Every test packet takes four draws of its route, whatever becomes of it, so the
    # decisions follow from the order of packets alone; other frames take none.
    cdef Route *route = &way.routes[way.route_of[port] if test else 0]
    cdef uint64_t chance, twice, back, wait
    cdef int64_t programmed, due, row
    cdef int fate = 0, lost
    cdef double unit
    _advance(route, arrival - line.start)
    if not test:
        if route.cut:
            return
        line.counts.others += 1
        if not _hold(way, data, length, tag, -1, 0, arrival + route.delay - way.outside):
            line.counts.overflow += 1
        return
    chance = _draw(route.state)
    twice = _draw(route.state)
    back = _draw(route.state)
    wait = _draw(route.state)
    if route.burst:
        route.bad = chance >= route.leave if route.bad else chance < route.enter
        lost = route.bad
    else:
        lost = chance < route.lose
    programmed = route.delay
    if route.law:
        unit = (<double>(wait >> 11) + 0.5) * 1.1102230246251565e-16      # the middle of one of 2^53 cells
        if route.law == 1:
            programmed += <int64_t>(unit * <double>route.jitter_ns)
        else:
            unit = -log(unit)
            programmed += <int64_t>((unit if unit < 20 else 20) * <double>route.jitter_ns)
    due = arrival + programmed
    if route.keep_order and due < route.last_due and not route.cut and not lost:
        programmed = route.last_due - arrival
        due = route.last_due
    if not route.cut and not lost:
        route.last_due = due
        if back < route.reorder:
            fate |= FATE_HELD_BACK
            line.counts.held_back += 1
            programmed += route.reorder_ns
            due += route.reorder_ns
    if route.cut:
        line.counts.cut += 1
        _log(line, way, port, seq, arrival, programmed, FATE_CUT)
        return
    if lost:
        line.counts.lost += 1
        _log(line, way, port, seq, arrival, programmed, FATE_LOST)
        return
    row = _log(line, way, port, seq, arrival, programmed, fate)
    if not _hold(way, data, length, tag, row, port, due - way.outside):
        line.counts.overflow += 1
        line.log[row & <int64_t>line.mask].fate |= FATE_OVERFLOW
        line.log[row & <int64_t>line.mask].final = 1
        return
    if twice < route.duplicate:
        line.counts.duplicated += 1
        row = _log(line, way, port, seq, arrival, programmed, fate | FATE_COPY)
        if not _hold(way, data, length, tag, row, port, due - way.outside):
            line.counts.overflow += 1
            line.log[row & <int64_t>line.mask].fate |= FATE_OVERFLOW
            line.log[row & <int64_t>line.mask].final = 1


cdef inline uint32_t _be16(const uint8_t *p) noexcept nogil:
    return (<uint32_t>p[0] << 8) | p[1]


cdef inline uint32_t _be32(const uint8_t *p) noexcept nogil:
    return (_be16(p) << 16) | _be16(p + 2)


cdef uint32_t _sender_seq(const uint8_t *payload, int length, int direction) noexcept nogil:
    # RFC 8762 4.2 and 4.3: a reply echoes it at octet 24, in authenticated mode, whose octets 4 to 15 are zero, at 48.
    cdef int i
    if direction == 0 or length < 44:
        return _be32(payload)
    if length < 112:
        return _be32(payload + 24)
    for i in range(4, 16):
        if payload[i]:
            return _be32(payload + 24)
    return _be32(payload + 48)


cdef int _udp(const uint8_t *frame, int length) noexcept nogil:
    # Offset of the UDP header when this is a whole UDP packet with at least a sequence number, else 0.
    cdef int at = 14
    cdef uint32_t kind
    if length < 14:
        return 0
    kind = _be16(frame + 12)
    if kind == 0x8100 and length >= 18:
        kind = _be16(frame + 16)
        at = 18
    if kind == 0x0800 and length >= at + 20:
        if frame[at + 9] != 17 or _be16(frame + at + 6) & 0x3fff:
            return 0
        at += (frame[at] & 15) * 4
    elif kind == 0x86dd and length >= at + 40 and frame[at + 6] == 17:
        at += 40
    else:
        return 0
    return at if length >= at + 12 else 0


cdef inline uint8_t *_frame(const Way *way, int i) noexcept nogil:
    return way.ring + <size_t>(i // way.per_block) * BLOCK + <size_t>(i % way.per_block) * way.frame_size


cdef void _take_frames(Line *line, Way *way) noexcept nogil:
    cdef uint8_t *place
    cdef uint8_t *data
    cdef int length, unchecked, at, _i
    cdef int64_t arrival
    cdef int32_t tag
    for _i in range(BATCH):
        place = _frame(way, way.head)
        if not ring_ready(place):
            return
        if not ring_frame(place, &data, &length, &arrival, &tag, &unchecked):
            line.counts.overflow += 1        # longer than the MTU that was agreed
        else:
            line.counts.unchecked += unchecked
            at = _udp(data, length)
            if at:
                _admit(line, way, data, length, tag, arrival, 1,
                       <uint16_t>_be16(data + at + (2 if way.direction else 0)),
                       _sender_seq(data + at + 8, length - at - 8, way.direction))
            else:
                _admit(line, way, data, length, tag, arrival, 0, 0, 0)
        ring_return(place)
        way.head = way.head + 1 if way.head + 1 < way.frames else 0


cdef int _take_datagram(Line *line, Way *way, int fd, int port) noexcept nogil:
    cdef uint8_t data[9216]
    cdef uint32_t address
    cdef uint16_t source
    cdef int64_t arrival
    cdef int length = datagram_read(fd, data, 9216, &address, &source, &arrival)
    if length < 0:
        return 0
    if port < 0:
        if address != line.near_address:
            line.counts.others += 1
            return 1
        port = source
    if length >= 4:
        _admit(line, way, data, length, 0, arrival if arrival else real_now(), 1, <uint16_t>port,
               _sender_seq(data, length, way.direction))
    return 1


cdef void _take_datagrams(Line *line, Way *way) noexcept nogil:
    cdef uint32_t ports[READY]
    cdef int i, n, _i
    if way.direction == 0:
        for _i in range(BATCH):
            if not _take_datagram(line, way, way.rx, -1):
                return
    else:
        n = poll_ready(way.rx, ports)
        for i in range(n):
            _take_datagram(line, way, line.flow_fd[ports[i]], <int>ports[i])


cdef inline void _take(Line *line, Way *way) noexcept nogil:
    if way.relay:
        _take_datagrams(line, way)
    else:
        _take_frames(line, way)


cdef void _spin(Core *core) noexcept nogil:
    cdef Line *line
    cdef Line *first_line
    cdef Way *way
    cdef Way *first
    cdef int64_t now, soonest
    cdef int i, k, wanted
    while not peek_int(&core.halt):
        now = real_now()
        poke(&core.heartbeat, now)
        soonest = NEVER
        first = NULL
        first_line = NULL
        for i in range(core.lines):
            if peek_int(&core.line[i].active):
                for k in range(2):
                    if peek(&core.line[i].ways[k].next_at) < soonest:
                        soonest = peek(&core.line[i].ways[k].next_at)
                        first = &core.line[i].ways[k]
                        first_line = core.line[i]
        if first != NULL and soonest <= now + SPIN_NS:
            while real_now() < soonest:
                pass
            if lock_try(&core.lock):
                if first.next_at <= real_now():        # the rescuer may have been here
                    _release(first_line, first, 0)
                lock_free(&core.lock)
            continue
        for i in range(core.lines):
            line = core.line[i]
            if not peek_int(&line.active):
                continue
            for k in range(2):
                way = &line.ways[k]
                if peek_int(&line.active) == 1 and (way.relay or ring_ready(_frame(way, way.head))):
                    if lock_try(&core.lock):
                        if line.active == 1:
                            _take(line, way)
                        lock_free(&core.lock)
                if way.sent != way.read and (soonest - now > DRAIN_NS or way.sent - way.read > KEYS // 8):
                    if lock_try(&core.lock):
                        wanted = <int>(way.sent - way.read)
                        if soonest - now < 10000:
                            wanted = 1 + <int>((soonest - now - DRAIN_NS) // 1000)
                        if wanted < 1:
                            wanted = STAMPS
                        if way.sent != way.read:
                            _collect(line, way, wanted)
                        lock_free(&core.lock)
                    now = real_now()


cdef int _rescue_one(Core *core) noexcept nogil:
    # Takes in what waits, lets go of one overdue head; 0 when there is nothing more to do.
    cdef Line *line
    cdef Way *way
    cdef int i, k
    for i in range(core.lines):
        line = core.line[i]
        for k in range(2 if line.active else 0):
            way = &line.ways[k]
            if line.active == 1:
                _take(line, way)
            if way.next_at <= real_now():
                _release(line, way, 1)
                return 1
    return 0


cdef void _rescue(Core *core) noexcept nogil:
    # Sleeps, and steps in where the host has taken the spinning thread's CPU away outside the lock. The lock is given
    # back after each packet: this thread may lose its CPU as well, and must not take the other one with it.
    cdef int more
    sleep_sharply()
    while not peek_int(&core.halt):
        sleep_ns(RESCUE_NS)
        more = 1
        while more and real_now() - peek(&core.heartbeat) >= STALLED_NS and lock_try(&core.lock):
            more = _rescue_one(core)
            lock_free(&core.lock)


def _waited(task):
    # ns that this thread has been ready without a CPU; 0 where the kernel keeps no such account.
    try:
        with open(f"/proc/self/task/{task}/schedstat") as file:
            return int(file.read().split()[1])
    except (OSError, IndexError):
        return 0


cdef uint64_t _share(int64_t ppm):
    # A probability in millionths as a share of 2^64; one becomes all draws but the last.
    return <uint64_t>((<object>0xffffffffffffffff) if ppm >= 1000000 else ppm * 2**64 // 1000000)


@final
cdef class Fibre:
    """One spinning thread, with a sleeping one that steps in when it stalls, for all the spans of a metro.

    ``processor`` is the CPU to spin on (None: wherever); ``others`` are the CPUs for everything else.
    ``rescue`` False leaves the second thread out.
    """

    cdef Core core
    cdef readonly object processor
    cdef readonly object others
    cdef readonly bint rescue
    cdef readonly int64_t starved      # ns of the last spin without a CPU, because others of this host had it
    cdef list spans
    cdef list threads
    cdef object guard

    def __cinit__(self, processor, others, *, rescue=True):
        memset(&self.core, 0, sizeof(Core))
        self.processor = processor
        self.others = frozenset(others)
        self.rescue = rescue and processor is not None
        self.spans = []
        self.threads = []
        self.guard = threading.Lock()

    def packet_span(self, fds, mtu, capacity=1 << 21):
        """A span between two interfaces.

        ``fds`` are four AF_PACKET SOCK_RAW sockets: near side receive, near side send, far side receive, far side
        send; unbound, so that they hear nothing yet: bind the receiving ones to ETH_P_ALL, the sending ones to
        protocol 0 afterwards. They stay the caller's. ``capacity`` is the log's size in rows, rounded up to a
        power of two. Raises OSError, MemoryError.
        """
        cdef Span span = Span(self, capacity, mtu + 32)
        near_rx, near_tx, far_rx, far_tx = fds
        for way, (rx, tx) in enumerate(((near_rx, far_tx), (far_rx, near_tx))):
            span._open_packets(way, rx, tx, mtu)
        self._add(span)
        return span

    def relay_span(self, front, near_address, capacity=1 << 21):
        """A span of UDP sockets: ``front`` faces the near end at ``near_address`` (IPv4 as an integer).

        Each flow's socket behind is added by `Span.add_flow`. Raises OSError, MemoryError.
        """
        cdef Span span = Span(self, capacity, 9216 + 8)
        span._open_relay(front, near_address)
        self._add(span)
        return span

    cdef _add(self, Span span):
        if self.threads:
            raise RuntimeError("spans are added before any of them starts")
        if self.core.lines == MAX_LINES:
            raise ValueError(f"at most {MAX_LINES} spans")
        self.core.line[self.core.lines] = span.line
        self.core.lines += 1
        self.spans.append(span)

    def _spin(self, started):
        task = threading.get_native_id()
        if self.processor is not None:
            os.sched_setaffinity(0, {self.processor})
        before = _waited(task)
        self.core.heartbeat = real_now()
        started.set()
        with nogil:
            _spin(&self.core)
        self.starved = _waited(task) - before

    def _rescue(self):
        os.sched_setaffinity(0, self.others)
        with nogil:
            _rescue(&self.core)

    cdef void _lock(self) noexcept:
        cdef int *lock = &self.core.lock
        with nogil:
            while not lock_try(lock):
                sleep_ns(1000)

    cdef _run(self):
        if self.threads:
            return
        self.core.halt = 0
        started = threading.Event()
        self.threads.append(threading.Thread(target=self._spin, args=(started,), name="fibre", daemon=True))
        self.threads[0].start()
        started.wait()
        if self.rescue:
            self.threads.append(threading.Thread(target=self._rescue, name="fibre rescue", daemon=True))
            self.threads[1].start()

    cdef _rest(self):
        cdef int i
        for i in range(self.core.lines):
            if self.core.line[i].active:
                return
        poke_int(&self.core.halt, 1)
        for thread in self.threads:
            thread.join()
        self.threads = []

    def close(self):
        """Stop every span and the threads. The sockets are the caller's."""
        for span in self.spans:
            span.stop()

    def __dealloc__(self):
        poke_int(&self.core.halt, 1)


@final
cdef class Span:
    """The delay line of one link, both ways; made by `Fibre.packet_span` or `Fibre.relay_span`.

    Instants are ns since 1970 by the host's CLOCK_REALTIME, durations ns. Direction 0 is near to far (the near
    UDP port is the source port), 1 is far to near (it is the destination port).
    """

    cdef Line *line
    cdef Fibre fibre
    cdef object poll
    cdef bint ready[2]
    cdef uint64_t seeds[2][MAX_ROUTES]

    def __cinit__(self, Fibre fibre, capacity, stride):
        cdef int i, k
        cdef Way *way
        cdef uint64_t rows = 1
        if not 1 <= capacity <= 1 << 32:
            raise ValueError(f"capacity {capacity}: 1 to 2^32 rows")
        while rows < <uint64_t>capacity:
            rows *= 2
        self.fibre = fibre
        self.line = <Line *>calloc(1, sizeof(Line))
        if self.line == NULL:
            raise MemoryError
        self.line.mask = rows - 1
        self.line.log = <Row *>calloc(rows, sizeof(Row))
        self.line.late = <Row *>calloc(LATE_ROWS, sizeof(Row))
        self.line.flow_fd = <int32_t *>malloc(65536 * sizeof(int32_t))
        if NULL in (self.line.log, self.line.late, self.line.flow_fd):
            raise MemoryError
        memset(self.line.flow_fd, 0xff, 65536 * sizeof(int32_t))
        for k in range(2):
            way = &self.line.ways[k]
            way.direction = k
            way.rx = way.tx = -1
            way.next_at = NEVER
            way.stride = (stride + 63) // 64 * 64
            way.heap = <Entry *>malloc(SLOTS * sizeof(Entry))
            way.pool = <uint8_t *>malloc(<size_t>SLOTS * way.stride)
            way.spare = <uint32_t *>malloc(SLOTS * sizeof(uint32_t))
            way.slots = <Slot *>calloc(SLOTS, sizeof(Slot))
            way.keys = <int64_t *>calloc(KEYS, sizeof(int64_t))
            way.route_of = <uint8_t *>calloc(65536, 1)
            if NULL in (way.heap, way.pool, way.spare, way.slots, way.keys, way.route_of):
                raise MemoryError
            for i in range(SLOTS):
                way.spare[i] = SLOTS - 1 - i
            way.spares = SLOTS

    def __dealloc__(self):
        cdef Way *way
        cdef int k
        if self.line == NULL:
            return
        for k in range(2):
            way = &self.line.ways[k]
            if way.ring != NULL:
                munmap(way.ring, <size_t>(way.frames // way.per_block) * BLOCK)
            free(way.heap)
            free(way.pool)
            free(way.spare)
            free(way.slots)
            free(way.keys)
            free(way.route_of)
        free(self.line.log)
        free(self.line.late)
        free(self.line.flow_fd)
        free(self.line)

    def _open_packets(self, int direction, int rx, int tx, int mtu):
        cdef Way *way = &self.line.ways[direction]
        cdef int frame = (mtu + 14 + 4 + 112 + 15) // 16 * 16
        cdef int blocks
        cdef uint8_t *ring
        way.per_block = BLOCK // frame
        blocks = (FRAMES + way.per_block - 1) // way.per_block
        if (option(rx, PACKET_IGNORE_OUTGOING, 1) or option(rx, PACKET_TIMESTAMP, SOF_TIMESTAMPING_SOFTWARE)
                or stamping(rx, 1, 0) or option(tx, PACKET_QDISC_BYPASS, 1) or stamping(tx, 0, 1)):
            raise OSError(errno, os.strerror(errno))
        ring = ring_open(rx, BLOCK, blocks, frame, blocks * way.per_block)
        if <void *>ring == MAP_FAILED:
            raise OSError(errno, os.strerror(errno))
        way.ring = ring
        way.frame_size = frame
        way.frames = blocks * way.per_block
        way.rx = rx
        way.tx = tx
        way.stamps = 1
        way.outside = OUTSIDE_PACKET_NS
        way.comp = 1000

    def _open_relay(self, int front, uint32_t near_address):
        self.poll = select.epoll()
        self.line.near_address = near_address
        self.line.ways[0].relay = self.line.ways[1].relay = 1
        self.line.ways[0].outside = self.line.ways[1].outside = OUTSIDE_RELAY_NS
        self.line.ways[0].rx = self.line.ways[1].tx = front
        self.line.ways[1].rx = self.poll.fileno()
        if stamping(front, 1, 0):
            raise OSError(errno, os.strerror(errno))

    def add_flow(self, int port, int fd):
        """Relay only: packets from near UDP ``port`` leave by ``fd``, connected to the far end. Raises OSError."""
        if stamping(fd, 1, 0):
            raise OSError(errno, os.strerror(errno))
        self.line.flow_fd[port] = fd
        if poll_add(self.line.ways[1].rx, fd, port):
            raise OSError(errno, os.strerror(errno))

    def configure(self, int direction, routes, route_of, uint64_t seed):
        """Programme one direction; takes effect at the next start.

        ``routes`` are dicts: delay_ns, jitter_law (0 none, 1 uniform, 2 exponential), jitter_ns, keep_order,
        loss_ppm, burst, duplicate_ppm, reorder_ppm, reorder_ns, changes [(at_ns, delay_ns or -1 for a cut)].
        ``route_of`` maps near UDP ports to indices of ``routes``. Raises ValueError, KeyError.
        """
        cdef Way *way
        cdef Route *route
        cdef int i, j
        cdef double leave, mean
        if direction not in (0, 1) or not 1 <= len(routes) <= MAX_ROUTES:
            raise ValueError(f"direction 0 or 1 with 1 to {MAX_ROUTES} routes")
        if self.line.active:
            raise RuntimeError("a span is configured while it is stopped")
        way = &self.line.ways[direction]
        memset(way.plan, 0, sizeof(way.plan))
        for i, plan in enumerate(routes):
            route = &way.plan[i]
            route.delay = plan["delay_ns"]
            route.law = plan["jitter_law"]
            route.jitter_ns = plan["jitter_ns"]
            route.keep_order = plan["keep_order"] and route.law != 0
            route.reorder_ns = plan["reorder_ns"]
            route.lose = _share(plan["loss_ppm"])
            route.duplicate = _share(plan["duplicate_ppm"])
            route.reorder = _share(plan["reorder_ppm"])
            route.burst = plan["burst"] > 1 and 0 < plan["loss_ppm"] < 1000000
            if route.burst:
                # Stationary share of the bad state p = enter / (enter + leave), mean stay 1 / leave packets.
                mean = plan["loss_ppm"] / 1e6
                leave = 1.0 / plan["burst"]
                route.leave = <uint64_t>int(leave * 2**64)
                route.enter = <uint64_t>min(int(leave * mean / (1 - mean) * 2**64), 2**64 - 1)
            route.changes = len(plan["changes"])
            if route.changes > MAX_CHANGES:
                raise ValueError(f"at most {MAX_CHANGES} changes")
            for j, (at, delay) in enumerate(plan["changes"]):
                route.change_at[j] = at
                route.change_delay[j] = delay
            self.seeds[direction][i] = seed ^ (<uint64_t>direction << 40) ^ (<uint64_t>i << 32)
        memset(way.route_of, 0, 65536)
        for port, index in route_of.items():
            if not (0 < port < 65536 and 0 <= index < len(routes)):
                raise ValueError(f"port {port} to route {index} of {len(routes)}")
            way.route_of[<int>port] = index
        self.ready[direction] = True

    def start(self):
        """Begin to carry packets: counters and log empty, decisions from the seed again, time 0 for changes is now.

        What arrived before is dropped. Raises RuntimeError when a direction is not configured or it runs already.
        """
        cdef Line *line = self.line
        cdef Way *way
        cdef int i, k, _i
        if not (self.ready[0] and self.ready[1]):
            raise RuntimeError("both directions are configured before start")
        with self.fibre.guard:
            if line.active:
                raise RuntimeError("this span runs already")
            for k in range(2):
                way = &line.ways[k]
                for i in range(MAX_ROUTES):
                    way.routes[i] = way.plan[i]
                    _seed(way.routes[i].state, self.seeds[k][i])
                if not way.relay:
                    for _i in range(way.frames):
                        if not ring_ready(_frame(way, way.head)):
                            break
                        ring_return(_frame(way, way.head))
                        way.head = way.head + 1 if way.head + 1 < way.frames else 0
                    ring_drops(way.rx)
                else:
                    # With no route of its own and the line idle, each waiting datagram is read and forgotten.
                    self._discard(way)
            memset(&line.counts, 0, sizeof(Counts))
            line.head = line.tail = line.lates = 0
            line.start = real_now()
            poke_int(&line.active, 1)
            self.fibre._run()

    cdef _discard(self, Way *way):
        cdef uint8_t data[16]
        cdef uint32_t address
        cdef uint32_t ports[READY]
        cdef uint16_t port
        cdef int64_t stamp
        cdef int k, n, _i
        if way.direction == 0:
            for _i in range(1000000):
                if datagram_read(way.rx, data, 16, &address, &port, &stamp) < 0:
                    return
        for _i in range(1000000):
            n = poll_ready(way.rx, ports)
            if n == 0:
                return
            for k in range(n):
                datagram_read(self.line.flow_fd[ports[k]], data, 16, &address, &port, &stamp)

    def stop(self):
        """Take in nothing more, deliver what is held, settle the log. Idempotent."""
        cdef Line *line = self.line
        with self.fibre.guard:
            if not line.active:
                return
            poke_int(&line.active, 2)
            deadline = time.monotonic() + 10
            while (line.ways[0].count or line.ways[1].count) and time.monotonic() < deadline:
                time.sleep(0.001)
            self.fibre._lock()
            for k in range(2):
                while line.ways[k].read != line.ways[k].sent:
                    _collect(line, &line.ways[k], STAMPS)
            poke_int(&line.active, 0)
            lock_free(&self.fibre.core.lock)
            self.fibre._rest()

    @property
    def running(self):
        """Whether it carries packets."""
        return self.line.active != 0

    cdef _rows(self, bint take):
        # The settled rows in order. No lock while copying: a million rows would hold up the releases.
        cdef Line *line = self.line
        cdef uint64_t first = line.tail, last, end = line.head, i
        last = first
        with nogil:
            while last < end and line.log[last & line.mask].final:
                last += 1
        raw = np.empty(last - first, ROW)
        cdef uint8_t[::1] into = raw.view(np.uint8)
        cdef uint64_t count = last - first, part
        if count:
            i = first & line.mask
            part = min(count, line.mask + 1 - i)
            memcpy(&into[0], &line.log[i], part * sizeof(Row))
            if count > part:
                memcpy(&into[part * sizeof(Row)], &line.log[0], (count - part) * sizeof(Row))
        self.fibre._lock()
        i = line.tail
        if take and last > line.tail:
            line.tail = last
        lock_free(&self.fibre.core.lock)
        # Rows that a full log has overwritten meanwhile are not rows any more.
        return self._told(raw[min(i - first, count):])

    cdef _told(self, raw):
        rows = np.empty(len(raw), TRUTH)
        for name in ("direction", "fate", "port", "seq", "arrival", "release"):
            rows[name] = raw[name]
        rows["programmed_ns"] = raw["programmed"]
        gone = raw["release"] == MISSING
        rows["hold_ns"] = np.where(gone, MISSING, raw["release"] - np.where(gone, 0, raw["arrival"]))
        wanted = np.where(gone, 0, rows["programmed_ns"] - self.line.ways[0].outside)
        rows["late_ns"] = np.where(gone, MISSING, rows["hold_ns"] - wanted)
        return rows

    def truth(self):
        """The settled rows in order of arrival, as a structured array of dtype `TRUTH`.

        direction 0 or 1; port the near UDP port; seq the sender's sequence number both ways (backward the one that
        the reflector echoes; the first four octets of what is no STAMP packet); fate bits LOST, CUT, COPY (the
        second of a duplicate), HELD_BACK (reordered by plan), OVERFLOW, SEND_ERROR, RESCUED, USER_STAMP; arrival ns.

        release is the kernel's transmit stamp unless ``fate`` has USER_STAMP; it, hold_ns and late_ns are MISSING
        (int64 minimum) for a packet that was not released. hold_ns = release - arrival. programmed_ns is the delay
        that the plan wanted over a patch of length zero;
        late_ns = hold_ns + outside - programmed_ns, where outside is what passes beside the hold: 160 ns, or
        1500 ns for the relay.
        """
        return self._rows(False)

    def take(self):
        """As `truth`, and the rows returned leave the log: for runs longer than its capacity."""
        return self._rows(True)

    def late(self):
        """As `truth`, but only the rows with late_ns > 50 000, in order of release, whatever the log has lost since.

        At most the first 262 144 since start; health()["late_over_50us"] counts them all.
        """
        cdef uint64_t count = self.line.lates
        raw = np.empty(count, ROW)
        cdef uint8_t[::1] into = raw.view(np.uint8)
        if count:
            memcpy(&into[0], self.line.late, count * sizeof(Row))
        return self._told(raw)

    def health(self):
        """Counts since start: dict of ints.

        releases, late_over_50us, late_over_200us, late_over_800us, worst_ns, lost_by_plan, cut_by_plan,
        duplicated_by_plan, reordered_by_plan (held back), rescued, overflow, ring_drops, send_errors, unstamped,
        unchecked (frames whose UDP checksum the kernel left unfinished), others (no test packets), log_overflow,
        starved_ns (spinning thread without a CPU because this host gave it to others, known after the last stop),
        comp_forward_ns, comp_backward_ns.
        """
        cdef Counts *counts = &self.line.counts
        for k in range(2):
            if not self.line.ways[k].relay:
                counts.ring_drops += ring_drops(self.line.ways[k].rx)
        return {
            "releases": counts.releases,
            "late_over_50us": counts.late50,
            "late_over_200us": counts.late200,
            "late_over_800us": counts.late800,
            "worst_ns": counts.worst,
            "lost_by_plan": counts.lost,
            "cut_by_plan": counts.cut,
            "duplicated_by_plan": counts.duplicated,
            "reordered_by_plan": counts.held_back,
            "rescued": counts.rescued,
            "overflow": counts.overflow,
            "ring_drops": counts.ring_drops,
            "send_errors": counts.send_errors,
            "unstamped": counts.unstamped,
            "unchecked": counts.unchecked,
            "others": counts.others,
            "log_overflow": counts.log_overflow,
            "starved_ns": self.fibre.starved,
            "comp_forward_ns": self.line.ways[0].comp,
            "comp_backward_ns": self.line.ways[1].comp,
        }
