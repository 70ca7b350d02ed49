"""What an auditor waits for: `millicert verify` of a large run, level 4, in its own process. `verification.py [36]`."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.archive import BLOCK, START, realistic
from harness.archive.folder import RunFolder
from harness.clock import Clock, ClockState
from harness.link import Endpoint, Link, Site
from harness.measurement import Health, Measurement
from harness.run import read_policy
from harness.stream import Stream

RATE_PPS = 10_000
FLOWS = 16
TAI_UTC_S = 37


def link() -> Link:
    """Two sites that claim good clocks."""
    near, far = (Site(name, name, "computing-centre", "large", Clock(("simulated",))) for name in "ab")
    return Link(
        "a-b", near, far, Endpoint("10.0.0.1", "10.0.0.2", 862), flow_ports=tuple(range(61_000, 61_000 + FLOWS))
    )


def watch(process: subprocess.Popen[str]) -> float:
    """Largest resident memory of a process while it runs, MiB; rusage would count this one's, which began it."""
    most = 0.0
    status = Path(f"/proc/{process.pid}/status")
    while process.poll() is None:
        for line in status.read_text(encoding="ascii", errors="replace").splitlines():
            if line.startswith("VmHWM:"):
                most = max(most, int(line.split()[1]) / 1024)
        time.sleep(0.05)
    return most


def main(million: int) -> int:
    """Make the run, then verify it; the exit code is the verifier's."""
    rows = million * 1_000_000
    started = START - TAI_UTC_S * 10**9
    ended = started + rows * 10**9 // RATE_PPS
    evidence = tuple(
        ClockState(site, "simulated", at, True, 100, 10, TAI_UTC_S, False, "", "")
        for site in "ab"
        for at in range(started - 10**9, ended + 2 * 10**9, 10**9)
    )
    stream = Stream("service", RATE_PPS, rows * 10**9 // RATE_PPS, 512, flows=FLOWS, unloaded=False)
    with tempfile.TemporaryDirectory() as place:
        plan = {"provenance": {"links": ["a-b"]}}
        folder = RunFolder.create(Path(place), True, plan, policy=read_policy("metro-2027-rehearsal"))
        writer = folder.begin("a-b-service")
        for first in range(0, rows, BLOCK):
            writer.append(realistic(first, min(BLOCK, rows - first), RATE_PPS, FLOWS))
        writer.flush()
        told = Measurement("a-b-service", link(), stream, writer.samples(), evidence, Health({}, started, ended))
        folder.finish(replace(told, simulated=("benchmark",), near_planes="kernel/kernel/kernel/kernel"))
        path = folder.path
        folder.seal()
        del told, writer, folder
        began = time.monotonic()
        command = [sys.executable, "-m", "harness.cli", "verify", str(path), "--level", "4"]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as auditor:
            most = watch(auditor)
            told_by = auditor.communicate()[0]
        seconds = time.monotonic() - began
        octets = sum(each.stat().st_size for each in path.rglob("*") if each.is_file())
    print(told_by.rstrip())
    print(f"{rows:,} samples, {octets / rows:.1f} octets each: verified in {seconds:.1f} s, at most {most:.0f} MiB")
    return auditor.returncode


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]) if len(sys.argv) > 1 else 36))
