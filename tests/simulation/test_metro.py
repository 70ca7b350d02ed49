"""The simulated metro on its carriers: real sockets, logged truth, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import socket
import struct
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from fastpath import fibre, wire
from harness.errors import SimulationError
from harness.simulation import interface
from harness.simulation.clocks import SiteClock
from harness.simulation.metro import Carrier, Metro, _Namespaces
from harness.simulation.plant import Change, FibrePath, Jitter, LinkPlant, Loss

ROOT = Path(__file__).resolve().parents[2]
STAMPING = 37
STAMPS = 1 << 1 | 1 << 3 | 1 << 4 | 1 << 7 | 1 << 11
KM40 = FibrePath(length_m=40_000)
SHORT = FibrePath(delay_ns=300_000)


@contextlib.contextmanager
def opened(plants: dict[str, LinkPlant], carrier: Carrier = "namespaces") -> Iterator[Metro]:
    """A metro on this carrier, or the test is skipped with the kernel's own reason."""
    with contextlib.ExitStack() as stack:
        try:
            metro = stack.enter_context(Metro(plants, carrier))
        except SimulationError as error:
            pytest.skip(f"no namespaces here: {error.found}")
        yield metro


@pytest.fixture(params=["namespaces", "loopback"])
def carrier(request: pytest.FixtureRequest) -> Carrier:
    kind: Carrier = request.param
    return kind


def error_at(clock: SiteClock, elapsed_ns: int) -> int:
    """Reading minus host time, ns, ``elapsed_ns`` after the metro was opened (rate error rounded down)."""
    stepped = clock.step_ns if elapsed_ns >= clock.at_ns else 0
    return clock.offset_ns + elapsed_ns * clock.skew_ppb // 1_000_000_000 + stepped


def packet(seq: int, size: int = 64) -> bytes:
    """Wherever a sequence number is looked for, there it is."""
    return (struct.pack(">I", seq) * (size // 4 + 1))[:size]


def echo(far: socket.socket, near: socket.socket, seq: int, size: int = 64) -> None:
    """One packet there and back."""
    near.settimeout(20)
    far.settimeout(20)
    near.send(packet(seq, size))
    data, sender = far.recvfrom(65536)
    assert data == packet(seq, size)
    far.sendto(data, sender)
    assert near.recv(65536) == data


def stamp(ancillary: list[tuple[int, int, bytes]]) -> int:
    return next(
        int(s * 1_000_000_000 + ns)
        for level, kind, data in ancillary
        if (level, kind) == (socket.SOL_SOCKET, STAMPING)
        for s, ns in [struct.unpack_from("qq", data)]
    )


def test_measured_delay_is_the_logged_hold_and_two_hops(carrier: Carrier) -> None:
    with opened({"m": LinkPlant((SHORT,), (SHORT,))}, carrier) as metro:
        with metro.near_socket("m", 50_001) as near, metro.far_socket("m") as far:
            for sock in (near, far):
                sock.setsockopt(socket.SOL_SOCKET, STAMPING, STAMPS)
            span = metro.fibre("m")
            span.start()
            measured = []
            for seq in range(300):
                near.send(packet(seq))
                assert select.select([far], [], [], 20)[0]
                data, ancillary, _, _ = far.recvmsg(65536, 512)
                assert data == packet(seq)
                _, sent, _, _ = near.recvmsg(65536, 512, socket.MSG_ERRQUEUE)
                measured.append(stamp(ancillary) - stamp(sent))
            span.stop()
        rows, health = span.truth(), span.health()
    residual = np.array(measured) - rows["hold_ns"]
    assert rows["seq"].tolist() == list(range(300))
    assert (rows["port"] == 50_001).all()
    assert (residual > 0).all(), "what is measured contains what was held"
    assert np.median(residual) < 50_000
    assert (rows["late_ns"] > -3_200).all(), "never released earlier than the calibrated path cost"
    assert (health["unchecked"], health["send_errors"], health["unstamped"]) == (0, 0, 0)
    stamped_by_kernel = rows["fate"] & fibre.USER_STAMP == 0
    assert stamped_by_kernel.all() == (carrier == "namespaces")


def test_both_families_and_every_size_cross_with_right_checksums() -> None:
    plants = {
        "four": LinkPlant((SHORT,), (SHORT,), near_address="192.0.2.1", far_address="192.0.2.9"),
        "six": LinkPlant((SHORT,), (SHORT,), ipv6=True),
    }
    with opened(plants) as metro:
        assert metro.endpoint("four").far_address == "192.0.2.9"
        for link, header in (("four", 28), ("six", 48)):
            span = metro.fibre(link)
            span.start()
            with metro.near_socket(link) as near, metro.far_socket(link) as far:
                assert near.getpeername()[0] == metro.endpoint(link).far_address
                for seq, size in enumerate((4, 18, 1472, 9000 - header)):
                    echo(far, near, seq, size)
                port = near.getsockname()[1]
            span.stop()
            rows = span.truth()
            assert rows["seq"].tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
            assert rows["direction"].tolist() == [0, 1] * 4
            assert (rows["port"] == port).all()
            assert span.health()["unchecked"] == 0


def test_several_links_at_once(carrier: Carrier) -> None:
    plants = {name: LinkPlant((KM40,), (SHORT,)) for name in ("a", "b")}
    with opened(plants, carrier) as metro, contextlib.ExitStack() as stack:
        fars = [stack.enter_context(metro.far_socket(name)) for name in plants]
        nears = [stack.enter_context(metro.near_socket(name, 50_000)) for name in plants]
        for name in plants:
            metro.fibre(name).start()
        for name, far, near in zip(plants, fars, nears, strict=True):
            echo(far, near, 5)
            metro.fibre(name).stop()
            assert metro.fibre(name).truth()["programmed_ns"].tolist() == [195_895, 300_000]


def test_routes_loss_and_copies_are_as_logged() -> None:
    routes = (
        FibrePath(delay_ns=250_000, loss=Loss(100_000, burst=3), jitter=Jitter("exponential", 5_000)),
        FibrePath(delay_ns=400_000, duplicate_ppm=100_000, reorder_ppm=100_000, reorder_ns=300_000),
    )
    with opened({"m": LinkPlant(routes, routes, {50_002: 1}, seed=3)}) as metro:
        span = metro.fibre("m")
        with (
            metro.near_socket("m", 50_001) as one,
            metro.near_socket("m", 50_002) as two,
            metro.far_socket("m") as far,
        ):
            span.start()
            for seq in range(400):
                one.send(packet(seq))
                two.send(packet(seq))
                time.sleep(0.0002)
            span.stop()
            arrived = []
            while select.select([far], [], [], 0)[0]:
                data, sender = far.recvfrom(64)
                arrived.append((sender[1], int.from_bytes(data[:4], "big")))
        rows, health = span.truth(), span.health()
    gone = rows["fate"] & (fibre.LOST | fibre.OVERFLOW) != 0
    assert sorted(arrived) == sorted((int(r["port"]), int(r["seq"])) for r in rows[~gone])
    first, second = rows[rows["port"] == 50_001], rows[rows["port"] == 50_002]
    assert health["lost_by_plan"] == (first["fate"] & fibre.LOST != 0).sum() > 0
    assert health["duplicated_by_plan"] == (second["fate"] & fibre.COPY != 0).sum() > 0
    assert health["reordered_by_plan"] > 0
    assert (first["programmed_ns"] >= 250_000).all()
    assert set(second["programmed_ns"]) == {400_000, 700_000}
    assert not (second["fate"] & fibre.LOST).any()


def test_a_cut_fibre_carries_nothing() -> None:
    cut = FibrePath(delay_ns=200_000, changes=(Change(0, None),))
    with opened({"m": LinkPlant((cut,), (SHORT,))}) as metro:
        span = metro.fibre("m")
        with metro.near_socket("m") as near, metro.far_socket("m") as far:
            span.start()
            near.send(packet(1))
            far.sendto(packet(2), near.getsockname())
            near.settimeout(20)
            assert near.recv(64) == packet(2)
            span.stop()
            assert not select.select([far], [], [], 0)[0]
        assert span.health()["cut_by_plan"] == 1
        assert span.truth()["fate"].tolist()[0] == fibre.CUT


def test_address_resolution_crosses_the_fibre_unlogged() -> None:
    with opened({"m": LinkPlant((SHORT,), (SHORT,), static_neighbours=False)}) as metro:
        span = metro.fibre("m")
        span.start()
        with metro.near_socket("m") as near, metro.far_socket("m") as far:
            echo(far, near, 0)
        span.stop()
        assert span.health()["others"] >= 2
        assert len(span.truth()) == 2


def test_a_vlan_tag_survives() -> None:
    """The kernel takes the tag off before the ring sees the frame: it must be there again on the far side."""
    with opened({"m": LinkPlant((SHORT,), (SHORT,))}) as metro, contextlib.ExitStack() as stack:
        raw = {}
        for side, name in (("near", "va"), ("far", "vb")):
            assert isinstance(metro._built, _Namespaces)
            sock = metro._built._socket(f"m/{side}", socket.AF_PACKET, socket.SOCK_RAW)
            stack.enter_context(sock)
            sock.setsockopt(263, 8, 1)  # SOL_PACKET, PACKET_AUXDATA
            sock.bind((name, 3))
            sock.settimeout(20)
            raw[side] = sock
        header = bytes.fromhex("4500002000010000401166ca0a4d00010a4d0002")
        udp = header + struct.pack(">4H", 5000, 862, 12, 0) + packet(9, 4)
        frame = bytes.fromhex("020000000004020000000001") + struct.pack(">HHH", 0x8100, 77, 0x0800) + udp
        span = metro.fibre("m")
        span.start()
        raw["near"].send(frame + bytes(20))
        while True:
            data, ancillary, _, address = raw["far"].recvmsg(2048, 512)
            if address[2] != 4:  # PACKET_OUTGOING
                break
        status, _, _, _, _, tag, protocol = struct.unpack("IIIHHHH", ancillary[0][2])
        span.stop()
        assert (status >> 4 & 1, tag, protocol) == (1, 77, 0x8100)  # TP_STATUS_VLAN_VALID
        assert data[12:] == frame[16:] + bytes(20)
        assert [(int(r["port"]), int(r["seq"])) for r in span.truth()] == [(5000, 9)]


def test_the_patch_joins_the_ends_without_a_fibre(carrier: Carrier) -> None:
    with opened({"m": LinkPlant((SHORT,), (SHORT,))}, carrier) as metro:
        assert metro.endpoint("m", patch=True) != metro.endpoint("m")
        with metro.near_socket("m", patch=True) as near, metro.far_socket("m", patch=True) as far:
            echo(far, near, 1, 100)


def test_facts_come_from_drivers_and_clocks(carrier: Carrier) -> None:
    plant = LinkPlant((SHORT,), (SHORT,), far_clock=SiteClock(skew_ppb=1))
    with opened({"m": plant}, carrier) as metro:
        name = "veth" if carrier == "namespaces" else "lo"
        facts = metro.facts("m")
        assert [fact.startswith(f"{name} interface") for fact in facts] == [True, True, False]
        assert facts[2] == "injected clock at the far end"
        assert metro.near_clock("m") is None
        if carrier == "namespaces":
            with metro.near_socket("m") as near:
                assert interface.driver(near, "va") == "veth"
                with pytest.raises(OSError, match="No such device"):
                    interface.driver(near, "nothing0")


def reply(near: socket.socket, session: wire.Session, seq: int) -> dict[str, Any] | None:
    """Parsed reply, or None when none comes: the reflector is gone."""
    now = time.time_ns() + 37_000_000_000
    near.send(session.build(seq, now, 1))
    if not select.select([near], [], [], 20)[0]:
        return None
    return dict(session.parse(near.recv(65536), now))


def test_a_reflector_answers_states_its_facts_and_can_be_killed(carrier: Carrier) -> None:
    clock = SiteClock(offset_ns=3_000_000_000)
    with opened({"m": LinkPlant((SHORT,), (SHORT,), far_clock=clock)}, carrier) as metro:
        metro.fibre("m").start()
        reflector = metro.start_reflector("m", bound_ns=1000, synchronised=True)
        session = wire.Session(200, ssid=5, tai_utc=37, seed=1)
        with metro.near_socket("m", 50_001) as near:
            answer = reply(near, session, 0)
            assert answer is not None
            assert answer["facts"] & 1, "injected clock"
            assert answer["facts"] & 2, "virtual interface"
            assert 2_000_000_000 < answer["t2"] - answer["t1"] < 60_000_000_000
            assert reflector.counters()["received"] == 1
            reflector.kill()
            with pytest.raises(ProcessLookupError):
                os.kill(reflector.pid, 0)
            assert reflector.counters()["received"] == 1
            second = metro.start_reflector("m", clock=SiteClock())
            near.settimeout(0.2)
            with contextlib.suppress(OSError):
                near.recv(64)  # an error that the outage may have left on the socket
            answer = reply(near, session, 1)
            assert answer is not None
            assert not answer["facts"] & 1
            assert second.stop()["received"] == 1
        patch = metro.start_reflector("m", patch=True)
        with metro.near_socket("m", 50_003, patch=True) as near:
            assert reply(near, session, 2) is not None
        assert patch.stop()["sent"] == 1


@pytest.mark.parametrize("key", [None, b"0123456789abcdef"])
def test_both_ways_are_logged_under_the_senders_sequence_number(key: bytes | None) -> None:
    """The reflector counts its own way once a packet was lost before it."""
    with opened({"m": LinkPlant((FibrePath(delay_ns=100_000, loss=Loss(500_000)),), (SHORT,))}) as metro:
        metro.start_reflector("m", key=key)
        session = wire.Session(300, key=key, tai_utc=37, seed=1)
        span = metro.fibre("m")
        span.start()
        with metro.near_socket("m", 50_001) as near:
            now = time.time_ns() + 37_000_000_000
            for seq in range(40):
                near.send(session.build(seq, now, 1))
            deadline = time.monotonic() + 20
            while len(span.truth()) < 80 - span.health()["lost_by_plan"] and time.monotonic() < deadline:
                time.sleep(0.005)
        span.stop()
        rows = span.truth()
        there = rows[(rows["direction"] == 0) & (rows["fate"] & fibre.LOST == 0)]
        back = rows[rows["direction"] == 1]
        assert 5 < len(there) < 35
        assert back["seq"].tolist() == there["seq"].tolist()


def test_frames_that_came_before_the_start_are_dropped() -> None:
    with opened({"m": LinkPlant((SHORT,), (SHORT,))}) as metro:
        span = metro.fibre("m")
        with metro.near_socket("m") as near, metro.far_socket("m") as far:
            for number in range(2):
                for seq in range(3000):  # more than the ring holds
                    near.send(packet(seq))
                span.start()
                for seq in range(5000, 5010):
                    echo(far, near, seq)
                span.stop()
                assert sorted(set(span.truth()["seq"].tolist())) == list(range(5000, 5010)), number


def test_an_injected_clock_counts_from_the_opening(carrier: Carrier) -> None:
    """On the TAI scale that stamps are in: a wrong origin would show 37 s of rate error at once."""
    clock = SiteClock(skew_ppb=100_000_000)
    with opened({"m": LinkPlant((SHORT,), (SHORT,), near_clock=clock, far_clock=clock)}, carrier) as metro:
        metro.fibre("m").start()
        metro.start_reflector("m", tai_utc=37)
        with metro.near_socket("m", 50_001) as near:
            before = time.time_ns()
            answer = reply(near, wire.Session(200, tai_utc=37, seed=1), 0)
            after = time.time_ns()
        assert answer is not None
        error = answer["t2"] - 37_000_000_000 - before
        assert error_at(clock, before - metro.origin_ns) <= error
        assert error <= after - before + error_at(clock, after - metro.origin_ns)
        near_model = metro.near_clock("m", 37)
        assert near_model is not None
        assert near_model["origin_ns"] == metro.origin_ns + 37_000_000_000


def test_a_program_can_be_run_at_an_end() -> None:
    if shutil.which("nsenter") is None:
        pytest.skip("nsenter (util-linux) is not installed")
    with opened({"m": LinkPlant((SHORT,), (SHORT,))}) as metro:
        for side, name in (("near", "va"), ("far", "vb")):
            command = [*metro.enter("m", "near" if side == "near" else "far"), "cat", "/proc/net/dev"]
            seen = subprocess.run(command, capture_output=True, text=True, check=True).stdout
            assert f"{name}:" in seen


def test_the_processor_is_given_back() -> None:
    before = os.sched_getaffinity(0)
    with Metro({"m": LinkPlant((SHORT,), (SHORT,))}, "loopback"):
        if len(before) > 1:
            assert os.sched_getaffinity(0) == before - {max(before)}
        with pytest.raises(SimulationError, match="one simulated metro"), Metro({"n": LinkPlant((SHORT,), (SHORT,))}):
            pass
    assert os.sched_getaffinity(0) == before


def test_wrong_names_ports_and_plants_are_refused(carrier: Carrier) -> None:
    with opened({"m": LinkPlant((SHORT,), (SHORT,))}, carrier) as metro:
        with pytest.raises(SimulationError, match="one of m"):
            metro.endpoint("x")
        with metro.near_socket("m", 50_001), pytest.raises(SimulationError, match="in use"):
            metro.near_socket("m", 50_001)
        if carrier == "loopback":
            with pytest.raises(SimulationError, match="namespaces carrier"):
                metro.enter("m", "near")
    six = {"m": LinkPlant((SHORT,), (SHORT,), ipv6=True)}
    with pytest.raises(SimulationError, match="IPv6"), Metro(six, "loopback"):
        pass
    with pytest.raises(SimulationError, match="1 to 200"):
        Metro({})
    with pytest.raises(ValueError, match=r"17 routes.*loss 2000000.*burst 0.*port 5 takes route 9.*seed"):
        LinkPlant((SHORT,) * 17, (FibrePath(delay_ns=1, loss=Loss(2_000_000, 0)),), {5: 9}, seed=-1)


def test_auto_falls_back_to_loopback_and_says_why(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("harness.simulation.metro._start", _refused)
    with Metro({"m": LinkPlant((SHORT,), (SHORT,))}) as metro:
        assert metro.carrier == "loopback"
        assert "namespaces refused" in metro.notes[0]
        assert any("relayed" in note for note in metro.notes)
        metro.fibre("m").start()
        with metro.near_socket("m") as near, metro.far_socket("m") as far:
            echo(far, near, 0)


def _refused(module: str, channel: socket.socket, *fds: int) -> subprocess.Popen[bytes]:
    del module, fds
    code = 'import socket, sys; socket.socket(fileno=int(sys.argv[1])).send(b\'{"error": "no"}\')'
    return subprocess.Popen([sys.executable, "-c", code, str(channel.fileno())], pass_fds=(channel.fileno(),))


SCENE = """
import json, sys, time
sys.path.insert(0, sys.argv[1])
from harness.simulation.metro import Metro
from harness.simulation.plant import FibrePath, LinkPlant
path = FibrePath(delay_ns=300_000)
with Metro({"m": LinkPlant((path,), (path,))}, "namespaces") as metro:
    metro.fibre("m").start()
    with metro.near_socket("m", 50_001) as near, metro.far_socket("m", 5000) as far:
        near.settimeout(20), far.settimeout(20)
        near.connect((metro.endpoint("m").far_address, 5000))
        near.send(b"over")
        data, sender = far.recvfrom(64)
        far.sendto(data, sender)
        assert near.recv(64) == b"over"
        reflector = metro.start_reflector("m").pid
        print(json.dumps({"reflector": reflector, **metro._built._made}), flush=True)
        sys.stdin.readline()
"""


def holds(inodes: set[int]) -> list[str]:
    """Processes and descriptors that keep one of these network namespaces alive."""
    names = {f"net:[{inode}]" for inode in inodes}
    found = []
    for path in [*Path("/proc").glob("[0-9]*/ns/net"), *Path("/proc").glob("[0-9]*/fd/*")]:
        with contextlib.suppress(OSError):
            if str(path.readlink()) in names:
                found.append(str(path))
    return found


def test_nothing_survives_a_kill_of_the_parent() -> None:
    with opened({"m": LinkPlant((SHORT,), (SHORT,))}):
        pass
    command = [sys.executable, "-c", SCENE, str(ROOT)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        try:
            assert parent.stdout is not None
            made = json.loads(parent.stdout.readline())
            inodes = set(made["inodes"].values())
            assert holds(inodes), "the check sees them while they live"
        finally:
            parent.send_signal(signal.SIGKILL)
        parent.wait()
    deadline = time.monotonic() + 30
    left: list[str] = ["unknown"]
    while left and time.monotonic() < deadline:
        left = holds(inodes) + [str(p) for p in (made["pid"], made["reflector"]) if Path(f"/proc/{p}/exe").exists()]
        time.sleep(0.02)
    assert left == []


def test_it_needs_no_privilege() -> None:
    drop: list[str] = []
    if os.geteuid() == 0:
        if shutil.which("setpriv") is None:
            pytest.skip("setpriv (util-linux) is not installed")
        drop = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), sysconfig.get_path("purelib")])}
    probe = "import subprocess, sys, fastpath.fibre, pyroute2; subprocess.run([sys.executable, '-c', ''], check=True)"
    trouble = ""
    # A plain user may not read root's own interpreter; the system's of the same version does as well.
    for python in (sys.executable, f"/usr/bin/python{sys.version_info.major}.{sys.version_info.minor}"):
        try:
            seen = subprocess.run(
                [*drop, python, "-c", probe], capture_output=True, text=True, check=False, env=environment
            )
        except OSError as error:
            trouble = str(error)
            continue
        if seen.returncode == 0:
            break
        trouble = seen.stderr[-200:]
    else:
        pytest.skip(f"this checkout cannot be used without privilege: {trouble}")
    done = subprocess.run(
        [*drop, python, "-c", SCENE, str(ROOT)], input="\n", capture_output=True, text=True, check=False,
        timeout=60, env=environment,
    )  # fmt: skip
    if done.returncode != 0 and "user namespace refused" in done.stderr:
        pytest.skip("this kernel refuses user namespaces to plain users")
    assert done.returncode == 0, done.stderr


def test_a_site_clock_states_its_model() -> None:
    clock = SiteClock(offset_ns=100, skew_ppb=1000, step_ns=-50, at_ns=2_000_000_000)
    assert not SiteClock(at_ns=5).injected
    assert clock.injected
    assert clock.model(7) == {
        "offset_ns": 100, "skew_ppb": 1000, "origin_ns": 7, "step_ns": -50, "step_at_ns": 2_000_000_007,
    }  # fmt: skip
