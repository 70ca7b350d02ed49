"""Two network namespaces with a veth pair in one, for tests of what interfaces stand on."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from fastpath.stack import Doubt

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "millicert-stack"


class Namespaces:
    """Two namespaces, "a" with the veth pair v0 and v1, and "b"; commands of `ip`, and what stands there to us."""

    def __init__(self) -> None:
        self.names = {each: f"{PREFIX}-{os.getpid()}-{each}" for each in "ab"}

    def ip(self, where: str, command: str) -> None:
        done = subprocess.run(
            ["ip", "-n", self.names[where], *command.split()], capture_output=True, text=True, check=False
        )
        if "Unknown device type" in done.stderr or "Operation not supported" in done.stderr:
            pytest.skip(f"this kernel cannot: ip {command}: {done.stderr.strip()}")
        assert done.returncode == 0, done.stderr

    def enter(self, where: str) -> list[str]:
        """Prefix of a command that runs there, with the sysfs of the host: `nsenter` leaves it."""
        return ["nsenter", f"--net=/run/netns/{self.names[where]}"]

    def run(self, where: str, code: str) -> object:
        """What a program prints as JSON in a namespace."""
        inside = [*self.enter(where), sys.executable, "-c", code]
        done = subprocess.run(inside, capture_output=True, text=True, check=False, cwd=ROOT)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def doubts(self, where: str, name: str) -> tuple[Doubt, ...]:
        code = f"""
import json, socket
from fastpath import timestamping
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
    found = timestamping.doubts(own.fileno(), socket.if_nametoindex({name!r}))
assert timestamping.interface_facts({name!r}).virtual is bool(found)
print(json.dumps(found))
"""
        found = self.run(where, code)
        assert isinstance(found, list)
        return tuple(Doubt(*each) for each in found)


@contextlib.contextmanager
def two() -> Iterator[Namespaces]:
    """Made, and removed afterwards; skips where they are refused."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("nsenter") is None:
        pytest.skip("network namespaces need root, ip and nsenter")
    made = Namespaces()
    try:
        for name in made.names.values():
            added = subprocess.run(["ip", "netns", "add", name], capture_output=True, text=True, check=False)
            if added.returncode:
                pytest.skip(f"no network namespace can be made here: {added.stderr.strip()}")
        made.ip("a", "link add v0 type veth peer name v1")
        yield made
    finally:
        for name in made.names.values():
            subprocess.run(["ip", "netns", "delete", name], capture_output=True, check=False)
