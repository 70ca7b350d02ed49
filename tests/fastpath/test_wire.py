"""The packets of RFC 8762 and RFC 8972 octet by octet, and what each end makes of the other's."""

from __future__ import annotations

import hashlib
import hmac
import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastpath import wire

KEY = bytes(range(32))
TAI_UTC = 37
SECOND = 1_000_000_000
NOW = 1_691_011_237_250_000_000  # ns TAI
T1, T2, T3 = 0xE875470040000000, 0xE875470040201CD5, 0xE87547004020E628  # NTP, standards vectors
EE = 0x88AC  # S=1, Z=0, scale 8, multiplier 172: 10.25 us
Z = 0x4000

U, M, I = 0x80, 0x40, 0x20  # noqa: E741 - the RFC's names
BASE = {False: 44, True: 112}
ALL_TLVS = {False: 112, True: 200}


def session(size: int | None = None, **options: Any) -> wire.Session:
    authenticated = options.get("key") is not None
    if size is None:
        size = (ALL_TLVS if options.get("tlvs", wire.TLVS) else BASE)[authenticated]
    return wire.Session(size, tai_utc=TAI_UTC, **options)


def tlv(kind: int, value: bytes, flags: int = U, length: int | None = None) -> bytes:
    return struct.pack(">BBH", flags, kind, len(value) if length is None else length) + value


def plain_request(extra: bytes = b"", seq: int = 7, error_estimate: int = EE, ssid: int = 0) -> bytes:
    return struct.pack(">IQHH28x", seq, T1, error_estimate, ssid) + extra


def tag(text: bytes) -> bytes:
    return hmac.digest(KEY, text, "sha256")[:16]


def signed_request(*tlvs: bytes, after: bytes = b"", seq: int = 7) -> bytes:
    """An authenticated request with a right HMAC TLV behind ``tlvs``, built without the code under test."""
    base = struct.pack(">I12xQHH68x", seq, T1, EE, 0)
    chain = b"".join(tlvs)
    return base + tag(base) + chain + tlv(8, tag(base[:4] + chain)) + after


def chain_of(packet: bytes, base: int) -> list[tuple[int, int, bytes]]:
    """(flags, type, value) of each TLV."""
    found = []
    while base < len(packet):
        flags, kind, length = struct.unpack_from(">BBH", packet, base)
        found.append((flags, kind, packet[base + 4 : base + 4 + length]))
        base += 4 + length
    return found


def answer(end: wire.Session, request: bytes, **state: Any) -> bytes:
    return end.reflect(request, **({"t2": NOW + 490_000, "t3": NOW + 502_000, "error_estimate": EE} | state))


# Vectors


def test_authenticated_sender_hmac_vector() -> None:
    packet = session(key=KEY, ssid=0x1234, ntp_format=True, tlvs=()).build(0, NOW, EE)
    assert packet[:32].hex() == f"{'00' * 16}{T1:016x}{EE:04x}1234{'00' * 4}"
    assert packet[96:].hex() == "c1028140eac4b73c365d80a156a1c8a2"


def test_authenticated_reflector_vector() -> None:
    reply = struct.pack(">I12xQHH4xQ8xI12xQH6xB15x", 0, T3, EE, 0x1234, T2, 0, T1, EE, 0xFE)
    reply += bytes.fromhex("666bab5d1ea433bc8a91275e85328923")
    assert wire.hmac_sha256_128(KEY, reply[:96]) == reply[96:]
    said = session(key=KEY, ssid=0x1234, ntp_format=True, tlvs=()).parse(reply, NOW)
    assert (said["seq"], said["sender_seq"], said["ssid"], said["ttl"]) == (0, 0, 0x1234, 254)
    assert (said["t1"], said["t2"], said["t3"]) == (NOW, NOW + 490_000, NOW + 502_000)
    assert said["error_estimate"] == EE


def test_plain_reflector_vector() -> None:
    reply = bytes.fromhex("00000000e87547004020e62888ac1234e875470040201cd500000000e87547004000000088ac0000fe000000")
    end = session(ssid=0x1234, ntp_format=True, tlvs=())
    said = end.parse(reply, NOW)
    assert (said["t1"], said["t2"], said["t3"], said["ttl"]) == (NOW, NOW + 490_000, NOW + 502_000, 254)
    made = answer(end, end.build(0, NOW, EE), ttl=254)
    # T2 and T3 of the vector lie between whole ns: ours differ in the last octet of the fraction only
    assert made[:11] == reply[:11]
    assert made[12:23] == reply[12:23]
    assert made[24:] == reply[24:]


def test_tlv_hmac_vector() -> None:
    cos = bytes.fromhex("80040004b8000000")
    assert wire.hmac_sha256_128(KEY, bytes(4) + cos).hex() == "9e9537c65bcf44992a087cfb7b98556d"
    packet = session(112 + 8 + 20, key=KEY, tlvs=("cos",), dscp=46).build(0, NOW, EE)
    assert packet[112:120] == cos
    assert packet[120:].hex() == "800800109e9537c65bcf44992a087cfb7b98556d"


@pytest.mark.parametrize(
    ("bound_ns", "scale", "multiplier"),
    [(10, 0, 43), (40, 0, 172), (100, 1, 215), (260, 3, 140), (1_500, 5, 202), (10_000, 8, 168), (1_000_000, 15, 132)],
)
def test_error_estimate_vectors(bound_ns: int, scale: int, multiplier: int) -> None:
    assert wire.encode_error_estimate(bound_ns, False, False) == scale << 8 | multiplier


# Error Estimate


@given(st.integers(0, 2**62), st.booleans(), st.booleans())
@example(2**31 * SECOND, True, True)
@example(2**31 * SECOND + 1, True, True)
def test_error_estimate_never_understates(bound_ns: int, synchronised: bool, ptp: bool) -> None:
    value = wire.encode_error_estimate(bound_ns, synchronised, ptp)
    assert (value >> 15, value >> 14 & 1) == (synchronised, ptp)
    scale, multiplier = value >> 8 & 0x3F, value & 0xFF
    units = -(-(bound_ns << 32) // SECOND)
    assert multiplier << scale >= max(units, 1)
    assert scale == 0 or (multiplier > 127 and (multiplier - 1) << scale < units)  # and no larger than it must be
    back = wire.decode_error_estimate(value)
    assert back is not None
    assert back >= bound_ns


@given(st.integers(0, 0xFFFF))
def test_error_estimate_decodes_to_the_ceiling(value: int) -> None:
    exact = -(-((value & 0xFF) * SECOND << (value >> 8 & 0x3F)) // 2**32)
    assert wire.decode_error_estimate(value) == (exact if value & 0xFF and exact < 2**63 - 1 else None)


def test_unknown_error_is_the_largest_and_unsynchronised() -> None:
    assert wire.encode_error_estimate(None, True, True) == 0x7FFF
    assert wire.decode_error_estimate(0x7FFF) is None
    with pytest.raises(ValueError, match="not negative"):
        wire.encode_error_estimate(-1, True, True)


# Times


@given(st.integers(0, 2**62), st.integers(-(2**31) * SECOND + SECOND, (2**31 - 1) * SECOND))
def test_every_ns_survives_both_formats(tai_ns: int, away: int) -> None:
    near = tai_ns + away
    assert wire.from_ptp(wire.to_ptp(tai_ns), near) == tai_ns
    assert wire.from_ntp(wire.to_ntp(tai_ns, TAI_UTC), near, TAI_UTC) == tai_ns


@given(st.integers(-(10**18), 2**62))
def test_formats_are_what_the_rfcs_say(tai_ns: int) -> None:
    seconds, ns = divmod(tai_ns, SECOND)
    assert wire.to_ptp(tai_ns) == seconds % 2**32 << 32 | ns
    stamp = wire.to_ntp(tai_ns, TAI_UTC)
    assert stamp >> 32 == (seconds - TAI_UTC + 2_208_988_800) % 2**32
    assert abs((stamp & 0xFFFFFFFF) * SECOND - (ns << 32)) * 2 <= SECOND  # the nearest fraction


@pytest.mark.parametrize(
    ("ntp_format", "wrap"),
    [(True, (2**32 - 2_208_988_800 + TAI_UTC) * SECOND), (False, 2**32 * SECOND)],  # 2036-02-07, 2106-02-07
)
@pytest.mark.parametrize("near_after", [-3600 * SECOND, -1, 0, 3600 * SECOND])
def test_a_packet_across_the_end_of_an_era(ntp_format: bool, wrap: int, near_after: int) -> None:
    end = session(ntp_format=ntp_format)
    request = end.build(0, wrap - 100, EE)
    reply = answer(end, request, t2=wrap + 200, t3=wrap + 300, follow_up_t3=wrap - 50)
    said = end.parse(reply, wrap + near_after)
    assert (said["t1"], said["t2"], said["t3"]) == (wrap - 100, wrap + 200, wrap + 300)
    assert said["follow_up_t3"] == wrap - 50


@pytest.mark.parametrize("sender_ntp", [False, True])
@pytest.mark.parametrize("reflector_ntp", [False, True])
def test_ends_of_different_formats_understand_each_other(sender_ntp: bool, reflector_ntp: bool) -> None:
    near, far = session(ntp_format=sender_ntp), session(ntp_format=reflector_ntp)
    for wrong_z in (0, Z):  # Z follows the format written, whatever the estimate handed over says
        request = near.build(3, NOW + 1, EE | wrong_z)
        assert struct.unpack_from(">H", request, 12)[0] & Z == (0 if sender_ntp else Z)
        reply = answer(far, request, t2=NOW + 2, t3=NOW + 3, error_estimate=EE | wrong_z, follow_up_t3=NOW + 1)
        assert struct.unpack_from(">H", reply, 12)[0] & Z == (0 if sender_ntp or reflector_ntp else Z)
        said = near.parse(reply, NOW)
        assert (said["t1"], said["t2"], said["t3"], said["follow_up_t3"]) == (NOW + 1, NOW + 2, NOW + 3, NOW + 1)


def test_no_stamp_is_no_time() -> None:
    end = session()
    reply = answer(end, end.build(0, NOW, EE), t2=None)
    assert reply[16:24] == bytes(8)
    assert end.parse(reply, NOW)["t2"] is None
    impossible = bytearray(answer(end, end.build(0, NOW, EE)))
    impossible[20:24] = struct.pack(">I", SECOND)
    assert end.parse(impossible, NOW)["t2"] is None
    assert end.parse(impossible, NOW)["t3"] == NOW + 502_000


# SHA-256, HMAC


@given(st.binary(max_size=300), st.binary(max_size=1000))
def test_hmac_is_the_standard_one(key: bytes, text: bytes) -> None:
    assert wire.hmac_sha256_128(key, text) == hmac.digest(key, text, hashlib.sha256)[:16]


@pytest.mark.parametrize("length", [0, 55, 56, 63, 64, 65, 119, 120, 128, 1 << 16])
def test_hmac_at_the_block_edges(length: int) -> None:
    text = bytes(i * 7 & 255 for i in range(length))
    assert wire.hmac_sha256_128(KEY, text) == tag(text)
    assert wire.hmac_sha256_128(text, KEY) == hmac.digest(text, KEY, hashlib.sha256)[:16]


# The sender's packet


def test_packet_layout() -> None:
    end = session(150, ssid=0xBEEF, dscp=46, padding="zero")
    packet = end.build(0x01020304, NOW, EE, 0xA0B0C0D0)
    assert packet[:16] == struct.pack(">IQHH", 0x01020304, wire.to_ptp(NOW), EE | Z, 0xBEEF)
    assert packet[16:44] == bytes(28)
    assert chain_of(packet, 44) == [
        (U, 3, bytes(4)),
        (U, 4, bytes((46 << 2, 0, 0, 0))),
        (U, 5, bytes.fromhex("a0b0c0d0") + bytes(8)),
        (U, 7, bytes(16)),
        (U, 240, bytes(12)),
        (U, 1, bytes(34)),
    ]


def test_authenticated_packet_layout() -> None:
    end = session(250, key=KEY, dscp=10)
    packet = end.build(5, NOW, EE, 6)
    assert packet[96:112] == tag(packet[:96])
    chain = chain_of(packet, 112)
    assert [kind for _, kind, _ in chain] == [3, 4, 5, 7, 240, 8, 1]
    assert chain[5][2] == tag(packet[:4] + packet[112:180])


def test_padding() -> None:
    def filler(size: int, **options: Any) -> bytes:
        return bytes(session(size, **options).packet[116:])

    assert filler(300, seed=1) == filler(300, seed=1) != filler(300, seed=2)
    assert len(set(filler(600))) > 100
    assert filler(300, padding="zero") == bytes(184)
    assert len(filler(116)) == 0


@pytest.mark.parametrize("key", [None, KEY])
@pytest.mark.parametrize("count", range(len(wire.TLVS) + 1))
def test_smallest_size(key: bytes | None, count: int) -> None:
    tlvs = wire.TLVS[:count]
    with pytest.raises(ValueError, match="too small") as refusal:
        session(10, key=key, tlvs=tlvs)
    smallest = int(str(refusal.value).split()[-2])
    end = session(smallest, key=key, tlvs=tlvs)
    assert (end.smallest, end.size, len(end.packet)) == (smallest, smallest, smallest)
    for gap in (1, 2, 3):
        with pytest.raises(ValueError, match=f"{smallest} or at least {smallest + 4} octets"):
            session(smallest + gap, key=key, tlvs=tlvs)
    assert len(session(smallest + 4, key=key, tlvs=tlvs).packet) == smallest + 4


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"ssid": 65536}, "ssid 65536"),
        ({"ssid": -1}, "ssid -1"),
        ({"dscp": 64}, "dscp 64"),
        ({"key": b""}, "empty key"),
        ({"padding": "ones"}, "padding 'ones'"),
        ({"tlvs": ("location",)}, "no such TLV: location"),
        ({"size": 65508}, "65507"),
    ],
)
def test_session_refuses(options: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        session(**({"size": 1400} | options))


def test_template_keeps_its_size() -> None:
    end = session()
    with pytest.raises(BufferError):
        end.packet.clear()
    assert len(end.build(0, NOW, EE)) == 112


# Round trips

OPTIONS = st.fixed_dictionaries(
    {
        "ssid": st.integers(0, 0xFFFF),
        "key": st.none() | st.binary(min_size=1, max_size=100),
        "ntp_format": st.booleans(),
        "tlvs": st.lists(st.sampled_from(wire.TLVS), unique=True),
        "dscp": st.integers(0, 63),
        "seed": st.integers(0, 9),
    }
)
WORD = st.integers(0, 2**32 - 1)
OCTET = st.integers(0, 255)
TIME = st.integers(NOW - 2**60, NOW + 2**60)
STATE = st.fixed_dictionaries(
    {
        "seq": WORD,
        "t2": TIME,
        "t3": TIME,
        "error_estimate": st.integers(0, 0xFFFF).filter(lambda value: value & 0xFF),
        "ttl": OCTET,
        "dscp_in": st.integers(0, 63),
        "ecn_in": st.integers(0, 3),
        "dscp_refused": st.booleans(),
        "sync_in": OCTET,
        "method_in": OCTET,
        "sync_out": OCTET,
        "method_out": OCTET,
        "r_rxc": WORD,
        "r_txc": WORD,
        "stateful": st.booleans(),
        "follow_up_seq": WORD,
        "follow_up_t3": st.none() | TIME,
        "follow_up_method": OCTET,
        "facts": st.integers(0, 0xFFFF),
        "clock_id": WORD,
        "nonce": WORD,
    }
)


@given(OPTIONS, st.integers(0, 500), WORD, WORD, TIME, STATE)
def test_round_trip(options: dict[str, Any], extra: int, seq: int, s_txc: int, t1: int, state: dict[str, Any]) -> None:
    end = session(700 + extra, **options)
    request = end.build(seq, t1, EE, s_txc)
    tlvs = options["tlvs"]
    dscp = options["dscp"] if "cos" in tlvs else None
    assert end.inspect(request) == (seq, options["ssid"], dscp, s_txc if "direct" in tlvs else 0)
    reply = end.reflect(request, **state)
    assert len(reply) == len(request)
    said = end.parse(reply, NOW)
    wanted: dict[str, Any] = dict.fromkeys(said) | {"unrecognised": 0, "malformed": 0, "sender_seq": seq, "t1": t1}
    wanted |= {"ssid": options["ssid"], "seq": state["seq"] if state["stateful"] else seq}
    wanted |= {name: state[name] for name in ("t2", "t3", "ttl")}
    wanted["error_estimate"] = state["error_estimate"] & ~Z | (0 if options["ntp_format"] else Z)
    if "time_info" in tlvs:
        wanted |= {name: state[name] for name in ("sync_in", "method_in", "sync_out", "method_out")}
    if "cos" in tlvs:
        wanted |= {"dscp1": dscp, "dscp2": state["dscp_in"], "ecn": state["ecn_in"]}
        wanted["reverse_refused"] = int(state["dscp_refused"])
    if "direct" in tlvs:
        wanted |= {"s_txc": s_txc, "r_rxc": state["r_rxc"], "r_txc": state["r_txc"]}
    if "follow_up" in tlvs and state["stateful"] and state["follow_up_t3"] is not None:
        wanted |= {name: state[name] for name in ("follow_up_seq", "follow_up_t3", "follow_up_method")}
    if "facts" in tlvs:
        wanted |= {name: state[name] for name in ("facts", "clock_id", "nonce")}
    assert dict(said) == wanted


def test_stateless_reflector_leaves_follow_up_zero() -> None:
    end = session(tlvs=("follow_up",), size=64)
    reply = answer(end, end.build(41, NOW, EE), seq=9, stateful=False, follow_up_seq=8, follow_up_t3=NOW)
    assert struct.unpack_from(">I", reply)[0] == 41
    assert chain_of(reply, 44) == [(0, 7, bytes(16))]


# The reflector's flags (RFC 8972 4)

LOCATION = tlv(2, bytes(range(8)))


@pytest.mark.parametrize("sent_flags", [U, 0])
def test_unknown_tlv_comes_back_with_u(sent_flags: int) -> None:
    known = tlv(240, bytes(12))
    unknown = tlv(200, b"\x01\x02\x03\x04\x05", sent_flags)
    reply = answer(session(), plain_request(LOCATION + unknown + known), nonce=5)
    chain = chain_of(reply, 44)
    assert chain[:2] == [(U, 2, bytes(range(8))), (U, 200, b"\x01\x02\x03\x04\x05")]
    assert chain[2][:2] == (0, 240)
    assert chain[2][2].endswith(b"\x05")


def test_first_unknown_tlv_with_u_clear_is_flagged() -> None:
    reply = answer(session(), plain_request(tlv(200, b"abcd", 0)))
    assert chain_of(reply, 44) == [(U, 200, b"abcd")]


def test_wrong_length_is_malformed_and_the_rest_copied() -> None:
    before, bad, after = tlv(240, bytes(12)), tlv(4, bytes(5)), tlv(3, bytes(4))
    reply = answer(session(), plain_request(before + bad + after), sync_in=1)
    assert chain_of(reply, 44)[0][0] == 0
    assert reply[44 + 16 :] == bytes((M,)) + bad[1:] + after


@pytest.mark.parametrize("kind", [3, 4, 5, 7, 240])
@pytest.mark.parametrize("length", [0, 1, 3, 5, 11, 13, 15, 17, 100])
def test_every_fixed_length_is_checked(kind: int, length: int) -> None:
    reply = answer(session(), plain_request(tlv(kind, bytes(length))))
    assert reply[44] == M
    assert reply[45:] == tlv(kind, bytes(length))[1:]


@pytest.mark.parametrize("kind", [1, 3, 200])
def test_value_beyond_the_packet_is_malformed(kind: int) -> None:
    before, bad = tlv(3, bytes(4)), tlv(kind, bytes(4), length=5)
    reply = answer(session(), plain_request(before + bad), sync_in=2)
    assert reply[44:52] == tlv(3, b"\2\0\0\0", 0)
    assert reply[52:] == bytes((U | M,)) + bad[1:]


@pytest.mark.parametrize("stray", [1, 2, 3])
def test_stray_octets_are_malformed(stray: int) -> None:
    reply = answer(session(), plain_request(tlv(3, bytes(4)) + bytes(stray)))
    assert reply[52:] == bytes((M,)) + bytes(stray - 1)


def test_reflector_answers_each_tlv() -> None:
    end = session(dscp=46)
    reply = answer(
        end, end.build(0, NOW, EE, 77), dscp_in=10, ecn_in=2, dscp_refused=True, sync_in=1, method_in=2, sync_out=3,
        method_out=1, r_rxc=78, r_txc=79, follow_up_seq=8, follow_up_t3=NOW, follow_up_method=2, facts=0x55,
        clock_id=0x01020304, nonce=0x05060708,
    )  # fmt: skip
    assert chain_of(reply, 44) == [
        (0, 3, bytes((1, 2, 3, 1))),
        (0, 4, struct.pack(">HH", 46 << 10 | 10 << 4 | 2 << 2 | 1, 0)),
        (0, 5, struct.pack(">III", 77, 78, 79)),
        (0, 7, struct.pack(">IQB3x", 8, wire.to_ptp(NOW), 2)),
        (0, 240, struct.pack(">HHII", 0x55, 0, 0x01020304, 0x05060708)),
    ]


# Authenticated TLVs (RFC 8972 4.8)


def test_reflector_signs_its_own_tlvs() -> None:
    reply = answer(session(key=KEY), signed_request(tlv(240, bytes(12)), LOCATION), seq=0xABCD, nonce=9)
    assert reply[96:112] == tag(reply[:96])
    chain = chain_of(reply, 112)
    assert [(flags, kind) for flags, kind, _ in chain] == [(0, 240), (U, 2), (0, 8)]
    assert chain[2][2] == tag(struct.pack(">I", 0xABCD) + reply[112 : 112 + 28])


def broken_chains() -> dict[str, bytes]:
    good = signed_request(tlv(3, bytes(4)), tlv(4, bytes((46 << 2, 0, 0, 0))))
    base = good[:112]
    return {
        "value altered": good[:116] + b"\x01" + good[117:],
        "tag altered": good[:-1] + bytes((good[-1] ^ 1,)),
        "no HMAC TLV": good[:-20],
        "HMAC TLV too short": base + tlv(3, bytes(4)) + tlv(8, tag(base[:4] + tlv(3, bytes(4)))[:15]),
        "TLV after the HMAC TLV": signed_request(tlv(3, bytes(4)), after=tlv(4, bytes(4))),
        "two HMAC TLVs": signed_request(tlv(3, bytes(4)), after=tlv(8, bytes(16))),
        "two paddings, no HMAC TLV": base + tlv(1, bytes(4)) + tlv(1, bytes(4)),
    }


@pytest.mark.parametrize("name", broken_chains())
def test_failed_tlv_integrity_sets_i_everywhere_and_is_answered(name: str) -> None:
    request = broken_chains()[name]
    end = session(max(len(request), 132), key=KEY, tlvs=())
    reply = answer(end, request, sync_in=9, seq=7)
    assert reply[96:112] == tag(reply[:96])
    sent, back = chain_of(request, 112), chain_of(reply, 112)
    assert [(kind, value) for _, kind, value in back] == [(kind, value) for _, kind, value in sent]
    assert all(flags == U | I for flags, _, _ in back)
    assert end.inspect(request)[2:] == (None, 0)  # nothing of such TLVs is used
    with pytest.raises(wire.WireError) as refusal:
        session(len(request), key=KEY, tlvs=()).parse(reply, NOW)
    assert refusal.value.cause == "tlv_hmac"


def test_broken_chain_without_hmac_is_refused_and_malformed() -> None:
    request = signed_request()[:112] + tlv(3, bytes(4)) + tlv(4, bytes(4), length=9)
    reply = answer(session(key=KEY), request)
    assert reply[112:] == bytes((U | I,)) + request[113:120] + bytes((U | I | M,)) + request[121:]


def test_lone_padding_needs_no_hmac_tlv() -> None:
    end = session(200, key=KEY, tlvs=())
    request = end.build(0, NOW, EE)
    assert [kind for _, kind, _ in chain_of(request, 112)] == [1]
    reply = answer(end, request)
    assert chain_of(reply, 112) == [(0, 1, request[116:])]
    assert end.parse(reply, NOW)["t2"] == NOW + 490_000


def test_padding_may_follow_the_hmac_tlv() -> None:
    reply = answer(session(key=KEY), signed_request(tlv(3, bytes(4)), after=tlv(1, b"x" * 9) + tlv(1, b"")), sync_in=4)
    assert [(flags, kind) for flags, kind, _ in chain_of(reply, 112)] == [(0, 3), (0, 8), (0, 1), (0, 1)]
    assert reply[116] == 4


def test_malformed_tlv_under_a_right_hmac_is_reported_under_a_right_hmac() -> None:
    bad = tlv(4, bytes(5))
    reply = answer(session(key=KEY), signed_request(tlv(3, bytes(4)), bad, tlv(240, bytes(12))), seq=3, nonce=1)
    assert [(flags, kind) for flags, kind, _ in chain_of(reply, 112)] == [(0, 3), (M, 4), (U, 240), (0, 8)]
    assert reply[-16:] == tag(reply[:4] + reply[112:-20])


def test_hmac_tlv_without_a_key_is_unknown() -> None:
    reply = answer(session(), plain_request(tlv(3, bytes(4)) + tlv(8, bytes(16))))
    assert chain_of(reply, 44)[1] == (U, 8, bytes(16))


# What the sender makes of a reply


def refused(end: wire.Session, reply: bytes) -> str:
    with pytest.raises(wire.WireError) as refusal:
        end.parse(reply, NOW)
    assert refusal.value.cause in str(refusal.value)
    return refusal.value.cause


def test_every_cause_of_the_wire_has_its_packet() -> None:
    end, key_end = session(ssid=3), session(key=KEY)
    reply, key_reply = answer(end, end.build(0, NOW, EE)), answer(key_end, key_end.build(0, NOW, EE))
    assert refused(end, reply[:43]) == "short"
    assert refused(end, reply[:44]) == "size"
    assert refused(end, reply + bytes(4)) == "size"
    assert refused(end, reply[:14] + b"\x00\x04" + reply[16:]) == "ssid"
    assert refused(key_end, key_reply[:95] + b"\x01" + key_reply[96:]) == "hmac"
    assert refused(end, reply[:13] + b"\x00" + reply[14:]) == "error_estimate"
    assert refused(end, reply[:46] + b"\x00\x05" + reply[48:]) == "tlv"
    assert refused(key_end, key_reply[:117] + b"\x01" + key_reply[118:]) == "tlv_hmac"


def test_causes_are_numbered_as_in_the_pxd() -> None:
    assert wire.CAUSES == (
        "ok", "short", "size", "ssid", "hmac", "error_estimate", "tlv", "tlv_hmac", "not_sent", "replay", "foreign",
    )  # fmt: skip


def test_zero_ssid_back_is_no_error() -> None:
    end = session(ssid=3)
    reply = answer(end, end.build(0, NOW, EE))
    assert end.parse(reply[:14] + bytes(2) + reply[16:], NOW)["ssid"] == 0


def test_another_sessions_ssid_is_refused_where_none_was_sent() -> None:
    end = session()
    reply = answer(end, end.build(0, NOW, EE))
    assert refused(end, reply[:14] + b"\x00\x04" + reply[16:]) == "ssid"


def test_reflector_that_knows_no_tlvs() -> None:
    """RFC 8972 4: it copies them, U as the sender set it."""
    end = session(150)
    request = end.build(8, NOW, EE, 5)
    bare = session(44, tlvs=()).reflect(request[:44], t2=NOW + 1, t3=NOW + 2, error_estimate=EE)
    said = end.parse(bare + request[44:], NOW)
    assert said["t2"] == NOW + 1
    assert said["unrecognised"] == 6
    assert all(said[name] is None for name in ("sync_in", "dscp1", "s_txc", "follow_up_t3", "facts"))


@pytest.mark.parametrize(
    "padding",
    [
        bytes(68),
        b"\xff" * 68,
        b"\x80\x06\x70\x00" * 17,  # a header that could be, of a type that was not sent first
        b"\x83\x03\x00\x05" * 17,  # the type that was sent first, with reserved flags set
    ],
)
def test_twamp_reflector_that_pads(padding: bytes) -> None:
    end = session()
    bare = session(44, tlvs=()).reflect(end.build(8, NOW, EE)[:44], t2=NOW + 1, t3=NOW + 2, error_estimate=EE)
    said = end.parse(bare + padding, NOW)
    assert (said["t2"], said["facts"], said["unrecognised"]) == (NOW + 1, None, 0)


@pytest.mark.parametrize("name", wire.TLVS)
def test_known_tlv_of_a_wrong_length_spoils_the_reply(name: str) -> None:
    end = session(80, tlvs=(name,), padding="zero")
    reply = bytearray(answer(end, end.build(0, NOW, EE)))
    length = reply[47]
    reply[47] = length + 4  # swallows the padding's header
    reply[48 + length + 4 :] = tlv(1, bytes(80 - 48 - length - 8), 0)
    assert refused(end, bytes(reply)) == "tlv"


def test_malformed_flag_ends_the_reading() -> None:
    end = session()
    reply = bytearray(answer(end, end.build(0, NOW, EE), sync_in=1, facts=1))
    reply[52] = M  # Class of Service
    said = end.parse(reply, NOW)
    assert said["malformed"] == 1
    assert (said["sync_in"], said["dscp1"], said["facts"]) == (1, None, None)


def test_integrity_flag_discards_the_packet() -> None:
    end = session()
    reply = bytearray(answer(end, end.build(0, NOW, EE)))
    reply[-16] = I
    assert refused(end, bytes(reply)) == "tlv_hmac"


# TWAMP-Light senders (RFC 8762 4.6)


@pytest.mark.parametrize("length", [14, 16, 27, 41, 43, 44])
def test_short_request_is_answered_with_the_base_size(length: int) -> None:
    request = (struct.pack(">IQH", 7, T1, EE) + b"\xaa" * 30)[:length]
    end = session(44, tlvs=())
    assert end.inspect(request)[0] == 7
    reply = answer(end, request, seq=9, ttl=63)
    assert reply[:16] == struct.pack(">IQH2x", 9, wire.to_ntp(NOW + 502_000, TAI_UTC), EE)
    assert reply[16:24] == struct.pack(">Q", wire.to_ntp(NOW + 490_000, TAI_UTC))
    assert reply[24:] == struct.pack(">IQH2xB3x", 7, T1, EE, 63)


@pytest.mark.parametrize("padding", [bytes(40), bytes(2), b"\x7f\x01" * 20, b"\xff" * 41, b"\x01\x03\x00\x04" * 3])
def test_padding_is_echoed_untouched(padding: bytes) -> None:
    reply = answer(session(), plain_request(padding))
    assert reply[44:] == padding


def test_requests_that_are_not_answered() -> None:
    for end, request, cause in (
        (session(), plain_request()[:13], "short"),
        (session(), b"", "short"),
        (session(), plain_request(error_estimate=0x8800), "error_estimate"),
        (session(key=KEY), signed_request()[:111], "short"),
        (session(key=KEY), b"\x01" + signed_request()[1:], "hmac"),
        (session(key=b"another key"), signed_request(), "hmac"),
    ):
        for attempt in (lambda end=end, request=request: answer(end, request), lambda e=end, r=request: e.inspect(r)):
            with pytest.raises(wire.WireError) as refusal:
                attempt()
            assert refusal.value.cause == cause
