"""Two machines are two namespaces: millicert reflect in one, pytest testplans/ in the other."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.rehearsal import short_policy
from harness.archive.verify import sound, verify
from harness.journal import read
from harness.simulation.metro import Metro

ROOT = Path(__file__).resolve().parents[2]
KEY = "6d696c6c6963657274206b657920666f722074657374732c2033322062797465"
ENV = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}

BENCH = """
[bench]
name = "two-hosts"
policy = "metro-2027"
[sites.here]
title = "near"
kind = "computing-centre"
clock = {{ sources = ["kernel"], shared = "one host" }}
[sites.there]
title = "far"
kind = "computing-centre"
clock = {{ sources = ["in-band"], shared = "one host" }}
[links.wire]
near = "here"
far = "there"
near_address = "{near}"
far_address = "{far}"
far_port = {port}
flows = 2
{key}
[streams.optical]
rate_pps = 500
duration_s = 4
size = 256
flows = 2
t_max_ms = 250
[streams.service]
rate_pps = 2000
duration_s = 4
size = 512
flows = 2
t_max_ms = 250
"""

LIGHT = """
import socket, struct, sys, time

reflector = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
reflector.bind((sys.argv[1], int(sys.argv[2])))
print("listening", flush=True)
while True:
    request, whom = reflector.recvfrom(2048)
    now = time.time_ns()
    t2 = struct.pack("!II", now // 10**9 + 2208988800, (now % 10**9 << 32) // 10**9)
    # RFC 5357 4.2.1: number, T3, error estimate (unsynchronised), T2, then the sender's number, time, estimate and TTL
    reply = request[:4] + t2 + b"\\0\\1\\0\\0" + t2 + request[:14] + b"\\0\\0" + b"\\xff"
    reflector.sendto((reply + bytes(2048))[: int(sys.argv[3]) if sys.argv[3:] else len(request)], whom)
"""
"""A foreign TWAMP-light reflector: stateless, no TLVs, T3 = T2, clock in UTC; answers of the size asked or given."""


class Pair:
    """Files of both ends, and the reflector's process."""

    def __init__(self, metro: Metro, folder: Path, key: str) -> None:
        self.metro = metro
        self.folder = folder
        end = metro.endpoint("wire")
        line = ""
        self.key: list[str] = []
        if key:
            secret = folder / "link.key"
            secret.write_text(key, encoding="utf-8")
            secret.chmod(0o600)
            line = f'key_file = "{secret}"'
            self.key = ["--key", str(secret)]
        self.bench = folder / "two-hosts.toml"
        self.bench.write_text(
            BENCH.format(near=end.near_address, far=end.far_address, port=end.far_port, key=line), encoding="utf-8"
        )
        self.policy = folder / "short.toml"
        self.policy.write_text(short_policy().replace("rehearsal = true", "rehearsal = false"), encoding="utf-8")
        self.journal = folder / "far.jsonl"

    def reflect(self, *options: str) -> subprocess.Popen[str]:
        end = self.metro.endpoint("wire")
        command = [sys.executable, "-m", "harness.cli", "reflect", "--listen", end.far_address]
        process = subprocess.Popen(
            [
                *self.metro.enter("wire", "far"),
                *command,
                "--port",
                str(end.far_port),
                "--journal",
                str(self.journal),
                *options,
            ],
            cwd=self.folder,
            env=ENV,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        for _ in range(600):
            if process.poll() is not None or (
                self.journal.exists() and "reflector.start" in self.journal.read_text(encoding="utf-8")
            ):
                break
            time.sleep(0.05)
        return process

    def certify(self) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "pytest", "-p", "harness.plugin", "testplans/", "--bench", str(self.bench)]
        return subprocess.run(
            [
                *self.metro.enter("wire", "near"),
                *command,
                "--policy",
                str(self.policy),
                "--results",
                str(self.folder / "results"),
            ],
            cwd=ROOT,
            env=ENV,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )


@pytest.mark.parametrize("key", ["", KEY], ids=["open", "with key"])
def test_two_hosts_certify_and_stay_simulated_because_of_veth(metro: Metro, tmp_path: Path, key: str) -> None:
    pair = Pair(metro, tmp_path, key)
    far = pair.reflect(*pair.key)
    try:
        for _ in range(5):
            late = metro.fibre("wire").health()["late_over_200us"]
            done = pair.certify()
            if done.returncode == 0 or metro.fibre("wire").health()["late_over_200us"] - late < 10:
                break  # else the host stalled, and a real bench has no log of its fibre to say so
    finally:
        far.send_signal(signal.SIGINT)
        said, _ = far.communicate(timeout=30)
    assert done.returncode == 0, done.stdout[-4000:] + said
    assert far.returncode == 0, said
    # facts made it a simulation, not a declaration: the folder is apart and the result says so
    folder = max((tmp_path / "results" / "simulated").glob("2*"))
    result = json.loads((folder / "data" / "result.json").read_text(encoding="utf-8"))
    assert any("veth" in fact for fact in result["simulated"])
    assert "SIMULATED" in done.stdout
    rows = [row for requirement in result["requirements"] for row in requirement["directions"]]
    assert {row["verdict"] for row in rows} == {"PASS"}, rows
    said_by = {(statement["basis"], statement["verdict"]) for row in rows for statement in row["statements"]}
    # a host that stalls for a moment lengthens the round trip, which then decides nothing
    assert ("clock", "PASS") in said_by
    assert said_by <= {("clock", "PASS"), ("clock-free", "PASS"), ("clock-free", "INDETERMINATE")}
    assert sound(verify(folder))
    kinds = [entry.kind for entry in read(pair.journal).entries]
    assert (kinds[0], kinds[-1]) == ("reflector.start", "reflector.end")
    assert "reflector.state" in kinds


@contextlib.contextmanager
def twamp_light(metro: Metro, *options: str) -> Iterator[None]:
    end = metro.endpoint("wire")
    command = [sys.executable, "-c", LIGHT, end.far_address, str(end.far_port), *options]
    with subprocess.Popen([*metro.enter("wire", "far"), *command], stdout=subprocess.PIPE, text=True) as far:
        try:
            assert far.stdout is not None
            assert far.stdout.readline() == "listening\n"
            yield
        finally:
            far.kill()


def test_a_foreign_reflector_decides_by_the_round_trip_alone(metro: Metro, tmp_path: Path) -> None:
    with twamp_light(metro):
        done = Pair(metro, tmp_path, "").certify()
    assert done.returncode in {0, 13}, done.stdout[-4000:]
    folder = max((tmp_path / "results" / "simulated").glob("2*"))
    result = json.loads((folder / "data" / "result.json").read_text(encoding="utf-8"))
    rows = [row for requirement in result["requirements"] for row in requirement["directions"]]
    # a host that stalls for a moment lengthens some round trips; the medians stay far below the limit
    assert [row["verdict"] for row in rows[:2]] == ["PASS", "PASS"]
    assert [row["verdict"] for row in rows[2:]] in (["PASS"] * 2, ["INDETERMINATE"] * 2)
    for row in rows:
        verdicts = {statement["basis"]: statement["verdict"] for statement in row["statements"]}
        # its clock denies being synchronised, and it cannot say which clock it is
        assert verdicts == {"clock": "INVALID", "clock-free": row["verdict"]}
        assert row["bracket"]["tier"] == "0"  # nothing is subtracted: it says of its turnaround that there is none
    # without reflector's numbers nobody knows where a packet was lost
    assert {stream["counts"]["lost_forward"] for stream in result["streams"]} == {0}
    assert sound(verify(folder))


def test_a_foreign_reflector_that_answers_in_another_size_is_told_of(metro: Metro, tmp_path: Path) -> None:
    with twamp_light(metro, "44"):
        done = Pair(metro, tmp_path, "").certify()
    assert done.returncode == 10
    assert "0 of 5 answered; refused: 5 size" in done.stdout
    assert "symmetrical size" in done.stdout


def test_a_wrong_key_stops_before_anything_is_measured(metro: Metro, tmp_path: Path) -> None:
    pair = Pair(metro, tmp_path, KEY)
    other = tmp_path / "other.key"
    other.write_text(KEY.replace("6d", "6e"), encoding="utf-8")
    other.chmod(0o600)
    far = pair.reflect("--key", str(other))
    try:
        done = pair.certify()
    finally:
        far.send_signal(signal.SIGTERM)
        said, _ = far.communicate(timeout=30)
    assert done.returncode == 10, done.stdout[-3000:]
    assert "millicert reflect" in done.stdout
    assert "hmac" in said


def test_nobody_at_the_far_end_is_a_preflight_failure(metro: Metro, tmp_path: Path) -> None:
    done = Pair(metro, tmp_path, "").certify()
    assert done.returncode == 10
    assert "far-end" in done.stdout
    assert "ECONNREFUSED" in done.stdout or "0 of 5" in done.stdout


def test_a_foreign_prefix_is_refused_and_counted(metro: Metro, tmp_path: Path) -> None:
    pair = Pair(metro, tmp_path, "")
    far = pair.reflect("--allow", "192.0.2.0/24")
    try:
        done = pair.certify()
    finally:
        far.send_signal(signal.SIGINT)
        said, _ = far.communicate(timeout=30)
    assert done.returncode == 10
    assert "foreign" in said
