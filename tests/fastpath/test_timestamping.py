"""Control messages parsed octet by octet, sockets prepared, the NIC's ioctls at their edge."""

from __future__ import annotations

import contextlib
import errno
import ipaddress
import os
import socket
import struct
import time
from collections.abc import Callable, Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fastpath import timestamping

SOL_SOCKET, SOL_IP, SOL_IPV6 = 1, 0, 41
SCM_TIMESTAMPING, SO_RXQ_OVFL = 37, 40
IP_TOS, IP_TTL, IP_PKTINFO, IP_RECVERR = 1, 2, 8, 11
IPV6_RECVERR, IPV6_PKTINFO, IPV6_HOPLIMIT, IPV6_TCLASS = 25, 50, 52, 67
ORIGIN_LOCAL, ORIGIN_ICMP, ORIGIN_ICMP6, ORIGIN_TIMESTAMPING = 1, 2, 3, 4
MSG_CTRUNC = 8


def cmsg(level: int, kind: int, data: bytes) -> bytes:
    """One control message as the kernel lays it out on a 64-bit machine."""
    return struct.pack("=QII", 16 + len(data), level, kind) + data + bytes(-len(data) % 8)


def stamps(software: int = 0, hardware: int = 0) -> bytes:
    """SCM_TIMESTAMPING: three timespecs; what was not taken is zero."""
    return cmsg(
        SOL_SOCKET,
        SCM_TIMESTAMPING,
        b"".join(struct.pack("=qq", *divmod(value, 10**9)) for value in (software, 0, hardware)),
    )


def error(origin: int, info: int, data: int, number: int = 42) -> bytes:
    """struct sock_extended_err with an empty offender."""
    return struct.pack("=IBBBBII", number, origin, 0, 0, 0, info, data) + bytes(16)


def test_kernel_stamp_with_facts_of_an_ipv4_packet() -> None:
    found = timestamping.parse(
        stamps(software=1_700_000_000_123_456_789)
        + cmsg(SOL_IP, IP_TTL, struct.pack("=i", 253))
        + cmsg(SOL_IP, IP_TOS, b"\xb9")
        + cmsg(SOL_IP, IP_PKTINFO, struct.pack("=i4s4s", 7, bytes([10, 0, 0, 1]), bytes([10, 0, 0, 255])))
        + cmsg(SOL_SOCKET, SO_RXQ_OVFL, struct.pack("=I", 12))
    )
    assert found == {
        "software": 1_700_000_000_123_456_789, "hardware": None, "stamp_id": -1, "stamp_kind": -1, "error": 0,
        "ttl": 253, "tos": 0xB9, "interface": 7, "drops": 12, "local": "10.0.0.1", "truncated": False,
    }  # fmt: skip


def test_facts_of_an_ipv6_packet() -> None:
    address = ipaddress.IPv6Address("2001:db8::5").packed
    found = timestamping.parse(
        cmsg(SOL_IPV6, IPV6_HOPLIMIT, struct.pack("=i", 64))
        + cmsg(SOL_IPV6, IPV6_TCLASS, struct.pack("=i", 0x2E))
        + cmsg(SOL_IPV6, IPV6_PKTINFO, address + struct.pack("=I", 3))
    )
    assert (found["ttl"], found["tos"], found["local"], found["interface"]) == (64, 0x2E, "2001:db8::5", 3)


def test_nic_stamp_in_a_synthetic_control_message() -> None:
    """Mock of hardware that cannot exist here: ts[2] of scm_timestamping, with and without a kernel stamp."""
    both = timestamping.parse(stamps(software=5, hardware=1_700_000_037_000_000_001))
    assert (both["software"], both["hardware"]) == (5, 1_700_000_037_000_000_001)
    only = timestamping.parse(stamps(hardware=9) + cmsg(SOL_IP, IP_RECVERR, error(ORIGIN_TIMESTAMPING, 0, 77)))
    assert (only["software"], only["hardware"], only["stamp_id"]) == (None, 9, 77)


@pytest.mark.parametrize(("level", "kind"), [(SOL_IP, IP_RECVERR), (SOL_IPV6, IPV6_RECVERR)])
@pytest.mark.parametrize("number", [0, 1, 0xFFFFFFFF])
def test_tx_stamp_names_its_packet(level: int, kind: int, number: int) -> None:
    found = timestamping.parse(stamps(software=3) + cmsg(level, kind, error(ORIGIN_TIMESTAMPING, 1, number)))
    assert (found["stamp_id"], found["stamp_kind"], found["error"]) == (number, 1, 0)


@pytest.mark.parametrize(
    ("level", "kind", "origin", "number", "told"),
    [
        (SOL_IP, IP_RECVERR, ORIGIN_ICMP, errno.ECONNREFUSED, errno.ECONNREFUSED),
        (SOL_IPV6, IPV6_RECVERR, ORIGIN_ICMP6, errno.EACCES, errno.EACCES),
        (SOL_IP, IP_RECVERR, ORIGIN_LOCAL, errno.EMSGSIZE, 0),
    ],
)
def test_an_error_is_no_stamp_and_only_icmp_is_told(level: int, kind: int, origin: int, number: int, told: int) -> None:
    """Even with the time the ICMP message came, which the kernel adds."""
    found = timestamping.parse(stamps(software=5) + cmsg(level, kind, error(origin, 0, 7, number)))
    assert (found["stamp_id"], found["stamp_kind"], found["error"]) == (-1, -1, told)


def test_truncated_control_messages_are_told() -> None:
    assert timestamping.parse(b"", MSG_CTRUNC)["truncated"] is True
    assert timestamping.parse(stamps(software=4)[:40])["software"] is None


@given(st.binary(max_size=200))
def test_no_octets_upset_the_parser(control: bytes) -> None:
    assert set(timestamping.parse(control)) == set(timestamping.parse(b""))


@given(st.lists(st.tuples(st.sampled_from([0, 1, 41]), st.integers(0, 80), st.binary(max_size=48)), max_size=6))
def test_no_well_framed_nonsense_upsets_the_parser(messages: list[tuple[int, int, bytes]]) -> None:
    timestamping.parse(b"".join(cmsg(*each) for each in messages))


@pytest.fixture(params=[socket.AF_INET, socket.AF_INET6], ids=["ipv4", "ipv6"])
def pair(request: pytest.FixtureRequest) -> Iterator[tuple[socket.socket, socket.socket]]:
    host = "127.0.0.1" if request.param == socket.AF_INET else "::1"
    with (
        socket.socket(request.param, socket.SOCK_DGRAM) as near,
        socket.socket(request.param, socket.SOCK_DGRAM) as far,
    ):
        for each in (near, far):
            each.bind((host, 0))
        near.connect(far.getsockname())
        yield near, far


@pytest.fixture
def stamping() -> Iterator[None]:
    """A kernel that stamps: it begins some time after the first socket of the machine asks, and not for that packet."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.bind(("127.0.0.1", 0))
        own.connect(own.getsockname())
        timestamping.enable(own.fileno())
        for _ in range(200):
            own.send(b"w")
            _, control, flags, _ = own.recvmsg(10, 512)
            if timestamping.parse(b"".join(cmsg(*each) for each in control), flags)["software"] is not None:
                break
            time.sleep(0.01)
        yield


@pytest.mark.usefixtures("stamping")
def test_an_enabled_socket_gets_what_was_promised(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    granted = timestamping.enable(near.fileno())
    timestamping.enable(far.fileno())
    assert (granted.rx, granted.tx, granted.opt_id) == ("kernel", "kernel", True)
    before = time.time_ns()
    near.send(b"x")
    data, control, flags, _ = far.recvmsg(10, 512)
    after = time.time_ns()
    found = timestamping.parse(b"".join(cmsg(*each) for each in control), flags)
    assert data == b"x"
    assert isinstance(found["software"], int)
    assert before <= found["software"] <= after
    assert (found["ttl"], found["tos"]) == (255, 0)
    assert found["local"] == far.getsockname()[0]
    assert isinstance(found["interface"], int)
    assert timestamping.interface_name(near.fileno(), found["interface"]) == "lo"
    _, control, flags, _ = near.recvmsg(10, 512, socket.MSG_ERRQUEUE)
    sent = timestamping.parse(b"".join(cmsg(*each) for each in control), flags)
    assert isinstance(sent["software"], int)
    assert before <= sent["software"] <= found["software"]
    assert sent["stamp_kind"] == 0


def test_receive_buffer_in_force_is_told(pair: tuple[socket.socket, socket.socket]) -> None:
    granted = timestamping.enable(pair[0].fileno())
    assert granted.receive_buffer == pair[0].getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
    assert bool(granted.remark) is (granted.receive_buffer < timestamping.RECEIVE_BUFFER)


def test_only_udp_sockets_are_taken() -> None:
    with socket.socket() as stream, pytest.raises(OSError, match="not a UDP socket"):
        timestamping.enable(stream.fileno())
    with pytest.raises(ValueError, match="interface"):
        timestamping.enable(0, hardware=True)
    reading, writing = os.pipe()
    try:
        with pytest.raises(OSError, match=r".*"):
            timestamping.enable(reading)
    finally:
        os.close(reading)
        os.close(writing)


def test_the_loopback_is_virtual_and_stamps_in_software() -> None:
    facts = timestamping.interface_facts("lo")
    assert (facts.driver, facts.virtual, facts.phc, facts.hardware) == ("lo", True, -1, False)
    assert facts.mtu > 1000
    with pytest.raises(OSError, match="no-such-if"):
        timestamping.interface_facts("no-such-if")


def test_index_without_interface_has_no_name() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        assert timestamping.interface_name(probe.fileno(), 1 << 20) == ""


Ioctl = Callable[[int, int, str, bytearray], None]


def nic_mock(calls: list[tuple[int, bytes]], state: tuple[int, int], granted: tuple[int, int] | OSError) -> Ioctl:
    """Mock of a NIC that stamps, which cannot exist here: SIOCGHWTSTAMP tells `state`, SIOCSHWTSTAMP grants."""

    def ioctl(_fd: int, request: int, name: str, payload: bytearray) -> None:
        assert name == "eth9"
        calls.append((request, bytes(payload)))
        if request == timestamping.SIOCGHWTSTAMP:
            struct.pack_into("=iii", payload, 0, 0, *state)
        elif isinstance(granted, OSError):
            raise granted
        else:
            struct.pack_into("=iii", payload, 0, 0, *granted)

    return ioctl


def test_nic_stamping_is_switched_on_with_mock_of_a_nic() -> None:
    calls: list[tuple[int, bytes]] = []
    assert timestamping.enable_hardware(5, "eth9", nic_mock(calls, (0, 0), (1, 1))) == ""
    assert [request for request, _ in calls] == [0x89B1, 0x89B0]  # linux/sockios.h
    assert calls[1][1] == struct.pack("=iii", 0, 1, 1)


def test_nic_that_stamps_already_is_left_alone_with_mock_of_a_nic() -> None:
    calls: list[tuple[int, bytes]] = []
    assert timestamping.enable_hardware(5, "eth9", nic_mock(calls, (1, 1), (0, 0))) == ""
    assert len(calls) == 1


@pytest.mark.parametrize(
    ("granted", "reason"),
    [((1, 12), "rx_filter 12"), (PermissionError(errno.EPERM, "Operation not permitted"), "not permitted")],
)
def test_nic_that_stamps_only_ptp_is_no_source_with_mock_of_a_nic(
    granted: tuple[int, int] | OSError, reason: str
) -> None:
    assert reason in timestamping.enable_hardware(5, "eth9", nic_mock([], (0, 0), granted))


def test_capability_follows_the_nic_with_mock_of_a_nic(pair: tuple[socket.socket, socket.socket]) -> None:
    fd = pair[0].fileno()
    assert timestamping.enable(fd, True, "eth9", nic_mock([], (1, 1), (1, 1))).rx == "nic"
    refused = timestamping.enable(fd, True, "eth9", nic_mock([], (0, 0), OSError(errno.EOPNOTSUPP, "unsupported")))
    assert refused.rx == "kernel"
    assert "unsupported" in refused.remark


def test_real_interfaces_without_the_feature_refuse() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        assert "does not stamp" in timestamping.enable_hardware(probe.fileno(), "lo")


def test_stamps_can_bring_the_packet_back(pair: tuple[socket.socket, socket.socket]) -> None:
    near, _ = pair
    timestamping.enable(near.fileno())
    timestamping.loop_packets_back(near.fileno())
    near.send(b"payload at the end")
    data, _, _, _ = near.recvmsg(500, 512, socket.MSG_ERRQUEUE)
    assert data.endswith(b"payload at the end")


def test_a_socket_that_tells_drops_has_each_icmp_error_in_its_queue(pair: tuple[socket.socket, socket.socket]) -> None:
    near, far = pair
    timestamping.tell_drops(near.fileno())
    far.close()  # from here on the kernel answers with ICMP port unreachable
    for _ in range(3):
        with contextlib.suppress(ConnectionRefusedError):  # told once more as the result of the next call
            near.send(b"x")
    errors = 0
    with contextlib.suppress(BlockingIOError):
        while True:
            _, control, flags, _ = near.recvmsg(10, 512, socket.MSG_ERRQUEUE | socket.MSG_DONTWAIT)
            found = timestamping.parse(b"".join(cmsg(*each) for each in control), flags)
            assert (found["stamp_id"], found["error"]) == (-1, errno.ECONNREFUSED)
            errors += 1
    assert errors == 2  # the second call sent nothing: it was told of the first
