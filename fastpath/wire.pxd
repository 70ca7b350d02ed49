# STAMP packets (RFC 8762, RFC 8972) in C, without the GIL. All times are ns TAI; conversion happens here.
from libc.stdint cimport int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t

# Why a received packet was not used; 0 is a good packet. Counted by cause, never dropped in silence.
cdef enum Cause:
    CAUSE_OK = 0
    CAUSE_SHORT = 1            # shorter than the base packet of this mode
    CAUSE_SIZE = 2             # size differs from what was sent (asymmetric reply)
    CAUSE_SSID = 3             # another session's SSID (a zero SSID back is no error: RFC 8972 3)
    CAUSE_HMAC = 4             # base HMAC wrong
    CAUSE_ERROR_ESTIMATE = 5   # multiplier 0 (RFC 4656 4.1.2: corrupt)
    CAUSE_TLV = 6              # TLV chain malformed (bad length)
    CAUSE_TLV_HMAC = 7         # HMAC TLV wrong or missing in authenticated mode
    CAUSE_NOT_SENT = 8         # echoes a sequence number or T1 that was never sent (foreign, forged)
    CAUSE_REPLAY = 9           # a sequence number whose window is long past
    CAUSE_FOREIGN = 10         # from an address or port that is not the session's peer
    CAUSE_COUNT = 11

# HMAC-SHA-256 with the key's inner and outer states precomputed.
cdef struct Hmac:
    uint32_t inner[8]
    uint32_t outer[8]

# What both ends of one session agree on; filled by make_layout(), then constant.
cdef struct Layout:
    int size                   # UDP payload octets, both ways
    int authenticated          # base packet 112 octets instead of 44
    uint16_t ssid              # 0: no SSID
    Hmac hmac                  # valid when authenticated
    int tai_utc                # TAI - UTC in s now, for NTP-format stamps
    int ntp_format             # 1: we write NTP-format stamps (Z=0), 0: PTP (Z=1)
    # value offset of each TLV that we send, from the payload's start; 0: not sent
    int off_time_info, off_cos, off_direct, off_follow_up, off_facts, off_hmac

# What a reply says. Fields whose TLV was absent, unrecognised (U) or malformed (M) have has_* = 0.
cdef struct Reply:
    uint32_t seq               # the reflector's sequence number
    uint32_t sender_seq
    int64_t t1, t2, t3         # ns TAI as written in the packet; t1 is our own, echoed
    uint16_t error_estimate    # covers t2 and t3
    uint16_t ssid
    int ttl
    int has_time_info, sync_in, method_in, sync_out, method_out
    int has_cos, dscp1, dscp2, ecn, reverse_refused
    int has_direct
    uint32_t s_txc, r_rxc, r_txc
    int has_follow_up
    uint32_t follow_up_seq     # reflector sequence number that follow_up_t3 belongs to
    int64_t follow_up_t3
    int follow_up_method       # 1 hardware assist, 2 software local, 3 control plane
    int has_facts
    uint16_t facts             # FACT_* bits
    uint32_t clock_id          # hash of the reflector's boot id and clock; equal ids are one clock
    uint32_t nonce             # changes when the reflector restarts
    int unrecognised, malformed, integrity_failed    # TLVs with U, M, I set

# The reflector's own knowledge that goes into a reply.
cdef struct ReflectorState:
    uint32_t seq               # own counter (stateful) or copied (stateless)
    int64_t t2, t3             # ns TAI
    uint16_t error_estimate
    int ttl
    int dscp_in, ecn_in        # as received
    int dscp_refused           # the requested reverse DSCP was not applied
    int sync_in, method_in, sync_out, method_out
    uint32_t r_rxc, r_txc
    int stateful
    uint32_t follow_up_seq
    int64_t follow_up_t3       # MISSING: not known, the TLV is zeroed
    int follow_up_method
    uint16_t facts
    uint32_t clock_id, nonce

cdef enum Fact:
    FACT_INJECTED_CLOCK = 1    # this clock is altered on purpose
    FACT_VIRTUAL = 2           # not shown to end in a physical device: veth, lo, tap …
    FACT_T2_KERNEL = 4
    FACT_T2_NIC = 8
    FACT_T3_KERNEL = 16        # of the stamp in Follow-Up Telemetry
    FACT_T3_NIC = 32
    FACT_CLOCK_KNOWN = 64      # Error Estimate follows from gathered clock evidence, not from "unknown"

cdef int64_t MISSING_NS        # INT64_MIN

# Writes sequence number, T1, Error Estimate (its Z follows the layout), Direct Measurement counter, then the HMACs,
# into a copy of Session.packet.
cdef void patch_sender(uint8_t *packet, const Layout *layout, uint32_t seq, int64_t t1, uint16_t error_estimate,
                       uint32_t s_txc) noexcept nogil
# Reads a reply. `near` (ns TAI) resolves the era of 32-bit seconds. Returns a Cause. A stamp that is no time (all zero,
# or 10^9 ns and more) is MISSING_NS.
cdef int parse_reply(const uint8_t *packet, int length, const Layout *layout, int64_t near, Reply *out) noexcept nogil
# Turns a request into the reply in `out`, which must not overlap it and has room for max(length, base size); layout
# gives key, mode and stamp format only. Symmetric size; TLVs answered per RFC 8972 (U, M, I flags). Stamps are PTP only
# where the request's are and the layout allows; Z of the Error Estimate is set to match. Returns a Cause: CAUSE_OK, or
# why there is no reply. A request shorter than the base (TWAMP-light) is answered with the base size: *out_length says.
cdef int reflect(const uint8_t *packet, int length, const Layout *layout, const ReflectorState *state, uint8_t *out,
                 int *out_length) noexcept nogil
# What the reflector must know of a request before it answers: verified, nothing written. Returns a Cause. DSCP1 of a
# Class of Service TLV comes in *dscp_request (-1: none). TLVs that fail their HMAC are not used, yet the cause is
# CAUSE_OK: such a request is answered, with I set on every TLV.
cdef int inspect_request(const uint8_t *packet, int length, const Layout *layout, uint32_t *seq, uint16_t *ssid,
                         int *dscp_request, uint32_t *s_txc) noexcept nogil
# 1 when a request says what only a reply says: times at the places of both Receive Timestamp and Session-Sender
# Timestamp, where a request has zeros, each within an hour of `now` (ns TAI) or of the packet's own stamp.
# Pseudorandom padding of a TWAMP-Light sender looks so once in some 10^11 packets.
cdef int resembles_reply(const uint8_t *packet, int length, const Layout *layout, int64_t now) noexcept nogil
# Error Estimate for a bound in ns, rounded up; synchronised sets S, ptp sets Z. A bound < 0 is unknown: the largest
# value, S = 0.
cdef uint16_t encode_error_estimate(int64_t bound_ns, int synchronised, int ptp) noexcept nogil
# ns, rounded up; -1 when the multiplier is 0, INT64_MAX for that and more.
cdef int64_t decode_error_estimate(uint16_t value) noexcept nogil

cdef class Session:
    cdef Layout layout
    cdef readonly bytearray packet     # the template; copy it, then patch_sender() the copy
    cdef object pin                    # a view of the template: nobody can resize it under a sender
    cdef readonly int smallest         # octets that the base packet and the TLVs other than Extra Padding need
