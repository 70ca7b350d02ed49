"""A run that is killed with -9 at any moment, or meets a full disk, keeps all that it acknowledged."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import harness
from harness.archive import bag
from harness.archive.folder import RunFolder, plan_hash, unfinished
from harness.archive.segments import load_samples
from harness.archive.verify import sound, verify
from harness.errors import ArchiveError
from harness.journal import read
from harness.samples import COLUMNS
from tests.harness.archive.killing import AT_EVERY_CALL

PLAN = {"title": "killed"}

COMMON = """
import errno, json, os, random, resource, signal, sys, time
from pathlib import Path
import numpy as np
from harness.archive.folder import RunFolder
from harness.errors import ArchiveError
from harness.samples import COLUMNS

def columns(start, end):
    return {name: np.arange(start, end) * (k + 1) for k, name in enumerate(COLUMNS)}

def run(root, acknowledged=lambda n: None, parts=6):
    with RunFolder.create(root, False, {"title": "killed"}, policy="id = 'p'") as folder:
        acknowledged(len(folder.journal.entries))
        writer = folder.begin("m1", rows=50)
        acknowledged(len(folder.journal.entries))
        for start in range(0, 30 * parts, 30):
            writer.append(columns(start, start + 30))
            acknowledged(len(folder.journal.entries))
        folder.journal.append("progress", text="x" * 3000)
        folder.add_file("note.txt", b"noted")
        acknowledged(len(folder.journal.entries))
        folder.add_file("note.txt", b"noted again")
        acknowledged(len(folder.journal.entries))
"""

AT_ANY_TIME = """
draw = random.Random(20260921)
started = time.monotonic()
run(Path(sys.argv[1]) / "whole")
whole_s = time.monotonic() - started
for moment in range(60):
    delay = draw.random() * 1.2 * whole_s
    root = Path(sys.argv[1]) / f"{moment:04}"
    child = os.fork()
    if child == 0:
        note = os.open(root.with_name(root.name + ".acknowledged"), os.O_WRONLY | os.O_CREAT)
        run(root, lambda n: os.pwrite(note, b"%06d" % n, 0))
        os._exit(0)
    time.sleep(delay)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


def judge(measurements: Any, policy: str, provenance: Any) -> dict[str, Any]:
    return {"rows": [[str(np.sum(m.samples.t1)), len(m.samples)] for m in measurements], "policy": policy}


def child(program: str, *arguments: str, wrapper: tuple[str, ...] = ()) -> subprocess.CompletedProcess[str]:
    path = os.pathsep.join([str(Path(harness.__file__).parents[1]), *sys.path])
    return subprocess.run(
        [*wrapper, sys.executable, "-c", COMMON + program, *arguments],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "PYTHONPATH": path},
    )  # fmt: skip


def check_remains(kit: Any, root: Path) -> bool:
    """Everything acknowledged is there, and the run goes on to a sound seal; whether its plan had been committed."""
    note = root.with_name(root.name + ".acknowledged")
    text = note.read_text() if note.exists() else ""
    acknowledged = int(text) if text else 0
    found = unfinished(root, plan_hash(PLAN))
    if found is None:
        assert acknowledged == 0
        return False
    before = read(found.path / "data/journal.jsonl").entries
    assert len(before) >= acknowledged
    book = {e.data["file"]: e.data for e in before if e.kind == "archive.segment"}
    for name, data in book.items():
        assert bag.file_sha256(found.path / f"data/measurements/m1/{name}") == data["sha256"]
    rows = 50 * len(book)
    samples = load_samples(found.path / "data/measurements/m1") if book else None
    if samples is not None:
        # One more than journaled may lie there: its file was whole when the kill came before its line.
        assert len(samples) in (rows, rows + 50)
        for k, name in enumerate(COLUMNS):
            assert np.array_equal(getattr(samples, name), np.arange(len(samples)) * (k + 1))
    with RunFolder.open(found.path) as folder:
        assert folder.journal.entries[: len(before)] == before
        folder.store(kit.a_measurement("m1", 20, calibrated=False))
        folder.seal(judge)
    checks = verify(found.path, judge, dict)
    assert sound(checks), checks
    return True


def test_killed_at_every_call_that_writes(kit: Any, tmp_path: Path) -> None:
    done = child(AT_EVERY_CALL, str(tmp_path))
    assert done.returncode == 0, done.stderr
    roots = sorted(p for p in tmp_path.iterdir() if p.is_dir())
    assert len(roots) > 60
    outcomes = [check_remains(kit, root) for root in roots]
    assert outcomes == sorted(outcomes)
    assert outcomes.count(True) >= 40


def test_killed_at_sixty_moments(kit: Any, tmp_path: Path) -> None:
    done = child(AT_ANY_TIME, str(tmp_path))
    assert done.returncode == 0, done.stderr
    for moment in range(60):
        check_remains(kit, tmp_path / f"{moment:04}")


FILL = """
import subprocess
root = Path(sys.argv[1])
if sys.argv[2] == "mount":
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "millicert", root], check=True)
ballast = root / "ballast"
ballast.write_bytes(bytes(150_000))
folder = RunFolder.create(root, False, {"title": "full"}, policy="id = 'p'")
writer = folder.begin("m1", rows=4096)
draw = np.random.default_rng(1)
table = draw.integers(0, 2**40, (40, 13, 1024))
if sys.argv[2] == "limit":
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))
said = ""
given = []
for block in table:
    given.append(block)
    try:
        writer.append(dict(zip(COLUMNS, block.copy())))
    except ArchiveError as error:
        said = str(error)
        break
journal_said = ""
try:
    if sys.argv[2] == "mount":
        for _ in range(200):
            folder.journal.append("fill", text="y" * 3000)
except ArchiveError as error:
    journal_said = str(error)
lines = len(folder.journal.entries)
left = sorted(p.name for p in (folder.path / "data/measurements/m1").iterdir())
ballast.unlink()
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
from harness.archive.segments import load_samples
from harness.journal import read
assert len(read(folder.path / "data/journal.jsonl").entries) == lines
if sys.argv[2] == "mount":
    subprocess.run(["mount", "-o", "remount,size=8m", root], check=True)
writer.flush()
samples = load_samples(folder.path / "data/measurements/m1")
expected = np.concatenate(given, axis=1)
same = all(np.array_equal(getattr(samples, name), expected[k]) for k, name in enumerate(COLUMNS))
folder.journal.append("after")
print(json.dumps({"said": said, "journal": journal_said, "left": left, "same": same, "rows": len(samples)}))
"""


def test_a_full_disk_is_said_clearly_and_loses_nothing(tmp_path: Path) -> None:
    as_user = ("--user", "--map-root-user") if os.geteuid() else ()
    unshare = ("unshare", *as_user, "--mount", "--propagation", "private")
    try:
        can = subprocess.run([*unshare, "mount", "-t", "tmpfs", "x", tmp_path], capture_output=True, check=False)
    except FileNotFoundError:
        pytest.skip("needs unshare (util-linux) to mount a small disk")
    if can.returncode:
        pytest.skip("needs root or user namespaces to mount a small disk")
    done = child(FILL, str(tmp_path), "mount", wrapper=unshare)
    assert done.returncode == 0, done.stderr
    check_refusal(done.stdout, "No space left on device", "free space on that disk; a run that had begun then goes on")
    assert '"journal": "wanted to write' in done.stdout


def test_a_file_size_limit_is_said_clearly_and_loses_nothing(tmp_path: Path) -> None:
    done = child(FILL, str(tmp_path), "limit")
    assert done.returncode == 0, done.stderr
    check_refusal(done.stdout, "File too large", "ulimit -f")


def check_refusal(answer: str, found: str, remedy: str) -> None:
    assert found in answer
    assert remedy in answer
    assert "samples-00000.npz" in answer
    assert ".partial" not in answer
    assert '"same": true' in answer


def test_a_folder_that_cannot_be_written_is_said_clearly(tmp_path: Path) -> None:
    (tmp_path / "results").write_text("a file where a folder is wanted")
    with pytest.raises(ArchiveError, match="results"):
        RunFolder.create(tmp_path / "results", True, PLAN)
