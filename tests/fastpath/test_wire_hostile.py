"""Truncated, corrupted and random packets: refused by name or read safely, never beyond their end."""

from __future__ import annotations

import ctypes
import mmap
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from fastpath import wire

KEY = b"a key of some length"
NOW = 1_691_011_237_250_000_000  # ns TAI
EE = 0x88AC
STATE: dict[str, Any] = {"t2": NOW + 1, "t3": NOW + 2, "error_estimate": EE, "facts": 7, "follow_up_t3": NOW}


def session(size: int, **options: Any) -> wire.Session:
    return wire.Session(size, tai_utc=37, **options)


class Fence:
    """Memory whose end is the end of what may be read: one octet further is a segmentation fault."""

    def __init__(self) -> None:
        self.pages = mmap.mmap(-1, 2 * mmap.PAGESIZE)
        libc = ctypes.CDLL(None, use_errno=True)
        libc.mprotect.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.pages))
        assert libc.mprotect(start + mmap.PAGESIZE, mmap.PAGESIZE, 0) == 0, ctypes.get_errno()

    def hold(self, packet: bytes) -> memoryview:
        end = mmap.PAGESIZE
        self.pages[end - len(packet) : end] = packet
        return memoryview(self.pages)[end - len(packet) : end]


@pytest.fixture(scope="module")
def fence() -> Fence:
    return Fence()


def cause_of(call: Callable[[], object]) -> str:
    try:
        call()
    except wire.WireError as why:
        return why.cause
    return "ok"


def everything(fence: Fence, packet: bytes) -> None:
    """Every reader on one packet, its end at the fence; the reflector's answers keep their promises."""
    for key in (None, KEY):
        base = 112 if key else 44
        end = (
            session(max(len(packet), base), key=key, tlvs=()) if len(packet) not in range(base + 1, base + 4) else None
        )
        held = fence.hold(packet)
        reader = end or session(base, key=key, tlvs=())
        with suppress(wire.WireError):
            reader.parse(held, NOW)
        cause = cause_of(lambda: reader.inspect(held))  # noqa: B023 - called at once
        assert cause_of(lambda: reader.reflect(held, **STATE)) == cause  # noqa: B023
        if cause != "ok":
            continue
        reply = reader.reflect(held, **STATE)
        assert len(reply) == max(len(packet), base)
        assert int.from_bytes(reply[48:52] if key else reply[24:28], "big") == reader.inspect(held)[0]


def packets() -> Iterator[bytes]:
    for key in (None, KEY):
        end = session(300, key=key)
        yield (request := end.build(7, NOW, EE, 5))
        yield end.reflect(request, **STATE)


@pytest.mark.parametrize("number", range(4))
def test_truncation_at_every_length(fence: Fence, number: int) -> None:
    packet = list(packets())[number]
    for length in range(len(packet)):
        everything(fence, packet[:length])
        for key in (None, KEY):
            with pytest.raises(wire.WireError) as refusal:
                session(300, key=key).parse(fence.hold(packet[:length]), NOW)
            assert refusal.value.cause == ("short" if length < (112 if key else 44) else "size")


@given(packet=st.binary(max_size=400))
@example(packet=b"")
def test_random_octets(fence: Fence, packet: bytes) -> None:
    everything(fence, packet)


@given(
    size=st.integers(200, 320),
    key=st.sampled_from([None, KEY]),
    changes=st.lists(st.tuples(st.integers(0, 319), st.integers(0, 255)), min_size=1, max_size=12),
)
def test_corrupted_packets(fence: Fence, size: int, key: bytes | None, changes: list[tuple[int, int]]) -> None:
    if size in range(201, 204):
        size = 200
    end = session(size, key=key)
    request = end.build(7, NOW, EE, 5)
    for packet in (request, end.reflect(request, **STATE)):
        damaged = bytearray(packet)
        for at, octet in changes:
            damaged[at % size] = octet
        everything(fence, bytes(damaged))
        with suppress(wire.WireError):
            end.parse(fence.hold(bytes(damaged)), NOW)


@given(
    chain=st.lists(
        st.tuples(
            st.sampled_from([0x80, 0x80, 0, 0x40, 0x20, 0xFF]),
            st.sampled_from([0, 1, 2, 3, 4, 5, 7, 8, 240, 255]),
            st.sampled_from([0, 3, 4, 12, 16, 17]),
            st.integers(-2, 2),
        ),
        max_size=12,
    ),
    tail=st.binary(max_size=5),
)
def test_tlv_chains_of_every_kind(fence: Fence, chain: list[tuple[int, int, int, int]], tail: bytes) -> None:
    """Chains that nearly fit: lengths off by up to 2, HMAC TLVs anywhere, stray octets; in both modes and both ways."""
    octets = b""
    for flags, kind, length, off in chain:
        octets += bytes((flags, kind)) + max(0, length + off).to_bytes(2, "big") + bytes(length)
    octets += tail
    everything(fence, session(44, tlvs=()).build(7, NOW, EE) + octets)
    everything(fence, session(112, key=KEY, tlvs=()).build(7, NOW, EE) + octets)
    if len(octets) >= 4:
        for key in (None, KEY):
            base = 112 if key else 44
            end = session(base + len(octets), key=key, tlvs=())
            with suppress(wire.WireError):
                end.parse(fence.hold(session(base, key=key, tlvs=()).build(7, NOW, EE) + octets), NOW)


@pytest.mark.parametrize("at", range(16, 44))
def test_an_ssid_with_anything_but_zeros_behind_it_is_padding(fence: Fence, at: int) -> None:
    """A TWAMP-Light sender's octets there may be pseudorandom (RFC 5357 4.1.2): no session of its own, none echoed."""
    end = session(60, ssid=0x1234, tlvs=())
    request = bytearray(end.build(7, NOW, EE))
    assert end.inspect(fence.hold(bytes(request)))[1] == 0x1234
    assert end.reflect(request, **STATE)[14:16] == b"\x12\x34"
    request[at] = 1
    assert end.inspect(fence.hold(bytes(request)))[1] == 0
    assert end.reflect(request, **STATE)[14:16] == bytes(2)


def test_every_altered_octet_of_an_authenticated_reply_is_detected() -> None:
    """But for what no HMAC covers (RFC 8972 4.8) and carries no data: the HMAC TLV's own flags, Extra Padding."""
    end = session(220, key=KEY)
    reply = end.reflect(end.build(7, NOW, EE), **STATE)
    good = end.parse(reply, NOW)
    padding = end.smallest
    hmac_flags = padding - 20
    for at in range(len(reply)):
        for difference in range(1, 256):
            damaged = bytearray(reply)
            damaged[at] ^= difference
            cause = cause_of(lambda: end.parse(damaged, NOW))  # noqa: B023 - called at once
            if at < 112:
                assert cause == "hmac"
            elif at in {hmac_flags, padding} or at >= padding + 4:
                assert cause in {"ok", "tlv_hmac"}
                if cause == "ok":
                    assert {**end.parse(damaged, NOW), "unrecognised": 0, "malformed": 0} == {**good}
            else:
                assert cause in {"tlv", "tlv_hmac"}, (at, difference)


def test_every_altered_octet_of_an_authenticated_request_is_detected() -> None:
    end = session(220, key=KEY, dscp=46)
    request = end.build(7, NOW, EE, 5)
    for at in set(range(end.smallest)) - {end.smallest - 20}:  # the HMAC TLV's own flags are the reflector's to write
        for difference in range(1, 256):
            damaged = bytearray(request)
            damaged[at] ^= difference
            if at < 112:
                with pytest.raises(wire.WireError) as refusal:
                    end.reflect(damaged, **STATE)
                assert refusal.value.cause == "hmac"
            else:
                assert end.inspect(damaged)[2:] == (None, 0)
                reply = end.reflect(damaged, **STATE)
                assert reply[112] & 0x20, (at, difference)  # I on the first TLV, then the sender discards it
                with pytest.raises(wire.WireError):
                    end.parse(reply, NOW)


def test_a_reply_of_another_session_is_not_taken() -> None:
    ours, theirs = session(200, key=KEY), session(200, key=KEY + b"!")
    with pytest.raises(wire.WireError) as refusal:
        ours.parse(theirs.reflect(theirs.build(7, NOW, EE), **STATE), NOW)
    assert refusal.value.cause == "hmac"
