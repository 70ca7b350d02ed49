"""Real daemons in a network namespace: what chrony says when its servers die, lie, disagree or announce a leap."""

from __future__ import annotations

import contextlib
import datetime as dt
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.clock import ClockState
from harness.evidence.chrony import Chrony, Settings, parse_report, parts_of

PREFIX = "mc-chrony-"
PATIENCE_S = 30.0
SERVERS = {"right": "127.0.0.1", "mortal": "127.0.0.2", "other": "127.0.0.3"}
FAST = "iburst minpoll -2 maxpoll -2"
LEAPING = f"server 127.0.0.4 {FAST}\ncmdport 0\nport 0\n"
CLIENTS = {
    "locked": f"server 127.0.0.1 {FAST} xleave\nbindcmdaddress 127.0.0.1\ncmdport 323\n",
    "lost": f"server 127.0.0.2 {FAST}\ncmdport 0\n",
    # its server is 5 s ahead, so this clock is 5 s slow
    "wrong": f"server 127.0.0.1 {FAST} offset 5\ncmdport 0\n",
    "torn": f"server 127.0.0.1 {FAST}\nserver 127.0.0.3 {FAST} offset 5\ncmdport 0\n",
}

ANNOUNCER = """
import socket, struct, sys, time

shift = int(sys.argv[1])
answer = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
answer.bind(("127.0.0.4", 123))

def stamp():
    now = time.time_ns() + shift * 10**9
    return struct.pack(">II", (now // 10**9 + 2208988800) % 2**32, (now % 10**9 << 32) // 10**9)

while True:
    question, whom = answer.recvfrom(1024)
    arrived = stamp()
    # leap indicator 1: the last minute of the day has 61 s; version 4, mode 4, stratum 1
    head = struct.pack(">BBbbII4s", 1 << 6 | 4 << 3 | 4, 1, -2, -20, 0, 1, b"FAKE")
    answer.sendto(head + arrived + question[40:48] + arrived + stamp(), whom)
"""
"""An NTP server that announces a leap second."""
WARP = """
#include <errno.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *now) {
    long failed = syscall(SYS_clock_gettime, clock, now);
    if (!failed && clock == CLOCK_REALTIME) now->tv_sec += SHIFT;
    return failed;
}
int gettimeofday(struct timeval *restrict now, void *restrict zone) {
    long failed = syscall(SYS_gettimeofday, now, zone);
    if (!failed) now->tv_sec += SHIFT;
    return failed;
}
int setsockopt(int fd, int level, int name, const void *value, socklen_t size) {
    if (level == SOL_SOCKET && (name == SO_TIMESTAMPING || name == SO_TIMESTAMPNS || name == SO_TIMESTAMP)) {
        errno = ENOPROTOOPT; /* the kernel's stamps are of today */
        return -1;
    }
    return syscall(SYS_setsockopt, fd, level, name, value, size);
}
"""
"""Another day for one process: chronyd believes a leap second only on the last day of June or December."""


class Stage:
    """One namespace with daemons in it; nothing here steers the host's clock (chronyd -x)."""

    def __init__(self, chronyd: str, folder: Path) -> None:
        self.chronyd = chronyd
        self.folder = folder
        self.namespace = f"{PREFIX}{os.getpid()}"
        self.running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, *command: str) -> None:
        # --pdeathsig: a killed test run leaves no daemon behind
        inside = ["setpriv", "--pdeathsig", "KILL", "ip", "netns", "exec", self.namespace, *command]
        with (self.folder / f"{name}.log").open("w") as log:
            self.running[name] = subprocess.Popen(inside, stdout=log, stderr=log)

    def daemon(self, name: str, conf: str, *before: str) -> None:
        files = f"pidfile {self.folder}/{name}.pid\nbindcmdaddress {self.socket(name)}\n"
        path = self.folder / f"{name}.conf"
        path.write_text(conf + files)
        self.start(name, *before, self.chronyd, "-x", "-d", "-U", "-u", "root", "-f", str(path))

    def socket(self, name: str) -> str:
        return str(self.folder / f"{name}.sock")

    def poll(self, name: str, settings: Settings | None = None, shift_s: int = 0) -> ClockState:
        source = Chrony(name, self.socket(name), settings=settings or Settings())
        return source.poll(time.time_ns() + shift_s * 10**9)

    def until(self, name: str, wanted: Callable[[ClockState], bool], shift_s: int = 0) -> ClockState:
        """The first state as wanted."""
        deadline = time.monotonic() + PATIENCE_S
        state = self.poll(name, shift_s=shift_s)
        while not wanted(state):
            assert time.monotonic() < deadline, (state, (self.folder / f"{name}.log").read_text())
            time.sleep(0.1)
            state = self.poll(name, shift_s=shift_s)
        return state

    def kill(self, name: str) -> None:
        self.running[name].kill()
        self.running[name].wait(10)


def sweep() -> None:
    """What test runs that were killed left behind."""
    listed = subprocess.run(["ip", "netns", "list"], capture_output=True, text=True, check=False).stdout
    for line in listed.splitlines():
        name = line.split(" ")[0]
        if name.startswith(PREFIX) and not Path(f"/proc/{name.removeprefix(PREFIX)}").exists():
            subprocess.run(["ip", "netns", "delete", name], check=False)
            for folder in Path("/tmp").glob(f"{name}-*"):  # noqa: S108 - folders of our own name
                shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    chronyd = shutil.which("chronyd") or shutil.which("chronyd", path="/usr/sbin")
    if chronyd is None or shutil.which("chronyc") is None:
        pytest.skip("chronyd and chronyc are not installed (Debian package chrony)")
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("setpriv") is None:
        pytest.skip("network namespaces need root, ip (iproute2) and setpriv (util-linux)")
    sweep()
    # a short path: a Unix socket's name holds 107 octets
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-", dir="/tmp"))
    folder.chmod(0o750)
    made = Stage(chronyd, folder)
    added = subprocess.run(["ip", "netns", "add", made.namespace], capture_output=True, text=True, check=False)
    if added.returncode != 0:
        shutil.rmtree(folder)
        pytest.skip(f"no network namespace can be made here: {added.stderr.strip()}")
    try:
        subprocess.run(["ip", "-n", made.namespace, "link", "set", "lo", "up"], check=True)
        for name, address in SERVERS.items():
            made.daemon(name, f"local stratum 1\nallow 127.0.0.0/8\nport 123\nbindaddress {address}\ncmdport 0\n")
        for name, conf in CLIENTS.items():
            made.daemon(name, f"{conf}port 0\n")
        yield made
    finally:
        for process in made.running.values():
            process.kill()
        for process in made.running.values():
            process.wait(10)
        subprocess.run(["ip", "netns", "delete", made.namespace], check=True)
        shutil.rmtree(folder)


def locked(state: ClockState) -> bool:
    return state.synchronised is True


def reach(state: ClockState) -> int:
    """The reachability register of the only source; the text may begin with a reason."""
    return int(next(line for line in state.raw.splitlines() if line.startswith("^")).split(",")[5], 8)


def test_a_client_locks_and_its_parts_add_up(stage: Stage) -> None:
    # a regression over its first samples may leave chronyd more than 1 s of dispersion; it settles
    state = stage.until("locked", lambda s: "interleaved" in s.identity and 0 < (s.bound_ns or 0) < 10**9)
    assert state.synchronised is True
    assert state.identity.startswith("7F000001 127.0.0.1 stratum 2 stamps ")
    assert "unknown" not in state.identity
    assert state.bound_ns == sum(part.half_width_ns for part in state.parts)
    assert state.offset_ns is not None
    assert abs(state.offset_ns) == state.parts[0].half_width_ns
    assert state.leap_pending is False
    report = parse_report(state.raw)
    assert parts_of(report.tracking, Settings()) == state.parts
    assert [source.name for source in report.sources] == ["127.0.0.1"]
    assert report.servers is not None


def test_what_the_bench_declares_of_the_server(stage: Stage) -> None:
    stage.until("locked", locked)
    told = Settings(server="127.0.0.1", reference_ns=100, reference_origin="PRTC-A")
    state = stage.poll("locked", told)
    assert state.parts[-1].half_width_ns == 100
    assert state.bound_ns == 100 + sum(part.half_width_ns for part in state.parts[:-1])
    assert state.parts[:-1] == parts_of(parse_report(state.raw).tracking, Settings())
    other = stage.poll("locked", Settings(server="127.0.0.9", reference_ns=100, reference_origin="PRTC-A"))
    assert (other.synchronised, other.bound_ns) == (None, None)
    assert "follows 127.0.0.1, the bench declares 127.0.0.9" in other.raw


def test_a_user_who_may_not_ask_for_ntpdata_gets_the_rest(stage: Stage) -> None:
    stage.until("locked", locked)
    nobody = stage.folder / "nobody"
    drop = "setpriv --reuid 65534 --regid 65534 --clear-groups"
    nobody.write_text(f'#!/bin/sh\nexec ip netns exec {stage.namespace} {drop} chronyc "$@"\n')
    nobody.chmod(0o700)
    state = Chrony("locked", "127.0.0.1", str(nobody)).poll(time.time_ns())
    assert state.synchronised is True
    assert state.identity.endswith("stratum 2 stamps unknown")
    assert state.raw.endswith("501 Not authorised")
    assert parse_report(state.raw).servers is None


def test_without_its_server_the_bound_grows_and_then_nobody_knows(stage: Stage) -> None:
    stage.until("lost", lambda s: locked(s) and reach(s) > 0o7)
    stage.kill("mortal")
    missed = stage.until("lost", lambda s: not reach(s) & 1)
    after = stage.until("lost", lambda s: s.synchronised is None)
    assert "holdover: no source is selected (127.0.0.2 ? reach 0)" in after.raw or "has not answered" in after.raw
    # the offset at hand may shrink meanwhile, the dispersion only grows (1 ppm and the skew)
    later = stage.until("lost", lambda s: s.parts[1].half_width_ns > missed.parts[1].half_width_ns)
    assert later.bound_ns == sum(part.half_width_ns for part in later.parts)
    assert later.identity.startswith("7F000002 127.0.0.2 ")


def test_a_wrong_server_is_a_large_offset_with_its_sign(stage: Stage) -> None:
    state = stage.until("wrong", locked)
    assert state.offset_ns is not None
    assert -5_001_000_000 < state.offset_ns < -4_999_000_000
    assert state.bound_ns is not None
    assert state.bound_ns >= 4_999_000_000


def test_two_servers_that_disagree_synchronise_nothing(stage: Stage) -> None:
    # once it has followed one of them the other makes it give up
    state = stage.until("torn", lambda s: s.synchronised is False and ",x," in s.raw)
    assert (state.bound_ns, state.offset_ns, state.parts, state.identity) == (None, None, (), "")


def test_an_announced_leap_second_is_passed_on(stage: Stage) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        pytest.skip("a C compiler is needed to give one daemon another day")
    now = dt.datetime.now(dt.UTC)
    shift_s = int((now.replace(month=12, day=31, hour=12) - now).total_seconds())
    source, warp = stage.folder / "warp.c", stage.folder / "warp.so"
    source.write_text(WARP)
    subprocess.run([compiler, "-shared", "-fPIC", f"-DSHIFT={shift_s}L", "-o", str(warp), str(source)], check=True)
    stage.start("announcer", sys.executable, "-c", ANNOUNCER, str(shift_s))
    stage.daemon("leaping", LEAPING, "env", f"LD_PRELOAD={warp}")
    state = stage.until("leaping", lambda s: s.leap_pending is True, shift_s)
    assert state.raw.split("\n")[0].endswith(",Insert second")
    assert state.synchronised is True
    assert " stamps daemon/daemon" in state.identity


def test_a_daemon_in_local_mode_follows_nothing(stage: Stage) -> None:
    alone = stage.until("right", lambda s: s.synchronised is not None)
    assert alone.raw.startswith("7F7F0101,")
    assert (alone.synchronised, alone.bound_ns, alone.parts) == (False, None, ())


def test_a_daemon_that_dies_is_unknown(stage: Stage) -> None:
    stage.kill("other")
    with contextlib.suppress(FileNotFoundError):
        Path(stage.socket("other")).unlink()
    state = stage.poll("other")
    assert state.synchronised is None
    assert "exit 1" in state.raw
