"""A run stands in the log before it measures, and its end whatever end it takes."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from harness.archive.audit import audit
from harness.archive.history import History
from harness.archive.log import KEY_VARIABLE, read
from harness.archive.verify import Level, verify
from harness.bench import load
from harness.errors import ArchiveError
from harness.plan import Step
from harness.report import pdf
from harness.run import Options, Run
from harness.stream import Stream

ROOT = Path(__file__).resolve().parents[2]
STEP = Step("T1-optical-owd", Stream("optical", 1000, 60_000_000_000, 128))


@pytest.fixture(autouse=True)
def no_paper(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here is about the report, which takes a second to set."""
    monkeypatch.delenv(KEY_VARIABLE, raising=False)
    monkeypatch.setattr(pdf, "pdf", lambda *_, **__: b"%PDF-")


def begun(results: Path, *, steps: bool = True, **options: Any) -> Run:
    run = Run(load("simulated", ROOT, ROOT), Options(results=results, **options))
    links = [link.name for link in run.bench.links]
    run.commit([("test", link, STEP) for link in links] if steps else [], collect_only=False)
    return run


def history(results: Path) -> History:
    return read(results / "simulated/log").history


def kinds(results: Path, run: Run) -> list[str]:
    return [each.kind for each in history(results).of(run.opened.name)]


def test_the_plan_is_logged_and_journaled_before_anything_is_measured(tmp_path: Path) -> None:
    run = begun(tmp_path)
    plan = history(tmp_path).plan(run.opened.name)
    assert plan is not None
    book = run.opened.ledger
    assert [e.kind for e in run.opened.journal.entries] == ["archive.committed", "log.committed"]
    assert (plan.n, plan.data["attempt"], plan.text("plan_sha256")) == (1, 1, book.plan_sha256)
    assert plan.text("bench_sha256") == book.committed["data/bench.toml"]
    assert plan.text("policy_sha256") == book.committed["data/policy.toml"]
    assert book.logged is not None
    assert (book.logged["index"], book.logged["attempt"], book.logged["witnessed"]) == (1, 1, 0)
    assert not (tmp_path / "log").exists()
    run.opened.close()


def test_a_finished_run_is_sealed_in_the_log_with_its_proof(tmp_path: Path) -> None:
    run = begun(tmp_path)
    result = run.finish(cut_off=False)
    assert result is not None
    assert run.unsealed == ""
    assert kinds(tmp_path, run) == ["plan", "sealed"]
    sealed = history(tmp_path).sealed(run.opened.name)
    assert sealed is not None
    assert sealed.text("verdict") == result["verdict"] != "PASS"
    assert result["provenance"]["log"]["attempt"] == 1
    assert (tmp_path / f"simulated/log/proofs/{run.opened.name}.json").exists()
    assert [each for each in audit(tmp_path / "simulated/log") if each.state == "failed"] == []
    checks = {c.name: c.state for c in verify(run.opened.path) if c.level == Level.LOG}
    assert checks == {"log": "ok", "checkpoint": "note", "attempts": "note"}


def test_each_run_of_the_same_item_is_an_attempt_and_a_run_of_nothing_is_not(tmp_path: Path) -> None:
    for attempt in (1, 2):
        run = begun(tmp_path)
        run.finish(cut_off=False)
        assert run.opened.ledger.logged is not None
        assert run.opened.ledger.logged["attempt"] == attempt
    nothing = begun(tmp_path, steps=False)
    nothing.finish(cut_off=False)
    third = begun(tmp_path)
    third.opened.close()
    assert third.opened.ledger.logged is not None
    assert (third.opened.ledger.logged["attempt"], third.opened.ledger.logged["earlier"]) == (3, [1, 3])


def test_a_resumed_run_keeps_its_place_and_both_are_told(tmp_path: Path) -> None:
    run = begun(tmp_path)
    run.finish(cut_off=True)
    assert kinds(tmp_path, run) == ["plan", "cut-off"]
    other = begun(tmp_path)
    other.opened.close()
    again = begun(tmp_path, resume=run.opened.name)
    assert again.opened.path == run.opened.path
    assert again.opened.ledger.logged == run.opened.ledger.logged
    again.finish(cut_off=False)
    assert kinds(tmp_path, run) == ["plan", "cut-off", "resumed", "sealed"]
    assert [e.kind for e in again.opened.journal.entries].count("log.committed") == 1
    assert [each.run for each in history(tmp_path).unended] == [other.opened.name]


@pytest.mark.parametrize("logged", [True, False])
def test_a_kill_between_the_log_and_the_journal_is_mended_by_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, logged: bool
) -> None:
    with monkeypatch.context() as patch:
        # The process dies before or after the log has the plan; the journal never hears of it.
        patch.setattr(Run, "_enter", lambda self: None)
        run = begun(tmp_path)
    if logged:
        run._enter()
        journal = run.opened.path / "data/journal.jsonl"
        journal.write_bytes(journal.read_bytes().splitlines(keepends=True)[0])
    run.opened.close()
    again = begun(tmp_path, resume=run.opened.name)
    again.finish(cut_off=False)
    assert kinds(tmp_path, run) == ["plan", "resumed", "sealed"]
    assert again.opened.ledger.logged is not None
    assert again.opened.ledger.logged["index"] == 1


def test_a_run_that_cannot_be_sealed_is_logged_as_aborted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run = begun(tmp_path)

    def refused(*_: Any, **__: Any) -> None:
        raise ArchiveError("to write", "No space left on device", "free space")

    monkeypatch.setattr(run.opened, "seal", refused)
    run.finish(cut_off=False)
    assert kinds(tmp_path, run) == ["plan", "aborted"]
    assert "No space left" in history(tmp_path).of(run.opened.name)[-1].text("reason")


def test_a_seal_that_cannot_be_logged_is_said_and_not_taken_for_success(tmp_path: Path) -> None:
    run = begun(tmp_path)
    (tmp_path / "simulated/log/checkpoint").write_bytes(b"changed")
    assert run.finish(cut_off=False) is not None
    assert "millicert log record" in run.unsealed
    assert run.closing_lines("en", cut_off=False)[-1].startswith("not logged  ")


def test_a_log_that_cannot_be_written_is_a_refusal_before_any_folder(tmp_path: Path) -> None:
    begun(tmp_path).opened.close()
    before = sorted(p.name for p in (tmp_path / "simulated").iterdir())
    entries = tmp_path / "simulated/log/entries.jsonl"
    whole = entries.read_bytes()
    entries.write_bytes(whole.replace(b'"attempt":1', b'"attempt":7'))
    with pytest.raises(ArchiveError, match="millicert log check"):
        begun(tmp_path)
    entries.write_bytes(whole)
    with entries.open("rb") as other, pytest.MonkeyPatch.context() as patch:
        fcntl.flock(other, fcntl.LOCK_EX)
        patch.setattr("harness.archive.log.WAIT_S", 0.05)
        with pytest.raises(ArchiveError, match="another process held it"):
            begun(tmp_path)
    assert sorted(p.name for p in (tmp_path / "simulated").iterdir()) == before


def test_a_killed_run_has_its_plan_and_no_end(tmp_path: Path) -> None:
    program = f"""
import os, signal, sys
sys.path.insert(0, {str(ROOT)!r})
from pathlib import Path
from harness.bench import load
from harness.plan import Step
from harness.run import Options, Run
from harness.stream import Stream
run = Run(load("simulated", Path({str(ROOT)!r}), Path({str(ROOT)!r})), Options(results=Path({str(tmp_path)!r})))
step = Step("T1-optical-owd", Stream("optical", 1000, 60_000_000_000, 128))
run.commit([("test", run.bench.links[0].name, step)], collect_only=False)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == -9, done.stderr
    (plan,) = history(tmp_path).unended
    said = [each.detail for each in audit(tmp_path / "simulated/log") if each.name == plan.run]
    assert any("no end recorded" in each for each in said)


def test_a_simulated_run_leaves_no_trace_in_the_log_of_real_ones(tmp_path: Path) -> None:
    begun(tmp_path).opened.close()
    assert history(tmp_path).simulated
    assert [each.name for each in tmp_path.iterdir()] == ["simulated"]
