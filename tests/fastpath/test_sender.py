"""The sender against our reflector and against peers that misbehave, over the loopback with known truth."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import shutil
import socket
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from fastpath import clock, timestamping, wire
from fastpath.reflector import Reflector
from fastpath.sender import Sender
from harness import samples

TAI_UTC = 37
MS = 1_000_000
SECOND = 1_000 * MS
UNKNOWN = wire.encode_error_estimate(None, False, True)
SO_TIMESTAMPING = 37
T3_KERNEL = 16

Rows = dict[str, npt.NDArray[np.int64]]


def udp(host: str = "127.0.0.1") -> socket.socket:
    made = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    made.bind((host, 0))
    return made


@contextlib.contextmanager
def reflecting(at: socket.socket, **options: object) -> Iterator[Reflector]:
    """Our reflector in a thread on socket ``at``."""
    reflector = Reflector([at.fileno()], tai_utc=TAI_UTC, error_estimate=UNKNOWN, **options)  # type: ignore[arg-type]
    thread = threading.Thread(target=reflector.run)
    thread.start()
    try:
        yield reflector
    finally:
        reflector.stop()
        thread.join()


Answer = Callable[[bytes, wire.Session, int], list[bytes]]


@dataclass
class Peer:
    """A reflector in Python that answers as ``answer`` says: a list of packets for each request."""

    at: socket.socket
    session: wire.Session
    answer: Answer
    requests: list[bytes] = field(default_factory=list)

    @contextlib.contextmanager
    def running(self) -> Iterator[Peer]:
        ending = threading.Event()
        self.at.settimeout(0.05)

        def serve() -> None:
            while not ending.is_set():
                try:
                    request, whence = self.at.recvfrom(9000)
                except TimeoutError:
                    continue
                self.requests.append(request)
                for reply in self.answer(request, self.session, len(self.requests) - 1):
                    self.at.sendto(reply, whence)

        thread = threading.Thread(target=serve)
        thread.start()
        try:
            yield self
        finally:
            ending.set()
            thread.join()


def tai_now() -> int:
    return clock.now_realtime() + TAI_UTC * SECOND


def honest(request: bytes, session: wire.Session, number: int, **changes: int | None) -> bytes:
    """A stateful reply with user stamps, as `Session.reflect` makes it, with changes."""
    now = tai_now()
    state: dict[str, int | None] = {"t2": now, "t3": now + 1, "error_estimate": UNKNOWN, "seq": number, **changes}
    return session.reflect(request, **state)  # type: ignore[arg-type]


def seq_of(request: bytes) -> int:
    return int(struct.unpack_from("!I", request)[0])


@contextlib.contextmanager
def sending(
    to: tuple[str, int], n: int, *, rate: int = 1000, flows: int = 1, t_max_ns: int = SECOND, **options: object
) -> Iterator[tuple[Sender, list[socket.socket]]]:
    """A sender of ``n`` packets to ``to`` with its sockets, not started; ended whatever happens."""
    session = {k: options.pop(k) for k in ("key", "tlvs", "ssid", "ntp_format") if k in options}
    size = options.pop("size", 200)
    with contextlib.ExitStack() as stack:
        sockets = [stack.enter_context(udp(to[0])) for _ in range(flows)]
        for each in sockets:
            each.connect(to)
        made = {"capacity": 4096, "pace": "sleep", "error_estimate": UNKNOWN, "tai_utc": TAI_UTC, **options}
        sender = Sender(
            [each.fileno() for each in sockets],
            [wire.Session(size, tai_utc=TAI_UTC, **session) for _ in sockets],  # type: ignore[arg-type]
            np.arange(n, dtype=np.int64) * (SECOND // rate),
            t_max_ns=t_max_ns,
            **made,  # type: ignore[arg-type]
        )
        try:
            yield sender, sockets
        finally:
            sender.stop()
            assert sender.join(30)


def collect(sender: Sender, *, start: bool = True) -> Rows:
    """Start it, take its rows until it is done."""
    if start:
        sender.start()
    parts = []
    while not sender.done:
        time.sleep(0.01)
        parts.append(sender.take())
    parts.append(sender.take())
    rows = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    assert tuple(rows) == samples.COLUMNS
    assert all(column.dtype == np.int64 for column in rows.values())
    return rows


def sources(rows: Rows, stamp: int) -> set[int]:
    return set(samples.source(rows["flags"], stamp).tolist())


def assert_in_order(rows: Rows, n: int, flows: int) -> None:
    index = np.arange(n)
    assert np.array_equal(rows["flow"], index % flows)
    assert np.array_equal(rows["seq"], index // flows)
    assert np.all(np.diff(rows["scheduled"]) >= 0)


KEY = bytes(range(32))


@pytest.mark.parametrize(
    ("host", "options"),
    [
        ("127.0.0.1", {}),
        ("::1", {}),
        ("127.0.0.1", {"key": KEY, "size": 260}),
        ("127.0.0.1", {"caller_id": False}),
        ("::1", {"caller_id": False}),
        ("127.0.0.1", {"pace": "spin", "ntp_format": True}),
    ],
    ids=["ipv4", "ipv6", "authenticated", "looped-back-ipv4", "looped-back-ipv6", "spin-ntp"],
)
def test_every_packet_is_stamped_four_times_by_the_kernel(host: str, options: dict[str, object]) -> None:
    n, flows = 302, 4
    with (
        udp(host) as far,
        reflecting(far, key=options.get("key"), caller_id=options.get("caller_id")) as reflector,
        sending(far.getsockname()[:2], n, flows=flows, **options) as (sender, _),  # type: ignore[arg-type]
    ):
        rows = collect(sender)
        counts = sender.counters()
        there = sender.far()
        planes = sender.planes()
        live = sender.live()
    assert_in_order(rows, n, flows)
    assert counts["sent"] == counts["received"] == counts["scheduled"] == counts["follow_ups"] == n
    assert (counts["lost"], counts["unstamped_tx"], counts["duplicated"], counts["skipped"]) == (0, 0, 0, 0)
    assert all(counts[cause] == 0 for cause in wire.CAUSES[1:])
    for stamp in (1, 2, 3, 4):
        assert sources(rows, stamp) == {samples.KERNEL}
        assert planes[f"t{stamp}"] == {"user": 0, "kernel": n, "nic": 0}
    for earlier, later in (("t1", "t2"), ("t2", "t3"), ("t3", "t4")):
        assert np.all(rows[earlier] <= rows[later])
    assert rows["t1"][0] >= (sender.started_ns + TAI_UTC * SECOND)
    wanted = samples.SENT | samples.RECEIVED | samples.FAR_VIRTUAL
    assert set((rows["flags"] & ~samples.SENT_LATE & ~0xFF).tolist()) == {wanted}
    assert set(rows["copies"].tolist()) == {1}
    assert set(rows["ttl"].tolist()) == {255}
    ee = wire.encode_error_estimate(None, False, "ntp_format" not in options)
    assert {int(v) & ~0x4000 for v in rows["error_estimate"]} == {ee & ~0x4000}
    for flow in range(flows):
        mine = rows["flow"] == flow
        count = int(mine.sum())
        assert np.array_equal(rows["far_seq"][mine], np.arange(count) + 2)  # after two warm-up packets
        assert np.array_equal(rows["arrival"][mine], np.arange(count))
        answer = there[flow]
        assert answer is not None
        assert answer["stateful"] is True
        assert answer["nonce"] == reflector.nonce
        assert answer["clock_id"] == clock.clock_id()
        assert answer["r_rxc"] == answer["r_txc"]
    assert live[:3] == (n, n, 0)
    p50, p99, largest = live[3:]
    assert p50 is not None
    assert p99 is not None
    assert largest is not None
    assert 0 < p50 <= p99 <= largest


def true_time(model: clock.ClockModel, reading: int) -> int:
    """The inverse of a model, exact to a ns: each step leaves 50 ppm of the error."""
    true = reading
    for _ in range(8):
        true -= model.apply(true) - reading
    assert abs(model.apply(true) - reading) <= 1
    return true


@pytest.mark.parametrize(
    "near", [{}, {"offset_ns": 5_000_000_000}, {"offset_ns": -7_000_001, "skew_ppb": 50_000, "origin_ns": SECOND}]
)
@pytest.mark.parametrize("far", [{}, {"offset_ns": -3 * SECOND, "step_ns": 11 * SECOND, "step_at_ns": 1}])
def test_injected_clock_errors_shift_the_directions_by_exactly_that(near: dict[str, int], far: dict[str, int]) -> None:
    near_clock, far_clock = clock.ClockModel(**near), clock.ClockModel(**far)
    with (
        udp() as at,
        reflecting(at, clock=far_clock),
        sending(at.getsockname(), 100, clock=near_clock, t_max_ns=SECOND // 2) as (sender, _),
    ):
        rows = collect(sender)
    assert sender.counters()["received"] == 100
    assert bool(rows["flags"][0] & samples.FAR_INJECTED) is far_clock.injected
    # All four stamps are of one true clock: undo each end's error and they are in causal order again, within the
    # microseconds of a loopback.
    undo = {
        stamp: [true_time(model, value) for value in rows[stamp].tolist()]
        for stamp, model in (("t1", near_clock), ("t2", far_clock), ("t3", far_clock), ("t4", near_clock))
    }
    for t1, t2, t3, t4 in zip(undo["t1"], undo["t2"], undo["t3"], undo["t4"], strict=True):
        assert t1 <= t2 + 1
        assert t2 <= t3
        assert t3 <= t4 + 1
        assert t4 - t1 < SECOND // 2


@pytest.mark.parametrize("quietly", [False, True])
def test_a_lying_reflector_misstates_t3_alone(quietly: bool) -> None:
    lie = 300 * MS
    with (
        udp() as at,
        reflecting(at, lie_ns=lie, lie_quietly=quietly),
        sending(at.getsockname(), 50) as (sender, _),
    ):
        rows = collect(sender)
    assert sources(rows, 3) == {samples.KERNEL}
    assert np.all(rows["t1"] <= rows["t2"])
    assert np.all(rows["t2"] <= rows["t3"] - lie)
    assert np.all(rows["t3"] - lie <= rows["t4"])
    assert bool(rows["flags"][0] & samples.FAR_INJECTED) is not quietly


def test_a_stateless_reflector_has_no_sequence_nor_exact_t3() -> None:
    with udp() as at, reflecting(at, stateful=False), sending(at.getsockname(), 50) as (sender, _):
        rows = collect(sender)
    assert sender.counters()["received"] == 50
    assert set(rows["far_seq"].tolist()) == {-1}
    assert sources(rows, 3) == {samples.USER}
    assert sources(rows, 2) == {samples.KERNEL}


def test_a_stateful_reflector_that_lost_nothing_is_not_taken_for_stateless() -> None:
    with udp() as at, reflecting(at), sending(at.getsockname(), 50, warm_up=0) as (sender, _):
        rows = collect(sender)
    assert np.array_equal(rows["far_seq"], np.arange(50))  # equal to the sender's own: told by Follow-Up Telemetry


def test_a_slow_flow_waits_for_the_stamp_in_its_next_reply() -> None:
    with udp() as at, reflecting(at), udp() as near:
        near.connect(at.getsockname())
        sender = Sender(
            [near.fileno()], [wire.Session(200, tai_utc=TAI_UTC)], [0, SECOND, 2 * SECOND], capacity=16,
            t_max_ns=300 * MS, pace="sleep", tai_utc=TAI_UTC, error_estimate=UNKNOWN,
        )  # fmt: skip
        rows = collect(sender)
    assert sources(rows, 3) == {samples.KERNEL}


@pytest.mark.skipif(not timestamping.caller_id_works(), reason="this kernel takes no caller-chosen stamp id")
def test_packets_the_socket_refuses_are_rows_that_were_not_sent() -> None:
    with udp() as at, sending(at.getsockname(), 30, warm_up=0, t_max_ns=200 * MS) as (sender, sockets):
        sockets[0].setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, 0)  # an id is asked for and refused: EINVAL
        rows = collect(sender)
    counts = sender.counters()
    assert (counts["scheduled"], counts["sent"], counts["send_errors"], counts["lost"]) == (30, 0, 30, 0)
    assert counts["last_errno"] == errno.EINVAL
    assert set(rows["flags"].tolist()) == {samples.NONE}
    assert set(rows["t1"].tolist()) == {samples.MISSING}


@pytest.mark.skipif(not timestamping.caller_id_works(), reason="this kernel takes no caller-chosen stamp id")
def test_direct_measurement_counts_what_left_and_nothing_else() -> None:
    """RFC 8972 4.5: S_TxC is the number of packets transmitted, so it equals what the far end received."""
    with udp() as at:
        peer = Peer(at, wire.Session(200, tai_utc=TAI_UTC), lambda *_: [])
        with peer.running(), sending(at.getsockname(), 150, rate=500) as (sender, sockets):
            sockets[0].setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, 0)  # warm-ups and rows are refused: EINVAL
            sender.start()
            while sender.counters()["send_errors"] < 5:
                time.sleep(0.001)
            timestamping.enable(sockets[0].fileno())
            collect(sender, start=False)
            counts = sender.counters()
    assert counts["send_errors"] >= 5
    assert counts["warm_ups"] == 0
    assert len(peer.requests) == counts["sent"] + counts["flushes"]
    assert [peer.session.inspect(each)[3] for each in peer.requests] == list(range(1, len(peer.requests) + 1))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"], ids=["ipv4", "ipv6"])
def test_each_icmp_error_is_counted_once_and_costs_no_other_packet(host: str) -> None:
    with udp(host) as gone:
        to = gone.getsockname()[:2]
    with sending(to, 400, rate=20_000, t_max_ns=SECOND // 2) as (sender, _):
        rows = collect(sender)
    counts = sender.counters()
    assert counts["send_errors"] == 0
    assert counts["refused"] == counts["sent"] + counts["warm_ups"] + counts["flushes"]
    assert counts["lost"] == counts["sent"] > 0
    assert np.count_nonzero(rows["flags"] & samples.SENT) == counts["sent"]


PREFIX = "millicert-send"


@dataclass(frozen=True)
class Cable:
    """Two network namespaces and the veth pair between them."""

    names: tuple[str, str]
    hosts: dict[str, tuple[str, str]]
    """Addresses of the near and the far end by family."""

    def udp(self, end: int, family: str) -> socket.socket:
        """A UDP socket in the namespace of an end: it stays there when the thread that entered it is gone."""
        made: list[socket.socket] = []

        def enter() -> None:
            libc = ctypes.CDLL(None, use_errno=True)
            with Path(f"/run/netns/{self.names[end]}").open("rb") as namespace:
                if libc.setns(namespace.fileno(), 0x40000000):  # CLONE_NEWNET
                    return
            made.append(udp(self.hosts[family][end]))

        thread = threading.Thread(target=enter)
        thread.start()
        thread.join()
        return made[0]

    def settle(self, family: str) -> None:
        """Return when the ends know each other: IPv6 is not ready at once, and asks again after 1 s alone."""
        with self.udp(1, family) as far, self.udp(0, family) as near:
            far.settimeout(0.1)
            for _ in range(100):
                near.sendto(b"there?", far.getsockname())
                with contextlib.suppress(TimeoutError):
                    far.sendto(b"here", far.recvfrom(10)[1])
                    return
        pytest.fail(f"no {family} packet passes the cable")

    def near(self, command: str) -> None:
        """Run a command of iproute2 for the near end: `link` and `qdisc` of the interface "cable"."""
        tool, rest = command.split(" ", 1)
        subprocess.run([tool, "-n", self.names[0], *rest.split(" ")], check=True)


@pytest.fixture
def cable() -> Iterator[Cable]:
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tc") is None:
        pytest.skip("network namespaces need root, ip and tc (iproute2)")
    for path in Path("/run/netns").glob(f"{PREFIX}-*"):  # what a test run that was killed left behind
        if not Path(f"/proc/{path.name.split('-')[2]}").exists():
            subprocess.run(["ip", "netns", "delete", path.name], check=False)
    near, far = names = (f"{PREFIX}-{os.getpid()}-near", f"{PREFIX}-{os.getpid()}-far")
    hosts = {"ipv4": ("10.99.0.1", "10.99.0.2"), "ipv6": ("fd99::1", "fd99::2")}
    try:
        for name in names:
            added = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
            if added.returncode:
                pytest.skip(f"no network namespace can be made here: {added.stderr.strip()}")
        command = f"ip link add cable netns {near} type veth peer name cable netns {far}"
        subprocess.run(command.split(" "), check=True)
        for end, name in enumerate(names):
            for said in (
                f"address add {hosts['ipv4'][end]}/24 dev cable",
                f"address add {hosts['ipv6'][end]}/64 dev cable nodad",
                "link set cable up",
            ):
                subprocess.run(["ip", "-n", name, *said.split(" ")], check=True)
        made = Cable(names, hosts)
        for family in hosts:
            made.settle(family)
        yield made
    finally:
        for name in names:
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)


@contextlib.contextmanager
def sending_over(cable: Cable, family: str, far: socket.socket, n: int, size: int = 400) -> Iterator[Sender]:
    """A sender of ``n`` packets at 1 kpps over the cable, which are not to be fragmented; not started."""
    level, option = (socket.IPPROTO_IP, 10) if family == "ipv4" else (socket.IPPROTO_IPV6, 23)  # …_MTU_DISCOVER
    with cable.udp(0, family) as near:
        near.setsockopt(level, option, 2)
        near.connect(far.getsockname())
        yield Sender(
            [near.fileno()], [wire.Session(size, tai_utc=TAI_UTC)], np.arange(n, dtype=np.int64) * MS, capacity=1024,
            t_max_ns=SECOND // 2, pace="sleep", tai_utc=TAI_UTC, error_estimate=UNKNOWN,
        )  # fmt: skip


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_a_full_queue_of_our_own_host_is_no_loss_of_the_link(cable: Cable, family: str) -> None:
    """3.5 Mbit/s into a queue that lets 1 Mbit/s through: what has no room stays here, and is SKIPPED."""
    cable.near("tc qdisc replace dev cable root tbf rate 1mbit burst 1000 limit 2000")
    n = 300
    with (
        cable.udp(1, family) as far,
        reflecting(far) as reflector,
        sending_over(cable, family, far, n) as sender,
    ):
        rows = collect(sender)
        received = reflector.counters()["received"]
    counts = sender.counters()
    assert counts["lost"] == 0
    assert counts["sent"] + counts["skipped"] == n
    assert counts["skipped"] > 0
    assert received == counts["sent"] + counts["warm_ups"] + counts["flushes"]
    assert (counts["refused"], counts["send_errors"]) == (0, 0)
    skipped = rows["flags"] & samples.SKIPPED != 0
    assert set(rows["flags"][skipped].tolist()) == {samples.SKIPPED}
    assert set(rows["t1"][skipped].tolist()) == {samples.MISSING}
    assert np.all(rows["flags"][~skipped] & samples.RECEIVED)
    assert np.all(rows["t1"][~skipped] <= rows["t2"][~skipped])


@pytest.mark.parametrize("family", ["ipv4", "ipv6"])
def test_what_our_own_host_calls_too_long_is_no_icmp_error_and_no_stamp(cable: Cable, family: str) -> None:
    cable.near("ip link set cable mtu 1280")
    with cable.udp(1, family) as far, sending_over(cable, family, far, 30, size=1400) as sender:
        rows = collect(sender)
    counts = sender.counters()
    assert (counts["sent"], counts["send_errors"], counts["refused"], counts["lost"]) == (0, 30, 0, 0)
    assert counts["last_errno"] == errno.EMSGSIZE
    assert set(rows["t1"].tolist()) == {samples.MISSING}


def twamp_light(request: bytes, *, t2: int, length: int = 44) -> bytes:
    """A foreign reflector's answer: no TLVs, T3 = T2, sequence number copied."""
    return (
        request[:4] + struct.pack("!QHH", t2, 0x8001, 0) + struct.pack("!Q", t2) + request[:14] + bytes(2)
        + bytes([250]) + bytes(length)
    )[:length]  # fmt: skip


def test_a_foreign_reflector_without_tlvs_is_used_for_what_it_says() -> None:
    truth: list[int] = []

    def answer(request: bytes, _session: wire.Session, _number: int) -> list[bytes]:
        truth.append(tai_now())
        return [twamp_light(request, t2=wire.to_ntp(truth[-1], TAI_UTC))]

    with udp() as at:
        peer = Peer(at, wire.Session(44, tai_utc=TAI_UTC, tlvs=()), answer)
        with peer.running(), sending(at.getsockname(), 40, size=44, tlvs=(), ntp_format=True) as (sender, _):
            rows = collect(sender)
    assert sender.counters()["received"] == 40
    assert np.array_equal(rows["t2"], np.array(truth[2:]))
    assert np.array_equal(rows["t3"], rows["t2"])
    assert sources(rows, 2) == sources(rows, 3) == {samples.USER}
    assert set(rows["ttl"].tolist()) == {250}
    assert set(rows["far_seq"].tolist()) == {-1}
    assert np.all(rows["flags"] & samples.FAR_SYNCHRONISED)


def test_a_reflector_without_a_clock_leaves_its_stamps_missing() -> None:
    def answer(request: bytes, _session: wire.Session, _number: int) -> list[bytes]:
        return [twamp_light(request, t2=0)]

    with udp() as at:
        peer = Peer(at, wire.Session(44, tai_utc=TAI_UTC, tlvs=()), answer)
        with peer.running(), sending(at.getsockname(), 10, size=44, tlvs=()) as (sender, _):
            rows = collect(sender)
    assert sender.counters()["received"] == 10
    assert set(rows["t2"].tolist()) == set(rows["t3"].tolist()) == {samples.MISSING}
    assert sources(rows, 2) == sources(rows, 3) == {samples.NONE}


def test_hostile_replies_are_counted_by_cause_and_change_no_row() -> None:
    n = 30

    def answer(request: bytes, session: wire.Session, number: int) -> list[bytes]:
        good = honest(request, session, number)
        wrong_hmac = good[:96] + bytes([good[96] ^ 1]) + good[97:]
        unsigned = wire.Session(260, key=KEY, tai_utc=TAI_UTC)
        forged = [
            honest(unsigned.build(seq, t1, UNKNOWN), session, number)
            for seq, t1 in ((seq_of(request) + 1_000_000, tai_now()), (seq_of(request), 12345 * SECOND))
        ]
        estimate = honest(request, session, number, error_estimate=0x4000)
        return [good[:50], good + b"\0", wrong_hmac, *forged, estimate, good]

    with udp() as at:
        peer = Peer(at, wire.Session(260, key=KEY, tai_utc=TAI_UTC), answer)
        with peer.running(), sending(at.getsockname(), n, size=260, key=KEY, warm_up=0) as (sender, _):
            rows = collect(sender)
            counts = sender.counters()
            answered = len(peer.requests)
    assert answered >= n  # flush packets are answered the same way
    assert counts["received"] == n
    assert set(rows["copies"].tolist()) == {1}
    wanted = {"short": 1, "size": 1, "hmac": 1, "not_sent": 2, "error_estimate": 1}
    for cause in wire.CAUSES[1:]:
        assert counts[cause] >= wanted.get(cause, 0) * n
        assert counts[cause] <= wanted.get(cause, 0) * answered


def test_another_sessions_ssid_is_refused_and_none_is_not() -> None:
    def answer(request: bytes, _session: wire.Session, number: int) -> list[bytes]:
        reply = honest(request, wire.Session(44, tai_utc=TAI_UTC, tlvs=()), number)
        ssid = struct.pack("!H", 0 if number % 2 else 77)
        return [reply[:14] + ssid + reply[16:]]

    with udp() as at:
        peer = Peer(at, wire.Session(44, tai_utc=TAI_UTC, tlvs=()), answer)
        with (
            peer.running(),
            sending(at.getsockname(), 20, size=44, tlvs=(), ssid=5, warm_up=0, t_max_ns=SECOND // 2) as (sender, _),
        ):
            collect(sender)
    assert (sender.counters()["received"], sender.counters()["ssid"]) == (10, 10)


def test_copies_are_counted_and_the_first_one_stays() -> None:
    def answer(request: bytes, session: wire.Session, number: int) -> list[bytes]:
        first = honest(request, session, 10 * number + 5, facts=T3_KERNEL)
        follow = {"follow_up_seq": 10 * number + 5, "follow_up_t3": tai_now(), "follow_up_method": 2}
        return [first, first, honest(request, session, 10 * number + 6, facts=T3_KERNEL, **follow)]

    with udp() as at:
        peer = Peer(at, wire.Session(200, tai_utc=TAI_UTC), answer)
        with peer.running(), sending(at.getsockname(), 20, warm_up=0) as (sender, _):
            rows = collect(sender)
    counts = sender.counters()
    assert (counts["received"], counts["duplicated"]) == (20, 40)
    assert (counts["duplicated_backward"], counts["duplicated_forward"]) == (20, 20)
    assert set(rows["copies"].tolist()) == {3}
    assert np.array_equal(rows["far_seq"], 10 * np.arange(20) + 5)
    assert np.array_equal(rows["arrival"], 3 * np.arange(20))
    assert sources(rows, 3) == {samples.KERNEL}  # the copy's reply told the first one's send time


def test_replies_after_t_max_are_late_and_then_replays() -> None:
    held: list[bytes] = []

    def answer(request: bytes, session: wire.Session, number: int) -> list[bytes]:
        if number < 10:
            held.append(honest(request, session, number))
            return []
        return [*held, *held]

    with udp() as at:
        peer = Peer(at, wire.Session(200, tai_utc=TAI_UTC, tlvs=()), answer)
        with peer.running(), udp() as near:
            near.connect(at.getsockname())
            offsets = np.array([*range(0, 10 * MS, MS), SECOND], dtype=np.int64)
            sender = Sender(
                [near.fileno()], [wire.Session(200, tai_utc=TAI_UTC, tlvs=())], offsets, capacity=64,
                t_max_ns=300 * MS, pace="sleep", tai_utc=TAI_UTC, error_estimate=UNKNOWN, warm_up=0,
            )  # fmt: skip
            rows = collect(sender)
    counts = sender.counters()
    assert len(rows["t1"]) == 11
    assert (counts["received"], counts["late_replies"], counts["replay"]) == (0, 10, 10)
    assert counts["lost"] == 11
    assert not np.any(rows["flags"] & samples.RECEIVED)
    assert set(rows["copies"].tolist()) == {0}
    assert set(rows["t4"].tolist()) == {samples.MISSING}
    assert set(rows["arrival"].tolist()) == {-1}


def test_replies_that_come_when_other_rows_have_their_memory_are_late_and_then_replays() -> None:
    """A far end that stood still answers at once what it was asked meanwhile: none of that was lost on the way back."""
    held: list[bytes] = []
    offsets = np.array([*range(0, 10 * MS, MS), *[SECOND] * 32, 2 * SECOND], dtype=np.int64)

    def answer(request: bytes, session: wire.Session, number: int) -> list[bytes]:
        if seq_of(request) < 10:
            held.append(honest(request, session, number))
        if seq_of(request) < len(offsets) - 1:
            return []
        (sent_s,) = struct.unpack_from("!I", held[0], 28)
        other = held[0][:28] + struct.pack("!I", sent_s - 100) + held[0][32:]
        return [other, *held, *held]

    with udp() as at, udp() as near:
        near.connect(at.getsockname())
        with Peer(at, wire.Session(200, tai_utc=TAI_UTC, tlvs=()), answer).running():
            sender = Sender(
                [near.fileno()], [wire.Session(200, tai_utc=TAI_UTC, tlvs=())], offsets, capacity=32,
                t_max_ns=500 * MS, pace="sleep", tai_utc=TAI_UTC, error_estimate=UNKNOWN, warm_up=0,
            )  # fmt: skip
            rows = collect(sender)
    counts = sender.counters()
    assert len(held) > 0
    assert (counts["received"], counts["late_replies"], counts["replay"]) == (0, len(held), len(held) + 1)
    assert not np.any(rows["flags"] & samples.RECEIVED)


def test_a_late_reply_to_a_row_not_settled_yet_is_late_too() -> None:
    """Row 1 is past t_max but waits in the ring behind row 0, whose Follow-Up stamp may still come."""
    held: list[bytes] = []
    numbers = {1: 0, 2: 0}

    def answer(request: bytes, session: wire.Session, _number: int) -> list[bytes]:
        (ssid,) = struct.unpack_from("!H", request, 14)
        number = numbers[ssid]
        numbers[ssid] += 1
        follow = {"follow_up_seq": number - 1, "follow_up_t3": tai_now(), "follow_up_method": 2} if number == 1 else {}
        reply = honest(request, session, number, facts=T3_KERNEL, **follow)
        if ssid == 1 or seq_of(request) >= 2:
            return [reply]
        held.append(reply)
        return [] if seq_of(request) == 0 else [held[0]]

    with udp() as at, udp() as one, udp() as two:
        one.connect(at.getsockname())
        two.connect(at.getsockname())
        sender = Sender(
            [one.fileno(), two.fileno()], [wire.Session(200, tai_utc=TAI_UTC, ssid=ssid) for ssid in (1, 2)],
            [0, 0, SECOND, SECOND], capacity=64, t_max_ns=600 * MS, pace="sleep", tai_utc=TAI_UTC,
            error_estimate=UNKNOWN,
        )  # fmt: skip
        with Peer(at, wire.Session(200, tai_utc=TAI_UTC), answer).running():
            rows = collect(sender)
    counts = sender.counters()
    assert (counts["received"], counts["late_replies"], counts["replay"]) == (2, 1, 0)
    assert (rows["flags"] & samples.RECEIVED != 0).tolist() == [True, False, True, False]
    assert rows["copies"].tolist() == [1, 0, 1, 0]
    assert rows["t4"][1] == samples.MISSING


@pytest.mark.skipif(not timestamping.caller_id_works(), reason="this kernel takes no caller-chosen stamp id")
def test_stamps_of_packets_sent_before_are_not_taken_for_rows() -> None:
    with udp() as at, reflecting(at), sending(at.getsockname(), 20, warm_up=0) as (sender, sockets):
        for number in range(20):
            sockets[0].sendmsg([bytes(200)], [(socket.SOL_SOCKET, 81, struct.pack("=I", number))])  # SCM_TS_OPT_ID
        time.sleep(0.1)
        rows = collect(sender)
    assert rows["t1"][0] >= sender.started_ns + TAI_UTC * SECOND
    assert np.all(rows["t1"] <= rows["t2"])


@pytest.mark.parametrize("tlvs", [wire.TLVS, ()], ids=["nonce", "sequence"])
def test_a_restarted_reflector_is_noticed_once_a_flow(tlvs: tuple[str, ...]) -> None:
    with udp() as at, sending(at.getsockname(), 600, flows=2, tlvs=tlvs) as (sender, _):
        with reflecting(at):
            sender.start()
            while sender.live()[1] < 100:
                time.sleep(0.005)
        with reflecting(at):
            rows = collect(sender, start=False)
    counts = sender.counters()
    assert counts["reflector_restarts"] == 2
    assert counts["received"] == 600
    for flow in (0, 1):
        steps = np.diff(rows["far_seq"][rows["flow"] == flow])
        assert np.count_nonzero(steps != 1) == 1
        assert steps.min() < 0


def test_a_killed_reflector_costs_packets_and_nothing_else() -> None:
    with contextlib.ExitStack() as stack:
        at = stack.enter_context(udp())
        sender, _ = stack.enter_context(sending(at.getsockname(), 400, t_max_ns=SECOND // 2))
        with reflecting(at):
            sender.start()
            while sender.live()[1] < 100:
                time.sleep(0.005)
        at.close()  # from here on the kernel answers with ICMP port unreachable
        rows = collect(sender, start=False)
    counts = sender.counters()
    assert len(rows["t1"]) == counts["scheduled"] == 400
    assert counts["sent"] == 400
    assert counts["refused"] > 0
    assert counts["send_errors"] == 0
    assert counts["received"] + counts["lost"] == 400
    assert counts["lost"] > 0
    assert np.count_nonzero(rows["flags"] & samples.RECEIVED) == counts["received"]


def test_facts_of_the_far_end_name_the_sources_of_its_stamps() -> None:
    """A peer that claims NIC stamps (mock of hardware that cannot exist here) is reported as it claims."""

    def answer(request: bytes, session: wire.Session, number: int) -> list[bytes]:
        now = tai_now()
        follow = {"follow_up_seq": number - 1, "follow_up_t3": now - 1, "follow_up_method": 1} if number else {}
        return [honest(request, session, number, facts=8 | 32, t2=now - 2000 * MS, t3=now - 2000 * MS, **follow)]

    with udp() as at:
        peer = Peer(at, wire.Session(200, tai_utc=TAI_UTC), answer)
        with peer.running(), sending(at.getsockname(), 20, t_max_ns=5 * SECOND // 2) as (sender, _):
            rows = collect(sender)
    assert sources(rows, 2) == sources(rows, 3) == {samples.NIC}
    assert sender.planes()["t3"]["nic"] == 20


def test_an_impossible_follow_up_is_not_believed() -> None:
    def answer(request: bytes, session: wire.Session, number: int) -> list[bytes]:
        follow = {"follow_up_seq": number - 1, "follow_up_t3": 5 * SECOND, "follow_up_method": 2} if number else {}
        return [honest(request, session, number, facts=16, **follow)]

    with udp() as at:
        peer = Peer(at, wire.Session(200, tai_utc=TAI_UTC), answer)
        with peer.running(), sending(at.getsockname(), 20) as (sender, _):
            rows = collect(sender)
    assert sources(rows, 3) == {samples.USER}
    assert sender.counters()["follow_ups"] == 0
    assert sender.counters()["implausible_follow_ups"] == 20


def test_without_kernel_stamps_the_rows_say_user() -> None:
    with udp() as at, reflecting(at), sending(at.getsockname(), 30) as (sender, sockets):
        sockets[0].setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPING, 128)  # ids are taken, no stamp is made
        rows = collect(sender)
    assert sender.counters()["unstamped_tx"] == 30
    assert sources(rows, 1) == sources(rows, 4) == {samples.USER}
    assert sources(rows, 2) == sources(rows, 3) == {samples.KERNEL}
    assert np.all(rows["t1"] <= rows["t2"])


def test_the_ring_wraps_without_losing_a_row_and_memory_is_flat() -> None:
    n, flows = 200_000, 3

    def resident() -> int:
        with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")

    with (
        udp() as at,
        reflecting(at),
        sending(at.getsockname(), n, rate=100_000, flows=flows, capacity=1024, t_max_ns=3 * MS) as (sender, _),
    ):
        sender.start()
        expected = received = lost = skipped = 0
        settled_size = largest = 0
        while True:
            done = sender.done
            rows = sender.take()
            k = len(rows["t1"])
            index = np.arange(expected, expected + k)
            assert np.array_equal(rows["flow"], index % flows)
            assert np.array_equal(rows["seq"], index // flows)
            was_sent = rows["flags"] & samples.SENT != 0
            came = rows["flags"] & samples.RECEIVED != 0
            assert np.all(was_sent | ~came)
            received += int(came.sum())
            lost += int((was_sent & ~came).sum())
            skipped += int((rows["flags"] & samples.SKIPPED != 0).sum())
            expected += k
            if expected > n // 4:
                settled_size = settled_size or resident()
                largest = max(largest, resident())
            if done and k == 0:
                break
            time.sleep(0.001)
    counts = sender.counters()
    assert expected == n == counts["scheduled"]
    assert (received, lost, skipped) == (counts["received"], counts["lost"], counts["skipped"])
    assert received + lost + skipped + counts["send_errors"] == n
    assert largest - settled_size < 8 << 20


def test_rows_nobody_takes_hold_the_sender_and_are_skipped_not_forgotten() -> None:
    n = 500
    with udp() as at, reflecting(at), sending(at.getsockname(), n, capacity=64, t_max_ns=100 * MS) as (sender, _):
        sender.start()
        while not sender.counters()["ring_full"]:
            time.sleep(0.01)
        time.sleep(1)  # the last row was due after 500 ms: none can be within t_max any more
        assert sender.counters()["scheduled"] == 64
        rows = collect(sender, start=False)
    assert_in_order(rows, n, 1)
    counts = sender.counters()
    skipped = rows["flags"] & samples.SKIPPED != 0
    assert skipped.sum() == counts["skipped"]
    assert np.all(skipped[64:])
    assert np.all(rows["flags"][skipped] == samples.SKIPPED)
    assert set(rows["t1"][skipped].tolist()) == {samples.MISSING}
    assert counts["worst_lateness_ns"] > 100 * MS


def test_what_falls_behind_is_sent_late_and_marked() -> None:
    n = 100
    with udp() as at, reflecting(at), sending(at.getsockname(), n, capacity=64, t_max_ns=SECOND) as (sender, _):
        sender.start()
        while not sender.counters()["ring_full"]:
            time.sleep(0.001)
        time.sleep(0.1)
        rows = collect(sender, start=False)
    late = rows["flags"] & samples.SENT_LATE != 0
    assert late.sum() == sender.counters()["sent_late"]
    # the ring was free again one t_max after row 0 was sent; row 64 was due after 64 ms
    assert np.all(rows["flags"][64:] & (samples.SENT_LATE | samples.SKIPPED) != 0)


def test_a_stall_is_followed_by_no_burst() -> None:
    n = 400
    with udp() as at, reflecting(at), sending(at.getsockname(), n, capacity=256, t_max_ns=SECOND) as (sender, _):
        sender.start()
        while not sender.counters()["ring_full"]:
            time.sleep(0.001)
        # nobody takes rows now, so the sender stands still as it would without a CPU, and 100 ms more fall due
        time.sleep(0.1)
        rows = collect(sender, start=False)
    late = rows["t1"][rows["flags"] & samples.SENT_LATE != 0]
    assert len(late) > 100
    # twice the rate of 1 kpps, and what 1 ms without a CPU between clock reading and stamp lets through besides
    most = 4
    for apart in range(most, 64):
        assert np.all(late[apart:] - late[:-apart] >= (apart - most) * MS // 2)


def test_stopping_ends_it_with_the_rows_that_were_sent() -> None:
    with udp() as at, reflecting(at), sending(at.getsockname(), 100_000, t_max_ns=300 * MS) as (sender, _):
        sender.start()
        while sender.live()[0] < 50:
            time.sleep(0.005)
        sender.stop()
        sender.stop()
        rows = collect(sender, start=False)
        assert sender.join(0)
        assert sender.done
    counts = sender.counters()
    assert 50 <= len(rows["t1"]) == counts["scheduled"] < 100_000
    assert counts["received"] + counts["lost"] == counts["sent"]
    assert sender.take()["t1"].size == 0


def test_abandoned_rows_are_not_shown_as_lost() -> None:
    with udp() as at, sending(at.getsockname(), 100_000, t_max_ns=600 * SECOND, warm_up=0) as (sender, _):
        sender.start()
        while sender.live()[0] < 50:
            time.sleep(0.005)
        sender.stop(abandon=True)
        assert collect(sender, start=False)["t1"].size == 0
        assert sender.counters()["lost"] == 0


def test_nothing_to_send_is_soon_done() -> None:
    with udp() as at, reflecting(at), sending(at.getsockname(), 0) as (sender, _):
        assert collect(sender)["t1"].size == 0


def test_take_gives_as_many_as_asked_with_send_durations() -> None:
    with udp() as at, reflecting(at), sending(at.getsockname(), 20, t_max_ns=200 * MS) as (sender, _):
        sender.start()
        assert sender.join(30)
        first = sender.take(limit=7, send_durations=True)
        rest = sender.take()
    assert first["seq"].tolist() == list(range(7))
    assert np.all(first["send_ns"] > 0)
    assert rest["seq"].tolist() == list(range(7, 20))
    assert "send_ns" not in rest


def test_the_error_estimate_follows_the_clock_while_running() -> None:
    before, after = wire.encode_error_estimate(1000, True, True), wire.encode_error_estimate(9000, True, True)

    def answer(request: bytes, session: wire.Session, number: int) -> list[bytes]:
        return [honest(request, session, number)]

    with udp() as at:
        peer = Peer(at, wire.Session(200, tai_utc=TAI_UTC), answer)
        with peer.running(), sending(at.getsockname(), 300, error_estimate=before) as (sender, _):
            sender.start()
            while sender.live()[0] < 100:
                time.sleep(0.001)
            sender.error_estimate = after
            assert sender.error_estimate == after
            collect(sender, start=False)
    told = [struct.unpack_from("!H", request, 12)[0] for request in peer.requests]
    assert (told[0], told[-1]) == (before, after)
    assert set(told) == {before, after}
    with pytest.raises(ValueError, match="65536"):
        sender.error_estimate = 65536


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"capacity": 100}, "power of 2"),
        ({"capacity": 2}, "too small"),
        ({"pace": "jump"}, "'jump'"),
        ({"t_max_ns": 0}, "positive"),
        ({"warm_up": 9}, r"0\.\.8"),
        ({"error_estimate": -1}, "16-bit"),
        ({"cpus": (0, 4096)}, "4096"),
    ],
)
def test_arguments_that_do_not_fit_are_named(change: dict[str, object], said: str) -> None:
    good = {"capacity": 64, "t_max_ns": SECOND, "tai_utc": TAI_UTC, "error_estimate": UNKNOWN}
    with udp() as at, udp() as near:
        near.connect(at.getsockname())
        with pytest.raises(ValueError, match=said):
            Sender([near.fileno()], [wire.Session(200, tai_utc=TAI_UTC)], [0], **{**good, **change})  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="ascending"):
            Sender([near.fileno()], [wire.Session(200, tai_utc=TAI_UTC)], [5, 4], **good)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="one each"):
            Sender([near.fileno()], [], [0], **good)  # type: ignore[arg-type]
        with pytest.raises(OSError, match="not connected"):
            Sender([at.fileno()], [wire.Session(200, tai_utc=TAI_UTC)], [0], **good)  # type: ignore[arg-type]


def test_a_sender_runs_once() -> None:
    with udp() as at, reflecting(at), sending(at.getsockname(), 1, t_max_ns=50 * MS) as (sender, _):
        sender.start()
        with pytest.raises(RuntimeError, match="once"):
            sender.start()
