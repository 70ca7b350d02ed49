"""The verifier in one file agrees with the house on every story, finds every change, imports nothing of the house."""

from __future__ import annotations

import ast
import copy
import importlib.util
import itertools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness import budget, statistics
from harness.archive import bag, keys, merkle, proof, record, signature
from harness.archive.folder import CALIBRATIONS, SCHEMA, RunFolder
from harness.archive.history import item
from harness.archive.ledger import FILE, LOGGED
from harness.archive.ledger import SEALED as SEALED_LINE
from harness.archive.log import Log, told
from harness.archive.measurements import files
from harness.archive.verify import judge_again
from harness.calibration import calibrate
from harness.canonical import canonical, plain, sha256
from harness.clock import ClockState, Part
from harness.journal import FIRST
from harness.link import Route
from harness.measurement import Measurement
from harness.samples import KERNEL, MISSING, NIC, SKIPPED, USER, Samples, Stalls

ROOT = Path(__file__).parents[2]
PROGRAM = ROOT / "standalone" / "millicert_verify.py"
REHEARSAL = (ROOT / "harness/policies/metro-2027-rehearsal.toml").read_text()
SHORT = (
    REHEARSAL.replace("min_seconds = 60", "min_seconds = 6")
    .replace("window_s = 60", "window_s = 3")
    .replace("min_n_eff = 3_688", "min_n_eff = 50")
    .replace("vif_plan = [10, 1]", "vif_plan = [2, 1]")
    .replace("max_unstamped_ppm = 250", "max_unstamped_ppm = 20_000")
)
"""Minima that six seconds meet."""
SUFFIX = "c0ffee"
TALLY = (
    SHORT.replace("p = [999, 1000]", "p = [90, 100]")
    .replace("near_rate_ppb = 500_000", "near_rate_ppb = 50_000")
    .replace("[gates]\n", "[gates]\n# the rest as it is\n")
)
"""A quantile that six seconds can pass."""


def load(name: str, path: Path) -> Any:
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
    return sys.modules[name]


synthetic: Any = load("_standalone_synthetic", ROOT / "tests/harness/synthetic.py")
lone: Any = load("_standalone_verifier", PROGRAM)
Story = synthetic.Story
BASE = Story(seconds=6, rate_pps=500, flows=2)
N = 3_000


def check(path: Path, *options: object, cryptography: Path | None = None) -> subprocess.CompletedProcess[str]:
    """The program without site packages, environment or this folder in its path."""
    run = ["-I", "-S", str(PROGRAM)]
    if cryptography is not None:
        code = "import sys, runpy; sys.path.append(sys.argv.pop(1)); sys.argv.pop(0); "
        run = [
            "-I",
            "-S",
            "-c",
            code + "runpy.run_path(sys.argv[0], run_name='__main__')",
            str(cryptography),
            str(PROGRAM),
        ]
    command = [sys.executable, *run, str(path), *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120, cwd="/")


def look(path: Path, level: int = 0) -> str:
    """The failed rows up to a level, in this process: for many looks at little changes. Raises nothing."""
    rows = list(lone.Folder(path, None, None, None).rows(level))
    return "\n".join(row.detail for row in rows if row.state == "FAILED")


def states(done: subprocess.CompletedProcess[str]) -> dict[str, list[str]]:
    """Check → the states of its rows."""
    found: dict[str, list[str]] = {}
    for line in done.stdout.split("\n")[1:-2]:
        name, state = line[7:18].strip(), line[20:31].strip()
        found.setdefault(name, []).append(state)
    return found


def sound(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether it ended in VERIFIED; whatever it was given, it ended in a verdict."""
    assert "Traceback" not in done.stderr, done.stderr
    last = done.stdout.strip().split("\n")[-1]
    assert last.startswith(("VERIFIED", "NOT VERIFIED")), done.stdout + done.stderr
    assert done.returncode == last.startswith("NOT")
    return done.returncode == 0


def ticking() -> Callable[[], tuple[int, int]]:
    readings = itertools.count(1_790_000_000_000_000_000, 1_000_000)
    return lambda: (now := next(readings), now - 1_780_000_000_000_000_000)


def a_run(
    root: Path, measurements: Sequence[Measurement], policy: str = SHORT, *, told_of: Any = None, **provenance: object
) -> Path:
    """A sealed run, judged by the house; where a measurement is calibrated, by back-to-back samples in the run."""
    story = replace(BASE, seconds=1, forward=900, backward=700, jitter=400, calibrated=False, seed=9)
    told = {"operator": "nobody", "result_schema": SCHEMA, **provenance}
    plan = {"title": "rehearsal", "provenance": told}
    with RunFolder.create(
        root, True, plan, bench="# bench\n", policy=policy, environment={"software": {"version": "1"}},
        instants=ticking(), token=SUFFIX, by="process 1 on here",
    ) as folder:  # fmt: skip
        if told_of is not None:
            told_of(folder)
        found = None
        if any(m.calibration for m in measurements):
            raw = synthetic.tell(story, "cal")
            found = calibrate("cal", raw.samples, raw.stream, "kernel/kernel/kernel/kernel")
            folder.store(raw, CALIBRATIONS, found)
        for m in measurements:
            folder.begin(m.id, rows=1_000)
            folder.finish(replace(m, calibration=found) if m.calibration else m)
        folder.judge()
        folder.seal()
        return folder.path


def reseal(path: Path) -> None:
    """New manifests over what the files are now, on the day of the first seal."""
    date = dict(line.split(": ") for line in (path / "bag-info.txt").read_text().splitlines())["Bagging-Date"]
    bag.seal(path, path.name, date)


def forge(path: Path, changed: dict[str, bytes]) -> None:
    """Change files of a run and make journal and manifests fit them, as who has the folder to himself could."""
    for name, data in changed.items():
        (path / name).write_bytes(data)
    hashes = {name: sha256(data) for name, data in changed.items()}
    previous, lines = FIRST, []
    for line in (path / "data/journal.jsonl").read_bytes().split(b"\n")[:-1]:
        entry = json.loads(line)
        data = entry["data"]
        folder = data.get("measurement", "")
        if entry["kind"] == FILE:
            data["sha256"] = hashes.get(data["path"], data["sha256"])
        elif entry["kind"] == SEALED_LINE:
            data["result_sha256"] = hashes.get("data/result.json", data["result_sha256"])
        elif entry["kind"] == "archive.segment":
            data["sha256"] = hashes.get(f"data/{folder}/{data['file']}", data["sha256"])
        elif entry["kind"] == "archive.finished":
            data["files"] = {k: hashes.get(f"data/{folder}/{k}", v) for k, v in data["files"].items()}
        elif entry["kind"] == "archive.committed":
            data["files"] = {k: hashes.get(k, v) for k, v in data["files"].items()}
        entry["previous"] = previous
        octets = canonical(entry) + b"\n"
        previous = sha256(octets)
        lines.append(octets)
    (path / "data/journal.jsonl").write_bytes(b"".join(lines))
    reseal(path)


def result(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((path / "data/result.json").read_bytes())
    return found


# --- stories ------------------------------------------------------------------------------------------------------


def drop(m: Measurement, seed: int, share: float) -> Measurement:
    """Some received packets have no stamp at one end or the other."""
    draw = np.random.default_rng(seed)
    columns = {name: getattr(m.samples, name).copy() for name in ("t1", "t2", "t3", "t4")}
    for column in columns.values():
        column[draw.random(len(column)) < share] = MISSING
    changed: Measurement = synthetic.change(m, **columns)
    return changed


def shuffled(m: Measurement, seed: int) -> Measurement:
    """Replies overtake each other, some come twice, rows lie in no order, one flow has a hole in its numbers."""
    draw = np.random.default_rng(seed)
    s = m.samples
    arrival, far, copies = s.arrival.copy(), s.far_seq.copy(), s.copies.copy()
    for start in draw.integers(0, len(s) - 8, 20):
        arrival[[start, start + 4]] = arrival[[start + 4, start]]
        far[[start + 1, start + 5]] = far[[start + 5, start + 1]]
    copies[draw.random(len(s)) < 0.01] = 2
    order = draw.permutation(len(s))[: len(s) - 5]
    columns = {name: getattr(s, name) for name in s.__dataclass_fields__} | {
        "arrival": arrival, "far_seq": far, "copies": copies,
    }  # fmt: skip
    return replace(m, samples=Samples(**{name: column[order] for name, column in columns.items()}))


def mixed_stamps(m: Measurement, seed: int, share: float) -> Measurement:
    """A few stamps are user space's."""
    draw = np.random.default_rng(seed)
    flags = m.samples.flags.copy()
    for stamp in range(4):
        stray = draw.random(len(flags)) < share
        flags[stray] = (flags[stray] & ~(3 << (2 * stamp))) | (USER << (2 * stamp))
    changed: Measurement = synthetic.change(m, flags=flags)
    return changed


def restarted(m: Measurement) -> Measurement:
    far = m.samples.far_seq.copy()
    later = np.arange(len(far)) > len(far) // 2
    far[later & (far >= 0)] -= 400
    changed: Measurement = synthetic.change(m, far_seq=np.where(later, np.maximum(far, -1), far))
    return changed


def restarted_unseen(m: Measurement, at: int, until: int) -> Measurement:
    """One flow's reflector restarts at row ``at``; nothing comes back before it has counted past its old number."""
    far, n = m.samples.far_seq.copy(), len(m.samples)
    back = np.arange(n) >= until
    far[back] -= at
    return counting(synthetic.change(m, far_seq=far), reflector_restarts=1)


def stalled(m: Measurement, late_ns: int) -> Measurement:
    row = np.arange(0, len(m.samples), 50)
    return replace(m, stalls=Stalls(row, row % 2, np.full(len(row), late_ns)))


def overtaken(m: Measurement) -> Measurement:
    """Requests overtake each other on the way there."""
    far = m.samples.far_seq.copy()
    for start in np.flatnonzero((far[:-4] >= 0) & (far[4:] >= 0))[::50]:
        far[[start, start + 4]] = far[[start + 4, start]]
    changed: Measurement = synthetic.change(m, far_seq=far)
    return changed


def unsent(m: Measurement, rows: Any) -> Measurement:
    """Rows of the schedule that never left."""
    columns = {name: getattr(m.samples, name).copy() for name in ("t1", "t2", "t3", "t4", "flags")}
    for name, column in columns.items():
        column[rows] = SKIPPED if name == "flags" else MISSING
    changed: Measurement = synthetic.change(m, **columns)
    return changed


def counting(m: Measurement, **counters: int) -> Measurement:
    """What the ends of the measurement counted themselves."""
    return replace(m, health=replace(m.health, counters=counters))


def parted(m: Measurement) -> Measurement:
    """Two sources a site, with parts, offsets and a watched reference."""
    start, end = m.health.started_ns, m.health.ended_ns
    parts = (Part("钟", "servo", 300, "log"), Part("路", "path", 900, "declared"))
    states = []
    for site, at in itertools.product("ab", range(start - 10**9, end + 2 * 10**9, 10**9)):
        k = (at - start) // 10**9
        states += [
            ClockState(site, "linuxptp", at, True, 1_200 + k, 20, 37, False, "gm1", "", 100 + k, parts),
            ClockState(site, "chrony", at + 1, True, 1_100, None, None, None, f"ntp{k}", "", -200),
            ClockState(site, "gnss", at + 2, True, 80, None, 37, False, "gps", ""),
            ClockState(site, "kernel", at + 3, True, 500_000, 500_000, 37, None, "", ""),
        ]
    return replace(m, evidence=tuple(states))


def changing(m: Measurement) -> Measurement:
    """A grandmaster changes, a source contradicts another, a leap second is announced, polls fall silent."""
    states = list(parted(m).evidence)
    states[40] = replace(states[40], identity="gm2", leap_pending=True)
    states[5] = replace(states[5], offset_ns=90_000, bound_ns=90_100)
    return replace(m, evidence=tuple(s for s in states if not 2 <= (s.at_ns - m.health.started_ns) / 1e9 <= 5.5))


DRAW = np.random.default_rng(20261122)
FEW = DRAW.choice(N, 12, replace=False)
LOADED = replace(BASE, unloaded=False)
SPIKES = np.where(DRAW.random(N) < 0.02, 900_000, 0)
BURST = np.where((np.arange(N) // 40) % 9 == 0, 1_500_000, 0)
FIBRE = Route(80_000, 1_468_200, 2_000, "register")

STORIES: dict[str, tuple[list[Measurement], str]] = {
    "both requirements pass": (
        [synthetic.tell(BASE, "m1"), synthetic.tell(replace(LOADED, bound=500, seed=2), "m2")], TALLY,
    ),
    "too short for its quantile": ([synthetic.tell(LOADED)], SHORT),
    "losses both ways": (
        [synthetic.tell(replace(LOADED, lost_forward=FEW[:7], lost_backward=FEW[7:]))], TALLY,
    ),
    "spikes": ([synthetic.tell(replace(LOADED, extra_forward=SPIKES, extra_backward=SPIKES[::-1]))], TALLY),
    "bursts": ([synthetic.tell(replace(LOADED, extra_forward=BURST))], TALLY),
    "one way too long": ([synthetic.tell(replace(BASE, forward=1_300_000))], SHORT),
    "both ways too long": (
        [synthetic.tell(replace(each, forward=1_300_000, backward=1_400_000), name)
         for each, name in ((BASE, "m1"), (LOADED, "m2"))], TALLY,
    ),
    "within the guard band": ([synthetic.tell(replace(BASE, forward=995_000, jitter=8_000))], SHORT),
    "just above": ([synthetic.tell(replace(LOADED, forward=999_000, jitter=9_000, bound=100))], TALLY),
    "a clock denies": ([synthetic.tell(replace(BASE, synchronised=False))], SHORT),
    "no bound": ([synthetic.tell(replace(BASE, bound=None))], SHORT),
    "no evidence": ([synthetic.tell(replace(BASE, evidence=()))], SHORT),
    "evidence with silences": ([changing(synthetic.tell(BASE))], SHORT),
    "evidence in parts": ([parted(synthetic.tell(BASE))], SHORT),
    "a step": ([synthetic.tell(replace(BASE, step=200_000, step_at_s=3))], SHORT),
    "a path change": (
        [synthetic.tell(replace(BASE, extra_forward=np.where(np.arange(N) > 1_500, 150_000, 0)))], SHORT,
    ),
    "a skew": ([synthetic.tell(replace(BASE, skew_ppb=30_000))], SHORT),
    "seconds apart": ([synthetic.tell(replace(BASE, offset=37 * 10**9))], SHORT),
    "an early clock": ([synthetic.tell(replace(BASE, offset=-400_000, route=FIBRE))], SHORT),
    "faster than light": ([synthetic.tell(replace(BASE, route=replace(FIBRE, length_m=90_000)))], SHORT),
    "longer than the limit by record": (
        [synthetic.tell(replace(BASE, forward=1_200_000, backward=1_200_000, route=replace(FIBRE, length_m=230_000)))],
        SHORT,
    ),
    "surveyed and qualified": (
        [synthetic.tell(replace(LOADED, geodesic_m=40_000, route=FIBRE, key_file="k", qualified="q", cap=15_000,
                                forward=420_000, backward=430_000))], TALLY,
    ),
    "one clock at both ends": ([synthetic.tell(replace(BASE, shared="gm", identity="clock:gm"))], SHORT),
    "one clock said, two seen": ([synthetic.tell(replace(BASE, shared="gm"))], SHORT),
    "time over the link": ([synthetic.tell(replace(BASE, sync_over_link=True))], SHORT),
    "not calibrated": ([synthetic.tell(replace(BASE, calibrated=False))], SHORT),
    "user stamps": ([synthetic.tell(replace(BASE, planes=85, calibrated=False))], SHORT),
    "stray user stamps": ([mixed_stamps(synthetic.tell(LOADED), 3, 0.003)], TALLY),
    "nic stamps": ([synthetic.tell(replace(BASE, planes=NIC * 85, calibrated=False, bound=100))], SHORT),
    "mixed stamps": ([mixed_stamps(synthetic.tell(replace(LOADED, forward=990_000, jitter=20_000)), 3, 0.003)], SHORT),
    "stamps missing": (
        [drop(synthetic.tell(each, name), 4, 0.003) for each, name in ((BASE, "m1"), (LOADED, "m2"))], TALLY,
    ),
    "many stamps missing": ([drop(synthetic.tell(LOADED), 6, 0.03)], TALLY),
    "out of order": ([shuffled(synthetic.tell(replace(LOADED, lost_backward=FEW)), 5)], TALLY),
    "a reflector restarts": ([restarted(synthetic.tell(replace(LOADED, lost_forward=FEW)))], TALLY),
    "a reflector restarts while nothing comes back": (
        [restarted_unseen(
            synthetic.tell(replace(LOADED, flows=1, lost_backward=np.arange(500, 1_200))), 500, 1_200)], TALLY,
    ),
    "the far end falls silent": (
        [synthetic.tell(replace(each, forward=1_400_000, lost_forward=np.arange(2_000, N)), name)
         for each, name in ((BASE, "m1"), (LOADED, "m2"))], TALLY,
    ),
    "silent from the start": ([synthetic.tell(replace(BASE, lost_forward=np.arange(N)))], SHORT),
    "the host stalls": ([stalled(synthetic.tell(replace(LOADED, forward=1_010_000)), 50_000)], SHORT),
    "the ends lose": (
        [counting(synthetic.tell(replace(LOADED, lost_backward=np.arange(0, N, 3))), receive_overflows=40,
                  reflector_restarts=1)],
        SHORT,
    ),
    "interrupted": ([synthetic.tell(replace(BASE, interrupted="SIGINT", duration_s=60, steps=(-5_000_000,)))], SHORT),
    "real, under a rehearsal policy": ([synthetic.tell(replace(BASE, simulated=()))], SHORT),
    "a step in an outage": (
        [synthetic.tell(replace(BASE, step=-200_000, step_at_s=3, lost_forward=np.arange(1_000, 2_000)))], SHORT,
    ),
    "overtaken and lost": (
        [overtaken(synthetic.tell(replace(LOADED, lost_forward=FEW[:7], lost_backward=FEW[7:])))], TALLY,
    ),
    "answers too late": (
        [counting(synthetic.tell(replace(LOADED, lost_backward=np.arange(0, N, 9))), late_replies=300)], TALLY,
    ),
    "some never sent": ([unsent(synthetic.tell(LOADED), np.arange(700, 760))], TALLY),
    "a window that fails, a window that is thin": (
        [synthetic.tell(replace(BASE, extra_forward=np.where(np.arange(N) < N // 2, 1_200_000, 0),
                                lost_forward=np.arange(N // 2 + 20, N - 20)))], SHORT,
    ),
    "a near clock slewed fast": ([counting(synthetic.tell(BASE), near_rate_ppb=83_333_000)], SHORT),
    "nothing": ([], SHORT),
}  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """Some thousand synced writes test nothing here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """Story → its run, made once; who changes it takes a copy."""
    made: dict[str, Path] = {}

    def get(name: str) -> Path:
        if name not in made:
            measurements, policy = STORIES[name]
            links = ["a-b", "a-c"] if name == "interrupted" else ["a-b"]
            made[name] = a_run(tmp_path_factory.mktemp("run"), measurements, policy, links=links)
        return made[name]

    return get


Runs = Callable[[str], Path]


@pytest.fixture
def mine(runs: Runs, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a story's run."""

    def get(name: str) -> Path:
        path = runs(name)
        return Path(shutil.copytree(path, tmp_path / path.name))

    return get


# --- agreement ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", STORIES)
def test_it_agrees_with_the_house_on_every_story(name: str, runs: Runs) -> None:
    done = check(runs(name))
    assert sound(done), done.stdout
    found = states(done)
    assert found["result"] == ["ok"]
    assert found["samples"] == ["ok"]
    assert found["wording"] == ["not checked"]


def test_the_stories_have_every_verdict_reason_and_red_gate(runs: Runs) -> None:
    verdicts, reasons, tiers, red = set(), set(), set(), set()
    for name in STORIES:
        said = result(runs(name))
        verdicts.add(said["verdict"])
        red |= {each["id"] for each in said["gates"] if each["state"] == "red"}
        for requirement in said["requirements"]:
            for row in requirement["directions"]:
                tiers.add((row["bracket"] or {}).get("tier"))
                reasons |= {each["reason"] for each in row["statements"]}
    assert verdicts == {"PASS", "FAIL", "INDETERMINATE", "INVALID"}
    assert reasons == {"below", "above", "route-floor", "guard-band", "bracket-below", "bracket-open", "pair", "gate"}
    assert tiers == {"0", "1", None}
    assert red >= {
        "clock-near", "evidence-coverage", "shared-clock", "sync-topology", "reference-change", "clock-agreement",
        "leap", "kernel-steps", "time-scale", "floor", "negative-delay", "round-trip-floor", "step", "skew",
        "reflector-restart", "far-silent", "rehearsal-policy", "own-loss", "uncertainty", "unstamped", "host-stalls",
    }  # fmt: skip


@st.composite
def varied(draw: st.DrawFn) -> list[Measurement]:
    """One or two measurements in which several things happen at once."""
    found = []
    for k in range(draw(st.integers(1, 2))):
        seed = draw(st.integers(0, 2**20))
        random = np.random.default_rng(seed)
        story = replace(
            BASE,
            seed=seed,
            flows=draw(st.integers(1, 5)),
            unloaded=draw(st.booleans()),
            forward=draw(st.sampled_from((300_000, 960_000, 995_000, 1_002_000, 1_200_000))),
            backward=draw(st.sampled_from((280_000, 992_000, 1_050_000))),
            jitter=draw(st.sampled_from((0, 40, 2_000, 30_000))),
            bound=draw(st.sampled_from((0, 100, 1_000, 30_000, None))),
            offset=draw(st.sampled_from((0, -2_000, 5_000))),
            skew_ppb=draw(st.sampled_from((0, 0, 200, -5_000))),
            step=draw(st.sampled_from((0, 0, 60_000))),
            step_at_s=3,
            source=draw(st.sampled_from(("simulated", "chrony", "kernel", "gnss"))),
            calibrated=draw(st.booleans()),
            turnaround=draw(st.sampled_from((-50, 0, 900, 20_000))),
            lost_forward=random.choice(N, draw(st.sampled_from((0, 1, 40, 300))), replace=False),
            lost_backward=random.choice(N, draw(st.sampled_from((0, 3, 60))), replace=False),
            extra_forward=np.where((np.arange(N) // 37) % draw(st.integers(5, 90)) == 0, 80_000, 0),
            route=draw(st.sampled_from((None, FIBRE))),
            geodesic_m=draw(st.sampled_from((None, 30_000))),
            key_file=draw(st.sampled_from((None, "k"))),
            qualified="q",
            cap=draw(st.sampled_from((0, 5_000))),
            planes=draw(st.sampled_from((KERNEL * 85, NIC * 85, 0b11101011))),
        )
        m = synthetic.tell(story, f"m{k}")
        if draw(st.booleans()):
            m = drop(m, seed, draw(st.sampled_from((0.0005, 0.01))))
        if draw(st.booleans()):
            m = mixed_stamps(m, seed, draw(st.sampled_from((0.002, 0.3))))
        if draw(st.booleans()):
            m = shuffled(m, seed)
        if draw(st.booleans()):
            m = stalled(m, draw(st.sampled_from((500, 90_000))))
        if draw(st.booleans()):
            m = parted(m)
        found.append(m)
    return found


@settings(max_examples=8, suppress_health_check=list(HealthCheck))
@given(measurements=varied(), policy=st.sampled_from((SHORT, TALLY, TALLY.replace("[25, 1000]", "[1, 100]"))))
def test_it_agrees_with_the_house_on_varied_stories(
    measurements: list[Measurement], policy: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    done = check(a_run(tmp_path_factory.mktemp("varied"), measurements, policy))
    assert sound(done), done.stdout
    assert states(done)["result"] == ["ok"]


def test_its_tables_are_those_of_the_house_though_made_otherwise() -> None:
    assert {nu: lone.coverage(nu) for nu, _ in budget.K_TABLE} == dict(budget.K_TABLE)
    assert [lone.coverage(nu) for nu in (None, 0, 53, 10**9)] == [
        budget.coverage_factor(nu) for nu in (None, 0, 53, 10**9)
    ]
    for n, p, alpha in itertools.product(
        (0, 1, 5, 6, 29, 100, 1_499, 3_688, 10_000),
        (Fraction(1, 2), Fraction(9, 10), Fraction(999, 1000), Fraction(499, 500)),
        (Fraction(25, 1000), Fraction(1, 32), Fraction(25, 32_000)),
    ):
        accept, refuse = statistics.acceptance(n, p, alpha)
        wanted = (None if accept < 0 else n - accept, None if refuse > n else n - refuse + 1)
        assert lone.ranks(n, p, alpha) == wanted, (n, p, alpha)
    # rules 3.2: the acceptance table for p99.9, and the least numbers of samples
    assert lone.ranks(100_000, Fraction(999, 1000), Fraction(25, 1000)) == (100_000 - 80, 100_000 - 121 + 1)
    assert lone.ranks(3_687, Fraction(999, 1000), Fraction(25, 1000))[0] is None
    for lost, n in ((0, 10), (10, 10), (3, 1_000), (997, 1_000), (40, 86_400), (250_000, 1_000_000)):
        assert lone.proportion(lost, n, Fraction(25, 1000)) == statistics.clopper_pearson(lost, n, Fraction(25, 1000))


def test_its_trees_are_those_of_the_house_though_walked_otherwise() -> None:
    leaves = [merkle.leaf_hash(bytes([k])) for k in range(20)]
    for size in range(1, 21):
        top = merkle.root(leaves[:size])
        assert lone.tree(leaves[:size]) == top
        for k in range(size):
            path = merkle.inclusion_proof(leaves[:size], k)
            assert lone.included(k, size, leaves[k], path) == top
        for old in range(1, size + 1):
            path = merkle.consistency_proof(leaves[:size], old)
            was = merkle.root(leaves[:old])
            assert lone.grown(old, was, size, top, path)
            assert not lone.grown(old, b"\1" * 32, size, top, path)
            assert not lone.grown(old, was, size, b"\1" * 32, path)
            assert not lone.grown(old, was, size, top, [*path, top])


def test_small_order_keys_are_the_ones_that_eightfold_vanish() -> None:
    p = 2**255 - 19
    d = -121665 * pow(121666, -1, p)
    for y in lone.SMALL_ORDER:
        for _ in range(3):
            square = (y * y - 1) * pow(d * y * y + 1, p - 2, p)
            y = (y * y + square) * pow(2 + square - y * y, p - 2, p) % p  # noqa: PLW2901 - doubled thrice
        assert y == 1


# --- isolation ----------------------------------------------------------------------------------------------------


def test_it_imports_the_standard_library_alone() -> None:
    names = set()
    for each in ast.walk(ast.parse(PROGRAM.read_text())):
        if isinstance(each, ast.Import):
            names |= {name.name.partition(".")[0] for name in each.names}
        elif isinstance(each, ast.ImportFrom):
            names.add((each.module or "").partition(".")[0])
    assert names - set(sys.stdlib_module_names) == {"cryptography"}
    ast.parse(PROGRAM.read_text(), feature_version=(3, 9))


def test_where_it_runs_there_is_nothing_of_the_house() -> None:
    for name in ("numpy", "harness", "fastpath", "cryptography", "rfc8785", "pydantic"):
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-c", f"import {name}"], capture_output=True, text=True, check=False, cwd="/"
        )
        assert "ModuleNotFoundError" in done.stderr, name


# --- tampering ----------------------------------------------------------------------------------------------------


def leaves(value: Any, where: str = "$") -> Iterator[tuple[Any, Any, str]]:
    """(container, key, path) of every plain value."""
    for key, each in value.items() if isinstance(value, dict) else enumerate(value):
        here = f"{where}.{key}" if isinstance(value, dict) else f"{where}[{key}]"
        if isinstance(each, dict | list):
            yield from leaves(each, here)
        else:
            yield value, key, here


def recomputed(path: Path) -> Any:
    book, wrong = lone.journal(path)
    assert not wrong
    policy = lone.policy_of((path / "data/policy.toml").read_bytes())
    found = [lone.measured(path / "data" / name) for name in book.finished if name.startswith("measurements/")]
    loaded = {m.facts["link"]["name"] for m in found if not m.facts["stream"]["unloaded"]}
    return lone.whole_result(found, policy, lone.provenance_of(path, book), result(path), loaded)[0]


def test_a_result_of_a_schema_to_come_is_not_taken_for_ours(runs: Runs) -> None:
    path = runs("not calibrated")
    book, _ = lone.journal(path)
    policy = lone.policy_of((path / "data/policy.toml").read_bytes())
    with pytest.raises(lone.FormatError, match="another schema, 'millicert-result/3'"):
        lone.whole_result(
            [], policy, {**lone.provenance_of(path, book), "result_schema": "millicert-result/3"}, {}, set()
        )


PROSE = re.compile(
    r"\.(gates|budgets)\[.*\.(found|limit|origin|(remedy|name)_(zh|en))$"
    r"|\.(reason_(zh|en)|tier_reason(_zh)?|largest_unseen_reason(_zh)?|method|scope|convention)$"
)
"""Paths of what is not recomputed because it is prose."""


@pytest.mark.parametrize(
    ("name", "share"), [("not calibrated", 1), ("both ways too long", 20), ("evidence in parts", 20)]
)
def test_every_changed_value_that_is_no_sentence_is_found_and_named(name: str, share: int, runs: Runs) -> None:
    stated, wanted = result(runs(name)), recomputed(runs(name))
    untouched = lone.Comparison()
    untouched.walk(stated, wanted)
    assert untouched.first == ""
    for k, (holder, key, where) in enumerate(leaves(stated)):
        kept = holder[key]
        if k % share or PROSE.search(where):
            continue
        holder[key] = kept + 1 if isinstance(kept, int) else 0 if kept is None else f"{kept}1"
        found = lone.Comparison()
        found.walk(stated, wanted)
        assert found.first.startswith(f"{where}: "), (where, found.first)
        holder[key] = kept


@pytest.mark.parametrize(
    ("where", "value"),
    [
        ("requirements.0.directions.0.statements.0.upper_ns", 1),
        ("requirements.0.directions.0.verdict", "PASS"),
        ("requirements.0.directions.0.statements.1.n_eff.0", 10**9),
        ("budgets.0.components.1.u_ps", 0),
        ("gates.0.state", "not-applicable"),
        ("gates.0.found", 5),
        ("verdict", "PASS"),
        ("streams.0.counts.sent", 0),
        ("note", "all is well"),
    ],
)
def test_a_forged_result_that_journal_and_manifests_fit_is_found(where: str, value: Any, mine: Runs) -> None:
    path = mine("one way too long")
    said = result(path)
    *way, last = (int(k) if k.isdigit() else k for k in where.split("."))
    holder: Any = said
    for key in way:
        holder = holder[key]
    assert last == "note" or holder[last] != value
    holder[last] = value
    forge(path, {"data/result.json": canonical(said)})
    done = check(path)
    assert not sound(done)
    assert states(done)["bag"] == states(done)["journal"] == states(done)["records"] == ["ok"]
    row = next(line for line in done.stdout.split("\n") if line[7:].startswith("result"))
    assert "FAILED" in row
    named = "".join(f"[{k}]" if k.isdigit() else f".{k}" for k in where.split("."))
    assert f"${named}" in row


def test_forged_samples_and_evidence_that_journal_and_manifests_fit_are_found(mine: Runs) -> None:
    path = mine("both requirements pass")
    folder = "data/measurements/m1"
    evidence = (path / folder / "evidence.jsonl").read_bytes()
    forge(path, {f"{folder}/evidence.jsonl": evidence.replace(b'"bound_ns":1000', b'"bound_ns":900', 99)})
    assert "$.budgets[0].U_ps" in check(path).stdout
    forge(path, {f"{folder}/evidence.jsonl": evidence})
    assert sound(check(path))
    other = (path / "data/measurements/m2/samples-00000.npz").read_bytes()
    forge(path, {f"{folder}/samples-00000.npz": other})
    done = check(path)
    assert not sound(done)
    assert "stated" in done.stdout


def test_every_changed_octet_is_found_and_its_file_named(mine: Runs) -> None:
    draw = np.random.default_rng(20261122)
    path = mine("not calibrated")
    for file in sorted(p for p in path.rglob("*") if p.is_file()):
        whole = file.read_bytes()
        for offset in {0, len(whole) - 1, *draw.integers(len(whole), size=4).tolist()}:
            damaged = bytearray(whole)
            damaged[offset] ^= int(draw.integers(1, 256))
            file.write_bytes(damaged)
            assert file.name in look(path), (file, offset)
        file.write_bytes(whole)
    assert sound(check(path, "--level", 0))


def test_a_changed_or_missing_journal_line_is_found_though_manifests_fit(mine: Runs) -> None:
    path = mine("no bound")
    file = path / "data/journal.jsonl"
    lines = file.read_bytes().split(b"\n")
    at = json.loads(lines[2])["utc_ns"].encode()
    for changed, said in (
        ([*lines[:2], lines[2].replace(at, at[:-1] + b"7"), *lines[3:]], "line 3 does not follow line 2"),
        ([*lines[:3], *lines[4:]], "line 3 does not follow line 2"),
        ([*lines[:-2], b""], "does not end with the line that seals it"),
        ([*lines[:-1], lines[1][:20]], "torn line"),
    ):
        file.write_bytes(b"\n".join(changed))
        reseal(path)
        assert said in look(path)


def test_among_equal_bounds_the_first_source_by_name_is_listed() -> None:
    """Nothing that differs from one process to the next may choose what a budget lists."""
    story = replace(BASE, seconds=1, rate_pps=50)
    m = synthetic.tell(story)
    parts = (Part("钟", "servo", 300, "log"), Part("路", "path", 700, "declared"))
    facts = {**lone.parse(files(m)["measurement.json"], "m1"), "id": "m1"}
    polls = [
        {"site": "a", "source": source, "at_ns": at, "synchronised": True, "bound_ns": 1_000, "skew_ppb": 10,
         "parts": [plain(part) for part in parts] if source != "chrony" else []}
        for at in range(m.health.started_ns - 10**9, m.health.ended_ns + 2 * 10**9, 10**9)
        for source in ("phc", "linuxptp", "chrony")
    ]  # fmt: skip
    found = lone.claim("a", lone.Measured(facts, {}, polls, {}))
    assert (found.bound, found.parts) == (1_000, [])
    found = lone.claim("a", lone.Measured(facts, {}, [p for p in polls if p["source"] != "chrony"], {}))
    assert (found.bound, found.parts) == (1_000, [300, 700])


def test_extra_missing_and_linked_files_are_named(mine: Runs) -> None:
    path = mine("no bound")
    (path / "data/extra.txt").write_text("x")
    assert "data/extra.txt is extra" in look(path)
    (path / "data/extra.txt").unlink()
    (path / "note.txt").write_text("x")
    assert "note.txt is extra" in look(path)
    (path / "note.txt").unlink()
    (path / "data/stray").symlink_to("/etc/hostname")
    assert "data/stray is a link" in look(path)
    (path / "data/stray").unlink()
    (path / "data/plan.json").unlink()
    done = check(path)
    assert not sound(done)
    assert "data/plan.json is missing" in done.stdout
    moved = path.rename(path.with_name("20260922T120000Z-ffffff"))
    assert "the folder's name is" in look(moved)


# --- damage -------------------------------------------------------------------------------------------------------


def test_files_damaged_under_fitting_hashes_give_a_verdict_never_a_traceback(mine: Runs) -> None:
    draw = np.random.default_rng(7)
    path = mine("no bound")
    folder = "data/measurements/m1"
    names = [f"{folder}/{name}" for name in ("samples-00001.npz", "stalls.npz", "measurement.json", "evidence.jsonl")]
    names += ["data/plan.json", "data/policy.toml", "data/result.json"]
    for name in names:
        whole = (path / name).read_bytes()
        flipped = bytearray(whole)
        for offset in draw.integers(0, len(whole), 3):
            flipped[offset] ^= 0x55
        for damaged in (bytes(flipped), whole[: len(whole) // 2], b""):
            forge(path, {name: damaged})
            assert look(path, 4), name
        assert not sound(check(path)), name
        forge(path, {name: whole})
    assert sound(check(path))


ABSURD: tuple[Any, ...] = (None, -1, 2**52, "", "x", [], {}, [[]], True, "99999999999999999999", 0)


def test_absurd_values_in_what_was_measured_give_a_verdict_never_a_traceback(runs: Runs, monkeypatch: Any) -> None:
    """Made in this process, for there are many: every row of level 4 comes, none raises."""
    path, draw = runs("no bound"), np.random.default_rng(11)
    facts = json.loads((path / "data/measurements/m1/measurement.json").read_bytes())
    spots = list(leaves(facts))
    book, _ = lone.journal(path)
    whole = lone.measured(path / "data/measurements/m1")
    for _ in range(40):
        changed = copy.deepcopy(facts)
        where = spots[int(draw.integers(len(spots)))][2]
        holder, key = next((h, k) for h, k, w in leaves(changed) if w == where)
        holder[key] = ABSURD[int(draw.integers(len(ABSURD)))]
        monkeypatch.setattr(lone, "measured", lambda _, now=changed: replace(whole, facts=now))
        found = list(lone.guarded(4, "result", lone.numbers(path, path, book, {})))
        assert {row.state for row in found} <= {"ok", "FAILED", "not checked"}, where


def test_what_is_no_results_folder_gives_a_verdict(tmp_path: Path) -> None:
    assert not sound(check(tmp_path))
    (tmp_path / "tagmanifest-sha256.txt").write_bytes(b"\xff\n")
    assert not sound(check(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data/journal.jsonl").write_bytes(b"[" * 100_000 + b"\n")
    assert not sound(check(tmp_path))
    (tmp_path / "data/original.json").write_bytes(b'{"run":"../x","schema":"millicert-judged-again/1"}')
    assert not sound(check(tmp_path))
    assert check(tmp_path / "absent").returncode == 2


# --- signatures, log, later judgements ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def signed(tmp_path_factory: pytest.TempPathFactory, runs: Runs) -> tuple[Path, Path]:
    """(a signed run, the signer's key file)."""
    root = tmp_path_factory.mktemp("signed")
    path = Path(shutil.copytree(runs("no bound"), root / runs("no bound").name))
    keys.create(root / "lab", "lab-head.example")
    signature.sign(path, keys.load(root / "lab"), utc_ns=1_800_000_000 * 10**9)
    return path, root / "lab"


@pytest.fixture(scope="module")
def cryptography(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder from which nothing but `cryptography` can be imported."""
    folder = tmp_path_factory.mktemp("packages")
    for name in ("cryptography", "_cffi_backend", "cffi"):
        spec = importlib.util.find_spec(name)
        assert spec is not None
        assert spec.origin is not None
        origin = Path(spec.origin)
        source = origin.parent if origin.name == "__init__.py" else origin
        (folder / source.name).symlink_to(source)
    return folder


def test_signatures_are_checked_against_the_keys_that_are_trusted(
    signed: tuple[Path, Path], cryptography: Path, tmp_path: Path
) -> None:
    path, key = signed
    line = key.with_suffix(".pub").read_text().strip()
    trust = tmp_path / "trust"
    done = check(path, "--level", 1, cryptography=cryptography)
    assert sound(done)
    assert "nobody vouches for the key lab-head.example+" in done.stdout
    for days, fine in (("", True), ("from=2027-01-01 until=2027-12-31", True), ("until=2026-12-31", False)):
        trust.write_text(f"# from the lab, by hand\n{line} {days}\n")
        done = check(path, "--trust", trust, "--level", 1, cryptography=cryptography)
        assert sound(done) is fine, done.stdout
    for mistake in ("", f"{line} until=tomorrow\n", f"{line}\n{line}\n", line.replace("+", "+0", 1)):
        trust.write_text(mistake)
        assert check(path, "--trust", trust, "--level", 1).returncode == 2


def test_a_changed_envelope_is_found(signed: tuple[Path, Path], tmp_path: Path) -> None:
    path = Path(shutil.copytree(signed[0], tmp_path / signed[0].name))
    (file,) = (path / "sig").iterdir()
    whole = file.read_bytes()
    draw = np.random.default_rng(3)
    for offset in (0, len(whole) - 1, whole.index(b'"sig":"') + 9, *draw.integers(0, len(whole), 40).tolist()):
        damaged = bytearray(whole)
        damaged[offset] ^= 1
        file.write_bytes(damaged)
        assert file.name in look(path, 1), offset
    file.write_bytes(whole)
    stranger = path / "sig" / file.name.replace("lab", "lob")
    file.rename(stranger)
    assert "it is not the file of lab-head.example+" in look(path, 1)


def test_without_cryptography_openssl_can_say(signed: tuple[Path, Path], tmp_path: Path) -> None:
    path, key = signed
    trust = tmp_path / "trust"
    trust.write_text(key.with_suffix(".pub").read_text())
    done = check(path, "--trust", trust, "--level", 1, "--write-signed", tmp_path / "out")
    assert not sound(done)
    assert states(done)["signature"] == states(done)["trust"] == ["not checked"]
    assert "openssl pkeyutl -verify" in done.stdout
    assert sound(check(path, "--level", 1))
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl here")
    name = next((tmp_path / "out").glob("*.der")).with_suffix("")
    command = [
        "openssl", "pkeyutl", "-verify", "-pubin", "-keyform", "DER", "-inkey", f"{name}.der", "-rawin",
        "-in", f"{name}.pae", "-sigfile", f"{name}.sig",
    ]  # fmt: skip
    assert subprocess.run(command, capture_output=True, check=False).returncode == 0
    Path(f"{name}.pae").write_bytes(Path(f"{name}.pae").read_bytes() + b" ")
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def logged(root: Path, **lie: object) -> Path:
    """The second attempt of two in one log."""
    for suffix in ("aaaaaa", "bbbbbb"):
        log = Log.of(root, True, ticking())
        with RunFolder.create(root, True, {"provenance": {}}, policy=SHORT, instants=ticking(), token=suffix) as folder:
            found = log.plan(folder.name, item("bench", ["a-b"], ["T1"]), plan_sha256=folder.ledger.plan_sha256)
            folder.journal.append(LOGGED, **{**told(found, 0), **(lie if suffix == "bbbbbb" else {})})
            folder.judge()
            folder.seal()
            path = folder.path
        record.sealed(log, path)
    return path


def test_a_run_is_placed_in_its_log_and_in_its_proof(tmp_path: Path, cryptography: Path) -> None:
    path = logged(tmp_path)
    log = path.parent / "log"
    done = check(path, "--level", 2)
    assert sound(done)
    assert states(done)["log"] == ["ok"]
    assert "entry 3 of" in done.stdout
    away = Path(shutil.copytree(path, tmp_path / "away" / path.name))
    assert states(check(away, "--level", 2))["log"] == ["not checked"]
    for source in (log, log / "proofs" / f"{path.name}.json"):
        done = check(away, "--level", 2, "--log", source)
        assert states(done)["log"] == ["ok"], done.stdout
    other = next(each for each in (log / "proofs").iterdir() if path.name not in each.name)
    assert not sound(check(away, "--level", 2, "--log", other))
    whole = (log / "entries.jsonl").read_bytes()
    (log / "entries.jsonl").write_bytes(whole.replace(b'"attempt":1', b'"attempt":7'))
    assert not sound(check(path, "--level", 2))
    (log / "entries.jsonl").write_bytes(whole)
    # A key comes into use: the checkpoint is signed, and counts where the auditor trusts the key.
    keys.create(tmp_path / "key", "lab")
    Log(log).use_key(tmp_path / "key")
    proof.keep(Log(log), path.name)
    (tmp_path / "trust").write_text((tmp_path / "key.pub").read_text())
    done = check(path, "--log", log, "--trust", tmp_path / "trust", "--level", 2, cryptography=cryptography)
    assert states(done)["checkpoint"] == ["ok"], done.stdout
    note = (log / "checkpoint").read_text().split("\n")
    note[4] = note[4][:-8] + ("A" if note[4][-8] != "A" else "B") + note[4][-7:]
    (log / "checkpoint").write_text("\n".join(note))
    done = check(path, "--log", log, "--trust", tmp_path / "trust", "--level", 2, cryptography=cryptography)
    assert states(done)["checkpoint"] == ["FAILED"]


@pytest.mark.parametrize("lie", [{"attempt": 1}, {"earlier": []}, {"previous": {"size": 1, "root": "00" * 32}}])
def test_a_journal_that_lies_about_its_attempt_is_found(lie: dict[str, object], tmp_path: Path) -> None:
    assert states(check(logged(tmp_path, **lie), "--level", 2))["log"] == ["FAILED"]


def test_a_run_judged_again_is_recomputed_from_the_run_beside_it(mine: Runs) -> None:
    path = mine("one way too long")
    again, _ = judge_again(path, TALLY.replace("limit_ns = 1_000_000", "limit_ns = 2_000_000"), reason="another limit")
    done = check(again)
    assert sound(done), done.stdout
    assert result(again)["verdict"] != result(path)["verdict"]
    assert states(done)["original"] == states(done)["result"] == ["ok"]
    whole = (again / "data/environment.json").read_bytes()
    (again / "data/environment.json").write_bytes(whole.replace(b"{", b"[", 1))  # which no journal names
    assert "data/environment.json was altered" in look(again)
    (again / "data/environment.json").write_bytes(whole)
    (path / "data/bench.toml").write_text("# other\n")
    assert not sound(check(again))
    shutil.rmtree(path)
    done = check(again)
    assert not sound(done)
    assert states(done)["original"] == ["not checked"]


def test_joined_evidence_is_verified_up_to_signatures_and_said_to_need_the_house(mine: Runs) -> None:
    path = mine("no bound")
    again, _ = judge_again(path, SHORT, reason="a journal came")
    original = json.loads((again / "data/original.json").read_bytes())
    (again / "data/original.json").write_bytes(canonical({**original, "attached": []}))
    reseal(again)
    done = check(again, "--level", 1)
    assert states(done)["bag"] == ["ok"]
    done = check(again)
    assert not sound(done)
    assert "the whole of the run" in done.stdout
