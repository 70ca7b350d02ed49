"""Octets per sample, write and load rates of the archive: ``python benchmarks/archive.py [--rows N] [--full]``."""

from __future__ import annotations

import argparse
import resource
import tempfile
import time
from pathlib import Path

import numpy as np

from harness.archive.bag import file_sha256
from harness.archive.folder import RunFolder
from harness.archive.segments import load_samples, paths
from harness.samples import COLUMNS, FAR_SYNCHRONISED, FAR_VIRTUAL, MISSING, RECEIVED, SENT, Column

HOUR = 36_000_000
"""Samples of an hour at 10 kpps: what has to be re-judged within a minute."""
BLOCK = 100_000
START = 1_790_000_000_000_000_000


def realistic(first: int, n: int, rate_pps: int, flows: int) -> dict[str, Column]:
    """Rows ``first`` to ``first + n``: exponential schedule, log-normal noise of hosts and queues, 0.1 % loss, skew."""
    draw = np.random.default_rng([7, first])
    index = np.arange(first, first + n)
    flow, seq = index % flows, index // flows
    scheduled = first * 1_000_000_000 // rate_pps + np.cumsum(draw.exponential(1e9 / rate_pps, n)).astype(np.int64)

    def noise(median_ns: float, spread: float) -> Column:
        return (median_ns * draw.lognormal(0, spread, n)).astype(np.int64)

    skew = scheduled // 1_000_000  # 1 ppm between the sites
    t1 = START + scheduled + noise(400, 0.7)
    t2 = t1 + 284_000 + noise(3_000, 0.7) + skew
    t3 = t2 + 6_000 + noise(5_000, 0.6)
    t4 = t3 + 284_000 + noise(3_000, 0.7) - skew
    lost = draw.random(n) < 0.001
    for stamp in (t2, t3, t4):
        stamp[lost] = MISSING
    t1[draw.random(n) < 0.0001] = MISSING
    behind = np.cumsum(lost) // flows
    columns = (
        flow, seq, scheduled, t1, t2, t3, t4,
        np.where(lost, -1, seq), np.where(lost, -1, seq - behind), np.where(lost, 0, 1 + (draw.random(n) < 0.0001)),
        np.where(lost, -1, 64), np.where(lost, -1, 0x8A01),
        np.where(lost, 0b10 | SENT, 0b10101010 | SENT | RECEIVED | FAR_SYNCHRONISED | FAR_VIRTUAL),
    )  # fmt: skip
    return {name: column.astype(np.int64) for name, column in zip(COLUMNS, columns, strict=True)}


def measure(root: Path, rows: int, rate_pps: int, flows: int, segment: int) -> None:
    """One line of the table."""
    with RunFolder.create(root, True, {"title": "benchmark"}) as folder:
        writer = folder.begin("m", rows=segment)
        spent = 0.0
        for first in range(0, rows, BLOCK):
            columns = realistic(first, min(BLOCK, rows - first), rate_pps, flows)
            began = time.perf_counter()
            writer.append(columns)
            spent += time.perf_counter() - began
        began = time.perf_counter()
        writer.flush()
        spent += time.perf_counter() - began
        directory = writer.directory
    octets = sum(path.stat().st_size for path in paths(directory))
    began = time.perf_counter()
    for path in paths(directory):
        file_sha256(path)
    hashed = time.perf_counter() - began
    began = time.perf_counter()
    samples = load_samples(directory)
    loaded = time.perf_counter() - began
    assert len(samples) == rows
    last = realistic(rows - rows % BLOCK if rows % BLOCK else rows - BLOCK, rows % BLOCK or BLOCK, rate_pps, flows)
    assert all(np.array_equal(getattr(samples, name)[-len(last["seq"]) :], last[name]) for name in COLUMNS)
    hour = HOUR / rows
    print(
        f"{rows:>11,} rows  {rate_pps:>7,} pps  {segment:>7,} a segment: {octets / rows:6.2f} octets/sample, "
        f"write {rows / spent / 1e6:5.2f} M/s, load {rows / loaded / 1e6:5.2f} M/s; 36 M samples: "
        f"hash {hashed * hour:4.1f} s, load {loaded * hour:5.1f} s{'' if rows == HOUR else ' (extrapolated)'}"
    )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000, help="rows of the large case")
    parser.add_argument("--full", action="store_true", help="the large case with 36 M rows: 4 GB of memory, a minute")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        measure(root / "minute", 6_000, 100, 16, 1 << 18)
        measure(root / "fast", 1_000_000, 100_000, 16, 1 << 18)
        measure(root / "large", HOUR if options.full else options.rows, 10_000, 16, 1 << 18)
    print(f"largest memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
