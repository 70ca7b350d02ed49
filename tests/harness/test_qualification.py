"""A qualification: a reel told right within U passes, one told wrong at any rate does not."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from harness import run as running
from harness.artefact import Patch, Port
from harness.bench import Bench, BenchFileError, parse
from harness.errors import HarnessError
from harness.link import Direction
from harness.measurement import Measurement
from harness.patching import Person
from harness.qualification import Qualification, Rung, qualify, wished
from harness.samples import Stalls
from harness.stream import Stream

PORT = Port("eth0", "ice", "02:00:00:00:00:01")
BENCH = """
[bench]
name = "two"
policy = "metro-2027"
[sites.a]
clock = { sources = ["kernel"], shared = "one host" }
[sites.b]
clock = { sources = ["in-band"], shared = "one host" }
[links.a-b]
near = "a"
far = "b"
far_address = "127.0.0.1"
flows = 2
"""
QUALIFY = """
[qualify]
reel_m = 10_000
u_ns = "10"
origin = "OTDR, 2026-11-20"
patch_mm = 2000
patch_u_ps = 30
patch_origin = "steel rule"
rates = [1000, 10_000]
size = 256
plugs = 6
seconds = 1
"""
REEL_NS = Patch(10_000_000, 1_468_200, 0, "").flight_ps // 1000


class Pair:
    """A pair with known ports, whose reel is as long as declared but for ``wrong`` ns at one rate."""

    def __init__(self, synthetic: ModuleType) -> None:
        self.synthetic = synthetic
        self.wrong: dict[tuple[int, str], int] = {}
        self.asked: list[str] = []
        self.late: list[int] = []
        """Packets that the host releases late, of each stream over the reel in turn; none when it is used up."""

    def measure(self, name: str, link: str, stream: Stream, rows: object, *, reel: bool = False) -> Measurement:
        del link, rows
        flight = {way: (REEL_NS + self.wrong.get((stream.rate_pps, way), 0)) * reel for way in Direction}
        story = self.synthetic.Story(
            seconds=1,
            forward=30_000 + flight[Direction.FORWARD],
            backward=40_000 + flight[Direction.BACKWARD],
            jitter=100,
            simulated=(),
            seed=crc32(name.encode()),
        )
        told: Measurement = self.synthetic.tell(story)
        one = told.link
        late = np.zeros(self.late.pop(0) if reel and self.late else 0, np.int64)
        shared = [replace(site, clock=replace(site.clock, shared="one host")) for site in (one.near, one.far)]
        return replace(
            told,
            link=replace(one, near=shared[0], far=shared[1]),
            stream=stream,
            near_planes="kernel/kernel/kernel/kernel",
            near_port=PORT,
            stalls=Stalls(late, late, late),
        )


def bench(more: str = QUALIFY) -> Bench:
    return parse(BENCH + more)


@pytest.fixture
def pair(synthetic: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Pair:
    made = Pair(synthetic)
    monkeypatch.setattr(running.Run, "back_to_back", made.measure)
    return made


def qualified(pair: Pair, folder: Path) -> Qualification:
    return qualify(bench(), "a-b", Person(lambda _: None, pair.asked.append), folder)


def test_a_reel_told_right_at_every_rate_passes_and_the_artefact_names_what_was_proven(
    pair: Pair, tmp_path: Path
) -> None:
    got = qualified(pair, tmp_path)
    assert got.passed, got.summary
    assert [(rung.rate_pps, rung.size, rung.planes) for rung in got.rungs] == [
        (1_000, 256, "kernel/kernel/kernel/kernel"),
        (10_000, 256, "kernel/kernel/kernel/kernel"),
    ]
    assert pair.asked[0].startswith("Both")
    assert pair.asked[3].startswith("Swap")
    assert pair.asked[-1].startswith("Put the reel")
    body = json.loads((tmp_path / "qualification.json").read_bytes())
    assert (body["id"], body["passed"], body["reel"]["length_mm"]) == (got.id, True, 10_000_000)
    assert body["calibration"] == json.loads((tmp_path / "calibration.json").read_bytes())["id"]
    assert all(0 < rung.expanded_ps[d] < 1_000_000 for rung in got.rungs for d in Direction)


@pytest.mark.parametrize("rate", [1_000, 10_000])
@pytest.mark.parametrize("way", list(Direction))
@pytest.mark.parametrize("sign", [1, -1])
def test_one_direction_wrong_at_one_rate_does_not_pass(
    pair: Pair, tmp_path: Path, rate: int, way: Direction, sign: int
) -> None:
    pair.wrong[rate, way] = sign * 1_000
    got = qualified(pair, tmp_path)
    assert not got.passed
    assert [rung.rate_pps for rung in got.rungs if not rung.within] == [rate]
    assert f"NOT WITHIN U: {rate} pps" in got.summary


def test_directions_wrong_against_each_other_show_although_the_round_trip_is_right(pair: Pair, tmp_path: Path) -> None:
    pair.wrong = {(1_000, Direction.FORWARD): 1_000, (1_000, Direction.BACKWARD): -1_000}
    got = qualified(pair, tmp_path)
    assert not got.passed
    assert abs(got.rungs[0].pair_error_ns) * 1000 <= got.rungs[0].pair_expanded_ps


@pytest.mark.parametrize(("forward", "backward", "pair"), [(-101, 0, 0), (0, -101, 0), (101, 0, 0), (0, 0, -201)])
def test_an_error_of_either_sign_beyond_u_is_not_within(forward: int, backward: int, pair: int) -> None:
    ways = {Direction.FORWARD: forward, Direction.BACKWARD: backward}
    rung = Rung(1_000, 256, "", ways, dict.fromkeys(Direction, 100_000), pair, 200_000, 0, "")
    assert not rung.within
    assert replace(rung, error_ns=dict.fromkeys(Direction, -100), pair_error_ns=-200).within


def test_a_real_bench_without_a_reel_is_told_what_to_declare() -> None:
    with pytest.raises(HarnessError, match="reel_m"):
        wished(bench(""))


@pytest.mark.parametrize(
    ("change", "key"),
    [
        (('u_ns = "10"', ""), "qualify.u_ns"),
        (('origin = "OTDR, 2026-11-20"', ""), "qualify.origin"),
        (("patch_mm = 2000", ""), "qualify.patch_mm"),
        (("rates = [1000, 10_000]", "rates = []"), "qualify.rates"),
        (("plugs = 6", "plugs = 4"), "qualify.plugs"),
        (("seconds = 1", "minutes = 1"), "qualify.minutes"),
    ],
)
def test_a_table_that_leaves_something_open_is_a_bad_bench_file(change: tuple[str, str], key: str) -> None:
    with pytest.raises(BenchFileError) as caught:
        bench(QUALIFY.replace(*change))
    assert key in {problem.key for problem in caught.value.problems}


def test_a_simulated_reel_that_the_host_held_back_is_measured_again_openly(pair: Pair, tmp_path: Path) -> None:
    pair.late = [201, 201, 200, 500]
    told: list[str] = []
    got = qualify(bench(), "a-b", Person(told.append, None), tmp_path)
    assert got.passed
    assert [line for line in told if "again" in line] == [
        "1000 pps again: the host was late with 201 of 2000 releases",
        "1000 pps again: the host was late with 201 of 2000 releases",
        "10000 pps again: the host was late with 500 of 2000 releases",
    ]
    assert len(list((tmp_path / "reel.samples").iterdir())) == 5


def test_a_host_that_holds_every_try_back_decides_nothing(pair: Pair, tmp_path: Path) -> None:
    pair.late = [201] * 5
    with pytest.raises(HarnessError, match="a tenth of its releases late"):
        qualified(pair, tmp_path)
    assert not (tmp_path / "qualification.json").exists()


def test_the_id_is_of_the_content(pair: Pair, tmp_path: Path) -> None:
    got = qualified(pair, tmp_path)
    other: Any = replace(got, passed=False)
    assert other.id != got.id
