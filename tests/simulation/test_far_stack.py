"""A far end whose interface is not shown to end in a physical device says so in-band and in its journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastpath.stack import ELSEWHERE
from tests.fastpath.namespaces import ROOT, Namespaces

VIRTUAL = 2
ENV = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": str(ROOT)}

ASK = """
import json, socket, time
from fastpath import wire
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
    session = wire.Session(200, tai_utc=37)
    own.settimeout(0.2)
    facts = []
    unknown = wire.encode_error_estimate(None, False, True)
    for number in range(200):
        now = time.time_ns() + 37 * 10**9
        own.sendto(session.build(number, now, unknown, number + 1), ("192.0.2.2", 8620))
        try:
            reply = session.parse(own.recv(9000), now)
        except OSError:
            continue
        facts.append(reply["facts"])
        if len(facts) == 3:
            break
print(json.dumps(facts))
"""


@pytest.mark.parametrize(
    ("build", "where", "said"),
    [
        (
            ["link add link v0 name top type macvlan", "link set top netns {b}"],
            "b",
            f"macvlan interface top at the far end: {ELSEWHERE}",
        ),
        (
            ["link set v0 netns {b}", "-b link add name bridge0 type bridge", "-b link set v0 master bridge0",
             "-b link set bridge0 up", "-b link add link bridge0 name top type macvlan"],
            "b",
            "veth interface v0 at the far end",
        ),
    ],
    ids=["parent elsewhere", "macvlan on bridge on veth"],
)  # fmt: skip
def test_the_far_end_looks_through_its_own_stack(
    namespaces: Namespaces, tmp_path: Path, build: list[str], where: str, said: str
) -> None:
    for command in build:
        inside, rest = ("b", command[3:]) if command.startswith("-b ") else ("a", command)
        namespaces.ip(inside, rest.format(b=namespaces.names["b"]))
    namespaces.ip("b" if "set v0 netns" in build[0] else "a", "link set v0 up")
    namespaces.ip("a", "link set v1 up")
    namespaces.ip("a", "address add 192.0.2.1/24 dev v1")
    namespaces.ip(where, "link set top up")
    namespaces.ip(where, "address add 192.0.2.2/24 dev top")
    journal = tmp_path / "far.jsonl"
    reflect = [sys.executable, "-m", "harness.cli", "reflect", "--listen", "192.0.2.2", "--port", "8620"]
    with subprocess.Popen(
        [*namespaces.enter(where), *reflect, "--journal", str(journal)],
        cwd=tmp_path, env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as far:  # fmt: skip
        try:
            for _ in range(600):
                if far.poll() is not None or (journal.exists() and "reflector.start" in journal.read_text()):
                    break
                time.sleep(0.05)
            facts = namespaces.run("a", ASK)
        finally:
            far.send_signal(signal.SIGINT)
            far.communicate(timeout=30)
    assert isinstance(facts, list)
    assert len(facts) == 3
    assert all(each & VIRTUAL for each in facts)
    states = [
        entry for line in journal.read_text().splitlines() if (entry := json.loads(line))["kind"] == "reflector.state"
    ]
    assert states[-1]["data"]["simulated"] == [said]
