"""What an engineer types, as a process of its own: options, exit codes, signals, resume."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from benchmarks.rehearsal import bench_text, short_policy
from harness.archive.history import item
from harness.archive.ledger import STARTED
from harness.archive.verify import sound, verify
from harness.journal import read

ROOT = Path(__file__).resolve().parents[2]

STREAMS = """
[streams.optical]
rate_pps = 500
duration_s = {seconds}
size = 256
flows = 2
[streams.service]
rate_pps = 2000
duration_s = {seconds}
size = 512
flows = 2
"""


class Desk:
    """A folder with a short bench and policy, from which pytest is started as a user starts it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.results = folder / "results"
        self.policy = folder / "short.toml"
        self.policy.write_text(short_policy(), encoding="utf-8")

    def bench(self, text: str = "", seconds: int = 4) -> str:
        """Write a bench file; returns its path."""
        path = self.folder / "bench.toml"
        path.write_text((text or bench_text()) + STREAMS.format(seconds=seconds), encoding="utf-8")
        return str(path)

    def command(self, *options: str) -> list[str]:
        return [
            sys.executable,
            "-m",
            "pytest",
            "-p",
            "harness.plugin",
            "testplans/",
            "--results",
            str(self.results),
            *options,
        ]

    def run(self, *options: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self.command(*options),
            cwd=ROOT,
            env={**os.environ, "LC_ALL": "C.UTF-8", **(env or {})},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )

    def certify(self, *options: str) -> subprocess.CompletedProcess[str]:
        """Run to a verdict; a run that only host stalls made INVALID may be repeated twice."""
        for _ in range(3):
            done = self.run("--policy", str(self.policy), *options)
            if done.returncode != 14 or self.red() != {"host-stalls"}:
                break
        return done

    def result(self) -> dict[str, Any]:
        """Of the newest folder."""
        text = (self.folders()[-1] / "data" / "result.json").read_text(encoding="utf-8")
        return json.loads(text)  # type: ignore[no-any-return]

    def red(self) -> set[str]:
        """Gates that fired in the newest folder."""
        return {gate["id"] for gate in self.result()["gates"] if gate["state"] == "red"}

    def start(self, *options: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            self.command("--policy", str(self.policy), *options),
            cwd=ROOT,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def folders(self) -> list[Path]:
        return sorted((self.results / "simulated").glob("2*"))

    def wait_for_rows(self, measurement: str) -> Path:
        """The run folder, once the named measurement has begun."""
        for _ in range(1200):
            for folder in self.folders():
                journal = folder / "data" / "journal.jsonl"
                if journal.exists() and f'"measurements/{measurement}"' in journal.read_text(encoding="utf-8"):
                    time.sleep(1.0)
                    return folder
            time.sleep(0.05)
        raise AssertionError(f"{measurement} never began")


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def test_an_unknown_bench_lists_the_known_ones_and_the_nearest(desk: Desk) -> None:
    done = desk.run("--bench", "simulatd")
    assert done.returncode == 4
    assert "simulated" in done.stderr
    assert not desk.results.exists()


def test_every_mistake_of_a_bench_file_is_told_at_once(desk: Desk) -> None:
    text = bench_text().replace('far = "b"', 'far = "c"').replace("flows = 2", "flow = 2")
    done = desk.run("--bench", desk.bench(text))
    assert done.returncode == 4
    assert done.stderr.count("line") >= 2


@pytest.mark.parametrize(
    "option",
    [
        ["--duration", "nan"],
        ["--duration", "-5"],
        ["--duration", "0"],
        ["--rate", "0"],
        ["--rate", "-1"],
        ["--resume", "testplans/"],
    ],
)
def test_lengths_and_rates_that_make_no_sense_are_refused(desk: Desk, option: list[str]) -> None:
    done = desk.run(*option)
    assert done.returncode == 4
    assert "wanted" in done.stderr
    assert not desk.results.exists()


def test_a_selection_of_nothing_is_wrong_usage_and_leaves_no_folder(desk: Desk) -> None:
    done = desk.run("-k", "no-such-test")
    assert done.returncode == 4
    assert not desk.results.exists()


def test_a_waiver_that_does_not_exist_is_wrong_usage(desk: Desk) -> None:
    done = desk.run("--bench", desk.bench(), "--waive", "dsk")
    assert done.returncode == 4
    assert "disk" in done.stdout


def test_a_plan_that_breaks_cannot_end_well(desk: Desk, tmp_path: Path) -> None:
    plans = tmp_path / "testplans"
    plans.mkdir()
    (plans / "test_own.py").write_text("def test_own(preflight):\n    assert preflight is None\n", encoding="utf-8")
    command = [str(plans) if word == "testplans/" else word for word in desk.command("--bench", desk.bench())]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 1, done.stdout[-2000:]


def test_on_a_terminal_one_line_is_updated(desk: Desk) -> None:
    master, slave = pty.openpty()
    process = subprocess.Popen(
        desk.command("--policy", str(desk.policy), "--bench", desk.bench(), "-k", "optical"),
        cwd=ROOT,
        env={**os.environ, "LC_ALL": "C.UTF-8", "TERM": "xterm"},
        stdout=slave,
        stderr=slave,
    )
    os.close(slave)
    said = b""
    with contextlib.suppress(OSError):  # EIO: the other side has ended
        while piece := os.read(master, 65536):
            said += piece
    process.wait(120)
    os.close(master)
    assert said.count(b"\roptical 00:00:0") >= 3
    assert b"SIMULATED" in said


def test_a_stream_that_cannot_run_does_not_hide_another_links_fail(desk: Desk) -> None:
    text = (
        bench_text(forward="{ km = 215 }")
        + """
[links.cd]
near = "a"
far = "b"
flows = 2
far_clock_trusted = true
[simulation.links.cd]
forward = { km = 40, loss = { p = 1 } }
"""
    )
    done = desk.certify("--bench", desk.bench(text), "--waive", "far-end", "-k", "optical")
    assert done.returncode == 1, done.stdout[-3000:]
    assert "ab-optical" in {stream["measurement"] for stream in desk.result()["streams"]}
    assert sound(verify(desk.folders()[-1]))


def test_bench_by_environment(desk: Desk) -> None:
    done = desk.run("--collect-only", "-q", env={"MILLICERT_BENCH": "no-such-bench"})
    assert done.returncode == 4


def test_collect_only_reads_as_the_procedure_and_leaves_nothing_behind(desk: Desk) -> None:
    done = desk.run("--collect-only", "-v")
    assert done.returncode == 0
    places = [done.stdout.index(plan) for plan in ("OWD-05", "OWD-10", "OWD-30")]
    assert places == sorted(places)
    assert "The worst one-minute median of an unloaded stream" in done.stdout
    assert not desk.results.exists()


def test_preflight_only_measures_nothing_and_is_incomplete(desk: Desk) -> None:
    done = desk.run("--bench", desk.bench(), "--preflight-only")
    assert done.returncode == 11
    assert "far-end" in done.stdout
    assert desk.result()["verdict"] != "PASS"
    # nothing was measured, and still nothing of it can look real
    assert desk.result()["simulated"]
    assert "SIMULATED" in done.stdout.split("certification")[-1]
    # and it is no attempt at what the policy asks
    assert desk.result()["provenance"]["log"]["item"] == item("story", ["ab"], [])


def test_a_pass_is_exit_0_with_a_sealed_folder_that_verifies(desk: Desk) -> None:
    done = desk.certify("--bench", desk.bench(), "--operator", "an operator")
    assert done.returncode == 0, done.stdout[-3000:]
    folder = desk.folders()[-1]
    assert "SIMULATED" in done.stdout
    assert (folder / "data" / "report.pdf").read_bytes()[:5] == b"%PDF-"
    assert b'errors="0"' in (folder / "data" / "junit.xml").read_bytes()
    assert b",owd-g0/1,PASS," in (folder / "data" / "measurements.csv").read_bytes()
    checks = verify(folder)
    assert sound(checks), checks
    here = subprocess.run(
        [sys.executable, "-m", "harness.cli", "verify", "."],
        cwd=folder,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
            "TZ": "Asia/Tokyo",
        },
        capture_output=True,
        text=True,
        check=False,
    )
    assert here.returncode == 0, here.stdout
    whole = subprocess.run(
        ["sha256sum", "--check", "--quiet", "manifest-sha256.txt"], cwd=folder, capture_output=True, check=False
    )
    assert whole.returncode == 0, whole.stderr


def test_a_selection_of_tests_is_incomplete(desk: Desk) -> None:
    done = desk.certify("--bench", desk.bench(), "-k", "optical")
    assert done.returncode == 11
    assert "not among the tests selected" in done.stdout


def test_a_shorter_duration_is_recorded_and_incomplete(desk: Desk) -> None:
    done = desk.certify("--bench", desk.bench(), "--duration", "3", "-k", "optical")
    assert done.returncode == 11
    assert "less than the plan's" in done.stdout


def test_unsynchronised_clocks_on_a_long_link_are_exit_13(desk: Desk) -> None:
    silent = "claimed_synchronised = false"
    done = desk.certify("--bench", desk.bench(bench_text(forward="{ km = 190 }", near=silent, far=silent)))
    assert done.returncode == 13, done.stdout[-3000:]


def test_sigint_once_keeps_the_statistics_and_cannot_pass(desk: Desk) -> None:
    process = desk.start("--bench", desk.bench(seconds=60))
    folder = desk.wait_for_rows("ab-optical")
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said[-3000:]
    result = json.loads((folder / "data" / "result.json").read_text(encoding="utf-8"))
    assert result["verdict"] != "PASS"
    assert not result["complete"]
    assert result["streams"][0]["counts"]["sent"] > 100
    assert sound(verify(folder))


def test_a_hangup_cuts_a_run_off(desk: Desk) -> None:
    process = desk.start("--bench", desk.bench(seconds=6))
    folder = desk.wait_for_rows("ab-optical")
    process.send_signal(signal.SIGHUP)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said[-3000:]
    assert not (folder / "manifest-sha256.txt").exists()
    assert "--resume" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_cut_off_goes_on_with_resume(desk: Desk, number: signal.Signals) -> None:
    bench = desk.bench(seconds=6)
    process = desk.start("--bench", bench)
    folder = desk.wait_for_rows("ab-service")
    time.sleep(3)  # rows are settled a second (t_max) after they were sent
    process.send_signal(number)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130), said[-3000:]
    assert not (folder / "manifest-sha256.txt").exists()
    again = desk.run("--policy", str(desk.policy), "--bench", bench, "--resume")
    assert again.returncode == 0 or desk.red() == {"host-stalls"}, again.stdout[-3000:]
    assert desk.folders() == [folder]
    entries = read(folder / "data" / "journal.jsonl").entries
    begun = [entry.data["measurement"] for entry in entries if entry.kind == STARTED]
    assert begun.count("measurements/ab-optical") == 1  # finished before, carried
    assert begun.count("measurements/ab-service") == 2  # begun again
    assert (folder / "data" / "attempts").is_dir()
    if number != signal.SIGKILL:  # rows younger than the last flush cannot outlive a kill
        assert list((folder / "data" / "attempts").glob("*/measurements/ab-service/samples-*.npz"))
    checks = verify(folder)
    assert sound(checks), checks


def test_resume_without_an_interrupted_run_says_so(desk: Desk) -> None:
    done = desk.run("--policy", str(desk.policy), "--bench", desk.bench(), "--resume")
    assert done.returncode == 4
    assert "none" in done.stdout + done.stderr


def test_a_full_disk_is_said_and_leaves_what_was_journaled(desk: Desk) -> None:
    if os.geteuid() != 0:
        pytest.skip("wants root: a small file system of its own is mounted")
    desk.results.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96k", "millicert-test", str(desk.results)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("wants to mount a small tmpfs, and may not")
    try:
        done = desk.run(
            "--policy", str(desk.policy), "--bench", desk.bench(seconds=8), "--waive", "disk", "-k", "service"
        )
        assert done.returncode == 14, done.stdout[-3000:]
        assert "No space left" in done.stdout
        assert "PASS" not in done.stdout.split("certification")[-1]
        reading = read(desk.folders()[0] / "data" / "journal.jsonl")
        assert reading.entries[0].kind == "archive.committed"
    finally:
        subprocess.run(["umount", str(desk.results)], check=True)


def test_an_unprivileged_user_rehearses_too(desk: Desk) -> None:
    if os.geteuid() != 0:
        pytest.skip("wants root, to drop every privilege")
    # the kernel looks at capabilities, not at names: without any, root is anybody who may read our files
    nobody = ["setpriv", "--bounding-set", "-all", "--inh-caps", "-all", "--ambient-caps", "-all", "--no-new-privs"]
    desk.bench()
    for _ in range(3):
        done = subprocess.run(
            [*nobody, *desk.command("--policy", str(desk.policy), "--bench", str(desk.folder / "bench.toml"))],
            cwd=ROOT,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if done.returncode != 14 or desk.red() != {"host-stalls"}:
            break
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


def test_plain_tests_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "harness.plugin", "-q", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0
    assert "bench" not in done.stdout
