"""What pytest answers before anything is measured: wrong usage, the procedure, nothing to do."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.rehearsal import bench_text
from tests.harness.desk import ROOT, Desk


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


@pytest.mark.parametrize(
    "words", [["nonsense"], ["verify"], ["verify", ".", "--level", "6"], ["bench", "new", "--what"]]
)
def test_wrong_usage_of_the_command_has_the_code_of_every_wrong_usage(words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "harness.cli", *words], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 4, done.stderr
    assert "Usage: " in done.stderr


def test_asking_for_help_is_no_wrong_usage() -> None:
    done = subprocess.run([sys.executable, "-m", "harness.cli", "--help"], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 0


def test_a_selection_of_nothing_is_wrong_usage_and_leaves_no_folder(desk: Desk) -> None:
    done = desk.run("-k", "no-such-test")
    assert done.returncode == 4
    assert "exit      4 USAGE" in done.stdout
    assert not desk.results.exists()


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


def test_resume_without_an_interrupted_run_says_so(desk: Desk) -> None:
    done = desk.run("--policy", str(desk.policy), "--bench", desk.bench(), "--resume")
    assert done.returncode == 4
    assert "none" in done.stdout + done.stderr
    assert "exit      4 USAGE" in done.stdout
    assert "INCOMPLETE" not in done.stdout


@pytest.mark.parametrize("option", ["--bench", "--policy", "--order", "--results"])
def test_a_path_that_cannot_be_looked_at_is_wrong_usage_not_a_fail(desk: Desk, option: str) -> None:
    done = desk.run(option, "x" * 300 + ("/b.toml" if option == "--bench" else ".toml"))
    assert done.returncode == 4
    assert "File name too long" in done.stdout + done.stderr
    assert "INTERNALERROR" not in done.stdout + done.stderr
    assert "Traceback" not in done.stdout + done.stderr


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


def test_a_waiver_that_does_not_exist_is_wrong_usage(desk: Desk) -> None:
    done = desk.run("--bench", desk.bench(), "--waive", "dsk")
    assert done.returncode == 4
    assert "disk" in done.stdout
