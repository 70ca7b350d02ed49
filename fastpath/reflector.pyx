# The answering end: turns STAMP packets round promptly, tells their exact send time in the next reply.
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True, auto_pickle=False, autotestdict=False
"""The answering end: turns STAMP packets round promptly, tells their exact send time in the next reply."""

import ipaddress
import os
import socket
import threading

from cpython.bytes cimport PyBytes_FromStringAndSize
from cpython.exc cimport PyErr_CheckSignals
cimport cython
from libc.errno cimport EINTR, errno as c_errno
from libc.stdint cimport INT64_MIN, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.stdlib cimport calloc, free, malloc
from libc.string cimport memcmp, memcpy, memset
from posix.unistd cimport close

from fastpath.clock cimport ClockModel, monotonic_ns, realtime_ns
from fastpath.timestamping cimport (
    AF_INET, AF_INET6, MSG_DONTWAIT, MSG_ERRQUEUE, MSG_TRUNC, SCM_TS_OPT_ID, SOL_SOCKET, Batch, Control, free_batch,
    iovec, msghdr, new_batch, parse_control, put_control, receive_batch, sendmsg, sockaddr_storage,
)
from fastpath.wire cimport (
    CAUSE_COUNT, CAUSE_FOREIGN, CAUSE_OK, FACT_INJECTED_CLOCK, FACT_T2_KERNEL, FACT_T2_NIC, FACT_T3_KERNEL,
    FACT_T3_NIC, FACT_VIRTUAL, Layout, ReflectorState, Session, inspect_request, reflect, resembles_reply,
)

from fastpath import clock as _clock
from fastpath import stack, timestamping
from fastpath.wire import CAUSES as _CAUSES

cdef extern from *:
    """
    #include <netinet/in.h>
    #include <poll.h>
    #include <string.h>
    #include <sys/socket.h>
    #define MILLICERT_LOAD(p) __atomic_load_n((p), __ATOMIC_ACQUIRE)
    #define MILLICERT_STORE(p, v) __atomic_store_n((p), (v), __ATOMIC_RELEASE)
    /* An address as 16 octets, IPv4 mapped into IPv6; returns the port in host order, -1 when it is neither. */
    static int millicert_peer(const struct sockaddr_storage *name, unsigned char address[16]) {
        if (name->ss_family == AF_INET) {
            const struct sockaddr_in *v4 = (const struct sockaddr_in *)name;
            memset(address, 0, 10);
            address[10] = address[11] = 0xff;
            memcpy(address + 12, &v4->sin_addr, 4);
            return ntohs(v4->sin_port);
        }
        if (name->ss_family == AF_INET6) {
            const struct sockaddr_in6 *v6 = (const struct sockaddr_in6 *)name;
            memcpy(address, &v6->sin6_addr, 16);
            return ntohs(v6->sin6_port);
        }
        return -1;
    }
    /* 1 when a packet was sent to many. IPv4: a destination that is not the local address (a broadcast), or is no one
       host's; a packet from before IP_PKTINFO was set has no local address. IPv6: a multicast destination. */
    static int millicert_to_many(struct msghdr *message) {
        for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
            if (c->cmsg_level == IPPROTO_IP && c->cmsg_type == IP_PKTINFO
                    && c->cmsg_len >= CMSG_LEN(sizeof(struct in_pktinfo))) {
                struct in_pktinfo info;
                memcpy(&info, CMSG_DATA(c), sizeof info);
                if (info.ipi_addr.s_addr == INADDR_BROADCAST || IN_MULTICAST(ntohl(info.ipi_addr.s_addr))
                        || (info.ipi_spec_dst.s_addr && info.ipi_spec_dst.s_addr != info.ipi_addr.s_addr))
                    return 1;
            }
            if (c->cmsg_level == IPPROTO_IPV6 && c->cmsg_type == IPV6_PKTINFO
                    && c->cmsg_len >= CMSG_LEN(16) && CMSG_DATA(c)[0] == 0xff)
                return 1;
        }
        return 0;
    }
    """
    int64_t load "MILLICERT_LOAD" (int64_t *p) nogil
    void store "MILLICERT_STORE" (int64_t *p, int64_t v) nogil
    int millicert_peer(const sockaddr_storage *name, uint8_t *address) nogil
    int millicert_to_many(msghdr *message) nogil
    ctypedef struct pollfd "struct pollfd":
        int fd
        short events
        short revents
    int poll(pollfd *fds, unsigned long count, int timeout)  nogil
    enum:
        POLLIN
        IPPROTO_IP
        IPPROTO_IPV6
        IP_TOS
        IP_PKTINFO
        IPV6_TCLASS
        IPV6_PKTINFO

cdef enum:
    BATCH = 32
    STAMP_BATCH = 8
    LARGEST = 9216              # octets of UDP payload answered: a jumbo frame
    HEADERS = 128               # octets that lie ahead of the payload in a packet that came back whole, at most
    DEPTH = 64                  # replies of a session whose TX stamps may still be under way (a power of 2)
    INTERFACES = 32
    LOOK_NS = 50000000          # how often a busy reflector looks for signals
    POLL_MS = 100

# A reply that left; its stamp goes into a later reply of the session.
cdef struct Sent:
    uint32_t seq
    int waiting                 # its stamp has not been told yet
    int64_t t3                  # INT64_MIN until the stamp is read
    int64_t written             # T3 as the reply itself says: finds the reply when stamps carry no id of ours
    int nic

cdef struct State:
    uint8_t address[16]
    int port, listener
    uint16_t ssid
    int next                    # in the same bucket, -1 the end
    int newer, older            # by last use, -1 the end
    int64_t used_at             # CLOCK_MONOTONIC
    uint32_t seq, rxc, txc
    uint32_t untold             # no reply before this number waits for its stamp
    Sent sent[DEPTH]

# What one reply said, as `Reflector.take` hands it out. 64 octets: a cache line.
cdef packed struct Record:
    int64_t t2, t3, told_t3     # as written in the reply; told_t3 INT64_MIN: it told none
    uint32_t session, seq, far_seq, told_seq
    uint8_t address[16]
    uint16_t port, ssid
    uint8_t listener, t2_source, told_source
    uint8_t spare

cdef struct Prefix:
    uint8_t address[16]
    int bits

cdef struct Counts:
    int64_t received, sent, send_errors, truncated, unstamped_rx, follow_ups, sessions, evicted, table_full
    int64_t loops_refused, foreign_interface, overflows, stray, unrecorded
    int64_t causes[CAUSE_COUNT]


@cython.final
cdef class Reflector:
    """Answers STAMP (RFC 8762, RFC 8972) and TWAMP-Light test packets on bound UDP sockets.

    ``fds``: bound sockets, IPv4 or IPv6, kept open by the caller; each is prepared by `timestamping.enable` here.
    ``key``: authenticated mode. ``stateful``: count and remember per session (source address, source port, SSID,
    socket), else copy the sequence number. ``allow``: (network, prefix length) pairs that may ask; empty: all.
    ``tai_utc``: TAI - UTC in s. ``clock``: a `ClockModel` applied to T2 and T3; it sets the injected-clock fact.
    ``error_estimate`` (16 bits), ``facts`` (FACT_* bits the caller vouches for, as clock-known) and
    ``sync_source`` (RFC 8972 4.3: 1 NTP, 2 PTP, 3 SSU/BITS, 4 GNSS, 5 free-running) can be set while running.
    What the reflector sees for itself - an interface not shown to end in a physical device, where stamps come from,
    an injected clock - it adds.
    ``clock_id``: None takes `clock.clock_id`, which an injected clock makes another.
    ``session_limit``: sessions remembered, 2.1 kB each for the stamps of their last 64 replies, which may come late
    where the way out has a queue; a full table gives up the one idle longest if that is 60 s
    (``idle_ns``), else does not answer the newcomer, so a flood displaces nobody.
    ``lie_ns``: simulation only: added to every T3 told, so the turnaround is overstated; sets the injected-clock
    fact unless ``lie_quietly``. ``honour_dscp`` False refuses requested reverse DSCPs and says so.
    ``linger_ns``: after a packet, keep looking this long before sleeping.
    ``record``: replies remembered for `take`, a power of 2; 0: none. A full memory is never waited for: what does not
    fit is counted as unrecorded.

    A source port equal to our own is never answered, nor a packet that says what only a reply says: two reflectors
    would answer each other for ever. Nor is one sent to a broadcast or multicast address: many would answer one.
    Raises ValueError for arguments that do not fit, OSError for sockets that do not.
    """

    cdef Layout layout
    cdef State *table
    cdef int *buckets
    cdef int *fds
    cdef int *ports
    cdef int64_t *drops
    cdef pollfd *polls
    cdef Prefix *prefixes
    cdef Batch *requests
    cdef Batch *stamps
    cdef uint8_t *out
    cdef int fd_count, prefix_count, limit, bits, bucket_mask, used, newest, oldest, caller_id
    cdef int stateful, honour_dscp, lie_quietly, outstanding
    cdef int64_t tai, lie, idle, linger, stopping
    cdef int64_t error_bits, facts_bits, sync_bits, nic_offset
    cdef uint32_t clock_number, nonce_number
    cdef uint64_t salt
    cdef ClockModel model
    cdef Counts counts
    cdef int wake
    cdef int interface_fd[INTERFACES]
    cdef int interface_index[INTERFACES]
    cdef int interface_is_virtual[INTERFACES]
    cdef int interface_count
    cdef Record *records
    cdef int64_t record_mask, record_head, record_tail
    cdef object _capability

    def __cinit__(self, fds, *, bytes key=None, bint stateful=True, allow=(), int tai_utc, ClockModel clock=None,
                  int error_estimate, int facts=0, clock_id=None, int session_limit=4096, int sync_source=5,
                  int64_t lie_ns=0, bint lie_quietly=False, bint honour_dscp=True, int64_t idle_ns=60_000_000_000,
                  int64_t linger_ns=0, bint hardware=False, interface=None, int64_t nic_offset_ns=0, caller_id=None,
                  int record=0):
        cdef int i
        cdef Session session
        self.wake = -1
        fds = list(fds)
        if not fds:
            raise ValueError("a reflector needs a socket")
        if not 1 <= session_limit <= 1 << 20:
            raise ValueError(f"session_limit {session_limit} is not in 1..{1 << 20}")
        if not 0 <= error_estimate <= 0xFFFF or not 0 <= facts <= 0xFFFF or not 0 <= sync_source <= 255:
            raise ValueError("error_estimate and facts have 16 bits, sync_source 8")
        if record < 0 or record & (record - 1) or record > 1 << 24:
            raise ValueError(f"record {record} is no power of 2 up to {1 << 24}")
        networks = [_prefix(network, length) for network, length in allow]
        session = Session(256, key=key, tai_utc=tai_utc)
        self.layout = session.layout
        self.stateful = stateful
        self.tai = <int64_t>tai_utc * 1000000000
        self.model = clock if clock is not None else ClockModel()
        self.error_bits = error_estimate
        self.facts_bits = facts
        self.sync_bits = sync_source
        self.nic_offset = nic_offset_ns
        self.lie = lie_ns
        self.lie_quietly = lie_quietly
        self.honour_dscp = honour_dscp
        self.idle = idle_ns
        self.linger = linger_ns
        if clock_id is None:
            clock_id = _clock.clock_id(f"CLOCK_REALTIME {self.model!r}" if self.model.injected else "CLOCK_REALTIME")
        self.clock_number = clock_id
        self.nonce_number = int.from_bytes(os.urandom(4), "big")
        self.salt = int.from_bytes(os.urandom(8), "big")
        self.limit = session_limit
        self.bits = max(1, (session_limit - 1).bit_length())
        self.bucket_mask = (1 << (self.bits + 1)) - 1
        self.newest = self.oldest = -1
        self.fd_count = len(fds)
        self.prefix_count = len(networks)
        self.table = <State *>calloc(session_limit, sizeof(State))
        self.buckets = <int *>calloc(self.bucket_mask + 1, sizeof(int))
        self.fds = <int *>calloc(self.fd_count, sizeof(int))
        self.ports = <int *>calloc(self.fd_count, sizeof(int))
        self.drops = <int64_t *>calloc(self.fd_count, sizeof(int64_t))
        self.polls = <pollfd *>calloc(self.fd_count + 1, sizeof(pollfd))
        self.prefixes = <Prefix *>calloc(max(1, self.prefix_count), sizeof(Prefix))
        self.out = <uint8_t *>calloc(1, LARGEST + 256)
        self.requests = new_batch(BATCH, LARGEST)
        if record:
            self.record_mask = record - 1
            self.records = <Record *>malloc(record * sizeof(Record))
            if not self.records:
                raise MemoryError
            memset(self.records, 0xff, record * sizeof(Record))    # touched now, not while a packet waits
        self._capability = tuple(timestamping.enable(fd, hardware, interface) for fd in fds)
        self.caller_id = all(c.caller_id for c in self._capability) if caller_id is None else bool(caller_id)
        self.stamps = new_batch(STAMP_BATCH, 16 if self.caller_id else LARGEST + HEADERS)
        if (not self.table or not self.buckets or not self.fds or not self.ports or not self.drops or not self.polls
                or not self.prefixes or not self.out or not self.requests or not self.stamps):
            raise MemoryError
        for i in range(self.bucket_mask + 1):
            self.buckets[i] = -1
        self.wake = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.polls[self.fd_count].fd = self.wake
        self.polls[self.fd_count].events = POLLIN
        for i in range(self.fd_count):
            self.fds[i] = self.polls[i].fd = fds[i]
            self.polls[i].events = POLLIN
            with socket.socket(fileno=os.dup(fds[i])) as each:
                self.ports[i] = each.getsockname()[1]
            if not self.caller_id:
                timestamping.loop_packets_back(fds[i])
        for i in range(self.prefix_count):
            packed, length = networks[i]
            memcpy(self.prefixes[i].address, <const uint8_t *>packed, 16)
            self.prefixes[i].bits = length

    def __dealloc__(self):
        if self.wake >= 0:
            close(self.wake)
        free(self.table)
        free(self.buckets)
        free(self.fds)
        free(self.ports)
        free(self.drops)
        free(self.polls)
        free(self.prefixes)
        free(self.out)
        free(self.records)
        free_batch(self.requests)
        free_batch(self.stamps)

    # Sessions: a hash table of fixed size whose entries also form a list by last use

    cdef int bucket_of(self, const uint8_t *address, int port, uint16_t ssid, int listener) noexcept nogil:
        # FNV-1a, salted with what no reply tells, so nobody outside can aim at a bucket
        cdef uint64_t h = 14695981039346656037ULL ^ self.salt
        cdef int i
        for i in range(16):
            h = (h ^ address[i]) * 1099511628211ULL
        h = (h ^ <uint64_t>port) * 1099511628211ULL
        h = (h ^ ssid) * 1099511628211ULL
        h = (h ^ <uint64_t>listener) * 1099511628211ULL
        return <int>((h ^ (h >> 32)) & <uint64_t>self.bucket_mask)

    cdef void unlink(self, int index) noexcept nogil:
        cdef State *s = &self.table[index]
        if s.newer >= 0:
            self.table[s.newer].older = s.older
        else:
            self.newest = s.older
        if s.older >= 0:
            self.table[s.older].newer = s.newer
        else:
            self.oldest = s.newer

    cdef void link_newest(self, int index) noexcept nogil:
        cdef State *s = &self.table[index]
        s.newer = -1
        s.older = self.newest
        if self.newest >= 0:
            self.table[self.newest].newer = index
        self.newest = index
        if self.oldest < 0:
            self.oldest = index

    cdef int session_of(self, const uint8_t *address, int port, uint16_t ssid, int listener,
                        int64_t now) noexcept nogil:
        # Index of the session, made if need be; -1 when the table is full.
        cdef int bucket = self.bucket_of(address, port, ssid, listener)
        cdef int index = self.buckets[bucket]
        cdef int *link
        cdef State *s
        while index >= 0:
            s = &self.table[index]
            if s.port == port and s.ssid == ssid and s.listener == listener and memcmp(s.address, address, 16) == 0:
                s.used_at = now
                if self.newest != index:
                    self.unlink(index)
                    self.link_newest(index)
                return index
            index = s.next
        if self.used < self.limit:
            index = self.used
            self.used += 1
            self.counts.sessions += 1
        else:
            index = self.oldest
            s = &self.table[index]
            if now - s.used_at < self.idle:
                self.counts.table_full += 1
                return -1
            self.counts.evicted += 1
            self.unlink(index)
            link = &self.buckets[self.bucket_of(s.address, s.port, s.ssid, s.listener)]
            while link[0] != index:
                link = &self.table[link[0]].next
            link[0] = s.next
        s = &self.table[index]
        memset(s, 0, sizeof(State))
        memcpy(s.address, address, 16)
        s.port = port
        s.ssid = ssid
        s.listener = listener
        s.used_at = now
        s.next = self.buckets[bucket]
        self.buckets[bucket] = index
        self.link_newest(index)
        return index

    # Packets

    cdef int allowed(self, const uint8_t *address) noexcept nogil:
        cdef int i, whole, rest
        cdef Prefix *p
        if self.prefix_count == 0:
            return 1
        for i in range(self.prefix_count):
            p = &self.prefixes[i]
            whole = p.bits // 8
            rest = p.bits % 8
            if memcmp(p.address, address, whole) == 0 and (
                    rest == 0 or (p.address[whole] ^ address[whole]) >> (8 - rest) == 0):
                return 1
        return 0

    cdef int is_virtual(self, int fd, int index) noexcept nogil:
        cdef int i, found = 1                           # what cannot be told is not silently real
        for i in range(self.interface_count):
            if self.interface_fd[i] == fd and self.interface_index[i] == index:
                return self.interface_is_virtual[i]
        with gil:                                       # once an interface; held, so that `look` sees whole entries
            try:
                found = bool(timestamping.doubts(fd, index))
            except Exception:
                pass
            if self.interface_count == INTERFACES:
                self.interface_count = 0                # interfaces came and went: look again
            i = self.interface_count
            self.interface_fd[i] = fd
            self.interface_index[i] = index
            self.interface_is_virtual[i] = found
            self.interface_count += 1
        return found

    cdef void read_stamps(self, int listener) noexcept nogil:
        cdef Control control
        cdef int got, i, index
        cdef State *s
        cdef Sent *sent
        while True:
            got = receive_batch(self.fds[listener], self.stamps, MSG_ERRQUEUE | MSG_DONTWAIT)
            if got <= 0:
                return
            for i in range(got):
                parse_control(&self.stamps.messages[i].msg_hdr, &control)
                if control.stamp_id < 0 or control.stamp_kind != 0:
                    continue
                sent = NULL
                if self.caller_id:
                    # id: session in the low bits, the low bits of the reply's number above
                    index = <int>(control.stamp_id & ((1 << self.bits) - 1))
                    if index < self.used:
                        s = &self.table[index]
                        sent = &s.sent[(control.stamp_id >> self.bits) & (DEPTH - 1)]
                        if not sent.waiting or <uint32_t>(sent.seq << self.bits | <uint32_t>index) != (
                                <uint32_t>control.stamp_id):
                            sent = NULL
                else:
                    sent = self.sent_reply(self.stamps.data + i * self.stamps.stride, self.stamps.messages[i].msg_len)
                if sent == NULL:
                    self.counts.stray += 1
                elif control.hardware != INT64_MIN:
                    sent.t3 = self.model.shift(control.hardware + load(&self.nic_offset)) + self.lie
                    sent.nic = 1
                elif control.software != INT64_MIN and not sent.nic:
                    sent.t3 = self.model.shift(control.software + self.tai) + self.lie
            if got < self.stamps.count:
                return

    cdef Sent *sent_reply(self, const uint8_t *frame, int length) noexcept nogil:
        # The reply in a packet that came back whole: its T3, written to the ns, is found in it again.
        cdef int index = self.newest, i, k, looks = 0
        cdef uint8_t written[8]
        while index >= 0 and looks < 64:
            looks += 1
            for k in range(DEPTH):
                if self.table[index].sent[k].waiting:
                    memcpy(written, &self.table[index].sent[k].written, 8)
                    for i in range(min(length - 8, HEADERS + 16)):
                        if frame[i] == written[0] and memcmp(frame + i, written, 8) == 0:
                            return &self.table[index].sent[k]
            index = self.table[index].older
        return NULL

    cdef void answer(self, int listener, const uint8_t *packet, int length, msghdr *request) noexcept nogil:
        cdef Control control
        cdef ReflectorState state
        cdef State *s = NULL
        cdef Sent *sent
        cdef uint8_t address[16]
        cdef uint8_t room[128]
        cdef uint8_t info[20]
        cdef uint32_t seq, s_txc, stamp_id, number
        cdef uint16_t ssid
        cdef int port, cause, dscp, index = -1, out_length, tos, mapped
        cdef int64_t t2, now
        cdef msghdr reply
        cdef iovec vector
        cdef size_t used
        parse_control(request, &control)
        self.counts.received += 1
        if control.drops > self.drops[listener]:
            self.counts.overflows += control.drops - self.drops[listener]
            self.drops[listener] = control.drops
        if request.msg_flags & MSG_TRUNC:
            self.counts.truncated += 1
            return
        port = millicert_peer(<sockaddr_storage *>request.msg_name, address)
        if port <= 0 or not self.allowed(address) or millicert_to_many(request):
            self.counts.causes[<int>CAUSE_FOREIGN] += 1
            return
        if port == self.ports[listener]:
            self.counts.loops_refused += 1
            return
        cause = inspect_request(packet, length, &self.layout, &seq, &ssid, &dscp, &s_txc)
        if cause != CAUSE_OK:
            self.counts.causes[cause] += 1
            return
        if resembles_reply(packet, length, &self.layout, self.model.shift(realtime_ns() + self.tai)):
            self.counts.loops_refused += 1
            return
        memset(&state, 0, sizeof(state))
        state.follow_up_t3 = INT64_MIN
        state.facts = <uint16_t>load(&self.facts_bits)
        if self.model.offset_ns or self.model.skew_ppb or self.model.step_ns or (self.lie and not self.lie_quietly):
            state.facts |= FACT_INJECTED_CLOCK
        if control.interface and self.is_virtual(self.fds[listener], control.interface):
            state.facts |= FACT_VIRTUAL
        state.method_in = 2
        if control.hardware != INT64_MIN:
            t2 = control.hardware + load(&self.nic_offset)
            state.facts |= FACT_T2_NIC
            state.method_in = 1
        elif control.software != INT64_MIN:
            t2 = control.software + self.tai
            state.facts |= FACT_T2_KERNEL
        else:
            t2 = realtime_ns() + self.tai
            self.counts.unstamped_rx += 1
        state.seq = seq
        state.stateful = self.stateful
        if self.stateful:
            now = monotonic_ns()
            index = self.session_of(address, port, ssid, listener, now)
            if index < 0:
                return
            s = &self.table[index]
            s.rxc += 1
            if self.outstanding:
                self.read_stamps(listener)              # the previous reply's stamp goes into this one
            state.seq = s.seq
            state.r_rxc = s.rxc
            state.r_txc = s.txc + 1
            if s.seq - s.untold > DEPTH:
                s.untold = s.seq - DEPTH
            while s.untold != s.seq and not s.sent[s.untold & (DEPTH - 1)].waiting:
                s.untold += 1
            number = s.untold
            while number != s.seq:
                # oldest first: with stamps that come late every reply is still told, only later
                sent = &s.sent[number & (DEPTH - 1)]
                number += 1
                if sent.waiting and sent.t3 != INT64_MIN:
                    state.follow_up_seq = sent.seq
                    state.follow_up_t3 = sent.t3
                    state.follow_up_method = 1 if sent.nic else 2
                    state.facts |= FACT_T3_NIC if sent.nic else FACT_T3_KERNEL
                    break
            else:
                sent = NULL
        else:
            sent = NULL
        state.t2 = self.model.shift(t2)
        state.error_estimate = <uint16_t>load(&self.error_bits)
        state.ttl = control.ttl if control.ttl >= 0 else 0
        state.dscp_in = (control.tos >> 2) & 63 if control.tos >= 0 else 0
        state.ecn_in = control.tos & 3 if control.tos >= 0 else 0
        state.sync_in = state.sync_out = <int>load(&self.sync_bits)
        state.method_out = 2
        state.clock_id = self.clock_number
        state.nonce = self.nonce_number
        tos = state.dscp_in << 2
        if dscp >= 0 and dscp != state.dscp_in:
            if self.honour_dscp:
                tos = dscp << 2
            else:
                state.dscp_refused = 1
        memset(&reply, 0, sizeof(reply))
        reply.msg_name = request.msg_name
        reply.msg_namelen = request.msg_namelen
        reply.msg_iov = &vector
        reply.msg_iovlen = 1
        reply.msg_control = room
        used = 0
        mapped = (<sockaddr_storage *>request.msg_name).ss_family == AF_INET or control.local_family == AF_INET
        if control.local_family == AF_INET:
            memset(info, 0, 12)
            memcpy(info + 4, control.local, 4)          # ipi_spec_dst: answer from the address that was asked
            used = put_control(room, used, IPPROTO_IP, IP_PKTINFO, info, 12)
        elif control.local_family == AF_INET6:
            memcpy(info, control.local, 16)
            memcpy(info + 16, &control.interface, 4)
            used = put_control(room, used, IPPROTO_IPV6, IPV6_PKTINFO, info, 20)
        if mapped:
            used = put_control(room, used, IPPROTO_IP, IP_TOS, &tos, 4)
        else:
            used = put_control(room, used, IPPROTO_IPV6, IPV6_TCLASS, &tos, 4)
        if self.caller_id and s != NULL:
            stamp_id = s.seq << self.bits | <uint32_t>index
            used = put_control(room, used, SOL_SOCKET, SCM_TS_OPT_ID, &stamp_id, 4)
        reply.msg_controllen = used
        state.t3 = self.model.shift(realtime_ns() + self.tai) + self.lie
        cause = reflect(packet, length, &self.layout, &state, self.out, &out_length)
        if cause != CAUSE_OK:
            self.counts.causes[cause] += 1
            return
        vector.iov_base = self.out
        vector.iov_len = out_length
        if sendmsg(self.fds[listener], &reply, MSG_DONTWAIT) < 0:
            self.counts.send_errors += 1
            return
        self.counts.sent += 1
        self.outstanding = 1
        if self.records != NULL:
            self.note(address, port, listener, index, ssid, seq, &state)
        if s == NULL:
            return
        if sent != NULL:
            sent.waiting = 0
            self.counts.follow_ups += 1
        sent = &s.sent[s.seq & (DEPTH - 1)]
        sent.seq = s.seq
        sent.waiting = 1
        sent.t3 = INT64_MIN
        sent.nic = 0
        memcpy(&sent.written, self.out + (16 if self.layout.authenticated else 4), 8)
        s.seq += 1
        s.txc += 1

    cdef void note(self, const uint8_t *address, int port, int listener, int index, uint16_t ssid, uint32_t seq,
                   const ReflectorState *state) noexcept nogil:
        # One writer, one reader: the record is whole before the head that shows it.
        cdef int64_t head = self.record_head
        cdef Record *r
        if head - load(&self.record_tail) > self.record_mask:
            self.counts.unrecorded += 1
            return
        r = &self.records[head & self.record_mask]
        r.t2 = state.t2
        r.t3 = state.t3
        r.told_t3 = state.follow_up_t3
        r.session = <uint32_t>index
        r.seq = seq
        r.far_seq = state.seq
        r.told_seq = state.follow_up_seq
        memcpy(r.address, address, 16)
        r.port = <uint16_t>port
        r.ssid = ssid
        r.listener = <uint8_t>listener
        r.t2_source = 3 if state.facts & FACT_T2_NIC else 2 if state.facts & FACT_T2_KERNEL else 1
        r.told_source = 3 if state.facts & FACT_T3_NIC else 2 if state.facts & FACT_T3_KERNEL else 0
        r.spare = 0
        store(&self.record_head, head + 1)

    cdef int serve_once(self) noexcept nogil:
        # Answers what is there; returns how many packets were.
        cdef int listener, got, i, answered = 0
        for listener in range(self.fd_count):
            got = receive_batch(self.fds[listener], self.requests, MSG_DONTWAIT)
            for i in range(max(got, 0)):
                self.answer(listener, self.requests.data + i * self.requests.stride,
                            self.requests.messages[i].msg_len, &self.requests.messages[i].msg_hdr)
            answered += max(got, 0)
        return answered

    def run(self):
        """Answers until `stop`. Runs without the GIL; signal handlers run within 100 ms when in the main thread.

        Raises what a signal handler raises (KeyboardInterrupt), OSError when waiting fails.
        """
        cdef int64_t looked = monotonic_ns(), busy_until = 0, now
        cdef int ready = 0, listener, answered, trouble = 0
        # Python runs signal handlers in the main thread alone; elsewhere the GIL is never waited for.
        cdef int watching = threading.current_thread() is threading.main_thread()
        with nogil:
            while not load(&self.stopping):
                now = monotonic_ns()
                answered = self.serve_once()
                if answered:
                    busy_until = now + self.linger
                # a full batch: more may wait; a short one emptied its socket, and poll tells of what came since
                if answered < BATCH and now >= busy_until:
                    if self.outstanding:
                        self.outstanding = 0
                        for listener in range(self.fd_count):
                            self.read_stamps(listener)  # a stamp left unread would wake poll at once
                    ready = poll(self.polls, self.fd_count + 1, POLL_MS)
                    trouble = c_errno if ready < 0 else 0
                    for listener in range(self.fd_count):
                        if self.polls[listener].revents & ~POLLIN:
                            self.outstanding = 1        # a stamp that came late, or an error to clear
                    now = monotonic_ns()
                if trouble or (watching and now - looked > LOOK_NS):
                    looked = now
                    with gil:
                        PyErr_CheckSignals()
                        if trouble and trouble != EINTR:
                            raise OSError(trouble, os.strerror(trouble))
                    trouble = 0

    def stop(self):
        """Makes `run` return within 100 ms; from any thread or signal handler, also before `run`."""
        store(&self.stopping, 1)
        os.eventfd_write(self.wake, 1)

    def look(self):
        """Looks anew at the interfaces that requests came by, for what replies say of them from now on.

        Returns why which of them is not shown to end in a physical device: `stack.Doubt`s, none where all do. From a
        thread beside the answering one: looking takes as long as the kernel takes to list its interfaces.
        """
        cdef int i, fd, index, virtual
        found = {}
        for i in range(INTERFACES):
            if i >= self.interface_count:
                break
            fd, index = self.interface_fd[i], self.interface_index[i]
            doubts = timestamping.doubts(fd, index)
            found.update(dict.fromkeys(each for each in doubts if each.why != stack.GONE))
            virtual = bool(doubts)
            if self.interface_fd[i] == fd and self.interface_index[i] == index:
                self.interface_is_virtual[i] = virtual
        return tuple(found)

    def take(self):
        """The replies noted since the last call, oldest first, 64 octets each; from one thread at a time.

        Little-endian: t2, t3, told_t3 (int64, ns TAI as the reply says them; told_t3 -2^63: none), session, seq,
        far_seq, told_seq (uint32), address (16 octets, IPv4 mapped), port, ssid (uint16), listener, source of t2 and
        of told_t3 (uint8: 0 none, 1 user, 2 kernel, 3 NIC), one octet of no meaning. ``told_t3`` is the send time of
        the session's earlier reply ``told_seq``, from Follow-Up Telemetry. ``session`` is an index that is given
        again when a session gives way; its address, port, SSID and listener say which one it is.
        """
        cdef int64_t tail = self.record_tail, head, first, count
        if self.records == NULL:
            return b""
        head = load(&self.record_head)
        count = head - tail
        first = min(count, self.record_mask + 1 - (tail & self.record_mask))
        taken = PyBytes_FromStringAndSize(<char *>&self.records[tail & self.record_mask], first * sizeof(Record))
        if count > first:
            taken += PyBytes_FromStringAndSize(<char *>self.records, (count - first) * sizeof(Record))
        store(&self.record_tail, head)
        return taken

    @property
    def nonce(self):
        """The number that says in-band which run of the reflector answers."""
        return self.nonce_number

    @property
    def clock_id(self):
        """The identity of this end's clock as told in-band."""
        return self.clock_number

    @property
    def capability(self):
        """The `timestamping.Capability` of each socket."""
        return self._capability

    @property
    def error_estimate(self):
        """16-bit Error Estimate of this clock, told from now on (RFC 4656 4.1.2)."""
        return load(&self.error_bits)

    @error_estimate.setter
    def error_estimate(self, int value):
        if not 0 <= value <= 0xFFFF:
            raise ValueError(f"error_estimate {value} is not a 16-bit number")
        store(&self.error_bits, value)

    @property
    def facts(self):
        """FACT_* bits the caller vouches for, told from now on beside those the reflector sees for itself."""
        return load(&self.facts_bits)

    @facts.setter
    def facts(self, int value):
        if not 0 <= value <= 0xFFFF:
            raise ValueError(f"facts {value} is not a 16-bit number")
        store(&self.facts_bits, value)

    @property
    def sync_source(self):
        """Synchronisation source code told in Timestamp Information (RFC 8972 4.3)."""
        return load(&self.sync_bits)

    @sync_source.setter
    def sync_source(self, int value):
        if not 0 <= value <= 255:
            raise ValueError(f"sync_source {value} is not an octet")
        store(&self.sync_bits, value)

    @property
    def nic_offset_ns(self):
        """TAI minus the PHC, ns, added to NIC stamps from now on."""
        return load(&self.nic_offset)

    @nic_offset_ns.setter
    def nic_offset_ns(self, int64_t value):
        store(&self.nic_offset, value)

    def counters(self):
        """Counts of packets by name.

        received, sent, send_errors, truncated, unstamped_rx, follow_ups (stamps told), stray_stamps,
        receive_overflows (dropped by our own socket), sessions (remembered now), evicted, table_full (not
        answered), loops_refused (source port our own, or a packet that is a reply itself), unrecorded (answered, yet
        not noted for `take`), and each cause of `wire.CAUSES` but "ok": why a packet was not answered; "foreign" is
        one from outside the allow-list, or one sent to a broadcast or multicast address.
        """
        cdef int i
        counts = {
            "received": self.counts.received,
            "sent": self.counts.sent,
            "send_errors": self.counts.send_errors,
            "truncated": self.counts.truncated,
            "unstamped_rx": self.counts.unstamped_rx,
            "follow_ups": self.counts.follow_ups,
            "stray_stamps": self.counts.stray,
            "receive_overflows": self.counts.overflows,
            "sessions": self.counts.sessions,
            "evicted": self.counts.evicted,
            "table_full": self.counts.table_full,
            "loops_refused": self.counts.loops_refused,
            "unrecorded": self.counts.unrecorded,
        }
        for i in range(1, CAUSE_COUNT):
            counts[_CAUSES[i]] = self.counts.causes[i]
        return counts


def _prefix(network, length):
    parsed = ipaddress.ip_network(f"{network}/{length}", strict=False)
    if parsed.version == 4:
        return b"\0" * 10 + b"\xff\xff" + parsed.network_address.packed, 96 + parsed.prefixlen
    return parsed.network_address.packed, parsed.prefixlen
