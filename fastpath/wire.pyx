# STAMP test packets (RFC 8762 4, RFC 8972 3-4) written and read in C, without the GIL.
#
# cython: language_level=3, boundscheck=False, wraparound=False, cdivision=True
#
# Layers: octets and times, SHA-256 and HMAC, the TLV chain, then one function per end of the wire; Session is the
# Python face. Rules that the RFCs leave to the implementer:
#  - A reflector writes PTP stamps (Z=1) only to a sender that does so itself, so a TWAMP-Light sender reads its NTP.
#  - An unauthenticated request has an SSID only where all that must be zero behind it is (octets 16 to 43): a
#    TWAMP-Light sender's padding lies there and may be pseudorandom (RFC 5357 4.1.2).
#  - A stamp of eight zero octets, or with 10^9 ns and more, is no time: MISSING_NS.
#  - What follows an unauthenticated base packet counts as TLVs only where it can be: a reflector wants M, I and the
#    reserved flags 0 and a type other than 0 (RFC 8972 5.2) first, a sender the first TLV that it sent. Else it is
#    the padding of a TWAMP end: echoed as it is, not an error.
#  - An authenticated reply with a malformed TLV still carries an HMAC TLV computed anew, so that M can be believed.
"""STAMP packets: built, reflected and parsed in C, with every refusal named."""
from cpython.bytes cimport PyBytes_AS_STRING, PyBytes_FromStringAndSize
from libc.stdint cimport INT64_MAX, INT64_MIN
from libc.string cimport memcpy, memset

import random

MISSING_NS = INT64_MIN

# RFC 8972 table 2 and the experimental range 240-251
cdef enum:
    EXTRA_PADDING = 1
    TIMESTAMP_INFORMATION = 3
    CLASS_OF_SERVICE = 4
    DIRECT_MEASUREMENT = 5
    FOLLOW_UP = 7
    HMAC_TLV = 8
    FACTS = 240

cdef enum:
    UNRECOGNISED = 0x80        # TLV flags U, M, I (RFC 8972 4)
    MALFORMED = 0x40
    INTEGRITY = 0x20
    TLV_HEADER = 4
    TAG = 16                   # HMAC-SHA-256-128
    SHORTEST = 14              # a TWAMP-Test packet without padding (RFC 5357 4.1.2)
    LARGEST = 65507            # UDP payload over IPv4
    ERROR_S = 0x8000           # Error Estimate: synchronised
    ERROR_Z = 0x4000           # PTPv2 truncated stamps

cdef int64_t SECOND = 1000000000
cdef int64_t HOUR = 3600000000000
cdef uint64_t HALF = <uint64_t>1 << 31       # of an NTP fraction's 2^32
cdef int64_t NTP_EPOCH = 2208988800    # 1900 to 1970, s (RFC 5905 figure 4)


# Offsets in the base packets of RFC 8762 4.2.1, 4.3.1 (plain) and 4.2.2, 4.3.2 (authenticated).
cdef struct Base:
    int size, stamp, error, ssid, received, sender_seq, sender_stamp, sender_error, ttl

cdef Base PLAIN
PLAIN = Base(size=44, stamp=4, error=12, ssid=14, received=16, sender_seq=24, sender_stamp=28, sender_error=36, ttl=40)
cdef Base AUTHENTICATED
AUTHENTICATED = Base(size=112, stamp=16, error=24, ssid=26, received=32, sender_seq=48, sender_stamp=64,
                     sender_error=72, ttl=80)


cdef inline Base *base_of(const Layout *layout) noexcept nogil:
    return &AUTHENTICATED if layout.authenticated else &PLAIN


# Octets

cdef inline uint16_t get16(const uint8_t *p) noexcept nogil:
    return <uint16_t>((p[0] << 8) | p[1])


cdef inline uint32_t get32(const uint8_t *p) noexcept nogil:
    return (<uint32_t>p[0] << 24) | (<uint32_t>p[1] << 16) | (<uint32_t>p[2] << 8) | p[3]


cdef inline uint64_t get64(const uint8_t *p) noexcept nogil:
    return (<uint64_t>get32(p) << 32) | get32(p + 4)


cdef inline void put16(uint8_t *p, uint16_t value) noexcept nogil:
    p[0] = <uint8_t>(value >> 8)
    p[1] = <uint8_t>value


cdef inline void put32(uint8_t *p, uint32_t value) noexcept nogil:
    p[0] = <uint8_t>(value >> 24)
    p[1] = <uint8_t>(value >> 16)
    p[2] = <uint8_t>(value >> 8)
    p[3] = <uint8_t>value


cdef inline void put64(uint8_t *p, uint64_t value) noexcept nogil:
    put32(p, <uint32_t>(value >> 32))
    put32(p + 4, <uint32_t>value)


# Times: int64 ns TAI inside, 64-bit stamps on the wire. 32-bit seconds belong to the era that puts them within
# 2^31 s (68 years) of `near`.

cdef inline int64_t floor_seconds(int64_t ns) noexcept nogil:
    return ns // SECOND - (ns % SECOND < 0)


cdef inline int64_t era_seconds(uint32_t seconds, int64_t near_seconds) noexcept nogil:
    return near_seconds + <int32_t>(seconds - <uint32_t>near_seconds)


cdef inline uint64_t ntp_from_ns(int64_t tai_ns, int tai_utc) noexcept nogil:
    cdef int64_t utc = tai_ns - tai_utc * SECOND
    cdef int64_t seconds = floor_seconds(utc)
    cdef uint64_t ns = <uint64_t>(utc - seconds * SECOND)
    # The fraction's step is 0.23 ns: rounding both ways to the nearest brings every ns back exactly.
    return (<uint64_t><uint32_t>(seconds + NTP_EPOCH) << 32) + ((ns << 32) + 500000000) // 1000000000


cdef inline int64_t ns_from_ntp(uint64_t stamp, int64_t near, int tai_utc) noexcept nogil:
    cdef int64_t near_seconds = floor_seconds(near) - tai_utc + NTP_EPOCH
    cdef int64_t seconds = era_seconds(<uint32_t>(stamp >> 32), near_seconds) - NTP_EPOCH + tai_utc
    return seconds * SECOND + <int64_t>((<uint64_t><uint32_t>stamp * 1000000000 + HALF) >> 32)


cdef inline uint64_t ptp_from_ns(int64_t tai_ns) noexcept nogil:
    cdef int64_t seconds = floor_seconds(tai_ns)
    return (<uint64_t><uint32_t>seconds << 32) | <uint64_t>(tai_ns - seconds * SECOND)


cdef inline int64_t ns_from_ptp(uint64_t stamp, int64_t near) noexcept nogil:
    return era_seconds(<uint32_t>(stamp >> 32), floor_seconds(near)) * SECOND + <uint32_t>stamp


cdef inline uint64_t stamp_from_ns(int64_t tai_ns, int ptp, int tai_utc) noexcept nogil:
    if tai_ns == MISSING_NS:
        return 0
    return ptp_from_ns(tai_ns) if ptp else ntp_from_ns(tai_ns, tai_utc)


cdef inline int64_t ns_from_stamp(uint64_t stamp, int ptp, int64_t near, int tai_utc) noexcept nogil:
    if stamp == 0 or (ptp and <uint32_t>stamp >= 1000000000):
        return MISSING_NS
    return ns_from_ptp(stamp, near) if ptp else ns_from_ntp(stamp, near, tai_utc)


cdef uint16_t encode_error_estimate(int64_t bound_ns, int synchronised, int ptp) noexcept nogil:
    cdef uint16_t flags = ERROR_Z if ptp else 0
    cdef int scale = 0
    cdef uint64_t units
    if bound_ns < 0:
        return flags | 0x3FFF
    if synchronised:
        flags |= ERROR_S
    # ceil(bound 2^32 / 10^9) as q 2^32 + ceil(r 2^32 / 10^9); beyond 2^31 s (q too large for 64 bits) 2^32 units is a
    # scale of 32 that holds for every int64
    cdef uint64_t whole = <uint64_t>(bound_ns // SECOND)
    cdef uint64_t part = ((<uint64_t>(bound_ns % SECOND) << 32) + 999999999) // 1000000000
    if whole >= 0x7FFFFFFF:
        units = whole + (part > 0)
        scale = 32
    else:
        units = (whole << 32) + part
    while units > 255:
        units = (units >> 1) + (units & 1)    # ceil(ceil(x)/2) = ceil(x/2): rounding up step by step stays exact
        scale += 1
    return flags | <uint16_t>(scale << 8) | <uint16_t>(units if units else 1)


cdef int64_t decode_error_estimate(uint16_t value) noexcept nogil:
    cdef int scale = (value >> 8) & 0x3F
    cdef uint64_t nano = <uint64_t>(value & 0xFF) * 1000000000
    if nano == 0:
        return -1
    if scale <= 32:
        return <int64_t>((nano >> (32 - scale)) + ((nano & ((<uint64_t>1 << (32 - scale)) - 1)) != 0))
    if nano > <uint64_t>INT64_MAX >> (scale - 32):
        return INT64_MAX
    return <int64_t>(nano << (scale - 32))


# SHA-256 (FIPS 180-4) and HMAC (RFC 2104)

cdef uint32_t[64] ROUND
ROUND = [
    0x428A2F98, 0x71374491, 0xB5C0FBCF, 0xE9B5DBA5, 0x3956C25B, 0x59F111F1, 0x923F82A4, 0xAB1C5ED5,
    0xD807AA98, 0x12835B01, 0x243185BE, 0x550C7DC3, 0x72BE5D74, 0x80DEB1FE, 0x9BDC06A7, 0xC19BF174,
    0xE49B69C1, 0xEFBE4786, 0x0FC19DC6, 0x240CA1CC, 0x2DE92C6F, 0x4A7484AA, 0x5CB0A9DC, 0x76F988DA,
    0x983E5152, 0xA831C66D, 0xB00327C8, 0xBF597FC7, 0xC6E00BF3, 0xD5A79147, 0x06CA6351, 0x14292967,
    0x27B70A85, 0x2E1B2138, 0x4D2C6DFC, 0x53380D13, 0x650A7354, 0x766A0ABB, 0x81C2C92E, 0x92722C85,
    0xA2BFE8A1, 0xA81A664B, 0xC24B8B70, 0xC76C51A3, 0xD192E819, 0xD6990624, 0xF40E3585, 0x106AA070,
    0x19A4C116, 0x1E376C08, 0x2748774C, 0x34B0BCB5, 0x391C0CB3, 0x4ED8AA4A, 0x5B9CCA4F, 0x682E6FF3,
    0x748F82EE, 0x78A5636F, 0x84C87814, 0x8CC70208, 0x90BEFFFA, 0xA4506CEB, 0xBEF9A3F7, 0xC67178F2,
]
cdef uint32_t[8] START
START = [0x6A09E667, 0xBB67AE85, 0x3C6EF372, 0xA54FF53A, 0x510E527F, 0x9B05688C, 0x1F83D9AB, 0x5BE0CD19]


cdef struct Sha:
    uint32_t state[8]
    uint8_t block[64]
    int used
    uint64_t total             # octets


cdef inline uint32_t rotate(uint32_t x, int n) noexcept nogil:
    return (x >> n) | (x << (32 - n))


cdef void compress(uint32_t *state, const uint8_t *block) noexcept nogil:
    cdef uint32_t[64] w
    cdef uint32_t a = state[0], b = state[1], c = state[2], d = state[3]
    cdef uint32_t e = state[4], f = state[5], g = state[6], h = state[7]
    cdef uint32_t t, u
    cdef int i
    for i in range(16):
        w[i] = get32(block + 4 * i)
    for i in range(16, 64):
        t = w[i - 15]
        u = w[i - 2]
        w[i] = (w[i - 16] + (rotate(t, 7) ^ rotate(t, 18) ^ (t >> 3)) + w[i - 7]
                + (rotate(u, 17) ^ rotate(u, 19) ^ (u >> 10)))
    for i in range(64):
        t = h + (rotate(e, 6) ^ rotate(e, 11) ^ rotate(e, 25)) + (g ^ (e & (f ^ g))) + ROUND[i] + w[i]
        u = (rotate(a, 2) ^ rotate(a, 13) ^ rotate(a, 22)) + ((a & b) | (c & (a | b)))
        h = g
        g = f
        f = e
        e = d + t
        d = c
        c = b
        b = a
        a = t + u
    state[0] += a
    state[1] += b
    state[2] += c
    state[3] += d
    state[4] += e
    state[5] += f
    state[6] += g
    state[7] += h


cdef void sha_start(Sha *sha, const uint32_t *state, uint64_t total) noexcept nogil:
    memcpy(sha.state, state, 32)
    sha.used = 0
    sha.total = total


cdef void sha_add(Sha *sha, const uint8_t *data, size_t length) noexcept nogil:
    cdef size_t room
    sha.total += length
    if sha.used:
        room = 64 - sha.used
        if length < room:
            memcpy(sha.block + sha.used, data, length)
            sha.used += <int>length
            return
        memcpy(sha.block + sha.used, data, room)
        compress(sha.state, sha.block)
        data += room
        length -= room
        sha.used = 0
    while length >= 64:
        compress(sha.state, data)
        data += 64
        length -= 64
    if length:
        memcpy(sha.block, data, length)
        sha.used = <int>length


cdef void sha_finish(Sha *sha, uint8_t *digest) noexcept nogil:
    cdef int i
    sha.block[sha.used] = 0x80
    memset(sha.block + sha.used + 1, 0, 63 - sha.used)
    if sha.used >= 56:
        compress(sha.state, sha.block)
        memset(sha.block, 0, 56)
    put64(sha.block + 56, sha.total * 8)
    compress(sha.state, sha.block)
    for i in range(8):
        put32(digest + 4 * i, sha.state[i])


cdef void hmac_prepare(Hmac *hmac, const uint8_t *key, size_t length) noexcept nogil:
    cdef uint8_t[64] block
    cdef Sha sha
    cdef int i
    memset(block, 0, 64)
    if length > 64:
        sha_start(&sha, START, 0)
        sha_add(&sha, key, length)
        sha_finish(&sha, block)
    else:
        memcpy(block, key, length)
    for i in range(64):
        block[i] ^= 0x36
    memcpy(hmac.inner, START, 32)
    compress(hmac.inner, block)
    for i in range(64):
        block[i] ^= 0x36 ^ 0x5C
    memcpy(hmac.outer, START, 32)
    compress(hmac.outer, block)


# HMAC-SHA-256-128 of two pieces in a row; the second may be empty.
cdef void hmac_tag(const Hmac *hmac, const uint8_t *first, size_t first_length, const uint8_t *second,
                   size_t second_length, uint8_t *tag) noexcept nogil:
    cdef Sha sha
    cdef uint8_t[32] digest
    sha_start(&sha, hmac.inner, 64)
    sha_add(&sha, first, first_length)
    sha_add(&sha, second, second_length)
    sha_finish(&sha, digest)
    sha_start(&sha, hmac.outer, 64)
    sha_add(&sha, digest, 32)
    sha_finish(&sha, digest)
    memcpy(tag, digest, TAG)


# Takes the same time wherever the first difference is.
cdef int same_tag(const uint8_t *a, const uint8_t *b) noexcept nogil:
    cdef uint8_t difference = 0
    cdef int i
    for i in range(TAG):
        difference |= a[i] ^ b[i]
    return difference == 0


cdef inline void sign_base(uint8_t *packet, const Layout *layout) noexcept nogil:
    hmac_tag(&layout.hmac, packet, 96, packet, 0, packet + 96)


cdef int base_intact(const uint8_t *packet, const Layout *layout) noexcept nogil:
    cdef uint8_t[TAG] tag
    hmac_tag(&layout.hmac, packet, 96, packet, 0, tag)
    return same_tag(tag, packet + 96)


# The TLV chain

cdef struct Chain:
    int count                  # TLVs whose value lies inside the packet
    int broken                 # offset of a header that does not fit or whose value does not; 0: none
    int hmac                   # offset of the HMAC TLV's header; 0: none
    int misplaced              # something other than Extra Padding follows the HMAC TLV
    int lone_padding           # one TLV, Extra Padding: needs no HMAC TLV (RFC 8972 4.8)


cdef Chain walk(const uint8_t *packet, int start, int length) noexcept nogil:
    cdef Chain chain
    cdef int at = start
    memset(&chain, 0, sizeof(Chain))
    while at < length:
        if at + TLV_HEADER > length or at + TLV_HEADER + get16(packet + at + 2) > length:
            chain.broken = at
            break
        if chain.hmac and packet[at + 1] != EXTRA_PADDING:
            chain.misplaced = 1
        elif packet[at + 1] == HMAC_TLV:
            chain.hmac = at
            chain.misplaced = get16(packet + at + 2) != TAG
        chain.count += 1
        at += TLV_HEADER + get16(packet + at + 2)
    chain.lone_padding = chain.count == 1 and not chain.broken and packet[start + 1] == EXTRA_PADDING
    return chain


# RFC 8972 4.8: over the base packet's sequence number and every TLV before the HMAC TLV.
cdef inline void tlv_tag(const uint8_t *packet, const Layout *layout, int hmac_at, uint8_t *tag) noexcept nogil:
    hmac_tag(&layout.hmac, packet, 4, packet + AUTHENTICATED.size, hmac_at - AUTHENTICATED.size, tag)


cdef int tlvs_intact(const uint8_t *packet, int length, const Layout *layout, const Chain *chain) noexcept nogil:
    cdef uint8_t[TAG] tag
    if length == AUTHENTICATED.size or chain.lone_padding:
        return 1
    if chain.hmac == 0 or chain.misplaced:
        return 0
    tlv_tag(packet, layout, chain.hmac, tag)
    return same_tag(tag, packet + chain.hmac + TLV_HEADER)


# Value length that a type must have; -1: any, -2: a type not known here.
cdef inline int length_of(int kind, int authenticated) noexcept nogil:
    if kind == EXTRA_PADDING:
        return -1
    if kind == TIMESTAMP_INFORMATION or kind == CLASS_OF_SERVICE:
        return 4
    if kind == DIRECT_MEASUREMENT or kind == FACTS:
        return 12
    if kind == FOLLOW_UP or (kind == HMAC_TLV and authenticated):
        return 16
    return -2


# Whether what follows an unauthenticated request's base packet can be TLVs at all.
cdef inline int tlvs_possible(const uint8_t *packet, int length, const Layout *layout) noexcept nogil:
    if layout.authenticated:
        return length > AUTHENTICATED.size
    return length >= PLAIN.size + TLV_HEADER and (packet[PLAIN.size] & 0x7F) == 0 and packet[PLAIN.size + 1] != 0


# Type of the first TLV that we send; Extra Padding where only the size asks for one.
cdef inline int first_sent(const Layout *layout) noexcept nogil:
    cdef int value = base_of(layout).size + TLV_HEADER
    if layout.off_time_info == value:
        return TIMESTAMP_INFORMATION
    if layout.off_cos == value:
        return CLASS_OF_SERVICE
    if layout.off_direct == value:
        return DIRECT_MEASUREMENT
    if layout.off_follow_up == value:
        return FOLLOW_UP
    if layout.off_facts == value:
        return FACTS
    return EXTRA_PADDING


# The sender

cdef void patch_sender(uint8_t *packet, const Layout *layout, uint32_t seq, int64_t t1, uint16_t error_estimate,
                       uint32_t s_txc) noexcept nogil:
    cdef Base *base = base_of(layout)
    put32(packet, seq)
    put64(packet + base.stamp, stamp_from_ns(t1, not layout.ntp_format, layout.tai_utc))
    put16(packet + base.error, (error_estimate & ~ERROR_Z) | (0 if layout.ntp_format else ERROR_Z))
    if layout.off_direct:
        put32(packet + layout.off_direct, s_txc)
    if layout.authenticated:
        sign_base(packet, layout)
        if layout.off_hmac:
            tlv_tag(packet, layout, layout.off_hmac - TLV_HEADER, packet + layout.off_hmac)


cdef int parse_value(int kind, const uint8_t *value, int ptp, int64_t near, int tai_utc, Reply *out) noexcept nogil:
    cdef uint16_t word
    if kind == TIMESTAMP_INFORMATION:
        out.has_time_info = 1
        out.sync_in = value[0]
        out.method_in = value[1]
        out.sync_out = value[2]
        out.method_out = value[3]
    elif kind == CLASS_OF_SERVICE:
        word = get16(value)
        out.has_cos = 1
        out.dscp1 = word >> 10
        out.dscp2 = (word >> 4) & 0x3F
        out.ecn = (word >> 2) & 3
        out.reverse_refused = word & 3
    elif kind == DIRECT_MEASUREMENT:
        out.has_direct = 1
        out.s_txc = get32(value)
        out.r_rxc = get32(value + 4)
        out.r_txc = get32(value + 8)
    elif kind == FOLLOW_UP:
        # all zero is how a reflector says that it does not know
        out.follow_up_t3 = ns_from_stamp(get64(value + 4), ptp, near, tai_utc)
        out.has_follow_up = out.follow_up_t3 != MISSING_NS
        out.follow_up_seq = get32(value)
        out.follow_up_method = value[12]
    elif kind == FACTS:
        out.has_facts = 1
        out.facts = get16(value)
        out.clock_id = get32(value + 4)
        out.nonce = get32(value + 8)
    return 0


cdef int parse_reply(const uint8_t *packet, int length, const Layout *layout, int64_t near, Reply *out) noexcept nogil:
    cdef Base *base = base_of(layout)
    cdef Chain chain
    cdef int at, flags, kind, size, wanted, ptp
    memset(out, 0, sizeof(Reply))
    out.t1 = out.t2 = out.t3 = out.follow_up_t3 = MISSING_NS
    if length < base.size:
        return CAUSE_SHORT
    if length != layout.size:
        return CAUSE_SIZE
    if layout.authenticated and not base_intact(packet, layout):
        return CAUSE_HMAC
    out.ssid = get16(packet + base.ssid)
    if out.ssid != layout.ssid and out.ssid != 0:
        return CAUSE_SSID
    out.error_estimate = get16(packet + base.error)
    if out.error_estimate & 0xFF == 0:
        return CAUSE_ERROR_ESTIMATE
    ptp = (out.error_estimate & ERROR_Z) != 0
    out.seq = get32(packet)
    out.sender_seq = get32(packet + base.sender_seq)
    # T1 is our own stamp brought back: our format, whatever the echoed Error Estimate says
    out.t1 = ns_from_stamp(get64(packet + base.sender_stamp), not layout.ntp_format, near, layout.tai_utc)
    out.t2 = ns_from_stamp(get64(packet + base.received), ptp, near, layout.tai_utc)
    out.t3 = ns_from_stamp(get64(packet + base.stamp), ptp, near, layout.tai_utc)
    out.ttl = packet[base.ttl]
    if length == base.size:
        return CAUSE_OK
    if not layout.authenticated and (packet[base.size + 1] != first_sent(layout) or packet[base.size] & 0x1F):
        return CAUSE_OK
    chain = walk(packet, base.size, length)
    at = base.size
    for _ in range(chain.count):
        out.integrity_failed += (packet[at] & INTEGRITY) != 0
        at += TLV_HEADER + get16(packet + at + 2)
    if out.integrity_failed:
        return CAUSE_TLV_HMAC
    if chain.broken:
        return CAUSE_TLV
    if layout.authenticated and not tlvs_intact(packet, length, layout, &chain):
        return CAUSE_TLV_HMAC
    at = base.size
    for _ in range(chain.count):
        flags = packet[at]
        kind = packet[at + 1]
        size = get16(packet + at + 2)
        if flags & UNRECOGNISED:
            out.unrecognised += 1
        if flags & MALFORMED:      # RFC 8972 4: the remainder is not processed
            out.malformed += 1
            break
        if not flags & UNRECOGNISED:
            wanted = length_of(kind, layout.authenticated)
            if wanted >= 0 and wanted != size:
                return CAUSE_TLV
            parse_value(kind, packet + at + TLV_HEADER, ptp, near, layout.tai_utc, out)
        at += TLV_HEADER + size
    return CAUSE_OK


# The reflector

# The SSID of a request of at least the base size where authenticated; 0: none.
cdef inline uint16_t ssid_of(const uint8_t *packet, int length, const Layout *layout) noexcept nogil:
    if not layout.authenticated and (length < PLAIN.size or get64(packet + 16) or get64(packet + 24)
                                     or get64(packet + 32) or get32(packet + 40)):
        return 0
    return get16(packet + base_of(layout).ssid)


cdef int inspect_request(const uint8_t *packet, int length, const Layout *layout, uint32_t *seq, uint16_t *ssid,
                         int *dscp_request, uint32_t *s_txc) noexcept nogil:
    cdef Base *base = base_of(layout)
    cdef Chain chain
    cdef int at, kind, size, wanted
    seq[0] = 0
    ssid[0] = 0
    dscp_request[0] = -1
    s_txc[0] = 0
    if length < (base.size if layout.authenticated else SHORTEST):
        return CAUSE_SHORT
    if layout.authenticated and not base_intact(packet, layout):
        return CAUSE_HMAC
    if packet[base.error + 1] == 0:
        return CAUSE_ERROR_ESTIMATE
    seq[0] = get32(packet)
    ssid[0] = ssid_of(packet, length, layout)
    if not tlvs_possible(packet, length, layout):
        return CAUSE_OK
    chain = walk(packet, base.size, length)
    if layout.authenticated and not tlvs_intact(packet, length, layout, &chain):
        return CAUSE_OK            # answered, with I set on every TLV; none of them is used
    at = base.size
    for _ in range(chain.count):
        kind = packet[at + 1]
        size = get16(packet + at + 2)
        wanted = length_of(kind, layout.authenticated)
        if wanted >= 0 and wanted != size:
            break
        if kind == CLASS_OF_SERVICE:
            dscp_request[0] = packet[at + TLV_HEADER] >> 2
        elif kind == DIRECT_MEASUREMENT:
            s_txc[0] = get32(packet + at + TLV_HEADER)
        at += TLV_HEADER + size
    return CAUSE_OK


# Whether a 64-bit stamp, read in either format, is within an hour of `at`: TAI or UTC makes no difference then.
cdef inline int is_near(uint64_t stamp, int64_t at, int tai_utc) noexcept nogil:
    cdef int64_t time
    cdef int ptp
    for ptp in range(2):
        time = ns_from_stamp(stamp, ptp, at, tai_utc)
        if time != MISSING_NS and -HOUR <= time - at <= HOUR:
            return 1
    return 0


cdef int resembles_reply(const uint8_t *packet, int length, const Layout *layout, int64_t now) noexcept nogil:
    cdef Base *base = base_of(layout)
    cdef uint64_t received, sent
    cdef int64_t written
    cdef int ptp
    if length < base.sender_stamp + 8:
        return 0
    received = get64(packet + base.received)
    sent = get64(packet + base.sender_stamp)
    if received == 0 or sent == 0:
        return 0
    # two ends whose clocks are far apart: one of the times is by the clock of whoever wrote the packet
    ptp = (get16(packet + base.error) & ERROR_Z) != 0
    written = ns_from_stamp(get64(packet + base.stamp), ptp, now, layout.tai_utc)
    if written == MISSING_NS:
        written = now
    return ((is_near(received, now, layout.tai_utc) or is_near(received, written, layout.tai_utc))
            and (is_near(sent, now, layout.tai_utc) or is_near(sent, written, layout.tai_utc)))


cdef void answer_value(int kind, uint8_t *value, const ReflectorState *state, int ptp, int tai_utc) noexcept nogil:
    if kind == TIMESTAMP_INFORMATION:
        value[0] = <uint8_t>state.sync_in
        value[1] = <uint8_t>state.method_in
        value[2] = <uint8_t>state.sync_out
        value[3] = <uint8_t>state.method_out
    elif kind == CLASS_OF_SERVICE:     # DSCP1 stays as requested
        put16(value, <uint16_t>(((value[0] & 0xFC) << 8) | ((state.dscp_in & 0x3F) << 4) | ((state.ecn_in & 3) << 2)
                                | (1 if state.dscp_refused else 0)))
    elif kind == DIRECT_MEASUREMENT:
        put32(value + 4, state.r_rxc)
        put32(value + 8, state.r_txc)
    elif kind == FOLLOW_UP:
        memset(value, 0, 16)
        if state.stateful and state.follow_up_t3 != MISSING_NS:
            put32(value, state.follow_up_seq)
            put64(value + 4, stamp_from_ns(state.follow_up_t3, ptp, tai_utc))
            value[12] = <uint8_t>state.follow_up_method
    elif kind == FACTS:
        put16(value, state.facts)
        put16(value + 2, 0)
        put32(value + 4, state.clock_id)
        put32(value + 8, state.nonce)


cdef void answer_tlvs(uint8_t *out, int length, const Layout *layout, const ReflectorState *state,
                      int ptp) noexcept nogil:
    cdef int base_size = base_of(layout).size
    cdef Chain chain = walk(out, base_size, length)
    # `out` still carries the request's TLVs, but already the reply's sequence number: verified by the caller's word
    cdef int at = base_size, kind, size, wanted
    for _ in range(chain.count):
        kind = out[at + 1]
        size = get16(out + at + 2)
        wanted = length_of(kind, layout.authenticated)
        if wanted >= 0 and wanted != size:
            out[at] = MALFORMED
            break                      # RFC 8972 4: the remainder is copied
        if wanted == -2:
            out[at] = UNRECOGNISED
        else:
            out[at] = 0
            answer_value(kind, out + at + TLV_HEADER, state, ptp, layout.tai_utc)
        at += TLV_HEADER + size
    else:
        if chain.broken:
            out[at] = MALFORMED | (out[at] & UNRECOGNISED)
    if layout.authenticated and chain.hmac and not chain.misplaced:
        out[chain.hmac] = 0
        tlv_tag(out, layout, chain.hmac, out + chain.hmac + TLV_HEADER)


# Every TLV comes back as it was, with I set; a broken end also with M.
cdef void refuse_tlvs(uint8_t *out, int length, const Layout *layout) noexcept nogil:
    cdef int at = base_of(layout).size
    cdef Chain chain = walk(out, at, length)
    for _ in range(chain.count):
        out[at] = (out[at] & UNRECOGNISED) | INTEGRITY
        at += TLV_HEADER + get16(out + at + 2)
    if chain.broken:
        out[at] = (out[at] & UNRECOGNISED) | INTEGRITY | MALFORMED


cdef int reflect(const uint8_t *packet, int length, const Layout *layout, const ReflectorState *state, uint8_t *out,
                 int *out_length) noexcept nogil:
    cdef Base *base = base_of(layout)
    cdef Chain chain
    cdef int ptp, intact = 1
    out_length[0] = 0
    if length < (base.size if layout.authenticated else SHORTEST):
        return CAUSE_SHORT
    if layout.authenticated and not base_intact(packet, layout):
        return CAUSE_HMAC
    if packet[base.error + 1] == 0:
        return CAUSE_ERROR_ESTIMATE
    ptp = not layout.ntp_format and (get16(packet + base.error) & ERROR_Z) != 0
    memset(out, 0, base.size)
    put32(out, state.seq if state.stateful else get32(packet))
    put64(out + base.stamp, stamp_from_ns(state.t3, ptp, layout.tai_utc))
    put16(out + base.error, (state.error_estimate & ~ERROR_Z) | (ERROR_Z if ptp else 0))
    put16(out + base.ssid, ssid_of(packet, length, layout))
    put64(out + base.received, stamp_from_ns(state.t2, ptp, layout.tai_utc))
    memcpy(out + base.sender_seq, packet, 4)
    memcpy(out + base.sender_stamp, packet + base.stamp, 8)
    memcpy(out + base.sender_error, packet + base.error, 2)
    out[base.ttl] = <uint8_t>state.ttl
    if length > base.size:
        memcpy(out + base.size, packet + base.size, length - base.size)
        if tlvs_possible(packet, length, layout):
            if layout.authenticated:
                chain = walk(packet, base.size, length)
                intact = tlvs_intact(packet, length, layout, &chain)
            if intact:
                answer_tlvs(out, length, layout, state, ptp)
            else:
                refuse_tlvs(out, length, layout)
    if layout.authenticated:
        sign_base(out, layout)
    out_length[0] = length if length > base.size else base.size
    return CAUSE_OK


# The Python face

CAUSES = ("ok", "short", "size", "ssid", "hmac", "error_estimate", "tlv", "tlv_hmac", "not_sent", "replay", "foreign")
TLVS = ("time_info", "cos", "direct", "follow_up", "facts")


class WireError(ValueError):
    """A packet that was not used; ``cause`` is one of CAUSES."""

    def __init__(self, cause: str) -> None:
        super().__init__(f"packet not used: {cause}")
        self.cause = cause


cdef int64_t stamp_argument(object value) except? -1:
    return MISSING_NS if value is None else value


cdef object stamp_result(int64_t value):
    return None if value == MISSING_NS else value


cdef class Session:
    """What both ends of one STAMP session agree on, and the packet that its sender patches.

    ``size`` is the UDP payload in octets, both ways. ``key`` selects authenticated mode (RFC 8762 4.4) with an HMAC TLV
    (RFC 8972 4.8). ``tai_utc`` is TAI - UTC in s, used for NTP-format stamps, which ``ntp_format`` sends.
    ``tlvs`` names those to send, of TLVS, always in that order; Extra Padding fills up to ``size``, with pseudorandom
    octets from ``seed`` or with zeros. ``dscp`` is the DSCP asked for on the way back (RFC 8972 4.4).
    ValueError names what does not fit, and for ``size`` the smallest that would.
    """

    def __cinit__(self, int size, *, int ssid=0, bytes key=None, int tai_utc, bint ntp_format=False, tlvs=TLVS,
                  int dscp=0, str padding="random", seed=0):
        if not 0 <= ssid <= 0xFFFF:
            raise ValueError(f"ssid {ssid} is not in 0..65535")
        if not 0 <= dscp <= 63:
            raise ValueError(f"dscp {dscp} is not in 0..63")
        if key is not None and len(key) == 0:
            raise ValueError("an empty key authenticates nothing")
        if padding not in ("random", "zero"):
            raise ValueError(f"padding {padding!r} is neither 'random' nor 'zero'")
        unknown = set(tlvs) - set(TLVS)
        if unknown:
            raise ValueError(f"no such TLV: {', '.join(sorted(unknown))}; there are {', '.join(TLVS)}")
        memset(&self.layout, 0, sizeof(Layout))
        self.layout.size = size
        self.layout.ssid = <uint16_t>ssid
        self.layout.tai_utc = tai_utc
        self.layout.ntp_format = ntp_format
        if key is not None:
            self.layout.authenticated = 1
            hmac_prepare(&self.layout.hmac, <const uint8_t *>PyBytes_AS_STRING(key), len(key))
        cdef Base *base = base_of(&self.layout)
        packet = bytearray(base.size)
        packet[base.ssid:base.ssid + 2] = ssid.to_bytes(2, "big")
        if "time_info" in tlvs:
            self.layout.off_time_info = add_tlv(packet, TIMESTAMP_INFORMATION, bytes(4))
        if "cos" in tlvs:
            self.layout.off_cos = add_tlv(packet, CLASS_OF_SERVICE, bytes((dscp << 2, 0, 0, 0)))
        if "direct" in tlvs:
            self.layout.off_direct = add_tlv(packet, DIRECT_MEASUREMENT, bytes(12))
        if "follow_up" in tlvs:
            self.layout.off_follow_up = add_tlv(packet, FOLLOW_UP, bytes(16))
        if "facts" in tlvs:
            self.layout.off_facts = add_tlv(packet, FACTS, bytes(12))
        if self.layout.authenticated and len(packet) > base.size:
            self.layout.off_hmac = add_tlv(packet, HMAC_TLV, bytes(TAG))
        self.smallest = len(packet)
        rest = size - self.smallest
        if rest < 0:
            raise ValueError(f"size {size} is too small: these TLVs need at least {self.smallest} octets")
        if 0 < rest < TLV_HEADER:
            raise ValueError(f"size {size} leaves no room for a padding header: take {self.smallest} "
                             f"or at least {self.smallest + TLV_HEADER} octets")
        if size > LARGEST:
            raise ValueError(f"size {size} is more than a UDP datagram holds: {LARGEST} octets")
        if rest:
            rest -= TLV_HEADER
            add_tlv(packet, EXTRA_PADDING, random.Random(seed).randbytes(rest) if padding == "random" else bytes(rest))
        self.packet = packet
        self.pin = memoryview(packet)

    @property
    def size(self):
        """UDP payload in octets, both ways."""
        return self.layout.size

    def build(self, uint32_t seq, int64_t t1, uint16_t error_estimate, uint32_t s_txc=0):
        """The test packet number ``seq`` sent at ``t1`` (ns TAI); its Z flag follows the session's stamp format."""
        cdef bytearray packet = bytearray(self.packet)
        patch_sender(packet, &self.layout, seq, t1, error_estimate, s_txc)
        return bytes(packet)

    def parse(self, const uint8_t[::1] packet not None, int64_t near):
        """What a reply says, ``near`` (ns TAI) resolving the era of its stamps; absent values are None.

        WireError names why a reply is not used.
        """
        cdef Reply r
        cdef uint8_t nothing = 0
        cdef const uint8_t *data = &packet[0] if packet.shape[0] else &nothing
        cdef int cause = parse_reply(data, <int>packet.shape[0], &self.layout, near, &r)
        if cause:
            raise WireError(CAUSES[cause])
        return {
            "seq": r.seq, "sender_seq": r.sender_seq,
            "t1": stamp_result(r.t1), "t2": stamp_result(r.t2), "t3": stamp_result(r.t3),
            "error_estimate": r.error_estimate, "ssid": r.ssid, "ttl": r.ttl,
            "sync_in": r.sync_in if r.has_time_info else None, "method_in": r.method_in if r.has_time_info else None,
            "sync_out": r.sync_out if r.has_time_info else None,
            "method_out": r.method_out if r.has_time_info else None,
            "dscp1": r.dscp1 if r.has_cos else None, "dscp2": r.dscp2 if r.has_cos else None,
            "ecn": r.ecn if r.has_cos else None, "reverse_refused": r.reverse_refused if r.has_cos else None,
            "s_txc": r.s_txc if r.has_direct else None, "r_rxc": r.r_rxc if r.has_direct else None,
            "r_txc": r.r_txc if r.has_direct else None,
            "follow_up_seq": r.follow_up_seq if r.has_follow_up else None,
            "follow_up_t3": r.follow_up_t3 if r.has_follow_up else None,
            "follow_up_method": r.follow_up_method if r.has_follow_up else None,
            "facts": r.facts if r.has_facts else None, "clock_id": r.clock_id if r.has_facts else None,
            "nonce": r.nonce if r.has_facts else None,
            "unrecognised": r.unrecognised, "malformed": r.malformed,
        }

    def inspect(self, const uint8_t[::1] packet not None):
        """(seq, ssid, DSCP asked for or None, S_TxC) of a request, or WireError: what a reflector knows beforehand."""
        cdef uint32_t seq = 0, s_txc = 0
        cdef uint16_t ssid = 0
        cdef int dscp = -1
        cdef uint8_t nothing = 0
        cdef const uint8_t *data = &packet[0] if packet.shape[0] else &nothing
        cdef int cause = inspect_request(data, <int>packet.shape[0], &self.layout, &seq, &ssid, &dscp, &s_txc)
        if cause:
            raise WireError(CAUSES[cause])
        return seq, ssid, None if dscp < 0 else dscp, s_txc

    def reflect(self, const uint8_t[::1] packet not None, *, t2, t3, uint16_t error_estimate, uint32_t seq=0,
                int ttl=255, int dscp_in=0, int ecn_in=0, bint dscp_refused=False, int sync_in=0, int method_in=0,
                int sync_out=0, int method_out=0, uint32_t r_rxc=0, uint32_t r_txc=0, bint stateful=True,
                uint32_t follow_up_seq=0, follow_up_t3=None, int follow_up_method=0, uint16_t facts=0,
                uint32_t clock_id=0, uint32_t nonce=0):
        """The reply to a request, or WireError; times in ns TAI, None where there is no stamp."""
        cdef ReflectorState state
        cdef uint8_t nothing = 0
        cdef const uint8_t *data = &packet[0] if packet.shape[0] else &nothing
        cdef int length = 0, cause
        # as dirty as a reflector's send buffer: what the reply does not write would show
        cdef bytearray out = bytearray(b"\xFF") * max(packet.shape[0], base_of(&self.layout).size)
        state.seq = seq
        state.t2 = stamp_argument(t2)
        state.t3 = stamp_argument(t3)
        state.error_estimate = error_estimate
        state.ttl = ttl
        state.dscp_in = dscp_in
        state.ecn_in = ecn_in
        state.dscp_refused = dscp_refused
        state.sync_in = sync_in
        state.method_in = method_in
        state.sync_out = sync_out
        state.method_out = method_out
        state.r_rxc = r_rxc
        state.r_txc = r_txc
        state.stateful = stateful
        state.follow_up_seq = follow_up_seq
        state.follow_up_t3 = stamp_argument(follow_up_t3)
        state.follow_up_method = follow_up_method
        state.facts = facts
        state.clock_id = clock_id
        state.nonce = nonce
        cause = reflect(data, <int>packet.shape[0], &self.layout, &state, out, &length)
        if cause:
            raise WireError(CAUSES[cause])
        return bytes(out[:length])


cdef int add_tlv(bytearray packet, int kind, bytes value) except -1:
    packet += bytes((UNRECOGNISED, kind)) + len(value).to_bytes(2, "big")
    packet += value
    return len(packet) - len(value)


def hmac_sha256_128(bytes key not None, bytes data not None):
    """HMAC-SHA-256 truncated to its first 16 octets (RFC 8762 4.4)."""
    cdef Hmac hmac
    cdef uint8_t[TAG] tag
    cdef const uint8_t *text = <const uint8_t *>PyBytes_AS_STRING(data)
    hmac_prepare(&hmac, <const uint8_t *>PyBytes_AS_STRING(key), len(key))
    hmac_tag(&hmac, text, len(data), text, 0, tag)
    return PyBytes_FromStringAndSize(<const char *>tag, TAG)


def to_ntp(int64_t tai_ns, int tai_utc):
    """ns TAI as a 64-bit NTP stamp (s since 1900 UTC modulo 2^32, 32-bit fraction); ``tai_utc`` is TAI - UTC in s."""
    return ntp_from_ns(tai_ns, tai_utc)


def from_ntp(uint64_t stamp, int64_t near, int tai_utc):
    """A 64-bit NTP stamp as ns TAI, in the era nearest to ``near`` (ns TAI); every ns survives there and back."""
    return ns_from_ntp(stamp, near, tai_utc)


def to_ptp(int64_t tai_ns):
    """ns TAI as a truncated PTPv2 stamp (RFC 8186): s modulo 2^32, then 32 bits of ns."""
    return ptp_from_ns(tai_ns)


def from_ptp(uint64_t stamp, int64_t near):
    """A truncated PTPv2 stamp as ns TAI, in the era nearest to ``near`` (ns TAI)."""
    return ns_from_ptp(stamp, near)


def _encode_error_estimate(bound_ns, bint synchronised, bint ptp):
    """16-bit Error Estimate (RFC 4656 4.1.2) for a bound in ns, rounded up.

    None is unknown: the largest value, with S = 0. ``synchronised`` sets S, ``ptp`` sets Z. ValueError when the bound
    is negative.
    """
    if bound_ns is not None and bound_ns < 0:
        raise ValueError(f"an error bound is not negative: {bound_ns} ns")
    return encode_error_estimate(-1 if bound_ns is None else bound_ns, synchronised, ptp)


def _decode_error_estimate(uint16_t value):
    """Bound in ns, rounded up; None when it says nothing: multiplier 0 (corrupt) or 2^63 ns and more (unknown)."""
    cdef int64_t bound = decode_error_estimate(value)
    return None if bound < 0 or bound == INT64_MAX else bound


# The C functions of wire.pxd hold these names in this file; Python sees the two above under them.
for _name, _function in (("encode_error_estimate", _encode_error_estimate),
                         ("decode_error_estimate", _decode_error_estimate)):
    _function.__name__ = _function.__qualname__ = _name
    globals()[_name] = _function
