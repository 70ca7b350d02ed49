"""chronyd's words: parsed strictly, from lines and from a real pair of daemons."""

from __future__ import annotations

import contextlib
import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.evidence.chrony import Chrony, parse, state_of

LINE = (
    "0A4D0101,10.77.1.1,2,1795346425.453507950,-0.000001037,-0.000000231,0.000000315,0.020,-0.160,0.998,"
    "0.000002935,0.000001466,0.3,Normal\n"
)


def test_the_bound_is_the_root_distance() -> None:
    state = state_of("a", 9, LINE)
    assert (state.site, state.source, state.at_ns) == ("a", "chrony", 9)
    assert state.synchronised is True
    assert state.bound_ns == 1037 + 1466 + 1468  # 2935 / 2 rounded up
    assert state.skew_ppb == 160 + 998
    assert state.identity == "0A4D0101 10.77.1.1 stratum 2"
    assert state.leap_pending is False
    assert state.raw == LINE.strip()


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (",Normal", ",Not synchronised"),
        ("0A4D0101,10.77.1.1,2", "7F7F0101,,1"),  # `local`: follows itself
        ("0A4D0101,10.77.1.1,2", "00000000,,0"),
        ("10.77.1.1,2", "10.77.1.1,16"),
    ],
)
def test_following_nothing_is_not_synchronised_and_bounds_nothing(was: str, now: str) -> None:
    state = state_of("a", 9, LINE.replace(was, now))
    assert state.synchronised is False
    assert state.bound_ns is None
    assert state.skew_ppb is None


@pytest.mark.parametrize(("status", "pending"), [("Insert second", True), ("Delete second", True), ("Normal", False)])
def test_an_announced_leap_second(status: str, pending: bool) -> None:
    assert state_of("a", 9, LINE.replace("Normal", status)).leap_pending is pending


@pytest.mark.parametrize(
    ("was", "now"),
    [
        (",Normal", ""),
        (",Normal", ",Normal,x"),
        ("Normal", "normal"),
        ("0A4D0101", "0a4d0101"),
        ("0.000001466", "-0.000001466"),
        ("0.000001466", "nan"),
        ("0.000001466", "1e-6"),
        ("0.000001466", "0,000001466"),
        (",2,", ",two,"),
        (LINE, "506 Cannot talk to daemon"),
        (LINE, ""),
    ],
)
def test_anything_else_is_refused(was: str, now: str) -> None:
    with pytest.raises(ValueError, match=r"field|number|negative|reference"):
        parse(LINE.replace(was, now))


@given(st.text(st.sampled_from("0123456789.,-ABCF Normal\n"), max_size=200))
def test_no_text_crashes_the_parser(text: str) -> None:
    try:
        parse(text)
    except ValueError:
        return
    assert text.count(",") == 13


def program(folder: Path, body: str) -> str:
    path = folder / "chronyc"
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o700)
    return str(path)


def test_a_program_that_is_missing_silent_or_broken_says_unknown(tmp_path: Path) -> None:
    cases = {
        "no program": Chrony("a", program=str(tmp_path / "nothing")),
        "no answer": Chrony("a", program=program(tmp_path, "exec sleep 60"), timeout_s=0.2),
    }
    for words, source in cases.items():
        state = source.poll(3)
        assert words in state.raw
        assert state.at_ns == 3
        assert (state.synchronised, state.bound_ns, state.leap_pending) == (None, None, None)
    broken = Chrony("a", program=program(tmp_path, "echo 506 Cannot talk to daemon; exit 1")).poll(3)
    assert broken.raw == "exit 1: 506 Cannot talk to daemon"
    nonsense = Chrony("a", program=program(tmp_path, "echo hello")).poll(3)
    assert "fields" in nonsense.raw
    assert nonsense.synchronised is None


def test_the_question_is_asked_of_the_given_socket(tmp_path: Path) -> None:
    said = Chrony("a", socket="/run/x.sock", program=program(tmp_path, 'echo "$LC_ALL $@"; exit 3')).poll(3).raw
    assert said == "exit 3: C -n -c -h /run/x.sock tracking"


@pytest.fixture
def folder() -> Iterator[Path]:
    """A short path: a Unix socket's name holds 107 octets."""
    made = Path(tempfile.mkdtemp(prefix="mc-chrony-", dir="/tmp"))
    made.chmod(0o750)
    yield made
    shutil.rmtree(made)


def free_port() -> int:
    """A port below the range from which the kernel gives ports to everybody else."""
    for port in range(20_000 + os.getpid() % 10_000, 31_000):
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trial, contextlib.suppress(OSError):
            trial.bind(("127.0.0.1", port))
            return port
    raise AssertionError("no free UDP port")


def test_a_real_pair_of_daemons(folder: Path) -> None:
    chronyd = shutil.which("chronyd") or shutil.which("chronyd", path="/usr/sbin")
    if chronyd is None or shutil.which("chronyc") is None:
        pytest.skip("chronyd and chronyc are not installed (Debian package chrony)")
    port = free_port()
    common = "cmdport 0\npidfile {0}/{1}.pid\nbindcmdaddress {0}/{1}.sock\n"
    confs = {
        "server": f"local stratum 1\nallow 127.0.0.1\nport {port}\nbindaddress 127.0.0.1\n",
        "client": f"server 127.0.0.1 port {port} iburst minpoll -2 maxpoll -2\nport 0\n",
    }
    running = []
    try:
        for name, conf in confs.items():
            (folder / f"{name}.conf").write_text(conf + common.format(folder, name))
            # -x: never touches the host's clock
            command = [chronyd, "-x", "-d", "-U", "-u", "root", "-f", str(folder / f"{name}.conf")]
            log = (folder / f"{name}.log").open("w")
            running.append(subprocess.Popen(command, stdout=log, stderr=log))
            log.close()
        client, server = (Chrony(name, str(folder / f"{name}.sock")) for name in ("client", "server"))
        deadline = time.monotonic() + 60
        state = client.poll(time.time_ns())
        while state.synchronised is not True and time.monotonic() < deadline:
            time.sleep(0.25)
            state = client.poll(time.time_ns())
        assert state.synchronised is True, (state.raw, (folder / "client.log").read_text())
        assert state.identity == "7F000001 127.0.0.1 stratum 2"
        assert state.bound_ns is not None
        assert 0 < state.bound_ns < 10**9
        assert state.leap_pending is False
        assert parse(state.raw).bound_ns == state.bound_ns
        alone = server.poll(time.time_ns())
        assert alone.raw.startswith("7F7F0101,")
        assert (alone.synchronised, alone.bound_ns) == (False, None)
        running[0].terminate()
        running[0].wait(10)
        silent = server.poll(time.time_ns())
        assert silent.synchronised is None
        assert "exit 1" in silent.raw
    finally:
        for process in running:
            process.kill()
            process.wait(10)
