"""The reflector asked by a client in Python, one packet at a time."""

from __future__ import annotations

import contextlib
import ctypes
import ipaddress
import itertools
import os
import random
import shutil
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import pytest

from fastpath import clock, stack, timestamping, wire
from fastpath.reflector import Reflector

TAI_UTC = 37
SECOND = 1_000_000_000
ESTIMATE = wire.encode_error_estimate(2_000, True, True)
UNKNOWN = wire.encode_error_estimate(None, False, True)
INJECTED, VIRTUAL, T2_KERNEL, T3_KERNEL, CLOCK_KNOWN = 1, 2, 4, 16, 64
KEY = bytes(range(32))

T = TypeVar("T")


def udp(host: str = "127.0.0.1", port: int = 0) -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, port))
    made.settimeout(5)
    return made


@contextlib.contextmanager
def reflecting(at: socket.socket, **options: object) -> Iterator[Reflector]:
    made = {"tai_utc": TAI_UTC, "error_estimate": ESTIMATE, **options}
    reflector = Reflector([at.fileno()], **made)  # type: ignore[arg-type]
    thread = threading.Thread(target=reflector.run)
    thread.start()
    try:
        yield reflector
    finally:
        reflector.stop()
        thread.join()


def tai_now() -> int:
    return clock.now_realtime() + TAI_UTC * SECOND


@dataclass
class Client:
    """Asks with packets of one session from one socket."""

    at: socket.socket
    to: tuple[str, int]
    session: wire.Session
    seq: int = 0

    def ask(self, seq: int | None = None) -> wire.ReplyDict:
        self.seq = self.seq if seq is None else seq
        packet = self.session.build(self.seq, tai_now(), UNKNOWN, self.seq + 1)
        self.seq += 1
        self.at.sendto(packet, self.to)
        return self.session.parse(self.at.recv(9000), tai_now())


@contextlib.contextmanager
def client(reflector_at: socket.socket, host: str = "127.0.0.1", **session: object) -> Iterator[Client]:
    made = {"size": 200, "tai_utc": TAI_UTC, **session}
    with udp(host) as at:
        yield Client(at, reflector_at.getsockname()[:2], wire.Session(**made))  # type: ignore[arg-type]


def in_a_network_of_its_own(make: Callable[[], T], *commands: str) -> T:
    """What ``make`` returns in a network namespace that lives as long as its sockets, after the commands there."""
    if os.geteuid() != 0 or not shutil.which("ip") or not shutil.which("tc"):
        pytest.skip("needs root, ip and tc")

    def work() -> T:
        if ctypes.CDLL(None, use_errno=True).unshare(0x40000000):  # CLONE_NEWNET, of this thread alone
            pytest.skip(f"no network namespace: {os.strerror(ctypes.get_errno())}")
        for command in ("ip link set lo up", *commands):
            subprocess.run(command.split(), check=True)
        return make()

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def silent(at: socket.socket) -> bool:
    """Nothing comes; asked after a later packet was answered, so nothing is still under way."""
    at.setblocking(False)
    try:
        at.recv(9000)
    except BlockingIOError:
        return True
    finally:
        at.settimeout(5)
    return False


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize("caller_id", [None, False], ids=["id", "looped-back"])
@pytest.mark.parametrize("key", [None, KEY], ids=["open", "authenticated"])
def test_a_session_is_counted_and_each_reply_tells_the_last_ones_send_time(
    host: str, caller_id: bool | None, key: bytes | None
) -> None:
    with (
        udp(host) as at,
        reflecting(at, key=key, caller_id=caller_id, sync_source=2, facts=CLOCK_KNOWN) as reflector,
        client(at, host, key=key, size=260, ssid=9) as asking,
    ):
        before = tai_now()
        replies = [asking.ask(seq) for seq in (100, 101, 105)]
        after = tai_now()
    counts = reflector.counters()
    assert [reply["seq"] for reply in replies] == [0, 1, 2]
    assert [reply["sender_seq"] for reply in replies] == [100, 101, 105]
    assert [(reply["s_txc"], reply["r_rxc"], reply["r_txc"]) for reply in replies] == [
        (101, 1, 1), (102, 2, 2), (106, 3, 3),
    ]  # fmt: skip
    for reply in replies:
        assert reply["t2"] is not None
        assert reply["t3"] is not None
        assert before <= reply["t2"] <= reply["t3"] <= after
        assert reply["error_estimate"] == ESTIMATE
        assert (reply["ttl"], reply["ssid"]) == (64, 9)
        assert (reply["sync_in"], reply["method_in"], reply["sync_out"], reply["method_out"]) == (2, 2, 2, 2)
        assert (reply["unrecognised"], reply["malformed"]) == (0, 0)
    assert replies[0]["follow_up_t3"] is None
    assert replies[0]["facts"] == CLOCK_KNOWN | VIRTUAL | T2_KERNEL
    for last, reply in itertools.pairwise(replies):
        assert reply["follow_up_seq"] == last["seq"]
        assert last["t3"] is not None
        assert reply["t2"] is not None
        assert reply["follow_up_t3"] is not None
        assert last["t3"] <= reply["follow_up_t3"] <= reply["t2"]
        assert reply["follow_up_method"] == 2
        assert reply["facts"] == CLOCK_KNOWN | VIRTUAL | T2_KERNEL | T3_KERNEL
    assert (counts["received"], counts["sent"], counts["sessions"], counts["follow_ups"]) == (3, 3, 1, 2)


@pytest.mark.parametrize("caller_id", [None, False], ids=["id", "looped-back"])
def test_send_times_that_come_many_replies_late_are_all_told(caller_id: bool | None) -> None:
    """A queue on the way out holds replies back, and their stamps with them: here as many as requests came at once."""
    late = 30
    at, near = in_a_network_of_its_own(
        lambda: (udp(), udp()), "tc qdisc add dev lo root tbf rate 1mbit burst 2000 limit 1000000"
    )
    with at, near, reflecting(at, caller_id=caller_id) as reflector:
        asking = Client(near, at.getsockname(), wire.Session(200, tai_utc=TAI_UTC))
        for seq in range(late):
            near.sendto(asking.session.build(seq, tai_now(), UNKNOWN), asking.to)
        replies = [asking.session.parse(near.recv(9000), tai_now()) for _ in range(late)]
        replies += [asking.ask(late + k) for k in range(late)]
    told = [reply["follow_up_seq"] for reply in replies if reply["follow_up_t3"] is not None]
    assert told == list(range(len(told)))
    assert len(told) >= late
    assert reflector.counters()["stray_stamps"] == 0


def test_ssids_sockets_and_ports_are_sessions_of_their_own() -> None:
    with udp() as at, reflecting(at) as reflector, client(at, ssid=1) as one, client(at, ssid=1) as other:
        again = Client(one.at, one.to, wire.Session(200, tai_utc=TAI_UTC, ssid=2))
        assert [each.ask()["seq"] for each in (one, other, again, one, other, again)] == [0, 0, 0, 1, 1, 1]
        assert reflector.counters()["sessions"] == 3


def test_a_sender_with_pseudorandom_padding_has_one_session() -> None:
    """TWAMP-Light (RFC 5357 4.1.2): its octets where STAMP has the SSID mean nothing."""
    rng = random.Random(3)
    with udp() as at, reflecting(at) as reflector, udp() as near:
        near.connect(at.getsockname())
        numbers = []
        for burst in range(100):
            for seq in range(50 * burst, 50 * burst + 50):
                near.send(struct.pack("!IQH", seq, wire.to_ntp(tai_now(), TAI_UTC), 0x0101) + rng.randbytes(50))
            replies = [near.recv(9000) for _ in range(50)]
            assert {reply[14:16] for reply in replies} == {bytes(2)}
            numbers += [struct.unpack_from("!I", reply)[0] for reply in replies]
    counts = reflector.counters()
    assert numbers == list(range(5000))
    assert (counts["sessions"], counts["table_full"], counts["sent"]) == (1, 0, 5000)


def test_direct_measurement_counts_what_came_and_what_left() -> None:
    """RFC 8972 4.5: a request whose reply could not be sent was received; so the near end tells which way lost it."""
    with udp("::1") as at, reflecting(at) as reflector, client(at, "::1") as asking:
        at.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_DONTFRAG, 1)
        at.setsockopt(socket.IPPROTO_IPV6, 24, 1280)  # IPV6_MTU: a reply of more octets cannot leave
        large = Client(asking.at, asking.to, wire.Session(1400, tai_utc=TAI_UTC))
        replies = []
        for seq in range(0, 12, 4):
            for lost in range(3):
                asking.at.sendto(large.session.build(seq + lost, tai_now(), UNKNOWN), asking.to)
            replies.append(asking.ask(seq + 3))
        assert silent(asking.at)
    counts = reflector.counters()
    assert [(reply["r_rxc"], reply["r_txc"], reply["seq"]) for reply in replies] == [(4, 1, 0), (8, 2, 1), (12, 3, 2)]
    assert (counts["received"], counts["sent"], counts["send_errors"], counts["sessions"]) == (12, 3, 9, 1)


def test_stateless_copies_the_number_and_follows_nothing_up() -> None:
    with udp() as at, reflecting(at, stateful=False) as reflector, client(at) as asking:
        replies = [asking.ask(seq) for seq in (7, 3, 900)]
        assert [reply["seq"] for reply in replies] == [7, 3, 900]
        assert [reply["follow_up_t3"] for reply in replies] == [None] * 3
        assert reflector.counters()["sessions"] == 0


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
@pytest.mark.parametrize(("sent", "asked", "honour"), [(46, 46, True), (46, 10, True), (0, 34, True), (46, 10, False)])
def test_the_reply_travels_at_the_dscp_asked_for_and_says_what_came(
    host: str, sent: int, asked: int, honour: bool
) -> None:
    v6 = ":" in host
    level = socket.IPPROTO_IPV6 if v6 else socket.IPPROTO_IP
    with udp(host) as at, reflecting(at, honour_dscp=honour), client(at, host, dscp=asked) as asking:
        asking.at.setsockopt(level, socket.IPV6_TCLASS if v6 else socket.IP_TOS, sent << 2)
        asking.at.setsockopt(level, socket.IPV6_RECVTCLASS if v6 else 13, 1)  # 13: IP_RECVTOS
        asking.at.sendto(asking.session.build(0, tai_now(), UNKNOWN), asking.to)
        packet, control, _, _ = asking.at.recvmsg(9000, 512)
        reply = asking.session.parse(packet, tai_now())
    assert (reply["dscp1"], reply["dscp2"]) == (asked, sent)
    assert bool(reply["reverse_refused"]) is not honour
    tos = next(data[0] for where, kind, data in control if where == level and kind in (socket.IP_TOS, 67))
    assert tos >> 2 == (asked if honour else sent)


def test_bad_packets_are_counted_by_cause_and_not_answered() -> None:
    with (
        udp() as at,
        reflecting(at, key=KEY) as reflector,
        client(at, key=KEY, size=260) as asking,
    ):
        good = asking.session.build(0, tai_now(), UNKNOWN)
        forged = good[:10] + bytes([good[10] ^ 1]) + good[11:]
        foreign = wire.Session(260, key=b"another key", tai_utc=TAI_UTC).build(0, tai_now(), UNKNOWN)
        for packet in (good[:111], b"", forged, foreign):
            asking.at.sendto(packet, asking.to)
        assert asking.ask()["seq"] == 0
        assert silent(asking.at)
    counts = reflector.counters()
    assert (counts["short"], counts["hmac"], counts["received"], counts["sent"]) == (2, 2, 5, 1)


def test_a_zero_error_multiplier_is_corrupt() -> None:
    with udp() as at, reflecting(at) as reflector, client(at) as asking:
        asking.at.sendto(asking.session.build(0, tai_now(), 0x4000), asking.to)
        asking.ask()
        assert silent(asking.at)
        assert reflector.counters()["error_estimate"] == 1


@pytest.mark.parametrize(
    ("allow", "answered"),
    [
        ([("127.0.0.1", 32)], True),
        ([("127.0.0.2", 32)], False),
        ([("127.0.0.2", 30)], True),
        ([("10.0.0.0", 8), ("127.0.0.4", 30)], False),
        ([("::", 0)], True),
        ([("2001:db8::", 32)], False),
    ],
)
def test_only_the_allowed_may_ask(allow: list[tuple[str, int]], answered: bool) -> None:
    with udp() as at, udp("127.0.0.9") as friend, reflecting(at, allow=[*allow, ("127.0.0.9", 32)]) as reflector:
        with client(at) as asking:
            asking.at.sendto(asking.session.build(0, tai_now(), UNKNOWN), asking.to)
            Client(friend, asking.to, asking.session).ask()  # always answered, and after the other
            assert silent(asking.at) is not answered
        assert reflector.counters()["foreign"] == int(not answered)


def test_a_network_that_is_none_is_named() -> None:
    with udp() as at, pytest.raises(ValueError, match="no-net"):
        Reflector([at.fileno()], tai_utc=TAI_UTC, error_estimate=ESTIMATE, allow=[("no-net", 3)])


@pytest.mark.parametrize(
    ("bound", "asked"), [("0.0.0.0", "127.0.0.5"), ("::", "::1"), ("::", "127.0.0.6")]  # noqa: S104
)  # fmt: skip
def test_the_answer_comes_from_the_address_that_was_asked(bound: str, asked: str) -> None:
    with udp(bound) as at, reflecting(at), udp("::1" if ":" in asked else "127.0.0.1") as near:
        session = wire.Session(200, tai_utc=TAI_UTC)
        for seq in range(3):
            near.sendto(session.build(seq, tai_now(), UNKNOWN), (asked, at.getsockname()[1]))
            packet, whence = near.recvfrom(9000)
            assert whence[:2] == (asked, at.getsockname()[1])
            assert session.parse(packet, tai_now())["seq"] == seq


@pytest.mark.parametrize(
    ("bound", "asked"),
    [
        ("0.0.0.0", "127.255.255.255"),  # noqa: S104
        ("0.0.0.0", "255.255.255.255"),  # noqa: S104
        ("0.0.0.0", "224.0.0.1"),  # noqa: S104
        ("::", "127.255.255.255"),
        ("::", "255.255.255.255"),
    ],
)
def test_what_was_sent_to_many_is_not_answered(bound: str, asked: str) -> None:
    with udp(bound) as at, reflecting(at) as reflector, udp() as near:
        near.setsockopt(socket.SOL_SOCKET, socket.SO_BROADCAST, 1)
        near.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton("127.0.0.1"))
        port = at.getsockname()[1]
        session = wire.Session(200, tai_utc=TAI_UTC)
        near.sendto(session.build(0, tai_now(), UNKNOWN), (asked, port))
        with udp() as other:
            Client(other, ("127.0.0.1", port), session).ask()
        assert silent(near)
    counts = reflector.counters()
    assert (counts["foreign"], counts["sent"]) == (1, 1)


def test_what_was_sent_to_an_ipv6_group_is_not_answered() -> None:
    def make() -> tuple[socket.socket, socket.socket]:
        near = udp("fd99::1")
        near.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, socket.if_nametoindex("wire"))
        return udp("::"), near

    at, near = in_a_network_of_its_own(
        make,
        "ip link add wire type veth peer name other",
        "ip link set wire up",
        "ip addr add fd99::1/64 dev wire nodad",
    )
    with at, near, reflecting(at) as reflector:
        port = at.getsockname()[1]
        session = wire.Session(200, tai_utc=TAI_UTC)
        near.sendto(session.build(0, tai_now(), UNKNOWN), ("ff02::1", port))
        near.sendto(session.build(1, tai_now(), UNKNOWN), ("fd99::1", port))
        assert session.parse(near.recv(9000), tai_now())["sender_seq"] == 1
        assert silent(near)
    counts = reflector.counters()
    assert (counts["foreign"], counts["sent"]) == (1, 1)


def test_a_full_table_refuses_newcomers_and_keeps_its_sessions() -> None:
    with (
        udp() as at,
        reflecting(at, session_limit=2) as reflector,
        client(at, ssid=1) as one,
        client(at, ssid=2) as two,
        client(at, ssid=3) as three,
    ):
        assert (one.ask()["seq"], two.ask()["seq"]) == (0, 0)
        three.at.sendto(three.session.build(0, tai_now(), UNKNOWN), three.to)
        assert (one.ask()["seq"], two.ask()["seq"]) == (1, 1)
        assert silent(three.at)
        counts = reflector.counters()
    assert (counts["sessions"], counts["table_full"], counts["evicted"]) == (2, 1, 0)


def test_the_session_idle_longest_gives_way() -> None:
    with udp() as at, reflecting(at, session_limit=3, idle_ns=0) as reflector, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(client(at, ssid=ssid)) for ssid in range(1, 5)]
        for each in clients[:3]:
            each.ask()
        assert clients[0].ask()["seq"] == 1
        assert clients[3].ask()["seq"] == 0  # takes the place of number 1, the one idle longest
        assert clients[0].ask()["seq"] == 2
        assert clients[2].ask()["seq"] == 1
        assert clients[1].ask()["seq"] == 0  # takes the place of number 3
        assert clients[0].ask()["seq"] == 3
        assert clients[3].ask()["seq"] == 0  # takes the place of number 2
        assert [clients[k].ask()["seq"] for k in (0, 1, 3, 2)] == [4, 1, 1, 0]
        assert reflector.counters()["evicted"] == 4


def test_a_flood_of_sessions_takes_no_memory() -> None:
    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    rng = random.Random(1)
    with udp() as at, reflecting(at, session_limit=64, idle_ns=0) as reflector, client(at) as asking:
        asking.ask()
        size = 0
        for burst in range(400):
            for _ in range(50):
                packet = bytearray(asking.session.build(rng.getrandbits(32), tai_now(), UNKNOWN))
                packet[14:16] = rng.randbytes(2)
                asking.at.sendto(packet, asking.to)
            for _ in range(50):
                asking.at.recv(9000)
            if burst == 40:
                size = resident()
        assert resident() - size < 4 << 20
    counts = reflector.counters()
    assert counts["sessions"] == 64
    assert counts["evicted"] > 19_000
    assert counts["sent"] == 20_001


def test_two_reflectors_cannot_be_made_to_answer_each_other() -> None:
    with udp() as at, reflecting(at) as reflector, udp("127.0.0.2", at.getsockname()[1]) as twin:
        session = wire.Session(200, tai_utc=TAI_UTC)
        twin.sendto(session.build(0, tai_now(), UNKNOWN), at.getsockname())
        with client(at) as asking:
            asking.ask()
        assert silent(twin)
        assert reflector.counters()["loops_refused"] == 1


@pytest.mark.parametrize("stateful", [True, False], ids=["stateful", "stateless"])
@pytest.mark.parametrize("ntp_format", [False, True], ids=["ptp", "ntp"])
@pytest.mark.parametrize("key", [None, KEY], ids=["open", "authenticated"])
@pytest.mark.parametrize("apart_s", [0, 90_000], ids=["one time", "a day apart"])
def test_one_forged_packet_makes_no_two_reflectors_answer_each_other(
    key: bytes | None, ntp_format: bool, stateful: bool, apart_s: int
) -> None:
    ahead = clock.ClockModel(offset_ns=apart_s * SECOND)
    with udp() as one, udp() as two, udp() as near:
        session = wire.Session(260, key=key, ntp_format=ntp_format, tai_utc=TAI_UTC)
        two.sendto(session.build(0, tai_now(), UNKNOWN), one.getsockname())  # as if its source were forged
        with (
            reflecting(one, key=key, stateful=stateful) as first,
            reflecting(two, key=key, stateful=stateful, clock=ahead) as second,
        ):
            limit = time.monotonic() + 10
            while not first.counters()["loops_refused"] + second.counters()["loops_refused"]:
                assert time.monotonic() < limit
                time.sleep(0.001)
            Client(near, two.getsockname(), session).ask()
            Client(near, one.getsockname(), session).ask()  # whoever asks rightly is answered all the same
        counts = [each.counters() for each in (first, second)]
    assert sum(each["loops_refused"] for each in counts) == 1
    assert sum(each["sent"] for each in counts) - 2 in {1, 2}


@pytest.mark.parametrize(
    ("received_s", "sent_s", "refused"),
    [(0, 0, True), (3590, -3590, True), (3610, 0, False), (0, 3610, False), (None, 0, False), (0, None, False)],
)
@pytest.mark.parametrize("ptp", [False, True], ids=["ntp", "ptp"])
def test_only_what_has_both_times_of_a_reply_is_taken_for_one(
    received_s: int | None, sent_s: int | None, refused: bool, ptp: bool
) -> None:
    def stamp(away_s: int | None) -> bytes:
        if away_s is None:
            return bytes(8)
        at = tai_now() + away_s * SECOND
        return struct.pack("!Q", wire.to_ptp(at) if ptp else wire.to_ntp(at, TAI_UTC))

    with udp() as at, reflecting(at) as reflector, client(at) as asking:
        packet = bytearray(asking.session.build(0, tai_now(), UNKNOWN))
        packet[16:24], packet[28:36] = stamp(received_s), stamp(sent_s)
        asking.at.sendto(packet, asking.to)
        with client(at) as other:
            other.ask()
        assert silent(asking.at) is refused
        assert reflector.counters()["loops_refused"] == int(refused)


def test_random_octets_are_answered_or_counted_never_neither() -> None:
    rng = random.Random(2)
    with udp() as at, reflecting(at) as reflector, client(at, size=60, tlvs=()) as asking:
        valid = wire.Session(200, tai_utc=TAI_UTC).build(1, tai_now(), UNKNOWN)
        for _ in range(3000):
            packet = bytearray(valid[: rng.randrange(len(valid) + 1)])
            for _ in range(rng.randrange(6)):
                if packet:
                    packet[rng.randrange(len(packet))] = rng.randrange(256)
            asking.at.sendto(packet, asking.to)
        asking.at.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            while True:
                asking.at.recv(9000)
        asking.at.settimeout(5)
        limit = time.monotonic() + 10
        while reflector.counters()["received"] < 3000 and time.monotonic() < limit:
            time.sleep(0.01)
    counts = reflector.counters()
    assert counts["received"] == 3000
    refused = sum(counts[cause] for cause in wire.CAUSES[1:])
    assert refused > 100
    assert counts["sent"] + refused + counts["send_errors"] == 3000


def test_larger_than_a_jumbo_frame_is_truncated_and_counted() -> None:
    with udp() as at, reflecting(at) as reflector, client(at) as asking:
        asking.at.sendto(bytes(9300), asking.to)
        asking.ask()
        assert reflector.counters()["truncated"] == 1


def test_what_is_said_of_the_clock_can_change_while_running() -> None:
    with udp() as at, reflecting(at) as reflector, client(at) as asking:
        asking.ask()
        reflector.error_estimate = UNKNOWN
        reflector.facts = CLOCK_KNOWN
        reflector.sync_source = 4
        reply = asking.ask()
        assert reply["error_estimate"] == UNKNOWN
        assert reply["facts"] is not None
        assert reply["facts"] & CLOCK_KNOWN
        assert reply["sync_in"] == 4
        assert (reflector.error_estimate, reflector.facts, reflector.sync_source) == (UNKNOWN, CLOCK_KNOWN, 4)
        for name in ("error_estimate", "facts", "sync_source"):
            with pytest.raises(ValueError, match="65536"):
                setattr(reflector, name, 65536)


def test_what_interfaces_stand_on_is_looked_at_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []

    def real(_fd: int, index: int) -> tuple[stack.Doubt, ...]:
        looked.append(index)
        return ()

    monkeypatch.setattr(timestamping, "doubts", real)
    with udp() as at, reflecting(at) as reflector, client(at) as asking:
        assert reflector.look() == ()
        assert [said & VIRTUAL for _ in range(3) if (said := asking.ask()["facts"]) is not None] == [0, 0, 0]
        assert looked == [1]  # once, not for every packet
        monkeypatch.undo()
        assert reflector.look() == (stack.Doubt("lo", "lo"),)
        assert [said & VIRTUAL for _ in range(3) if (said := asking.ask()["facts"]) is not None] == [VIRTUAL] * 3
        monkeypatch.setattr(timestamping, "doubts", real)
        assert reflector.look() == ()
        assert [said & VIRTUAL for _ in range(3) if (said := asking.ask()["facts"]) is not None] == [0, 0, 0]


def test_an_interface_that_nobody_can_tell_of_is_not_real(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(fd: int, index: int) -> tuple[stack.Doubt, ...]:
        raise OSError(12, "no memory")

    monkeypatch.setattr(timestamping, "doubts", broken)
    with udp() as at, reflecting(at), client(at) as asking:
        facts = asking.ask()["facts"]
    assert facts is not None
    assert facts & VIRTUAL


def test_an_injected_clock_is_another_clock_and_says_so() -> None:
    shift = 12 * SECOND
    with udp() as at, reflecting(at, clock=clock.ClockModel(offset_ns=shift)) as reflector, client(at) as asking:
        before = tai_now()
        first, second = asking.ask(), asking.ask()
        after = tai_now()
    for stamp in (first["t2"], first["t3"], second["follow_up_t3"]):
        assert stamp is not None
        assert before <= stamp - shift <= after
    assert second["facts"] is not None
    assert second["facts"] & INJECTED
    assert second["clock_id"] == reflector.clock_id != clock.clock_id()


RECORD = np.dtype(
    [
        ("t2", "<i8"), ("t3", "<i8"), ("told_t3", "<i8"), ("session", "<u4"), ("seq", "<u4"), ("far_seq", "<u4"),
        ("told_seq", "<u4"), ("address", "V16"), ("port", "<u2"), ("ssid", "<u2"), ("listener", "u1"),
        ("t2_source", "u1"), ("told_source", "u1"), ("spare", "u1"),
    ]
)  # fmt: skip


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_every_reply_is_noted_as_it_was_said(host: str) -> None:
    with udp(host) as at, reflecting(at, record=8) as reflector, client(at, host, size=260, ssid=9) as asking:
        taken, replies = b"", []
        for batch in range(5):
            replies += [asking.ask(100 + 3 * batch + k) for k in range(3)]
            taken += reflector.take()
        port = asking.at.getsockname()[1]
    taken += reflector.take()  # the last reply may have come before it was noted
    assert reflector.take() == b""
    rows = np.frombuffer(taken, RECORD)
    assert rows["seq"].tolist() == [reply["sender_seq"] for reply in replies]
    assert rows["far_seq"].tolist() == [reply["seq"] for reply in replies]
    assert rows["t2"].tolist() == [reply["t2"] for reply in replies]
    assert rows["t3"].tolist() == [reply["t3"] for reply in replies]
    told = [(reply["follow_up_seq"], reply["follow_up_t3"]) for reply in replies if reply["follow_up_t3"] is not None]
    has = rows["told_t3"] != -(1 << 63)
    assert list(zip(rows["told_seq"][has].tolist(), rows["told_t3"][has].tolist(), strict=True)) == told
    assert set(rows["t2_source"]) == {2}
    assert set(rows["told_source"][has]) == {2}
    assert set(rows["port"]) == {port}
    assert set(rows["ssid"]) == {9}
    said = ipaddress.IPv6Address(rows["address"][0].tobytes())
    assert (said.ipv4_mapped or said) == ipaddress.ip_address(host)
    assert reflector.counters()["unrecorded"] == 0


def test_a_full_memory_of_replies_costs_no_answer_and_is_counted() -> None:
    with udp() as at, reflecting(at, record=4) as reflector, client(at) as asking:
        for _ in range(6):
            asking.ask()
        while reflector.counters()["unrecorded"] < 2:  # a reply comes before it is noted
            time.sleep(0.001)
        kept = np.frombuffer(reflector.take(), RECORD)
        asking.ask()
    after = np.frombuffer(reflector.take(), RECORD)
    counts = reflector.counters()
    assert kept["far_seq"].tolist() == [0, 1, 2, 3]
    assert after["far_seq"].tolist() == [6]
    assert (counts["unrecorded"], counts["sent"]) == (2, 7)


def test_a_reflector_that_notes_nothing_hands_out_nothing() -> None:
    with udp() as at, reflecting(at) as reflector, client(at) as asking:
        asking.ask()
        assert reflector.take() == b""


def test_each_run_has_its_own_nonce() -> None:
    with udp() as at, client(at) as asking:
        said = []
        for _ in range(2):
            with reflecting(at) as reflector:
                assert reflector.clock_id == clock.clock_id()
                said.append((reflector.nonce, asking.ask()["nonce"]))
    assert said[0][0] == said[0][1] != said[1][1] == said[1][0]


def test_several_sockets_are_served_by_one_reflector() -> None:
    with udp() as one, udp("::1") as two:
        reflector = Reflector([one.fileno(), two.fileno()], tai_utc=TAI_UTC, error_estimate=ESTIMATE)
        thread = threading.Thread(target=reflector.run)
        thread.start()
        try:
            with client(one) as v4, client(two, "::1") as v6:
                assert [each.ask()["seq"] for each in (v4, v6, v4, v6)] == [0, 0, 1, 1]
        finally:
            reflector.stop()
            thread.join()


def test_stopped_before_it_runs_it_does_not_run() -> None:
    with udp() as at:
        reflector = Reflector([at.fileno()], tai_utc=TAI_UTC, error_estimate=ESTIMATE)
        reflector.stop()
        reflector.run()


PROGRAM = """
import signal, socket, sys
from fastpath.reflector import Reflector
at = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
at.bind(("127.0.0.1", 0))
reflector = Reflector([at.fileno()], tai_utc=37, error_estimate=1)
if sys.argv[1] == "handler":
    signal.signal(signal.SIGTERM, lambda *_: reflector.stop())
else:
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell's background job would ignore it
print(at.getsockname()[1], flush=True)
try:
    reflector.run()
except KeyboardInterrupt:
    print("interrupted", flush=True)
print(reflector.counters()["sent"], flush=True)
"""


@pytest.mark.parametrize(
    ("how", "number", "said"), [("handler", signal.SIGTERM, ["1"]), ("plain", signal.SIGINT, ["interrupted", "1"])]
)
def test_signals_reach_a_running_reflector(how: str, number: signal.Signals, said: list[str]) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, how], stdout=subprocess.PIPE, text=True, cwd=os.getcwd()  # noqa: PTH109
    ) as program:  # fmt: skip
        try:
            assert program.stdout is not None
            port = int(program.stdout.readline())
            with udp() as near:
                Client(near, ("127.0.0.1", port), wire.Session(200, tai_utc=TAI_UTC)).ask()
            program.send_signal(number)
            out, _ = program.communicate(timeout=20)
        finally:
            program.kill()
    assert out.split() == said
    assert program.returncode == 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"session_limit": 0}, "session_limit 0"),
        ({"error_estimate": 1 << 16}, "16 bits"),
        ({"facts": -1}, "16 bits"),
        ({"sync_source": 256}, "sync_source"),
        ({"record": 48}, "record 48"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change: dict[str, int], said: str) -> None:
    with udp() as at:
        with pytest.raises(ValueError, match=said):
            Reflector([at.fileno()], **{"tai_utc": TAI_UTC, "error_estimate": ESTIMATE, **change})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="socket"):
            Reflector([], tai_utc=TAI_UTC, error_estimate=ESTIMATE)


def test_a_short_twamp_light_packet_is_answered_with_the_base() -> None:
    with udp() as at, reflecting(at), udp() as near:
        near.sendto(struct.pack("!IQH", 5, wire.to_ntp(tai_now(), TAI_UTC), 0x0001), at.getsockname())
        reply = near.recv(9000)
    assert len(reply) == 44
    assert struct.unpack_from("!I", reply, 24)[0] == 5
