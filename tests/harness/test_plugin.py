"""What an engineer types, as a process of its own that measures: exit codes, signals, resume."""

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
from types import SimpleNamespace
from typing import Any, cast

import pytest

from benchmarks.rehearsal import bench_text
from harness.archive.history import item
from harness.archive.ledger import STARTED
from harness.archive.verify import sound, verify
from harness.engine import Stop
from harness.exitcode import ExitCode
from harness.journal import read
from harness.plugin import Certification
from harness.report.particulars import deviations
from tests.harness.desk import ROOT, Desk


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


def test_preflight_only_does_not_qualify_either(desk: Desk) -> None:
    done = desk.run("--bench", desk.bench(), "--preflight-only", "--qualify", "-rs", "-k", "qualify or preflight")
    assert done.returncode == 11, done.stdout[-3000:]
    assert "nothing measured, nothing qualified" in done.stdout
    assert not list(desk.results.rglob("*qualif*"))


def test_a_chinese_terminal_reads_in_chinese(desk: Desk) -> None:
    done = desk.run("--bench", desk.bench(), "--preflight-only", env={"LC_ALL": "zh_CN.UTF-8"})
    heads = {line.split(" ")[0] for line in done.stdout.splitlines()}
    assert {
        "台架",
        "时钟",
        "规则",
        "结果目录",
        "计划",
        "本次",
        "确认",
        "通过",
        "报告",
        "核验",
        "未签名",
        "退出码",
    } <= heads
    assert not {"bench", "clock", "policy", "results", "plan", "run", "qualify", "ok", "report", "verify"} & heads
    assert "模拟结果，不是证书" in done.stdout


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


def test_a_selection_and_a_shorter_duration_are_recorded_and_incomplete(desk: Desk) -> None:
    done = desk.certify("--bench", desk.bench(), "--duration", "3", "-k", "optical")
    assert done.returncode == 11 or desk.stalled(), done.stdout[-3000:]
    assert not desk.result()["complete"]
    assert "not among the tests selected" in done.stdout
    assert "less than the plan's" in done.stdout
    told = "; ".join(deviations(desk.result()))  # clause n of the report
    assert "not among the tests selected" in told
    assert "optical: duration 3 s is less than the plan's 4 s" in told


def test_unsynchronised_clocks_on_a_long_link_are_exit_13(desk: Desk) -> None:
    silent = "claimed_synchronised = false"
    done = desk.certify("--bench", desk.bench(bench_text(forward="{ km = 190 }", near=silent, far=silent)))
    assert done.returncode == 13, done.stdout[-3000:]


def test_sigint_once_keeps_the_statistics_and_cannot_pass(desk: Desk) -> None:
    process = desk.start("--bench", desk.bench(seconds=60))
    folder = desk.wait_until_begun("ab-optical")
    time.sleep(2)
    process.send_signal(signal.SIGINT)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said[-3000:]
    result = json.loads((folder / "data" / "result.json").read_text(encoding="utf-8"))
    assert result["verdict"] != "PASS"
    assert not result["complete"]
    assert result["streams"][0]["counts"]["sent"] > 100
    assert sound(verify(folder))


def test_the_first_sigint_ends_the_stream_the_second_the_session() -> None:
    run = SimpleNamespace(stop=Stop(), measuring=True)
    certification = Certification(cast("Any", None), cast("Any", run))
    certification._on_signal(signal.SIGINT, None)
    assert run.stop.reason == "SIGINT"
    with pytest.raises(KeyboardInterrupt):
        certification._on_signal(signal.SIGINT, None)
    certification._on_signal(signal.SIGINT, None)  # a third must not tear what is being put away
    assert certification.codes == {ExitCode.SIGNAL}


def test_a_hangup_cuts_a_run_off(desk: Desk) -> None:
    process = desk.start("--bench", desk.bench(seconds=8))
    folder = desk.wait_until_begun("ab-optical")
    process.send_signal(signal.SIGHUP)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == 130, said[-3000:]
    assert not (folder / "manifest-sha256.txt").exists()
    assert "--resume" in said


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_run_cut_off_goes_on_with_resume(desk: Desk, number: signal.Signals) -> None:
    bench = desk.bench(seconds=6)
    process = desk.start("--bench", bench)
    folder = desk.wait_until_begun("ab-service")
    time.sleep(2)  # rows are settled t_max after they were sent
    process.send_signal(number)
    said, _ = process.communicate(timeout=120)
    assert process.returncode == (-9 if number == signal.SIGKILL else 130), said[-3000:]
    assert not (folder / "manifest-sha256.txt").exists()
    again = desk.run("--policy", str(desk.policy), "--bench", bench, "--resume")
    assert again.returncode == 0 or desk.stalled(), again.stdout[-3000:]
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
    for _ in range(5):
        done = subprocess.run(
            [*nobody, *desk.command("--policy", str(desk.policy), "--bench", str(desk.folder / "bench.toml"))],
            cwd=ROOT,
            env={**os.environ, "LC_ALL": "C.UTF-8"},
            capture_output=True,
            text=True,
            timeout=240,
            check=False,
        )
        if done.returncode != 14 or not desk.stalled():
            break
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
