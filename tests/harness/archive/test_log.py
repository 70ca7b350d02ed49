"""The log keeps what it acknowledged through any kill, and shows every change to whoever checks it."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.archive import bag, keys, merkle, proof, record
from harness.archive.audit import Finding, audit, witness_line
from harness.archive.folder import RunFolder
from harness.archive.history import History, item
from harness.archive.ledger import LOGGED
from harness.archive.log import KEY_VARIABLE, Log, newest, read, standing, told
from harness.archive.note import Note
from harness.archive.verify import judge_again
from harness.canonical import sha256
from harness.errors import ArchiveError, HarnessError
from harness.journal import Instants
from harness.report import logbook
from tests.harness.archive.killing import AT_EVERY_CALL

ORIGIN = "millicert.invalid/log/00ff"
ITEM = item("bench", ["b", "a"], ["T1"])


@pytest.fixture(autouse=True)
def no_key_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(KEY_VARIABLE, raising=False)


@pytest.fixture
def instants(kit: Any) -> Instants:
    ticks: Instants = kit.ticking()
    return ticks


@pytest.fixture
def a_log(tmp_path: Path, instants: Instants) -> Log:
    """Five entries, unsigned."""
    made = Log.create(tmp_path / "log", False, origin=ORIGIN, instants=instants)
    made.plan("20260921T141320Z-aaaaaa", ITEM, plan_sha256="00")
    made.append("cut-off", run="20260921T141320Z-aaaaaa", reason="SIGTERM")
    made.append("resumed", run="20260921T141320Z-aaaaaa")
    made.append("sealed", run="20260921T141320Z-aaaaaa", manifest_sha256="1", result_sha256="2", verdict="FAIL")
    return made


def failed(path: Path, against: bytes | None = None) -> list[Finding]:
    return [each for each in audit(path, against) if each.state == "failed"]


def said(path: Path, name: str) -> str:
    return "; ".join(each.detail for each in audit(path) if each.name == name)


# -- entries -------------------------------------------------------------------------------------------------


def test_a_leaf_is_its_line_and_the_checkpoint_is_over_all(a_log: Log) -> None:
    lines = (a_log.path / "entries.jsonl").read_bytes().split(b"\n")[:-1]
    found = newest(a_log.path)
    assert found is not None
    checkpoint, note = found
    assert (checkpoint.origin, checkpoint.size) == (ORIGIN, 5)
    assert checkpoint.root == merkle.root([merkle.leaf_hash(line) for line in lines])
    assert note.signatures == ()
    assert sorted(p.name for p in (a_log.path / "checkpoints").iterdir()) == ["1", "2", "3", "4", "5"]
    assert (a_log.path / "checkpoints/5").read_bytes() == (a_log.path / "checkpoint").read_bytes()
    assert json.loads(lines[1]) == {
        "n": 1, "kind": "plan", "utc_ns": str(1_790_000_000_002_000_000),
        "data": {"run": "20260921T141320Z-aaaaaa", "item": ITEM, "attempt": 1, "plan_sha256": "00"},
    }  # fmt: skip
    assert failed(a_log.path) == []


def test_attempts_of_one_item_are_counted_whatever_became_of_them(a_log: Log) -> None:
    other = a_log.plan("20260921T151320Z-bbbbbb", item("bench", ["a"], ["T1"]))
    second = a_log.plan("20260921T161320Z-cccccc", ITEM)
    third = a_log.plan("20260921T171320Z-dddddd", ITEM)
    assert (other.attempt, second.attempt, third.attempt) == (1, 2, 3)
    assert (third.index, third.earlier) == (7, (1, 6))
    before = [each.leaf for each in a_log.history.entries[:7]]
    assert third.previous == {"size": 7, "root": merkle.root(before).hex()}
    # Asked again, as --resume does: the same place, and no new entry.
    assert a_log.plan("20260921T161320Z-cccccc", ITEM) == second
    assert len(a_log.history.entries) == 8
    found = a_log.history.plan("20260921T161320Z-cccccc")
    assert found is not None
    assert standing(a_log.history, found) == second
    assert told(second, 3)["witnessed"] == 3
    assert [each.run[-6:] for each in a_log.history.unended] == ["bbbbbb", "cccccc", "dddddd"]
    a_log.append("aborted", run="20260921T161320Z-cccccc", reason="the disk is full")
    a_log.append("sealed", run="20260921T171320Z-dddddd", manifest_sha256="", result_sha256="", verdict="PASS")
    assert [each.run[-6:] for each in a_log.history.unended] == ["bbbbbb"]
    assert "no end recorded" in said(a_log.path, "20260921T151320Z-bbbbbb")


def test_what_is_certified_is_one_item_in_any_order_of_links() -> None:
    assert item("bench", ["a", "b"], ["x", "y"]) == item("bench", ["b", "a"], ["y", "x"])
    assert len({item("b", ["a"], ["x"]), item("c", ["a"], ["x"]), item("b", ["c"], ["x"]), item("b", ["a"], [])}) == 4


def test_simulated_and_real_runs_never_share_a_log(tmp_path: Path) -> None:
    real, simulated = Log.of(tmp_path, False), Log.of(tmp_path, True)
    assert (real.path, simulated.path) == (tmp_path / "log", tmp_path / "simulated/log")
    assert real.origin != simulated.origin
    assert (real.history.simulated, simulated.history.simulated) == (False, True)
    again = Log.of(tmp_path, True)
    assert again.origin == simulated.origin
    (tmp_path / "log").rename(tmp_path / "x")
    (tmp_path / "simulated/log").rename(tmp_path / "log")
    with pytest.raises(ArchiveError, match="log of real runs"):
        Log.of(tmp_path, False)


def test_a_log_that_cannot_be_written_is_said_clearly(tmp_path: Path, a_log: Log) -> None:
    (tmp_path / "results").write_text("a file where a folder is wanted")
    with pytest.raises(ArchiveError, match="results"):
        Log.of(tmp_path / "results", False)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ArchiveError, match="millicert log init"):
        Log(tmp_path / "empty")
    with (a_log.path / "entries.jsonl").open("rb") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(ArchiveError, match="another process held it"):
            Log(a_log.path, wait_s=0.05)
    Log(a_log.path, wait_s=0.05)
    for bad in ("", "a b", "a+b"):
        with pytest.raises(HarnessError, match="key name"):
            Log.create(tmp_path / "other", False, origin=bad)


# -- its key -------------------------------------------------------------------------------------------------


def test_a_key_signs_every_checkpoint_and_its_coming_and_going_is_logged(
    tmp_path: Path, a_log: Log, instants: Instants, monkeypatch: pytest.MonkeyPatch
) -> None:
    keys.create(tmp_path / "one.pem", "lab")
    keys.create(tmp_path / "two.pem", "lab-2027")
    one = a_log.use_key(tmp_path / "one.pem")
    assert one.name == ORIGIN
    a_log.append("amendment", run="x")
    note = Note.parse((a_log.path / "checkpoint").read_bytes())
    assert note.by(one) is not None
    assert Log(a_log.path).history.key() == one  # the log folder remembers where its key lies
    monkeypatch.setenv(KEY_VARIABLE, str(tmp_path / "two.pem"))
    a_log.append("amendment", run="y")
    two = a_log.history.key()
    assert two is not None
    assert two != one
    monkeypatch.delenv(KEY_VARIABLE)
    # Back to the first by the path that the log keeps.
    a_log.append("amendment", run="z")
    assert a_log.history.key() == one
    assert [each.text("owner") for each in a_log.history.entries if each.kind == "key"] == ["lab", "lab-2027", "lab"]
    assert failed(a_log.path) == []
    (tmp_path / "one.pem").unlink()
    before = (a_log.path / "entries.jsonl").read_bytes()
    with pytest.raises(HarnessError, match=r"one\.pem"):
        a_log.append("amendment", run="never")
    (a_log.path / "key-file").unlink()
    with pytest.raises(ArchiveError, match="--withdraw"):
        a_log.append("amendment", run="never")
    assert (a_log.path / "entries.jsonl").read_bytes() == before
    a_log.withdraw_key("the disk with it broke")
    a_log.append("amendment", run="unsigned")
    assert Note.parse((a_log.path / "checkpoint").read_bytes()).signatures == ()
    assert "UNSIGNED" in said(a_log.path, "key")
    assert failed(a_log.path) == []
    with pytest.raises(ArchiveError, match="nothing to withdraw"):
        a_log.withdraw_key("again")


def test_a_key_can_be_given_when_the_log_is_made(tmp_path: Path) -> None:
    keys.create(tmp_path / "k.pem", "lab")
    log = Log.create(tmp_path / "log", False, key_file=tmp_path / "k.pem")
    assert [each.kind for each in log.history.entries] == ["log", "key"]
    key = log.history.key()
    assert key is not None
    assert Note.parse((log.path / "checkpoint").read_bytes()).by(key) is not None
    assert (log.path / "checkpoints/1").read_bytes().endswith(b"=\n\n")  # before the key came into use


# -- changes are found ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("signed", [False, True])
def test_every_changed_octet_is_found_and_its_file_named(tmp_path: Path, signed: bool, instants: Instants) -> None:
    draw = np.random.default_rng(6962)
    keys.create(tmp_path / "k.pem", "lab")
    log = Log.create(
        tmp_path / "log", False, origin="o", key_file=tmp_path / "k.pem" if signed else None, instants=instants
    )
    log.plan("r1", ITEM)
    log.append("aborted", run="r1", reason="x")
    path = log.path
    assert failed(path) == []
    files = [path / "entries.jsonl", path / "checkpoint", *(path / "checkpoints").iterdir()]
    assert len(files) == 6 if signed else 5
    for file in files:
        whole = file.read_bytes()
        name = file.relative_to(path).as_posix()
        for offset in range(len(whole)):
            damaged = bytearray(whole)
            damaged[offset] ^= int(draw.integers(1, 256))
            file.write_bytes(damaged)
            found = failed(path)
            assert name in {each.name for each in found}, (name, offset, found)
            if name != "entries.jsonl":
                assert {each.name for each in found} == {name}, (offset, found)
        file.write_bytes(whole)
    assert failed(path) == []


def test_a_rewritten_history_is_found(a_log: Log, tmp_path: Path, kit: Any) -> None:
    old = (a_log.path / "checkpoints/3").read_bytes()
    path = a_log.path
    lines = (path / "entries.jsonl").read_bytes().splitlines(keepends=True)
    # An attempt is dropped and all that follows counted anew, checkpoints made to fit: only an older one tells.
    other = Log.create(tmp_path / "forged", False, origin=ORIGIN, instants=kit.ticking())
    for _ in range(4):
        other.append("amendment", run="x")
    assert failed(other.path) == []
    assert "rewritten" in failed(other.path, old)[0].detail
    assert failed(path, old) == []
    # A line is gone, with its checkpoint or without.
    (path / "entries.jsonl").write_bytes(b"".join(lines[:-1]))
    assert any(each.name == "entries.jsonl" and "gone" in each.detail for each in failed(path))
    with pytest.raises(ArchiveError, match="restore the log"):
        Log(path)
    (path / "entries.jsonl").write_bytes(b"".join(lines) + lines[2].replace(b'"n":2', b'"n":5'))
    assert failed(path) == []  # one whole line without a checkpoint is what a kill leaves
    more = b"".join(lines) + b"".join(lines[2].replace(b'"n":2', b'"n":%d' % n) for n in (5, 6))
    (path / "entries.jsonl").write_bytes(more)
    assert failed(path)
    with pytest.raises(ArchiveError, match="at most one entry"):
        Log(path)
    (path / "entries.jsonl").write_bytes(b"".join(lines).replace(b"SIGTERM", b"SIGKILL"))
    assert "entries.jsonl" in {each.name for each in failed(path)}
    with pytest.raises(ArchiveError, match="millicert log check"):
        Log(path).append("amendment")
    (path / "entries.jsonl").write_bytes(b"".join(lines))
    (path / "checkpoints/2").unlink()
    assert [(each.name, each.detail) for each in failed(path)] == [("checkpoints/2", "missing")]
    assert "another log" in failed(path, old.replace(b"00ff", b"00fe"))[-1].detail
    longer = (tmp_path / "forged/checkpoint").read_bytes().replace(b"\n5\n", b"\n9\n")
    assert "has 5 now" in failed(path, longer)[-1].detail
    assert failed(path, b"nonsense")[-1].name == "against"


def test_an_attempt_counted_wrong_or_a_second_seal_is_found(a_log: Log) -> None:
    a_log.append("plan", run="x", item=ITEM, attempt=1)
    assert "is attempt 2 of its item" in failed(a_log.path)[0].detail
    a_log.append("sealed", run="20260921T141320Z-aaaaaa", manifest_sha256="9", result_sha256="9", verdict="PASS")
    assert "seals a run that entry 4 sealed" in failed(a_log.path)[1].detail


@pytest.mark.parametrize(
    "line",
    [
        b"", b"[]", b"{}", b"\xff", b"[" * 50_000, b'{"data":{},"kind":"plan","n":1,"utc_ns":"\\ud800"}',
        b'{"data":{"run":"\\u0000"},"kind":"plan","n":1,"utc_ns":0}', b'{"data":{},"kind":"key","n":1,"utc_ns":0}',
        b'{"data":{"key":"a+b+c","state":"in use"},"kind":"key","n":1,"utc_ns":0}',
        b'{"data":{"run":"../../x","attempt":[]},"kind":"plan","n":1,"utc_ns":"99999999999999999999999999"}',
        b'{"data":{"file":"../../etc/passwd"},"kind":"torn","n":1,"utc_ns":0}',
        b'{"data":{"run":"' + b"x" * 5000 + b'"},"kind":"plan","n":1,"utc_ns":0}',
    ],
)  # fmt: skip
def test_a_hostile_entry_stumbles_nothing(tmp_path: Path, line: bytes) -> None:
    path = Log.create(tmp_path / "log", False).path
    with (path / "entries.jsonl").open("ab") as file:
        file.write(line + b"\n")
    assert audit(path)
    try:
        history = read(path).history
    except HarnessError:
        return
    assert logbook.table(history, "en")


def test_no_log_is_said_clearly(tmp_path: Path) -> None:
    assert [each.name for each in failed(tmp_path)] == ["entries.jsonl"]


def test_nobody_outside_is_said_in_capitals(a_log: Log) -> None:
    assert "ATTEMPT HISTORY NOT WITNESSED" in said(a_log.path, "witness")
    assert "NOT WITNESSED" not in witness_line(5, 5)
    assert "NOT WITNESSED since entry 2" in witness_line(5, 3)
    assert "NOT WITNESSED" in witness_line(0, 0)


# -- runs ----------------------------------------------------------------------------------------------------


def logged_run(kit: Any, root: Path, log: Log, suffix: str = "c0ffee", seal: bool = True) -> Path:
    """A run as `harness.run` makes one."""
    with kit.started(root, suffix=suffix) as folder:
        found = log.plan(folder.name, ITEM, plan_sha256=folder.ledger.plan_sha256)
        folder.journal.append(LOGGED, **told(found, 0))
        folder.store(kit.a_measurement(calibrated=False))
        if seal:
            folder.seal(lambda m, p, provenance: {"verdict": "PASS", "provenance": dict(provenance)})
            record.sealed(log, folder.path)
        path: Path = folder.path
    return path


def test_the_result_tells_attempt_index_and_previous_checkpoint(kit: Any, tmp_path: Path) -> None:
    log = Log.of(tmp_path, True)
    logged_run(kit, tmp_path, log, "aaaaaa", seal=False)
    path = logged_run(kit, tmp_path, log, "bbbbbb")
    found = json.loads((path / "data/result.json").read_bytes())["provenance"]["log"]
    assert (found["index"], found["attempt"], found["earlier"], found["witnessed"]) == (2, 2, [1], 0)
    assert found["previous"]["size"] == 2
    assert found["origin"] == log.origin
    assert found["key"] == ""
    first = Note.parse((log.path / "checkpoints/2").read_bytes())
    assert newest(log.path) is not None
    assert first.text.split("\n")[1] == "2"
    names = {each.name: each for each in audit(log.path)}
    assert names[path.name].state == "ok"
    assert "no end recorded" in names[f"{path.name[:-6]}aaaaaa"].detail


def test_a_changed_or_unlogged_run_folder_is_named(kit: Any, tmp_path: Path) -> None:
    log = Log.of(tmp_path, True, kit.ticking())
    path = logged_run(kit, tmp_path, log)
    (path / "data/result.json").write_bytes(b"{}")
    assert [each.name for each in failed(log.path)] == [path.name]
    bag.seal(path, path.name, "2026-09-21")
    assert "manifest-sha256.txt has another hash" in failed(log.path)[0].detail
    with pytest.raises(ArchiveError, match="changed after it was sealed"):
        record.sealed(log, path)
    path.rename(tmp_path / "elsewhere")
    assert failed(log.path) == []
    assert "not here" in said(log.path, path.name)
    with kit.started(tmp_path, suffix="dddddd", instants=kit.ticking(kit.NOON + 10**12)) as secret:
        secret.store(kit.a_measurement(calibrated=False))
        assert "nothing was measured yet" in said(log.path, secret.name)
        secret.seal(kit.counting_judge)
    assert [each.name for each in failed(log.path)] == [secret.name]
    with pytest.raises(ArchiveError, match="told of before they measured"):
        record.sealed(log, secret.path)
    with kit.started(tmp_path, suffix="eeeeee", instants=kit.ticking(kit.NOON - 10**15)) as older:
        older.seal(kit.counting_judge)
    assert said(log.path, older.name) == "older than the log"
    with kit.started(tmp_path, suffix="ffffff") as unsealed, pytest.raises(ArchiveError, match="last manifest"):
        record.sealed(log, unsealed.path)


def test_a_running_run_is_told_from_a_killed_one(kit: Any, tmp_path: Path) -> None:
    log = Log.of(tmp_path, True)
    with kit.started(tmp_path) as folder:
        log.plan(folder.name, ITEM)
        assert said(log.path, folder.name) == "still running"
    assert "no end recorded" in said(log.path, folder.name)


def test_a_judgement_by_another_policy_is_logged_and_checked(kit: Any, tmp_path: Path) -> None:
    log = Log.of(tmp_path, True)
    path = logged_run(kit, tmp_path, log)
    judge: Callable[..., dict[str, Any]] = lambda *_: {"verdict": "FAIL"}  # noqa: E731 - one expression, typed
    target, _ = judge_again(path, 'id = "p"\n', judge=judge, here=dict)
    made = record.judged_again(log, path.name, target)
    assert (made.kind, made.text("verdict"), made.text("folder")) == ("judged-again", "FAIL", target.name)
    assert failed(log.path) == []
    (target / "data/result.json").write_bytes(b"{}")
    assert [each.name for each in failed(log.path)] == [target.name]


# -- proofs --------------------------------------------------------------------------------------------------


def test_a_proof_shows_the_runs_entries_and_no_changed_one_does(kit: Any, tmp_path: Path) -> None:
    log = Log.of(tmp_path, True)
    path = logged_run(kit, tmp_path, log, "aaaaaa")
    logged_run(kit, tmp_path, log, "bbbbbb")
    kept = log.path / f"proofs/{path.name}.json"
    for data in (kept.read_bytes(), proof.keep(log, path.name).read_bytes()):
        history, checkpoint, note, grown = proof.proven(data, path.name)
        assert [each.kind for each in history.entries] == ["plan", "sealed"]
        assert history.plan(path.name) is not None
        assert note.text == checkpoint.text
        assert grown["size"] == 1
    assert proof.beside(path) == kept.read_bytes()
    draw = np.random.default_rng(9162)
    whole = kept.read_bytes()
    for offset in draw.integers(len(whole), size=400):
        damaged = bytearray(whole)
        damaged[offset] ^= int(draw.integers(1, 256))
        try:
            again = proof.proven(bytes(damaged), path.name)
        except HarnessError:
            continue
        pytest.fail(f"octet {offset} changed and believed: {again}")
    with pytest.raises(ArchiveError, match="of run other"):
        proof.proven(whole, "other")
    for hostile in (b"{}", b"[]", b"", b'{"schema":"millicert-log-proof/1"}', whole.replace(b'"path"', b'"pith"')):
        with pytest.raises(HarnessError):
            proof.proven(hostile, path.name)
    with pytest.raises(ArchiveError, match="no entry of it"):
        proof.prove(log.path, "never")


# -- kills ---------------------------------------------------------------------------------------------------

COMMON = """
import os, random, signal, sys, time
from pathlib import Path
from harness.archive.log import Log

def run(root, acknowledged, most=3):
    log = Log.of(root, False)
    k = 0
    while k < most:
        entry = log.append("amendment", run="r", text="x" * (k * 37 % 400))
        acknowledged(entry.n)
        k += 1
"""

AT_ANY_TIME = """
os.fsync = lambda handle: None  # what is written outlives a kill of the process without it; more entries a moment
draw = random.Random(20261122)
root = Path(sys.argv[1]) / "results"
note = os.open(root.with_name("acknowledged"), os.O_RDWR | os.O_CREAT)
for moment in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        run(root, lambda n: os.pwrite(note, b"%06d" % n, 0), 10**9)
        os._exit(0)
    was, end = os.pread(note, 6, 0), time.monotonic() + 5 * (draw.random() < 0.7)
    while os.pread(note, 6, 0) == was and time.monotonic() < end:
        time.sleep(0.0005)
    time.sleep(draw.random() * 0.006)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    print(os.pread(note, 6, 0).decode() or -1)
"""

BESIDE_EACH_OTHER = """
log = Log.of(Path(sys.argv[1]), False)
for k in range(60):
    log.append("amendment", run=sys.argv[2], k=k, text=sys.argv[2] * 200)
"""


def child(program: str, *arguments: str) -> subprocess.Popen[str]:
    path = os.pathsep.join([str(Path(harness.__file__).parents[1]), *sys.path])
    return subprocess.Popen(
        [sys.executable, "-c", COMMON + program, *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def check_remains(path: Path, acknowledged: int) -> History:
    """All that was acknowledged is there, before and after mending; the next entry follows; nothing is wrong."""
    before = read(path).history.entries
    assert len(before) > acknowledged
    assert not before or failed(path) == []
    log = Log.of(path.parent, False)
    assert log.history.entries[: len(before)] == before
    log.append("amendment", run="after")
    history = read(path).history
    assert history.entries == log.history.entries
    assert failed(path) == []
    return history


def test_killed_at_every_call_that_writes(tmp_path: Path) -> None:
    process = child(AT_EVERY_CALL, str(tmp_path))
    _, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    roots = sorted(p for p in tmp_path.iterdir() if p.is_dir())
    assert len(roots) > 50
    torn = 0
    for root in roots:
        note = root.with_name(f"{root.name}.acknowledged")
        text = note.read_text() if note.exists() else ""
        if not (root / "log/entries.jsonl").exists():
            assert text == ""
            continue
        history = check_remains(root / "log", int(text) if text else -1)
        asides = list((root / "log").glob("entries.jsonl.torn-*"))
        assert [e.text("file") for e in history.entries if e.kind == "torn"] == [p.name for p in asides]
        for aside in asides:
            assert sha256(aside.read_bytes())[:8] == aside.name[-8:]
        torn += len(asides)
    assert torn >= 3


def test_killed_at_hundreds_of_moments(tmp_path: Path) -> None:
    process = child(AT_ANY_TIME, str(tmp_path), "200")
    printed, errors = process.communicate(timeout=300)
    assert process.returncode == 0, errors
    moments = [int(line) for line in printed.splitlines()]
    assert len(moments) == 200
    assert moments[-1] > 100
    check_remains(tmp_path / "results/log", moments[-1])


def test_two_processes_interleave_whole_entries(tmp_path: Path) -> None:
    both = [child(BESIDE_EACH_OTHER, str(tmp_path), name) for name in ("a", "b")]
    for process in both:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    history = read(tmp_path / "log").history
    assert len(history.entries) == 121
    for name in ("a", "b"):
        assert [each.data["k"] for each in history.of(name)] == list(range(60))
    assert failed(tmp_path / "log") == []


def test_a_line_cut_at_any_octet_is_set_aside_or_missed(a_log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a file cut by hand outlives no power cut, and need not
    path = a_log.path
    whole = (path / "entries.jsonl").read_bytes()
    ends = [k + 1 for k, octet in enumerate(whole) if octet == 0x0A]
    kept = {file: file.read_bytes() for file in path.rglob("*") if file.is_file()}

    def restore(size: int, covered: int) -> None:
        for file in path.rglob("*"):
            if file.is_file() and file not in kept:
                file.unlink()
        for file, data in kept.items():
            file.write_bytes(data)
        for k in range(covered + 1, 6):
            (path / f"checkpoints/{k}").unlink()
        (path / "checkpoint").write_bytes(kept[path / f"checkpoints/{covered}"])
        (path / "entries.jsonl").write_bytes(whole[:size])

    for size in range(ends[2], len(whole)):
        acknowledged = sum(end <= size for end in ends)
        # A kill amid writing that line: the checkpoint is over the lines before it.
        restore(size, acknowledged)
        assert failed(path) == []
        log = Log(path)
        assert [each.line for each in log.history.entries[:acknowledged]] == whole.split(b"\n")[:acknowledged]
        rest = whole[ends[acknowledged - 1] : size]
        asides = [p.read_bytes() for p in path.glob("entries.jsonl.torn-*")]
        assert asides == ([rest] if rest else [])
        assert [each.kind for each in log.history.entries[acknowledged:]] == (["torn"] if rest else [])
        assert failed(path) == []
        # The same cut where the checkpoint covers that line: something acknowledged is gone.
        restore(size, acknowledged + 1)
        assert "entries.jsonl" in {each.name for each in failed(path)}
        with pytest.raises(ArchiveError, match="restore the log"):
            Log(path)
        assert (path / "entries.jsonl").read_bytes() == whole[:size]


def test_zeros_after_a_power_cut_are_set_aside(a_log: Log) -> None:
    with (a_log.path / "entries.jsonl").open("ab") as file:
        file.write(bytes(100))
    again = Log(a_log.path)
    assert again.history.entries[-1].kind == "torn"
    assert said(a_log.path, again.history.entries[-1].text("file")).startswith("a torn line of 100 octets")
    next(a_log.path.glob("*.torn-*")).write_bytes(b"")
    assert [each.name for each in failed(a_log.path)] == [again.history.entries[-1].text("file")]


def test_a_refused_write_leaves_the_log_as_it_was(a_log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (a_log.path / "entries.jsonl").read_bytes()

    def full(handle: int, data: bytes) -> None:
        os.write(handle, data[:7])
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("harness.archive.log.write_all", full)
        with pytest.raises(ArchiveError, match="free space"):
            a_log.append("amendment", run="x")
    assert (a_log.path / "entries.jsonl").read_bytes() == before
    a_log.append("amendment", run="x")
    assert failed(a_log.path) == []


def test_a_run_folder_needs_no_log(kit: Any, tmp_path: Path) -> None:
    with RunFolder.create(tmp_path, True, kit.PLAN) as folder:
        assert folder.ledger.logged is None
    assert not (tmp_path / "simulated/log").exists()
