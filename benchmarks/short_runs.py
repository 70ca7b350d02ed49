"""Short simulated certifications with known truth: how many verdicts were wrong. `short_runs.py [300]`.

A verdict is wrong when it contradicts the truth. Undecided ones are no error, but where both clocks are good and the
truth is 10 km or more from the limit nearly all must be decided, else the count of wrong ones proves nothing.
"""

from __future__ import annotations

import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from benchmarks.rehearsal import bench_text, tell
from harness.units import flight_time

LIMIT_NS = 1_000_000
GOOD = "claimed_bound_ns = 100\nclaimed_synchronised = true\nclaimed_skew_ppb = 10"
SILENT = "claimed_synchronised = false"
LENGTHS = (5, 40, 90, 150, 190, 198, 202, 203, 205, 206, 210, 230)
"""km; 204.2 km of this fibre take 1 ms."""
CLEAR_NS = 28_000
"""Farther than this from the limit a run with good clocks should decide: 190 km and 210 km do."""
LEAST_DECIDED = 0.9


def story(chance: random.Random) -> tuple[str, int, int, bool, str]:
    """(bench text, true worst forward delay, true worst backward delay, clocks are good, words)."""
    forward, backward = chance.choice(LENGTHS), chance.choice(LENGTHS)
    clock = chance.choice(["good", "good", "silent", "5 ms ahead", "5 ms behind", "80 ns"])
    far = {
        "good": GOOD,
        "silent": SILENT,
        "5 ms ahead": f"offset_ns = 5000000\n{GOOD}",
        "5 ms behind": f"offset_ns = -5000000\n{GOOD}",
        "80 ns": f"offset_ns = {chance.choice([-80, 80])}\n{GOOD}",
    }[clock]
    detour = chance.random() < 0.2
    plant = f"\n[[simulation.links.ab.routes]]\nports = [61001]\nforward = {{ km = {chance.choice(LENGTHS)} }}\n"
    extra = int(plant.split("km = ")[1].split(" ", maxsplit=1)[0]) if detour else 0
    text = bench_text(
        forward=f"{{ km = {forward} }}",
        backward=f"{{ km = {backward} }}",
        link="first_port = 61000",
        far=far,
        near=SILENT if clock == "silent" else GOOD,
        plant=plant if detour else "",
    )
    # a route without a backward of its own takes its forward both ways
    truth = [flight_time(1000 * max(km, extra), 1_468_200) // 1000 for km in (forward, backward)]
    words = f"{forward}/{backward} km, clock {clock}" + (f", one flow {extra} km" if detour else "")
    return text, truth[0], truth[1], clock in ("good", "80 ns"), words


def main(runs: int, seed: int = 1) -> int:
    """Print a line a run, then the counts; 0 when no verdict was wrong and enough were decided."""
    chance = random.Random(seed)
    seen: Counter[str] = Counter()
    wrong = clear = decided = 0
    folder = Path(tempfile.mkdtemp(prefix="millicert-short-"))
    started = time.monotonic()
    try:
        for number in range(1, runs + 1):
            text, forward, backward, good, words = story(chance)
            told = tell(folder, text)
            for direction, truth in (("forward", forward), ("backward", backward)):
                verdict = told.row(direction)["verdict"]
                seen[verdict] += 1
                if good and abs(truth - LIMIT_NS) > CLEAR_NS:
                    clear += 1
                    decided += verdict in ("PASS", "FAIL")
                if (verdict == "PASS" and truth > LIMIT_NS) or (verdict == "FAIL" and truth <= LIMIT_NS):
                    wrong += 1
                    print(f"WRONG  {direction} {verdict} at a true {truth} ns: {words}", flush=True)
            print(f"{number:4d}  {told.result['verdict']:<14} {words}  red {sorted(told.red)}", flush=True)
            shutil.rmtree(told.path)
    finally:
        shutil.rmtree(folder)
    print(f"{runs} runs, {sum(seen.values())} direction verdicts in {time.monotonic() - started:.0f} s: {dict(seen)}")
    print(f"wrong verdicts: {wrong}")
    print(f"good clocks, {CLEAR_NS // 1000} us or more from the limit: {decided} of {clear} decided")
    return wrong + (decided < LEAST_DECIDED * clear)


if __name__ == "__main__":
    sys.exit(1 if main(int(sys.argv[1]) if len(sys.argv) > 1 else 300) else 0)
