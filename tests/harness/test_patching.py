"""Calibrating a pair: who is asked what, what is refused before and after measuring, what is kept."""

from __future__ import annotations

import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from typer.testing import CliRunner

from harness import run as running
from harness.artefact import Patch, Port, read_artefact
from harness.bench import Bench, parse
from harness.canonical import sha256
from harness.cli import app
from harness.errors import ArchiveError, HarnessError
from harness.link import Direction
from harness.measurement import Measurement
from harness.patching import Person, Wish, calibrate_pair, dominant, read_port
from harness.plan import Step
from harness.stream import Stream

ROOT = Path(__file__).resolve().parents[2]
BENCH = """
[bench]
name = "two"
policy = "metro-2027"
operator = "who measures"
[sites.a]
clock = {{ sources = ["kernel"]{shared} }}
[sites.b]
clock = {{ sources = ["in-band"]{shared} }}
[links.a-b]
near = "a"
far = "b"
far_address = "127.0.0.1"
flows = 2
far_clock_trusted = true
[streams.optical]
rate_pps = 2000
size = 200
"""
STEPS = [
    Step("T1-optical-owd", Stream("optical", 1_000, 10**9, 256)),
    Step("service-owd-p999", Stream("service", 10_000, 10**9, 512, unloaded=False)),
]
PORT = Port("eth0", "ice", "02:00:00:00:00:01")
PATCH = Patch(2_000, 1_468_200, 30, "steel rule")


def bench(shared: str = "") -> Bench:
    return parse(BENCH.format(shared=f', shared = "{shared}"' if shared else ""))


class Pair:
    """A pair whose ports are known: what back_to_back would measure, without a network."""

    def __init__(self, synthetic: ModuleType, **story: Any) -> None:
        self.synthetic = synthetic
        self.story = {"forward": 30_000, "backward": 40_000, "jitter": 100, "seconds": 1, "simulated": (), **story}
        self.swapped = False
        self.tilt = 0
        """ns that the forward direction gains when swapped, and the other loses."""
        self.change: Callable[[Measurement, int], Measurement] = lambda got, _: got
        self.streams: list[Stream] = []

    def measure(self, name: str, link: str, stream: Stream, rows: object) -> Measurement:
        del name, link, rows
        tilt = self.tilt if self.swapped else 0
        story = {**self.story, "forward": self.story["forward"] + tilt, "backward": self.story["backward"] - tilt}
        told: Measurement = self.synthetic.tell(self.synthetic.Story(seed=len(self.streams), **story))
        self.streams.append(stream)
        got = replace(told, near_planes="kernel/kernel+user/kernel/none+kernel", near_port=PORT)
        return self.change(got, len(self.streams))


@pytest.fixture
def pair(synthetic: ModuleType, monkeypatch: pytest.MonkeyPatch) -> Pair:
    made = Pair(synthetic)
    monkeypatch.setattr(running.Run, "back_to_back", made.measure)
    return made


class Hand:
    """A person who does what is asked."""

    def __init__(self, pair: Pair) -> None:
        self.pair = pair
        self.asked: list[str] = []
        self.told: list[str] = []

    def ask(self, request: str) -> None:
        self.asked.append(request)
        self.pair.swapped ^= request.startswith("Swap")

    @property
    def person(self) -> Person:
        return Person(self.told.append, self.ask)


def wish(folder: Path, **changes: Any) -> Wish:
    return replace(Wish("a-b", folder / "pair.json", PATCH, plugs=6, seconds=1), **changes)


def test_a_person_plugs_swaps_and_gets_an_artefact_with_the_known_ports(pair: Pair, tmp_path: Path) -> None:
    pair.tilt = 500
    hand = Hand(pair)
    made = calibrate_pair(bench("one host"), wish(tmp_path), STEPS, hand.person)
    assert read_artefact((tmp_path / "pair.json").read_bytes(), "pair.json") == made
    assert [request.split()[0] for request in hand.asked] == ["Both", "Take", "Take", "Swap:", "Take", "Take"]
    assert [(load.rate_pps, load.size) for load in made.loads] == [(2_000, 200), (10_000, 512)]
    for load in made.loads:
        # jitter is 0 to 100 ns: its median is 50; the patch takes 9.795 ns off
        assert load.found.bias_ns[Direction.FORWARD] == pytest.approx(30_000 + 250 + 50 - 10, abs=5)
        assert load.found.bias_ns[Direction.BACKWARD] == pytest.approx(40_000 - 250 + 50 - 10, abs=5)
        assert load.found.swap_ps[Direction.FORWARD] == pytest.approx(250_000, abs=5_000)
        assert load.found.nu == 4
        assert load.planes == "kernel/kernel/kernel/kernel"
    assert (made.shared_clock, made.clocks, made.replugged, made.swapped) == ("one host", (), True, True)
    assert (made.near, made.far, made.operator, made.simulated) == (PORT, Port(), "who measures", ())
    files = {sha256(path.read_bytes()) for path in (tmp_path / "pair.json.samples").iterdir()}
    assert files == {plug.sha256 for load in made.loads for plug in load.plugs}
    assert len(files) == 12


def test_every_plug_draws_its_own_schedule_over_all_flows(pair: Pair, tmp_path: Path) -> None:
    calibrate_pair(bench("x"), wish(tmp_path, swap=False, plugs=5), STEPS, Hand(pair).person)
    assert len({stream.seed for stream in pair.streams}) == 10
    assert {stream.flows for stream in pair.streams} == {2}
    assert all(stream.packets >= 800 for stream in pair.streams)


def test_with_nothing_to_touch_nobody_is_asked_and_the_artefact_says_so(pair: Pair, tmp_path: Path) -> None:
    made = calibrate_pair(bench("x"), wish(tmp_path), STEPS, Person(lambda _: None, None))
    assert (made.replugged, made.swapped) == (False, False)
    assert {plug.orientation for load in made.loads for plug in load.plugs} == {"straight"}


def test_clocks_of_their_own_are_bounded_for_the_day_of_the_calibration(
    synthetic: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    own = Pair(synthetic, source="in-band", bound=700, far_trusted=True)

    def near_by_the_kernel(got: Measurement, _: int) -> Measurement:
        polls = (replace(s, source="kernel", bound_ns=900) if s.site == "a" else s for s in got.evidence)
        return replace(got, evidence=tuple(polls))

    own.change = near_by_the_kernel
    monkeypatch.setattr(running.Run, "back_to_back", own.measure)
    made = calibrate_pair(bench(), wish(tmp_path), STEPS, Person(lambda _: None, None))
    assert [(c.site, c.sources, c.half_ns) for c in made.clocks] == [("a", "kernel", 910), ("b", "in-band", 710)]
    own.change = lambda got, n: replace(got, evidence=()) if n > 3 else near_by_the_kernel(got, n)
    with pytest.raises(HarnessError, match="bound on the clock"):
        calibrate_pair(bench(), wish(tmp_path, out=tmp_path / "other.json"), STEPS, Person(lambda _: None, None))
    assert not (tmp_path / "other.json").exists()


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda got: replace(got, interrupted="SIGTERM"), "SIGTERM"),
        (lambda got: replace(got, health=replace(got.health, clock_steps_ns=(70_000,))), "clock steps"),
        (lambda got: replace(got, near_planes="user/user/user/user"), "set of stamps"),
        (lambda got: replace(got, near_port=replace(PORT, mac="02:00:00:00:00:02")), "near port"),
    ],
)
def test_a_plug_unlike_the_others_ends_it(
    pair: Pair, tmp_path: Path, change: Callable[[Measurement], Measurement], why: str
) -> None:
    pair.change = lambda got, n: change(got) if n == 3 else got
    with pytest.raises(HarnessError, match=why):
        calibrate_pair(bench("x"), wish(tmp_path), STEPS, Hand(pair).person)
    assert not (tmp_path / "pair.json").exists()


@pytest.mark.parametrize(("forward", "backward"), [(195_000, 195_000), (100_100, 100_100), (1_000, -2_000)])
def test_a_fibre_under_test_is_not_taken_for_a_patch(
    synthetic: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, forward: int, backward: int
) -> None:
    link = Pair(synthetic, forward=forward, backward=backward)
    monkeypatch.setattr(running.Run, "back_to_back", link.measure)
    with pytest.raises(HarnessError, match="two directions of a patch"):
        calibrate_pair(bench("x"), wish(tmp_path), STEPS, Hand(link).person)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"plugs": 4}, "plugs or more"),
        ({"seconds": 0}, "second or more"),
        ({"days": 0}, "day"),
        ({"days": 999_999_999}, "36525 days"),
        ({"link": "c"}, "a-b"),
    ],
)
def test_what_cannot_work_is_refused_before_anyone_is_asked(
    pair: Pair, tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    hand = Hand(pair)
    with pytest.raises(HarnessError, match=why):
        calibrate_pair(bench("x"), wish(tmp_path, **changes), STEPS, hand.person)
    assert hand.asked == []


def test_an_artefact_is_never_written_over(pair: Pair, tmp_path: Path) -> None:
    (tmp_path / "pair.json").write_text("precious", encoding="utf-8")
    with pytest.raises(HarnessError, match="never written over"):
        calibrate_pair(bench("x"), wish(tmp_path), STEPS, Hand(pair).person)
    assert (tmp_path / "pair.json").read_text(encoding="utf-8") == "precious"


def test_the_most_frequent_source_names_a_stamp() -> None:
    assert dominant("kernel+user/none+nic/none/user") == "kernel/nic/none/user"


def test_a_far_port_is_read_as_it_was_told(tmp_path: Path) -> None:
    told = CliRunner().invoke(app, ["port", "lo"])
    file = tmp_path / "far.json"
    file.write_text(told.output, encoding="utf-8")
    assert read_port(file).driver == "lo"
    file.write_text('{"mac":1}', encoding="utf-8")
    with pytest.raises(ArchiveError):
        read_port(file)


def test_a_port_that_this_host_does_not_have_is_refused_with_the_nearest_one() -> None:
    told = CliRunner().invoke(app, ["port", "lO"])
    assert told.exit_code == 4
    assert "wanted a network interface of this host" in told.stderr
    assert "found lO" in told.stderr
    assert "did you mean lo?" in told.stderr


# -- the command ---------------------------------------------------------------------------------------------------


def command(folder: Path, *more: str) -> list[str]:
    file = folder / "bench.toml"
    file.write_text(BENCH.format(shared=""), encoding="utf-8")
    plans = ["--plans", str(ROOT / "testplans")]
    return ["calibrate", str(file), "--link", "a-b", "--out", str(folder / "pair.json"), *plans, *more]


def test_without_a_terminal_it_says_what_to_do_and_never_waits(tmp_path: Path) -> None:
    done = CliRunner().invoke(app, command(tmp_path))
    assert done.exit_code == 4
    assert "a terminal" in done.output
    assert "--yes" in done.output
    assert list(tmp_path.iterdir()) == [tmp_path / "bench.toml"]


@pytest.mark.parametrize("more", [(), ("--patch-mm", "2000"), ("--patch-mm", "2000", "--patch-u-ps", "30")])
def test_a_patch_nobody_measured_is_refused(tmp_path: Path, more: tuple[str, ...]) -> None:
    done = CliRunner().invoke(app, command(tmp_path, "--yes", *more))
    assert done.exit_code == 4
    assert "patch of known length" in done.output


def test_an_end_of_input_at_the_terminal_writes_nothing(tmp_path: Path) -> None:
    patch = ("--patch-mm", "2000", "--patch-u-ps", "30", "--patch-origin", "rule")
    near, far = pty.openpty()
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "harness.cli", *command(tmp_path, *patch)]
    with subprocess.Popen(words, stdin=far, stdout=far, stderr=subprocess.PIPE, env=env) as process:
        os.close(far)
        said = b""
        while b"press Enter" not in said and select.select([near], [], [], 60)[0]:
            said += os.read(near, 4096)
        os.write(near, b"\x04")
        _, errors = process.communicate(timeout=60)
    os.close(near)
    assert process.returncode == 130, errors
    assert b"was not written" in errors
    assert not (tmp_path / "pair.json").exists()
