"""Resident memory while a stream runs, flat once its records are allocated. `soak.py [--seconds 600]`."""

from __future__ import annotations

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks.rehearsal import SERVICE, bench_text, short_policy
from harness.bench import parse
from harness.engine import Progress
from harness.plan import Step
from harness.run import Options, Run
from harness.units import seconds

MINUTE_S = 60
SETTLED = 3
"""Minutes until every preallocated record has been touched once and the allocator has seen all sizes of flushes."""
ALLOWED_KIB = 4 << 10
"""Growth of the median from then to the last minute that is not the stream's: the journal and the clocks'
readings (a few KiB a second) and what the allocator keeps between two flushes."""


def resident_kib() -> int:
    """VmRSS of this process, KiB."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise OSError("no VmRSS in /proc/self/status")


def main(length_s: int, rate_pps: int) -> int:
    """Print resident memory by the minute; 0 when it stays flat."""
    folder = Path(tempfile.mkdtemp(prefix="millicert-soak-"))
    policy = folder / "short.toml"
    policy.write_text(short_policy(), encoding="utf-8")
    step = Step("service-owd-p999", replace(SERVICE, rate_pps=rate_pps, duration_ns=seconds(length_s)))
    seen: list[tuple[float, int]] = []
    started = 0.0

    def observe(progress: Progress) -> None:
        if not seen or progress.elapsed_ns / 1e9 - seen[-1][0] >= 1:
            seen.append((progress.elapsed_ns / 1e9, resident_kib()))

    try:
        run = Run(parse(bench_text()), Options(results=folder, policy=str(policy)))
        run.commit([("soak", "ab", step)], collect_only=False)
        started = time.monotonic()
        run.measure("ab", step, observe)
        run.stage.close()
    finally:
        shutil.rmtree(folder)
    minutes: dict[int, list[int]] = {}
    for at, kib in seen:
        minutes.setdefault(int(at // MINUTE_S), []).append(kib)
    print(f"{rate_pps} packets/s for {length_s} s, {time.monotonic() - started:.0f} s in all")
    for minute, values in minutes.items():
        middle, most = statistics.median(values) / 1024, max(values) / 1024
        print(f"minute {minute + 1:3d}  RSS median {middle:8.1f} MiB  max {most:8.1f}")
    settled = [statistics.median(values) for minute, values in minutes.items() if minute >= SETTLED]
    if len(settled) < 2:
        print(f"too short to say: two minutes beyond the first {SETTLED} are wanted")
        return 1
    growth = settled[-1] - settled[0]
    print(f"growth from minute {SETTLED + 1} to the last: {growth / 1024:.2f} MiB (allowed {ALLOWED_KIB / 1024:.0f})")
    return int(growth > ALLOWED_KIB)


if __name__ == "__main__":
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--seconds", type=int, default=600)
    asked.add_argument("--rate", type=int, default=10_000)
    given = asked.parse_args()
    sys.exit(main(given.seconds, given.rate))
