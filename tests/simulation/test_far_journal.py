"""Two hosts under one work order: the far end signs what it saw, and the run is judged again with it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from typer.testing import CliRunner

from benchmarks.rehearsal import short_policy
from harness import order as work
from harness.archive import farjournal, keys
from harness.cli import app
from harness.simulation.metro import Metro

ROOT = Path(__file__).resolve().parents[2]
ENV = {**os.environ, "LC_ALL": "C.UTF-8", "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}

BENCH = """
[bench]
name = "ordered"
policy = "metro-2027"
[sites.here]
title = "near"
kind = "computing-centre"
clock = {{ sources = ["kernel"] }}
[sites.there]
title = "far"
kind = "computing-centre"
clock = {{ sources = ["in-band"] }}
[links.wire]
near = "here"
far = "there"
near_address = "{near}"
far_address = "{far}"
far_port = {port}
flows = 2
[streams.optical]
rate_pps = 500
duration_s = 2
size = 256
flows = 2
"""


@dataclass
class Scene:
    """What both ends hold after a run under one order."""

    folder: Path
    run: Path
    journal: Path
    reflected: str
    certified: str


def typed(*words: str | Path) -> tuple[int, str]:
    done = CliRunner().invoke(app, [str(word) for word in words])
    return done.exit_code, done.output


@pytest.fixture(scope="module")
def scene(metro: Metro, tmp_path_factory: pytest.TempPathFactory) -> Scene:
    folder = tmp_path_factory.mktemp("ordered")
    end = metro.endpoint("wire")
    bench, policy, order, journal = (folder / name for name in ("b.toml", "short.toml", "o.json", "far.jsonl"))
    bench.write_text(BENCH.format(near=end.near_address, far=end.far_address, port=end.far_port), encoding="utf-8")
    policy.write_text(short_policy().replace("rehearsal = true", "rehearsal = false"), encoding="utf-8")
    lines = [keys.create(folder / f"{name}.key", name).line for name in ("head", "far-site")]
    (folder / "trust.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    ordered: list[str | Path] = ["--key", folder / "head.key", "--policy", policy, "--plans", ROOT / "testplans"]
    code, told = typed("order", "new", bench, "--out", order, *ordered)
    assert code == 0, told
    far = subprocess.Popen(
        [
            *metro.enter("wire", "far"), sys.executable, "-m", "harness.cli", "reflect", "--listen", end.far_address,
            "--port", str(end.far_port), "--journal", str(journal), "--sign", str(folder / "far-site.key"),
            "--order", str(order), "--trust", str(folder / "trust.txt"),
        ],
        env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while far.poll() is None and not _started(journal) and time.monotonic() < until:
            time.sleep(0.05)
        done = subprocess.run(
            [
                *metro.enter("wire", "near"), sys.executable, "-m", "pytest", "-p", "harness.plugin", "testplans/",
                "-k", "optical", "--bench", str(bench), "--policy", str(policy), "--order", str(order),
                "--results", str(folder / "results"),
            ],
            cwd=ROOT, env=ENV, capture_output=True, text=True, timeout=200, check=False,
        )  # fmt: skip
    finally:
        far.send_signal(signal.SIGINT)
        said, _ = far.communicate(timeout=60)
    assert far.returncode == 0, said
    runs = sorted((folder / "results" / "simulated").glob("2*"))
    assert runs, done.stdout[-4000:] + done.stderr[-2000:]
    return Scene(folder, runs[0], journal, said, done.stdout)


def test_a_far_end_asks_the_sources_that_its_own_bench_names(tmp_path: Path) -> None:
    bench, journal = tmp_path / "own.toml", tmp_path / "far.jsonl"
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
    bench.write_text(BENCH.format(near="127.0.0.1", far="127.0.0.9", port=862), encoding="utf-8")
    far = subprocess.Popen(
        [
            sys.executable, "-m", "harness.cli", "reflect", "--listen", "127.0.0.1", "--port", str(port),
            "--journal", str(journal), "--bench", str(bench),
        ],
        env=ENV, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    until = time.monotonic() + 60
    while far.poll() is None and not _started(journal) and time.monotonic() < until:
        time.sleep(0.05)
    far.send_signal(signal.SIGINT)
    said, _ = far.communicate(timeout=60)
    assert far.returncode == 0, said
    found = farjournal.load(journal)
    assert found.start["clocks"] == ["kernel"]
    assert {(state.source, state.site) for state in found.states} == {("kernel", "here")}


def _started(journal: Path) -> bool:
    return journal.exists() and farjournal.START in journal.read_text(encoding="utf-8")


def test_every_stamp_of_the_run_stands_in_the_far_ends_signed_journal(scene: Scene) -> None:
    code, told = typed("attach", scene.run, scene.journal, "--trust", scene.folder / "trust.txt")
    path = scene.run.with_name(f"{scene.run.name}.attached-1")
    result = json.loads((path / "data/result.json").read_text(encoding="utf-8"))
    (far,) = result["provenance"]["judged_again"]["attached"]
    (found,) = far["measurements"].values()
    assert found["compared"] == found["agreed"] > 900, told
    assert (found["differing"], found["missing"]) == (0, 0)
    assert far["whole"]
    low, high = (int(each) for each in found["far_less_near_ns"])
    assert low <= 0 <= high  # both namespaces read one clock
    assert {each["source"] for each in result["evidence"] if each["site"] == "there"} >= {"kernel", "chrony"}
    assert "its evidence counts" in told
    before = json.loads((scene.run / "data/result.json").read_text(encoding="utf-8"))["verdict"]
    assert f"before    {before}" in told
    assert "logged    entry" in told
    assert code not in {0, 4}  # two clocks that nothing disciplines, and half of the plan unmeasured
    code, told = typed("verify", path)
    assert code == 0, told
    assert "replies with the same stamps at both ends" in told
    assert "unknown key far-site" in told
    assert typed("sign", path, "--key", scene.folder / "head.key")[0] == 0
    code, told = typed("verify", path, "--trust", scene.folder / "trust.txt")
    assert code == 0, told
    assert "trusted key far-site" in told


def test_both_ends_carry_the_order_and_its_ssid(scene: Scene) -> None:
    signed = work.read(scene.folder / "o.json")
    plan = json.loads((scene.run / "data/plan.json").read_text(encoding="utf-8"))
    assert plan["order"]["envelope"] == signed.envelope
    assert plan["provenance"]["order"] == signed.told == dict(farjournal.load(scene.journal).order)
    assert plan["bench"]["links"][0]["ssid"] == signed.order.links[0].ssid
    assert any("service for service-owd-p999 on wire is not planned" in why for why in plan["provenance"]["incomplete"])
    far = farjournal.load(scene.journal)
    assert {each.ssid for each in far.sessions} == {signed.order.links[0].ssid}
    assert len({each.port for each in far.sessions}) == 2
    assert signed.id[:16] in scene.reflected
    assert "trusted by" in scene.reflected


def test_a_changed_stamp_file_is_refused_at_the_command_line(scene: Scene, tmp_path: Path) -> None:
    for suffix in ("", farjournal.STAMPS_SUFFIX, farjournal.SIGNATURE_SUFFIX):
        data = farjournal.beside(scene.journal, suffix).read_bytes()
        (tmp_path / f"far.jsonl{suffix}").write_bytes(data)
    place = tmp_path / "far.jsonl.stamps"
    damaged = bytearray(place.read_bytes())
    damaged[len(damaged) // 2] ^= 4
    place.write_bytes(damaged)
    code, told = typed("attach", scene.run, tmp_path / "far.jsonl", "--trust", scene.folder / "trust.txt")
    assert code == 4
    assert "the stamps that far-site signed" in told


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--sign", "far-site.key", "--stateless"], "leave one of the two out"),
        (["--sign", "far-site.key", "--journal", "far.jsonl"], "far.jsonl is there"),
        (["--sign", "far-site.key.pub"], "a private key that only its owner reads"),
        (["--order", "o.json", "--trust", "far-site.key.pub"], "an order by a key of"),
        (["--order", "late.json"], "to work between"),
        (["--order", "trust.txt"], "trust.txt"),
        (["--trust", "trust.txt"], "an --order for --trust"),
        (["--bench", "simulated"], "found simulated, simulated"),
        (["--bench", "mute.toml"], "clock sources of here"),
    ],
)
def test_a_far_end_refuses_what_it_could_not_stand_by(
    scene: Scene, words: list[str], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(scene.folder)
    mute = (scene.folder / "b.toml").read_text(encoding="utf-8").replace('["kernel"]', "[]")
    (scene.folder / "mute.toml").write_text(mute, encoding="utf-8")
    late = scene.folder / "late.json"
    if not late.exists():
        old = work.read(scene.folder / "o.json").order
        hour = old.not_after_ns - old.not_before_ns
        past = replace(old, not_before_ns=0, not_after_ns=hour)
        work.write(late, past, keys.load(scene.folder / "head.key"))
    journal = [] if "--journal" in words else ["--journal", "new.jsonl"]
    code, told = typed("reflect", "--listen", "127.0.0.1", "--port", "38620", *journal, *words)
    assert code == 4
    assert said in told
    assert not (scene.folder / "new.jsonl").exists()
