"""An acceptance as an engineer runs it: its exit codes, its folder, and lasers that are off on every way out.

The lab is served over TCP by a process of its own, so that a plain socket can ask the laser behind the run's back.
"""

import gzip
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.matrix import bench_text
from harness.archive.verify import sound, verify
from harness.bench import BenchFileError, parse

ROOT = Path(__file__).parents[2]
PORTS = 3
SLOW_MS = 1_500  # a signal meant for the middle of a run must not meet its end on a loaded machine
PROFILE = """
id = "short"
version = "1"
kind = "fibre-matrix"
year = 2026
title_zh = "短验收"
title_en = "Short acceptance"
[settings.reference]
plugs = 2
[settings.insertion-loss]
settle_ms = SETTLE
[[requirements]]
id = "insertion-loss"
procedure = "insertion-loss"
figure = "loss"
title_zh = "插入损耗"
title_en = "Insertion loss"
unit = "udB"
sense = "max"
limit = 4_000_000
method = "IEC 61300-3-4"
year = 2026
source = "a test"
confirmed = false
confirmation = "none"
definition_zh = "每条路径"
definition_en = "every path"
"""
PLAN = "testplans/test_40_oxc.py"


class Served:
    """A lab in a process of its own."""

    def __init__(self, folder: Path) -> None:
        file = folder / "lab.toml"
        file.write_text(bench_text(PORTS, clock="real"), encoding="utf-8")
        command = [sys.executable, "-m", "harness.cli", "lab", "serve", str(file)]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment())
        self.resources: dict[str, str] = {}
        for line in self.process.stdout or ():
            if line.startswith("Ctrl-C"):
                break
            name, _, resource = line.partition(" ")
            self.resources[name] = resource.strip()

    def ask(self, name: str, query: str) -> str:
        """As `nc` would: a socket, a line, an answer."""
        _, host, port, _ = self.resources[name].split("::")
        with socket.create_connection((host, int(port)), timeout=10) as plain:
            plain.sendall(query.encode() + b"\n")
            return plain.makefile("rb").readline().decode().strip()

    @property
    def dark(self) -> bool:
        """Laser off and shutter closed, as they say themselves."""
        return float(self.ask("laser", "SOUR0:POW:STAT?")) == 0 and float(self.ask("voa", "OUTP1?")) == 0


def environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}


@pytest.fixture
def lab(tmp_path: Path) -> Iterator[Served]:
    served = Served(tmp_path)
    yield served
    served.process.terminate()
    assert served.process.wait(10) == 0


def bench(tmp_path: Path, lab: Served | None, settle_ms: int = 5) -> Path:
    (tmp_path / "short.toml").write_text(PROFILE.replace("SETTLE", str(settle_ms)), encoding="utf-8")
    text = bench_text(PORTS, resources=None if lab is None else lab.resources)
    file = tmp_path / "bench.toml"
    file.write_text(text.replace('"oxc-fibre-matrix"', '"short.toml"'), encoding="utf-8")
    return file


def command(file: Path, *more: str) -> list[str]:
    plain = [
        sys.executable,
        "-m",
        "pytest",
        "-p",
        "harness.plugin",
        "-p",
        "no:cacheprovider",
        PLAN,
        "--bench",
        str(file),
    ]
    return [*plain, "--results", str(file.parent / "results"), *more]


def run(file: Path, *more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(file, *more), capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=120, check=False
    )


def newest(tmp_path: Path) -> Path:
    return max((tmp_path / "results" / "simulated").glob("2*Z-*"))


def started(file: Path, part: str = "round 0") -> subprocess.Popen[str]:
    """A run that has done a part of its work."""
    process = subprocess.Popen(
        command(file), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=ROOT, env=environment()
    )
    end = time.monotonic() + 60
    while time.monotonic() < end and process.poll() is None:
        for journal in (file.parent / "results").glob("**/journal.jsonl"):
            if f'"part":"{part}"' in journal.read_text(encoding="utf-8", errors="replace"):
                return process
        time.sleep(0.05)
    raise AssertionError(process.communicate()[0])


@pytest.mark.parametrize("name", ["simulated-oxc", "simulated-wss"])
def test_the_shipped_benches_pass_and_verify(tmp_path: Path, name: str) -> None:
    done = subprocess.run(
        [*command(Path(name))[:-2], "--results", str(tmp_path / "results")],
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=200, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout
    folder = newest(tmp_path)
    assert sound(verify(folder))
    assert (folder / "data" / "report.pdf").exists()


def test_a_real_bench_with_simulated_serials_is_simulated_whatever_it_says(tmp_path: Path, lab: Served) -> None:
    done = run(bench(tmp_path, lab), "--dut", "SIM-3")
    assert done.returncode == 0, done.stdout
    assert "SIMULATED, NOT A CERTIFICATE" in done.stdout
    folder = newest(tmp_path)  # under results/simulated, though the bench file has no [simulation]
    result = json.loads((folder / "data" / "result.json").read_text())
    assert "laser: simulator serial SIM-0" in result["simulated"]
    assert [row["count"] for row in result["acceptance"]["requirements"]] == [PORTS**2]
    assert sound(verify(folder))
    assert lab.dark


def test_another_device_than_the_ordered_one_is_refused(tmp_path: Path, lab: Served) -> None:
    done = run(bench(tmp_path, lab), "--dut", "OXC-0042")
    assert done.returncode == 4
    assert "--dut OXC-0042" in done.stdout + done.stderr
    assert lab.dark


def test_what_was_not_ordered_is_told_and_not_missed(tmp_path: Path) -> None:
    file = bench(tmp_path, None)
    second = PROFILE.partition("[[requirements]]")[2].replace('"insertion-loss"\nproc', '"uniformity"\nproc', 1)
    short = (tmp_path / "short.toml").read_text(encoding="utf-8")
    (tmp_path / "short.toml").write_text(
        short + "[[requirements]]" + second.replace('figure = "loss"', 'figure = "uniformity"'), encoding="utf-8"
    )
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("[dut]", '[dut]\nwithout = ["uniformity"]'), encoding="utf-8")
    done = run(file)
    assert done.returncode == 0, done.stdout
    assert "not ordered, not measured: uniformity" in done.stdout
    result = json.loads((newest(tmp_path) / "data" / "result.json").read_text())
    assert result["acceptance"]["not_ordered"] == ["uniformity"]
    assert [row["id"] for row in result["acceptance"]["requirements"]] == ["insertion-loss"]
    file.write_text(text.replace("[dut]", '[dut]\nwithout = ["unknown"]'), encoding="utf-8")
    assert run(file).returncode == 4


def test_an_instrument_that_is_another_fails_preflight_and_nothing_is_measured(tmp_path: Path, lab: Served) -> None:
    file = bench(tmp_path, lab)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("[instruments.voa]", '[instruments.voa]\nserial = "DE1234"'), encoding="utf-8")
    done = run(file)
    assert done.returncode == 10, done.stdout
    assert "DE1234" in done.stdout
    assert lab.dark


@pytest.mark.parametrize("day", ["soon", "2027-02-30", "31.03.2027"])
def test_a_day_that_is_none_is_told_by_the_bench_check(tmp_path: Path, day: str) -> None:
    text = bench_text(PORTS).replace("[instruments.laser]", f'[instruments.laser]\ncalibrated_until = "{day}"')
    with pytest.raises(BenchFileError, match="calibrated_until"):
        parse(text, path=tmp_path / "bench.toml")


def test_an_overdue_calibration_fails_preflight_and_waived_voids_what_rests_on_it(tmp_path: Path) -> None:
    file = bench(tmp_path, None)
    text = file.read_text(encoding="utf-8")
    overdue = '[instruments.meter-1]\ncalibrated_until = "2020-01-31"'
    file.write_text(text.replace("[instruments.meter-1]", overdue), encoding="utf-8")
    assert run(file).returncode == 10
    done = run(file, "--waive", "instruments")
    assert done.returncode == 14, done.stdout
    result = json.loads((newest(tmp_path) / "data" / "result.json").read_text())
    assert result["provenance"]["waived"] == ["instruments"]
    red = [each["subject"] for each in result["acceptance"]["doubts"] if each["state"] == "red"]
    assert red == ["meter-1"]


@pytest.mark.parametrize(
    ("signals", "code"),
    [((signal.SIGTERM,), 130), ((signal.SIGHUP,), 130), ((signal.SIGINT, signal.SIGINT), 130)],
)
def test_lasers_are_off_whatever_signal_ends_the_run(
    tmp_path: Path, lab: Served, signals: tuple[signal.Signals, ...], code: int
) -> None:
    process = started(bench(tmp_path, lab, settle_ms=SLOW_MS))
    assert not lab.dark, "the laser should be on in the middle of a matrix"
    for number in signals:
        process.send_signal(number)
        time.sleep(0.2)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == code, out
    assert lab.dark
    assert "laser: safe: " in out
    entries = (newest(tmp_path) / "data" / "journal.jsonl").read_text(encoding="utf-8")
    assert '"kind":"optical.safe"' in entries


def test_one_interrupt_keeps_what_was_read_and_cannot_pass(tmp_path: Path, lab: Served) -> None:
    process = started(bench(tmp_path, lab, settle_ms=SLOW_MS))
    process.send_signal(signal.SIGINT)
    out = process.communicate(timeout=60)[0]
    assert process.returncode == 130, out
    assert lab.dark
    folder = newest(tmp_path)
    result = json.loads((folder / "data" / "result.json").read_text())
    assert result["verdict"] != "PASS"
    assert not result["complete"]
    assert 0 < result["acceptance"]["requirements"][0]["count"] < PORTS**2
    assert sound(verify(folder))


def test_after_a_kill_the_laser_is_on_until_somebody_types_safe(tmp_path: Path, lab: Served) -> None:
    file = bench(tmp_path, lab, settle_ms=SLOW_MS)
    process = started(file)
    process.kill()
    process.communicate()
    assert not lab.dark
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "safe", "--bench", str(file)],
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "laser: safe: " in done.stdout
    assert lab.dark


def test_an_instrument_that_is_gone_is_not_confirmed_safe(tmp_path: Path, lab: Served) -> None:
    file = bench(tmp_path, lab)
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace(lab.resources["laser"], "TCPIP0::127.0.0.1::9::SOCKET"), encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", "safe", "--bench", str(file)],
        capture_output=True, text=True, cwd=ROOT, env=environment(), timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 12, done.stdout + done.stderr
    assert "laser: NOT CONFIRMED SAFE" in done.stdout
    assert "voa: safe: " in done.stdout


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_cut_off_is_resumed_where_it_was(tmp_path: Path, lab: Served, number: signal.Signals) -> None:
    file = bench(tmp_path, lab, settle_ms=SLOW_MS)
    process = started(file, "round 1")
    process.send_signal(number)
    process.communicate(timeout=60)
    done = run(file, "--resume")
    assert done.returncode == 0, done.stdout
    folder = newest(tmp_path)
    assert len(list((tmp_path / "results" / "simulated").glob("2*Z-*"))) == 1
    entries = [json.loads(line) for line in (folder / "data" / "journal.jsonl").read_text().splitlines()]
    done_parts = [(e["data"]["procedure"], e["data"]["part"]) for e in entries if e["kind"] == "optical.part"]
    assert len(done_parts) == len(set(done_parts)), "a part that was done was done again"
    log = gzip.decompress((folder / "data" / "wire.log.gz").read_bytes()).decode()
    assert log.count(" laser > *IDN?") == 2, "what the interrupted run said to the laser is kept too"
    assert sound(verify(folder))
    assert lab.dark
